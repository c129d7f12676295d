/*
 * Runs that wait for their start: what they need, how they are listed, and how they leave when they are cancelled, or
 * when the runtime is closed.
 */
#include "base/os.h"
#include "core/handle.h"
#include "core/run.h"
#include "core/runtime.h"
#include "core/schedule.h"
#include "support.h"

#define MANY 1000

static rn_value nothing(rn_call *call) {
    (void)call;
    return rn_none();
}

static rn_value answer(rn_call *call) {
    (void)call;
    return rn_int(42);
}

static rn_value outcome_hook(rn_call *call, rn_value result, rn_value error) {
    (void)call;
    (void)result;
    (void)error;
    return rn_none();
}

static rn_runtime *open_quiet(void) { return rn_open(.workers = 1, .log = rn_log_nothing); }

static rni_run *run_of(rn_future *future) { return rni_handle_object(future); }

static void end(rn_future *future, bool has_plan) {
    assert_int_equal(rni_run_plan(run_of(future)) != NULL, has_plan);
    assert_non_null(rni_run_timer(run_of(future))->link);
    assert_false(rni_load_relaxed(&run_of(future)->done.word) & RNI_CLAIMABLE); /* it is not due */
    assert_true(rn_cancel(future));
    rn_release(future);
}

TEST(only_what_has_more_than_a_delay_needs_a_plan) {
    rn_runtime *runtime = open_quiet();
    end(rn_run(runtime, nothing, .start_in = RN_HOURS(1)), false);
    end(rn_run(runtime, nothing, .start_in_text = "1 h"), false);
    end(rn_run(runtime, nothing, .at_text = "2099-01-01T00:00:00Z"), false);
    end(rn_run(runtime, nothing, .start_in = RN_HOURS(1), .times = 1), false);
    end(rn_run(runtime, nothing, .start_in = RN_DURATION_MAX), false);
    end(rn_run(runtime, nothing, .start_in = RN_HOURS(1), .times = 2), true);
    end(rn_run(runtime, nothing, .start_in = RN_HOURS(1), .name = "named"), true);
    end(rn_run(runtime, nothing, .start_in = RN_HOURS(1), .every = RN_HOURS(1)), true);
    end(rn_run(runtime, nothing, .start_in = RN_HOURS(1), .on_finished = outcome_hook), true);
    assert_int_equal(rn_close(runtime), RN_OK);
}

TEST(a_delay_that_is_none_or_over_makes_a_run_like_any_other) {
    rn_runtime *runtime = open_quiet();
    rn_future *futures[] = {rn_run(runtime, answer, .start_in_text = "0 s"), rn_run(runtime, answer, .at = 1),
                            rn_run(runtime, answer, .start_in = 1), rn_run(runtime, answer, .start_in = RN_MILLISECONDS(2))};
    for (size_t i = 0; i < COUNT_OF(futures); i++) {
        assert_int_equal(rn_as_int(rn_result(futures[i])), 42);
        assert_null(rni_run_plan(run_of(futures[i])));
        rn_release(futures[i]);
    }
    assert_int_equal(rn_close(runtime), RN_OK);
}

TEST(a_delay_out_of_range_is_refused) {
    rn_runtime *runtime = open_quiet();
    const int64_t refused[] = {-1, INT64_MIN, RN_DURATION_MAX + 1, INT64_MAX};
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        rn_future *future = rn_run(runtime, answer, .start_in = refused[i]);
        assert_int_equal(rn_error_code(rn_result(future)), RN_INVALID);
        rn_release(future);
    }
    assert_int_equal(rn_close(runtime), RN_OK);
}

static rn_value report(rn_call *call) {
    assert_int_equal(rn_remaining(call), 0);
    assert_int_equal(rn_missed(call), 0);
    rn_report(call, 0.5);
    rn_run_info info;
    assert_int_equal(rn_pending(rn_runtime_of(call), &info, 1), 1);
    assert_true(info.progress > 0.4 && info.progress < 0.6);
    return rn_int(7);
}

TEST(a_delayed_run_gets_a_plan_when_it_reports) {
    rn_runtime *runtime = open_quiet();
    rn_future *future = rn_run(runtime, report, .start_in = RN_MILLISECONDS(1));
    assert_int_equal(rn_as_int(rn_result(future)), 7);
    rn_release(future);
    assert_int_equal(rn_close(runtime), RN_OK);
}

TEST(a_delayed_run_is_listed_with_its_start) {
    rn_run_info info;
    rn_runtime *runtime = open_quiet();
    rn_future *future = rn_run(runtime, nothing, .start_in = RN_HOURS(1));
    assert_int_equal(rn_pending(runtime, &info, 1), 1);
    assert_int_equal(info.state, RN_WAITING);
    assert_int_equal(info.iteration, 0);
    assert_true(info.next_start_ns > RN_MINUTES(59) && info.next_start_ns <= RN_HOURS(1));
    assert_true(info.age_ns >= 0 && info.age_ns < RN_MINUTES(1));
    assert_string_equal(info.name, "nothing");
    end(future, false);
    assert_int_equal(rn_pending(runtime, &info, 1), 0);
    assert_int_equal(rn_close(runtime), RN_OK);
}

/* ---- cancelled runs, and their memory ---- */

static rn_future *futures[MANY];
static rni_run *runs[MANY];
static uint32_t generations[MANY];

static void start_many(rn_runtime *runtime) {
    for (size_t i = 0; i < MANY; i++) {
        futures[i] = i % 2 ? rn_run(runtime, nothing, .start_in = RN_HOURS(1))
                           : rn_run(runtime, nothing, .start_in = RN_HOURS(1), .name = "planned");
        runs[i] = run_of(futures[i]);
        generations[i] = rni_load_relaxed(&runs[i]->generation);
    }
}

static size_t not_given_back(void) {
    size_t count = 0;
    for (size_t i = 0; i < MANY; i++) count += rni_load_relaxed(&runs[i]->generation) == generations[i];
    return count;
}

static void cancel_many(void) {
    for (size_t i = 0; i < MANY; i++) assert_true(rn_cancel(futures[i * 7 % MANY]));
}

static void release_many(void) {
    for (size_t i = 0; i < MANY; i++) rn_release(futures[i]);
}

TEST(of_cancelled_runs_only_the_last_few_are_kept_and_only_until_the_timers_are_looked_at) {
    rn_runtime *runtime = open_quiet();
    start_many(runtime);
    cancel_many();
    assert_int_equal(not_given_back(), MANY); /* the program holds them */
    release_many();
    assert_true(not_given_back() <= RNI_LEAVING); /* fewer if the worker gave memory back meanwhile */
    rni_schedule_flush(rni_handle_object(runtime));
    assert_int_equal(not_given_back(), 0);
    rni_schedule_flush(rni_handle_object(runtime));
    assert_int_equal(rn_close(runtime), RN_OK);
}

TEST(the_last_cancelled_runs_are_given_back_by_a_timer_that_fires) {
    rn_runtime *runtime = open_quiet();
    start_many(runtime);
    cancel_many();
    release_many();
    rn_future *future = rn_run(runtime, answer, .start_in = 1);
    assert_int_equal(rn_as_int(rn_result(future)), 42);
    rn_release(future);
    assert_int_equal(not_given_back(), 0);
    assert_int_equal(rn_close(runtime), RN_OK);
}

TEST(the_last_cancelled_runs_are_given_back_when_the_runtime_is_closed) {
    rn_runtime *runtime = open_quiet();
    start_many(runtime);
    cancel_many();
    release_many();
    assert_int_equal(rn_close(runtime), RN_OK);
    assert_int_equal(not_given_back(), 0);
}

static rn_value cancel_last(rn_call *call) {
    while (!rn_stopping(call)) rni_os_yield();
    return rn_bool(rn_cancel(rn_as_pointer(rn_arg(call))));
}

/* The timers are gone through when the closing begins; later ones leave at its end. */
TEST(a_run_that_is_cancelled_while_the_runtime_drains_is_given_back_too) {
    rn_runtime *runtime = open_quiet();
    rn_future *future = rn_run(runtime, nothing, .start_in = RN_HOURS(1));
    rn_future *canceller = rn_run(runtime, cancel_last, .arg = rn_pointer(future), .times = RN_ENDLESS);
    rni_run *run = run_of(future);
    uint32_t generation = rni_load_relaxed(&run->generation);
    assert_int_equal(rn_close(runtime), RN_OK);
    assert_true(rn_as_bool(rn_result(canceller)));
    assert_true(rn_cancelled(future));
    rn_release(canceller);
    rn_release(future);
    assert_int_equal(rni_load_relaxed(&run->generation), generation + 1);
}

/* ---- closing with many that wait ---- */

TEST(a_stop_cancels_all_that_wait) {
    rn_runtime *runtime = open_quiet();
    start_many(runtime);
    for (size_t i = 0; i < MANY; i += 10) assert_true(rn_cancel(futures[i]));
    assert_int_equal(rn_close(runtime, .how = RN_STOP), RN_OK);
    for (size_t i = 0; i < MANY; i++) assert_true(rn_cancelled(futures[i]));
    release_many();
    assert_int_equal(not_given_back(), 0);
}

TEST(a_drain_ends_the_endless_and_waits_for_the_others) {
    rn_runtime *runtime = open_quiet();
    rn_future *endless[3], *delayed = NULL, *limited;
    for (int i = 0; i < 3; i++) {
        endless[i] = rn_run(runtime, nothing, .start_in = RN_HOURS(1), .every = RN_HOURS(1));
        if (i == 1) delayed = rn_run(runtime, nothing, .start_in = RN_HOURS(1));
    }
    limited = rn_run(runtime, nothing, .start_in = RN_HOURS(1), .every = RN_HOURS(1), .times = 2);
    assert_int_equal(rn_close(runtime, .within = 1), RN_TIMED_OUT);
    for (int i = 0; i < 3; i++) {
        assert_true(rn_cancelled(endless[i]));
        rn_release(endless[i]);
    }
    assert_int_equal(rn_state(delayed), RN_WAITING);
    assert_int_equal(rn_state(limited), RN_WAITING);
    assert_int_equal(rn_close(runtime, .how = RN_STOP), RN_OK);
    assert_true(rn_cancelled(delayed) && rn_cancelled(limited));
    rn_release(delayed);
    rn_release(limited);
}

/* A run that nobody holds: it goes with its queue's pointer. */
TEST(detached_runs_that_wait_run_or_are_cancelled) {
    rn_runtime *runtime = open_quiet();
    rn_stats stats = {.size = sizeof stats};
    assert_int_equal(rn_run_detached(runtime, nothing, .start_in = RN_HOURS(1)), RN_OK);
    assert_int_equal(rn_run_detached(runtime, nothing, .start_in = RN_HOURS(1), .name = "planned"), RN_OK);
    assert_int_equal(rn_run_detached(runtime, nothing, .start_in = RN_MILLISECONDS(1)), RN_OK);
    while (stats.started == 0) {
        rni_os_yield();
        assert_int_equal(rn_get_stats(runtime, &stats), RN_OK);
    }
    assert_int_equal(stats.started, 1);
    assert_int_equal(rn_close(runtime, .how = RN_STOP), RN_OK);
}
