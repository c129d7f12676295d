/*
 * Closing, and what others do meanwhile.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/os.h"
#include "core/run.h"
#include "support.h"

static rn_value nothing(rn_call *call) {
    (void)call;
    return rn_none();
}

/* Ends when the runtime is being closed. */
static rn_value until_stopping(rn_call *call) {
    while (!rn_stopping(call)) rni_os_yield();
    return rn_none();
}

static rn_runtime *open_quiet(unsigned workers) { return rn_open(.workers = workers, .log = rn_log_nothing); }

static void await_begin(rn_future *future) {
    while (rn_state(future) == RN_WAITING) rni_os_yield();
}

/* ---- from inside ---- */

static rn_value close_argument(rn_call *call) { return rn_int(rn_close(rn_as_pointer(rn_arg(call)))); }

TEST(a_task_closes_another_runtime_but_not_its_own) {
    rn_runtime *first = open_quiet(1), *second = open_quiet(1);
    rn_future *future = rn_run(first, close_argument, .arg = rn_pointer(first));
    assert_int_equal(rn_as_int(rn_result(future)), RN_DEADLOCK);
    rn_release(future);
    future = rn_run(first, close_argument, .arg = rn_pointer(second));
    assert_int_equal(rn_as_int(rn_result(future)), RN_OK);
    rn_release(future);
    assert_int_equal(rn_close(second), RN_CLOSED);
    assert_int_equal(rn_close(first), RN_OK);
}

static int closed[2];

static void close_both(rn_future *future, void *context) {
    rn_runtime **runtimes = context;
    (void)future;
    for (int i = 0; i < 2; i++) closed[i] = rn_close(runtimes[i]);
}

/* A run counts as pending until its callbacks have returned. */
TEST(a_done_callback_closes_another_runtime_but_not_its_own) {
    rn_runtime *runtimes[2] = {open_quiet(1), open_quiet(1)};
    gate_close();
    rn_future *future = rn_run(runtimes[0], nothing, .start_in = RN_HOURS(1));
    assert_int_equal(rn_add_done_callback(future, close_both, runtimes), RN_OK);
    assert_true(rn_cancel(future)); /* the callbacks are called here */
    assert_int_equal(closed[0], RN_DEADLOCK);
    assert_int_equal(closed[1], RN_OK);
    rn_release(future);
    assert_int_equal(rn_close(runtimes[0]), RN_OK);
}

static rn_future *second_run;
static int waited;

static void wait_for_second(rn_future *future, void *context) {
    (void)future;
    (void)context;
    waited = rn_wait(second_run, -1);
}

TEST(a_callback_of_a_run_that_close_cancels_may_wait_for_another) {
    rn_runtime *runtime = open_quiet(1);
    rn_future *busy = rn_run(runtime, until_stopping);
    await_begin(busy);
    rn_future *first = rn_run(runtime, nothing);
    second_run = rn_run(runtime, nothing);
    assert_int_equal(rn_add_done_callback(first, wait_for_second, NULL), RN_OK);
    assert_int_equal(rn_close(runtime, .how = RN_STOP), RN_OK);
    assert_int_equal(waited, RN_OK);
    rn_release(busy);
    rn_release(first);
    rn_release(second_run);
}

static rn_value fork_and_return(rn_call *call) {
    (void)call;
    int status = 0;
    pid_t child = fork();
    if (child == 0) return rn_none();
    bool aborted = waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
    return rn_bool(aborted);
}

static void run_forking_task(void) {
    rn_runtime *runtime = open_quiet(1);
    rn_future *future = rn_run(runtime, fork_and_return);
    CHILD_CHECK(rn_as_bool(rn_result(future)));
    rn_release(future);
    CHILD_CHECK(rn_close(runtime) == RN_OK);
}

TEST(a_process_forked_in_a_task_does_not_return_from_it) {
    char text[1000];
    in_child(text, run_forking_task());
    assert_contains(text, "a process forked in a task must not return from it");
}

/* ---- meanwhile ---- */

static rn_value is_stopping(rn_call *call) { return rn_bool(rn_stopping(call)); }

TEST(a_drain_stops_endless_runs_only) {
    rn_runtime *runtime = open_quiet(1);
    gate_close();
    rn_future *busy = rn_run(runtime, until_stopping, .every = 1);
    await_begin(busy);
    rn_future *plain = rn_run(runtime, is_stopping), *named = rn_run(runtime, is_stopping, .name = "named");
    assert_int_equal(rn_close(runtime), RN_OK);
    assert_false(rn_as_bool(rn_result(plain)));
    assert_false(rn_as_bool(rn_result(named)));
    assert_true(rn_is_none(rn_result(busy)));
    rn_release(busy);
    rn_release(plain);
    rn_release(named);
}

static rn_future *outsider;

/* Waits, while its runtime stops, for a run that came from outside and has not begun. */
static rn_value wait_for_outsider(rn_call *call) {
    while (!rn_stopping(call)) rni_os_yield();
    return rn_int(rn_error_code(rn_result(outsider)));
}

TEST(a_task_that_waits_while_its_runtime_stops_gets_the_cancellation) {
    rn_runtime *runtime = open_quiet(1);
    gate_close();
    rn_future *busy = rn_run(runtime, hold);
    gate_await(1);
    rn_future *waiting = rn_run(runtime, wait_for_outsider);
    rn_future *between = rn_run(runtime, nothing);
    outsider = rn_run(runtime, nothing);
    gate_open();
    await_begin(waiting);
    assert_int_equal(rn_close(runtime, .how = RN_STOP), RN_OK);
    assert_int_equal(rn_as_int(rn_result(waiting)), RN_CANCELLED);
    rn_future *futures[] = {busy, waiting, between, outsider};
    for (size_t i = 0; i < COUNT_OF(futures); i++) rn_release(futures[i]);
}

static void *submit_blocked(void *runtime) {
    rn_future *future = rn_run(runtime, nothing);
    int code = rn_is_error(rn_result(future)) ? rn_error_code(rn_result(future)) : RN_OK;
    rn_release(future);
    return (void *)(intptr_t)code;
}

/* The close makes room too, by cancelling: then the run is taken, and cancelled. */
TEST(a_producer_that_waits_for_room_is_told_of_the_close) {
    pthread_t thread;
    void *code;
    rn_runtime *runtime = rn_open(.workers = 1, .queue_limit = 1, .log = rn_log_nothing);
    rn_future *busy = rn_run(runtime, until_stopping);
    await_begin(busy);
    rn_future *queued = rn_run(runtime, nothing);
    rn_testing_fail(RN_FAULT_FUTEX, 1, 0);
    assert_int_equal(pthread_create(&thread, NULL, submit_blocked, runtime), 0);
    await_sleepers(1);
    assert_int_equal(rn_close(runtime, .how = RN_STOP), RN_OK);
    pthread_join(thread, &code);
    assert_true((intptr_t)code == RN_CLOSED || (intptr_t)code == RN_CANCELLED);
    rn_release(busy);
    rn_release(queued);
}

/* ---- by a deadline ---- */

static void open_the_gate(void *context, const rn_log_record *record) {
    (void)context;
    (void)record;
    gate_open();
}

TEST(a_close_with_much_time_says_for_what_it_waits_and_ends_early) {
    gate_close();
    rn_runtime *runtime = rn_open(.workers = 1, .log = open_the_gate);
    rn_future *future = rn_run(runtime, hold);
    gate_await(1);
    assert_int_equal(rn_close(runtime, .within = RN_MINUTES(3)), RN_OK);
    rn_release(future);
}

TEST(a_close_with_little_time_is_over_before_it_says_anything) {
    gate_close();
    rn_runtime *runtime = open_quiet(1);
    rn_future *future = rn_run(runtime, hold);
    gate_await(1);
    assert_int_equal(rn_close(runtime, .within = RN_MILLISECONDS(3)), RN_TIMED_OUT);
    gate_open();
    assert_int_equal(rn_close(runtime), RN_OK);
    rn_release(future);
}

TEST(the_time_of_a_close_is_that_of_a_virtual_clock) {
    rn_testing kit = {.size = sizeof kit, .virtual_clock = true};
    rn_runtime *runtime = rn_open(.workers = 1, .log = rn_log_nothing, .testing = &kit);
    rn_future *future = rn_run(runtime, nothing, .start_in = RN_HOURS(5));
    assert_int_equal(rn_close(runtime, .within = RN_HOURS(2)), RN_TIMED_OUT);
    assert_true(rn_testing_now(runtime) == RN_HOURS(2));
    assert_int_equal(rn_state(future), RN_WAITING);
    assert_int_equal(rn_close(runtime, .within = RN_HOURS(4)), RN_OK);
    assert_true(rn_is_none(rn_result(future)));
    rn_release(future);
}

/* ---- twice ---- */

static void release_twice(rn_future *future, void *context) {
    (void)context;
    rn_release(future);
    rn_release(future);
}

static void release_twice_in_callback(void) {
    rn_runtime *runtime = open_quiet(1);
    rn_future *future = rn_run(runtime, nothing, .start_in = RN_HOURS(1));
    CHILD_CHECK(rn_add_done_callback(future, release_twice, NULL) == RN_OK);
    (void)rn_cancel(future);
}

TEST(a_future_released_twice_in_its_callback_stops_the_program) {
    assert_misuse("rn_release: the future 0x", release_twice_in_callback());
}
