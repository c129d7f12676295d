/*
 * The timekeeper. By the machine's clock it sleeps until the first timer is due. With a virtual clock
 * it moves the clock itself, when nothing is left that could happen without; so does a worker that parks.
 */
#include "core/schedule.h"
#include "thread/pool.h"

static bool is_quiet(rni_pool *pool) {
    return rni_parking_is_quiet(&pool->parking) && !rni_pool_is_resuming(pool);
}

bool rni_pool_is_idle(rni_pool *pool) {
    /* Twice, with the queues in between: one that parks may still take what it sees there. */
    if (!is_quiet(pool)) return false;
    bool has_ready = pool->runtime->seed ? rni_load_seq_cst(&pool->ready.count) > 0 : rni_pool_has_work(pool);
    rni_run *starved_for = rni_load_seq_cst(&pool->starved_for); /* pairs with the swaps in await.c */
    if (starved_for) has_ready = !rni_pool_is_in_timers(pool, starved_for); /* one with ticks that is due is in none */
    else if (has_ready && rni_pool_is_starved(pool)) has_ready = false; /* nobody is left to take it */
    /* posted: pairs with rni_post */
    return !has_ready && !rni_load_seq_cst(&pool->posted) && is_quiet(pool);
}

static int64_t lesser(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t latest_of(const rni_timer *due) {
    int64_t latest = due->due;
    while ((due = due->next) != NULL)
        if (due->due > latest) latest = due->due;
    return latest;
}

/* Moves the virtual clock to the next moment at which something happens. False: there is none, or it is not time. */
static bool jump(rni_pool *pool) {
    rn_runtime *runtime = pool->runtime;
    rni_outside_view before = rni_outside_look(runtime);
    if (!before.all_wait || !rni_pool_is_idle(pool)) return false;
    /* Again: idle, the pool may just have given one what it waited for, who may even have gone on and come back. */
    rni_outside_view view = rni_outside_look(runtime);
    if (!view.all_wait || view.moves != before.moves) return false;
    int64_t now = rni_now(runtime), next;
    int64_t wait_over = lesser(view.first_deadline, rni_pool_first_deadline(pool));
    if (wait_over <= now) return false;
    rni_timer *due;
    do { /* the first times may only move timers down a level */
        next = rni_schedule_first_due(runtime);
        if (next >= RNI_LATEST) next = RNI_NEVER; /* the end of time is for waits only */
        next = lesser(next, wait_over);
        if (next == RNI_NEVER) return false;
        due = rni_schedule_take_due(runtime, next);
    } while (!due && next < wait_over);
    /* Due times are to the nanosecond, ticks are not: the clock shows what was asked for. */
    int64_t moment = due ? lesser(latest_of(due), next) : next;
    /* Before they are fired: an iteration never sees a clock before its due time. */
    if (moment > now) rni_store_release(&runtime->virtual_now, (uint64_t)moment); /* pairs with rni_now */
    rni_schedule_fire(runtime, due);
    return true;
}

bool rni_keeper_jump(rni_pool *pool) {
    rni_mutex_lock(&pool->jump_lock);
    bool has_jumped = jump(pool);
    rni_mutex_unlock(&pool->jump_lock);
    if (has_jumped) rni_outside_wake_due(pool->runtime);
    return has_jumped;
}

/* False: nothing was due. */
static bool fire(rni_pool *pool) {
    int64_t now = rni_now(pool->runtime);
    if (rni_schedule_first_due(pool->runtime) > now) return false;
    rni_timer *due = rni_schedule_take_due(pool->runtime, now);
    rni_schedule_fire(pool->runtime, due);
    return due != NULL;
}

void rni_keeper_look(rni_pool *pool) {
    if (fire(pool)) rni_parking_notify(&pool->parking);
}

static void sleep_until_due(rni_pool *pool, uint32_t word) {
    int64_t due = pool->runtime->is_virtual ? RNI_NEVER : rni_schedule_first_due(pool->runtime);
    rni_os_wait(&pool->keeper_word, word, due == RNI_NEVER ? -1 : due);
}

static void leave_place(rni_pool *pool) {
    rni_swap_seq_cst(&pool->keeper, 0); /* pairs with the CAS in becomes_keeper; Dekker with timers_changed */
    rni_parking_nudge(&pool->parking);
}

/* What fired is run by the timekeeper itself, if there is a seat for it and a successor. */
static bool takes_a_seat(rni_pool *pool) {
    if (pool->is_kit || !rni_parking_sit(&pool->parking)) {
        rni_parking_notify(&pool->parking);
        return false;
    }
    leave_place(pool);
    return true;
}

bool rni_keeper_keep(rni_worker *worker) {
    rni_pool *pool = worker->pool;
    for (;;) {
        /* First the word, then all that a poke may be about: what changes after is not slept through. */
        uint32_t word = rni_load_acquire(&pool->keeper_word); /* pairs with rni_pool_poke */
        if (rni_load_acquire(&pool->closing)) return false;   /* pairs with close_pool */
        if (fire(pool) && takes_a_seat(pool)) return true;
        if (rni_post_has_some(worker)) {
            rni_parking_rise_anyway(&pool->parking, false);
            leave_place(pool);
            return true;
        }
        if (pool->is_kit) {
            rni_outside_wake_due(pool->runtime);
            if (pool->runtime->is_virtual && rni_keeper_jump(pool)) {
                rni_parking_notify(&pool->parking);
                continue;
            }
            if (rni_pool_has_work(pool)) rni_parking_notify(&pool->parking); /* it may begin only while all outside wait */
        }
        sleep_until_due(pool, word);
    }
}
