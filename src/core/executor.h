/*
 * What an executor is to the core: a table. One file, executors.c, knows them all.
 *
 * Each slot says: who calls it; may it block; which locks may be held.
 */
#ifndef RNI_CORE_EXECUTOR_H
#define RNI_CORE_EXECUTOR_H

#include "core/run.h"
#include "core/runtime.h"

struct rni_lane;
struct rni_turn;

typedef struct rni_executor {
    const char *name;
    size_t lane_bytes; /* of a lane with the executor's part behind it; starts with a struct rni_lane */
    void (*lane_init)(struct rni_lane *lane);

    /* rn_open: starts workers. Returns none, or the error; then nothing is left of it. Blocks not. */
    rn_value (*open)(rn_runtime *runtime, const rn_options *options);

    /* Any thread, before a run is submitted or put to wait: false if a later requeue might want memory that is
     * not there. Only with a seed. No locks. */
    bool (*reserve)(rn_runtime *runtime);

    /* Any thread, with its own lane: the run may begin at once. RN_OK; RN_NO_MEMORY: it was not taken. No locks. */
    int (*submit)(rn_runtime *runtime, struct rni_lane *lane, rni_run *run);

    /* Any thread: a run with a timer, that was taken before, may begin (again). Cannot fail. Wakes nobody. No locks. */
    void (*requeue)(rn_runtime *runtime, rni_run *run);

    /* Any thread, after requeue. No locks. */
    void (*wake)(rn_runtime *runtime);

    /* Any thread: the first due time moved forward. No locks. */
    void (*timers_changed)(rn_runtime *runtime);

    /* Any thread, to run the clock on: a thread outside began or ended a wait. Only with a test kit. The list of
     * outside waits may be locked. */
    void (*poke)(rn_runtime *runtime);

    /* A worker, in a task that waits for the run without a time-out: runs it itself, if it may and nobody has begun it.
     * True: it is over. False: await() is what is left. No locks. */
    bool (*run_awaited)(void *worker, rni_run *run);

    /* A worker, in a task: waits until the run is over or the time is (negative: never). RN_OK,
     * RN_TIMED_OUT, or RN_DEADLOCK with the error in *error. Blocks; may run the awaited run. No locks. */
    int (*await)(rni_run *run, int64_t timeout_ns, rn_value *error);

    /* The completing worker of a run, before its sleepers wake. Only with a seed. */
    void (*completing)(rn_runtime *runtime, rni_run *run);

    /* Any thread, before a run is made of a task: none, or why it cannot run here. NULL: each can. No locks. */
    rn_value (*accept)(rn_runtime *runtime, const rn_task *task);

    /* Whoever runs a turn, as rni_turn_work(), in another process; NULL: it is run where it is. */
    bool (*work)(struct rni_turn *turn);

    /* Any thread: the number of the worker that the final hooks of a run belong to that waits; 0: to any. NULL: it is
     * plan->last_worker, which is the executor's otherwise. No locks but the one that the virtual clock moves under. */
    uint32_t (*home)(rn_runtime *runtime, const struct rni_plan *plan);

    /* A worker that took the run from a queue, in place of rni_run_execute(): runs it, and others that are queued behind
     * it with it if they are as plain. NULL: one at a time. Blocks; no locks. */
    void (*execute)(rn_runtime *runtime, rni_run *run);

    /* Any thread: a run that is at work was asked to stop; or, with NULL, the phase of the runtime moved. NULL if what
     * the words say is seen where turns are run. */
    void (*told)(rn_runtime *runtime, rni_run *run);

    /* rn_close, once nothing is pending: ends the workers. Blocks until they have ended. */
    void (*close)(rn_runtime *runtime);

    /* The only thread of a forked child: lets go of descriptors of the parent's runtime, which is as the parent's other
     * threads left it at that moment. Gives no memory back: malloc's locks may be held by a thread that is not here.
     * NULL: there is nothing. */
    void (*forget)(rn_runtime *runtime);

    /* Any thread, with the list of outside waits locked: nothing ready, nobody runs but those that wait. */
    bool (*is_idle)(rn_runtime *runtime);

    /* Any thread, with the world locked. */
    void (*stats)(rn_runtime *runtime, rn_stats *stats);
} rni_executor;

static inline void rni_resubmit(rn_runtime *runtime, rni_run *run) {
    runtime->executor->requeue(runtime, run);
    runtime->executor->wake(runtime);
}

/* NULL: not in this build. */
const rni_executor *rni_executor_of(enum rn_executor executor);
const char *rni_executor_names(void);

#endif
