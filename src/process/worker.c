#include "process/worker.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/os.h"
#include "base/os_crash.h"
#include "base/os_shared.h"
#include "base/os_stderr.h"
#include "core/executor.h"
#include "core/lane.h"
#include "core/remote.h"
#include "core/world.h"
#include "process/bound.h"
#include "process/sandbox.h"
#include "process/zygote.h"
#include "value/value.h"

#define NO_CHANNEL 120 /* exit status: what the zygote gave it is no channel */
#define BAD_FRAME 121  /* the host said what it never says */
#define NO_SANDBOX 122 /* it could not enter the one that it was given */

rni_worker_self rni_worker;

/* ---- a turn ---- */

static uintptr_t take_function(rni_reader *reader, rni_order *order) {
    uintptr_t function;
    rn_value refusal = rni_take_function(reader, &rni_worker.names, true, &function);
    if (rni_is_none(order->refusal)) order->refusal = refusal;
    else rni_drop(refusal);
    return function;
}

static void take_functions(rni_reader *reader, rni_order *order) {
    order->refusal = rni_none();
    order->function = (rn_task_fn *)take_function(reader, order);
    if (!(order->flags & RNI_HOOKS)) return;
    order->hooks.on_iter = (rn_outcome_fn *)take_function(reader, order);
    order->hooks.on_success = (rn_success_fn *)take_function(reader, order);
    order->hooks.on_error = (rn_error_fn *)take_function(reader, order);
    order->hooks.on_finished = (rn_outcome_fn *)take_function(reader, order);
}

static void take_order(rni_reader *reader, rni_order *order) {
    rni_take_files(reader, &rni_worker.names);
    order->stage = (enum rni_stage)rni_take_8(reader);
    order->iteration = rni_take_64(reader);
    order->flags = rni_take_32(reader);
    order->run_id = rni_take_64(reader);
    order->now = rni_take_64(reader);
    order->opened = rni_take_64(reader);
    order->is_virtual = rni_take_flag(reader);
    order->debug = rni_take_flag(reader);
    order->has_plan = rni_take_flag(reader);
    order->times = rni_take_64(reader);
    order->every = (int64_t)rni_take_64(reader);
    order->missed = rni_take_64(reader);
    rni_take_text(reader, order->name, sizeof order->name);
    take_functions(reader, order);
    if (order->flags & RNI_BOUNDED) rni_take_bounds(reader, &order->bounds);
    order->arg = rni_take_value(reader);
    order->outcome = rni_take_value(reader);
    order->has_updated = rni_take_flag(reader);
    order->updated = rni_take_value(reader);
    order->is_hook_failed = rni_take_flag(reader);
}

/* The run in this process: it has a plan, for its name at least. NULL: no memory. */
static rni_run *make_run(const rni_order *order) {
    rni_run *run = rni_run_make(rni_worker.runtime);
    rni_plan *plan = run ? rni_run_add_plan(run, (int64_t)order->now) : NULL;
    if (!plan) {
        if (run) rni_run_free(run);
        return NULL;
    }
    run->function = order->function;
    rni_store_relaxed(&run->origin, NULL);
    rni_store_relaxed(&run->flags, order->flags & ~RNI_BOUNDED); /* its plan has none: they are the order's */
    if (order->flags & RNI_HOOKS) *rni_run_hooks(run) = order->hooks;
    plan->times = order->times;
    plan->every = order->every;
    plan->missed = order->missed;
    rni_plan_set_name(plan, order->name);
    rni_completion_init(&run->done, RN_RUNNING | RNI_BEGUN);
    return run;
}

/* What comes back to the host must be able to travel. */
void rni_worker_make_portable(rni_turn *turn, rn_value *value, const char *who) {
    if (rni_wire_is_portable(*value)) return;
    rni_drop(*value);
    *value = rn_error(RN_NOT_PORTABLE, "%s returned a pointer, which means nothing in another process", who);
    *value = rni_error_stamp(*value, rn_name(&turn->call), turn->call.hook, turn->call.iteration);
}

static void put_state(rni_writer *writer, rni_turn *turn, bool waits) {
    rni_worker_make_portable(turn, &turn->outcome, "the task");
    if (turn->has_updated) rni_worker_make_portable(turn, &turn->updated, "a hook");
    rni_put_8(writer, waits);
    rni_put_8(writer, (uint8_t)turn->stage);
    rni_put_64(writer, turn->call.iteration);
    rni_put_64(writer, turn->failed);
    turn->failed = 0;
    (void)rni_put_value(writer, turn->outcome);
    rni_put_8(writer, turn->has_updated);
    (void)rni_put_value(writer, turn->has_updated ? turn->updated : rni_none());
    rni_put_8(writer, turn->is_hook_failed);
}

/* Before a stage: what there is so far, in case that this process does not survive it. */
static bool publish(rni_turn *turn) {
    rni_reader answer;
    rni_writer_begin(&rni_worker.channel.frame, RNI_STAGE);
    put_state(&rni_worker.channel.frame, turn, false);
    return !(rni_ask(&answer) && rni_take_flag(&answer)); /* called off: the host goes on with the turn by itself */
}

void rni_worker_send_refusal(rn_value refusal) {
    rni_writer *frame = &rni_worker.channel.frame;
    rni_writer_begin(frame, RNI_ENDED);
    rni_put_8(frame, 1);
    (void)rni_put_value(frame, refusal);
    rni_drop(refusal);
    if (rni_channel_send(&rni_worker.channel) != RN_OK) exit(BAD_FRAME);
}

void rni_worker_send_end(rni_turn *turn, bool waits) {
    rni_writer *frame = &rni_worker.channel.frame;
    rni_writer_begin(frame, RNI_ENDED);
    rni_put_8(frame, 0);
    put_state(frame, turn, waits);
    unsigned long long size = rni_writer_size(frame);
    if (rni_channel_send(&rni_worker.channel) == RN_OK) return;
    rni_worker_send_refusal(rn_error(RN_TOO_LARGE, "the result cannot be sent: %llu bytes", size));
}

void rni_worker_begin_turn(rni_turn *turn, rni_run *run, const rni_order *order) {
    rni_thread *self = rni_self;
    *turn = (rni_turn){.plan = rni_run_plan(run), .outcome = order->outcome, .updated = order->updated,
                       .has_updated = order->has_updated, .is_hook_failed = order->is_hook_failed,
                       .stage = order->stage, .era = rni_world_era(), .publish = publish};
    turn->call.runtime = rni_worker.runtime;
    turn->call.run = run;
    turn->call.hook = "";
    turn->call.iteration = order->iteration;
    turn->call.run_id = order->run_id;
    turn->call.arg = order->arg;
    turn->call.wait_error = rni_none();
    turn->call.outer = self->call;
    turn->lane = rni_lane_of(rni_load_relaxed(&rni_worker.runtime->serial));
    self->call = &turn->call;
}

void rni_worker_end_turn(rni_turn *turn) {
    rni_self->call = turn->call.outer;
    rni_drop(turn->call.wait_error);
    rni_drop(turn->call.arg);
    rni_drop(turn->outcome);
    if (turn->has_updated) rni_drop(turn->updated);
    rni_run_free(turn->call.run);
}

static void run_order(rni_run *run, const rni_order *order) {
    rni_turn turn;
    rni_bound_turn bound;
    uint64_t outer_id = rni_worker.run_id;
    rni_worker.run_id = order->run_id;
    rni_worker.runtime->is_virtual = order->is_virtual;
    rni_worker.runtime->debug = order->debug;
    rni_worker.runtime->opened = (int64_t)order->opened;
    rni_store_relaxed(&rni_worker.runtime->virtual_now, order->now);
    rni_worker_begin_turn(&turn, run, order);
    if (order->flags & RNI_BOUNDED) rni_bound_enter(&bound, run, &order->bounds);
    rni_store_relaxed(&rni_worker.channel.out->since, (uint64_t)rni_os_now());
    /* Pairs with has_begun: from here on it counts as run. */
    rni_store_release(&rni_worker.channel.out->begun, (uint64_t)order->message << 32 | 1);
    bool is_over = rni_turn_work(&turn);
    if (order->flags & RNI_BOUNDED) rni_bound_leave(&bound);
    fflush(NULL); /* what it printed is the host's to see, whatever becomes of this process */
    rni_worker_send_end(&turn, !is_over);
    rni_worker_end_turn(&turn);
    rni_worker.run_id = outer_id;
}

static void take_turn(rni_reader *reader) {
    rni_order order = {.message = rni_worker.channel.seen, .refusal = rni_none()};
    take_order(reader, &order);
    if (!rni_reader_is_done(reader)) exit(BAD_FRAME);
    if (rni_is_none(order.refusal) && rni_is_error(order.arg)) order.refusal = rn_keep(order.arg); /* it could not be had */
    rni_run *run = rni_is_none(order.refusal) ? make_run(&order) : NULL;
    if (run) {
        run_order(run, &order);
        return;
    }
    rni_drop(order.arg);
    rni_drop(order.outcome);
    rni_drop(order.updated);
    rni_worker_send_refusal(rni_is_none(order.refusal) ? rni_error_no_memory() : order.refusal);
}

/* ---- the conversation ---- */

static void converse(rni_reader *answer) {
    rni_channel *channel = &rni_worker.channel;
    for (uint32_t word;;) {
        while (!rni_channel_has_mail(channel, &word)) rni_channel_wait(channel, word, -1);
        if (!rni_channel_read(channel, answer)) exit(BAD_FRAME);
        switch (rni_take_8(answer)) {
        case RNI_ANSWER: return;
        case RNI_TURN: take_turn(answer); break;
        case RNI_BATCH: rni_worker_batch(answer); break;
        case RNI_QUIT: exit(0);
        default: exit(BAD_FRAME);
        }
    }
}

bool rni_ask(rni_reader *answer) {
    if (rni_os_thread_self() != rni_worker.thread) return false;
    if (rni_worker.is_quiet) rni_worker_talk();
    rni_bound_pause();
    bool is_sent = rni_channel_send(&rni_worker.channel) == RN_OK;
    if (is_sent) converse(answer);
    rni_bound_resume();
    return is_sent;
}

/* ---- the process ---- */

static void lane_init(rni_lane *lane) { (void)lane; }

/* What a task forks does not speak with the host. */
static void forget(rn_runtime *runtime) {
    (void)runtime;
    rni_os_close(rni_worker.channel.socket);
}

static const rni_executor client_executor = {
    .name = "worker process", .lane_bytes = sizeof(rni_lane), .lane_init = lane_init, .forget = forget};

static bool open_runtime(void) {
    rn_runtime *runtime = rni_world_open();
    rni_thread *self = rni_thread_get();
    if (!runtime || !self) return false;
    runtime->executor = &client_executor;
    runtime->told = &rni_worker.channel.in->told;
    runtime->open_error = rni_none();
    rni_worker.runtime = runtime;
    return rni_lane_make(runtime, rni_load_relaxed(&runtime->serial), self, true) != NULL;
}

/* Called in the handler of a crash: whether it is the task's own function or hook. What called it is no matter of his. */
static bool is_entry(uintptr_t function) {
    const rn_call *call = rni_self ? rni_self->call : NULL;
    const rni_run *run = call ? call->run : NULL;
    if (!run) return false;
    if (function == (uintptr_t)run->function) return true;
    if (!(rni_run_flags(run) & RNI_HOOKS)) return false;
    const rni_hooks *hooks = rni_run_hooks(run);
    return function == (uintptr_t)hooks->on_iter || function == (uintptr_t)hooks->on_success ||
           function == (uintptr_t)hooks->on_error || function == (uintptr_t)hooks->on_finished;
}

static void watch_crashes(int fd) {
    rni_os_crash *record = rni_os_map_shared(fd, RNI_OS_CRASH_BYTES, RNI_OS_CRASH_BYTES, true);
    rni_os_close(fd);
    if (!record) exit(NO_CHANNEL);
    rni_os_crash_watch(record, (uintptr_t)rni_turn_work, is_entry);
}

void rni_worker_process(const int *fds, uint32_t count) {
    rni_reader none;
    rni_worker.thread = rni_os_thread_self();
    if (count != RNI_WORKER_FDS || !rni_channel_join(&rni_worker.channel, fds) || !open_runtime()) exit(NO_CHANNEL);
    rni_os_stderr_become(fds[RNI_WORKER_STDERR]);
    watch_crashes(fds[RNI_WORKER_RECORD]);
    rni_client_init();
    rni_os_thread_name("runium worker");
    if (!rni_sandbox_enter(rni_worker.channel.socket)) exit(NO_SANDBOX);
    for (;;) converse(&none);
}
