#include "process/bound.h"

#include "base/os.h"
#include "core/runtime.h"
#include "process/overtime.h"
#include "value/value.h"

static rni_bound_turn *current; /* the innermost; NULL: the task has no bounds */

/* ---- frames ---- */

void rni_put_bounds(rni_writer *writer, const rni_bounds *bounds) {
    rni_put_64(writer, (uint64_t)bounds->timeout);
    rni_put_64(writer, (uint64_t)bounds->cpu);
    rni_put_64(writer, bounds->address_space);
    rni_put_64(writer, bounds->open_files);
    rni_put_64(writer, bounds->memory);
}

static int64_t take_duration(rni_reader *reader) {
    uint64_t duration = rni_take_64(reader);
    if (duration > RN_DURATION_MAX) reader->failed = true;
    return reader->failed ? 0 : (int64_t)duration;
}

void rni_take_bounds(rni_reader *reader, rni_bounds *bounds) {
    bounds->timeout = take_duration(reader);
    bounds->cpu = take_duration(reader);
    bounds->address_space = rni_take_64(reader);
    bounds->open_files = rni_take_64(reader);
    bounds->memory = rni_take_64(reader);
}

/* ---- a stage ---- */

static rni_bound_turn *begin(int64_t *began) {
    *began = rni_os_now();
    current->is_inside = true;
    rni_os_limits_apply(&current->limits);
    return current;
}

static rn_value end(const rn_call *call, rni_bound_turn *turn, int64_t began, rn_value returned) {
    uint32_t told = rni_told(call->runtime);
    rni_os_limits_lift(&turn->limits);
    turn->is_inside = false;
    if (!(told & RNI_TOLD_LATE)) return returned;
    rn_value cause = rni_is_error(returned) ? returned : rni_none();
    if (!rni_is_error(returned)) rni_drop(returned);
    enum rni_step step = told & RNI_TOLD_TERM ? RNI_WAS_TERMINATED : RNI_WAS_TOLD;
    return rni_overtime_error(cause, turn->bounds.timeout, rni_os_now() - began, step, true);
}

static rn_value run_function(rn_call *call) {
    int64_t began;
    rni_os_limits_renew_cpu(&current->limits); /* each iteration has its own */
    rni_bound_turn *turn = begin(&began);
    return end(call, turn, began, turn->function(call));
}

static rn_value run_on_iter(rn_call *call, rn_value success, rn_value error) {
    int64_t began;
    rni_bound_turn *turn = begin(&began);
    return end(call, turn, began, turn->hooks.on_iter(call, success, error));
}

static rn_value run_on_success(rn_call *call, rn_value success) {
    int64_t began;
    rni_bound_turn *turn = begin(&began);
    return end(call, turn, began, turn->hooks.on_success(call, success));
}

static rn_value run_on_error(rn_call *call, rn_value error) {
    int64_t began;
    rni_bound_turn *turn = begin(&began);
    return end(call, turn, began, turn->hooks.on_error(call, error));
}

static rn_value run_on_finished(rn_call *call, rn_value success, rn_value error) {
    int64_t began;
    rni_bound_turn *turn = begin(&began);
    return end(call, turn, began, turn->hooks.on_finished(call, success, error));
}

/* ---- a turn ---- */

static void replace_hooks(rni_hooks *hooks) {
    if (hooks->on_iter) hooks->on_iter = run_on_iter;
    if (hooks->on_success) hooks->on_success = run_on_success;
    if (hooks->on_error) hooks->on_error = run_on_error;
    if (hooks->on_finished) hooks->on_finished = run_on_finished;
}

void rni_bound_enter(rni_bound_turn *turn, rni_run *run, const rni_bounds *bounds) {
    *turn = (rni_bound_turn){.outer = current, .bounds = *bounds, .function = run->function};
    rni_os_limits_plan(&turn->limits, bounds->address_space, bounds->open_files, bounds->cpu);
    run->function = run_function;
    if (rni_run_flags(run) & RNI_HOOKS) {
        turn->hooks = *rni_run_hooks(run);
        replace_hooks(rni_run_hooks(run));
    }
    current = turn;
}

void rni_bound_leave(rni_bound_turn *turn) { current = turn->outer; }

void rni_bound_pause(void) {
    if (current && current->is_inside) rni_os_limits_lift(&current->limits);
}

void rni_bound_resume(void) {
    if (current && current->is_inside) rni_os_limits_apply(&current->limits);
}
