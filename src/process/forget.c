/*
 * A forked child of the program has copies of all descriptors by which the program speaks with its zygote and its worker
 * processes. It closes them: they are the parent's business, and a copy would keep a line open whose end somebody awaits.
 * The mailboxes are not in the child at all (rni_os_map_shared).
 *
 * This is the child's only thread, and the parent's others were anywhere when it was made: what they were just opening
 * is not written down yet, and stays open; what they were just closing is not written down any more.
 */
#include "base/os_shared.h"
#include "process/host.h"

static void forget_process(const rni_process *process) {
    if (!process->is_up) return;
    rni_os_close(process->pidfd);
    rni_os_close(process->memory);
    rni_os_close(process->group);
    rni_os_close(process->channel.socket);
    rni_os_close(process->tail.pipe);
    rni_os_close(process->tail.pipe);
}

void rni_process_forget(rn_runtime *runtime) {
    rni_processes *processes = rni_processes_of(runtime);
    if (!processes) return;
    for (uint32_t i = 0; i < processes->count; i++) forget_process(&processes->all[i]);
    rni_zygote_forget(&processes->zygote);
    rni_capsules_forget(processes->capsules);
    rni_os_sandbox_forget(&processes->sandbox);
    rni_os_close(processes->event);
    rni_os_close(processes->oom_counter);
    rni_os_close(processes->oom_counter);
}
