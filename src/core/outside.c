/*
 * Waits of threads that are not workers. By the machine's clock they are a sleep on the run's word.
 * With a test kit the runtime must know of them: its clock and its tasks move only while some wait,
 * and none of them has what it waits for; so each is on a list while it waits, and a time-out is
 * found by whoever moves the clock.
 */
#include "core/executor.h"
#include "core/outside.h"
#include "core/run.h"
#include "core/schedule.h"
#include "core/world.h"

static bool is_over(rni_run *run) {
    return rni_is_over(rni_load_acquire(&run->done.word)); /* pairs with complete */
}

static int wait_by_machine(rni_run *run, int64_t timeout_ns) {
    if (timeout_ns > RN_DURATION_MAX) timeout_ns = RN_DURATION_MAX;
    int64_t deadline = timeout_ns < 0 ? -1 : rni_os_now() + timeout_ns;
    while (!is_over(run)) {
        if (deadline >= 0 && rni_os_now() >= deadline) return RN_TIMED_OUT;
        rni_completion_sleep(&run->done, deadline);
    }
    return RN_OK;
}

static void enlist(rn_runtime *runtime, rni_outside *outside) {
    rni_mutex_lock(&runtime->outside_lock);
    runtime->outside_moves++;
    outside->next = runtime->outside;
    runtime->outside = outside;
    rni_mutex_unlock(&runtime->outside_lock);
}

void rni_outside_enter(rn_runtime *runtime, rni_outside *outside) {
    enlist(runtime, outside);
    runtime->executor->poke(runtime);
}

void rni_outside_leave(rn_runtime *runtime, rni_outside *outside) {
    rni_mutex_lock(&runtime->outside_lock);
    rni_outside **link = &runtime->outside;
    while (*link != outside) link = &(*link)->next;
    *link = outside->next;
    runtime->outside_moves++;
    /* The others may be all that is left, and all waiting. With the lock: without us a close may not wait for this. */
    if (runtime->outside) runtime->executor->poke(runtime);
    rni_mutex_unlock(&runtime->outside_lock);
}

static bool is_due(rn_runtime *runtime, int64_t deadline) { return deadline >= 0 && rni_now(runtime) >= deadline; }

static bool has_what_it_waits_for(rn_runtime *runtime, const rni_outside *outside) {
    if (outside->run) return is_over(outside->run) || is_due(runtime, outside->deadline);
    return is_due(runtime, outside->deadline) || rni_load_acquire(&outside->word) != 0; /* pairs with wake_due */
}

/* Whoever waits for idleness keeps the clock still. */
static int64_t stays_until(rn_runtime *runtime, const rni_outside *outside) {
    if (outside->is_settle) return rni_now(runtime);
    return outside->deadline >= 0 ? outside->deadline : RNI_NEVER;
}

rni_outside_view rni_outside_look(rn_runtime *runtime) {
    rni_mutex_lock(&runtime->outside_lock);
    rni_outside_view view = {runtime->outside != NULL, runtime->outside_moves, RNI_NEVER};
    for (rni_outside *outside = runtime->outside; outside; outside = outside->next) {
        int64_t until = stays_until(runtime, outside);
        if (until < view.first_deadline) view.first_deadline = until;
        if (has_what_it_waits_for(runtime, outside)) view.all_wait = false;
    }
    rni_mutex_unlock(&runtime->outside_lock);
    return view;
}

bool rni_outside_may_run(rn_runtime *runtime) { return rni_outside_look(runtime).all_wait; }

void rni_outside_wake_due(rn_runtime *runtime) {
    rni_mutex_lock(&runtime->outside_lock);
    for (rni_outside *outside = runtime->outside; outside; outside = outside->next) {
        bool idle = outside->is_settle && runtime->executor->is_idle(runtime);
        if (!idle && !is_due(runtime, outside->deadline)) continue;
        if (outside->run) {
            rni_os_wake(&outside->run->done.word, INT32_MAX);
        } else {
            rni_store_release(&outside->word, 1); /* pairs with has_what_it_waits_for and wait_here */
            rni_os_wake(&outside->word, INT32_MAX);
        }
    }
    rni_mutex_unlock(&runtime->outside_lock);
}

static bool end_waits(rn_runtime *runtime) {
    rni_mutex_lock(&runtime->outside_lock);
    bool is_empty = !runtime->outside;
    for (rni_outside *outside = runtime->outside; outside; outside = outside->next) {
        rni_store_release(&outside->word, 1); /* as in rni_outside_wake_due */
        rni_os_wake(&outside->word, INT32_MAX);
    }
    rni_mutex_unlock(&runtime->outside_lock);
    return is_empty;
}

void rni_outside_close(rn_runtime *runtime) {
    while (!end_waits(runtime)) rni_os_yield();
}

/* On the list already. */
static int wait_by_kit(rn_runtime *runtime, rni_run *run, rni_outside *outside) {
    runtime->executor->poke(runtime);
    while (!has_what_it_waits_for(runtime, outside)) {
        /* A time-out is no change of the word: look again now and then, in case its wake came before the sleep. */
        rni_completion_sleep(&run->done, outside->deadline < 0 ? -1 : rni_os_now() + RN_MILLISECONDS(2));
    }
    rni_outside_leave(runtime, outside);
    return is_over(run) ? RN_OK : RN_TIMED_OUT;
}

int rni_outside_wait(rni_run *run, int64_t timeout_ns) {
    rni_outside outside = {.run = run, .deadline = -1};
    if (!(rni_run_flags(run) & RNI_KIT)) return wait_by_machine(run, timeout_ns);
    /* While the run is pending its runtime cannot close; once we are on its list, that waits for us. */
    rni_world_lock();
    rn_runtime *runtime = rni_world_runtime(rni_run_runtime(run));
    bool by_kit = runtime && !is_over(run);
    if (by_kit) {
        outside.deadline = rni_deadline(runtime, timeout_ns);
        enlist(runtime, &outside);
    }
    rni_world_unlock();
    return by_kit ? wait_by_kit(runtime, run, &outside) : wait_by_machine(run, timeout_ns);
}

int rni_outside_wait_here(rn_runtime *runtime, uint64_t serial, rni_outside *outside) {
    rni_world_lock(); /* once we are on the list, a close waits for us */
    bool is_open = rni_load_relaxed(&runtime->serial) == serial && runtime->pool;
    if (is_open) enlist(runtime, outside);
    rni_world_unlock();
    if (!is_open) return RN_CLOSED;
    /* Dekker with the worker that parks: it sees us, or we see that it is idle. */
    rni_add_seq_cst(&runtime->settlers, 1);
    runtime->executor->poke(runtime);
    rni_outside_wake_due(runtime);
    while (rni_load_acquire(&outside->word) == 0) rni_os_wait(&outside->word, 0, -1); /* pairs with wake_due */
    rni_add_seq_cst(&runtime->settlers, UINT32_MAX); /* as above */
    rni_outside_leave(runtime, outside);             /* last: a close may only wait for this */
    return RN_OK;
}
