/*
 * T8 for worker processes: the program forks, at rest and at random moments while worker processes die and are replaced.
 *
 * In a child nothing of the runtime's is left, neither descriptors nor mailboxes, and nothing else was closed; handles
 * say RN_FORKED, and runtimes of its own work. When the program is killed its worker processes end, whatever children of
 * it live on. In a child of a task, nothing of the worker's is left.
 *
 *     forks     the last line is the figure; RUNIUM_TORTURE=1: more forks
 *
 * --canary: a child opens a descriptor more, and the test must fail.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <runium.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support.h"

enum { CHURNERS = 3, OWN_MAX = 16, CHILD_BROKEN = 3 };

static void sleep_ns(long nanoseconds) {
    const struct timespec moment = {0, nanoseconds};
    nanosleep(&moment, NULL);
}

/* ------------------------------------------------------------------------------------------------
 * What a process has
 */
static unsigned count_mappings(const char *name) {
    char line[512];
    unsigned count = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps && fgets(line, sizeof line, maps)) count += strstr(line, name) != NULL;
    if (maps) fclose(maps);
    return count;
}

static unsigned descriptors_before; /* the runtime */

static void look_for_leftovers(void) {
    unsigned descriptors = proc_entries("/proc/self/fd"), mailboxes = count_mappings("memfd:runium");
    check(descriptors == descriptors_before, "a child has %u descriptors, not %u", descriptors, descriptors_before);
    check(mailboxes == 0, "a child has %u mailboxes", mailboxes);
}

/* ------------------------------------------------------------------------------------------------
 * Tasks
 */
static rn_value work(rn_call *call) {
    int64_t number = rn_as_int(rn_arg(call));
    if (number % 3 == 2) kill(getpid(), SIGKILL);
    return rn_int(number);
}

static rn_value parent_of(rn_call *call) {
    (void)call;
    return rn_int(getppid());
}

/* In a worker process: its child has the three standard descriptors, and what constructors opened. */
static rn_value count_in_child(rn_call *call) {
    (void)call;
    unsigned here = proc_entries("/proc/self/fd"), mailboxes = count_mappings("memfd:runium");
    pid_t child = fork();
    if (child == 0) _exit(proc_entries("/proc/self/fd") < here && mailboxes > 0 && count_mappings("memfd:runium") == 0 ? 0 : 1);
    int status = 1;
    waitpid(child, &status, 0);
    return rn_int(status);
}

static bool is_expected(rn_value result, int64_t number) {
    if (number % 3 == 2) return rn_is_error(result) && rn_error_code(result) == RN_CRASHED;
    return rn_kind(result) == RN_INT && rn_as_int(result) == number;
}

static void run_some(rn_runtime *runtime, int64_t count) {
    rn_future *futures[8];
    for (int64_t i = 0; i < count; i++) futures[i] = rn_run(runtime, work, .arg = rn_int(i));
    for (int64_t i = 0; i < count; i++) {
        rn_value result = rn_result(futures[i]);
        char text[300];
        rn_format(result, text, sizeof text);
        check(is_expected(result, i), "task %d: %s", (int)i, text);
        rn_release(futures[i]);
    }
}

/* ------------------------------------------------------------------------------------------------
 * Children
 */
static rn_runtime *parents;
static rn_future *parents_future;

static void use_api(void) {
    check(rn_error_code(rn_result(parents_future)) == RN_FORKED, "a future of the parent is not RN_FORKED");
    check(rn_close(parents) == RN_FORKED, "a runtime of the parent is not RN_FORKED");
    rn_runtime *own = rn_open(.executor = RN_PROCESSES, .workers = 1, .log = rn_log_nothing);
    check(rn_is_none(rn_open_error(own)), "a child could not open a runtime: %s",
          rn_is_none(rn_open_error(own)) ? "" : rn_error_message(rn_open_error(own)));
    run_some(own, 4);
    check(rn_close(own) == RN_OK, "a child could not close its runtime");
}

_Noreturn static void end_child(uint64_t broken) {
    fflush(NULL);
    _exit(proof_broken() == broken ? 0 : CHILD_BROKEN);
}

static void expect_good(pid_t child) {
    char text[40];
    struct ending ending = child_await(child, 60);
    bool good = !ending.hung && WIFEXITED(ending.status) && WEXITSTATUS(ending.status) == 0;
    check(good, "a child: %s", ending_text(ending, text, sizeof text));
}

/* How often this process's other threads have given up their processors; 0 while one of them runs. */
static uint64_t sleeps_of_others(void) {
    uint64_t sum = 1;
    DIR *threads = opendir("/proc/self/task");
    for (struct dirent *entry; threads && (entry = readdir(threads));) {
        char path[300], line[200], state = 'S';
        unsigned long long sleeps = 0;
        if (entry->d_name[0] == '.' || atoi(entry->d_name) == gettid()) continue;
        snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
        FILE *status = fopen(path, "re");
        while (status && fgets(line, sizeof line, status))
            (void)(sscanf(line, "State: %c", &state) || sscanf(line, "voluntary_ctxt_switches: %llu", &sleeps));
        if (status) fclose(status);
        if (state != 'S') sum = 0;
        if (sum > 0) sum += sleeps;
    }
    if (threads) closedir(threads);
    return sum;
}

/* Until all sleep, and have slept since they were looked at before: so none holds a lock of an allocator. */
static void await_rest(void) {
    for (uint64_t before = 0, now = sleeps_of_others(); now == 0 || now != before; now = sleeps_of_others()) {
        before = now;
        sleep_ns(1000000);
    }
}

/* Nothing is being made or ended meanwhile. */
static void fork_at_rest(void) {
    uint64_t broken = proof_broken();
    run_some(parents, 2);
    await_rest();
    pid_t child = fork();
    if (child == 0) {
        if (proof_canary) (void)open("/dev/null", O_RDONLY);
        look_for_leftovers();
        use_api();
        end_child(broken);
    }
    expect_good(child);
    run_some(parents, 2);
    proof_case();
}

/* ------------------------------------------------------------------------------------------------
 * Descriptors of the program, that come and go while worker processes do: so they get the numbers of those.
 *
 * The system copies the descriptors before the memory: what is opened in between is in the child's memory and not among
 * its descriptors. So what counts is what was written down before the fork, and is the same entry in the child.
 */
#define NONE UINT64_MAX

static struct churner {
    pthread_t thread;
    _Atomic uint64_t own[OWN_MAX]; /* serial and descriptor; written down when it is there, crossed out before it goes */
} churners[CHURNERS];
static uint64_t before_fork[CHURNERS * OWN_MAX];
static atomic_bool churning;
static struct stat null_facts;

static uint64_t entry_of(unsigned i) { return atomic_load(&churners[i / OWN_MAX].own[i % OWN_MAX]); }

static void *churn(void *argument) {
    struct churner *churner = argument;
    uint64_t serial = 0;
    for (unsigned i = 0; atomic_load(&churning); i = (i + 1) % OWN_MAX) {
        uint64_t former = atomic_exchange(&churner->own[i], NONE);
        if (former != NONE) close((int)(former & 0xffff));
        atomic_store(&churner->own[i], ++serial << 16 | (unsigned)open("/dev/null", O_RDONLY | O_CLOEXEC));
        sleep_ns(50000);
    }
    for (unsigned i = 0; i < OWN_MAX; i++)
        if (churner->own[i] != NONE) close((int)(churner->own[i] & 0xffff));
    return NULL;
}

static void look_for_losses(void) {
    for (unsigned i = 0; i < CHURNERS * OWN_MAX; i++) {
        uint64_t entry = entry_of(i);
        int fd = (int)(entry & 0xffff);
        struct stat facts = {0};
        if (entry == NONE || entry != before_fork[i]) continue;
        check(fstat(fd, &facts) == 0 && facts.st_rdev == null_facts.st_rdev, "a child has lost descriptor %d of the program", fd);
    }
}

static void *keep_busy(void *unused) {
    (void)unused;
    while (atomic_load(&churning)) run_some(parents, 6);
    return NULL;
}

/*
 * AddressSanitizer's allocator does not survive fork() at any moment: a lock of it may stay held in the child (mended in
 * LLVM 18, https://github.com/llvm/llvm-project/pull/75290). There a child uses the API if the fork was at rest.
 */
static void fork_often(uint64_t forks) {
    struct dice dice = dice_of(0);
    pthread_t busy[2];
    atomic_store(&churning, true);
    for (unsigned i = 0; i < CHURNERS * OWN_MAX; i++) atomic_store(&churners[i / OWN_MAX].own[i % OWN_MAX], NONE);
    for (unsigned i = 0; i < CHURNERS; i++) pthread_create(&churners[i].thread, NULL, churn, &churners[i]);
    for (unsigned i = 0; i < 2; i++) pthread_create(&busy[i], NULL, keep_busy, NULL);
    for (uint64_t i = 0; i < forks; i++) {
        sleep_ns((long)roll_below(&dice, 4000000));
        for (unsigned k = 0; k < CHURNERS * OWN_MAX; k++) before_fork[k] = entry_of(k);
        uint64_t broken = proof_broken();
        pid_t child = fork();
        if (child == 0) {
            look_for_losses();
            if (i % 20 == 0 && !UNDER_ASAN) use_api();
            end_child(broken);
        }
        expect_good(child);
        proof_case();
    }
    atomic_store(&churning, false);
    for (unsigned i = 0; i < CHURNERS; i++) pthread_join(churners[i].thread, NULL);
    for (unsigned i = 0; i < 2; i++) pthread_join(busy[i], NULL);
}

/* ------------------------------------------------------------------------------------------------
 * A host that is killed while a child of it lives on
 */
static bool await_end(int pidfd) {
    struct pollfd polled = {.fd = pidfd, .events = POLLIN};
    return pidfd >= 0 && poll(&polled, 1, 30000) == 1;
}

_Noreturn static void be_host(int line) {
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = 1);
    rn_future *future = rn_run(runtime, parent_of);
    rn_value result = rn_result(future);
    int told[2] = {rn_kind(result) == RN_INT ? (int)rn_as_int(result) : 0, 0};
    told[1] = fork();
    if (told[1] == 0)
        for (;;) pause();
    (void)!write(line, told, sizeof told);
    for (;;) pause();
}

static void host_dies_before_its_child(void) {
    int line[2], told[2] = {0, 0};
    if (!check(pipe2(line, O_CLOEXEC) == 0, "no pipe")) return;
    pid_t host = fork();
    if (host == 0) be_host(line[1]);
    close(line[1]);
    check(read(line[0], told, sizeof told) == sizeof told && told[0] > 0 && told[1] > 0, "the host said nothing");
    int zygote = told[0] > 0 ? pidfd_open(told[0], 0) : -1;
    kill(host, SIGKILL);
    check(await_end(zygote), "the zygote lives, though its host was killed");
    if (told[1] > 0) kill(told[1], SIGKILL);
    waitpid(host, NULL, 0);
    close(zygote);
    close(line[0]);
    proof_case();
}

int main(int argc, char **argv) {
    proof_begin(argc, argv, "T8 with worker processes");
    guard_against_hang(proof_torture ? 3000 : 150);
    check(stat("/dev/null", &null_facts) == 0, "no /dev/null");
    host_dies_before_its_child();
    descriptors_before = proc_entries("/proc/self/fd");
    parents = rn_open(.executor = RN_PROCESSES, .workers = 3, .quarantine = 1000000000, .respawn_rate = 1000000,
                      .log = rn_log_nothing);
    const rn_sandbox nothing_more = {.size = sizeof nothing_more};
    rn_runtime *sandboxed = rn_open(.executor = RN_PROCESSES, .workers = 1, .sandbox = &nothing_more, .capsules = "/tmp");
    rn_future *first = rn_run(sandboxed, work, .arg = rn_int(1));
    check(rn_kind(rn_result(first)) == RN_INT, "no task runs in a sandbox");
    rn_release(first);
    parents_future = rn_run(parents, count_in_child);
    check(rn_kind(rn_result(parents_future)) == RN_INT && rn_as_int(rn_result(parents_future)) == 0,
          "a child of a task has what its worker process has");
    for (unsigned i = 0; i < 5; i++) fork_at_rest();
    if (!proof_canary) fork_often(proof_amount(150, 5000));
    rn_release(parents_future);
    check(rn_close(sandboxed) == RN_OK, "the runtime with a sandbox did not close");
    check(rn_close(parents) == RN_OK, "the parent's runtime did not close");
    return proof_end("forks");
}
