/*
 * libuv: uv_queue_work() with a request for each task that the caller owns, and the loop that learns of
 * their end. The pool belongs to the process, its size is an environment variable; only the thread of a
 * loop may submit to it, so each producer has a loop of its own. The requests lie in one array that is
 * touched in advance: no allocation is measured.
 */
#include "bench.h"

#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

static void set_pool_size(unsigned workers) {
    char text[16];
    snprintf(text, sizeof text, "%u", workers);
    setenv("UV_THREADPOOL_SIZE", text, 1);
}

static void check(int status) {
    if (status < 0) {
        bench_fail("libuv: %s", uv_strerror(status));
    }
}

static void trivial(uv_work_t *request) {
    (void)request;
    bench_count_task();
}

/* ------------------------------------------------------------------------------------------------
 * Bursts on one loop
 */
struct context {
    uv_loop_t loop;
    uv_work_t *requests;
};

static void context_open(struct context *context, const struct bench_job *job, size_t capacity) {
    set_pool_size(job->workers);
    check(uv_loop_init(&context->loop));
    context->requests = bench_allocate(capacity, sizeof *context->requests);
}

static void context_close(struct context *context) {
    check(uv_loop_close(&context->loop));
    free(context->requests);
}

static void fire_burst(void *pointer, size_t count) {
    struct context *context = pointer;
    for (size_t i = 0; i < count; i++) {
        check(uv_queue_work(&context->loop, &context->requests[i], trivial, NULL));
    }
    uv_run(&context->loop, UV_RUN_DEFAULT);
}

static void fire(const struct bench_job *job) {
    struct context context;
    context_open(&context, job, job->tasks);
    bench_bursts(job, fire_burst, &context);
    context_close(&context);
}

struct producer_context {
    uv_work_t *requests;
    size_t taken;
};

/* Each producer takes its part of the requests, and a loop of its own. */
static void produce(void *pointer, size_t count) {
    struct producer_context *shared = pointer;
    size_t first = __atomic_fetch_add(&shared->taken, count, __ATOMIC_RELAXED);
    struct context own = {.requests = shared->requests + first};
    check(uv_loop_init(&own.loop));
    fire_burst(&own, count);
    check(uv_loop_close(&own.loop));
}

static void producers(const struct bench_job *job) {
    set_pool_size(job->workers);
    struct producer_context shared = {.taken = 0};
    shared.requests = bench_allocate(job->tasks + BENCH_WARM_UP, sizeof *shared.requests);
    bench_producer_bursts(job, produce, &shared);
    free(shared.requests);
}

/* ------------------------------------------------------------------------------------------------
 * Completion callbacks, on the thread of the loop. There is no future to wait for: no figure for that case.
 */
static void completed(uv_work_t *request, int status) {
    (void)request;
    check(status);
    bench_count_callback();
}

static void callback_burst(void *pointer, size_t count) {
    struct context *context = pointer;
    for (size_t i = 0; i < count; i++) {
        check(uv_queue_work(&context->loop, &context->requests[i], trivial, completed));
    }
    uv_run(&context->loop, UV_RUN_DEFAULT);
}

static void callbacks(const struct bench_job *job) {
    struct context context;
    context_open(&context, job, bench_batch(job));
    bench_callback_bursts(job, callback_burst, &context);
    context_close(&context);
}

static void trip(void *pointer) {
    struct context *context = pointer;
    check(uv_queue_work(&context->loop, &context->requests[0], trivial, NULL));
    uv_run(&context->loop, UV_RUN_DEFAULT);
}

static void round_trip(const struct bench_job *job) {
    struct context context;
    context_open(&context, job, 1);
    bench_round_trips(job, trip, &context);
    context_close(&context);
}

/* ------------------------------------------------------------------------------------------------
 * Idle and memory
 */
static void idle(const struct bench_job *job) {
    struct context context;
    context_open(&context, job, 1000);
    fire_burst(&context, 1000);
    bench_idle();
    context_close(&context);
}

static sem_t gate;

static void wait_at_gate(uv_work_t *request) {
    (void)request;
    sem_wait(&gate);
}

static void free_request(uv_work_t *request, int status) {
    check(status);
    bench_count_callback();
    free(request);
}

static void queue_allocated(uv_loop_t *loop, uv_work_cb work) {
    uv_work_t *request = malloc(sizeof *request);
    if (request == NULL) {
        bench_fail("no memory for a request");
    }
    check(uv_queue_work(loop, request, work, free_request));
}

static void memory(const struct bench_job *job) {
    struct context context;
    context_open(&context, job, 1000);
    sem_init(&gate, 0, 0);
    fire_burst(&context, 1000);
    queue_allocated(&context.loop, wait_at_gate);
    bench_memory_before();
    for (size_t i = 0; i < job->tasks; i++) {
        queue_allocated(&context.loop, trivial);
    }
    bench_memory_pending(job->tasks);
    sem_post(&gate);
    uv_run(&context.loop, UV_RUN_DEFAULT);
    bench_memory_after(job->tasks);
    context_close(&context);
}

/* ------------------------------------------------------------------------------------------------
 * Timers: in the caller's memory, initialised in advance
 */
struct timer_context {
    uv_loop_t loop;
    uv_timer_t *timers;
};

static void count_timer(uv_timer_t *timer) {
    (void)timer;
    bench_count_task();
}

static void insert(void *pointer, size_t index, int64_t delay_ns) {
    struct timer_context *context = pointer;
    check(uv_timer_start(&context->timers[index], count_timer, (uint64_t)delay_ns / 1000000, 0));
}

static void cancel(void *pointer, size_t index) {
    struct timer_context *context = pointer;
    check(uv_timer_stop(&context->timers[index]));
}

static void timers(const struct bench_job *job) {
    static const struct bench_timer_ops ops = {insert, cancel};
    struct timer_context context;
    size_t capacity = bench_timer_capacity(job);
    check(uv_loop_init(&context.loop));
    context.timers = bench_allocate(capacity, sizeof *context.timers);
    for (size_t i = 0; i < capacity; i++) {
        check(uv_timer_init(&context.loop, &context.timers[i]));
    }
    bench_timers(job, &ops, &context);
}

static void note_time(uv_timer_t *timer) { *(int64_t *)timer->data = bench_now_ns(); }

static int64_t fire_timer(void *pointer, int64_t delay_ns) {
    struct timer_context *context = pointer;
    int64_t fired_at = 0;
    context->timers[0].data = &fired_at;
    uv_update_time(&context->loop);
    check(uv_timer_start(&context->timers[0], note_time, (uint64_t)delay_ns / 1000000, 0));
    uv_run(&context->loop, UV_RUN_DEFAULT);
    return fired_at;
}

static void lateness(const struct bench_job *job) {
    uv_timer_t timer;
    struct timer_context context = {.timers = &timer};
    check(uv_loop_init(&context.loop));
    check(uv_timer_init(&context.loop, &timer));
    bench_lateness(job, fire_timer, &context);
}

int main(int count, char **arguments) {
    static const struct bench_case cases[] = {
        {"libuv", "fire", fire},
        {"libuv", "producers", producers},
        {"libuv", "callback", callbacks},
        {"libuv", "round-trip", round_trip},
        {"libuv", "idle", idle},
        {"libuv", "memory", memory},
        {"libuv", "timers", timers},
        {"libuv", "lateness", lateness},
        {NULL, NULL, NULL},
    };
    char about[64];
    snprintf(about, sizeof about, "libuv %s", uv_version_string());
    return bench_main(count, arguments, about, cases);
}
