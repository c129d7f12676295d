/*
 * The worker's side of batches, see batch.h.
 */
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "core/runtime.h"
#include "process/batch.h"
#include "process/worker.h"
#include "value/value.h"
#include "value/wire.h"

#define BAD_BATCH 123 /* exit status: the host said what it never says */

struct batch {
    rni_order order;
    uint32_t count;   /* of runs begun */
    size_t at;        /* in the results */
};

/* ---- a run ---- */

static void take_run(rni_reader *reader, rni_order *order) {
    uint8_t same = rni_take_8(reader);
    if (!(same & RNI_SAME_FUNCTION)) {
        uintptr_t function;
        rni_drop(order->refusal);
        order->refusal = rni_take_function(reader, &rni_worker.names, true, &function);
        order->function = (rn_task_fn *)function;
    }
    if (!(same & RNI_SAME_NAME)) rni_take_text(reader, order->name, sizeof order->name);
    order->run_id = rni_take_64(reader);
    order->arg = rni_take_value(reader);
    if (reader->failed || same > (RNI_SAME_FUNCTION | RNI_SAME_NAME)) exit(BAD_BATCH);
}

static rni_run *make_run(const rni_order *order) {
    rni_run *run = rni_run_make(rni_worker.runtime);
    if (!run) return NULL;
    run->function = order->function;
    rni_store_relaxed(&run->origin, NULL);
    rni_store_relaxed(&run->flags, 0);
    rni_completion_init(&run->done, RN_RUNNING | RNI_BEGUN);
    return run;
}

/* Says that the next run begins. False: it is not to. */
static bool begin(struct batch *batch) {
    rni_mailbox *out = rni_worker.channel.out;
    rni_worker.runtime->told = &rni_worker.channel.in->told_in_batch[batch->count++];
    /* Dekker with revoke() in batch.c, and for has_begun. */
    (void)rni_swap_seq_cst(&out->begun, rni_batch_mark(batch->order.message, batch->count));
    return rni_load_seq_cst(&rni_worker.channel.in->revoked) != batch->order.message;
}

void rni_worker_talk(void) {
    rni_mailbox *out = rni_worker.channel.out;
    rni_worker.is_quiet = false;
    rni_worker.runtime->told = &rni_worker.channel.in->told;
    rni_store_release(&out->begun, rni_load_relaxed(&out->begun) | RNI_TALKS); /* pairs with begun_of: ahead of the message */
}

/* Leaves the outcome for the host. False: it is too large for that, or a buffer, whose file goes with a message. */
static bool leave(struct batch *batch, rn_value value) {
    rni_mailbox *out = rni_worker.channel.out;
    size_t size = rni_wire_size(value);
    uint32_t length = (uint32_t)size;
    if (rn_kind(value) == RN_BUFFER || size > RNI_BATCH_VALUE) return false;
    if (size + sizeof length > RNI_RESULTS_BYTES - batch->at) return false;
    memcpy(out->results + batch->at, &length, sizeof length);
    rni_wire_write(value, out->results + batch->at + sizeof length);
    batch->at += sizeof length + size;
    rni_store_release(&out->done, rni_batch_mark(batch->order.message, batch->count)); /* pairs with the loads in batch.c */
    return true;
}

/* What it printed is the host's to see, whatever becomes of this process. */
static void flush(void) {
    if (__fpending(stdout) > 0 || __fpending(stderr) > 0) fflush(NULL);
}

/* Runs it. False: the batch is over, and the host knows. */
static bool run_one(struct batch *batch, rni_run *run) {
    rni_turn turn;
    rni_worker_begin_turn(&turn, run, &batch->order);
    turn.call.name = batch->order.name;
    rni_worker.run_id = batch->order.run_id;
    rni_worker.is_quiet = true;
    (void)rni_turn_work(&turn);
    flush();
    rni_worker_make_portable(&turn, &turn.outcome, "the task");
    bool goes_on = rni_worker.is_quiet && leave(batch, turn.outcome);
    if (!goes_on) {
        if (rni_worker.is_quiet) rni_worker_talk();
        rni_worker_send_end(&turn, false);
    }
    rni_worker.is_quiet = false;
    rni_worker_end_turn(&turn);
    return goes_on;
}

/* Why it cannot be run here: a function that is not here, or an argument for which there was no memory. */
static rn_value refusal_of(const rni_order *order) {
    return rn_keep(rni_is_error(order->arg) ? order->arg : order->refusal);
}

static bool run_next(struct batch *batch) {
    rni_order *order = &batch->order;
    rn_value refusal = refusal_of(order);
    rni_run *run = rni_is_none(refusal) ? make_run(order) : NULL;
    if (run) return run_one(batch, run);
    rni_drop(order->arg);
    rni_worker_talk();
    rni_worker_send_refusal(rni_is_none(refusal) ? rni_error_no_memory() : refusal);
    return false;
}

/* ---- all of them ---- */

static void send_ended(int64_t began) {
    rni_writer *frame = &rni_worker.channel.frame;
    rni_writer_begin(frame, RNI_BATCH_ENDED);
    rni_put_64(frame, (uint64_t)(rni_os_now() - began));
    if (rni_channel_send(&rni_worker.channel) != RN_OK) exit(BAD_BATCH);
}

void rni_worker_batch(rni_reader *reader) {
    int64_t began = rni_os_now();
    struct batch batch = {.order = {.message = rni_worker.channel.seen, .refusal = rni_none(), .outcome = rni_none(), .updated = rni_none()}};
    rni_take_files(reader, &rni_worker.names);
    rni_worker.runtime->opened = (int64_t)rni_take_64(reader);
    rni_worker.runtime->debug = rni_take_flag(reader);
    rni_worker.runtime->is_virtual = false;
    bool goes_on = true;
    while (goes_on && reader->at < reader->end) {
        take_run(reader, &batch.order);
        if (!begin(&batch)) {
            rni_drop(batch.order.arg);
            break;
        }
        goes_on = run_next(&batch);
    }
    rni_worker.runtime->told = &rni_worker.channel.in->told;
    rni_drop(batch.order.refusal);
    if (!goes_on) return;
    fflush(NULL);
    send_ended(began);
}
