/*
 * A deque of runs: one owner, any number of thieves (Chase and Lev, "Dynamic Circular Work-Stealing
 * Deque", SPAA 2005; memory orders after Le, Pop, Cohen and Zappa Nardelli, PPoPP 2013, with
 * seq_cst operations in place of their fences). Of fixed size: what does not fit is the caller's to
 * put elsewhere (thread/overflow.h), so that memory never hangs on a thief.
 *
 * A worker owns one and pops; a thread outside owns one too and only pushes. Where the owner never
 * pops, thieves may take many at a time.
 *
 * Invariant: top <= bottom <= top + RNI_DEQUE_SIZE; items[i mod size] for top <= i < bottom are in
 * it. Both counters only grow (but for the owner's pop, which gives its place back) and are 64 bits
 * wide: they never come round.
 */
#ifndef RNI_THREAD_DEQUE_H
#define RNI_THREAD_DEQUE_H

#include <stddef.h>

#include "base/atomic.h"

#ifndef RNI_DEQUE_SIZE
#define RNI_DEQUE_SIZE 256u
#endif

typedef struct rni_deque {
    _Alignas(64) rni_a64 top;    /* next to steal; moved by whoever takes from it, by CAS */
    _Alignas(64) rni_a64 bottom; /* next to push; written by the owner only */
    uint64_t top_seen;           /* owner only: a former value of top */
    rni_aptr items[RNI_DEQUE_SIZE];
} rni_deque;

void rni_deque_init(rni_deque *deque, uint64_t start);

/* Owner. False if there is no room for all of them; then nothing was pushed. A seq_cst store of
 * bottom: whoever parks after it sees them. */
bool rni_deque_push(rni_deque *deque, void *const *items, size_t count);

/* Owner. The youngest, or NULL. */
void *rni_deque_pop(rni_deque *deque);

/* Any thread. The oldest; NULL if it is empty, or another thread was quicker (*contended is set). */
void *rni_deque_steal(rni_deque *deque, bool *contended);

/* The owner, or any thread where the owner never pops: the oldest, at most `most`, in order. Returns how many;
 * 0 as NULL from rni_deque_steal(). */
size_t rni_deque_take(rni_deque *deque, void **items, size_t most, bool *contended);

/* Any thread. At most too many; 0 only if it was empty at some moment during the call. Seq_cst, for those about
 * to park. */
size_t rni_deque_count(rni_deque *deque);

#endif
