/*
 * Bounds: what an iteration or a hook may use, and what else only worker processes can promise. Here they are read and
 * checked, so that every executor refuses the same in the same words.
 */
#ifndef RNI_CORE_BOUNDS_H
#define RNI_CORE_BOUNDS_H

#include "core/run.h"

rn_value rni_check_duration(const char *field, int64_t duration); /* none, or RN_INVALID */

/* None, and *whole; or the error that names the field. */
rn_value rni_limits_read(const rn_limits *given, rn_limits *whole);

/* Of a task whose times are read. */
rni_bounds rni_bounds_of(const rn_task *task);

/* Why a task with bounds cannot run where no task can be ended: RN_UNSUPPORTED. */
rn_value rni_bounds_refused(const rn_task *task);

/* The options for worker processes: none, or RN_INVALID. */
rn_value rni_check_process_options(const rn_options *options);

#endif
