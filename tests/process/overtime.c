/*
 * P15: tasks that do not end. Each is ended in steps, by the one that it takes; what it started ends with it; the worker
 * is replaced, or lives on where it can; and no other task is hit.
 *
 *     overtime     the last line is the figure; --canary lets a task say that it ended in time, and must fail
 */
#include <fcntl.h>
#include <poll.h>
#include <runium.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "ledger.h"
#include "support.h"

#define TIMEOUT RN_MILLISECONDS(40)

struct notes {
    atomic_int child; /* that a task has started */
    atomic_int begun;
};

static struct notes *notes(void) { return ledger_pages; }

/* Where the next step must not come, on however busy a machine, it is far away. */
#define SHORT RN_MILLISECONDS(40)
#define LONG RN_SECONDS(60)

static rn_runtime *open_runtime(unsigned workers, int64_t grace) {
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = workers, .grace = grace ? grace : RN_MILLISECONDS(400), .log = rn_log_nothing,
                                  .respawn_rate = 100000);
    check(rn_is_none(rn_open_error(runtime)), "the runtime did not open: %s",
          rn_is_error(rn_open_error(runtime)) ? rn_error_message(rn_open_error(runtime)) : "");
    return runtime;
}

static rn_value give_pid(rn_call *call) {
    (void)call;
    return rn_int(getpid());
}

static int64_t pid_of_worker(rn_runtime *runtime) {
    rn_future *future = rn_run(runtime, give_pid);
    rn_value result = rn_result(future);
    int64_t pid = rn_kind(result) == RN_INT ? rn_as_int(result) : 0;
    rn_release(future);
    return pid;
}

/* ---- tasks that do not end ---- */

static void spin(void) {
    for (volatile int i = 0; i < 1000; i++) {
    }
}

static rn_value listen_and_return(rn_call *call) {
    while (!rn_stopping(call)) spin();
    return rn_int(1);
}

static rn_value loop(rn_call *call) {
    while (rn_iteration(call) > 0) spin(); /* always */
    return rn_none();
}

static rn_value sleep_for_ever(rn_call *call) {
    while (rn_iteration(call) > 0) pause(); /* always */
    return rn_none();
}

static rn_value ignore_and_loop(rn_call *call) {
    signal(SIGTERM, SIG_IGN);
    return loop(call);
}

static rn_value block_and_sleep(rn_call *call) {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    return sleep_for_ever(call);
}

static rn_value stop(rn_call *call) {
    raise(SIGSTOP);
    return loop(call);
}

static rn_value leave_a_child(rn_call *call) {
    int child = fork();
    if (child == 0) {
        signal(SIGTERM, SIG_IGN);
        for (;;) pause();
    }
    atomic_store(&notes()->child, child);
    atomic_store(&notes()->begun, 1);
    return sleep_for_ever(call);
}

static volatile sig_atomic_t has_come;
static void note_signal(int signal) { has_come = signal; }

static rn_value return_after_sigterm(rn_call *call) {
    struct sigaction action = {.sa_handler = note_signal};
    (void)call;
    sigaction(SIGTERM, &action, NULL);
    while (!has_come) spin();
    return rn_int(2);
}

static rn_value crash_when_told(rn_call *call) {
    while (!rn_stopping(call)) spin();
    raise(SIGKILL);
    return rn_none();
}

/* ---- what becomes of them ---- */

struct stuck {
    const char *name;
    rn_task_fn *function;
    const char *says;
    bool lives_on; /* the worker */
    int64_t grace; /* 0: one that lets a process die of SIGTERM */
};

static const struct stuck stuck[] = {
    {"told", listen_and_return, "returned once it was told", true, LONG},
    {"busy loop", loop, "SIGTERM ended it", false, 0},
    {"asleep", sleep_for_ever, "SIGTERM ended it", false, 0},
    {"SIGTERM ignored", ignore_and_loop, "SIGKILL ended it", false, SHORT},
    {"all signals blocked", block_and_sleep, "SIGKILL ended it", false, SHORT},
    {"stopped", stop, "SIGKILL ended it", false, SHORT},
    {"a child in its group", leave_a_child, "SIGTERM ended it", false, 0},
    {"SIGTERM handled", return_after_sigterm, "returned after SIGTERM", false, 0},
    {"crashes when told", crash_when_told, "ended its process", false, LONG},
};

static void check_overtime(rn_value result, const char *name, const char *says) {
    bool is_error = rn_is_error(result);
    if (!check(is_error && rn_error_code(result) == RN_OVERTIME, "%s: not RN_OVERTIME but %d", name,
               is_error ? rn_error_code(result) : 0))
        return;
    check(strstr(rn_error_message(result), says), "%s: \"%s\" does not say \"%s\"", name, rn_error_message(result), says);
    check(strstr(rn_error_message(result), "40 ms"), "%s: \"%s\" does not say the limit", name, rn_error_message(result));
}

static bool is_gone(int pid) {
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0) return true;
    struct pollfd polled = {.fd = fd, .events = POLLIN};
    int ended = poll(&polled, 1, 5000);
    close(fd);
    return ended > 0;
}

static void a_task_that_does_not_end_is_ended(const struct stuck *how, unsigned workers) {
    rn_runtime *runtime = open_runtime(workers, how->grace);
    int64_t before = pid_of_worker(runtime);
    rn_future *future = rn_run(runtime, how->function, .timeout = TIMEOUT, .name = how->name);
    rn_future *others[8];
    for (int i = 0; i < 8; i++) others[i] = rn_run(runtime, give_pid);
    check_overtime(rn_result(future), how->name, how->says);
    check(strcmp(rn_error_task(rn_result(future)), how->name) == 0, "%s: the error does not name the task", how->name);
    for (int i = 0; i < 8; i++) check(rn_kind(rn_result(others[i])) == RN_INT, "%s: another run noticed", how->name);
    for (int i = 0; i < 8; i++) rn_release(others[i]);
    int64_t after = pid_of_worker(runtime);
    if (workers == 1)
        check((before == after) == how->lives_on, "%s: worker %lld, then %lld", how->name, (long long)before, (long long)after);
    if (how->function == leave_a_child) check(is_gone(atomic_load(&notes()->child)), "%s: the child lives", how->name);
    rn_release(future);
    check(rn_close(runtime) == RN_OK, "%s: the runtime did not close", how->name);
    proof_case();
}

/* ---- each stage by itself ---- */

static rn_value take_some_time(rn_call *call) {
    struct timespec time = {0, 15 * 1000 * 1000};
    nanosleep(&time, NULL);
    return rn_int((int64_t)rn_iteration(call));
}

static void each_iteration_has_a_limit_of_its_own(void) {
    rn_runtime *runtime = open_runtime(1, 0);
    rn_future *future = rn_run(runtime, take_some_time, .times = 8, .timeout = RN_MILLISECONDS(100));
    rn_value result = rn_result(future);
    check(rn_kind(result) == RN_INT && rn_as_int(result) == 8, "eight iterations of 15 ms each were too long");
    rn_release(future);
    check(rn_close(runtime) == RN_OK, "the runtime did not close");
    proof_case();
}

static rn_value be_late_in_the_second(rn_call *call) {
    atomic_fetch_add(&notes()->begun, 1);
    if (rn_iteration(call) == 2) return rn_as_int(rn_arg(call)) ? loop(call) : listen_and_return(call);
    return rn_int((int64_t)rn_iteration(call));
}

static rn_value count_late(rn_call *call, rn_value success, rn_value error) {
    bool is_late = rn_is_error(error) && rn_error_code(error) == RN_OVERTIME;
    (void)success;
    if (is_late == (rn_iteration(call) == 2)) atomic_fetch_add(&notes()->begun, 100);
    return rn_none();
}

/* Back to back, and between ticks; with hooks and without; ended by itself, and by a signal. */
static void a_late_iteration_is_followed_by_the_next(bool is_killed, bool is_timed, bool has_hook) {
    rn_runtime *runtime = open_runtime(1, 0);
    atomic_store(&notes()->begun, 0);
    rn_future *future = rn_run(runtime, be_late_in_the_second, .arg = rn_int(is_killed), .times = 4, .timeout = TIMEOUT,
                               .every = is_timed ? RN_MILLISECONDS(1) : 0, .on_iter = has_hook ? count_late : NULL);
    rn_value result = rn_result(future);
    check(rn_kind(result) == RN_INT && rn_as_int(result) == 4, "the last iteration has not the result");
    int expected = has_hook ? 404 : 4, seen = atomic_load(&notes()->begun);
    check(seen == expected, "killed %d, timed %d, hook %d: %d and not %d", is_killed, is_timed, has_hook, seen, expected);
    rn_stats stats = {.size = sizeof stats};
    check(rn_get_stats(runtime, &stats) == RN_OK && stats.failed == 1, "%llu iterations failed", (unsigned long long)stats.failed);
    rn_release(future);
    check(rn_close(runtime) == RN_OK, "the runtime did not close");
    proof_case();
}

static rn_value hang_in_a_hook(rn_call *call, rn_value success, rn_value error) {
    (void)error;
    return rn_as_int(success) == 1 ? listen_and_return(call) : loop(call);
}

static rn_value give_back(rn_call *call) { return rn_keep(rn_arg(call)); }

static rn_value note_finish(rn_call *call, rn_value success, rn_value error) {
    (void)call, (void)success, (void)error;
    atomic_fetch_add(&notes()->begun, 1);
    return rn_none();
}

static void a_late_hook_has_failed(bool is_killed) {
    rn_runtime *runtime = open_runtime(2, 0);
    atomic_store(&notes()->begun, 0);
    rn_future *future = rn_run(runtime, give_back, .arg = rn_int(is_killed ? 0 : 1), .times = 3, .timeout = TIMEOUT,
                               .on_iter = hang_in_a_hook, .on_finished = note_finish);
    rn_value result = rn_result(future);
    check_overtime(result, "a hook", is_killed ? "SIGTERM ended it" : "returned once it was told");
    if (rn_is_error(result)) check(strcmp(rn_error_hook(result), "on_iter") == 0, "the error does not name the hook");
    check(atomic_load(&notes()->begun) == 1, "on_finished was called %d times", atomic_load(&notes()->begun));
    rn_release(future);
    check(rn_close(runtime) == RN_OK, "the runtime did not close");
    proof_case();
}

static rn_value await_a_short_one(rn_call *call) {
    rn_future *future = rn_run(rn_runtime_of(call), give_pid, .timeout = RN_SECONDS(20));
    rn_value result = rn_keep(rn_result(future));
    rn_release(future);
    if (rn_is_error(result)) return result;
    rn_drop(result);
    return loop(call);
}

static void a_task_that_started_another_is_ended_alone(void) {
    rn_runtime *runtime = open_runtime(1, 0);
    rn_future *future = rn_run(runtime, await_a_short_one, .timeout_text = "40 ms");
    check_overtime(rn_result(future), "a task that waited", "SIGTERM ended it");
    rn_release(future);
    check(rn_close(runtime) == RN_OK, "the runtime did not close");
    proof_case();
}

static rn_value wait_for_a_long_one(rn_call *call) {
    rn_future *future = rn_run(rn_runtime_of(call), listen_and_return);
    (void)rn_wait(future, -1);
    return rn_int(1);
}

/* What it waits for goes on; what became of it is known all the same. */
static void a_task_that_waits_is_ended_before_what_it_waits_for(void) {
    rn_runtime *runtime = open_runtime(1, 0);
    rn_future *future = rn_run(runtime, wait_for_a_long_one, .timeout = TIMEOUT);
    check_overtime(rn_result(future), "a task that waits", "SIGTERM ended it");
    check(rn_pending(runtime, NULL, 0) == 1, "%lld runs are pending", (long long)rn_pending(runtime, NULL, 0));
    rn_release(future);
    check(rn_close(runtime, .how = RN_STOP) == RN_OK, "the runtime did not close");
    proof_case();
}

/* ---- signals that come late ---- */

static rn_value take_as_long_as_the_limit(rn_call *call) {
    struct timespec now, end;
    int64_t wanted = rn_as_int(rn_arg(call));
    clock_gettime(CLOCK_MONOTONIC, &end);
    do clock_gettime(CLOCK_MONOTONIC, &now);
    while ((now.tv_sec - end.tv_sec) * 1000000000 + now.tv_nsec - end.tv_nsec < wanted);
    return rn_int(wanted);
}

/* Each ends about when a step is due; between them lie runs that have nothing to do with it, and none of these is hit. */
static void a_signal_never_hits_the_next_task(uint64_t runs) {
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = 2, .grace = RN_MICROSECONDS(50),
                                  .respawn_rate = 100000, .log = rn_log_nothing);
    struct dice dice = dice_of(1);
    uint64_t late = 0, hit = 0, odd = 0;
    for (uint64_t i = 0; i < runs; i++) {
        int64_t time = (int64_t)roll_below(&dice, 200000);
        rn_future *future = rn_run(runtime, take_as_long_as_the_limit, .arg = rn_int(time), .timeout = RN_MICROSECONDS(50));
        rn_future *innocent = rn_run(runtime, give_pid);
        rn_value result = rn_result(future);
        bool is_late = rn_is_error(result) && rn_error_code(result) == RN_OVERTIME;
        late += is_late;
        bool is_odd = !is_late && rn_kind(result) != RN_INT;
        if (is_odd) printf("# %s\n", rn_is_error(result) ? rn_error_message(result) : "no number");
        odd += is_odd;
        hit += rn_kind(rn_result(innocent)) != RN_INT;
        rn_release(future);
        rn_release(innocent);
    }
    printf("# %llu of %llu were late\n", (unsigned long long)late, (unsigned long long)runs);
    check(hit == 0, "%llu innocent runs were hit", (unsigned long long)hit);
    check(odd == 0, "%llu late runs ended in another way", (unsigned long long)odd);
    check(late > 0 && late < runs, "%llu of %llu were late: that tries nothing", (unsigned long long)late,
          (unsigned long long)runs);
    check(rn_close(runtime) == RN_OK, "the runtime did not close");
    proof_case();
}

/* ---- stopping ---- */

static rn_runtime *open_impatient(unsigned workers, int64_t stop_grace, int64_t grace) {
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = workers, .grace = grace, .stop_grace = stop_grace,
                                  .respawn_rate = 100000, .log = rn_log_nothing);
    check(rn_is_none(rn_open_error(runtime)), "the runtime did not open");
    return runtime;
}

enum { HELD, ENOUGH };

/* Does not listen. */
static rn_value go_on_until_told_by_the_program(rn_call *call) {
    atomic_store(&notes()->begun, 1);
    while (atomic_load(&notes()->child) == HELD) spin();
    return rn_int(rn_stopping(call) ? 5 : 6);
}

static rn_value note_and_loop(rn_call *call) {
    atomic_store(&notes()->begun, 1);
    return loop(call);
}

static void await_begin(void) {
    while (!atomic_load(&notes()->begun)) spin();
}

static int64_t wait_out(int64_t time) {
    struct timespec pause = {0, (long)time};
    return nanosleep(&pause, NULL);
}

/* Longer than all steps of a time limit take. */
static void a_stop_tells_an_iteration_and_leaves_it_its_time(void) {
    rn_runtime *runtime = open_runtime(1, RN_MILLISECONDS(1));
    atomic_store(&notes()->begun, 0);
    atomic_store(&notes()->child, HELD);
    int64_t before = pid_of_worker(runtime);
    rn_future *future = rn_run(runtime, go_on_until_told_by_the_program, .times = 3);
    await_begin();
    check(rn_stop(future), "it was not told");
    (void)wait_out(RN_MILLISECONDS(50));
    atomic_store(&notes()->child, ENOUGH);
    rn_value result = rn_result(future);
    check(rn_kind(result) == RN_INT && rn_as_int(result) == 5, "it was interrupted");
    check(pid_of_worker(runtime) == before, "its process is another");
    rn_release(future);
    check(rn_close(runtime) == RN_OK, "the runtime did not close");
    proof_case();
}

static void check_stopped(rn_value result, const char *name, const char *says) {
    bool is_error = rn_is_error(result);
    if (!check(is_error && rn_error_code(result) == RN_OVERTIME, "%s: not RN_OVERTIME but %d: %s", name,
               is_error ? rn_error_code(result) : 0, is_error ? rn_error_message(result) : "no error"))
        return;
    check(strstr(rn_error_message(result), says), "%s: \"%s\" does not say \"%s\"", name, rn_error_message(result), says);
    check(strstr(rn_error_message(result), ".stop_grace of 40 ms"), "%s: \"%s\" does not say the limit", name,
          rn_error_message(result));
}

enum shape { PLAIN, MANY_BEHIND_IT, WITH_A_HOOK, REPEATED, BOUNDED, SHAPES };

static rn_value note_and(rn_call *call, rn_value success, rn_value error) {
    (void)call, (void)success, (void)error;
    atomic_fetch_add(&notes()->begun, 100);
    return rn_none();
}

static rn_future *start_in_shape(rn_runtime *runtime, rn_task_fn *function, enum shape shape) {
    switch (shape) {
    case WITH_A_HOOK: return rn_run(runtime, function, .on_finished = note_and);
    case REPEATED: return rn_run(runtime, function, .times = 3);
    case BOUNDED: return rn_run(runtime, function, .timeout = RN_HOURS(1));
    default: return rn_run(runtime, function);
    }
}

/* Its steps come before it could have returned by itself, which it never does. */
static rn_value say_begun_and(rn_call *call, rn_task_fn *then) {
    atomic_store(&notes()->begun, 1);
    return then(call);
}
static rn_value begin_and_loop(rn_call *call) { return say_begun_and(call, loop); }
static rn_value begin_and_sleep(rn_call *call) { return say_begun_and(call, sleep_for_ever); }
static rn_value begin_and_ignore(rn_call *call) { return say_begun_and(call, ignore_and_loop); }
static rn_value begin_and_block(rn_call *call) { return say_begun_and(call, block_and_sleep); }
static rn_value begin_and_stop(rn_call *call) { return say_begun_and(call, stop); }

static const struct stuck stopped[] = {
    {"busy loop", begin_and_loop, "SIGTERM ended it after", false, LONG},
    {"asleep", begin_and_sleep, "SIGTERM ended it after", false, LONG},
    {"SIGTERM ignored", begin_and_ignore, "SIGKILL ended it after", false, SHORT},
    {"all signals blocked", begin_and_block, "SIGKILL ended it after", false, SHORT},
    {"stopped", begin_and_stop, "SIGKILL ended it after", false, SHORT},
    {"a child in its group", leave_a_child, "SIGTERM ended it after", false, LONG},
};

static void a_stopped_task_that_goes_on_is_ended(const struct stuck *how, enum shape shape, bool is_by_close) {
    rn_runtime *runtime = open_impatient(1, RN_MILLISECONDS(40), how->grace);
    rn_future *others[8] = {NULL};
    int64_t before = pid_of_worker(runtime);
    atomic_store(&notes()->begun, 0);
    rn_future *future = start_in_shape(runtime, how->function, shape);
    if (shape == MANY_BEHIND_IT) /* in its batch, or behind it */
        for (int i = 0; i < 8; i++) others[i] = rn_run(runtime, give_pid);
    await_begin();
    if (is_by_close) check(rn_close(runtime, .how = RN_STOP) == RN_OK, "%s: the runtime did not close", how->name);
    else check(rn_stop(future), "%s: it was not told", how->name);
    check_stopped(rn_result(future), how->name, how->says);
    for (int i = 0; i < 8 && others[i]; i++) {
        rn_value result = rn_result(others[i]);
        bool is_right = rn_kind(result) == RN_INT || (is_by_close && rn_error_code(result) == RN_CANCELLED);
        check(is_right, "%s: another run noticed", how->name);
        rn_release(others[i]);
    }
    int expected = shape == WITH_A_HOOK ? 101 : 1, seen = atomic_load(&notes()->begun);
    check(seen == expected, "%s: in that shape %d and not %d", how->name, seen, expected);
    if (!is_by_close) check(pid_of_worker(runtime) != before, "%s: its process lives on", how->name);
    if (how->function == leave_a_child) check(is_gone(atomic_load(&notes()->child)), "%s: the child lives", how->name);
    rn_release(future);
    if (!is_by_close) check(rn_close(runtime) == RN_OK, "%s: the runtime did not close", how->name);
    proof_case();
}

static rn_value begin_and_listen(rn_call *call) { return say_begun_and(call, listen_and_return); }
static rn_value begin_and_return_after_sigterm(rn_call *call) { return say_begun_and(call, return_after_sigterm); }

/* Of its own accord, or only after a signal; then nobody else is to meet that one. */
static void a_stopped_task_that_returns_has_its_own_outcome(bool is_signalled, enum shape shape) {
    rn_runtime *runtime = open_impatient(1, is_signalled ? SHORT : LONG, LONG);
    int64_t before = pid_of_worker(runtime);
    atomic_store(&notes()->begun, 0);
    rn_future *future = start_in_shape(runtime, is_signalled ? begin_and_return_after_sigterm : begin_and_listen, shape);
    await_begin();
    check(rn_stop(future), "it was not told");
    rn_value result = rn_result(future);
    check(rn_kind(result) == RN_INT && rn_as_int(result) == (is_signalled ? 2 : 1), "its result is another");
    check((pid_of_worker(runtime) == before) == !is_signalled, "signalled %d: the process before, or not", is_signalled);
    rn_release(future);
    check(rn_close(runtime) == RN_OK, "the runtime did not close");
    proof_case();
}

static rn_value ask_after_sigterm(rn_call *call) {
    (void)return_after_sigterm(call);
    return rn_int(rn_pending(rn_runtime_of(call), NULL, 0));
}
static rn_value begin_and_ask_after_sigterm(rn_call *call) { return say_begun_and(call, ask_after_sigterm); }

/* That may be the first that the host hears of it, in a batch: from there on it has a .grace as any other. */
static void a_stopped_task_may_ask_after_the_signal(enum shape shape) {
    rn_runtime *runtime = open_impatient(1, RN_MILLISECONDS(40), LONG);
    int64_t before = pid_of_worker(runtime);
    atomic_store(&notes()->begun, 0);
    rn_future *future = start_in_shape(runtime, begin_and_ask_after_sigterm, shape);
    await_begin();
    check(rn_stop(future), "it was not told");
    rn_value result = rn_result(future);
    check(rn_kind(result) == RN_INT && rn_as_int(result) == 1, "it was not answered");
    check(pid_of_worker(runtime) != before, "its process lives on");
    rn_release(future);
    check(rn_close(runtime) == RN_OK, "the runtime did not close");
    proof_case();
}

static rn_value ask_after_sigterm_and_loop(rn_call *call) {
    rn_drop(ask_after_sigterm(call));
    return loop(call);
}
static rn_value begin_and_ask_and_loop(rn_call *call) { return say_begun_and(call, ask_after_sigterm_and_loop); }

/* Nor does the second step come late, and a function that is stopped often has killed nobody. */
static void what_was_stopped_is_not_blamed(enum shape shape) {
    rn_runtime *runtime = open_impatient(1, SHORT, SHORT);
    for (unsigned i = 0; i < RN_QUARANTINE_DEFAULT + 1; i++) {
        atomic_store(&notes()->begun, 0);
        rn_future *future = start_in_shape(runtime, begin_and_ask_and_loop, shape);
        while (!atomic_load(&notes()->begun) && !rn_done(future)) spin();
        (void)rn_stop(future);
        check_stopped(rn_result(future), "one that asks, and goes on", "SIGKILL ended it after");
        rn_release(future);
    }
    check(rn_close(runtime) == RN_OK, "the runtime did not close");
    proof_case();
}

static rn_value hang_at_the_end(rn_call *call, rn_value success) {
    (void)success;
    return loop(call);
}

/* A hook that begins when the run is stopped already has the time from then on. */
static void a_final_hook_of_a_stopped_run_is_ended_too(void) {
    rn_runtime *runtime = open_impatient(1, RN_MILLISECONDS(40), LONG);
    atomic_store(&notes()->begun, 0);
    rn_future *future = rn_run(runtime, begin_and_listen, .on_success = hang_at_the_end, .on_finished = note_and);
    await_begin();
    check(rn_stop(future), "it was not told");
    check_stopped(rn_result(future), "a hook", "SIGTERM ended it after");
    check(strcmp(rn_error_hook(rn_result(future)), "on_success") == 0, "the error does not name the hook");
    check(atomic_load(&notes()->begun) == 101, "on_finished was not called");
    rn_release(future);
    check(rn_close(runtime) == RN_OK, "the runtime did not close");
    proof_case();
}

static rn_value wait_for_one_that_loops(rn_call *call) {
    rn_future *future = rn_run(rn_runtime_of(call), begin_and_loop, .times = 2);
    (void)rn_wait(future, -1);
    return rn_int(1);
}

/* The outer one, in whose process the inner one runs: then both end. Or the inner one alone. */
static void a_stopped_task_that_waits_is_ended_with_what_runs_there(void) {
    rn_runtime *runtime = open_impatient(1, RN_MILLISECONDS(40), LONG);
    atomic_store(&notes()->begun, 0);
    rn_future *future = rn_run(runtime, wait_for_one_that_loops);
    await_begin();
    check(rn_stop(future), "it was not told");
    check_stopped(rn_result(future), "a task that waits", "SIGTERM ended it after");
    rn_release(future);
    check(rn_close(runtime, .how = RN_STOP) == RN_OK, "the runtime did not close");
    proof_case();
}

static void the_time_limit_ends_what_does_not_listen(bool is_by_close) {
    rn_runtime *runtime = open_runtime(1, SHORT);
    atomic_store(&notes()->begun, 0);
    rn_future *future = rn_run(runtime, note_and_loop, .times = 3, .timeout = TIMEOUT);
    await_begin();
    if (is_by_close) check(rn_close(runtime, .how = RN_STOP) == RN_OK, "the runtime did not close");
    else check(rn_stop(future), "it was not told");
    check_overtime(rn_result(future), "stopped", "");
    rn_release(future);
    if (!is_by_close) check(rn_close(runtime) == RN_OK, "the runtime did not close");
    proof_case();
}

int main(int argc, char **argv) {
    proof_begin(argc, argv, "P15");
    guard_against_hang(120);
    if (!ledger_make()) return 2;
    for (unsigned workers = 1; workers <= 2; workers++)
        for (size_t i = 0; i < sizeof stuck / sizeof *stuck; i++) a_task_that_does_not_end_is_ended(&stuck[i], workers);
    if (proof_canary) check_overtime(rn_int(1), "canary", "");
    each_iteration_has_a_limit_of_its_own();
    for (int i = 0; i < 8; i++) a_late_iteration_is_followed_by_the_next(i & 1, i & 2, i & 4);
    a_late_hook_has_failed(false);
    a_late_hook_has_failed(true);
    a_task_that_started_another_is_ended_alone();
    a_task_that_waits_is_ended_before_what_it_waits_for();
    a_stop_tells_an_iteration_and_leaves_it_its_time();
    for (size_t i = 0; i < sizeof stopped / sizeof *stopped; i++)
        for (int shape = 0; shape < 2 * SHAPES; shape++) a_stopped_task_that_goes_on_is_ended(&stopped[i], (enum shape)(shape / 2), shape & 1);
    for (int shape = 0; shape < SHAPES; shape++) {
        a_stopped_task_that_returns_has_its_own_outcome(false, (enum shape)shape);
        a_stopped_task_that_returns_has_its_own_outcome(true, (enum shape)shape);
        a_stopped_task_may_ask_after_the_signal((enum shape)shape);
    }
    what_was_stopped_is_not_blamed(PLAIN);
    what_was_stopped_is_not_blamed(REPEATED);
    a_final_hook_of_a_stopped_run_is_ended_too();
    a_stopped_task_that_waits_is_ended_with_what_runs_there();
    the_time_limit_ends_what_does_not_listen(false);
    the_time_limit_ends_what_does_not_listen(true);
    a_signal_never_hits_the_next_task(proof_amount(400, 20000));
    return proof_end("tasks that do not end were ended, and no other");
}
