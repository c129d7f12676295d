/*
 * Starting runs: full queues, refused memory, times by the clock on the wall, and names that are none.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/os.h"
#include "core/handle.h"
#include "core/run.h"
#include "core/runtime.h"
#include "interleave.h"
#include "thread/deque.h"

static rni_a32 begun;

static rn_value nothing(rn_call *call) {
    (void)call;
    return rn_none();
}

static rn_value name_of(rn_call *call) { return rn_text(rn_name(call)); }

static void check_name(rn_runtime *runtime, const char *origin, const char *name, const char *expected) {
    rn_task task = {.size = sizeof task, .function = name_of, .origin = origin, .name = name};
    rn_future *future = rn_submit(runtime, &task);
    assert_string_equal(rn_as_text(rn_result(future)), expected);
    rn_release(future);
}

TEST(a_run_has_the_name_that_it_is_given_or_the_functions_or_none) {
    char longer[RN_NAME_MAX + 10];
    rn_runtime *runtime = rn_open(.workers = 1);
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    check_name(runtime, NULL, NULL, "");
    check_name(runtime, "\0file:1", NULL, "");
    check_name(runtime, "function\0file:1", NULL, "function");
    check_name(runtime, "function\0file:1", "given", "given");
    check_name(runtime, "function\0file:1", "", "function");
    check_name(runtime, NULL, longer, longer + 9);
    check_name(runtime, longer, NULL, longer + 9);
    assert_int_equal(rn_close(runtime), RN_OK);
}

/* ---- without a struct, and with one ---- */

static rn_value argument(rn_call *call) { return rn_keep(rn_arg(call)); }

static void check_result(rn_future *future, const char *expected) {
    assert_string_equal(rn_as_text(rn_result(future)), expected);
    rn_release(future);
}

static void check_refused(rn_future *future, int code) {
    assert_error_code(rn_result(future), code);
    rn_release(future);
}

TEST(a_task_of_nothing_but_a_function_and_an_argument_starts_with_and_without_a_struct) {
    rn_runtime *runtime = rn_open(.workers = 1, .log = rn_log_nothing);
    rn_task task = {.size = sizeof task, .function = argument};
    for (int i = 0; i < 2; i++) { /* the first of a thread has no lane to go by */
        task.arg = rn_text("struct");
        check_result(rn_submit(runtime, &task), "struct");
        check_result(rni_start(runtime, argument, NULL, rn_text("bare")), "bare");
        check_result(rni_start(runtime, name_of, "function\0file:1", rn_none()), "function");
        task.arg = rn_text("dropped");
        assert_int_equal(rn_submit_detached(runtime, &task), RN_OK);
        assert_int_equal(rni_start_detached(runtime, argument, NULL, rn_text("dropped")), RN_OK);
    }
    assert_int_equal(rn_close(runtime), RN_OK);
}

TEST(a_task_without_a_struct_is_refused_as_one_with_it) {
    rn_runtime *runtime = rn_open(.workers = 1, .log = rn_log_nothing);
    rn_release(rn_run(runtime, nothing));
    check_refused(rni_start(runtime, NULL, NULL, rn_text("dropped")), RN_INVALID);
    check_refused(rni_start(runtime, nothing, NULL, rn_error(77, "an argument")), 77);
    assert_int_equal(rni_start_detached(runtime, NULL, NULL, rn_text("dropped")), RN_INVALID);
    assert_int_equal(rni_start_detached(runtime, nothing, NULL, rn_error(77, "an argument")), 77);
    assert_int_equal(rn_close(runtime), RN_OK);
    check_refused(rni_start(runtime, nothing, NULL, rn_none()), RN_CLOSED);
    assert_int_equal(rni_start_detached(runtime, nothing, NULL, rn_none()), RN_CLOSED);
}

TEST(rn_run_hands_on_every_member_of_a_task) {
    rn_task task;
    memset(&task, 7, sizeof task);
    const rn_task copy = RNI_COPY_OF(&task);
    size_t differing = 0;
    for (size_t i = 0; i < sizeof task; i++) differing += ((const char *)&task)[i] != ((const char *)&copy)[i];
    assert_true(differing <= sizeof(uint64_t) - sizeof task.updates_result); /* what lies between two members */
}

TEST(a_thread_that_goes_from_one_runtime_to_another_starts_in_each) {
    rn_runtime *runtimes[3];
    for (int i = 0; i < 3; i++) runtimes[i] = rn_open(.workers = 1);
    for (int i = 0; i < 30; i++) check_result(rni_start(runtimes[i % 3], argument, NULL, rn_text("here")), "here");
    for (int i = 0; i < 3; i++) {
        rn_stats stats = {.size = sizeof stats};
        assert_int_equal(rn_get_stats(runtimes[i], &stats), RN_OK);
        assert_int_equal(stats.started, 10);
        assert_int_equal(rn_close(runtimes[i]), RN_OK);
    }
}

/* ---- in a task, while its runtime closes ---- */

static rn_value start_when_closing(rn_call *call) {
    rn_runtime *runtime = rn_runtime_of(call);
    rni_store_relaxed(&begun, 1);
    while (rni_phase(rni_handle_object(runtime)) == RNI_OPEN) rni_os_yield();
    int64_t delay = rn_as_int(rn_arg(call));
    rn_future *future = delay > 0 ? rn_run(runtime, nothing, .start_in = delay) : rni_start(runtime, nothing, NULL, rn_none());
    int code = rn_is_error(rn_result(future)) ? rn_error_code(rn_result(future)) : RN_OK;
    rn_release(future);
    return rn_int(code);
}

static int code_of_one_started_while(enum rn_close_how how, int64_t delay) {
    rn_runtime *runtime = rn_open(.workers = 2, .log = rn_log_nothing);
    rni_store_relaxed(&begun, 0);
    rn_future *future = rn_run(runtime, start_when_closing, .arg = rn_int(delay));
    while (!rni_load_relaxed(&begun)) rni_os_yield();
    assert_int_equal(rn_close(runtime, .how = how), RN_OK);
    int code = (int)rn_as_int(rn_result(future));
    rn_release(future);
    return code;
}

TEST(a_task_starts_others_while_its_runtime_drains_and_none_once_it_stops) {
    for (int64_t delay = 0; delay <= RN_MILLISECONDS(1); delay += RN_MILLISECONDS(1)) {
        assert_int_equal(code_of_one_started_while(RN_DRAIN, delay), RN_OK);
        assert_int_equal(code_of_one_started_while(RN_STOP, delay), RN_CLOSED);
    }
}

/* ---- by the clock on the wall ---- */

static int64_t next_start(rn_runtime *runtime) {
    rn_run_info info = {.next_start_ns = -1};
    assert_int_equal(rn_pending(runtime, &info, 1), 1);
    return info.next_start_ns;
}

TEST(a_time_is_by_the_clock_on_the_wall) {
    rn_runtime *runtime = rn_open(.workers = 1);
    rn_future *future = rn_run(runtime, nothing, .at = rni_os_wall_now() + RN_HOURS(1));
    int64_t start = next_start(runtime);
    assert_true(start > RN_MINUTES(59) && start <= RN_HOURS(1));
    assert_true(rn_cancel(future));
    rn_release(future);
    future = rn_run(runtime, nothing, .at = INT64_MAX); /* further away than a duration reaches */
    assert_true(next_start(runtime) > RN_DURATION_MAX - RN_HOURS(1));
    assert_true(rn_cancel(future));
    rn_release(future);
    future = rn_run(runtime, nothing, .at = 1);
    assert_true(rn_is_none(rn_result(future)));
    rn_release(future);
    assert_int_equal(rn_close(runtime), RN_OK);
}

/* ---- full queues ---- */

static rn_runtime *target; /* another runtime than the task's own */

static rn_value submit_to_target(rn_call *call) {
    (void)call;
    rn_future *future = rn_run(target, nothing);
    rn_value result = rn_result(future);
    int code = rn_is_error(result) ? rn_error_code(result) : RN_OK;
    rn_release(future);
    return rn_int(code);
}

static rn_value submit_to_own(rn_call *call) {
    target = rn_runtime_of(call);
    return submit_to_target(call);
}

/* A runtime whose one worker is held, and whose queue is full. */
static rn_runtime *open_full(enum rn_when_full when_full, rn_future *futures[2]) {
    gate_close();
    rn_runtime *runtime = rn_open(.workers = 1, .queue_limit = 1, .when_full = when_full, .log = rn_log_nothing);
    futures[0] = rn_run(runtime, hold);
    gate_await(1);
    futures[1] = rn_run(runtime, nothing);
    return runtime;
}

static void close_full(rn_runtime *runtime, rn_future *futures[2]) {
    gate_open();
    for (int i = 0; i < 2; i++) {
        (void)rn_wait(futures[i], -1);
        rn_release(futures[i]);
    }
    assert_int_equal(rn_close(runtime), RN_OK);
}

TEST(a_task_of_another_runtime_waits_for_room_as_anybody) {
    rn_future *futures[2];
    target = open_full(RN_BLOCK, futures);
    rn_runtime *runtime = rn_open(.workers = 1);
    rn_testing_fail(RN_FAULT_FUTEX, 1, 0);
    rn_future *future = rn_run(runtime, submit_to_target);
    while (!rn_running(future)) rni_os_yield();
    close_full(target, futures);
    int64_t code = rn_as_int(rn_result(future));
    assert_true(code == RN_OK || code == RN_CLOSED); /* there was room before the close, or not */
    rn_release(future);
    assert_int_equal(rn_close(runtime), RN_OK);
}

TEST(a_task_runs_itself_what_its_own_full_queue_does_not_take) {
    gate_close();
    rn_runtime *runtime = rn_open(.workers = 2, .queue_limit = 1, .log = rn_log_nothing);
    rn_future *held[2] = {rn_run(runtime, hold), NULL};
    gate_await(1);
    rn_future *future = rn_run(runtime, submit_to_own);
    assert_int_equal(rn_as_int(rn_result(future)), RN_OK);
    rn_release(future);
    gate_open();
    rn_release(held[0]);
    assert_int_equal(rn_close(runtime), RN_OK);
}

TEST(the_caller_runs_what_a_full_queue_does_not_take_unless_it_is_for_later) {
    rn_future *futures[2];
    rn_runtime *runtime = open_full(RN_CALLER_RUNS, futures);
    rn_future *now = rn_run(runtime, nothing);
    assert_int_equal(rn_state(now), RN_DONE);
    rn_future *twice = rn_run(runtime, nothing, .times = 2, .every = 1);
    assert_int_not_equal(rn_state(twice), RN_STATE_CANCELLED);
    rn_future *later = rn_run(runtime, nothing, .start_in = RN_HOURS(1));
    assert_error_code(rn_result(later), RN_QUEUE_FULL);
    assert_contains(rn_error_message(rn_result(later)), "and this one cannot run in its caller yet");
    rn_release(now);
    rn_release(later);
    close_full(runtime, futures);
    rn_release(twice);
}

TEST(a_full_queue_that_fails_says_how_many_wait) {
    rn_future *futures[2];
    rn_runtime *runtime = open_full(RN_FAIL, futures);
    rn_future *refused = rn_run(runtime, nothing);
    assert_error_code(rn_result(refused), RN_QUEUE_FULL);
    assert_contains(rn_error_message(rn_result(refused)), "1 runs are waiting, as many as .queue_limit accepts");
    rn_release(refused);
    close_full(runtime, futures);
}

/* ---- refused memory ---- */

TEST(a_full_deque_without_memory_for_the_overflow_refuses_and_keeps_the_rest) {
    static rn_future *futures[RNI_DEQUE_SIZE + 2];
    gate_close();
    rn_runtime *runtime = rn_open(.workers = 1, .log = rn_log_nothing);
    rn_future *held = rn_run(runtime, hold);
    gate_await(1);
    rn_testing_fail(RN_FAULT_ALLOCATION, 1, UINT64_MAX);
    for (size_t i = 0; i < COUNT_OF(futures); i++) futures[i] = rn_run(runtime, nothing);
    rn_testing_fail(RN_FAULT_ALLOCATION, 1, 0);
    for (size_t i = RNI_DEQUE_SIZE; i < COUNT_OF(futures); i++) assert_error_code(rn_result(futures[i]), RN_NO_MEMORY);
    rn_future *more = rn_run(runtime, nothing); /* by way of the overflow */
    gate_open();
    for (size_t i = 0; i < RNI_DEQUE_SIZE; i++) assert_true(rn_is_none(rn_result(futures[i])));
    assert_true(rn_is_none(rn_result(more)));
    for (size_t i = 0; i < COUNT_OF(futures); i++) rn_release(futures[i]);
    rn_release(more);
    rn_release(held);
    assert_int_equal(rn_close(runtime), RN_OK);
}

static rn_runtime *child_runtime;
static rn_future *child_future;

static void done(rn_future *future, void *context) {
    (void)future;
    (void)context;
}

/* In a thread that has not used the library yet: not even its entry can be had. */
static void *use_without_memory(void *unused) {
    (void)unused;
    rn_testing_fail(RN_FAULT_MAPPING, 1, UINT64_MAX);
    CHILD_CHECK(rn_add_done_callback(child_future, done, NULL) == RN_NO_MEMORY);
    rn_future *future = rn_run(child_runtime, nothing, .arg = rn_text("dropped"));
    CHILD_CHECK(rn_error_code(rn_result(future)) == RN_NO_MEMORY);
    rn_release(future);
    rn_drop(rn_error(1, "values need no entry"));
    rn_testing_fail(RN_FAULT_MAPPING, 1, 0);
    return NULL;
}

static void use_in_thread_without_memory(void) {
    pthread_t thread;
    child_runtime = rn_open(.workers = 1, .log = rn_log_nothing);
    child_future = rn_run(child_runtime, nothing, .start_in = RN_HOURS(1));
    CHILD_CHECK(pthread_create(&thread, NULL, use_without_memory, NULL) == 0);
    pthread_join(thread, NULL);
    CHILD_CHECK(rn_cancel(child_future));
    rn_release(child_future);
    CHILD_CHECK(rn_close(child_runtime) == RN_OK);
}

TEST(a_thread_for_which_there_is_no_memory_is_told_so) {
    char text[1000];
    in_child(text, use_in_thread_without_memory());
}

/* ---- at every instruction ---- */

static rn_runtime counters;

static void prepare(void) {
    counters.queue_limit = 2;
    rni_store_relaxed(&counters.queued, 0);
}

static void reserve(void) { assert_true(rni_queue_reserve(&counters)); }

static void judge(void) { assert_int_equal(rni_load_relaxed(&counters.queued), 2); }

TEST(two_who_reserve_at_once_have_two_places) {
    const struct interleaving parts = {prepare, reserve, reserve, judge};
    interleave(&parts);
    rni_store_relaxed(&counters.queued, 2);
    assert_false(rni_queue_reserve(&counters));
}
