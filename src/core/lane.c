#include "core/lane.h"

#include "base/memory.h"
#include "core/executor.h"

static rni_lane *vacant_lane(rn_runtime *runtime, bool is_worker) {
    for (rni_lane *lane = rni_lanes(runtime); lane; lane = lane->next_of_runtime)
        if (rni_load_relaxed(&lane->vacant) && lane->is_worker == is_worker) return lane;
    return NULL;
}

/* Lanes of closed runtimes that their threads have not freed yet: a root for leak checkers, which do not see
 * where else they hang. */
static rni_lane *dead_lanes;

static void forget_dead(rni_lane *dead) {
    rni_lane **link = &dead_lanes;
    while (*link && *link != dead) link = &(*link)->next_dead;
    if (*link) *link = dead->next_dead;
}

static rni_lane *new_lane(rn_runtime *runtime, bool is_worker) {
    rni_lane *lane = rni_alloc_lines(runtime->executor->lane_bytes);
    if (!lane) return NULL;
    lane->runtime = runtime;
    lane->serial = rni_load_relaxed(&runtime->serial);
    lane->handle = rni_runtime_handle(runtime);
    lane->is_worker = is_worker;
    runtime->executor->lane_init(lane);
    lane->next_of_runtime = rni_lanes(runtime);
    rni_swap_seq_cst(&runtime->lanes, (void *)lane); /* pairs with rni_lanes */
    return lane;
}

/* Frees this thread's lanes of closed runtimes. */
static void drop_dead(rni_thread *thread) {
    for (rni_lane **link = &thread->lanes; *link;) {
        rni_lane *lane = *link;
        if (!rni_load_acquire(&lane->dead)) { /* pairs with rni_lanes_close */
            link = &lane->next_of_thread;
            continue;
        }
        *link = lane->next_of_thread;
        if (thread->lane == lane) thread->lane = NULL;
        forget_dead(lane);
        rni_free(lane);
    }
}

rni_lane *rni_lane_make(rn_runtime *runtime, uint64_t serial, rni_thread *thread, bool is_worker) {
    rni_world_lock();
    drop_dead(thread);
    bool is_open = rni_load_relaxed(&runtime->serial) == serial;
    rni_lane *lane = is_open ? vacant_lane(runtime, is_worker) : NULL;
    if (is_open && !lane) lane = new_lane(runtime, is_worker);
    if (lane) {
        rni_store_relaxed(&lane->vacant, 0);
        lane->next_of_thread = thread->lanes;
        thread->lanes = thread->lane = lane;
    }
    rni_world_unlock();
    return lane;
}

rni_lane *rni_lane_find(uint64_t serial) {
    rni_thread *thread = rni_self;
    for (rni_lane *lane = thread ? thread->lanes : NULL; lane; lane = lane->next_of_thread)
        if (lane->serial == serial) return thread->lane = lane;
    return NULL;
}

rni_lane *rni_lane_of_handle(const rn_runtime *handle) {
    rni_thread *thread = rni_self;
    for (rni_lane *lane = thread ? thread->lanes : NULL; lane; lane = lane->next_of_thread)
        if (lane->handle == handle) return thread->lane = lane;
    return NULL;
}

bool rni_lanes_are_idle(rn_runtime *runtime) {
    for (rni_lane *lane = rni_lanes(runtime); lane; lane = lane->next_of_runtime)
        if (rni_load_acquire(&lane->inside) != 0) return false; /* pairs with let_go in submit.c */
    return true;
}

void rni_lanes_drop_dead(void) {
    if (!rni_self) return;
    rni_world_lock();
    drop_dead(rni_self);
    rni_world_unlock();
}

void rni_lanes_leave(rni_thread *thread) {
    drop_dead(thread);
    for (rni_lane *lane = thread->lanes; lane; lane = lane->next_of_thread) rni_store_relaxed(&lane->vacant, 1);
}

void rni_lanes_close(rn_runtime *runtime) {
    rni_lane *lane = rni_lanes(runtime);
    while (lane) {
        rni_lane *next = lane->next_of_runtime;
        if (rni_load_relaxed(&lane->vacant)) {
            rni_free(lane);
        } else {
            lane->next_dead = dead_lanes;
            dead_lanes = lane;
            rni_store_release(&lane->dead, 1); /* pairs with drop_dead: our reads of it are over */
        }
        lane = next;
    }
    rni_store_relaxed(&runtime->lanes, NULL);
}
