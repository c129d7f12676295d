/*
 * Completion: the one word of a run that decides who begins it, who ends it, who is told, and who
 * gives its memory back.
 *
 * The word: bits 0-1 the state, bits 2-8 the flags below, bits 16-63 the list of done callbacks
 * (youngest first).
 *
 *   WAITING --begin--> RUNNING --complete--> DONE          begin, suspend: whoever holds the QUEUED
 *      |  <--suspend--                                     claim: any thread that awaits it
 *      +-----cancel (not BEGUN)------------> CANCELLED     complete: whoever began or claimed it
 *
 * Each arrow is one CAS, so that of begin, claim and cancel one wins. The value is written before
 * the word says DONE or CANCELLED and never after; it is read only after the word was seen so.
 *
 * Three parties hold on to the memory, each by a flag; the one whose flag change makes all three
 * true gives it back (the functions say so by returning RNI_LAST), nobody else:
 *   SETTLED    the completing thread has called every done callback and touches the run no more;
 *   RELEASED   the user has given the future back (set from the start for a detached run);
 *   not QUEUED no queue and no timer holds a pointer to it.
 *
 * WAITED: somebody sleeps on the word (its low half is the futex), set by the sleeper before it
 * sleeps, seen by the CAS that completes. STOP: no further iteration. BEGUN: an iteration began.
 * CLAIMABLE: the run is due, and once begun it never suspends: so a claim may leave the queue's
 * pointer behind (it stays QUEUED) without a second one ever being made.
 *
 * A run that is being cancelled is RUNNING but not BEGUN for a moment, while its value is put in place.
 */
#ifndef RNI_CORE_COMPLETION_H
#define RNI_CORE_COMPLETION_H

#include <runium.h>

#include "base/atomic.h"

#define RNI_STATE UINT64_C(3) /* mask of enum rn_state */
#define RNI_BEGUN UINT64_C(4)
#define RNI_STOP UINT64_C(8)
#define RNI_WAITED UINT64_C(16)
#define RNI_QUEUED UINT64_C(32)
#define RNI_RELEASED UINT64_C(64)
#define RNI_SETTLED UINT64_C(128)
#define RNI_CLAIMABLE UINT64_C(256)
#define RNI_NODE_SHIFT 16

typedef struct rni_completion {
    rni_a64 word;
    rn_value value; /* the argument until the run ends, then the result; see above */
} rni_completion;

/* A done callback, in the list of one completion. */
typedef struct rni_node {
    struct rni_node *next;
    rn_done_fn *function;
    void *context;
} rni_node;

/* What the caller has to do next. */
enum rni_verdict {
    RNI_NO,   /* it did not happen: another was quicker, or the state does not allow it */
    RNI_YES,  /* it happened */
    RNI_LAST  /* give the memory back: nobody else holds on to it */
};

void rni_completion_init(rni_completion *completion, uint64_t flags);

static inline enum rn_state rni_state_of(uint64_t word) { return (enum rn_state)(word & RNI_STATE); }
static inline bool rni_is_being_cancelled(uint64_t word) { return (word & (RNI_STATE | RNI_BEGUN)) == RN_RUNNING; }
static inline bool rni_is_over(uint64_t word) { return (word & RNI_STATE) >= RN_DONE; }

/* Worker that took the run from a queue: YES, it is yours to run; NO, it was claimed or cancelled; or LAST. */
enum rni_verdict rni_completion_begin(rni_completion *completion);

/* As begin, without a read-modify-write: for a detached run that no other thread calls any function of
 * this file for before it has begun. */
void rni_completion_begin_detached(rni_completion *completion);

/* The thread that began it, before any of it has run: back to WAITING, QUEUED, as if it had not begun. NO: it was asked
 * to stop meanwhile, and stays begun. */
enum rni_verdict rni_completion_unbegin(rni_completion *completion);

/* Awaiting thread: YES if the run was waiting and CLAIMABLE, and is now yours; it stays QUEUED. */
enum rni_verdict rni_completion_claim(rni_completion *completion);

/* The thread that runs it, between iterations: back to WAITING, QUEUED. NO if asked to stop. Not for a
 * CLAIMABLE run. */
enum rni_verdict rni_completion_suspend(rni_completion *completion);

/* A timer that hands a run without further ticks to a queue: it may be claimed now. */
void rni_completion_make_claimable(rni_completion *completion);

/* Cancels if not begun: NO, or YES and `value` is the result and done callbacks are `settle`'s. */
enum rni_verdict rni_completion_cancel(rni_completion *completion, rn_value value, rn_value *former);

/* Asks to stop. Returns the word before: what state it met. */
uint64_t rni_completion_stop(rni_completion *completion);

/* The thread that runs it. Publishes `value`, wakes sleepers. YES: call settle next. LAST, NO: all done. */
enum rni_verdict rni_completion_complete(rni_completion *completion, rn_value value);

/* After complete or cancel said YES: calls the done callbacks in the order added, hands each node to
 * `free_node`, and settles. YES or LAST. */
enum rni_verdict rni_completion_settle(rni_completion *completion, rn_future *future, void (*free_node)(rni_node *));

/* True: `node` will be called by settle. False: it is over; the caller calls it, now. */
bool rni_completion_add(rni_completion *completion, rni_node *node);

/* The user gives the future back. YES or LAST. NO: it was given back before. */
enum rni_verdict rni_completion_release(rni_completion *completion);

/* A queue or timer drops its pointer without running it. YES or LAST. */
enum rni_verdict rni_completion_unqueue(rni_completion *completion);

/* Sleeps until over, or deadline_ns (monotonic; negative: never). May return early. */
void rni_completion_sleep(rni_completion *completion, int64_t deadline_ns);

/* As that, but not once *gone is not 0. Who sets it (seq_cst) rouses the sleepers afterwards. */
void rni_completion_sleep_unless(rni_completion *completion, int64_t deadline_ns, rni_a32 *gone);
void rni_completion_rouse(rni_completion *completion);

#endif
