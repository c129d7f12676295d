#include "process/recycle.h"

#include "base/memory.h"
#include "base/os_shared.h"
#include "process/host.h"

#define QUIT_WAIT RN_MILLISECONDS(500)

static bool is_worn(const rni_processes *processes, rni_process *process) {
    const rni_recycling *recycling = &processes->recycling;
    if (recycling->after > 0 && process->turns >= recycling->after) return true;
    return recycling->memory > 0 && rni_os_memory_used(process->memory) > recycling->memory;
}

/* With the lock held. Without memory for the list it does not get the time to leave by itself. */
static void let_leave(rni_processes *processes, rni_process *process) {
    rni_leaving *leaving = rni_alloc(sizeof *leaving);
    if (!leaving) {
        rni_os_kill(process->pidfd);
        rni_os_close(process->pidfd);
        rni_os_close(process->group); /* it is swept later */
        return;
    }
    *leaving = (rni_leaving){.next = processes->recycling.first, .pidfd = process->pidfd, .number = process->number,
                              .group = process->group, .deadline = rni_os_now() + QUIT_WAIT, .tail = process->tail};
    process->tail.pipe = -1;
    processes->recycling.first = leaving;
    rni_process_watch_until(processes, leaving->deadline);
}

uint64_t rni_recycle_turns_left(const rni_processes *processes, const rni_process *process) {
    uint64_t after = processes->recycling.after;
    if (after == 0) return UINT64_MAX;
    return after > process->turns ? after - process->turns : 1;
}

bool rni_recycle(rni_processes *processes, rni_process *process, uint64_t turns) {
    process->turns += turns;
    if (!is_worn(processes, process)) return false;
    rni_writer_begin(&process->channel.frame, RNI_QUIT);
    (void)rni_channel_send(&process->channel);
    rni_process_let_go(process);
    rni_names_free(&process->names);
    rni_mutex_lock(&processes->lock);
    let_leave(processes, process);
    process->is_up = process->is_replaced = false;
    process->run = NULL;
    process->users--;
    rni_home_changed(processes);
    rni_os_close(process->memory);
    rni_process_close_lines(process); /* the process has its own mapping of what is in it */
    rni_mutex_unlock(&processes->lock);
    return true;
}

static void forget(rni_processes *processes, rni_leaving **link) {
    rni_leaving *leaving = *link;
    *link = leaving->next;
    (void)rni_limits_bury(processes, leaving->number, leaving->group);
    rni_os_close(leaving->pidfd);
    rni_tail_close(&leaving->tail);
    rni_free(leaving);
}

static void take_leave(rni_processes *processes, rni_leaving **link) {
    if (!(*link)->has_ended) rni_os_kill((*link)->pidfd);
    rni_tail_take(&(*link)->tail, &processes->relay, true);
    forget(processes, link);
    rni_add_acq_rel(&processes->news, 1); /* pairs with the load in rni_recycle_await */
    rni_os_wake(&processes->news, INT32_MAX);
}

int64_t rni_recycle_look(rni_processes *processes) {
    int64_t first = RNI_NEVER, now = rni_os_now();
    for (rni_leaving **link = &processes->recycling.first; *link;) {
        if ((*link)->has_ended || (*link)->deadline <= now) {
            take_leave(processes, link);
            continue;
        }
        rni_tail_take(&(*link)->tail, &processes->relay, false);
        if ((*link)->deadline < first) first = (*link)->deadline;
        link = &(*link)->next;
    }
    return first;
}

void rni_recycle_ended(rni_processes *processes, uint32_t number) {
    for (rni_leaving *leaving = processes->recycling.first; leaving; leaving = leaving->next) {
        if (leaving->number != number || leaving->has_ended) continue;
        leaving->has_ended = true;
        rni_process_watch_until(processes, rni_os_now());
        rni_supply_ended(processes);
        return;
    }
}

void rni_recycle_await(rni_processes *processes, int64_t deadline) {
    for (bool is_over = false; !is_over && rni_os_now() < deadline;) {
        uint32_t news = rni_load_acquire(&processes->news); /* pairs with take_leave */
        rni_mutex_lock(&processes->lock);
        is_over = !processes->recycling.first;
        rni_mutex_unlock(&processes->lock);
        if (!is_over) rni_os_wait(&processes->news, news, deadline);
    }
}

void rni_recycle_close(rni_processes *processes) {
    while (processes->recycling.first) forget(processes, &processes->recycling.first);
}
