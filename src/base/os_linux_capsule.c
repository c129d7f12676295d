/*
 * Files in a folder, limits, and exec; see os_capsule.h. A folder that was opened is the same one whatever its path
 * names later, and whatever folder the process works in.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "base/os_capsule.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/memory.h"

/* ------------------------------------------------------------------------------------------------
 * Files
 */
static int fit(const char *found, char *whole, size_t size) {
    size_t length = strlen(found);
    if (length >= size) return ENAMETOOLONG;
    memcpy(whole, found, length + 1);
    return 0;
}

int rni_os_whole_path(const char *path, char *whole, size_t size) {
    char found[PATH_MAX];
    return realpath(path, found) ? fit(found, whole, size) : errno;
}

int rni_os_current_folder(char *path, size_t size) { return getcwd(path, size) ? 0 : errno; }

int rni_os_open_folder(const char *path, int *folder, char *whole, size_t size) {
    int error = rni_os_whole_path(path, whole, size);
    if (error) return error;
    *folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *folder < 0 ? errno : 0;
}

int rni_os_make_file(int folder, const char *name, int *file) {
    *file = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return *file < 0 ? errno : 0;
}

int rni_os_write_file(int file, const void *bytes, size_t length) {
    const char *at = bytes;
    while (length > 0) {
        ssize_t written = write(file, at, length);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return errno;
        at += written;
        length -= (size_t)written;
    }
    return 0;
}

#define NOREPLACE 1u /* RENAME_NOREPLACE, which not every libc names */

/* Some file systems cannot say that there must be none: the name that is asked for is nobody else's anyway. */
int rni_os_rename_file(int folder, const char *from, const char *to) {
    if (syscall(SYS_renameat2, folder, from, folder, to, NOREPLACE) == 0) return 0;
    if (errno != EINVAL && errno != ENOSYS) return errno;
    return renameat(folder, from, folder, to) == 0 ? 0 : errno;
}

void rni_os_remove_file(int folder, const char *name) { (void)unlinkat(folder, name, 0); }

static int read_all(int file, unsigned char *bytes, size_t *length) {
    size_t done = 0;
    while (done < *length) {
        ssize_t got = read(file, bytes + done, *length - done);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return errno;
        if (got == 0) break; /* it became shorter */
        done += (size_t)got;
    }
    *length = done;
    return 0;
}

static int read_opened(int file, size_t most, unsigned char **bytes, size_t *length) {
    struct stat status;
    if (fstat(file, &status) != 0) return errno;
    if (S_ISDIR(status.st_mode)) return EISDIR;
    if (!S_ISREG(status.st_mode)) return EINVAL;
    if ((uint64_t)status.st_size > most) return EFBIG;
    *length = (size_t)status.st_size;
    *bytes = rni_alloc(*length + 1);
    if (!*bytes) return ENOMEM;
    int error = read_all(file, *bytes, length);
    if (error) rni_free(*bytes);
    return error;
}

int rni_os_read_file(const char *path, size_t most, unsigned char **bytes, size_t *length) {
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK); /* a FIFO would wait for its writer */
    if (file < 0) return errno;
    int error = read_opened(file, most, bytes, length);
    close(file);
    return error;
}

/* ------------------------------------------------------------------------------------------------
 * Limits
 */
static const int limits[] = {RLIMIT_AS, RLIMIT_DATA, RLIMIT_FSIZE, RLIMIT_MEMLOCK, RLIMIT_NOFILE, RLIMIT_STACK};

_Static_assert(sizeof limits / sizeof limits[0] == RNI_OS_LIMITS, "as many as the header says");

/* As the kernel has it, whatever the libc. All bits: no limit. */
struct limit {
    uint64_t soft, hard;
};

static bool ask_limit(unsigned number, const struct limit *wanted, struct limit *is) {
    return syscall(SYS_prlimit64, 0, limits[number], wanted, is) == 0;
}

uint64_t rni_os_limit(unsigned number) {
    struct limit is;
    return ask_limit(number, NULL, &is) ? is.soft : UINT64_MAX;
}

static void set_limit(unsigned number, uint64_t wanted) {
    struct limit is;
    if (!ask_limit(number, NULL, &is)) return;
    is.soft = wanted < is.hard ? wanted : is.hard;
    (void)ask_limit(number, &is, NULL);
}

/* ------------------------------------------------------------------------------------------------
 * Executing
 */
static void reset_signals(void) {
    sigset_t none;
    struct sigaction fallback = {.sa_handler = SIG_DFL};
    for (int number = 1; number < NSIG; number++) (void)sigaction(number, &fallback, NULL);
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

int rni_os_may_execute(const char *program) { return access(program, R_OK | X_OK) == 0 ? 0 : errno; }

int rni_os_execute(rni_os_execution *execution) {
    execution->refused = execution->folder;
    if (chdir(execution->folder) != 0) return errno;
    execution->refused = execution->program;
    reset_signals();
    for (unsigned i = 0; i < RNI_OS_LIMITS; i++) set_limit(i, execution->limits[i]);
    execve(execution->program, execution->arguments, execution->environment);
    return errno;
}

void rni_os_end_input(void) {
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (nothing <= 0) return;
    (void)dup2(nothing, STDIN_FILENO);
    close(nothing);
}
