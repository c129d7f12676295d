/*
 * Quarantine: code that kills worker after worker is run no more in this runtime. What counts is the function or hook,
 * by its address, that was at work when a process died, and only deaths in a row: when a turn ends well the counts of
 * what it ran are set back. A process that the host ended itself, because a task took too long, does not count.
 *
 * The table is bounded. When it is full the code with the fewest deaths is forgotten; what is quarantined never is, so
 * that at most RNI_SUSPECTS functions are.
 */
#ifndef RNI_PROCESS_QUARANTINE_H
#define RNI_PROCESS_QUARANTINE_H

#include "base/os.h"
#include "core/turn.h"

#define RNI_SUSPECTS 64u

typedef struct rni_suspect {
    uintptr_t code; /* 0: the place is free */
    unsigned deaths;
    char who[RN_NAME_MAX + 16]; /* it was at work for: task and hook */
    char cause[200];            /* of the last death */
} rni_suspect;

typedef struct rni_quarantine {
    rni_mutex lock;    /* guards all but the counts, which are written under it; a leaf */
    rni_a32 suspected; /* places in use: without any nobody looks further */
    rni_a32 refused;   /* of these, quarantined */
    unsigned limit;    /* constant: deaths */
    rni_suspect suspects[RNI_SUSPECTS];
} rni_quarantine;

/* Whether the turn's stage must not be begun: then RN_QUARANTINED in *error. */
bool rni_quarantine_refuses(rni_quarantine *quarantine, const rni_turn *turn, rn_value *error);

/* Its process died in the turn's stage, of that error. Logs when it is once too often. */
void rni_quarantine_count(rni_quarantine *quarantine, rni_turn *turn, rn_value error);

/* The same for runs that go in batches: whether that function is refused; it has ended well. */
bool rni_quarantine_holds(rni_quarantine *quarantine, rn_task_fn *function);
void rni_quarantine_clear_function(rni_quarantine *quarantine, rn_task_fn *function);

/* Where a turn stands when a process takes it up. */
typedef struct rni_since {
    enum rni_stage stage;
    uint64_t iteration;
} rni_since;

/* The process has taken the turn, from there on, to its end: none of what it ran killed it. */
void rni_quarantine_clear(rni_quarantine *quarantine, const rni_turn *turn, rni_since since);

#endif
