/* Rules B1 to B6: schedules. All of it on the virtual clock, on which nothing is ever late, unless a test says so. */
#include "support.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

/* ------------------------------------------------------------------------------------------------
 * B1
 */
RULE(b1_without_times_and_every_there_is_one_iteration) {
    rn_runtime *rn = OPEN_VIRTUAL();
    rn_task task = scripted_task(1);
    task.times = 0;
    assert_ends_with_int(rn_submit(rn, &task), iteration_value(1, 1));
    assert_story(1, "f1 i1 s1 z1");
    assert_int_equal(rn_testing_now(rn), 0);
    close_runtime(rn);
}

RULE(b1_times_alone_runs_so_many_iterations_back_to_back) {
    rn_runtime *rn = OPEN_VIRTUAL();
    static const uint64_t times[] = {1, 2, 3, 100};
    for (size_t i = 0; i < COUNT_OF(times); i++) {
        rn_task task = scripted_task((int)i);
        task.times = times[i];
        assert_ends_with_int(rn_submit(rn, &task), iteration_value((int)i, times[i]));
        assert_int_equal(events_of((int)i, NULL, 0), 2 * times[i] + 2);
    }
    assert_int_equal(rn_testing_now(rn), 0);
    close_runtime(rn);
}

RULE(b1_every_alone_runs_until_it_is_stopped) {
    rn_runtime *rn = OPEN_VIRTUAL();
    rn_task task = scripted_task(1);
    task.every = RN_MINUTES(1);
    rn_future *future = rn_submit(rn, &task);
    assert_int_equal(rn_testing_settle(rn), RN_OK);
    assert_int_equal(rn_testing_advance(rn, RN_MINUTES(1000)), RN_OK);
    assert_false(rn_done(future));
    assert_true(rn_stop(future));
    assert_ends_with_int(future, iteration_value(1, 1001));
    assert_int_equal(events_of(1, NULL, 0), 2 * 1001 + 2);
    close_runtime(rn);
}

static int64_t due_of(const struct event *events, size_t count, uint64_t iteration) {
    for (size_t i = 0; i < count; i++)
        if (events[i].kind == FUNCTION && events[i].iteration == iteration) return events[i].now;
    fail_msg("iteration %" PRIu64 " did not run", iteration);
    return -1;
}

RULE(b1_times_and_every_run_so_many_iterations_on_that_period) {
    rn_runtime *rn = OPEN_VIRTUAL();
    rn_task task = scripted_task(1);
    task.every = RN_SECONDS(10);
    task.times = 3;
    assert_ends_with_int(rn_submit(rn, &task), iteration_value(1, 3));
    assert_story(1, "f1 i1 f2 i2 f3 i3 s3 z3");
    struct event events[8];
    size_t count = events_of(1, events, COUNT_OF(events));
    for (uint64_t k = 1; k <= 3; k++) assert_true(due_of(events, count, k) == (int64_t)(k - 1) * RN_SECONDS(10));
    assert_true(rn_testing_now(rn) == RN_SECONDS(20));
    close_runtime(rn);
}

/* ------------------------------------------------------------------------------------------------
 * B2
 */
static int64_t only_start(int tag) {
    struct event events[8];
    return due_of(events, events_of(tag, events, COUNT_OF(events)), 1);
}

RULE(b2_the_first_iteration_starts_at_once) {
    rn_runtime *rn = OPEN_VIRTUAL();
    rn_task once = scripted_task(1), periodic = scripted_task(2);
    periodic.every = RN_HOURS(1);
    periodic.times = 2;
    rn_future *future = rn_submit(rn, &periodic);
    assert_ends_with_int(rn_submit(rn, &once), iteration_value(1, 1));
    assert_ends_with_int(future, iteration_value(2, 2));
    assert_true(only_start(1) == 0);
    assert_true(only_start(2) == 0);
    close_runtime(rn);
}

RULE(b2_start_in_delays_the_first_iteration_by_exactly_that) {
    rn_runtime *rn = OPEN_VIRTUAL();
    static const int64_t delays[] = {1, 999, RN_MILLISECONDS(1), RN_SECONDS(1) + 1, RN_DAYS(365), RN_DURATION_MAX / 2};
    int64_t start = 0;
    for (size_t i = 0; i < COUNT_OF(delays); i++) {
        rn_task task = scripted_task((int)i);
        task.start_in = delays[i];
        assert_ends_with_int(rn_submit(rn, &task), iteration_value((int)i, 1));
        assert_true(only_start((int)i) == start + delays[i]);
        start += delays[i];
    }
    close_runtime(rn);
}

RULE(b2_start_in_can_be_a_text) {
    rn_runtime *rn = OPEN_VIRTUAL();
    rn_task task = scripted_task(1);
    task.start_in_text = "1.5 hours";
    assert_ends_with_int(rn_submit(rn, &task), iteration_value(1, 1));
    assert_true(only_start(1) == RN_MINUTES(90));
    close_runtime(rn);
}

RULE(b2_a_period_counts_from_the_delayed_start) {
    rn_runtime *rn = OPEN_VIRTUAL();
    rn_task task = scripted_task(1);
    task.start_in = RN_SECONDS(7);
    task.every_text = "10 seconds";
    task.times = 3;
    assert_ends_with_int(rn_submit(rn, &task), iteration_value(1, 3));
    struct event events[8];
    size_t count = events_of(1, events, COUNT_OF(events));
    for (uint64_t k = 1; k <= 3; k++)
        assert_true(due_of(events, count, k) == RN_SECONDS(7) + (int64_t)(k - 1) * RN_SECONDS(10));
    close_runtime(rn);
}

static int64_t wall_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * RN_SECONDS(1) + now.tv_nsec;
}

/* The virtual clock starts at some moment between the two readings of the wall clock. */
RULE(b2_at_starts_the_first_iteration_at_that_date_and_time) {
    int64_t before = wall_now();
    rn_runtime *rn = OPEN_VIRTUAL();
    rn_task task = scripted_task(1);
    task.at = before + RN_HOURS(26);
    rn_future *future = rn_submit(rn, &task);
    int64_t after = wall_now();
    assert_ends_with_int(future, iteration_value(1, 1));
    assert_true(only_start(1) <= task.at - before);
    assert_true(only_start(1) >= task.at - after);
    close_runtime(rn);
}

RULE(b2_at_can_be_a_text) {
    int64_t before = wall_now();
    rn_runtime *rn = OPEN_VIRTUAL();
    time_t at = (time_t)(before / RN_SECONDS(1)) + 2 * 24 * 60 * 60;
    struct tm parts;
    char text[64];
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&at, &parts));
    rn_task task = scripted_task(1);
    task.at_text = text;
    rn_future *future = rn_submit(rn, &task);
    int64_t after = wall_now(), at_ns = (int64_t)at * RN_SECONDS(1);
    assert_ends_with_int(future, iteration_value(1, 1));
    assert_true(only_start(1) <= at_ns - before);
    assert_true(only_start(1) >= at_ns - after);
    close_runtime(rn);
}

RULE(b2_a_time_gone_by_means_at_once) {
    rn_runtime *rn = OPEN_VIRTUAL();
    rn_task first = scripted_task(1), second = scripted_task(2), third = scripted_task(3);
    first.at = 1;
    second.at = wall_now() - RN_SECONDS(1);
    third.at_text = "1999-12-31 23:59:59+02:00";
    assert_ends_with_int(rn_submit(rn, &first), iteration_value(1, 1));
    assert_ends_with_int(rn_submit(rn, &second), iteration_value(2, 1));
    assert_ends_with_int(rn_submit(rn, &third), iteration_value(3, 1));
    assert_int_equal(rn_testing_now(rn), 0);
    close_runtime(rn);
}

/* ------------------------------------------------------------------------------------------------
 * B3
 */
/* Writes down when each of its iterations began, and how many ticks were missed by then. */
static rn_value note_time(rn_call *call) {
    board->times[rn_iteration(call) - 1] = rn_testing_now(rn_runtime_of(call));
    set_cell(0, (int64_t)rn_missed(call));
    return rn_none();
}

static void assert_no_drift(int64_t start_in, int64_t every, uint64_t times) {
    rn_runtime *rn = OPEN_VIRTUAL();
    rn_future *future = rn_run(rn, note_time, .start_in = start_in, .every = every, .times = times);
    assert_int_equal(rn_wait(future, -1), RN_OK);
    rn_release(future);
    for (uint64_t k = 0; k < times; k++)
        if (board->times[k] != start_in + (int64_t)k * every)
            fail_msg("tick %" PRIu64 " came at %" PRId64, k, board->times[k]);
    assert_int_equal(cell(0), 0);
    close_runtime(rn);
}

RULE(b3_ten_thousand_ticks_of_an_odd_period_do_not_drift) { assert_no_drift(0, INT64_C(333333333), 10000); }

RULE(b3_ticks_of_one_nanosecond_do_not_drift) { assert_no_drift(17, 1, 1000); }

RULE(b3_every_hour_for_a_year_is_on_the_hour) { assert_no_drift(0, RN_HOURS(1), 8760); }

RULE(b3_every_week_for_a_century_is_on_the_day) { assert_no_drift(RN_DAYS(1), RN_WEEKS(1), 5200); }

/* Lasts so long as board->times[TIMES / 2 + k - 1] says for iteration k. */
static rn_value last_as_told(rn_call *call) {
    uint64_t k = rn_iteration(call) - 1;
    board->times[k] = rn_testing_now(rn_runtime_of(call));
    board->times[TIMES / 4 + k] = (int64_t)rn_missed(call);
    int64_t duration = board->times[TIMES / 2 + k];
    if (duration > 0) last_for(call, duration);
    return rn_none();
}

/* The schedule that follows from how long the iterations take: each begins at the first tick after the one before
 * has ended, and the ticks in between are missed. No iteration here ends exactly on a tick. */
static void assert_schedule(const int64_t *durations, uint64_t times, int64_t every) {
    memcpy(&board->times[TIMES / 2], durations, times * sizeof *durations);
    rn_runtime *rn = OPEN_VIRTUAL();
    rn_future *future = rn_run(rn, last_as_told, .every = every, .times = times);
    assert_int_equal(rn_wait(future, -1), RN_OK);
    rn_release(future);
    int64_t tick = 0, missed = 0;
    for (uint64_t k = 0; k < times; k++) {
        if (board->times[k] != tick * every || board->times[TIMES / 4 + k] != missed)
            fail_msg("iteration %" PRIu64 " began at %" PRId64 " with %" PRId64 " missed, not at %" PRId64
                     " with %" PRId64,
                     k + 1, board->times[k], board->times[TIMES / 4 + k], tick * every, missed);
        missed += durations[k] / every;
        tick += durations[k] / every + 1;
    }
    close_runtime(rn);
}

RULE(b3_ticks_that_come_due_during_an_iteration_are_missed_and_counted) {
    static const int64_t durations[] = {RN_MILLISECONDS(2500), 0, 0, RN_MILLISECONDS(1001), RN_MILLISECONDS(999), 0};
    assert_schedule(durations, COUNT_OF(durations), RN_SECONDS(1));
}

RULE(b3_missed_ticks_are_not_made_up_for_in_a_burst) {
    int64_t durations[50] = {RN_SECONDS(1000) + 1};
    assert_schedule(durations, COUNT_OF(durations), RN_SECONDS(1));
    for (uint64_t k = 1; k < COUNT_OF(durations); k++)
        assert_true(board->times[k] - board->times[k - 1] >= RN_SECONDS(1));
}

RULE(b3_an_iteration_shorter_than_the_period_misses_nothing) {
    int64_t durations[200];
    for (size_t i = 0; i < COUNT_OF(durations); i++) durations[i] = (int64_t)i * RN_MILLISECONDS(5);
    assert_schedule(durations, COUNT_OF(durations), RN_SECONDS(1));
    assert_int_equal(board->times[TIMES / 4 + COUNT_OF(durations) - 1], 0);
}

RULE(b3_missed_ticks_are_counted_whatever_the_iterations_last) {
    uint64_t seed = test_seed();
    int64_t durations[500];
    for (size_t i = 0; i < COUNT_OF(durations); i++) {
        int64_t periods = (int64_t)(next_random(&seed) % 4), part = (int64_t)(next_random(&seed) % 999999) + 1;
        durations[i] = next_random(&seed) % 3 == 0 ? 0 : periods * RN_MILLISECONDS(1) + part;
    }
    assert_schedule(durations, COUNT_OF(durations), RN_MILLISECONDS(1));
}

/* ------------------------------------------------------------------------------------------------
 * B4
 */
enum { INSIDE = 0, OVERLAPS = 1, LAST = 2, OUT_OF_ORDER = 3, ITERATIONS = 4 };

static rn_value watch_overlap(rn_call *call) {
    if (add_to_cell(INSIDE, 1) != 0) add_to_cell(OVERLAPS, 1);
    if (cell(LAST) + 1 != (int64_t)rn_iteration(call)) add_to_cell(OUT_OF_ORDER, 1);
    set_cell(LAST, (int64_t)rn_iteration(call));
    add_to_cell(ITERATIONS, 1);
    int64_t duration = rn_as_int(rn_arg(call));
    if (duration > 0) last_for(call, duration);
    add_to_cell(INSIDE, -1);
    return rn_none();
}

static rn_value watch_overlap_after(rn_call *call, rn_value success, rn_value error) {
    (void)call, (void)success, (void)error;
    if (add_to_cell(INSIDE, 1) != 0) add_to_cell(OVERLAPS, 1);
    add_to_cell(INSIDE, -1);
    return rn_none();
}

static void assert_one_after_the_other(int64_t times) {
    assert_int_equal(cell(OVERLAPS), 0);
    assert_int_equal(cell(OUT_OF_ORDER), 0);
    assert_int_equal(cell(ITERATIONS), times);
}

RULE(b4_iterations_that_last_longer_than_the_period_do_not_overlap) {
    rn_runtime *rn = OPEN_VIRTUAL();
    rn_future *future = rn_run(rn, watch_overlap, .arg = rn_int(RN_MILLISECONDS(1700)), .on_iter = watch_overlap_after,
                               .every = RN_SECONDS(1), .times = 200);
    assert_int_equal(rn_wait(future, -1), RN_OK);
    rn_release(future);
    assert_one_after_the_other(200);
    close_runtime(rn);
}

RULE(b4_iterations_back_to_back_keep_their_order) {
    rn_runtime *rn = OPEN();
    rn_future *future = rn_run(rn, watch_overlap, .arg = rn_int(0), .on_iter = watch_overlap_after, .times = 20000);
    assert_int_equal(rn_wait(future, -1), RN_OK);
    rn_release(future);
    assert_one_after_the_other(20000);
    close_runtime(rn);
}

RULE(b4_iterations_on_a_short_real_period_do_not_overlap) {
    rn_runtime *rn = OPEN();
    rn_future *future = rn_run(rn, watch_overlap, .arg = rn_int(0), .on_iter = watch_overlap_after,
                               .every = RN_MICROSECONDS(20), .times = 2000);
    assert_int_equal(rn_wait(future, -1), RN_OK);
    rn_release(future);
    assert_one_after_the_other(2000);
    close_runtime(rn);
}

/* ------------------------------------------------------------------------------------------------
 * B5
 */
RULE(b5_ten_thousand_runs_that_wait_for_their_start_do_not_delay_an_immediate_one) {
    rn_runtime *rn = OPEN_VIRTUAL(.workers = 2);
    for (int i = 0; i < 10000; i++) assert_int_equal(rn_run_detached(rn, nothing, .start_in = RN_HOURS(1) + i), RN_OK);
    assert_ends_with_int(rn_run(rn, give_back, .arg = rn_int(5)), 5);
    assert_int_equal(rn_testing_now(rn), 0);
    assert_int_equal(rn_pending(rn, NULL, 0), 10000);
    stop_runtime(rn);
}

static rn_value count_iteration(rn_call *call) {
    (void)call;
    add_to_cell(0, 1);
    return rn_none();
}

RULE(b5_ten_thousand_runs_between_two_ticks_do_not_delay_an_immediate_one) {
    rn_runtime *rn = OPEN_VIRTUAL(.workers = 2);
    for (int i = 0; i < 10000; i++) assert_int_equal(rn_run_detached(rn, count_iteration, .every = RN_HOURS(1)), RN_OK);
    assert_int_equal(rn_testing_settle(rn), RN_OK);
    assert_int_equal(cell(0), 10000);
    assert_ends_with_int(rn_run(rn, give_back, .arg = rn_int(6)), 6);
    assert_int_equal(rn_testing_now(rn), 0);
    assert_int_equal(rn_testing_advance(rn, RN_HOURS(1)), RN_OK);
    assert_int_equal(cell(0), 20000);
    stop_runtime(rn);
}

RULE(b5_waiting_runs_cost_no_worker_on_the_real_clock_either) {
    rn_runtime *rn = OPEN();
    for (int i = 0; i < 1000; i++) assert_int_equal(rn_run_detached(rn, nothing, .start_in = RN_DAYS(1)), RN_OK);
    assert_ends_with_int(rn_run(rn, give_back, .arg = rn_int(7)), 7);
    assert_int_equal(rn_pending(rn, NULL, 0), 1000);
    stop_runtime(rn);
}

/* Many short runs before: an executor may have come to hand out several at a time. */
static void run_many_short(rn_runtime *rn) {
    enum { MANY = 2000 };
    static rn_future *futures[MANY];
    for (int i = 0; i < MANY; i++) futures[i] = rn_run(rn, give_back, .arg = rn_int(i));
    for (int i = 0; i < MANY; i++) assert_ends_with_int(futures[i], i);
}

RULE(b5_a_run_behind_one_that_takes_long_is_not_kept_by_it) {
    rn_runtime *rn = OPEN(.workers = 2);
    rn_future *behind[40];
    for (int round = 0; round < 10; round++) {
        run_many_short(rn);
        rn_future *first = rn_run(rn, give_back, .arg = rn_int(-1));
        rn_future *held = rn_run(rn, hold, .arg = rn_int(3));
        for (int i = 0; i < 40; i++) behind[i] = rn_run(rn, give_back, .arg = rn_int(i));
        assert_ends_with_int(first, -1); /* also one that was handed out together with it */
        for (int i = 0; i < 40; i++) assert_ends_with_int(behind[i], i);
        assert_false(rn_done(held));
        gate_open(3, 1);
        rn_drop(end_of(held));
    }
    close_runtime(rn);
}

RULE(b5_runs_behind_a_long_one_wait_in_the_queue_and_can_be_cancelled) {
    rn_runtime *rn = OPEN(.workers = 1);
    rn_future *behind[40];
    for (int round = 0; round < 10; round++) {
        run_many_short(rn);
        rn_future *held = rn_run(rn, hold, .arg = rn_int(3));
        for (int i = 0; i < 40; i++) behind[i] = rn_run(rn, note_event, .arg = rn_int(7));
        gate_await(3, 1);
        for (int i = 0; i < 40; i++)
            while (!rn_cancel(behind[i])) rn_wait(behind[i], RN_MICROSECONDS(100)); /* it comes back to the queue */
        for (int i = 0; i < 40; i++) assert_ends_with_error(behind[i], RN_CANCELLED);
        gate_open(3, 1);
        rn_drop(end_of(held));
        assert_story(7, "");
    }
    close_runtime(rn);
}

/* ------------------------------------------------------------------------------------------------
 * B6
 */
RULE(b6_an_iteration_that_fails_does_not_end_the_schedule) {
    rn_runtime *rn = OPEN_VIRTUAL();
    rn_task task = scripted_task(1), periodic = scripted_task(2);
    task.times = periodic.times = 4;
    periodic.every = RN_SECONDS(1);
    board->scripts[1].failing = board->scripts[2].failing = 0x7;
    assert_ends_with_int(rn_submit(rn, &task), iteration_value(1, 4));
    assert_ends_with_int(rn_submit(rn, &periodic), iteration_value(2, 4));
    assert_story(1, "f1 i1 f2 i2 f3 i3 f4 i4 s4 z4");
    assert_story(2, "f1 i1 f2 i2 f3 i3 f4 i4 s4 z4");
    close_runtime(rn);
}

RULE(b6_a_run_whose_every_iteration_fails_still_runs_them_all) {
    rn_runtime *rn = OPEN_VIRTUAL();
    rn_task task = scripted_task(1);
    task.times = 5;
    task.every = RN_DAYS(1);
    board->scripts[1].failing = UINT64_MAX;
    assert_ends_with_error(rn_submit(rn, &task), iteration_code(1, 5));
    assert_story(1, "f1 i1 f2 i2 f3 i3 f4 i4 f5 i5 e5 z5");
    close_runtime(rn);
}
