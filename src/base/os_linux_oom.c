/*
 * Linux, Documentation/admin-guide/cgroup-v2.rst, "memory.events", and cgroup-v1/memory.rst, "memory.oom_control": both
 * have a line "oom_kill <number>". A group is named in /proc/self/cgroup, as seen from where the hierarchy is mounted
 * in the usual place.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "base/os_oom.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIELD "oom_kill "

static int open_counter(const char *mount, const char *folder, const char *name) {
    char path[4096 + 64];
    int length = snprintf(path, sizeof path, "%s%s/%s", mount, folder, name);
    return length > 0 && (size_t)length < sizeof path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
}

/* A line: "<hierarchy>:<controllers>:<folder>". */
static int open_for_line(char *line) {
    char *controllers = strchr(line, ':');
    char *folder = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!folder) return -1;
    *controllers++ = *folder++ = '\0';
    if (strcmp(controllers, "memory") == 0) return open_counter("/sys/fs/cgroup/memory", folder, "memory.oom_control");
    return controllers[0] == '\0' ? open_counter("/sys/fs/cgroup", folder, "memory.events") : -1;
}

int rni_os_oom_open(void) {
    char text[4096], *rest = text;
    int file = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC), counter = -1;
    ssize_t got = file >= 0 ? read(file, text, sizeof text - 1) : -1;
    if (file >= 0) close(file);
    text[got > 0 ? got : 0] = '\0';
    while (counter < 0 && *rest) {
        char *line = rest;
        rest += strcspn(rest, "\n");
        if (*rest) *rest++ = '\0';
        counter = open_for_line(line);
    }
    return counter;
}

uint64_t rni_os_oom_kills(int counter) {
    char text[512];
    ssize_t got = counter >= 0 ? pread(counter, text, sizeof text - 1, 0) : 0;
    text[got > 0 ? got : 0] = '\0';
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, FIELD, strlen(FIELD)) == 0) return strtoull(line + strlen(FIELD), NULL, 10);
    }
    return 0;
}
