/*
 * In a worker process: a turn with bounds. Function and hooks are called through ours, which say RN_OVERTIME for what
 * the host told to stop, and have the system's limits in force for as long as code of the program runs: not while this
 * library talks to the host, so that a task at its limit can still be heard.
 */
#ifndef RNI_PROCESS_BOUND_H
#define RNI_PROCESS_BOUND_H

#include "base/os_limits.h"
#include "core/run.h"
#include "process/frame.h"

typedef struct rni_bound_turn {
    struct rni_bound_turn *outer; /* that waits for this one in the same process */
    rni_bounds bounds;
    rn_task_fn *function;
    rni_hooks hooks;
    rni_os_limits limits;
    bool is_inside;               /* code of the program runs */
} rni_bound_turn;

void rni_put_bounds(rni_writer *writer, const rni_bounds *bounds);
void rni_take_bounds(rni_reader *reader, rni_bounds *bounds);

/* The functions of the run are replaced by ours. */
void rni_bound_enter(rni_bound_turn *turn, rni_run *run, const rni_bounds *bounds);
void rni_bound_leave(rni_bound_turn *turn);

/* Around what is asked of the host: as between stages. */
void rni_bound_pause(void);
void rni_bound_resume(void);

#endif
