/*
 * Executor 2: worker processes. The threads, queues, timers and waits are those of the thread pool; what differs is
 * where a turn is run: each thread of the pool owns a worker process, made when it first needs one, and takes each run
 * through its turn there. So every rule about runs holds by the same lines, and a wait inside a task, which the process
 * asks its thread for, is that thread's wait: inlined in the same process, or with a spare thread and its process.
 *
 * Threads of the program that run tasks themselves (a full queue, with RN_CALLER_RUNS) share one process.
 *
 * A watcher thread sees deaths, by pidfd, and wakes the thread whose process died; the zygote tells why.
 */
#ifndef RNI_PROCESS_HOST_H
#define RNI_PROCESS_HOST_H

#include "base/os_crash.h"
#include "core/executor.h"
#include "core/turn.h"
#include "process/capsule.h"
#include "process/channel.h"
#include "process/names.h"
#include "process/sandbox.h"
#include "process/stderr.h"
#include "process/zygote.h"

/* A future of a run that a task in the process started. */
typedef struct rni_held {
    rn_future *future; /* NULL: the place is free */
    uint32_t uses;     /* of the place: part of the number that the process has */
} rni_held;

/* One worker process, and its thread's end of it. Used by that thread; what others use is guarded by processes->lock. */
typedef struct rni_process {
    rni_channel channel; /* made and closed under the lock; whoever nudges holds it */
    rni_names names;
    bool is_up;          /* guarded: there is a process, or it has died and nobody has noticed */
    int pidfd;           /* guarded */
    uint32_t number;     /* guarded: the zygote's */
    rni_a32 is_dead;     /* set by the watcher */
    rni_run *run;        /* guarded: that is at work in it; NULL: none */
    bool died_below;     /* just now, in a run that the one at work waited for */
    bool has_ended;      /* guarded: `ended` says how */
    rni_ended ended;
    rni_os_crash *crash; /* shared with it: what it says of its death; read when it is dead */
    rni_tail tail;       /* of what it writes to stderr */
    uint64_t oom_kills;  /* guarded: what the counter said when it was made */
    rni_held *held;
    uint32_t held_count;

    /* See batch.c. */
    bool is_busy;        /* with a batch, while its thread does something else: a turn goes elsewhere */
    bool is_single;      /* the last one died before it began any of a batch: the next run goes alone */
    uint32_t batch_most; /* runs in a batch; 0: not known yet */
    enum rni_resumed { RNI_NOT_RESUMED, RNI_RESUMED_ASKING, RNI_RESUMED_FAILED } resumed; /* the next turn begins like this */
    rn_value resumed_error; /* of RNI_RESUMED_FAILED */
} rni_process;

typedef struct rni_processes {
    rn_runtime *runtime;
    rni_mutex lock;      /* below every other lock */
    rni_zygote zygote;   /* guarded */
    uint32_t first;      /* guarded: number of the first worker of this zygote */
    rni_os_sandbox sandbox; /* constant */
    uint32_t count;      /* constant: threads of the pool, and one for callers */
    rni_process *all;    /* by the number of the thread; the last: the callers' */
    rni_mutex callers;   /* held by the thread that uses theirs */
    rni_aptr caller;     /* that thread (rni_os_thread_self); written with the lock held */
    rni_a32 news;        /* a futex: moves when a process has ended */
    rni_capsules *capsules; /* constant; NULL: none are written */
    int event;           /* wakes the watcher */
    rni_a32 closing;
    rni_os_thread watcher;
    rni_relay relay;     /* the watcher's */
    int oom_counter;     /* of the group that the processes are in; constant */
    uint64_t oom_kills;  /* guarded: up to which kill of that counter a death was put down to it */
    struct rni_watched *watched; /* the watcher's */
} rni_processes;

/* Whether it is still the process that it was, and not its successor. */
static inline bool rni_process_is(const rni_process *process, uint32_t number) {
    return process->is_up && process->number == number;
}

static inline rni_processes *rni_processes_of(rn_runtime *runtime) { return runtime->processes; }

/* pool.c */
const rni_executor *rni_process_executor(void);
bool rni_process_ensure(rni_processes *processes, rni_process *process, rn_value *error); /* it is up */
void rni_process_kill(rni_processes *processes, rni_process *process);
/* The run that is at work now: it is told what it must know. Returns the one before. */
rni_run *rni_process_set_run(rni_processes *processes, rni_process *process, rni_run *run);
rn_value rni_process_bury(rni_processes *processes, rni_process *process); /* it is dead: why; it is not up any more */

/* forget.c: in a forked child. Whoever gives a descriptor back says first that it is not there any more (is_up, -1), so
 * that no child closes what has that number since. */
void rni_process_forget(rn_runtime *runtime);

/* proxy.c */
bool rni_process_work(rni_turn *turn);
rn_value rni_process_broken(rni_processes *processes, rni_process *process); /* kills it, for what it sent */
bool rni_process_await_mail(rni_process *process, int64_t deadline); /* negative: none. False: there is none */

/* batch.c */
void rni_process_execute(rn_runtime *runtime, rni_run *run);

/* serve.c: answers what the process asked. False: it asked what no worker asks. */
bool rni_process_serve(rni_processes *processes, rni_process *process, rni_turn *turn, uint8_t frame, rni_reader *reader);
void rni_process_let_go(rni_process *process); /* of all futures */

#endif
