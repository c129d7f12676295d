/*
 * Schedules: when the next iteration is due. Pure in time: the clock is handed in.
 */
#ifndef RNI_CORE_SCHEDULE_H
#define RNI_CORE_SCHEDULE_H

#include "core/run.h"

/* Sets the plan's timer to the first tick after `now`; counts those passed over as missed. */
void rni_schedule_next(rni_plan *plan, int64_t now);

/* The run waits for its timer. False: it was asked to stop; it does not wait. */
bool rni_schedule_suspend(rn_runtime *runtime, rni_run *run);

/* A new run waits for its timer. */
void rni_schedule_start(rn_runtime *runtime, rni_run *run);

/* Takes a run that has begun out of the timers. True: it was in them, and QUEUED by them. */
bool rni_schedule_remove(rn_runtime *runtime, rni_run *run);

/* A run was cancelled: if it is in the timers they unqueue it soon, at the latest when the timers are next looked at. */
void rni_schedule_leave(rn_runtime *runtime, rni_run *run);

/* Unqueues all that were cancelled. */
void rni_schedule_flush(rn_runtime *runtime);

/* Takes all that is due by `now` out of the timers: a list, by next. */
rni_timer *rni_schedule_take_due(rn_runtime *runtime, int64_t now);

/* Requeues what rni_schedule_take_due gave; wakes nobody. */
void rni_schedule_fire(rn_runtime *runtime, rni_timer *due);

/* When there is something to take; RNI_NEVER. */
int64_t rni_schedule_first_due(rn_runtime *runtime);

/* The same, if this run of the runtime is among those that wait for it: then it is no later than the run is due. Else RNI_NEVER. */
int64_t rni_schedule_first_due_with(rn_runtime *runtime, rni_run *run);

/* The runtime closes: ends what waits and must not go on waiting. */
void rni_schedule_close(rn_runtime *runtime);

#endif
