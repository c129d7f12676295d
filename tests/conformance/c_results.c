/* Rules C5 to C7: what hooks see, and what their return values do. */
#include "support.h"

#include <string.h>

/* ------------------------------------------------------------------------------------------------
 * C5
 */
static void assert_hooks_saw_the_iterations(int tag, uint64_t failing) {
    struct event events[64];
    size_t count = events_of(tag, events, COUNT_OF(events));
    assert_in_range(count, 1, COUNT_OF(events));
    for (size_t i = 0; i < count; i++) {
        if (events[i].kind == FUNCTION) continue;
        uint64_t k = events[i].iteration;
        if ((failing >> (k - 1)) & 1) {
            assert_int_equal(events[i].success_kind, RN_NONE);
            assert_int_equal(events[i].error_code, iteration_code(tag, k));
        } else {
            assert_int_equal(events[i].success_kind, RN_INT);
            assert_true(events[i].success == iteration_value(tag, k));
            assert_int_equal(events[i].error_code, 0);
        }
    }
}

RULE(c5_hooks_see_the_outcome_of_the_iteration_and_none_for_the_other) {
    rn_runtime *rn = OPEN();
    for (int mask = 0; mask < 16; mask++) {
        rn_task task = scripted_task(mask);
        task.times = 4;
        board->scripts[mask].failing = (uint64_t)mask;
        rn_drop(end_of(rn_submit(rn, &task)));
        assert_hooks_saw_the_iterations(mask, (uint64_t)mask);
    }
    close_runtime(rn);
}

RULE(c5_hooks_never_see_what_another_hook_put_in_place_of_the_result) {
    rn_runtime *rn = OPEN();
    for (int mask = 0; mask < 4; mask++) {
        rn_task task = scripted_task(mask);
        task.times = 2;
        task.updates_result = RN_ON_ITER | RN_ON_SUCCESS | RN_ON_ERROR | RN_ON_FINISHED;
        board->scripts[mask].failing = (uint64_t)mask;
        assert_ends_with_int(rn_submit(rn, &task), hook_value(mask, RN_ON_FINISHED, 2));
        assert_hooks_saw_the_iterations(mask, (uint64_t)mask);
    }
    close_runtime(rn);
}

RULE(c5_hooks_never_see_the_error_of_another_hook) {
    rn_runtime *rn = OPEN();
    static const unsigned failing_hooks[] = {RN_ON_ITER, RN_ON_SUCCESS, RN_ON_ERROR};
    for (int i = 0; i < 6; i++) {
        rn_task task = scripted_task(i);
        board->scripts[i].failing = (uint64_t)i % 2;
        board->scripts[i].failing_hooks = failing_hooks[i / 2];
        board->scripts[i].failing_iter = UINT64_MAX;
        rn_drop(end_of(rn_submit(rn, &task)));
        assert_hooks_saw_the_iterations(i, (uint64_t)i % 2);
    }
    close_runtime(rn);
}

/* ------------------------------------------------------------------------------------------------
 * C6
 */
/* The last of the hooks that ran and may replace the result; 0: none of them. */
static unsigned winning_hook(unsigned hooks, unsigned updates, bool failed) {
    static const unsigned order[] = {RN_ON_FINISHED, RN_ON_ERROR, RN_ON_SUCCESS, RN_ON_ITER};
    for (size_t i = 0; i < COUNT_OF(order); i++) {
        bool ran = order[i] != (failed ? RN_ON_SUCCESS : RN_ON_ERROR);
        if (ran && hooks & updates & order[i]) return order[i];
    }
    return 0;
}

static void assert_last_updating_hook_wins(rn_runtime *rn, int tag, unsigned hooks, unsigned updates, bool fails) {
    rn_task task = scripted_task(tag);
    task.times = 2;
    task.updates_result = updates;
    task.on_iter = hooks & RN_ON_ITER ? task.on_iter : NULL;
    task.on_success = hooks & RN_ON_SUCCESS ? task.on_success : NULL;
    task.on_error = hooks & RN_ON_ERROR ? task.on_error : NULL;
    task.on_finished = hooks & RN_ON_FINISHED ? task.on_finished : NULL;
    board->scripts[tag].failing = fails ? 0x2 : 0;
    unsigned winner = winning_hook(hooks, updates, fails);
    rn_future *future = rn_submit(rn, &task);
    if (winner) assert_ends_with_int(future, hook_value(tag, winner, 2));
    else if (fails) assert_ends_with_error(future, iteration_code(tag, 2));
    else assert_ends_with_int(future, iteration_value(tag, 2));
}

RULE(c6_the_last_hook_that_updates_the_result_wins_in_every_combination) {
    rn_runtime *rn = OPEN();
    for (unsigned hooks = 0; hooks < 16; hooks++)
        for (unsigned updates = 0; updates < 16; updates++)
            for (unsigned fails = 0; fails <= 1; fails++)
                assert_last_updating_hook_wins(rn, (int)(hooks * 32 + updates * 2 + fails), hooks, updates, fails);
    close_runtime(rn);
}

RULE(c6_without_updates_result_what_hooks_return_is_dropped) {
    rn_runtime *rn = OPEN();
    rn_task succeeds = scripted_task(1), fails = scripted_task(2);
    board->scripts[2].failing = 1;
    assert_ends_with_int(rn_submit(rn, &succeeds), iteration_value(1, 1));
    assert_ends_with_error(rn_submit(rn, &fails), iteration_code(2, 1));
    close_runtime(rn);
}

static rn_value none_for_error(rn_call *call, rn_value error) {
    (void)call, (void)error;
    return rn_none();
}

RULE(c6_a_hook_can_replace_an_error_by_none) {
    rn_runtime *rn = OPEN();
    rn_task task = scripted_task(1);
    task.on_error = none_for_error;
    task.updates_result = RN_ON_ERROR;
    board->scripts[1].failing = 1;
    rn_value result = end_of(rn_submit(rn, &task));
    assert_true(rn_is_none(result));
    close_runtime(rn);
}

static rn_value text_for_outcome(rn_call *call, rn_value success, rn_value error) {
    (void)call;
    return rn_textf("%s and %s", rn_kind_name(rn_kind(success)), rn_kind_name(rn_kind(error)));
}

RULE(c6_texts_that_hooks_return_are_dropped_or_kept_without_a_leak) {
    rn_runtime *rn = OPEN();
    rn_value dropped = end_of(rn_run(rn, give_back, .arg = rn_text("argument"), .on_iter = text_for_outcome,
                                     .on_finished = text_for_outcome, .times = 3));
    rn_value kept =
        end_of(rn_run(rn, give_back, .arg = rn_text("argument"), .on_iter = text_for_outcome,
                      .on_finished = text_for_outcome, .times = 3, .updates_result = RN_ON_ITER | RN_ON_FINISHED));
    assert_string_equal(rn_as_text(dropped), "argument");
    assert_contains(rn_as_text(kept), " and ");
    rn_drop(dropped);
    rn_drop(kept);
    close_runtime(rn);
}

/* ------------------------------------------------------------------------------------------------
 * C7
 */
static void assert_hook_failed(rn_value result, int tag, unsigned hook, uint64_t iteration) {
    assert_error_code(result, hook_code(tag, hook, iteration));
    assert_string_equal(rn_error_hook(result), hook_name(hook));
    assert_string_equal(rn_error_task(result), "scripted");
    assert_int_equal(rn_error_iteration(result), iteration);
    rn_drop(result);
}

RULE(c7_an_on_iter_that_fails_ends_the_schedule_and_the_final_hooks_still_run) {
    rn_runtime *rn = OPEN_VIRTUAL();
    for (int i = 0; i < 4; i++) {
        rn_task task = scripted_task(i);
        task.times = i % 2 ? 5 : 0;
        task.every = RN_SECONDS(1);
        board->scripts[i].failing = i / 2 ? 0x2 : 0;
        board->scripts[i].failing_hooks = RN_ON_ITER;
        board->scripts[i].failing_iter = 0x2;
        assert_hook_failed(end_of(rn_submit(rn, &task)), i, RN_ON_ITER, 2);
        assert_story(i, i / 2 ? "f1 i1 f2 i2 e2 z2" : "f1 i1 f2 i2 s2 z2");
    }
    close_runtime(rn);
}

RULE(c7_an_on_success_that_fails_gives_the_result_and_on_finished_still_runs) {
    rn_runtime *rn = OPEN();
    rn_task task = scripted_task(1);
    board->scripts[1].failing_hooks = RN_ON_SUCCESS;
    assert_hook_failed(end_of(rn_submit(rn, &task)), 1, RN_ON_SUCCESS, 1);
    assert_story(1, "f1 i1 s1 z1");
    close_runtime(rn);
}

RULE(c7_an_on_error_that_fails_gives_the_result_and_on_finished_still_runs) {
    rn_runtime *rn = OPEN();
    rn_task task = scripted_task(1);
    board->scripts[1].failing = 1;
    board->scripts[1].failing_hooks = RN_ON_ERROR;
    assert_hook_failed(end_of(rn_submit(rn, &task)), 1, RN_ON_ERROR, 1);
    assert_story(1, "f1 i1 e1 z1");
    close_runtime(rn);
}

RULE(c7_an_on_finished_that_fails_gives_the_result) {
    rn_runtime *rn = OPEN();
    for (int fails = 0; fails <= 1; fails++) {
        rn_task task = scripted_task(fails);
        board->scripts[fails].failing = (uint64_t)fails;
        board->scripts[fails].failing_hooks = RN_ON_FINISHED;
        assert_hook_failed(end_of(rn_submit(rn, &task)), fails, RN_ON_FINISHED, 1);
    }
    close_runtime(rn);
}

RULE(c7_the_error_of_a_hook_is_the_result_whether_or_not_the_hook_updates_it) {
    rn_runtime *rn = OPEN();
    static const unsigned hooks[] = {RN_ON_ITER, RN_ON_SUCCESS, RN_ON_ERROR, RN_ON_FINISHED};
    for (int i = 0; i < 8; i++) {
        unsigned hook = hooks[i / 2];
        rn_task task = scripted_task(i);
        task.updates_result = i % 2 ? hook : 0;
        board->scripts[i].failing = hook == RN_ON_ERROR;
        board->scripts[i].failing_hooks = hook;
        board->scripts[i].failing_iter = 1;
        assert_hook_failed(end_of(rn_submit(rn, &task)), i, hook, 1);
    }
    close_runtime(rn);
}

RULE(c7_of_two_hooks_that_fail_the_first_gives_the_result_and_the_other_is_in_the_log) {
    rn_runtime *rn = OPEN();
    rn_task task = scripted_task(1);
    board->scripts[1].failing_hooks = RN_ON_SUCCESS | RN_ON_FINISHED;
    assert_hook_failed(end_of(rn_submit(rn, &task)), 1, RN_ON_SUCCESS, 1);
    assert_story(1, "f1 i1 s1 z1");
    close_runtime(rn);
    assert_int_equal(book_count_code(hook_code(1, RN_ON_FINISHED, 1)), 1);
}

RULE(c7_a_later_hook_that_updates_the_result_does_not_swallow_the_error_of_an_earlier_one) {
    rn_runtime *rn = OPEN();
    rn_task task = scripted_task(1);
    task.updates_result = RN_ON_FINISHED;
    board->scripts[1].failing_hooks = RN_ON_SUCCESS;
    assert_hook_failed(end_of(rn_submit(rn, &task)), 1, RN_ON_SUCCESS, 1);
    assert_story(1, "f1 i1 s1 z1");
    close_runtime(rn);
}
