#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define SLOTS 256
#define FIGURES 16
#define IDLE_NS INT64_C(1000000000)
#define SETTLE_NS INT64_C(100000000)
#define MILLISECOND_NS INT64_C(1000000)
#define HOUR_NS INT64_C(3600000000000)
#define PAGE_BYTES 4096
#define TIMER_BLOCKS 5
#define LOOK_NS INT64_C(20000)
#define CALLBACKS_NS INT64_C(5000000000) /* then the callbacks that are missing were lost */

/* ------------------------------------------------------------------------------------------------
 * Reporting
 */
struct figure {
    const char *name;
    double value;
};

static struct figure figures[FIGURES];
static size_t figure_count;

/* Kept until the end: a buffer that printf() allocates half way would stand in the way of a shrinking heap. */
void bench_report(const char *figure, double value) {
    if (figure_count == FIGURES) {
        bench_fail("more than %d figures", FIGURES);
    }
    figures[figure_count++] = (struct figure){figure, value};
}

static void print_figures(void) {
    for (size_t i = 0; i < figure_count; i++) {
        printf("%s\"%s\": %.6g", i == 0 ? "{" : ", ", figures[i].name, figures[i].value);
    }
    printf("}\n");
}

void bench_fail(const char *format, ...) {
    va_list list;
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fputc('\n', stderr);
    exit(1);
}

static int compare_samples(const void *left, const void *right) {
    int64_t a = *(const int64_t *)left;
    int64_t b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

void bench_report_median(const char *figure, int64_t *samples, size_t count) {
    qsort(samples, count, sizeof *samples, compare_samples);
    bench_report(figure, (double)samples[count / 2]);
}

void bench_report_percentiles(int64_t *samples, size_t count) {
    bench_report_median("p50", samples, count);
    bench_report("p99", (double)samples[count * 99 / 100]);
}

/* ------------------------------------------------------------------------------------------------
 * Time, memory and chance
 */
int64_t bench_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void bench_sleep_ns(int64_t duration_ns) {
    struct timespec left = {.tv_sec = duration_ns / 1000000000, .tv_nsec = duration_ns % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR) {
    }
}

void *bench_allocate(size_t count, size_t size) {
    volatile char *memory = calloc(count, size);
    if (memory == NULL) bench_fail("no memory for %zu items of %zu bytes", count, size);
    /* A page that was never written would be faulted in while the clock runs. */
    for (size_t at = 0; at < count * size; at += PAGE_BYTES) memory[at] = 0;
    return (void *)memory;
}

/* A fixed sequence (splitmix64): every contender sees the same delays and the same victims. */
static uint64_t next_random(uint64_t *state) {
    uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static int64_t cpu_ns(void) {
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (int64_t)used.tv_sec * 1000000000 + used.tv_nsec;
}

static long context_switches(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_nvcsw + usage.ru_nivcsw;
}

/* The resident set in bytes, exact: statm lags behind by what each CPU has counted for itself. Allocates nothing. */
static int64_t resident_bytes(void) {
    char text[1024] = "";
    int file = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
    ssize_t length = file < 0 ? -1 : read(file, text, sizeof text - 1);
    const char *line = length <= 0 ? NULL : strstr(text, "\nRss:");
    if (line == NULL) {
        bench_fail("/proc/self/smaps_rollup does not say the resident set size");
    }
    close(file);
    return strtol(line + strlen("\nRss:"), NULL, 10) * 1024;
}

/* ------------------------------------------------------------------------------------------------
 * Counters
 */
__thread struct bench_slot *bench_own_slot;
static _Alignas(128) struct bench_slot slots[SLOTS];
static unsigned slots_used;

struct bench_slot *bench_new_slot(void) {
    unsigned index = __atomic_fetch_add(&slots_used, 1, __ATOMIC_RELAXED);
    if (index >= SLOTS) {
        bench_fail("more than %d threads ran tasks", SLOTS);
    }
    return bench_own_slot = &slots[index];
}

uint64_t bench_tasks(void) {
    uint64_t sum = 0;
    for (size_t i = 0; i < SLOTS; i++) {
        sum += __atomic_load_n(&slots[i].tasks, __ATOMIC_RELAXED);
    }
    return sum;
}

uint64_t bench_callbacks(void) {
    uint64_t sum = 0;
    for (size_t i = 0; i < SLOTS; i++) {
        sum += __atomic_load_n(&slots[i].callbacks, __ATOMIC_RELAXED);
    }
    return sum;
}

void bench_mark_submitter(void) { __atomic_store_n(&bench_slot_here()->submits, 1, __ATOMIC_RELAXED); }

static uint64_t inline_tasks(void) {
    uint64_t sum = 0;
    for (size_t i = 0; i < SLOTS; i++) {
        if (__atomic_load_n(&slots[i].submits, __ATOMIC_RELAXED) != 0) {
            sum += __atomic_load_n(&slots[i].tasks, __ATOMIC_RELAXED);
        }
    }
    return sum;
}

void bench_wait_tasks(uint64_t total) {
    while (bench_tasks() < total) {
        bench_sleep_ns(LOOK_NS);
    }
}

/* ------------------------------------------------------------------------------------------------
 * Stop-watch
 */
struct watch {
    int64_t wall_ns;
    int64_t cpu_ns;
    long switches;
};

static struct watch watch_start(void) {
    return (struct watch){.cpu_ns = cpu_ns(), .switches = context_switches(), .wall_ns = bench_now_ns()};
}

static void watch_report(const struct watch *start, double tasks) {
    double wall_ns = (double)(bench_now_ns() - start->wall_ns);
    bench_report("ns", wall_ns / tasks);
    bench_report("cpu_ns", (double)(cpu_ns() - start->cpu_ns) / tasks);
    bench_report("switches", (double)(context_switches() - start->switches) / tasks);
}

/* ------------------------------------------------------------------------------------------------
 * Bursts
 */
static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

static void run_bursts(bench_burst_fn *burst, void *context, size_t tasks, size_t batch) {
    for (size_t left = tasks; left > 0;) {
        size_t count = smaller(left, batch);
        burst(context, count);
        left -= count;
    }
}

size_t bench_batch(const struct bench_job *job) { return job->batch > 0 ? job->batch : job->tasks; }

static size_t warm_up_of(const struct bench_job *job) { return smaller(BENCH_WARM_UP, bench_batch(job)); }

static void check_count(const char *what, uint64_t seen, size_t expected) {
    if (seen != expected) {
        bench_fail("%llu %s instead of %zu", (unsigned long long)seen, what, expected);
    }
}

static void check_tasks(size_t expected) {
    check_count("tasks ran", bench_tasks(), expected);
    bench_report("inline", (double)inline_tasks() / (double)expected);
}

/* A future may be complete before its callbacks were called: the last of them belong to the burst too. */
static void await_callbacks(size_t total) {
    int64_t deadline = bench_now_ns() + CALLBACKS_NS;
    while (bench_callbacks() < total && bench_now_ns() < deadline) {
        bench_sleep_ns(LOOK_NS);
    }
    check_count("callbacks were called", bench_callbacks(), total);
}

static void measure_bursts(const struct bench_job *job, bench_burst_fn *burst, void *context, bool has_callbacks) {
    size_t warm = warm_up_of(job);
    bench_mark_submitter();
    burst(context, warm);
    if (has_callbacks) await_callbacks(warm);
    struct watch watch = watch_start();
    run_bursts(burst, context, job->tasks, bench_batch(job));
    if (has_callbacks) await_callbacks(warm + job->tasks);
    watch_report(&watch, (double)job->tasks);
    check_tasks(warm + job->tasks);
}

void bench_bursts(const struct bench_job *job, bench_burst_fn *burst, void *context) {
    measure_bursts(job, burst, context, false);
}

void bench_callback_bursts(const struct bench_job *job, bench_burst_fn *burst, void *context) {
    measure_bursts(job, burst, context, true);
}

struct producing {
    bench_burst_fn *produce;
    void *context;
    size_t share;
    pthread_barrier_t *start;
};

static void *producer_main(void *pointer) {
    struct producing *mine = pointer;
    bench_mark_submitter();
    pthread_barrier_wait(mine->start);
    mine->produce(mine->context, mine->share);
    return NULL;
}

/* The threads stand ready before the watch starts, so that their creation is not measured. */
static struct watch burst_from_producers(const struct producing *plan, unsigned producers) {
    pthread_t threads[SLOTS];
    struct producing mine = *plan;
    for (unsigned i = 0; i < producers; i++) {
        if (pthread_create(&threads[i], NULL, producer_main, &mine) != 0) {
            bench_fail("cannot start producer %u", i);
        }
    }
    uint64_t target = bench_tasks() + plan->share * producers;
    struct watch watch = watch_start();
    pthread_barrier_wait(plan->start);
    bench_wait_tasks(target);
    for (unsigned i = 0; i < producers; i++) {
        pthread_join(threads[i], NULL);
    }
    return watch;
}

void bench_producer_bursts(const struct bench_job *job, bench_burst_fn *produce, void *context) {
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, job->producers + 1);
    struct producing plan = {produce, context, warm_up_of(job) / job->producers, &start};
    burst_from_producers(&plan, job->producers);
    size_t warm = plan.share * job->producers;

    plan.share = job->tasks / job->producers;
    size_t tasks = plan.share * job->producers;
    struct watch watch = burst_from_producers(&plan, job->producers);
    watch_report(&watch, (double)tasks);
    check_tasks(warm + tasks);
    pthread_barrier_destroy(&start);
}

/* ------------------------------------------------------------------------------------------------
 * Round trips
 */
static int64_t one_trip(bench_trip_fn *trip, void *context, int64_t gap_ns) {
    if (gap_ns > 0) {
        bench_sleep_ns(gap_ns);
    }
    int64_t start = bench_now_ns();
    trip(context);
    return bench_now_ns() - start;
}

void bench_round_trips(const struct bench_job *job, bench_trip_fn *trip, void *context) {
    int64_t *samples = bench_allocate(job->samples, sizeof *samples);
    unsigned warm_up = job->samples / 10;
    bench_mark_submitter();
    for (unsigned i = 0; i < warm_up; i++) {
        one_trip(trip, context, job->gap_ns);
    }
    for (unsigned i = 0; i < job->samples; i++) {
        samples[i] = one_trip(trip, context, job->gap_ns);
    }
    bench_report_percentiles(samples, job->samples);
    check_tasks((size_t)job->samples + warm_up);
    free(samples);
}

/* ------------------------------------------------------------------------------------------------
 * Nested, idle, memory
 */
static uint64_t fib_plain(unsigned n) {
    uint64_t previous = 0;
    uint64_t current = 1;
    while (n-- > 0) {
        uint64_t next = previous + current;
        previous = current;
        current = next;
    }
    return previous;
}

static void check_fib(bench_fib_fn *fib, void *context, unsigned n) {
    uint64_t seen = fib(context, n);
    if (seen != fib_plain(n)) {
        bench_fail("fib(%u) came out as %llu", n, (unsigned long long)seen);
    }
}

void bench_nested(const struct bench_job *job, bench_fib_fn *fib, void *context) {
    /* A call of fib(n) makes 2 fib(n + 1) - 1 calls in all, itself included. */
    double calls = (double)(2 * fib_plain(job->fib + 1) - 1);
    check_fib(fib, context, job->fib > 6 ? job->fib - 6 : 1);
    struct watch watch = watch_start();
    check_fib(fib, context, job->fib);
    watch_report(&watch, calls);
}

void bench_idle(void) {
    bench_sleep_ns(SETTLE_NS);
    int64_t cpu_start = cpu_ns();
    long switches_start = context_switches();
    bench_sleep_ns(IDLE_NS);
    bench_report("cpu_ms", (double)(cpu_ns() - cpu_start) / 1e6);
    bench_report("switches", (double)(context_switches() - switches_start));
}

static int64_t memory_before;

void bench_memory_before(void) { memory_before = resident_bytes(); }

void bench_memory_pending(size_t tasks) {
    bench_report("bytes", (double)(resident_bytes() - memory_before) / (double)tasks);
}

void bench_memory_after(size_t tasks) {
    bench_sleep_ns(SETTLE_NS);
    bench_report("bytes_after", (double)(resident_bytes() - memory_before) / (double)tasks);
}

/* ------------------------------------------------------------------------------------------------
 * Timers
 */
struct timers {
    const struct bench_timer_ops *ops;
    void *context;
    size_t *order; /* a permutation of the indices: first those of pending timers, then the free ones */
    size_t pending;
    uint64_t random;
};

size_t bench_timer_capacity(const struct bench_job *job) { return job->tasks + job->batch; }

static void insert_timers(struct timers *timers, size_t count) {
    for (size_t i = 0; i < count; i++) {
        int64_t delay_ns = HOUR_NS + (int64_t)(next_random(&timers->random) % (uint64_t)HOUR_NS);
        timers->ops->insert(timers->context, timers->order[timers->pending + i], delay_ns);
    }
    timers->pending += count;
}

/* Moves that many random pending indices to the end of the pending part. */
static void choose_victims(struct timers *timers, size_t count) {
    for (size_t i = 0; i < count; i++) {
        size_t last = timers->pending - 1 - i;
        size_t chosen = (size_t)(next_random(&timers->random) % (last + 1));
        size_t index = timers->order[chosen];
        timers->order[chosen] = timers->order[last];
        timers->order[last] = index;
    }
}

static void cancel_timers(struct timers *timers, size_t count) {
    timers->pending -= count;
    for (size_t i = 0; i < count; i++) {
        timers->ops->cancel(timers->context, timers->order[timers->pending + i]);
    }
}

static void report_timers(int64_t inserting, int64_t cancelling, size_t pairs) {
    bench_report("ns", (double)(inserting + cancelling) / (double)pairs);
    bench_report("insert_ns", (double)inserting / (double)pairs);
    bench_report("cancel_ns", (double)cancelling / (double)pairs);
}

/* Lets `change` insert or cancel so many; returns how long that took. */
static int64_t timed(struct timers *timers, void (*change)(struct timers *, size_t), size_t count) {
    int64_t start = bench_now_ns();
    change(timers, count);
    return bench_now_ns() - start;
}

static void run_timers_in_order(struct timers *timers, size_t count) {
    insert_timers(timers, count); /* to warm up */
    cancel_timers(timers, count);
    int64_t inserting = timed(timers, insert_timers, count);
    int64_t cancelling = timed(timers, cancel_timers, count);
    report_timers(inserting, cancelling, count);
}

static void run_timers_at_random(struct timers *timers, size_t count, size_t batch) {
    int64_t inserting = 0;
    int64_t cancelling = 0;
    insert_timers(timers, count);
    for (size_t block = 0; block < TIMER_BLOCKS; block++) {
        inserting += timed(timers, insert_timers, batch);
        choose_victims(timers, batch);
        cancelling += timed(timers, cancel_timers, batch);
    }
    report_timers(inserting, cancelling, TIMER_BLOCKS * batch);
    cancel_timers(timers, timers->pending);
}

void bench_timers(const struct bench_job *job, const struct bench_timer_ops *ops, void *context) {
    size_t capacity = bench_timer_capacity(job);
    struct timers timers = {.ops = ops, .context = context, .random = 42};
    timers.order = bench_allocate(capacity, sizeof *timers.order);
    for (size_t i = 0; i < capacity; i++) timers.order[i] = i;
    if (job->batch == 0) run_timers_in_order(&timers, job->tasks);
    else run_timers_at_random(&timers, job->tasks, job->batch);
    free(timers.order);
}

void bench_lateness(const struct bench_job *job, bench_fire_fn *fire, void *context) {
    int64_t *samples = bench_allocate(job->samples, sizeof *samples);
    uint64_t random = 42;
    for (unsigned i = 0; i < job->samples; i++) {
        /* Whole milliseconds: that is the finest that libuv and GLib take. */
        int64_t delay_ns = MILLISECOND_NS * (int64_t)(1 + next_random(&random) % 3);
        int64_t due = bench_now_ns() + delay_ns;
        samples[i] = fire(context, delay_ns) - due;
    }
    bench_report_percentiles(samples, job->samples);
    free(samples);
}

/* ------------------------------------------------------------------------------------------------
 * Command line
 */
static bool is_setting(const char *setting, const char *name) {
    size_t length = strlen(name);
    return strncmp(setting, name, length) == 0 && setting[length] == '=';
}

static bool take_setting(struct bench_job *job, const char *setting) {
    const char *equals = strchr(setting, '=');
    unsigned long long value = equals == NULL ? 0 : strtoull(equals + 1, NULL, 10);
    if (is_setting(setting, "workers")) {
        job->workers = (unsigned)value;
    } else if (is_setting(setting, "producers")) {
        job->producers = (unsigned)value;
    } else if (is_setting(setting, "tasks")) {
        job->tasks = (size_t)value;
    } else if (is_setting(setting, "batch")) {
        job->batch = (size_t)value;
    } else if (is_setting(setting, "samples")) {
        job->samples = (unsigned)value;
    } else if (is_setting(setting, "gap_ns")) {
        job->gap_ns = (int64_t)value;
    } else if (is_setting(setting, "bytes")) {
        job->bytes = (size_t)value;
    } else if (is_setting(setting, "fib")) {
        job->fib = (unsigned)value;
    } else {
        return false;
    }
    return true;
}

static int list_cases(const char *about, const struct bench_case *cases) {
    printf("about\t%s\n", about);
    printf("compiler\t%s\n", __VERSION__);
    for (const struct bench_case *each = cases; each->name != NULL; each++) {
        printf("case\t%s\t%s\n", each->contender, each->name);
    }
    return 0;
}

static const struct bench_case *find_case(const struct bench_case *cases, const char *contender, const char *name) {
    for (const struct bench_case *each = cases; each->name != NULL; each++) {
        if (strcmp(each->contender, contender) == 0 && strcmp(each->name, name) == 0) {
            return each;
        }
    }
    return NULL;
}

int bench_main(int count, char **arguments, const char *about, const struct bench_case *cases) {
    if (count == 2 && strcmp(arguments[1], "--list") == 0) {
        return list_cases(about, cases);
    }
    if (count < 3) {
        fprintf(stderr, "usage: %s --list | CONTENDER CASE [workers=N] [tasks=N] ...\n", arguments[0]);
        return 2;
    }
    const struct bench_case *chosen = find_case(cases, arguments[1], arguments[2]);
    if (chosen == NULL) {
        bench_fail("no case %s of %s; --list shows them", arguments[2], arguments[1]);
    }
    struct bench_job job = {.workers = 1, .producers = 1, .tasks = 1000000, .samples = 1000, .fib = 27};
    for (int i = 3; i < count; i++) {
        if (!take_setting(&job, arguments[i])) {
            bench_fail("unknown setting %s", arguments[i]);
        }
    }
    chosen->run(&job);
    print_figures();
    return 0;
}
