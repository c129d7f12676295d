/*
 * The host's part of .limits: what a death by one of them is called; and memory, for which a process is put into a
 * control group of its own when it is first given a run that asks for it. The group's limit is that of the run at work,
 * and none between runs. It is removed when the process has ended.
 */
#ifndef RNI_PROCESS_LIMITS_H
#define RNI_PROCESS_LIMITS_H

#include "base/os_cgroup.h"
#include "base/os.h"
#include "core/turn.h"

struct rni_process;
struct rni_processes;

typedef struct rni_memory_groups {
    rni_mutex lock;   /* guards what is constant once it is known */
    bool is_known;
    rni_os_cgroups cgroups;
    char why[240];    /* there are none */
} rni_memory_groups;

/* Any thread, as a run starts: none, or RN_UNSUPPORTED with what is missing. */
rn_value rni_limits_accept(struct rni_processes *processes, const rn_task *task);

/* By the thread of the process, before and after a turn. False: its memory cannot be limited, it is to be replaced. */
bool rni_limits_apply(struct rni_processes *processes, struct rni_process *process, rni_run *run);
void rni_limits_lift(struct rni_processes *processes, struct rni_process *process, rni_run *run);

/* The process died in that turn, of that error, which is taken: names the limit, if it was one. */
rn_value rni_limits_judge(const struct rni_process *process, rni_turn *turn, rn_value error);

/* The process with that number, and perhaps a group, has ended. Whether it used too much. */
bool rni_limits_bury(struct rni_processes *processes, uint32_t number, int group);
void rni_limits_close(struct rni_processes *processes); /* all have */

#endif
