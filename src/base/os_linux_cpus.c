/*
 * How many CPUs this process may use: the affinity mask, and the CPU quota of its control group,
 * whichever is less. The quota is read from where cgroup v2 and v1 show it (Linux,
 * Documentation/admin-guide/cgroup-v2.rst, "cpu.max").
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"

/* Reads a small file whole into text. False if there is none. */
static bool read_file(const char *path, char *text, size_t size) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    ssize_t got = read(file, text, size - 1);
    close(file);
    if (got <= 0) return false;
    text[got] = '\0';
    return true;
}

static unsigned cpus_of(long long quota, long long period) {
    if (quota <= 0 || period <= 0) return 0;
    long long cpus = (quota + period - 1) / period;
    return cpus > 1 << 20 ? 0 : (unsigned)cpus;
}

/* "50000 100000" or "max 100000". 0: no limit. */
static unsigned quota_v2(const char *folder) {
    char path[4096 + 64], text[64];
    snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", folder);
    if (!read_file(path, text, sizeof text)) return 0;
    char *end = text;
    long long quota = strtoll(text, &end, 10);
    return end == text ? 0 : cpus_of(quota, strtoll(end, NULL, 10));
}

static unsigned quota_v1(void) {
    char quota[64], period[64];
    if (!read_file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", quota, sizeof quota)) return 0;
    if (!read_file("/sys/fs/cgroup/cpu/cpu.cfs_period_us", period, sizeof period)) return 0;
    return cpus_of(strtoll(quota, NULL, 10), strtoll(period, NULL, 10));
}

static unsigned lesser(unsigned a, unsigned b) {
    if (a == 0 || b == 0) return a + b;
    return a < b ? a : b;
}

static unsigned quota(void) {
    unsigned least = lesser(quota_v2(""), quota_v1());
    char text[4096];
    if (!read_file("/proc/self/cgroup", text, sizeof text)) return least;
    char *line = strstr(text, "0::/");
    if (!line) return least;
    char *folder = line + 3;
    folder[strcspn(folder, "\n")] = '\0';
    /* A quota binds everything below it, so every folder up to the root counts. */
    for (; folder[0] && folder[1]; *strrchr(folder, '/') = '\0') least = lesser(least, quota_v2(folder));
    return least;
}

unsigned rni_os_cpu_count(void) {
    cpu_set_t set;
    unsigned cpus = 0;
    if (sched_getaffinity(0, sizeof set, &set) == 0) cpus = (unsigned)CPU_COUNT(&set);
    if (cpus == 0) { /* more CPUs than a cpu_set_t holds */
        long online = sysconf(_SC_NPROCESSORS_ONLN);
        cpus = online > 0 ? (unsigned)online : 1;
    }
    unsigned least = lesser(cpus, quota());
    return least ? least : 1;
}
