/*
 * In a worker process: the runtime that its tasks run in lives in the host. What a task does with that runtime, and with
 * the futures of runs that it started there, is asked of the host through this table.
 */
#ifndef RNI_CORE_REMOTE_H
#define RNI_CORE_REMOTE_H

#include "core/run.h"

typedef struct rni_remote {
    rn_runtime *runtime; /* the one in this process that stands for the host's */

    /* As start() in submit.c; the task is complete, and its times are read. */
    rn_future *(*start)(const rn_task *task, uint32_t flags, rn_value *error);

    /* Of a run with RNI_REMOTE that is not over as far as is known here. wait: as rn_wait, with the error of an
     * RN_DEADLOCK in *error. refresh: what is known here is brought up to date. */
    int (*wait)(rni_run *run, int64_t timeout_ns, rn_value *error);
    double (*refresh)(rni_run *run); /* returns the progress */
    bool (*cancel)(rni_run *run);
    bool (*stop)(rni_run *run);
    void (*release)(rni_run *run);

    int64_t (*pending)(rn_run_info *infos, size_t capacity, size_t info_size);
    int (*stats)(rn_stats *stats);
    void (*report)(rn_call *call, double fraction);
    void (*stop_self)(rn_call *call); /* what is known here already is told */
} rni_remote;

extern const rni_remote *rni_host; /* NULL: this is no worker process */

static inline bool rni_is_remote(const rni_run *run) { return rni_run_flags(run) & RNI_REMOTE; }

#endif
