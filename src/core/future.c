#include <string.h>

#include "base/memory.h"
#include "core/executor.h"
#include "core/handle.h"
#include "core/remote.h"
#include "core/schedule.h"
#include "core/world.h"
#include "value/value.h"

/* How often an outside wait looks before it sleeps: about as long as a short task on another core. */
#define SPINS 200

static bool is_over(rni_run *run) {
    return rni_is_over(rni_load_acquire(&run->done.word)); /* pairs with complete: the value is there */
}

/* A thread that is no worker, or not in a task. */
static __attribute__((noinline)) int await_outside(rni_run *run, int64_t timeout_ns, rn_value *error) {
    rni_thread *self = rni_self;
    if (self && rni_is_on_stack(self->call, run)) { /* a task that runs in its caller's thread waits for itself */
        *error = rn_error(RN_DEADLOCK, "deadlock: '%s' waits for itself", rn_name(self->call));
        return RN_DEADLOCK;
    }
    if (!rni_world_runtime(rni_run_runtime(run))) return RN_OK; /* over, in the meantime */
    for (int i = 0; i < SPINS && timeout_ns != 0; i++) {
        if (is_over(run)) return RN_OK;
        rni_pause();
    }
    return rni_outside_wait(run, timeout_ns);
}

/* What nearly every wait without a time-out comes to: it is over, or it is run here. False: it has to be waited for. */
static inline bool is_over_here(rni_run *run) {
    /* Who waits for many runs waits for them in the order in which they were made, most often: the line of one of the
     * next comes here from the core that ran it while this one is dealt with. */
    __builtin_prefetch((const char *)run + (size_t)RNI_AHEAD * RNI_RUN_STRIDE, 1);
    if (is_over(run)) return true;
    rni_thread *self = rni_self;
    if (!self || !self->worker || !self->call || rni_is_remote(run)) return false; /* LCOV_EXCL_BR_LINE: of worker processes */
    return self->call->runtime->executor->run_awaited(self->worker, run); /* that runtime is open as long as this call */
}

int rni_await(rni_run *run, int64_t timeout_ns, rn_value *error) {
    if (is_over(run)) return RN_OK;
    if (rni_is_remote(run)) return rni_host->wait(run, timeout_ns, error); /* LCOV_EXCL_BR_LINE: of worker processes */
    rni_thread *self = rni_self;
    if (!self || !self->worker || !self->call) return await_outside(run, timeout_ns, error);
    rn_runtime *mine = self->call->runtime; /* open as long as this call */
    return mine->executor->await(run, timeout_ns, error);
}

/* An error of a wait lives as long as the call that waited. */
static rn_value kept_by_call(rn_value error) {
    rn_call *call = rni_self->call;
    rn_drop(call->wait_error);
    call->wait_error = error;
    return error;
}

static __attribute__((noinline)) rn_value result(rni_run *run, int64_t timeout_ns) {
    rn_value error;
    if (!run) return rni_error_forked();
    switch (rni_await(run, timeout_ns, &error)) {
    case RN_OK: return run->done.value;
    case RN_DEADLOCK: return kept_by_call(error);
    default: return rni_error_timed_out();
    }
}

rn_value rn_result(rn_future *future) {
    rni_run *run = rni_future_run(future, "rn_result");
    return run && is_over_here(run) ? run->done.value : result(run, -1);
}

rn_value rn_result_within(rn_future *future, int64_t timeout_ns) {
    return result(rni_future_run(future, "rn_result_within"), timeout_ns);
}

int rn_wait(rn_future *future, int64_t timeout_ns) {
    rni_run *run = rni_future_run(future, "rn_wait");
    if (!run) return RN_FORKED;
    rn_value error;
    int code = rni_await(run, timeout_ns, &error);
    if (code == RN_DEADLOCK) rn_drop(error);
    return code;
}

static double refresh(rni_run *run) { return rni_is_remote(run) && !is_over(run) ? rni_host->refresh(run) : 0; } /* LCOV_EXCL_BR_LINE: of worker processes */

static enum rn_state state(rn_future *future, const char *function) {
    rni_run *run = rni_future_run(future, function);
    if (!run) return RN_DONE;
    (void)refresh(run);
    uint64_t word = rni_load_acquire(&run->done.word); /* pairs with complete: done means the value is there */
    return rni_is_being_cancelled(word) ? RN_WAITING : rni_state_of(word);
}

enum rn_state rn_state(rn_future *future) { return state(future, "rn_state"); }

bool rn_done(rn_future *future) { return state(future, "rn_done") >= RN_DONE; }

bool rn_running(rn_future *future) { return state(future, "rn_running") == RN_RUNNING; }

bool rn_cancelled(rn_future *future) { return state(future, "rn_cancelled") == RN_STATE_CANCELLED; }

double rn_progress(rn_future *future) {
    rni_run *run = rni_future_run(future, "rn_progress");
    double far = run ? refresh(run) : 1;
    if (!run || is_over(run)) return 1;
    if (rni_is_remote(run)) return far; /* LCOV_EXCL_BR_LINE: of worker processes */
    rni_plan *plan = rni_plan_in(rni_load_acquire(&run->plan)); /* pairs with rni_run_add_plan */
    uint64_t bits = plan ? rni_load_relaxed(&plan->progress) : 0;
    double fraction;
    memcpy(&fraction, &bits, sizeof fraction);
    return fraction;
}

/* Cancels, or says what became of it: another's cancel is waited for, so that the answer holds. */
static bool cancel(rni_run *run) {
    if (rni_is_remote(run)) return rni_host->cancel(run); /* LCOV_EXCL_BR_LINE: of worker processes */
    if (rni_run_cancel(run, rni_error_cancelled())) return true;
    uint64_t word;
    while (rni_is_being_cancelled(word = rni_load_acquire(&run->done.word))) rni_pause(); /* pairs with cancel */
    return rni_state_of(word) == RN_STATE_CANCELLED;
}

bool rn_cancel(rn_future *future) {
    /* Its timer, if that is in its side: it comes while the run does. */
    __builtin_prefetch(rni_run_side(rni_handle_object(future)), 1);
    rni_run *run = rni_future_run(future, "rn_cancel");
    if (!run) return false;
    if (is_over(run)) return rni_state_of(rni_load_relaxed(&run->done.word)) == RN_STATE_CANCELLED;
    return cancel(run);
}

/* A run that is at work, in a process that does not see its word. Under the world's lock its runtime cannot close. */
static void tell(rni_run *run) {
    rni_world_lock();
    rn_runtime *runtime = rni_world_runtime(rni_run_runtime(run));
    if (runtime && runtime->executor && runtime->executor->told && runtime->pool) runtime->executor->told(runtime, run); /* LCOV_EXCL_BR_LINE: of worker processes */
    rni_world_unlock();
}

static bool stop(rni_run *run) {
    if (is_over(run)) return false;
    if (rni_is_remote(run)) return rni_host->stop(run); /* LCOV_EXCL_BR_LINE: of worker processes */
    uint64_t word = rni_completion_stop(&run->done);
    if (rni_is_over(word)) return false;
    if (rni_state_of(word) != RN_WAITING) {
        tell(run);
        return true;
    }
    if (!(word & RNI_BEGUN) && cancel(run)) return true;
    /* Begun, and perhaps waiting for its next tick: its final hooks are due now. Under the world's lock the
     * runtime cannot close; once the run is ours it cannot either, for the run is pending. */
    rni_world_lock();
    rn_runtime *runtime = rni_world_runtime(rni_run_runtime(run));
    bool was_waiting = runtime && rni_schedule_remove(runtime, run);
    rni_world_unlock();
    if (was_waiting) rni_resubmit(runtime, run);
    return true;
}

bool rn_stop(rn_future *future) {
    rni_run *run = rni_future_run(future, "rn_stop");
    return run && stop(run);
}

bool rn_stop_self(rn_call *call) {
    bool is_told = stop(call->run);
    if (is_told && rni_host) rni_host->stop_self(call); /* LCOV_EXCL_BR_LINE: of worker processes */
    return is_told;
}

int rn_add_done_callback(rn_future *future, rn_done_fn *function, void *context) {
    rni_run *run = rni_future_run(future, "rn_add_done_callback");
    if (!function) rni_misuse("rn_add_done_callback: the function is NULL");
    if (!run) return RN_FORKED;
    (void)refresh(run);
    if (is_over(run)) {
        function(future, context);
        return RN_OK;
    }
    rni_thread *self = rni_thread_get();
    rni_node *node = self ? rni_slab_take(&self->slabs[RNI_CLASS_NODE], RNI_NODE_STRIDE) : NULL;
    if (!node) return RN_NO_MEMORY;
    *node = (rni_node){NULL, function, context};
    if (!rni_completion_add(&run->done, node)) {
        rni_node_free(node);
        function(future, context);
    }
    return RN_OK;
}

void rn_release(rn_future *future) {
    rni_run *run = rni_future_run(future, "rn_release");
    if (!run || rni_run_is_static(run)) return;
    if (rni_is_remote(run)) rni_host->release(run); /* LCOV_EXCL_BR_LINE: of worker processes */
    switch (rni_completion_release(&run->done)) {
    case RNI_NO: rni_misuse("rn_release: the future %p has been released", (void *)future);
    case RNI_LAST: rni_run_give_back(run); break;
    case RNI_YES: break;
    }
}
