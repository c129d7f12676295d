/* Rules D1 to D3: futures, done callbacks, and results. */
#include "support.h"

#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static pid_t own_thread(void) { return (pid_t)syscall(SYS_gettid); }

/* ------------------------------------------------------------------------------------------------
 * D1
 */
static void assert_state(rn_future *future, enum rn_state state) {
    assert_int_equal(rn_state(future), state);
    assert_int_equal(rn_running(future), state == RN_RUNNING);
    assert_int_equal(rn_done(future), state == RN_DONE || state == RN_STATE_CANCELLED);
    assert_int_equal(rn_cancelled(future), state == RN_STATE_CANCELLED);
}

RULE(d1_a_future_is_waiting_then_running_then_done) {
    rn_runtime *rn = OPEN();
    hold_every_worker(rn);
    rn_future *future = rn_run(rn, hold, .arg = rn_int(1));
    assert_state(future, RN_WAITING);
    free_every_worker();
    gate_await(1, 1);
    assert_state(future, RN_RUNNING);
    gate_open(1, 1);
    assert_int_equal(rn_wait(future, -1), RN_OK);
    assert_state(future, RN_DONE);
    rn_release(future);
    close_runtime(rn);
}

RULE(d1_a_future_is_waiting_before_its_start_and_between_its_ticks) {
    rn_runtime *rn = OPEN_VIRTUAL();
    rn_future *future = rn_run(rn, nothing, .start_in = RN_HOURS(1), .every = RN_HOURS(1), .times = 2);
    assert_int_equal(rn_testing_settle(rn), RN_OK);
    assert_state(future, RN_WAITING);
    assert_int_equal(rn_testing_advance(rn, RN_MINUTES(90)), RN_OK);
    assert_state(future, RN_WAITING);
    assert_int_equal(rn_testing_advance(rn, RN_MINUTES(30)), RN_OK);
    assert_int_equal(rn_wait(future, -1), RN_OK);
    assert_state(future, RN_DONE);
    rn_release(future);
    close_runtime(rn);
}

RULE(d1_a_cancelled_future_is_cancelled_and_done) {
    rn_runtime *rn = OPEN_VIRTUAL();
    rn_future *future = rn_run(rn, nothing, .start_in = RN_HOURS(1));
    assert_true(rn_cancel(future));
    assert_state(future, RN_STATE_CANCELLED);
    assert_error_code(rn_result(future), RN_CANCELLED);
    assert_int_equal(rn_wait(future, -1), RN_OK);
    rn_release(future);
    close_runtime(rn);
}

RULE(d1_the_future_of_a_run_that_failed_is_done) {
    rn_runtime *rn = OPEN();
    rn_task task = scripted_task(1);
    board->scripts[1].failing = 1;
    rn_future *future = rn_submit(rn, &task);
    assert_int_equal(rn_wait(future, -1), RN_OK);
    assert_state(future, RN_DONE);
    rn_release(future);
    close_runtime(rn);
}

RULE(d1_result_waits_and_gives_the_same_value_each_time) {
    rn_runtime *rn = OPEN();
    hold_every_worker(rn);
    rn_future *future = rn_run(rn, give_back, .arg = rn_text("the result"));
    assert_error_code(rn_result_within(future, 0), RN_TIMED_OUT);
    free_every_worker();
    const char *first = rn_as_text(rn_result(future));
    assert_string_equal(first, "the result");
    assert_ptr_equal(rn_as_text(rn_result(future)), first);
    assert_ptr_equal(rn_as_text(rn_result_within(future, 0)), first);
    rn_release(future);
    close_runtime(rn);
}

RULE(d1_a_wait_that_times_out_leaves_the_run_alone) {
    rn_runtime *rn = OPEN();
    rn_future *future = rn_run(rn, hold, .arg = rn_int(1));
    gate_await(1, 1);
    assert_error_code(rn_result_within(future, 0), RN_TIMED_OUT);
    assert_error_code(rn_result_within(future, 1), RN_TIMED_OUT);
    assert_int_equal(rn_wait(future, RN_MICROSECONDS(100)), RN_TIMED_OUT);
    assert_state(future, RN_RUNNING);
    gate_open(1, 1);
    rn_value result = end_of(future);
    assert_true(rn_is_none(result));
    close_runtime(rn);
}

RULE(d1_a_wait_times_out_by_the_runtimes_clock) {
    rn_runtime *rn = OPEN_VIRTUAL();
    rn_future *future = rn_run(rn, give_back, .arg = rn_int(1), .start_in = RN_HOURS(2));
    assert_int_equal(rn_wait(future, RN_HOURS(1)), RN_TIMED_OUT);
    assert_true(rn_testing_now(rn) == RN_HOURS(1));
    assert_error_code(rn_result_within(future, RN_MINUTES(59)), RN_TIMED_OUT);
    assert_int_value(rn_result_within(future, RN_MINUTES(2)), 1);
    assert_true(rn_testing_now(rn) == RN_HOURS(2));
    rn_release(future);
    close_runtime(rn);
}

RULE(d1_cancel_says_whether_it_came_in_time) {
    rn_runtime *rn = OPEN();
    hold_every_worker(rn);
    rn_future *waiting = rn_run(rn, nothing);
    assert_true(rn_cancel(waiting));
    assert_true(rn_cancel(waiting));
    free_every_worker();
    rn_future *running = rn_run(rn, hold, .arg = rn_int(1));
    gate_await(1, 1);
    assert_false(rn_cancel(running));
    gate_open(1, 1);
    assert_int_equal(rn_wait(running, -1), RN_OK);
    assert_false(rn_cancel(running));
    assert_true(rn_cancel(waiting));
    rn_release(waiting);
    rn_release(running);
    close_runtime(rn);
}

static void *wait_in_thread(void *future) { return rn_as_int(rn_result(future)) == 4 ? future : NULL; }

RULE(d1_many_threads_can_wait_for_one_future) {
    rn_runtime *rn = OPEN();
    hold_every_worker(rn);
    rn_future *future = rn_run(rn, give_back, .arg = rn_int(4));
    pthread_t threads[8];
    for (int i = 0; i < 8; i++) assert_int_equal(pthread_create(&threads[i], NULL, wait_in_thread, future), 0);
    free_every_worker();
    for (int i = 0; i < 8; i++) {
        void *saw;
        pthread_join(threads[i], &saw);
        assert_ptr_equal(saw, future);
    }
    rn_release(future);
    close_runtime(rn);
}

RULE(d1_a_future_that_is_released_early_lets_its_run_go_on) {
    rn_runtime *rn = OPEN();
    hold_every_worker(rn);
    int tag = 1;
    rn_task task = scripted_task(tag);
    rn_future *future = rn_submit(rn, &task);
    assert_int_equal(rn_add_done_callback(future, note_done, &tag), RN_OK);
    rn_release(future);
    free_every_worker();
    close_runtime(rn);
    assert_story(1, "f1 i1 s1 z1 d");
}

RULE(d1_a_future_outlives_its_runtime) {
    rn_runtime *rn = OPEN();
    rn_future *future = rn_run(rn, give_back, .arg = rn_text("still here"));
    close_runtime(rn);
    assert_state(future, RN_DONE);
    assert_string_equal(rn_as_text(rn_result(future)), "still here");
    int tag = 1;
    assert_int_equal(rn_add_done_callback(future, note_done, &tag), RN_OK);
    assert_story(1, "d");
    assert_false(rn_cancel(future));
    assert_false(rn_stop(future));
    rn_release(future);
}

/* ------------------------------------------------------------------------------------------------
 * D2
 */
RULE(d2_done_callbacks_are_called_once_each_in_the_order_added) {
    enum { CALLBACKS = 200 };
    static int tags[CALLBACKS];
    rn_runtime *rn = OPEN();
    hold_every_worker(rn);
    rn_future *future = rn_run(rn, nothing);
    for (int i = 0; i < CALLBACKS; i++) {
        tags[i] = i;
        assert_int_equal(rn_add_done_callback(future, note_done, &tags[i]), RN_OK);
    }
    assert_int_equal(event_count(), 0);
    free_every_worker();
    close_runtime(rn);
    assert_int_equal(event_count(), CALLBACKS);
    for (int i = 0; i < CALLBACKS; i++) assert_int_equal(board->events[i].tag, i);
    rn_release(future);
}

RULE(d2_a_function_that_is_added_twice_is_called_twice) {
    rn_runtime *rn = OPEN();
    hold_every_worker(rn);
    int tag = 1;
    rn_future *future = rn_run(rn, nothing);
    assert_int_equal(rn_add_done_callback(future, note_done, &tag), RN_OK);
    assert_int_equal(rn_add_done_callback(future, note_done, &tag), RN_OK);
    free_every_worker();
    close_runtime(rn);
    assert_story(1, "d d");
    rn_release(future);
}

RULE(d2_a_callback_added_to_a_done_future_is_called_at_once_on_this_thread) {
    rn_runtime *rn = OPEN();
    int tag = 1;
    rn_future *future = rn_run(rn, nothing);
    assert_int_equal(rn_wait(future, -1), RN_OK);
    assert_int_equal(rn_add_done_callback(future, note_done, &tag), RN_OK);
    assert_int_equal(event_count(), 1);
    assert_int_equal(board->events[0].tid, own_thread());
    rn_release(future);
    close_runtime(rn);
}

RULE(d2_done_callbacks_run_on_the_thread_that_completes_the_future) {
    threads_only();
    rn_runtime *rn = OPEN();
    hold_every_worker(rn);
    int tag = 1;
    rn_task task = scripted_task(tag);
    rn_future *future = rn_submit(rn, &task);
    assert_int_equal(rn_add_done_callback(future, note_done, &tag), RN_OK);
    assert_int_equal(rn_add_done_callback(future, note_done, &tag), RN_OK);
    free_every_worker();
    close_runtime(rn);
    struct event events[6];
    assert_int_equal(events_of(1, events, 6), 6);
    for (int i = 1; i < 6; i++) assert_int_equal(events[i].tid, events[0].tid);
    rn_release(future);
}

RULE(d2_the_callbacks_of_a_cancelled_future_run_on_the_thread_that_cancels_it) {
    rn_runtime *rn = OPEN_VIRTUAL();
    int tags[] = {1, 2};
    rn_future *future = rn_run(rn, nothing, .start_in = RN_HOURS(1));
    assert_int_equal(rn_add_done_callback(future, note_done, &tags[0]), RN_OK);
    assert_int_equal(rn_add_done_callback(future, note_done, &tags[1]), RN_OK);
    assert_true(rn_cancel(future));
    assert_int_equal(event_count(), 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(board->events[i].tag, tags[i]);
        assert_int_equal(board->events[i].tid, own_thread());
    }
    rn_release(future);
    close_runtime(rn);
}

static int inner_tag = 2;

static void add_another(rn_future *future, void *context) {
    note_done(future, context);
    set_cell(1, rn_add_done_callback(future, note_done, &inner_tag));
}

RULE(d2_a_callback_may_add_another_which_is_called_once_on_the_same_thread) {
    rn_runtime *rn = OPEN();
    hold_every_worker(rn);
    static int first = 1, last = 3;
    rn_future *future = rn_run(rn, nothing);
    assert_int_equal(rn_add_done_callback(future, add_another, &first), RN_OK);
    assert_int_equal(rn_add_done_callback(future, note_done, &last), RN_OK);
    free_every_worker();
    close_runtime(rn);
    assert_int_equal(cell(1), RN_OK);
    assert_int_equal(event_count(), 3);
    assert_story(1, "d");
    assert_story(2, "d");
    assert_story(3, "d");
    assert_int_equal(board->events[0].tag, 1);
    assert_int_equal(board->events[1].tid, board->events[0].tid);
    assert_int_equal(board->events[2].tid, board->events[0].tid);
    rn_release(future);
}

/* Callbacks are added while the run ends: each one is called once, and those that were added before another in the
 * list are called before it. Ones that come too late for the list are called by the adding thread, at once. */
RULE(d2_callbacks_added_while_the_run_ends_are_called_once_each) {
    enum { ROUNDS = 300, CALLBACKS = 8 };
    static int tags[ROUNDS * CALLBACKS];
    rn_runtime *rn = OPEN();
    for (int round = 0; round < ROUNDS; round++) {
        rn_future *future = rn_run(rn, nothing);
        for (int i = 0; i < CALLBACKS; i++) {
            int *tag = &tags[round * CALLBACKS + i];
            *tag = round * CALLBACKS + i;
            assert_int_equal(rn_add_done_callback(future, note_done, tag), RN_OK);
        }
        rn_release(future);
    }
    close_runtime(rn);
    static int calls[ROUNDS * CALLBACKS];
    memset(calls, 0, sizeof calls);
    assert_int_equal(event_count(), ROUNDS * CALLBACKS);
    int last_listed[ROUNDS];
    memset(last_listed, 0xff, sizeof last_listed);
    for (size_t i = 0; i < event_count(); i++) {
        const struct event *event = &board->events[i];
        calls[event->tag]++;
        if (event->tid == own_thread()) continue;
        assert_true(event->tag > last_listed[event->tag / CALLBACKS]);
        last_listed[event->tag / CALLBACKS] = event->tag;
    }
    for (int i = 0; i < ROUNDS * CALLBACKS; i++) assert_int_equal(calls[i], 1);
}

static rn_runtime *runtime_of_callbacks;

/* Calls whatever can be called: with a lock held somewhere below, one of these would never return. */
static void use_everything(rn_future *future, void *context) {
    (void)context;
    add_to_cell(1, rn_state(future) == RN_DONE && rn_done(future) && !rn_running(future) && !rn_cancelled(future));
    add_to_cell(2, rn_as_int(rn_result(future)) == 6 && rn_wait(future, -1) == RN_OK);
    add_to_cell(3, !rn_cancel(future) && !rn_stop(future) && rn_progress(future) == 1);
    rn_future *other = rn_run(runtime_of_callbacks, give_back, .arg = rn_int(7));
    add_to_cell(4, rn_as_int(rn_result(other)) == 7);
    rn_release(other);
    add_to_cell(5, rn_run_detached(runtime_of_callbacks, nothing) == RN_OK);
    rn_run_info info;
    rn_stats stats = {.size = sizeof stats};
    add_to_cell(6,
                rn_pending(runtime_of_callbacks, &info, 1) >= 0 && rn_get_stats(runtime_of_callbacks, &stats) == RN_OK);
    add_to_cell(7, rn_add_done_callback(future, note_done, &inner_tag) == RN_OK);
    rn_release(future);
}

RULE(d2_a_callback_may_call_anything_and_release_the_future) {
    rn_runtime *rn = runtime_of_callbacks = OPEN();
    hold_every_worker(rn);
    rn_future *future = rn_run(rn, give_back, .arg = rn_int(6));
    assert_int_equal(rn_add_done_callback(future, use_everything, NULL), RN_OK);
    free_every_worker();
    close_runtime(rn);
    for (int i = 1; i <= 7; i++) assert_int_equal(cell(i), 1);
    assert_story(2, "d");
}

RULE(d2_the_callback_on_a_future_that_never_started_is_called_at_once) {
    rn_runtime *rn = OPEN();
    int tag = 1;
    rn_future *future = rn_run(rn, NULL);
    assert_int_equal(rn_add_done_callback(future, note_done, &tag), RN_OK);
    assert_story(1, "d");
    assert_int_equal(board->events[0].tid, own_thread());
    rn_release(future);
    close_runtime(rn);
}

/* ------------------------------------------------------------------------------------------------
 * D3
 */
RULE(d3_the_error_of_a_task_is_the_result_of_its_future) {
    rn_runtime *rn = OPEN();
    rn_task task = scripted_task(3);
    board->scripts[3].failing = 1;
    rn_value result = end_of(rn_submit(rn, &task));
    assert_true(rn_is_error(result));
    assert_int_equal(rn_kind(result), RN_ERROR);
    assert_int_equal(rn_error_code(result), iteration_code(3, 1));
    assert_string_equal(rn_error_message(result), "iteration 1 of run 3 fails");
    rn_drop(result);
    close_runtime(rn);
}

RULE(d3_no_value_is_taken_for_an_error) {
    rn_runtime *rn = OPEN();
    static const int64_t numbers[] = {0, -1, RN_CANCELLED, RN_DEADLOCK, RN_TIMED_OUT, INT64_MIN};
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        assert_ends_with_int(rn_run(rn, give_back, .arg = rn_int(numbers[i])), numbers[i]);
    rn_value text = end_of(rn_run(rn, give_back, .arg = rn_text("RN_CANCELLED")));
    assert_false(rn_is_error(text));
    rn_drop(text);
    close_runtime(rn);
}

static rn_value fail_like_the_library(rn_call *call) {
    return rn_error((int)rn_as_int(rn_arg(call)), "the task's own");
}

RULE(d3_a_tasks_error_with_a_code_of_the_library_is_still_the_tasks) {
    rn_runtime *rn = OPEN();
    static const int codes[] = {RN_CANCELLED, RN_TIMED_OUT, RN_DEADLOCK, RN_CLOSED};
    for (size_t i = 0; i < COUNT_OF(codes); i++) {
        rn_future *future = rn_run(rn, fail_like_the_library, .arg = rn_int(codes[i]));
        assert_int_equal(rn_wait(future, -1), RN_OK);
        assert_int_equal(rn_state(future), RN_DONE);
        assert_false(rn_cancelled(future));
        assert_string_equal(rn_error_message(rn_result(future)), "the task's own");
        assert_string_equal(rn_error_task(rn_result(future)), "fail_like_the_library");
        rn_release(future);
    }
    close_runtime(rn);
}
