/*
 * The steps that scenarios are made of. Each takes refusals in its stride: `excused` decides which code
 * may stand in for an outcome.
 */
#ifndef RUNIUM_TESTS_STEPS_H
#define RUNIUM_TESTS_STEPS_H

#include <runium.h>

#include "scenarios.h"
#include "support.h"

extern enum refused refused_now;

/* What ran so far in this process. */
extern struct tally {
    _Atomic uint64_t made, destroyed; /* owned pointers */
    _Atomic uint64_t iterations, on_iters, on_successes, on_errors, on_finisheds, logged;
} tally;

bool excused(int code);
bool excused_error(rn_value value);
const char *shown(rn_value value); /* as text, until this thread shows another */

/* Opening and closing; the log counts its records. */
rn_log_fn count_log;
rn_runtime *opened(rn_options options);
rn_runtime *opened_with_workers(unsigned workers);
bool is_open(rn_runtime *runtime);
void closed(rn_runtime *runtime);

/* Each waits for the result, checks it, and releases the future. */
void gave_int(rn_future *future, int64_t expected);
void gave_text(rn_future *future, const char *expected);
void gave_error(rn_future *future, int expected);
void gave_int_or_cancelled(rn_future *future, int64_t expected);

/* A pointer to memory of its own, which is counted when it is made and when it is destroyed. */
rn_value owned(void);

/* Tasks. */
rn_task_fn nine, echo, fails, fails_because, iteration, after_gate, until_stopped;

/* Hooks and done callbacks that count themselves, and a hook that fails. */
rn_outcome_fn count_iter, count_finished, failing_hook;
rn_success_fn count_success;
rn_error_fn count_error;
rn_done_fn count_done;

#define ALL_HOOKS \
    .on_iter = count_iter, .on_success = count_success, .on_error = count_error, .on_finished = count_finished

/* A run that keeps one worker until it is let go. */
struct hold {
    struct gate gate;
    struct counter begun;
    rn_future *future;
};

#define HOLD {GATE_CLOSED, COUNTER_ZERO, NULL}

bool hold_worker(struct hold *hold, rn_runtime *runtime); /* true: a worker is held; false: the run was refused */
void let_go(struct hold *hold);

#endif
