#include <string.h>

#include "core/remote.h"
#include "core/run.h"
#include "core/runtime.h"

rn_value rn_arg(const rn_call *call) { return call->arg; }

uint64_t rn_iteration(const rn_call *call) { return call->iteration; }

uint64_t rn_remaining(const rn_call *call) {
    const rni_plan *plan = rni_run_plan(call->run);
    if (!plan) return 0;
    return plan->times == RN_ENDLESS ? RN_ENDLESS : plan->times - call->iteration;
}

uint64_t rn_missed(const rn_call *call) {
    const rni_plan *plan = rni_run_plan(call->run);
    return plan ? plan->missed : 0;
}

const char *rn_name(const rn_call *call) {
    /* The call is on the stack of this thread, and nobody else's: filling its cache changes nothing that shows. */
    rn_call *mine = (rn_call *)(uintptr_t)call;
    if (!mine->name) {
        rni_run_name(mine->run, mine->name_text);
        mine->name = mine->name_text;
    }
    return mine->name;
}

bool rn_stopping(const rn_call *call) {
    if (rni_load_relaxed(&call->run->done.word) & RNI_STOP) return true;
    enum rni_phase phase = rni_phase(call->runtime);
    uint32_t told = rni_told(call->runtime);
    const rni_plan *plan = rni_run_plan(call->run);
    bool drains = phase == RNI_DRAINING || (told & RNI_TOLD_DRAIN); /* LCOV_EXCL_BR_LINE: of worker processes */
    return phase == RNI_STOPPING || (told & (RNI_TOLD_STOP | RNI_TOLD_HALT | RNI_TOLD_LATE)) || (drains && plan && plan->times == RN_ENDLESS); /* LCOV_EXCL_BR_LINE: of worker processes */
}

rn_runtime *rn_runtime_of(const rn_call *call) { return rni_runtime_handle(call->runtime); }

uint64_t rn_run_id(const rn_call *call) { return call->run_id ? call->run_id : rni_run_id(call->run); } /* LCOV_EXCL_BR_LINE: of worker processes */

void rn_report(rn_call *call, double fraction) {
    rni_plan *plan = rni_run_plan(call->run);
    if (!plan) plan = rni_run_add_plan(call->run, rni_now(call->runtime));
    if (!plan) return;
    double within = fraction >= 0 ? fraction : 0; /* NaN too */
    if (within > 1) within = 1;
    uint64_t bits;
    memcpy(&bits, &within, sizeof bits);
    rni_store_relaxed(&plan->iteration, call->iteration);
    rni_store_relaxed(&plan->progress, bits);
    if (rni_host) rni_host->report(call, within); /* LCOV_EXCL_BR_LINE: of worker processes */
}
