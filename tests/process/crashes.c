/*
 * P3: every cause of death in every state that a worker process can be in. In each cell the log must name the cause of
 * the failure of the one that died, and hold the last words that it wrote to stderr; or, where nobody was at work, the
 * next run must not notice.
 *
 *     crashes [--canary]     the last line is the figure; the canary expects another cause, and must fail
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <runium.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "support.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* ------------------------------------------------------------------------------------------------
 * Causes
 */
static volatile int zero;

static void segv(void) { *(volatile int *)(uintptr_t)(0x18 + (unsigned)zero) = 1; }

static void bus(void) {
    int fd = memfd_create("empty", MFD_CLOEXEC);
    volatile char *page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    (void)page[0];
}

__attribute__((no_sanitize("undefined"))) static void fpe(void) { zero = 100 / zero; }
static void ill(void) { __builtin_trap(); }
static void kill_itself(void) { kill(getpid(), SIGKILL); }
static void term(void) { kill(getpid(), SIGTERM); }
static void trap(void) { raise(SIGTRAP); }
static void exit_0(void) { exit(0); }
static void exit_7(void) { exit(7); }
static void exit_3(void) { _exit(3); }

static void seccomp(void) {
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {.len = COUNT(steps), .filter = steps};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter);
    syscall(SYS_getppid);
}

static int sink_down(int depth) {
    volatile char frame[4096];
    frame[0] = (char)depth;
    return depth < 0 ? frame[0] : sink_down(depth + 1) + frame[0];
}

static void overflow(void) { zero = sink_down(0); }

static void burn(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_CPU, &limit);
    limit.rlim_cur = 1;
    setrlimit(RLIMIT_CPU, &limit);
    for (;;) zero = 0;
}

static void eat(void) {
    for (;;) {
        char *memory = malloc(1 << 20);
        if (memory) memset(memory, 1, 1 << 20);
    }
}

enum { BURN = 13, EAT = 14 };

#if UNDER_ASAN
#define IN_OVERFLOW ""
#else
#define IN_OVERFLOW "sink_down"
#endif

static const struct cause {
    const char *name;
    void (*die)(void);
    const char *says;
    const char *says_in_thread; /* where that differs */
} causes[] = {
    {"SIGSEGV", segv, "killed by SIGSEGV (11) at address 0x18: nothing is mapped there, in segv", NULL},
    {"SIGBUS", bus, "killed by SIGBUS (7) at address 0x", NULL},
#if defined(__x86_64__)
    {"SIGFPE", fpe, "killed by SIGFPE (8): integer division by zero, in fpe", NULL},
#else
    {"SIGFPE", fpe, "killed by SIGFPE (8)", NULL},
#endif
    {"SIGILL", ill, "killed by SIGILL (4)", NULL},
    {"SIGABRT", abort, "killed by SIGABRT (6)", NULL},
    {"SIGSYS", seccomp, "is not allowed (seccomp), in syscall, called by seccomp", NULL},
    {"SIGTRAP", trap, "killed by SIGTRAP (5)", NULL},
    {"SIGKILL", kill_itself, "killed by SIGKILL (9), not by Runium", NULL},
    {"SIGTERM", term, "killed by SIGTERM (15)", NULL},
    {"exit(0)", exit_0, "ended with exit(0)", NULL},
    {"exit(7)", exit_7, "ended with exit(7)", NULL},
    {"_exit(3)", exit_3, "ended with exit(3)", NULL},
    /* AddressSanitizer's own functions, which each call begins with, may be the ones that find no room. */
    {"stack overflow", overflow, "killed by SIGSEGV (11): stack overflow, in " IN_OVERFLOW, "killed by SIGSEGV (11)"},
    {"RLIMIT_CPU", burn, "killed by SIGXCPU (24): CPU time limit, in burn", NULL},
    {"out of memory", eat, "killed by SIGKILL (9): out of memory", NULL},
};

/* ------------------------------------------------------------------------------------------------
 * What runs in worker processes
 */
#define LAST_WORDS "these are the last words of it"

static void die(rn_value arg) {
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    int number = rn_kind(arg) == RN_BYTES ? *(const char *)rn_as_bytes(arg) : (int)rn_as_int(arg);
    fprintf(stderr, LAST_WORDS ": %s\n", causes[number].name);
    causes[number].die();
}

static rn_value die_now(rn_call *call) {
    die(rn_arg(call));
    return rn_none();
}

static rn_value die_in_hook(rn_call *call, rn_value success, rn_value error) {
    (void)success, (void)error;
    return die_now(call);
}

static rn_value die_in_success(rn_call *call, rn_value success) { return die_in_hook(call, success, rn_none()); }
static rn_value die_in_error(rn_call *call, rn_value error) { return die_in_hook(call, rn_none(), error); }

static rn_value die_in_second(rn_call *call) {
    if (rn_iteration(call) == 2) die(rn_arg(call));
    return rn_none();
}

static rn_value die_in_second_hook(rn_call *call, rn_value success, rn_value error) {
    (void)success, (void)error;
    return die_in_second(call);
}

static rn_value succeed(rn_call *call) { return rn_int(rn_iteration(call) > 0 ? getpid() : 0); }
static rn_value fail(rn_call *call) { return rn_error(EIO, "as it should, in %s", rn_name(call)); }

static rn_value succeed_in_hook(rn_call *call, rn_value success, rn_value error) {
    (void)success, (void)error;
    return rn_text(rn_name(call));
}

static rn_value die_after_report(rn_call *call) {
    rn_report(call, 0.5);
    return die_now(call);
}

static rn_value die_after_question(rn_call *call) {
    rn_stats stats = {.size = sizeof stats};
    (void)rn_get_stats(rn_runtime_of(call), &stats);
    return die_now(call);
}

static rn_value die_after_wait(rn_call *call) {
    rn_future *other = rn_run(rn_runtime_of(call), succeed);
    (void)rn_result(other);
    rn_release(other);
    return die_now(call);
}

static rn_value die_before_wait(rn_call *call) {
    (void)!rn_run(rn_runtime_of(call), succeed);
    return die_now(call);
}

static rn_value wait_for_victim(rn_call *call) {
    rn_future *victim = rn_run(rn_runtime_of(call), die_now, .arg = rn_keep(rn_arg(call)), .name = "victim");
    rn_value result = rn_keep(rn_result(victim));
    rn_release(victim);
    return result;
}

static void die_in_callback(rn_future *future, void *number) {
    (void)future;
    die(rn_int((intptr_t)number));
}

static rn_value die_in_done_callback(rn_call *call) {
    rn_future *other = rn_run(rn_runtime_of(call), succeed);
    rn_add_done_callback(other, die_in_callback, (void *)(intptr_t)rn_as_int(rn_arg(call)));
    (void)rn_result(other);
    return rn_none();
}

static rn_value die_after_flood(rn_call *call) {
    for (int line = 0; line < 2000; line++) fprintf(stderr, "line %d, which is of no interest to anybody at all\n", line);
    return die_now(call);
}

static rn_value die_when_stopped(rn_call *call) {
    while (!rn_stopping(call)) {}
    return die_now(call);
}

static void *die_in_thread(void *number) {
    die(rn_int((intptr_t)number));
    return NULL;
}

static pthread_t start_thread(rn_call *call, void *(*function)(void *)) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, function, (void *)(intptr_t)rn_as_int(rn_arg(call))) != 0) _exit(99);
    return thread;
}

static rn_value die_beside(rn_call *call) {
    pthread_join(start_thread(call, die_in_thread), NULL);
    return rn_none();
}

static rn_value take_a_while(rn_call *call) {
    struct timespec pause = {0, 20000000};
    nanosleep(&pause, NULL);
    return rn_text(rn_name(call));
}

static rn_value die_while_it_waits(rn_call *call) {
    rn_future *other = rn_run(rn_runtime_of(call), take_a_while);
    pthread_t thread = start_thread(call, die_in_thread);
    (void)rn_result(other);
    pthread_join(thread, NULL);
    return rn_none();
}

static void *die_when_called(void *number) {
    sigset_t set;
    int signal;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigwait(&set, &signal);
    return die_in_thread(number);
}

/* Leaves a thread behind. */
static rn_value die_later(rn_call *call) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    start_thread(call, die_when_called);
    return rn_int(getpid());
}

/* ------------------------------------------------------------------------------------------------
 * The log: what became of the victim
 */
static struct {
    pthread_mutex_t lock;
    rn_value error; /* of the victim that died last, or none */
} noted = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void note(void *context, const rn_log_record *record) {
    (void)context;
    if (strcmp(record->task, "victim") != 0 || !rn_is_error(record->error)) return;
    if (rn_error_code(record->error) != RN_CRASHED) return;
    pthread_mutex_lock(&noted.lock);
    rn_drop(noted.error);
    noted.error = rn_keep(record->error);
    pthread_mutex_unlock(&noted.lock);
}

static rn_value take_noted(void) {
    pthread_mutex_lock(&noted.lock);
    rn_value error = noted.error;
    noted.error = rn_none();
    pthread_mutex_unlock(&noted.lock);
    return error;
}

/* ------------------------------------------------------------------------------------------------
 * States
 */
struct state {
    const char *name;
    rn_task task; /* the victim */
    void (*play)(rn_runtime *runtime, const struct state *state, rn_value arg); /* NULL: it is simply run */
    bool is_in_thread; /* not in the process's first */
    bool is_unnoticed;
};

static void end(rn_future *future) {
    (void)rn_wait(future, -1);
    rn_release(future);
}

static rn_future *start(rn_runtime *runtime, const struct state *state, rn_value arg) {
    rn_task task = state->task;
    task.size = sizeof task;
    task.name = "victim";
    task.arg = arg;
    return rn_submit(runtime, &task);
}

static void play_after_others(rn_runtime *runtime, const struct state *state, rn_value arg) {
    for (int i = 0; i < 20; i++) end(rn_run(runtime, succeed));
    end(start(runtime, state, arg));
}

/* Short runs go to a process many at a time. */
static void play_among_many(rn_runtime *runtime, const struct state *state, rn_value arg) {
    rn_future *futures[50];
    for (size_t i = 0; i < COUNT(futures); i++)
        futures[i] = i == 40 ? start(runtime, state, arg) : rn_run(runtime, succeed);
    for (size_t i = 0; i < COUNT(futures); i++) {
        check(i == 40 || rn_kind(rn_result(futures[i])) == RN_INT, "%s: run %zu noticed", state->name, i);
        end(futures[i]);
    }
}

static void play_inner(rn_runtime *runtime, const struct state *state, rn_value arg) {
    end(rn_run(runtime, state->task.function, .arg = arg));
}

static void play_with_large_argument(rn_runtime *runtime, const struct state *state, rn_value arg) {
    static char bytes[300000];
    bytes[0] = (char)rn_as_int(arg);
    end(start(runtime, state, rn_bytes(bytes, sizeof bytes)));
}

static void play_stopped(rn_runtime *runtime, const struct state *state, rn_value arg) {
    rn_future *victim = start(runtime, state, arg);
    while (!rn_running(victim)) sched_yield();
    rn_stop(victim);
    end(victim);
}

static bool is_there(pid_t process) { return kill(process, 0) == 0; }

static void play_idle(rn_runtime *runtime, const struct state *state, rn_value arg) {
    rn_future *victim = start(runtime, state, arg);
    rn_value result = rn_result(victim);
    struct timespec pause = {0, 1000000};
    pid_t process = rn_kind(result) == RN_INT ? (pid_t)rn_as_int(result) : 0;
    rn_release(victim);
    if (!check(process > 0, "%s: no process", state->name)) return;
    kill(process, SIGUSR1);
    while (is_there(process)) nanosleep(&pause, NULL);
    rn_future *next = rn_run(runtime, succeed, .name = "victim");
    result = rn_result(next);
    check(rn_kind(result) == RN_INT && rn_as_int(result) != process, "%s: the next run noticed", state->name);
    rn_release(next);
}

static rn_value hold_on(rn_call *call) {
    struct timespec pause = {0, 1000000};
    while (!rn_stopping(call)) nanosleep(&pause, NULL);
    return rn_none();
}

static void play_in_caller(rn_runtime *runtime, const struct state *state, rn_value arg) {
    rn_runtime *full = rn_open(.executor = RN_PROCESSES, .workers = 1, .spare_workers = 1, .queue_limit = 1, .log = note,
                               .when_full = RN_CALLER_RUNS, .quarantine = 1000000);
    (void)runtime;
    rn_future *holder = rn_run(full, hold_on);
    while (!rn_running(holder)) sched_yield();
    rn_future *queued = rn_run(full, succeed);
    end(start(full, state, arg));
    rn_stop(holder);
    end(holder);
    end(queued);
    rn_close(full);
}

static const struct state states[] = {
    {.name = "the first turn of a process", .task = {.function = die_now}},
    {.name = "a later turn of a process", .task = {.function = die_now}, .play = play_after_others},
    {.name = "a turn among many short ones", .task = {.function = die_now}, .play = play_among_many},
    {.name = "the second iteration", .task = {.function = die_in_second, .times = 2}},
    {.name = "the second tick", .task = {.function = die_in_second, .times = 2, .every = RN_MICROSECONDS(100)}},
    {.name = "on_iter", .task = {.function = succeed, .on_iter = die_in_hook}},
    {.name = "on_iter of the second iteration", .task = {.function = succeed, .times = 2, .on_iter = die_in_second_hook}},
    {.name = "on_success", .task = {.function = succeed, .on_success = die_in_success}},
    {.name = "on_error", .task = {.function = fail, .on_error = die_in_error}},
    {.name = "on_error, after the function died", .task = {.function = die_now, .on_error = die_in_error}},
    {.name = "on_finished", .task = {.function = succeed, .on_finished = die_in_hook}},
    {.name = "on_success, before another hook", .task = {.function = succeed, .on_iter = succeed_in_hook,
        .on_success = die_in_success, .on_finished = succeed_in_hook}},
    {.name = "a function with hooks", .task = {.function = die_now, .on_iter = succeed_in_hook, .on_finished = succeed_in_hook}},
    {.name = "a run that another waits for", .task = {.function = wait_for_victim}, .play = play_inner},
    {.name = "after a wait", .task = {.function = die_after_wait}},
    {.name = "with a run that it has started", .task = {.function = die_before_wait}},
    {.name = "after a question", .task = {.function = die_after_question}},
    {.name = "after a report", .task = {.function = die_after_report}},
    {.name = "a done callback", .task = {.function = die_in_done_callback}},
    {.name = "with a large argument", .task = {.function = die_now}, .play = play_with_large_argument},
    {.name = "after much on stderr", .task = {.function = die_after_flood}},
    {.name = "being stopped", .task = {.function = die_when_stopped}, .play = play_stopped},
    {.name = "another thread", .task = {.function = die_beside}, .is_in_thread = true},
    {.name = "another thread, during a wait", .task = {.function = die_while_it_waits}, .is_in_thread = true},
    {.name = "the caller's process", .task = {.function = die_now}, .play = play_in_caller},
    {.name = "idle", .task = {.function = die_later}, .play = play_idle, .is_in_thread = true, .is_unnoticed = true},
};

/* ------------------------------------------------------------------------------------------------
 * A control group for the ends of memory
 */
static char group[512], tasks_before[512];

static bool write_number(const char *folder, const char *name, long number) {
    char path[600], text[32];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    int length = snprintf(text, sizeof text, "%ld", number);
    bool done = fd >= 0 && write(fd, text, (size_t)length) == length;
    if (fd >= 0) close(fd);
    return done;
}

static bool is_member_of(const char *mount, const char *controllers, char *folder, size_t size) {
    char line[512];
    bool found = false;
    FILE *groups = fopen("/proc/self/cgroup", "re");
    while (groups && !found && fgets(line, sizeof line, groups)) {
        char *start = strstr(line, controllers);
        line[strcspn(line, "\n")] = '\0';
        found = start != NULL;
        if (found) snprintf(folder, size, "%s%s", mount, start + strlen(controllers));
    }
    if (groups) fclose(groups);
    return found;
}

static bool enter_group(const char *mount, const char *controllers, const char *limit, const char *members) {
    if (!is_member_of(mount, controllers, tasks_before, sizeof tasks_before - 32)) return false;
    snprintf(group, sizeof group, "%.480s/runium-%d", tasks_before, (int)getpid());
    strcat(tasks_before, "/");
    strcat(tasks_before, members);
    if (mkdir(group, 0700) != 0) return false;
    if (write_number(group, limit, 64 << 20) && write_number(group, members, getpid())) return true;
    rmdir(group);
    return false;
}

static bool make_group(void) {
    return enter_group("/sys/fs/cgroup/memory", ":memory:", "memory.limit_in_bytes", "cgroup.procs") ||
           enter_group("/sys/fs/cgroup", "0::", "memory.max", "cgroup.procs");
}

static void leave_group(void) {
    write_number(tasks_before, "", getpid());
    rmdir(group);
}

/* ------------------------------------------------------------------------------------------------
 * Cells
 */
static void judge(const struct state *state, const struct cause *cause) {
    static char text[1 << 17];
    rn_value error = take_noted();
    const char *says = state->is_in_thread && cause->says_in_thread ? cause->says_in_thread : cause->says;
    if (proof_canary && cause == causes) says = "killed by SIGBUS";
    rn_format(error, text, sizeof text);
    if (state->is_unnoticed) {
        check(!rn_is_error(error), "%s, %s: %s", state->name, cause->name, text);
    } else {
        check(strstr(text, says) != NULL, "%s, %s: \"%s\" expected in %s", state->name, cause->name, says, text);
        check(strstr(text, LAST_WORDS) != NULL, "%s, %s: no last words in %s", state->name, cause->name, text);
    }
    rn_drop(error);
    proof_case();
}

static void play(rn_runtime *runtime, const struct state *state, int number) {
    if (state->play) state->play(runtime, state, rn_int(number));
    else end(start(runtime, state, rn_int(number)));
    judge(state, &causes[number]);
}

/* Each takes a second of the machine. */
static bool is_left_out(size_t state, size_t cause, bool has_group) {
    if (cause == EAT) return !has_group;
    return cause == BURN && !proof_torture && state % 8 != 0;
}

static void silence(void) {
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(null, STDERR_FILENO);
    close(null);
}

int main(int argc, char **argv) {
    proof_begin(argc, argv, "P3");
    guard_against_hang(600);
    bool has_group = !UNDER_ASAN && make_group(); /* which alone takes what the group may have */
    if (!has_group) puts("# no control group can be made here: the ends of memory are left out");
    silence();
    for (size_t i = 0; i < COUNT(states) && !(proof_canary && i > 0); i++) {
        rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = 1, .spare_workers = 2, .log = note,
                                      .quarantine = 1000000, .respawn_rate = 1000000);
        for (size_t k = 0; k < COUNT(causes); k++)
            if (!is_left_out(i, k, has_group)) play(runtime, &states[i], (int)k);
        rn_close(runtime);
    }
    if (has_group) leave_group();
    return proof_end("deaths named");
}
