/*
 * A sandbox for the calling process: what it may still ask of the kernel. Two walls: Landlock for files, whose rules the
 * program resolves once; and a filter of system calls (seccomp), which each worker process makes for itself, since it has
 * its own process id in it. Functions that can be refused return 0 or an errno.
 */
#ifndef RNI_BASE_OS_SANDBOX_H
#define RNI_BASE_OS_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>

typedef struct rni_os_rule {
    int fd;          /* a file or a folder */
    uint64_t rights;
} rni_os_rule;

typedef struct rni_os_sandbox {
    int files;          /* a ruleset, which tries each rule; in a worker process, the one that it enters; -1: no sandbox */
    rni_os_rule *rules; /* the same rules, for the rulesets of workers, as none can be copied */
    uint32_t count, room;
    uint32_t version;   /* of Landlock, in the kernel that runs */
    bool network;     /* sockets of the internet's families */
    bool processes;   /* fork and exec */
} rni_os_sandbox;

/* What a sandbox needs and this machine has not, for people; NULL: it has all. */
const char *rni_os_sandbox_lacks(void);

/* Makes a ruleset that allows no file, but for a few devices that hold nothing, this program's own file and the
 * libraries that are loaded. */
int rni_os_sandbox_make(rni_os_sandbox *sandbox);

/* Allows a file, or a folder and all below it: to be read and executed; or to be read, written, made and removed. */
int rni_os_sandbox_allow(rni_os_sandbox *sandbox, const char *path, bool write);

/* A new ruleset with these rules, for one process. */
int rni_os_sandbox_copy(const rni_os_sandbox *sandbox, int *ruleset);

/* Gives it back; in a forked child of whoever made it all but the memory. */
void rni_os_sandbox_close(rni_os_sandbox *sandbox);
void rni_os_sandbox_forget(const rni_os_sandbox *sandbox);

/* Enters it, for ever; what /proc says of the process itself may be read in it. Called by a process that has one thread; on an errno it is half entered and must end. */
int rni_os_sandbox_enter(const rni_os_sandbox *sandbox);

/* os_linux_filter.c: the part of that which is the filter of system calls. ENOSYS: none for this kind of machine. */
bool rni_os_filter_is_known(void);
int rni_os_filter_enter(const rni_os_sandbox *sandbox);

#endif
