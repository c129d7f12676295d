/*
 * OpenMP tasks on libgomp. Tasks live inside a parallel region: its threads are the workers, and the one
 * that submits joins them when it waits. A region has one thread more than there are workers where the
 * producer is outside the pool for the other contenders; the nested case has exactly the workers.
 */
#include "bench.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

static void produce(size_t count) {
    bench_mark_submitter();
    for (size_t i = 0; i < count; i++) {
#pragma omp task
        bench_count_task();
    }
}

static void fire_burst(void *context, size_t count) {
    const struct bench_job *job = context;
#pragma omp parallel num_threads(job->workers + 1)
#pragma omp master
    produce(count);
}

static void fire(const struct bench_job *job) {
    struct bench_job copy = *job;
    bench_bursts(job, fire_burst, &copy);
}

/* The producers are threads of the region too; the others wait at its end and run tasks meanwhile. */
static void producers_burst(void *context, size_t count) {
    const struct bench_job *job = context;
    size_t share = count / job->producers;
#pragma omp parallel num_threads(job->workers + job->producers)
    if ((unsigned)omp_get_thread_num() < job->producers) {
        produce(share);
    }
}

static void producers(const struct bench_job *job) {
    struct bench_job copy = *job;
    bench_bursts(job, producers_burst, &copy);
}

/* A future is a dependency: `taskwait depend` waits for that task alone. */
struct future_context {
    unsigned workers;
    char *futures;
};

static void start_and_finish(char *futures, size_t count) {
    bench_mark_submitter();
    const char *end = futures + count;
    for (char *future = futures; future < end; future++) {
#pragma omp task depend(out : *future)
        bench_count_task();
    }
    for (char *future = futures; future < end; future++) {
#pragma omp taskwait depend(in : *future)
    }
}

static void future_burst(void *pointer, size_t count) {
    struct future_context *context = pointer;
#pragma omp parallel num_threads(context->workers + 1)
#pragma omp master
    start_and_finish(context->futures, count);
}

static void futures(const struct bench_job *job) {
    struct future_context context = {job->workers, bench_allocate(bench_batch(job), 1)};
    bench_bursts(job, future_burst, &context);
    free(context.futures);
}

static uint64_t fib(unsigned n) {
    if (n < 2) {
        return n;
    }
    uint64_t left = 0;
    uint64_t right = 0;
#pragma omp task shared(left)
    left = fib(n - 1);
#pragma omp task shared(right)
    right = fib(n - 2);
#pragma omp taskwait
    return left + right;
}

static uint64_t fib_in_region(void *context, unsigned n) {
    const struct bench_job *job = context;
    uint64_t result = 0;
#pragma omp parallel num_threads(job->workers)
#pragma omp master
    result = fib(n);
    return result;
}

static void nested(const struct bench_job *job) {
    struct bench_job copy = *job;
    bench_nested(job, fib_in_region, &copy);
}

static void idle(const struct bench_job *job) {
    struct bench_job copy = *job;
    fire_burst(&copy, 1000);
    bench_idle();
}

int main(int count, char **arguments) {
    static const struct bench_case cases[] = {
        {"libgomp", "fire", fire},     {"libgomp", "producers", producers}, {"libgomp", "future", futures},
        {"libgomp", "nested", nested}, {"libgomp", "idle", idle},           {NULL, NULL, NULL},
    };
    char about[64];
    snprintf(about, sizeof about, "libgomp of gcc %s, OpenMP %d", __VERSION__, _OPENMP);
    return bench_main(count, arguments, about, cases);
}
