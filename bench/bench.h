/*
 * What every contender of the benchmark shares: the command line, the clock, the counters and the shape
 * of each case. A contender adds only what differs: how a task is submitted and how its end is awaited.
 *
 * A contender is a program of its own, so that no library disturbs another one. `scripts/bench` starts
 * it once per measurement, `bench-glib glib fire workers=2 tasks=1000000`, and reads one JSON object.
 */
#ifndef RUNIUM_BENCH_H
#define RUNIUM_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What the driver asks of one measurement; what a case does not use is ignored. */
struct bench_job {
    unsigned workers;   /* threads that run tasks */
    unsigned producers; /* threads that submit them */
    size_t tasks;       /* measured tasks in all */
    size_t batch;       /* submitted before the end of the first is awaited; 0: all of them */
    unsigned samples;   /* of a latency */
    int64_t gap_ns;     /* pause before each round trip; 0: back to back */
    unsigned fib;       /* argument of the nested case */
    size_t bytes;       /* of a payload, or of memory that the program has touched */
};

typedef void bench_case_fn(const struct bench_job *job);

struct bench_case {
    const char *contender;
    const char *name;
    bench_case_fn *run;
};

/* The whole of main(): `about` names the library and its version; the table ends with a NULL name. */
int bench_main(int count, char **arguments, const char *about, const struct bench_case *cases);

/* Ends the measurement as a failed one. */
#if defined(__GNUC__)
__attribute__((noreturn, format(printf, 1, 2)))
#endif
void bench_fail(const char *format, ...);

/* Adds a figure to the object that is printed at the end. */
void bench_report(const char *figure, double value);

int64_t bench_now_ns(void);
void bench_sleep_ns(int64_t duration_ns);
void *bench_allocate(size_t count, size_t size); /* zeroed and touched, so that no page fault is measured */
size_t bench_batch(const struct bench_job *job); /* job->batch; that it leaves open means the whole */

/* ------------------------------------------------------------------------------------------------
 * Counters: the work of a trivial task is one of these increments. Each thread owns a slot, so that
 * counting costs no cache line transfer and the sum is exact once the tasks are done.
 */
struct bench_slot {
    uint64_t tasks;
    uint64_t callbacks;
    uint64_t submits;     /* 1 for a thread that submits: its tasks were run inline, not handed over */
    uint64_t padding[13]; /* two cache lines: the hardware fetches them in pairs */
};

extern __thread struct bench_slot *bench_own_slot;
struct bench_slot *bench_new_slot(void);

static inline struct bench_slot *bench_slot_here(void) {
    return __builtin_expect(bench_own_slot != NULL, 1) ? bench_own_slot : bench_new_slot();
}

/* The owner alone writes a slot: a relaxed load and store suffice, and pair with bench_tasks(). */
static inline void bench_count_task(void) {
    uint64_t *count = &bench_slot_here()->tasks;
    __atomic_store_n(count, *count + 1, __ATOMIC_RELAXED);
}

static inline void bench_count_callback(void) {
    uint64_t *count = &bench_slot_here()->callbacks;
    __atomic_store_n(count, *count + 1, __ATOMIC_RELAXED);
}

uint64_t bench_tasks(void);
uint64_t bench_callbacks(void);

/* Says that this thread submits tasks. The harness says it for its own threads. */
void bench_mark_submitter(void);

/* Waits for contenders that cannot say by themselves when all is done; sleeps between looks. */
void bench_wait_tasks(uint64_t total);

/* ------------------------------------------------------------------------------------------------
 * The shapes. Each checks that every task ran exactly once, and fails the measurement otherwise.
 */

/* Submits `count` tasks and returns when all have ended. */
typedef void bench_burst_fn(void *context, size_t count);

/* The largest warm-up, in tasks. */
#define BENCH_WARM_UP 100000u

/* One burst of at most BENCH_WARM_UP tasks, then job->tasks in bursts of job->batch: reports ns per task,
 * and the share of tasks that a submitting thread ran itself. */
void bench_bursts(const struct bench_job *job, bench_burst_fn *burst, void *context);

/* As bench_bursts(), and each task also has a callback that calls bench_count_callback(). */
void bench_callback_bursts(const struct bench_job *job, bench_burst_fn *burst, void *context);

/* As bench_bursts(), with job->producers threads that each call `produce` for their share at the same time.
 * It may return before its tasks have ended: the harness waits for the count. */
void bench_producer_bursts(const struct bench_job *job, bench_burst_fn *produce, void *context);

/* Submits one task that calls bench_count_task(), and returns when its end is known. */
typedef void bench_trip_fn(void *context);

/* Reports p50 and p99 of the round trip in ns, and the share of tasks that the submitting thread ran itself. */
void bench_round_trips(const struct bench_job *job, bench_trip_fn *trip, void *context);

/* Computes fib(n) with a task per call. */
typedef uint64_t bench_fib_fn(void *context, unsigned n);

/* Checks the number, and reports ns per call. */
void bench_nested(const struct bench_job *job, bench_fib_fn *fib, void *context);

/* Reports the CPU time, in ms per s, and the wake-ups of a process whose pool has nothing to do. */
void bench_idle(void);

/* Memory: `before` just before the tasks are submitted behind a blocked worker, `pending` when they are,
 * `after` when they have ended and everything was given back. Report bytes per task. */
void bench_memory_before(void);
void bench_memory_pending(size_t tasks);
void bench_memory_after(size_t tasks);

/* Timers, by index: at most `capacity` at a time, delays of an hour and more that never fire. */
struct bench_timer_ops {
    void (*insert)(void *context, size_t index, int64_t delay_ns);
    void (*cancel)(void *context, size_t index);
};

/* Without job->batch: inserts job->tasks timers and cancels all in the order in which they came. With it: while
 * job->tasks are pending, inserts so many more and cancels as many random ones, five times. Reports ns for each. */
void bench_timers(const struct bench_job *job, const struct bench_timer_ops *ops, void *context);
size_t bench_timer_capacity(const struct bench_job *job);

/* Starts a timer, waits for it, and returns the time at which its function ran. */
typedef int64_t bench_fire_fn(void *context, int64_t delay_ns);

/* Reports p50 and p99 of how late a timer of 1, 2 or 3 ms fires, in ns. */
void bench_lateness(const struct bench_job *job, bench_fire_fn *fire, void *context);

/* Reports p50 and p99 of `count` samples, or only the p50, under that name. Both sort them. */
void bench_report_percentiles(int64_t *samples, size_t count);
void bench_report_median(const char *figure, int64_t *samples, size_t count);

#ifdef __cplusplus
}
#endif
#endif
