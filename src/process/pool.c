/*
 * The processes of a runtime: made, watched, buried, and ended with it.
 */
#include "process/host.h"

#include <string.h>

#include "base/memory.h"
#include "base/os_oom.h"
#include "base/os_shared.h"
#include "base/os_stderr.h"
#include "process/crash.h"
#include "thread/pool.h"
#include "value/value.h"

#define NEWS_WAIT RN_SECONDS(2)      /* for the zygote to tell why a process ended */
#define NEWS_LOOK RN_MILLISECONDS(50) /* between two looks whether it is there at all, and not stopped */
#define ZYGOTE_TRIES 3               /* to make a worker, when zygotes end meanwhile */
#define QUIT_WAIT RN_MILLISECONDS(500) /* for processes to end by themselves when the runtime closes */

/* ---- one process ---- */

static void take_news(rni_processes *processes) {
    rni_ended ended;
    while (rni_zygote_news(&processes->zygote, &ended)) {
        for (uint32_t i = 0; i < processes->count; i++) {
            rni_process *process = &processes->all[i];
            if (!process->is_up || process->number != ended.number) continue;
            process->ended = ended;
            process->has_ended = true;
        }
        rni_recycle_ended(processes, ended.number);
        rni_add_acq_rel(&processes->news, 1); /* pairs with the load in bury */
        rni_os_wake(&processes->news, INT32_MAX);
    }
}

/* What host and worker share. theirs: what the worker gets of it, as rni_worker_process() takes it. */
static bool open_lines(rni_process *process, int theirs[RNI_WORKER_FDS]) {
    for (unsigned i = 0; i < RNI_WORKER_FDS; i++) theirs[i] = -1;
    process->tail.pipe = -1;
    process->crash = NULL;
    if (!rni_channel_make(&process->channel, theirs)) return false;
    theirs[RNI_WORKER_RECORD] = rni_os_memory_file(RNI_OS_CRASH_BYTES, RNI_OS_CRASH_BYTES);
    if (theirs[RNI_WORKER_RECORD] >= 0)
        process->crash = rni_os_map_shared(theirs[RNI_WORKER_RECORD], RNI_OS_CRASH_BYTES, RNI_OS_CRASH_BYTES, false);
    return process->crash && rni_tail_open(&process->tail, &theirs[RNI_WORKER_STDERR]);
}

void rni_process_close_lines(rni_process *process) {
    rni_channel_close(&process->channel);
    rni_os_unmap(process->crash, RNI_OS_CRASH_BYTES);
    process->crash = NULL;
    rni_tail_close(&process->tail);
}

/* With the lock held. Its workers die with it. Numbers go on: those of the former one may not be buried yet. */
static rn_value rebuild_zygote(rni_processes *processes) {
    take_news(processes); /* what it told before it ended */
    processes->first = processes->zygote.next;
    rni_zygote_stop(&processes->zygote);
    rn_value error = rni_zygote_start(&processes->zygote);
    processes->zygote.next = processes->first;
    rni_os_event_raise(processes->event);
    return error;
}

static int ask_for_worker(rni_processes *processes, rni_process *process, const int theirs[RNI_WORKER_FDS]) {
    return rni_zygote_spawn(&processes->zygote, theirs, RNI_WORKER_FDS, &process->pidfd, &process->number);
}

static void close_theirs(const int theirs[RNI_WORKER_FDS]) {
    for (unsigned i = 0; i < RNI_WORKER_FDS; i++) rni_os_close(theirs[i]);
}

/* With the lock held. */
static rn_value spawn(rni_processes *processes, rni_process *process) {
    int theirs[RNI_WORKER_FDS];
    if (!open_lines(process, theirs)) {
        close_theirs(theirs);
        rni_process_close_lines(process); /* as far as there are some */
        return rn_error(RN_NO_PROCESSES, "no memory, or no descriptors, for the mailboxes of a worker process");
    }
    bool sent = rni_sandbox_send(&processes->sandbox, process->channel.socket);
    int code = sent ? ask_for_worker(processes, process, theirs) : RN_NO_MEMORY;
    for (unsigned tries = 1; code == RN_CLOSED && tries < ZYGOTE_TRIES; tries++) {
        rn_value error = rebuild_zygote(processes);
        if (rni_is_none(error)) code = ask_for_worker(processes, process, theirs);
        rni_drop(error);
    }
    close_theirs(theirs);
    if (code != RN_OK) rni_process_close_lines(process);
    if (code == RN_NO_MEMORY) return rni_error_no_memory();
    if (code != RN_OK) {
        if (code == RN_CLOSED)
            return rn_error(RN_NO_PROCESSES, "no worker process: the zygote, which makes them, ends again and again");
        return rn_error(RN_NO_PROCESSES, "the system refused a worker process: %s", strerror(processes->zygote.refusal));
    }
    process->names = (rni_names){0};
    process->oom_kills = rni_os_oom_kills(processes->oom_counter);
    process->has_ended = false;
    rni_store_relaxed(&process->is_dead, 0);
    process->is_up = true;
    process->run = NULL;
    process->turns = 0;
    process->is_prepared = process->is_preparing = false;
    process->memory = process->group = -1;
    process->pid = processes->zygote.worker_pid;
    if (processes->recycling.memory > 0) process->memory = rni_os_open_memory(process->pid, process->pidfd);
    rni_store_relaxed(&process->waits, 0);
    take_news(processes); /* now: it may have ended already, and what is told of nobody is forgotten */
    rni_os_event_raise(processes->event); /* one more to watch */
    return rni_none();
}

/* With the lock held. */
static rn_value ensure_zygote(rni_processes *processes) {
    return rni_zygote_is_gone(&processes->zygote) ? rebuild_zygote(processes) : rni_none();
}

#define SPAWNS 3 /* each of a zygote of its own: one may die over a spawn */

rn_value rni_process_make(rni_processes *processes, rni_process *process) {
    rn_value error = ensure_zygote(processes);
    if (!rni_is_none(error)) return error;
    error = spawn(processes, process);
    for (unsigned tries = 1; tries < SPAWNS && rni_is_error(error) && rni_zygote_is_gone(&processes->zygote); tries++) {
        rni_drop(error);
        error = ensure_zygote(processes);
        if (rni_is_none(error)) error = spawn(processes, process);
    }
    return error;
}

void rni_process_kill(rni_processes *processes, rni_process *process) {
    rni_mutex_lock(&processes->lock);
    if (process->is_up) rni_os_kill(process->pidfd);
    rni_mutex_unlock(&processes->lock);
    while (process->is_up && !rni_load_acquire(&process->is_dead)) { /* pairs with the watcher */
        uint32_t news = rni_load_acquire(&processes->news); /* pairs with the watcher */
        if (!rni_load_acquire(&process->is_dead)) rni_os_wait(&processes->news, news, -1); /* as above */
    }
}

/* Or nobody will tell of it, since the zygote that made it is gone. */
static bool has_ended(rni_processes *processes, rni_process *process) {
    rni_mutex_lock(&processes->lock);
    bool is_orphan = (int32_t)(process->number - processes->first) < 0 || rni_zygote_is_gone(&processes->zygote);
    take_news(processes); /* after that look: what it told before it went counts */
    bool has = process->has_ended || is_orphan || rni_zygote_is_stuck(&processes->zygote);
    rni_mutex_unlock(&processes->lock);
    return has;
}

/* Each kill that the counter tells of, in the life of the process, accounts for one death by SIGKILL. */
static bool is_out_of_memory(rni_processes *processes, const rni_process *process) {
    int status = process->ended.status;
    if (status < 0 || (status & 0x7f) != RNI_OS_KILL) return false;
    rni_mutex_lock(&processes->lock);
    uint64_t known = process->oom_kills > processes->oom_kills ? process->oom_kills : processes->oom_kills;
    bool is = rni_os_oom_kills(processes->oom_counter) > known;
    if (is) processes->oom_kills = known + 1;
    rni_mutex_unlock(&processes->lock);
    return is;
}

/* The process is dead, and its tail complete: the watcher saw to that. */
static rn_value why(rni_processes *processes, rni_process *process) {
    char last_words[RNI_TAIL_BYTES];
    rni_os_crash record;
    memcpy(&record, process->crash, sizeof record); /* once: who it left behind may still write there */
    rni_remains remains = {.ended = process->ended, .record = &record, .last_words = last_words,
                           .last_length = rni_tail_copy(&process->tail, last_words),
                           .is_cut = process->tail.total > RNI_TAIL_BYTES,
                           .is_out_of_memory = is_out_of_memory(processes, process)};
    return rni_crash_error(&remains);
}

rn_value rni_process_bury(rni_processes *processes, rni_process *process) {
    int64_t deadline = rni_os_now() + NEWS_WAIT;
    for (;;) {
        uint32_t news = rni_load_acquire(&processes->news); /* pairs with take_news */
        if (has_ended(processes, process) || rni_os_now() >= deadline) break;
        rni_os_wait(&processes->news, news, rni_os_now() + NEWS_LOOK);
    }
    if (!process->has_ended) process->ended = (rni_ended){.status = -1};
    rn_value error = why(processes, process);
    rni_process_let_go(process);
    rni_names_free(&process->names);
    rni_mutex_lock(&processes->lock);
    process->is_up = false;
    process->is_replaced = true;
    rni_os_close(process->memory);
    process->has_exceeded = rni_limits_bury(processes, process->number, process->group);
    rni_supply_ended(processes);
    rni_home_changed(processes);
    process->is_ours_to_blame = rni_overtime_bury(process);
    rni_os_close(process->pidfd);
    rni_process_close_lines(process);
    rni_mutex_unlock(&processes->lock);
    return error;
}

/* ---- the watcher ---- */

struct rni_watched {
    size_t count;
    int *fds;
    uint32_t *numbers;
    bool *ready;
};

enum { EVENT, ZYGOTE, OUTLET, FIRST }; /* what is watched beside the processes */

/* One block. NULL: no memory. */
static struct rni_watched *make_watched(uint32_t processes) {
    size_t count = FIRST + 2 * (size_t)processes;
    struct rni_watched *watched = rni_alloc(sizeof *watched + count * (sizeof(int) + sizeof(uint32_t) + sizeof(bool)));
    if (!watched) return NULL;
    watched->count = count;
    watched->fds = (int *)(watched + 1);
    watched->numbers = (uint32_t *)(watched->fds + count);
    watched->ready = (bool *)(watched->numbers + count);
    return watched;
}

/* With the lock held: what to watch. The event, the zygote, the program's stderr if something waits for it, and every
 * process that lives, and what it writes, unless something waits. */
static void list(rni_processes *processes, struct rni_watched *watched) {
    bool is_waiting = rni_relay_is_waiting(&processes->relay);
    watched->fds[EVENT] = processes->event;
    watched->fds[ZYGOTE] = processes->zygote.socket;
    watched->fds[OUTLET] = is_waiting ? RNI_OS_STDERR : -1;
    for (uint32_t i = 0; i < processes->count; i++) {
        rni_process *process = &processes->all[i];
        bool lives = process->is_up && !rni_load_relaxed(&process->is_dead);
        watched->fds[FIRST + 2 * i] = lives ? process->pidfd : -1;
        watched->fds[FIRST + 2 * i + 1] = lives && !is_waiting ? process->tail.pipe : -1;
        watched->numbers[i] = process->number;
    }
}

static void note_death(rni_processes *processes, rni_process *process) {
    rni_tail_take(&process->tail, &processes->relay, true);
    rni_swap_seq_cst(&process->is_dead, 1); /* pairs with the loads in await_mail, and is_abandoned */
    rni_store_release(&process->channel.is_gone, 1); /* pairs with stream.c */
    rni_channel_nudge(&process->channel);
    rni_add_acq_rel(&processes->news, 1); /* pairs with the load in rni_process_kill */
    rni_os_wake(&processes->news, INT32_MAX);
}

static void look(rni_processes *processes, const struct rni_watched *watched) {
    rni_mutex_lock(&processes->lock);
    if (watched->ready[EVENT]) rni_os_event_lower(processes->event);
    bool is_gone = watched->ready[ZYGOTE] && rni_zygote_is_gone(&processes->zygote);
    if (watched->ready[ZYGOTE]) take_news(processes);
    if (is_gone) rni_zygote_leave(&processes->zygote);
    for (uint32_t i = 0; i < processes->count; i++) {
        rni_process *process = &processes->all[i];
        bool is_it = process->is_up && process->number == watched->numbers[i];
        if (is_it && watched->ready[FIRST + 2 * i + 1]) rni_tail_take(&process->tail, &processes->relay, false);
        watched->ready[FIRST + 2 * i] = is_it && watched->ready[FIRST + 2 * i];
        if (watched->ready[FIRST + 2 * i]) note_death(processes, process);
    }
    rni_mutex_unlock(&processes->lock);
    for (uint32_t i = 0; i < processes->count; i++) /* rni_waits_lock is above ours */
        if (watched->ready[FIRST + 2 * i]) rni_pool_rouse(processes->runtime, i);
}

/* With the lock held: what is over its time is ended. Returns until when the watcher may sleep. */
static int64_t look_at_times(rni_processes *processes) {
    int64_t overtime = rni_overtime_look(processes), leaving = rni_recycle_look(processes);
    processes->watch_until = overtime < leaving ? overtime : leaving;
    return processes->watch_until;
}

void rni_process_watch_until(rni_processes *processes, int64_t deadline) {
    if (deadline >= processes->watch_until) return; /* it looks by then */
    processes->watch_until = deadline;
    rni_os_event_raise(processes->event);
}

static void *watch(void *argument) {
    rni_processes *processes = argument;
    struct rni_watched *watched = processes->watched;
    rni_os_thread_name("runium/watcher");
    while (!rni_load_acquire(&processes->closing)) { /* pairs with close */
        rni_mutex_lock(&processes->lock);
        int64_t until = look_at_times(processes);
        list(processes, watched);
        rni_mutex_unlock(&processes->lock);
        rni_os_poll(watched->fds, watched->ready, watched->count, OUTLET, until == RNI_NEVER ? -1 : until);
        look(processes, watched);
        rni_relay_write(&processes->relay);
    }
    for (uint32_t i = 0; i < processes->count; i++) /* of those that are killed in the end */
        if (processes->all[i].is_up) rni_tail_take(&processes->all[i].tail, &processes->relay, true);
    rni_relay_end(&processes->relay);
    return NULL;
}

/* ---- the executor ---- */

static uint32_t threads_of(const rn_options *options) {
    uint32_t workers = options->workers ? options->workers : rni_os_cpu_count();
    return workers + (options->spare_workers ? options->spare_workers : RN_SPARES_DEFAULT) + 1;
}

static void free_processes(rni_processes *processes) {
    rni_zygote_stop(&processes->zygote);
    rni_os_sandbox_close(&processes->sandbox);
    rni_limits_close(processes);
    rni_os_close(processes->event);
    rni_os_close(processes->oom_counter);
    rni_capsules_close(processes->capsules);
    rni_prepare_close(&processes->preparation);
    rni_free(processes->watched);
    rni_free(processes->all);
    rni_free(processes);
}

static rn_value make_processes(rn_runtime *runtime, const rn_options *options) {
    rni_processes *processes = rni_alloc_zeroed(sizeof *processes);
    if (!processes) return rni_error_no_memory();
    processes->runtime = runtime;
    processes->count = threads_of(options) + 1;
    processes->all = rni_alloc_zeroed(processes->count * sizeof *processes->all);
    processes->watched = make_watched(processes->count);
    processes->watch_until = RNI_NEVER;
    processes->recycling = (rni_recycling){.after = options->recycle_after, .memory = options->recycle_memory};
    rni_supply_init(&processes->supply, options->respawn_rate ? options->respawn_rate : RN_RESPAWN_RATE_DEFAULT);
    processes->quarantine.limit = options->quarantine ? options->quarantine : RN_QUARANTINE_DEFAULT;
    processes->grace = options->grace ? options->grace : RN_GRACE_DEFAULT;
    processes->stop_grace = options->stop_grace ? options->stop_grace : RN_STOP_GRACE_DEFAULT;
    processes->event = rni_os_event();
    processes->oom_counter = rni_os_oom_open();
    processes->zygote = (rni_zygote){.socket = -1, .calls = -1, .program = {.pidfd = -1}}; /* to be stopped as it is */
    rn_value error = rni_sandbox_open(&processes->sandbox, options->sandbox);
    if (rni_is_none(error) && (!processes->all || !processes->watched || processes->event < 0))
        error = rni_error_no_memory();
    if (rni_is_none(error)) error = rni_prepare_open(&processes->preparation, options);
    if (rni_is_none(error)) error = rni_capsules_open(options->capsules, &processes->capsules);
    if (rni_is_none(error)) error = rni_zygote_start(&processes->zygote);
    int code = rni_is_none(error) ? rni_os_thread_start(&processes->watcher, watch, processes) : RN_OK;
    if (code != RN_OK) error = rn_error(code, "the thread that watches worker processes could not be started");
    if (rni_is_none(error)) runtime->processes = processes;
    else free_processes(processes);
    return error;
}

/* Asks each process to end; those that do not are killed with the zygote. */
static void quit_all(rni_processes *processes) {
    for (uint32_t i = 0; i < processes->count; i++) {
        rni_process *process = &processes->all[i];
        if (!process->is_up) continue;
        rni_writer_begin(&process->channel.frame, RNI_QUIT);
        (void)rni_channel_send(&process->channel);
    }
    int64_t deadline = rni_os_now() + QUIT_WAIT;
    for (uint32_t i = 0; i < processes->count; i++) {
        rni_process *process = &processes->all[i];
        while (process->is_up && rni_os_now() < deadline) {
            uint32_t news = rni_load_acquire(&processes->news); /* pairs with note_death */
            if (rni_load_acquire(&process->is_dead)) break;     /* as above */
            rni_os_wait(&processes->news, news, deadline);
        }
    }
    rni_recycle_await(processes, deadline);
}

static void close_processes(rn_runtime *runtime) {
    rni_processes *processes = rni_processes_of(runtime);
    quit_all(processes);
    rni_store_release(&processes->closing, 1); /* pairs with watch */
    rni_os_event_raise(processes->event);
    rni_os_thread_join(processes->watcher);
    for (uint32_t i = 0; i < processes->count; i++) {
        rni_process *process = &processes->all[i];
        if (!process->is_up) continue;
        process->is_up = false;
        rni_process_let_go(process);
        rni_names_free(&process->names);
        rni_os_close(process->memory);
        rni_os_close(process->group);
        rni_os_close(process->pidfd);
        rni_process_close_lines(process);
    }
    rni_recycle_close(processes);
    runtime->processes = NULL; /* before a child could find what is given back now */
    free_processes(processes);
}

static rn_value open_pool(rn_runtime *runtime, const rn_options *options) {
    rn_value error = make_processes(runtime, options);
    if (!rni_is_none(error)) return error;
    error = rni_thread_executor.open(runtime, options);
    if (!rni_is_none(error)) close_processes(runtime);
    return error;
}

static void close_pool(rn_runtime *runtime) {
    rni_thread_executor.close(runtime);
    close_processes(runtime);
}

static uint32_t phase_bits(const rni_processes *processes) {
    enum rni_phase phase = rni_phase(processes->runtime);
    return phase == RNI_DRAINING ? RNI_TOLD_DRAIN : phase == RNI_STOPPING ? RNI_TOLD_HALT : 0;
}

static uint32_t stop_bit(const rni_run *run) {
    return run && rni_load_acquire(&run->done.word) & RNI_STOP ? RNI_TOLD_STOP : 0; /* pairs with rni_completion_stop */
}

bool rni_process_is_stopped(const rni_processes *processes, const rni_run *run) {
    return (phase_bits(processes) | stop_bit(run)) & (RNI_TOLD_HALT | RNI_TOLD_STOP);
}

/* With the lock held: what the word of its run, and the phase, say to a process that sees neither. */
void rni_process_tell(rni_processes *processes, rni_process *process) {
    uint32_t bits = phase_bits(processes) | stop_bit(process->run) | rni_overtime_bits(process);
    rni_store_relaxed(&process->channel.out->told, bits); /* it says all by itself: nothing else is published by it */
}

bool rni_process_take(rni_processes *processes, rni_process *process, const rni_turn *turn, rni_run **before, rn_value *error) {
    rni_mutex_lock(&processes->lock);
    if (turn) rni_home_come(processes, process, turn);
    bool is_up = process->is_up || rni_supply_process(processes, process, error);
    if (is_up && turn) rni_home_settle(process, turn);
    if (is_up) {
        *before = process->run;
        process->run = turn ? turn->call.run : NULL;
        process->users++;
        rni_store_relaxed(&process->waits, 0);
        rni_process_tell(processes, process);
        rni_supply_log_recovery(processes);
    }
    rni_mutex_unlock(&processes->lock);
    return is_up;
}

void rni_process_set_batch(rni_processes *processes, rni_process *process, rni_run *const *runs, uint32_t count) {
    rni_mutex_lock(&processes->lock);
    process->batch = runs;
    process->batch_count = process->is_up ? count : 0;
    for (uint32_t i = 0; i < process->batch_count; i++)
        rni_store_relaxed(&process->channel.out->told_in_batch[i], phase_bits(processes) | stop_bit(runs[i])); /* as in tell */
    rni_mutex_unlock(&processes->lock);
}

/* With the lock held. Of the runs of a batch that are not the one asked for nothing is read: they may be others' by now. */
static void tell_batch(const rni_processes *processes, rni_process *process, const rni_run *run) {
    for (uint32_t i = 0; i < process->batch_count; i++) {
        rni_a32 *word = &process->channel.out->told_in_batch[i];
        uint32_t stop = run ? stop_bit(run) : rni_load_relaxed(word) & RNI_TOLD_STOP;
        if (!run || process->batch[i] == run) rni_store_relaxed(word, phase_bits(processes) | stop); /* as in tell */
    }
}

void rni_process_let_be(rni_processes *processes, rni_process *process, uint32_t number, rni_run *before) {
    rni_mutex_lock(&processes->lock);
    process->users--;
    if (rni_process_is(process, number)) {
        process->run = before;
        rni_store_relaxed(&process->waits, before != NULL); /* for the run that has ended */
        rni_process_tell(processes, process);
    }
    rni_home_changed(processes);
    rni_supply_idle(processes, process);
    rni_mutex_unlock(&processes->lock);
}

static void told(rn_runtime *runtime, rni_run *run) {
    rni_processes *processes = rni_processes_of(runtime);
    rni_mutex_lock(&processes->lock);
    bool is_stop = rni_process_is_stopped(processes, run);
    for (uint32_t i = 0; i < processes->count; i++) {
        rni_process *process = &processes->all[i];
        if (process->is_up && is_stop) rni_overtime_stop(processes, process, run);
        if (process->is_up && (!run || process->run == run)) rni_process_tell(processes, process);
        if (process->is_up) tell_batch(processes, process, run);
    }
    rni_mutex_unlock(&processes->lock);
}

static rn_value refuse(const char *field) {
    return rn_error(RN_NOT_PORTABLE, "%s is in no loaded file, and cannot be found in a worker process", field);
}

static rn_value accept(rn_runtime *runtime, const rn_task *task) {
    if (!rni_names_find((uintptr_t)task->function)) return refuse(".function");
    if (!rni_names_find((uintptr_t)task->on_iter)) return refuse(".on_iter");
    if (!rni_names_find((uintptr_t)task->on_success)) return refuse(".on_success");
    if (!rni_names_find((uintptr_t)task->on_error)) return refuse(".on_error");
    if (!rni_names_find((uintptr_t)task->on_finished)) return refuse(".on_finished");
    if (!rni_wire_is_portable(task->arg))
        return rn_error(RN_NOT_PORTABLE, ".arg holds a pointer, which means nothing in another process");
    return rni_limits_accept(rni_processes_of(runtime), task);
}

static void stats(rn_runtime *runtime, rn_stats *stats) {
    rni_processes *processes = rni_processes_of(runtime);
    rni_thread_executor.stats(runtime, stats);
    rni_mutex_lock(&processes->lock);
    unsigned up = processes->supply.wanted > 0 ? rni_supply_up(processes) : stats->workers;
    rni_mutex_unlock(&processes->lock);
    if (up < stats->workers) stats->workers = up;
}

static rni_executor table;

__attribute__((constructor)) static void fill_table(void) {
    table = rni_thread_executor;
    table.name = "RN_PROCESSES";
    table.open = open_pool;
    table.close = close_pool;
    table.accept = accept;
    table.work = rni_process_work;
    table.execute = rni_process_execute;
    table.home = rni_home_thread;
    table.told = told;
    table.forget = rni_process_forget;
    table.stats = stats;
}

const rni_executor *rni_process_executor(void) { return &table; }
