/*
 * The meaning of a run: function and hooks, in the order of the rules (turn.h); and how a thread of ours takes a run
 * through a turn. Only the thread that runs it touches what is here.
 */
#include "base/memory.h"
#include "core/executor.h"
#include "core/lane.h"
#include "core/run.h"
#include "core/schedule.h"
#include "core/turn.h"
#include "value/value.h"

/* Without optimisation, where branches are counted, each function is one. */
#ifdef __OPTIMIZE__
#define INLINED static inline __attribute__((always_inline))
#else
#define INLINED static
#endif

/* A child that a task forked has none of the threads that its caller counts on. */
static void expect_same_process(uint32_t era) {
    if (era != rni_world_era()) rni_misuse("a process forked in a task must not return from it: exec or _exit");
}

static const char *call_name(rn_call *call) {
    if (!call->name) {
        rni_run_name(call->run, call->name_text);
        call->name = call->name_text;
    }
    return call->name;
}

static rn_value stamped(rn_call *call, rn_value error) {
    return rni_error_stamp(error, call_name(call), call->hook, call->iteration);
}

/* What a hook returned: an error ends the schedule and is the result, the first one of them. */
static void after_hook(rni_turn *turn, rn_value returned, unsigned bit) {
    expect_same_process(turn->era);
    bool failed = rni_is_error(returned);
    if (failed) {
        returned = stamped(&turn->call, returned);
        rni_log_failure(&turn->call, returned);
    }
    bool wins = !turn->is_hook_failed && (failed || (rni_run_flags(turn->call.run) & bit));
    if (!wins) {
        rni_drop(returned);
        return;
    }
    if (turn->has_updated) rni_drop(turn->updated);
    turn->updated = returned;
    turn->has_updated = true;
    turn->is_hook_failed = failed;
}

static rn_value success_of(const rni_turn *turn) {
    return rni_is_error(turn->outcome) ? rni_none() : turn->outcome;
}

static rn_value error_of(const rni_turn *turn) {
    return rni_is_error(turn->outcome) ? turn->outcome : rni_none();
}

static void call_outcome_hook(rni_turn *turn, rn_outcome_fn *hook, const char *name, unsigned bit) {
    if (!hook) return;
    turn->call.hook = name;
    after_hook(turn, hook(&turn->call, success_of(turn), error_of(turn)), bit);
    turn->call.hook = "";
}

static void call_success_or_error(rni_turn *turn, const rni_hooks *hooks) {
    rn_call *call = &turn->call;
    if (rni_is_error(turn->outcome) && hooks->on_error) {
        call->hook = "on_error";
        after_hook(turn, hooks->on_error(call, turn->outcome), RN_ON_ERROR);
    } else if (!rni_is_error(turn->outcome) && hooks->on_success) {
        call->hook = "on_success";
        after_hook(turn, hooks->on_success(call, turn->outcome), RN_ON_SUCCESS);
    }
    call->hook = "";
}

static bool enter_stage(rni_turn *turn, enum rni_stage stage) {
    turn->stage = stage;
    return !turn->publish || turn->publish(turn); /* LCOV_EXCL_BR_LINE: of worker processes */
}

static __attribute__((noinline)) rn_value failed(rn_call *call, struct rni_lane *lane, rn_value error) {
    rn_value outcome = stamped(call, error);
    if (lane) rni_count(&lane->failed);
    rni_log_failure(call, outcome);
    return outcome;
}

static void take_failure(rni_turn *turn, rn_value error) {
    turn->failed++;
    turn->outcome = failed(&turn->call, turn->lane, error);
}

static inline void take_outcome(rni_turn *turn, rn_value outcome) {
    if (rni_is_error(outcome)) take_failure(turn, outcome);
    else turn->outcome = outcome;
}

void rni_turn_begin_iteration(rni_turn *turn) {
    rn_call *call = &turn->call;
    call->iteration++;
    if (turn->plan) rni_store_relaxed(&turn->plan->iteration, call->iteration);
    if (turn->lane) rni_count(&turn->lane->started);
}

static inline void call_function(rni_turn *turn) {
    rn_call *call = &turn->call;
    rni_turn_begin_iteration(turn);
    rn_value outcome = call->run->function(call);
    expect_same_process(turn->era);
    take_outcome(turn, outcome);
    turn->stage = RNI_STAGE_ON_ITER;
}

static bool call_on_iter(rni_turn *turn) {
    if (!enter_stage(turn, RNI_STAGE_ON_ITER)) return false; /* LCOV_EXCL_BR_LINE: of worker processes */
    call_outcome_hook(turn, rni_run_hooks(turn->call.run)->on_iter, "on_iter", RN_ON_ITER);
    return true;
}

static bool call_final_hooks(rni_turn *turn) {
    const rni_hooks *hooks = rni_run_hooks(turn->call.run);
    if (turn->stage <= RNI_STAGE_OUTCOME) { /* LCOV_EXCL_BR_LINE: of worker processes */
        if (!enter_stage(turn, RNI_STAGE_OUTCOME)) return false; /* LCOV_EXCL_BR_LINE: of worker processes */
        call_success_or_error(turn, hooks);
    }
    if (!enter_stage(turn, RNI_STAGE_FINISHED)) return false; /* LCOV_EXCL_BR_LINE: of worker processes */
    call_outcome_hook(turn, hooks->on_finished, "on_finished", RN_ON_FINISHED);
    return true;
}

/* Ends the run, all hooks being done. */
static void finish(rni_turn *turn) {
    rni_run *run = turn->call.run;
    rn_value result = turn->outcome;
    if (turn->has_updated) {
        rni_drop(turn->outcome);
        result = turn->updated;
    }
    rni_drop(turn->call.arg);
    turn->call.run = NULL; /* what done callbacks wait for, they do not wait for in its name */
    rni_run_complete(turn->call.runtime, turn->lane, run, result);
}

static bool is_told_to_stop(const rn_call *call) {
    return (rni_load_relaxed(&call->run->done.word) & RNI_STOP) || rni_phase(call->runtime) == RNI_STOPPING ||
           (rni_told(call->runtime) & (RNI_TOLD_STOP | RNI_TOLD_HALT)); /* LCOV_EXCL_BR_LINE: of worker processes */
}

static bool has_further_iterations(const rni_turn *turn) {
    const rni_plan *plan = turn->plan;
    if (turn->is_hook_failed || is_told_to_stop(&turn->call)) return false;
    if (plan->times != RN_ENDLESS) return turn->call.iteration < plan->times;
    return rni_phase(turn->call.runtime) == RNI_OPEN && !(rni_told(turn->call.runtime) & RNI_TOLD_DRAIN); /* LCOV_EXCL_BR_LINE: of worker processes */
}

static void drop_outcome(rni_turn *turn) {
    rni_drop(turn->outcome);
    turn->outcome = rni_none();
}

/* Inline, where a thread of ours runs the turn itself: it is the way of every run. */
INLINED bool work_here(rni_turn *turn) {
    if (turn->stage == RNI_STAGE_FUNCTION) call_function(turn);
    while (turn->stage <= RNI_STAGE_ON_ITER) {
        if ((rni_run_flags(turn->call.run) & RNI_HOOKS) && !call_on_iter(turn)) return false; /* LCOV_EXCL_BR_LINE: of worker processes */
        turn->plan = rni_run_plan(turn->call.run); /* a report of progress may have added one */
        if (!turn->plan || !has_further_iterations(turn)) break;
        if (turn->plan->every > 0) return false;
        drop_outcome(turn);
        if (!enter_stage(turn, RNI_STAGE_FUNCTION)) return false; /* LCOV_EXCL_BR_LINE: of worker processes */
        call_function(turn);
    }
    if ((rni_run_flags(turn->call.run) & RNI_HOOKS) && !call_final_hooks(turn)) return false; /* LCOV_EXCL_BR_LINE: of worker processes */
    turn->stage = RNI_STAGE_END;
    return true;
}

bool rni_turn_work(rni_turn *turn) { return work_here(turn); }

/* Says on whose stack the run is, for those who look for cycles of waits. */
static void set_place(const rn_call *call, const rni_thread *self) {
    uint32_t number = rni_worker_number(self, call->runtime);
    rni_store_relaxed(&call->run->place, call->runtime->index | number << 16);
}

/* Puts the run to wait for its next tick. False: it was asked to stop meanwhile; it ends now. */
static bool suspend(rni_turn *turn) {
    rn_call *call = &turn->call;
    rni_plan *plan = turn->plan;
    rni_drop(call->wait_error);
    call->wait_error = rni_none();
    plan->outcome = turn->outcome;
    plan->has_outcome = true;
    plan->updated = turn->updated;
    plan->has_updated = turn->has_updated;
    if (!call->runtime->executor->home) /* LCOV_EXCL_BR_LINE: of worker processes */
        plan->last_worker = rni_worker_number(rni_self, call->runtime);
    rni_schedule_next(plan, rni_now(call->runtime));
    rni_store_relaxed(&call->run->place, call->runtime->index); /* on nobody's stack */
    if (rni_schedule_suspend(call->runtime, call->run)) return true;
    set_place(call, rni_self);
    return false;
}

/* LCOV_EXCL_START: for turns that are run in worker processes, which leave no counts; tests/conformance/c_crashes.c */
/* What comes next after a failure, and needs code of the program to be run. */
enum rni_next rni_turn_next(rni_turn *turn) {
    bool has_hooks = rni_run_flags(turn->call.run) & RNI_HOOKS;
    if (turn->stage == RNI_STAGE_FUNCTION || (turn->stage == RNI_STAGE_ON_ITER && has_hooks)) return RNI_NEXT_WORK;
    if (turn->stage == RNI_STAGE_ON_ITER && turn->plan && has_further_iterations(turn)) {
        if (turn->plan->every > 0) return RNI_NEXT_WAIT;
        drop_outcome(turn);
        turn->stage = RNI_STAGE_FUNCTION;
        return RNI_NEXT_WORK;
    }
    return has_hooks && turn->stage != RNI_STAGE_END ? RNI_NEXT_WORK : RNI_NEXT_END;
}

static void fail_hook(rni_turn *turn, const char *hook, rn_value error, unsigned bit) {
    turn->call.hook = hook;
    after_hook(turn, error, bit);
    turn->call.hook = "";
    turn->stage++;
}

void rni_turn_fail(rni_turn *turn, rn_value error) {
    bool has_failed = rni_is_error(turn->outcome);
    switch (turn->stage) {
    case RNI_STAGE_FUNCTION:
        take_outcome(turn, error);
        turn->stage = RNI_STAGE_ON_ITER;
        break;
    case RNI_STAGE_ON_ITER: fail_hook(turn, "on_iter", error, RN_ON_ITER); break;
    case RNI_STAGE_OUTCOME:
        fail_hook(turn, has_failed ? "on_error" : "on_success", error, has_failed ? RN_ON_ERROR : RN_ON_SUCCESS);
        break;
    case RNI_STAGE_FINISHED: fail_hook(turn, "on_finished", error, RN_ON_FINISHED); break;
    case RNI_STAGE_END: rni_drop(error); break;
    }
}
/* LCOV_EXCL_STOP */

INLINED bool work(rni_turn *turn) {
    const rni_executor *executor = turn->call.runtime->executor;
    return executor->work ? executor->work(turn) : work_here(turn); /* LCOV_EXCL_BR_LINE: of worker processes */
}

static void run_turn(rni_turn *turn) {
    rni_plan *plan = turn->plan;
    if (plan && plan->has_outcome) {
        if (is_told_to_stop(&turn->call)) turn->stage = RNI_STAGE_OUTCOME;
        else drop_outcome(turn);
    }
    while (!work(turn)) {
        if (suspend(turn)) return;
        turn->stage = RNI_STAGE_OUTCOME;
    }
    finish(turn);
}

/* The frame of a run's call, on top of this thread's. */
INLINED void start_call(rn_call *call, rn_runtime *runtime, rni_run *run, rni_thread *self) {
    call->runtime = runtime;
    call->run = run;
    call->name = NULL;
    call->hook = "";
    call->iteration = 0;
    call->run_id = 0;
    call->arg = run->done.value;
    call->wait_error = rni_none();
    call->outer = self ? self->call : NULL;
    /* Relaxed: only await.c reads it, of runs that it has seen running; one it is too early for waits for nobody yet. */
    set_place(call, self);
    if (self) self->call = call;
}

INLINED void end_call(rn_call *call, rni_thread *self) {
    rni_drop(call->wait_error);
    if (self) self->call = call->outer;
}

static void take_up(rni_turn *turn, rni_plan *plan) {
    turn->call.iteration = rni_load_relaxed(&plan->iteration);
    turn->outcome = plan->outcome;
    turn->updated = plan->updated;
    turn->has_updated = plan->has_updated;
    rni_store_relaxed(&plan->next_start, 0);
}

/*
 * A run with nothing beside its function: it is a turn of one stage, and has no need of what a turn keeps in mind from
 * one to the next. What its function adds meanwhile, a plan by a report of progress, changes nothing of that.
 */
INLINED void execute_plain(rn_runtime *runtime, rni_run *run, rni_thread *self) {
    rni_lane *lane = rni_lane_of(rni_load_relaxed(&runtime->serial));
    uint32_t era = rni_world_era();
    rn_call call;
    start_call(&call, runtime, run, self);
    if (lane) rni_count(&lane->started);
    call.iteration = 1;
    rn_value outcome = run->function(&call);
    expect_same_process(era);
    if (rni_is_error(outcome)) outcome = failed(&call, lane, outcome);
    rni_drop(call.arg);
    call.run = NULL; /* as in finish */
    rni_run_complete(runtime, lane, run, outcome);
    end_call(&call, self);
}

/* Hooks, a plan, a place in the queue, another process: what the whole of a turn is for. */
static inline bool is_plain(const rn_runtime *runtime, rni_run *run, const rni_thread *self) {
    return self && !(rni_run_flags(run) & (RNI_HOOKS | RNI_COUNTED_IN)) && !rni_run_plan(run) && !runtime->executor->work;
}

static __attribute__((noinline)) void execute_turn(rn_runtime *runtime, rni_run *run) {
    rni_thread *self = rni_thread_get();
    rni_turn turn;
    rn_call *call = &turn.call;
    start_call(call, runtime, run, self);
    turn.lane = rni_lane_of(rni_load_relaxed(&runtime->serial));
    turn.plan = rni_run_plan(run);
    turn.outcome = rni_none();
    turn.updated = rni_none();
    turn.has_updated = turn.is_hook_failed = false;
    turn.stage = RNI_STAGE_FUNCTION;
    turn.publish = NULL;
    turn.failed = 0;
    turn.era = rni_world_era();
    if (turn.plan) take_up(&turn, turn.plan);
    if ((rni_run_flags(run) & RNI_COUNTED_IN) && call->iteration == 0) rni_queue_release(runtime);
    run_turn(&turn);
    end_call(call, self);
}

INLINED void execute_begun(rn_runtime *runtime, rni_run *run) {
    rni_thread *self = rni_self;
    if (is_plain(runtime, run, self)) execute_plain(runtime, run, self);
    else execute_turn(runtime, run);
}

void rni_run_execute_begun(rn_runtime *runtime, rni_run *run) { execute_begun(runtime, run); }

/* A run that a worker took from a queue when the runtime is being stopped: it never begins. */
static __attribute__((noinline)) bool is_cancelled_by_close(rn_runtime *runtime, rni_run *run) {
    if (rni_load_relaxed(&run->done.word) & RNI_BEGUN) return false;
    rni_thread *self = rni_self;
    /* The frame that done callbacks find after a run that ended: they wait as a worker does. */
    rn_call call = {.runtime = runtime, .outer = self->call, .hook = ""};
    self->call = &call;
    bool is_cancelled = rni_run_cancel(run, rni_error_cancelled());
    rni_drop(call.wait_error);
    self->call = call.outer;
    return is_cancelled;
}

void rni_run_execute(rn_runtime *runtime, rni_run *run) {
    if (rni_phase(runtime) == RNI_STOPPING && is_cancelled_by_close(runtime, run)) {
        rni_run_unqueue(run);
        return;
    }
    enum rni_verdict verdict = RNI_YES;
    if ((rni_run_flags(run) & RNI_DETACHED) && !rni_run_plan(run)) rni_completion_begin_detached(&run->done);
    else verdict = rni_completion_begin(&run->done);
    if (verdict == RNI_YES) execute_begun(runtime, run);
    if (verdict == RNI_LAST) rni_run_give_back(run);
}
