/*
 * What a process asks on behalf of its task, as the task would have asked it in this thread.
 */
#include <string.h>

#include "base/memory.h"
#include "core/world.h"
#include "process/bound.h"
#include "process/host.h"
#include "thread/pool.h"
#include "value/value.h"

/* ---- futures that the process has numbers for ---- */

static bool make_room(rni_process *process) {
    uint32_t count = process->held_count ? process->held_count * 2 : 16;
    rni_held *held = rni_alloc_zeroed(count * sizeof *held);
    if (!held) return false;
    if (process->held_count > 0) memcpy(held, process->held, process->held_count * sizeof *held);
    rni_free(process->held);
    process->held = held;
    process->held_count = count;
    return true;
}

/* Never 0; 0: no memory. */
static uint64_t hold(rni_process *process, rn_future *future) {
    uint32_t place = 0;
    while (place < process->held_count && process->held[place].future) place++;
    if (place == process->held_count && !make_room(process)) return 0;
    process->held[place].future = future;
    return (uint64_t)process->held[place].uses << 32 | (place + 1);
}

static rni_held *held_by(rni_process *process, uint64_t number) {
    uint64_t place = (number & UINT32_MAX) - 1;
    if (place >= process->held_count) return NULL;
    rni_held *held = &process->held[place];
    return held->future && held->uses == number >> 32 ? held : NULL;
}

static void let_go(rni_held *held) {
    rn_release(held->future);
    held->future = NULL;
    held->uses++;
}

void rni_process_let_go(rni_process *process) {
    for (uint32_t i = 0; i < process->held_count; i++)
        if (process->held[i].future) let_go(&process->held[i]);
    rni_free(process->held);
    process->held = NULL;
    process->held_count = 0;
}

/* ---- answers ---- */

static rni_writer *begin_answer(rni_process *process) {
    rni_writer_begin(&process->channel.frame, RNI_ANSWER);
    return &process->channel.frame;
}

/* What each answer about a run ends with. Of one that is over, the host lets go. */
static void put_state(rni_writer *frame, rn_runtime *runtime, rni_held *held) {
    enum rn_state state = rn_state(held->future);
    rni_put_8(frame, (uint8_t)state);
    rni_put_64(frame, (uint64_t)rni_now(runtime));
    rn_value value = state >= RN_DONE ? rn_result(held->future) : rn_none();
    if (!rni_put_value(frame, value)) (void)rni_put_value(frame, rn_none());
    if (state >= RN_DONE) let_go(held);
}

/* ---- what is asked ---- */

static rn_value take_functions(rni_reader *reader, rni_names *names, rn_task *task) {
    uintptr_t functions[5];
    rn_value error = rni_none();
    for (unsigned i = 0; i < 5; i++) {
        rn_value refusal = rni_take_function(reader, names, false, &functions[i]);
        if (rni_is_none(error)) error = refusal;
        else rni_drop(refusal);
    }
    task->function = (rn_task_fn *)functions[0];
    task->on_iter = (rn_outcome_fn *)functions[1];
    task->on_success = (rn_success_fn *)functions[2];
    task->on_error = (rn_error_fn *)functions[3];
    task->on_finished = (rn_outcome_fn *)functions[4];
    return error;
}

static void put_started(rni_writer *frame, uint64_t number, rn_value error) {
    rni_put_64(frame, number);
    (void)rni_put_value(frame, error);
    rni_drop(error);
}

static uint64_t start_run(rni_process *process, rn_runtime *runtime, const rn_task *task, bool is_detached, rn_value *error) {
    rn_runtime *handle = rni_runtime_handle(runtime);
    if (is_detached) {
        int code = rn_submit_detached(handle, task);
        if (code != RN_OK) *error = rn_error(code, "the run could not start");
        return 0;
    }
    rn_future *future = rn_submit(handle, task);
    uint64_t number = hold(process, future);
    if (number == 0) rn_release(future);
    if (number == 0) *error = rni_error_no_memory();
    return number;
}

static bool serve_start(rni_process *process, rni_turn *turn, rni_reader *reader) {
    char name[RN_NAME_MAX + 1];
    rn_task task = {.size = sizeof task, .name = name};
    rni_take_files(reader, &process->names);
    uint32_t flags = rni_take_32(reader);
    rni_take_text(reader, name, sizeof name);
    task.times = rni_take_64(reader);
    task.every = (int64_t)rni_take_64(reader);
    task.start_in = (int64_t)rni_take_64(reader);
    task.at = (int64_t)rni_take_64(reader);
    task.updates_result = flags & RNI_UPDATES;
    rn_value error = take_functions(reader, &process->names, &task);
    rni_bounds bounds;
    rni_take_bounds(reader, &bounds);
    rn_limits limits = {.size = sizeof limits, .address_space = bounds.address_space, .cpu = bounds.cpu,
                        .open_files = bounds.open_files, .memory = bounds.memory};
    task.timeout = bounds.timeout;
    if (limits.address_space || limits.cpu || limits.open_files || limits.memory) task.limits = &limits;
    task.arg = rni_take_value(reader);
    bool is_good = rni_reader_is_done(reader) && (flags & ~(RNI_UPDATES | RNI_DETACHED)) == 0;
    uint64_t number = 0;
    if (is_good && rni_is_none(error))
        number = start_run(process, turn->call.runtime, &task, flags & RNI_DETACHED, &error);
    else rni_drop(task.arg);
    if (!is_good) {
        rni_drop(error);
        return false;
    }
    put_started(begin_answer(process), number, error);
    return true;
}

/* For as long as the process lives. */
static int await_for(rni_process *process, rni_run *run, int64_t timeout, rn_value *error) {
    rni_worker *worker = rni_self->worker;
    rni_a32 *gone = worker ? worker->gone : NULL;
    if (worker) worker->gone = &process->is_dead;
    int code = rni_await(run, timeout, error);
    if (worker) worker->gone = gone;
    return code;
}

static void say_waits(rni_processes *processes, rni_process *process) {
    rni_mutex_lock(&processes->lock);
    rni_store_relaxed(&process->waits, 1);
    rni_home_changed(processes);
    rni_mutex_unlock(&processes->lock);
}

static bool serve_wait(rni_process *process, rni_turn *turn, rni_reader *reader) {
    uint64_t number = rni_take_64(reader);
    int64_t timeout = (int64_t)rni_take_64(reader);
    rni_held *held = held_by(process, number);
    if (!held || !rni_reader_is_done(reader)) return false;
    rn_value error = rni_none();
    uint32_t of = process->number;
    say_waits(rni_processes_of(turn->call.runtime), process);
    int code = await_for(process, rni_future_run(held->future, "rn_wait"), timeout, &error);
    if (!rni_process_is(process, of)) { /* it died in a run that was inlined in this wait */
        if (code == RN_DEADLOCK) rni_drop(error);
        return true;
    }
    rni_store_relaxed(&process->waits, 0);
    rni_writer *frame = begin_answer(process);
    rni_put_32(frame, (uint32_t)code);
    (void)rni_put_value(frame, code == RN_DEADLOCK ? error : rni_none());
    if (code == RN_DEADLOCK) rni_drop(error);
    put_state(frame, turn->call.runtime, held_by(process, number)); /* again: what was inlined held more, elsewhere */
    return true;
}

static bool serve_future(rni_process *process, rni_turn *turn, uint8_t asked, rni_reader *reader) {
    rni_held *held = held_by(process, rni_take_64(reader));
    if (!held || !rni_reader_is_done(reader)) return false;
    bool done = asked == RNI_ASK_CANCEL ? rn_cancel(held->future) : asked == RNI_ASK_STOP && rn_stop(held->future);
    double progress = asked == RNI_ASK_STATE ? rn_progress(held->future) : 0;
    uint64_t bits;
    memcpy(&bits, &progress, sizeof bits);
    rni_writer *frame = begin_answer(process);
    if (asked == RNI_ASK_STATE) rni_put_64(frame, bits);
    else if (asked != RNI_ASK_RELEASE) rni_put_8(frame, done);
    if (asked == RNI_ASK_RELEASE) let_go(held);
    else put_state(frame, turn->call.runtime, held);
    return true;
}

static void put_info(rni_writer *frame, const rn_run_info *info) {
    uint64_t bits;
    memcpy(&bits, &info->progress, sizeof bits);
    rni_put_64(frame, info->id);
    rni_put_8(frame, (uint8_t)info->state);
    rni_put_64(frame, info->iteration);
    rni_put_64(frame, (uint64_t)info->age_ns);
    rni_put_64(frame, (uint64_t)info->next_start_ns);
    rni_put_64(frame, bits);
    rni_put_text(frame, info->name);
}

#define MORE_PENDING 64 /* runs that may start between two looks, and be listed */

/* There is room for as many as there are, whatever a worker wants. */
static bool serve_pending(rni_process *process, rni_turn *turn, rni_reader *reader) {
    rn_runtime *runtime = rni_runtime_handle(turn->call.runtime);
    uint64_t wanted = rni_take_64(reader);
    if (!rni_reader_is_done(reader)) return false;
    uint64_t room = wanted > 0 ? (uint64_t)rn_pending(runtime, NULL, 0) + MORE_PENDING : 0; /* it is open: a task of it runs */
    size_t capacity = wanted < room ? (size_t)wanted : (size_t)room;
    rn_run_info *infos = capacity > 0 ? rni_alloc(capacity * sizeof *infos) : NULL;
    if (!infos) capacity = 0;
    int64_t count = rn_pending(runtime, infos, capacity);
    if (capacity < wanted && count > (int64_t)capacity) count = (int64_t)capacity; /* the others came later */
    rni_writer *frame = begin_answer(process);
    rni_put_64(frame, (uint64_t)count);
    for (size_t i = 0; i < capacity && (int64_t)i < count; i++) put_info(frame, &infos[i]);
    rni_free(infos);
    return true;
}

static bool serve_stats(rni_process *process, rni_turn *turn) {
    rn_stats stats = {.size = sizeof stats};
    (void)rn_get_stats(rni_runtime_handle(turn->call.runtime), &stats);
    rni_writer *frame = begin_answer(process);
    rni_put_32(frame, stats.workers);
    rni_put_32(frame, stats.workers_asked);
    rni_put_32(frame, stats.spares);
    rni_put_64(frame, stats.pending);
    rni_put_64(frame, stats.started);
    rni_put_64(frame, stats.failed);
    return true;
}

static bool serve_report(rni_process *process, rni_turn *turn, rni_reader *reader) {
    double fraction;
    uint64_t bits = rni_take_64(reader);
    memcpy(&fraction, &bits, sizeof bits);
    if (!rni_reader_is_done(reader)) return false;
    uint64_t iteration = turn->call.iteration;
    turn->call.iteration = iteration + (turn->stage == RNI_STAGE_FUNCTION);
    rn_report(&turn->call, fraction);
    turn->call.iteration = iteration;
    turn->plan = rni_run_plan(turn->call.run);
    (void)begin_answer(process);
    return true;
}

static bool serve_stop_self(rni_process *process, rni_turn *turn, rni_reader *reader) {
    if (!rni_reader_is_done(reader)) return false;
    if (!process->is_preparing) (void)rn_stop_self(&turn->call); /* that is no run of the runtime */
    (void)begin_answer(process);
    return true;
}

static bool serve_log(rni_process *process, rni_turn *turn, rni_reader *reader) {
    char message[1024], task[RN_NAME_MAX + 1];
    rn_log_record record = {.size = sizeof record, .message = message, .task = task};
    uint8_t level = rni_take_8(reader);
    rni_take_text(reader, message, sizeof message);
    record.error = rni_take_value(reader);
    rni_take_text(reader, task, sizeof task);
    record.run_id = rni_take_64(reader);
    record.iteration = rni_take_64(reader);
    record.level = (enum rn_level)level;
    bool is_good = rni_reader_is_done(reader) && level <= RN_LOG_INFO;
    if (is_good) rni_log_record(turn->call.runtime, &record);
    rni_drop(record.error);
    (void)begin_answer(process);
    return is_good;
}

static bool prepare_answer(rni_process *process, rni_turn *turn, uint8_t frame, rni_reader *reader) {
    switch (frame) {
    case RNI_ASK_START: return serve_start(process, turn, reader);
    case RNI_ASK_WAIT: return serve_wait(process, turn, reader);
    case RNI_ASK_STATE:
    case RNI_ASK_CANCEL:
    case RNI_ASK_STOP:
    case RNI_ASK_RELEASE: return serve_future(process, turn, frame, reader);
    case RNI_ASK_PENDING: return serve_pending(process, turn, reader);
    case RNI_ASK_STATS: return rni_reader_is_done(reader) && serve_stats(process, turn);
    case RNI_ASK_REPORT: return serve_report(process, turn, reader);
    case RNI_ASK_STOP_SELF: return serve_stop_self(process, turn, reader);
    case RNI_ASK_LOG: return serve_log(process, turn, reader);
    default: return false;
    }
}

bool rni_process_serve(rni_processes *processes, rni_process *process, rni_turn *turn, uint8_t frame, rni_reader *reader) {
    uint32_t number = process->number;
    if (!prepare_answer(process, turn, frame, reader)) return false;
    if (!rni_process_is(process, number)) return true;
    if (rni_channel_send(&process->channel) != RN_OK) rni_process_kill(processes, process); /* it would wait for ever */
    return true;
}
