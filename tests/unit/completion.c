/*
 * Completion, single-threaded: every function on every state that it may meet.
 */
#include "core/completion.h"

#include <pthread.h>

#include "support.h"

#define VALUE 77
#define ARG 11

static rni_completion completion;

static void set_up(uint64_t word) {
    completion.value = rn_int(ARG);
    rni_completion_init(&completion, word);
}

static uint64_t word(void) { return rni_load_relaxed(&completion.word); }

/* The word that a function meets, what it answers, and the word that it leaves. */
struct row {
    uint64_t before;
    enum rni_verdict verdict;
    uint64_t after;
};

#define W ((uint64_t)RN_WAITING)
#define R ((uint64_t)RN_RUNNING)
#define D ((uint64_t)RN_DONE)
#define C ((uint64_t)RN_STATE_CANCELLED)

static void check_rows(enum rni_verdict (*function)(rni_completion *), const struct row *rows, size_t count) {
    for (size_t i = 0; i < count; i++) {
        set_up(rows[i].before);
        if (function(&completion) == rows[i].verdict && word() == rows[i].after) continue;
        fail_msg("row %zu, word %#lx: left %#lx", i, (unsigned long)rows[i].before, (unsigned long)word());
    }
}

TEST(begin_takes_what_waits_and_unqueues_the_rest) {
    static const struct row rows[] = {
        {W | RNI_QUEUED, RNI_YES, R | RNI_BEGUN},
        {W | RNI_QUEUED | RNI_CLAIMABLE, RNI_YES, R | RNI_BEGUN | RNI_CLAIMABLE},
        {W | RNI_QUEUED | RNI_BEGUN | RNI_STOP, RNI_YES, R | RNI_BEGUN | RNI_STOP},
        {W | RNI_QUEUED | RNI_RELEASED | RNI_WAITED, RNI_YES, R | RNI_BEGUN | RNI_RELEASED | RNI_WAITED},
        {R | RNI_QUEUED | RNI_BEGUN, RNI_NO, R | RNI_BEGUN}, /* claimed */
        {R | RNI_QUEUED | RNI_STOP, RNI_NO, R | RNI_STOP},   /* being cancelled */
        {D | RNI_QUEUED | RNI_BEGUN, RNI_NO, D | RNI_BEGUN},
        {D | RNI_QUEUED | RNI_SETTLED, RNI_NO, D | RNI_SETTLED},
        {D | RNI_QUEUED | RNI_RELEASED, RNI_NO, D | RNI_RELEASED},
        {C | RNI_QUEUED | RNI_SETTLED, RNI_NO, C | RNI_SETTLED},
        {D | RNI_QUEUED | RNI_SETTLED | RNI_RELEASED, RNI_LAST, D | RNI_SETTLED | RNI_RELEASED},
        {C | RNI_QUEUED | RNI_SETTLED | RNI_RELEASED, RNI_LAST, C | RNI_SETTLED | RNI_RELEASED},
    };
    check_rows(rni_completion_begin, rows, COUNT_OF(rows));
}

TEST(begin_detached_begins) {
    set_up(W | RNI_QUEUED | RNI_RELEASED | RNI_CLAIMABLE);
    rni_completion_begin_detached(&completion);
    assert_int_equal(word(), R | RNI_BEGUN | RNI_RELEASED | RNI_CLAIMABLE);
}

TEST(unbegin_takes_back_what_was_begun_unless_asked_to_stop) {
    static const struct row rows[] = {
        {R | RNI_BEGUN, RNI_YES, W | RNI_QUEUED},
        {R | RNI_BEGUN | RNI_CLAIMABLE | RNI_WAITED, RNI_YES, W | RNI_QUEUED | RNI_CLAIMABLE | RNI_WAITED},
        {R | RNI_BEGUN | RNI_RELEASED, RNI_YES, W | RNI_QUEUED | RNI_RELEASED},
        {R | RNI_BEGUN | RNI_STOP, RNI_NO, R | RNI_BEGUN | RNI_STOP},
    };
    check_rows(rni_completion_unbegin, rows, COUNT_OF(rows));
}

TEST(claim_takes_what_waits_and_is_due_and_stays_queued) {
    static const struct row rows[] = {
        {W | RNI_QUEUED | RNI_CLAIMABLE, RNI_YES, R | RNI_BEGUN | RNI_QUEUED | RNI_CLAIMABLE},
        {W | RNI_QUEUED, RNI_NO, W | RNI_QUEUED},
        {R | RNI_BEGUN | RNI_CLAIMABLE, RNI_NO, R | RNI_BEGUN | RNI_CLAIMABLE},
        {D | RNI_CLAIMABLE, RNI_NO, D | RNI_CLAIMABLE},
        {C | RNI_CLAIMABLE, RNI_NO, C | RNI_CLAIMABLE},
    };
    check_rows(rni_completion_claim, rows, COUNT_OF(rows));
}

TEST(suspend_waits_unless_asked_to_stop) {
    static const struct row rows[] = {
        {R | RNI_BEGUN, RNI_YES, W | RNI_BEGUN | RNI_QUEUED},
        {R | RNI_BEGUN | RNI_WAITED | RNI_RELEASED, RNI_YES, W | RNI_BEGUN | RNI_WAITED | RNI_RELEASED | RNI_QUEUED},
        {R | RNI_BEGUN | RNI_STOP, RNI_NO, R | RNI_BEGUN | RNI_STOP},
    };
    check_rows(rni_completion_suspend, rows, COUNT_OF(rows));
}

static enum rni_verdict cancel(rni_completion *of) {
    rn_value former = rn_int(0);
    enum rni_verdict verdict = rni_completion_cancel(of, rn_int(VALUE), &former);
    assert_int_equal(rn_as_int(of->value), verdict == RNI_YES ? VALUE : ARG);
    assert_int_equal(rn_as_int(former), verdict == RNI_YES ? ARG : 0);
    return verdict;
}

TEST(cancel_takes_what_has_not_begun) {
    static const struct row rows[] = {
        {W | RNI_QUEUED, RNI_YES, C | RNI_QUEUED | RNI_STOP},
        {W | RNI_QUEUED | RNI_WAITED | RNI_CLAIMABLE, RNI_YES, C | RNI_QUEUED | RNI_STOP | RNI_CLAIMABLE},
        {W | RNI_QUEUED | RNI_RELEASED, RNI_YES, C | RNI_QUEUED | RNI_STOP | RNI_RELEASED},
        {W | RNI_QUEUED | RNI_BEGUN, RNI_NO, W | RNI_QUEUED | RNI_BEGUN},
        {R | RNI_BEGUN, RNI_NO, R | RNI_BEGUN},
        {R | RNI_STOP, RNI_NO, R | RNI_STOP},
        {D | RNI_BEGUN, RNI_NO, D | RNI_BEGUN},
        {C, RNI_NO, C},
    };
    check_rows(cancel, rows, COUNT_OF(rows));
}

static enum rni_verdict complete(rni_completion *of) {
    enum rni_verdict verdict = rni_completion_complete(of, rn_int(VALUE));
    assert_int_equal(rn_as_int(of->value), VALUE);
    return verdict;
}

TEST(complete_settles_where_nobody_is_to_be_told) {
    static const struct row rows[] = {
        {R | RNI_BEGUN, RNI_NO, D | RNI_BEGUN | RNI_SETTLED},
        {R | RNI_BEGUN | RNI_WAITED, RNI_NO, D | RNI_BEGUN | RNI_SETTLED},
        {R | RNI_BEGUN | RNI_QUEUED | RNI_RELEASED, RNI_NO, D | RNI_BEGUN | RNI_QUEUED | RNI_RELEASED | RNI_SETTLED},
        {R | RNI_BEGUN | RNI_RELEASED, RNI_LAST, D | RNI_BEGUN | RNI_RELEASED | RNI_SETTLED},
        {R | RNI_BEGUN | RNI_RELEASED | RNI_WAITED, RNI_LAST, D | RNI_BEGUN | RNI_RELEASED | RNI_SETTLED},
    };
    check_rows(complete, rows, COUNT_OF(rows));
}

TEST(release_gives_back_once) {
    static const struct row rows[] = {
        {W | RNI_QUEUED, RNI_YES, W | RNI_QUEUED | RNI_RELEASED},
        {D | RNI_BEGUN, RNI_YES, D | RNI_BEGUN | RNI_RELEASED},
        {D | RNI_SETTLED | RNI_QUEUED, RNI_YES, D | RNI_SETTLED | RNI_QUEUED | RNI_RELEASED},
        {D | RNI_SETTLED, RNI_LAST, D | RNI_SETTLED}, /* nobody is left to be told */
        {D | RNI_RELEASED, RNI_NO, D | RNI_RELEASED},
    };
    check_rows(rni_completion_release, rows, COUNT_OF(rows));
}

TEST(unqueue_drops_the_pointer_of_a_queue) {
    static const struct row rows[] = {
        {C | RNI_QUEUED | RNI_SETTLED, RNI_YES, C | RNI_SETTLED},
        {C | RNI_QUEUED | RNI_RELEASED, RNI_YES, C | RNI_RELEASED},
        {C | RNI_QUEUED | RNI_SETTLED | RNI_RELEASED, RNI_LAST, C | RNI_SETTLED | RNI_RELEASED},
    };
    check_rows(rni_completion_unqueue, rows, COUNT_OF(rows));
}

TEST(stop_says_what_it_met) {
    const uint64_t met[] = {W | RNI_QUEUED, R | RNI_BEGUN, D | RNI_SETTLED, C, R | RNI_STOP};
    for (size_t i = 0; i < COUNT_OF(met); i++) {
        set_up(met[i]);
        assert_int_equal(rni_completion_stop(&completion), met[i]);
        assert_int_equal(word(), met[i] | RNI_STOP);
    }
}

TEST(a_timer_makes_a_run_claimable) {
    set_up(W | RNI_QUEUED);
    assert_int_equal(rni_completion_claim(&completion), RNI_NO);
    rni_completion_make_claimable(&completion);
    assert_int_equal(rni_completion_claim(&completion), RNI_YES);
}

TEST(the_questions_to_a_word) {
    assert_true(rni_is_over(D) && rni_is_over(C) && !rni_is_over(W) && !rni_is_over(R));
    assert_true(rni_is_being_cancelled(R | RNI_STOP));
    assert_false(rni_is_being_cancelled(R | RNI_BEGUN) || rni_is_being_cancelled(W) || rni_is_being_cancelled(C));
    assert_int_equal(rni_state_of(C | RNI_QUEUED | RNI_SETTLED), RN_STATE_CANCELLED);
}

/* ---- done callbacks ---- */

#define NODES 5

static struct {
    rni_node nodes[NODES];
    int called[2 * NODES], calls, freed;
} told;

static void note_call(rn_future *future, void *context) {
    assert_int_equal((uintptr_t)future, 4711);
    told.called[told.calls++] = (int)((rni_node *)context - told.nodes);
}

static void note_free(rni_node *node) {
    (void)node;
    told.freed++;
}

static bool add(int index) {
    told.nodes[index] = (rni_node){NULL, note_call, &told.nodes[index]};
    return rni_completion_add(&completion, &told.nodes[index]);
}

static enum rni_verdict settle(void) { return rni_completion_settle(&completion, (rn_future *)4711, note_free); }

static void check_told(int count) {
    assert_int_equal(told.calls, count);
    assert_int_equal(told.freed, count);
    for (int i = 0; i < count; i++) assert_int_equal(told.called[i], i);
    told.calls = told.freed = 0;
}

TEST(done_callbacks_are_told_in_the_order_added) {
    for (int count = 1; count <= NODES; count++) {
        set_up(R | RNI_BEGUN);
        for (int i = 0; i < count; i++) assert_true(add(i));
        assert_int_equal(complete(&completion), RNI_YES);
        assert_int_equal(word() & RNI_SETTLED, 0);
        assert_int_equal(told.calls, 0);
        assert_int_equal(settle(), RNI_YES);
        assert_int_equal(word() & RNI_SETTLED, RNI_SETTLED);
        check_told(count);
    }
}

TEST(nothing_can_be_added_to_what_is_over) {
    set_up(D | RNI_SETTLED);
    assert_false(add(0));
    set_up(C);
    assert_false(add(0));
    assert_int_equal(told.calls, 0);
}

TEST(the_last_to_let_go_gives_back) {
    set_up(R | RNI_BEGUN | RNI_RELEASED);
    assert_true(add(0));
    assert_int_equal(complete(&completion), RNI_YES);
    assert_int_equal(settle(), RNI_LAST);
    check_told(1);
    set_up(R | RNI_BEGUN | RNI_RELEASED | RNI_QUEUED);
    assert_true(add(0));
    assert_int_equal(complete(&completion), RNI_YES);
    assert_int_equal(settle(), RNI_YES);
    assert_int_equal(rni_completion_unqueue(&completion), RNI_LAST);
    check_told(1);
}

TEST(a_cancelled_run_tells_its_callbacks) {
    set_up(W | RNI_QUEUED | RNI_RELEASED);
    assert_true(add(0));
    assert_true(add(1));
    assert_int_equal(cancel(&completion), RNI_YES);
    assert_int_equal(settle(), RNI_YES);
    assert_int_equal(rni_completion_unqueue(&completion), RNI_LAST);
    check_told(2);
}

/* ---- sleeping ---- */

static void *sleep_until_over(void *unused) {
    (void)unused;
    while (!rni_is_over(rni_load_acquire(&completion.word))) rni_completion_sleep(&completion, -1); /* pairs with complete */
    return NULL;
}

static void check_woken(uint64_t before, enum rni_verdict (*end)(rni_completion *), enum rni_verdict verdict) {
    pthread_t threads[3];
    set_up(before);
    rn_testing_fail(RN_FAULT_FUTEX, 1, 0);
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, sleep_until_over, NULL), 0);
    await_sleepers(COUNT_OF(threads));
    assert_true(word() & RNI_WAITED);
    assert_int_equal(end(&completion), verdict);
    for (size_t i = 0; i < COUNT_OF(threads); i++) pthread_join(threads[i], NULL);
    assert_int_equal(word() & RNI_WAITED, 0);
}

TEST(every_sleeper_wakes_when_it_is_over) {
    check_woken(R | RNI_BEGUN, complete, RNI_NO);
    check_woken(W | RNI_QUEUED, cancel, RNI_YES);
}

TEST(nobody_sleeps_on_what_is_over_or_past_the_deadline) {
    rn_testing_fail(RN_FAULT_FUTEX, 1, 0);
    set_up(D | RNI_SETTLED);
    rni_completion_sleep(&completion, -1);
    assert_int_equal(rn_testing_reached(RN_FAULT_FUTEX), 0);
    set_up(R | RNI_BEGUN);
    rni_completion_sleep(&completion, 1);
    assert_int_equal(rn_testing_reached(RN_FAULT_FUTEX), 1);
    assert_int_equal(word(), R | RNI_BEGUN | RNI_WAITED);
}
