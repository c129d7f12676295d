/*
 * P14: the system refuses worker processes, or what they need, while runs go on. The pool goes on with those that
 * it has, says so once, and recovers as soon as the system gives more; no run is lost. With none at all runs fail, in the
 * end, with an error that says so. And workers that die are replaced no faster than they may be.
 *
 *     refused     the last line is the figure; --canary loses a run, and must fail
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <runium.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ledger.h"
#include "support.h"

enum { WORKERS = 4, RUNS = 300 };

struct notes {
    atomic_uint begun, warnings, infos, failures; /* failures: checks of a child */
};

static struct notes *notes(void) { return ledger_pages; }

/* A limit that leaves room for two workers; that leaves room for none; and its end. */
struct limit {
    const char *name;
    bool (*set_up)(void); /* before the runtime; false: not to be had here */
    void (*tighten)(unsigned workers);
    void (*lift)(void);
    void (*tear_down)(void);
};

static void count_records(void *context, const rn_log_record *record) {
    (void)context;
    if (record->level == RN_LOG_WARNING) atomic_fetch_add(&notes()->warnings, 1);
    if (record->level == RN_LOG_INFO) atomic_fetch_add(&notes()->infos, 1);
}

static void pause_for(long ns) {
    struct timespec time = {0, ns};
    nanosleep(&time, NULL);
}

static rn_value work(rn_call *call) {
    pause_for(200000);
    return rn_keep(rn_arg(call));
}

/* Ends when as many of it have begun as there are workers: then there are that many processes. */
static rn_value meet(rn_call *call) {
    atomic_fetch_add(&notes()->begun, 1);
    while (atomic_load(&notes()->begun) < WORKERS) pause_for(100000);
    return rn_keep(rn_arg(call));
}

static unsigned lost_of(rn_runtime *runtime, rn_task_fn *function, int runs) {
    static rn_future *futures[RUNS];
    unsigned lost = 0;
    for (int i = 0; i < runs; i++) futures[i] = rn_run(runtime, function, .arg = rn_int(i));
    for (int i = 0; i < runs; i++) {
        rn_value result = rn_result(futures[i]);
        bool is_good = rn_kind(result) == RN_INT && rn_as_int(result) == i && !(proof_canary && i == 7);
        if (!is_good && lost++ == 0 && rn_is_error(result)) printf("# %s\n", rn_error_message(result));
        rn_release(futures[i]);
    }
    return lost;
}

static unsigned workers_of(rn_runtime *runtime) {
    rn_stats stats = {.size = sizeof stats};
    return rn_get_stats(runtime, &stats) == RN_OK ? stats.workers : 0;
}

static void play(const struct limit *limit) {
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = WORKERS, .log = count_records);
    check(rn_is_none(rn_open_error(runtime)), "%s: the runtime did not open", limit->name);
    limit->tighten(2);
    unsigned lost = lost_of(runtime, work, RUNS), workers = workers_of(runtime);
    check(lost == 0, "%s: %u runs were lost", limit->name, lost);
    check(workers >= 1 && workers < WORKERS, "%s: %u workers", limit->name, workers);
    check(atomic_load(&notes()->warnings) == 1, "%s: %u warnings", limit->name, atomic_load(&notes()->warnings));
    limit->lift();
    check(lost_of(runtime, meet, WORKERS) == 0, "%s: it did not recover", limit->name);
    check(workers_of(runtime) == WORKERS, "%s: %u workers after it was lifted", limit->name, workers_of(runtime));
    check(atomic_load(&notes()->infos) == 1, "%s: %u infos", limit->name, atomic_load(&notes()->infos));
    check(rn_close(runtime) == RN_OK, "%s: the runtime did not close", limit->name);
}

static void play_without_any(const struct limit *limit) {
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = WORKERS, .log = count_records);
    limit->tighten(0);
    rn_future *future = rn_run(runtime, work, .arg = rn_int(1));
    rn_value result = rn_result(future);
    check(rn_is_error(result) && rn_error_code(result) == RN_NO_PROCESSES, "%s: a run without a worker", limit->name);
    rn_release(future);
    limit->lift();
    unsigned lost = lost_of(runtime, work, RUNS);
    check(lost == 0, "%s: %u runs were lost after there were no workers", limit->name, lost);
    check(rn_close(runtime) == RN_OK, "%s: the runtime did not close", limit->name);
}

/* ---- descriptors of the program ---- */

static struct rlimit files;

static bool note_files(void) { return getrlimit(RLIMIT_NOFILE, &files) == 0; }

/* Three stay open for a worker, and eight are while it is made. */
static void tighten_files(unsigned workers) {
    rlim_t end = 0;
    for (unsigned room = workers ? 3 * (workers - 1) + 8 : 0; room > 0; end++) room -= fcntl((int)end, F_GETFD) < 0;
    struct rlimit tight = {end, files.rlim_max};
    setrlimit(RLIMIT_NOFILE, &tight);
}

static void lift_files(void) { setrlimit(RLIMIT_NOFILE, &files); }
static void nothing(void) {}

/* ---- memory files: the system has no room in its table of files, or for their pages ---- */

enum { FILES_OF_WORKER = 3 };
static atomic_int files_left = INT_MAX, rooms_left = INT_MAX;

/* In the place of libc's, for the library too. */
int memfd_create(const char *name, unsigned flags);
__attribute__((visibility("default"))) int memfd_create(const char *name, unsigned flags) {
    if (atomic_load(&files_left) != INT_MAX && atomic_fetch_sub(&files_left, 1) <= 0) return errno = ENFILE, -1;
    return (int)syscall(SYS_memfd_create, name, flags);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t length);
__attribute__((visibility("default"))) int fallocate64(int fd, int mode, off64_t offset, off64_t length) {
    if (atomic_load(&rooms_left) != INT_MAX && atomic_fetch_sub(&rooms_left, 1) <= 0) return errno = ENOSPC, -1;
    return (int)syscall(SYS_fallocate, fd, mode, offset, length);
}

static bool has_no_limit(void) { return true; }
static void tighten_table(unsigned workers) { atomic_store(&files_left, FILES_OF_WORKER * (int)workers); }
static void lift_table(void) { atomic_store(&files_left, INT_MAX); }
static void tighten_room(unsigned workers) { atomic_store(&rooms_left, FILES_OF_WORKER * (int)workers); }
static void lift_room(void) { atomic_store(&rooms_left, INT_MAX); }

/* ---- processes, by a cgroup ---- */

static char cgroup[128];

static bool write_to(const char *file, const char *text) {
    char path[192];
    snprintf(path, sizeof path, "%s/%s", cgroup, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0) close(fd);
    return written;
}

static unsigned pids_now(void) {
    char path[192], text[32] = "";
    snprintf(path, sizeof path, "%s/pids.current", cgroup);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && read(fd, text, sizeof text - 1) < 0) text[0] = '\0';
    if (fd >= 0) close(fd);
    return (unsigned)atoi(text);
}

static bool enter_cgroup(void) {
    static const char *const roots[] = {"/sys/fs/cgroup/pids", "/sys/fs/cgroup"};
    for (int i = 0; i < 2; i++) {
        snprintf(cgroup, sizeof cgroup, "%s/runium-test-%d", roots[i], (int)getpid());
        if (mkdir(cgroup, 0755) != 0) continue;
        if (write_to("pids.max", "max") && write_to("cgroup.procs", "0")) return true;
        rmdir(cgroup);
    }
    return false;
}

static void tighten_pids(unsigned workers) {
    char text[16];
    snprintf(text, sizeof text, "%u", pids_now() + workers);
    check(write_to("pids.max", text), "pids.max cannot be written");
}

static void lift_pids(void) { check(write_to("pids.max", "max"), "pids.max cannot be written"); }

static void leave_cgroup(void) {
    char child[128];
    memcpy(child, cgroup, sizeof child);
    char *slash = strrchr(cgroup, '/');
    *slash = '\0';
    check(write_to("cgroup.procs", "0") && rmdir(child) == 0, "%s is left", child);
}

/* ---- processes, by a limit of the user ---- */

static int zygote_of(int host) {
    int found = 0;
    DIR *folder = opendir("/proc");
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        char path[280], text[256] = "";
        snprintf(path, sizeof path, "/proc/%s/stat", entry->d_name);
        int fd = open(path, O_RDONLY | O_CLOEXEC), keeper = 0, grandparent = 0;
        if (fd < 0) continue;
        ssize_t length = read(fd, text, sizeof text - 1);
        close(fd);
        if (length <= 0 || !strstr(text, "(runium-zygote)") || sscanf(strrchr(text, ')'), ") %*c %d", &keeper) != 1) continue;
        snprintf(path, sizeof path, "/proc/%d/stat", keeper);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) continue;
        length = read(fd, text, sizeof text - 1);
        close(fd);
        if (length > 0 && sscanf(strrchr(text, ')'), ") %*c %d", &grandparent) == 1 && grandparent == host) found = atoi(entry->d_name);
    }
    if (folder) closedir(folder);
    return found;
}

/* A user that runs nothing else. */
static bool become_nobody(void) {
    uid_t user = 60000 + (uid_t)getpid() % 5000;
    return getuid() == 0 && setresgid(user, user, user) == 0 && setresuid(user, user, user) == 0 &&
           prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0 && ledger_announce();
}

static void set_user_limit(rlim_t processes) {
    struct rlimit former, tight = {processes, RLIM_INFINITY};
    int zygote = zygote_of(getpid());
    if (zygote == 0 || prlimit(zygote, RLIMIT_NPROC, NULL, &former) != 0) {
        check(false, "no zygote to limit");
        return;
    }
    tight.rlim_max = former.rlim_max;
    check(prlimit(zygote, RLIMIT_NPROC, &tight, NULL) == 0, "RLIMIT_NPROC cannot be set");
}

/* The program and its threads (the workers', and the watcher), the keeper, the zygote. */
static void tighten_user(unsigned workers) { set_user_limit(1 + WORKERS + 1 + 2 + workers); }
static void lift_user(void) { set_user_limit(10000); }

/* ---- replacements ---- */

static rn_value die(rn_call *call) {
    atomic_fetch_add(&notes()->begun, 1);
    raise(SIGKILL);
    return rn_keep(rn_arg(call));
}

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* At 40 a second 100 take at least a second and a half: 40 at once, the rest one by one. Slower is no fault. */
static void workers_are_replaced_no_faster_than_they_may_be(void) {
    enum { RATE = 40, DEATHS = 100 };
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = 2, .log = rn_log_nothing, .respawn_rate = RATE,
                                  .quarantine = UINT32_MAX);
    rn_future *futures[DEATHS];
    int64_t begun = now_ns();
    for (int i = 0; i < DEATHS; i++) futures[i] = rn_run(runtime, die);
    for (int i = 0; i < DEATHS; i++) {
        check(rn_is_error(rn_result(futures[i])) && rn_error_code(rn_result(futures[i])) == RN_CRASHED, "death %d", i);
        rn_release(futures[i]);
    }
    int64_t taken = now_ns() - begun;
    /* The first two are no replacements. */
    check(taken >= RN_SECONDS(DEATHS - 2 - RATE) / RATE, "%d deaths in %lld ms", DEATHS, (long long)(taken / 1000000));
    check(atomic_load(&notes()->begun) == DEATHS, "%u deaths", atomic_load(&notes()->begun));
    check(rn_close(runtime) == RN_OK, "the runtime did not close");
}

/* ---- in children: their users, limits and cgroups are their own ---- */

static void play_in_child(void *context) {
    const struct limit *limit = context;
    uint64_t broken = proof_broken();
    memset(ledger_pages, 0, sizeof(struct notes));
    if (!limit->set_up()) _exit(EXIT_SKIPPED);
    play(limit);
    if (limit->tighten == tighten_files) play_without_any(limit);
    limit->tear_down();
    atomic_store(&notes()->failures, (unsigned)(proof_broken() - broken));
}

static const struct limit limits[] = {
    {"descriptors", note_files, tighten_files, lift_files, nothing},
    {"the system's table of files", has_no_limit, tighten_table, lift_table, nothing},
    {"room for shared memory", has_no_limit, tighten_room, lift_room, nothing},
    {"processes of a cgroup", enter_cgroup, tighten_pids, lift_pids, leave_cgroup},
    {"processes of a user", become_nobody, tighten_user, lift_user, nothing},
};

int main(int argc, char **argv) {
    proof_begin(argc, argv, "P14");
    guard_against_hang(150);
    if (!ledger_make()) return 2;
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        char text[64];
        struct ending ending = child_run(play_in_child, (void *)(uintptr_t)&limits[i], 100);
        bool is_skipped = !ending.hung && WIFEXITED(ending.status) && WEXITSTATUS(ending.status) == EXIT_SKIPPED;
        if (is_skipped) printf("# %s: not to be limited here\n", limits[i].name);
        else check(!ending.hung && ending.status == 0, "%s: %s", limits[i].name, ending_text(ending, text, sizeof text));
        if (!is_skipped) check(atomic_load(&notes()->failures) == 0, "%s: checks of the child failed", limits[i].name);
        if (!is_skipped) proof_case();
    }
    memset(ledger_pages, 0, sizeof(struct notes));
    workers_are_replaced_no_faster_than_they_may_be();
    proof_case();
    return proof_end("refusals were lived through");
}
