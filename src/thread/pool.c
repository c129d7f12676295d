#include "thread/pool.h"

#include <string.h>

#include "base/memory.h"
#include "value/value.h"

static void lane_init(rni_lane *lane) { rni_deque_init(&((rni_thread_lane *)lane)->deque, 0); }

bool rni_pool_has_work(rni_pool *pool) {
    if (pool->runtime->seed)
        return rni_load_seq_cst(&pool->ready.count) > 0 && rni_outside_may_run(pool->runtime); /* pairs with push */
    if (rni_overflow_has_some(&pool->overflow)) return true;
    for (rni_lane *lane = rni_lanes(pool->runtime); lane; lane = lane->next_of_runtime)
        if (rni_deque_count(&((rni_thread_lane *)lane)->deque) > 0) return true;
    return false;
}

/* ---- starting threads ---- */

static void free_worker(rni_worker *worker) {
    if (worker->thread) rni_thread_give_back(worker->thread);
    rni_free(worker);
}

static rni_worker *new_worker(rni_pool *pool) {
    rni_worker *worker = rni_alloc_zeroed(sizeof *worker);
    if (!worker) return NULL;
    worker->pool = pool;
    worker->index = rni_pool_threads(pool);
    worker->deadline = -1;
    worker->thread = rni_thread_new();
    rni_lane *lane = worker->thread ? rni_lane_make(pool->runtime, rni_load_relaxed(&pool->runtime->serial), worker->thread, true) : NULL;
    if (!lane) {
        free_worker(worker);
        return NULL;
    }
    worker->lane = (rni_thread_lane *)lane;
    worker->thread->worker = worker;
    worker->thread->worker_number = worker->index + 1;
    worker->thread->worker_of = pool->runtime;
    return worker;
}

int rni_pool_start_thread(rni_pool *pool) {
    if (rni_pool_threads(pool) == pool->threads_max || rni_load_relaxed(&pool->closing)) return RN_NO_THREADS;
    rni_worker *worker = new_worker(pool);
    if (!worker) return RN_NO_MEMORY;
    rni_store_release(&pool->workers[worker->index], worker); /* pairs with the acquire loads in await.c */
    int code = rni_os_thread_start(&worker->os, rni_worker_main, worker);
    if (code == RN_OK) {
        rni_add_seq_cst(&pool->threads, 1); /* pairs with the loads of those without the lock */
    } else {
        rni_mutex_lock(&rni_waits_lock); /* nobody looks at it any more, see await.c */
        rni_store_relaxed(&pool->workers[worker->index], NULL);
        rni_mutex_unlock(&rni_waits_lock);
        free_worker(worker);
    }
    return code;
}

/* ---- opening and closing ---- */

static rni_pool *new_pool(rn_runtime *runtime, uint32_t seats, uint32_t spares) {
    rni_pool *pool = rni_alloc_lines(sizeof *pool);
    if (!pool) return NULL;
    pool->threads_max = seats + spares + 1;
    pool->workers = rni_alloc_zeroed(pool->threads_max * sizeof *pool->workers);
    if (!pool->workers) {
        rni_free(pool);
        return NULL;
    }
    pool->runtime = runtime;
    pool->is_kit = runtime->is_virtual || runtime->seed;
    rni_parking_init(&pool->parking, seats, 0);
    rni_overflow_init(&pool->overflow);
    rni_ready_init(&pool->ready, runtime->seed);
    return pool;
}

/* As many of the wanted threads as the system gives. Returns why it gave no more, or RN_OK. */
static int start_threads(rni_pool *pool, uint32_t wanted) {
    int refusal = RN_OK;
    rni_mutex_lock(&pool->lock);
    for (uint32_t i = 0; i < wanted; i++) {
        int code = rni_pool_start_thread(pool);
        if (code != RN_OK) refusal = code;
    }
    if (rni_pool_threads(pool) > pool->parking.seats) rni_store_release(&pool->has_extra, 1); /* pairs with worker.c */
    rni_mutex_unlock(&pool->lock);
    return refusal;
}

static void close_pool(rn_runtime *runtime);

static rn_value open_pool(rn_runtime *runtime, const rn_options *options) {
    uint32_t asked = options->workers ? options->workers : rni_os_cpu_count();
    if (asked > RN_WORKERS_MAX) asked = RN_WORKERS_MAX;
    uint32_t seats = runtime->seed ? 1 : asked;
    rni_pool *pool = new_pool(runtime, seats, options->spare_workers ? options->spare_workers : RN_SPARES_DEFAULT);
    if (!pool) return rni_error_no_memory();
    runtime->pool = pool;
    runtime->workers_asked = asked;
    uint32_t wanted = seats + (pool->is_kit ? 1 : 0);
    int refusal = start_threads(pool, wanted);
    uint32_t got = rni_pool_threads(pool);
    if (got == wanted) return rn_none();
    if (got > 0 && !pool->is_kit) {
        rni_log(runtime, RN_LOG_WARNING, "%u of %u worker threads could be started; the system refused the rest", got, asked);
        return rn_none();
    }
    if (got == 0 && !pool->is_kit && options->when_full == RN_CALLER_RUNS) {
        runtime->is_threadless = true;
        rni_log(runtime, RN_LOG_WARNING, "no worker thread could be started; tasks run in the thread that starts them");
        return rn_none();
    }
    close_pool(runtime);
    return rn_error(refusal, "%u of %u threads could be started; the system refused %s for the rest", got, wanted,
                    refusal == RN_NO_MEMORY ? "the memory" : "threads");
}

/* All are joined before any is freed: a worker may look at the others until it ends. */
static void join_threads(rni_pool *pool) {
    for (uint32_t i = 0; i < rni_pool_threads(pool); i++) {
        rni_worker *worker = rni_load_acquire(&pool->workers[i]); /* pairs with rni_pool_start_thread */
        rni_os_thread_join(worker->os);
    }
}

static void free_workers(rni_pool *pool) {
    for (uint32_t i = 0; i < rni_pool_threads(pool); i++) rni_free(rni_load_relaxed(&pool->workers[i]));
}

/* What is still queued is over: claimed, or cancelled. */
static void drop_queued(rni_pool *pool) {
    void *runs[RNI_BLOCK_RUNS];
    size_t count;
    bool contended;
    while ((count = rni_overflow_take(&pool->overflow, runs)) > 0)
        for (size_t i = 0; i < count; i++) rni_run_unqueue(runs[i]);
    for (rni_lane *lane = rni_lanes(pool->runtime); lane; lane = lane->next_of_runtime)
        while ((count = rni_deque_take(&((rni_thread_lane *)lane)->deque, runs, RNI_BLOCK_RUNS, &contended)) > 0)
            for (size_t i = 0; i < count; i++) rni_run_unqueue(runs[i]);
    for (rni_run *run; (run = rni_ready_take(&pool->ready)) != NULL;) rni_run_unqueue(run);
}

static void close_pool(rn_runtime *runtime) {
    rni_pool *pool = rni_pool_of(runtime);
    rni_mutex_lock(&pool->lock);
    rni_store_release(&pool->closing, 1); /* pairs with the loads in worker.c and keeper.c */
    rni_mutex_unlock(&pool->lock);
    rni_pool_poke(pool);
    rni_parking_wake_all(&pool->parking);
    join_threads(pool);
    rni_world_lock();                /* rn_get_stats() may be looking at the pool, */
    rni_mutex_lock(&rni_waits_lock); /* a wait of another runtime at our workers */
    runtime->pool = NULL;
    rni_mutex_unlock(&rni_waits_lock);
    rni_world_unlock();
    free_workers(pool);
    drop_queued(pool);
    rni_overflow_destroy(&pool->overflow);
    rni_ready_destroy(&pool->ready);
    rni_free(pool->workers);
    rni_free(pool);
}

/* ---- submitting ---- */

/* Moves the older half of a full deque to the overflow, and puts the run in its place. */
static bool spill(rni_pool *pool, rni_deque *deque, void *run) {
    void *half[RNI_BLOCK_RUNS];
    bool contended;
    size_t count = rni_deque_take(deque, half, RNI_BLOCK_RUNS, &contended);
    if (count > 0 && !rni_overflow_push(&pool->overflow, half, count)) {
        /* There is room for them again, since nobody else adds to this deque. */
        RNI_ASSERT(rni_deque_push(deque, half, count));
        return false;
    }
    return rni_deque_push(deque, &run, 1);
}

static int submit(rn_runtime *runtime, rni_lane *lane, rni_run *run) {
    rni_pool *pool = rni_pool_of(runtime);
    void *item = run;
    if (runtime->is_threadless) {
        rni_run_execute(runtime, run);
        return RN_OK;
    }
    if (runtime->seed) {
        rni_ready_push(&pool->ready, run);
    } else {
        rni_deque *deque = &((rni_thread_lane *)lane)->deque;
        while (!rni_deque_push(deque, &item, 1)) {
            if (spill(pool, deque, run)) break;
            if (rni_deque_count(deque) == RNI_DEQUE_SIZE) return RN_NO_MEMORY;
        }
    }
    rni_parking_notify(&pool->parking);
    return RN_OK;
}

static bool reserve(rn_runtime *runtime) {
    return !runtime->seed || rni_ready_reserve(&rni_pool_of(runtime)->ready, (size_t)rni_pending_count(runtime));
}

static void requeue(rn_runtime *runtime, rni_run *run) {
    rni_pool *pool = rni_pool_of(runtime);
    bool has_ended = rni_load_relaxed(&run->done.word) & RNI_STOP;
    if (has_ended && rni_post(pool, run)) return;
    if (runtime->seed) rni_ready_push(&pool->ready, run);
    else rni_overflow_push_due(&pool->overflow, run);
}

static void wake(rn_runtime *runtime) { rni_parking_notify(&rni_pool_of(runtime)->parking); }

/* ---- the rest of the table ---- */

void rni_pool_poke(rni_pool *pool) {
    rni_add_seq_cst(&pool->keeper_word, 1); /* pairs with the load in keeper.c */
    rni_os_wake(&pool->keeper_word, 1);
}

static void poke(rn_runtime *runtime) {
    rni_pool *pool = rni_pool_of(runtime);
    if (pool->is_kit) rni_pool_poke(pool);
}

static void timers_changed(rn_runtime *runtime) {
    rni_pool *pool = rni_pool_of(runtime);
    if (!rni_load_acquire(&pool->has_extra)) { /* pairs with start_threads */
        rni_mutex_lock(&pool->lock);
        if (!rni_load_relaxed(&pool->has_extra) && rni_pool_start_thread(pool) == RN_OK)
            rni_store_release(&pool->has_extra, 1);
        bool is_alone = !rni_load_relaxed(&pool->has_extra);
        rni_mutex_unlock(&pool->lock);
        if (is_alone) rni_parking_wake_all(&pool->parking); /* parked workers sleep by the timers */
    }
    /* Virtual time moves when a worker parks; this one will. */
    rni_worker *self = rni_self ? rni_self->worker : NULL;
    if (pool->runtime->is_virtual && self && self->pool == pool) return;
    rni_pool_poke(pool);
    /* Dekker with takes_a_seat: the one who leaves the place lets a successor look, or we do. */
    if (!rni_load_seq_cst(&pool->keeper)) rni_parking_nudge(&pool->parking);
}

static bool is_idle(rn_runtime *runtime) { return rni_pool_is_idle(rni_pool_of(runtime)); }

static void stats(rn_runtime *runtime, rn_stats *stats) {
    rni_pool *pool = rni_pool_of(runtime);
    uint32_t threads = rni_pool_threads(pool);
    stats->workers = threads < pool->parking.seats ? threads : pool->parking.seats;
    stats->spares = threads - stats->workers;
}

const rni_executor rni_thread_executor = {
    .name = "RN_THREADS",
    .lane_bytes = sizeof(rni_thread_lane),
    .lane_init = lane_init,
    .open = open_pool,
    .reserve = reserve,
    .submit = submit,
    .requeue = requeue,
    .wake = wake,
    .timers_changed = timers_changed,
    .poke = poke,
    .run_awaited = rni_pool_run_awaited,
    .await = rni_pool_await,
    .completing = rni_pool_completing,
    .close = close_pool,
    .is_idle = is_idle,
    .stats = stats,
};
