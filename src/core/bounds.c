#include "core/bounds.h"

#include <stddef.h>

#include "core/grown.h"
#include "value/value.h"

static const rni_grown grown_limits = {"rn_limits", offsetof(rn_limits, cpu), sizeof(rn_limits)};

rn_value rni_check_duration(const char *field, int64_t duration) {
    if (duration >= 0 && duration <= RN_DURATION_MAX) return rni_none();
    return rn_error(RN_INVALID, ".%s is %lld ns; accepted are 0 to %lld ns (36525 days)", field, (long long)duration,
                    (long long)RN_DURATION_MAX);
}

rn_value rni_limits_read(const rn_limits *given, rn_limits *whole) {
    rn_value error = rni_grown_read(&grown_limits, given, whole);
    return rni_is_none(error) ? rni_check_duration("limits.cpu", whole->cpu) : error;
}

rni_bounds rni_bounds_of(const rn_task *task) {
    rni_bounds bounds = {.timeout = task->timeout};
    if (!task->limits) return bounds;
    bounds.cpu = task->limits->cpu;
    bounds.address_space = task->limits->address_space;
    bounds.open_files = task->limits->open_files;
    bounds.memory = task->limits->memory;
    return bounds;
}

rn_value rni_bounds_refused(const rn_task *task) {
    return rn_error(RN_UNSUPPORTED, "%s: a thread cannot be ended or limited; accepted with .executor = RN_PROCESSES",
                    task->timeout_text ? ".timeout_text" : task->timeout ? ".timeout" : ".limits");
}

static rn_value not_for_threads(const char *field) {
    return rn_error(RN_INVALID, ".%s is given; accepted only with .executor = RN_PROCESSES", field);
}

rn_value rni_check_process_options(const rn_options *options) {
    if (options->executor == RN_PROCESSES) {
        rn_value error = rni_check_duration("grace", options->grace);
        return rni_is_none(error) ? rni_check_duration("stop_grace", options->stop_grace) : error;
    }
    if (options->capsules) return not_for_threads("capsules");
    if (options->grace) return not_for_threads("grace");
    if (options->stop_grace) return not_for_threads("stop_grace");
    if (options->quarantine) return not_for_threads("quarantine");
    if (options->respawn_rate) return not_for_threads("respawn_rate");
    if (options->recycle_after) return not_for_threads("recycle_after");
    if (options->recycle_memory) return not_for_threads("recycle_memory");
    if (options->prepare) return not_for_threads("prepare");
    if (!rni_is_none(options->prepare_arg)) return not_for_threads("prepare_arg");
    return options->sandbox ? not_for_threads("sandbox") : rni_none();
}
