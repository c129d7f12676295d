/*
 * The ready runs of a seeded pool: any of them may be the next, as the generator says. A place is
 * reserved when a run is submitted, so that putting it back can never fail.
 */
#ifndef RNI_THREAD_READY_H
#define RNI_THREAD_READY_H

#include "base/os.h"
#include "core/run.h"

typedef struct rni_ready {
    rni_mutex lock; /* guards all but count; a leaf */
    rni_a64 count;  /* written under the lock, seq_cst */
    size_t capacity;
    rni_run **runs;
    uint64_t random;
} rni_ready;

void rni_ready_init(rni_ready *ready, uint64_t seed);
void rni_ready_destroy(rni_ready *ready);

/* `pending`: how many runs may ever be in it at once. False: no memory; nothing changed. */
bool rni_ready_reserve(rni_ready *ready, size_t pending);
void rni_ready_push(rni_ready *ready, rni_run *run);
rni_run *rni_ready_take(rni_ready *ready); /* NULL: empty */

#endif
