/*
 * Parking: where threads without work sleep, and who wakes them. An eventcount that also counts
 * seats, so that one word answers the one question of a producer: is there somebody to wake?
 *
 * A thread of a pool is in one of three places:
 *   active   it holds a seat: it searches for work or runs it;
 *   parked   it sleeps here;
 *   blocked  it waits inside a task, its seat given to another thread (leave ... come_back).
 * There are `seats` seats. A thread that comes back from blocking takes one even if none is free;
 * the surplus goes when a thread next looks (rni_parking_give_up_surplus).
 *
 * No wake-up is lost. The producer publishes work (seq_cst read-modify-write of a deque's bottom),
 * then reads `state`; the worker gives up its seat in `state` (seq_cst read-modify-write), then
 * reads every queue. In the single order of these four one comes last, and it sees the other's.
 *
 * Few are woken in vain. While a thread searches, or has been woken and is not up yet (WAKING), a
 * producer wakes nobody: the searcher that finds something and was the last one looks again
 * (rni_parking_stop_search) and wakes the next. WAKING is set only while somebody is parked, and
 * whoever leaves the parked clears it.
 *
 * The epoch closes the gap between the last look and the sleep: it is read before the seat is given
 * up, and moved by each wake after WAKING is set; a sleeper whose epoch has moved does not sleep.
 */
#ifndef RNI_THREAD_PARKING_H
#define RNI_THREAD_PARKING_H

#include "base/atomic.h"

typedef struct rni_parking {
    _Alignas(64) rni_a64 state; /* parked, active, searching: 16 bits each; WAKING */
    rni_a32 epoch;              /* the futex; one more with each wake */
    uint32_t seats;             /* constant */
} rni_parking;

/* `active` threads are about to start, each of them searching. */
void rni_parking_init(rni_parking *parking, uint32_t seats, uint32_t active);

/* Producer, after work is published. Wakes a thread if one is parked, a seat is free, and nobody searches. */
void rni_parking_notify(rni_parking *parking);

/* Wakes every parked thread: for closing, and when seats alone do not decide. */
void rni_parking_wake_all(rni_parking *parking);

/* Searching thread: gives its seat up and parks; returns the epoch to sleep on. The caller looks at
 * every queue once more, then calls sleep, or rise if it found work. */
uint32_t rni_parking_announce(rni_parking *parking);

/* Thread with a seat, not searching: if more than `seats` are active, gives its seat up and parks, with the
 * epoch to sleep on. It need not look at the queues: no seat has become free. */
bool rni_parking_give_up_surplus(rni_parking *parking, uint32_t *epoch);

/* Parked thread: sleeps until the epoch has moved or deadline_ns (monotonic; negative: never) is over. */
void rni_parking_sleep(rni_parking *parking, uint32_t epoch, int64_t deadline_ns);

/* Parked thread, after every sleep: takes a seat, searching. False if none is free: it stays parked. */
bool rni_parking_rise(rni_parking *parking);

/* Parked thread, or with `is_parked` false the timekeeper, with work that is only its own: takes a seat, searching,
 * even if none is free. */
void rni_parking_rise_anyway(rni_parking *parking, bool is_parked);

/* Searching thread that found work. True if it was the last to search: if there is more work visible
 * after this call, rni_parking_notify() is its duty. */
bool rni_parking_stop_search(rni_parking *parking);

/* Thread with a seat: about to look for work. */
void rni_parking_start_search(rni_parking *parking);

/* A thread with a seat blocks, and comes back. After leave: if work is visible, rni_parking_notify(). */
void rni_parking_leave(rni_parking *parking);
void rni_parking_come_back(rni_parking *parking);

/* A new thread, by itself: it is parked from now on, and rises next. Nobody counts on it before. */
void rni_parking_join(rni_parking *parking);

/* For a parked thread that sleeps again after rise said no: read BEFORE that rise, or a wake in between is lost. */
uint32_t rni_parking_epoch(rni_parking *parking);

/* Parked thread that becomes the timekeeper, who is not counted. If work is visible after: rni_parking_notify(). */
void rni_parking_quit(rni_parking *parking);

/* The timekeeper takes a seat, searching, if one is free and somebody is parked who can follow it. */
bool rni_parking_sit(rni_parking *parking);

/* Wakes one parked thread, to look at the timekeeper's place. */
void rni_parking_nudge(rni_parking *parking);

/* A parked thread that finds the epoch unmoved after a sleep, and this false, was not woken: it may sleep on. (The
 * wake may have been for it although the epoch stood: it moved before this thread parked.) */
bool rni_parking_is_waking(rni_parking *parking);

uint32_t rni_parking_parked(rni_parking *parking);
uint32_t rni_parking_active(rni_parking *parking);
/* Nobody active, nobody being woken. One that parks may still look at the queues: look at them after this, and
 * then ask once more. */
bool rni_parking_is_quiet(rni_parking *parking);

#endif
