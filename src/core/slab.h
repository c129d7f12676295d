/*
 * Slabs: where runs and what belongs to them live. Made for one traffic: a thread fills objects in
 * the order of their addresses, other threads give them back in about the same order.
 *
 * A chunk is 256 KiB at a multiple of 256 KiB: a page with its header, then groups of 64 objects of one
 * class. A group is 64 strides, then 64 sides: the side of an object is what is rarely touched, so
 * that the hot part of a run is one cache line. A word per group in the header has a bit per
 * object: set = free and for anybody to take.
 *
 * A chunk belongs to one thread, which alone allocates from it: it takes a whole group's bits with
 * one exchange. Whoever frees an object sets its bit, many at once where they neighbour; nothing
 * else of the owner is touched, so that an owner may come and go.
 *
 * Chunks stay mapped for ever, so that a stale handle is read without harm and found out by its
 * generation (handle.h). Those wholly free are emptied (their memory goes back to the system, the
 * header's too) and kept in the world's pool for the next thread that needs one.
 */
#ifndef RNI_CORE_SLAB_H
#define RNI_CORE_SLAB_H

#include <stddef.h>

#include "base/atomic.h"
#include "base/memory.h"
#include "base/os.h"

#define RNI_CHUNK_BYTES ((size_t)256 * 1024)
#define RNI_CHUNK_HEADER ((size_t)4096)
#define RNI_GROUP 64u
#define RNI_GROUPS_MAX 126u
#define RNI_HEADER_PLACES 32u
#define RNI_AHEAD 8u
#define RNI_SPARSE 16 /* at most so many of a group are free */

/* 0, as the header of a chunk reads that was emptied, is no class that has handles. */
enum rni_class { RNI_CLASS_NODE, RNI_CLASS_RUN, RNI_CLASS_PLAN, RNI_CLASS_RUNTIME, RNI_CLASS_BOUNDED, RNI_CLASSES };

#define RNI_RUN_STRIDE 64u
#define RNI_RUN_SIDE 32u
#define RNI_PLAN_STRIDE 192u
#define RNI_BOUNDED_STRIDE 256u /* a plan, and what the run may use */
#define RNI_NODE_STRIDE 32u
#define RNI_RUNTIME_STRIDE 1024u

/* Where a chunk is. What is known of it while it is empty, its header being emptied too. */
typedef struct rni_place {
    struct rni_chunk *chunk;    /* constant */
    struct rni_place *next_all; /* every place of its class; constant once published */
    struct rni_place *next;     /* in the pool, guarded by the world's lock for it */
    uint32_t generation;        /* likewise: of the chunk when it is next used */
} rni_place;

typedef struct rni_chunk {
    struct rni_chunk *next;  /* in its slab, guarded by the slab's lock */
    rni_place *place;        /* NULL: it was emptied, and so was all that lay here */
    enum rni_class class_of; /* constant while it is in use */
    uint32_t era;            /* likewise: of the process that mapped it (world.h) */
    rni_a32 generation;      /* added to that of each object; another each time that the chunk is used */
    _Alignas(64) rni_a64 free[RNI_GROUPS_MAX]; /* apart from the generation, which every handle is made with */
} rni_chunk;

/* One thread's source of objects of one class. Used by that thread, but for `chunks`. */
typedef struct rni_slab {
    uint64_t mask;       /* free objects of the current group, ours to take */
    char *group;         /* its first object */
    rni_chunk *chunk;    /* its chunk, or NULL; written under lock */
    uint32_t index;      /* its number in the chunk */
    uint32_t ahead;      /* which object to ask for while one is taken; 0 in a sparse group, which came as a whole */
    enum rni_class class_of;
    uint64_t back_mask;  /* objects given back by this thread, of one group, not told yet */
    char *back_group;    /* the first of that group */
    uint32_t fresh;      /* chunks to map before the next search of the old ones */
    uint32_t count;      /* of chunks */
    rni_mutex lock;      /* guards chunks, chunk, index */
    rni_chunk *chunks;
} rni_slab;

void rni_slab_init(rni_slab *slab, enum rni_class class_of);

/* NULL if memory is refused. The object is as it was left (zero at first). */
void *rni_slab_refill(rni_slab *slab);

static inline uint32_t rni_stride(enum rni_class class_of) {
    switch (class_of) {
    case RNI_CLASS_RUN: return RNI_RUN_STRIDE;
    case RNI_CLASS_PLAN: return RNI_PLAN_STRIDE;
    case RNI_CLASS_BOUNDED: return RNI_BOUNDED_STRIDE;
    case RNI_CLASS_NODE: return RNI_NODE_STRIDE;
    default: return RNI_RUNTIME_STRIDE;
    }
}

static inline uint32_t rni_group_bytes(enum rni_class class_of) {
    return RNI_GROUP * (rni_stride(class_of) + (class_of == RNI_CLASS_RUN ? RNI_RUN_SIDE : 0));
}

static inline uint32_t rni_groups(enum rni_class class_of) {
    return (uint32_t)((RNI_CHUNK_BYTES - RNI_CHUNK_HEADER) / rni_group_bytes(class_of));
}

static inline uintptr_t rni_chunk_start(const void *object) {
    return (uintptr_t)object & ~(uintptr_t)(RNI_CHUNK_BYTES - 1);
}

/* The header lies in one of several places of its page, by the number of the chunk. If it were the same in all, the
 * headers of hundreds of chunks would have to share the few lines of a cache that such an address can be kept in. */
static inline rni_chunk *rni_chunk_of(const void *object) {
    uintptr_t start = rni_chunk_start(object);
    return (rni_chunk *)(start + start / RNI_CHUNK_BYTES % RNI_HEADER_PLACES * 64);
}

/* Of an object, from the first group. */
static inline uint32_t rni_offset(const void *object) {
    return (uint32_t)((uintptr_t)object % RNI_CHUNK_BYTES - RNI_CHUNK_HEADER);
}

/* Of a chunk of that class, whose header may have been emptied. */
static inline char *rni_group_start(const rni_chunk *chunk, enum rni_class class_of, uint32_t index) {
    return (char *)rni_chunk_start(chunk) + RNI_CHUNK_HEADER + (size_t)index * rni_group_bytes(class_of);
}

static inline void *rni_slab_take(rni_slab *slab, uint32_t stride) {
    if (slab->mask == 0) return rni_slab_refill(slab);
    uint32_t bit = (uint32_t)__builtin_ctzll(slab->mask);
    char *object = slab->group + (size_t)bit * stride;
    slab->mask &= slab->mask - 1;
    /* The line of one that is used soon: it is most likely in another core's cache, and on its way
     * here while those before it are filled in. Past the group it is the next one's, or nobody's. */
    __builtin_prefetch(object + (size_t)slab->ahead * stride, 1);
    return object;
}

/* Makes objects of one group free for anybody. */
void rni_slab_tell(rni_chunk *chunk, uint32_t index, uint64_t mask);

/* Tells what was given back and not told yet. */
void rni_slab_flush(rni_slab *slab);

/* An object is given back soon: its bit comes meanwhile. */
static inline void rni_slab_expect(const void *object, enum rni_class class_of) {
    uint32_t offset = rni_offset(object);
    __builtin_prefetch(&rni_chunk_of(object)->free[offset / rni_group_bytes(class_of)], 1);
}

/* For one that is neither of the current group nor of that whose bits are being collected; or without a slab. */
void rni_slab_give_far(rni_slab *slab, void *object);

/* Gives an object back, whoever it came from. Without a slab: at once. */
static inline void rni_slab_give(rni_slab *slab, void *object, enum rni_class class_of) {
    uintptr_t stride = rni_stride(class_of);
    uintptr_t own = slab ? (uintptr_t)object - (uintptr_t)slab->group : UINTPTR_MAX;
    if (own < RNI_GROUP * stride) {
        uint64_t bit = UINT64_C(1) << own / stride;
        RNI_ASSERT((slab->mask & bit) == 0);
        slab->mask |= bit;
        return;
    }
    uintptr_t back = slab ? (uintptr_t)object - (uintptr_t)slab->back_group : UINTPTR_MAX;
    if (back < RNI_GROUP * stride) slab->back_mask |= UINT64_C(1) << back / stride;
    else rni_slab_give_far(slab, object);
}

/* Any thread: empties the slab's chunks that are wholly free into the pool. */
void rni_slab_trim(rni_slab *slab);

static inline void *rni_run_side(const void *run) {
    uintptr_t offset = rni_offset(run);
    uintptr_t group = offset / (RNI_GROUP * (RNI_RUN_STRIDE + RNI_RUN_SIDE));
    uintptr_t within = offset - group * (RNI_GROUP * (RNI_RUN_STRIDE + RNI_RUN_SIDE));
    return (char *)(uintptr_t)run - within + RNI_GROUP * RNI_RUN_STRIDE + within / RNI_RUN_STRIDE * RNI_RUN_SIDE;
}

#endif
