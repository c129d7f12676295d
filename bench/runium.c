/*
 * Runium, through runium.h alone, as a program uses it that links with -lrunium.
 */
#include "bench.h"

#include <runium.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>

static rn_runtime *open_runtime(unsigned workers) {
    rn_runtime *runtime = rn_open(.workers = workers);
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

static void check(rn_value result) {
    if (rn_is_error(result)) {
        bench_fail("a task failed: %s", rn_error_message(result));
    }
}

static void finish(rn_future *future) {
    check(rn_result(future));
    rn_release(future);
}

static rn_value trivial(rn_call *call) {
    (void)call;
    bench_count_task();
    return rn_none();
}

/* ------------------------------------------------------------------------------------------------
 * Fire and forget
 */
static void produce(void *runtime, size_t count) {
    int refused = RN_OK;
    for (size_t i = 0; i < count; i++) {
        refused |= rn_run_detached(runtime, trivial);
    }
    if (refused != RN_OK) {
        bench_fail("rn_run_detached refused a task");
    }
}

static void fire_burst(void *runtime, size_t count) {
    uint64_t target = bench_tasks() + count;
    produce(runtime, count);
    bench_wait_tasks(target);
}

static void fire(const struct bench_job *job) {
    rn_runtime *runtime = open_runtime(job->workers);
    bench_bursts(job, fire_burst, runtime);
    close_runtime(runtime);
}

static void producers(const struct bench_job *job) {
    rn_runtime *runtime = open_runtime(job->workers);
    bench_producer_bursts(job, produce, runtime);
    close_runtime(runtime);
}

static void idle(const struct bench_job *job) {
    rn_runtime *runtime = open_runtime(job->workers);
    fire_burst(runtime, 1000);
    bench_idle();
    close_runtime(runtime);
}

/* ------------------------------------------------------------------------------------------------
 * Futures
 */
struct context {
    rn_runtime *runtime;
    rn_future **futures;
};

static struct context open_context(const struct bench_job *job, size_t capacity) {
    return (struct context){open_runtime(job->workers), bench_allocate(capacity, sizeof(rn_future *))};
}

static void close_context(struct context *context) {
    close_runtime(context->runtime);
    free(context->futures);
}

static void finish_all(struct context *context, size_t count) {
    for (size_t i = 0; i < count; i++) {
        finish(context->futures[i]);
    }
}

static void future_burst(void *pointer, size_t count) {
    struct context *context = pointer;
    for (size_t i = 0; i < count; i++) {
        context->futures[i] = rn_run(context->runtime, trivial);
    }
    finish_all(context, count);
}

static void futures(const struct bench_job *job) {
    struct context context = open_context(job, bench_batch(job));
    bench_bursts(job, future_burst, &context);
    close_context(&context);
}

static void done(rn_future *future, void *context) {
    (void)future;
    (void)context;
    bench_count_callback();
}

static void callback_burst(void *pointer, size_t count) {
    struct context *context = pointer;
    for (size_t i = 0; i < count; i++) {
        context->futures[i] = rn_run(context->runtime, trivial);
        if (rn_add_done_callback(context->futures[i], done, NULL) != RN_OK) {
            bench_fail("rn_add_done_callback refused a callback");
        }
    }
    finish_all(context, count);
}

static void callbacks(const struct bench_job *job) {
    struct context context = open_context(job, bench_batch(job));
    bench_callback_bursts(job, callback_burst, &context);
    close_context(&context);
}

static void trip(void *runtime) { finish(rn_run(runtime, trivial)); }

static void round_trip(const struct bench_job *job) {
    rn_runtime *runtime = open_runtime(job->workers);
    bench_round_trips(job, trip, runtime);
    close_runtime(runtime);
}

/* ------------------------------------------------------------------------------------------------
 * Nested
 */
static int64_t take_sum(rn_future *left, rn_future *right) {
    /* The younger one first: its parent most likely runs it itself, while a thief takes the older. */
    int64_t sum = rn_as_int(rn_result(right));
    sum += rn_as_int(rn_result(left));
    rn_release(right);
    rn_release(left);
    return sum;
}

static rn_value fib(rn_call *call) {
    int64_t n = rn_as_int(rn_arg(call));
    if (n < 2) {
        return rn_int(n);
    }
    rn_runtime *runtime = rn_runtime_of(call);
    rn_future *left = rn_run(runtime, fib, .arg = rn_int(n - 1));
    rn_future *right = rn_run(runtime, fib, .arg = rn_int(n - 2));
    return rn_int(take_sum(left, right));
}

static uint64_t fib_from_outside(void *runtime, unsigned n) {
    rn_future *future = rn_run(runtime, fib, .arg = rn_int(n));
    rn_value result = rn_result(future);
    check(result);
    uint64_t number = (uint64_t)rn_as_int(result);
    rn_release(future);
    return number;
}

static void nested(const struct bench_job *job) {
    rn_runtime *runtime = open_runtime(job->workers);
    bench_nested(job, fib_from_outside, runtime);
    close_runtime(runtime);
}

/* ------------------------------------------------------------------------------------------------
 * All features on
 */
static rn_value seen(rn_call *call, rn_value success, rn_value error) {
    (void)call;
    (void)success;
    (void)error;
    bench_count_callback();
    return rn_none();
}

static rn_value succeeded(rn_call *call, rn_value success) { return seen(call, success, rn_none()); }

static rn_value failed(rn_call *call, rn_value error) { return seen(call, rn_none(), error); }

static void featured_burst(void *pointer, size_t count) {
    struct context *context = pointer;
    for (size_t i = 0; i < count; i++) {
        context->futures[i] =
            rn_run(context->runtime, trivial, .arg = rn_int((int64_t)i), .on_iter = seen, .on_success = succeeded,
                   .on_error = failed, .on_finished = seen, .updates_result = RN_ON_FINISHED, .times = 1,
                   .every = RN_SECONDS(10), .name = "bench");
    }
    finish_all(context, count);
    rn_stats stats = {.size = sizeof stats};
    if (rn_get_stats(context->runtime, &stats) != RN_OK) {
        bench_fail("rn_get_stats failed");
    }
}

static void featured(const struct bench_job *job) {
    struct context context = open_context(job, bench_batch(job));
    bench_bursts(job, featured_burst, &context);
    if (bench_callbacks() != 3 * bench_tasks()) {
        bench_fail("hooks were not called three times per task");
    }
    close_context(&context);
}

/* ------------------------------------------------------------------------------------------------
 * Memory
 */
static sem_t gate;

static rn_value wait_at_gate(rn_call *call) {
    (void)call;
    sem_wait(&gate);
    return rn_none();
}

static void memory(const struct bench_job *job) {
    struct context context = open_context(job, job->tasks);
    sem_init(&gate, 0, 0);
    future_burst(&context, 1000);
    rn_future *blocker = rn_run(context.runtime, wait_at_gate);
    bench_memory_before();
    for (size_t i = 0; i < job->tasks; i++) {
        context.futures[i] =
            rn_run(context.runtime, trivial, .on_success = succeeded, .on_error = failed, .on_finished = seen);
    }
    bench_memory_pending(job->tasks);
    sem_post(&gate);
    finish_all(&context, job->tasks);
    finish(blocker);
    bench_memory_after(job->tasks);
    close_context(&context);
}

/* ------------------------------------------------------------------------------------------------
 * Timers
 */
static void insert(void *pointer, size_t index, int64_t delay_ns) {
    struct context *context = pointer;
    context->futures[index] = rn_run(context->runtime, trivial, .start_in = delay_ns);
}

static void cancel(void *pointer, size_t index) {
    struct context *context = pointer;
    if (!rn_cancel(context->futures[index])) {
        bench_fail("a run that waits for its start could not be cancelled");
    }
    rn_release(context->futures[index]);
}

static void timers(const struct bench_job *job) {
    static const struct bench_timer_ops ops = {insert, cancel};
    struct context context = open_context(job, bench_timer_capacity(job));
    bench_timers(job, &ops, &context);
    close_context(&context);
}

static rn_value note_time(rn_call *call) {
    *(int64_t *)rn_as_pointer(rn_arg(call)) = bench_now_ns();
    return rn_none();
}

static int64_t fire_timer(void *runtime, int64_t delay_ns) {
    int64_t fired_at = 0;
    finish(rn_run(runtime, note_time, .arg = rn_pointer(&fired_at), .start_in = delay_ns));
    return fired_at;
}

static void lateness(const struct bench_job *job) {
    rn_runtime *runtime = open_runtime(job->workers);
    bench_lateness(job, fire_timer, runtime);
    close_runtime(runtime);
}

int main(int count, char **arguments) {
    static const struct bench_case cases[] = {
        {"runium", "fire", fire},
        {"runium", "producers", producers},
        {"runium", "future", futures},
        {"runium", "callback", callbacks},
        {"runium", "nested", nested},
        {"runium", "round-trip", round_trip},
        {"runium", "idle", idle},
        {"runium", "memory", memory},
        {"runium", "timers", timers},
        {"runium", "lateness", lateness},
        {"runium", "features-off", futures},
        {"runium", "features-on", featured},
        {NULL, NULL, NULL},
    };
    char about[64];
    snprintf(about, sizeof about, "Runium %d.%d.%d", RN_VERSION_MAJOR, RN_VERSION_MINOR, RN_VERSION_PATCH);
    return bench_main(count, arguments, about, cases);
}
