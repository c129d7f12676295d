/*
 * Recycling: a worker process that has done .recycle_after turns, or uses more than .recycle_memory after one, is asked
 * to end, and its thread makes a new one for its next run. The thread does not wait for the end, nor does any run: the
 * process is put on a list of those that leave. One that has not ended when QUIT_WAIT is over is killed.
 */
#ifndef RNI_PROCESS_RECYCLE_H
#define RNI_PROCESS_RECYCLE_H

#include <stdbool.h>
#include <stdint.h>

#include "process/stderr.h"

struct rni_process;
struct rni_processes;

typedef struct rni_leaving {
    struct rni_leaving *next;
    int pidfd;
    uint32_t number;
    int group; /* its control group, or -1 */
    int64_t deadline;
    bool has_ended;
    rni_tail tail; /* what it still writes to stderr */
} rni_leaving;

typedef struct rni_recycling {
    uint64_t after;     /* constant: turns; 0: never */
    uint64_t memory;    /* constant: resident bytes; 0: never */
    rni_leaving *first; /* guarded by processes->lock */
} rni_recycling;

/* By its thread, when so many turns have ended well and no other waits there: true if it leaves; then it is not up. */
bool rni_recycle(struct rni_processes *processes, struct rni_process *process, uint64_t turns);

/* How many turns it may do before that. */
uint64_t rni_recycle_turns_left(const struct rni_processes *processes, const struct rni_process *process);

/* With the lock held, by the watcher: kills what is too late, passes on what they wrote, and forgets those that are gone.
 * When to look again, or RNI_NEVER. */
int64_t rni_recycle_look(struct rni_processes *processes);

/* With the lock held: the process with that number has ended; if it is one that leaves, the watcher looks at once. */
void rni_recycle_ended(struct rni_processes *processes, uint32_t number);

/* None leaves any more: waits for those that do, until the deadline; forgets the rest. */
void rni_recycle_await(struct rni_processes *processes, int64_t deadline);
void rni_recycle_close(struct rni_processes *processes);

#endif
