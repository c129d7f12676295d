/*
 * Packets, and what a zygote and its workers ask of the system.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/os_process.h"

_Static_assert(RNI_OS_KILL == SIGKILL && RNI_OS_TERMINATE == SIGTERM && RNI_OS_CPU_EXCEEDED == SIGXCPU, "signals have the numbers of the system");

/* ------------------------------------------------------------------------------------------------
 * Facts
 */
char **rni_os_environment(void) { return environ; }

const char *rni_os_program_name(void) { return program_invocation_name ? program_invocation_name : ""; }

static int open_pidfd(int pid, int *pidfd) {
    long opened = syscall(SYS_pidfd_open, pid, 0);
    *pidfd = (int)opened;
    return opened < 0 ? errno : 0;
}

int rni_os_open_self(int *pidfd) { return open_pidfd(getpid(), pidfd); }

bool rni_os_is_readable(const char *path) { return faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) == 0; }

int rni_os_process(void) { return getpid(); }

int rni_os_parent(void) { return getppid(); }

/* The state follows the name, which is in brackets and may hold any others. */
bool rni_os_is_stopped(int pid) {
    char path[32], text[128];
    (void)snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    text[length < 0 ? 0 : length] = '\0';
    const char *end = strrchr(text, ')');
    return end && (end[1] == ' ') && (end[2] == 'T' || end[2] == 't');
}

/* The threads are the folders in this one, and a folder has a link from each folder in it, and two more. */
unsigned rni_os_thread_count(void) {
    struct stat tasks;
    return stat("/proc/self/task", &tasks) == 0 && tasks.st_nlink > 2 ? (unsigned)tasks.st_nlink - 2 : 0;
}

/* ------------------------------------------------------------------------------------------------
 * Packets
 */
union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(RNI_OS_FDS_MAX * sizeof(int))];
};

static void attach(struct msghdr *message, union control *control, const int *fds, uint32_t count) {
    if (count == 0) return;
    message->msg_control = control->bytes;
    message->msg_controllen = (socklen_t)CMSG_SPACE(count * sizeof *fds);
    struct cmsghdr *header = CMSG_FIRSTHDR(message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = (socklen_t)CMSG_LEN(count * sizeof *fds);
    memcpy(CMSG_DATA(header), fds, count * sizeof *fds);
}

int rni_os_send_packet(int socket, const void *bytes, size_t size, const int *fds, uint32_t count, bool wait) {
    union control control = {.bytes = {0}};
    struct iovec part = {(void *)(uintptr_t)bytes, size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (count > RNI_OS_FDS_MAX) return EINVAL;
    attach(&message, &control, fds, count);
    ssize_t sent;
    do sent = sendmsg(socket, &message, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT));
    while (sent < 0 && errno == EINTR);
    if (sent >= 0) return 0;
    return errno == ECONNRESET ? EPIPE : errno;
}

/* Takes the descriptors out of the message; what there is no room for is closed. 0, or an errno. */
static int detach(struct msghdr *message, int *fds, uint32_t *count) {
    uint32_t room = *count;
    *count = 0;
    bool all = !(message->msg_flags & MSG_CTRUNC); /* else the system closed some, or this process may have no more */
    struct cmsghdr *header = CMSG_FIRSTHDR(message);
    if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
        return all ? 0 : EMFILE;
    size_t came = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < came; i++) {
        int fd;
        memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
        if (all && *count < room) fds[(*count)++] = fd;
        else close(fd);
    }
    if (!all && came == RNI_OS_FDS_MAX) return E2BIG;
    return all && came <= room ? 0 : EMFILE;
}

static ssize_t receive(int socket, struct msghdr *message, int flags) {
    ssize_t got;
    do got = recvmsg(socket, message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT | flags);
    while (got < 0 && errno == EINTR);
    return got;
}

/* At its end a socket gives packets of no bytes, which nobody sends. */
static int ending_of(ssize_t got) {
    if (got == 0 || (got < 0 && errno == ECONNRESET)) return EPIPE;
    return got < 0 ? errno : 0;
}

int rni_os_receive_packet(int socket, void *bytes, size_t size, int *fds, uint32_t *count) {
    union control control = {.bytes = {0}};
    struct iovec part = {bytes, size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    ssize_t got = receive(socket, &message, 0);
    if (got <= 0) return *count = 0, ending_of(got);
    int error = detach(&message, fds, count);
    if (error) return error;
    return (size_t)got == size && !(message.msg_flags & MSG_TRUNC) ? 0 : EBADMSG;
}

int rni_os_peek_packet(int socket, void *bytes, size_t size) {
    struct iovec part = {bytes, size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    ssize_t got = receive(socket, &message, MSG_PEEK);
    if (got <= 0) return ending_of(got);
    return (size_t)got == size && !(message.msg_flags & MSG_TRUNC) ? 0 : EBADMSG;
}

#define POLLED_MAX 8u

uint32_t rni_os_poll_some(const int *fds, uint32_t count, uint32_t writable, int timeout_ms) {
    struct pollfd polled[POLLED_MAX];
    for (uint32_t i = 0; i < count && i < POLLED_MAX; i++)
        polled[i] = (struct pollfd){.fd = fds[i], .events = writable >> i & 1 ? POLLOUT : POLLIN};
    int found = poll(polled, count, timeout_ms);
    uint32_t bits = 0;
    for (uint32_t i = 0; i < count && found > 0; i++)
        if (polled[i].revents) bits |= 1u << i;
    return bits;
}

bool rni_os_is_packet_socket(int fd) {
    int type = 0, domain = 0;
    socklen_t size = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_SEQPACKET) return false;
    size = sizeof domain;
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX;
}

bool rni_os_is_hung_up(int socket) {
    struct pollfd polled = {.fd = socket, .events = 0};
    return poll(&polled, 1, 0) > 0 && (polled.revents & (POLLHUP | POLLERR | POLLNVAL));
}

/* ------------------------------------------------------------------------------------------------
 * The zygote
 */
void rni_os_close_on_exec(int fd) { fcntl(fd, F_SETFD, FD_CLOEXEC); }

/* Its owner and O_ASYNC were set before exec. */
void rni_os_continue_on(int socket) { fcntl(socket, F_SETSIG, SIGCONT); }

bool rni_os_die_with(int parent, const char *name) {
    prctl(PR_SET_NAME, name, 0, 0, 0);
    return prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0 && getppid() == parent;
}

/* What the program's constructors left: it comes back in the workers. */
static sigset_t former_mask;
static struct sigaction former_action;

int rni_os_watch_children(int *children) {
    sigset_t all, child;
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigfillset(&all);
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    if (sigprocmask(SIG_SETMASK, &all, &former_mask) != 0) return errno;
    if (sigaction(SIGCHLD, &action, &former_action) != 0) return errno; /* were it ignored, children would vanish */
    *children = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    return *children < 0 ? errno : 0;
}

void rni_os_lower_children(int children) {
    struct signalfd_siginfo ends[8]; /* of one signal at most one is pending */
    ssize_t got = read(children, ends, sizeof ends);
    (void)got;
}

static void begin_child(int parent) {
    setpgid(0, 0);
    if (!rni_os_die_with(parent, "runium-worker")) rni_os_end_process(0);
    sigaction(SIGCHLD, &former_action, NULL);
    sigprocmask(SIG_SETMASK, &former_mask, NULL);
}

int rni_os_fork(int *pidfd) {
    int parent = getpid();
    int pid = fork();
    if (pid < 0) return -errno;
    if (pid == 0) {
        begin_child(parent);
        return 0;
    }
    setpgid(pid, pid); /* here too: whichever of the two is first */
    int error = open_pidfd(pid, pidfd); /* it is not reaped, so the number is still its own */
    if (error == 0) return pid;
    kill(pid, SIGKILL);
    rni_os_reap(pid);
    return -error;
}

void rni_os_settle_fds(int *fds, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        int lowest = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
        if (lowest < 0) continue; /* a limit that the program set; any number will do */
        int unwanted = lowest < fds[i] ? fds[i] : lowest;
        fds[i] = lowest < fds[i] ? lowest : fds[i];
        close(unwanted);
    }
}

/* waitid() of the kernel tells the usage too; libc's leaves that out. */
static bool next_ended(siginfo_t *info, struct rusage *usage, bool wait) {
    long result;
    info->si_pid = 0;
    do result = syscall(SYS_waitid, P_ALL, 0, info, WEXITED | WNOWAIT | (wait ? 0 : WNOHANG), usage);
    while (result < 0 && errno == EINTR);
    return result == 0 && info->si_pid != 0;
}

static int status_of(const siginfo_t *info) {
    if (info->si_code == CLD_EXITED) return (info->si_status & 0xff) << 8;
    return info->si_status | (info->si_code == CLD_DUMPED ? 0x80 : 0);
}

static int64_t nanoseconds(struct timeval time) { return (int64_t)time.tv_sec * 1000000000 + time.tv_usec * 1000; }

/* Of a process that has ended, and is not reaped, too. */
static int64_t cpu_limit_of(int pid) {
    struct rlimit limit;
    bool is_known = prlimit(pid, RLIMIT_CPU, NULL, &limit) == 0 && limit.rlim_max != RLIM_INFINITY;
    return is_known && limit.rlim_max <= INT32_MAX ? (int64_t)limit.rlim_max : 0;
}

bool rni_os_next_ended(rni_os_ended *ended, bool wait) {
    siginfo_t info;
    struct rusage usage = {0};
    if (!next_ended(&info, &usage, wait)) return false;
    *ended = (rni_os_ended){.pid = info.si_pid, .status = status_of(&info), .peak_bytes = (int64_t)usage.ru_maxrss * 1024,
                            .cpu_ns = nanoseconds(usage.ru_utime) + nanoseconds(usage.ru_stime),
                            .cpu_limit_s = cpu_limit_of(info.si_pid)};
    return true;
}

void rni_os_reap(int pid) {
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {}
}

int rni_os_write_number(int fd, int number) {
    char text[16];
    int length = snprintf(text, sizeof text, "%d", number);
    return write(fd, text, (size_t)length) == length ? 0 : errno;
}

void rni_os_signal_group(int leader, int signal) {
    kill(-leader, signal);
    if (getpgid(leader) != leader) kill(leader, signal); /* it has left its group */
}

void rni_os_kill_group(int leader) { rni_os_signal_group(leader, SIGKILL); }

_Noreturn void rni_os_end_process(int status) { _exit(status); }
