/*
 * P16: the zygote is killed, stopped, or held by a debugger, while tasks run and while workers are to be replaced. The
 * tasks that run finish, or their death is told; workers are made again, by a new zygote where there must be one; nothing
 * is lost, executed twice, or hangs, and no descriptor is left.
 *
 *     zygote_gone     the last line is the figure; RUNIUM_TORTURE=1: more rounds
 *
 * --canary: a run is counted as executed that is not, and the test must fail.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <runium.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ledger.h"
#include "support.h"

enum { RUNS = 60, WORKERS = 3 };

enum misdeed { KILLED, KEEPER_KILLED, STOPPED, STOPPED_AND_KILLED, STOPPED_OFTEN, HELD, MISDEEDS };
static const char *const misdeed_names[] = {"killed", "its keeper killed", "stopped", "stopped, then killed",
                                            "stopped again and again", "held by a debugger"};

/* ------------------------------------------------------------------------------------------------
 * The ledger, which a worker process, this program started again, finds by name
 */
struct ledger {
    atomic_uint executions[RUNS], ends[RUNS];
    atomic_int begun;
};
_Static_assert(sizeof(struct ledger) <= LEDGER_BYTES, "it fits its pages");
#define ledger ((struct ledger *)ledger_pages)

/* ------------------------------------------------------------------------------------------------
 * Tasks. Every third kills its own process, so that workers are to be replaced all the time.
 */
static bool is_suicide(int64_t number) { return number % 3 == 2; }

static void sleep_ms(long milliseconds) {
    const struct timespec moment = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    nanosleep(&moment, NULL);
}

static rn_value work(rn_call *call) {
    int64_t number = rn_as_int(rn_arg(call));
    atomic_fetch_add(&ledger->executions[number], 1);
    atomic_fetch_add(&ledger->begun, 1);
    sleep_ms(number % 7);
    if (is_suicide(number)) kill(getpid(), SIGKILL);
    return rn_int(number);
}

static rn_value note_end(rn_call *call, rn_value success, rn_value error) {
    (void)success, (void)error;
    atomic_fetch_add(&ledger->ends[rn_as_int(rn_arg(call))], 1);
    return rn_none();
}

static rn_value parent_of(rn_call *call) {
    (void)call;
    return rn_int(getppid());
}

/* The zygote of a worker that is there now; 0: there is none. */
static pid_t zygote_of(rn_runtime *runtime) {
    rn_future *future = rn_run(runtime, parent_of);
    rn_value result = rn_result(future);
    pid_t zygote = rn_kind(result) == RN_INT ? (pid_t)rn_as_int(result) : 0;
    rn_release(future);
    return zygote;
}

static pid_t parent_of_process(pid_t pid) {
    char path[64];
    int parent = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (file && fscanf(file, "%*d (%*[^)]) %*c %d", &parent) != 1) parent = 0;
    if (file) fclose(file);
    return parent;
}

/* ------------------------------------------------------------------------------------------------
 * Misdeeds
 */
struct culprit {
    enum misdeed misdeed;
    pid_t zygote;
    int after; /* so many executions have begun */
    atomic_bool over;
    pthread_t thread;
};

static void stop_often(struct culprit *culprit) {
    while (!atomic_load(&culprit->over)) {
        kill(culprit->zygote, SIGSTOP);
        sleep_ms(20);
    }
    kill(culprit->zygote, SIGCONT);
}

static void hold(struct culprit *culprit) {
    check(ptrace(PTRACE_SEIZE, culprit->zygote, NULL, NULL) == 0, "the zygote cannot be traced: errno %d", errno);
    ptrace(PTRACE_INTERRUPT, culprit->zygote, NULL, NULL);
    int status;
    pid_t zygote = waitpid(culprit->zygote, &status, __WALL);
    while (zygote > 0 && !WIFEXITED(status) && !WIFSIGNALED(status)) zygote = waitpid(culprit->zygote, &status, __WALL);
}

static void *misbehave(void *argument) {
    struct culprit *culprit = argument;
    while (atomic_load(&ledger->begun) < culprit->after) sleep_ms(1);
    switch (culprit->misdeed) {
    case KILLED: kill(culprit->zygote, SIGKILL); break;
    case KEEPER_KILLED: kill(parent_of_process(culprit->zygote), SIGKILL); break;
    case STOPPED: kill(culprit->zygote, SIGSTOP); break;
    case STOPPED_OFTEN: stop_often(culprit); break;
    case HELD: hold(culprit); break;
    case STOPPED_AND_KILLED:
        kill(culprit->zygote, SIGSTOP);
        sleep_ms(2);
        kill(culprit->zygote, SIGKILL);
        break;
    case MISDEEDS: break;
    }
    return NULL;
}

/* ------------------------------------------------------------------------------------------------
 * A round
 */
static struct {
    unsigned finished, died;
    int64_t longest_ms;
} tally[MISDEEDS];

/* Whether the zygote may be another one afterwards, and its workers may have died. */
static bool takes_workers_along(enum misdeed misdeed) { return misdeed != STOPPED; }

static void judge(enum misdeed misdeed, int number, rn_value result) {
    unsigned executions = atomic_load(&ledger->executions[number]);
    bool has_died = rn_is_error(result) && rn_error_code(result) == RN_CRASHED;
    bool is_good = rn_kind(result) == RN_INT && rn_as_int(result) == number && !is_suicide(number);
    char text[400] = "";
    if (!has_died && !is_good) rn_format(result, text, sizeof text);
    check(has_died || is_good, "%s: run %d: %s", misdeed_names[misdeed], number, text);
    check(executions == 1, "%s: run %d was executed %u times", misdeed_names[misdeed], number, executions);
    check(takes_workers_along(misdeed) || !has_died || is_suicide(number), "%s: run %d died", misdeed_names[misdeed], number);
    tally[misdeed].finished += is_good;
    tally[misdeed].died += has_died && !is_suicide(number);
}

static void play_runs(rn_runtime *runtime, enum misdeed misdeed) {
    rn_future *futures[RUNS];
    for (int i = 0; i < RUNS; i++)
        futures[i] = rn_run(runtime, work, .arg = rn_int(i), .on_finished = i % 2 ? note_end : NULL);
    for (int i = 0; i < RUNS; i++) {
        check(rn_wait(futures[i], RN_SECONDS(60)) == RN_OK, "%s: run %d hangs", misdeed_names[misdeed], i);
        judge(misdeed, i, rn_result(futures[i]));
        rn_release(futures[i]);
    }
}

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void play_round(enum misdeed misdeed, struct dice *dice) {
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = WORKERS, .quarantine = 1000000000,
                                  .respawn_rate = 1000000, .log = rn_log_nothing);
    struct culprit culprit = {.misdeed = misdeed, .after = (int)roll_below(dice, RUNS / 2)};
    memset(ledger, 0, sizeof *ledger);
    if (proof_canary) atomic_fetch_add(&ledger->executions[3], 1);
    culprit.zygote = zygote_of(runtime);
    check(culprit.zygote > 0, "no zygote: %s",
          rn_is_error(rn_open_error(runtime)) ? rn_error_message(rn_open_error(runtime)) : "");
    check(pthread_create(&culprit.thread, NULL, misbehave, &culprit) == 0, "no thread");
    int64_t began = now_ms();
    play_runs(runtime, misdeed);
    if (now_ms() - began > tally[misdeed].longest_ms) tally[misdeed].longest_ms = now_ms() - began;
    atomic_store(&culprit.over, true);
    pthread_join(culprit.thread, NULL);
    pid_t after = zygote_of(runtime);
    check(after > 0, "%s: no worker afterwards", misdeed_names[misdeed]);
    if (misdeed == STOPPED) check(after == culprit.zygote, "a zygote was replaced that had only been stopped");
    if (misdeed != STOPPED && misdeed != STOPPED_OFTEN) check(after != culprit.zygote, "the zygote is the old one");
    check(rn_close(runtime) == RN_OK, "%s: the runtime did not close", misdeed_names[misdeed]);
    check(waitpid(-1, NULL, __WALL | WNOHANG) == -1 && errno == ECHILD, "%s: a child is left", misdeed_names[misdeed]);
    proof_case();
}

int main(int argc, char **argv) {
    proof_begin(argc, argv, "P16");
    guard_against_hang(proof_torture ? 3000 : 150);
    if (!ledger_make()) return 2;
    struct dice dice = dice_of(0);
    rn_close(rn_open(.executor = RN_PROCESSES, .workers = 1));
    unsigned descriptors = proc_entries("/proc/self/fd");
    uint64_t rounds = proof_canary ? 1 : proof_amount(3, 100);
    for (uint64_t i = 0; i < rounds; i++)
        for (enum misdeed misdeed = KILLED; misdeed < MISDEEDS; misdeed++) play_round(misdeed, &dice);
    check(proc_entries("/proc/self/fd") == descriptors, "%u descriptors, at first %u", proc_entries("/proc/self/fd"), descriptors);
    for (enum misdeed misdeed = KILLED; misdeed < MISDEEDS; misdeed++)
        printf("# the zygote %s: %u runs finished, %u died with it, %lld ms at most\n", misdeed_names[misdeed],
               tally[misdeed].finished, tally[misdeed].died, (long long)tally[misdeed].longest_ms);
    proof_case();
    return proof_end("rounds without a zygote, nothing lost");
}
