#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/os_cgroup.h"

#define ROOT "/sys/fs/cgroup"

/* ---- files ---- */

static bool read_text(int folder, const char *name, char *text, size_t size) {
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd >= 0 ? read(fd, text, size - 1) : -1;
    if (fd >= 0) close(fd);
    text[length > 0 ? length : 0] = '\0';
    return length > 0;
}

static bool write_text(int folder, const char *name, const char *text) {
    int fd = openat(folder, name, O_WRONLY | O_CLOEXEC);
    ssize_t length = (ssize_t)strlen(text);
    bool written = fd >= 0 && write(fd, text, (size_t)length) == length;
    if (fd >= 0) close(fd);
    return written;
}

static bool has_word(const char *text, const char *word) {
    size_t length = strlen(word);
    for (const char *at = text; (at = strstr(at, word)); at += length) {
        bool begins = at == text || strchr(" ,:\n", at[-1]);
        if (begins && (at[length] == '\0' || strchr(" ,:\n", at[length]))) return true;
    }
    return false;
}

/* ---- where ---- */

static bool is_ours(int folder, bool is_unified) {
    char passed_on[256];
    if (faccessat(folder, ".", W_OK, AT_EACCESS) != 0 || faccessat(folder, "cgroup.procs", W_OK, AT_EACCESS) != 0) return false;
    if (!is_unified) return faccessat(folder, "memory.limit_in_bytes", F_OK, AT_EACCESS) == 0;
    return read_text(folder, "cgroup.subtree_control", passed_on, sizeof passed_on) && has_word(passed_on, "memory");
}

static bool try_folder(rni_os_cgroups *cgroups, const char *path, bool is_unified) {
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) return false;
    if (!is_ours(folder, is_unified)) {
        close(folder);
        return false;
    }
    *cgroups = (rni_os_cgroups){folder, is_unified};
    return true;
}

/* A line of /proc/self/cgroup: number, controllers, path. */
static bool try_line(rni_os_cgroups *cgroups, char *line) {
    char path[4200];
    char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!group) return false;
    *group++ = '\0';
    bool is_unified = controllers[1] == '\0';
    if (!is_unified && !has_word(controllers + 1, "memory")) return false;
    snprintf(path, sizeof path, "%s%s%s", ROOT, is_unified ? "" : "/memory", group);
    if (try_folder(cgroups, path, is_unified)) return true;
    char *above = strrchr(path, '/');
    if (!is_unified || !above || above < path + strlen(ROOT)) return false;
    *above = '\0';
    return try_folder(cgroups, path, true);
}

int rni_os_cgroups_open(rni_os_cgroups *cgroups, char *why, size_t size) {
    char text[8192], *state = NULL;
    *cgroups = (rni_os_cgroups){.folder = -1};
    if (!read_text(AT_FDCWD, "/proc/self/cgroup", text, sizeof text)) {
        snprintf(why, size, "/proc/self/cgroup cannot be read");
        return ENOENT;
    }
    for (char *line = strtok_r(text, "\n", &state); line; line = strtok_r(NULL, "\n", &state))
        if (try_line(cgroups, line)) return 0;
    snprintf(why, size, "no control group below %s in which this process may make others passes `memory` on "
                        "(version 2: cgroup.subtree_control; version 1: write access)", ROOT);
    return EACCES;
}

void rni_os_cgroups_close(rni_os_cgroups *cgroups) {
    if (cgroups->folder >= 0) close(cgroups->folder);
    cgroups->folder = -1;
}

/* ---- one ---- */

int rni_os_cgroup_make(const rni_os_cgroups *cgroups, const char *name) {
    if (mkdirat(cgroups->folder, name, 0755) != 0) return -1;
    int group = openat(cgroups->folder, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (group < 0) (void)rni_os_cgroup_remove(cgroups, name, group);
    return group;
}

int rni_os_cgroup_door(int group) { return openat(group, "cgroup.procs", O_WRONLY | O_CLOEXEC); }

bool rni_os_cgroup_limit(const rni_os_cgroups *cgroups, int group, uint64_t bytes) {
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)bytes);
    if (bytes == UINT64_MAX) memcpy(text, cgroups->is_unified ? "max" : "-1", cgroups->is_unified ? 4 : 3);
    if (!cgroups->is_unified) return write_text(group, "memory.limit_in_bytes", text);
    (void)write_text(group, "memory.swap.max", bytes == UINT64_MAX ? "max" : "0"); /* where there is swap */
    return write_text(group, "memory.max", text);
}

bool rni_os_cgroup_has_killed(const rni_os_cgroups *cgroups, int group) {
    char text[512];
    if (!read_text(group, cgroups->is_unified ? "memory.events" : "memory.oom_control", text, sizeof text)) return false;
    const char *kills = strstr(text, "oom_kill ");
    return kills && strtoull(kills + strlen("oom_kill "), NULL, 10) > 0;
}

bool rni_os_cgroup_remove(const rni_os_cgroups *cgroups, const char *name, int group) {
    if (group >= 0) close(group);
    return unlinkat(cgroups->folder, name, AT_REMOVEDIR) == 0 || errno == ENOENT;
}

void rni_os_cgroups_sweep(const rni_os_cgroups *cgroups, const char *prefix) {
    int folder = openat(cgroups->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = folder >= 0 ? fdopendir(folder) : NULL;
    for (struct dirent *entry; entries && (entry = readdir(entries));)
        if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0) (void)unlinkat(folder, entry->d_name, AT_REMOVEDIR);
    if (entries) closedir(entries);
    else if (folder >= 0) close(folder);
}
