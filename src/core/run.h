/*
 * A run: one execution of a task, and its future. A cache line, and a side that only runs with hooks
 * touch, or those that wait for a delay: a run that has both, or a schedule, a name or progress, has a
 * plan too.
 *
 * What another thread may read while the run is being reused (the pending list) is an atomic word,
 * read relaxed and checked by the generation afterwards.
 */
#ifndef RNI_CORE_RUN_H
#define RNI_CORE_RUN_H

#include <runium.h>

#include "core/completion.h"
#include "core/slab.h"
#include "core/timers.h"

/* rni_run.flags: the low 4 bits are updates_result. */
#define RNI_UPDATES 15u
#define RNI_HOOKS 16u
#define RNI_DETACHED 32u
#define RNI_KIT 128u       /* its runtime has a test kit */
#define RNI_REMOTE 256u    /* in a worker process: stands for a run of the host's, see remote.h */
#define RNI_BOUNDED 512u   /* its plan has bounds */
#define RNI_DELAYED 1024u  /* waits for its start by a timer in its side; it has no hooks */
#define RNI_COUNTED_IN 64u /* counts against .queue_limit until it begins */

typedef struct rni_hooks {
    rn_outcome_fn *on_iter;
    rn_success_fn *on_success;
    rn_error_fn *on_error;
    rn_outcome_fn *on_finished;
} rni_hooks;

#define RNI_NAME_WORDS ((RN_NAME_MAX + 1) / 8)

typedef struct rni_plan {
    /* A cache line of what the timers touch. */
    rni_timer timer;      /* when the next iteration is due */
    rni_a64 next_start;   /* a copy of that for the pending list */
    int64_t every;        /* 0: back to back */
    uint64_t times;       /* RN_ENDLESS, or how many iterations */
    uint32_t last_worker; /* that ran the last iteration, plus 1; or its process, likewise (executor->home); 0: none */
    bool has_updated, has_outcome;

    rni_a64 born;
    rni_a64 iteration;
    rni_a64 progress;     /* bits of a double */
    uint64_t missed;
    rn_value outcome;     /* of the last iteration, while the run waits */
    rn_value updated;     /* the result that on_iter put in its place, if has_updated */

    rni_a64 name[RNI_NAME_WORDS]; /* zero: the origin's */
} rni_plan;

/* What an iteration or hook may use: .timeout and .limits of its task. 0: as much as it likes. */
typedef struct rni_bounds {
    int64_t timeout, cpu;
    uint64_t address_space, open_files, memory;
} rni_bounds;

/* The plan of a run with bounds: larger than others, so that those stay small. */
typedef struct rni_bounded_plan {
    rni_plan plan;
    rni_bounds bounds;
} rni_bounded_plan;

typedef struct rni_run {
    rni_completion done;
    rn_task_fn *function;
    rni_aptr origin;      /* const char *: name NUL file:line, or NULL */
    rni_a64 plan;         /* rni_plan *, or 0; odd: there is none, and the run is due then, for the pending list */
    rni_a32 generation;   /* one more each time the run is given back */
    rni_a32 flags;        /* set before others see it; COUNTED_IN is taken away by who begins it in a batch */
    rni_a32 born;         /* milliseconds since the runtime opened; of runs without a plan */
    rni_a32 place;        /* low half: the runtime's index; upper half: the worker that runs it, plus 1 */
} rni_run;

static inline uint32_t rni_run_flags(const rni_run *run) { return rni_load_relaxed(&run->flags); }
static inline rni_hooks *rni_run_hooks(const rni_run *run) { return rni_run_side(run); }
static inline rni_plan *rni_plan_in(uint64_t word) { return word & 1 ? NULL : (rni_plan *)(uintptr_t)word; }
static inline rni_plan *rni_run_plan(rni_run *run) { return rni_plan_in(rni_load_relaxed(&run->plan)); }
static inline const rni_bounds *rni_run_bounds(rni_run *run) {
    return rni_run_flags(run) & RNI_BOUNDED ? &((const rni_bounded_plan *)rni_run_plan(run))->bounds : NULL; /* LCOV_EXCL_BR_LINE: of worker processes */
}

/* What a run that waits for the clock waits by; NULL: it never does. */
static inline rni_timer *rni_run_timer(rni_run *run) {
    rni_plan *plan = rni_run_plan(run);
    return rni_run_flags(run) & RNI_DELAYED ? rni_run_side(run) : plan ? &plan->timer : NULL;
}

static inline uint32_t rni_run_runtime(rni_run *run) { return rni_load_relaxed(&run->place) & 0xffff; }

_Static_assert(sizeof(rni_run) <= RNI_RUN_STRIDE && sizeof(rni_hooks) <= RNI_RUN_SIDE, "a run fits its slab");
_Static_assert(sizeof(rni_timer) <= RNI_RUN_SIDE, "and so does its timer");
_Static_assert(sizeof(rni_plan) <= RNI_PLAN_STRIDE && sizeof(rni_node) <= RNI_NODE_STRIDE, "so do plan and node");
_Static_assert(sizeof(rni_bounded_plan) <= RNI_BOUNDED_STRIDE, "and a plan with bounds");

/* What a function or hook sees. On the stack of the thread that runs it. */
struct rn_call {
    rn_value arg;
    rn_value wait_error;   /* the last RN_DEADLOCK that a wait of this call was answered with */
    rn_runtime *runtime;
    rni_run *run;
    rn_call *outer;        /* the call below it on this stack, which awaits this run; or NULL */
    const char *name;
    const char *hook;      /* "" in the function */
    uint64_t iteration;
    uint64_t run_id;       /* 0: the run's own; in a worker process: that of the host's run */
    char name_text[RN_NAME_MAX + 1];
};

/* Whether a call, or one below it on its stack, belongs to the run: then it ends after that call. */
static inline bool rni_is_on_stack(const rn_call *call, const rni_run *run) {
    while (call && call->run != run) call = call->outer;
    return call != NULL;
}

/* The name of a run, in text; its id. */
void rni_run_name(rni_run *run, char text[RN_NAME_MAX + 1]);
uint64_t rni_run_id(rni_run *run);

/* The future of a run, as a handle; and back: NULL for one of the parent's. Stops the program on a handle that is
 * not a live future, naming `function`. */
rn_future *rni_run_future(rni_run *run);
static inline uint32_t rni_run_generation(rni_run *run) {
    return rni_load_relaxed(&rni_chunk_of(run)->generation) + rni_load_relaxed(&run->generation);
}
rni_run *rni_future_run(rn_future *future, const char *function);

/* For a runtime with that index. NULL: no memory. A zero plan, no hooks. */
static inline rni_run *rni_run_take(rni_slab *slab, uint32_t runtime) {
    rni_run *run = rni_slab_take(slab, RNI_RUN_STRIDE);
    if (!run) return NULL;
    rni_store_relaxed(&run->plan, 0);
    rni_store_relaxed(&run->place, runtime);
    return run;
}
rni_run *rni_run_make(rn_runtime *runtime); /* the same, of this thread's slab */
rni_plan *rni_run_add_plan(rni_run *run, int64_t born); /* NULL: no memory */
void rni_run_delay(rni_run *run, int64_t due);          /* a run without plan and hooks gets a timer */
rni_plan *rni_run_add_bounded_plan(rni_run *run, int64_t born, const rni_bounds *bounds); /* the same; once run->flags are set */
/* In whole words, zeros after its end: so the pending list may read it while it changes. */
void rni_plan_set_name(rni_plan *plan, const char *name);
void rni_run_free(rni_run *run);      /* its value is dropped already */
void rni_run_give_back(rni_run *run); /* over, and nobody holds on to it: drops its value and frees it */
bool rni_run_is_static(const rni_run *run); /* the one for want of memory: never freed */
/* As rn_wait(), in this thread's place; with RN_DEADLOCK *error is yours. */
int rni_await(rni_run *run, int64_t timeout_ns, rn_value *error);
void rni_node_free(rni_node *node);

/* A future that is done, with an error that it takes; never NULL. */
rn_future *rni_future_failed(rn_value error);

/* Completes a run with `value`, which it takes: wakes, calls done callbacks, frees. The lane: this thread's, or NULL. */
struct rni_lane;
void rni_run_complete(rn_runtime *runtime, struct rni_lane *lane, rni_run *run, rn_value value);

/* Cancels a run that has not begun, with done callbacks. The timers or the queue that it is in unqueue it. False if it
 * has begun. */
bool rni_run_cancel(rni_run *run, rn_value error);
void rni_run_unqueue(rni_run *run);

/* Runs what a worker took from a queue, up to the end or to the next wait for the clock. */
void rni_run_execute(rn_runtime *runtime, rni_run *run);      /* begins it */
void rni_run_execute_begun(rn_runtime *runtime, rni_run *run); /* that has begun: claimed */

#endif
