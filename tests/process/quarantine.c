/*
 * P17: a task that always kills its worker. After .quarantine deaths in a row it is run no more, in this runtime; all
 * others are; and workers are replaced no faster than .respawn_rate says.
 *
 *     quarantine     the last line is the figure; --canary quarantines nothing, and must fail
 */
#include <runium.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ledger.h"
#include "support.h"

struct notes {
    atomic_uint deaths, others, hooks, healthy;
};

static struct notes *notes(void) { return ledger_pages; }

static void forget_notes(void) { memset(ledger_pages, 0, sizeof(struct notes)); }

static rn_value kill_worker(rn_call *call) {
    (void)call;
    atomic_fetch_add(&notes()->deaths, 1);
    raise(SIGKILL);
    return rn_none();
}

static rn_value work(rn_call *call) {
    atomic_fetch_add(&notes()->others, 1);
    return rn_keep(rn_arg(call));
}

/* Kills its worker two times of three. */
static rn_value recover(rn_call *call) {
    if (rn_as_int(rn_arg(call)) % 3 < 2) return kill_worker(call);
    atomic_fetch_add(&notes()->healthy, 1);
    return rn_none();
}

static rn_value note_error(rn_call *call, rn_value error) {
    (void)call, (void)error;
    atomic_fetch_add(&notes()->hooks, 1);
    return rn_none();
}

static rn_value kill_in_hook(rn_call *call, rn_value success, rn_value error) {
    (void)success, (void)error;
    return kill_worker(call);
}

static int code_of(rn_future *future) {
    rn_value result = rn_result(future);
    int code = rn_is_error(result) ? rn_error_code(result) : RN_OK;
    rn_release(future);
    return code;
}

static void close_it(rn_runtime *runtime) {
    check(rn_close(runtime) == RN_OK, "the runtime did not close");
    proof_case();
}

enum { POISON = 1000, WORKERS = 4 };

/* One of two runs kills its worker. */
static void a_task_that_always_kills_is_quarantined_and_the_others_are_not(void) {
    static rn_future *poison[POISON], *others[POISON];
    unsigned crashed = 0, quarantined = 0, good = 0;
    forget_notes();
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = WORKERS, .log = rn_log_nothing,
                                  .quarantine = proof_canary ? UINT32_MAX : 0, .respawn_rate = 100000);
    for (int i = 0; i < POISON; i++) {
        poison[i] = rn_run(runtime, kill_worker);
        others[i] = rn_run(runtime, work, .arg = rn_int(i));
    }
    for (int i = 0; i < POISON; i++) {
        int code = code_of(poison[i]);
        crashed += code == RN_CRASHED;
        quarantined += code == RN_QUARANTINED;
        good += code_of(others[i]) == RN_OK;
    }
    unsigned deaths = atomic_load(&notes()->deaths);
    printf("# %u deaths, %u in quarantine, %u of %d others\n", deaths, quarantined, good, POISON);
    /* Those that were at work in other workers when the last one died too. */
    check(deaths >= RN_QUARANTINE_DEFAULT && deaths <= RN_QUARANTINE_DEFAULT + WORKERS - 1, "%u deaths", deaths);
    check(crashed == deaths && quarantined == POISON - deaths, "%u crashed, %u in quarantine", crashed, quarantined);
    check(good == POISON && atomic_load(&notes()->others) == POISON, "%u others were all right", good);
    close_it(runtime);
}

static void the_error_names_the_function_and_the_deaths_and_the_cause(void) {
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = 1, .log = rn_log_nothing, .quarantine = 2);
    for (int i = 0; i < 2; i++) check(code_of(rn_run(runtime, kill_worker)) == RN_CRASHED, "it did not crash");
    rn_future *future = rn_run(runtime, kill_worker, .on_error = note_error);
    rn_value result = rn_result(future);
    const char *message = rn_is_error(result) ? rn_error_message(result) : "";
    check(rn_is_error(result) && rn_error_code(result) == RN_QUARANTINED, "no RN_QUARANTINED: %s", message);
    check(strstr(message, "kill_worker") && strstr(message, "2 worker") && strstr(message, "SIGKILL"), "\"%s\"", message);
    check(atomic_load(&notes()->hooks) == 1, "on_error was called %u times", atomic_load(&notes()->hooks));
    rn_release(future);
    rn_runtime *other = rn_open(.executor = RN_PROCESSES, .workers = 1, .log = rn_log_nothing);
    check(code_of(rn_run(other, kill_worker)) == RN_CRASHED, "it is in quarantine in another runtime too");
    check(rn_close(other) == RN_OK, "the other runtime did not close");
    close_it(runtime);
}

static void the_iterations_of_a_running_schedule_are_refused_too(int64_t every) {
    forget_notes();
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = 2, .log = rn_log_nothing);
    check(code_of(rn_run(runtime, kill_worker, .times = 20, .every = every, .on_error = note_error)) == RN_QUARANTINED,
          "the last iteration was not refused");
    check(atomic_load(&notes()->deaths) == 3, "every %lld: %u deaths", (long long)every, atomic_load(&notes()->deaths));
    check(atomic_load(&notes()->hooks) == 1, "on_error was called %u times", atomic_load(&notes()->hooks));
    rn_stats stats = {.size = sizeof stats};
    check(rn_get_stats(runtime, &stats) == RN_OK && stats.started == 20 && stats.failed == 20, "%llu of %llu failed",
          (unsigned long long)stats.failed, (unsigned long long)stats.started);
    close_it(runtime);
}

static void deaths_between_which_it_ends_well_do_not_count(void) {
    forget_notes();
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = 1, .log = rn_log_nothing);
    for (int i = 0; i < 30; i++) {
        int code = code_of(rn_run(runtime, recover, .arg = rn_int(i), .on_error = note_error));
        check(code == (i % 3 < 2 ? RN_CRASHED : RN_OK), "run %d: %d", i, code);
    }
    check(atomic_load(&notes()->healthy) == 10, "%u ended well", atomic_load(&notes()->healthy));
    close_it(runtime);
}

static void a_hook_that_kills_is_quarantined_and_not_the_function(void) {
    forget_notes();
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = 1, .log = rn_log_nothing);
    for (int i = 0; i < 10; i++) {
        int code = code_of(rn_run(runtime, work, .arg = rn_int(i), .on_finished = kill_in_hook));
        check(code == (i < 3 ? RN_CRASHED : RN_QUARANTINED), "run %d: %d", i, code);
    }
    check(atomic_load(&notes()->deaths) == 3 && atomic_load(&notes()->others) == 10, "%u deaths, %u iterations",
          atomic_load(&notes()->deaths), atomic_load(&notes()->others));
    check(code_of(rn_run(runtime, work)) == RN_OK, "the function is in quarantine");
    close_it(runtime);
}

static rn_value wait_to_be_killed(rn_call *call) {
    for (;;) pause();
    return rn_keep(rn_arg(call));
}

static void a_task_that_the_host_ended_is_not_quarantined(void) {
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = 1, .log = rn_log_nothing, .grace = RN_MILLISECONDS(1));
    for (int i = 0; i < 6; i++)
        check(code_of(rn_run(runtime, wait_to_be_killed, .timeout = RN_MILLISECONDS(1))) == RN_OVERTIME, "run %d", i);
    close_it(runtime);
}

int main(int argc, char **argv) {
    proof_begin(argc, argv, "P17");
    guard_against_hang(120);
    if (!ledger_make()) return 2;
    a_task_that_always_kills_is_quarantined_and_the_others_are_not();
    the_error_names_the_function_and_the_deaths_and_the_cause();
    the_iterations_of_a_running_schedule_are_refused_too(0);
    the_iterations_of_a_running_schedule_are_refused_too(RN_MICROSECONDS(200));
    deaths_between_which_it_ends_well_do_not_count();
    a_hook_that_kills_is_quarantined_and_not_the_function();
    a_task_that_the_host_ended_is_not_quarantined();
    return proof_end("tasks that kill their workers were refused in time");
}
