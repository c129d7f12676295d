#include "core/runtime.h"

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
#include "runium/testing.h"
#include "value/value.h"

/* What rn_open answers when there is no memory to say it in. */
static rn_runtime no_memory_runtime;

void rni_runtime_reset(rn_runtime *runtime, uint64_t serial, uint32_t index) {
    memset((char *)runtime + offsetof(rn_runtime, index), 0, sizeof *runtime - offsetof(rn_runtime, index));
    rni_store_relaxed(&runtime->queued, 0);
    rni_store_relaxed(&runtime->virtual_now, 0);
    rni_store_relaxed(&runtime->finished_elsewhere, 0);
    rni_store_relaxed(&runtime->lanes, NULL);
    rni_store_relaxed(&runtime->phase, RNI_OPEN);
    rni_store_relaxed(&runtime->closing, 0);
    rni_store_relaxed(&runtime->closed_word, 0);
    rni_store_relaxed(&runtime->settlers, 0);
    rni_store_relaxed(&runtime->room, 0);
    rni_store_relaxed(&runtime->is_plain, 0);
    runtime->index = index;
    rni_store_release(&runtime->serial, serial); /* pairs with rni_runtime_of and enter() */
}

static uint32_t tag_of(uint64_t serial) { return (uint32_t)serial & RNI_TAG_MASK; }

rn_runtime *rni_runtime_handle(rn_runtime *runtime) {
    return rni_handle_make(runtime, tag_of(rni_load_relaxed(&runtime->serial)));
}

static bool is_live(rn_runtime *runtime, const rn_runtime *handle) {
    uint64_t serial = rni_load_acquire(&runtime->serial); /* pairs with rni_world_close */
    return serial != 0 && tag_of(serial) == rni_handle_tag(handle);
}

uint64_t rni_runtime_serial(rn_runtime *runtime, const rn_runtime *handle) {
    uint64_t serial = rni_load_relaxed(&runtime->serial);
    return tag_of(serial) == rni_handle_tag(handle) ? serial : 0;
}

rn_runtime *rni_runtime_of(rn_runtime *handle, const char *function, int *code) {
    rn_runtime *runtime = rni_handle_object(handle);
    if (!handle) rni_misuse("%s: the runtime is NULL; rn_open() never returns that", function);
    if (handle == &no_memory_runtime) *code = RN_NO_MEMORY;
    else if (rni_chunk_of(runtime)->era != rni_world_era()) *code = RN_FORKED;
    else *code = is_live(runtime, handle) ? RN_OK : RN_CLOSED;
    return *code == RN_OK ? runtime : NULL;
}

rn_value rni_code_error(int code) {
    if (code == RN_NO_MEMORY) return rni_error_no_memory();
    return code == RN_FORKED ? rni_error_forked() : rni_error_closed();
}

int64_t rni_now(rn_runtime *runtime) {
    if (runtime->is_virtual) return (int64_t)rni_load_acquire(&runtime->virtual_now); /* pairs with the jump */
    return rni_os_now();
}

int64_t rni_deadline(rn_runtime *runtime, int64_t timeout_ns) {
    if (timeout_ns < 0) return -1;
    if (timeout_ns > RN_DURATION_MAX) timeout_ns = RN_DURATION_MAX;
    return rni_later(rni_now(runtime), timeout_ns);
}

void rni_count_finished(rn_runtime *runtime, rni_lane *lane) {
    if (lane && lane->is_worker) rni_count(&lane->finished); /* a worker looks at the phase again when it parks */
    else if (lane) rni_add_seq_cst(&lane->finished, 1); /* Dekker with rn_close: it sees this, or we its phase */
    else rni_add_seq_cst(&runtime->finished_elsewhere, 1); /* as above */
    if (rni_phase(runtime) != RNI_OPEN) rni_runtime_changed(runtime);
}

void rni_runtime_changed(rn_runtime *runtime) {
    rni_add_acq_rel(&runtime->closed_word, 1); /* pairs with the load in rn_close: it counts again */
    rni_os_wake(&runtime->closed_word, INT32_MAX);
}

/* The finished first, then the submitted: if they are equal, nothing was pending at a moment in between. */
uint64_t rni_pending_count(rn_runtime *runtime) {
    uint64_t finished = rni_load_seq_cst(&runtime->finished_elsewhere); /* pairs with rni_count_finished */
    for (rni_lane *lane = rni_lanes(runtime); lane; lane = lane->next_of_runtime)
        finished += rni_load_seq_cst(&lane->finished); /* pairs with rni_count, and as above */
    uint64_t submitted = 0;
    for (rni_lane *lane = rni_lanes(runtime); lane; lane = lane->next_of_runtime)
        submitted += rni_load_seq_cst(&lane->submitted); /* Dekker with enter() in submit.c */
    return submitted - finished;
}

bool rni_queue_reserve(rn_runtime *runtime) {
    uint64_t queued = rni_load_relaxed(&runtime->queued);
    do {
        if (queued >= runtime->queue_limit) return false;
    } while (!rni_cas_seq_cst(&runtime->queued, &queued, queued + 1));
    return true;
}

void rni_queue_release(rn_runtime *runtime) {
    rni_add_seq_cst(&runtime->queued, UINT64_MAX); /* pairs with the load in wait_for_room, after it read room */
    rni_add_acq_rel(&runtime->room, 1);
    if (runtime->when_full == RN_BLOCK) rni_os_wake(&runtime->room, 1);
}

static const rni_grown grown_options = {"rn_options", offsetof(rn_options, workers), sizeof(rn_options)};
static const rni_grown grown_testing = {"rn_testing", sizeof(rn_testing), sizeof(rn_testing)};
static const rni_grown grown_stats = {"rn_stats", offsetof(rn_stats, spares), sizeof(rn_stats)};

static rn_value check_options(const rn_options *options, rn_options *whole) {
    rn_value error = rni_grown_read(&grown_options, options, whole);
    if (!rn_is_none(error)) return error;
    if (whole->workers > RN_WORKERS_MAX)
        return rn_error(RN_INVALID, ".workers is %u; accepted are 1 to %u, and 0 for one per CPU", whole->workers,
                        RN_WORKERS_MAX);
    if (whole->spare_workers > RN_WORKERS_MAX)
        return rn_error(RN_INVALID, ".spare_workers is %u; accepted are 1 to %u, and 0 for %u", whole->spare_workers,
                        RN_WORKERS_MAX, RN_SPARES_DEFAULT);
    if ((unsigned)whole->when_full > RN_CALLER_RUNS)
        return rn_error(RN_INVALID, ".when_full is %d; accepted are RN_BLOCK, RN_FAIL and RN_CALLER_RUNS",
                        (int)whole->when_full);
    if (!rni_executor_of(whole->executor))
        return rn_error(RN_UNSUPPORTED, ".executor is %d; this build has %s", (int)whole->executor, rni_executor_names());
    error = rni_check_process_options(whole);
    if (!rn_is_none(error)) return error;
    rn_testing kit;
    return whole->testing ? rni_grown_read(&grown_testing, whole->testing, &kit) : rn_none();
}

static uint64_t choose_seed(uint64_t wanted) {
    const char *text = wanted ? getenv("RUNIUM_SEED") : NULL;
    uint64_t seed = text ? strtoull(text, NULL, 10) : 0;
    if (seed == 0) seed = wanted == RN_SEED_RANDOM ? rni_os_random() % 1000000000 + 1 : wanted;
    return seed;
}

static void take_testing(rn_runtime *runtime, const rn_testing *testing) {
    if (!testing) return;
    runtime->is_virtual = testing->virtual_clock;
    runtime->seed = choose_seed(testing->seed);
    rni_store_relaxed(&runtime->virtual_now, (uint64_t)RN_HOURS(1)); /* not 0: nothing may depend on it */
}

static rn_value open_executor(rn_runtime *runtime, const rn_options *options) {
    runtime->executor = rni_executor_of(options->executor);
    runtime->timers = rni_alloc(sizeof *runtime->timers);
    if (!runtime->timers) return rni_error_no_memory();
    rni_timers_init(runtime->timers, runtime->opened);
    rn_value error = runtime->executor->open(runtime, options);
    if (!rn_is_none(error)) {
        rni_free(runtime->timers);
        runtime->timers = NULL;
    }
    return error;
}

/* .prepare_arg, which is ours whatever becomes of the options: whoever wants it for longer keeps it. */
static rn_value given_value(const rn_options *given) {
    size_t end = offsetof(rn_options, prepare_arg) + sizeof given->prepare_arg;
    return rni_grown_has(&grown_options, given, end) ? given->prepare_arg : rni_none();
}

static rn_runtime *open_with(const rn_options *given) {
    rn_options options = {0};
    rn_value error = check_options(given, &options);
    rn_runtime *runtime = rni_world_open();
    if (!runtime) {
        rn_drop(error);
        return &no_memory_runtime;
    }
    runtime->debug = options.debug;
    runtime->log = options.log;
    runtime->log_context = options.log_context;
    runtime->on_idle = options.executor == RN_THREADS ? options.on_idle : NULL; /* elsewhere its workers run no tasks */
    runtime->idle_context = options.idle_context;
    runtime->queue_limit = options.queue_limit;
    runtime->when_full = options.when_full;
    snprintf(runtime->name, sizeof runtime->name, "%s", options.name ? options.name : "runium");
    if (rn_is_none(error)) take_testing(runtime, options.testing);
    runtime->opened = rni_now(runtime);
    runtime->wall_opened = rni_os_wall_now();
    if (runtime->seed)
        rni_log(runtime, RN_LOG_INFO, "seed %llu; RUNIUM_SEED=%llu replays it", (unsigned long long)runtime->seed,
                (unsigned long long)runtime->seed);
    if (rn_is_none(error)) error = open_executor(runtime, &options);
    runtime->open_error = error;
    bool is_plain = !runtime->is_virtual && !runtime->seed && runtime->queue_limit == 0 && !runtime->is_threadless;
    rni_store_relaxed(&runtime->is_plain, is_plain && runtime->executor && !runtime->executor->accept); /* LCOV_EXCL_BR_LINE: of worker processes */
    if (!rn_is_none(error)) {
        runtime->executor = NULL;
        rni_store_release(&runtime->phase, RNI_FAILED); /* pairs with the load in start() */
    }
    return rni_runtime_handle(runtime);
}

rn_runtime *rn_open_with(const rn_options *given) {
    if (!given) rni_misuse("rn_open: the options are NULL");
    rn_value value = given_value(given);
    rn_runtime *handle = open_with(given);
    rni_drop(value);
    return handle;
}

rn_value rn_open_error(rn_runtime *handle) {
    int code;
    rn_runtime *runtime = rni_runtime_of(handle, "rn_open_error", &code);
    return runtime ? runtime->open_error : rni_code_error(code);
}

static void read_stats(rn_runtime *runtime, rn_stats *stats) {
    stats->workers_asked = runtime->workers_asked;
    for (rni_lane *lane = rni_lanes(runtime); lane; lane = lane->next_of_runtime) {
        stats->started += rni_load_relaxed(&lane->started);
        stats->failed += rni_load_relaxed(&lane->failed);
    }
    if (!runtime->pool) return;
    stats->pending = rni_pending_count(runtime);
    runtime->executor->stats(runtime, stats);
}

static int look_at_stats(rn_runtime *runtime, rn_stats *stats) {
    uint64_t serial = rni_load_relaxed(&runtime->serial);
    rni_world_lock(); /* neither lanes nor pool go while we look */
    bool is_open = rni_load_relaxed(&runtime->serial) == serial && serial != 0;
    if (is_open) read_stats(runtime, stats);
    rni_world_unlock();
    return is_open ? RN_OK : RN_CLOSED;
}

int rn_get_stats(rn_runtime *handle, rn_stats *stats) {
    int code;
    rn_runtime *runtime = rni_runtime_of(handle, "rn_get_stats", &code);
    if (!runtime) return code;
    if (!stats) return RN_INVALID;
    rn_stats now = {.size = sizeof now};
    bool is_remote = rni_host && runtime == rni_host->runtime; /* LCOV_EXCL_BR_LINE: of worker processes */
    code = is_remote ? rni_host->stats(&now) : look_at_stats(runtime, &now); /* LCOV_EXCL_BR_LINE: of worker processes */
    if (code != RN_OK) return code;
    rn_value error = rni_grown_write(&grown_stats, &now, stats);
    code = rn_is_none(error) ? RN_OK : rn_error_code(error);
    rn_drop(error);
    return code;
}
