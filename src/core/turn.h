/*
 * A turn: one stay of a run with a worker, from when it begins to when it ends or waits for its next tick. Function and
 * hooks in the order of the rules, whatever the executor, and in whatever process: who schedules the run and completes
 * it is no matter of the turn's.
 *
 * A turn goes through stages. Each is named before it is entered, so that where a worker process died is known, and
 * what comes after can go on in another.
 */
#ifndef RNI_CORE_TURN_H
#define RNI_CORE_TURN_H

#include "core/run.h"

struct rni_lane;

enum rni_stage {
    RNI_STAGE_FUNCTION,
    RNI_STAGE_ON_ITER,
    RNI_STAGE_OUTCOME, /* on_success or on_error */
    RNI_STAGE_FINISHED,
    RNI_STAGE_END
};

typedef struct rni_turn {
    rn_call call;
    struct rni_lane *lane; /* NULL: this thread has none; then nothing is counted */
    rni_plan *plan;
    rn_value outcome;      /* of the last iteration */
    bool has_outcome;      /* only kept where the stages are run elsewhere */
    rn_value updated;      /* the result that a hook put in its place, if has_updated */
    bool has_updated;
    bool is_hook_failed;
    enum rni_stage stage;  /* the next, or the current one */
    uint32_t era;          /* of the process that it began in */
    uint64_t failed;       /* iterations that failed here, and that the host has not been told of */
    /* Called when a stage begins, but the first; NULL: nobody wants to know. False: it is not to be begun here. */
    bool (*publish)(struct rni_turn *turn);
} rni_turn;

/* Goes on from its stage. True: the end, all hooks are done. False: the run waits for its next tick, or publish() said
 * no. One function on the stack: a backtrace of a worker process ends with it. */
#if defined(__GNUC__) && !defined(__clang__)
#define RNI_OUTERMOST __attribute__((noinline, noclone))
#else
#define RNI_OUTERMOST __attribute__((noinline))
#endif
RNI_OUTERMOST bool rni_turn_work(rni_turn *turn);

/* For a turn whose stages are run in another process. */

/* An iteration begins: counts it. */
void rni_turn_begin_iteration(rni_turn *turn);

/* The current stage failed with `error`, which is taken: its process is gone. The next stage is set. */
void rni_turn_fail(rni_turn *turn, rn_value error);

/* Passes over stages that have no code to run, up to one that has; or the turn is over: as rni_turn_work() says. */
enum rni_next { RNI_NEXT_WORK, RNI_NEXT_WAIT, RNI_NEXT_END };
enum rni_next rni_turn_next(rni_turn *turn);

#endif
