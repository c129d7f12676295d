/*
 * Schedules: when the next iteration is due. Pure in time: the clock is handed in.
 */
#ifndef RNI_CORE_SCHEDULE_H
#define RNI_CORE_SCHEDULE_H

#include "core/run.h"

/* Sets plan->due to the first tick after `now`; counts those passed over as missed. */
void rni_schedule_next(rni_plan *plan, int64_t now);

/* The run waits for plan->due. False: it was asked to stop; it does not wait. */
bool rni_schedule_suspend(rn_runtime *runtime, rni_run *run);

/* A new run waits for plan->due. */
void rni_schedule_start(rn_runtime *runtime, rni_run *run);

/* Takes a run out of the timers. True: it was in them, and QUEUED by them. */
bool rni_schedule_remove(rn_runtime *runtime, rni_run *run);

/* Requeues all that is due by `now`; wakes nobody. Returns how many. *latest: raised to the latest due among them. */
size_t rni_schedule_fire(rn_runtime *runtime, int64_t now, int64_t *latest);

/* When fire has something to do; RNI_NEVER. */
int64_t rni_schedule_first_due(rn_runtime *runtime);

/* The runtime closes: ends what waits and must not go on waiting. */
void rni_schedule_close(rn_runtime *runtime);

#endif
