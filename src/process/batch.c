/*
 * The host's side of batches, see batch.h. How many runs go into one follows from how long they take: the worker says it
 * with each, and a batch is not to take much longer than a wake-up costs.
 */
#include "process/batch.h"

#include "core/lane.h"
#include "process/host.h"
#include "process/results.h"
#include "thread/pool.h"
#include "value/value.h"

#define TICK RN_MILLISECONDS(1)
#define TICKS_MOST 256 /* of a batch that goes on, or that is never begun */
#define WORD_WAIT RN_SECONDS(5) /* for a worker that has none of its runs left to say so */
#define SHORT_NS 10000 /* a run: then the next batch may be larger */
#define LONG_NS 50000  /* then it is to be smaller */

struct batch {
    rn_runtime *runtime;
    rni_processes *processes;
    rni_process *process;
    rni_lane *lane;
    rni_run *runs[RNI_BATCH_MOST];
    uint32_t count;   /* in the batch; those taken out of it again are not */
    uint32_t over;    /* of which the result was read */
    uint32_t message;
    uint32_t number;  /* of the process */
    size_t at;        /* of the next result */
    bool is_revoked;
    rni_stage_limit limit; /* of the run that is left in it, while its end is awaited */
    rni_run *late[RNI_BATCH_MOST]; /* run alone once the batch is over */
    uint32_t late_count;
};

/* ---- what goes into it ---- */

static bool is_plain(const struct batch *batch, rni_run *run) {
    return !(rni_run_flags(run) & (RNI_HOOKS | RNI_KIT)) && !rni_run_plan(run) && rni_phase(batch->runtime) != RNI_STOPPING &&
           !rni_quarantine_holds(&batch->processes->quarantine, run->function);
}

static bool is_small(rn_value value) {
    enum rn_kind kind = rn_kind(value);
    return kind <= RN_FLOAT || ((kind == RN_TEXT || kind == RN_BYTES) && rn_length(value) < RNI_BATCH_VALUE);
}

static void say_place(const struct batch *batch, rni_run *run, bool is_here) {
    uint32_t number = is_here ? rni_worker_number(rni_self, batch->runtime) : 0;
    rni_store_relaxed(&run->place, batch->runtime->index | number << 16);
}

/* Begins the run. False: there is nothing to run. */
static bool begin(const struct batch *batch, rni_run *run) {
    enum rni_verdict verdict = RNI_YES;
    if (rni_run_flags(run) & RNI_DETACHED) rni_completion_begin_detached(&run->done);
    else verdict = rni_completion_begin(&run->done);
    if (verdict == RNI_LAST) rni_run_give_back(run);
    if (verdict != RNI_YES) return false;
    if (rni_run_flags(run) & RNI_COUNTED_IN) {
        rni_store_relaxed(&run->flags, rni_run_flags(run) & ~RNI_COUNTED_IN); /* others read the rest of them */
        rni_queue_release(batch->runtime);
    }
    say_place(batch, run, true);
    return true;
}

/* Back to the queue, or to be run alone by this thread. */
static void give_back(struct batch *batch, rni_run *run) {
    bool is_back = rni_completion_unbegin(&run->done) == RNI_YES;
    if (is_back) {
        say_place(batch, run, false);
        if (rni_pool_push_back(batch->runtime, run)) return;
        is_back = !begin(batch, run); /* the queue is full */
    }
    if (!is_back) batch->late[batch->late_count++] = run;
}

/* From the last to the first of them: so they come out of the queue in their order. */
static void give_back_from(struct batch *batch, uint32_t first) {
    if (batch->count <= first) return;
    while (batch->count > first) give_back(batch, batch->runs[--batch->count]);
    rni_parking_notify(&rni_pool_of(batch->runtime)->parking);
}

static void collect(struct batch *batch, rni_run *first) {
    uint64_t left = rni_recycle_turns_left(batch->processes, batch->process);
    uint32_t most = batch->process->batch_most ? batch->process->batch_most : 1;
    if (most > left) most = (uint32_t)left;
    for (rni_run *run = first; run; run = batch->count < most ? rni_pool_take(batch->runtime) : NULL) {
        if (!is_plain(batch, run)) {
            RNI_ASSERT(rni_pool_push_back(batch->runtime, run)); /* there is room: it came from there */
            return;
        }
        if (!begin(batch, run)) continue;
        batch->runs[batch->count++] = run;
        if (is_small(run->done.value)) continue;
        if (batch->count > 1) give_back_from(batch, batch->count - 1);
        else batch->late[batch->late_count++] = batch->runs[--batch->count];
        return;
    }
}

/* ---- the message ---- */

static bool put_name(rni_writer *frame, rni_run *run) {
    char name[RN_NAME_MAX + 1];
    rni_run_name(run, name);
    rni_put_text(frame, name);
    return !frame->failed;
}

static bool put_run(rni_writer *frame, rni_run *run, rni_run *before) {
    bool same_function = before && before->function == run->function;
    bool same_name = before && rni_load_relaxed(&before->origin) == rni_load_relaxed(&run->origin);
    rni_put_8(frame, (uint8_t)((same_function ? RNI_SAME_FUNCTION : 0) | (same_name ? RNI_SAME_NAME : 0)));
    if (!same_function) rni_put_function(frame, (uintptr_t)run->function);
    if (!same_name && !put_name(frame, run)) return false;
    rni_put_64(frame, rni_run_id(run));
    return rni_put_value(frame, run->done.value) && !frame->failed;
}

static bool find_functions(const struct batch *batch) {
    for (uint32_t i = 0; i < batch->count; i++) {
        bool same = i > 0 && batch->runs[i]->function == batch->runs[i - 1]->function;
        if (!same && !rni_names_find((uintptr_t)batch->runs[i]->function)) return false;
    }
    return true;
}

/* As many as the mailbox holds; the others are given back. */
static bool put_runs(struct batch *batch) {
    rni_writer *frame = &batch->process->channel.frame;
    rni_writer_begin(frame, RNI_BATCH);
    rni_put_files(frame, &batch->process->names);
    rni_put_64(frame, (uint64_t)batch->runtime->opened);
    rni_put_8(frame, batch->runtime->debug);
    for (uint32_t i = 0; i < batch->count; i++) {
        size_t length = frame->length;
        if (!put_run(frame, batch->runs[i], i > 0 ? batch->runs[i - 1] : NULL)) return false;
        if (frame->length <= RNI_INLINE_BYTES || i == 0) continue;
        frame->length = length;
        give_back_from(batch, i);
    }
    return true;
}

/* False: it was not sent, and its files are not told. */
static bool send(struct batch *batch) {
    rni_channel *channel = &batch->process->channel;
    uint32_t told = batch->process->names.told;
    if (find_functions(batch) && put_runs(batch) && rni_channel_send(channel) == RN_OK) {
        batch->message = rni_load_relaxed(&channel->out->count);
        return true;
    }
    batch->process->names.told = told;
    return false;
}

/* ---- results ---- */

/* How many of the batch's runs that mark counts. */
static uint32_t place_of(const struct batch *batch, uint64_t mark) { return rni_results_place(mark, batch->message); }

static void finish(struct batch *batch, rni_run *run, rn_value value) {
    rni_drop(run->done.value);
    rni_quarantine_clear_function(&batch->processes->quarantine, run->function);
    if (batch->lane) rni_count(&batch->lane->started);
    if (batch->lane && rni_is_error(value)) rni_count(&batch->lane->failed);
    rni_run_complete(batch->runtime, batch->lane, run, value);
}

/* Reads the results of the first `done` runs. False: they are none. */
static bool take_results(struct batch *batch, uint32_t done) {
    rni_thread *self = rni_self;
    rn_call call = {.runtime = batch->runtime, .outer = self->call, .hook = ""}; /* what done callbacks find */
    rn_value value;
    bool is_good = done <= batch->count;
    self->call = &call;
    while (is_good && batch->over < done) {
        is_good = rni_results_take(batch->process->channel.in->results, &batch->at, &value);
        if (is_good) finish(batch, batch->runs[batch->over++], value);
    }
    rni_drop(call.wait_error);
    self->call = call.outer;
    return is_good;
}

/* ---- how it ends ---- */

/* The batch is done with: what is left of it is run one by one, as turns. */
static void close_batch(struct batch *batch) {
    rni_process *process = batch->process;
    process->is_busy = false;
    if (rni_overtime_condemns(&batch->limit) && rni_process_is(process, batch->number))
        rni_process_put_away(batch->processes, process);
    if (!rni_process_is(process, batch->number) || !rni_recycle(batch->processes, process, batch->over))
        rni_process_let_be(batch->processes, process, batch->number, NULL);
    for (uint32_t i = 0; i < batch->late_count; i++) rni_run_execute_begun(batch->runtime, batch->late[i]);
}

static void resume(struct batch *batch, rni_run *run, enum rni_resumed how, rn_value error) {
    batch->process->is_busy = false;
    batch->process->resumed = how;
    batch->process->resumed_error = error;
    rni_run_execute_begun(batch->runtime, run);
}

/* Those that have begun and are not over, `begun` of the batch, fail with that error, which is taken. */
static void fail_begun(struct batch *batch, uint32_t begun, rn_value error) {
    give_back_from(batch, begun);
    for (uint32_t i = batch->over; i < batch->count; i++) /* whoever is the only one has it for itself, to be stamped */
        resume(batch, batch->runs[i], RNI_RESUMED_FAILED, i + 1 < batch->count ? rn_keep(error) : error);
    if (batch->over >= batch->count) rni_drop(error);
    close_batch(batch);
}

static void end_broken(struct batch *batch, uint32_t begun) {
    rn_value error = rni_process_broken(batch->processes, batch->process);
    fail_begun(batch, begun > batch->over ? begun : batch->over + 1, error);
}

static void end_dead(struct batch *batch, uint32_t begun) {
    const rni_mailbox *in = batch->process->channel.in;
    uint32_t done = place_of(batch, rni_load_acquire(&in->done)); /* pairs with rni_worker_batch */
    if (begun > batch->count) begun = batch->count;
    if (begun < batch->over) begun = batch->over; /* it has said otherwise before */
    (void)take_results(batch, done <= begun ? done : begun);
    batch->process->is_single = begun == 0;
    rn_value error = rni_process_bury(batch->processes, batch->process);
    fail_begun(batch, begun, rni_overtime_judge(batch->processes, batch->process, &batch->limit, error));
}

static void end_asking(struct batch *batch, uint32_t begun) {
    bool is_good = begun > batch->over && begun <= batch->count && take_results(batch, begun - 1);
    if (!is_good) {
        end_broken(batch, begun <= batch->count ? begun : batch->count);
        return;
    }
    give_back_from(batch, begun);
    batch->process->resumed_limit = &batch->limit;
    resume(batch, batch->runs[begun - 1], RNI_RESUMED_ASKING, rni_none());
    close_batch(batch);
}

static void learn(struct batch *batch, uint64_t elapsed) {
    uint32_t *most = &batch->process->batch_most;
    uint64_t each = batch->over > 0 ? elapsed / batch->over : elapsed;
    if (batch->is_revoked || each > LONG_NS) *most = 1;
    else if (each < SHORT_NS && batch->over >= *most) *most = *most * 2 < RNI_BATCH_MOST ? *most * 2 : RNI_BATCH_MOST;
    if (*most == 0) *most = 1;
}

static void end_ended(struct batch *batch, uint32_t begun) {
    rni_reader reader;
    uint32_t done = place_of(batch, rni_load_acquire(&batch->process->channel.in->done)); /* as above */
    bool is_good = rni_channel_read(&batch->process->channel, &reader) && rni_take_8(&reader) == RNI_BATCH_ENDED;
    uint64_t elapsed = is_good ? rni_take_64(&reader) : 0;
    is_good = is_good && rni_reader_is_done(&reader) && done >= batch->over && done <= batch->count &&
              done + batch->is_revoked >= batch->count;
    if (!is_good || !take_results(batch, done)) {
        end_broken(batch, begun <= batch->count ? begun : batch->count);
        return;
    }
    learn(batch, elapsed);
    give_back_from(batch, done); /* at most the one that was in doubt */
    close_batch(batch);
}

/* ---- waiting ---- */

static uint32_t begun_of(const struct batch *batch, uint64_t *mark) {
    *mark = rni_load_seq_cst(&batch->process->channel.in->begun); /* Dekker with rni_worker_batch, after the swap in revoke */
    return place_of(batch, *mark);
}

/* Those behind a run that takes long go back to the queue. */
static void revoke(struct batch *batch) {
    uint64_t mark;
    rni_swap_seq_cst(&batch->process->channel.out->revoked, batch->message); /* before the load in begun_of */
    batch->is_revoked = true;
    uint32_t begun = begun_of(batch, &mark);
    if (begun > batch->count) return;
    give_back_from(batch, begun);
    uint32_t done = place_of(batch, rni_load_acquire(&batch->process->channel.in->done)); /* pairs with rni_worker_batch */
    if (done <= batch->count) (void)take_results(batch, done);
}

/* Once the worker has the time that it takes for one run, or none is left to it. False: it has died. */
static bool await_word(struct batch *batch) {
    rni_process *process = batch->process;
    bool has_more = batch->over < batch->count; /* those that are over may be others' by now */
    if (rni_process_await_mail(process, has_more ? 0 : rni_os_now() + WORD_WAIT)) return true;
    if (!has_more) {
        rni_process_kill(batch->processes, process);
    } else {
        rni_overtime_arm_in_batch(batch->processes, process, batch->runs[batch->count - 1],
                                  rni_batch_mark(batch->message, batch->count), &batch->limit);
    }
    bool has_mail = rni_process_await_mail(process, -1);
    if (has_mail) rni_overtime_disarm(batch->processes, process, &batch->limit); /* else it is buried with the process */
    return has_mail;
}

/* Waits for the worker's word. False: it has died. */
static bool await_end(struct batch *batch) {
    rni_process *process = batch->process;
    uint32_t seen = 0;
    uint64_t mark;
    for (uint32_t ticks = 1; batch->count > 1 && !batch->is_revoked; ticks++) {
        if (rni_process_await_mail(process, rni_os_now() + TICK)) break;
        uint32_t begun = begun_of(batch, &mark);
        if (rni_load_acquire(&process->is_dead)) break; /* pairs with the watcher */
        if ((begun > 0 && begun == seen) || ticks == TICKS_MOST) revoke(batch);
        seen = begun;
    }
    bool has_mail = await_word(batch);
    rni_process_set_batch(batch->processes, process, NULL, 0);
    return has_mail;
}

static void await_and_end(struct batch *batch) {
    uint64_t mark;
    bool has_mail = await_end(batch);
    uint32_t begun = begun_of(batch, &mark);
    if (!has_mail) end_dead(batch, begun);
    else if (begun > 0 && (mark & RNI_TALKS)) end_asking(batch, begun);
    else end_ended(batch, begun);
}

void rni_process_execute(rn_runtime *runtime, rni_run *run) {
    rni_processes *processes = rni_processes_of(runtime);
    rni_process *process = &processes->all[rni_worker_number(rni_self, runtime) - 1];
    struct batch batch = {.runtime = runtime, .processes = processes, .process = process,
                   .lane = rni_lane_of(rni_load_relaxed(&runtime->serial))};
    rn_value error = rni_none();
    rni_run *none;
    bool is_hopeless = rni_load_relaxed(&processes->preparation.is_hopeless); /* as in rni_prepare_refuses */
    if (process->is_single || is_hopeless || !is_plain(&batch, run)) {
        process->is_single = false;
        rni_run_execute(runtime, run);
        return;
    }
    if (!rni_process_take(processes, process, NULL, &none, &error)) {
        rni_drop(error); /* it is met again, and then it is the run's */
        rni_run_execute(runtime, run);
        return;
    }
    if (processes->preparation.function && !process->is_prepared) { /* by the first turn there */
        rni_process_let_be(processes, process, process->number, NULL);
        rni_run_execute(runtime, run);
        return;
    }
    batch.number = process->number;
    collect(&batch, run);
    rni_process_set_batch(processes, process, batch.runs, batch.count);
    if (batch.count > 0 && send(&batch)) {
        process->is_busy = true;
        await_and_end(&batch);
        return;
    }
    rni_process_set_batch(processes, process, NULL, 0);
    for (uint32_t i = 0; i < batch.count; i++) batch.late[batch.late_count++] = batch.runs[i];
    close_batch(&batch);
}
