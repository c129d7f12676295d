#include "process/prepare.h"

#include "core/world.h"
#include "process/host.h"
#include "value/value.h"

/* ---- opening and closing ---- */

rn_value rni_prepare_open(rni_preparation *preparation, const rn_options *options) {
    if (rni_is_error(options->prepare_arg)) return rn_keep(options->prepare_arg); /* as that of a task */
    if (!rni_names_find((uintptr_t)options->prepare))
        return rn_error(RN_NOT_PORTABLE, ".prepare is in no loaded file, and cannot be found in a worker process");
    if (!rni_wire_is_portable(options->prepare_arg))
        return rn_error(RN_NOT_PORTABLE, ".prepare_arg holds a pointer, which means nothing in another process");
    preparation->function = options->prepare;
    preparation->arg = rn_keep(options->prepare_arg);
    return rni_none();
}

void rni_prepare_close(rni_preparation *preparation) {
    rni_drop(preparation->arg);
    rni_drop(preparation->last);
}

/* ---- failures ---- */

static void note_success(rni_processes *processes) {
    rni_preparation *preparation = &processes->preparation;
    rni_mutex_lock(&processes->lock);
    rn_value last = preparation->last;
    preparation->failures = 0;
    preparation->last = rni_none();
    rni_store_relaxed(&preparation->is_hopeless, 0); /* one that was under way when the others failed */
    rni_mutex_unlock(&processes->lock);
    rni_drop(last);
}

static void note_failure(rni_processes *processes, rn_value error) {
    rni_preparation *preparation = &processes->preparation;
    rni_mutex_lock(&processes->lock);
    rn_value former = preparation->last;
    preparation->last = rn_keep(error);
    unsigned failures = ++preparation->failures;
    if (failures >= processes->quarantine.limit) rni_store_relaxed(&preparation->is_hopeless, 1);
    rni_mutex_unlock(&processes->lock);
    rni_drop(former);
    if (failures == processes->quarantine.limit)
        rni_log(processes->runtime, RN_LOG_ERROR, ".prepare failed in %u worker processes in a row, the last time so: %s; "
                "no more are made, and runs fail", failures, rn_error_message(error));
}

bool rni_prepare_refuses(rni_processes *processes, const rni_process *process, rn_value *error) {
    rni_preparation *preparation = &processes->preparation;
    if (rni_load_relaxed(&preparation->is_hopeless) == 0) return false; /* one that is too early tries once more */
    rni_mutex_lock(&processes->lock);
    bool is_lost = rni_load_relaxed(&preparation->is_hopeless) && !(process->is_up && process->is_prepared);
    unsigned failures = preparation->failures;
    rn_value last = is_lost ? rn_keep(preparation->last) : rni_none();
    rni_mutex_unlock(&processes->lock);
    if (is_lost)
        *error = rn_error_because(last, RN_NO_PROCESSES, "no worker process: .prepare failed in %u of them in a row",
                                  failures);
    return is_lost;
}

/* ---- the turn ---- */

/* The process may be told that the runtime closes; but not that the run is to stop which waits for it. */
static rni_run *exchange_run(rni_processes *processes, rni_process *process, rni_run *run) {
    rni_mutex_lock(&processes->lock);
    rni_run *former = process->run;
    process->run = run;
    rni_process_tell(processes, process);
    rni_mutex_unlock(&processes->lock);
    return former;
}

/* In no list of pending runs: nobody has started it. */
static rni_run *make_run(const rni_preparation *preparation) {
    rni_run *run = rni_run_make(NULL);
    if (!run) return NULL;
    run->function = preparation->function;
    rni_store_relaxed(&run->flags, 0);
    run->done.value = rni_none();
    rni_store_relaxed(&run->origin, (void *)(uintptr_t)"prepare\0");
    rni_completion_init(&run->done, RN_RUNNING | RNI_BEGUN);
    return run;
}

static enum rni_prepared take_through(rni_processes *processes, rni_process *process, rni_run *run, rn_value *error) {
    rni_thread *self = rni_self;
    rni_turn turn = {.outcome = rni_none(), .updated = rni_none(), .stage = RNI_STAGE_FUNCTION, .era = rni_world_era()};
    turn.call.runtime = processes->runtime;
    turn.call.run = run;
    turn.call.hook = "";
    turn.call.arg = processes->preparation.arg;
    turn.call.wait_error = rni_none();
    turn.call.outer = self->call;
    self->call = &turn.call;
    enum rni_prepared prepared = rni_process_prepare(processes, process, &turn, error);
    if (prepared == RNI_PREPARE_FAILED) rni_capsule_leave(processes, &turn, *error);
    if (prepared == RNI_PREPARED && rni_is_error(turn.outcome)) {
        *error = rn_keep(turn.outcome);
        prepared = RNI_PREPARE_FAILED;
    }
    self->call = turn.call.outer;
    rni_drop(turn.call.wait_error);
    if (turn.has_outcome) rni_drop(turn.outcome);
    if (turn.has_updated) rni_drop(turn.updated);
    return prepared;
}

static enum rni_prepared prepare(rni_processes *processes, rni_process *process, rn_value *error) {
    rni_run *run = make_run(&processes->preparation);
    if (!run) {
        *error = rni_error_no_memory();
        return RNI_PREPARE_FAILED;
    }
    uint32_t number = process->number;
    process->is_prepared = true; /* so far as what it starts, and waits for, is concerned */
    process->is_preparing = true;
    rni_run *waiting = exchange_run(processes, process, run);
    enum rni_prepared prepared = take_through(processes, process, run, error);
    process->is_preparing = false;
    if (rni_process_is(process, number)) (void)exchange_run(processes, process, waiting);
    rni_run_free(run);
    return prepared;
}

enum rni_prepared rni_prepare(rni_processes *processes, rni_process *process, rn_value *error) {
    if (!processes->preparation.function || process->is_prepared) return RNI_PREPARED;
    uint32_t number = process->number;
    enum rni_prepared prepared = prepare(processes, process, error);
    if (prepared == RNI_PREPARED) note_success(processes);
    if (prepared != RNI_PREPARE_FAILED) return prepared;
    if (rni_process_is(process, number)) {
        rni_process_kill(processes, process);
        rni_drop(rni_process_bury(processes, process));
    }
    note_failure(processes, *error);
    *error = rn_error_because(*error, RN_NO_PROCESSES,
                              "no worker process: .prepare failed in the one that was to run this");
    return RNI_PREPARE_FAILED;
}
