/*
 * The other pool of an afternoon: workers that are forked in advance and share one pipe of tasks and one of results.
 * The kernel hands a task to whichever worker reads first, and keeps what is shorter than PIPE_BUF in one piece.
 */
#include "processes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WORKERS_MAX 64
#define WINDOW 1024 /* of tasks on their way: their results fit into a pipe of 64 KiB, so that nobody blocks */

struct pool {
    unsigned workers;
    int tasks;
    int results;
    unsigned char *payload; /* room for what comes back */
    pid_t processes[WORKERS_MAX];
};

/* An order without a function announces a payload of so many bytes. */
static void carry_back(int tasks, int results, size_t size) {
    static unsigned char *room;
    room = room == NULL ? bench_allocate(1, size) : room;
    if (bench_receive(tasks, room, size)) {
        bench_touch(room, size);
        bench_send(results, room, size);
    }
}

static void worker_main(int tasks, int results) {
    for (struct bench_order order; bench_receive(tasks, &order, sizeof order);) {
        if (order.function == NULL) {
            carry_back(tasks, results, order.argument.number);
            continue;
        }
        struct bench_message result = order.function(order.argument);
        bench_send(results, &result, sizeof result);
    }
}

static pid_t start_worker(const int tasks[2], const int results[2]) {
    pid_t child = bench_fork();
    if (child == 0) {
        close(tasks[1]);
        close(results[0]);
        worker_main(tasks[0], results[1]);
        _exit(0);
    }
    return child;
}

static struct pool open_pool(unsigned workers) {
    int tasks[2];
    int results[2];
    if (pipe2(tasks, O_CLOEXEC) != 0 || pipe2(results, O_CLOEXEC) != 0) {
        bench_fail("pipe: %s", strerror(errno));
    }
    struct pool pool = {workers < WORKERS_MAX ? workers : WORKERS_MAX, tasks[1], results[0], NULL, {0}};
    for (unsigned i = 0; i < pool.workers; i++) {
        pool.processes[i] = start_worker(tasks, results);
    }
    close(tasks[0]);
    close(results[1]);
    return pool;
}

/* The workers end with the pipe of tasks. */
static void close_pool(void *pointer) {
    struct pool *pool = pointer;
    close(pool->tasks);
    for (unsigned i = 0; i < pool->workers; i++) {
        bench_reap(pool->processes[i]);
    }
    close(pool->results);
}

static void submit(void *pool, struct bench_message argument) {
    struct bench_order order = {bench_answer, argument};
    bench_send(((struct pool *)pool)->tasks, &order, sizeof order);
}

static struct bench_message next(void *pool) {
    struct bench_message result;
    if (!bench_receive(((struct pool *)pool)->results, &result, sizeof result)) {
        bench_fail("the workers have died");
    }
    return result;
}

static void pipelined(const struct bench_job *job) {
    struct pool pool = open_pool(job->workers);
    struct bench_stream stream = {&pool, WINDOW, submit, next, close_pool};
    bench_pipeline(job, &stream);
}

static void round_trip(const struct bench_job *job) {
    struct pool pool = open_pool(job->workers);
    struct bench_stream stream = {&pool, 1, submit, next, close_pool};
    bench_process_trips(job, &stream);
}

static unsigned char *carry(void *pointer, unsigned char *payload, size_t size) {
    struct pool *pool = pointer;
    struct bench_order order = {.argument = {.number = size}};
    bench_send(pool->tasks, &order, sizeof order);
    bench_send(pool->tasks, payload, size);
    if (!bench_receive(pool->results, pool->payload, size)) {
        bench_fail("the worker has died");
    }
    return pool->payload;
}

/* With one worker: two that read from one pipe would each get a part of it. */
static void payload(const struct bench_job *job) {
    struct pool pool = open_pool(1);
    pool.payload = bench_allocate(1, job->bytes);
    bench_payload_trips(job, carry, &pool, NULL);
    free(pool.payload);
    close_pool(&pool);
}

int main(int count, char **arguments) {
    static const struct bench_case cases[] = {
        {"pipe", "processes-pipelined", pipelined},
        {"pipe", "processes-round-trip", round_trip},
        {"pipe", "processes-payload", payload},
        {NULL, NULL, NULL},
    };
    return bench_main(count, arguments, "workers forked in advance, one pipe of tasks and one of results", cases);
}
