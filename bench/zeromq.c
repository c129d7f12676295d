/*
 * ZeroMQ over ipc, as its guide does it: a PUSH socket deals tasks out to workers, who PUSH their results to a PULL
 * socket. The addresses are abstract ones, which leave no file behind.
 */
#include "processes.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zmq.h>

#define WORKERS_MAX 64
#define WINDOW 1024 /* of tasks on their way, about what its queues hold by default */

struct pool {
    unsigned workers;
    void *library;
    void *tasks;
    void *results;
    unsigned char *payload; /* room for what comes back */
    pid_t processes[WORKERS_MAX];
};

static void check(int code) {
    if (code < 0) {
        bench_fail("ZeroMQ: %s", zmq_strerror(zmq_errno()));
    }
}

static void *open_socket(void *library, int type, const char *role, pid_t owner) {
    char address[64];
    int no_wait = 0;
    void *socket = zmq_socket(library, type);
    snprintf(address, sizeof address, "ipc://@runium-bench-%s-%d", role, (int)owner);
    check(socket == NULL ? -1 : 0);
    check(zmq_setsockopt(socket, ZMQ_LINGER, &no_wait, sizeof no_wait));
    check(getpid() == owner ? zmq_bind(socket, address) : zmq_connect(socket, address));
    return socket;
}

static void transmit(void *socket, const void *bytes, size_t size) { check(zmq_send(socket, bytes, size, 0)); }

static void receive(void *socket, void *bytes, size_t size) {
    int got = zmq_recv(socket, bytes, size, 0);
    check(got);
    if ((size_t)got != size) {
        bench_fail("a message of %d bytes instead of %zu", got, size);
    }
}

/* ------------------------------------------------------------------------------------------------
 * The worker. An order without a function announces a payload of so many bytes.
 */
static void carry_back(void *tasks, void *results, size_t size) {
    static unsigned char *room;
    room = room == NULL ? bench_allocate(1, size) : room;
    receive(tasks, room, size);
    bench_touch(room, size);
    transmit(results, room, size);
}

static void worker_main(pid_t owner) {
    void *library = zmq_ctx_new();
    void *tasks = open_socket(library, ZMQ_PULL, "tasks", owner);
    void *results = open_socket(library, ZMQ_PUSH, "results", owner);
    for (struct bench_order order;;) {
        receive(tasks, &order, sizeof order);
        if (order.function == NULL) {
            carry_back(tasks, results, order.argument.number);
            continue;
        }
        struct bench_message result = order.function(order.argument);
        transmit(results, &result, sizeof result);
    }
}

/* ------------------------------------------------------------------------------------------------
 * The pool
 */
static void submit(void *pool, struct bench_message argument) {
    struct bench_order order = {bench_answer, argument};
    transmit(((struct pool *)pool)->tasks, &order, sizeof order);
}

static struct bench_message next(void *pool) {
    struct bench_message result;
    receive(((struct pool *)pool)->results, &result, sizeof result);
    return result;
}

/* The library's threads do not survive a fork: the workers are forked before it is opened. */
static struct pool open_pool(unsigned workers) {
    struct pool pool = {.workers = workers < WORKERS_MAX ? workers : WORKERS_MAX};
    for (unsigned i = 0; i < pool.workers; i++) {
        pid_t owner = getpid();
        pool.processes[i] = bench_fork();
        if (pool.processes[i] == 0) {
            worker_main(owner);
        }
    }
    pool.library = zmq_ctx_new();
    pool.results = open_socket(pool.library, ZMQ_PULL, "results", getpid());
    pool.tasks = open_socket(pool.library, ZMQ_PUSH, "tasks", getpid());
    bench_sleep_ns(300000000); /* until all workers have connected: else the first gets all tasks */
    return pool;
}

static void end_worker(pid_t worker) {
    kill(worker, SIGTERM);
    bench_reap(worker);
}

static void close_pool(void *pointer) {
    struct pool *pool = pointer;
    for (unsigned i = 0; i < pool->workers; i++) {
        end_worker(pool->processes[i]);
    }
    zmq_close(pool->tasks);
    zmq_close(pool->results);
    zmq_ctx_term(pool->library);
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
    transmit(pool->tasks, &order, sizeof order);
    transmit(pool->tasks, payload, size);
    receive(pool->results, pool->payload, size);
    return pool->payload;
}

/* With one worker: the next message goes to the next one. */
static void payload(const struct bench_job *job) {
    struct pool pool = open_pool(1);
    pool.payload = bench_allocate(1, job->bytes);
    bench_payload_trips(job, carry, &pool, NULL);
    free(pool.payload);
    close_pool(&pool);
}

int main(int count, char **arguments) {
    static const struct bench_case cases[] = {
        {"zeromq", "processes-pipelined", pipelined},
        {"zeromq", "processes-round-trip", round_trip},
        {"zeromq", "processes-payload", payload},
        {NULL, NULL, NULL},
    };
    char about[64];
    snprintf(about, sizeof about, "ZeroMQ %d.%d.%d", ZMQ_VERSION_MAJOR, ZMQ_VERSION_MINOR, ZMQ_VERSION_PATCH);
    return bench_main(count, arguments, about, cases);
}
