#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/memory.h"
#include "base/os.h"

static int64_t read_clock(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t rni_os_now(void) { return read_clock(CLOCK_MONOTONIC); }

int64_t rni_os_now_coarse(void) { return read_clock(CLOCK_MONOTONIC_COARSE); }

int64_t rni_os_wall_now(void) { return read_clock(CLOCK_REALTIME); }

void rni_os_wait(const void *word, uint32_t expected, int64_t deadline_ns) {
    if (rni_fault(RN_FAULT_FUTEX)) return;
    struct timespec until = {.tv_sec = (time_t)(deadline_ns / 1000000000), .tv_nsec = (long)(deadline_ns % 1000000000)};
    int saved = errno; /* an early return is no error of the caller's */
    syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, expected, deadline_ns < 0 ? NULL : &until, NULL,
            FUTEX_BITSET_MATCH_ANY);
    errno = saved;
}

void rni_os_wake(const void *word, int count) {
    int saved = errno;
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
    errno = saved;
}

/* size: whole pages. */
static void *map_aligned(size_t size, size_t align, int flags) {
    size_t whole = size + align;
    char *raw = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    if (raw == MAP_FAILED) return NULL;
    char *start = (char *)(((uintptr_t)raw + align - 1) & ~(uintptr_t)(align - 1));
    if (start > raw) munmap(raw, (size_t)(start - raw));
    munmap(start + size, (size_t)(raw + whole - (start + size)));
    return start;
}

void *rni_os_map(size_t size, size_t align) {
    if (rni_fault(RN_FAULT_MAPPING)) return NULL;
    void *start = map_aligned(size, align, MAP_NORESERVE);
    if (start) rni_fault_hold(RN_FAULT_MAPPING, 1);
    return start;
}

/* Whatever the size of a page is: none has more than 64 KiB. */
static size_t whole_pages(size_t size) { return (size + 0xffff) & ~(size_t)0xffff; }

void *rni_os_take_pages(size_t size) {
    void *start = map_aligned(whole_pages(size), RNI_HUGE_BYTES, 0);
    if (start) rni_os_prefer_huge(start, whole_pages(size));
    return start;
}

void rni_os_give_pages(void *pages, size_t size) { munmap(pages, whole_pages(size)); }

void rni_os_discard(void *pages, size_t size) { madvise(pages, size, MADV_DONTNEED); }

void rni_os_prefer_huge(void *pages, size_t size) { madvise(pages, size, MADV_HUGEPAGE); }

/* The lowest address of this thread's stack, for threads that we started. */
static __thread uintptr_t stack_low;

struct start {
    void *(*function)(void *);
    void *argument;
};

static void find_stack(void) {
    pthread_attr_t attributes;
    void *low = NULL;
    size_t size = 0;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0) return;
    if (pthread_attr_getstack(&attributes, &low, &size) == 0) stack_low = (uintptr_t)low;
    pthread_attr_destroy(&attributes);
}

static void *run_thread(void *argument) {
    struct start start = *(struct start *)argument;
    rni_free(argument);
    find_stack();
    return start.function(start.argument);
}

static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};

int rni_os_thread_start(rni_os_thread *thread, void *(*function)(void *), void *argument) {
    if (rni_fault(RN_FAULT_THREAD_START)) return RN_NO_THREADS;
    struct start *start = rni_alloc(sizeof *start);
    if (!start) return RN_NO_MEMORY;
    *start = (struct start){function, argument};
    sigset_t all, former;
    sigfillset(&all);
    /* Faults of the thread itself stay deliverable: blocked, they would kill past every handler. */
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) sigdelset(&all, faults[i]);
    pthread_t id;
    /* The new thread inherits the mask: signals meant for the program are never handled on ours. */
    pthread_sigmask(SIG_SETMASK, &all, &former);
    int refused = pthread_create(&id, NULL, run_thread, start);
    pthread_sigmask(SIG_SETMASK, &former, NULL);
    if (refused) {
        rni_free(start);
        return RN_NO_THREADS;
    }
    thread->id = (uint64_t)id;
    rni_fault_hold(RN_FAULT_THREAD_START, 1);
    return RN_OK;
}

void rni_os_thread_join(rni_os_thread thread) {
    pthread_join((pthread_t)thread.id, NULL);
    rni_fault_hold(RN_FAULT_THREAD_START, -1);
}

void rni_os_thread_name(const char *name) {
    char cut[16];
    size_t length = strnlen(name, sizeof cut - 1);
    memcpy(cut, name, length);
    cut[length] = '\0';
    pthread_setname_np(pthread_self(), cut);
}

void rni_os_yield(void) { sched_yield(); }

size_t rni_os_stack_left(void) {
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    return stack_low && here > stack_low ? here - stack_low : 0;
}

uintptr_t rni_os_thread_self(void) { return (uintptr_t)pthread_self(); }

static pthread_key_t exit_key;

bool rni_os_on_thread_exit(void (*function)(void *value)) { return pthread_key_create(&exit_key, function) == 0; }

void rni_os_at_thread_exit(void *value) { pthread_setspecific(exit_key, value); }

bool rni_os_on_fork(void (*child)(void)) { return pthread_atfork(NULL, NULL, child) == 0; }

void rni_os_write_stderr(const char *text, size_t length) {
    int saved = errno;
    ssize_t written = write(STDERR_FILENO, text, length);
    (void)written; /* there is nowhere else to say so */
    errno = saved;
}

uint64_t rni_os_random(void) {
    uint64_t bits = 0;
    if (getrandom(&bits, sizeof bits, GRND_NONBLOCK) != (ssize_t)sizeof bits) bits = (uint64_t)rni_os_now();
    return bits;
}

/*
 * The mutex of Drepper, "Futexes Are Tricky": 0 free, 1 held, 2 held and somebody may sleep.
 * Our own, because fork() must be able to reset it in the child, whoever held it.
 */
bool rni_mutex_try_lock(rni_mutex *mutex) {
    uint32_t expected = 0;
    return rni_cas_acq_rel(&mutex->word, &expected, 1); /* acquires what unlock released */
}

void rni_mutex_lock(rni_mutex *mutex) {
    if (rni_mutex_try_lock(mutex)) return;
    while (rni_swap_acq_rel(&mutex->word, 2) != 0) rni_os_wait(&mutex->word, 2, -1); /* pairs with unlock */
}

void rni_mutex_unlock(rni_mutex *mutex) {
    if (rni_swap_acq_rel(&mutex->word, 0) == 2) rni_os_wake(&mutex->word, 1); /* pairs with lock */
}
