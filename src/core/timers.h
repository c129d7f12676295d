/*
 * Timers: a hierarchical timing wheel (Varghese and Lauck, "Hashed and Hierarchical Timing Wheels",
 * SOSP 1987, scheme 7). Nine levels of 64 slots; a tick of the lowest is 1,024 ns, a slot of level n
 * spans 64^n ticks. Adding and removing take constant time; a timer moves down at most eight times.
 *
 * A timer's slot is found from the highest bit in which its tick differs from `now_tick`, so every
 * timer of a lower level is due before every one of a higher, and within a level the slots are due
 * in order: the first due slot is the first bit of the lowest level that has one.
 */
#ifndef RNI_CORE_TIMERS_H
#define RNI_CORE_TIMERS_H

#include "base/os.h"

#define RNI_TICK_SHIFT 10
#define RNI_LEVELS 9
#define RNI_NEVER INT64_MAX
#define RNI_LATEST (INT64_MAX - 4096) /* the end of time, 292 years: what would be due after it never is */

/* A moment after another, not beyond the end of time. Both not negative. */
static inline int64_t rni_later(int64_t moment, int64_t duration) {
    return moment > RNI_LATEST - duration ? RNI_LATEST : moment + duration;
}

struct rni_plan;

typedef struct rni_timers {
    rni_mutex lock;        /* guards all of it, and slot, next, link and due of the plans in it */
    rni_a64 first_due;     /* when to call advance next, ns; RNI_NEVER. Written under the lock, read by anybody */
    uint64_t now_tick;
    uint64_t count;
    uint64_t occupied[RNI_LEVELS];
    struct rni_plan *slots[RNI_LEVELS * 64];
} rni_timers;

void rni_timers_init(rni_timers *timers, int64_t now);

/* Under the lock. Adds by plan->due. True if it became the first due. */
bool rni_timers_add(rni_timers *timers, struct rni_plan *plan);

/* Under the lock. False if it is not in it. */
bool rni_timers_remove(rni_timers *timers, struct rni_plan *plan);

/* Under the lock. Moves to `now` and returns those due by then, in the order of their ticks, linked by next. */
struct rni_plan *rni_timers_advance(rni_timers *timers, int64_t now);

/* Under the lock. Any plan in it at or after slot *position (start with 0), or NULL: to visit all. */
struct rni_plan *rni_timers_visit(rni_timers *timers, uint32_t *position);

#endif
