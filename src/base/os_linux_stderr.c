#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/os_stderr.h"

_Static_assert(RNI_OS_STDERR == STDERR_FILENO && RNI_OS_STDERR_PIECE <= PIPE_BUF, "as the system has them");

#ifndef RWF_NOWAIT
#define RWF_NOWAIT 0x00000008
#endif

bool rni_os_pipe(int ends[2]) {
    if (rni_fault(RN_FAULT_MAPPING) || pipe2(ends, O_CLOEXEC) != 0) return false;
    fcntl(ends[0], F_SETFL, O_NONBLOCK); /* of this end alone: a task's writes wait as they always did */
    return true;
}

int rni_os_pipe_read(int pipe, char *bytes, size_t size) {
    ssize_t got;
    do got = read(pipe, bytes, size);
    while (got < 0 && errno == EINTR);
    if (got > 0) return (int)got;
    return got < 0 && errno == EAGAIN ? 0 : -1;
}

bool rni_os_stderr_has_room(int timeout_ms) {
    struct pollfd polled = {.fd = STDERR_FILENO, .events = POLLOUT};
    return poll(&polled, 1, timeout_ms) > 0; /* that it is closed, too, a write finds out */
}

/* A pipe or a socket can be asked not to wait, whoever else writes to it meanwhile, and whatever its flags, which are
 * shared with other programs. Else it is enough to have looked: a file takes all, and a terminal only what it has room
 * for. */
static bool can_be_asked(void) {
    struct stat facts;
    return fstat(STDERR_FILENO, &facts) == 0 && (S_ISFIFO(facts.st_mode) || S_ISSOCK(facts.st_mode));
}

/* Where a program has closed its standard error, something else may have got the number: then it is close-on-exec, as
 * all that we open. */
static bool is_there(void) { return fcntl(STDERR_FILENO, F_GETFD) == 0; }

static ssize_t write_once(const char *bytes, size_t size) {
    struct iovec part = {(void *)(uintptr_t)bytes, size};
    if (can_be_asked()) {
        ssize_t taken = syscall(SYS_pwritev2, STDERR_FILENO, &part, 1, -1L, -1L, RWF_NOWAIT); /* where it is */
        if (taken >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS)) return taken;
    }
    if (rni_os_stderr_has_room(0)) return write(STDERR_FILENO, bytes, size);
    errno = EAGAIN;
    return -1;
}

int rni_os_stderr_write(const char *bytes, size_t size) {
    ssize_t taken;
    if (!is_there()) return -1;
    do taken = write_once(bytes, size < RNI_OS_STDERR_PIECE ? size : RNI_OS_STDERR_PIECE);
    while (taken < 0 && errno == EINTR);
    if (taken >= 0) return (int)taken;
    return errno == EAGAIN ? 0 : -1;
}

void rni_os_stderr_become(int pipe) {
    if (pipe == STDERR_FILENO) return;
    dup2(pipe, STDERR_FILENO);
    close(pipe);
}
