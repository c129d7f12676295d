/*
 * A thread's side of a turn: sends it to the thread's process, answers what the process asks, takes what comes back. If
 * the process dies the stage that it was in has failed, and the next one goes to another process.
 */
#include "base/memory.h"
#include "core/lane.h"
#include "process/bound.h"
#include "process/host.h"
#include "process/limits.h"
#include "value/value.h"

/* ---- what goes there ---- */

static rn_value not_portable(const char *field) {
    return rn_error(RN_NOT_PORTABLE, "%s is in no loaded file, and cannot be found in another process", field);
}

static rn_value find_functions(const rni_run *run) {
    if (!rni_names_find((uintptr_t)run->function)) return not_portable(".function");
    if (!(rni_run_flags(run) & RNI_HOOKS)) return rni_none();
    const rni_hooks *hooks = rni_run_hooks(run);
    if (!rni_names_find((uintptr_t)hooks->on_iter)) return not_portable(".on_iter");
    if (!rni_names_find((uintptr_t)hooks->on_success)) return not_portable(".on_success");
    if (!rni_names_find((uintptr_t)hooks->on_error)) return not_portable(".on_error");
    return rni_names_find((uintptr_t)hooks->on_finished) ? rni_none() : not_portable(".on_finished");
}

static void put_functions(rni_writer *frame, const rni_run *run) {
    rni_put_function(frame, (uintptr_t)run->function);
    if (!(rni_run_flags(run) & RNI_HOOKS)) return;
    const rni_hooks *hooks = rni_run_hooks(run);
    rni_put_function(frame, (uintptr_t)hooks->on_iter);
    rni_put_function(frame, (uintptr_t)hooks->on_success);
    rni_put_function(frame, (uintptr_t)hooks->on_error);
    rni_put_function(frame, (uintptr_t)hooks->on_finished);
}

static void put_plan(rni_writer *frame, const rni_plan *plan) {
    rni_put_8(frame, plan != NULL);
    rni_put_64(frame, plan ? plan->times : 1);
    rni_put_64(frame, plan ? (uint64_t)plan->every : 0);
    rni_put_64(frame, plan ? plan->missed : 0);
}

/* The frame, but for its values. */
static void put_turn(rni_writer *frame, rni_process *process, rni_turn *turn) {
    rn_call *call = &turn->call;
    rni_writer_begin(frame, RNI_TURN);
    rni_put_files(frame, &process->names);
    rni_put_8(frame, (uint8_t)turn->stage);
    rni_put_64(frame, call->iteration);
    rni_put_32(frame, rni_run_flags(call->run) & (RNI_UPDATES | RNI_HOOKS | RNI_BOUNDED));
    rni_put_64(frame, rni_run_id(call->run));
    rni_put_64(frame, (uint64_t)rni_now(call->runtime));
    rni_put_64(frame, (uint64_t)call->runtime->opened);
    rni_put_8(frame, call->runtime->is_virtual);
    rni_put_8(frame, call->runtime->debug);
    put_plan(frame, turn->plan);
    rni_put_text(frame, rn_name(call));
    put_functions(frame, call->run);
    if (rni_run_flags(call->run) & RNI_BOUNDED) rni_put_bounds(frame, rni_run_bounds(call->run));
}

static rn_value put_values(rni_writer *frame, const rni_turn *turn) {
    bool has_outcome = turn->stage != RNI_STAGE_FUNCTION;
    if (!rni_put_value(frame, turn->call.arg))
        return rn_error(RN_NOT_PORTABLE, ".arg holds a pointer, which means nothing in another process");
    (void)rni_put_value(frame, has_outcome ? turn->outcome : rni_none());
    rni_put_8(frame, turn->has_updated);
    (void)rni_put_value(frame, turn->has_updated ? turn->updated : rni_none());
    rni_put_8(frame, turn->is_hook_failed);
    return rni_none();
}

static rn_value send_turn(rni_process *process, rni_turn *turn) {
    rni_writer *frame = &process->channel.frame;
    uint32_t told = process->names.told;
    rn_value error = find_functions(turn->call.run);
    if (!rni_is_none(error)) return error;
    put_turn(frame, process, turn);
    error = put_values(frame, turn);
    unsigned long long size = rni_writer_size(frame);
    int code = rni_is_none(error) ? rni_channel_send(&process->channel) : RN_OK;
    if (code != RN_OK)
        error = rn_error(code, ".arg cannot be sent to a worker process: %llu bytes", size);
    if (!rni_is_none(error)) process->names.told = told;
    return error;
}

/* ---- what comes back ---- */

enum reply { ENDED, WAITS, FAILED, DIED_BELOW, NOT_BEGUN, REPLACED, GONE, DIED, GOES_ON };

#define TRIES 3 /* of a turn whose process dies before it has begun it */

enum point { BEGINS, ENDS, CALLED_OFF }; /* what a state is said of: a stage, the turn, a stage that the host called off */

/* Whether rni_turn_work() comes there from where the turn stands, without a message in between. */
static bool is_next(const rni_turn *turn, enum rni_stage stage, uint64_t iteration) {
    uint64_t most = turn->plan ? turn->plan->times : 1;
    bool is_new = turn->stage == RNI_STAGE_FUNCTION; /* that function has been run since */
    if (stage > RNI_STAGE_END || iteration > most || iteration != turn->call.iteration + is_new) return false;
    if (stage != RNI_STAGE_FUNCTION) return is_new || stage >= turn->stage;
    return iteration < most && turn->stage <= RNI_STAGE_ON_ITER;
}

static bool is_fit(const rni_turn *turn, enum point point, enum rni_stage stage, uint64_t iteration, bool waits) {
    if (point == CALLED_OFF) return waits && stage == turn->stage && iteration == turn->call.iteration;
    if (!is_next(turn, stage, iteration)) return false;
    if (!waits) return (stage == RNI_STAGE_END) == (point == ENDS);
    return point == ENDS && stage == RNI_STAGE_ON_ITER && turn->plan && turn->plan->every > 0;
}

static void add_to(rni_a64 *count, uint64_t more) {
    rni_store_release(count, rni_load_relaxed(count) + more); /* pairs with the readers of lanes, as rni_count */
}

static void count_iterations(rni_turn *turn, uint64_t iteration, uint64_t failed) {
    uint64_t more = iteration - turn->call.iteration;
    turn->call.iteration = iteration;
    if (!turn->lane) return;
    add_to(&turn->lane->started, more);
    add_to(&turn->lane->failed, failed);
}

static void show_iteration(rni_turn *turn, enum rni_stage stage) {
    uint64_t shown = turn->call.iteration + (stage == RNI_STAGE_FUNCTION);
    if (turn->plan) rni_store_relaxed(&turn->plan->iteration, shown);
}

/* Takes over how far the turn has come. False: no worker says that. */
static bool take_state(rni_reader *reader, rni_turn *turn, enum point point, bool *waits) {
    *waits = rni_take_flag(reader);
    enum rni_stage stage = (enum rni_stage)rni_take_8(reader);
    uint64_t iteration = rni_take_64(reader);
    uint64_t failed = rni_take_64(reader);
    rn_value outcome = rni_take_value(reader);
    bool has_updated = rni_take_flag(reader);
    rn_value updated = rni_take_value(reader);
    bool is_hook_failed = rni_take_flag(reader);
    bool is_mixed = stage == RNI_STAGE_FUNCTION && !rni_is_none(outcome); /* an outcome comes after the function */
    is_mixed = is_mixed || failed > iteration - turn->call.iteration;
    is_mixed = is_mixed || (!has_updated && (is_hook_failed || !rni_is_none(updated)));
    if (!rni_reader_is_done(reader) || is_mixed || !is_fit(turn, point, stage, iteration, *waits)) {
        rni_drop(outcome);
        rni_drop(updated);
        return false;
    }
    if (turn->has_outcome) rni_drop(turn->outcome);
    if (turn->has_updated) rni_drop(turn->updated);
    count_iterations(turn, iteration, failed);
    turn->stage = stage;
    turn->has_outcome = stage != RNI_STAGE_FUNCTION;
    turn->outcome = outcome;
    turn->has_updated = has_updated;
    turn->updated = updated;
    turn->is_hook_failed = is_hook_failed;
    show_iteration(turn, stage);
    return true;
}

/* ---- the conversation ---- */

bool rni_process_await_mail(rni_process *process, int64_t deadline) {
    rni_channel *channel = &process->channel;
    for (uint32_t word;;) {
        bool is_dead = rni_load_acquire(&process->is_dead); /* pairs with the watcher; read before the mail: what it left counts */
        if (rni_channel_has_mail(channel, &word)) return true;
        if (is_dead || (deadline >= 0 && rni_os_now() >= deadline)) return false;
        if (!rni_load_acquire(&process->is_dead)) rni_channel_wait(channel, word, deadline); /* as above */
    }
}

/* To a stage that begins; or that must not. */
static void answer_stage(rni_process *process, bool is_called_off) {
    rni_writer_begin(&process->channel.frame, RNI_ANSWER);
    rni_put_8(&process->channel.frame, is_called_off);
    (void)rni_channel_send(&process->channel);
}

static enum reply take_end(rni_reader *reader, rni_turn *turn, rn_value *error) {
    bool waits;
    if (!rni_take_flag(reader)) {
        if (!take_state(reader, turn, rni_is_error(*error) ? CALLED_OFF : ENDS, &waits)) return GONE;
        if (rni_is_error(*error)) return FAILED; /* it was called off */
        return waits ? WAITS : ENDED;
    }
    rni_drop(*error);
    *error = rni_take_value(reader);
    bool is_good = rni_reader_is_done(reader) && rni_is_error(*error);
    if (!is_good) rni_drop(*error);
    return is_good ? FAILED : GONE;
}

static enum reply take_frame(rni_processes *processes, rni_process *process, rni_turn *turn, rn_value *error) {
    rni_reader reader;
    bool waits;
    if (!rni_channel_read(&process->channel, &reader)) return process->channel.is_cut ? DIED : GONE;
    uint8_t frame = rni_take_8(&reader);
    if (frame == RNI_ENDED) return take_end(&reader, turn, error);
    if (frame != RNI_STAGE) return rni_process_serve(processes, process, turn, frame, &reader) ? GOES_ON : GONE;
    if (!take_state(&reader, turn, BEGINS, &waits)) return GONE;
    if (!rni_overtime_next_stage(processes, process, turn->call.run)) return REPLACED;
    answer_stage(process, rni_quarantine_refuses(&processes->quarantine, turn, error)); /* its ENDED follows */
    return GOES_ON;
}

void rni_process_put_away(rni_processes *processes, rni_process *process) {
    rni_process_kill(processes, process);
    rni_drop(rni_process_bury(processes, process));
}

rn_value rni_process_broken(rni_processes *processes, rni_process *process) {
    rni_process_put_away(processes, process);
    return rn_error(RN_CRASHED, "the worker process broke the protocol, and was killed");
}

/* A run that was inlined in a wait of this one took the process with it. */
static rn_value died_below(void) {
    return rn_error(RN_CRASHED, "the worker process died in a run that this task waited for, and that it ran itself");
}

/* Whether the dead process had begun what that message asked for. */
static bool has_begun(rni_process *process, uint32_t message) {
    uint64_t begun = rni_load_acquire(&process->channel.in->begun); /* pairs with run_order, and run_batch */
    return (int32_t)((uint32_t)(begun >> 32) - message) >= 0;
}

/* A death that came with the zygote's is nobody's fault here. */
static void note_death(rni_processes *processes, const rni_process *process, rni_turn *turn, rn_value error) {
    bool is_known = process->ended.status >= 0;
    bool is_the_tasks = !process->is_ours_to_blame && !process->is_preparing;
    if (is_known && is_the_tasks) rni_quarantine_count(&processes->quarantine, turn, error);
}

static enum reply converse(rni_processes *processes, rni_process *process, rni_turn *turn, rn_value *error) {
    uint32_t number = process->number, message = rni_load_relaxed(&process->channel.out->count);
    for (;;) {
        if (!rni_process_is(process, number)) {
            *error = died_below();
            return DIED_BELOW;
        }
        bool has_mail = rni_process_await_mail(process, -1);
        enum reply reply = has_mail ? take_frame(processes, process, turn, error) : DIED;
        if (reply == DIED) {
            bool begun = has_begun(process, message);
            rni_drop(*error);
            *error = rni_limits_judge(process, turn, rni_process_bury(processes, process));
            if (begun) note_death(processes, process, turn, *error);
            return begun ? FAILED : NOT_BEGUN;
        }
        if (reply == GONE) rni_drop(*error);
        if (reply == GONE) *error = rni_process_broken(processes, process);
        if (reply == GONE) note_death(processes, process, turn, *error);
        if (reply != GOES_ON) return reply == GONE ? FAILED : reply;
    }
}

/* Without a bound, a hook or a second iteration a turn neither waits nor is it moved to another process. */
enum rni_prepared rni_process_prepare(rni_processes *processes, rni_process *process, rni_turn *turn, rn_value *error) {
    uint32_t number = process->number;
    rni_stage_limit limit; /* no run of it is stopped, but the runtime may close by stopping */
    rni_overtime_arm(processes, process, turn, NULL, &limit);
    *error = send_turn(process, turn);
    enum reply reply = rni_is_none(*error) ? converse(processes, process, turn, error) : FAILED;
    rni_overtime_disarm(processes, process, &limit);
    if (rni_overtime_condemns(&limit)) {
        *error = rni_overtime_judge(processes, process, &limit, *error);
        return RNI_PREPARE_FAILED;
    }
    if (reply == ENDED) return RNI_PREPARED;
    bool is_excused = !rni_process_is(process, number) && (process->ended.status < 0 || process->is_ours_to_blame);
    return reply == NOT_BEGUN || is_excused ? RNI_PREPARE_AGAIN : RNI_PREPARE_FAILED;
}

/* A run that the process has begun in a batch. */
static bool is_resumed(rni_process *process, enum reply *reply, rn_value *error) {
    enum rni_resumed resumed = process->resumed;
    process->resumed = RNI_NOT_RESUMED;
    if (resumed == RNI_RESUMED_FAILED) *error = process->resumed_error;
    *reply = resumed == RNI_RESUMED_FAILED ? FAILED : GOES_ON;
    return resumed != RNI_NOT_RESUMED;
}

/* A stay of the turn with a process. */
struct stay {
    uint32_t number; /* of the process */
    rni_run *outer;  /* that waits there */
    rni_since since;
    rni_stage_limit limit;
};

/* The process has done with the turn, or died. */
static void leave(rni_processes *processes, rni_process *process, rni_turn *turn, struct stay *stay, bool is_good) {
    bool is_condemned = rni_overtime_condemns(&stay->limit);
    bool is_there = rni_process_is(process, stay->number);
    if (is_good) rni_quarantine_clear(&processes->quarantine, turn, stay->since);
    if (is_there && is_condemned) rni_process_put_away(processes, process);
    if (is_there && !is_condemned) rni_limits_lift(processes, process, turn->call.run);
    if (is_there && !is_condemned && is_good && !stay->outer && rni_recycle(processes, process, 1)) return;
    rni_process_let_be(processes, process, stay->number, stay->outer);
}

/* It uses more already than the run may: another process is made. If not even a new one can be limited, that is it. */
static enum reply replace(rni_processes *processes, rni_process *process, bool is_new, rn_value *error) {
    rni_process_put_away(processes, process);
    if (is_new) *error = rn_error(RN_NO_MEMORY, "the memory of a worker process cannot be limited (.limits.memory)");
    return is_new ? FAILED : REPLACED;
}

/* In a process that was taken for it, and is let be afterwards. */
static enum reply stay_there(rni_processes *processes, rni_process *process, rni_turn *turn, struct stay *stay,
                             bool resumed, rn_value *error) {
    enum rni_prepared prepared = rni_prepare(processes, process, error);
    if (prepared != RNI_PREPARED) return prepared == RNI_PREPARE_AGAIN ? NOT_BEGUN : FAILED;
    show_iteration(turn, turn->stage);
    bool is_new = process->group < 0;
    if (!rni_limits_apply(processes, process, turn->call.run)) return replace(processes, process, is_new, error);
    rni_overtime_arm(processes, process, turn, resumed ? process->resumed_limit : NULL, &stay->limit);
    if (!resumed) *error = send_turn(process, turn);
    enum reply reply = rni_is_none(*error) ? converse(processes, process, turn, error) : FAILED;
    rni_overtime_disarm(processes, process, &stay->limit);
    bool has_failed = reply == FAILED || reply == DIED_BELOW;
    if (has_failed && !rni_process_is(process, stay->number)) *error = rni_overtime_judge(processes, process, &stay->limit, *error);
    return reply;
}

/* One try, in one process. */
static enum reply take_through(rni_processes *processes, rni_process *process, rni_turn *turn, rn_value *error) {
    enum reply reply;
    struct stay stay = {.since = {turn->stage, turn->call.iteration}};
    bool resumed = is_resumed(process, &reply, error);
    if (reply == FAILED) note_death(processes, process, turn, *error);
    if (reply == FAILED || (!resumed && rni_quarantine_refuses(&processes->quarantine, turn, error))) return FAILED;
    if (rni_prepare_refuses(processes, process, error)) return FAILED;
    if (!rni_process_take(processes, process, turn, &stay.outer, error)) return FAILED;
    stay.number = process->number;
    reply = stay_there(processes, process, turn, &stay, resumed, error);
    leave(processes, process, turn, &stay, reply == ENDED || reply == WAITS);
    return reply;
}

static bool work_in(rni_processes *processes, rni_process *process, rni_turn *turn) {
    for (unsigned tries = 1;; tries++) {
        rn_value error = rni_none();
        enum reply reply = take_through(processes, process, turn, &error);
        if (reply == ENDED) return true;
        if (reply == WAITS) return false;
        if (reply == REPLACED || (reply == NOT_BEGUN && tries < TRIES)) {
            if (reply == REPLACED) tries = 0;
            rni_drop(error);
            continue;
        }
        tries = 0;
        if (reply != DIED_BELOW) rni_capsule_leave(processes, turn, error); /* else that run has left one */
        if (turn->stage == RNI_STAGE_FUNCTION) rni_turn_begin_iteration(turn);
        rni_turn_fail(turn, error);
        turn->has_outcome = true;
        enum rni_next next = rni_turn_next(turn);
        if (next == RNI_NEXT_WAIT) return false;
        if (next == RNI_NEXT_END) return true;
        if (turn->stage == RNI_STAGE_FUNCTION) turn->has_outcome = false;
    }
}

/* In a thread of the program. A task there may start another that runs in its caller too. */
static bool work_for_caller(rni_processes *processes, rni_turn *turn) {
    uintptr_t self = rni_os_thread_self();
    bool is_inner = (uintptr_t)rni_load_relaxed(&processes->caller) == self; /* only we write that */
    if (!is_inner) rni_mutex_lock(&processes->callers);
    if (!is_inner) rni_store_relaxed(&processes->caller, (void *)self);
    bool is_over = work_in(processes, &processes->all[processes->count - 1], turn);
    if (is_inner) return is_over;
    rni_store_relaxed(&processes->caller, NULL);
    rni_mutex_unlock(&processes->callers);
    return is_over;
}

bool rni_process_work(rni_turn *turn) {
    rni_processes *processes = rni_processes_of(turn->call.runtime);
    uint32_t number = rni_worker_number(rni_self, turn->call.runtime);
    turn->has_outcome = turn->stage != RNI_STAGE_FUNCTION;
    rni_process *process = number > 0 ? &processes->all[number - 1] : NULL;
    return process && !process->is_busy ? work_in(processes, process, turn) : work_for_caller(processes, turn);
}
