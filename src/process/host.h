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
#include "process/home.h"
#include "process/limits.h"
#include "process/names.h"
#include "process/overtime.h"
#include "process/prepare.h"
#include "process/quarantine.h"
#include "process/recycle.h"
#include "process/sandbox.h"
#include "process/stderr.h"
#include "process/supply.h"
#include "process/zygote.h"

/* A future of a run that a task in the process started. */
typedef struct rni_held {
    rn_future *future; /* NULL: the place is free */
    uint32_t uses;     /* of the place: part of the number that the process has */
} rni_held;

/* The place of a thread for its worker process, with the thread's end of it. While none of the thread's turns and batches is
 * under way (users == 0) threads may exchange the processes of their places, and what goes along is guarded by
 * processes->lock; while one is, even if its process has died since and there is another, it is used by that thread, and
 * guarded is what others look at all the same. */
typedef struct rni_process {
    rni_channel channel; /* made and closed under the lock; whoever nudges holds it */
    rni_names names;
    bool is_up;          /* guarded: there is a process, or it has died and nobody has noticed */
    int pidfd;           /* guarded */
    uint32_t number;     /* guarded: the zygote's */
    rni_a32 is_dead;     /* set by the watcher */
    rni_run *run;        /* guarded: that is at work in it; NULL: none */
    rni_a32 waits;       /* its task waits for another run; written by the thread */
    bool is_replaced;    /* guarded: the one before it, in this place, died */
    uint64_t turns;      /* that it has done */
    bool is_prepared;    /* guarded while nobody uses it: .prepare was run there, if there is one; see prepare.h */
    bool is_preparing;   /* it is being run there */
    int memory;          /* tells how much it uses, if anybody asks; or -1 */
    int pid;             /* for /proc: never to be signalled */
    int group;           /* its control group; or -1 */
    bool has_exceeded;   /* the one that was buried last: used more memory than its group might */
    rni_stage_limit *deadline; /* guarded: of the innermost turn there; NULL: none */
    bool has_ended;      /* guarded: `ended` says how */
    rni_ended ended;
    bool is_ours_to_blame; /* guarded: it died of a signal of ours */
    rni_os_crash *crash; /* shared with it: what it says of its death; read when it is dead */
    rni_tail tail;       /* of what it writes to stderr */
    uint64_t oom_kills;  /* guarded: what the counter said when it was made */
    rni_held *held;
    uint32_t held_count;

    rni_run *const *batch; /* guarded, as its length; see batch.c */
    uint32_t batch_count;

    /* What follows stays with the thread when processes are exchanged. */
    unsigned users;      /* guarded: turns and batches of the thread that are under way; 0: the process lies idle */
    bool is_busy;        /* with a batch, while its thread does something else: a turn goes elsewhere */
    bool is_single;      /* the last one died before it began any of a batch: the next run goes alone */
    uint32_t batch_most; /* runs in a batch; 0: not known yet */
    enum rni_resumed { RNI_NOT_RESUMED, RNI_RESUMED_ASKING, RNI_RESUMED_FAILED } resumed; /* the next turn begins like this */
    rn_value resumed_error; /* of RNI_RESUMED_FAILED */
    const rni_stage_limit *resumed_limit; /* of RNI_RESUMED_ASKING */
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
    rni_quarantine quarantine;
    rni_preparation preparation;
    rni_supply supply;   /* guarded */
    rni_homing homing;   /* guarded */
    rni_recycling recycling;
    rni_memory_groups groups;
    int event;           /* wakes the watcher */
    int64_t watch_until; /* guarded: when the watcher looks at deadlines next, at the latest; RNI_NEVER */
    int64_t grace;       /* constant: between two steps of ending a task */
    int64_t stop_grace;  /* constant: what was told to stop may take, before the next step */
    rni_a32 closing;
    rni_os_thread watcher;
    rni_relay relay;     /* the watcher's */
    int oom_counter;     /* of the group that the processes are in; constant */
    uint64_t oom_kills;  /* guarded: up to which kill of that counter a death was put down to it */
    struct rni_watched *watched; /* the watcher's */
} rni_processes;

/* Whether it is still the process that it was, and not its successor. For its thread, while it uses it; or with the lock held. */
static inline bool rni_process_is(const rni_process *process, uint32_t number) {
    return process->is_up && process->number == number;
}

static inline rni_processes *rni_processes_of(rn_runtime *runtime) { return runtime->processes; }

/* pool.c */
const rni_executor *rni_process_executor(void);
rn_value rni_process_make(rni_processes *processes, rni_process *process); /* a new one; with the lock held */
/* Its thread uses it from now on, so that no other does: a process is there, the turn's run (without a turn: none) is at
 * work in it, and *before is the one that was, and waits. */
bool rni_process_take(rni_processes *processes, rni_process *process, const rni_turn *turn, rni_run **before, rn_value *error);
void rni_process_close_lines(rni_process *process); /* what it shares with its host */
void rni_process_kill(rni_processes *processes, rni_process *process);
/* The other end of that; `number` is of the process that was taken. If it died, there may be another by now, which has not
 * begun anything of `before`. Afterwards it may be another thread's, if nobody uses it. */
void rni_process_let_be(rni_processes *processes, rni_process *process, uint32_t number, rni_run *before);
/* The runs of its batch, which are told what they must know; the list stays there until the next call. NULL, 0: none. */
void rni_process_set_batch(rni_processes *processes, rni_process *process, rni_run *const *runs, uint32_t count);
bool rni_process_is_stopped(const rni_processes *processes, const rni_run *run); /* or all are */
void rni_process_tell(rni_processes *processes, rni_process *process); /* the same again; with the lock held */
void rni_process_watch_until(rni_processes *processes, int64_t deadline); /* at most; with the lock held */
rn_value rni_process_bury(rni_processes *processes, rni_process *process); /* it is dead: why; it is not up any more */

/* forget.c: in a forked child. Whoever gives a descriptor back says first that it is not there any more (is_up, -1), so
 * that no child closes what has that number since. */
void rni_process_forget(rn_runtime *runtime);

/* proxy.c */
bool rni_process_work(rni_turn *turn);
/* .prepare, in that process, as that turn. If that was not well there is an error, and maybe no process any more. */
enum rni_prepared rni_process_prepare(rni_processes *processes, rni_process *process, rni_turn *turn, rn_value *error);
void rni_process_put_away(rni_processes *processes, rni_process *process); /* kills and buries it */
rn_value rni_process_broken(rni_processes *processes, rni_process *process); /* kills it, for what it sent */
bool rni_process_await_mail(rni_process *process, int64_t deadline); /* negative: none. False: there is none */

/* batch.c */
void rni_process_execute(rn_runtime *runtime, rni_run *run);

/* serve.c: answers what the process asked. False: it asked what no worker asks. */
bool rni_process_serve(rni_processes *processes, rni_process *process, rni_turn *turn, uint8_t frame, rni_reader *reader);
void rni_process_let_go(rni_process *process); /* of all futures */

#endif
