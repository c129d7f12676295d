/*
 * T15: in the steady state a task costs no allocation and no mapping, and 1e5 tasks of each kind leave
 * this process as it was: the same descriptors, threads and maps. Steady means that a bounded number of
 * runs is pending, and that as many have been pending before.
 */
#include <runium/testing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

#define WINDOW 64

struct kind {
    const char *name;
    void (*play)(rn_runtime *runtime); /* WINDOW tasks, from start to end */
};

static struct counter ended = COUNTER_ZERO;

static rn_value nine(rn_call *call) {
    (void)call;
    return rn_int(9);
}

static rn_value first_iteration(rn_call *call) { return rn_bool(rn_iteration(call) > 0); }

static rn_value keeps_outcome(rn_call *call, rn_value success, rn_value error) {
    (void)call;
    (void)error;
    return rn_keep(success);
}

static rn_value keeps_success(rn_call *call, rn_value success) {
    (void)call;
    return rn_keep(success);
}

static rn_value counts_itself(rn_call *call) {
    (void)call;
    counter_add(&ended, 1);
    return rn_none();
}

static void done(rn_future *future, void *context) {
    (void)future;
    (void)context;
    counter_add(&ended, 1);
}

static void wait_and_release(rn_future **futures) {
    for (int i = 0; i < WINDOW; i++) {
        check(!rn_is_error(rn_result(futures[i])), "a task failed");
        rn_release(futures[i]);
    }
}

static void futures_in_a_window(rn_runtime *runtime) {
    rn_future *futures[WINDOW];
    for (int i = 0; i < WINDOW; i++)
        futures[i] = rn_run(runtime, nine);
    wait_and_release(futures);
}

static void one_by_one(rn_runtime *runtime) {
    for (int i = 0; i < WINDOW; i++) {
        rn_future *future = rn_run(runtime, nine);
        check(rn_as_int(rn_result(future)) == 9, "a task failed");
        rn_release(future);
    }
}

static void detached(rn_runtime *runtime) {
    uint64_t before = counter_read(&ended);
    for (int i = 0; i < WINDOW; i++)
        rn_run_detached(runtime, counts_itself);
    counter_await(&ended, before + WINDOW);
}

static void named_with_hooks(rn_runtime *runtime) {
    rn_future *futures[WINDOW];
    for (int i = 0; i < WINDOW; i++)
        futures[i] = rn_run(runtime, first_iteration, .name = "a name that takes most of its sixty-three bytes of room",
                            .on_iter = keeps_outcome, .on_success = keeps_success, .on_finished = keeps_outcome,
                            .updates_result = RN_ON_FINISHED, .arg = rn_literal("an argument"));
    wait_and_release(futures);
}

static void done_callbacks(rn_runtime *runtime) {
    rn_future *futures[WINDOW];
    uint64_t before = counter_read(&ended);
    for (int i = 0; i < WINDOW; i++) {
        futures[i] = rn_run(runtime, nine);
        rn_add_done_callback(futures[i], done, NULL);
        rn_add_done_callback(futures[i], done, NULL);
        rn_add_done_callback(futures[i], done, NULL);
    }
    wait_and_release(futures);
    counter_await(&ended, before + UINT64_C(3) * WINDOW);
}

static rn_value submits_three(rn_call *call) {
    for (int i = 0; i < 3; i++)
        rn_run_detached(rn_runtime_of(call), counts_itself);
    return rn_none();
}

static void nested(rn_runtime *runtime) {
    rn_future *futures[WINDOW];
    uint64_t before = counter_read(&ended);
    for (int i = 0; i < WINDOW; i++)
        futures[i] = rn_run(runtime, submits_three);
    wait_and_release(futures);
    counter_await(&ended, before + UINT64_C(3) * WINDOW);
}

static void cancelled_timers(rn_runtime *runtime) {
    rn_future *futures[WINDOW];
    for (int i = 0; i < WINDOW; i++)
        futures[i] = rn_run(runtime, nine, .start_in = RN_HOURS(i + 1));
    for (int i = 0; i < WINDOW; i++) {
        check(rn_cancel(futures[i]), "a waiting run was not cancelled");
        rn_release(futures[i]);
    }
}

static void fired_timers(rn_runtime *runtime) {
    rn_future *futures[WINDOW];
    for (int i = 0; i < WINDOW; i++)
        futures[i] = rn_run(runtime, nine, .start_in = RN_MICROSECONDS(i % 8 + 1));
    wait_and_release(futures);
}

static void repeated(rn_runtime *runtime) {
    rn_future *futures[WINDOW];
    for (int i = 0; i < WINDOW; i++)
        futures[i] = rn_run(runtime, nine, .times = 4);
    wait_and_release(futures);
}

static rn_value waits_for_a_child(rn_call *call) {
    rn_future *child = rn_run(rn_runtime_of(call), nine);
    rn_value value = rn_keep(rn_result(child));
    rn_release(child);
    return value;
}

static void waits_in_tasks(rn_runtime *runtime) {
    rn_future *futures[WINDOW];
    for (int i = 0; i < WINDOW; i++)
        futures[i] = rn_run(runtime, waits_for_a_child);
    wait_and_release(futures);
}

static const struct kind kinds[] = {
    {"futures in a window", futures_in_a_window},
    {"futures one by one", one_by_one},
    {"detached", detached},
    {"named, with hooks and an argument", named_with_hooks},
    {"three done callbacks", done_callbacks},
    {"three nested submissions", nested},
    {"timers that are cancelled", cancelled_timers},
    {"timers that fire", fired_timers},
    {"four iterations", repeated},
    {"waits within tasks", waits_in_tasks},
};

struct footprint {
    unsigned descriptors, threads, maps;
};

static struct footprint footprint(void) {
    return (struct footprint){proc_entries("/proc/self/fd"), proc_entries("/proc/self/task"),
                              proc_lines("/proc/self/maps")};
}

static void check_footprint(struct footprint before, const char *name) {
    struct footprint now = footprint();
    check(now.descriptors == before.descriptors, "%s: %u descriptors, then %u", name, before.descriptors,
          now.descriptors);
    check(now.threads == before.threads, "%s: %u threads, then %u", name, before.threads, now.threads);
    check(UNDER_ASAN || UNDER_TSAN || now.maps == before.maps, "%s: %u maps, then %u", name, before.maps, now.maps);
}

/* The canary makes and drops a text per round: memory that is given back is an allocation all the same. */
static void play(const struct kind *kind, rn_runtime *runtime, uint64_t rounds) {
    for (uint64_t i = 0; i < rounds; i++) {
        kind->play(runtime);
        if (proof_canary)
            rn_drop(rn_text("a text that is long enough to need memory of its own, and then some more"));
    }
}

static void prove_kind(const struct kind *kind, rn_runtime *runtime, uint64_t rounds) {
    play(kind, runtime, rounds / 4 + 1);
    rn_testing_fail(RN_FAULT_ALLOCATION, 1, 0);
    rn_testing_fail(RN_FAULT_MAPPING, 1, 0);
    rn_testing_fail(RN_FAULT_THREAD_START, 1, 0);
    struct footprint before = footprint();
    play(kind, runtime, rounds);
    uint64_t allocations = rn_testing_reached(RN_FAULT_ALLOCATION), mappings = rn_testing_reached(RN_FAULT_MAPPING);
    uint64_t threads = rn_testing_reached(RN_FAULT_THREAD_START);
    check(allocations == 0 && mappings == 0 && threads == 0, "%s: %llu allocations, %llu mappings, %llu threads",
          kind->name, (unsigned long long)allocations, (unsigned long long)mappings, (unsigned long long)threads);
    check_footprint(before, kind->name);
    printf("  %-34s %llu tasks: %llu allocations, %llu mappings\n", kind->name, (unsigned long long)(rounds * WINDOW),
           (unsigned long long)allocations, (unsigned long long)mappings);
    proof_case();
}

int main(int argc, char **argv) {
    proof_begin(argc, argv, "T15");
    guard_against_hang(proof_torture ? 1800 : 240);
    uint64_t rounds = proof_amount(100000, 1000000) / WINDOW + 1;
    rn_testing_fail(RN_FAULT_ALLOCATION, 1, 0);
    rn_runtime *runtime = rn_open(.workers = 2, .log = rn_log_nothing);
    /* Whichever threads these kinds need have all started, and worked, when the counting begins. */
    for (unsigned pass = 0; pass < 20; pass++) /* timekeeper and worker change places now and then: each gets its chunks */
        for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++)
            play(&kinds[i], runtime, 20);
    rn_testing_settle(runtime);
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++)
        prove_kind(&kinds[i], runtime, rounds);
    check(rn_close(runtime) == RN_OK, "close in the steady state");
    return proof_end("kinds of task");
}
