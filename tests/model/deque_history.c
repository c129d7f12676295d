#include "deque_history.h"

#include <string.h>

/* The plain deque; it never holds more than the history pushes. */
struct plain {
    unsigned front, back;
    uint8_t items[HISTORY_CALLS * HISTORY_ITEMS];
};

static bool can_push(struct plain *plain, const history_call *call, unsigned capacity) {
    unsigned size = plain->back - plain->front;
    if (call->count == 0) return capacity == 0 || size + call->wanted > capacity;
    if (capacity && size + call->count > capacity) return false;
    memcpy(plain->items + plain->back, call->items, call->count);
    plain->back += call->count;
    return true;
}

static bool can_pop(struct plain *plain, const history_call *call) {
    if (call->count == 0) return plain->back == plain->front;
    if (plain->back == plain->front || plain->items[plain->back - 1] != call->items[0]) return false;
    plain->back--;
    return true;
}

/* Steal and take: from the front. A take may get fewer than there are. */
static bool can_take(struct plain *plain, const history_call *call) {
    if (call->contended) return true;
    if (call->count == 0) return plain->back == plain->front;
    if (call->count > call->wanted || call->count > plain->back - plain->front) return false;
    if (memcmp(plain->items + plain->front, call->items, call->count) != 0) return false;
    plain->front += call->count;
    return true;
}

static bool can_happen(struct plain *plain, const history_call *call, unsigned capacity) {
    if (call->kind == HISTORY_PUSH) return can_push(plain, call, capacity);
    if (call->kind == HISTORY_POP) return can_pop(plain, call);
    return can_take(plain, call);
}

/* Depth first: every call that may come next, on a copy of the deque. */
static bool can_go_on(const history_call *calls, unsigned count, unsigned capacity, struct plain plain, uint32_t done) {
    if (done == (UINT32_C(1) << count) - 1) return true;
    for (unsigned i = 0; i < count; i++) {
        struct plain after = plain;
        if (done >> i & 1 || (calls[i].before & ~done)) continue;
        if (!can_happen(&after, &calls[i], capacity)) continue;
        if (can_go_on(calls, count, capacity, after, done | UINT32_C(1) << i)) return true;
    }
    return false;
}

bool history_is_linearizable(const history_call *calls, unsigned count, unsigned capacity) {
    return can_go_on(calls, count, capacity, (struct plain){0}, 0);
}
