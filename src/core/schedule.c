#include "core/schedule.h"

#include "core/executor.h"
#include "value/value.h"

void rni_schedule_next(rni_plan *plan, int64_t now) {
    int64_t next = rni_later(plan->due, plan->every);
    if (next <= now) { /* due while the iteration ran, or it began late */
        int64_t passed = (now - plan->due) / plan->every;
        plan->missed += (uint64_t)passed;
        next = rni_later(plan->due + passed * plan->every, plan->every);
    }
    plan->due = next;
}

int64_t rni_schedule_first_due(rn_runtime *runtime) {
    return (int64_t)rni_load_seq_cst(&runtime->timers->first_due); /* pairs with the swap in note_first */
}

static bool may_wait(rn_runtime *runtime, const rni_plan *plan) {
    enum rni_phase phase = rni_phase(runtime);
    return phase == RNI_OPEN || (phase == RNI_DRAINING && plan->times != RN_ENDLESS);
}

bool rni_schedule_suspend(rn_runtime *runtime, rni_run *run) {
    rni_plan *plan = rni_run_plan(run);
    bool is_first = false;
    rni_mutex_lock(&runtime->timers->lock);
    /* Both under the lock: one who asks it to stop sees it running, or finds it in the timers. */
    bool waits = may_wait(runtime, plan) && rni_completion_suspend(&run->done) == RNI_YES;
    if (waits) is_first = rni_timers_add(runtime->timers, plan);
    rni_mutex_unlock(&runtime->timers->lock);
    if (is_first) runtime->executor->timers_changed(runtime);
    return waits;
}

void rni_schedule_start(rn_runtime *runtime, rni_run *run) {
    rni_plan *plan = rni_run_plan(run);
    rni_mutex_lock(&runtime->timers->lock);
    bool waits = may_wait(runtime, plan);
    bool is_first = waits && rni_timers_add(runtime->timers, plan);
    rni_mutex_unlock(&runtime->timers->lock);
    if (is_first) runtime->executor->timers_changed(runtime);
    if (!waits && rni_run_cancel(run, rni_error_cancelled())) rni_run_unqueue(run);
}

bool rni_schedule_remove(rn_runtime *runtime, rni_run *run) {
    rni_plan *plan = rni_run_plan(run);
    if (!plan) return false;
    rni_mutex_lock(&runtime->timers->lock);
    bool was_in = rni_timers_remove(runtime->timers, plan);
    rni_mutex_unlock(&runtime->timers->lock);
    return was_in;
}

rni_plan *rni_schedule_take_due(rn_runtime *runtime, int64_t now) {
    rni_mutex_lock(&runtime->timers->lock);
    rni_plan *due = rni_timers_advance(runtime->timers, now);
    rni_mutex_unlock(&runtime->timers->lock);
    return due;
}

void rni_schedule_fire(rn_runtime *runtime, rni_plan *due) {
    for (rni_plan *next; due; due = next) {
        next = due->next;
        if (due->every == 0) rni_completion_make_claimable(&due->run->done);
        runtime->executor->requeue(runtime, due->run);
    }
}

/* Takes one plan out, if it must not go on waiting. */
static rni_plan *take_one(rn_runtime *runtime, uint32_t *position) {
    rni_plan *plan;
    while ((plan = rni_timers_visit(runtime->timers, position)) != NULL) {
        while (plan && may_wait(runtime, plan)) plan = plan->next;
        if (plan) {
            rni_timers_remove(runtime->timers, plan);
            return plan;
        }
        (*position)++;
    }
    return NULL;
}

static void end_waiting(rn_runtime *runtime, rni_run *run) {
    (void)rni_completion_stop(&run->done);
    if (rni_run_cancel(run, rni_error_cancelled())) rni_run_unqueue(run); /* it was ours, not the timers' */
    else rni_resubmit(runtime, run);
}

void rni_schedule_close(rn_runtime *runtime) {
    uint32_t position = 0;
    for (rni_plan *plan;;) {
        rni_mutex_lock(&runtime->timers->lock);
        plan = take_one(runtime, &position);
        rni_mutex_unlock(&runtime->timers->lock);
        if (!plan) return;
        end_waiting(runtime, plan->run);
    }
}
