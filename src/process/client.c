/*
 * In a worker process: what a task asks of the runtime that it runs in, as frames to the host (remote.h). Futures of
 * runs that a task started are runs of this process that never run: their value comes from the host.
 */
#include <string.h>

#include "core/bounds.h"
#include "core/executor.h"
#include "core/lane.h"
#include "core/remote.h"
#include "core/schedule.h"
#include "process/bound.h"
#include "process/worker.h"
#include "value/value.h"

static rni_writer *begin(enum rni_frame frame) {
    rni_writer_begin(&rni_worker.channel.frame, frame);
    return &rni_worker.channel.frame;
}

/* The host's number of a run is kept where its argument would be. */
static uint64_t number_of(const rni_run *run) { return run->done.value.bits; }

static rn_value not_here(void) {
    return rn_error(RN_INVALID, "in a worker process only the thread that runs the task may use its runtime");
}

/* ---- starting runs ---- */

static const char *name_of(const rn_task *task) { return task->name ? task->name : task->origin ? task->origin : ""; }

static bool find_functions(const rn_task *task) {
    return rni_names_find((uintptr_t)task->function) && rni_names_find((uintptr_t)task->on_iter) &&
           rni_names_find((uintptr_t)task->on_success) && rni_names_find((uintptr_t)task->on_error) &&
           rni_names_find((uintptr_t)task->on_finished);
}

static bool put_task(rni_writer *frame, const rn_task *task, uint32_t flags) {
    rni_put_files(frame, &rni_worker.names);
    rni_put_32(frame, flags | task->updates_result);
    rni_put_text(frame, name_of(task));
    rni_put_64(frame, task->times);
    rni_put_64(frame, (uint64_t)task->every);
    rni_put_64(frame, (uint64_t)task->start_in);
    rni_put_64(frame, (uint64_t)task->at);
    rni_put_function(frame, (uintptr_t)task->function);
    rni_put_function(frame, (uintptr_t)task->on_iter);
    rni_put_function(frame, (uintptr_t)task->on_success);
    rni_put_function(frame, (uintptr_t)task->on_error);
    rni_put_function(frame, (uintptr_t)task->on_finished);
    rni_bounds bounds = rni_bounds_of(task);
    rni_put_bounds(frame, &bounds);
    return rni_put_value(frame, task->arg);
}

static rn_future *make_future(uint64_t number) {
    rni_run *run = rni_run_make(rni_worker.runtime);
    if (!run) return NULL;
    run->function = NULL;
    rni_store_relaxed(&run->origin, NULL);
    rni_store_relaxed(&run->flags, RNI_REMOTE);
    run->done.value = rn_int((int64_t)number);
    rni_completion_init(&run->done, RN_WAITING);
    return rni_run_future(run);
}

static rn_future *start(const rn_task *task, uint32_t flags, rn_value *error) {
    rni_reader answer;
    if (!find_functions(task)) {
        *error = rn_error(RN_NOT_PORTABLE, ".function or a hook is in no loaded file, and cannot be found in another process");
        return NULL;
    }
    if (!put_task(begin(RNI_ASK_START), task, flags)) {
        *error = rn_error(RN_NOT_PORTABLE, ".arg holds a pointer, which means nothing in another process");
        return NULL;
    }
    if (!rni_ask(&answer)) {
        *error = not_here();
        return NULL;
    }
    uint64_t number = rni_take_64(&answer);
    rn_value refusal = rni_take_value(&answer);
    if (rni_is_error(refusal)) *error = refusal;
    if (rni_is_error(refusal)) return NULL;
    rni_drop(task->arg); /* the host has its own */
    rn_future *future = flags & RNI_DETACHED ? (rn_future *)rni_worker.runtime : make_future(number);
    if (!future) *error = rni_error_no_memory();
    return future;
}

/* ---- futures ---- */

/* The run is over: as its future says from now on. */
static void learn(rni_run *run, enum rn_state state, rn_value value) {
    rni_lane *lane = rni_lane_of(rni_load_relaxed(&rni_worker.runtime->serial));
    run->done.value = rni_none();
    if (state == RN_STATE_CANCELLED) (void)rni_run_cancel(run, value);
    else rni_run_complete(rni_worker.runtime, lane, run, value);
}

/* What each answer about a run begins with. */
static void take_state(rni_reader *answer, rni_run *run) {
    enum rn_state state = (enum rn_state)rni_take_8(answer);
    rni_store_relaxed(&rni_worker.runtime->virtual_now, rni_take_64(answer));
    rn_value value = rni_take_value(answer);
    if (state >= RN_DONE) learn(run, state, value);
    else if (state == RN_RUNNING) (void)rni_completion_begin(&run->done);
}

static int wait_for(rni_run *run, int64_t timeout_ns, rn_value *error) {
    rni_reader answer;
    rni_writer *frame = begin(RNI_ASK_WAIT);
    rni_put_64(frame, number_of(run));
    rni_put_64(frame, (uint64_t)timeout_ns);
    *error = rni_none();
    if (!rni_ask(&answer)) {
        *error = not_here();
        return RN_DEADLOCK;
    }
    int code = (int)rni_take_32(&answer);
    rn_value refusal = rni_take_value(&answer);
    take_state(&answer, run);
    if (code == RN_DEADLOCK) *error = refusal;
    return code;
}

static double refresh(rni_run *run) {
    rni_reader answer;
    double progress;
    rni_put_64(begin(RNI_ASK_STATE), number_of(run));
    if (!rni_ask(&answer)) return 0;
    uint64_t bits = rni_take_64(&answer);
    take_state(&answer, run);
    memcpy(&progress, &bits, sizeof progress);
    return progress;
}

static bool ask_to_end(enum rni_frame frame, rni_run *run) {
    rni_reader answer;
    rni_put_64(begin(frame), number_of(run));
    if (!rni_ask(&answer)) return false;
    bool done = rni_take_flag(&answer);
    take_state(&answer, run);
    return done;
}

static bool cancel(rni_run *run) { return ask_to_end(RNI_ASK_CANCEL, run); }
static bool stop(rni_run *run) { return ask_to_end(RNI_ASK_STOP, run); }

/* One that is over needs nothing more: the host gave it back when it said so. */
static void release(rni_run *run) {
    rni_reader answer;
    uint64_t word = rni_load_relaxed(&run->done.word);
    if (rni_is_over(word)) return;
    rni_put_64(begin(RNI_ASK_RELEASE), number_of(run));
    if (!rni_ask(&answer)) return;
    if (word >> RNI_NODE_SHIFT == 0) learn(run, RN_DONE, rni_none()); /* nobody will ask */
}

/* ---- the runtime ---- */

static void take_info(rni_reader *answer, rn_run_info *info) {
    memset(info, 0, sizeof *info);
    info->id = rni_take_64(answer);
    info->state = (enum rn_state)rni_take_8(answer);
    info->iteration = rni_take_64(answer);
    info->age_ns = (int64_t)rni_take_64(answer);
    info->next_start_ns = (int64_t)rni_take_64(answer);
    uint64_t bits = rni_take_64(answer);
    memcpy(&info->progress, &bits, sizeof bits);
    rni_take_text(answer, info->name, sizeof info->name);
}

static int64_t pending(rn_run_info *infos, size_t capacity, size_t info_size) {
    rni_reader answer;
    rni_put_64(begin(RNI_ASK_PENDING), capacity);
    if (!rni_ask(&answer)) return RN_INVALID;
    int64_t count = (int64_t)rni_take_64(&answer);
    for (size_t i = 0; i < capacity && (int64_t)i < count && !answer.failed; i++) {
        rn_run_info info;
        char *entry = (char *)infos + i * info_size;
        take_info(&answer, &info);
        memset(entry, 0, info_size);
        memcpy(entry, &info, info_size < sizeof info ? info_size : sizeof info);
    }
    return count;
}

static int stats(rn_stats *numbers) {
    rni_reader answer;
    (void)begin(RNI_ASK_STATS);
    if (!rni_ask(&answer)) return RN_INVALID;
    numbers->workers = rni_take_32(&answer);
    numbers->workers_asked = rni_take_32(&answer);
    numbers->spares = rni_take_32(&answer);
    numbers->pending = rni_take_64(&answer);
    numbers->started = rni_take_64(&answer);
    numbers->failed = rni_take_64(&answer);
    return RN_OK;
}

static void report(rn_call *call, double fraction) {
    rni_reader answer;
    uint64_t bits;
    if (call->runtime != rni_worker.runtime) return;
    memcpy(&bits, &fraction, sizeof bits);
    rni_put_64(begin(RNI_ASK_REPORT), bits);
    (void)rni_ask(&answer);
}

static void stop_self(rn_call *call) {
    rni_reader answer;
    if (call->runtime != rni_worker.runtime) return;
    (void)begin(RNI_ASK_STOP_SELF);
    (void)rni_ask(&answer);
}

static void log_to_host(void *context, const rn_log_record *record) {
    rni_reader answer;
    (void)context;
    rni_writer *frame = begin(RNI_ASK_LOG);
    rni_put_8(frame, (uint8_t)record->level);
    rni_put_text(frame, record->message);
    (void)rni_put_value(frame, rni_wire_is_portable(record->error) ? record->error : rni_none());
    rni_put_text(frame, record->task);
    rni_put_64(frame, record->run_id);
    rni_put_64(frame, record->iteration);
    (void)rni_ask(&answer);
}

static rni_remote remote = {.start = start, .wait = wait_for, .refresh = refresh, .cancel = cancel, .stop = stop,
                            .release = release, .pending = pending, .stats = stats, .report = report,
                            .stop_self = stop_self};

void rni_client_init(void) {
    remote.runtime = rni_worker.runtime;
    rni_worker.runtime->log = log_to_host;
    rni_host = &remote;
}
