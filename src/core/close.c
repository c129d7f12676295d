/*
 * Closing: no new runs; what waits and need not go on is ended; then the pending runs are waited
 * for, with a word in the log once a second; then the workers end.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>

#include "base/memory.h"
#include "core/executor.h"
#include "core/grown.h"
#include "core/lane.h"
#include "core/outside.h"
#include "core/pending.h"
#include "core/run.h"
#include "core/schedule.h"
#include "core/world.h"
#include "value/value.h"

static bool is_called_from_inside(rn_runtime *runtime) {
    for (const rn_call *call = rni_self ? rni_self->call : NULL; call; call = call->outer)
        if (call->runtime == runtime) return true;
    for (const rni_settling *frame = rni_self ? rni_self->settling : NULL; frame; frame = frame->outer)
        if (rni_run_runtime(frame->run) == runtime->index) return true; /* its run counts until the callback returns */
    return false;
}

/* The first few of those that are waited for, in one line. */
struct waited_for {
    char text[400];
    size_t length, shown, more;
};

static void add_waited_for(void *context, rni_run *run, const rn_run_info *info) {
    struct waited_for *list = context;
    (void)run;
    if (list->shown == 4) {
        list->more++;
        return;
    }
    int length = snprintf(list->text + list->length, sizeof list->text - list->length,
                          "%s'%.60s' (%s, iteration %" PRIu64 ", %.1f s)", list->shown ? ", " : "", info->name,
                          info->state == RN_RUNNING ? "running" : "waiting", info->iteration, (double)info->age_ns / 1e9);
    if (length > 0) list->length += (size_t)length;
    list->shown++;
}

static void say_what_is_waited_for(rn_runtime *runtime, enum rn_level level, const char *verb) {
    struct waited_for list = {.text = ""};
    rni_pending_visit(runtime, add_waited_for, &list);
    rni_log(runtime, level, "rn_close %s %s%s", verb, list.text, list.more ? ", and others" : "");
}

/* Waits until nothing is pending. RN_TIMED_OUT after the deadline. */
static int wait_until_done(rn_runtime *runtime, int64_t deadline) {
    int64_t say_at = rni_os_now() + RN_SECONDS(1);
    for (;;) {
        uint32_t word = rni_load_acquire(&runtime->closed_word); /* pairs with rni_runtime_changed */
        if (rni_pending_count(runtime) == 0) return RN_OK;
        int64_t now = rni_os_now();
        if (deadline >= 0 && rni_now(runtime) >= deadline) return RN_TIMED_OUT;
        if (now >= say_at) {
            say_what_is_waited_for(runtime, RN_LOG_WARNING, "waits for");
            say_at = now + RN_SECONDS(1);
        }
        int64_t until = deadline >= 0 && !runtime->is_virtual && deadline < say_at ? deadline : say_at;
        if (runtime->is_virtual && deadline >= 0) until = now + RN_MILLISECONDS(2); /* see wait_by_kit */
        rni_os_wait(&runtime->closed_word, word, until);
    }
}

static int wait_as_outsider(rn_runtime *runtime, int64_t within) {
    rni_outside outside = {.deadline = within == 0 ? -1 : rni_deadline(runtime, within)};
    rni_outside_enter(runtime, &outside);
    int code = wait_until_done(runtime, outside.deadline);
    rni_outside_leave(runtime, &outside);
    return code;
}

static void begin_closing(rn_runtime *runtime, enum rn_close_how how) {
    enum rni_phase phase = how == RN_STOP ? RNI_STOPPING : RNI_DRAINING;
    if (rni_phase(runtime) != RNI_STOPPING) rni_swap_seq_cst(&runtime->phase, phase); /* pairs with rni_phase */
    rni_add_acq_rel(&runtime->room, 1); /* those who wait for room look at the phase */
    rni_os_wake(&runtime->room, INT32_MAX);
    if (runtime->executor->told) runtime->executor->told(runtime, NULL);
    rni_schedule_close(runtime);
}

static void end(rn_runtime *runtime) {
    rni_timers *timers = runtime->timers;
    rn_value error = runtime->open_error;
    rni_outside_close(runtime);
    while (!rni_lanes_are_idle(runtime)) rni_os_yield(); /* a submit whose run is over is about to end */
    if (timers) rni_schedule_flush(runtime);
    if (runtime->executor) runtime->executor->close(runtime);
    rni_world_close(runtime);
    rni_free(timers);
    rn_drop(error);
}

static int close_runtime(rn_runtime *runtime, const rn_close_options *options) {
    uint32_t expected = 0;
    if (is_called_from_inside(runtime)) return RN_DEADLOCK;
    if (!rni_cas_acq_rel(&runtime->closing, &expected, 1)) return RN_CLOSED; /* pairs with the release below */
    if (runtime->executor) {
        begin_closing(runtime, options->how);
        int code = wait_as_outsider(runtime, options->within);
        if (code != RN_OK) {
            say_what_is_waited_for(runtime, RN_LOG_ERROR, "ends, its time being over; still there are");
            rni_store_release(&runtime->closing, 0);
            return code;
        }
    }
    end(runtime);
    return RN_OK;
}

static const rni_grown grown_options = {"rn_close_options", offsetof(rn_close_options, how), sizeof(rn_close_options)};

int rn_close_with(const rn_close_options *options) {
    rn_close_options whole = {0};
    int code;
    if (!options) rni_misuse("rn_close: the options are NULL");
    rn_value error = rni_grown_read(&grown_options, options, &whole);
    bool is_refused = rn_is_error(error);
    rn_drop(error);
    if (is_refused) return RN_INVALID;
    rn_runtime *runtime = rni_runtime_of(whole.runtime, "rn_close", &code);
    if (!runtime) return code == RN_NO_MEMORY ? RN_OK : code;
    bool is_known = (unsigned)whole.how <= RN_STOP && whole.within >= 0 && whole.within <= RN_DURATION_MAX;
    return is_known ? close_runtime(runtime, &whole) : RN_INVALID;
}
