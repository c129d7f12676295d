/*
 * The yardsticks: what the machine itself takes, measured in the same run. No contender can be faster
 * than the mechanism that it stands on.
 */
#include "bench.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* ------------------------------------------------------------------------------------------------
 * Loops of one operation
 */
typedef void operation_fn(size_t times);

static void measure_loop(operation_fn *operation, size_t times) {
    operation(times / 10);
    int64_t start = bench_now_ns();
    operation(times);
    bench_report("ns", (double)(bench_now_ns() - start) / (double)times);
}

static void add_atomically(size_t times) {
    static uint64_t counter;
    for (size_t i = 0; i < times; i++) {
        __atomic_fetch_add(&counter, 1, __ATOMIC_SEQ_CST);
    }
}

static void atomic_add(const struct bench_job *job) { measure_loop(add_atomically, job->tasks); }

static void lock_and_unlock(size_t times) {
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    for (size_t i = 0; i < times; i++) {
        pthread_mutex_lock(&mutex);
        pthread_mutex_unlock(&mutex);
    }
}

/* The C library takes a shorter path while there is one thread: this has two, as any pool. */
static void *wait_at_barrier(void *barrier) {
    pthread_barrier_wait(barrier);
    return NULL;
}

static void mutex(const struct bench_job *job) {
    pthread_t thread;
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, 2);
    if (pthread_create(&thread, NULL, wait_at_barrier, &barrier) != 0) {
        bench_fail("cannot start a thread");
    }
    measure_loop(lock_and_unlock, job->tasks);
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL);
}

static void allocate_and_free(size_t times) {
    for (size_t i = 0; i < times; i++) {
        void *volatile memory = malloc(64);
        free(memory);
    }
}

static void allocation(const struct bench_job *job) { measure_loop(allocate_and_free, job->tasks); }

/* ------------------------------------------------------------------------------------------------
 * Two threads that take turns. `turn` is even when the first may go on, odd when the second may; -1 ends it.
 */
struct pair {
    int turn;
    bool spin;   /* looks at the word all the time instead of sleeping in the kernel */
    int cpus[2]; /* -1: wherever the kernel likes */
};

static void pin_to(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (cpu >= 0) {
        CPU_SET((size_t)cpu, &set);
        if (sched_setaffinity(0, sizeof set, &set) != 0) {
            bench_fail("cannot pin a thread to CPU %d", cpu);
        }
    }
}

/* Acquire: pairs with the release in pass_turn(). */
static int await_change(struct pair *pair, int seen) {
    int now;
    while ((now = __atomic_load_n(&pair->turn, __ATOMIC_ACQUIRE)) == seen) {
        if (!pair->spin) {
            syscall(SYS_futex, &pair->turn, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
        }
    }
    return now;
}

static void pass_turn(struct pair *pair, int turn) {
    __atomic_store_n(&pair->turn, turn, __ATOMIC_RELEASE);
    if (!pair->spin) {
        syscall(SYS_futex, &pair->turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    }
}

static void *second_main(void *pointer) {
    struct pair *pair = pointer;
    int turn = 0;
    pin_to(pair->cpus[1]);
    while ((turn = await_change(pair, turn)) >= 0) {
        bench_count_task();
        pass_turn(pair, ++turn);
    }
    return NULL;
}

static void pair_trip(void *pointer) {
    struct pair *pair = pointer;
    int turn = __atomic_load_n(&pair->turn, __ATOMIC_RELAXED) + 1;
    pass_turn(pair, turn);
    await_change(pair, turn);
}

static void measure_pair(struct pair *pair, const struct bench_job *job) {
    pthread_t second;
    pin_to(pair->cpus[0]);
    if (pthread_create(&second, NULL, second_main, pair) != 0) {
        bench_fail("cannot start the second thread");
    }
    bench_round_trips(job, pair_trip, pair);
    pass_turn(pair, -1);
    pthread_join(second, NULL);
}

static int allowed_cpu(int nth) {
    cpu_set_t set;
    sched_getaffinity(0, sizeof set, &set);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET((size_t)cpu, &set) && nth-- == 0) {
            return cpu;
        }
    }
    bench_fail("this process may use fewer CPUs than the yardstick needs");
}

static void futex_pair(const struct bench_job *job) {
    struct pair pair = {.cpus = {-1, -1}};
    measure_pair(&pair, job);
}

static void futex_same_core(const struct bench_job *job) {
    struct pair pair = {.cpus = {allowed_cpu(0), allowed_cpu(0)}};
    measure_pair(&pair, job);
}

static void futex_cross_core(const struct bench_job *job) {
    struct pair pair = {.cpus = {allowed_cpu(0), allowed_cpu(1)}};
    measure_pair(&pair, job);
}

static void cache_line(const struct bench_job *job) {
    struct pair pair = {.cpus = {allowed_cpu(0), allowed_cpu(1)}, .spin = true};
    measure_pair(&pair, job);
}

/* ------------------------------------------------------------------------------------------------
 * Time
 */
static int64_t sleep_and_look(void *context, int64_t delay_ns) {
    (void)context;
    int64_t due = bench_now_ns() + delay_ns;
    struct timespec until = {.tv_sec = due / 1000000000, .tv_nsec = due % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) {
    }
    return bench_now_ns();
}

static void lateness(const struct bench_job *job) { bench_lateness(job, sleep_and_look, NULL); }

static void idle(const struct bench_job *job) {
    (void)job;
    bench_idle();
}

int main(int count, char **arguments) {
    static const struct bench_case cases[] = {
        {"bare", "atomic-add", atomic_add},
        {"bare", "mutex", mutex},
        {"bare", "allocation", allocation},
        {"bare", "futex-same-core", futex_same_core},
        {"bare", "futex-cross-core", futex_cross_core},
        {"bare", "cache-line", cache_line},
        {"bare", "round-trip", futex_pair},
        {"bare", "lateness", lateness},
        {"bare", "idle", idle},
        {NULL, NULL, NULL},
    };
    return bench_main(count, arguments, "system calls and instructions, no library", cases);
}
