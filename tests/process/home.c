/*
 * Consecutive iterations of a run, and where they are: in one process, as long as it lies idle when the next is due; in
 * another, at once, if it is busy; and hooks in the process of the iteration before them.
 *
 *     home [--canary]     the last line is the figure; the canary tells one iteration's process wrongly
 */
#include <runium.h>
#include <runium/testing.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "ledger.h"
#include "support.h"

enum { WORKERS = 4, ITERATIONS = 20, STOPPED = 8, MOST = 4096 };

struct notes {
    atomic_uint arrived;                 /* of those that block a worker each */
    atomic_int blocked[WORKERS];         /* in which process they are */
    atomic_bool goes_on[WORKERS];
    atomic_uint iterations;
    atomic_int process_of[MOST];         /* the iterations, in their order */
    atomic_int last[STOPPED], hook[STOPPED];
    atomic_uint begun[STOPPED];
};

static struct notes *notes(void) { return ledger_pages; }

static void nap(void) { nanosleep(&(struct timespec){0, 200000}, NULL); }

/* ---- tasks ---- */

static rn_value block(rn_call *call) {
    int64_t number = rn_as_int(rn_arg(call));
    atomic_store(&notes()->blocked[number], getpid());
    atomic_fetch_add(&notes()->arrived, 1);
    while (!atomic_load(&notes()->goes_on[number])) nap();
    return rn_none();
}

static rn_value tick(rn_call *call) {
    unsigned number = atomic_load(&notes()->iterations);
    atomic_store(&notes()->process_of[number % MOST], getpid());
    atomic_fetch_add(&notes()->iterations, 1);
    return rn_keep(rn_arg(call));
}

static rn_value tick_of(rn_call *call) {
    int64_t number = rn_as_int(rn_arg(call));
    atomic_store(&notes()->last[number], getpid());
    atomic_fetch_add(&notes()->begun[number], 1);
    return rn_none();
}

static rn_value note_hook(rn_call *call, rn_value success, rn_value error) {
    (void)success, (void)error;
    atomic_store(&notes()->hook[rn_as_int(rn_arg(call))], getpid());
    return rn_none();
}

/* ---- the program ---- */

static rn_runtime *open_runtime(unsigned workers, bool is_virtual) {
    rn_testing kit = {.size = sizeof kit, .virtual_clock = true};
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = workers, .log = rn_log_nothing,
                                  .testing = is_virtual ? &kit : NULL);
    check(rn_is_none(rn_open_error(runtime)), "the runtime opens");
    return runtime;
}

static void end(rn_future *future) {
    check(!rn_is_error(rn_result(future)), "a run ends well");
    rn_release(future);
}

/* Each worker has one of them. */
static void block_all(rn_runtime *runtime, rn_future *blockers[WORKERS]) {
    atomic_store(&notes()->arrived, 0);
    for (int i = 0; i < WORKERS; i++) {
        atomic_store(&notes()->goes_on[i], false);
        blockers[i] = rn_run(runtime, block, .arg = rn_int(i));
    }
    while (atomic_load(&notes()->arrived) < WORKERS) nap();
}

static void let_go(rn_future *blocker, int number) {
    atomic_store(&notes()->goes_on[number], true);
    end(blocker);
}

/* Afterwards there are as many idle processes, and their threads look for work in any order. */
static void use_all(rn_runtime *runtime) {
    rn_future *blockers[WORKERS];
    block_all(runtime, blockers);
    for (int i = 0; i < WORKERS; i++) let_go(blockers[i], i);
    for (int i = 1; i < WORKERS; i++)
        check(atomic_load(&notes()->blocked[i]) != atomic_load(&notes()->blocked[i - 1]), "there are several processes");
}

static void check_processes(void) {
    if (proof_canary) atomic_store(&notes()->process_of[7], 1);
    int first = atomic_load(&notes()->process_of[0]), elsewhere = 0;
    for (int i = 1; i < ITERATIONS; i++) elsewhere += atomic_load(&notes()->process_of[i]) != first;
    check(atomic_load(&notes()->iterations) == ITERATIONS, "all iterations are noted");
    check(elsewhere == 0, "%d of %d iterations ran in other processes", elsewhere, ITERATIONS);
}

static void iterations_stay_in_one_process(void) {
    rn_runtime *runtime = open_runtime(WORKERS, false);
    use_all(runtime);
    atomic_store(&notes()->iterations, 0);
    end(rn_run(runtime, tick, .every = RN_MILLISECONDS(2), .times = ITERATIONS));
    check_processes();
    check(rn_close(runtime) == RN_OK, "it closes");
    proof_case();
}

/* Between two of them each process is used by others. */
static void they_come_back_after_others(void) {
    rn_runtime *runtime = open_runtime(WORKERS, true);
    atomic_store(&notes()->iterations, 0);
    rn_future *future = rn_run(runtime, tick, .every = RN_SECONDS(1), .times = ITERATIONS);
    check(rn_testing_settle(runtime) == RN_OK, "the first is over");
    for (int i = 1; i < ITERATIONS; i++) {
        use_all(runtime);
        check(rn_testing_settle(runtime) == RN_OK && rn_testing_advance(runtime, RN_SECONDS(1)) == RN_OK, "the next is over");
    }
    end(future);
    check_processes();
    check(rn_close(runtime) == RN_OK, "it closes");
    proof_case();
}

/* Blocks all workers until the process of the last iteration is among them: a thread that keeps the time may have one
 * besides. Returns which of the blockers has it. */
static int block_its_process(rn_runtime *runtime, rn_future *blockers[WORKERS]) {
    for (;;) {
        block_all(runtime, blockers);
        int home = atomic_load(&notes()->process_of[atomic_load(&notes()->iterations) - 1]);
        for (int i = 0; i < WORKERS; i++)
            if (atomic_load(&notes()->blocked[i]) == home) return i;
        for (int i = 0; i < WORKERS; i++) let_go(blockers[i], i);
    }
}

/* The worker of the last iteration is busy until the end, another becomes free: the next iteration is there. */
static void a_busy_process_is_not_waited_for(void) {
    rn_future *blockers[WORKERS];
    rn_runtime *runtime = open_runtime(WORKERS, false);
    use_all(runtime);
    atomic_store(&notes()->iterations, 0);
    rn_future *future = rn_run(runtime, tick, .every = RN_MILLISECONDS(20), .times = RN_ENDLESS);
    while (atomic_load(&notes()->iterations) == 0) nap();
    int freed = (block_its_process(runtime, blockers) + 1) % WORKERS;
    unsigned before = atomic_load(&notes()->iterations);
    let_go(blockers[freed], freed);
    while (atomic_load(&notes()->iterations) == before) nap(); /* for ever, if it waited for its process */
    for (int i = 0; i < WORKERS; i++)
        check(i == freed || atomic_load(&notes()->process_of[before]) != atomic_load(&notes()->blocked[i]), "it runs in an idle one");
    for (int i = 0; i < WORKERS; i++)
        if (i != freed) let_go(blockers[i], i);
    rn_stop(future);
    end(future);
    check(rn_close(runtime) == RN_OK, "it closes");
    proof_case();
}

/* More runs than processes, which are exchanged all the time; each is stopped at some moment. */
static void stop_some(rn_runtime *runtime, struct dice *dice) {
    rn_future *futures[STOPPED];
    for (int i = 0; i < STOPPED; i++) {
        atomic_store(&notes()->begun[i], 0);
        atomic_store(&notes()->hook[i], 0);
        futures[i] = rn_run(runtime, tick_of, .arg = rn_int(i), .every = RN_MICROSECONDS(200 + 100 * i), .times = RN_ENDLESS,
                            .on_finished = note_hook);
    }
    for (int i = 0; i < STOPPED; i++) {
        unsigned wanted = 1 + (unsigned)roll_below(dice, 8);
        while (atomic_load(&notes()->begun[i]) < wanted) nap();
        rn_stop(futures[i]);
    }
    for (int i = 0; i < STOPPED; i++) {
        end(futures[i]);
        int last = atomic_load(&notes()->last[i]), hook = atomic_load(&notes()->hook[i]);
        check(hook == last, "the last iteration was in process %d, its final hook in %d", last, hook);
    }
}

static void final_hooks_are_where_the_last_iteration_was(void) {
    struct dice dice = dice_of(1);
    rn_runtime *runtime = open_runtime(3, false);
    for (uint64_t i = 0; i < proof_amount(60, 3000); i++) {
        stop_some(runtime, &dice);
        proof_case();
    }
    check(rn_close(runtime) == RN_OK, "it closes");
}

int main(int argc, char **argv) {
    proof_begin(argc, argv, "home");
    guard_against_hang(proof_torture ? 1500 : 120);
    if (!ledger_make()) return 2;
    for (int i = 0; i < 3; i++) iterations_stay_in_one_process();
    for (int i = 0; i < 3; i++) they_come_back_after_others();
    for (int i = 0; i < 3; i++) a_busy_process_is_not_waited_for();
    final_hooks_are_where_the_last_iteration_was();
    return proof_end("schedules were in the process that they belong to");
}
