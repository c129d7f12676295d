/*
 * Where a run is at home: in the process that its last iteration was in. A run that waited for the clock goes there again
 * if that process lies idle when it is due; between two iterations it is for others, and a run never waits for it. So what
 * an iteration leaves in the memory of its process (a cache, a connection) the next one mostly finds.
 *
 * Which thread takes the run from the queues is left to chance, as for any other. What moves is the process: the thread and
 * the one that the process belongs to exchange theirs, both of which lie idle.
 *
 * The final hooks of a run that was stopped while it waited must run at home, as hooks do. They go to the thread that the
 * process belongs to by then (rni_home_thread); if that has changed meanwhile they wait until the task there has ended, or
 * waits itself, for it might wait for that very run.
 *
 * All of it is guarded by processes->lock. plan->last_worker is the process's number, plus 1; written by whoever has the run at work.
 */
#ifndef RNI_PROCESS_HOME_H
#define RNI_PROCESS_HOME_H

#include "base/atomic.h"

struct rni_plan;
struct rni_process;
struct rni_processes;
struct rni_turn;

typedef struct rni_homing {
    unsigned waiting; /* threads with final hooks in hand */
    rni_a32 word;     /* a futex: moves when one of them should look again */
} rni_homing;

/* With the lock held, which it gives up while it waits: the thread's process is the run's home, if that can be. */
void rni_home_come(struct rni_processes *processes, struct rni_process *process, const struct rni_turn *turn);

/* With the lock held: the turn begins there. */
void rni_home_settle(const struct rni_process *process, const struct rni_turn *turn);

/* With the lock held: a process has become idle, has died, or its task waits. */
void rni_home_changed(struct rni_processes *processes);

/* Without the lock: the number of the thread whose process it is; 0: it is no more. */
uint32_t rni_home_thread(rn_runtime *runtime, const struct rni_plan *plan);

#endif
