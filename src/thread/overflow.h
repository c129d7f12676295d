/*
 * Where runs wait that have no place in a deque: a queue of blocks, behind a mutex that is taken
 * once for half a deque of runs; and the list of due runs, which needs no memory because each has a
 * timer to be linked by.
 */
#ifndef RNI_THREAD_OVERFLOW_H
#define RNI_THREAD_OVERFLOW_H

#include "base/os.h"
#include "core/run.h"

#define RNI_BLOCK_RUNS 128u

typedef struct rni_block {
    struct rni_block *next;
    size_t count;
    void *runs[RNI_BLOCK_RUNS];
} rni_block;

typedef struct rni_overflow {
    rni_mutex lock; /* guards all but count; a leaf */
    rni_a64 count;  /* of blocks and of due runs; written under the lock, seq_cst: see rni_parking */
    rni_block *first, **last;
    rni_timer *due, **due_last;
    rni_block *spare; /* up to SPARES empty ones, so that a steady load needs no allocation */
    size_t spares;
} rni_overflow;

void rni_overflow_init(rni_overflow *overflow);
void rni_overflow_destroy(rni_overflow *overflow);

/* False: no memory; nothing was taken. At most RNI_BLOCK_RUNS. */
bool rni_overflow_push(rni_overflow *overflow, void *const *runs, size_t count);
void rni_overflow_push_due(rni_overflow *overflow, rni_run *run);

/* The oldest: up to RNI_BLOCK_RUNS runs, or one that is due. Returns how many. */
size_t rni_overflow_take(rni_overflow *overflow, void **runs);

static inline bool rni_overflow_has_some(rni_overflow *overflow) {
    return rni_load_seq_cst(&overflow->count) != 0; /* pairs with the adds in push: as rni_deque_count */
}

#endif
