/*
 * A lane: one thread's way into one runtime. It counts what the thread did there; the executor puts
 * its queue behind it (rni_executor.lane_bytes).
 *
 * Only its thread writes the counts; others read them. Lanes are listed by their runtime, for those
 * who look for work; an entry leaves the list only when the runtime closes. When a thread ends its
 * lane becomes vacant, for the next thread; when a runtime closes the lane is dead, and its thread
 * frees it when it next looks for a lane, or ends.
 */
#ifndef RNI_CORE_LANE_H
#define RNI_CORE_LANE_H

#include "core/runtime.h"
#include "core/world.h"

typedef struct rni_lane {
    rn_runtime *runtime;
    uint64_t serial;                  /* of the runtime; no two ever have the same */
    rn_runtime *handle;               /* what the program holds of it */
    struct rni_lane *next_of_thread;  /* owner only */
    struct rni_lane *next_of_runtime; /* constant once listed */
    bool is_worker;                   /* its thread takes from it too; constant */
    rni_a32 vacant, dead;             /* guarded by the world's lock; dead is also read by the owner */
    struct rni_lane *next_dead;       /* guarded by the world's lock */
    /* On a line of their own: above is what searching workers read. */
    _Alignas(64) rni_a64 submitted;   /* runs; see enter() in submit.c */
    rni_a64 inside;                   /* submits under way: the runtime stays until they are done with it */
    rni_a64 finished;
    rni_a64 started, failed;          /* iterations */
} rni_lane;

/* This thread's lane, or NULL. */
rni_lane *rni_lane_find(uint64_t serial);

static inline rni_lane *rni_lane_of(uint64_t serial) {
    rni_thread *self = rni_self;
    if (self && self->lane && self->lane->serial == serial) return self->lane;
    return rni_lane_find(serial);
}

/* The same, by what the program holds of the runtime: who uses the lane finds out whether that one is still open. */
rni_lane *rni_lane_of_handle(const rn_runtime *handle);

/* A lane for `thread`, which has none there: a vacant one of its kind, or a new one. NULL: no memory, or the runtime with
 * that serial is closed. */
rni_lane *rni_lane_make(rn_runtime *runtime, uint64_t serial, rni_thread *thread, bool is_worker);

static inline rni_lane *rni_lanes(rn_runtime *runtime) {
    return rni_load_seq_cst(&runtime->lanes); /* pairs with the swap in new_lane: for those about to park, as the deques */
}

/* Owner. Release: a sum that sees this count sees what was done before it. */
static inline void rni_count(rni_a64 *count) { rni_store_release(count, rni_load_relaxed(count) + 1); }

/* Once the phase has moved: no thread is in the middle of a submit. */
bool rni_lanes_are_idle(rn_runtime *runtime);

/* Frees what this thread has of closed runtimes. */
void rni_lanes_drop_dead(void);

/* Under the world's lock. */
void rni_lanes_leave(rni_thread *thread);  /* the thread ends */
void rni_lanes_close(rn_runtime *runtime); /* the runtime does */

#endif
