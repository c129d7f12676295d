/*
 * The machine: the only header through which the library reaches threads, clocks, futexes and pages.
 * os_linux.c fills it; fault points (base/fault.h) sit in it, so that a test can make any of it fail.
 */
#ifndef RNI_BASE_OS_H
#define RNI_BASE_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomic.h"

/* Nanoseconds, monotonic. The coarse one is cheaper and lags by up to 10 ms. */
int64_t rni_os_now(void);
int64_t rni_os_now_coarse(void);
int64_t rni_os_wall_now(void); /* since 1970 UTC */

/* Sleeps while the 32 bits at `word` (the low half of a 64-bit word: its address) equal `expected`, until
 * a wake or deadline_ns (monotonic; negative: never). May return early, for no reason. */
void rni_os_wait(const void *word, uint32_t expected, int64_t deadline_ns);
void rni_os_wake(const void *word, int count);

/* Zeroed pages at a multiple of `align` (a power of two, at least a page). NULL if refused. They stay
 * mapped for ever: rni_os_discard gives their memory back to the system and leaves zeroes. */
void *rni_os_map(size_t size, size_t align);
void rni_os_discard(void *pages, size_t size);

/* Advice: these pages will be used as a whole. 2 MiB at a multiple of 2 MiB become one huge page. */
#define RNI_HUGE_BYTES ((size_t)2 * 1024 * 1024)
void rni_os_prefer_huge(void *pages, size_t size);

/* Zeroed pages that begin at a multiple of RNI_HUGE_BYTES, huge ones as far as the system has them. NULL if refused. */
void *rni_os_take_pages(size_t size);
void rni_os_give_pages(void *pages, size_t size);

/* Starts a thread that blocks every asynchronous signal. RN_OK, RN_NO_THREADS, or RN_NO_MEMORY. */
typedef struct rni_os_thread { uint64_t id; } rni_os_thread;
int rni_os_thread_start(rni_os_thread *thread, void *(*function)(void *), void *argument);
void rni_os_thread_join(rni_os_thread thread);
void rni_os_thread_name(const char *name); /* of the calling thread; cut at 15 bytes */
void rni_os_yield(void);

/* Bytes of stack left below the caller's frame, in a thread started by rni_os_thread_start(); else 0. */
size_t rni_os_stack_left(void);

/* A cheap name of the calling thread, never 0. */
uintptr_t rni_os_thread_self(void);

/* Calls function(value) in each thread that called rni_os_at_thread_exit(value), when it ends. Set once. */
bool rni_os_on_thread_exit(void (*function)(void *value));
void rni_os_at_thread_exit(void *value);

/* Calls function in the child after each fork() of this process. */
bool rni_os_on_fork(void (*child)(void));

/* One write to the standard error, so that lines of several threads do not mix. */
void rni_os_write_stderr(const char *text, size_t length);

/* Random bits from the system. */
uint64_t rni_os_random(void);

/* CPUs that this process may use: its affinity mask, and the CPU quota of its control group, rounded up. */
unsigned rni_os_cpu_count(void);

/* A mutex; zero is an unlocked one. Short critical sections of slow paths only. */
typedef struct rni_mutex { rni_a32 word; } rni_mutex;
void rni_mutex_lock(rni_mutex *mutex);
bool rni_mutex_try_lock(rni_mutex *mutex);
void rni_mutex_unlock(rni_mutex *mutex);

#endif
