#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/os_limits.h"
#include "base/os_process.h"
#include "base/os_shared.h"

enum { SPACE, FILES, CPU };

/* By cases: libraries do not agree on the type of a resource. */
static int get_limit(unsigned which, struct rlimit *limit) {
    switch (which) {
    case SPACE: return getrlimit(RLIMIT_AS, limit);
    case FILES: return getrlimit(RLIMIT_NOFILE, limit);
    default: return getrlimit(RLIMIT_CPU, limit);
    }
}

static int set_limit(unsigned which, const struct rlimit *limit) {
    switch (which) {
    case SPACE: return setrlimit(RLIMIT_AS, limit);
    case FILES: return setrlimit(RLIMIT_NOFILE, limit);
    default: return setrlimit(RLIMIT_CPU, limit);
    }
}

static uint64_t sum(uint64_t a, uint64_t b) { return a > UINT64_MAX - b ? UINT64_MAX : a + b; }

/* ---- what is used now ---- */

static uint64_t mapped_bytes(void) {
    char text[64] = "";
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t length = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
    if (fd >= 0) close(fd);
    return length > 0 ? strtoull(text, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

/* How many of the numbers from `first` on are free, of those that poll() can look at in one go. */
static unsigned free_among(int first, unsigned count, struct pollfd *polled) {
    unsigned unused = 0;
    for (unsigned i = 0; i < count; i++) polled[i] = (struct pollfd){.fd = first + (int)i};
    if (poll(polled, count, 0) < 0) return 0;
    for (unsigned i = 0; i < count; i++) unused += (polled[i].revents & POLLNVAL) != 0;
    return unused;
}

/* The lowest number that no descriptor may have, if `more` can be opened: numbers are given out from below. */
static uint64_t number_after(uint64_t more) {
    enum { AT_ONCE = 128 };
    struct pollfd polled[AT_ONCE];
    struct rlimit now;
    getrlimit(RLIMIT_NOFILE, &now);
    for (int number = 0; (uint64_t)number < now.rlim_cur; number += AT_ONCE) {
        unsigned unused = free_among(number, AT_ONCE, polled);
        if (unused < more) {
            more -= unused;
            continue;
        }
        int end = number;
        for (unsigned i = 0; more > 0; i++, end++) more -= (polled[i].revents & POLLNVAL) != 0;
        return (uint64_t)end;
    }
    return UINT64_MAX;
}

static uint64_t used_cpu_s(void) {
    struct timespec used = {0};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec + (used.tv_nsec > 0);
}

/* ---- setting and putting back ---- */

static void add(rni_os_limits *limits, unsigned which, uint64_t soft) {
    struct rlimit now;
    if (soft == UINT64_MAX || get_limit(which, &now) != 0 || soft >= now.rlim_cur) return; /* bound already */
    limits->soft[which] = soft;
    limits->saved[which] = now.rlim_cur;
    limits->given |= 1u << which;
}

void rni_os_limits_plan(rni_os_limits *limits, uint64_t address_space, uint64_t open_files, int64_t cpu_ns) {
    *limits = (rni_os_limits){.cpu_s = (uint64_t)(cpu_ns / 1000000000) + (cpu_ns % 1000000000 > 0)};
    uint64_t mapped = address_space > 0 ? mapped_bytes() : 0;
    if (mapped > 0) add(limits, SPACE, sum(mapped, address_space));
    if (open_files > 0) add(limits, FILES, number_after(open_files));
    rni_os_limits_renew_cpu(limits);
}

void rni_os_limits_renew_cpu(rni_os_limits *limits) {
    limits->given &= ~(1u << CPU);
    if (limits->cpu_s > 0) add(limits, CPU, sum(used_cpu_s(), limits->cpu_s));
}

static void set_soft(unsigned which, uint64_t soft) {
    struct rlimit now;
    if (get_limit(which, &now) != 0) return;
    now.rlim_cur = soft < now.rlim_max ? (rlim_t)soft : now.rlim_max;
    (void)set_limit(which, &now);
}

void rni_os_limits_apply(rni_os_limits *limits) {
    for (unsigned i = 0; i < RNI_OS_SOFT_LIMITS; i++)
        if (limits->given >> i & 1) set_soft(i, limits->soft[i]);
}

void rni_os_limits_lift(rni_os_limits *limits) {
    for (unsigned i = 0; i < RNI_OS_SOFT_LIMITS; i++)
        if (limits->given >> i & 1) set_soft(i, limits->saved[i]);
}

/* ---- another process ---- */

/* The file stays that process's, whoever has its number later. */
int rni_os_open_memory(int pid, int pidfd) {
    char path[40];
    snprintf(path, sizeof path, "/proc/%d/statm", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || rni_os_poll_some(&pidfd, 1, 0, 0) == 0) return fd; /* it lives: so it was its file */
    close(fd);
    return -1;
}

uint64_t rni_os_memory_used(int memory) {
    char text[64] = "", *resident;
    if (memory < 0 || pread(memory, text, sizeof text - 1, 0) <= 0) return 0;
    (void)strtoull(text, &resident, 10);
    return strtoull(resident, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}
