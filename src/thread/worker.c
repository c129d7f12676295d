/*
 * A worker: finds runs and runs them. Where it looks, in this order: its own deque, youngest first
 * (what its task has just started is still in the cache); what is due, and what overflowed; the
 * lanes of threads outside, many at a time; other workers' deques. Every so often the order begins
 * with the second, so that tasks that start tasks for ever do not starve the rest.
 */
#include <stdio.h>

#include "core/schedule.h"
#include "thread/pool.h"

#define FAIR_TURNS 61u       /* every so many turns others' runs come first: prime, so as not to beat with a task's habit */
#define BATCH 64u            /* most taken from a lane at once */
#define SEARCH_ROUNDS 12     /* before it parks: about as long as a wake-up costs */
#define PAUSE_ROUNDS 3       /* of these without giving the CPU to whoever was just woken on it */
#define TRIM_AFTER_NS RN_MILLISECONDS(100)

static rni_run *take_ready(rni_pool *pool) {
    return rni_outside_may_run(pool->runtime) ? rni_ready_take(&pool->ready) : NULL;
}

/* Runs the first of a batch; the others go to the worker's deque, where others can steal them. */
static rni_run *keep_batch(rni_worker *worker, void **runs, size_t count) {
    void *rest[RNI_BLOCK_RUNS];
    if (count == 1) return runs[0];
    /* Reversed, since the deque is popped from its end: they run in the order they came. */
    for (size_t i = 1; i < count; i++) {
        rest[count - 1 - i] = runs[i];
        __builtin_prefetch(runs[i], 1);
    }
    (void)rni_deque_push(&worker->lane->deque, rest, count - 1); /* there is room: see has_room_for_batch */
    rni_parking_notify(&worker->pool->parking);
    return runs[0];
}

static bool has_room_for_batch(rni_worker *worker) {
    return rni_deque_count(&worker->lane->deque) + RNI_BLOCK_RUNS <= RNI_DEQUE_SIZE;
}

static rni_run *take_from_lane(rni_worker *worker, rni_thread_lane *lane, bool *contended) {
    void *runs[BATCH];
    if (lane->base.is_worker) return rni_deque_steal(&lane->deque, contended);
    size_t most = (rni_deque_count(&lane->deque) + 1) / 2;
    if (worker->pool->parking.seats == 1) most = BATCH;
    size_t count = most == 0 ? 0 : rni_deque_take(&lane->deque, runs, most < BATCH ? most : BATCH, contended);
    return count ? keep_batch(worker, runs, count) : NULL;
}

/* Looks at the lanes, beginning where something was found last; outsiders' only, or all. */
static rni_run *take_from_lanes(rni_worker *worker, bool also_workers) {
    rni_lane *first = rni_lanes(worker->pool->runtime);
    rni_lane *start = worker->victim ? worker->victim : first;
    bool contended = false;
    rni_lane *lane = start;
    do {
        rni_thread_lane *theirs = (rni_thread_lane *)lane;
        if (lane != &worker->lane->base && (also_workers || !lane->is_worker)) {
            rni_run *run = take_from_lane(worker, theirs, &contended);
            if (run) {
                worker->victim = lane;
                return run;
            }
        }
        lane = lane->next_of_runtime ? lane->next_of_runtime : first;
    } while (lane != start);
    return NULL;
}

static rni_run *take_from_others(rni_worker *worker, bool also_workers) {
    void *runs[RNI_BLOCK_RUNS];
    rni_pool *pool = worker->pool;
    if (!has_room_for_batch(worker)) return NULL;
    size_t count = rni_overflow_take(&pool->overflow, runs);
    if (count) return keep_batch(worker, runs, count);
    return take_from_lanes(worker, also_workers);
}

static void look_at_timers(rni_worker *worker) {
    rni_pool *pool = worker->pool;
    if (rni_load_relaxed(&pool->keeper) || rni_schedule_first_due(pool->runtime) == RNI_NEVER) return;
    rni_keeper_look(pool);
}

/* What to run next, without the ceremony of a search. */
static rni_run *next_run(rni_worker *worker) {
    rni_pool *pool = worker->pool;
    look_at_timers(worker);
    rni_run *run = rni_post_take(worker);
    if (run) return run;
    if (pool->runtime->seed) return take_ready(pool);
    if (++worker->turns % FAIR_TURNS == 0) run = take_from_others(worker, false);
    if (!run) run = rni_deque_pop(&worker->lane->deque);
    return run ? run : take_from_others(worker, false);
}

static rni_run *search(rni_worker *worker) {
    /* With a test kit nothing is worth waiting for: parking is what moves the clock. */
    int rounds = worker->pool->is_kit ? 1 : SEARCH_ROUNDS;
    for (int round = 0; round < rounds; round++) {
        rni_run *run = next_run(worker);
        if (!run && !worker->pool->runtime->seed) run = take_from_others(worker, true);
        if (run) return run;
        if (round >= PAUSE_ROUNDS) rni_os_yield();
        else for (int i = 0; i < 8; i++) rni_pause();
    }
    return NULL;
}

static void execute(rni_worker *worker, rni_run *run) {
    rn_runtime *runtime = worker->pool->runtime;
    worker->frame = (uintptr_t)__builtin_frame_address(0);
    if (runtime->executor->execute) runtime->executor->execute(runtime, run);
    else rni_run_execute(runtime, run);
}

rni_run *rni_pool_take(rn_runtime *runtime) {
    rni_worker *self = rni_self->worker;
    rni_run *run = rni_deque_pop(&self->lane->deque);
    RNI_ASSERT(self->pool->runtime == runtime && !runtime->seed);
    return run ? run : take_from_others(self, false);
}

bool rni_pool_push_back(rn_runtime *runtime, rni_run *run) {
    rni_worker *self = rni_self->worker;
    void *item = run;
    RNI_ASSERT(self->pool->runtime == runtime);
    return rni_deque_push(&self->lane->deque, &item, 1);
}

static void flush_slabs(rni_worker *worker) {
    for (unsigned i = 0; i < RNI_CLASSES; i++) rni_slab_flush(&worker->thread->slabs[i]);
}

/* Once after each batch: whoever searches, parks or ends has told before. Holds no lock. */
static void tell_idle(rni_worker *worker) {
    const rn_runtime *runtime = worker->pool->runtime;
    if (__builtin_expect(runtime->on_idle != NULL, 0)) runtime->on_idle(runtime->idle_context);
}

/* To those who wait for the pool to become idle. */
static void tell_parked(rni_pool *pool) {
    if (rni_phase(pool->runtime) != RNI_OPEN) rni_runtime_changed(pool->runtime);
    if (rni_load_seq_cst(&pool->runtime->settlers)) rni_outside_wake_due(pool->runtime); /* pairs with wait_here */
}

/* Until when a parked worker sleeps: the last to park gives memory back after a while. */
static int64_t sleep_until(rni_pool *pool, bool *trims) {
    *trims = !*trims && rni_parking_is_quiet(&pool->parking);
    int64_t until = *trims ? rni_os_now() + TRIM_AFTER_NS : -1;
    if (rni_load_acquire(&pool->has_extra) || pool->is_kit) return until; /* pairs with start_threads */
    int64_t due = rni_schedule_first_due(pool->runtime);
    if (due != RNI_NEVER && (until < 0 || due < until)) {
        *trims = false;
        until = due;
    }
    return until;
}

/* Parked worker that finds the timekeeper's place empty. *seated: it comes back with a seat. */
static bool becomes_keeper(rni_worker *worker, bool *seated) {
    rni_pool *pool = worker->pool;
    uint32_t expected = 0;
    if (!rni_load_acquire(&pool->has_extra) || rni_load_relaxed(&pool->keeper)) return false; /* as above */
    if (!pool->is_kit && rni_schedule_first_due(pool->runtime) == RNI_NEVER) return false;
    if (!rni_cas_acq_rel(&pool->keeper, &expected, 1)) return false; /* pairs with the store in keeper.c */
    rni_parking_quit(&pool->parking);
    if (rni_pool_has_work(pool)) rni_parking_notify(&pool->parking);
    *seated = rni_keeper_keep(worker);
    return true;
}

/* A wake-up for a timer, where nobody keeps the time, is a seat too. */
static bool is_timer_due(rni_pool *pool) {
    return !rni_load_acquire(&pool->has_extra) && rni_schedule_first_due(pool->runtime) <= rni_os_now();
}

static void give_memory_back(rni_worker *worker) {
    rni_schedule_flush(worker->pool->runtime);
    flush_slabs(worker);
    rni_world_trim();
}

/* Parked worker: sleeps until it has a seat (true, searching) or the pool closes (false). */
static bool wait_for_seat(rni_worker *worker, uint32_t epoch) {
    rni_pool *pool = worker->pool;
    bool trims = false, seated = false;
    while (!rni_load_acquire(&pool->closing)) { /* pairs with close_pool */
        if (rni_post_has_some(worker)) {
            rni_parking_rise_anyway(&pool->parking, true);
            return true;
        }
        if (becomes_keeper(worker, &seated)) return seated;
        int64_t until = sleep_until(pool, &trims);
        rni_parking_sleep(&pool->parking, epoch, until);
        if (trims && rni_os_now() >= until && rni_parking_is_quiet(&pool->parking)) give_memory_back(worker);
        if (is_timer_due(pool)) rni_keeper_look(pool);
        uint32_t former = epoch;
        epoch = rni_parking_epoch(&pool->parking); /* before rise: see parking.h */
        if (epoch == former && !rni_parking_is_waking(&pool->parking)) continue;
        if (becomes_keeper(worker, &seated)) return seated;
        if (rni_parking_rise(&pool->parking)) return true;
    }
    return false;
}

/* Seated and searching: works until it has parked. Returns the epoch to sleep on, or true in *risen. */
static uint32_t work(rni_worker *worker, bool *risen) {
    rni_pool *pool = worker->pool;
    uint32_t epoch;
    *risen = false;
    for (;;) {
        rni_run *run = search(worker);
        if (!run) break;
        if (rni_parking_stop_search(&pool->parking) && rni_pool_has_work(pool)) rni_parking_notify(&pool->parking);
        for (; run; run = next_run(worker)) {
            execute(worker, run);
            if (rni_parking_give_up_surplus(&pool->parking, &epoch)) {
                tell_idle(worker);
                flush_slabs(worker);
                return epoch;
            }
        }
        tell_idle(worker); /* before it searches: until then no one counts on it */
        rni_parking_start_search(&pool->parking);
    }
    flush_slabs(worker);
    epoch = rni_parking_announce(&pool->parking);
    tell_parked(pool);
    if (pool->runtime->is_virtual) (void)rni_keeper_jump(pool); /* the last to park: no need to wake the timekeeper for it */
    *risen = rni_pool_has_work(pool) && rni_parking_rise(&pool->parking);
    if (pool->is_kit && !*risen) rni_pool_poke(pool);
    return epoch;
}

void *rni_worker_main(void *argument) {
    rni_worker *worker = argument;
    rni_pool *pool = worker->pool;
    char name[16];
    snprintf(name, sizeof name, "%.10s/%u", pool->runtime->name, worker->index);
    rni_os_thread_name(name);
    rni_thread_install(worker->thread);
    rni_parking_join(&pool->parking);
    uint32_t epoch = rni_parking_epoch(&pool->parking);
    bool seated = rni_parking_rise(&pool->parking);
    while (seated || wait_for_seat(worker, epoch)) epoch = work(worker, &seated);
    return NULL;
}
