/*
 * What a process may use of the system, for a while: soft limits that are set, and put back. Of the calling process.
 */
#ifndef RNI_BASE_OS_LIMITS_H
#define RNI_BASE_OS_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

#define RNI_OS_SOFT_LIMITS 3u

typedef struct rni_os_limits {
    uint64_t soft[RNI_OS_SOFT_LIMITS];  /* while they are in force */
    uint64_t saved[RNI_OS_SOFT_LIMITS]; /* and while not */
    uint32_t given;                /* a bit for each that there is */
    uint64_t cpu_s;
} rni_os_limits;

/* Works the limits out, beyond what the process uses now: bytes of address space, open descriptors, ns of CPU time; 0:
 * none. They are in force once they are applied, until they are lifted. */
void rni_os_limits_plan(rni_os_limits *limits, uint64_t address_space, uint64_t open_files, int64_t cpu_ns);
void rni_os_limits_renew_cpu(rni_os_limits *limits); /* not in force: its time counts from now */
void rni_os_limits_apply(rni_os_limits *limits);
void rni_os_limits_lift(rni_os_limits *limits);

#endif
