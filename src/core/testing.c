#include "core/executor.h"
#include "core/outside.h"
#include "core/runtime.h"
#include "core/world.h"
#include "runium/testing.h"

static bool is_in_call(void) { return rni_self && rni_self->call; }

int64_t rn_testing_now(rn_runtime *handle) {
    int code;
    rn_runtime *runtime = rni_runtime_of(handle, "rn_testing_now", &code);
    return runtime ? rni_now(runtime) - runtime->opened : 0;
}

uint64_t rn_testing_seed(rn_runtime *handle) {
    int code;
    rn_runtime *runtime = rni_runtime_of(handle, "rn_testing_seed", &code);
    return runtime ? runtime->seed : 0;
}

int rn_testing_settle(rn_runtime *handle) {
    int code;
    rn_runtime *runtime = rni_runtime_of(handle, "rn_testing_settle", &code);
    if (!runtime) return code;
    uint64_t serial = rni_load_relaxed(&runtime->serial);
    if (is_in_call() || !runtime->executor) return RN_INVALID;
    rni_outside outside = {.deadline = -1, .is_settle = true};
    return rni_outside_wait_here(runtime, serial, &outside);
}

int rn_testing_advance(rn_runtime *handle, int64_t duration_ns) {
    int code;
    rn_runtime *runtime = rni_runtime_of(handle, "rn_testing_advance", &code);
    if (!runtime) return code;
    uint64_t serial = rni_load_relaxed(&runtime->serial);
    if (is_in_call() || !runtime->is_virtual || !runtime->executor) return RN_INVALID;
    if (duration_ns < 0 || duration_ns > RN_DURATION_MAX) return RN_INVALID;
    rni_outside outside = {.deadline = rni_deadline(runtime, duration_ns)};
    code = rni_outside_wait_here(runtime, serial, &outside);
    return code == RN_OK ? rn_testing_settle(handle) : code;
}
