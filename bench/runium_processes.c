/*
 * Runium with worker processes, through runium.h alone.
 */
#include "processes.h"

#include <pthread.h>
#include <runium.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A library without buffers costs their case, and no more. */

/* The case of deaths kills more workers, and faster, than any program would: nothing may hold it up. */
#define NEVER 1000000000u

static rn_runtime *open_runtime(unsigned workers) {
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = workers, .log = rn_log_nothing,
                                  .quarantine = NEVER, .respawn_rate = NEVER);
    if (!rn_is_none(rn_open_error(runtime))) {
        bench_fail("rn_open: %s", rn_error_message(rn_open_error(runtime)));
    }
    return runtime;
}

static void close_runtime(rn_runtime *runtime) {
    int code = rn_close(runtime);
    if (code != RN_OK) {
        bench_fail("rn_close: %s", rn_code_name(code));
    }
}

static rn_value result_of(rn_future *future) {
    rn_value result = rn_result(future);
    if (rn_is_error(result)) {
        bench_fail("a task failed: %s", rn_error_message(result));
    }
    return result;
}

/* ------------------------------------------------------------------------------------------------
 * Tasks of 16 bytes, read in the order in which they were submitted
 */
struct pool {
    rn_runtime *runtime;
    rn_future **futures; /* as many as the window holds */
    size_t room;
    size_t submitted;
    size_t read;
};

static struct bench_message message_in(rn_value value) {
    struct bench_message message;
    memcpy(&message, rn_as_bytes(value), sizeof message);
    return message;
}

static rn_value answer(rn_call *call) {
    struct bench_message result = bench_answer(message_in(rn_arg(call)));
    return rn_bytes(&result, sizeof result);
}

static struct pool open_pool(unsigned workers, size_t window) {
    return (struct pool){open_runtime(workers), bench_allocate(window, sizeof(rn_future *)), window, 0, 0};
}

static void close_pool(void *pointer) {
    struct pool *pool = pointer;
    close_runtime(pool->runtime);
    free(pool->futures);
}

static void submit(void *pointer, struct bench_message argument) {
    struct pool *pool = pointer;
    pool->futures[pool->submitted++ % pool->room] =
        rn_run(pool->runtime, answer, .arg = rn_bytes(&argument, sizeof argument));
}

static struct bench_message next(void *pointer) {
    struct pool *pool = pointer;
    rn_future *future = pool->futures[pool->read++ % pool->room];
    struct bench_message result = message_in(result_of(future));
    rn_release(future);
    return result;
}

static void pipelined(const struct bench_job *job) {
    struct pool pool = open_pool(job->workers, bench_batch(job));
    struct bench_stream stream = {&pool, bench_batch(job), submit, next, close_pool};
    bench_pipeline(job, &stream);
}

static void round_trip(const struct bench_job *job) {
    struct pool pool = open_pool(job->workers, 1);
    struct bench_stream stream = {&pool, 1, submit, next, close_pool};
    bench_process_trips(job, &stream);
}

/* ------------------------------------------------------------------------------------------------
 * Payloads
 */
struct carrier {
    rn_runtime *runtime;
    rn_value buffer;
    rn_future *last; /* owns what came back last */
};

static unsigned char *keep_last(struct carrier *carrier, rn_future *future, size_t size) {
    if (carrier->last != NULL) {
        rn_release(carrier->last);
    }
    carrier->last = future;
    rn_value result = result_of(future);
    if (rn_length(result) != size) {
        bench_fail("%zu bytes came back instead of %zu", rn_length(result), size);
    }
    return rn_kind(result) == RN_BYTES ? (unsigned char *)(uintptr_t)rn_as_bytes(result) : rn_as_buffer(result);
}

/* The argument is the task's to read only, so it returns a copy. */
static rn_value touch_bytes(rn_call *call) {
    rn_value result = rn_bytes(rn_as_bytes(rn_arg(call)), rn_length(rn_arg(call)));
    if (!rn_is_error(result)) {
        bench_touch((unsigned char *)(uintptr_t)rn_as_bytes(result), rn_length(result));
    }
    return result;
}

static unsigned char *carry_bytes(void *pointer, unsigned char *payload, size_t size) {
    struct carrier *carrier = pointer;
    return keep_last(carrier, rn_run(carrier->runtime, touch_bytes, .arg = rn_bytes(payload, size)), size);
}

static void close_carrier(struct carrier *carrier) {
    rn_release(carrier->last);
    rn_drop(carrier->buffer);
    close_runtime(carrier->runtime);
}

static void payload(const struct bench_job *job) {
    struct carrier carrier = {open_runtime(job->workers), rn_none(), NULL};
    bench_payload_trips(job, carry_bytes, &carrier, NULL);
    close_carrier(&carrier);
}

static rn_value touch_buffer(rn_call *call) {
    rn_value buffer = rn_arg(call);
    bench_touch(rn_as_buffer(buffer), rn_length(buffer));
    return rn_keep(buffer);
}

static unsigned char *carry_buffer(void *pointer, unsigned char *payload, size_t size) {
    struct carrier *carrier = pointer;
    (void)payload;
    return keep_last(carrier, rn_run(carrier->runtime, touch_buffer, .arg = rn_keep(carrier->buffer)), size);
}

static void buffer(const struct bench_job *job) {
    struct carrier carrier = {open_runtime(job->workers), rn_buffer(job->bytes), NULL};
    if (rn_is_error(carrier.buffer)) {
        bench_fail("rn_buffer: %s", rn_error_message(carrier.buffer));
    }
    bench_payload_trips(job, carry_buffer, &carrier, rn_as_buffer(carrier.buffer));
    close_carrier(&carrier);
}

/* ------------------------------------------------------------------------------------------------
 * Deaths
 */
static rn_value die(rn_call *call) {
    bench_die(message_in(rn_arg(call)));
    return rn_none();
}

static void kill_worker(void *runtime, struct bench_message place) {
    rn_future *future = rn_run(runtime, die, .arg = rn_bytes(&place, sizeof place));
    rn_value result = rn_result(future);
    if (!rn_is_error(result) || rn_error_code(result) != RN_CRASHED) {
        bench_fail("the death of a worker is not the result of its task");
    }
    rn_release(future);
}

static void run_one(void *runtime) {
    struct bench_message argument = {0, 0};
    rn_future *future = rn_run(runtime, answer, .arg = rn_bytes(&argument, sizeof argument));
    result_of(future);
    rn_release(future);
}

static void deaths(const struct bench_job *job) {
    bench_hold(job);
    rn_runtime *runtime = open_runtime(1);
    struct bench_mortal mortal = {runtime, kill_worker, run_one, true};
    bench_deaths(job, &mortal);
    close_runtime(runtime);
}

/* ------------------------------------------------------------------------------------------------
 * Beside offenders: one run at a time, while another thread starts a run each millisecond, which in every other phase kills
 * its worker and is harmless in the phases between. Phase by phase, so that what else the machine does hits both.
 */
#define OFFENCE_GAP_NS 1000000

struct neighbour {
    rn_runtime *runtime;
    rn_task_fn *task;
    atomic_bool is_over;
    uint64_t count;
};

static rn_value do_nothing(rn_call *call) {
    (void)call;
    return rn_none();
}

static rn_value work_a_little(rn_call *call) {
    (void)call;
    uint64_t sum = 0;
    for (uint64_t i = 0; i < 30000; i++) {
        __asm__ volatile("" : "+r"(sum));
        sum += i;
    }
    return rn_int((int64_t)sum);
}

static rn_value kill_itself(rn_call *call) {
    (void)call;
    raise(SIGKILL);
    return rn_none();
}

static void *start_runs(void *pointer) {
    struct neighbour *neighbour = pointer;
    while (!atomic_load(&neighbour->is_over)) {
        rn_future *future = rn_run(neighbour->runtime, neighbour->task);
        if (rn_is_error(rn_result(future)) != (neighbour->task == kill_itself)) {
            bench_fail("a task that killed its worker ended well, or another did not");
        }
        rn_release(future);
        neighbour->count++;
        bench_sleep_ns(OFFENCE_GAP_NS);
    }
    return NULL;
}

static uint64_t work_for(rn_runtime *runtime, int64_t duration_ns) {
    uint64_t count = 0;
    for (int64_t end = bench_now_ns() + duration_ns; bench_now_ns() < end; count++) {
        rn_future *future = rn_run(runtime, work_a_little);
        result_of(future);
        rn_release(future);
    }
    return count;
}

static uint64_t work_beside(struct neighbour *neighbour, rn_task_fn *task, int64_t duration_ns) {
    pthread_t thread;
    atomic_store(&neighbour->is_over, false);
    neighbour->task = task;
    neighbour->count = 0;
    if (pthread_create(&thread, NULL, start_runs, neighbour) != 0) {
        bench_fail("no thread");
    }
    uint64_t count = work_for(neighbour->runtime, duration_ns);
    atomic_store(&neighbour->is_over, true);
    pthread_join(thread, NULL);
    if (count == 0 || neighbour->count == 0) {
        bench_fail("%llu runs beside %llu others", (unsigned long long)count, (unsigned long long)neighbour->count);
    }
    return count;
}

/* How long a run takes beside offenders, in percent of how long it takes beside others. */
static double percent_beside(const struct bench_job *job, rn_runtime *runtime) {
    struct neighbour neighbour = {.runtime = runtime};
    uint64_t quiet = 0, beside = 0;
    work_for(runtime, job->gap_ns);
    for (unsigned i = 0; i < job->samples; i++) {
        quiet += work_beside(&neighbour, do_nothing, job->gap_ns);
        beside += work_beside(&neighbour, kill_itself, job->gap_ns);
    }
    close_runtime(runtime);
    return 100.0 * (double)quiet / (double)beside;
}

/* As a program has it that says nothing of quarantine and replacements. And without quarantine: each one dies. */
static void offenders(const struct bench_job *job) {
    bench_report("quarantined", percent_beside(job, rn_open(.executor = RN_PROCESSES, .workers = job->workers,
                                                            .log = rn_log_nothing)));
    bench_report("dying", percent_beside(job, rn_open(.executor = RN_PROCESSES, .workers = job->workers,
                                                      .log = rn_log_nothing, .quarantine = NEVER)));
}

int main(int count, char **arguments) {
    static const struct bench_case cases[] = {
        {"runium", "processes-pipelined", pipelined},
        {"runium", "processes-round-trip", round_trip},
        {"runium", "processes-payload", payload},
        {"runium", "processes-buffer", buffer},
        {"runium", "processes-death", deaths},
        {"runium", "processes-offenders", offenders},
        {NULL, NULL, NULL},
    };
    char about[64];
    snprintf(about, sizeof about, "Runium %d.%d.%d", RN_VERSION_MAJOR, RN_VERSION_MINOR, RN_VERSION_PATCH);
    return bench_main(count, arguments, about, cases);
}
