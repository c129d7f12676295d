/*
 * Completion, two functions at once: the second at every instruction of the first. Of those that may begin or end a
 * run one wins, nothing is told twice, and the memory goes back once.
 */
#include <string.h>

#include "core/completion.h"
#include "interleave.h"

#define ARG 11
#define RESULT 77

/* What a completion becomes whose memory was given back: nobody may write to it any more. */
#define POISON UINT64_C(0xdeaddeaddeaddead)

/* What both did. */
static struct {
    rni_completion completion;
    rni_node nodes[2];
    uint64_t start, last_word;
    rn_value last_value;
    rni_a32 begun, cancelled, suspended, added, refused, told, freed, given_back; /* one may interrupt the other's count */
} pair;

static void prepare(void) {
    uint64_t start = pair.start;
    memset(&pair, 0, sizeof pair);
    pair.start = start;
    pair.completion.value = rn_int(ARG);
    rni_completion_init(&pair.completion, start);
}

static unsigned number(rni_a32 *count) { return rni_load_relaxed(count); }

static void count_if(rni_a32 *count, bool condition) { (void)rni_add_relaxed(count, condition); }

static uint64_t word(void) {
    uint64_t now = rni_load_relaxed(&pair.completion.word);
    if (!number(&pair.given_back)) return now;
    assert_int_equal(now, POISON);
    assert_int_equal(pair.completion.value.bits, POISON);
    return pair.last_word;
}

static void note_verdict(enum rni_verdict verdict) {
    if (verdict != RNI_LAST) return;
    pair.last_word = rni_load_relaxed(&pair.completion.word);
    pair.last_value = pair.completion.value;
    pair.completion.value.bits = POISON;
    rni_store_relaxed(&pair.completion.word, POISON);
    count_if(&pair.given_back, true);
}

static void note_told(rn_future *future, void *context) {
    (void)future;
    (void)context;
    count_if(&pair.told, true);
}

static void note_freed(rni_node *node) {
    (void)node;
    count_if(&pair.freed, true);
}

static void settle(enum rni_verdict verdict) {
    if (verdict == RNI_YES) verdict = rni_completion_settle(&pair.completion, NULL, note_freed);
    note_verdict(verdict);
}

static void begin(void) {
    enum rni_verdict verdict = rni_completion_begin(&pair.completion);
    count_if(&pair.begun, verdict == RNI_YES);
    note_verdict(verdict);
}

static void claim(void) { count_if(&pair.begun, rni_completion_claim(&pair.completion) == RNI_YES); }

static void cancel(void) {
    rn_value former;
    enum rni_verdict verdict = rni_completion_cancel(&pair.completion, rn_int(RESULT), &former);
    if (verdict == RNI_NO) return;
    count_if(&pair.cancelled, true);
    settle(verdict);
}

static void suspend(void) { count_if(&pair.suspended, rni_completion_suspend(&pair.completion) == RNI_YES); }

static void unbegin(void) { count_if(&pair.suspended, rni_completion_unbegin(&pair.completion) == RNI_YES); }

static void stop(void) { (void)rni_completion_stop(&pair.completion); }

static void make_claimable(void) { rni_completion_make_claimable(&pair.completion); }

static void complete(void) { settle(rni_completion_complete(&pair.completion, rn_int(RESULT))); }

static void release(void) { note_verdict(rni_completion_release(&pair.completion)); }

static void unqueue(void) { note_verdict(rni_completion_unqueue(&pair.completion)); }

static void add_node(rni_node *node) {
    *node = (rni_node){NULL, note_told, NULL};
    count_if(rni_completion_add(&pair.completion, node) ? &pair.added : &pair.refused, true);
}

static void add_first(void) { add_node(&pair.nodes[0]); }
static void add_second(void) { add_node(&pair.nodes[1]); }

/* With a deadline gone by: it sets WAITED, and does not sleep. */
static void sleep_past(void) { rni_completion_sleep(&pair.completion, 1); }

static void play(uint64_t start, void (*first)(void), void (*second)(void), void (*judge)(void)) {
    const struct interleaving parts = {prepare, first, second, judge};
    pair.start = start;
    interleave(&parts);
}

static void play_both(uint64_t start, void (*first)(void), void (*second)(void), void (*judge)(void)) {
    play(start, first, second, judge);
    play(start, second, first, judge);
}

#define QUEUED (RN_WAITING | RNI_QUEUED | RNI_CLAIMABLE)
#define RUNNING (RN_RUNNING | RNI_BEGUN)

static void judge_one_winner(void) { assert_int_equal(number(&pair.begun) + number(&pair.cancelled), 1); }

TEST(of_those_who_begin_claim_and_cancel_one_wins) {
    play_both(QUEUED, begin, claim, judge_one_winner);
    play_both(QUEUED, begin, cancel, judge_one_winner);
    play_both(QUEUED, claim, cancel, judge_one_winner);
    play(QUEUED, claim, claim, judge_one_winner);
    play(QUEUED, cancel, cancel, judge_one_winner);
}

static void judge_begun(void) {
    assert_int_equal(number(&pair.begun), 1);
    assert_int_equal(word() & (RNI_STATE | RNI_BEGUN | RNI_QUEUED), RUNNING);
}

static void judge_begun_and_stopped(void) {
    judge_begun();
    assert_true(word() & RNI_STOP);
}

static void judge_begun_and_added(void) {
    judge_begun();
    assert_int_equal(number(&pair.added), 1);
    assert_int_equal(word() >> RNI_NODE_SHIFT, (uintptr_t)&pair.nodes[0]);
}

TEST(what_others_change_does_not_keep_a_run_from_beginning) {
    play_both(QUEUED, begin, stop, judge_begun_and_stopped);
    play_both(QUEUED, begin, release, judge_begun);
    play_both(QUEUED, begin, sleep_past, judge_begun);
    play_both(QUEUED, begin, add_first, judge_begun_and_added);
}

static void judge_claimed(void) {
    assert_int_equal(number(&pair.begun), 1);
    assert_int_equal(word() & (RNI_STATE | RNI_BEGUN | RNI_QUEUED), RUNNING | RNI_QUEUED);
}

TEST(what_others_change_does_not_keep_a_run_from_being_claimed) {
    play_both(QUEUED, claim, stop, judge_claimed);
    play_both(QUEUED, claim, release, judge_claimed);
    play_both(QUEUED, claim, sleep_past, judge_claimed);
}

/* Claimed if it was claimable in time; never twice, never lost. */
static void judge_claimed_or_waiting(void) {
    if (number(&pair.begun)) judge_claimed();
    else assert_int_equal(word(), RN_WAITING | RNI_QUEUED | RNI_CLAIMABLE);
}

TEST(a_run_becomes_claimable_while_one_claims_it) {
    play_both(RN_WAITING | RNI_QUEUED, claim, make_claimable, judge_claimed_or_waiting);
}

static void judge_suspended_or_stopped(void) {
    assert_true(word() & RNI_STOP);
    assert_int_equal(word() & (RNI_STATE | RNI_QUEUED), number(&pair.suspended) ? RN_WAITING | RNI_QUEUED : RN_RUNNING);
}

static void judge_suspended(void) {
    assert_int_equal(number(&pair.suspended), 1);
    assert_int_equal(word() & (RNI_STATE | RNI_QUEUED), RN_WAITING | RNI_QUEUED);
}

TEST(a_run_that_suspends_while_it_is_stopped_does_one_of_both) {
    play_both(RUNNING, suspend, stop, judge_suspended_or_stopped);
    play_both(RUNNING, suspend, release, judge_suspended);
    play_both(RUNNING, suspend, add_first, judge_suspended);
    play_both(RUNNING, unbegin, stop, judge_suspended_or_stopped);
    play_both(RUNNING, unbegin, release, judge_suspended);
    play_both(RUNNING, unbegin, add_first, judge_suspended);
}

static void judge_over(void) {
    assert_true(rni_is_over(word()));
    assert_int_equal(rn_as_int(number(&pair.given_back) ? pair.last_value : pair.completion.value), RESULT);
    assert_int_equal(word() & RNI_WAITED, 0);
}

/* Each callback is called by the one that completes, or its adder is told to call it. */
static void judge_told(void) {
    judge_over();
    assert_int_equal(number(&pair.told), number(&pair.added));
    assert_int_equal(number(&pair.freed), number(&pair.added));
    assert_int_equal(number(&pair.added) + number(&pair.refused), 1);
    assert_true(word() & RNI_SETTLED);
}

TEST(a_callback_added_at_the_end_is_called_once) {
    play_both(RUNNING, complete, add_first, judge_told);
    play_both(QUEUED, cancel, add_first, judge_told);
}

static void judge_two_told(void) {
    assert_int_equal(number(&pair.added), 2);
    complete();
    assert_int_equal(number(&pair.told), 2);
    assert_int_equal(number(&pair.freed), 2);
}

TEST(two_callbacks_added_at_once_are_both_called) { play(RUNNING, add_first, add_second, judge_two_told); }

static void judge_given_back(void) {
    judge_over();
    assert_int_equal(number(&pair.given_back), 1);
}

static void judge_once(void) {
    assert_int_equal(number(&pair.given_back), 1);
    assert_true(rni_is_over(word()));
}

static void complete_with_callback(void) {
    add_first();
    complete();
}

static void release_and_unqueue(void) {
    release();
    unqueue();
}

static void cancel_and_unqueue(void) {
    cancel();
    unqueue();
}

TEST(the_memory_goes_back_once) {
    play_both(RUNNING, complete, release, judge_given_back);
    play_both(RUNNING, complete_with_callback, release, judge_given_back);
    play_both(RUNNING | RNI_QUEUED, complete, release_and_unqueue, judge_given_back);
    play_both(RUNNING | RNI_QUEUED, complete_with_callback, release_and_unqueue, judge_given_back);
    play_both(RUNNING | RNI_QUEUED | RNI_RELEASED, complete, unqueue, judge_given_back);
    play_both(QUEUED, cancel_and_unqueue, release, judge_given_back);
    play_both(QUEUED | RNI_RELEASED, cancel, begin, judge_one_winner);
    play_both(RN_DONE | RNI_SETTLED | RNI_QUEUED, release, unqueue, judge_once);
}

TEST(a_sleeper_that_comes_late_does_not_hide_the_end) {
    play_both(RUNNING, complete, sleep_past, judge_over);
    play_both(QUEUED, cancel, sleep_past, judge_over);
}
