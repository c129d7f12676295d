/*
 * Atomic words for Frama-C, which follows one thread: plain memory. In the place of those of src/base/atomic.h.
 */
#ifndef MODEL_ATOMIC_H
#define MODEL_ATOMIC_H

#include <stdint.h>

/* Not known to Frama-C; nothing here depends on it. */
#define _Alignas(bytes)

typedef struct rni_a32 { uint32_t word; } rni_a32;
typedef struct rni_a64 { uint64_t word; } rni_a64;
typedef struct rni_aptr { void *word; } rni_aptr;

#define rni_load_relaxed(a) ((a)->word)
#define rni_load_acquire(a) ((a)->word)
#define rni_store_relaxed(a, value) ((void)((a)->word = (value)))

static inline uint32_t model_add(rni_a32 *a, uint32_t change) {
    uint32_t before = a->word;
    a->word = before + change;
    return before;
}
#define rni_add_relaxed(a, change) model_add((a), (change))
#define rni_add_acq_rel(a, change) model_add((a), (change))

#endif
