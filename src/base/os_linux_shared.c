#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/memory.h"
#include "base/os.h"
#include "base/os_buffer.h"
#include "base/os_shared.h"

#define SEALS_OF_SIZE (F_SEAL_SHRINK | F_SEAL_GROW)
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14; before it they come when they are touched */
#define MADV_POPULATE_WRITE 23
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010 /* Linux 5.1 */
#endif

void rni_os_wait_shared(const void *word, uint32_t expected, int64_t deadline_ns) {
    if (rni_fault(RN_FAULT_FUTEX)) return;
    struct timespec until = {.tv_sec = (time_t)(deadline_ns / 1000000000), .tv_nsec = (long)(deadline_ns % 1000000000)};
    int saved = errno;
    syscall(SYS_futex, word, FUTEX_WAIT_BITSET, expected, deadline_ns < 0 ? NULL : &until, NULL, FUTEX_BITSET_MATCH_ANY);
    errno = saved;
}

void rni_os_wake_shared(const void *word) {
    int saved = errno;
    syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
    errno = saved;
}

int rni_os_memory_file(size_t size, size_t there) {
    if (rni_fault(RN_FAULT_MAPPING)) return -1;
    int fd = memfd_create("runium", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) return -1;
    if (there < size && rni_os_promises_strictly()) there = size;
    if (ftruncate(fd, (off_t)size) == 0 && fallocate(fd, 0, 0, (off_t)there) == 0 &&
        fcntl(fd, F_ADD_SEALS, SEALS_OF_SIZE) == 0)
        return fd;
    close(fd);
    return -1;
}

bool rni_os_seal_to_others(int fd) { return fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) == 0; }

void *rni_os_map_shared(int fd, size_t size, size_t there, bool writable) {
    if (rni_fault(RN_FAULT_MAPPING)) return NULL;
    void *pages = mmap(NULL, size, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
    if (pages == MAP_FAILED) return NULL;
    madvise(pages, size, MADV_DONTFORK);
    madvise(pages, there, writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
    return pages;
}

void rni_os_unmap(void *pages, size_t size) {
    if (pages) munmap(pages, size);
}

void rni_os_close(int fd) {
    if (fd >= 0) close(fd);
}

bool rni_os_socket_pair(int fds[2]) { return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0; }

union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
};

bool rni_os_send_fd(int socket, int fd) {
    char byte = 0;
    union control control = {.bytes = {0}};
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    ssize_t sent;
    do sent = sendmsg(socket, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent == 1;
}

int rni_os_receive_fd(int socket) {
    char byte;
    int fd = -1;
    union control control = {.bytes = {0}};
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    ssize_t got;
    do got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    struct cmsghdr *header = got > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (header && header->cmsg_type == SCM_RIGHTS && header->cmsg_len == CMSG_LEN(sizeof fd))
        memcpy(&fd, CMSG_DATA(header), sizeof fd);
    return fd;
}

void rni_os_kill(int pidfd) { syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0); }

const char *rni_os_signal_name(int signal) {
    switch (signal) {
    case SIGABRT: return "SIGABRT";
    case SIGALRM: return "SIGALRM";
    case SIGBUS: return "SIGBUS";
    case SIGFPE: return "SIGFPE";
    case SIGHUP: return "SIGHUP";
    case SIGILL: return "SIGILL";
    case SIGINT: return "SIGINT";
    case SIGKILL: return "SIGKILL";
    case SIGPIPE: return "SIGPIPE";
    case SIGQUIT: return "SIGQUIT";
    case SIGSEGV: return "SIGSEGV";
    case SIGSYS: return "SIGSYS";
    case SIGTERM: return "SIGTERM";
    case SIGTRAP: return "SIGTRAP";
    case SIGXCPU: return "SIGXCPU";
    case SIGXFSZ: return "SIGXFSZ";
    default: return "a signal";
    }
}

static int poll_until(struct pollfd *polled, size_t count, int64_t deadline_ns) {
    int64_t left = deadline_ns < 0 ? 0 : deadline_ns - rni_os_now();
    if (left < 0) left = 0;
    struct timespec time = {.tv_sec = (time_t)(left / 1000000000), .tv_nsec = (long)(left % 1000000000)};
    return ppoll(polled, count, deadline_ns < 0 ? NULL : &time, NULL);
}

void rni_os_poll(const int *fds, bool *ready, size_t count, size_t writable, int64_t deadline_ns) {
    struct pollfd *polled = rni_alloc(count * sizeof *polled);
    if (!polled) { /* without memory it is a look now and then */
        poll(NULL, 0, 10);
        memset(ready, true, count);
        return;
    }
    for (size_t i = 0; i < count; i++) polled[i] = (struct pollfd){.fd = fds[i], .events = i == writable ? POLLOUT : POLLIN};
    int found = poll_until(polled, count, deadline_ns);
    for (size_t i = 0; i < count; i++) ready[i] = found > 0 && polled[i].revents != 0;
    rni_free(polled);
}

int rni_os_event(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

void rni_os_event_raise(int event) {
    uint64_t one = 1;
    ssize_t written;
    do written = write(event, &one, sizeof one);
    while (written < 0 && errno == EINTR);
}

void rni_os_event_lower(int event) {
    uint64_t count;
    ssize_t got;
    do got = read(event, &count, sizeof count);
    while (got < 0 && errno == EINTR);
}
