#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "core/bounds.h"
#include "core/executor.h"
#include "core/grown.h"
#include "core/handle.h"
#include "core/lane.h"
#include "core/remote.h"
#include "core/schedule.h"
#include "value/value.h"

static const rni_grown grown_task = {"rn_task", offsetof(rn_task, arg), sizeof(rn_task)};

/* Resolves the text form of one field into the number. */
static rn_value read_text(const char *field, const char *text, int64_t *number,
                          rn_value (*parse)(const char *text, int64_t *ns)) {
    if (!text) return rni_none();
    if (*number != 0) return rn_error(RN_INVALID, ".%s and .%s_text are both given; accepted is one of them", field, field);
    rn_value error = parse(text, number);
    if (rni_is_none(error)) return error;
    rn_value named = rn_error(rn_error_code(error), ".%s_text: %s", field, rn_error_message(error));
    rni_drop(error);
    return named;
}

/* Reads every time of a task: from here on the numbers hold. */
static rn_value read_times(rn_task *task) {
    rn_value error = read_text("every", task->every_text, &task->every, rn_parse_duration);
    if (rni_is_none(error) && task->every_text && task->every == 0)
        error = rn_error(RN_INVALID, ".every_text: \"%.80s\" is no period; accepted is more than 0", task->every_text);
    if (rni_is_none(error)) error = read_text("start_in", task->start_in_text, &task->start_in, rn_parse_duration);
    if (rni_is_none(error)) error = read_text("at", task->at_text, &task->at, rn_parse_time);
    if (rni_is_none(error)) error = rni_check_duration("every", task->every);
    if (rni_is_none(error)) error = rni_check_duration("start_in", task->start_in);
    if (rni_is_none(error) && task->at != 0 && (task->start_in > 0 || task->start_in_text))
        error = rn_error(RN_INVALID, ".at and .start_in are both given; accepted is one of them");
    return error;
}

/* A task as this build knows it, and what it points to. */
struct whole {
    rn_task task;
    rn_limits limits;
};

static rn_value read_bounds(struct whole *whole) {
    rn_task *task = &whole->task;
    rn_value error = read_text("timeout", task->timeout_text, &task->timeout, rn_parse_duration);
    if (rni_is_none(error) && task->timeout_text && task->timeout == 0)
        error = rn_error(RN_INVALID, ".timeout_text: \"%.80s\" is no limit; accepted is more than 0", task->timeout_text);
    if (rni_is_none(error)) error = rni_check_duration("timeout", task->timeout);
    if (rni_is_none(error) && task->limits) error = rni_limits_read(task->limits, &whole->limits);
    if (task->limits) task->limits = &whole->limits;
    return error;
}

/* Whether the struct is one to take an argument from. */
static bool has_arg(const rn_task *task) { return task && task->size >= offsetof(rn_task, on_iter); }

/* One test for all of them, instead of six: this is asked for every run. */
static uint64_t times_given(const rn_task *task) {
    return (uint64_t)task->every | (uint64_t)task->start_in | (uint64_t)task->at | (uintptr_t)task->every_text |
           (uintptr_t)task->start_in_text | (uintptr_t)task->at_text;
}

static uint64_t bounds_given(const rn_task *task) {
    return (uint64_t)task->timeout | (uintptr_t)task->timeout_text | (uintptr_t)task->limits;
}

static bool is_timed(const rn_task *task) { return times_given(task) != 0; }
static bool is_bounded(const rn_task *task) { return bounds_given(task) != 0; }

static bool needs_plan(const rn_task *task) {
    return (times_given(task) | bounds_given(task) | (uintptr_t)task->name) != 0 || task->times > 1;
}

static bool has_hooks(const rn_task *task) {
    return ((uintptr_t)task->on_iter | (uintptr_t)task->on_success | (uintptr_t)task->on_error |
            (uintptr_t)task->on_finished) != 0;
}

/* It waits at most once, for its start: its side is free for a timer, and a plan would say no more. */
static bool is_only_delayed(const rn_task *task) {
    return ((uint64_t)task->every | bounds_given(task) | (uintptr_t)task->name) == 0 && task->times <= 1 && !has_hooks(task);
}

static bool is_plain_delay(const rn_task *task) {
    return times_given(task) == (uint64_t)task->start_in && task->start_in > 0 && task->start_in <= RN_DURATION_MAX &&
           is_only_delayed(task);
}

/* Nothing has to be worked out, and nothing can be wrong: so it is with almost every run. */
static bool is_plain(const rn_task *task) {
    return task && task->size == sizeof *task && (!needs_plan(task) || is_plain_delay(task)) && task->function &&
           !(task->updates_result & ~RNI_UPDATES) && !rni_is_error(task->arg);
}

static rn_value check_task(const rn_task *task) {
    if (!task->function) return rn_error(RN_INVALID, "the function is NULL");
    if (task->updates_result & ~RNI_UPDATES)
        return rn_error(RN_INVALID, ".updates_result is %#x; accepted are RN_ON_ITER, RN_ON_SUCCESS, RN_ON_ERROR, "
                                    "RN_ON_FINISHED and sums of them", task->updates_result);
    return rni_is_error(task->arg) ? rn_keep(task->arg) : rni_none(); /* the run's result */
}

/* The task to go by: the caller's own, where nothing in it has to be worked out. */
static rn_value read_task(const rn_task **task, struct whole *whole) {
    rn_value error = rni_none();
    if (!*task || (*task)->size != sizeof **task || is_timed(*task) || is_bounded(*task)) {
        error = *task ? rni_grown_read(&grown_task, *task, &whole->task) : rn_error(RN_INVALID, "the task is NULL");
        if (rni_is_none(error)) *task = &whole->task;
    }
    if (rni_is_none(error)) error = check_task(*task);
    if (rni_is_none(error) && is_timed(*task)) error = read_times(&whole->task);
    return rni_is_none(error) && is_bounded(*task) ? read_bounds(whole) : error;
}

static int64_t delay_of(rn_runtime *runtime, const rn_task *task) {
    if (task->at == 0) return task->start_in;
    int64_t wall = runtime->is_virtual ? runtime->wall_opened + (rni_now(runtime) - runtime->opened) : rni_os_wall_now();
    if (task->at <= wall) return 0;
    return task->at - wall < RN_DURATION_MAX ? task->at - wall : RN_DURATION_MAX;
}

static bool fill_plan(rn_runtime *runtime, rni_run *run, const rn_task *task) {
    int64_t now = rni_now(runtime);
    rni_bounds bounds = rni_bounds_of(task);
    rni_plan *plan = is_bounded(task) ? rni_run_add_bounded_plan(run, now, &bounds) : rni_run_add_plan(run, now); /* LCOV_EXCL_BR_LINE: of worker processes */
    if (!plan) return false;
    plan->times = task->times ? task->times : task->every ? RN_ENDLESS : 1;
    plan->every = task->every;
    plan->timer.due = rni_later(now, delay_of(runtime, task));
    if (task->name) rni_plan_set_name(plan, task->name);
    return true;
}

static __attribute__((noinline)) void add_hooks(rni_run *run, const rn_task *task) {
    rni_store_relaxed(&run->flags, rni_run_flags(run) | RNI_HOOKS);
    *rni_run_hooks(run) = (rni_hooks){task->on_iter, task->on_success, task->on_error, task->on_finished};
}

static void fill_run(rni_run *run, const rn_task *task, uint32_t flags) {
    run->function = task->function;
    rni_store_relaxed(&run->origin, (void *)(uintptr_t)task->origin);
    rni_store_relaxed(&run->flags, flags | task->updates_result);
    run->done.value = task->arg;
    if (has_hooks(task)) add_hooks(run, task);
}

/* Of a run without a plan, by the machine's clock: when it was made, in milliseconds since the runtime opened; when it begins. */
static inline void fill_times(rn_runtime *runtime, rni_run *run, int64_t delay_ns) {
    int64_t now = delay_ns > 0 ? rni_os_now() : rni_os_now_coarse();
    rni_store_relaxed(&run->born, (uint32_t)((now - runtime->opened) / 1000000));
    if (delay_ns > 0) rni_run_delay(run, rni_later(now, delay_ns));
}

static rni_run *make_run(rn_runtime *runtime, const rn_task *task, uint32_t flags) {
    rni_run *run = rni_run_make(runtime);
    if (!run) return NULL;
    fill_run(run, task, flags | (runtime->is_virtual || runtime->seed ? RNI_KIT : 0));
    bool wants_plan = needs_plan(task) && !is_only_delayed(task);
    if (!wants_plan && !runtime->is_virtual) { /* the age on a virtual clock needs more than 32 bits */
        fill_times(runtime, run, delay_of(runtime, task));
    } else if (!fill_plan(runtime, run, task)) {
        rni_run_free(run);
        return NULL;
    }
    return run;
}

/* In a task of the same runtime a full queue cannot be waited for: it might wait for this task. */
static bool is_in_task_of(rn_runtime *runtime) {
    for (const rn_call *call = rni_self ? rni_self->call : NULL; call; call = call->outer)
        if (call->runtime == runtime) return true;
    return false;
}

enum admission { ADMITTED, IN_CALLER, REFUSED };

/*
 * Counts a run in, so that the runtime cannot close under it: Dekker with rn_close, which moves the
 * phase and then reads the counts. Either it sees this count and waits, or we see its phase, or that
 * the runtime is another by now. The lane is this thread's own, whatever became of the runtime.
 */
static bool enter(rn_runtime *runtime, uint64_t serial, rni_lane *lane) {
    /* The run may be over, and the runtime closing, before we have done with its pool: so that is told apart. */
    rni_store_relaxed(&lane->inside, rni_load_relaxed(&lane->inside) + 1);
    rni_add_seq_cst(&lane->submitted, 1); /* pairs with rni_pending_count */
    /* The phase first: if it is that of another runtime in the same place, the serial is too. */
    enum rni_phase phase = rni_phase(runtime);
    if (rni_load_seq_cst(&runtime->serial) != serial) return false; /* pairs with the store in rni_world_close */
    return phase == RNI_OPEN || (phase == RNI_DRAINING && is_in_task_of(runtime));
}

/* Done with the runtime, whatever became of the run. Releases what was done to the load in rni_lanes_are_idle. */
static void let_go(rni_lane *lane) { rni_store_release(&lane->inside, rni_load_relaxed(&lane->inside) - 1); }

/* Counts a run out that did not start. */
static void leave(rn_runtime *runtime, rni_lane *lane) {
    rni_add_seq_cst(&lane->finished, 1); /* Dekker with rn_close: it sees this, or we its phase */
    if (rni_phase(runtime) != RNI_OPEN) rni_runtime_changed(runtime); /* at worst another's, woken in vain */
}

static bool wait_for_room(rn_runtime *runtime) {
    while (!rni_queue_reserve(runtime)) {
        uint32_t room = rni_load_acquire(&runtime->room); /* pairs with rni_queue_release */
        if (rni_phase(runtime) != RNI_OPEN) return false;
        if (rni_load_seq_cst(&runtime->queued) < runtime->queue_limit) continue;
        rni_os_wait(&runtime->room, room, -1);
    }
    return true;
}

static enum admission admit(rn_runtime *runtime, rn_value *error) {
    if (runtime->queue_limit == 0 || rni_queue_reserve(runtime)) return ADMITTED;
    if (runtime->when_full == RN_CALLER_RUNS || (runtime->when_full == RN_BLOCK && is_in_task_of(runtime))) return IN_CALLER;
    if (runtime->when_full == RN_BLOCK && wait_for_room(runtime)) return ADMITTED;
    *error = runtime->when_full == RN_BLOCK
                 ? rni_error_closed()
                 : rn_error(RN_QUEUE_FULL, "%zu runs are waiting, as many as .queue_limit accepts", runtime->queue_limit);
    return REFUSED;
}

/* False: no memory. True: the run is on its way, and may be over. */
static bool launch(rn_runtime *runtime, rni_lane *lane, rni_run *run, enum admission admission) {
    rni_plan *plan = rni_run_plan(run);
    bool waits = rni_run_flags(run) & RNI_DELAYED || (plan && plan->timer.due > (int64_t)rni_load_relaxed(&plan->born));
    uint64_t flags = RNI_QUEUED | (rni_run_flags(run) & RNI_DETACHED ? RNI_RELEASED : 0);
    if (!waits && (!plan || plan->every == 0)) flags |= RNI_CLAIMABLE;
    rni_completion_init(&run->done, flags);
    if (!runtime->executor->reserve(runtime)) return false;
    if (!waits && admission == ADMITTED) return runtime->executor->submit(runtime, lane, run) == RN_OK;
    if (waits) rni_schedule_start(runtime, run);
    else rni_run_execute(runtime, run);
    return true;
}

/* Starts a run that was counted in. NULL: *error says why not. */
static rn_future *start_entered(rn_runtime *runtime, rni_lane *lane, const rn_task *task, uint32_t flags,
                                rn_value *error) {
    if (is_bounded(task) && !runtime->executor->work) *error = rni_bounds_refused(task); /* LCOV_EXCL_BR_LINE: of worker processes */
    if (rni_is_none(*error) && runtime->executor->accept) *error = runtime->executor->accept(runtime, task); /* LCOV_EXCL_BR_LINE: of worker processes */
    if (!rni_is_none(*error)) return NULL;
    if (runtime->is_threadless && is_timed(task)) {
        *error = rn_error(RN_NO_THREADS, "the system refused every thread, and a schedule needs one");
        return NULL;
    }
    enum admission admission = admit(runtime, error);
    if (admission == REFUSED) return NULL;
    if (admission == IN_CALLER && delay_of(runtime, task) > 0) {
        *error = rn_error(RN_QUEUE_FULL, "%zu runs are waiting, as many as .queue_limit accepts, and this one cannot run "
                                         "in its caller yet", runtime->queue_limit);
        return NULL;
    }
    if (runtime->queue_limit > 0 && admission == ADMITTED) flags |= RNI_COUNTED_IN;
    rni_run *run = make_run(runtime, task, flags);
    rn_future *future = run ? rni_run_future(run) : NULL; /* while it is ours */
    if (run && launch(runtime, lane, run, admission)) return future;
    if (run) rni_run_free(run);
    if (flags & RNI_COUNTED_IN) rni_queue_release(runtime);
    *error = rni_error_no_memory();
    return NULL;
}

static rni_lane *find_lane(rn_runtime *runtime, uint64_t serial) {
    rni_lane *lane = rni_lane_of(serial);
    rni_thread *self = lane ? rni_self : rni_thread_get();
    return lane || !self ? lane : rni_lane_make(runtime, serial, self, false);
}

/* An error of ours about the caller's task, as one that arose where he wrote it. */
static rn_value at_origin(rn_value error, const rn_task *task) {
    if (rni_value_is_plain(error) || !has_arg(task) || !task->origin) return error;
    const char *place = task->origin + strlen(task->origin) + 1;
    const char *colon = strrchr(place, ':');
    char file[256];
    snprintf(file, sizeof file, "%.*s", colon ? (int)(colon - place) : 0, place);
    rn_value placed = rn_error_at(file, colon ? atoi(colon + 1) : 0, rn_error_code(error), "%s", rn_error_message(error));
    rni_drop(error);
    return placed;
}

/*
 * A worker in a task of the runtime counts in with a store: that task is pending until it is counted out, by this thread,
 * after all that it starts. So who sees it counted out sees these counted in, and the runtime stays open until then.
 */
static bool enter_inside(rn_runtime *runtime, rni_lane *lane) {
    rni_count(&lane->submitted);
    return rni_phase(runtime) <= RNI_DRAINING;
}

static inline bool is_inside(const rni_thread *self, const rni_lane *lane) {
    return lane->is_worker && self->call && self->call->runtime == lane->runtime;
}

static __attribute__((noinline)) void start_failed(rn_runtime *runtime, rni_lane *lane, rni_run *run, bool inside) {
    if (run) rni_run_free(run);
    leave(runtime, lane);
    if (!inside) let_go(lane);
}

/* A task with nothing to work out: as it was given, or without a struct around it. */
struct plain {
    rn_task_fn *function;
    const char *origin;
    rn_value arg;
    const rn_task *hooks; /* where they are, if there are any */
    int64_t delay_ns;
    uint32_t flags;
};

static inline __attribute__((always_inline)) void fill_plain(rni_run *run, const struct plain *plain) {
    run->function = plain->function;
    rni_store_relaxed(&run->origin, (void *)(uintptr_t)plain->origin);
    rni_store_relaxed(&run->flags, plain->flags);
    run->done.value = plain->arg;
    if (plain->hooks) add_hooks(run, plain->hooks);
}

/* False: it was not taken. */
static inline __attribute__((always_inline)) bool launch_plain(rn_runtime *runtime, rni_lane *lane, rni_run *run,
                                                               const struct plain *plain) {
    uint64_t flags = RNI_QUEUED | (plain->flags & RNI_DETACHED ? RNI_RELEASED : 0);
    if (plain->delay_ns == 0) {
        rni_completion_init(&run->done, flags | RNI_CLAIMABLE);
        return runtime->executor->submit(runtime, lane, run) == RN_OK;
    }
    rni_completion_init(&run->done, flags);
    rni_schedule_start(runtime, run);
    return true;
}

/* This thread's lane in the runtime of a handle; NULL: it has none. */
static inline rni_lane *lane_of(rni_thread *self, const rn_runtime *handle) {
    if (self && self->lane && self->lane->handle == handle) return self->lane;
    return rni_lane_of_handle(handle);
}

/* NULL: it did not start, and start_any() will find out why not. */
static inline __attribute__((always_inline)) rn_future *start_plain(rn_runtime *handle, const struct plain *plain) {
    rni_thread *self = rni_self;
    rni_lane *lane = lane_of(self, handle);
    if (!lane || !rni_load_relaxed(&lane->runtime->is_plain)) return NULL;
    rn_runtime *runtime = lane->runtime;
    bool inside = is_inside(self, lane);
    bool entered = inside ? enter_inside(runtime, lane) : enter(runtime, lane->serial, lane);
    rni_run *run = entered ? rni_run_take(&self->slabs[RNI_CLASS_RUN], runtime->index) : NULL;
    if (run) {
        fill_plain(run, plain);
        fill_times(runtime, run, plain->delay_ns);
        rn_future *future = rni_handle_make(run, rni_run_generation(run)); /* while it is ours */
        if (launch_plain(runtime, lane, run, plain)) {
            if (!inside) let_go(lane);
            return future;
        }
    }
    start_failed(runtime, lane, run, inside);
    return NULL;
}

static rn_future *start_any(rn_runtime *handle, const rn_task *task, uint32_t flags, rn_value *error) {
    int code;
    struct whole whole;
    rn_future *future = NULL;
    rn_runtime *runtime = rni_runtime_of(handle, "rn_run", &code);
    uint64_t serial = runtime ? rni_runtime_serial(runtime, handle) : 0;
    *error = runtime ? rni_none() : rni_code_error(code);
    if (runtime && rni_phase(runtime) == RNI_FAILED) *error = rn_keep(runtime->open_error);
    if (rni_is_none(*error)) *error = read_task(&task, &whole);
    if (rni_is_none(*error) && rni_host && runtime == rni_host->runtime) { /* LCOV_EXCL_BR_LINE: of worker processes */
        future = rni_host->start(task, flags, error);
    } else if (rni_is_none(*error)) {
        rni_lane *lane = find_lane(runtime, serial);
        if (lane && enter(runtime, serial, lane)) future = start_entered(runtime, lane, task, flags, error);
        else *error = !lane && serial != 0 && rni_load_relaxed(&runtime->serial) == serial ? rni_error_no_memory() : rni_error_closed();
        if (lane && !future) leave(runtime, lane);
        if (lane) let_go(lane);
    }
    if (future) return future;
    bool is_own = !has_arg(task) || !rni_is_error(task->arg); /* not an argument that is the error */
    if (is_own) *error = at_origin(*error, task);
    if (has_arg(task)) rni_drop(task->arg);
    return NULL;
}

static __attribute__((noinline)) rn_future *submit_any(rn_runtime *runtime, const rn_task *task) {
    rn_value error;
    rn_future *future = start_any(runtime, task, 0, &error);
    return future ? future : rni_future_failed(error);
}

static __attribute__((noinline)) int submit_any_detached(rn_runtime *handle, const rn_task *task) {
    rn_value error;
    int code;
    if (start_any(handle, task, RNI_DETACHED, &error)) return RN_OK;
    rn_runtime *runtime = rni_runtime_of(handle, "rn_run_detached", &code);
    if (runtime) rni_log_refusal(runtime, has_arg(task) && task->origin ? task->origin : "", error);
    code = rn_error_code(error);
    rni_drop(error);
    return code;
}

static inline struct plain plain_of(const rn_task *task, uint32_t flags) {
    return (struct plain){.function = task->function, .origin = task->origin, .arg = task->arg, .delay_ns = task->start_in,
                          .hooks = has_hooks(task) ? task : NULL, .flags = flags | task->updates_result};
}

rn_future *rn_submit(rn_runtime *runtime, const rn_task *task) {
    rn_future *future = NULL;
    if (is_plain(task)) {
        struct plain plain = plain_of(task, 0);
        future = start_plain(runtime, &plain);
    }
    return future ? future : submit_any(runtime, task);
}

int rn_submit_detached(rn_runtime *runtime, const rn_task *task) {
    if (is_plain(task)) {
        struct plain plain = plain_of(task, RNI_DETACHED);
        if (start_plain(runtime, &plain)) return RN_OK;
    }
    return submit_any_detached(runtime, task);
}

static __attribute__((noinline)) rn_future *start_bare(rn_runtime *runtime, rn_task_fn *function, const char *origin,
                                                       rn_value arg) {
    rn_task task = {.size = sizeof task, .origin = origin, .function = function, .arg = arg};
    return submit_any(runtime, &task);
}

static __attribute__((noinline)) int start_bare_detached(rn_runtime *runtime, rn_task_fn *function, const char *origin,
                                                         rn_value arg) {
    rn_task task = {.size = sizeof task, .origin = origin, .function = function, .arg = arg};
    return submit_any_detached(runtime, &task);
}

static inline bool is_startable(rn_task_fn *function, rn_value arg) { return function && !rni_is_error(arg); }

rn_future *rni_start(rn_runtime *runtime, rn_task_fn *function, const char *origin, rn_value arg) {
    struct plain plain = {.function = function, .origin = origin, .arg = arg};
    rn_future *future = is_startable(function, arg) ? start_plain(runtime, &plain) : NULL;
    return future ? future : start_bare(runtime, function, origin, arg);
}

int rni_start_detached(rn_runtime *runtime, rn_task_fn *function, const char *origin, rn_value arg) {
    struct plain plain = {.function = function, .origin = origin, .arg = arg, .flags = RNI_DETACHED};
    if (is_startable(function, arg) && start_plain(runtime, &plain)) return RN_OK;
    return start_bare_detached(runtime, function, origin, arg);
}
