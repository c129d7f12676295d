/*
 * Executor 1: threads. A pool is what a runtime has of it.
 *
 * A thread of the pool is a worker: parked, active, blocked (parking.h), or the timekeeper, of which
 * there is at most one. `seats` of them run tasks at a time. There are more threads than seats when
 * workers wait inside tasks (spares), and one more once there are timers, so that somebody can keep
 * the time while every seat is taken.
 *
 * The timekeeper sleeps until the first timer is due. If a seat is free then, it runs what is due
 * itself, in place of a further wake-up, and a parked worker becomes the timekeeper. If no thread
 * more could be had for it there is none: parked workers then sleep by the timers, and active ones
 * look at them between tasks.
 */
#ifndef RNI_THREAD_POOL_H
#define RNI_THREAD_POOL_H

#include "core/executor.h"
#include "core/lane.h"
#include "thread/deque.h"
#include "thread/overflow.h"
#include "thread/parking.h"
#include "thread/ready.h"

typedef struct rni_thread_lane {
    rni_lane base;
    rni_deque deque; /* a worker pops from its own, so thieves take one at a time; from others, many */
} rni_thread_lane;

typedef struct rni_worker {
    struct rni_pool *pool;
    uint32_t index;
    uint32_t turns;
    rni_os_thread os;
    rni_thread *thread;
    rni_thread_lane *lane;
    rni_lane *victim;   /* where it last found something to steal */
    uintptr_t frame;    /* where its stack stood when it began its task */
    rni_aptr mail;      /* timers of runs that end here, see post.c; written under rni_waits_lock */
    rni_run *waits_for; /* guarded by rni_waits_lock; see await.c */
    rn_call *call;      /* the innermost call, while it waits; guarded as waits_for */
    int64_t deadline;   /* of that wait; guarded as waits_for */
    rni_a32 *gone; /* its own: not 0 once nobody wants what it waits for any more; NULL: that cannot be */
} rni_worker;

typedef struct rni_pool {
    rni_parking parking;
    rn_runtime *runtime;
    rni_overflow overflow;
    rni_ready ready;        /* in place of deques and overflow, with a seed */
    bool is_kit;            /* a virtual clock, or a seed */
    rni_a32 closing;
    rni_a32 posted;         /* runs in the mail of all workers */
    rni_aptr starved_for;   /* with a virtual clock: the run that the last thread left waits for; see await.c */
    rni_a32 keeper;         /* 1: a worker is the timekeeper */
    rni_a32 keeper_word;    /* its futex: moves when it should look again */
    rni_mutex jump_lock;    /* held while the virtual clock moves; above outside, waits, timers, overflow and ready */
    rni_a32 has_extra;      /* a thread more than seats was started: there may be a timekeeper */
    uint32_t threads_max;   /* constant */
    rni_mutex lock;         /* guards what follows; above the world's lock */
    rni_a32 threads;        /* written under lock, read by anybody */
    rni_a32 blocked;        /* likewise: workers that wait inside tasks */
    rni_aptr *workers;      /* threads_max entries; written under lock, published by release */
} rni_pool;

extern const rni_executor rni_thread_executor;

static inline rni_pool *rni_pool_of(rn_runtime *runtime) { return runtime->pool; }

static inline uint32_t rni_pool_threads(rni_pool *pool) {
    return rni_load_seq_cst(&pool->threads); /* pairs with the add in rni_pool_start_thread */
}

/* pool.c: starts one more thread; the pool's lock is held. RN_OK; RN_NO_THREADS: bound, or refused; RN_NO_MEMORY. */
int rni_pool_start_thread(rni_pool *pool);
bool rni_pool_has_work(rni_pool *pool); /* seq_cst, see parking.h */
void rni_pool_poke(rni_pool *pool);

/* worker.c */
void *rni_worker_main(void *worker);
/* A worker of the runtime: a run that is ready, NULL if there is none; and back, as the next. False: the queue is full. */
rni_run *rni_pool_take(rn_runtime *runtime);
bool rni_pool_push_back(rn_runtime *runtime, rni_run *run);

/* keeper.c: keeps the time until it has a seat (true) or the pool closes (false). */
bool rni_keeper_keep(rni_worker *worker);
void rni_keeper_look(rni_pool *pool); /* an active worker in its place */
bool rni_keeper_jump(rni_pool *pool); /* moves a virtual clock on, if it is time */
bool rni_pool_is_idle(rni_pool *pool);

/* post.c: the final hooks of a run that was stopped while it waited, in the worker of its last iteration. */
bool rni_post(rni_pool *pool, rni_run *run);        /* false: there is no such worker, or it waits itself */
rni_run *rni_post_take(rni_worker *worker);         /* the worker itself; NULL: none */
rni_timer *rni_post_take_all(rni_worker *worker);   /* with rni_waits_lock held; linked by next */
static inline bool rni_post_has_some(rni_worker *worker) {
    return rni_load_seq_cst(&worker->mail) != NULL; /* Dekker with rni_post, which wakes after it has posted */
}

/* await.c */
bool rni_pool_is_in_timers(rni_pool *pool, rni_run *run); /* it is not due */
bool rni_pool_run_awaited(void *worker, rni_run *run);
int rni_pool_await(rni_run *run, int64_t timeout_ns, rn_value *error);
void rni_pool_rouse(rn_runtime *runtime, uint32_t index); /* the thread whose *gone was set: it may wait */
bool rni_pool_is_starved(rni_pool *pool);            /* every thread that could run tasks waits in one */
bool rni_pool_is_resuming(rni_pool *pool);           /* a blocked worker has what it waits for */
int64_t rni_pool_first_deadline(rni_pool *pool);     /* of blocked workers */
void rni_pool_completing(rn_runtime *runtime, rni_run *run);

#endif
