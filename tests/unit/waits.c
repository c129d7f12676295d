/*
 * Waits inside tasks, where threads are scarce, chains are long, or somebody stops what is waited for.
 */
#include <pthread.h>
#include <stdio.h>

#include "base/os.h"
#include "core/handle.h"
#include "core/run.h"
#include "core/world.h"
#include "support.h"
#include "thread/pool.h"

static rn_value nothing(rn_call *call) {
    (void)call;
    return rn_none();
}

static rn_runtime *open_quiet(unsigned workers, unsigned spares) {
    return rn_open(.workers = workers, .spare_workers = spares, .log = rn_log_nothing);
}

static int code_of(rn_value value) { return rn_is_error(value) ? rn_error_code(value) : RN_OK; }

static bool has_waiting_worker(rn_runtime *handle) {
    rni_pool *pool = rni_pool_of(rni_handle_object(handle));
    bool found = false;
    rni_mutex_lock(&rni_waits_lock);
    for (uint32_t i = 0; i < pool->threads_max && !found; i++) {
        rni_worker *worker = rni_load_acquire(&pool->workers[i]); /* pairs with rni_pool_start_thread */
        found = worker && worker->waits_for;
    }
    rni_mutex_unlock(&rni_waits_lock);
    return found;
}

/* ---- circles ---- */

/* An error is there until the next wait that ends so; rn_wait() keeps none. */
static rn_value wait_for_itself(rn_call *call) {
    rn_future *own = rni_run_future(call->run);
    bool holds = code_of(rn_result(own)) == RN_DEADLOCK;
    rn_value second = rn_result_within(own, RN_HOURS(1));
    holds = holds && rn_wait(own, -1) == RN_DEADLOCK && code_of(second) == RN_DEADLOCK;
    return holds ? rn_keep(second) : rn_none();
}

static void check_circle_of_one(rn_runtime *runtime) {
    rn_future *future = rn_run(runtime, wait_for_itself, .name = "lonely");
    assert_error_code(rn_result(future), RN_DEADLOCK);
    assert_contains(rn_error_message(rn_result(future)), "deadlock: 'lonely' waits for ");
    rn_release(future);
    assert_int_equal(rn_close(runtime), RN_OK);
}

TEST(a_task_that_waits_for_itself_is_told_so_on_a_worker) { check_circle_of_one(open_quiet(2, 0)); }

TEST(a_task_that_waits_for_itself_is_told_so_in_its_caller) {
    rn_testing_fail(RN_FAULT_THREAD_START, 1, UINT64_MAX);
    rn_runtime *runtime = rn_open(.workers = 1, .when_full = RN_CALLER_RUNS, .log = rn_log_nothing);
    rn_testing_fail(RN_FAULT_THREAD_START, 1, 0);
    check_circle_of_one(runtime);
}

#define CIRCLE 20

static rn_future *circle[CIRCLE];

static rn_value wait_for_next(rn_call *call) {
    rn_value passed = hold(call);
    int64_t number = rn_as_int(passed);
    rn_value next = rn_result(circle[(number + 1) % CIRCLE]);
    return rn_is_error(next) ? rn_keep(next) : rn_none();
}

/* Each waits for the next, in two runtimes: one of them is told, with as many names as have room. */
TEST(a_long_circle_through_two_runtimes_is_broken) {
    rn_runtime *runtimes[2] = {open_quiet(CIRCLE, 0), open_quiet(CIRCLE, 0)};
    gate_close();
    for (int i = 0; i < CIRCLE; i++)
        circle[i] = rn_run(runtimes[i % 2], wait_for_next, .arg = rn_int(i),
                           .name = "a name as long as names may be, which is sixty-three characters");
    gate_await(CIRCLE);
    gate_open();
    for (int i = 0; i < CIRCLE; i++) {
        rn_value result = rn_result(circle[i]);
        assert_int_equal(code_of(result), RN_DEADLOCK);
        while (rn_is_error(rn_error_cause(result))) result = rn_error_cause(result);
        assert_contains(rn_error_message(result), "deadlock: 'a name as long as names may be");
        assert_contains(rn_error_message(result), ", which waits for '");
    }
    for (int i = 0; i < CIRCLE; i++) rn_release(circle[i]);
    for (int i = 0; i < 2; i++) assert_int_equal(rn_close(runtimes[i]), RN_OK);
}

/* ---- a circle through inlined tasks: more of them than the text has room for ---- */

#define DEPTH 40

static rn_future *outermost;

static rn_value descend(rn_call *call) {
    int64_t depth = rn_as_int(rn_arg(call));
    rn_future *future = depth == 0 ? NULL : rn_run(rn_runtime_of(call), descend, .arg = rn_int(depth - 1), .name = "level");
    rn_value result = rn_keep(rn_result(future ? future : outermost));
    if (future) rn_release(future);
    return result;
}

static rn_value begin_to_descend(rn_call *call) {
    outermost = rni_run_future(call->run);
    return descend(call);
}

TEST(a_circle_over_many_inlined_tasks_is_told_in_what_room_there_is) {
    rn_runtime *runtime = open_quiet(1, 0);
    rn_future *future = rn_run(runtime, begin_to_descend, .arg = rn_int(DEPTH));
    assert_int_equal(code_of(rn_result(future)), RN_DEADLOCK);
    rn_release(future);
    assert_int_equal(rn_close(runtime), RN_OK);
}

static rn_future *waiting_task;
static int callback_code;
static char callback_message[300];

static void wait_for_the_one_below(rn_future *future, void *context) {
    (void)future;
    (void)context;
    rn_value error = rn_result(waiting_task);
    callback_code = code_of(error);
    snprintf(callback_message, sizeof callback_message, "%s", callback_code ? rn_error_message(error) : "");
}

/* Runs another itself, whose callback waits for this one. */
static rn_value wait_for_inner(rn_call *call) {
    waiting_task = rni_run_future(call->run);
    rn_future *inner = rn_run(rn_runtime_of(call), nothing);
    int code = rn_add_done_callback(inner, wait_for_the_one_below, NULL);
    if (code == RN_OK) code = rn_wait(inner, -1);
    rn_release(inner);
    return rn_int(code);
}

TEST(a_callback_that_waits_for_the_task_below_it_is_told_so) {
    rn_runtime *runtime = open_quiet(1, 0);
    rn_future *future = rn_run(runtime, wait_for_inner, .name = "below");
    assert_int_equal(rn_as_int(rn_result(future)), RN_OK);
    assert_int_equal(callback_code, RN_DEADLOCK);
    assert_string_equal(callback_message, "deadlock: '(done callback)' waits for 'below'");
    rn_release(future);
    assert_int_equal(rn_close(runtime), RN_OK);
}

/* ---- a run that runs in its caller ---- */

static rn_future *in_caller;

static rn_value hold_in_caller(rn_call *call) {
    in_caller = rni_run_future(call->run);
    return hold(call);
}

static void *run_in_caller(void *runtime) {
    rn_future *future = rn_run(runtime, hold_in_caller, .arg = rn_int(8));
    (void)rn_wait(future, -1);
    return future;
}

static rn_value wait_for_caller(rn_call *call) {
    (void)call;
    return rn_keep(rn_result(in_caller));
}

TEST(a_task_waits_for_a_run_that_runs_in_its_caller) {
    pthread_t thread;
    void *future;
    rn_testing_fail(RN_FAULT_THREAD_START, 1, UINT64_MAX);
    rn_runtime *threadless = rn_open(.workers = 1, .when_full = RN_CALLER_RUNS, .log = rn_log_nothing);
    rn_testing_fail(RN_FAULT_THREAD_START, 1, 0);
    rn_runtime *runtime = open_quiet(1, 0);
    gate_close();
    assert_int_equal(pthread_create(&thread, NULL, run_in_caller, threadless), 0);
    gate_await(1);
    rn_future *waiting = rn_run(runtime, wait_for_caller);
    while (!has_waiting_worker(runtime)) rni_os_yield();
    gate_open();
    assert_int_equal(rn_as_int(rn_result(waiting)), 8);
    pthread_join(thread, &future);
    rn_release(future);
    rn_release(waiting);
    assert_int_equal(rn_close(runtime), RN_OK);
    assert_int_equal(rn_close(threadless), RN_OK);
}

/* ---- without further threads ---- */

/* Waits, on the only thread that there is, for a run that starts a little later. */
static rn_value wait_for_later(rn_call *call) {
    rn_future *future = rn_run(rn_runtime_of(call), nothing, .start_in = RN_MILLISECONDS(2));
    int code = code_of(rn_result(future));
    rn_release(future);
    return rn_int(code);
}

TEST(the_last_thread_keeps_the_time_while_it_waits) {
    rn_runtime *runtime = open_quiet(1, 0);
    rn_testing_fail(RN_FAULT_THREAD_START, 1, UINT64_MAX);
    rn_future *future = rn_run(runtime, wait_for_later);
    assert_int_equal(rn_as_int(rn_result(future)), RN_OK);
    rn_testing_fail(RN_FAULT_THREAD_START, 1, 0);
    rn_release(future);
    assert_int_equal(rn_close(runtime), RN_OK);
}

static rn_value wait_a_moment(rn_call *call) {
    rn_future *future = rn_run(rn_runtime_of(call), nothing, .start_in = RN_HOURS(1));
    int code = code_of(rn_result_within(future, RN_MILLISECONDS(2)));
    bool cancelled = rn_cancel(future);
    rn_release(future);
    return rn_int(cancelled ? code : 1);
}

TEST(the_last_thread_gives_up_in_time) {
    rn_runtime *runtime = open_quiet(1, 0);
    rn_testing_fail(RN_FAULT_THREAD_START, 1, UINT64_MAX);
    rn_future *future = rn_run(runtime, wait_a_moment);
    assert_int_equal(rn_as_int(rn_result(future)), RN_TIMED_OUT);
    rn_testing_fail(RN_FAULT_THREAD_START, 1, 0);
    rn_release(future);
    assert_int_equal(rn_close(runtime), RN_OK);
}

/* Timers without a timekeeper: the workers look at them, parked or not. */
TEST(without_a_timekeeper_timers_fire_all_the_same) {
    rn_runtime *runtime = open_quiet(1, 0);
    rn_testing_fail(RN_FAULT_THREAD_START, 1, UINT64_MAX);
    rn_future *futures[20];
    for (int i = 0; i < 20; i++) futures[i] = rn_run(runtime, nothing, .start_in = RN_MICROSECONDS(100) * i, .times = 3, .every = 1000);
    for (int i = 0; i < 20; i++) assert_true(rn_is_none(rn_result(futures[i])));
    rn_testing_fail(RN_FAULT_THREAD_START, 1, 0);
    for (int i = 0; i < 20; i++) rn_release(futures[i]);
    rn_stats stats = {.size = sizeof stats};
    assert_int_equal(rn_get_stats(runtime, &stats), RN_OK);
    assert_int_equal(stats.spares, 0);
    assert_int_equal(rn_close(runtime), RN_OK);
}

/* Parked without a timekeeper, it sleeps by the timers, and gives memory back all the same. */
TEST(a_timer_in_an_hour_does_not_keep_the_last_thread_from_parking) {
    rn_runtime *runtime = open_quiet(1, 0);
    rn_testing_fail(RN_FAULT_THREAD_START, 1, UINT64_MAX);
    rn_future *later = rn_run(runtime, nothing, .start_in = RN_HOURS(1)), *soon = rn_run(runtime, nothing, .start_in = 1000);
    assert_true(rn_is_none(rn_result(soon)));
    rn_future *now = rn_run(runtime, nothing);
    assert_true(rn_is_none(rn_result(now)));
    rn_testing_fail(RN_FAULT_THREAD_START, 1, 0);
    assert_true(rn_cancel(later));
    rn_future *futures[] = {later, soon, now};
    for (size_t i = 0; i < COUNT_OF(futures); i++) rn_release(futures[i]);
    assert_int_equal(rn_close(runtime), RN_OK);
}

/* ---- by a virtual clock ---- */

static rn_runtime *open_kit(uint64_t seed, unsigned workers) {
    rn_testing kit = {.size = sizeof kit, .virtual_clock = true, .seed = seed};
    return rn_open(.workers = workers, .log = rn_log_nothing, .testing = &kit);
}

static rn_value wait_within(rn_call *call) {
    rn_runtime *runtime = rn_runtime_of(call);
    rn_future *future = rn_run(runtime, nothing, .start_in = RN_HOURS(3));
    int64_t before = rn_testing_now(runtime);
    bool holds = code_of(rn_result_within(future, RN_HOURS(1))) == RN_TIMED_OUT;
    holds = holds && rn_testing_now(runtime) - before == RN_HOURS(1) && rn_state(future) == RN_WAITING;
    holds = holds && code_of(rn_result(future)) == RN_OK && rn_testing_now(runtime) - before == RN_HOURS(3);
    rn_release(future);
    return rn_bool(holds);
}

TEST(a_wait_in_a_task_is_over_by_the_virtual_clock) {
    for (uint64_t seed = 0; seed < 3; seed++)
        for (unsigned workers = 1; workers <= 2; workers++) {
            rn_runtime *runtime = open_kit(seed, workers);
            rn_future *future = rn_run(runtime, wait_within);
            assert_true(rn_as_bool(rn_result(future)));
            rn_release(future);
            assert_int_equal(rn_close(runtime), RN_OK);
        }
}

static rn_value wait_hours(rn_call *call) {
    rn_future *future = rn_run(rn_runtime_of(call), nothing, .start_in = RN_HOURS(9));
    int code = rn_wait(future, rn_as_int(rn_arg(call)));
    int64_t now = rn_testing_now(rn_runtime_of(call));
    rn_release(future);
    return rn_int(code == RN_TIMED_OUT ? now : -1);
}

TEST(several_waits_in_tasks_are_over_each_in_its_time) {
    for (uint64_t seed = 0; seed < 2; seed++) {
        rn_future *futures[5];
        rn_runtime *runtime = open_kit(seed, 5);
        for (int i = 0; i < 5; i++) futures[i] = rn_run(runtime, wait_hours, .arg = rn_int(RN_HOURS((i * 2) % 5 + 1)));
        for (int i = 0; i < 5; i++) assert_true(rn_as_int(rn_result(futures[i])) == RN_HOURS((i * 2) % 5 + 1));
        for (int i = 0; i < 5; i++) rn_release(futures[i]);
        assert_int_equal(rn_close(runtime), RN_OK);
    }
}

static struct {
    rn_runtime *runtime;
    rn_future *futures[3];
} outsiders;

static void *wait_outside(void *number) {
    int64_t hours = 1 + (intptr_t)number;
    return (void *)(intptr_t)rn_wait(outsiders.futures[hours - 1], RN_HOURS(10 - hours));
}

/* Threads outside wait for runs, each with a deadline of its own; the clock moves when all of them wait. */
TEST(several_threads_outside_wait_by_one_virtual_clock) {
    pthread_t threads[3];
    outsiders.runtime = open_kit(0, 1);
    for (int i = 0; i < 3; i++) outsiders.futures[i] = rn_run(outsiders.runtime, nothing, .start_in = RN_HOURS(4 + 2 * i));
    for (intptr_t i = 0; i < 3; i++) assert_int_equal(pthread_create(&threads[i], NULL, wait_outside, (void *)i), 0);
    for (int i = 0; i < 3; i++) {
        void *code;
        pthread_join(threads[i], &code);
        if (i == 0) assert_int_equal((intptr_t)code, RN_OK);
    }
    for (int i = 0; i < 3; i++) {
        assert_true(rn_is_none(rn_result(outsiders.futures[i])));
        rn_release(outsiders.futures[i]);
    }
    assert_true(rn_testing_now(outsiders.runtime) == RN_HOURS(8));
    assert_int_equal(rn_close(outsiders.runtime), RN_OK);
}

static rn_value start_in_other(rn_call *call) {
    rn_runtime *other = rn_as_pointer(rn_arg(call));
    rn_future *future = rn_run(other, nothing, .start_in = RN_HOURS(2));
    int code = rn_wait(future, -1);
    rn_release(future);
    return rn_int(code == RN_OK ? rn_testing_now(other) : -1);
}

static void *run_until(void *runtime) { return (void *)(intptr_t)rn_testing_advance(runtime, RN_HOURS(3)); }

/* A worker of one runtime is an outsider to the other, whose clock it needs. */
TEST(a_task_waits_for_a_timer_of_a_runtime_with_another_clock) {
    pthread_t thread;
    rn_runtime *runtime = open_quiet(1, 0), *other = open_kit(0, 1);
    rn_future *future = rn_run(runtime, start_in_other, .arg = rn_pointer(other));
    while (rn_pending(other, NULL, 0) == 0) rni_os_yield();
    assert_int_equal(pthread_create(&thread, NULL, run_until, other), 0);
    pthread_join(thread, NULL);
    assert_in_range(rn_as_int(rn_result(future)), RN_HOURS(2), RN_HOURS(3));
    rn_release(future);
    assert_int_equal(rn_close(runtime), RN_OK);
    assert_int_equal(rn_close(other), RN_OK);
}

TEST(a_seed_without_a_virtual_clock_keeps_real_time) {
    rn_testing kit = {.size = sizeof kit, .seed = 3};
    rn_runtime *runtime = rn_open(.workers = 2, .log = rn_log_nothing, .testing = &kit);
    rn_future *futures[4];
    for (int i = 0; i < 4; i++) futures[i] = rn_run(runtime, nothing, .start_in = RN_MICROSECONDS(200) * i, .times = 2, .every = 1000);
    for (int i = 0; i < 4; i++) assert_true(rn_is_none(rn_result(futures[i])));
    for (int i = 0; i < 4; i++) rn_release(futures[i]);
    assert_int_equal(rn_close(runtime), RN_OK);
}

TEST(a_wait_from_outside_is_over_by_the_virtual_clock) {
    for (uint64_t seed = 0; seed < 2; seed++) {
        rn_runtime *runtime = open_kit(seed, 1);
        rn_future *future = rn_run(runtime, nothing, .start_in = RN_HOURS(3));
        assert_int_equal(rn_wait(future, 0), RN_TIMED_OUT);
        assert_int_equal(rn_wait(future, RN_HOURS(1)), RN_TIMED_OUT);
        assert_true(rn_testing_now(runtime) == RN_HOURS(1));
        assert_int_equal(rn_wait(future, INT64_MAX), RN_OK);
        assert_true(rn_testing_now(runtime) == RN_HOURS(3));
        rn_release(future);
        assert_int_equal(rn_close(runtime), RN_OK);
    }
}

TEST(a_wait_longer_than_the_longest_is_that_long) {
    rn_runtime *runtime = open_quiet(1, 0);
    gate_close();
    rn_future *future = rn_run(runtime, hold);
    gate_await(1);
    assert_int_equal(rn_wait(future, 1), RN_TIMED_OUT);
    gate_open();
    assert_int_equal(rn_wait(future, INT64_MAX), RN_OK);
    rn_release(future);
    assert_int_equal(rn_close(runtime), RN_OK);
}

/* ---- final hooks of a run that is stopped between two iterations ---- */

static struct {
    rni_a32 finished;
    uintptr_t iteration_thread, hook_thread;
} noted;

static rn_value iterate(rn_call *call) {
    (void)call;
    noted.iteration_thread = rni_os_thread_self();
    return rn_none();
}

static rn_value finish(rn_call *call, rn_value success, rn_value error) {
    (void)call;
    (void)success;
    (void)error;
    noted.hook_thread = rni_os_thread_self();
    rni_add_acq_rel(&noted.finished, 1); /* pairs with the tests' load */
    return rn_none();
}

/* A periodic run that has had its first iteration. */
static rn_future *start_periodic(rn_runtime *runtime) {
    rni_store_relaxed(&noted.finished, 0);
    rn_future *future = rn_run(runtime, iterate, .every = RN_HOURS(1), .on_finished = finish);
    rn_run_info info = {.iteration = 0};
    while (rn_pending(runtime, &info, 1) != 1 || info.iteration != 1 || info.state != RN_WAITING) rni_os_yield();
    return future;
}

static void end_periodic(rn_future *future) {
    assert_true(rn_is_none(rn_result(future)));
    assert_int_equal(rni_load_acquire(&noted.finished), 1); /* pairs with finish */
    rn_release(future);
}

TEST(final_hooks_go_to_the_thread_of_the_last_iteration) {
    for (int i = 0; i < 20; i++) {
        rn_runtime *runtime = open_quiet(4, 0);
        rn_future *future = start_periodic(runtime);
        assert_true(rn_stop(future));
        end_periodic(future);
        assert_int_equal(noted.hook_thread, noted.iteration_thread);
        assert_int_equal(rn_close(runtime), RN_OK);
    }
}

static rn_future *periodic;

/* On the thread of the periodic run: passes the gate, then waits for that run, which is stopped by now. */
static rn_value wait_for_periodic(rn_call *call) {
    rn_drop(hold(call));
    return rn_int(code_of(rn_result(periodic)));
}

/* The mail of a worker that waits is for anybody: the wait may be for that very run. */
TEST(final_hooks_in_the_mail_of_one_who_waits_go_to_another) {
    rn_runtime *runtime = open_quiet(1, 0);
    gate_close();
    periodic = start_periodic(runtime);
    rn_future *future = rn_run(runtime, wait_for_periodic);
    gate_await(1);
    assert_true(rn_stop(periodic)); /* into the mail of the worker, which is busy */
    gate_open();
    assert_int_equal(rn_as_int(rn_result(future)), RN_OK);
    rn_release(future);
    end_periodic(periodic);
    assert_int_equal(rn_close(runtime), RN_OK);
}

TEST(final_hooks_for_one_who_waits_already_go_to_another) {
    rn_runtime *runtime = open_quiet(1, 0);
    gate_close();
    periodic = start_periodic(runtime);
    gate_open();
    rn_future *future = rn_run(runtime, wait_for_periodic);
    while (!has_waiting_worker(runtime)) rni_os_yield();
    assert_true(rn_stop(periodic));
    assert_int_equal(rn_as_int(rn_result(future)), RN_OK);
    rn_release(future);
    end_periodic(periodic);
    assert_int_equal(rn_close(runtime), RN_OK);
}

static rn_value stop_and_wait(rn_call *call) {
    (void)call;
    bool told = rn_stop(periodic);
    return rn_int(told ? code_of(rn_result(periodic)) : 1);
}

/* The one who stops it is its thread: what it has mailed to itself it must not wait for. */
TEST(a_task_waits_for_the_hooks_of_a_run_that_it_stopped) {
    for (uint64_t seed = 0; seed < 3; seed++) {
        rn_runtime *runtime = open_kit(seed, 1);
        rni_store_relaxed(&noted.finished, 0);
        periodic = rn_run(runtime, iterate, .every = RN_HOURS(1), .on_finished = finish);
        assert_int_equal(rn_testing_settle(runtime), RN_OK);
        rn_future *future = rn_run(runtime, stop_and_wait);
        assert_int_equal(rn_as_int(rn_result(future)), RN_OK);
        rn_release(future);
        end_periodic(periodic);
        assert_int_equal(rn_close(runtime), RN_OK);
    }
}

/* It began in its caller's thread, which is nobody's to send it to. */
TEST(final_hooks_of_a_run_that_began_in_its_caller_go_to_any_worker) {
    gate_close();
    rn_runtime *runtime = rn_open(.workers = 1, .queue_limit = 1, .when_full = RN_CALLER_RUNS, .log = rn_log_nothing);
    rn_future *held = rn_run(runtime, hold);
    gate_await(1);
    rn_future *queued = rn_run(runtime, nothing);
    rni_store_relaxed(&noted.finished, 0);
    rn_future *future = rn_run(runtime, iterate, .every = RN_HOURS(1), .on_finished = finish);
    assert_int_equal(noted.iteration_thread, rni_os_thread_self());
    assert_true(rn_stop(future));
    gate_open();
    end_periodic(future);
    rn_release(held);
    rn_release(queued);
    assert_int_equal(rn_close(runtime), RN_OK);
}
