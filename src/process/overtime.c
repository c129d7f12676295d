#include "process/overtime.h"

#include <stdio.h>

#include "base/os_shared.h"
#include "process/batch.h"
#include "process/host.h"
#include "value/value.h"

#define BEGIN_WAIT RN_SECONDS(5)      /* for a process to begin a turn, beyond its time */
#define LOOK_AGAIN RN_MILLISECONDS(1) /* at a turn that has not begun, at the soonest */

/* ---- arming, by the thread of the process ---- */

/* When it has to end because it is stopped. */
static int64_t stop_due(const rni_processes *processes, const rni_stage_limit *deadline) {
    if (deadline->stopped == RNI_NEVER) return RNI_NEVER;
    return rni_later(deadline->stopped > deadline->began ? deadline->stopped : deadline->began, processes->stop_grace);
}

static int64_t timeout_due(const rni_processes *processes, const rni_stage_limit *deadline) {
    if (deadline->step == RNI_WAS_TOLD) return rni_later(deadline->stepped, processes->grace);
    return deadline->timeout > 0 ? rni_later(deadline->began, deadline->timeout) : RNI_NEVER;
}

/* When the next step is due. */
static int64_t due(const rni_processes *processes, const rni_stage_limit *deadline) {
    if (deadline->step == RNI_WAS_KILLED) return RNI_NEVER;
    if (deadline->step == RNI_WAS_TERMINATED) return rni_later(deadline->stepped, processes->grace);
    int64_t by_stop = stop_due(processes, deadline), by_timeout = timeout_due(processes, deadline);
    return by_stop < by_timeout ? by_stop : by_timeout;
}

static void begin_stage(rni_processes *processes, rni_stage_limit *deadline) {
    deadline->began = rni_os_now();
    deadline->stopped = rni_process_is_stopped(processes, deadline->run) ? deadline->began : RNI_NEVER;
    deadline->step = RNI_IN_TIME;
    deadline->next = due(processes, deadline);
    rni_process_watch_until(processes, deadline->next);
}

/* What was stopped in the batch has no time anew, and what was sent a signal there must go still. */
static void go_on(rni_processes *processes, rni_stage_limit *deadline, const rni_stage_limit *former) {
    if (former->stopped != RNI_NEVER) deadline->stopped = former->stopped;
    deadline->began = former->began;
    deadline->step = former->step;
    deadline->stepped = former->stepped;
    deadline->is_by_stop = former->is_by_stop;
    deadline->next = due(processes, deadline);
    rni_process_watch_until(processes, deadline->next);
}

static void arm(rni_processes *processes, rni_process *process, rni_stage_limit *deadline, const rni_stage_limit *former) {
    deadline->has_begun = false; /* the process may be a new one that needs time to start */
    deadline->sent = rni_os_now();
    rni_mutex_lock(&processes->lock);
    deadline->outer = process->deadline;
    process->deadline = deadline;
    begin_stage(processes, deadline);
    if (former && former->run) go_on(processes, deadline, former);
    rni_mutex_unlock(&processes->lock);
}

void rni_overtime_arm(rni_processes *processes, rni_process *process, rni_turn *turn, const rni_stage_limit *former, rni_stage_limit *deadline) {
    const rni_bounds *bounds = rni_run_bounds(turn->call.run);
    uint32_t message = rni_load_relaxed(&process->channel.out->count) + !former;
    *deadline = (rni_stage_limit){.run = turn->call.run, .timeout = bounds ? bounds->timeout : 0, .mark = rni_batch_mark(message, 0)};
    arm(processes, process, deadline, former);
}

void rni_overtime_arm_in_batch(rni_processes *processes, rni_process *process, rni_run *run, uint64_t mark, rni_stage_limit *deadline) {
    *deadline = (rni_stage_limit){.run = run, .mark = mark};
    arm(processes, process, deadline, NULL);
}

bool rni_overtime_next_stage(rni_processes *processes, rni_process *process, const rni_run *run) {
    rni_mutex_lock(&processes->lock);
    rni_stage_limit *deadline = process->deadline;
    bool is_ours = deadline && deadline->run == run;
    bool goes_on = !is_ours || !rni_overtime_condemns(deadline);
    if (is_ours && goes_on) deadline->has_begun = true;
    if (is_ours && goes_on) begin_stage(processes, deadline);
    if (is_ours && goes_on) rni_process_tell(processes, process);
    rni_mutex_unlock(&processes->lock);
    return goes_on;
}

void rni_overtime_stop(rni_processes *processes, rni_process *process, const rni_run *run) {
    for (rni_stage_limit *deadline = process->deadline; deadline; deadline = deadline->outer) {
        if ((run && deadline->run != run) || deadline->stopped != RNI_NEVER) continue;
        deadline->stopped = rni_os_now();
        deadline->next = due(processes, deadline);
        rni_process_watch_until(processes, deadline->next);
    }
}

void rni_overtime_disarm(rni_processes *processes, rni_process *process, rni_stage_limit *deadline) {
    if (!deadline->run) return;
    rni_mutex_lock(&processes->lock);
    if (process->deadline == deadline) process->deadline = deadline->outer; /* else it was buried */
    rni_mutex_unlock(&processes->lock);
}

bool rni_overtime_bury(rni_process *process) {
    bool is_ours = false;
    for (rni_stage_limit *deadline = process->deadline; deadline; deadline = deadline->outer)
        is_ours = is_ours || rni_overtime_condemns(deadline);
    process->deadline = NULL;
    return is_ours;
}

/* ---- the steps, by the watcher ---- */

uint32_t rni_overtime_bits(const rni_process *process) {
    enum rni_step step = RNI_IN_TIME;
    for (rni_stage_limit *deadline = process->deadline; deadline; deadline = deadline->outer)
        if (deadline->run == process->run && !deadline->is_by_stop) step = deadline->step;
    return (step >= RNI_WAS_TOLD ? RNI_TOLD_LATE : 0) | (step >= RNI_WAS_TERMINATED ? RNI_TOLD_TERM : 0);
}

static bool has_begun(rni_process *process, const rni_stage_limit *deadline) {
    uint64_t begun = rni_load_acquire(&process->channel.in->begun); /* pairs with run_order, and begin in worker_batch.c */
    return (int64_t)((begun & ~(uint64_t)RNI_TALKS) - deadline->mark) >= 0;
}

/* A process that does not take up what it is given is of no use; its turn is begun in another. */
static void wait_for_begin(rni_process *process, rni_stage_limit *deadline, int64_t now) {
    bool is_useless = now - deadline->sent > BEGIN_WAIT + deadline->timeout;
    if (is_useless) rni_os_kill(process->pidfd);
    deadline->next = is_useless ? RNI_NEVER : rni_later(now, deadline->timeout > LOOK_AGAIN ? deadline->timeout : LOOK_AGAIN);
}

/* The time counts from when the process began, not from when it was asked to. What it says of that is not trusted. */
static void note_begin(const rni_process *process, rni_stage_limit *deadline, int64_t now) {
    int64_t began = (int64_t)rni_load_relaxed(&process->channel.in->since);
    if (began > deadline->sent && began <= now) deadline->began = began;
    deadline->has_begun = true;
}

/* What was stopped has been told: its first step is the second. */
static enum rni_step next_step(const rni_processes *processes, rni_stage_limit *deadline, int64_t now) {
    bool is_stopped = stop_due(processes, deadline) <= now;
    if (is_stopped && deadline->step == RNI_IN_TIME) deadline->is_by_stop = true;
    return is_stopped && deadline->step < RNI_WAS_TERMINATED ? RNI_WAS_TERMINATED : deadline->step + 1;
}

static void take_step(rni_processes *processes, rni_process *process, rni_stage_limit *deadline, int64_t now) {
    if (!deadline->has_begun && !has_begun(process, deadline)) {
        wait_for_begin(process, deadline, now);
        return;
    }
    if (!deadline->has_begun) note_begin(process, deadline, now);
    deadline->next = due(processes, deadline);
    if (deadline->next > now) return;
    deadline->step = next_step(processes, deadline, now);
    deadline->stepped = now;
    deadline->next = due(processes, deadline);
    if (deadline->run == process->run) rni_process_tell(processes, process);
    if (deadline->step == RNI_WAS_TERMINATED) (void)rni_zygote_signal(&processes->zygote, process->number, RNI_OS_TERMINATE);
    if (deadline->step == RNI_WAS_KILLED) {
        (void)rni_zygote_signal(&processes->zygote, process->number, RNI_OS_KILL);
        rni_os_kill(process->pidfd); /* even if the zygote is stopped */
    }
}

static int64_t look_at(rni_processes *processes, rni_process *process, int64_t now) {
    int64_t first = RNI_NEVER;
    for (rni_stage_limit *deadline = process->deadline; deadline; deadline = deadline->outer) {
        if (deadline->next <= now) take_step(processes, process, deadline, now);
        if (deadline->next < first) first = deadline->next;
    }
    return first;
}

int64_t rni_overtime_look(rni_processes *processes) {
    int64_t first = RNI_NEVER, now = rni_os_now();
    for (uint32_t i = 0; i < processes->count; i++) {
        rni_process *process = &processes->all[i];
        bool lives = process->is_up && !rni_load_relaxed(&process->is_dead);
        int64_t next = lives && process->deadline ? look_at(processes, process, now) : RNI_NEVER;
        if (next < first) first = next;
    }
    return first;
}

/* ---- what is said of it ---- */

static void print_time(char text[32], int64_t ns) {
    if (ns < 1000000) snprintf(text, 32, "%lld us", (long long)(ns / 1000));
    else if (ns < RN_SECONDS(10)) snprintf(text, 32, "%lld ms", (long long)(ns / 1000000));
    else snprintf(text, 32, "%lld s", (long long)(ns / 1000000000));
}

static const char *end_of(enum rni_step step, bool has_returned) {
    if (step == RNI_WAS_KILLED) return "SIGKILL ended it";
    if (step == RNI_WAS_TERMINATED) return has_returned ? "it returned after SIGTERM," : "SIGTERM ended it";
    return has_returned ? "it returned once it was told to stop," : "it was told to stop and ended its process";
}

static rn_value late_error(rn_value cause, const char *what, int64_t most, int64_t taken, const char *end) {
    char limit[32], time[32];
    print_time(limit, most);
    print_time(time, taken);
    if (!rni_is_error(cause)) return rn_error(RN_OVERTIME, "it %s of %s: %s after %s", what, limit, end, time);
    return rn_error_because(cause, RN_OVERTIME, "it %s of %s: %s after %s", what, limit, end, time);
}

rn_value rni_overtime_error(rn_value cause, int64_t timeout, int64_t taken, enum rni_step step, bool has_returned) {
    return late_error(cause, "took longer than its .timeout", timeout, taken, end_of(step, has_returned));
}

static rn_value stop_error(rn_value cause, int64_t grace, int64_t taken, enum rni_step step) {
    return late_error(cause, "was stopped, and went on for longer than the .stop_grace", grace, taken, end_of(step, false));
}

rn_value rni_overtime_judge(const rni_processes *processes, const rni_process *process, const rni_stage_limit *deadline, rn_value error) {
    enum rni_step step = deadline->step;
    if (step == RNI_IN_TIME) return error;
    /* It may have died of the one signal while the other was on its way. */
    if (step == RNI_WAS_KILLED && (process->ended.status & 0x7f) == RNI_OS_TERMINATE) step = RNI_WAS_TERMINATED;
    if (deadline->is_by_stop)
        return stop_error(error, processes->stop_grace, rni_os_now() - stop_due(processes, deadline) + processes->stop_grace, step);
    return rni_overtime_error(error, deadline->timeout, rni_os_now() - deadline->began, step, false);
}
