/*
 * What a task may use: .limits are in force in its turn, and in no other; what is beyond is refused to it, and to nobody
 * else. And workers that are worn are replaced, which no run notices.
 *
 *     limits     the last line is the figure; --canary sets no limit, and must fail
 */
#include <errno.h>
#include <fcntl.h>
#include <runium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "ledger.h"
#include "support.h"

enum { MIB = 1 << 20, MANY = 4096 };

static rn_runtime *open_runtime(void) {
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = 1, .log = rn_log_nothing);
    check(rn_is_none(rn_open_error(runtime)), "the runtime did not open");
    return runtime;
}

static void close_it(rn_runtime *runtime) {
    check(rn_close(runtime) == RN_OK, "the runtime did not close");
    proof_case();
}

/* ---- address space ---- */

/* How many MiB it got, up to its argument. */
static rn_value take_memory(rn_call *call) {
    int64_t got = 0, wanted = rn_as_int(rn_arg(call));
    void *pieces[MANY];
    while (got < wanted && (pieces[got] = malloc(MIB))) got++;
    for (int64_t i = 0; i < got; i++) free(pieces[i]);
    return rn_int(got);
}

static void address_space_is_limited_in_that_turn_alone(void) {
    const rn_limits limits = {.size = sizeof limits, .address_space = proof_canary ? 0 : 32 * MIB};
    rn_runtime *runtime = open_runtime();
    for (int i = 0; i < 3; i++) {
        rn_future *limited = rn_run(runtime, take_memory, .arg = rn_int(256), .limits = &limits);
        rn_future *free_one = rn_run(runtime, take_memory, .arg = rn_int(256));
        int64_t got = rn_as_int(rn_result(limited));
        check(got >= 16 && got <= 32, "it got %lld MiB of 32", (long long)got);
        check(rn_as_int(rn_result(free_one)) == 256, "the next one got %lld MiB", (long long)rn_as_int(rn_result(free_one)));
        rn_release(limited);
        rn_release(free_one);
    }
    close_it(runtime);
}

/* ---- open files ---- */

static int open_many(int *fds, int most) {
    int opened = 0;
    while (opened < most && (fds[opened] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0) opened++;
    return opened;
}

static rn_value open_files(rn_call *call) {
    int fds[64], opened = open_many(fds, (int)rn_as_int(rn_arg(call)));
    for (int i = 0; i < opened; i++) close(fds[i]);
    return rn_int(opened);
}

/* A hole below what is open already counts too. */
static rn_value open_far_away(rn_call *call) {
    (void)call;
    return rn_int(fcntl(0, F_DUPFD_CLOEXEC, 40));
}

static int64_t number_of(rn_future *future) {
    rn_value result = rn_result(future);
    int64_t number = rn_kind(result) == RN_INT ? rn_as_int(result) : -1;
    if (rn_is_error(result)) printf("# %s\n", rn_error_message(result));
    rn_release(future);
    return number;
}

static void open_files_are_limited_to_as_many_more(void) {
    const rn_limits limits = {.size = sizeof limits, .open_files = 9};
    rn_runtime *runtime = open_runtime();
    check(number_of(rn_run(runtime, open_far_away)) >= 40, "it could not open any");
    for (int i = 0; i < 3; i++) {
        int64_t opened = number_of(rn_run(runtime, open_files, .arg = rn_int(60), .limits = &limits));
        check(opened == 9, "it opened %lld of 9", (long long)opened);
        opened = number_of(rn_run(runtime, open_files, .arg = rn_int(60)));
        check(opened == 60, "the next one opened %lld of 60", (long long)opened);
    }
    close_it(runtime);
}

static rn_value give_length(rn_call *call) { return rn_int((int64_t)rn_length(rn_arg(call))); }

/* Takes all descriptors, leaves them open, starts a run with much to carry, and returns as much. */
static rn_value be_at_the_limit(rn_call *call) {
    int fds[64];
    static char much[MIB];
    (void)open_many(fds, 64);
    if (open("/dev/null", O_RDONLY) >= 0 || errno != EMFILE) return rn_int(0);
    int64_t length = number_of(rn_run(rn_runtime_of(call), give_length, .arg = rn_bytes(much, sizeof much)));
    return length == MIB ? rn_bytes(much, sizeof much) : rn_int(length);
}

static rn_value pass_on(rn_call *call, rn_value success, rn_value error) {
    (void)call, (void)error;
    return rn_int(rn_kind(success) == RN_BYTES ? (int64_t)rn_length(success) : -2);
}

static void a_task_at_its_limit_is_heard(void) {
    const rn_limits limits = {.size = sizeof limits, .open_files = 5};
    rn_runtime *runtime = open_runtime();
    int64_t length = number_of(rn_run(runtime, be_at_the_limit, .limits = &limits, .on_iter = pass_on,
                                      .updates_result = RN_ON_ITER));
    check(length == MIB, "%lld bytes came back", (long long)length);
    close_it(runtime);
}

/* ---- CPU time ---- */

/* For so many milliseconds of it. */
static rn_value use_cpu(rn_call *call) {
    struct timespec used, begun;
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begun);
    do clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    while ((used.tv_sec - begun.tv_sec) * 1000 + (used.tv_nsec - begun.tv_nsec) / 1000000 < rn_as_int(rn_arg(call)));
    return rn_int(1);
}

static void cpu_time_is_limited_and_the_error_says_so(void) {
    const rn_limits limits = {.size = sizeof limits, .cpu = RN_MILLISECONDS(300)};
    rn_runtime *runtime = open_runtime();
    rn_future *future = rn_run(runtime, use_cpu, .arg = rn_int(60000), .limits = &limits);
    rn_value result = rn_result(future);
    check(rn_is_error(result) && rn_error_code(result) == RN_CRASHED, "it went on");
    if (rn_is_error(result))
        check(strstr(rn_error_message(result), "CPU time limit of 1 s"), "\"%s\"", rn_error_message(result));
    rn_release(future);
    check(number_of(rn_run(runtime, use_cpu, .arg = rn_int(700), .times = 3, .limits = &limits)) == 1,
          "three iterations had one time");
    close_it(runtime);
}

/* ---- memory ---- */

/* Touches so many MiB. */
static rn_value fill_memory(rn_call *call) {
    size_t size = (size_t)rn_as_int(rn_arg(call)) * MIB;
    char *memory = malloc(size);
    for (size_t i = 0; memory && i < size; i += 1024) memory[i] = 1;
    free(memory);
    return rn_int(memory ? getpid() : 0);
}

static void memory_is_limited_where_the_machine_lets_us(void) {
    const rn_limits limits = {.size = sizeof limits, .memory = 24 * MIB};
    rn_runtime *runtime = open_runtime();
    rn_future *future = rn_run(runtime, fill_memory, .arg = rn_int(8), .limits = &limits);
    rn_value result = rn_result(future);
    if (rn_is_error(result) && rn_error_code(result) == RN_UNSUPPORTED) {
        printf("# %s\n", rn_error_message(result));
        check(strstr(rn_error_message(result), ".limits.memory: "), "\"%s\"", rn_error_message(result));
        rn_release(future);
        close_it(runtime);
        return;
    }
    int64_t first = number_of(future);
    check(first > 0, "8 MiB of 24 were refused");
    future = rn_run(runtime, fill_memory, .arg = rn_int(64), .limits = &limits);
    result = rn_result(future);
    check(rn_is_error(result) && rn_error_code(result) == RN_CRASHED, "64 MiB of 24 were given");
    if (rn_is_error(result))
        check(strstr(rn_error_message(result), "memory limit of 25165824 bytes"), "\"%s\"", rn_error_message(result));
    rn_release(future);
    check(number_of(rn_run(runtime, fill_memory, .arg = rn_int(8), .limits = &limits)) > 0, "8 MiB were refused later");
    check(number_of(rn_run(runtime, fill_memory, .arg = rn_int(64))) > 0, "64 MiB were refused without a limit");
    close_it(runtime);
}

/* ---- in a run that a task starts ---- */

static rn_value start_limited(rn_call *call) {
    const rn_limits limits = {.size = sizeof limits, .open_files = 7};
    return rn_int(number_of(rn_run(rn_runtime_of(call), open_files, .arg = rn_int(60), .limits = &limits)));
}

static rn_value wait_for_ever(rn_call *call) {
    while (!rn_stopping(call)) pause();
    return rn_none();
}

static rn_value start_timed(rn_call *call) {
    rn_future *future = rn_run(rn_runtime_of(call), wait_for_ever, .timeout_text = "20 ms");
    rn_value result = rn_result(future);
    int code = rn_is_error(result) ? rn_error_code(result) : 0;
    rn_release(future);
    return rn_int(code);
}

static void tasks_start_runs_with_limits_too(void) {
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = 2, .log = rn_log_nothing, .grace = RN_MILLISECONDS(20));
    check(number_of(rn_run(runtime, start_limited)) == 7, "a run that a task started had other limits");
    check(number_of(rn_run(runtime, start_timed)) == RN_OVERTIME, "a run that a task started had no time limit");
    close_it(runtime);
}

/* ---- recycling ---- */

static rn_value give_pid(rn_call *call) {
    (void)call;
    return rn_int(getpid());
}

static void a_worker_is_replaced_after_so_many_turns(unsigned workers) {
    enum { RUNS = 60, TURNS = 4 };
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = workers, .log = rn_log_nothing,
                                  .recycle_after = proof_canary ? 0 : TURNS, .respawn_rate = 1);
    rn_future *futures[RUNS];
    int64_t pids[RUNS];
    unsigned most = 0;
    for (int i = 0; i < RUNS; i++) futures[i] = rn_run(runtime, give_pid);
    for (int i = 0; i < RUNS; i++) {
        unsigned turns = 0;
        pids[i] = number_of(futures[i]);
        check(pids[i] > 0, "run %d noticed", i);
        for (int j = 0; j <= i; j++) turns += pids[j] == pids[i];
        if (turns > most) most = turns;
    }
    check(most <= TURNS, "a worker did %u turns", most);
    rn_stats stats = {.size = sizeof stats};
    check(rn_get_stats(runtime, &stats) == RN_OK && stats.failed == 0 && stats.workers == workers, "%u workers", stats.workers);
    close_it(runtime);
}

static rn_value leak(rn_call *call) {
    size_t size = (size_t)rn_as_int(rn_arg(call)) * MIB;
    char *memory = malloc(size + 1);
    for (size_t i = 0; memory && i < size; i += 1024) memory[i] = 1;
    return rn_int(memory ? getpid() : 0);
}

static void a_worker_that_has_grown_is_replaced(void) {
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = 1, .log = rn_log_nothing,
                                  .recycle_memory = 64 * MIB, .respawn_rate = 1);
    for (int i = 0; i < 4; i++) {
        int64_t small = number_of(rn_run(runtime, leak, .arg = rn_int(1)));
        int64_t same = number_of(rn_run(runtime, leak, .arg = rn_int(1)));
        int64_t large = number_of(rn_run(runtime, leak, .arg = rn_int(70)));
        int64_t other = number_of(rn_run(runtime, leak, .arg = rn_int(1)));
        check(small > 0 && small == same && same == large, "it was replaced too early");
        check(other > 0 && other != large, "it was not replaced");
    }
    close_it(runtime);
}

static void note_exit(void) { atomic_fetch_add((atomic_int *)ledger_pages, 1); }

static rn_value note_at_exit(rn_call *call) {
    (void)call;
    return rn_int(atexit(note_exit));
}

static void what_leaves_runs_its_exit_handlers(void) {
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = 1, .log = rn_log_nothing, .recycle_after = 1);
    for (int i = 0; i < 5; i++) check(number_of(rn_run(runtime, note_at_exit)) == 0, "no handler");
    close_it(runtime);
    check(atomic_load((atomic_int *)ledger_pages) == 5, "%d handlers ran", atomic_load((atomic_int *)ledger_pages));
}

int main(int argc, char **argv) {
    proof_begin(argc, argv, "limits");
    guard_against_hang(120);
    if (!ledger_make()) return 2;
    if (!UNDER_ASAN) address_space_is_limited_in_that_turn_alone(); /* its malloc() dies where it is refused memory */
    open_files_are_limited_to_as_many_more();
    a_task_at_its_limit_is_heard();
    cpu_time_is_limited_and_the_error_says_so();
    memory_is_limited_where_the_machine_lets_us();
    tasks_start_runs_with_limits_too();
    a_worker_is_replaced_after_so_many_turns(1);
    a_worker_is_replaced_after_so_many_turns(3);
    a_worker_that_has_grown_is_replaced();
    what_leaves_runs_its_exit_handlers();
    return proof_end("limits were kept");
}
