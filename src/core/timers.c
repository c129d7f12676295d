#include "core/timers.h"

#include <string.h>

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

static void link_into(rni_timers *timers, rni_timer *timer, uint32_t slot) {
    rni_timer **head = &timers->slots[slot];
    timer->next = *head;
    timer->link = head;
    if (timer->next) timer->next->link = &timer->next;
    *head = timer;
    timers->occupied[slot / SLOTS] |= UINT64_C(1) << (slot % SLOTS);
}

/* Returns the tick at which its slot begins. */
static uint64_t place(rni_timers *timers, rni_timer *timer) {
    uint64_t tick = tick_of(timer->due);
    /* What is due already waits for the next tick: slots behind now are never looked at. */
    if (tick <= timers->now_tick) tick = timers->now_tick + 1;
    uint32_t level = (63u - (uint32_t)__builtin_clzll(tick ^ timers->now_tick)) / SLOT_BITS;
    /* Nine levels hold 2^54 ticks, 2^64 ns: no int64_t is beyond the last. */
    link_into(timers, timer, level * SLOTS + (uint32_t)(tick >> (level * SLOT_BITS) & (SLOTS - 1)));
    return tick >> (level * SLOT_BITS) << (level * SLOT_BITS);
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

static void note_first(rni_timers *timers, uint64_t tick) {
    int64_t due = tick == UINT64_MAX ? RNI_NEVER : (int64_t)(tick << RNI_TICK_SHIFT);
    rni_swap_seq_cst(&timers->first_due, (uint64_t)due); /* pairs with rni_schedule_first_due: Dekker with the timekeeper's place */
}

bool rni_timers_add(rni_timers *timers, rni_timer *timer) {
    uint64_t tick = place(timers, timer);
    timers->count++;
    bool is_first = tick << RNI_TICK_SHIFT < rni_load_relaxed(&timers->first_due);
    if (is_first) note_first(timers, tick);
    return is_first;
}

/* A list has lost its last: if that was its first, too, its slot is empty. */
static void note_end(rni_timers *timers, rni_timer **link) {
    uintptr_t offset = (uintptr_t)link - (uintptr_t)timers->slots;
    if (offset >= sizeof timers->slots) return;
    uint32_t slot = (uint32_t)(offset / sizeof *timers->slots);
    timers->occupied[slot / SLOTS] &= ~(UINT64_C(1) << (slot % SLOTS));
}

static void unlink_from(rni_timers *timers, rni_timer *timer) {
    rni_timer *next = timer->next;
    *timer->link = next;
    if (next) next->link = timer->link;
    else note_end(timers, timer->link);
    timer->link = NULL;
    timers->count--;
    /* first_due may now be too early: a sleeper wakes in vain once, and asks again. */
}

bool rni_timers_remove(rni_timers *timers, rni_timer *timer) {
    if (!timer->link) return false;
    unlink_from(timers, timer);
    return true;
}

rni_timer *rni_timers_leave(rni_timers *timers, rni_timer *timer) {
    if (!timer->link) return NULL;
    __builtin_prefetch(timer->link, 1);
    __builtin_prefetch(timer->next, 1);
    rni_timer **place_in_ring = &timers->leaving[timers->oldest];
    rni_timer *left = *place_in_ring;
    *place_in_ring = timer;
    timers->oldest = (timers->oldest + 1) % RNI_LEAVING;
    if (left) unlink_from(timers, left);
    return left;
}

rni_timer *rni_timers_flush(rni_timers *timers) {
    rni_timer *all = NULL;
    for (uint32_t i = 0; i < RNI_LEAVING; i++) {
        rni_timer *left = timers->leaving[i];
        if (!left) continue;
        unlink_from(timers, left);
        left->next = all;
        all = left;
        timers->leaving[i] = NULL;
    }
    return all;
}

/* Empties one slot: what is due goes to the end of the list, the rest moves down. */
static rni_timer **empty_slot(rni_timers *timers, uint32_t slot, rni_timer **end) {
    rni_timer *timer = timers->slots[slot];
    timers->slots[slot] = NULL;
    timers->occupied[slot / SLOTS] &= ~(UINT64_C(1) << (slot % SLOTS));
    while (timer) {
        rni_timer *next = timer->next;
        if (tick_of(timer->due) <= timers->now_tick) {
            timer->link = NULL;
            timer->next = NULL;
            *end = timer;
            end = &timer->next;
            timers->count--;
        } else {
            place(timers, timer);
        }
        timer = next;
    }
    return end;
}

rni_timer *rni_timers_advance(rni_timers *timers, int64_t now) {
    uint64_t now_tick = now < 0 ? 0 : (uint64_t)now >> RNI_TICK_SHIFT;
    rni_timer *due = NULL;
    rni_timer **end = &due;
    uint64_t tick;
    uint32_t slot;
    while ((tick = first_tick(timers, &slot)) <= now_tick) {
        timers->now_tick = tick;
        end = empty_slot(timers, slot, end);
    }
    if (now_tick > timers->now_tick) timers->now_tick = now_tick;
    note_first(timers, first_tick(timers, &slot));
    return due;
}

rni_timer *rni_timers_take(rni_timers *timers, bool (*is_chosen)(const rni_timer *timer, void *context), void *context) {
    rni_timer *all = NULL;
    for (uint32_t slot = 0; slot < RNI_LEVELS * SLOTS; slot++)
        for (rni_timer *next, *timer = timers->slots[slot]; timer; timer = next) {
            next = timer->next;
            if (!is_chosen(timer, context)) continue;
            unlink_from(timers, timer);
            timer->next = all;
            all = timer;
        }
    return all;
}
