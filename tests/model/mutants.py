#!/usr/bin/env python3
"""The canaries: copies of the checked files with one bug each, which the checker has to find.

    mutants.py list PROTOCOL                  prints "name file" for each
    mutants.py write PROTOCOL NAME IN OUT     writes the copy

A mutant names the function that it breaks and the text that it replaces there. If that text is not
there exactly once, writing fails: whoever changes a protocol changes its canaries with it.
"""
import sys

PARKING = 'src/thread/parking.c'
COMPLETION = 'src/core/completion.c'
DEQUE = 'src/thread/deque.c'
PARKING_CHECK = 'tests/model/parking_check.c'
COMPLETION_CHECK = 'tests/model/completion_check.c'

# name: (file, function, old text, new text)
MUTANTS = {
    'parking': {
        'notify_looks_too_early': (PARKING, 'rni_parking_notify',
            'rni_load_seq_cst(&parking->state)', 'rni_load_acquire(&parking->state)'),
        'announce_in_no_order': (PARKING, 'rni_parking_announce',
            'rni_add_seq_cst(', 'rni_add_acq_rel('),
        'epoch_read_after_the_seat_is_given_up': (PARKING, 'rni_parking_announce',
            'return epoch;', 'return rni_load_acquire(&parking->epoch);'),
        'sleep_without_compare': (PARKING, 'rni_parking_sleep',
            'rni_os_wait(&parking->epoch, epoch, deadline_ns)',
            'rni_os_wait(&parking->epoch, rni_load_relaxed(&parking->epoch), deadline_ns)'),
        'rise_leaves_waking': (PARKING, 'rni_parking_rise',
            '(state & ~WAKING)', 'state'),
        'rise_in_vain_leaves_waking': (PARKING, 'rni_parking_rise',
            '(state & ~WAKING)', '(seated ? state & ~WAKING : state)'),
        'rise_without_compare': (PARKING, 'rni_parking_rise',
            '!rni_cas_seq_cst(&parking->state, &state, next)', '(rni_store_release(&parking->state, next), false)'),
        'notify_moves_no_epoch': (PARKING, 'rni_parking_notify',
            'rni_add_acq_rel(&parking->epoch, 1)', '(void)0'),
        'notify_forgets_to_wake': (PARKING, 'rni_parking_notify',
            'rni_os_wake(&parking->epoch, 1)', '(void)0'),
        'stop_search_is_never_the_last': (PARKING, 'rni_parking_stop_search',
            'searching(before) == 1', 'searching(before) == 0'),
        'rise_anyway_leaves_waking': (PARKING, 'rni_parking_rise_anyway',
            '(state & ~WAKING)', 'state'),
        'asleep_again_if_the_epoch_stands': (PARKING, 'rni_parking_is_waking',
            'return rni_load_seq_cst(&parking->state) & WAKING;', 'return false && parking;'),
        'quit_leaves_waking': (PARKING, 'rni_parking_quit',
            '(state & ~WAKING)', 'state'),
        'wake_all_releases_nothing': (PARKING, 'rni_parking_wake_all',
            'rni_add_acq_rel(', 'rni_add_relaxed('),
        'no_second_look': (PARKING_CHECK, 'rises_again',
            'work_is_visible() && ', 'false && '),
        'surplus_given_up_without_compare': (PARKING, 'rni_parking_give_up_surplus',
            '!rni_cas_seq_cst(&parking->state, &state, state + PARKED - ACTIVE)',
            '(rni_add_seq_cst(&parking->state, PARKED - ACTIVE), false)'),
        'epoch_read_after_rise': (PARKING_CHECK, 'sleeps_until_up',
            'if (rni_parking_rise(&shared.parking)) return true;',
            'if (rni_parking_rise(&shared.parking)) return true;\n        epoch = rni_parking_epoch(&shared.parking);'),
        'blocks_without_a_look': (PARKING_CHECK, 'block',
            'if (work_is_visible()) rni_parking_notify(&shared.parking);', ''),
    },
    'completion': {
        'value_after_the_word': (COMPLETION, 'rni_completion_complete',
            'rni_os_wake(&completion->word, INT32_MAX);',
            'rni_os_wake(&completion->word, INT32_MAX);\n    completion->value = value;'),
        'complete_forgets_sleepers': (COMPLETION, 'rni_completion_complete',
            'if (word & RNI_WAITED) rni_os_wake(&completion->word, INT32_MAX);', ''),
        'cancel_forgets_sleepers': (COMPLETION, 'rni_completion_cancel',
            'if (word & RNI_WAITED) rni_os_wake(&completion->word, INT32_MAX);', ''),
        'waited_set_without_compare': (COMPLETION, 'rni_completion_sleep',
            '!rni_cas_acq_rel(&completion->word, &word, word | RNI_WAITED)',
            '(rni_store_release(&completion->word, word | RNI_WAITED), false)'),
        'begin_of_a_claimed_run': (COMPLETION, 'rni_completion_begin',
            'if (rni_state_of(word) == RN_WAITING) next', 'next'),
        'begin_never_the_last': (COMPLETION, 'rni_completion_begin',
            'is_last(next) ? RNI_LAST : RNI_NO', 'RNI_NO'),
        'claim_before_it_is_due': (COMPLETION, 'rni_completion_claim',
            ' || !(word & RNI_CLAIMABLE)', ''),
        'claim_of_a_begun_run': (COMPLETION, 'rni_completion_claim',
            'rni_state_of(word) != RN_WAITING', 'rni_is_over(word)'),
        'suspend_although_told_to_stop': (COMPLETION, 'rni_completion_suspend',
            'if (word & RNI_STOP) return RNI_NO;', ''),
        'suspend_without_queued': (COMPLETION, 'rni_completion_suspend',
            ' | RNI_QUEUED', ''),
        'cancel_of_a_begun_run': (COMPLETION, 'rni_completion_cancel',
            ' || (word & RNI_BEGUN)', ''),
        'cancel_in_one_step': (COMPLETION, 'rni_completion_cancel',
            'with_state(word, RN_RUNNING) | RNI_STOP', 'with_state(word, RN_STATE_CANCELLED) | RNI_STOP'),
        'complete_settles_with_callbacks': (COMPLETION, 'rni_completion_complete',
            'if (!nodes_of(word)) next |= RNI_SETTLED;', 'next |= RNI_SETTLED;'),
        'add_to_a_run_that_is_over': (COMPLETION, 'rni_completion_add',
            'if (rni_is_over(word)) return false;', ''),
        'callbacks_youngest_first': (COMPLETION, 'rni_completion_settle',
            'reversed(nodes_of(word))', 'nodes_of(word)'),
        'release_ignores_the_queue': (COMPLETION, 'is_last',
            '(word & (RNI_SETTLED | RNI_RELEASED | RNI_QUEUED))', '(word & (RNI_SETTLED | RNI_RELEASED))'),
        'release_never_the_last': (COMPLETION, 'rni_completion_release',
            'is_last(word | RNI_RELEASED) ? RNI_LAST : RNI_YES', 'RNI_YES'),
        'release_looks_past_the_queue': (COMPLETION, 'rni_completion_release',
            '(RNI_SETTLED | RNI_RELEASED | RNI_QUEUED)) == RNI_SETTLED', '(RNI_SETTLED | RNI_RELEASED)) == RNI_SETTLED'),
        'release_looks_and_acquires_nothing': (COMPLETION, 'rni_completion_release',
            'rni_load_acquire(', 'rni_load_relaxed('),
        'unqueue_never_the_last': (COMPLETION, 'rni_completion_unqueue',
            'is_last(word & ~RNI_QUEUED) ? RNI_LAST : RNI_YES', 'RNI_YES'),
        'complete_releases_nothing': (COMPLETION, 'rni_completion_complete',
            'rni_cas_acq_rel(', 'rni_cas_relaxed('),
        'add_releases_nothing': (COMPLETION, 'rni_completion_add',
            'rni_cas_acq_rel(', 'rni_cas_relaxed('),
        'add_acquires_nothing': (COMPLETION, 'rni_completion_add',
            'rni_load_acquire(', 'rni_load_relaxed('),
        'settle_releases_nothing': (COMPLETION, 'rni_completion_settle',
            'rni_or_acq_rel(', 'rni_or_relaxed('),
        'release_acquires_nothing': (COMPLETION, 'rni_completion_release',
            'rni_or_acq_rel(', 'rni_or_relaxed('),
        'unqueue_acquires_nothing': (COMPLETION, 'rni_completion_unqueue',
            'rni_and_acq_rel(', 'rni_and_relaxed('),
    },
    'deque': {
        'pop_takes_the_last_without_compare': (DEQUE, 'rni_deque_pop',
            'if (!rni_cas_seq_cst(&deque->top, &top, top + 1)) item = NULL;',
            'rni_store_release(&deque->top, top + 1);'),
        'pop_lowers_by_a_plain_store': (DEQUE, 'rni_deque_pop',
            '(void)rni_swap_seq_cst(', 'rni_store_release('),
        'pop_forgets_to_raise_bottom': (DEQUE, 'rni_deque_pop',
            'rni_store_release(&deque->bottom, bottom + 1);', ''),
        'push_by_a_plain_store': (DEQUE, 'rni_deque_push',
            '(void)rni_swap_seq_cst(', 'rni_store_relaxed('),
        'push_before_the_items': (DEQUE, 'rni_deque_push',
            'if (!has_room(deque, bottom, count)) return false;',
            'if (!has_room(deque, bottom, count)) return false;\n'
            '    (void)rni_swap_seq_cst(&deque->bottom, bottom + count);'),
        'room_for_one_too_many': (DEQUE, 'has_room',
            'return bottom + count - deque->top_seen <= RNI_DEQUE_SIZE;',
            'return bottom + count - deque->top_seen <= RNI_DEQUE_SIZE + 1u;'),
        'steal_reads_the_item_too_late': (DEQUE, 'rni_deque_steal',
            'return item;', 'return rni_load_relaxed(&deque->items[top & MASK]);'),
        'steal_reads_bottom_first': (DEQUE, 'rni_deque_steal',
            'uint64_t top = rni_load_seq_cst(&deque->top);\n    uint64_t bottom = rni_load_seq_cst(&deque->bottom);',
            'uint64_t bottom = rni_load_seq_cst(&deque->bottom);\n    uint64_t top = rni_load_seq_cst(&deque->top);'),
        'steal_without_compare': (DEQUE, 'rni_deque_steal',
            'if (rni_cas_seq_cst(&deque->top, &top, top + 1)) return item;',
            'rni_store_release(&deque->top, top + 1);\n    if (item) return item;'),
        'steal_looks_in_no_order': (DEQUE, 'rni_deque_steal',
            'rni_load_seq_cst(&deque->bottom)', 'rni_load_acquire(&deque->bottom)'),
        'steal_compares_without_sign': (DEQUE, 'rni_deque_steal',
            '(int64_t)(bottom - top) <= 0', 'bottom <= top'),
        'take_moves_top_by_one': (DEQUE, 'rni_deque_take',
            'top + count)', 'top + 1)'),
        'take_acquires_nothing': (DEQUE, 'rni_deque_take',
            'rni_load_seq_cst(&deque->bottom)', 'rni_load_relaxed(&deque->bottom)'),
    },
}


def body_of(text, function):
    """Start and end of the function's definition: the end is the first line that is a lone brace."""
    start = -1
    for line_start in [0] + [i + 1 for i, c in enumerate(text) if c == '\n']:
        line = text[line_start:text.find('\n', line_start)]
        if f'{function}(' in line and line.endswith('{') and not line.startswith(' '):
            start = line_start
    if start < 0:
        sys.exit(f'mutants.py: no function {function}')
    return start, text.index('\n}', start)


def mutated(text, function, old, new):
    start, end = body_of(text, function)
    body = text[start:end]
    if body.count(old) == 0 or (body.count(old) > 1 and not new.startswith(old)):
        sys.exit(f'mutants.py: {function} does not have exactly one: {old}')
    return text[:start] + body.replace(old, new, 1) + text[end:]


def main(arguments):
    if arguments[:1] == ['list']:
        for name, mutant in MUTANTS[arguments[1]].items():
            print(name, mutant[0])
        return
    _, protocol, name, source, target = arguments
    _, function, old, new = MUTANTS[protocol][name]
    with open(source, encoding='utf-8') as file:
        text = file.read()
    with open(target, 'w', encoding='utf-8') as file:
        file.write(mutated(text, function, old, new))


main(sys.argv[1:])
