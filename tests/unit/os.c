/*
 * The machine: clocks, futexes, pages, threads, the mutex; and what it does when the system refuses.
 */
#include "base/os.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>
#include <wchar.h>

#include "base/fault.h"
#include "base/memory.h"
#include "support.h"

/* ---- libc's functions that can be made to refuse ---- */

static struct {
    bool create, getattr, getstack, map, random, aligned;
    void *map_here; /* the address that mmap must give */
} refuse;

int __real_pthread_create(pthread_t *id, const pthread_attr_t *attributes, void *(*function)(void *), void *argument);
int __wrap_pthread_create(pthread_t *id, const pthread_attr_t *attributes, void *(*function)(void *), void *argument);
int __real_pthread_getattr_np(pthread_t id, pthread_attr_t *attributes);
int __wrap_pthread_getattr_np(pthread_t id, pthread_attr_t *attributes);
int __real_pthread_attr_getstack(const pthread_attr_t *attributes, void **low, size_t *size);
int __wrap_pthread_attr_getstack(const pthread_attr_t *attributes, void **low, size_t *size);
void *__real_mmap64(void *where, size_t size, int protection, int flags, int file, off_t offset);
void *__wrap_mmap64(void *where, size_t size, int protection, int flags, int file, off_t offset);
ssize_t __real_getrandom(void *buffer, size_t size, unsigned flags);
ssize_t __wrap_getrandom(void *buffer, size_t size, unsigned flags);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);

int __wrap_pthread_create(pthread_t *id, const pthread_attr_t *attributes, void *(*function)(void *), void *argument) {
    return refuse.create ? EAGAIN : __real_pthread_create(id, attributes, function, argument);
}

int __wrap_pthread_getattr_np(pthread_t id, pthread_attr_t *attributes) {
    return refuse.getattr ? ENOMEM : __real_pthread_getattr_np(id, attributes);
}

int __wrap_pthread_attr_getstack(const pthread_attr_t *attributes, void **low, size_t *size) {
    return refuse.getstack ? EINVAL : __real_pthread_attr_getstack(attributes, low, size);
}

void *__wrap_mmap64(void *where, size_t size, int protection, int flags, int file, off_t offset) {
    if (refuse.map) return MAP_FAILED;
    if (refuse.map_here) return __real_mmap64(refuse.map_here, size, protection, flags | MAP_FIXED, file, offset);
    return __real_mmap64(where, size, protection, flags, file, offset);
}

ssize_t __wrap_getrandom(void *buffer, size_t size, unsigned flags) {
    return refuse.random ? -1 : __real_getrandom(buffer, size, flags);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size) {
    return refuse.aligned ? NULL : __real_aligned_alloc(alignment, size);
}

/* ---- memory ---- */

TEST(pages_are_aligned_and_zero_and_zero_again_once_discarded) {
    for (size_t align = 4096; align <= (size_t)1 << 22; align *= 2) {
        size_t size = (size_t)256 * 1024;
        unsigned char *pages = rni_os_map(size, align);
        assert_non_null(pages);
        assert_int_equal((uintptr_t)pages % align, 0);
        for (size_t i = 0; i < size; i += 4096) assert_int_equal(pages[i], 0);
        memset(pages, 0xaa, size);
        rni_os_discard(pages, size);
        for (size_t i = 0; i < size; i += 1111) assert_int_equal(pages[i], 0);
        munmap(pages, size);
    }
}

TEST(pages_that_lie_right_already_are_taken_as_they_are) {
    size_t size = 65536;
    void *place = rni_os_map(2 * size, size);
    refuse.map_here = place;
    assert_ptr_equal(rni_os_map(size, size), place);
    refuse.map_here = NULL;
    munmap(place, size);
}

TEST(pages_that_the_system_refuses_are_not_counted) {
    uint64_t held = rn_testing_held(RN_FAULT_MAPPING);
    refuse.map = true;
    assert_null(rni_os_map(4096, 4096));
    refuse.map = false;
    rn_testing_fail(RN_FAULT_MAPPING, 1, 1);
    assert_null(rni_os_map(4096, 4096));
    assert_int_equal(rn_testing_held(RN_FAULT_MAPPING), held);
}

TEST(lines_are_aligned_and_zero) {
    for (size_t size = 1; size < 300; size += 13) {
        unsigned char *lines = rni_alloc_lines(size);
        assert_int_equal((uintptr_t)lines % 64, 0);
        for (size_t i = 0; i < size; i++) assert_int_equal(lines[i], 0);
        rni_free(lines);
    }
    rni_free(NULL);
    refuse.aligned = true;
    assert_null(rni_alloc_lines(64));
    refuse.aligned = false;
}

TEST(every_kind_of_allocation_is_a_fault_point) {
    rn_testing_fail(RN_FAULT_ALLOCATION, 1, 3);
    assert_null(rni_alloc(8));
    assert_null(rni_alloc_zeroed(8));
    assert_null(rni_alloc_lines(8));
    void *memory = rni_alloc_zeroed(8);
    assert_non_null(memory);
    rni_free(memory);
}

/* ---- threads ---- */

static struct {
    size_t stack_left;
    uintptr_t self;
    char name[32];
    sigset_t blocked;
} seen;

static void *look_around(void *argument) {
    seen.stack_left = rni_os_stack_left();
    seen.self = rni_os_thread_self();
    rni_os_thread_name(argument);
    pthread_getname_np(pthread_self(), seen.name, sizeof seen.name);
    pthread_sigmask(SIG_SETMASK, NULL, &seen.blocked);
    return NULL;
}

static void start(const char *name) {
    rni_os_thread thread;
    memset(&seen, 0, sizeof seen);
    assert_int_equal(rni_os_thread_start(&thread, look_around, (void *)(uintptr_t)name), RN_OK);
    rni_os_thread_join(thread);
}

TEST(a_thread_has_a_name_a_stack_and_no_signals) {
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
    static const int others[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD, SIGALRM, SIGPIPE, SIGPROF};
    start("short");
    assert_string_equal(seen.name, "short");
    assert_true(seen.stack_left > 32 * 1024);
    assert_true(seen.self != 0 && seen.self != rni_os_thread_self());
    for (size_t i = 0; i < COUNT_OF(faults); i++) assert_false(sigismember(&seen.blocked, faults[i]));
    for (size_t i = 0; i < COUNT_OF(others); i++) assert_true(sigismember(&seen.blocked, others[i]));
    sigset_t mine;
    pthread_sigmask(SIG_SETMASK, NULL, &mine);
    assert_false(sigismember(&mine, SIGUSR1));
    start("a name of more than fifteen bytes");
    assert_string_equal(seen.name, "a name of more ");
    assert_int_equal(rni_os_stack_left(), 0); /* of a thread that is not ours */
}

TEST(a_stack_that_cannot_be_found_has_nothing_left) {
    refuse.getattr = true;
    start("x");
    assert_int_equal(seen.stack_left, 0);
    refuse.getattr = false;
    refuse.getstack = true;
    start("x");
    assert_int_equal(seen.stack_left, 0);
    refuse.getstack = false;
}

/* A thread may run on a stack of the program's own, of which nothing is known: here one below its own. */
static ucontext_t own_context, other_context;

static void look_from_below(void) { seen.stack_left = rni_os_stack_left(); }

static void *look_from_another_stack(void *stack) {
    getcontext(&other_context);
    other_context.uc_stack.ss_sp = stack;
    other_context.uc_stack.ss_size = 65536;
    other_context.uc_link = &own_context;
    makecontext(&other_context, look_from_below, 0);
    swapcontext(&own_context, &other_context);
    return NULL;
}

TEST(on_another_stack_nothing_is_left) {
    rni_os_thread thread;
    void *stack = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    if (stack == MAP_FAILED) return;
    seen.stack_left = 1;
    assert_int_equal(rni_os_thread_start(&thread, look_from_another_stack, stack), RN_OK);
    rni_os_thread_join(thread);
    assert_int_equal(seen.stack_left, 0);
    munmap(stack, 65536);
}

TEST(a_thread_that_is_refused_leaves_nothing_behind) {
    rni_os_thread thread;
    sigset_t before, after;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    uint64_t held = rn_testing_held(RN_FAULT_THREAD_START);
    refuse.create = true;
    assert_int_equal(rni_os_thread_start(&thread, look_around, NULL), RN_NO_THREADS);
    refuse.create = false;
    rn_testing_fail(RN_FAULT_THREAD_START, 1, 1);
    assert_int_equal(rni_os_thread_start(&thread, look_around, NULL), RN_NO_THREADS);
    rn_testing_fail(RN_FAULT_ALLOCATION, 1, 1);
    assert_int_equal(rni_os_thread_start(&thread, look_around, NULL), RN_NO_MEMORY);
    assert_int_equal(rn_testing_held(RN_FAULT_THREAD_START), held);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    for (int signal = 1; signal < 32; signal++)
        assert_int_equal(sigismember(&after, signal), sigismember(&before, signal));
}

/* ---- the mutex ---- */

static rni_mutex mutex;
static uint64_t counter;

static void *lock_once(void *unused) {
    (void)unused;
    rni_mutex_lock(&mutex);
    counter++;
    rni_mutex_unlock(&mutex);
    return NULL;
}

TEST(who_finds_the_mutex_held_sleeps_until_it_is_free) {
    pthread_t threads[3];
    counter = 0;
    assert_true(rni_mutex_try_lock(&mutex));
    assert_false(rni_mutex_try_lock(&mutex));
    rn_testing_fail(RN_FAULT_FUTEX, 1, 0);
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, lock_once, NULL), 0);
    await_sleepers(COUNT_OF(threads));
    assert_int_equal(counter, 0);
    rni_mutex_unlock(&mutex);
    for (size_t i = 0; i < COUNT_OF(threads); i++) pthread_join(threads[i], NULL);
    assert_int_equal(counter, 3);
    assert_true(rni_mutex_try_lock(&mutex));
    rni_mutex_unlock(&mutex);
}

static void *lock_often(void *unused) {
    (void)unused;
    for (int i = 0; i < 50000; i++) {
        if (i % 3 == 0) {
            while (!rni_mutex_try_lock(&mutex)) rni_os_yield();
        } else {
            rni_mutex_lock(&mutex);
        }
        counter++;
        rni_mutex_unlock(&mutex);
    }
    return NULL;
}

/* Also with waits that end for no reason. */
TEST(the_mutex_lets_one_in_at_a_time) {
    for (uint64_t failing = 0; failing <= 1; failing++) {
        pthread_t threads[3];
        counter = 0;
        rn_testing_fail(RN_FAULT_FUTEX, 1, failing ? UINT64_MAX : 0);
        for (size_t i = 0; i < COUNT_OF(threads); i++)
            assert_int_equal(pthread_create(&threads[i], NULL, lock_often, NULL), 0);
        for (size_t i = 0; i < COUNT_OF(threads); i++) pthread_join(threads[i], NULL);
        assert_int_equal(counter, 50000 * COUNT_OF(threads));
    }
}

/* ---- clocks, futexes, the rest ---- */

TEST(clocks_do_not_go_back) {
    int64_t former = rni_os_now(), coarse = rni_os_now_coarse();
    assert_true(rni_os_wall_now() > INT64_C(1700000000) * 1000000000);
    for (int i = 0; i < 10000; i++) {
        int64_t now_coarse = rni_os_now_coarse(); /* first: it may lag, and not lead */
        int64_t now = rni_os_now();
        assert_true(now >= former && now_coarse >= coarse && now_coarse <= now);
        former = now;
        coarse = now_coarse;
    }
}

TEST(a_wait_ends_at_once_where_the_word_differs_and_by_its_deadline_else) {
    uint64_t word = 5;
    errno = 0;
    rni_os_wait(&word, 4, -1);
    int64_t deadline = rni_os_now() + RN_MILLISECONDS(5);
    while (rni_os_now() < deadline) rni_os_wait(&word, 5, deadline);
    rni_os_wait(&word, 5, 0);
    rn_testing_fail(RN_FAULT_FUTEX, 1, 1);
    rni_os_wait(&word, 5, -1);
    rni_os_wake(&word, INT_MAX);
    assert_int_equal(errno, 0); /* what the kernel answered is nobody's error */
}

TEST(random_bits_differ_and_are_there_without_the_system) {
    assert_int_not_equal(rni_os_random(), rni_os_random());
    refuse.random = true;
    assert_int_not_equal(rni_os_random(), 0);
    refuse.random = false;
}

TEST(a_write_to_a_closed_stderr_is_no_error) {
    char text[100];
    in_child(text, rni_os_write_stderr("said\n", 5); close(STDERR_FILENO); errno = 77; rni_os_write_stderr("lost\n", 5);
             child_ends(errno == 77 ? 0 : 1));
    assert_string_equal(text, "said\n");
}

/* ---- the assertion that is always on ---- */

static _Noreturn void misuse_of_length(int length) {
    char *text = malloc((size_t)length + 1);
    if (!text) abort();
    memset(text, 'x', (size_t)length);
    text[length] = '\0';
    rni_misuse("%s", text);
}

TEST(a_misuse_is_one_line_of_any_length) {
    assert_misuse("runium: seven 7\n", rni_misuse("%s %d", "seven", 7));
    assert_misuse("runium: \n", rni_misuse("%s", ""));
    assert_misuse("xx\n", misuse_of_length(501));
    assert_misuse("xx\n", misuse_of_length(502));
    assert_misuse("xx\n", misuse_of_length(503));
    assert_misuse("xx\n", misuse_of_length(100000));
    assert_misuse("runium: ", rni_misuse("%ls", L"\x20ac")); /* what cannot be formatted stops the program all the same */
}
