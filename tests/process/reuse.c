/*
 * P10: process numbers that are used again. A worker dies while the host has something in mind for it: the steps of a
 * time-out, a control group; and its number is given to an innocent process at once (clone3 with set_tid). The innocent is
 * never signalled, and stays in its own control groups.
 *
 *     reuse     the last line is the figure; RUNIUM_TORTURE=1: more tries; without the right to choose numbers it says so
 *
 * --canary: an innocent is signalled, by the test itself, and it must fail.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <linux/sched.h>
#include <runium.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ledger.h"
#include "support.h"

enum { UNHURT = 42, WAIT_US = 2600 }; /* exit status; as long as the steps of a time-out take */

#define ledger ((atomic_int *)ledger_pages) /* number of the process at work; 0: none */

/* ---- the innocent ---- */

struct innocent {
    pid_t pid;
    int leash; /* when it is closed the innocent ends */
};

_Noreturn static void be_innocent(int leash) {
    char byte;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (read(leash, &byte, 1) < 0 && errno == EINTR) {}
    _exit(UNHURT);
}

/* 0, or an errno: EEXIST: somebody has that number. */
static int make_innocent(struct innocent *innocent, pid_t number) {
    int ends[2];
    struct clone_args arguments = {.exit_signal = SIGCHLD, .set_tid = (uintptr_t)&number, .set_tid_size = 1};
    if (pipe(ends) != 0) return errno;
    long pid = syscall(SYS_clone3, &arguments, sizeof arguments);
    int error = pid < 0 ? errno : 0;
    if (pid == 0) {
        close(ends[1]);
        be_innocent(ends[0]);
    }
    close(ends[0]);
    if (error) close(ends[1]);
    *innocent = (struct innocent){.pid = number, .leash = error ? -1 : ends[1]};
    return error;
}

/* As soon as the number is free. */
static bool take_number(struct innocent *innocent, pid_t number) {
    int error;
    while ((error = make_innocent(innocent, number)) == EEXIST || error == EAGAIN) sched_yield();
    return check(error == 0, "no innocent with number %d: %s", (int)number, strerror(error));
}

static void read_groups(const char *path, char text[4096]) {
    FILE *file = fopen(path, "re");
    size_t length = file ? fread(text, 1, 4095, file) : 0;
    text[length] = '\0';
    if (file) fclose(file);
}

static void release(const struct innocent *innocent) {
    char path[64], own[4096], its[4096];
    int status = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/cgroup", (int)innocent->pid);
    read_groups("/proc/self/cgroup", own);
    read_groups(path, its);
    check(strcmp(own, its) == 0, "the innocent %d was moved: %s", (int)innocent->pid, its);
    if (proof_canary) kill(innocent->pid, SIGTERM);
    close(innocent->leash);
    check(waitpid(innocent->pid, &status, 0) == innocent->pid && WIFEXITED(status) && WEXITSTATUS(status) == UNHURT,
          "the innocent %d was hurt: status %#x", (int)innocent->pid, (unsigned)status);
}

/* ---- what the host has in mind ---- */

static int64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Is over its time, and dies before, between, or after the steps that are taken against it. */
static rn_value overstay(rn_call *call) {
    int64_t end = now_us() + rn_as_int(rn_arg(call));
    signal(SIGTERM, SIG_IGN);
    atomic_store(ledger, (int)getpid());
    while (now_us() < end) {}
    kill(getpid(), SIGKILL);
    return rn_none();
}

static rn_value number_of_process(rn_call *call) {
    (void)call;
    return rn_int(getpid());
}

static const char *why(rn_value result) { return rn_is_error(result) ? rn_error_message(result) : ""; }

/* What was sent to the zygote before is done when a new worker answers. */
static pid_t ask_number(rn_runtime *runtime, const rn_limits *limits) {
    rn_future *future = rn_run(runtime, number_of_process, .limits = limits);
    rn_value result = rn_result(future);
    pid_t number = rn_kind(result) == RN_INT ? (pid_t)rn_as_int(result) : 0;
    check(number > 0, "a run failed: %s", why(result));
    rn_release(future);
    return number;
}

static void die_while_a_time_out_is_pending(rn_runtime *runtime, struct dice *dice) {
    struct innocent innocent;
    atomic_store(ledger, 0);
    rn_future *future = rn_run(runtime, overstay, .arg = rn_int((int64_t)roll_below(dice, WAIT_US)),
                               .timeout = RN_MICROSECONDS(700));
    while (atomic_load(ledger) == 0 && !rn_done(future)) sched_yield();
    bool is_made = atomic_load(ledger) != 0 && take_number(&innocent, atomic_load(ledger));
    check(rn_is_error(rn_result(future)), "a task that killed itself ended well");
    rn_release(future);
    (void)ask_number(runtime, NULL);
    if (is_made) release(&innocent);
}

static void die_before_the_limit_of_memory_is_set(rn_runtime *runtime) {
    const rn_limits limits = {.size = sizeof limits, .memory = 64 << 20};
    struct innocent innocent;
    pid_t number = ask_number(runtime, NULL);
    if (number == 0) return;
    kill(number, SIGKILL);
    bool is_made = take_number(&innocent, number);
    (void)ask_number(runtime, &limits);
    if (is_made) release(&innocent);
}

/* ---- all of it ---- */

static bool may_choose_numbers(void) {
    struct innocent innocent;
    pid_t child = fork();
    if (child == 0) _exit(0);
    if (child > 0) waitpid(child, NULL, 0);
    int error = make_innocent(&innocent, child);
    if (error == 0) release(&innocent);
    if (error && error != EEXIST) printf("# this process may not choose numbers (clone3, set_tid): %s\n", strerror(error));
    return error == 0 || error == EEXIST;
}

static bool may_limit_memory(rn_runtime *runtime) {
    const rn_limits limits = {.size = sizeof limits, .memory = 64 << 20};
    rn_future *future = rn_run(runtime, number_of_process, .limits = &limits);
    bool may = rn_kind(rn_result(future)) == RN_INT;
    if (!may) printf("# without control groups: %s\n", why(rn_result(future)));
    rn_release(future);
    return may;
}

static rn_runtime *open_runtime(void) {
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = 1, .grace = RN_MICROSECONDS(700),
                                  .respawn_rate = 1000000, .quarantine = 1000000, .log = rn_log_nothing);
    check(rn_is_none(rn_open_error(runtime)), "the runtime did not open: %s", why(rn_open_error(runtime)));
    return runtime;
}

int main(int argc, char **argv) {
    proof_begin(argc, argv, "P10");
    guard_against_hang(600);
    if (!ledger_make()) return 2;
    bool canary = proof_canary;
    proof_canary = false;
    if (!may_choose_numbers()) return EXIT_SKIPPED;
    proof_canary = canary;
    struct dice dice = dice_of(0);
    rn_runtime *runtime = open_runtime();
    bool has_groups = may_limit_memory(runtime);
    for (uint64_t tries = proof_amount(500, 10000); tries > 0; tries--) {
        die_while_a_time_out_is_pending(runtime, &dice);
        proof_case();
        if (has_groups) die_before_the_limit_of_memory_is_set(runtime);
        else die_while_a_time_out_is_pending(runtime, &dice);
        proof_case();
    }
    check(rn_close(runtime) == RN_OK, "the runtime did not close");
    return proof_end("process numbers were used again, by nobody that was hurt");
}
