#include "process/limits.h"

#include <errno.h>
#include <stdio.h>

#include "base/os_shared.h"
#include "process/host.h"
#include "value/value.h"

/* ---- memory ---- */

static void find_groups(rni_memory_groups *groups) {
    rni_mutex_lock(&groups->lock);
    if (!groups->is_known) (void)rni_os_cgroups_open(&groups->cgroups, groups->why, sizeof groups->why);
    groups->is_known = true;
    rni_mutex_unlock(&groups->lock);
}

rn_value rni_limits_accept(rni_processes *processes, const rn_task *task) {
    rni_memory_groups *groups = &processes->groups;
    if (!task->limits || task->limits->memory == 0) return rni_none();
    find_groups(groups);
    if (groups->cgroups.folder >= 0) return rni_none();
    return rn_error(RN_UNSUPPORTED, ".limits.memory: %s", groups->why);
}

/* No two processes of the machine that are there at a time have the same. */
static void name_group(rni_processes *processes, char name[64], const char *number) {
    unsigned long long serial = rni_load_relaxed(&processes->runtime->serial);
    snprintf(name, 64, "runium-%d-%llu-%s", rni_os_process(), serial, number);
}

static void name_group_of(rni_processes *processes, char name[64], uint32_t number) {
    char text[16];
    snprintf(text, sizeof text, "%u", number);
    name_group(processes, name, text);
}

static uint64_t memory_of(rni_run *run) {
    const rni_bounds *bounds = rni_run_bounds(run);
    return bounds ? bounds->memory : 0;
}

/* One that has ended, or that nobody could put there, does not begin the turn: then it is begun in another. */
static bool enter_group(rni_processes *processes, rni_process *process) {
    int door = rni_os_cgroup_door(process->group);
    if (door < 0) return false;
    rni_mutex_lock(&processes->lock);
    int error = rni_zygote_enter(&processes->zygote, process->number, door);
    if (error == RN_CLOSED || error == ESRCH) rni_os_kill(process->pidfd);
    rni_mutex_unlock(&processes->lock);
    rni_os_close(door);
    return error == 0 || error == RN_CLOSED || error == ESRCH;
}

bool rni_limits_apply(rni_processes *processes, rni_process *process, rni_run *run) {
    char name[64];
    const rni_os_cgroups *cgroups = &processes->groups.cgroups;
    if (memory_of(run) == 0) return true;
    if (process->group < 0) {
        name_group_of(processes, name, process->number);
        process->group = rni_os_cgroup_make(cgroups, name);
        if (process->group >= 0 && !enter_group(processes, process)) return false;
    }
    return process->group >= 0 && rni_os_cgroup_limit(cgroups, process->group, memory_of(run));
}

void rni_limits_lift(rni_processes *processes, rni_process *process, rni_run *run) {
    if (memory_of(run) > 0) (void)rni_os_cgroup_limit(&processes->groups.cgroups, process->group, UINT64_MAX);
}

bool rni_limits_bury(rni_processes *processes, uint32_t number, int group) {
    char name[64];
    const rni_os_cgroups *cgroups = &processes->groups.cgroups;
    if (group < 0) return false;
    bool has_exceeded = rni_os_cgroup_has_killed(cgroups, group);
    name_group_of(processes, name, number);
    (void)rni_os_cgroup_remove(cgroups, name, group); /* one with children that are about to end is swept later */
    return has_exceeded;
}

void rni_limits_close(rni_processes *processes) {
    char prefix[64];
    rni_os_cgroups *cgroups = &processes->groups.cgroups;
    if (!processes->groups.is_known || cgroups->folder < 0) return;
    name_group(processes, prefix, "");
    rni_os_cgroups_sweep(cgroups, prefix);
    rni_os_cgroups_close(cgroups);
}

/* ---- what is said of a death ---- */

rn_value rni_limits_judge(const rni_process *process, rni_turn *turn, rn_value error) {
    const rni_bounds *bounds = rni_run_bounds(turn->call.run);
    if (!bounds) return error;
    if (bounds->memory > 0 && process->has_exceeded)
        return rn_error_because(error, RN_CRASHED, "it used up its memory limit of %llu bytes (.limits.memory)",
                                (unsigned long long)bounds->memory);
    if (bounds->cpu == 0 || (process->ended.status & 0x7f) != RNI_OS_CPU_EXCEEDED) return error;
    int64_t seconds = bounds->cpu / RN_SECONDS(1) + (bounds->cpu % RN_SECONDS(1) > 0);
    return rn_error_because(error, RN_CRASHED, "it used up its CPU time limit of %lld s (.limits.cpu)", (long long)seconds);
}
