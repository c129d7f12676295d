#include "core/slab.h"

#include "base/memory.h"
#include "core/handle.h"
#include "core/world.h"

#define ALL UINT64_MAX

_Static_assert(sizeof(rni_chunk) + (RNI_HEADER_PLACES - 1) * 64 <= RNI_CHUNK_HEADER, "the header is in the first page");
_Static_assert(RNI_GROUPS_MAX == (RNI_CHUNK_BYTES - RNI_CHUNK_HEADER) / (RNI_GROUP * RNI_NODE_STRIDE), "node groups");

void rni_slab_init(rni_slab *slab, enum rni_class class_of) { *slab = (rni_slab){.class_of = class_of}; }

/* Takes all free objects of one group. */
static bool adopt_group(rni_slab *slab, rni_chunk *chunk, uint32_t index) {
    if (rni_load_relaxed(&chunk->free[index]) == 0) return false;
    /* Pairs with the or in rni_slab_tell: what the last user wrote to the objects is seen. */
    slab->mask = rni_swap_acq_rel(&chunk->free[index], 0);
    slab->chunk = chunk;
    slab->index = index;
    slab->group = rni_group_start(chunk, slab->class_of, index);
    return slab->mask != 0;
}

static bool adopt_from(rni_slab *slab, rni_chunk *chunk, uint32_t first) {
    for (uint32_t index = first; index < rni_groups(slab->class_of); index++)
        if (adopt_group(slab, chunk, index)) return true;
    return false;
}

/* The rest of the current chunk, then the others after it in the list, and round. */
static bool search_old(rni_slab *slab) {
    rni_chunk *start = slab->chunk;
    if (!start) return false;
    if (adopt_from(slab, start, slab->index + 1)) return true;
    if (slab->fresh > 0) return false;
    for (rni_chunk *chunk = start->next ? start->next : slab->chunks; chunk != start;
         chunk = chunk->next ? chunk->next : slab->chunks)
        if (adopt_from(slab, chunk, 0)) return true;
    return adopt_from(slab, start, 0);
}

static bool add_chunk(rni_slab *slab) {
    rni_chunk *chunk = rni_world_take_chunk(slab->class_of);
    if (!chunk) return false;
    chunk->next = slab->chunks;
    slab->chunks = chunk;
    slab->count++;
    /* A search that found nothing is paid for by a number of chunks that grows with its cost. */
    slab->fresh = slab->fresh > 0 ? slab->fresh - 1 : slab->count / 4;
    return adopt_from(slab, chunk, 0);
}

static bool is_sparse(uint64_t mask) { return __builtin_popcountll(mask) <= RNI_SPARSE; }

/* What is free in a group that is mostly taken lies apart, and in no order that a processor foresees: it is asked for at
 * once, a group ahead. */
static void fetch_sparse(rni_chunk *chunk, uint32_t index) {
    enum rni_class class_of = chunk->class_of;
    if (index >= rni_groups(class_of)) return;
    uint64_t mask = rni_load_relaxed(&chunk->free[index]);
    if (!is_sparse(mask)) return;
    for (; mask; mask &= mask - 1) {
        char *object = rni_group_start(chunk, class_of, index) + (size_t)(uint32_t)__builtin_ctzll(mask) * rni_stride(class_of);
        __builtin_prefetch(object, 1);
        if (class_of == RNI_CLASS_RUN) __builtin_prefetch(rni_run_side(object), 1);
    }
}

void *rni_slab_refill(rni_slab *slab) {
    rni_slab_flush(slab);
    if (slab->mask == 0) {
        rni_mutex_lock(&slab->lock);
        bool found = search_old(slab) || add_chunk(slab);
        rni_mutex_unlock(&slab->lock);
        if (!found) return NULL;
        slab->ahead = is_sparse(slab->mask) ? 0 : RNI_AHEAD;
        fetch_sparse(slab->chunk, slab->index + 1);
    }
    return rni_slab_take(slab, rni_stride(slab->class_of));
}

void rni_slab_tell(rni_chunk *chunk, uint32_t index, uint64_t mask) {
    /* Releases what we wrote to the objects; pairs with the exchange in adopt_group. */
    uint64_t before = rni_or_acq_rel(&chunk->free[index], mask);
    RNI_ASSERT((before & mask) == 0); /* else an object was given back twice */
}

static uint32_t group_of(const void *object) {
    return rni_offset(object) / rni_group_bytes(rni_chunk_of(object)->class_of);
}

void rni_slab_flush(rni_slab *slab) {
    if (slab->back_mask == 0) return;
    uint64_t mask = slab->back_mask;
    slab->back_mask = 0;
    if (slab->back_group == slab->group) slab->mask |= mask;
    else rni_slab_tell(rni_chunk_of(slab->back_group), group_of(slab->back_group), mask);
}

void rni_slab_give_far(rni_slab *slab, void *object) {
    rni_chunk *chunk = rni_chunk_of(object);
    uint32_t index = group_of(object);
    char *group = rni_group_start(chunk, chunk->class_of, index);
    uint64_t bit = UINT64_C(1) << (uintptr_t)((char *)object - group) / rni_stride(chunk->class_of);
    if (!slab) {
        rni_slab_tell(chunk, index, bit);
    } else {
        rni_slab_flush(slab);
        slab->back_group = group;
        slab->back_mask = bit;
    }
}

static bool is_wholly_free(rni_chunk *chunk) {
    for (uint32_t index = 0; index < rni_groups(chunk->class_of); index++)
        if (rni_load_acquire(&chunk->free[index]) != ALL) return false; /* pairs with rni_slab_tell */
    return true;
}

void rni_slab_trim(rni_slab *slab) {
    rni_chunk *empty = NULL;
    rni_mutex_lock(&slab->lock);
    for (rni_chunk **link = &slab->chunks; *link;) {
        rni_chunk *chunk = *link;
        if (chunk != slab->chunk && is_wholly_free(chunk)) {
            *link = chunk->next;
            chunk->next = empty;
            empty = chunk;
            slab->count--;
        } else {
            link = &chunk->next;
        }
    }
    rni_mutex_unlock(&slab->lock);
    while (empty) {
        rni_chunk *next = empty->next;
        rni_world_give_chunk(empty);
        empty = next;
    }
}
