/*
 * P14 and P15 where the machine itself does not go on. A file system that is full: a crash capsule that finds no room leaves
 * nothing, the crash is told all the same, and the next capsule is whole again; a program's stderr that takes no more keeps no
 * run. A worker in a frozen control group: other runs go on; what is over its time ends when it is thawed, or before, and
 * is told so, and another worker is made.
 *
 *     stuck_places     the last line is the figure; --canary: nothing is frozen or filled, and it must fail
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <runium.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ledger.h"
#include "support.h"

enum { OTHERS = 50 };

static rn_runtime *open_runtime(unsigned workers, const char *capsules) {
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = workers, .log = rn_log_nothing, .grace = RN_MILLISECONDS(20),
                                  .capsules = capsules);
    check(rn_is_none(rn_open_error(runtime)), "the runtime did not open");
    return runtime;
}

static void close_it(rn_runtime *runtime) {
    check(rn_close(runtime) == RN_OK, "the runtime did not close");
    proof_case();
}

static int code_of(rn_future *future) {
    rn_value result = rn_result(future);
    int code = rn_is_error(result) ? rn_error_code(result) : RN_OK;
    rn_release(future);
    return code;
}

static bool write_text(const char *folder, const char *file, const char *text) {
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", folder, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool is_written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0) close(fd);
    return is_written;
}

/* ---- a full file system ---- */

static rn_value crash(rn_call *call) { return (void)call, raise(SIGSEGV), rn_none(); }

static rn_value complain(rn_call *call) {
    for (int i = 0; i < 64; i++) fprintf(stderr, "a line that is not wanted any more, number %d of run %lld\n", i,
                                         (long long)rn_as_int(rn_arg(call)));
    return rn_keep(rn_arg(call));
}

static unsigned entries(const char *folder, const char *but) {
    unsigned count = 0;
    DIR *opened = opendir(folder);
    for (struct dirent *entry; opened && (entry = readdir(opened));)
        count += entry->d_name[0] != '.' && strcmp(entry->d_name, but) != 0;
    if (opened) closedir(opened);
    return count;
}

/* What was written before it was full. */
static void fill(const char *path) {
    static const char zeros[4096];
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    while (fd >= 0 && !proof_canary && write(fd, zeros, sizeof zeros) > 0) {}
    if (fd >= 0) close(fd);
}

static void a_capsule_that_finds_no_room_leaves_nothing(const char *folder, const char *ballast) {
    rn_runtime *runtime = open_runtime(1, folder);
    check(code_of(rn_run(runtime, crash)) == RN_CRASHED && entries(folder, "ballast") == 1, "no capsule where there is room");
    fill(ballast);
    check(code_of(rn_run(runtime, crash)) == RN_CRASHED, "a crash was not told");
    check(entries(folder, "ballast") == 1, "%u files are left", entries(folder, "ballast"));
    unlink(ballast);
    check(code_of(rn_run(runtime, crash)) == RN_CRASHED, "a crash was not told");
    check(entries(folder, "ballast") == 2, "%u capsules with room again", entries(folder, "ballast"));
    close_it(runtime);
}

static void a_stderr_without_room_keeps_no_run(const char *folder, const char *ballast) {
    char path[256];
    (void)snprintf(path, sizeof path, "%s/stderr", folder);
    int former = dup(2), full = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    fill(ballast);
    dup2(full, 2);
    rn_runtime *runtime = open_runtime(2, NULL);
    rn_future *futures[OTHERS];
    for (int i = 0; i < OTHERS; i++) futures[i] = rn_run(runtime, complain, .arg = rn_int(i), .name = "complain");
    unsigned failed = 0;
    for (int i = 0; i < OTHERS; i++) failed += code_of(futures[i]) != RN_OK;
    int closed = rn_close(runtime);
    dup2(former, 2);
    check(failed == 0, "%u runs failed", failed);
    check(closed == RN_OK, "the runtime did not close");
    close(former);
    close(full);
    proof_case();
}

/* A file system of its own for this process alone. */
static bool mount_small(const char *folder) {
    if (unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
        mount("tmpfs", folder, "tmpfs", 0, "size=256k") == 0)
        return true;
    printf("# no small file system can be mounted here: %s\n", strerror(errno));
    return false;
}

static void without_room(void) {
    char folder[] = "/tmp/runium-full-XXXXXX", ballast[64];
    if (!check(mkdtemp(folder) != NULL, "no folder")) return;
    if (mount_small(folder)) {
        (void)snprintf(ballast, sizeof ballast, "%s/ballast", folder);
        a_capsule_that_finds_no_room_leaves_nothing(folder, ballast);
        a_stderr_without_room_keeps_no_run(folder, ballast);
        umount(folder);
    }
    rmdir(folder);
}

/* ---- a frozen control group ---- */

struct freezer {
    char folder[64];
    const char *root, *file, *frozen, *thawed;
    bool is_frozen_for_all; /* version 1: not even SIGKILL ends what is frozen */
};

static bool make_freezer(struct freezer *freezer) {
    static const struct freezer kinds[] = {{"", "/sys/fs/cgroup/freezer", "freezer.state", "FROZEN", "THAWED", true},
                                           {"", "/sys/fs/cgroup", "cgroup.freeze", "1", "0", false}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        *freezer = kinds[i];
        (void)snprintf(freezer->folder, sizeof freezer->folder, "%s/runium-frozen-%d", kinds[i].root, (int)getpid());
        if (mkdir(freezer->folder, 0755) != 0) continue;
        if (write_text(freezer->folder, freezer->file, freezer->thawed)) return true;
        rmdir(freezer->folder);
    }
    printf("# no control group can be frozen here: neither a freezer (version 1) nor cgroup.freeze (version 2) is to be had\n");
    return false;
}

#define process_at_work ((atomic_int *)ledger_pages)

static rn_value spin(rn_call *call) {
    (void)call;
    atomic_store(process_at_work, (int)getpid());
    for (volatile bool goes_on = true; goes_on;) {}
    return rn_none();
}

static rn_value give_back(rn_call *call) { return rn_keep(rn_arg(call)); }

static void await_frozen(const struct freezer *freezer) {
    char path[192], text[64] = "";
    (void)snprintf(path, sizeof path, "%s/%s", freezer->folder, freezer->is_frozen_for_all ? freezer->file : "cgroup.events");
    while (!strstr(text, freezer->is_frozen_for_all ? "FROZEN" : "frozen 1")) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t length = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
        text[length > 0 ? length : 0] = '\0';
        if (fd >= 0) close(fd);
        sched_yield();
    }
}

static void what_is_frozen_beyond_its_time_holds_up_nobody(const struct freezer *freezer) {
    char number[16];
    rn_runtime *runtime = open_runtime(2, NULL);
    rn_future *future = rn_run(runtime, spin, .timeout = RN_MILLISECONDS(2000));
    while (atomic_load(process_at_work) == 0 && !rn_done(future)) sched_yield();
    (void)snprintf(number, sizeof number, "%d", atomic_load(process_at_work));
    check(write_text(freezer->folder, "cgroup.procs", number), "the worker cannot be moved");
    if (!proof_canary) check(write_text(freezer->folder, freezer->file, freezer->frozen), "it cannot be frozen");
    if (!proof_canary) await_frozen(freezer);
    rn_future *futures[OTHERS];
    for (int i = 0; i < OTHERS; i++) futures[i] = rn_run(runtime, give_back, .arg = rn_int(i), .name = "other");
    for (int i = 0; i < OTHERS; i++) check(code_of(futures[i]) == RN_OK, "run %d failed", i);
    /* Until well after the last step, on the clock of the steps themselves. */
    check(code_of(rn_run(runtime, spin, .timeout = RN_MILLISECONDS(2200))) == RN_OVERTIME, "the other was not ended");
    if (freezer->is_frozen_for_all) check(!rn_done(future), "what is frozen has ended");
    check(write_text(freezer->folder, freezer->file, freezer->thawed), "it cannot be thawed");
    check(code_of(future) == RN_OVERTIME, "its end is not that of its time");
    check(code_of(rn_run(runtime, give_back, .arg = rn_int(1))) == RN_OK, "no worker is made again");
    close_it(runtime);
}

int main(int argc, char **argv) {
    proof_begin(argc, argv, "P14, P15");
    guard_against_hang(100);
    if (!ledger_make()) return 2;
    struct freezer freezer;
    if (make_freezer(&freezer)) {
        what_is_frozen_beyond_its_time_holds_up_nobody(&freezer);
        check(rmdir(freezer.folder) == 0, "%s is left: %s", freezer.folder, strerror(errno));
    }
    without_room();
    return proof_end("places that do not go on");
}
