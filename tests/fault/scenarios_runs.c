/* Scenarios: opening, running, closing; schedules. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <runium/testing.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "scenarios.h"
#include "steps.h"
#include "support.h"

#define MANY 96

/* ------------------------------------------------------------------------------------------------
 * Opening, running, closing
 */
void open_and_close(void) { closed(opened_with_workers(1)); }

void open_eight_workers(void) {
    rn_runtime *runtime = opened((rn_options){.workers = 8, .name = "eight"});
    rn_stats stats = {.size = sizeof stats};
    int code = rn_get_stats(runtime, &stats);
    if (check(code == RN_OK || excused(code), "stats: %s", rn_code_name(code)) && is_open(runtime))
        check(stats.workers_asked == 8 && stats.workers >= 1 && stats.workers <= 8, "%u workers", stats.workers);
    gave_int(rn_run(runtime, nine), 9);
    closed(runtime);
}

void caller_runs_without_threads(void) {
    rn_runtime *runtime = opened((rn_options){.workers = 2, .when_full = RN_CALLER_RUNS});
    check(is_open(runtime) || refused_now != REFUSED_THREADS, "RN_CALLER_RUNS did not open without threads");
    for (int i = 0; i < 8; i++)
        gave_int(rn_run(runtime, nine), 9);
    closed(runtime);
}

void bad_options(void) {
    rn_options options = {.size = sizeof options, .workers = RN_WORKERS_MAX + 1, .log = count_log};
    rn_runtime *runtime = rn_open_with(&options);
    rn_value error = rn_open_error(runtime);
    bool right = rn_is_error(error) && rn_error_code(error) == RN_INVALID;
    check(right || excused_error(error), "1025 workers: %s", shown(error));
    gave_error(rn_run(runtime, nine), RN_INVALID);
    closed(runtime);
}

void two_runtimes(void) {
    rn_runtime *first = opened_with_workers(1);
    rn_runtime *second = opened_with_workers(1);
    rn_future *of_first = rn_run(first, nine);
    rn_future *of_second = rn_run(second, nine);
    gave_int(of_second, 9);
    gave_int(of_first, 9);
    closed(first);
    closed(second);
}

void many_futures(void) {
    rn_runtime *runtime = opened_with_workers(2);
    rn_future *futures[MANY];
    for (int i = 0; i < MANY; i++)
        futures[i] = rn_run(runtime, echo, .arg = rn_int(i));
    for (int i = 0; i < MANY; i++)
        gave_int(futures[i], i);
    closed(runtime);
}

void detached(void) {
    rn_runtime *runtime = opened_with_workers(2);
    uint64_t accepted = 0, before = atomic_load(&tally.iterations), logged_before = atomic_load(&tally.logged);
    for (int i = 0; i < MANY; i++) {
        int code = rn_run_detached(runtime, nine, .arg = owned());
        check(code == RN_OK || excused(code), "detached: %s", rn_code_name(code));
        accepted += code == RN_OK;
    }
    bool has_log = is_open(runtime);
    closed(runtime);
    check(atomic_load(&tally.iterations) - before == accepted, "detached runs that ran are not those accepted");
    if (accepted < MANY && has_log)
        check(atomic_load(&tally.logged) > logged_before, "a detached run was refused, and the log does not say so");
}

void released_at_once(void) {
    rn_runtime *runtime = opened_with_workers(1);
    for (int i = 0; i < 16; i++)
        rn_release(rn_run(runtime, nine, .arg = owned(), .on_finished = count_finished));
    closed(runtime);
}

void run_after_close_began(void) {
    rn_runtime *runtime = opened_with_workers(1);
    struct gate gate = GATE_CLOSED;
    rn_future *slow = rn_run(runtime, after_gate, .arg = rn_pointer(&gate));
    int code = rn_close(runtime, .how = RN_DRAIN, .within = RN_MILLISECONDS(1));
    bool never_ran = rn_done(slow);
    check(code == RN_TIMED_OUT || (never_ran && code == RN_OK), "close within 1 ms: %s", rn_code_name(code));
    if (code == RN_TIMED_OUT)
        gave_error(rn_run(runtime, nine), RN_CLOSED);
    gate_open(&gate);
    if (code == RN_TIMED_OUT)
        closed(runtime);
    gave_int(slow, 9);
}

void close_stops_pending(void) {
    rn_runtime *runtime = opened_with_workers(1);
    rn_future *futures[8];
    for (int i = 0; i < 8; i++)
        futures[i] = rn_run(runtime, nine, .start_in = i % 2 ? RN_HOURS(1) : 0, .arg = owned());
    check(rn_close(runtime, .how = RN_STOP) == RN_OK, "close with RN_STOP");
    for (int i = 0; i < 8; i++)
        gave_int_or_cancelled(futures[i], 9);
}

/* ------------------------------------------------------------------------------------------------
 * Schedules
 */
void back_to_back(void) {
    rn_runtime *runtime = opened_with_workers(1);
    gave_int(rn_run(runtime, iteration, .times = 20), 20);
    closed(runtime);
}

void periodic(void) {
    rn_runtime *runtime = opened_with_workers(1);
    rn_future *by_number = rn_run(runtime, iteration, .times = 3, .every = RN_MICROSECONDS(200));
    rn_future *by_text = rn_run(runtime, iteration, .times = 2, .every_text = "1 ms", .start_in_text = "100 us");
    rn_future *at = rn_run(runtime, iteration, .at_text = "2001-01-01 00:00Z");
    gave_int(by_number, 3);
    gave_int(by_text, 2);
    gave_int(at, 1);
    closed(runtime);
}

void many_timers(void) {
    rn_runtime *runtime = opened_with_workers(1);
    rn_future *futures[MANY];
    for (int i = 0; i < MANY; i++)
        futures[i] = rn_run(runtime, nine, .start_in = RN_HOURS(i + 1), .name = "later", .arg = owned());
    rn_run_info infos[4];
    int64_t pending = rn_pending(runtime, infos, 4);
    check(pending >= 0 || excused((int)pending), "pending: %lld", (long long)pending);
    for (int i = 0; i < MANY; i++) {
        bool cancelled = rn_cancel(futures[i]);
        check(cancelled || rn_done(futures[i]), "a waiting run was not cancelled");
        gave_int_or_cancelled(futures[i], 9);
    }
    closed(runtime);
}

void endless_until_stopped(void) {
    rn_runtime *runtime = opened_with_workers(1);
    rn_future *self = rn_run(runtime, until_stopped, .every = RN_MICROSECONDS(100), .on_finished = count_finished);
    rn_future *other = rn_run(runtime, nine, .every = RN_HOURS(1));
    rn_stop(other);
    gave_int_or_cancelled(other, 9);
    gave_int(self, 9);
    closed(runtime);
}

void virtual_day(void) {
    rn_testing kit = {.size = sizeof kit, .virtual_clock = true, .seed = 7};
    rn_runtime *runtime = opened((rn_options){.workers = 2, .testing = &kit});
    rn_future *hourly = rn_run(runtime, iteration, .every = RN_HOURS(1), .times = 24);
    rn_future *later = rn_run(runtime, nine, .start_in = RN_DAYS(2));
    gave_int(hourly, 24);
    int code = rn_testing_advance(runtime, RN_DAYS(3));
    check(code == RN_OK || excused(code) || !is_open(runtime), "advance: %s", rn_code_name(code));
    gave_int(later, 9);
    closed(runtime);
}

void drained_with_schedules(void) {
    rn_runtime *runtime = opened_with_workers(2);
    rn_future *finite = rn_run(runtime, iteration, .every = RN_MICROSECONDS(100), .times = 4, .arg = owned());
    rn_future *later = rn_run(runtime, iteration, .start_in = RN_MICROSECONDS(300), .arg = owned());
    rn_future *endless = rn_run(runtime, nine, .every = RN_HOURS(1), .on_finished = count_finished, .arg = owned());
    closed(runtime);
    check(rn_done(finite) && rn_done(later) && rn_done(endless), "a drained run is not done");
    gave_int(finite, 4);
    gave_int(later, 1);
    gave_int_or_cancelled(endless, 9);
}

/* Traces go to stderr, which is nowhere for as long as this plays. */
void debug_traces(void) {
    int kept = dup(STDERR_FILENO), nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(nowhere, STDERR_FILENO);
    rn_runtime *runtime = opened((rn_options){.workers = 1, .debug = true, .name = "debug"});
    for (int i = 0; i < 4; i++)
        gave_error(rn_run(runtime, fails_because, .arg = rn_literal("host"), .name = "traced"), EHOSTUNREACH);
    closed(runtime);
    dup2(kept, STDERR_FILENO);
    close(kept);
    close(nowhere);
}
