#include "core/lane.h"

#include "base/memory.h"
#include "core/executor.h"

static rni_lane *vacant_lane(rn_runtime *runtime) {
    for (rni_lane *lane = rni_lanes(runtime); lane; lane = lane->next_of_runtime)
        if (rni_load_relaxed(&lane->vacant)) return lane;
    return NULL;
}

static rni_lane *new_lane(rn_runtime *runtime, bool is_worker) {
    rni_lane *lane = rni_alloc_lines(runtime->executor->lane_bytes);
    if (!lane) return NULL;
    lane->runtime = runtime;
    lane->serial = rni_load_relaxed(&runtime->serial);
    runtime->executor->lane_init(lane, is_worker);
    lane->next_of_runtime = rni_lanes(runtime);
    rni_store_release(&runtime->lanes, lane); /* pairs with rni_lanes */
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
        rni_free(lane);
    }
}

rni_lane *rni_lane_make(rn_runtime *runtime, rni_thread *thread, bool is_worker) {
    rni_world_lock();
    drop_dead(thread);
    rni_lane *lane = is_worker ? NULL : vacant_lane(runtime);
    if (!lane) lane = new_lane(runtime, is_worker);
    if (lane) {
        rni_store_relaxed(&lane->vacant, 0);
        lane->next_of_thread = thread->lanes;
        thread->lanes = thread->lane = lane;
    }
    rni_world_unlock();
    return lane;
}

rni_lane *rni_lane_find(rn_runtime *runtime) {
    rni_thread *thread = rni_thread_get();
    if (!thread) return NULL;
    uint64_t serial = rni_load_relaxed(&runtime->serial);
    for (rni_lane *lane = thread->lanes; lane; lane = lane->next_of_thread)
        if (lane->serial == serial) return thread->lane = lane;
    return rni_lane_make(runtime, thread, false);
}

void rni_lanes_leave(rni_thread *thread) {
    drop_dead(thread);
    for (rni_lane *lane = thread->lanes; lane; lane = lane->next_of_thread) rni_store_relaxed(&lane->vacant, 1);
}

void rni_lanes_close(rn_runtime *runtime) {
    rni_lane *lane = rni_lanes(runtime);
    while (lane) {
        rni_lane *next = lane->next_of_runtime;
        if (rni_load_relaxed(&lane->vacant)) rni_free(lane);
        else rni_store_release(&lane->dead, 1); /* pairs with drop_dead: our reads of it are over */
        lane = next;
    }
    rni_store_relaxed(&runtime->lanes, NULL);
}
