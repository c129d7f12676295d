/*
 * The runs of a runtime that are not over.
 */
#ifndef RNI_CORE_PENDING_H
#define RNI_CORE_PENDING_H

#include "core/run.h"

typedef void rni_visitor(void *context, rni_run *run, const rn_run_info *info);

/* Any thread. Each run that is pending all through the visit is visited once. No locks. */
void rni_pending_visit(rn_runtime *runtime, rni_visitor *visit, void *context);

#endif
