/*
 * .prepare: run once in each worker process before its first task; what happens if it fails, crashes, or comes too often;
 * and workers that take others' places.
 *
 *     prepare     the last line is the figure; --canary opens without .prepare, and must fail
 */
#include <errno.h>
#include <runium.h>
#include <runium/testing.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ledger.h"
#include "support.h"

enum { ANSWER = 42 };

struct notes {
    atomic_uint prepared, waited, idle, process_count;
    atomic_int processes[64];
};

static struct notes *notes(void) { return ledger_pages; }

static unsigned prepared(void) { return atomic_load(&notes()->prepared); }

static void forget_notes(void) { memset(ledger_pages, 0, sizeof(struct notes)); }

/* ---- what workers run ---- */

static int answer, times; /* of this process */
static rn_value kept;

static rn_value prepare(rn_call *call) {
    bool is_right = strcmp(rn_name(call), "prepare") == 0 && rn_iteration(call) == 1 && !rn_stopping(call);
    atomic_fetch_add(&notes()->prepared, 1);
    answer = is_right ? (int)rn_as_int(rn_arg(call)) : -1;
    times++;
    return rn_none();
}

static rn_value ask(rn_call *call) {
    (void)call;
    return rn_int(times == 1 ? answer : -times);
}

static rn_value ask_another(rn_call *call) {
    rn_future *future = rn_run(rn_runtime_of(call), ask);
    rn_value result = rn_keep(rn_result(future));
    rn_release(future);
    return result;
}

static rn_value check_in_hook(rn_call *call, rn_value success, rn_value error) {
    (void)call, (void)success, (void)error;
    return rn_int(times == 1 ? answer : -times);
}

static rn_value die(rn_call *call) {
    (void)call;
    raise(SIGKILL);
    return rn_none();
}

static rn_value fail(rn_call *call) {
    (void)call;
    unsigned number = atomic_fetch_add(&notes()->prepared, 1);
    return rn_error_with(rn_error(EIO, "failure %u", number + 1), rn_text("more"));
}

static rn_value crash(rn_call *call) {
    (void)call;
    atomic_fetch_add(&notes()->prepared, 1);
    raise(SIGKILL);
    return rn_none();
}

/* Two times of three. */
static rn_value fail_at_times(rn_call *call) {
    unsigned number = atomic_load(&notes()->prepared);
    if (number % 3 == 2) return prepare(call);
    return number % 3 == 0 ? fail(call) : crash(call);
}

/* The first one waits for a run, which another worker prepares for. */
static rn_value start_and_wait(rn_call *call) {
    bool is_first = atomic_fetch_add(&notes()->waited, 1) == 0;
    rn_value result = is_first ? ask_another(call) : rn_int(ANSWER);
    bool is_right = rn_kind(result) == RN_INT && rn_as_int(result) == ANSWER;
    rn_drop(result);
    return is_right ? prepare(call) : rn_error(EIO, "the run before ended otherwise");
}

static rn_value die_at_first(rn_call *call) {
    return rn_iteration(call) == 1 ? die(call) : rn_none();
}

/* Waits for a run that dies, as often as there are threads: the last of them runs it in this process. */
static rn_value wait_for_a_death(rn_call *call) {
    if (atomic_fetch_add(&notes()->waited, 1) < 8) {
        rn_future *future = rn_run(rn_runtime_of(call), die_at_first, .times = 2);
        (void)rn_wait(future, -1);
        rn_release(future);
    }
    return prepare(call);
}

/* As many at a time as there are threads. */
static rn_value note_processes(rn_call *call) {
    atomic_store(&notes()->processes[atomic_fetch_add(&notes()->process_count, 1)], getpid());
    if (rn_as_int(rn_arg(call)) == 0) return rn_none();
    rn_future *future = rn_run(rn_runtime_of(call), note_processes, .arg = rn_int(rn_as_int(rn_arg(call)) - 1), .name = "inner");
    (void)rn_wait(future, -1);
    rn_release(future);
    return rn_none();
}

static rn_value keep_buffer(rn_call *call) {
    kept = rn_keep(rn_arg(call));
    return rn_none();
}

static rn_value read_buffer(rn_call *call) {
    (void)call;
    return rn_int(((unsigned char *)rn_as_buffer(kept))[rn_length(kept) - 1]);
}

/* ---- what the program sees of it ---- */

static rn_runtime *open_with(unsigned workers, rn_task_fn *function) {
    forget_notes();
    return rn_open(.executor = RN_PROCESSES, .workers = workers, .log = rn_log_nothing, .respawn_rate = 100000,
                   .prepare = proof_canary ? NULL : function, .prepare_arg = rn_int(ANSWER));
}

static void close_it(rn_runtime *runtime) {
    check(rn_close(runtime) == RN_OK, "the runtime did not close");
    proof_case();
}

/* INT64_MIN: it failed. */
static int64_t number_of(rn_future *future) {
    rn_value result = rn_result(future);
    int64_t number = rn_kind(result) == RN_INT ? rn_as_int(result) : INT64_MIN;
    rn_release(future);
    return number;
}

static int code_of(rn_future *future) {
    rn_value result = rn_result(future);
    int code = rn_is_error(result) ? rn_error_code(result) : RN_OK;
    rn_release(future);
    return code;
}

static void tasks_find_what_it_left(unsigned workers) {
    enum { RUNS = 400 };
    static rn_future *futures[RUNS];
    rn_runtime *runtime = open_with(workers, prepare);
    for (int i = 0; i < RUNS; i++)
        futures[i] = i % 4 == 0 ? rn_run(runtime, ask_another)
                   : i % 4 == 1 ? rn_run(runtime, ask, .on_finished = check_in_hook, .updates_result = RN_ON_FINISHED)
                                : rn_run(runtime, ask);
    for (int i = 0; i < RUNS; i++) {
        int64_t number = number_of(futures[i]);
        check(number == ANSWER, "run %d found %lld", i, (long long)number);
    }
    rn_stats stats = {.size = sizeof stats};
    check(rn_get_stats(runtime, &stats) == RN_OK && stats.started == RUNS + RUNS / 4, "%llu iterations",
          (unsigned long long)stats.started);
    check(prepared() >= 1 && prepared() <= stats.workers + stats.spares, "%u were prepared, of %u and %u", prepared(),
          stats.workers, stats.spares);
    close_it(runtime);
}

/* Without a timer: whoever keeps the time is one more thread, and may take a run into a process of its own. */
static void a_worker_that_takes_anothers_place_is_prepared_too(void) {
    rn_runtime *runtime = open_with(1, prepare);
    for (unsigned deaths = 0; deaths < RN_QUARANTINE_DEFAULT; deaths++) {
        check(number_of(rn_run(runtime, ask, .times = 3)) == ANSWER, "after %u deaths", deaths);
        check(prepared() == deaths + 1, "%u were prepared", prepared());
        check(code_of(rn_run(runtime, die)) == RN_CRASHED, "it lives");
    }
    close_it(runtime);
}

static void a_recycled_worker_is_followed_by_a_prepared_one(void) {
    forget_notes();
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = 1, .log = rn_log_nothing, .recycle_after = 1,
                                  .prepare = proof_canary ? NULL : prepare, .prepare_arg = rn_int(ANSWER));
    for (unsigned i = 1; i <= 10; i++) {
        check(number_of(rn_run(runtime, ask)) == ANSWER, "run %u", i);
        check(prepared() == i, "%u were prepared", prepared());
    }
    close_it(runtime);
}

static void whoever_runs_a_task_in_its_caller_has_a_prepared_process(void) {
    enum { RUNS = 100 };
    static rn_future *futures[RUNS];
    forget_notes();
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = 1, .log = rn_log_nothing, .queue_limit = 1,
                                  .when_full = RN_CALLER_RUNS, .prepare = proof_canary ? NULL : prepare,
                                  .prepare_arg = rn_int(ANSWER));
    for (int i = 0; i < RUNS; i++) futures[i] = rn_run(runtime, ask);
    for (int i = 0; i < RUNS; i++) check(number_of(futures[i]) == ANSWER, "run %d", i);
    check(prepared() == 2, "%u were prepared", prepared());
    close_it(runtime);
}

static void it_may_start_runs_and_wait_for_them(void) {
    rn_runtime *runtime = open_with(2, start_and_wait);
    check(number_of(rn_run(runtime, ask)) == ANSWER, "it did not work");
    close_it(runtime);
}

static void its_argument_may_be_a_buffer(void) {
    enum { BYTES = 1 << 20 };
    rn_value buffer = rn_buffer(BYTES);
    ((unsigned char *)rn_as_buffer(buffer))[BYTES - 1] = ANSWER;
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = 1, .log = rn_log_nothing, .recycle_after = 1,
                                  .prepare = keep_buffer, .prepare_arg = buffer);
    for (int i = 0; i < 5; i++) check(number_of(rn_run(runtime, read_buffer)) == ANSWER, "run %d", i);
    close_it(runtime);
}

/* ---- failures ---- */

/* The process that took its place is as any other: it is recycled after two turns. */
static void it_may_die_in_a_run_that_it_waits_for(void) {
    enum { RUNS = 40 };
    forget_notes();
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = 1, .spare_workers = 1, .log = rn_log_nothing,
                                  .recycle_after = 2, .quarantine = 1000, .prepare = proof_canary ? NULL : wait_for_a_death,
                                  .prepare_arg = rn_int(ANSWER));
    for (int i = 0; i < 8; i++) (void)code_of(rn_run(runtime, ask, .name = "first"));
    for (int i = 0; i < RUNS / 2; i++) (void)code_of(rn_run(runtime, note_processes, .arg = rn_int(1), .name = "outer"));
    check(atomic_load(&notes()->process_count) == RUNS, "%u runs", atomic_load(&notes()->process_count));
    for (int i = 0; i < RUNS; i++) {
        unsigned turns = 0;
        for (int k = 0; k < RUNS; k++) turns += notes()->processes[i] == notes()->processes[k];
        check(turns <= 2, "process %d has done %u turns", notes()->processes[i], turns);
    }
    close_it(runtime);
}

static void check_error(rn_future *future, int cause, const char *text, const char *below) {
    rn_value result = rn_result(future);
    bool is_it = rn_is_error(result) && rn_error_code(result) == RN_NO_PROCESSES;
    check(is_it && strstr(rn_error_message(result), text), "no \"%s\": %s", text, is_it ? rn_error_message(result) : "");
    rn_value inner = is_it ? rn_error_cause(result) : rn_none();
    check(rn_is_error(inner) && rn_error_code(inner) == cause && strstr(rn_error_message(inner), below), "no \"%s\"", below);
    rn_value detail = rn_is_error(inner) ? rn_error_detail(inner) : rn_none();
    check(cause != EIO || (rn_kind(detail) == RN_TEXT && strcmp(rn_as_text(detail), "more") == 0), "no detail");
    rn_release(future);
}

static void one_that_always_fails_is_not_tried_for_ever(rn_task_fn *function, int cause, const char *first, const char *last) {
    rn_runtime *runtime = open_with(1, function);
    check_error(rn_run(runtime, ask), cause, ".prepare failed in the one", first);
    check_error(rn_run(runtime, ask), cause, ".prepare failed in the one", "");
    check_error(rn_run(runtime, ask), cause, ".prepare failed in the one", last);
    for (int i = 0; i < 20; i++) check_error(rn_run(runtime, ask), cause, "failed in 3 of them in a row", last);
    check(code_of(rn_run(runtime, ask, .every = 1000, .times = 20)) == RN_NO_PROCESSES, "a schedule goes on");
    check(prepared() == 3, "it was tried %u times", prepared());
    close_it(runtime);
}

static void with_many_workers_nothing_hangs(rn_task_fn *function) {
    enum { RUNS = 500, WORKERS = 4 };
    static rn_future *futures[RUNS];
    rn_runtime *runtime = open_with(WORKERS, function);
    for (int i = 0; i < RUNS; i++)
        futures[i] = i % 2 ? rn_run(runtime, ask) : rn_run(runtime, ask_another, .on_finished = check_in_hook);
    for (int i = 0; i < RUNS; i++) check(code_of(futures[i]) == RN_NO_PROCESSES, "run %d ran", i);
    check(prepared() >= 3 && prepared() <= 3 + WORKERS - 1, "it was tried %u times", prepared());
    close_it(runtime);
}

static void failures_between_which_it_works_do_not_count(void) {
    rn_runtime *runtime = open_with(1, fail_at_times);
    for (unsigned i = 0; i < 2; i++) {
        check(code_of(rn_run(runtime, ask)) == RN_NO_PROCESSES, "round %u: the first one worked", i);
        check(code_of(rn_run(runtime, ask)) == RN_NO_PROCESSES, "round %u: the second one worked", i);
        check(number_of(rn_run(runtime, ask)) == ANSWER, "round %u: the third one failed", i);
        check(prepared() == 3 * (i + 1), "it was tried %u times", prepared());
        (void)code_of(rn_run(runtime, die));
    }
    close_it(runtime);
}

/* False: there are not so many steps. */
static bool prepared_without(enum rn_fault fault, uint64_t nth) {
    rn_runtime *runtime = open_with(1, prepare);
    rn_testing_fail(fault, nth, 1);
    rn_future *future = rn_run(runtime, ask);
    (void)rn_wait(future, -1);
    uint64_t reached = rn_testing_reached(fault);
    rn_testing_fail(fault, 1, 0);
    rn_value result = rn_result(future);
    int code = rn_is_error(result) ? rn_error_code(result) : RN_OK;
    bool is_it = code == RN_OK ? rn_as_int(result) == ANSWER : code == RN_NO_MEMORY || code == RN_NO_PROCESSES;
    check(is_it || reached < nth, "%s %llu: %s", rn_fault_name(fault), (unsigned long long)nth, rn_code_name(code));
    rn_release(future);
    check(number_of(rn_run(runtime, ask)) == ANSWER, "%s %llu: the next run failed", rn_fault_name(fault), (unsigned long long)nth);
    close_it(runtime);
    return reached >= nth;
}

static void what_the_system_refuses_fails_that_run_alone_and_leaves_nothing(void) {
    const enum rn_fault faults[] = {RN_FAULT_ALLOCATION, RN_FAULT_MAPPING};
    (void)prepared_without(RN_FAULT_MAPPING, UINT64_MAX); /* what is kept for good is there */
    uint64_t allocations = rn_testing_held(RN_FAULT_ALLOCATION), mappings = rn_testing_held(RN_FAULT_MAPPING);
    unsigned descriptors = proc_entries("/proc/self/fd");
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        for (uint64_t nth = 1; prepared_without(faults[i], nth); nth++) {}
    allocations = rn_testing_held(RN_FAULT_ALLOCATION) - allocations;
    mappings = rn_testing_held(RN_FAULT_MAPPING) - mappings;
    descriptors = proc_entries("/proc/self/fd") - descriptors;
    check(allocations == 0 && mappings == 0 && descriptors == 0, "%llu allocations, %llu mappings and %u descriptors are left",
          (unsigned long long)allocations, (unsigned long long)mappings, descriptors);
    proof_case();
}

static void its_crash_leaves_a_capsule(void) {
    char folder[] = "/tmp/runium-prepare-XXXXXX", command[100];
    forget_notes();
    check(mkdtemp(folder) != NULL, "no folder");
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = 1, .log = rn_log_nothing, .capsules = folder,
                                  .prepare = proof_canary ? NULL : crash);
    (void)code_of(rn_run(runtime, ask));
    close_it(runtime);
    (void)snprintf(command, sizeof command, "test $(ls %s | grep -c '^prepare-') = 1", folder);
    check(system(command) == 0, "there is not one capsule of prepare");
    (void)snprintf(command, sizeof command, "rm -r %s", folder);
    check(system(command) == 0, "the folder stays");
}

/* ---- what cannot be ---- */

static void destroy(void *pointer) { ++*(int *)pointer; }

static void check_refused(rn_runtime *runtime, int code, const char *text) {
    rn_value error = rn_open_error(runtime);
    bool is_it = rn_is_error(error) && rn_error_code(error) == code && strstr(rn_error_message(error), text);
    check(is_it, "no \"%s\": %s", text, rn_is_error(error) ? rn_error_message(error) : "it opened");
    check(code_of(rn_run(runtime, ask)) == code, "a run did not fail");
    close_it(runtime);
}

static void what_cannot_be_prepared_does_not_open(void) {
    int destroyed = 0;
    rn_task_fn *nowhere = (rn_task_fn *)(uintptr_t)ledger_pages;
    check_refused(rn_open(.prepare = prepare), RN_INVALID, ".prepare ");
    check_refused(rn_open(.prepare_arg = rn_pointer_owned(&destroyed, destroy)), RN_INVALID, ".prepare_arg ");
    check_refused(rn_open(.executor = RN_PROCESSES, .prepare = nowhere), RN_NOT_PORTABLE, ".prepare ");
    check_refused(rn_open(.executor = RN_PROCESSES, .prepare = prepare,
                          .prepare_arg = rn_pointer_owned(&destroyed, destroy)), RN_NOT_PORTABLE, ".prepare_arg ");
    check_refused(rn_open(.executor = RN_PROCESSES, .prepare = prepare, .prepare_arg = rn_error(EIO, "none to give")), EIO,
                  "none to give");
    check(destroyed == 2, "%d of 2 arguments were destroyed", destroyed);
}

static void note_idle(void *context) {
    (void)context;
    atomic_fetch_add(&notes()->idle, 1);
}

static void no_worker_process_calls_on_idle_and_none_of_its_threads(void) {
    forget_notes();
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = 2, .log = rn_log_nothing, .on_idle = note_idle);
    for (int i = 0; i < 10; i++) check(code_of(rn_run(runtime, ask)) == RN_OK, "run %d", i);
    close_it(runtime);
    check(atomic_load(&notes()->idle) == 0, "it was called");
}

int main(int argc, char **argv) {
    proof_begin(argc, argv, "prepare");
    guard_against_hang(120);
    if (!ledger_make()) return 2;
    tasks_find_what_it_left(1);
    tasks_find_what_it_left(4);
    a_worker_that_takes_anothers_place_is_prepared_too();
    a_recycled_worker_is_followed_by_a_prepared_one();
    whoever_runs_a_task_in_its_caller_has_a_prepared_process();
    it_may_start_runs_and_wait_for_them();
    its_argument_may_be_a_buffer();
    one_that_always_fails_is_not_tried_for_ever(fail, EIO, "failure 1", "failure 3");
    one_that_always_fails_is_not_tried_for_ever(crash, RN_CRASHED, "SIGKILL", "SIGKILL");
    with_many_workers_nothing_hangs(fail);
    with_many_workers_nothing_hangs(crash);
    failures_between_which_it_works_do_not_count();
    what_the_system_refuses_fails_that_run_alone_and_leaves_nothing();
    its_crash_leaves_a_capsule();
    it_may_die_in_a_run_that_it_waits_for();
    what_cannot_be_prepared_does_not_open();
    no_worker_process_calls_on_idle_and_none_of_its_threads();
    return proof_end("worker processes were prepared");
}
