/*
 * The yardsticks for worker processes: what the machine itself takes. A ring in shared memory with a futex on each
 * side, a process that is forked and reaped, the news of a death by a pidfd, a copy of a payload, its pages touched.
 */
#include "processes.h"

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SLOTS 512u /* a power of two, and the largest window */
#define THE_END UINT64_MAX

/* ------------------------------------------------------------------------------------------------
 * Two rings, one in each direction. A window bounds what is on its way, so that none can be full. Each side wakes the
 * other only before it sleeps itself: one wake-up for all that was put until then. A consumer sets `asleep` before it
 * looks for the last time, and sleeps as long as it is set; who wakes it clears it.
 */
struct ring {
    _Alignas(128) uint32_t tail;   /* items put so far: the producer's */
    _Alignas(128) uint32_t asleep; /* the futex */
    uint32_t head;                 /* items taken so far: the consumer's own */
    _Alignas(128) struct bench_message slots[SLOTS];
};

struct rings {
    struct ring tasks;
    struct ring results;
};

static void put(struct ring *ring, struct bench_message message) {
    uint32_t tail = __atomic_load_n(&ring->tail, __ATOMIC_RELAXED);
    ring->slots[tail % SLOTS] = message;
    /* Pairs with the loads in take() and sleep_until_put(). */
    __atomic_store_n(&ring->tail, tail + 1, __ATOMIC_SEQ_CST);
}

static void wake_consumer(struct ring *ring) {
    if (__atomic_load_n(&ring->asleep, __ATOMIC_SEQ_CST) != 0) { /* pairs with the store in sleep_until_put() */
        __atomic_store_n(&ring->asleep, 0, __ATOMIC_SEQ_CST);
        syscall(SYS_futex, &ring->asleep, FUTEX_WAKE, 1, NULL, NULL, 0);
    }
}

static void sleep_until_put(struct ring *ring) {
    __atomic_store_n(&ring->asleep, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&ring->tail, __ATOMIC_SEQ_CST) == ring->head) {
        syscall(SYS_futex, &ring->asleep, FUTEX_WAIT, 1, NULL, NULL, 0);
    }
    __atomic_store_n(&ring->asleep, 0, __ATOMIC_SEQ_CST);
}

static struct bench_message take(struct ring *ring, struct ring *other) {
    while (__atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE) == ring->head) {
        wake_consumer(other);
        sleep_until_put(ring);
    }
    return ring->slots[ring->head++ % SLOTS];
}

static void worker_main(struct rings *rings) {
    for (struct bench_message argument; (argument = take(&rings->tasks, &rings->results)).number != THE_END;) {
        put(&rings->results, bench_answer(argument));
    }
}

struct pair {
    struct rings *rings;
    pid_t worker;
};

static struct pair open_pair(void) {
    struct pair pair;
    pair.rings = mmap(NULL, sizeof *pair.rings, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (pair.rings == MAP_FAILED) {
        bench_fail("no shared memory");
    }
    pair.worker = bench_fork();
    if (pair.worker == 0) {
        worker_main(pair.rings);
        _exit(0);
    }
    return pair;
}

static void submit(void *pair, struct bench_message argument) { put(&((struct pair *)pair)->rings->tasks, argument); }

static struct bench_message next(void *pair) {
    struct rings *rings = ((struct pair *)pair)->rings;
    return take(&rings->results, &rings->tasks);
}

static void close_pair(void *pointer) {
    struct pair *pair = pointer;
    put(&pair->rings->tasks, (struct bench_message){.number = THE_END});
    wake_consumer(&pair->rings->tasks);
    bench_reap(pair->worker);
    munmap(pair->rings, sizeof *pair->rings);
}

/* To one CPU, with the processes that are forked from now on: else what is measured is the wake-up of an idle one. */
static void pin_here(void) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)sched_getcpu(), &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) {
        bench_fail("sched_setaffinity: %s", strerror(errno));
    }
}

static void pipeline(const struct bench_job *job, size_t window) {
    pin_here();
    struct pair pair = open_pair();
    struct bench_stream stream = {&pair, window, submit, next, close_pair};
    bench_pipeline(job, &stream);
}

static void pipelined(const struct bench_job *job) { pipeline(job, 64); }

static void pipelined_wide(const struct bench_job *job) { pipeline(job, SLOTS); }

static void round_trip(const struct bench_job *job) {
    struct pair pair = open_pair();
    struct bench_stream stream = {&pair, 1, submit, next, close_pair};
    bench_process_trips(job, &stream);
}

/* ------------------------------------------------------------------------------------------------
 * Payloads: no other process, only what the memory takes
 */
struct copies {
    unsigned char *there;
    unsigned char *back;
};

static unsigned char *copy_and_touch(void *pointer, unsigned char *payload, size_t size) {
    struct copies *copies = pointer;
    memcpy(copies->there, payload, size);
    bench_touch(copies->there, size);
    memcpy(copies->back, copies->there, size);
    return copies->back;
}

static void payload(const struct bench_job *job) {
    struct copies copies = {bench_allocate(1, job->bytes), bench_allocate(1, job->bytes)};
    bench_payload_trips(job, copy_and_touch, &copies, NULL);
    free(copies.there);
    free(copies.back);
}

static unsigned char *map_shared(int file, size_t size, int flags) {
    unsigned char *mapped = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | flags, file, 0);
    if (mapped == MAP_FAILED) {
        bench_fail("no mapping of %zu bytes", size);
    }
    return mapped;
}

struct shared {
    int file;
    int flags;
};

/* Maps memory that exists, as a worker does that is given it for the first time. */
static unsigned char *map_and_touch(void *pointer, unsigned char *payload, size_t size) {
    struct shared *shared = pointer;
    unsigned char *mapped = map_shared(shared->file, size, shared->flags);
    bench_touch(mapped, size);
    munmap(mapped, size);
    return payload;
}

static unsigned char *only_touch(void *context, unsigned char *payload, size_t size) {
    (void)context;
    bench_touch(payload, size);
    return payload;
}

static void measure_buffer(const struct bench_job *job, bench_carry_fn *carry, int flags) {
    struct shared shared = {memfd_create("bench", MFD_CLOEXEC), flags};
    if (shared.file < 0 || ftruncate(shared.file, (off_t)job->bytes) != 0) {
        bench_fail("no shared memory of %zu bytes", job->bytes);
    }
    unsigned char *payload = map_shared(shared.file, job->bytes, 0);
    bench_payload_trips(job, carry, &shared, payload);
    munmap(payload, job->bytes);
    close(shared.file);
}

static void buffer(const struct bench_job *job) { measure_buffer(job, map_and_touch, MAP_POPULATE); }

static void buffer_by_faults(const struct bench_job *job) { measure_buffer(job, map_and_touch, 0); }

static void buffer_mapped(const struct bench_job *job) { measure_buffer(job, only_touch, 0); }

/* ------------------------------------------------------------------------------------------------
 * Deaths
 */
static pid_t last_child;

static void wait_for_death(void *context, struct bench_message place) {
    (void)context;
    last_child = bench_fork();
    if (last_child == 0) {
        bench_die(place);
    }
    struct pollfd watched = {.fd = (int)syscall(SYS_pidfd_open, last_child, 0), .events = POLLIN};
    if (watched.fd < 0 || poll(&watched, 1, -1) != 1) {
        bench_fail("no news by a pidfd: %s", strerror(errno));
    }
    close(watched.fd);
}

static void reap_the_dead(void *context) {
    (void)context;
    bench_reap(last_child);
}

static void measure_forks(const struct bench_job *job) {
    int64_t *samples = bench_allocate(job->samples, sizeof *samples);
    for (unsigned i = 0; i < job->samples; i++) {
        bench_sleep_ns(job->gap_ns);
        int64_t start = bench_now_ns();
        pid_t child = bench_fork();
        if (child == 0) {
            _exit(0);
        }
        bench_reap(child);
        samples[i] = bench_now_ns() - start;
    }
    bench_report_median("replaced", samples, job->samples);
    free(samples);
}

static void deaths(const struct bench_job *job) {
    struct bench_mortal mortal = {NULL, wait_for_death, reap_the_dead, false};
    bench_hold(job);
    bench_deaths(job, &mortal);
    measure_forks(job);
}

int main(int count, char **arguments) {
    static const struct bench_case cases[] = {
        {"bare", "processes-pipelined", pipelined},
        {"bare-512", "processes-pipelined", pipelined_wide},
        {"bare", "processes-round-trip", round_trip},
        {"bare", "processes-payload", payload},
        {"bare", "processes-buffer", buffer},
        {"bare-faults", "processes-buffer", buffer_by_faults},
        {"bare-mapped", "processes-buffer", buffer_mapped},
        {"bare", "processes-death", deaths},
        {NULL, NULL, NULL},
    };
    return bench_main(count, arguments, "system calls and shared memory, no library", cases);
}
