/*
 * GLib: a GThreadPool with threads of its own ("exclusive", the kind without hand-over between pools) for
 * the tasks; a GMutex and a GCond per future, as GLib has none; and GTask, which has its own pool of ten
 * threads and calls back on the main context.
 */
#include "bench.h"

#include <gio/gio.h>
#include <semaphore.h>
#include <stdio.h>

/* ------------------------------------------------------------------------------------------------
 * GThreadPool, fire and forget
 */
static GThreadPool *pool_open(GFunc function, void *context, unsigned workers) {
    GThreadPool *pool = g_thread_pool_new(function, context, (gint)workers, TRUE, NULL);
    if (pool == NULL) {
        bench_fail("GLib refused a pool of %u threads", workers);
    }
    return pool;
}

static void pool_close(GThreadPool *pool) { g_thread_pool_free(pool, FALSE, TRUE); }

static void trivial(gpointer data, gpointer context) {
    (void)data;
    (void)context;
    bench_count_task();
}

static void produce(void *pool, size_t count) {
    for (size_t i = 0; i < count; i++) {
        g_thread_pool_push(pool, GSIZE_TO_POINTER(i + 1), NULL);
    }
}

static void fire_burst(void *pool, size_t count) {
    uint64_t target = bench_tasks() + count;
    produce(pool, count);
    bench_wait_tasks(target);
}

static void fire(const struct bench_job *job) {
    GThreadPool *pool = pool_open(trivial, NULL, job->workers);
    bench_bursts(job, fire_burst, pool);
    pool_close(pool);
}

static void producers(const struct bench_job *job) {
    GThreadPool *pool = pool_open(trivial, NULL, job->workers);
    bench_producer_bursts(job, produce, pool);
    pool_close(pool);
}

static void idle(const struct bench_job *job) {
    GThreadPool *pool = pool_open(trivial, NULL, job->workers);
    fire_burst(pool, 1000);
    bench_idle();
    pool_close(pool);
}

/* ------------------------------------------------------------------------------------------------
 * GThreadPool, futures
 */
struct future {
    GMutex mutex;
    GCond completed;
    gboolean done;
    void (*function)(void);
    void (*callback)(void);
};

static void future_run(gpointer data, gpointer context) {
    struct future *future = data;
    (void)context;
    future->function();
    if (future->callback != NULL) {
        future->callback();
    }
    g_mutex_lock(&future->mutex);
    future->done = TRUE;
    g_cond_signal(&future->completed);
    g_mutex_unlock(&future->mutex);
}

static struct future *future_start(GThreadPool *pool, void (*function)(void), void (*callback)(void)) {
    struct future *future = g_new(struct future, 1);
    g_mutex_init(&future->mutex);
    g_cond_init(&future->completed);
    future->done = FALSE;
    future->function = function;
    future->callback = callback;
    g_thread_pool_push(pool, future, NULL);
    return future;
}

static void future_finish(struct future *future) {
    g_mutex_lock(&future->mutex);
    while (!future->done) {
        g_cond_wait(&future->completed, &future->mutex);
    }
    g_mutex_unlock(&future->mutex);
    g_cond_clear(&future->completed);
    g_mutex_clear(&future->mutex);
    g_free(future);
}

struct future_context {
    GThreadPool *pool;
    struct future **futures;
    void (*callback)(void);
};

static void future_burst(void *pointer, size_t count) {
    struct future_context *context = pointer;
    for (size_t i = 0; i < count; i++) {
        context->futures[i] = future_start(context->pool, bench_count_task, context->callback);
    }
    for (size_t i = 0; i < count; i++) {
        future_finish(context->futures[i]);
    }
}

static struct future_context future_context_open(const struct bench_job *job, size_t capacity) {
    return (struct future_context){
        .pool = pool_open(future_run, NULL, job->workers),
        .futures = bench_allocate(capacity, sizeof(struct future *)),
    };
}

static void future_context_close(struct future_context *context) {
    pool_close(context->pool);
    free(context->futures);
}

static void futures(const struct bench_job *job) {
    struct future_context context = future_context_open(job, bench_batch(job));
    bench_bursts(job, future_burst, &context);
    future_context_close(&context);
}

static void callbacks(const struct bench_job *job) {
    struct future_context context = future_context_open(job, bench_batch(job));
    context.callback = bench_count_callback;
    bench_callback_bursts(job, future_burst, &context);
    future_context_close(&context);
}

static void trip(void *pool) { future_finish(future_start(pool, bench_count_task, NULL)); }

static void round_trip(const struct bench_job *job) {
    GThreadPool *pool = pool_open(future_run, NULL, job->workers);
    bench_round_trips(job, trip, pool);
    pool_close(pool);
}

static sem_t gate;

static void wait_at_gate(void) { sem_wait(&gate); }

static void memory(const struct bench_job *job) {
    struct future_context context = future_context_open(job, job->tasks);
    sem_init(&gate, 0, 0);
    future_burst(&context, 1000);
    struct future *blocker = future_start(context.pool, wait_at_gate, NULL);
    bench_memory_before();
    for (size_t i = 0; i < job->tasks; i++) {
        context.futures[i] = future_start(context.pool, bench_count_task, bench_count_callback);
    }
    bench_memory_pending(job->tasks);
    sem_post(&gate);
    for (size_t i = 0; i < job->tasks; i++) {
        future_finish(context.futures[i]);
    }
    future_finish(blocker);
    bench_memory_after(job->tasks);
    future_context_close(&context);
}

/* ------------------------------------------------------------------------------------------------
 * GTask
 */
static size_t gtasks_left;

static void gtask_run(GTask *task, gpointer source, gpointer data, GCancellable *cancellable) {
    (void)source;
    (void)data;
    (void)cancellable;
    bench_count_task();
    g_task_return_boolean(task, TRUE);
}

static void gtask_completed(GObject *source, GAsyncResult *result, gpointer context) {
    (void)source;
    (void)context;
    g_task_propagate_boolean(G_TASK(result), NULL);
    bench_count_callback();
    gtasks_left--;
}

static void gtask_burst(void *context, size_t count) {
    (void)context;
    gtasks_left = count;
    for (size_t i = 0; i < count; i++) {
        GTask *task = g_task_new(NULL, NULL, gtask_completed, NULL);
        g_task_run_in_thread(task, gtask_run);
        g_object_unref(task);
    }
    while (gtasks_left > 0) {
        g_main_context_iteration(NULL, TRUE);
    }
}

static void gtask_callbacks(const struct bench_job *job) { bench_callback_bursts(job, gtask_burst, NULL); }

/* ------------------------------------------------------------------------------------------------
 * Timers
 */
struct timer_context {
    GMainContext *main_context;
    GSource **sources;
};

static gboolean count_timer(gpointer data) {
    (void)data;
    bench_count_task();
    return G_SOURCE_REMOVE;
}

static void insert(void *pointer, size_t index, int64_t delay_ns) {
    struct timer_context *context = pointer;
    GSource *source = g_timeout_source_new((guint)(delay_ns / 1000000));
    g_source_set_callback(source, count_timer, NULL, NULL);
    g_source_attach(source, context->main_context);
    context->sources[index] = source;
}

static void cancel(void *pointer, size_t index) {
    struct timer_context *context = pointer;
    g_source_destroy(context->sources[index]);
    g_source_unref(context->sources[index]);
}

/* GLib keeps timers in a plain list: putting one in is cheap, and each turn of the loop visits all of
 * them. The price of a turn is a figure of its own, so that the case tells the whole story. */
static void report_turn(const struct bench_job *job, struct timer_context *context) {
    for (size_t i = 0; i < job->tasks; i++) {
        insert(context, i, INT64_C(3600000000000));
    }
    int64_t start = bench_now_ns();
    g_main_context_iteration(context->main_context, FALSE);
    bench_report("loop_turn_ns", (double)(bench_now_ns() - start));
}

static void timers(const struct bench_job *job) {
    static const struct bench_timer_ops ops = {insert, cancel};
    struct timer_context context = {.main_context = g_main_context_new()};
    context.sources = bench_allocate(bench_timer_capacity(job), sizeof(GSource *));
    bench_timers(job, &ops, &context);
    report_turn(job, &context);
}

static gboolean note_time(gpointer data) {
    *(int64_t *)data = bench_now_ns();
    return G_SOURCE_REMOVE;
}

static int64_t fire_timer(void *pointer, int64_t delay_ns) {
    GMainContext *context = pointer;
    int64_t fired_at = 0;
    GSource *source = g_timeout_source_new((guint)(delay_ns / 1000000));
    g_source_set_callback(source, note_time, &fired_at, NULL);
    g_source_attach(source, context);
    while (fired_at == 0) {
        g_main_context_iteration(context, TRUE);
    }
    g_source_unref(source);
    return fired_at;
}

static void lateness(const struct bench_job *job) {
    GMainContext *context = g_main_context_new();
    bench_lateness(job, fire_timer, context);
    g_main_context_unref(context);
}

int main(int count, char **arguments) {
    static const struct bench_case cases[] = {
        {"glib", "fire", fire},
        {"glib", "producers", producers},
        {"glib", "future", futures},
        {"glib", "callback", callbacks},
        {"glib", "round-trip", round_trip},
        {"glib", "idle", idle},
        {"glib", "memory", memory},
        {"glib", "timers", timers},
        {"glib", "lateness", lateness},
        {"gtask", "callback", gtask_callbacks},
        {NULL, NULL, NULL},
    };
    char about[64];
    snprintf(about, sizeof about, "GLib %u.%u.%u", glib_major_version, glib_minor_version, glib_micro_version);
    return bench_main(count, arguments, about, cases);
}
