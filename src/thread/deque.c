#include "thread/deque.h"

#define MASK (RNI_DEQUE_SIZE - 1u)
_Static_assert((RNI_DEQUE_SIZE & MASK) == 0, "the size must be a power of two");

void rni_deque_init(rni_deque *deque, uint64_t start) {
    rni_store_relaxed(&deque->top, start);
    rni_store_relaxed(&deque->bottom, start);
    deque->top_seen = start;
}

static bool has_room(rni_deque *deque, uint64_t bottom, size_t count) {
    if (bottom + count - deque->top_seen <= RNI_DEQUE_SIZE) return true;
    /* Pairs with the CAS of top in steal and take: their reads of the slots are over. */
    deque->top_seen = rni_load_acquire(&deque->top);
    return bottom + count - deque->top_seen <= RNI_DEQUE_SIZE;
}

bool rni_deque_push(rni_deque *deque, void *const *items, size_t count) {
    uint64_t bottom = rni_load_relaxed(&deque->bottom);
    if (!has_room(deque, bottom, count)) return false;
    for (size_t i = 0; i < count; i++) rni_store_relaxed(&deque->items[(bottom + i) & MASK], items[i]);
    /* Releases the items to the loads of bottom in steal and take. A read-modify-write, because it
     * is one half of a Dekker pair: with rni_parking_announce() of a worker about to park. */
    (void)rni_swap_seq_cst(&deque->bottom, bottom + count);
    return true;
}

void *rni_deque_pop(rni_deque *deque) {
    uint64_t bottom = rni_load_relaxed(&deque->bottom);
    if (rni_load_relaxed(&deque->top) == bottom) return NULL;
    bottom--;
    /* Dekker with steal: we lower bottom and read top, a thief reads top and then bottom. */
    (void)rni_swap_seq_cst(&deque->bottom, bottom);
    uint64_t top = rni_load_seq_cst(&deque->top);
    if ((int64_t)(bottom - top) > 0) return rni_load_relaxed(&deque->items[bottom & MASK]);
    void *item = NULL;
    if (top == bottom) { /* The last one: thieves may want it too, so the owner takes it as a thief does. */
        item = rni_load_relaxed(&deque->items[bottom & MASK]);
        if (!rni_cas_seq_cst(&deque->top, &top, top + 1)) item = NULL; /* LCOV_EXCL_BR_LINE: tests/model runs it */
    }
    /* Empty now. Release: pairs with the loads of bottom in steal, as every store to it. */
    rni_store_release(&deque->bottom, bottom + 1);
    return item;
}

void *rni_deque_steal(rni_deque *deque, bool *contended) {
    /* Seq_cst in this order: pairs with pop, see there. Bottom also acquires the items from push. */
    uint64_t top = rni_load_seq_cst(&deque->top);
    uint64_t bottom = rni_load_seq_cst(&deque->bottom);
    if ((int64_t)(bottom - top) <= 0) return NULL;
    void *item = rni_load_relaxed(&deque->items[top & MASK]);
    if (rni_cas_seq_cst(&deque->top, &top, top + 1)) return item;
    *contended = true;
    return NULL;
}

size_t rni_deque_take(rni_deque *deque, void **items, size_t most, bool *contended) {
    /* As in steal. Nobody pops, so the CAS alone decides: while top stands, these slots are not reused. */
    uint64_t top = rni_load_seq_cst(&deque->top);
    uint64_t bottom = rni_load_seq_cst(&deque->bottom);
    if ((int64_t)(bottom - top) <= 0) return 0;
    size_t count = (size_t)(bottom - top);
    if (count > most) count = most;
    for (size_t i = 0; i < count; i++) items[i] = rni_load_relaxed(&deque->items[(top + i) & MASK]);
    if (rni_cas_seq_cst(&deque->top, &top, top + count)) return count;
    *contended = true;
    return 0;
}

size_t rni_deque_count(rni_deque *deque) {
    /* Pairs with the swap in push: after rni_parking_announce() it sees every push before. */
    uint64_t top = rni_load_seq_cst(&deque->top);
    uint64_t bottom = rni_load_seq_cst(&deque->bottom);
    int64_t count = (int64_t)(bottom - top);
    return count > 0 ? (size_t)count : 0;
}
