#include "core/timers.h"

#include <string.h>

#include "core/run.h"

#define SLOT_BITS 6
#define SLOTS 64u

static uint64_t tick_of(int64_t due) {
    /* Rounded up: never early. */
    return due <= 0 ? 0 : ((uint64_t)due + (UINT64_C(1) << RNI_TICK_SHIFT) - 1) >> RNI_TICK_SHIFT;
}

void rni_timers_init(rni_timers *timers, int64_t now) {
    memset(timers, 0, sizeof *timers);
    timers->now_tick = (uint64_t)now >> RNI_TICK_SHIFT;
    rni_store_relaxed(&timers->first_due, (uint64_t)RNI_NEVER);
}

static void link_into(rni_timers *timers, struct rni_plan *plan, uint32_t slot) {
    struct rni_plan **head = &timers->slots[slot];
    plan->slot = (uint16_t)slot;
    plan->next = *head;
    plan->link = head;
    if (plan->next) plan->next->link = &plan->next;
    *head = plan;
    timers->occupied[slot / SLOTS] |= UINT64_C(1) << (slot % SLOTS);
}

static void place(rni_timers *timers, struct rni_plan *plan) {
    uint64_t tick = tick_of(plan->due);
    /* What is due already waits for the next tick: slots behind now are never looked at. */
    if (tick <= timers->now_tick) tick = timers->now_tick + 1;
    uint32_t level = (63u - (uint32_t)__builtin_clzll(tick ^ timers->now_tick)) / SLOT_BITS;
    /* Nine levels hold 2^54 ticks, 2^64 ns: no int64_t is beyond the last. */
    link_into(timers, plan, level * SLOTS + (uint32_t)(tick >> (level * SLOT_BITS) & (SLOTS - 1)));
}

/* The first occupied slot: its tick, or UINT64_MAX. */
static uint64_t first_tick(const rni_timers *timers, uint32_t *slot) {
    for (uint32_t level = 0; level < RNI_LEVELS; level++) {
        if (timers->occupied[level] == 0) continue;
        uint32_t index = (uint32_t)__builtin_ctzll(timers->occupied[level]);
        uint32_t shift = level * SLOT_BITS;
        *slot = level * SLOTS + index;
        return ((timers->now_tick >> shift & ~(uint64_t)(SLOTS - 1)) | index) << shift;
    }
    return UINT64_MAX;
}

static void note_first(rni_timers *timers) {
    uint32_t slot;
    uint64_t tick = first_tick(timers, &slot);
    int64_t due = tick == UINT64_MAX ? RNI_NEVER : (int64_t)(tick << RNI_TICK_SHIFT);
    rni_swap_seq_cst(&timers->first_due, (uint64_t)due); /* pairs with rni_schedule_first_due: Dekker with the timekeeper's place */
}

bool rni_timers_add(rni_timers *timers, struct rni_plan *plan) {
    uint64_t before = rni_load_relaxed(&timers->first_due);
    rni_store_relaxed(&plan->next_start, (uint64_t)plan->due);
    place(timers, plan);
    timers->count++;
    note_first(timers);
    return rni_load_relaxed(&timers->first_due) < before;
}

static void unlink_from(rni_timers *timers, struct rni_plan *plan) {
    *plan->link = plan->next;
    if (plan->next) plan->next->link = plan->link;
    if (!timers->slots[plan->slot]) timers->occupied[plan->slot / SLOTS] &= ~(UINT64_C(1) << (plan->slot % SLOTS));
    plan->slot = RNI_NO_SLOT;
}

bool rni_timers_remove(rni_timers *timers, struct rni_plan *plan) {
    if (plan->slot == RNI_NO_SLOT) return false;
    unlink_from(timers, plan);
    timers->count--;
    /* first_due may now be too early: a sleeper wakes in vain once, and asks again. */
    return true;
}

/* Empties one slot: what is due goes to the end of the list, the rest moves down. */
static struct rni_plan **empty_slot(rni_timers *timers, uint32_t slot, struct rni_plan **end) {
    struct rni_plan *plan = timers->slots[slot];
    timers->slots[slot] = NULL;
    timers->occupied[slot / SLOTS] &= ~(UINT64_C(1) << (slot % SLOTS));
    while (plan) {
        struct rni_plan *next = plan->next;
        if (tick_of(plan->due) <= timers->now_tick) {
            plan->slot = RNI_NO_SLOT;
            plan->next = NULL;
            *end = plan;
            end = &plan->next;
            timers->count--;
        } else {
            place(timers, plan);
        }
        plan = next;
    }
    return end;
}

struct rni_plan *rni_timers_advance(rni_timers *timers, int64_t now) {
    uint64_t now_tick = now < 0 ? 0 : (uint64_t)now >> RNI_TICK_SHIFT;
    struct rni_plan *due = NULL;
    struct rni_plan **end = &due;
    uint32_t slot;
    for (uint64_t tick; (tick = first_tick(timers, &slot)) <= now_tick;) {
        timers->now_tick = tick;
        end = empty_slot(timers, slot, end);
    }
    if (now_tick > timers->now_tick) timers->now_tick = now_tick;
    note_first(timers);
    return due;
}

struct rni_plan *rni_timers_visit(rni_timers *timers, uint32_t *position) {
    for (; *position < RNI_LEVELS * SLOTS; (*position)++)
        if (timers->slots[*position]) return timers->slots[*position];
    return NULL;
}
