/*
 * T7: only k of n threads can start, for every k from 0 to n and n up to 16 (n = 0: as many as there
 * are CPUs). With one thread or more every task runs, and the shortfall is in the log and in the
 * statistics; with none the runtime says RN_NO_THREADS, or runs tasks in the thread that starts them.
 */
#include <runium/testing.h>
#include <stdio.h>
#include <string.h>

#include "support.h"

#define WORKERS_MAX 16u
#define TASKS 24

static _Atomic unsigned warnings;
static _Atomic uint64_t ran;

static void count_warnings(void *context, const rn_log_record *record) {
    (void)context;
    if (record->level <= RN_LOG_WARNING)
        atomic_fetch_add(&warnings, 1);
}

static rn_value square(rn_call *call) {
    atomic_fetch_add(&ran, 1);
    int64_t number = rn_as_int(rn_arg(call));
    return rn_int(number * number);
}

/* It waits for a run that waits for the clock: somebody else has to keep time. */
static rn_value waits_for_the_clock(rn_call *call) {
    rn_future *future = rn_run(rn_runtime_of(call), square, .arg = rn_int(5), .start_in = RN_MICROSECONDS(200));
    rn_value value = rn_keep(rn_result(future));
    rn_release(future);
    return value;
}

static rn_runtime *open_with_threads(unsigned workers, unsigned threads, enum rn_when_full when_full) {
    atomic_store(&warnings, 0);
    rn_testing_fail(RN_FAULT_THREAD_START, threads + 1u, UINT64_MAX);
    return rn_open(.workers = workers, .when_full = when_full, .log = count_warnings);
}

static void check_int(rn_future *future, int64_t expected, const char *what) {
    rn_value value = rn_result(future);
    char text[200];
    rn_format(value, text, sizeof text);
    check(rn_kind(value) == RN_INT && rn_as_int(value) == expected, "%s: %s", what, text);
    rn_release(future);
}

static void check_runs(rn_runtime *runtime) {
    rn_future *futures[TASKS];
    uint64_t before = atomic_load(&ran);
    for (int i = 0; i < TASKS; i++)
        futures[i] = rn_run(runtime, square, .arg = rn_int(i));
    for (int i = 0; i < TASKS; i++)
        check_int(futures[i], i * i, "a task");
    check(atomic_load(&ran) - before == TASKS, "%d runs of %d tasks", (int)(atomic_load(&ran) - before), TASKS);
    check_int(rn_run(runtime, square, .arg = rn_int(3), .start_in = RN_MICROSECONDS(100)), 9, "a delayed task");
    check_int(rn_run(runtime, square, .arg = rn_int(3), .every = RN_MICROSECONDS(50), .times = 3), 9, "a periodic one");
    check_int(rn_run(runtime, waits_for_the_clock), 25, "a task that waits for the clock");
}

static void check_shortfall(rn_runtime *runtime, unsigned workers, unsigned threads) {
    rn_stats stats = {.size = sizeof stats};
    int code = rn_get_stats(runtime, &stats);
    check(code == RN_OK, "statistics: %s", rn_code_name(code));
    check(stats.workers_asked == workers || (workers == 0 && stats.workers_asked > 0), "%u workers asked",
          stats.workers_asked);
    unsigned expected = threads < stats.workers_asked ? threads : stats.workers_asked;
    check(stats.workers <= expected, "%u workers on %u threads", stats.workers, threads);
    check(stats.workers > 0, "a runtime that is open has no worker");
    bool said = atomic_load(&warnings) > 0;
    check(stats.workers == stats.workers_asked || said, "%u of %u workers, and the log does not say so", stats.workers,
          stats.workers_asked);
}

static void check_none_start(unsigned workers) {
    rn_runtime *runtime = open_with_threads(workers, 0, RN_BLOCK);
    rn_value error = rn_open_error(runtime);
    check(rn_is_error(error) && rn_error_code(error) == RN_NO_THREADS, "no thread, and the runtime did open");
    rn_future *future = rn_run(runtime, square, .arg = rn_int(2));
    rn_value result = rn_result(future);
    check(rn_is_error(result) && rn_error_code(result) == RN_NO_THREADS, "no thread, and a run did not fail");
    rn_release(future);
    check(rn_close(runtime) == RN_OK, "closing what could not open");

    runtime = open_with_threads(workers, 0, RN_CALLER_RUNS);
    check(rn_is_none(rn_open_error(runtime)), "RN_CALLER_RUNS did not open without threads");
    for (int i = 0; i < TASKS; i++)
        check_int(rn_run(runtime, square, .arg = rn_int(i)), i * i, "a task in its caller");
    check(rn_close(runtime) == RN_OK, "closing a runtime without threads");
}

/* With the canary one thread more than told may start, as in a library that asks for one too many. */
static void check_some_start(unsigned workers, unsigned threads) {
    rn_runtime *runtime = open_with_threads(workers, threads + (proof_canary && workers == 8), RN_BLOCK);
    if (check(rn_is_none(rn_open_error(runtime)), "%u of %u threads, and it did not open", threads, workers)) {
        check_shortfall(runtime, workers, threads);
        check_runs(runtime);
    }
    check(rn_close(runtime) == RN_OK, "closing with %u of %u threads", threads, workers);
}

int main(int argc, char **argv) {
    proof_begin(argc, argv, "T7");
    guard_against_hang(120);
    for (unsigned workers = 0; workers <= WORKERS_MAX; workers++)
        for (unsigned threads = 0; threads <= workers; threads++) {
            if (threads == 0)
                check_none_start(workers);
            else
                check_some_start(workers, threads);
            proof_case();
        }
    rn_testing_fail(RN_FAULT_THREAD_START, 1, 0);
    return proof_end("cases");
}
