/*
 * The process pool that a C programmer writes in an afternoon: workers that are forked in advance, each with a socket
 * pair of its own. Tasks go to them in turn, a few to each, and results are read in the same order, so that the next
 * one is always where it is expected and no poll is needed.
 */
#include "processes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WORKERS_MAX 64
#define STREAK 16u  /* tasks for one worker before the next has its turn */
#define WINDOW 128u /* packets on their way to one worker: so many fit into a socket, whatever the system's limits */
#define CHUNK_BYTES ((size_t)64 * 1024) /* a large packet must fit, too */

struct worker {
    pid_t process;
    int socket;
    bool is_dead;
};

struct pool {
    unsigned workers;
    uint64_t submitted;
    uint64_t read;
    unsigned char *payload; /* room for what comes back */
    struct worker all[WORKERS_MAX];
};

/* False: the other side is gone. */
static bool receive(int socket, void *bytes, size_t size) {
    ssize_t got;
    do {
        got = recv(socket, bytes, size, 0);
    } while (got < 0 && errno == EINTR);
    if (got > 0 && (size_t)got != size) {
        bench_fail("a packet of %zd bytes instead of %zu", got, size);
    }
    return got > 0;
}

static void transmit(int socket, const void *bytes, size_t size) {
    if (send(socket, bytes, size, MSG_NOSIGNAL) != (ssize_t)size) {
        bench_fail("send: %s", strerror(errno));
    }
}

static size_t chunk_at(size_t at, size_t size) { return size - at < CHUNK_BYTES ? size - at : CHUNK_BYTES; }

static bool receive_chunks(int socket, unsigned char *bytes, size_t size) {
    size_t at = 0;
    for (; at < size && receive(socket, bytes + at, chunk_at(at, size)); at += chunk_at(at, size)) {
    }
    return at >= size;
}

static void transmit_chunks(int socket, const unsigned char *bytes, size_t size) {
    for (size_t at = 0; at < size; at += chunk_at(at, size)) {
        transmit(socket, bytes + at, chunk_at(at, size));
    }
}

/* ------------------------------------------------------------------------------------------------
 * The worker. An order without a function announces a payload of so many bytes.
 */
static void carry_back(int socket, size_t size) {
    static unsigned char *room;
    room = room == NULL ? bench_allocate(1, size) : room;
    if (receive_chunks(socket, room, size)) {
        bench_touch(room, size);
        transmit_chunks(socket, room, size);
    }
}

static void worker_main(int socket) {
    for (struct bench_order order; receive(socket, &order, sizeof order);) {
        if (order.function == NULL) {
            carry_back(socket, order.argument.number);
            continue;
        }
        struct bench_message result = order.function(order.argument);
        transmit(socket, &result, sizeof result);
    }
}

static void start_worker(struct worker *worker) {
    int sockets[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0) {
        bench_fail("socketpair: %s", strerror(errno));
    }
    worker->process = bench_fork();
    if (worker->process == 0) {
        close(sockets[0]);
        worker_main(sockets[1]);
        _exit(0);
    }
    close(sockets[1]);
    worker->socket = sockets[0];
    worker->is_dead = false;
}

/* ------------------------------------------------------------------------------------------------
 * The pool
 */
static struct pool open_pool(unsigned workers) {
    struct pool pool = {.workers = workers < WORKERS_MAX ? workers : WORKERS_MAX};
    for (unsigned i = 0; i < pool.workers; i++) {
        start_worker(&pool.all[i]);
    }
    return pool;
}

/* A worker ends when its socket does, but for those that were forked later and hold it too: they end first. */
static void close_pool(void *pointer) {
    struct pool *pool = pointer;
    for (unsigned i = pool->workers; i-- > 0;) {
        close(pool->all[i].socket);
        bench_reap(pool->all[i].process);
    }
}

static void submit_function(struct pool *pool, bench_message_fn *function, struct bench_message argument) {
    struct bench_order order = {function, argument};
    transmit(pool->all[pool->submitted++ / STREAK % pool->workers].socket, &order, sizeof order);
}

static void submit(void *pool, struct bench_message argument) { submit_function(pool, bench_answer, argument); }

static bool read_result(struct pool *pool, struct bench_message *result) {
    struct worker *worker = &pool->all[pool->read++ / STREAK % pool->workers];
    worker->is_dead = !receive(worker->socket, result, sizeof *result);
    return !worker->is_dead;
}

static struct bench_message next(void *pool) {
    struct bench_message result;
    if (!read_result(pool, &result)) {
        bench_fail("a worker has died");
    }
    return result;
}

static void pipelined(const struct bench_job *job) {
    struct pool pool = open_pool(job->workers);
    struct bench_stream stream = {&pool, (size_t)WINDOW * pool.workers, submit, next, close_pool};
    bench_pipeline(job, &stream);
}

static void round_trip(const struct bench_job *job) {
    struct pool pool = open_pool(job->workers);
    struct bench_stream stream = {&pool, 1, submit, next, close_pool};
    bench_process_trips(job, &stream);
}

static unsigned char *carry(void *pointer, unsigned char *payload, size_t size) {
    struct pool *pool = pointer;
    submit_function(pool, NULL, (struct bench_message){.number = size});
    int socket = pool->all[pool->read++ / STREAK % pool->workers].socket;
    transmit_chunks(socket, payload, size);
    receive_chunks(socket, pool->payload, size);
    return pool->payload;
}

static void payload(const struct bench_job *job) {
    struct pool pool = open_pool(job->workers);
    pool.payload = bench_allocate(1, job->bytes);
    bench_payload_trips(job, carry, &pool, NULL);
    free(pool.payload);
    close_pool(&pool);
}

/* ------------------------------------------------------------------------------------------------
 * Deaths: the end of the socket tells
 */
static void kill_worker(void *pointer, struct bench_message place) {
    struct pool *pool = pointer;
    struct bench_message result;
    submit_function(pool, bench_die, place);
    if (read_result(pool, &result)) {
        bench_fail("a dead worker has answered");
    }
}

static void replace_and_run(void *pointer) {
    struct pool *pool = pointer;
    struct worker *worker = &pool->all[pool->submitted / STREAK % pool->workers];
    if (worker->is_dead) {
        close(worker->socket);
        bench_reap(worker->process);
        start_worker(worker);
    }
    submit(pool, (struct bench_message){.number = 0});
    next(pool);
}

static void deaths(const struct bench_job *job) {
    bench_hold(job);
    struct pool pool = open_pool(1);
    struct bench_mortal mortal = {&pool, kill_worker, replace_and_run, true};
    bench_deaths(job, &mortal);
    close_pool(&pool);
}

int main(int count, char **arguments) {
    static const struct bench_case cases[] = {
        {"socketpair", "processes-pipelined", pipelined},
        {"socketpair", "processes-round-trip", round_trip},
        {"socketpair", "processes-payload", payload},
        {"socketpair", "processes-death", deaths},
        {NULL, NULL, NULL},
    };
    return bench_main(count, arguments, "workers forked in advance, a socket pair for each", cases);
}
