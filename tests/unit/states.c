/*
 * Runs in states that last but a moment, made by hand: what others see of them.
 */
#include <pthread.h>
#include <string.h>

#include "core/handle.h"
#include "core/outside.h"
#include "core/schedule.h"
#include "core/world.h"
#include "interleave.h"
#include "thread/pool.h"

#define BEING_CANCELLED (RN_RUNNING | RNI_STOP | RNI_QUEUED)

static rn_runtime *opened;
static rni_run *run;
static rn_future *future;

static void make(uint64_t word) {
    run = rni_run_make(rni_handle_object(opened));
    assert_non_null(run);
    run->done.value = rn_none();
    rni_store_relaxed(&run->flags, 0);
    rni_store_relaxed(&run->origin, (void *)(uintptr_t)"made\0here:1");
    rni_completion_init(&run->done, word);
    future = rni_run_future(run);
}

static void set_up(uint64_t word) {
    opened = rn_open(.workers = 1);
    make(word);
}

static void tear_down(void) {
    rni_run_free(run);
    run = NULL;
    assert_int_equal(rn_close(opened), RN_OK);
}

TEST(a_run_that_is_being_cancelled_shows_as_waiting) {
    rn_run_info info;
    set_up(BEING_CANCELLED);
    assert_int_equal(rn_state(future), RN_WAITING);
    assert_false(rn_done(future) || rn_running(future) || rn_cancelled(future));
    assert_int_equal(rn_pending(opened, &info, 1), 1);
    assert_int_equal(info.state, RN_WAITING);
    assert_string_equal(info.name, "made");
    assert_true(rn_progress(future) < 0.001);
    tear_down();
}

static rni_a32 begun;

static void *cancel(void *unused) {
    (void)unused;
    rni_store_release(&begun, 1); /* pairs with the test below */
    return (void *)(intptr_t)rn_cancel(future);
}

/* Its answer holds: so it waits for the other's last step. */
static void check_second_cancel(uint64_t end, bool answer) {
    pthread_t thread;
    void *cancelled;
    set_up(BEING_CANCELLED);
    rni_store_relaxed(&begun, 0);
    assert_int_equal(pthread_create(&thread, NULL, cancel, NULL), 0);
    while (!rni_load_acquire(&begun)) rni_os_yield(); /* pairs with cancel */
    for (int i = 0; i < 100; i++) rni_os_yield();
    rni_store_release(&run->done.word, end);
    pthread_join(thread, &cancelled);
    assert_int_equal((intptr_t)cancelled, answer);
    tear_down();
}

TEST(a_cancel_that_meets_another_waits_for_its_end) {
    check_second_cancel(RN_STATE_CANCELLED | RNI_SETTLED | RNI_STOP, true);
    check_second_cancel(RN_DONE | RNI_SETTLED | RNI_STOP, false);
}

TEST(a_run_of_a_runtime_that_is_gone_is_over_soon) {
    set_up(RN_WAITING | RNI_QUEUED);
    rni_store_relaxed(&run->place, RNI_RUNTIMES_MAX - 1); /* no runtime has that place */
    assert_int_equal(rn_wait(future, -1), RN_OK);
    tear_down();
}

/* ---- waits from outside, with a kit ---- */

static rn_runtime *open_kit(void) {
    rn_testing kit = {.size = sizeof kit, .virtual_clock = true};
    return rn_open(.workers = 1, .testing = &kit);
}

TEST(a_run_of_a_kit_that_is_gone_is_waited_for_by_the_machine) {
    set_up(RN_WAITING | RNI_QUEUED);
    rni_store_relaxed(&run->flags, RNI_KIT);
    rni_store_relaxed(&run->place, RNI_RUNTIMES_MAX - 1);
    assert_int_equal(rni_outside_wait(run, 0), RN_TIMED_OUT);
    tear_down();
    set_up(RN_DONE | RNI_SETTLED);
    rni_store_relaxed(&run->flags, RNI_KIT);
    assert_int_equal(rni_outside_wait(run, 0), RN_OK);
    tear_down();
}

TEST(a_wait_for_what_is_closed_is_refused) {
    rni_outside outside = {.deadline = -1};
    opened = open_kit();
    rn_runtime *runtime = rni_handle_object(opened);
    uint64_t serial = rni_load_relaxed(&runtime->serial);
    assert_int_equal(rni_outside_wait_here(runtime, serial + 1, &outside), RN_CLOSED);
    assert_int_equal(rn_close(opened), RN_OK);
    opened = rn_open(.workers = RN_WORKERS_MAX + 1); /* it has no pool */
    runtime = rni_handle_object(opened);
    serial = rni_load_relaxed(&runtime->serial);
    assert_int_equal(rni_outside_wait_here(runtime, serial, &outside), RN_CLOSED);
    assert_int_equal(rn_close(opened), RN_OK);
}

static void *close_opened(void *unused) {
    (void)unused;
    return (void *)(intptr_t)rn_close(opened);
}

TEST(a_close_ends_the_waits_and_waits_for_their_end) {
    pthread_t thread;
    void *code;
    rni_outside first = {.deadline = -1}, second = {.deadline = -1};
    opened = open_kit();
    rn_runtime *runtime = rni_handle_object(opened);
    rni_outside_enter(runtime, &first);
    rni_outside_enter(runtime, &second);
    assert_int_equal(pthread_create(&thread, NULL, close_opened, NULL), 0);
    while (!rni_load_acquire(&first.word)) rni_os_wait(&first.word, 0, -1); /* pairs with rni_outside_close */
    rni_outside_leave(runtime, &first); /* behind the second, the younger */
    while (!rni_load_acquire(&second.word)) rni_os_wait(&second.word, 0, -1); /* as above */
    rni_outside_leave(runtime, &second);
    pthread_join(thread, &code);
    assert_int_equal((intptr_t)code, RN_OK);
}

/* ---- what is still queued when a runtime closes: runs that their awaiters took, or that were cancelled ---- */

static rn_runtime *open_threadless(void) {
    rn_testing_fail(RN_FAULT_THREAD_START, 1, UINT64_MAX);
    rn_runtime *runtime = rn_open(.workers = 1, .when_full = RN_CALLER_RUNS, .log = rn_log_nothing);
    rn_testing_fail(RN_FAULT_THREAD_START, 1, 0);
    return runtime;
}

static rn_value nothing(rn_call *call) {
    (void)call;
    return rn_none();
}

#define STALE (RN_DONE | RNI_SETTLED | RNI_RELEASED | RNI_QUEUED)

TEST(what_is_left_in_the_queues_is_given_back) {
    opened = open_threadless();
    rn_runtime *runtime = rni_handle_object(opened);
    rni_pool *pool = rni_pool_of(runtime);
    assert_int_equal(rn_run_detached(opened, nothing), RN_OK); /* so that this thread has a lane */
    rni_run *runs[3];
    void *items[3];
    for (int i = 0; i < 3; i++) {
        make(STALE);
        run->done.value = rn_text("given back");
        items[i] = runs[i] = run;
    }
    assert_true(rni_overflow_push(&pool->overflow, &items[0], 1));
    assert_true(rni_deque_push(&((rni_thread_lane *)rni_self->lane)->deque, &items[1], 1));
    assert_true(rni_ready_reserve(&pool->ready, 1));
    rni_ready_push(&pool->ready, runs[2]);
    assert_int_equal(rn_close(opened), RN_OK);
    for (int i = 0; i < 3; i++) assert_int_equal(rni_load_relaxed(&runs[i]->done.word), RN_DONE | RNI_SETTLED);
}

/* ---- a schedule that is stopped just before it waits ---- */

TEST(a_run_that_was_stopped_does_not_wait_for_its_next_tick) {
    set_up(RN_RUNNING | RNI_BEGUN | RNI_STOP);
    rn_runtime *runtime = rni_handle_object(opened);
    rni_plan *plan = rni_run_add_plan(run, 0);
    plan->timer.due = rni_now(runtime) + RN_HOURS(1);
    assert_false(rni_schedule_suspend(runtime, run));
    rni_completion_init(&run->done, RN_RUNNING | RNI_BEGUN);
    rni_store_release(&runtime->phase, RNI_STOPPING);
    assert_false(rni_schedule_suspend(runtime, run));
    rni_store_release(&runtime->phase, RNI_OPEN);
    assert_false(rni_schedule_remove(runtime, run));
    tear_down();
}

/* ---- the list, while a run ends and its place is used again: at every instruction of the one who reads ---- */

static rn_run_info infos[8];
static int64_t listed;
static uint64_t first_id, second_id;

static void prepare(void) {
    make(RN_WAITING | RNI_QUEUED);
    first_id = rni_run_id(run);
    second_id = 0;
}

static void list(void) { listed = rn_pending(opened, infos, COUNT_OF(infos)); }

static void end_run(void) {
    rni_run_free(run);
    run = NULL;
}

static void replace_run(void) {
    rni_run_free(run);
    run = rni_run_make(rni_handle_object(opened));
    rni_store_relaxed(&run->origin, (void *)(uintptr_t)"another\0here:2");
    rni_completion_init(&run->done, RN_RUNNING | RNI_BEGUN);
    second_id = rni_run_id(run);
}

static void judge(void) {
    assert_in_range(listed, 0, 2);
    for (int64_t i = 0; i < listed; i++) {
        bool is_first = infos[i].id == first_id;
        assert_true(is_first || infos[i].id == second_id);
        assert_string_equal(infos[i].name, is_first ? "made" : "another");
        assert_int_equal(infos[i].state, is_first ? RN_WAITING : RN_RUNNING);
    }
    if (run) rni_run_free(run);
    run = NULL;
}

TEST(an_entry_of_the_list_is_one_run_even_if_it_ends_meanwhile) {
    opened = rn_open(.workers = 1);
    run = NULL;
    const struct interleaving ends = {prepare, list, end_run, judge}, replaced = {prepare, list, replace_run, judge};
    interleave_each(29, &ends);
    if (run) rni_run_free(run); /* of the last round, in which nothing interrupted */
    run = NULL;
    interleave_each(29, &replaced);
    if (run) rni_run_free(run); /* as above */
    assert_int_equal(rn_close(opened), RN_OK);
}

/* ---- values of no kind ---- */

TEST(a_value_of_no_kind_has_no_text) {
    char text[10] = "before";
    assert_int_equal(rn_format((rn_value){.kind = 9}, text, sizeof text), 0);
    assert_string_equal(text, "");
}
