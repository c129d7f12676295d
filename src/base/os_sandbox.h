/*
 * A sandbox for the calling process: what it may still ask of the kernel. Two walls: Landlock for files, made once by
 * the program as a ruleset and entered by each worker process; and a filter of system calls (seccomp), which each
 * worker makes for itself, since it has its own process id in it. Functions that can be refused return 0 or an errno.
 */
#ifndef RNI_BASE_OS_SANDBOX_H
#define RNI_BASE_OS_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>

typedef struct rni_os_sandbox {
    int files;        /* the ruleset, a descriptor; -1: no sandbox */
    uint32_t version; /* of Landlock, in the kernel that runs */
    bool network;     /* sockets of the internet's families */
    bool processes;   /* fork and exec */
} rni_os_sandbox;

/* What a sandbox needs and this machine has not, for people; NULL: it has all. */
const char *rni_os_sandbox_lacks(void);

/* Makes a ruleset that allows no file, but for a few devices that hold nothing, this program's own file and the
 * libraries that are loaded. */
int rni_os_sandbox_make(rni_os_sandbox *sandbox);

/* Allows a file, or a folder and all below it: to be read and executed; or to be read, written, made and removed. */
int rni_os_sandbox_allow(const rni_os_sandbox *sandbox, const char *path, bool write);

/* Enters it, for ever. Called by a process that has one thread; on an errno it is half entered and must end. */
int rni_os_sandbox_enter(const rni_os_sandbox *sandbox);

/* os_linux_filter.c: the part of that which is the filter of system calls. ENOSYS: none for this kind of machine. */
bool rni_os_filter_is_known(void);
int rni_os_filter_enter(const rni_os_sandbox *sandbox);

#endif
