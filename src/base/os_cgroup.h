/*
 * Control groups for memory, of one process each, where the machine lets this process make them: version 1 with write
 * access to its own group, or version 2 where the group that it is in, or the one above that, passes `memory` on to its
 * children (cgroup.subtree_control; Linux, Documentation/admin-guide/cgroup-v2.rst).
 */
#ifndef RNI_BASE_OS_CGROUP_H
#define RNI_BASE_OS_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct rni_os_cgroups {
    int folder;      /* in which they are made; -1: nowhere */
    bool is_unified; /* version 2 */
} rni_os_cgroups;

/* Where they can be made. 0; or an errno, and in `why` what is missing. */
int rni_os_cgroups_open(rni_os_cgroups *cgroups, char *why, size_t size);
void rni_os_cgroups_close(rni_os_cgroups *cgroups);

/* A group of that name, with nobody in it. Its folder; -1: refused. */
int rni_os_cgroup_make(const rni_os_cgroups *cgroups, const char *name);
int rni_os_cgroup_door(int group); /* the file that puts the process into it whose number is written there; -1: refused */
bool rni_os_cgroup_limit(const rni_os_cgroups *cgroups, int group, uint64_t bytes); /* UINT64_MAX: none */
bool rni_os_cgroup_has_killed(const rni_os_cgroups *cgroups, int group);          /* for want of memory */

/* Closes the folder and removes the group, whose processes have ended. False: some have not. */
bool rni_os_cgroup_remove(const rni_os_cgroups *cgroups, const char *name, int group);
void rni_os_cgroups_sweep(const rni_os_cgroups *cgroups, const char *prefix); /* removes all whose name begins so */

#endif
