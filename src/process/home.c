#include "process/host.h"

/* The process of the last iteration, if there was one, and it lives. */
static rni_process *find_home(rni_processes *processes, const rni_plan *plan) {
    for (uint32_t i = 0; plan->last_worker > 0 && i < processes->count; i++) {
        rni_process *process = &processes->all[i];
        if (rni_process_is(process, plan->last_worker - 1)) return rni_load_relaxed(&process->is_dead) ? NULL : process;
    }
    return NULL;
}

static void wait_for_change(rni_processes *processes) {
    rni_homing *homing = &processes->homing;
    uint32_t word = rni_load_acquire(&homing->word); /* pairs with rni_home_changed */
    homing->waiting++;
    rni_mutex_unlock(&processes->lock);
    rni_os_wait(&homing->word, word, -1);
    rni_mutex_lock(&processes->lock);
    homing->waiting--;
}

void rni_home_changed(rni_processes *processes) {
    rni_homing *homing = &processes->homing;
    if (homing->waiting == 0) return;
    rni_add_acq_rel(&homing->word, 1); /* pairs with the load in wait_for_change */
    rni_os_wake(&homing->word, INT32_MAX);
}

void rni_home_come(rni_processes *processes, rni_process *process, const rni_turn *turn) {
    bool must = turn->stage != RNI_STAGE_FUNCTION;
    rni_process *home;
    if (!turn->plan) return;
    /* With users the thread's process has another turn, inside of which this one is run. */
    while (process->users == 0 && (home = find_home(processes, turn->plan)) && home != process) {
        if (home->users == 0) {
            rni_supply_exchange(process, home);
        } else {
            if (!must || rni_load_relaxed(&home->waits)) return;
            wait_for_change(processes);
        }
    }
}

void rni_home_settle(const rni_process *process, const rni_turn *turn) {
    if (turn->plan) turn->plan->last_worker = process->number + 1;
}

uint32_t rni_home_thread(rn_runtime *runtime, const rni_plan *plan) {
    rni_processes *processes = rni_processes_of(runtime);
    rni_mutex_lock(&processes->lock);
    const rni_process *home = find_home(processes, plan);
    rni_mutex_unlock(&processes->lock);
    return home ? (uint32_t)(home - processes->all) + 1 : 0;
}
