/*
 * .prepare of a runtime: run once in each worker process, before the first turn or batch goes there, as a turn of its
 * own. Where it fails, by an error or by the death of the process, that process is put away, and the run that was to be
 * the first there fails. Once it has failed in as many processes in a row as .quarantine says, no more are tried.
 */
#ifndef RNI_PROCESS_PREPARE_H
#define RNI_PROCESS_PREPARE_H

#include <runium.h>

#include "base/atomic.h"

struct rni_process;
struct rni_processes;

typedef struct rni_preparation {
    rn_task_fn *function; /* constant; NULL: there is nothing to prepare */
    rn_value arg;         /* constant */
    unsigned failures;    /* guarded by the lock of the processes: in a row */
    rn_value last;        /* guarded likewise: error of the last of them */
    rni_a32 is_hopeless;  /* written with the lock held: there were too many */
} rni_preparation;

/* .prepare and .prepare_arg, which it keeps; none, or why they cannot be. */
rn_value rni_prepare_open(rni_preparation *preparation, const rn_options *options);
void rni_prepare_close(rni_preparation *preparation);

/* Whether that would fail the run, without a try: then *error says so. */
bool rni_prepare_refuses(struct rni_processes *processes, const struct rni_process *process, rn_value *error);

/* The thread that uses the process. If it was not prepared yet it is; else there is no process any more, and *error. */
enum rni_prepared {
    RNI_PREPARED,
    RNI_PREPARE_AGAIN, /* it died, and that was nobody's fault */
    RNI_PREPARE_FAILED
};
enum rni_prepared rni_prepare(struct rni_processes *processes, struct rni_process *process, rn_value *error);

#endif
