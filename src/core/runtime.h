/*
 * A runtime: options, clock, timers, lanes; its executor does the rest. Its memory is never unmapped,
 * so that a stale handle is found out by its serial.
 */
#ifndef RNI_CORE_RUNTIME_H
#define RNI_CORE_RUNTIME_H

#include <runium.h>

#include "base/os.h"
#include "core/timers.h"

struct rni_executor;
struct rni_lane;

enum rni_phase { RNI_OPEN, RNI_DRAINING, RNI_STOPPING, RNI_FAILED };

/* A thread outside that waits for something of a runtime with a test kit. On its stack. */
typedef struct rni_outside {
    struct rni_outside *next;
    struct rni_run *run; /* it waits for this to be over; NULL: for the clock, or for idleness */
    int64_t deadline;    /* on the runtime's clock; negative: never */
    bool is_settle;      /* waits for idleness */
    rni_a32 word;        /* a futex, for those that wait for no run */
} rni_outside;

struct rn_runtime {
    /* What a thread may read that comes late, when the runtime is closed, or another one: atomic words, all of them. */
    rni_a64 serial; /* unique; 0: closed */
    rni_a64 queued; /* runs not begun; only with a queue_limit */
    rni_a64 virtual_now;
    rni_a64 finished_elsewhere; /* runs, by threads that have no lane */
    rni_aptr lanes;
    rni_a32 phase;
    rni_a32 closing;     /* somebody is in rn_close */
    rni_a32 closed_word; /* futex of that one: moves when it should look again */
    rni_a32 settlers;    /* threads in rn_testing_settle: who parks looks whether they have what they wait for */
    rni_a32 is_plain;    /* has threads, and neither a limit nor a test kit, and takes every task */
    rni_a32 room;        /* futex of those who wait for a place in the queue: moves when a run begins */

    /* What only those read for whom the runtime stays open: constant after rn_open, but where it says so. */
    uint32_t index;                      /* in the world's table */
    const struct rni_executor *executor; /* NULL: it could not open */
    void *pool;                          /* the executor's */
    void *processes;                     /* likewise, of one whose turns are run in processes */
    rn_value open_error;
    bool debug;
    rn_log_fn *log;
    void *log_context;
    void (*on_idle)(void *context); /* NULL: nobody wants to know */
    void *idle_context;
    char name[32];
    unsigned workers_asked;
    bool is_threadless; /* the system refused every thread: runs run in their callers */

    size_t queue_limit;
    enum rn_when_full when_full;
    rni_timers *timers;
    int64_t opened;      /* on its clock */
    int64_t wall_opened; /* the same moment, since 1970 */

    const rni_a32 *told; /* in a worker process: what the host tells the run at work (enum rni_told); else NULL */

    bool is_virtual;
    uint64_t seed; /* 0: none */
    rni_mutex outside_lock; /* guards outside; above rni_waits_lock and the pool's */
    rni_outside *outside;
    uint64_t outside_moves; /* guarded likewise: how often one came or went */
};

_Static_assert(sizeof(struct rn_runtime) <= 1024, "fits its slab");

void rni_runtime_reset(rn_runtime *runtime, uint64_t serial, uint32_t index);

/* The runtime behind a handle; or NULL with RN_CLOSED or RN_FORKED in *code. NULL handles stop the program. */
rn_runtime *rni_runtime_of(rn_runtime *handle, const char *function, int *code);
rn_runtime *rni_runtime_handle(rn_runtime *runtime);
uint64_t rni_runtime_serial(rn_runtime *runtime, const rn_runtime *handle); /* 0: it is another by now, or closed */
rn_value rni_code_error(int code);

int64_t rni_now(rn_runtime *runtime);
int64_t rni_deadline(rn_runtime *runtime, int64_t timeout_ns); /* negative: -1, never; saturates */

/* Runs that are not over. */
uint64_t rni_pending_count(rn_runtime *runtime);
void rni_count_finished(rn_runtime *runtime, struct rni_lane *lane); /* this thread's, or NULL */

/* The closing thread looks again. */
void rni_runtime_changed(rn_runtime *runtime);

static inline enum rni_phase rni_phase(rn_runtime *runtime) {
    return (enum rni_phase)rni_load_seq_cst(&runtime->phase); /* pairs with the swap in rn_close */
}

/* rn_stop(); rn_close(): draining, stopping; the current stage: is over its time, was sent SIGTERM. */
enum rni_told { RNI_TOLD_STOP = 1, RNI_TOLD_DRAIN = 2, RNI_TOLD_HALT = 4, RNI_TOLD_LATE = 8, RNI_TOLD_TERM = 16 };
static inline uint32_t rni_told(const rn_runtime *runtime) {
    return runtime->told ? rni_load_relaxed(runtime->told) : 0;
}

/* .queue_limit: reserves a place for one run not begun; gives it back. */
bool rni_queue_reserve(rn_runtime *runtime);
void rni_queue_release(rn_runtime *runtime);

/* log.c */
void rni_log(rn_runtime *runtime, enum rn_level level, const char *format, ...) RN_PRINTF(3, 4);
void rni_log_record(rn_runtime *runtime, const rn_log_record *record);
void rni_log_failure(const rn_call *call, rn_value error);
void rni_log_refusal(rn_runtime *runtime, const char *task, rn_value error); /* of a run that could not start */

/* outside.c: waits of threads that are not workers, by the runtime's clock. */
int rni_outside_wait(struct rni_run *run, int64_t timeout_ns);
typedef struct rni_outside_view {
    bool all_wait;          /* some wait, and none of them has what it waits for */
    uint64_t moves;         /* the same again: meanwhile none came and none went */
    int64_t first_deadline; /* until when the clock may move, as far as they go; RNI_NEVER */
} rni_outside_view;
rni_outside_view rni_outside_look(rn_runtime *runtime);
bool rni_outside_may_run(rn_runtime *runtime); /* all_wait */
void rni_outside_wake_due(rn_runtime *runtime);
void rni_outside_close(rn_runtime *runtime); /* nothing is pending: ends the waits that are left, and waits for them */

#endif
