/*
 * Where a thread gets a worker process from: its own, which it keeps; a new one; or, while no new one may or can be made,
 * one that another thread does not need. All of it is guarded by processes->lock, which is not held while anybody waits.
 *
 * No new one may be made when too many that died were replaced within a second (.respawn_rate). None can be made when the
 * system refuses: then nobody tries again before a pause is over, which grows, up to RETRY_MOST; a process that ends
 * makes it end at once. A thread that has a run in hand and no process waits in a row, first come first served: whoever
 * has done with a turn hands its process to the first, and waits in the row itself when it has taken the next run. So all
 * processes that there are stay busy, no run is lost, and none waits longer than it would in the queue.
 *
 * Only when no process is up, but for those whose tasks wait for others, for GIVE_UP_AFTER, runs fail: RN_NO_PROCESSES.
 */
#ifndef RNI_PROCESS_SUPPLY_H
#define RNI_PROCESS_SUPPLY_H

#include <runium.h>

#include "base/os.h"

struct rni_process;
struct rni_processes;

/* A thread that waits; on its stack. */
typedef struct rni_stranded {
    struct rni_stranded *next;
    struct rni_process *slot;
    bool is_in_row;
} rni_stranded;

typedef struct rni_supply {
    rni_stranded *first, **last;
    unsigned stranded;   /* how many are in the row */
    rni_a32 word;        /* a futex: moves when one of them should look again */
    int64_t interval;    /* constant: between two replacements, on average */
    int64_t replaced;    /* when the replacements so far would be over, at that rate */
    int64_t refused;     /* when it last was */
    int64_t next_try;    /* after that */
    int64_t pause;       /* between the last refusal and that; 0: nothing was refused */
    int64_t none_since;  /* no process is up that could be waited for; 0: there is one */
    unsigned wanted;     /* processes, when the last was refused; 0: the system gives what is asked for */
    bool is_logged;      /* the warning about it */
} rni_supply;

void rni_supply_init(rni_supply *supply, unsigned respawn_rate);

/* Whether one more process that died may be replaced now: 0, and it is counted; or the moment from which on it may be. */
int64_t rni_supply_may_replace(rni_supply *supply, int64_t now);

/* With the lock held, which it gives up while it waits: the process is up (true), or *error says why not. It is taken by
 * whoever asked for it before the lock is given up again: one that lies idle may be another's afterwards. */
bool rni_supply_process(struct rni_processes *processes, struct rni_process *process, rn_value *error);

/* With the lock held, which it gives up for a line in the log, if the system gives as many processes again as are wanted. */
void rni_supply_log_recovery(struct rni_processes *processes);

/* With the lock held: the thread of the process does not need it now. It may be another's afterwards. */
void rni_supply_idle(struct rni_processes *processes, struct rni_process *process);

/* With the lock held: two threads whose processes lie idle exchange them. */
void rni_supply_exchange(struct rni_process *one, struct rni_process *other);

/* With the lock held: a process has ended, so that there may be room for another. */
void rni_supply_ended(struct rni_processes *processes);

/* With the lock held: how many are up; as rn_get_stats() shows it. */
unsigned rni_supply_up(const struct rni_processes *processes);

#endif
