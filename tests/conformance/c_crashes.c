/* Rule C9: a worker process that dies is an error of what it ran, and of nothing else. */
#include "support.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static void processes_only(void) {
    const char *executor = getenv("RUNIUM_TEST_EXECUTOR");
    if (!executor || strcmp(executor, "processes") != 0) skip();
}

/* Dies of the signal that is its argument; of 0, by exit(7). */
static rn_value die(rn_call *call) {
    int how = (int)rn_as_int(rn_arg(call));
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    if (how == 0) exit(7);
    raise(how);
    return rn_none();
}

static int depth_of(int depth) {
    volatile char frame[4096];
    frame[0] = (char)depth;
    return depth < 0 ? frame[0] : depth_of(depth + 1) + frame[0];
}

static rn_value overflow(rn_call *call) {
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    return rn_int(depth_of((int)rn_as_int(rn_arg(call))));
}

static void assert_died(rn_value result, const char *how) {
    assert_true(rn_is_error(result));
    assert_int_equal(rn_error_code(result), RN_CRASHED);
    if (!strstr(rn_error_message(result), how)) fail_msg("\"%s\" does not say %s", rn_error_message(result), how);
    rn_drop(result);
}

RULE(c9_the_error_says_of_what_the_process_died) {
    static const struct {
        int how;
        const char *says;
    } deaths[] = {{SIGSEGV, "SIGSEGV"}, {SIGABRT, "SIGABRT"}, {SIGBUS, "SIGBUS"},   {SIGFPE, "SIGFPE"},
                  {SIGILL, "SIGILL"},   {SIGKILL, "SIGKILL"}, {SIGTERM, "SIGTERM"}, {0, "exit(7)"}};
    processes_only();
    rn_runtime *rn = OPEN();
    for (size_t i = 0; i < COUNT_OF(deaths); i++)
        assert_died(end_of(rn_run(rn, die, .arg = rn_int(deaths[i].how))), deaths[i].says);
    assert_died(end_of(rn_run(rn, overflow, .arg = rn_int(0))), "SIGSEGV");
    close_runtime(rn);
}

/* As a scripted task, but that iteration `2` of it dies. */
static rn_value die_in_the_second(rn_call *call) {
    record(FUNCTION, call, rn_none(), rn_none());
    if (rn_iteration(call) == 2) raise(SIGKILL);
    return rn_int(iteration_value((int)rn_as_int(rn_arg(call)), rn_iteration(call)));
}

RULE(c9_the_hooks_and_the_iterations_after_it_run_in_the_process_that_takes_its_place) {
    processes_only();
    for (int is_timed = 0; is_timed <= 1; is_timed++) {
        rn_runtime *rn = OPEN(.workers = 1);
        rn_task task = scripted_task(is_timed);
        struct event events[16];
        task.function = die_in_the_second;
        task.times = 3;
        task.every = is_timed ? RN_MICROSECONDS(100) : 0;
        assert_ends_with_int(rn_submit(rn, &task), iteration_value(is_timed, 3));
        assert_story(is_timed, "f1 i1 f2 i2 f3 i3 s3 z3");
        assert_int_equal(events_of(is_timed, events, COUNT_OF(events)), 8);
        assert_int_equal(events[3].error_code, RN_CRASHED);
        assert_int_equal(events[0].pid, events[1].pid);
        assert_int_not_equal(events[2].pid, events[3].pid);
        for (int i = 5; i < 8; i++) assert_int_equal(events[i].pid, events[4].pid);
        /* Between ticks another worker may take the run over. */
        if (!is_timed) assert_int_equal(events[1].pid, events[2].pid);
        if (!is_timed) assert_int_equal(events[3].pid, events[4].pid);
        close_runtime(rn);
    }
}

static rn_value die_in_a_hook(rn_call *call, rn_value success, rn_value error) {
    record(ITER, call, success, error);
    raise(SIGKILL);
    return rn_none();
}

RULE(c9_a_hook_whose_process_dies_has_failed) {
    processes_only();
    rn_runtime *rn = OPEN();
    rn_task task = scripted_task(1);
    task.times = 3;
    task.on_iter = die_in_a_hook;
    rn_value result = end_of(rn_submit(rn, &task));
    assert_int_equal(rn_error_code(result), RN_CRASHED);
    assert_string_equal(rn_error_hook(result), "on_iter");
    rn_drop(result);
    assert_story(1, "f1 i1 s1 z1");
    close_runtime(rn);
}

RULE(c9_other_runs_do_not_notice) {
    enum { RUNS = 200 };
    rn_future *futures[RUNS];
    processes_only();
    rn_runtime *rn = OPEN();
    for (int i = 0; i < RUNS; i++)
        futures[i] = i % 10 == 3 ? rn_run(rn, die, .arg = rn_int(SIGKILL)) : rn_run(rn, note_event, .arg = rn_int(i));
    for (int i = 0; i < RUNS; i++) {
        if (i % 10 == 3) assert_died(end_of(futures[i]), "SIGKILL");
        else assert_ends_with_int(futures[i], i);
    }
    assert_int_equal(event_count(), RUNS - RUNS / 10);
    close_runtime(rn);
}

static rn_value await_death(rn_call *call) {
    rn_value result = end_of(rn_run(rn_runtime_of(call), die, .arg = rn_keep(rn_arg(call))));
    int code = rn_is_error(result) ? rn_error_code(result) : 0;
    rn_drop(result);
    return rn_int(code);
}

RULE(c9_a_task_may_wait_for_one_that_dies) {
    processes_only();
    rn_runtime *rn = OPEN();
    for (int i = 0; i < 3; i++) assert_ends_with_int(rn_run(rn, await_death, .arg = rn_int(SIGKILL)), RN_CRASHED);
    close_runtime(rn);
}

RULE(c9_what_means_nothing_in_another_process_is_refused_as_the_run_starts) {
    int local = 0;
    processes_only();
    rn_runtime *rn = OPEN();
    rn_value result = end_of(rn_run(rn, give_back, .arg = rn_pointer(&local)));
    assert_int_equal(rn_error_code(result), RN_NOT_PORTABLE);
    assert_non_null(strstr(rn_error_message(result), ".arg"));
    rn_drop(result);
    result = end_of(rn_run(rn, (rn_task_fn *)(uintptr_t)&local));
    assert_int_equal(rn_error_code(result), RN_NOT_PORTABLE);
    assert_non_null(strstr(rn_error_message(result), ".function"));
    rn_drop(result);
    close_runtime(rn);
}

RULE(c9_large_arguments_and_results_arrive_whole) {
    enum { BYTES = 5 << 20 };
    processes_only();
    char *bytes = malloc(BYTES);
    assert_non_null(bytes);
    for (size_t i = 0; i < BYTES; i++) bytes[i] = (char)(i * 31 >> 3);
    rn_runtime *rn = OPEN();
    for (size_t length = 65400; length <= BYTES; length = length < 65600 ? length + 1 : length * 4) {
        rn_value result = end_of(rn_run(rn, give_back, .arg = rn_bytes(bytes, length)));
        assert_int_equal(rn_length(result), length);
        assert_memory_equal(rn_as_bytes(result), bytes, length);
        rn_drop(result);
    }
    close_runtime(rn);
    free(bytes);
}

/* Each twentieth dies, each seventh fails, each eleventh gives more than its argument has room for. */
static rn_value short_or_last(rn_call *call) {
    int64_t number = rn_as_int(rn_arg(call));
    static char large[20000];
    add_to_cell((int)(number % 50), 1);
    if (number % 20 == 13) raise(SIGKILL);
    if (number % 7 == 3) return rn_error(1234, "the %lldth", (long long)number);
    if (number % 11 == 5) return rn_bytes(large, sizeof large);
    return rn_int(number);
}

static void assert_short_or_last(int64_t number, rn_value result) {
    if (number % 20 == 13) assert_error_code(result, RN_CRASHED);
    else if (number % 7 == 3) assert_error_code(result, 1234);
    else if (number % 11 == 5) assert_int_equal(rn_length(result), 20000);
    else assert_int_value(result, number);
    rn_drop(result);
}

RULE(c9_of_many_short_runs_only_those_whose_process_dies_notice) {
    enum { MANY = 1000 };
    static rn_future *futures[MANY];
    processes_only();
    rn_runtime *rn = OPEN(.quarantine = 1000000);
    for (int i = 0; i < MANY; i++) rn_drop(end_of(rn_run(rn, give_back, .arg = rn_int(i)))); /* short, so many at a time */
    for (int i = 0; i < MANY; i++) futures[i] = rn_run(rn, short_or_last, .arg = rn_int(i));
    for (int i = 0; i < MANY; i++) assert_short_or_last(i, end_of(futures[i]));
    for (int i = 0; i < 50; i++) assert_int_equal(cell(i), MANY / 50); /* each once */
    close_runtime(rn);
}
