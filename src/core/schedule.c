#include "core/schedule.h"

#include "core/executor.h"
#include "value/value.h"

void rni_schedule_next(rni_plan *plan, int64_t now) {
    int64_t due = plan->timer.due;
    int64_t next = rni_later(due, plan->every);
    if (next <= now) { /* due while the iteration ran, or it began late */
        int64_t passed = (now - due) / plan->every;
        plan->missed += (uint64_t)passed;
        next = rni_later(due + passed * plan->every, plan->every);
    }
    plan->timer.due = next;
}

int64_t rni_schedule_first_due(rn_runtime *runtime) {
    return (int64_t)rni_load_seq_cst(&runtime->timers->first_due); /* pairs with the swap in note_first */
}

int64_t rni_schedule_first_due_with(rn_runtime *runtime, rni_run *run) {
    int64_t due = RNI_NEVER;
    rni_mutex_lock(&runtime->timers->lock);
    const rni_timer *timer = rni_run_timer(run);
    if (timer && timer->link) due = (int64_t)rni_load_relaxed(&runtime->timers->first_due);
    rni_mutex_unlock(&runtime->timers->lock);
    return due;
}

static bool may_wait(rn_runtime *runtime, rni_run *run) {
    enum rni_phase phase = rni_phase(runtime);
    if (phase != RNI_DRAINING) return phase == RNI_OPEN;
    const rni_plan *plan = rni_run_plan(run);
    return !plan || plan->times != RN_ENDLESS;
}

/* Under the lock. True if it became the first due. */
static bool add(rn_runtime *runtime, rni_run *run, rni_timer *timer) {
    rni_plan *plan = rni_run_plan(run);
    if (plan) rni_store_relaxed(&plan->next_start, (uint64_t)timer->due);
    return rni_timers_add(runtime->timers, timer);
}

bool rni_schedule_suspend(rn_runtime *runtime, rni_run *run) {
    bool is_first = false;
    rni_mutex_lock(&runtime->timers->lock);
    /* Both under the lock: one who asks it to stop sees it running, or finds it in the timers. */
    bool waits = may_wait(runtime, run) && rni_completion_suspend(&run->done) == RNI_YES;
    if (waits) is_first = add(runtime, run, rni_run_timer(run));
    rni_mutex_unlock(&runtime->timers->lock);
    if (is_first) runtime->executor->timers_changed(runtime);
    return waits;
}

void rni_schedule_start(rn_runtime *runtime, rni_run *run) {
    rni_mutex_lock(&runtime->timers->lock);
    bool waits = may_wait(runtime, run);
    bool is_first = waits && add(runtime, run, rni_run_timer(run));
    rni_mutex_unlock(&runtime->timers->lock);
    if (is_first) runtime->executor->timers_changed(runtime);
    if (!waits && rni_run_cancel(run, rni_error_cancelled())) rni_run_unqueue(run);
}

/* Those that the timers have let go. */
static void unqueue_all(rni_timer *left) {
    for (rni_timer *next; left; left = next) {
        next = left->next;
        rni_run_unqueue(left->run);
    }
}

void rni_schedule_leave(rn_runtime *runtime, rni_run *run) {
    rni_timer *timer = rni_run_timer(run);
    if (!timer) return;
    rni_slab_expect(run, RNI_CLASS_RUN);
    rni_mutex_lock(&runtime->timers->lock);
    rni_timer *left = rni_timers_leave(runtime->timers, timer);
    rni_mutex_unlock(&runtime->timers->lock);
    if (left) rni_run_unqueue(left->run);
}

void rni_schedule_flush(rn_runtime *runtime) {
    rni_mutex_lock(&runtime->timers->lock);
    rni_timer *left = rni_timers_flush(runtime->timers);
    rni_mutex_unlock(&runtime->timers->lock);
    unqueue_all(left);
}

bool rni_schedule_remove(rn_runtime *runtime, rni_run *run) {
    rni_timer *timer = rni_run_timer(run);
    if (!timer) return false;
    rni_mutex_lock(&runtime->timers->lock);
    bool was_in = rni_timers_remove(runtime->timers, timer);
    rni_mutex_unlock(&runtime->timers->lock);
    return was_in;
}

rni_timer *rni_schedule_take_due(rn_runtime *runtime, int64_t now) {
    rni_mutex_lock(&runtime->timers->lock);
    rni_timer *left = rni_timers_flush(runtime->timers);
    rni_timer *due = rni_timers_advance(runtime->timers, now);
    rni_mutex_unlock(&runtime->timers->lock);
    unqueue_all(left);
    return due;
}

void rni_schedule_fire(rn_runtime *runtime, rni_timer *due) {
    for (rni_timer *next; due; due = next) {
        next = due->next;
        const rni_plan *plan = rni_run_plan(due->run);
        if (!plan || plan->every == 0) rni_completion_make_claimable(&due->run->done);
        runtime->executor->requeue(runtime, due->run);
    }
}

static bool must_end(const rni_timer *timer, void *runtime) { return !may_wait(runtime, timer->run); }

static void end_waiting(rn_runtime *runtime, rni_run *run) {
    (void)rni_completion_stop(&run->done);
    if (rni_run_cancel(run, rni_error_cancelled())) rni_run_unqueue(run); /* it was ours, not the timers' */
    else rni_resubmit(runtime, run);
}

void rni_schedule_close(rn_runtime *runtime) {
    rni_mutex_lock(&runtime->timers->lock);
    rni_timer *left = rni_timers_flush(runtime->timers);
    /* All at once: one that moved down a level meanwhile would be passed over. Later ones see the phase. */
    rni_timer *ended = rni_timers_take(runtime->timers, must_end, runtime);
    rni_mutex_unlock(&runtime->timers->lock);
    unqueue_all(left);
    for (rni_timer *next; ended; ended = next) {
        next = ended->next;
        end_waiting(runtime, ended->run);
    }
}
