/*
 * T8: the program forks at random moments while eight threads use the API, from its own thread, in a
 * task and in a hook. The child ends at once, exits, uses the parent's handles and a runtime of its own,
 * or executes another program. No child hangs, no task of the parent runs in a child, and the parent
 * does not notice.
 *
 * There are two canaries: a child that hangs, and a task that runs in another process than its own.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support.h"

#define USERS 8
#define BATCH 16
#define CHILD_LIMIT_S 30
#define CHILD_BROKEN 3

/*
 * What the parent's other threads hold is unreachable in a child, which has none of them: a leak check
 * when the child exits would only list that.
 */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "detect_leaks=0"; }

enum act { ENDS_AT_ONCE, EXITS, USES_API, EXECUTES, ACT_COUNT };
static const char *const act_names[ACT_COUNT] = {"_exit", "exit", "use of the API", "exec"};

/* Shared with the children: a task that runs in a process other than its own counts itself here. */
struct ledger {
    _Atomic uint64_t strays;
};

/* What the parent holds at every fork, in each state that a future can be in. */
struct handles {
    rn_runtime *runtime;
    rn_future *done, *waiting, *running, *cancelled;
    struct gate gate;
};

static struct ledger *ledger;
static struct handles handles = {.gate = GATE_CLOSED};
static _Atomic bool users_end;
static _Atomic uint64_t started, ran;

/* A task runs in the process that started it; its argument is that process. */
static rn_value runs_at_home(rn_call *call) {
    if (rn_as_int(rn_arg(call)) != (int64_t)getpid())
        atomic_fetch_add(&ledger->strays, 1);
    atomic_fetch_add(&ran, 1);
    return rn_int(1);
}

static rn_value at_gate(rn_call *call) {
    gate_wait(rn_as_pointer(rn_arg(call)));
    return rn_int(1);
}

static void done_at_home(rn_future *future, void *context) {
    (void)future;
    if ((pid_t)(intptr_t)context != getpid())
        atomic_fetch_add(&ledger->strays, 1);
}

static rn_future *start(rn_runtime *runtime) {
    atomic_fetch_add(&started, 1);
    return rn_run(runtime, runs_at_home, .arg = rn_int(getpid()), .name = "at home");
}

/* ------------------------------------------------------------------------------------------------
 * The parent's threads: each goes through one part of the API, again and again.
 */
static void use_futures(rn_runtime *runtime) {
    rn_future *futures[BATCH];
    for (int i = 0; i < BATCH; i++) {
        futures[i] = start(runtime);
        rn_add_done_callback(futures[i], done_at_home, (void *)(intptr_t)getpid());
    }
    for (int i = 0; i < BATCH; i++) {
        rn_value value = rn_result(futures[i]);
        check(rn_kind(value) == RN_INT, "a task of the parent gave %s", rn_kind_name(rn_kind(value)));
        rn_release(futures[i]);
    }
}

static void use_timers(rn_runtime *runtime) {
    rn_future *timers[BATCH];
    for (int i = 0; i < BATCH; i++)
        timers[i] = rn_run(runtime, runs_at_home, .arg = rn_int(getpid()), .start_in = RN_HOURS(1));
    for (int i = 0; i < BATCH; i++) {
        check(rn_cancel(timers[i]), "a waiting run of the parent was not cancelled");
        rn_release(timers[i]);
    }
}

static void use_lists(rn_runtime *runtime) {
    rn_run_info infos[BATCH];
    rn_stats stats = {.size = sizeof stats};
    check(rn_pending(runtime, infos, BATCH) >= 0, "the parent's pending list");
    check(rn_get_stats(runtime, &stats) == RN_OK, "the parent's statistics");
}

static void use_runtimes(void) {
    rn_runtime *own = rn_open(.workers = 1, .log = rn_log_nothing);
    use_futures(own);
    check(rn_close(own) == RN_OK, "a runtime of the parent did not close");
}

static void *user(void *context) {
    uintptr_t number = (uintptr_t)context;
    while (!atomic_load(&users_end)) {
        if (number % 4 == 0)
            use_timers(handles.runtime);
        else if (number % 4 == 1)
            use_lists(handles.runtime);
        else if (number == 2)
            use_runtimes();
        use_futures(handles.runtime);
    }
    return NULL;
}

/* ------------------------------------------------------------------------------------------------
 * The child
 */
static void expect_forked(int code, const char *call) {
    check(code == RN_FORKED, "in a child %s gave %s", call, rn_code_name(code));
}

static void ask_of_parent(rn_future *future) {
    expect_forked(rn_wait(future, -1), "rn_wait");
    expect_forked(rn_wait(future, RN_SECONDS(1)), "rn_wait with a limit");
    expect_forked(rn_error_code(rn_result(future)), "rn_result");
    expect_forked(rn_error_code(rn_result_within(future, 0)), "rn_result_within");
    expect_forked(rn_add_done_callback(future, done_at_home, NULL), "rn_add_done_callback");
    rn_state(future);
    rn_progress(future);
    rn_cancel(future);
    rn_stop(future);
    rn_release(future);
}

static void ask_of_runtime(rn_runtime *runtime) {
    rn_run_info info;
    rn_stats stats = {.size = sizeof stats};
    rn_future *refused = rn_run(runtime, runs_at_home, .arg = rn_int(getpid()));
    expect_forked(rn_error_code(rn_result(refused)), "rn_run");
    rn_release(refused);
    expect_forked(rn_run_detached(runtime, runs_at_home, .arg = rn_int(getpid())), "rn_run_detached");
    expect_forked((int)rn_pending(runtime, &info, 1), "rn_pending");
    expect_forked(rn_get_stats(runtime, &stats), "rn_get_stats");
    expect_forked(rn_close(runtime), "rn_close");
}

static void run_own(pid_t home) {
    rn_runtime *own = rn_open(.workers = 2, .log = rn_log_nothing);
    rn_future *futures[BATCH];
    check(rn_is_none(rn_open_error(own)), "a child could not open a runtime");
    for (int i = 0; i < BATCH; i++)
        futures[i] = rn_run(own, runs_at_home, .arg = rn_int(home), .start_in = i % 2 ? RN_MICROSECONDS(50) : 0);
    for (int i = 0; i < BATCH; i++) {
        check(rn_kind(rn_result(futures[i])) == RN_INT, "a task of a child failed");
        rn_release(futures[i]);
    }
    check(rn_close(own) == RN_OK, "a child could not close its runtime");
}

static void use_api(void) {
    uint64_t broken = proof_broken();
    ask_of_parent(handles.done);
    ask_of_parent(handles.waiting);
    ask_of_parent(handles.running);
    ask_of_parent(handles.cancelled);
    ask_of_runtime(handles.runtime);
    /* AddressSanitizer's allocator does not survive fork() in a program with threads: a lock of it may stay held. */
    if (!UNDER_ASAN)
        run_own(getpid());
    fflush(NULL);
    _exit(proof_broken() == broken ? 0 : CHILD_BROKEN);
}

static void act_in_child(enum act act) {
    if (proof_canary && act == EXITS)
        gate_wait(&handles.gate);
    if (proof_canary && act == ENDS_AT_ONCE)
        run_own(getppid());
    switch (act) {
    case ENDS_AT_ONCE:
        _exit(0);
    case EXITS:
        exit(0);
    case USES_API:
        use_api();
        break;
    case EXECUTES:
        execl("/bin/true", "true", (char *)NULL);
        break;
    case ACT_COUNT:
        break;
    }
    _exit(CHILD_BROKEN);
}

/* ------------------------------------------------------------------------------------------------
 * The forks
 */
static void pass_a_random_moment(struct dice *dice) {
    struct timespec moment = {0, (long)roll_below(dice, 1500000)};
    nanosleep(&moment, NULL);
}

static void fork_once(struct dice *dice) {
    static unsigned canaries;
    enum act act = (enum act)(proof_canary ? canaries++ : roll_below(dice, ACT_COUNT));
    char text[40];
    pass_a_random_moment(dice);
    pid_t child = fork();
    if (child == 0)
        act_in_child(act);
    if (!check(child > 0, "fork: errno %d", errno))
        return;
    struct ending ending = child_await(child, proof_canary ? 2 : CHILD_LIMIT_S);
    bool good = !ending.hung && WIFEXITED(ending.status) && WEXITSTATUS(ending.status) == 0;
    check(good, "a child with %s: %s", act_names[act], ending_text(ending, text, sizeof text));
}

static rn_value fork_in_task(rn_call *call) {
    fork_once(rn_as_pointer(rn_arg(call)));
    return rn_none();
}

static rn_value fork_in_hook(rn_call *call, rn_value success, rn_value error) {
    (void)success;
    (void)error;
    fork_once(rn_as_pointer(rn_arg(call)));
    return rn_none();
}

static rn_value nothing(rn_call *call) {
    (void)call;
    return rn_none();
}

/* One fork in two comes from a thread of the library, which in the child is the only one. */
static void fork_somewhere(struct dice *dice) {
    uint64_t place = proof_canary ? 0 : roll_below(dice, 4);
    if (place < 2) {
        fork_once(dice);
        return;
    }
    rn_value arg = rn_pointer(dice);
    rn_future *future = place == 2 ? rn_run(handles.runtime, fork_in_task, .arg = arg)
                                   : rn_run(handles.runtime, nothing, .arg = arg, .on_finished = fork_in_hook);
    check(rn_wait(future, -1) == RN_OK, "a task that forks did not end");
    rn_release(future);
}

static void take_handles(void) {
    handles.runtime = rn_open(.workers = 3, .log = rn_log_nothing, .name = "parent");
    handles.done = start(handles.runtime);
    handles.running = rn_run(handles.runtime, at_gate, .arg = rn_pointer(&handles.gate));
    handles.waiting = rn_run(handles.runtime, runs_at_home, .arg = rn_int(getpid()), .start_in = RN_HOURS(1));
    handles.cancelled = rn_run(handles.runtime, runs_at_home, .arg = rn_int(getpid()), .start_in = RN_HOURS(1));
    check(rn_cancel(handles.cancelled), "the run to cancel was not cancelled");
    check(rn_wait(handles.done, -1) == RN_OK, "the first task did not end");
}

static void give_handles_back(void) {
    gate_open(&handles.gate);
    check(rn_kind(rn_result(handles.running)) == RN_INT, "the parent's running task failed");
    check(rn_cancel(handles.waiting), "the parent's waiting run could not be cancelled");
    rn_release(handles.done);
    rn_release(handles.running);
    rn_release(handles.waiting);
    rn_release(handles.cancelled);
    check(rn_close(handles.runtime) == RN_OK, "the parent's runtime did not close");
}

static void fork_often(uint64_t forks) {
    pthread_t users[USERS];
    struct dice dice = dice_of(0);
    unsigned user_count = proof_canary ? 0 : USERS;
    for (uintptr_t i = 0; i < user_count; i++)
        check(pthread_create(&users[i], NULL, user, (void *)i) == 0, "no thread for a user");
    for (uint64_t i = 0; i < forks; i++) {
        fork_somewhere(&dice);
        proof_case();
    }
    atomic_store(&users_end, true);
    for (unsigned i = 0; i < user_count; i++)
        pthread_join(users[i], NULL);
}

int main(int argc, char **argv) {
    proof_begin(argc, argv, "T8");
    if (UNDER_TSAN) {
        puts("T8: skipped: ThreadSanitizer does not support threads in the child of a program with threads");
        return EXIT_SKIPPED;
    }
    guard_against_hang(proof_torture ? 3000 : 300);
    setvbuf(stdout, NULL, _IONBF, 0);
    ledger = shared_pages(sizeof *ledger);
    take_handles();
    fork_often(proof_canary ? ACT_COUNT : proof_amount(200, 2000));
    give_handles_back();
    if (proof_canary)
        return proof_broken() == 1 && atomic_load(&ledger->strays) == BATCH ? 1 : 0;
    check(atomic_load(&started) == atomic_load(&ran), "%llu tasks were started, %llu ran",
          (unsigned long long)atomic_load(&started), (unsigned long long)atomic_load(&ran));
    check(atomic_load(&ledger->strays) == 0, "%d tasks ran in a child", (int)atomic_load(&ledger->strays));
    return proof_end("forks");
}
