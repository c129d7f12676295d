/* Rules C8 and C10: hooks however a run ends, and what hooks may call. Rule C9 is about worker processes. */
#include "support.h"

#include <string.h>

/* ------------------------------------------------------------------------------------------------
 * C8
 */
RULE(c8_a_run_that_is_cancelled_before_it_began_runs_no_hook) {
    rn_runtime *rn = OPEN();
    hold_every_worker(rn);
    rn_task queued = scripted_task(1), later = scripted_task(2);
    later.start_in = RN_DAYS(1);
    rn_future *first = rn_submit(rn, &queued), *second = rn_submit(rn, &later);
    assert_true(rn_cancel(first));
    assert_true(rn_cancel(second));
    free_every_worker();
    close_runtime(rn);
    assert_story(1, "");
    assert_story(2, "");
    rn_release(first);
    rn_release(second);
}

RULE(c8_cancelling_a_run_that_has_begun_changes_no_hook) {
    rn_runtime *rn = OPEN_VIRTUAL();
    rn_task task = scripted_task(1);
    task.every = RN_HOURS(1);
    task.times = 3;
    rn_future *future = rn_submit(rn, &task);
    assert_int_equal(rn_testing_settle(rn), RN_OK);
    assert_false(rn_cancel(future));
    assert_ends_with_int(future, iteration_value(1, 3));
    assert_story(1, "f1 i1 f2 i2 f3 i3 s3 z3");
    close_runtime(rn);
}

RULE(c8_each_hook_runs_once_when_a_run_is_stopped_between_ticks) {
    rn_runtime *rn = OPEN_VIRTUAL();
    for (int fails = 0; fails <= 1; fails++) {
        rn_task task = scripted_task(fails);
        task.every = RN_HOURS(1);
        board->scripts[fails].failing = fails ? UINT64_MAX : 0;
        rn_future *future = rn_submit(rn, &task);
        assert_int_equal(rn_testing_settle(rn), RN_OK);
        assert_true(rn_stop(future));
        assert_true(rn_stop(future) || rn_done(future));
        rn_drop(end_of(future));
        assert_story(fails, fails ? "f1 i1 e1 z1" : "f1 i1 s1 z1");
    }
    close_runtime(rn);
    assert_story(0, "f1 i1 s1 z1");
    assert_story(1, "f1 i1 e1 z1");
}

RULE(c8_each_hook_runs_once_when_a_run_stops_itself) {
    rn_runtime *rn = OPEN_VIRTUAL();
    for (int i = 0; i < 2; i++) {
        rn_task task = scripted_task(i);
        task.every = RN_SECONDS(1);
        board->scripts[i].stop_self_at = 3;
        board->scripts[i].failing = i ? 0x4 : 0;
        rn_drop(end_of(rn_submit(rn, &task)));
        assert_story(i, i ? "f1 i1 f2 i2 f3 i3 e3 z3" : "f1 i1 f2 i2 f3 i3 s3 z3");
    }
    close_runtime(rn);
}

/* A run of each sort, settled at time zero: once, several, on a period, without end, with its end far away. */
enum { ONCE, SEVERAL, PERIODIC, ENDLESS, LATER, FAILING, SORTS };

static void start_every_sort(rn_runtime *rn, rn_future **futures) {
    for (int sort = 0; sort < SORTS; sort++) {
        rn_task task = scripted_task(sort);
        task.times = sort == SEVERAL || sort == PERIODIC ? 3 : 0;
        task.every = sort == PERIODIC || sort == ENDLESS || sort == FAILING ? RN_HOURS(1) : 0;
        task.start_in = sort == LATER ? RN_DAYS(1) : 0;
        board->scripts[sort].failing = sort == FAILING ? UINT64_MAX : 0;
        futures[sort] = rn_submit(rn, &task);
    }
    assert_int_equal(rn_testing_settle(rn), RN_OK);
}

RULE(c8_each_hook_runs_once_when_the_runtime_is_closed_by_stopping) {
    rn_runtime *rn = OPEN_VIRTUAL();
    rn_future *futures[SORTS];
    start_every_sort(rn, futures);
    stop_runtime(rn);
    static const char *const stories[] = {[ONCE] = "f1 i1 s1 z1",
                                          [SEVERAL] = "f1 i1 f2 i2 f3 i3 s3 z3",
                                          [PERIODIC] = "f1 i1 s1 z1",
                                          [ENDLESS] = "f1 i1 s1 z1",
                                          [LATER] = "",
                                          [FAILING] = "f1 i1 e1 z1"};
    for (int sort = 0; sort < SORTS; sort++) {
        assert_story(sort, stories[sort]);
        assert_true(rn_done(futures[sort]));
        rn_release(futures[sort]);
    }
}

RULE(c8_each_hook_runs_once_when_the_runtime_is_closed_by_draining) {
    rn_runtime *rn = OPEN_VIRTUAL();
    rn_future *futures[SORTS];
    start_every_sort(rn, futures);
    close_runtime(rn);
    static const char *const stories[] = {[ONCE] = "f1 i1 s1 z1",
                                          [SEVERAL] = "f1 i1 f2 i2 f3 i3 s3 z3",
                                          [PERIODIC] = "f1 i1 f2 i2 f3 i3 s3 z3",
                                          [ENDLESS] = "f1 i1 s1 z1",
                                          [LATER] = "f1 i1 s1 z1",
                                          [FAILING] = "f1 i1 e1 z1"};
    for (int sort = 0; sort < SORTS; sort++) {
        assert_story(sort, stories[sort]);
        assert_true(rn_done(futures[sort]));
        rn_release(futures[sort]);
    }
}

RULE(c8_each_hook_runs_once_when_stop_meets_a_run_that_begins) {
    rn_runtime *rn = OPEN();
    for (int i = 0; i < 500; i++) {
        rn_task task = scripted_task(i);
        task.times = 2;
        rn_future *future = rn_submit(rn, &task);
        rn_stop(future);
        rn_drop(end_of(future));
        const char *story = story_of(i);
        bool right =
            strcmp(story, "") == 0 || strcmp(story, "f1 i1 s1 z1") == 0 || strcmp(story, "f1 i1 f2 i2 s2 z2") == 0;
        if (!right) fail_msg("run %d: %s", i, story);
    }
    close_runtime(rn);
}

/* ------------------------------------------------------------------------------------------------
 * C10
 */
static rn_value start_and_wait_in_hook(rn_call *call, rn_value success, rn_value error) {
    (void)success, (void)error;
    rn_future *other = rn_run(rn_runtime_of(call), give_back, .arg = rn_int(77));
    rn_value result = rn_keep(rn_result(other));
    rn_release(other);
    return result;
}

RULE(c10_a_hook_may_start_runs_and_wait_for_them) {
    rn_runtime *rn = OPEN();
    assert_ends_with_int(rn_run(rn, nothing, .on_iter = start_and_wait_in_hook, .on_finished = start_and_wait_in_hook,
                                .times = 3, .updates_result = RN_ON_FINISHED),
                         77);
    close_runtime(rn);
}

static rn_value stop_self_in_hook(rn_call *call, rn_value success, rn_value error) {
    record(ITER, call, success, error);
    if (rn_iteration(call) == 2) set_cell(1, rn_stop_self(call));
    return rn_none();
}

RULE(c10_a_hook_may_stop_its_own_run) {
    rn_runtime *rn = OPEN_VIRTUAL();
    for (int i = 0; i < 2; i++) {
        rn_task task = scripted_task(i);
        task.on_iter = stop_self_in_hook;
        task.every = i ? RN_SECONDS(1) : 0;
        task.times = i ? 0 : 1000000;
        assert_ends_with_int(rn_submit(rn, &task), iteration_value(i, 2));
        assert_story(i, "f1 i1 f2 i2 s2 z2");
        assert_int_equal(cell(1), 1);
        set_cell(1, 0);
    }
    close_runtime(rn);
}

static rn_value stop_self_at_end(rn_call *call, rn_value success, rn_value error) {
    record(FINISHED, call, success, error);
    rn_stop_self(call);
    return rn_none();
}

RULE(c10_a_final_hook_that_stops_its_own_run_changes_nothing) {
    rn_runtime *rn = OPEN();
    rn_task task = scripted_task(1);
    task.on_finished = stop_self_at_end;
    assert_ends_with_int(rn_submit(rn, &task), iteration_value(1, 1));
    assert_story(1, "f1 i1 s1 z1");
    close_runtime(rn);
}

/* The future of the run under test. Written by the test before it opens gate 1, which the function passes. */
static rn_future *own;

static rn_value pass_gate_one(rn_call *call) {
    (void)call;
    gate_pass(1);
    return rn_int(3);
}

static rn_value release_own(rn_call *call, rn_value success, rn_value error) {
    (void)call, (void)success, (void)error;
    rn_release(own);
    return rn_none();
}

static rn_value note_finished(rn_call *call, rn_value success, rn_value error) {
    (void)call, (void)error;
    set_cell(2, rn_as_int(success));
    return rn_none();
}

static void note_value_of_done(rn_future *future, void *context) {
    (void)context;
    set_cell(3, rn_as_int(rn_result(future)));
}

RULE(c10_a_hook_may_release_its_own_future) {
    threads_only();
    rn_runtime *rn = OPEN();
    own = rn_run(rn, pass_gate_one, .on_iter = release_own, .on_finished = note_finished);
    assert_int_equal(rn_add_done_callback(own, note_value_of_done, NULL), RN_OK);
    gate_open(1, 1);
    close_runtime(rn);
    assert_int_equal(cell(2), 3);
    assert_int_equal(cell(3), 3);
}

static rn_value cancel_own(rn_call *call, rn_value success, rn_value error) {
    (void)call, (void)success, (void)error;
    return rn_bool(rn_cancel(own));
}

RULE(c10_a_hook_that_cancels_its_own_run_is_told_that_it_has_begun) {
    threads_only();
    rn_runtime *rn = OPEN();
    own = rn_run(rn, pass_gate_one, .on_finished = cancel_own, .updates_result = RN_ON_FINISHED);
    gate_open(1, 1);
    rn_value result = end_of(own);
    assert_int_equal(rn_kind(result), RN_BOOL);
    assert_false(rn_as_bool(result));
    close_runtime(rn);
}

/* Asks for its own result: writes down the code, and whether the message names the task. */
static void wait_for_own(rn_call *call) {
    rn_value result = rn_result(own);
    add_to_cell(4, rn_is_error(result) && rn_error_code(result) == RN_DEADLOCK);
    add_to_cell(5, rn_is_error(result) && strstr(rn_error_message(result), rn_name(call)) != NULL);
    add_to_cell(6, rn_wait(own, -1) == RN_DEADLOCK);
}

static rn_value wait_in_function(rn_call *call) {
    gate_pass(1);
    wait_for_own(call);
    return rn_int(8);
}

static rn_value wait_in_outcome(rn_call *call, rn_value success, rn_value error) {
    (void)success, (void)error;
    wait_for_own(call);
    return rn_none();
}

static rn_value wait_in_success(rn_call *call, rn_value success) { return wait_in_outcome(call, success, rn_none()); }

static rn_value wait_in_error(rn_call *call, rn_value error) { return wait_in_outcome(call, rn_none(), error); }

static rn_value fail_after_gate_one(rn_call *call) {
    (void)call;
    gate_pass(1);
    return rn_error(5, "for on_error");
}

static void assert_deadlocks_seen(rn_future *future, int64_t count) {
    own = future;
    gate_open(1, 1);
    rn_drop(end_of(own));
    for (int i = 4; i <= 6; i++) {
        assert_int_equal(cell(i), count);
        set_cell(i, 0);
    }
}

RULE(c10_waiting_for_ones_own_future_is_a_deadlock_that_names_the_task_at_once) {
    threads_only();
    rn_runtime *rn = OPEN();
    assert_deadlocks_seen(rn_run(rn, wait_in_function, .name = "narcissus"), 1);
    assert_deadlocks_seen(rn_run(rn, pass_gate_one, .name = "narcissus", .on_iter = wait_in_outcome,
                                 .on_success = wait_in_success, .on_finished = wait_in_outcome),
                          3);
    assert_deadlocks_seen(rn_run(rn, fail_after_gate_one, .name = "narcissus", .on_error = wait_in_error), 1);
    close_runtime(rn);
}

static rn_value wait_in_hook_for_argument(rn_call *call, rn_value success, rn_value error) {
    (void)call, (void)success, (void)error;
    return rn_keep(rn_result(own));
}

/* Waits for the run whose hook waits for this one: the run that starts the wait later is told. */
static rn_value start_waiter_and_wait(rn_call *call) {
    gate_pass(1);
    rn_future *other = rn_run(rn_runtime_of(call), nothing, .name = "echo", .on_finished = wait_in_hook_for_argument);
    rn_value result = rn_keep(rn_result(other));
    rn_release(other);
    return result;
}

RULE(c10_a_hook_that_waits_for_the_task_that_waits_for_its_run_is_a_deadlock) {
    threads_only();
    rn_runtime *rn = OPEN();
    own = rn_run(rn, start_waiter_and_wait, .name = "narcissus");
    gate_open(1, 1);
    close_runtime(rn); /* until then the hook may still look at the future */
    assert_error_code(rn_result(own), RN_DEADLOCK);
    assert_contains(rn_error_message(rn_result(own)), "narcissus");
    assert_contains(rn_error_message(rn_result(own)), "echo");
    rn_release(own);
}
