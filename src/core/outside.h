/*
 * The list of waits from outside, for a runtime with a test kit: see outside.c.
 */
#ifndef RNI_CORE_OUTSIDE_H
#define RNI_CORE_OUTSIDE_H

#include "core/runtime.h"

/* The one who closes: the runtime stays. */
void rni_outside_enter(rn_runtime *runtime, rni_outside *outside);
void rni_outside_leave(rn_runtime *runtime, rni_outside *outside);

/* Waits, for no run, until rni_outside_wake_due() finds it due, or idle. RN_CLOSED: the runtime with that serial is. */
int rni_outside_wait_here(rn_runtime *runtime, uint64_t serial, rni_outside *outside);

#endif
