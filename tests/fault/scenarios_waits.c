/* Scenarios: waits, cancels, limits. */
#include <errno.h>
#include <pthread.h>
#include <runium/testing.h>
#include <stdio.h>
#include <string.h>

#include "scenarios.h"
#include "steps.h"
#include "support.h"

/* ------------------------------------------------------------------------------------------------
 * Waits, cancels, limits
 */
static rn_value waits_for_another(rn_call *call) {
    int64_t depth = rn_as_int(rn_arg(call));
    if (depth == 0)
        return rn_int(0);
    rn_future *future = rn_run(rn_runtime_of(call), waits_for_another, .arg = rn_int(depth - 1));
    rn_value value = rn_result(future);
    rn_value sum = rn_kind(value) == RN_INT ? rn_int(rn_as_int(value) + 1) : rn_keep(value);
    rn_release(future);
    return sum;
}

void nested_waits(void) {
    rn_runtime *runtime = opened_with_workers(1);
    gave_int(rn_run(runtime, waits_for_another, .arg = rn_int(12)), 12);
    closed(runtime);
}

/* Its child waits for the clock, so it cannot be run in place: a spare worker is wanted. */
static rn_value waits_for_a_timer(rn_call *call) {
    rn_future *future = rn_run(rn_runtime_of(call), nine, .start_in = RN_MICROSECONDS(300));
    rn_value value = rn_keep(rn_result(future));
    rn_release(future);
    return value;
}

void spare_workers(void) {
    rn_runtime *runtime = opened_with_workers(1);
    rn_future *futures[4];
    for (int i = 0; i < 4; i++)
        futures[i] = rn_run(runtime, waits_for_a_timer);
    for (int i = 0; i < 4; i++)
        gave_int(futures[i], 9);
    closed(runtime);
}

static rn_value waits_for_itself(rn_call *call) {
    struct hold *own = rn_as_pointer(rn_arg(call));
    gate_wait(&own->gate);
    return rn_keep(rn_result(own->future));
}

void deadlock(void) {
    rn_runtime *runtime = opened_with_workers(1);
    struct hold own = HOLD;
    own.future = rn_run(runtime, waits_for_itself, .arg = rn_pointer(&own), .name = "ouroboros");
    gate_open(&own.gate);
    gave_error(own.future, RN_DEADLOCK);
    closed(runtime);
}

static rn_value spreads(rn_call *call) {
    int64_t depth = rn_as_int(rn_arg(call));
    for (int i = 0; depth > 0 && i < 3; i++) {
        int code = rn_run_detached(rn_runtime_of(call), spreads, .arg = rn_int(depth - 1));
        check(code == RN_OK || excused(code), "detached in a task: %s", rn_code_name(code));
    }
    atomic_fetch_add(&tally.iterations, 1);
    return rn_int(9);
}

void nested_submissions(void) {
    rn_runtime *runtime = opened_with_workers(2);
    uint64_t before = atomic_load(&tally.iterations);
    gave_int(rn_run(runtime, spreads, .arg = rn_int(5)), 9);
    closed(runtime);
    uint64_t ran = atomic_load(&tally.iterations) - before;
    check(ran == 364 || (ran < 364 && refused_now != REFUSED_NOTHING), "%d of 364 nested runs", (int)ran);
}

void cancel_in_queue(void) {
    rn_runtime *runtime = opened_with_workers(1);
    struct hold hold = HOLD;
    bool is_held = hold_worker(&hold, runtime);
    rn_future *queued[6];
    for (int i = 0; i < 6; i++)
        queued[i] = rn_run(runtime, nine, ALL_HOOKS, .arg = owned());
    for (int i = 0; i < 6; i++) {
        bool told = i % 2 ? rn_cancel(queued[i]) : rn_stop(queued[i]);
        check(told || !is_held || rn_done(queued[i]), "a queued run was not cancelled");
    }
    let_go(&hold);
    for (int i = 0; i < 6; i++)
        gave_int_or_cancelled(queued[i], 9);
    closed(runtime);
}

void waits_that_time_out(void) {
    rn_runtime *runtime = opened_with_workers(1);
    struct gate gate = GATE_CLOSED;
    rn_future *future = rn_run(runtime, after_gate, .arg = rn_pointer(&gate));
    rn_value value = rn_result_within(future, RN_MICROSECONDS(300));
    bool right = rn_is_error(value) && rn_error_code(value) == RN_TIMED_OUT;
    check(right || excused_error(value), "result within: %s", shown(value));
    int code = rn_wait(future, 0);
    check(code == RN_TIMED_OUT || rn_done(future), "wait 0: %s", rn_code_name(code));
    check(rn_progress(future) >= 0 && rn_state(future) <= RN_DONE, "state while running");
    gate_open(&gate);
    gave_int(future, 9);
    closed(runtime);
}

void queue_limit_fails(void) {
    rn_runtime *runtime = opened((rn_options){.workers = 1, .queue_limit = 3, .when_full = RN_FAIL});
    struct gate gate = GATE_CLOSED;
    rn_future *futures[8];
    for (int i = 0; i < 8; i++)
        futures[i] = rn_run(runtime, after_gate, .arg = rn_pointer(&gate));
    unsigned full = 0;
    gate_open(&gate);
    for (int i = 0; i < 8; i++) {
        rn_value value = rn_result(futures[i]);
        bool is_full = rn_is_error(value) && rn_error_code(value) == RN_QUEUE_FULL;
        check(is_full || rn_kind(value) == RN_INT || excused_error(value), "queue: %s", shown(value));
        full += is_full;
        rn_release(futures[i]);
    }
    check((full >= 4 && full <= 5) || refused_now != REFUSED_NOTHING, "%u of 8 runs found the queue full", full);
    closed(runtime);
}

void queue_limit_blocks(void) {
    rn_runtime *runtime = opened((rn_options){.workers = 1, .queue_limit = 2, .when_full = RN_BLOCK});
    rn_future *futures[24];
    for (int i = 0; i < 24; i++)
        futures[i] = rn_run(runtime, nine);
    for (int i = 0; i < 24; i++)
        gave_int(futures[i], 9);
    closed(runtime);
}

void queue_limit_caller_runs(void) {
    rn_runtime *runtime = opened((rn_options){.workers = 1, .queue_limit = 2, .when_full = RN_CALLER_RUNS});
    rn_future *futures[24];
    for (int i = 0; i < 24; i++)
        futures[i] = rn_run(runtime, nine, .on_finished = count_finished);
    for (int i = 0; i < 24; i++)
        gave_int(futures[i], 9);
    closed(runtime);
}

static void *produce(void *context) {
    rn_future *futures[24];
    for (int i = 0; i < 24; i++)
        futures[i] = rn_run(context, nine, .name = "produced");
    for (int i = 0; i < 24; i++)
        gave_int(futures[i], 9);
    return NULL;
}

void two_producers(void) {
    rn_runtime *runtime = opened_with_workers(2);
    pthread_t other;
    bool started = pthread_create(&other, NULL, produce, runtime) == 0;
    produce(runtime);
    if (started)
        pthread_join(other, NULL);
    closed(runtime);
}

void names_and_pending(void) {
    rn_runtime *runtime = opened_with_workers(1);
    struct gate gate = GATE_CLOSED;
    rn_future *futures[12];
    char name[100];
    for (int i = 0; i < 12; i++) {
        snprintf(name, sizeof name, "a name that is longer than what a short one would take, number %d", i);
        futures[i] = rn_run(runtime, after_gate, .arg = rn_pointer(&gate), .name = name);
    }
    rn_run_info infos[12];
    int64_t pending = rn_pending(runtime, infos, 12);
    check(pending >= 0 || excused((int)pending), "pending: %lld", (long long)pending);
    for (int64_t i = 0; i < pending && i < 12; i++)
        check(strncmp(infos[i].name, "a name", 6) == 0, "pending name %s", infos[i].name);
    gate_open(&gate);
    for (int i = 0; i < 12; i++)
        gave_int(futures[i], 9);
    closed(runtime);
}

static rn_value closes_its_own(rn_call *call) { return rn_int(rn_close(rn_runtime_of(call))); }

void close_in_a_task(void) {
    rn_runtime *runtime = opened_with_workers(1);
    gave_int(rn_run(runtime, closes_its_own), RN_DEADLOCK);
    closed(runtime);
}

static rn_value reports(rn_call *call) {
    struct hold *hold = rn_as_pointer(rn_arg(call));
    rn_report(call, 0.25);
    counter_add(&hold->begun, 1);
    gate_wait(&hold->gate);
    return rn_int(rn_stopping(call) ? 9 : 0);
}

void progress_and_stop(void) {
    rn_runtime *runtime = opened_with_workers(1);
    struct hold hold = HOLD;
    hold.future = rn_run(runtime, reports, .arg = rn_pointer(&hold), .times = 5, .name = "reports");
    if (!rn_done(hold.future)) {
        counter_await(&hold.begun, 1);
        double progress = rn_progress(hold.future);
        check((progress > 0.2 && progress < 0.3) || refused_now != REFUSED_NOTHING, "progress %f", progress);
        check(rn_stop(hold.future), "a running task was not told to stop");
    }
    let_go(&hold);
    closed(runtime);
}
