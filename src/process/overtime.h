/*
 * Ending what does not end: each function or hook has .timeout, if its run has one, from when it begins, and .stop_grace
 * from when it is told to stop (by rn_stop, or since the runtime closes by stopping), or begins being told. The watcher
 * ends what is over either, in steps: it is told, its process group gets SIGTERM, then SIGKILL, with .grace between two
 * of them. What was stopped has been told already.
 *
 * A deadline lies on the stack of the thread that takes the turn through its process, and is linked to the process for
 * as long as the process is at work on the turn; those of turns that wait for an inner one in the same process are behind
 * it. All of it is guarded by processes->lock, so no step is taken against a stage that has ended: who takes note of the
 * end does it under the lock. A process that was sent a signal is never given another stage, even if the stage ended by
 * itself meanwhile: it is killed and replaced, so that a signal that comes late meets nobody.
 *
 * Of a batch the run that is left in it when the others were over, or went back to the queue, has a deadline likewise.
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
    rni_run *run;               /* NULL: not armed, and the rest is zero */
    int64_t timeout;            /* 0: none */
    int64_t sent, began;        /* the turn; the stage */
    int64_t stopped;            /* since when it is told to stop; RNI_NEVER: it is not */
    int64_t stepped, next;      /* the last step was taken; when the watcher looks at it */
    uint64_t mark;              /* what the process says of itself once it has begun */
    bool has_begun;             /* as far as is known: `began` is when */
    bool is_by_stop;            /* it was sent signals because it was stopped */
    enum rni_step step;         /* that was taken last */
} rni_stage_limit;

/* Before the turn is sent. Or it goes on in the process that has begun it in a batch: `former` is what that had for it. */
void rni_overtime_arm(struct rni_processes *processes, struct rni_process *process, rni_turn *turn, const rni_stage_limit *former, rni_stage_limit *deadline);

/* The run that begins with that mark, in the batch that the process has; without .timeout. */
void rni_overtime_arm_in_batch(struct rni_processes *processes, struct rni_process *process, rni_run *run, uint64_t mark, rni_stage_limit *deadline);

/* With the lock held: that run, or with NULL whatever is at work there, is told to stop. */
void rni_overtime_stop(struct rni_processes *processes, struct rni_process *process, const rni_run *run);

/* A stage has ended, and the next begins when the process is answered. False: it was sent a signal: it must go. */
bool rni_overtime_next_stage(struct rni_processes *processes, struct rni_process *process, const rni_run *run);

/* The process has done with the turn, or died. Not armed: nothing. */
void rni_overtime_disarm(struct rni_processes *processes, struct rni_process *process, rni_stage_limit *deadline);

/* With the lock held: takes the steps that are due. Returns when the next one is, or RNI_NEVER. */
int64_t rni_overtime_look(struct rni_processes *processes);

/* With the lock held: what the run that is at work there must know (enum rni_told). */
uint32_t rni_overtime_bits(const struct rni_process *process);

/* With the lock held, the process being dead: forgets its deadlines. Whether it died of our signals. */
bool rni_overtime_bury(struct rni_process *process);

/* After that, or not armed: whether the process was sent a signal, and must go. */
static inline bool rni_overtime_condemns(const rni_stage_limit *deadline) { return deadline->step >= RNI_WAS_TERMINATED; }

/* RN_OVERTIME, of a .timeout. Takes the cause, an error or none. */
rn_value rni_overtime_error(rn_value cause, int64_t timeout, int64_t taken, enum rni_step step, bool has_returned);

/* What became of a stage that ended with its process: the error for that, which is taken, or RN_OVERTIME. */
rn_value rni_overtime_judge(const struct rni_processes *processes, const struct rni_process *process, const rni_stage_limit *deadline, rn_value error);

#endif
