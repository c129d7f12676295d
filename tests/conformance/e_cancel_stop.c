/* Rules E1 and E2: cancelling and stopping. */
#include "support.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ------------------------------------------------------------------------------------------------
 * E1
 */
static void assert_never_ran(rn_future *future, int tag) {
    assert_int_equal(rn_state(future), RN_STATE_CANCELLED);
    assert_true(rn_cancelled(future));
    assert_true(rn_done(future));
    assert_false(rn_running(future));
    assert_error_code(rn_result(future), RN_CANCELLED);
    assert_int_equal(rn_wait(future, 0), RN_OK);
    assert_story(tag, "");
    rn_release(future);
}

RULE(e1_a_run_that_is_cancelled_before_its_turn_never_runs) {
    rn_runtime *rn = OPEN();
    hold_every_worker(rn);
    rn_task task = scripted_task(1);
    rn_future *future = rn_submit(rn, &task);
    assert_true(rn_cancel(future));
    assert_int_equal(rn_state(future), RN_STATE_CANCELLED);
    free_every_worker();
    close_runtime(rn);
    assert_never_ran(future, 1);
}

RULE(e1_a_run_that_is_cancelled_before_its_start_never_runs) {
    rn_runtime *rn = OPEN_VIRTUAL();
    rn_task delayed = scripted_task(1), periodic = scripted_task(2), dated = scripted_task(3);
    delayed.start_in = periodic.start_in = RN_HOURS(1);
    periodic.every = RN_SECONDS(1);
    dated.at = INT64_MAX / 4; /* the year 2043 */
    rn_future *futures[] = {rn_submit(rn, &delayed), rn_submit(rn, &periodic), rn_submit(rn, &dated)};
    for (int i = 0; i < 3; i++) assert_true(rn_cancel(futures[i]));
    assert_int_equal(rn_pending(rn, NULL, 0), 0);
    assert_int_equal(rn_testing_advance(rn, RN_HOURS(2)), RN_OK);
    for (int i = 0; i < 3; i++) assert_never_ran(futures[i], i + 1);
    close_runtime(rn);
}

RULE(e1_cancelling_many_of_many_runs_cancels_just_those) {
    enum { RUNS = 500 };
    static rn_future *futures[RUNS];
    rn_runtime *rn = OPEN_VIRTUAL();
    uint64_t seed = test_seed();
    static bool cancelled[RUNS];
    for (int i = 0; i < RUNS; i++) {
        rn_task task = scripted_task(i);
        task.start_in = 1 + (int64_t)(next_random(&seed) % 1000);
        futures[i] = rn_submit(rn, &task);
    }
    for (int i = 0; i < RUNS; i++) {
        cancelled[i] = next_random(&seed) % 2;
        if (cancelled[i]) assert_true(rn_cancel(futures[i]));
    }
    close_runtime(rn);
    for (int i = 0; i < RUNS; i++) {
        if (cancelled[i]) {
            assert_never_ran(futures[i], i);
        } else {
            assert_ends_with_int(futures[i], iteration_value(i, 1));
            assert_story(i, "f1 i1 s1 z1");
        }
    }
}

RULE(e1_cancelling_again_says_the_same) {
    rn_runtime *rn = OPEN_VIRTUAL();
    rn_future *future = rn_run(rn, nothing, .start_in = RN_HOURS(1));
    for (int i = 0; i < 3; i++) assert_true(rn_cancel(future));
    rn_release(future);
    close_runtime(rn);
}

RULE(e1_a_run_that_has_begun_cannot_be_cancelled) {
    rn_runtime *rn = OPEN();
    rn_task task = scripted_task(1);
    task.function = hold;
    rn_future *future = rn_submit(rn, &task);
    gate_await(1, 1);
    assert_false(rn_cancel(future));
    assert_false(rn_cancelled(future));
    gate_open(1, 1);
    rn_value result = end_of(future);
    assert_true(rn_is_none(result));
    assert_story(1, "i1 s1 z1");
    close_runtime(rn);
}

RULE(e1_a_run_between_its_ticks_has_begun_and_cannot_be_cancelled) {
    rn_runtime *rn = OPEN_VIRTUAL();
    rn_task task = scripted_task(1);
    task.every = RN_HOURS(1);
    task.times = 2;
    rn_future *future = rn_submit(rn, &task);
    assert_int_equal(rn_testing_settle(rn), RN_OK);
    assert_int_equal(rn_state(future), RN_WAITING);
    assert_false(rn_cancel(future));
    assert_ends_with_int(future, iteration_value(1, 2));
    close_runtime(rn);
}

/* Whoever wins, the run either ran whole or not at all, and the answer says which. */
RULE(e1_cancel_that_races_with_the_start_is_right_either_way) {
    rn_runtime *rn = OPEN();
    for (int i = 0; i < 1000; i++) {
        rn_task task = scripted_task(i);
        rn_future *future = rn_submit(rn, &task);
        bool cancelled = rn_cancel(future);
        rn_value result = end_of(future);
        if (cancelled) assert_error_code(result, RN_CANCELLED);
        else assert_int_value(result, iteration_value(i, 1));
        rn_drop(result);
        assert_story(i, cancelled ? "" : "f1 i1 s1 z1");
    }
    close_runtime(rn);
}

/* Starts a run, cancels it before it can begin, and tells what its future says. */
static rn_value start_and_cancel(rn_call *call) {
    rn_future *future = rn_run(rn_runtime_of(call), note_event, .arg = rn_int(2), .start_in = RN_HOURS(1));
    bool cancelled = rn_cancel(future);
    rn_value result = rn_keep(rn_result(future));
    rn_release(future);
    return cancelled ? result : rn_none();
}

RULE(e1_a_task_can_cancel_a_run_that_it_started) {
    rn_runtime *rn = OPEN_VIRTUAL();
    assert_ends_with_error(rn_run(rn, start_and_cancel), RN_CANCELLED);
    close_runtime(rn);
    assert_story(2, "");
}

/* ------------------------------------------------------------------------------------------------
 * E2
 */
RULE(e2_stopping_between_iterations_starts_no_further_one_and_runs_the_final_hooks) {
    rn_runtime *rn = OPEN_VIRTUAL();
    for (int fails = 0; fails <= 1; fails++) {
        rn_task task = scripted_task(fails);
        task.every = RN_HOURS(1);
        board->scripts[fails].failing = fails ? UINT64_MAX : 0;
        rn_future *future = rn_submit(rn, &task);
        assert_int_equal(rn_testing_settle(rn), RN_OK);
        assert_int_equal(rn_testing_advance(rn, RN_MINUTES(150)), RN_OK);
        assert_true(rn_stop(future));
        assert_int_equal(rn_wait(future, -1), RN_OK);
        assert_int_equal(rn_testing_advance(rn, RN_HOURS(5)), RN_OK);
        assert_story(fails, fails ? "f1 i1 f2 i2 f3 i3 e3 z3" : "f1 i1 f2 i2 f3 i3 s3 z3");
        assert_int_equal(rn_state(future), RN_DONE);
        assert_false(rn_cancelled(future));
        if (fails) assert_ends_with_error(future, iteration_code(fails, 3));
        else assert_ends_with_int(future, iteration_value(fails, 3));
    }
    close_runtime(rn);
}

RULE(e2_stopping_between_iterations_does_not_wait_for_the_next_tick) {
    rn_runtime *rn = OPEN_VIRTUAL();
    rn_future *future = rn_run(rn, nothing, .every = RN_DAYS(1));
    assert_int_equal(rn_testing_settle(rn), RN_OK);
    assert_true(rn_stop(future));
    assert_int_equal(rn_wait(future, -1), RN_OK);
    assert_int_equal(rn_testing_now(rn), 0);
    rn_release(future);
    close_runtime(rn);
}

/* An iteration that passes gate 1 in the middle, and tells in cell 1 whether it was asked to stop after that. */
static rn_value pass_and_ask(rn_call *call) {
    record(FUNCTION, call, rn_none(), rn_none());
    gate_pass(1);
    set_cell(1, rn_stopping(call));
    return rn_int(iteration_value((int)rn_as_int(rn_arg(call)), rn_iteration(call)));
}

RULE(e2_stopping_during_an_iteration_tells_it_and_starts_no_further_one) {
    rn_runtime *rn = OPEN();
    for (int i = 0; i < 2; i++) {
        rn_task task = scripted_task(i);
        task.function = pass_and_ask;
        task.times = i ? 0 : 5;
        task.every = i ? RN_MICROSECONDS(1) : 0;
        rn_future *future = rn_submit(rn, &task);
        gate_await(1, 1);
        gate_open(1, 1);
        gate_await(1, 1);
        assert_int_equal(cell(1), 0);
        assert_true(rn_stop(future));
        assert_true(rn_stop(future));
        assert_false(rn_done(future));
        gate_open(1, 1);
        assert_ends_with_int(future, iteration_value(i, 2));
        assert_int_equal(cell(1), 1);
        assert_story(i, "f1 i1 f2 i2 s2 z2");
        set_cell(1, 0);
    }
    close_runtime(rn);
}

static rn_value fail_when_stopped(rn_call *call) {
    record(FUNCTION, call, rn_none(), rn_none());
    gate_pass(1);
    return rn_stopping(call) ? rn_error(44, "stopped") : rn_int(1);
}

RULE(e2_the_final_hooks_see_the_outcome_of_the_stopped_iteration) {
    rn_runtime *rn = OPEN();
    rn_task task = scripted_task(1);
    task.function = fail_when_stopped;
    task.times = 5;
    rn_future *future = rn_submit(rn, &task);
    gate_await(1, 1);
    assert_true(rn_stop(future));
    gate_open(1, 1);
    assert_ends_with_error(future, 44);
    assert_story(1, "f1 i1 e1 z1");
    struct event events[4];
    assert_int_equal(events_of(1, events, 4), 4);
    assert_int_equal(events[2].error_code, 44);
    assert_int_equal(events[3].error_code, 44);
    close_runtime(rn);
}

static rn_value run_until_stopped(rn_call *call) {
    gate_pass(1);
    while (!rn_stopping(call)) sched_yield();
    return rn_int(3);
}

RULE(e2_a_running_iteration_sees_that_it_is_asked_to_stop) {
    rn_runtime *rn = OPEN();
    rn_future *future = rn_run(rn, run_until_stopped);
    gate_await(1, 1);
    gate_open(1, 1);
    assert_true(rn_stop(future));
    assert_ends_with_int(future, 3);
    close_runtime(rn);
}

static rn_value stopping_in_hook(rn_call *call, rn_value success, rn_value error) {
    (void)success, (void)error;
    return rn_bool(rn_stopping(call));
}

RULE(e2_the_final_hooks_can_ask_too) {
    rn_runtime *rn = OPEN();
    rn_future *future =
        rn_run(rn, run_until_stopped, .on_finished = stopping_in_hook, .updates_result = RN_ON_FINISHED);
    gate_await(1, 1);
    gate_open(1, 1);
    assert_true(rn_stop(future));
    rn_value result = end_of(future);
    assert_true(rn_as_bool(result));
    close_runtime(rn);
}

RULE(e2_stopping_a_run_that_has_not_begun_cancels_it) {
    rn_runtime *rn = OPEN();
    hold_every_worker(rn);
    rn_task queued = scripted_task(1), delayed = scripted_task(2);
    delayed.start_in = RN_DAYS(1);
    rn_future *first = rn_submit(rn, &queued), *second = rn_submit(rn, &delayed);
    assert_true(rn_stop(first));
    assert_true(rn_stop(second));
    free_every_worker();
    assert_never_ran(first, 1);
    assert_never_ran(second, 2);
    close_runtime(rn);
}

RULE(e2_stopping_a_run_that_is_done_says_so) {
    rn_runtime *rn = OPEN();
    rn_future *future = rn_run(rn, give_back, .arg = rn_int(1));
    assert_int_equal(rn_wait(future, -1), RN_OK);
    assert_false(rn_stop(future));
    assert_ends_with_int(future, 1);
    close_runtime(rn);
}

RULE(e2_a_run_can_stop_itself) {
    rn_runtime *rn = OPEN_VIRTUAL();
    for (int i = 0; i < 3; i++) {
        rn_task task = scripted_task(i);
        task.times = i == 1 ? 0 : 10;
        task.every = i ? RN_SECONDS(1) : 0;
        board->scripts[i].stop_self_at = 2;
        assert_ends_with_int(rn_submit(rn, &task), iteration_value(i, 2));
        assert_story(i, "f1 i1 f2 i2 s2 z2");
    }
    close_runtime(rn);
}

/* What has begun ends with its hooks, once, and what has not begun has none. */
static void assert_whole_story(int tag) {
    const char *story = story_of(tag), *success = strstr(story, " s");
    if (!*story) return;
    bool whole = success && count_of(story, "s") == 1 && count_of(story, "z") == 1 && strstr(success, " z") &&
                 !strpbrk(success, "fie") && count_of(story, "f") == count_of(story, "i");
    if (!whole) fail_msg("run %d: %s", tag, story);
}

RULE(e2_stop_at_any_moment_leaves_a_whole_story) {
    rn_runtime *rn = OPEN();
    uint64_t seed = test_seed();
    for (int i = 0; i < 300; i++) {
        rn_task task = scripted_task(i);
        task.every = RN_MICROSECONDS(5);
        task.times = 20;
        rn_future *future = rn_submit(rn, &task);
        for (uint64_t pause = next_random(&seed) % 64; pause > 0; pause--) sched_yield();
        rn_stop(future);
        rn_drop(end_of(future));
        assert_whole_story(i);
    }
    close_runtime(rn);
}

static rn_value until_told(rn_call *call) {
    gate_pass((int)rn_as_int(rn_arg(call)));
    while (!rn_stopping(call)) sched_yield();
    return rn_int(77);
}

RULE(e2_only_the_run_that_is_stopped_among_many_short_ones_is_told) {
    enum { MANY = 200 };
    static rn_future *futures[MANY];
    rn_runtime *rn = OPEN(.workers = 2);
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < MANY; i++) futures[i] = i == 50 ? rn_run(rn, until_told, .arg = rn_int(4)) : rn_run(rn, give_back, .arg = rn_int(i));
        gate_open(4, 1);
        gate_await(4, 1);
        assert_true(rn_stop(futures[50]));
        for (int i = 0; i < MANY; i++) assert_ends_with_int(futures[i], i == 50 ? 77 : i);
    }
    close_runtime(rn);
}

/* ------------------------------------------------------------------------------------------------
 * E3: where a task can be ended. How it is ended in its many ways is tried in tests/process/overtime.c.
 */
static void processes_only(void) {
    const char *executor = getenv("RUNIUM_TEST_EXECUTOR");
    if (!executor || strcmp(executor, "processes") != 0) skip();
}

static rn_value until_stopping(rn_call *call) {
    while (!rn_stopping(call)) sched_yield();
    return rn_int(78);
}

static rn_value without_end(rn_call *call) {
    while (rn_iteration(call) > 0) pause();
    return rn_none();
}

static rn_value without_end_past_a_gate(rn_call *call) {
    gate_pass(1);
    return without_end(call);
}

static void assert_over_time(rn_value result, const char *how) {
    assert_error_code(result, RN_OVERTIME);
    assert_contains(rn_error_message(result), how);
    rn_drop(result);
}

RULE(e3_one_that_goes_on_after_it_was_stopped_is_ended_likewise) {
    processes_only();
    rn_runtime *rn = OPEN(.workers = 1, .stop_grace = RN_MILLISECONDS(5), .grace = RN_MILLISECONDS(5));
    rn_future *future = rn_run(rn, without_end_past_a_gate, .times = 3);
    gate_await(1, 1);
    gate_open(1, 1);
    assert_true(rn_stop(future));
    assert_over_time(end_of(future), ".stop_grace of 5 ms");
    assert_ends_with_int(rn_run(rn, give_back, .arg = rn_int(2)), 2);
    close_runtime(rn);
}

RULE(e3_an_iteration_over_its_time_is_told_and_has_that_outcome_though_it_returns) {
    processes_only();
    rn_runtime *rn = OPEN(.workers = 1, .grace = RN_HOURS(1));
    assert_over_time(end_of(rn_run(rn, until_stopping, .timeout = RN_MILLISECONDS(5))), "told");
    assert_over_time(end_of(rn_run(rn, until_stopping, .timeout_text = "5 ms", .times = 3)), "told");
    assert_ends_with_int(rn_run(rn, give_back, .arg = rn_int(1), .timeout = RN_HOURS(1)), 1);
    close_runtime(rn);
}

RULE(e3_one_that_does_not_listen_is_ended_and_its_hooks_run_in_the_next_worker) {
    processes_only();
    rn_runtime *rn = OPEN(.workers = 1, .grace = RN_MILLISECONDS(5));
    rn_task task = scripted_task(5);
    task.function = without_end;
    task.timeout = RN_SECONDS(1); /* of the hooks as well, and the machine may be slow */
    struct event events[8];
    rn_future *future = rn_run(rn, without_end, .timeout = RN_MILLISECONDS(5));
    assert_over_time(end_of(future), "SIGTERM");
    assert_over_time(end_of(rn_submit(rn, &task)), "SIGTERM");
    assert_story(5, "i1 e1 z1");
    assert_int_equal(events_of(5, events, COUNT_OF(events)), 3);
    for (int i = 0; i < 3; i++) assert_int_equal(events[i].error_code, RN_OVERTIME);
    assert_ends_with_int(rn_run(rn, give_back, .arg = rn_int(2)), 2);
    close_runtime(rn);
}
