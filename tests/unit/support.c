#include "support.h"

#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/os.h"

enum { HANG_GUARD_SECONDS = 240, MAX_TESTS = 64, TEXT_SIZE = 16384 };

/* ------------------------------------------------------------------------------------------------
 * The program
 */
static struct CMUnitTest tests[MAX_TESTS];
static size_t test_count;
static uint64_t held_at_start;

/* A test in a child that hangs dies with it: the alarm is not inherited, so it is set anew there. */
static int begin_test(void **state) {
    (void)state;
    alarm(HANG_GUARD_SECONDS);
    held_at_start = rn_testing_held(RN_FAULT_ALLOCATION);
    return 0;
}

static int end_keeping_test(void **state) {
    (void)state;
    alarm(0);
    for (int fault = 0; fault < RN_FAULT_COUNT; fault++) rn_testing_fail((enum rn_fault)fault, 1, 0);
    return 0;
}

static int end_test(void **state) {
    (void)end_keeping_test(state);
    uint64_t held = rn_testing_held(RN_FAULT_ALLOCATION);
    if (held == held_at_start) return 0;
    print_error("the library holds %" PRIu64 " allocations, before the test %" PRIu64 "\n", held, held_at_start);
    return 1;
}

void register_test(const char *name, test_function *function, bool keeps) {
    if (test_count == MAX_TESTS) abort();
    tests[test_count++] = (struct CMUnitTest){name, function, begin_test, keeps ? end_keeping_test : end_test, NULL};
}

/* One optional parameter: a pattern of the names of the tests to run, with * and ?. */
int main(int argc, char **argv) {
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    setvbuf(stdout, NULL, _IOLBF, 0);
    return cmocka_run_group_tests_name(argv[0], tests, NULL, NULL);
}

/* ------------------------------------------------------------------------------------------------
 * Numbers: the generator "splitmix64"
 */
uint64_t random_seed(void) {
    const char *wanted = getenv("UNIT_SEED");
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t seed = wanted ? strtoull(wanted, NULL, 10) : (uint64_t)now.tv_nsec ^ ((uint64_t)now.tv_sec << 30);
    printf("# UNIT_SEED=%" PRIu64 "\n", seed);
    return seed;
}

uint64_t next_random(uint64_t *state) {
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t random_below(uint64_t *state, uint64_t limit) { return next_random(state) % limit; }

/* ------------------------------------------------------------------------------------------------
 * Children
 */
static pid_t child;
static int child_stderr;

bool child_begins(void) {
    int ends[2];
    fflush(NULL);
    if (pipe(ends) != 0) abort();
    child = fork();
    if (child < 0) abort();
    if (child > 0) {
        close(ends[1]);
        child_stderr = ends[0];
        return false;
    }
    struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    dup2(ends[1], STDERR_FILENO);
    close(ends[0]);
    close(ends[1]);
    alarm(HANG_GUARD_SECONDS / 2);
    return true;
}

void child_ends(int status) {
    fflush(stderr);
    _exit(status);
}

void child_check(bool holds, const char *condition, const char *file, int line) {
    if (holds) return;
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
    child_ends(1);
}

/* Reads to the end what the child writes, keeps the beginning of it, and waits for the child. */
static int await_child(char *text, size_t size) {
    size_t length = 0;
    char rest[512];
    for (ssize_t got;;) {
        bool room = length < size - 1;
        got = read(child_stderr, room ? text + length : rest, room ? size - 1 - length : sizeof rest);
        if (got <= 0) break;
        if (room) length += (size_t)got;
    }
    text[length] = '\0';
    close(child_stderr);
    int status = 0;
    if (waitpid(child, &status, 0) != child) abort();
    return status;
}

void check_child_dies(const char *message, const char *file, int line) {
    char text[TEXT_SIZE];
    int status = await_child(text, sizeof text);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && strstr(text, message)) return;
    print_error("expected an abort with \"%s\"; got status %#x and \"%s\"\n", message, (unsigned)status, text);
    _fail(file, line);
}

void check_child_ends(char *text, size_t size, const char *file, int line) {
    int status = await_child(text, size);
    if (status == 0) return;
    print_error("the child ended with status %#x: %s\n", (unsigned)status, text);
    _fail(file, line);
}

/* ------------------------------------------------------------------------------------------------
 * The gate
 */
static rni_a32 gate_is_open, at_gate;

void gate_close(void) {
    rni_store_relaxed(&gate_is_open, 0);
    rni_store_relaxed(&at_gate, 0);
}

rn_value hold(rn_call *call) {
    rni_add_acq_rel(&at_gate, 1); /* pairs with gate_await */
    rni_os_wake(&at_gate, INT32_MAX);
    while (!rni_load_acquire(&gate_is_open)) rni_os_wait(&gate_is_open, 0, -1); /* pairs with gate_open */
    return rn_keep(rn_arg(call));
}

void gate_await(uint32_t count) {
    for (uint32_t now; (now = rni_load_acquire(&at_gate)) < count;) rni_os_wait(&at_gate, now, -1); /* pairs with hold */
}

void gate_open(void) {
    rni_store_release(&gate_is_open, 1); /* pairs with hold */
    rni_os_wake(&gate_is_open, INT32_MAX);
}

void await_sleepers(uint64_t count) {
    while (rn_testing_reached(RN_FAULT_FUTEX) < count) sched_yield();
}

/* ------------------------------------------------------------------------------------------------
 * Assertions
 */
void check_contains(const char *text, const char *part, const char *file, int line) {
    if (strstr(text, part)) return;
    print_error("\"%s\" is not in \"%s\"\n", part, text);
    _fail(file, line);
}

void check_error_code(rn_value value, int code, const char *file, int line) {
    if (rn_is_error(value) && rn_error_code(value) == code) return;
    char text[512];
    rn_format(value, text, sizeof text);
    print_error("expected an error %d (%s), got the %s %s\n", code, rn_code_name(code), rn_kind_name(rn_kind(value)),
                text);
    _fail(file, line);
}

void check_fails(rn_value value, int code, const char *part, const char *file, int line) {
    check_error_code(value, code, file, line);
    check_contains(rn_error_message(value), part, file, line);
    rn_drop(value);
}
