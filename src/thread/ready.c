#include "thread/ready.h"

#include <string.h>

#include "base/memory.h"

void rni_ready_init(rni_ready *ready, uint64_t seed) {
    memset(ready, 0, sizeof *ready);
    ready->random = seed;
}

void rni_ready_destroy(rni_ready *ready) { rni_free(ready->runs); }

/* SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014). */
static uint64_t next_random(rni_ready *ready) {
    uint64_t z = ready->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

bool rni_ready_reserve(rni_ready *ready, size_t pending) {
    bool is_done = true;
    rni_mutex_lock(&ready->lock);
    /* Those in it may be over already (claimed, cancelled): they have their places besides. */
    size_t needed = (size_t)rni_load_relaxed(&ready->count) + pending;
    if (needed > ready->capacity) {
        size_t capacity = needed * 2 + 16;
        rni_run **runs = rni_alloc(capacity * sizeof(rni_run *));
        is_done = runs != NULL;
        if (is_done) {
            size_t count = (size_t)rni_load_relaxed(&ready->count);
            if (count > 0) memcpy(runs, ready->runs, count * sizeof *runs);
            rni_free(ready->runs);
            ready->runs = runs;
            ready->capacity = capacity;
        }
    }
    rni_mutex_unlock(&ready->lock);
    return is_done;
}

void rni_ready_push(rni_ready *ready, rni_run *run) {
    rni_mutex_lock(&ready->lock);
    uint64_t count = rni_load_relaxed(&ready->count);
    RNI_ASSERT(count < ready->capacity);
    ready->runs[count] = run;
    rni_add_seq_cst(&ready->count, 1); /* pairs with rni_pool_has_work, as the swap in rni_deque_push */
    rni_mutex_unlock(&ready->lock);
}

rni_run *rni_ready_take(rni_ready *ready) {
    rni_run *run = NULL;
    rni_mutex_lock(&ready->lock);
    uint64_t count = rni_load_relaxed(&ready->count);
    if (count > 0) {
        uint64_t chosen = next_random(ready) % count;
        run = ready->runs[chosen];
        /* The order of the rest is kept: it too must not depend on anything but the seed. */
        memmove(&ready->runs[chosen], &ready->runs[chosen + 1], (size_t)(count - chosen - 1) * sizeof *ready->runs);
        rni_add_seq_cst(&ready->count, UINT64_MAX); /* pairs with rni_pool_has_work */
    }
    rni_mutex_unlock(&ready->lock);
    return run;
}
