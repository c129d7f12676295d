/*
 * Whether the system has killed processes for want of memory: what the counter of a control group says. A SIGKILL does
 * not say whose it was.
 */
#ifndef RNI_BASE_OS_OOM_H
#define RNI_BASE_OS_OOM_H

#include <stdint.h>

/* The counter of the group that this process is in, and with it what it starts. -1: there is none, or none to be read. */
int rni_os_oom_open(void);

/* How many processes of the group were killed so far; 0: unknown. */
uint64_t rni_os_oom_kills(int counter);

#endif
