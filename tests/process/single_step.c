/*
 * P1: SIGKILL after every instruction. A tracer takes a worker process, or the zygote, instruction by instruction along
 * one path, and kills it after k of them, for each k in turn (in CI: for some of them, beginning anywhere).
 *
 *   a run        from the idle worker's waking over the run and its answer to its sleep
 *   a start      from the worker's birth in the zygote's fork to its first run
 *   an end       from the message that says so to the worker's exit
 *   a large run  as a run, with an argument and a result that go through the ring
 *   a fork       of the zygote, from the death of one worker over the request for the next to its answer
 *
 * The ledger (see kills.c) is the judge: no run is lost, none is executed twice, none hangs, none has a wrong result, and only a run
 * that had begun says that it crashed. A run that waits behind it notices nothing.
 *
 *     single_step [--canary] [--path=N]     the figure comes last; the canary counts an execution twice
 */
#include <errno.h>
#include <fcntl.h>
#include <runium.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ledger.h"
#include "support.h"

#if !defined(__x86_64__)
int main(void) {
    puts("P1: not on this machine");
    return EXIT_SKIPPED;
}
#else

enum { RUNS_MAX = 1 << 20 };

struct ledger {
    atomic_uint executions[RUNS_MAX];
    atomic_int process; /* of the run executed last */
};
_Static_assert(sizeof(struct ledger) <= LEDGER_BYTES, "it fits its pages");
#define ledger ((struct ledger *)ledger_pages)

/* ------------------------------------------------------------------------------------------------
 * The tracer, a process of its own
 */
enum how {
    STEP_IT,      /* that process, from where it is */
    STEP_ITS_CHILD /* the next that it forks, from its birth */
};

struct order {
    enum how how;
    pid_t process;
    uint64_t steps; /* then it is killed */
    bool until_it_sleeps;
};

struct report {
    bool is_taken;  /* first report: it is in the tracer's hands */
    uint64_t steps; /* second report: made, before its end or its sleep */
    bool has_slept; /* it came to wait for a message again */
};

static int orders[2], reports[2];

static bool await_stop(pid_t process, int *status) {
    pid_t got;
    do got = waitpid(process, status, __WALL);
    while (got < 0 && errno == EINTR);
    return got == process && WIFSTOPPED(*status);
}

/* Whether its next instruction is a wait on a futex without an end. */
static bool falls_asleep(pid_t process) {
    struct user_regs_struct registers;
    if (ptrace(PTRACE_GETREGS, process, NULL, &registers) != 0 || registers.rax != SYS_futex) return false;
    long code = ptrace(PTRACE_PEEKTEXT, process, (void *)registers.rip, NULL);
    bool waits = (registers.rsi & 0x7f) == 0 || (registers.rsi & 0x7f) == 9;
    return (code & 0xffff) == 0x050f && waits && registers.r10 == 0;
}

enum { RESTARTED = 200 }; /* steps before which a sleep is the one that it was taken in */

/* Takes that many steps. False: it has ended before. */
static bool step(const struct order *order, pid_t process, struct report *report) {
    int status, signal = 0;
    while (report->steps < order->steps) {
        bool looks = order->until_it_sleeps && report->steps > RESTARTED;
        if (looks && falls_asleep(process)) {
            report->has_slept = true;
            return true;
        }
        if (ptrace(PTRACE_SINGLESTEP, process, NULL, (void *)(intptr_t)signal) != 0) return false;
        if (!await_stop(process, &status)) return false;
        signal = WSTOPSIG(status) == SIGTRAP || status >> 16 ? 0 : WSTOPSIG(status);
        report->steps += signal == 0;
    }
    return true;
}

static void end(pid_t process) {
    int status;
    kill(process, SIGKILL);
    while (waitpid(process, &status, __WALL) == process && WIFSTOPPED(status)) {
    }
}

static void tell(const struct report *report) {
    if (write(reports[1], report, sizeof *report) != sizeof *report) _exit(1);
}

static void step_it(const struct order *order) {
    struct report report = {false, 0, false};
    int status;
    report.is_taken = ptrace(PTRACE_SEIZE, order->process, NULL, NULL) == 0 &&
                      ptrace(PTRACE_INTERRUPT, order->process, NULL, NULL) == 0 && await_stop(order->process, &status);
    tell(&report);
    if (!report.is_taken) return;
    (void)step(order, order->process, &report);
    end(order->process);
    tell(&report);
}

/* Lets the parent go on until it has forked. */
static pid_t await_child(pid_t parent) {
    unsigned long child = 0;
    int status;
    while (child == 0 && await_stop(parent, &status)) {
        int event = status >> 16;
        if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_CLONE || event == PTRACE_EVENT_VFORK)
            ptrace(PTRACE_GETEVENTMSG, parent, NULL, &child);
        int signal = event || WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
        if (child == 0) ptrace(PTRACE_CONT, parent, NULL, (void *)(intptr_t)signal);
    }
    return (pid_t)child;
}

static void step_its_child(const struct order *order) {
    struct report report = {false, 0, false};
    intptr_t options = PTRACE_O_TRACEFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEVFORK;
    int status;
    report.is_taken = ptrace(PTRACE_SEIZE, order->process, NULL, (void *)options) == 0;
    tell(&report);
    if (!report.is_taken) return;
    pid_t child = await_child(order->process);
    ptrace(PTRACE_DETACH, order->process, NULL, NULL);
    if (child > 0 && await_stop(child, &status)) {
        (void)step(order, child, &report);
        end(child);
    }
    tell(&report);
}

static void trace(void) {
    struct order order;
    while (read(orders[0], &order, sizeof order) == sizeof order) {
        if (order.how == STEP_IT) step_it(&order);
        else step_its_child(&order);
    }
    _exit(0);
}

static bool start_tracer(void) {
    if (pipe2(orders, O_CLOEXEC) != 0 || pipe2(reports, O_CLOEXEC) != 0) return false;
    pid_t tracer = fork();
    if (tracer != 0) {
        close(orders[0]);
        close(reports[1]);
        return tracer > 0;
    }
    close(orders[1]);
    close(reports[0]);
    trace();
    return false;
}

static struct report next_report(void) {
    struct report report = {false, 0, false};
    check(read(reports[0], &report, sizeof report) == sizeof report, "the tracer reports");
    return report;
}

static bool send_order(struct order order) {
    check(write(orders[1], &order, sizeof order) == sizeof order, "the tracer gets its order");
    return check(next_report().is_taken, "the tracer takes process %d", (int)order.process);
}

/* ------------------------------------------------------------------------------------------------
 * The host
 */
static rn_runtime *host;
static int64_t next_run;
static uint64_t crashed;

static bool is_large; /* the runs: what they carry goes through the ring, just so */

static rn_value value_for(int64_t number) {
    static int64_t bytes[17000 / 8];
    bytes[0] = number;
    return is_large ? rn_bytes(bytes, sizeof bytes) : rn_int(number);
}

static int64_t number_of(rn_value value) {
    if (rn_kind(value) == RN_INT) return rn_as_int(value);
    return rn_kind(value) == RN_BYTES ? *(const int64_t *)rn_as_bytes(value) : -1;
}

static rn_value work(rn_call *call) {
    int64_t number = number_of(rn_arg(call));
    atomic_fetch_add(&ledger->executions[number], 1);
    atomic_store(&ledger->process, getpid());
    return rn_kind(rn_arg(call)) == RN_INT ? rn_int(number * 3 + 1) : rn_keep(rn_arg(call));
}

static rn_value whose_child(rn_call *call) {
    (void)call;
    return rn_int((int64_t)getppid() << 32 | getpid());
}

static void open_host(void) {
    host = rn_open(.executor = RN_PROCESSES, .workers = 1, .quarantine = 1000000000, .respawn_rate = 1000000, .log = rn_log_nothing);
    check(rn_is_none(rn_open_error(host)), "the host opens");
}

struct who {
    pid_t worker, zygote;
};

static struct who who_works(void) {
    for (unsigned tries = 0; tries < 5; tries++) {
        rn_future *future = rn_run(host, whose_child);
        rn_value result = rn_result(future);
        int64_t both = rn_kind(result) == RN_INT ? rn_as_int(result) : 0;
        rn_release(future);
        if (both) return (struct who){(pid_t)(both & INT32_MAX), (pid_t)(both >> 32)};
    }
    check(false, "a worker can be had");
    return (struct who){0, 0};
}

static rn_future *start_run(void) { return rn_run(host, work, .arg = value_for(next_run++)); }

/* may_crash: it may have been at work in the one that was killed. True: it was. */
static bool judge(rn_future *future, int64_t number, bool may_crash, const char *path, uint64_t steps) {
    rn_value result = rn_result(future);
    unsigned executions = atomic_load(&ledger->executions[number]);
    if (proof_canary && number == 0) executions++;
    bool is_right = number_of(result) == (is_large ? number : number * 3 + 1);
    bool is_crash = rn_is_error(result) && rn_error_code(result) == RN_CRASHED;
    crashed += is_crash;
    check(executions <= 1, "%s, %llu steps: run %lld is executed %u times", path, (unsigned long long)steps, (long long)number,
          executions);
    check(is_right ? executions == 1 : is_crash && may_crash, "%s, %llu steps: run %lld is told as it was: %s", path,
          (unsigned long long)steps, (long long)number, rn_is_error(result) ? rn_error_message(result) : "a value");
    rn_release(future);
    return is_crash;
}

/* One run for the process that is traced, and one behind it, which it gets next. One of them may crash, not both. */
static void play_runs(const char *path, uint64_t steps) {
    int64_t first = next_run;
    rn_future *one = start_run(), *other = start_run();
    bool has_crashed = judge(one, first, true, path, steps);
    (void)judge(other, first + 1, !has_crashed, path, steps);
}

static uint64_t play_run(const char *path, uint64_t steps, bool measure) {
    struct who who = who_works();
    if (!send_order((struct order){STEP_IT, who.worker, steps, measure})) return 0;
    play_runs(path, steps);
    kill(who.worker, SIGKILL); /* if it sleeps */
    return next_report().steps;
}

static uint64_t play_large(const char *path, uint64_t steps, bool measure) {
    is_large = true;
    uint64_t made = play_run(path, steps, measure);
    is_large = false;
    return made;
}

static uint64_t play_start(const char *path, uint64_t steps, bool measure) {
    struct who who = who_works();
    if (!send_order((struct order){STEP_ITS_CHILD, who.zygote, steps, measure})) return 0;
    kill(who.worker, SIGKILL);
    play_runs(path, steps);
    struct who now = measure ? (struct who){0, 0} : who_works();
    if (now.worker) kill(now.worker, SIGKILL); /* if it is the traced one, and sleeps */
    return next_report().steps;
}

static uint64_t play_end(const char *path, uint64_t steps, bool measure) {
    struct who who = who_works();
    if (!send_order((struct order){STEP_IT, who.worker, steps, measure})) return 0;
    check(rn_close(host) == RN_OK, "%s, %llu steps: the host closes", path, (unsigned long long)steps);
    uint64_t made = next_report().steps;
    check(kill(who.worker, 0) != 0 && kill(who.zygote, 0) != 0, "%s, %llu steps: nobody is left", path, (unsigned long long)steps);
    open_host();
    return made;
}

static uint64_t play_fork(const char *path, uint64_t steps, bool measure) {
    struct who who = who_works();
    if (!send_order((struct order){STEP_IT, who.zygote, steps, measure})) return 0;
    kill(who.worker, SIGKILL);
    play_runs(path, steps);
    kill(who.zygote, SIGKILL); /* if it sleeps */
    return next_report().steps;
}

static struct path {
    const char *name;
    uint64_t (*play)(const char *path, uint64_t steps, bool measure);
    unsigned in_ci;
} paths[] = {{"a run", play_run, 30}, {"a start", play_start, 8}, {"an end", play_end, 6}, {"a fork", play_fork, 6},
             {"a large run", play_large, 6}};

enum { LONGEST = 400000 };

static void play_path(const struct path *path, struct dice *dice) {
    uint64_t length = path->play(path->name, LONGEST, true);
    uint64_t stride = length / (proof_torture ? 10000 : path->in_ci) + 1;
    uint64_t first = 1 + roll_below(dice, stride), before = proof_good();
    printf("P1: %s: %llu instructions, every %lluth from %llu on\n", path->name, (unsigned long long)length,
           (unsigned long long)stride, (unsigned long long)first);
    check(length > 100 && length < LONGEST, "%s can be followed", path->name);
    for (uint64_t steps = first; steps <= length && next_run + 8 < RUNS_MAX; steps += stride) {
        (void)path->play(path->name, steps, false);
        proof_case();
    }
    printf("P1: %s: %llu kills\n", path->name, (unsigned long long)(proof_good() - before));
}

int main(int argc, char **argv) {
    proof_begin(argc, argv, "P1");
    guard_against_hang(proof_torture ? 14000 : 280);
    struct dice dice = dice_of(0);
    const char *only = proof_option("--path");
    if (!ledger_make() || !start_tracer()) return 2;
    open_host();
    for (unsigned i = 0; i < sizeof paths / sizeof paths[0]; i++)
        if (only ? (unsigned)atoi(only) == i : !proof_canary || i == 0) play_path(&paths[i], &dice);
    check(rn_close(host) == RN_OK, "the host closes");
    printf("P1: %lld runs, %llu crashed, each told once\n", (long long)next_run, (unsigned long long)crashed);
    return proof_end("instruction boundaries");
}

#endif
