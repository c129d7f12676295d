/*
 * Runium's test kit: own the clock, the order, and the failures.
 *
 *     rn_testing kit = {.size = sizeof kit, .virtual_clock = true, .seed = 42};
 *     rn_runtime *rn = rn_open(.workers = 2, .testing = &kit);
 *     rn_future *f = rn_run(rn, hourly, .every = RN_HOURS(1), .times = 8760);
 *     rn_result(f);                                             // a year, in milliseconds
 *
 * Virtual clock   The runtime's clock stands still, and jumps to the next due time when every worker
 *                 is idle or waiting on Runium, and some thread outside waits on Runium too (in
 *                 rn_result, rn_wait, rn_close, rn_testing_advance). Nothing is ever late by it,
 *                 and no test needs to sleep.
 * Seed            Of the tasks that are ready, a generator seeded with `seed` picks the one that
 *                 starts; one task runs at a time, and tasks start only while a thread outside waits
 *                 on Runium. The same program with the same seed starts them in the same order. The
 *                 seed goes to the log when the runtime opens; the environment variable
 *                 RUNIUM_SEED=n replaces it.
 * Fault points    The n-th allocation, mapping or thread start of the library, in this whole process,
 *                 fails as if the system had refused it.
 */
#ifndef RUNIUM_TESTING_H
#define RUNIUM_TESTING_H

#include <runium.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RN_SEED_RANDOM UINT64_MAX

typedef struct rn_testing {
    size_t size;        /* sizeof(rn_testing) */
    bool virtual_clock;
    uint64_t seed;      /* 0: no fixed order; RN_SEED_RANDOM: a new one each time */
} rn_testing;

/* Nanoseconds on the runtime's clock since it opened, virtual or not. */
RN_API int64_t rn_testing_now(rn_runtime *runtime);

/* Lets a virtual clock run on by duration_ns, with all that comes due, and waits until it is there and
 * what came due has ended. Returns RN_OK; RN_INVALID without a virtual clock or in a task; RN_CLOSED. */
RN_API int rn_testing_advance(rn_runtime *runtime, int64_t duration_ns);

/* Waits until no run is ready or running: all that is left waits for the clock or for another run.
 * The clock does not move; with or without a test kit. Returns as rn_testing_advance(). */
RN_API int rn_testing_settle(rn_runtime *runtime);

/* The seed in use, or 0. */
RN_API uint64_t rn_testing_seed(rn_runtime *runtime);

enum rn_fault {
    RN_FAULT_ALLOCATION = 0,   /* memory from malloc and its kin */
    RN_FAULT_MAPPING = 1,      /* pages from mmap */
    RN_FAULT_THREAD_START = 2, /* a new thread */
    RN_FAULT_FUTEX = 3,        /* a futex wait that returns early, as by a signal */
    RN_FAULT_COUNT = 4
};

RN_API const char *rn_fault_name(enum rn_fault fault);

/* From now on the nth (1: the next) and the count - 1 after it fail; count UINT64_MAX: all from then on;
 * count 0: none. Also sets the fault's rn_testing_reached() to 0. */
RN_API void rn_testing_fail(enum rn_fault fault, uint64_t nth, uint64_t count);

/* How often this fault point was passed, failing or not, since the last rn_testing_fail() on it. */
RN_API uint64_t rn_testing_reached(enum rn_fault fault);

/* Allocations (or mappings) made less those given back, counted from the first call of this function or of
 * rn_testing_fail(): what a leak check compares. Pages once mapped are kept and used again, see docs. */
RN_API uint64_t rn_testing_held(enum rn_fault fault);

#ifdef __cplusplus
}
#endif
#endif
