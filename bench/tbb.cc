/*
 * oneTBB in its two ways. `tbb` is a task_group run from within an arena: the thread that submits owns a
 * deque there and works too while it waits; it is the documented way and the fast one. `tbb-enqueue` is
 * task_arena::enqueue() into an arena of workers only: the nearest to an outside producer.
 */
#include "bench.h"

#include <cstdio>
#include <future>
#include <memory>
#include <semaphore.h>
#include <vector>

#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>
#include <oneapi/tbb/task_group.h>
#include <oneapi/tbb/version.h>

namespace {

namespace tbb = oneapi::tbb;

/* An arena with `workers` threads of TBB and `masters` slots for ours. TBB starts one thread fewer than
 * there are CPUs, unless it is allowed more. */
struct context {
    context(unsigned workers, unsigned masters)
        : limit(tbb::global_control::max_allowed_parallelism, workers + 1),
          arena(static_cast<int>(workers + masters), masters) {
        arena.initialize();
    }
    tbb::global_control limit;
    tbb::task_arena arena;
    tbb::task_group group;
};

void fire_burst(void *pointer, size_t count) {
    context *here = static_cast<context *>(pointer);
    here->arena.execute([=] {
        for (size_t i = 0; i < count; i++) {
            here->group.run([] { bench_count_task(); });
        }
        here->group.wait();
    });
}

void fire(const bench_job *job) {
    context here(job->workers, 1);
    bench_bursts(job, fire_burst, &here);
}

void enqueue_tasks(void *pointer, size_t count) {
    context *here = static_cast<context *>(pointer);
    for (size_t i = 0; i < count; i++) {
        here->arena.enqueue([] { bench_count_task(); });
    }
}

void enqueue_burst(void *pointer, size_t count) {
    uint64_t target = bench_tasks() + count;
    enqueue_tasks(pointer, count);
    bench_wait_tasks(target);
}

void enqueue_fire(const bench_job *job) {
    context here(job->workers, 0);
    bench_bursts(job, enqueue_burst, &here);
}

void enqueue_producers(const bench_job *job) {
    context here(job->workers, 0);
    bench_producer_bursts(job, enqueue_tasks, &here);
}

/* Each producer has its own slot, its own deque, and a group of its own; it works while it waits. */
void run_tasks(void *pointer, size_t count) {
    context *here = static_cast<context *>(pointer);
    here->arena.execute([=] {
        tbb::task_group group;
        for (size_t i = 0; i < count; i++) {
            group.run([] { bench_count_task(); });
        }
        group.wait();
    });
}

void producers(const bench_job *job) {
    context here(job->workers, job->producers);
    bench_producer_bursts(job, run_tasks, &here);
}

/* Futures: a std::promise that the task keeps. */
struct future_context {
    future_context(unsigned workers, size_t capacity) : base(workers, 0), futures(capacity) {}
    context base;
    std::vector<std::future<void>> futures;
};

std::future<void> start(context &base, void (*function)()) {
    auto promise = std::make_shared<std::promise<void>>();
    std::future<void> future = promise->get_future();
    base.arena.enqueue([promise, function] {
        function();
        promise->set_value();
    });
    return future;
}

void future_burst(void *pointer, size_t count) {
    future_context *here = static_cast<future_context *>(pointer);
    for (size_t i = 0; i < count; i++) {
        here->futures[i] = start(here->base, bench_count_task);
    }
    for (size_t i = 0; i < count; i++) {
        here->futures[i].get();
    }
}

void enqueue_futures(const bench_job *job) {
    future_context here(job->workers, bench_batch(job));
    bench_bursts(job, future_burst, &here);
}

/* Futures: a group for each task, which is what TBB itself can wait for. */
struct group_context {
    group_context(unsigned workers, size_t capacity) : base(workers, 1), groups(capacity) {}
    context base;
    std::vector<std::unique_ptr<tbb::task_group>> groups;
};

void group_burst(void *pointer, size_t count) {
    group_context *here = static_cast<group_context *>(pointer);
    here->base.arena.execute([=] {
        for (size_t i = 0; i < count; i++) {
            here->groups[i].reset(new tbb::task_group);
            here->groups[i]->run([] { bench_count_task(); });
        }
        for (size_t i = 0; i < count; i++) {
            here->groups[i]->wait();
            here->groups[i].reset();
        }
    });
}

void group_futures(const bench_job *job) {
    group_context here(job->workers, bench_batch(job));
    bench_bursts(job, group_burst, &here);
}

uint64_t fib(unsigned n) {
    if (n < 2) {
        return n;
    }
    uint64_t left = 0;
    uint64_t right = 0;
    tbb::task_group group;
    group.run([&left, n] { left = fib(n - 1); });
    group.run([&right, n] { right = fib(n - 2); });
    group.wait();
    return left + right;
}

uint64_t fib_in_arena(void *pointer, unsigned n) {
    context *here = static_cast<context *>(pointer);
    return here->arena.execute([=] { return fib(n); });
}

/* The thread that calls is one of the workers here. */
void nested(const bench_job *job) {
    context here(job->workers - 1, 1);
    bench_nested(job, fib_in_arena, &here);
}

void group_trip(void *pointer) {
    context *here = static_cast<context *>(pointer);
    here->arena.execute([=] {
        here->group.run([] { bench_count_task(); });
        here->group.wait();
    });
}

void group_round_trip(const bench_job *job) {
    context here(job->workers, 1);
    bench_round_trips(job, group_trip, &here);
}

void enqueue_trip(void *pointer) { start(*static_cast<context *>(pointer), bench_count_task).get(); }

void enqueue_round_trip(const bench_job *job) {
    context here(job->workers, 0);
    bench_round_trips(job, enqueue_trip, &here);
}

void idle(const bench_job *job) {
    context here(job->workers, 0);
    enqueue_burst(&here, 1000);
    bench_idle();
}

sem_t gate;

void wait_at_gate() { sem_wait(&gate); }

void enqueue_memory(const bench_job *job) {
    future_context here(job->workers, job->tasks);
    sem_init(&gate, 0, 0);
    future_burst(&here, 1000);
    std::future<void> blocker = start(here.base, wait_at_gate);
    bench_memory_before();
    for (size_t i = 0; i < job->tasks; i++) {
        here.futures[i] = start(here.base, bench_count_task);
    }
    bench_memory_pending(job->tasks);
    sem_post(&gate);
    for (size_t i = 0; i < job->tasks; i++) {
        here.futures[i].get();
    }
    blocker.get();
    bench_memory_after(job->tasks);
}

} // namespace

int main(int count, char **arguments) {
    static const bench_case cases[] = {
        {"tbb", "fire", fire},
        {"tbb", "producers", producers},
        {"tbb", "future", group_futures},
        {"tbb", "nested", nested},
        {"tbb", "round-trip", group_round_trip},
        {"tbb", "idle", idle},
        {"tbb-enqueue", "fire", enqueue_fire},
        {"tbb-enqueue", "producers", enqueue_producers},
        {"tbb-enqueue", "future", enqueue_futures},
        {"tbb-enqueue", "round-trip", enqueue_round_trip},
        {"tbb-enqueue", "memory", enqueue_memory},
        {nullptr, nullptr, nullptr},
    };
    char about[64];
    std::snprintf(about, sizeof about, "oneTBB %s", TBB_runtime_version());
    return bench_main(count, arguments, about, cases);
}
