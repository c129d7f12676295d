#include "support.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* Longer than any test takes under a sanitizer; a test that hangs dies of SIGALRM. */
enum { HANG_GUARD_SECONDS = 300, MAX_TESTS = 128, MAX_RUNTIMES = 16 };

/* ------------------------------------------------------------------------------------------------
 * Conditions
 */
static enum rn_executor test_executor(void) {
    static const char *const names[] = {
        [RN_THREADS] = "threads", [RN_PROCESSES] = "processes", [RN_CLUSTER] = "cluster"};
    const char *wanted = getenv("RUNIUM_TEST_EXECUTOR");
    if (!wanted) return RN_THREADS;
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (strcmp(wanted, names[i]) == 0) return (enum rn_executor)i;
    fail_msg("RUNIUM_TEST_EXECUTOR=%s is not an executor", wanted);
    return RN_THREADS;
}

unsigned test_workers(void) {
    const char *wanted = getenv("RUNIUM_TEST_WORKERS");
    unsigned workers = wanted ? (unsigned)strtoul(wanted, NULL, 10) : 2;
    if (workers < 1 || workers > WORKERS_MAX)
        fail_msg("RUNIUM_TEST_WORKERS=%s is not a number from 1 to %d", wanted, WORKERS_MAX);
    return workers;
}

uint64_t test_seed(void) {
    const char *wanted = getenv("RUNIUM_TEST_SEED");
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t seed = wanted ? strtoull(wanted, NULL, 10) : (uint64_t)now.tv_nsec ^ ((uint64_t)now.tv_sec << 30);
    printf("# RUNIUM_TEST_SEED=%" PRIu64 "\n", seed);
    return seed;
}

/* The generator "splitmix64". */
uint64_t next_random(uint64_t *seed) {
    uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

void threads_only(void) {
    if (test_executor() != RN_THREADS) skip();
}

/* Ends the test; in a child, where the test is not, the process. */
static void give_up(const char *why, const char *detail) {
    if (in_child) child_check(false, detail, why, 0);
    fail_msg("%s: %s", why, detail);
}

/* ------------------------------------------------------------------------------------------------
 * Runtimes
 */
const rn_testing virtual_clock = {.size = sizeof(rn_testing), .virtual_clock = true};
static rn_runtime *open_runtimes[MAX_RUNTIMES];

/* What the rules need of a sandbox: one task forks. And what sanitizers need: their reports are written there. */
static const rn_sandbox *sandbox_under_test(void) {
    static const char *reports[2];
    static const rn_sandbox sandbox = {.size = sizeof sandbox, .write = reports, .processes = true};
    reports[0] = getenv("RUNIUM_TEST_REPORTS");
    return getenv("RUNIUM_TEST_SANDBOX") ? &sandbox : NULL;
}

rn_options options_under_test(const rn_options *options) {
    rn_options mine = *options;
    mine.executor = test_executor();
    if (!mine.sandbox) mine.sandbox = sandbox_under_test();
    if (mine.workers == 0) mine.workers = test_workers();
    if (!mine.log) mine.log = log_to_book;
    /* Tests kill as many workers as they like. */
    if (mine.executor == RN_PROCESSES && mine.quarantine == 0) mine.quarantine = UINT32_MAX;
    if (mine.executor == RN_PROCESSES && mine.respawn_rate == 0) mine.respawn_rate = UINT32_MAX;
    return mine;
}

rn_runtime *open_under_test(const rn_options *options) {
    rn_options mine = options_under_test(options);
    rn_runtime *runtime = rn_open_with(&mine);
    rn_value error = rn_open_error(runtime);
    if (!rn_is_none(error)) give_up("the runtime did not open", rn_error_message(error));
    for (size_t i = 0; i < MAX_RUNTIMES; i++) {
        if (!open_runtimes[i]) {
            open_runtimes[i] = runtime;
            return runtime;
        }
    }
    give_up("a test opens too many runtimes", "");
    return runtime;
}

void forget_runtime(rn_runtime *runtime) {
    for (size_t i = 0; i < MAX_RUNTIMES; i++)
        if (open_runtimes[i] == runtime) open_runtimes[i] = NULL;
}

void close_runtime(rn_runtime *runtime) {
    forget_runtime(runtime);
    assert_int_equal(rn_close(runtime), RN_OK);
}

void stop_runtime(rn_runtime *runtime) {
    forget_runtime(runtime);
    assert_int_equal(rn_close(runtime, .how = RN_STOP), RN_OK);
}

/* After a failed assertion: what the test left open must not run on into the next one. */
static void abandon_runtimes(void) {
    for (int gate = 0; gate < GATES; gate++) gate_open(gate, 1000);
    for (size_t i = 0; i < MAX_RUNTIMES; i++) {
        if (!open_runtimes[i]) continue;
        if (rn_close(open_runtimes[i], .how = RN_STOP, .within = RN_SECONDS(20)) == RN_TIMED_OUT) {
            fprintf(stderr, "the runtime of a failed test does not close\n");
            abort();
        }
        open_runtimes[i] = NULL;
    }
}

/* ------------------------------------------------------------------------------------------------
 * Assertions
 */
static void fail_about(rn_value value, const char *expected, const char *file, int line) {
    char text[1024];
    rn_format(value, text, sizeof text);
    print_error("expected %s, got the %s %s\n", expected, rn_kind_name(rn_kind(value)), text);
    _fail(file, line);
}

void check_error_code(rn_value value, int code, const char *file, int line) {
    char expected[64];
    snprintf(expected, sizeof expected, "an error with code %d (%s)", code, rn_code_name(code));
    if (!rn_is_error(value) || rn_error_code(value) != code) fail_about(value, expected, file, line);
}

void check_int_value(rn_value value, int64_t number, const char *file, int line) {
    char expected[64];
    snprintf(expected, sizeof expected, "the int %" PRId64, number);
    if (rn_kind(value) != RN_INT || rn_as_int(value) != number) fail_about(value, expected, file, line);
}

void check_contains(const char *text, const char *part, const char *file, int line) {
    if (strstr(text, part)) return;
    print_error("\"%s\" is not in \"%s\"\n", part, text);
    _fail(file, line);
}

void check_end(rn_value result, bool error, int64_t number, const char *file, int line) {
    if (error) check_error_code(result, (int)number, file, line);
    else check_int_value(result, number, file, line);
    rn_drop(result);
}

/* ------------------------------------------------------------------------------------------------
 * The program
 */
static struct CMUnitTest tests[MAX_TESTS];
static size_t test_count;
static uint64_t held_at_start;

/* What the library keeps for good from its first use is no leak, nor what a thread keeps of the runtime that it used
 * last: this is always the last one. Mappings are all of that sort, and are not counted. */
static int warm_up(void **state) {
    (void)state;
    rn_runtime *runtime = OPEN();
    rn_drop(end_of(rn_run(runtime, nothing)));
    close_runtime(runtime);
    return 0;
}

static int begin_test(void **state) {
    (void)state;
    alarm(HANG_GUARD_SECONDS);
    make_board();
    empty_book();
    held_at_start = rn_testing_held(RN_FAULT_ALLOCATION);
    return 0;
}

static bool left_open(void) {
    for (size_t i = 0; i < MAX_RUNTIMES; i++)
        if (open_runtimes[i]) return true;
    return false;
}

/* A test that ended early leaves its memory behind too: then a leak says nothing. */
static int end_test(void **state) {
    if (capturing()) capture_end();
    rn_testing_fail(RN_FAULT_ALLOCATION, 1, 0);
    rn_testing_fail(RN_FAULT_MAPPING, 1, 0);
    if (left_open()) {
        abandon_runtimes();
        return 0; /* the board stays mapped for whatever still writes on it */
    }
    warm_up(state);
    munmap(board, sizeof *board);
    uint64_t held = rn_testing_held(RN_FAULT_ALLOCATION);
    alarm(0);
    if (held == held_at_start) return 0;
    print_error("the library holds %" PRIu64 " allocations, before the test %" PRIu64 "\n", held, held_at_start);
    return 1;
}

void register_test(const char *name, test_function *function) {
    if (test_count == MAX_TESTS) abort();
    tests[test_count++] = (struct CMUnitTest){name, function, begin_test, end_test, NULL};
}

/* One optional parameter: a pattern of the names of the tests to run, with * and ?. */
int main(int argc, char **argv) {
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    setvbuf(stdout, NULL, _IOLBF, 0);
    return cmocka_run_group_tests_name(argv[0], tests, warm_up, NULL);
}
