/*
 * The pool that a C programmer writes in an afternoon: one list under one mutex, one condition variable.
 * It signals only when a worker sleeps, and a future is one allocation with its task: without these two
 * it would be slower still.
 */
#include "bench.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>

#define WORKERS_MAX 64

struct task {
    struct task *next;
    void (*function)(void *argument);
    void *argument;
};

struct pool {
    pthread_mutex_t mutex;
    pthread_cond_t not_empty;
    struct task *first;
    struct task **last;
    unsigned sleeping;
    bool closing;
    unsigned workers;
    pthread_t threads[WORKERS_MAX];
};

static struct task *pool_take(struct pool *pool) {
    pthread_mutex_lock(&pool->mutex);
    while (pool->first == NULL && !pool->closing) {
        pool->sleeping++;
        pthread_cond_wait(&pool->not_empty, &pool->mutex);
        pool->sleeping--;
    }
    struct task *task = pool->first;
    if (task != NULL) {
        pool->first = task->next;
        if (pool->first == NULL) {
            pool->last = &pool->first;
        }
    }
    pthread_mutex_unlock(&pool->mutex);
    return task;
}

static void *worker_main(void *pointer) {
    struct pool *pool = pointer;
    for (struct task *task; (task = pool_take(pool)) != NULL;) {
        task->function(task->argument);
    }
    return NULL;
}

static void pool_push(struct pool *pool, struct task *task) {
    task->next = NULL;
    pthread_mutex_lock(&pool->mutex);
    *pool->last = task;
    pool->last = &task->next;
    bool wake = pool->sleeping > 0;
    pthread_mutex_unlock(&pool->mutex);
    if (wake) {
        pthread_cond_signal(&pool->not_empty);
    }
}

static struct pool *pool_open(unsigned workers) {
    struct pool *pool = bench_allocate(1, sizeof *pool);
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->not_empty, NULL);
    pool->last = &pool->first;
    pool->workers = workers;
    for (unsigned i = 0; i < workers; i++) {
        if (i >= WORKERS_MAX || pthread_create(&pool->threads[i], NULL, worker_main, pool) != 0) {
            bench_fail("cannot start worker %u", i);
        }
    }
    return pool;
}

static void pool_close(struct pool *pool) {
    pthread_mutex_lock(&pool->mutex);
    pool->closing = true;
    pthread_mutex_unlock(&pool->mutex);
    pthread_cond_broadcast(&pool->not_empty);
    for (unsigned i = 0; i < pool->workers; i++) {
        pthread_join(pool->threads[i], NULL);
    }
    free(pool);
}

/* ------------------------------------------------------------------------------------------------
 * Fire and forget
 */
static void trivial(void *argument) {
    bench_count_task();
    free(argument); /* the task itself */
}

static void produce(void *context, size_t count) {
    for (size_t i = 0; i < count; i++) {
        struct task *task = malloc(sizeof *task);
        if (task == NULL) {
            bench_fail("no memory for a task");
        }
        task->function = trivial;
        task->argument = task;
        pool_push(context, task);
    }
}

static void fire_burst(void *context, size_t count) {
    uint64_t target = bench_tasks() + count;
    produce(context, count);
    bench_wait_tasks(target);
}

static void fire(const struct bench_job *job) {
    struct pool *pool = pool_open(job->workers);
    bench_bursts(job, fire_burst, pool);
    pool_close(pool);
}

static void producers(const struct bench_job *job) {
    struct pool *pool = pool_open(job->workers);
    bench_producer_bursts(job, produce, pool);
    pool_close(pool);
}

/* ------------------------------------------------------------------------------------------------
 * Futures
 */
struct future {
    struct task task;
    pthread_mutex_t mutex;
    pthread_cond_t completed;
    bool done;
    void (*function)(void);
    void (*callback)(void);
};

static void future_run(void *argument) {
    struct future *future = argument;
    future->function();
    if (future->callback != NULL) {
        future->callback();
    }
    pthread_mutex_lock(&future->mutex);
    future->done = true;
    /* Within the lock: the waiter frees the future as soon as it sees it done. */
    pthread_cond_signal(&future->completed);
    pthread_mutex_unlock(&future->mutex);
}

static struct future *future_start(struct pool *pool, void (*function)(void), void (*callback)(void)) {
    struct future *future = malloc(sizeof *future);
    if (future == NULL) {
        bench_fail("no memory for a future");
    }
    pthread_mutex_init(&future->mutex, NULL);
    pthread_cond_init(&future->completed, NULL);
    future->done = false;
    future->function = function;
    future->callback = callback;
    future->task.function = future_run;
    future->task.argument = future;
    pool_push(pool, &future->task);
    return future;
}

static void future_finish(struct future *future) {
    pthread_mutex_lock(&future->mutex);
    while (!future->done) {
        pthread_cond_wait(&future->completed, &future->mutex);
    }
    pthread_mutex_unlock(&future->mutex);
    pthread_cond_destroy(&future->completed);
    pthread_mutex_destroy(&future->mutex);
    free(future);
}

struct future_context {
    struct pool *pool;
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
        .pool = pool_open(job->workers),
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

static void trip(void *context) { future_finish(future_start(context, bench_count_task, NULL)); }

static void round_trip(const struct bench_job *job) {
    struct pool *pool = pool_open(job->workers);
    bench_round_trips(job, trip, pool);
    pool_close(pool);
}

/* ------------------------------------------------------------------------------------------------
 * Idle and memory
 */
static void idle(const struct bench_job *job) {
    struct pool *pool = pool_open(job->workers);
    fire_burst(pool, 1000);
    bench_idle();
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

int main(int count, char **arguments) {
    static const struct bench_case cases[] = {
        {"mutex", "fire", fire},
        {"mutex", "producers", producers},
        {"mutex", "future", futures},
        {"mutex", "callback", callbacks},
        {"mutex", "round-trip", round_trip},
        {"mutex", "idle", idle},
        {"mutex", "memory", memory},
        {NULL, NULL, NULL},
    };
    return bench_main(count, arguments, "a list under a mutex, with a condition variable", cases);
}
