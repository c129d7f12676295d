/*
 * Timers: a hierarchical timing wheel (Varghese and Lauck, "Hashed and Hierarchical Timing Wheels",
 * SOSP 1987, scheme 7). Nine levels of 64 slots; a tick of the lowest is 1,024 ns, a slot of level n
 * spans 64^n ticks. Adding and removing take constant time; a timer moves down at most eight times.
 *
 * A timer's slot is found from the highest bit in which its tick differs from `now_tick`, so every
 * timer of a lower level is due before every one of a higher, and within a level the slots are due
 * in order: the first due slot is the first bit of the lowest level that has one.
 *
 * A slot is a list through the timers themselves, so that the wheel needs no memory and nothing in it
 * can fail. Its price is that one who leaves writes to both neighbours, which lie anywhere; with a
 * million timers each is a line that no cache has. So a timer that is cancelled leaves in two steps:
 * its neighbours' lines are asked for at once, and written to some cancels later, when they are there.
 */
#ifndef RNI_CORE_TIMERS_H
#define RNI_CORE_TIMERS_H

#include "base/os.h"

#define RNI_TICK_SHIFT 10
#define RNI_LEVELS 9
#define RNI_LEAVING 8u
#define RNI_NEVER INT64_MAX
#define RNI_LATEST (INT64_MAX - 4096) /* the end of time, 292 years: what would be due after it never is */

/* A moment after another, not beyond the end of time. Both not negative. */
static inline int64_t rni_later(int64_t moment, int64_t duration) {
    return moment > RNI_LATEST - duration ? RNI_LATEST : moment + duration;
}

struct rni_run;

/* Half a cache line. In the wheel all of it but `run` is guarded by the lock; out of it `next` links lists of timers that
 * are due, or of mail. */
typedef struct rni_timer {
    struct rni_timer *next;
    struct rni_timer **link; /* what points to it; NULL: it is not in the wheel */
    int64_t due;
    struct rni_run *run;
} rni_timer;

typedef struct rni_timers {
    rni_mutex lock;        /* guards all of it, and the timers in it */
    rni_a64 first_due;     /* when to call advance next, ns; RNI_NEVER. Written under the lock, read by anybody */
    uint64_t now_tick;
    uint64_t count;
    rni_timer *leaving[RNI_LEAVING]; /* cancelled, and still in the wheel; a ring */
    uint32_t oldest;                 /* of those: the next to leave, if there is one */
    uint64_t occupied[RNI_LEVELS];
    rni_timer *slots[RNI_LEVELS * 64];
} rni_timers;

void rni_timers_init(rni_timers *timers, int64_t now);

/* All that follow: under the lock. */

/* Adds by timer->due. True if it became the first due. */
bool rni_timers_add(rni_timers *timers, rni_timer *timer);

/* A timer is cancelled: it leaves soon. Returns one that has left now, or NULL. One that is not in the wheel does nothing. */
rni_timer *rni_timers_leave(rni_timers *timers, rni_timer *timer);

/* Those that are leaving have left, at once. Returns them, linked by next. */
rni_timer *rni_timers_flush(rni_timers *timers);

/* A timer that was not cancelled. False if it is not in the wheel. */
bool rni_timers_remove(rni_timers *timers, rni_timer *timer);

/* After a flush: moves to `now` and returns those due by then, in the order of their ticks, linked by next. */
rni_timer *rni_timers_advance(rni_timers *timers, int64_t now);

/* After a flush: removes each that is chosen and returns them, linked by next. */
rni_timer *rni_timers_take(rni_timers *timers, bool (*is_chosen)(const rni_timer *timer, void *context), void *context);

#endif
