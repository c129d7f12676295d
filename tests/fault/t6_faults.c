/*
 * T6: every allocation, mapping, thread start and futex wait of every scenario fails, once and from
 * then on. A point is one scenario with the n-th of one kind failing. It is played in a child of its
 * own, so that each starts as cold as a new process, and a crash or a hang costs that point alone.
 *
 * A point is good if nothing crashed or hung, each outcome was right or an error that names the cause,
 * the scenario then played without any fault, and no allocation is held at the end. Mappings stay for
 * reuse, as many as were needed at one time: so they are measured over many plays with faults, one after
 * the other, in which their number must come to rest.
 *
 *   --pairs    samples two faults at once instead
 */
#include <runium/testing.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "scenarios.h"
#include "support.h"

/* Past this many points of one kind a scenario adds nothing new: only futex waits come so far. */
#define POINTS_MAX 400
#define PLAIN_POINTS_MIN 2000
#define PLAYS_TO_REST 32u

struct window {
    enum rn_fault fault;
    uint64_t nth, count;
};

struct point {
    const struct scenario *scenario;
    struct window windows[2];
    unsigned window_count;
    enum refused refused;
};

struct report {
    uint64_t reached;
};

static struct report *report;

static enum refused refused_by(enum rn_fault fault) {
    switch (fault) {
    case RN_FAULT_ALLOCATION:
    case RN_FAULT_MAPPING:
        return REFUSED_MEMORY;
    case RN_FAULT_THREAD_START:
        return REFUSED_THREADS;
    case RN_FAULT_FUTEX:
    case RN_FAULT_COUNT:
        break;
    }
    return REFUSED_FUTEX;
}

static void no_faults(void) {
    for (int fault = 0; fault < RN_FAULT_COUNT; fault++)
        rn_testing_fail((enum rn_fault)fault, 1, 0);
}

/* In a child: the scenario with its faults, then once more without, then the count of what is held. */
static void play_point(void *context) {
    const struct point *point = context;
    uint64_t broken = proof_broken();
    for (unsigned i = 0; i < point->window_count; i++)
        rn_testing_fail(point->windows[i].fault, point->windows[i].nth, point->windows[i].count);
    scenario_play(point->scenario, point->refused);
    report->reached = rn_testing_reached(point->windows[0].fault);
    no_faults();
    scenario_play(point->scenario, REFUSED_NOTHING);
    uint64_t held = rn_testing_held(RN_FAULT_ALLOCATION);
    check(held == 0, "%llu allocations are held at the end", (unsigned long long)held);
    fflush(NULL);
    _exit(proof_broken() == broken ? 0 : 1);
}

static bool is_good(struct ending ending) {
    return !ending.hung && WIFEXITED(ending.status) && WEXITSTATUS(ending.status) == 0;
}

/* Plays one point. A child that breaks early reports nothing reached: the caller counts on. */
static bool point_is_good(struct point *point, unsigned limit_s) {
    char text[40];
    report->reached = UINT64_MAX;
    struct ending ending = child_run(play_point, point, limit_s);
    const struct window *window = point->windows;
    return check(is_good(ending), "%s, %s %llu, %llu times: %s", point->scenario->name, rn_fault_name(window->fault),
                 (unsigned long long)window->nth, (unsigned long long)window->count,
                 ending_text(ending, text, sizeof text));
}

/* Returns how many points this kind of fault has in this scenario, and fails each of them. */
static uint64_t sweep(const struct scenario *scenario, enum rn_fault fault, uint64_t count) {
    uint64_t stride = proof_torture ? 1 : UNDER_TSAN ? 16 : UNDER_ASAN ? 4 : 1;
    uint64_t played = 0, broken = proof_broken();
    for (uint64_t nth = 1; nth <= POINTS_MAX && proof_broken() < broken + 3; nth += stride) {
        struct point point = {scenario, {{fault, nth, count}}, 1, refused_by(fault)};
        point_is_good(&point, 30);
        if (report->reached < nth)
            break;
        proof_case();
        played++;
    }
    return played;
}

/* In a child: many plays, each with another fault; after a while they need no further mapping. */
static void play_many(void *context) {
    const struct scenario *scenario = context;
    struct dice dice = dice_of((uint64_t)strlen(scenario->name) << 8 | (unsigned char)scenario->name[0]);
    uint64_t broken = proof_broken(), at_half = 0;
    for (unsigned i = 0; i < 2 * PLAYS_TO_REST; i++) {
        enum rn_fault fault = (enum rn_fault)(i % RN_FAULT_COUNT);
        rn_testing_fail(fault, 1 + roll_below(&dice, 12), 1 + roll_below(&dice, 2));
        scenario_play(scenario, refused_by(fault));
        no_faults();
        if (i == PLAYS_TO_REST)
            at_half = rn_testing_held(RN_FAULT_MAPPING);
    }
    uint64_t at_end = rn_testing_held(RN_FAULT_MAPPING);
    check(at_end <= at_half + PLAYS_TO_REST / 4, "%llu mappings are held after %u plays with faults, %llu after %u",
          (unsigned long long)at_half, PLAYS_TO_REST, (unsigned long long)at_end, 2 * PLAYS_TO_REST);
    fflush(NULL);
    _exit(proof_broken() == broken ? 0 : 1);
}

static void sweep_scenario(const struct scenario *scenario) {
    uint64_t points[RN_FAULT_COUNT] = {0};
    for (int fault = 0; fault < RN_FAULT_COUNT; fault++) {
        points[fault] += sweep(scenario, (enum rn_fault)fault, 1);
        points[fault] += sweep(scenario, (enum rn_fault)fault, UINT64_MAX);
    }
    char text[40];
    struct ending ending = child_run(play_many, (void *)(uintptr_t)scenario, 60);
    check(is_good(ending), "%s, many times: %s", scenario->name, ending_text(ending, text, sizeof text));
    proof_case();
    printf("  %-28s allocation %4llu  mapping %4llu  thread start %4llu  futex %4llu\n", scenario->name,
           (unsigned long long)points[0], (unsigned long long)points[1], (unsigned long long)points[2],
           (unsigned long long)points[3]);
}

static uint64_t sweep_all(void) {
    const char *only = proof_option("--scenario");
    uint64_t played = 0;
    for (unsigned i = 0; i < scenario_count; i++)
        if (only == NULL || strcmp(only, scenarios[i].name) == 0) {
            sweep_scenario(&scenarios[i]);
            played++;
        }
    return played;
}

/* Two kinds of fault, or one that fails two times with luck between: at random. */
static void sample_pairs(void) {
    struct dice dice = dice_of(0);
    uint64_t pairs = proof_amount(600, 10000);
    for (uint64_t i = 0; i < pairs; i++) {
        struct point point = {&scenarios[roll_below(&dice, scenario_count)], {{0}}, 2, REFUSED_ANY};
        enum rn_fault first = (enum rn_fault)roll_below(&dice, RN_FAULT_COUNT);
        enum rn_fault second = (enum rn_fault)((first + 1 + roll_below(&dice, RN_FAULT_COUNT - 1)) % RN_FAULT_COUNT);
        point.windows[0] = (struct window){first, 1 + roll_below(&dice, 20), 1 + roll_below(&dice, 3)};
        point.windows[1] = (struct window){second, 1 + roll_below(&dice, 20), 1 + roll_below(&dice, 3)};
        point_is_good(&point, 30);
        proof_case();
    }
}

/* ------------------------------------------------------------------------------------------------
 * A completion never needs memory: whatever it needs is reserved when the run starts.
 */
#define COMPLETIONS 64

static rn_value at_gate(rn_call *call) {
    gate_wait(rn_as_pointer(rn_arg(call)));
    return rn_int(9);
}

static rn_value sees_outcome(rn_call *call, rn_value success, rn_value error) {
    (void)call;
    check(rn_is_none(error), "on_finished saw an error");
    return rn_keep(success);
}

static void counts(rn_future *future, void *context) {
    (void)future;
    counter_add(context, 1);
}

static void complete_without_memory(void *context) {
    struct gate gate = GATE_CLOSED;
    struct counter called = COUNTER_ZERO;
    rn_future *futures[COMPLETIONS];
    rn_runtime *runtime = rn_open(.workers = 2, .log = rn_log_nothing);
    (void)context;
    for (int i = 0; i < COMPLETIONS; i++) {
        int64_t every = i % 2 ? RN_MICROSECONDS(100) : 0;
        futures[i] = rn_run(runtime, at_gate, .arg = rn_pointer(&gate), .on_finished = sees_outcome,
                            .updates_result = RN_ON_FINISHED, .times = 3, .every = every);
        check(rn_add_done_callback(futures[i], counts, &called) == RN_OK, "a done callback was refused");
    }
    rn_testing_fail(RN_FAULT_ALLOCATION, 1, UINT64_MAX);
    rn_testing_fail(RN_FAULT_MAPPING, 1, UINT64_MAX);
    gate_open(&gate);
    for (int i = 0; i < COMPLETIONS; i++) {
        rn_value value = rn_result(futures[i]);
        check(rn_kind(value) == RN_INT, "run %d of %d failed for want of memory", i, COMPLETIONS);
        rn_release(futures[i]);
    }
    check(rn_close(runtime) == RN_OK, "close without memory");
    check(counter_read(&called) == COMPLETIONS, "%d done callbacks", (int)counter_read(&called));
    fflush(NULL);
    _exit(proof_broken() == 0 ? 0 : 1);
}

/* ------------------------------------------------------------------------------------------------
 * Canaries: five faults of a library, each of which a point must show.
 */
static void canary_leaks(void) {
    static rn_value leaked;
    leaked = rn_keep(rn_text("a text that is kept once too often"));
    rn_drop(leaked);
}

static void canary_crashes(void) {
    if (rn_is_error(rn_text("refused")))
        raise(SIGKILL);
}

static void canary_hangs(void) {
    while (rn_is_error(rn_text("refused")))
        pause();
}

static void canary_hides_the_cause(void) {
    rn_value value = rn_text("refused");
    check(!rn_is_error(value) || rn_error_code(value) == RN_INVALID, "the code is another one");
    rn_drop(value);
}

static rn_value nothing(rn_call *call) {
    (void)call;
    return rn_none();
}

/* Futures that are never released keep their pages from being used again. */
static void canary_hoards(void) {
    rn_runtime *runtime = rn_open(.workers = 1, .log = rn_log_nothing);
    for (int i = 0; i < 2000; i++)
        rn_done(rn_run(runtime, nothing));
    rn_close(runtime);
}

/* Returns 1, as a failed proof does, if every canary was noticed. */
static int run_canaries(void) {
    static const struct scenario canaries[] = {{"leaks", canary_leaks},
                                               {"crashes", canary_crashes},
                                               {"hangs", canary_hangs},
                                               {"hides_the_cause", canary_hides_the_cause}};
    unsigned noticed = 0;
    for (unsigned i = 0; i < 4; i++) {
        struct point point = {&canaries[i], {{RN_FAULT_ALLOCATION, 1, 1}}, 1, REFUSED_MEMORY};
        noticed += !point_is_good(&point, 2);
    }
    static const struct scenario hoards = {"hoards", canary_hoards};
    noticed += !is_good(child_run(play_many, (void *)(uintptr_t)&hoards, 30));
    printf("T6: %u of 5 canaries noticed\n", noticed);
    return noticed == 5 ? 1 : 0;
}

int main(int argc, char **argv) {
    proof_begin(argc, argv, "T6");
    report = shared_pages(sizeof *report);
    if (proof_canary)
        return run_canaries();
    if (proof_option("--pairs") != NULL) {
        sample_pairs();
        return proof_end("pairs of faults");
    }
    char text[40];
    struct ending ending = child_run(complete_without_memory, NULL, 30);
    check(is_good(ending), "completions without memory: %s", ending_text(ending, text, sizeof text));
    proof_case();
    if (sweep_all() == scenario_count && !UNDER_TSAN && !UNDER_ASAN)
        check(proof_good() >= PLAIN_POINTS_MIN, "fewer than %d points", PLAIN_POINTS_MIN);
    return proof_end("fault points");
}
