/*
 * Opening a runtime of worker processes while memory, pages or threads are refused: it does not open, and says why; or it
 * opens, and then it runs tasks and sees the deaths of its worker processes. Nothing is left of it.
 *
 *     open_faults     the last line is the figure
 *
 * --canary: an error is taken for another one, and the test must fail.
 */
#include <errno.h>
#include <runium.h>
#include <runium/testing.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "support.h"

static rn_value die(rn_call *call) {
    (void)call;
    abort();
}

static rn_value live(rn_call *call) {
    (void)call;
    return rn_int(7);
}

static void use(rn_runtime *runtime) {
    rn_future *death = rn_run(runtime, die), *life = rn_run(runtime, live);
    check(rn_wait(death, RN_SECONDS(60)) == RN_OK && rn_error_code(rn_result(death)) == RN_CRASHED, "a death was not seen");
    check(rn_wait(life, RN_SECONDS(60)) == RN_OK && rn_kind(rn_result(life)) == RN_INT, "a task did not run");
    rn_release(death);
    rn_release(life);
}

static bool is_refusal(rn_value error) {
    int code = rn_is_error(error) ? rn_error_code(error) : RN_OK;
    if (proof_canary) return code == RN_INVALID;
    return code == RN_NO_MEMORY || code == RN_NO_THREADS || code == RN_NO_PROCESSES;
}

/* False: there are not so many steps. */
static bool open_with(enum rn_fault fault, uint64_t nth, uint64_t count, const rn_sandbox *sandbox) {
    char text[300];
    rn_testing_fail(fault, nth, count);
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = 1, .spare_workers = 1, .log = rn_log_nothing,
                                  .sandbox = sandbox);
    uint64_t reached = rn_testing_reached(fault);
    rn_value error = rn_open_error(runtime);
    rn_testing_fail(fault, 1, 0);
    rn_format(error, text, sizeof text);
    if (rn_is_none(error)) use(runtime);
    else check(is_refusal(error), "%s %llu: %s", rn_fault_name(fault), (unsigned long long)nth, text);
    check(rn_close(runtime) == RN_OK || !rn_is_none(error), "the runtime did not close");
    check(waitpid(-1, NULL, __WALL | WNOHANG) == -1 && errno == ECHILD, "%s %llu: a child is left", rn_fault_name(fault),
          (unsigned long long)nth);
    proof_case();
    return reached >= nth;
}

int main(int argc, char **argv) {
    proof_begin(argc, argv, "T6 opening worker processes");
    guard_against_hang(150);
    const enum rn_fault faults[] = {RN_FAULT_ALLOCATION, RN_FAULT_MAPPING, RN_FAULT_THREAD_START};
    rn_close(rn_open(.executor = RN_PROCESSES, .workers = 1));
    unsigned descriptors = proc_entries("/proc/self/fd");
    const rn_sandbox sandbox = {.size = sizeof sandbox}, *const sandboxes[] = {NULL, &sandbox};
    for (unsigned i = 0; i < 2 * sizeof faults / sizeof *faults; i++) {
        for (uint64_t nth = 1; open_with(faults[i / 2], nth, 1, sandboxes[i % 2]); nth++) {}
        for (uint64_t nth = 1; open_with(faults[i / 2], nth, UINT64_MAX, sandboxes[i % 2]); nth++) {}
    }
    check(proc_entries("/proc/self/fd") == descriptors, "%u descriptors, at first %u", proc_entries("/proc/self/fd"), descriptors);
    proof_case();
    return proof_end("refusals");
}
