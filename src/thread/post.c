/*
 * The post. A run that is stopped while it waits for its next tick has only its final hooks left, and
 * those belong to the thread that ran its last iteration. So it goes to that worker's mail, which a
 * worker looks at before anything else; one that is parked, or keeps the time, gets up for it even if
 * no seat is free. A worker that waits inside a task takes no mail: what is in it then, and what comes
 * later, any worker may do, since the wait might be for that very run.
 */
#include "core/world.h"
#include "thread/pool.h"

static rni_worker *addressee(rni_pool *pool, rni_run *run) {
    const rni_executor *executor = pool->runtime->executor;
    const rni_plan *plan = rni_run_plan(run);
    if (!plan) return NULL; /* it has not begun */
    uint32_t number = executor->home ? executor->home(pool->runtime, plan) : plan->last_worker; /* LCOV_EXCL_BR_LINE: as in turns */
    if (number == 0 || number > pool->threads_max) return NULL;
    return rni_load_acquire(&pool->workers[number - 1]); /* pairs with rni_pool_start_thread */
}

bool rni_post(rni_pool *pool, rni_run *run) {
    rni_worker *worker = addressee(pool, run);
    rni_timer *timer = rni_run_timer(run);
    if (!worker) return false;
    rni_mutex_lock(&rni_waits_lock);
    bool takes_mail = !worker->waits_for;
    if (takes_mail) {
        timer->next = rni_load_relaxed(&worker->mail);
        rni_add_seq_cst(&pool->posted, 1);        /* pairs with rni_pool_is_idle */
        rni_swap_seq_cst(&worker->mail, (void *)timer); /* pairs with rni_post_has_some */
    }
    rni_mutex_unlock(&rni_waits_lock);
    if (!takes_mail) return false;
    rni_parking_wake_all(&pool->parking);
    rni_pool_poke(pool);
    return true;
}

rni_timer *rni_post_take_all(rni_worker *worker) {
    return rni_swap_seq_cst(&worker->mail, NULL); /* as in rni_post */
}

rni_run *rni_post_take(rni_worker *worker) {
    if (!rni_load_relaxed(&worker->mail)) return NULL;
    rni_mutex_lock(&rni_waits_lock);
    rni_timer *timer = rni_load_relaxed(&worker->mail);
    if (timer) {
        rni_swap_seq_cst(&worker->mail, (void *)timer->next); /* as in rni_post */
        rni_add_seq_cst(&worker->pool->posted, UINT32_MAX); /* as in rni_post */
    }
    rni_mutex_unlock(&rni_waits_lock);
    return timer ? timer->run : NULL;
}
