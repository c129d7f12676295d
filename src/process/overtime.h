/*
 * Time limits of stages: each function or hook of a run with .timeout has its own. The watcher ends what is over its
 * time, in steps: it is told, its process group gets SIGTERM, then SIGKILL, with .grace between two of them.
 *
 * A deadline lies on the stack of the thread that takes the turn through its process, and is linked to the process for
 * as long as the process is at work on the turn; those of turns that wait for an inner one in the same process are behind
 * it. All of it is guarded by processes->lock, so no step is taken against a stage that has ended: who takes note of the
 * end does it under the lock. A process that was sent a signal is never given another stage, even if the stage ended by
 * itself meanwhile: it is killed and replaced, so that a signal that comes late meets nobody.
 *
 * The clock is always the machine's: no process can be ended in virtual time.
 */
#ifndef RNI_PROCESS_OVERTIME_H
#define RNI_PROCESS_OVERTIME_H

#include "core/turn.h"

struct rni_process;
struct rni_processes;

enum rni_step { RNI_IN_TIME, RNI_WAS_TOLD, RNI_WAS_TERMINATED, RNI_WAS_KILLED };

typedef struct rni_stage_limit {
    struct rni_stage_limit *outer; /* of the turn that waits for this one, or NULL */
    rni_run *run;
    int64_t timeout;            /* 0: this turn has none, and the rest is not set */
    int64_t sent, began, next;  /* the turn; the stage; when the next step is due */
    uint32_t message;           /* the host's, that asks for the turn */
    bool has_begun;             /* as far as is known: `began` is when */
    enum rni_step step;         /* that was taken last */
} rni_stage_limit;

/* Before the turn is sent. */
void rni_overtime_arm(struct rni_processes *processes, struct rni_process *process, rni_turn *turn, rni_stage_limit *deadline);

/* A stage has ended, and the next begins when the process is answered. False: it was sent a signal: it must go. */
bool rni_overtime_next_stage(struct rni_processes *processes, struct rni_process *process, const rni_run *run);

/* The process has done with the turn, or died. */
void rni_overtime_disarm(struct rni_processes *processes, struct rni_process *process, rni_stage_limit *deadline);

/* With the lock held: takes the steps that are due. Returns when the next one is, or RNI_NEVER. */
int64_t rni_overtime_look(struct rni_processes *processes);

/* With the lock held: what the run that is at work there must know (enum rni_told). */
uint32_t rni_overtime_bits(const struct rni_process *process);

/* With the lock held, the process being dead: forgets its deadlines. Whether it died of our signals. */
bool rni_overtime_bury(struct rni_process *process);

/* RN_OVERTIME. Takes the cause, an error or none. */
rn_value rni_overtime_error(rn_value cause, int64_t timeout, int64_t taken, enum rni_step step, bool has_returned);

/* What became of a stage that ended with its process: the error for that, which is taken, or RN_OVERTIME. */
rn_value rni_overtime_judge(const struct rni_process *process, const rni_stage_limit *deadline, rn_value error);

#endif
