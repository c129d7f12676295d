#include "core/run.h"

#include <string.h>

#include "base/memory.h"
#include "core/executor.h"
#include "core/handle.h"
#include "core/lane.h"
#include "core/schedule.h"
#include "value/value.h"

/* The future of a run that not even an error could be kept for. */
static _Alignas(64) rni_run no_memory_run; /* as those in slabs: its address is a handle */

__attribute__((constructor)) static void init_static_run(void) {
    no_memory_run.done.value = rni_error_no_memory();
    rni_completion_init(&no_memory_run.done, RN_DONE | RNI_SETTLED);
}

static rni_slab *slab_of(enum rni_class class_of) { return rni_self ? &rni_self->slabs[class_of] : NULL; }

rni_run *rni_run_make(rn_runtime *runtime) {
    rni_thread *self = rni_thread_get();
    return self ? rni_run_take(&self->slabs[RNI_CLASS_RUN], runtime ? runtime->index : UINT32_C(0xffff)) : NULL;
}

static void init_plan(rni_plan *plan, rni_run *run, int64_t born) {
    rni_store_relaxed(&plan->name[0], 0);
    rni_store_relaxed(&plan->next_start, 0);
    rni_store_relaxed(&plan->born, (uint64_t)born);
    rni_store_relaxed(&plan->iteration, 0);
    rni_store_relaxed(&plan->progress, 0);
    plan->times = 1;
    plan->timer = (rni_timer){.run = run};
    plan->every = 0;
    plan->missed = 0;
    plan->last_worker = 0;
    plan->has_updated = plan->has_outcome = false;
    rni_store_release(&run->plan, (uint64_t)(uintptr_t)plan); /* pairs with the acquire load of the pending list */
}

rni_plan *rni_run_add_plan(rni_run *run, int64_t born) {
    rni_thread *self = rni_thread_get();
    rni_plan *plan = self ? rni_slab_take(&self->slabs[RNI_CLASS_PLAN], RNI_PLAN_STRIDE) : NULL;
    if (plan) init_plan(plan, run, born);
    return plan;
}

rni_plan *rni_run_add_bounded_plan(rni_run *run, int64_t born, const rni_bounds *bounds) {
    rni_thread *self = rni_thread_get();
    rni_bounded_plan *bounded = self ? rni_slab_take(&self->slabs[RNI_CLASS_BOUNDED], RNI_BOUNDED_STRIDE) : NULL; /* LCOV_EXCL_BR_LINE: of worker processes */
    if (!bounded) return NULL; /* LCOV_EXCL_BR_LINE: of worker processes */
    bounded->bounds = *bounds;
    init_plan(&bounded->plan, run, born);
    rni_store_relaxed(&run->flags, rni_run_flags(run) | RNI_BOUNDED);
    return &bounded->plan;
}

void rni_run_delay(rni_run *run, int64_t due) {
    rni_store_relaxed(&run->flags, rni_run_flags(run) | RNI_DELAYED);
    *rni_run_timer(run) = (rni_timer){.due = due, .run = run};
    rni_store_relaxed(&run->plan, (uint64_t)due | 1);
}

void rni_plan_set_name(rni_plan *plan, const char *name) {
    for (unsigned i = 0, length = 0; i < RNI_NAME_WORDS; i++) {
        uint64_t word = 0;
        for (unsigned shift = 0; shift < 64 && name[length] && length < RN_NAME_MAX; shift += 8)
            word |= (uint64_t)(unsigned char)name[length++] << shift;
        rni_store_relaxed(&plan->name[i], word);
        if (word >> 56 == 0) return;
    }
}

static __attribute__((noinline)) void free_plan(const rni_run *run, rni_plan *plan) {
    enum rni_class class_of = rni_run_flags(run) & RNI_BOUNDED ? RNI_CLASS_BOUNDED : RNI_CLASS_PLAN; /* LCOV_EXCL_BR_LINE: of worker processes */
    rni_slab_give(slab_of(class_of), plan, class_of);
}

void rni_run_free(rni_run *run) {
    rni_plan *plan = rni_run_plan(run);
    /* The generation first: a stale handle is found out from now on. */
    rni_store_release(&run->generation, rni_load_relaxed(&run->generation) + 1); /* pairs with the checks of handles */
    rni_store_relaxed(&run->done.word, RN_DONE | RNI_SETTLED);
    if (plan) free_plan(run, plan);
    rni_slab_give(slab_of(RNI_CLASS_RUN), run, RNI_CLASS_RUN);
}

void rni_run_give_back(rni_run *run) {
    rni_drop(run->done.value);
    rni_run_free(run);
}

bool rni_run_is_static(const rni_run *run) { return run == &no_memory_run; }

void rni_node_free(rni_node *node) { rni_slab_give(slab_of(RNI_CLASS_NODE), node, RNI_CLASS_NODE); }

uint64_t rni_run_id(rni_run *run) {
    uintptr_t chunk = rni_chunk_start(run);
    uint64_t place = (uint64_t)(chunk / RNI_CHUNK_BYTES % 4096) * 4096 + ((uintptr_t)run - chunk) / RNI_RUN_STRIDE;
    return (uint64_t)rni_run_generation(run) << 24 | place;
}

rn_future *rni_run_future(rni_run *run) {
    return run == &no_memory_run ? (rn_future *)run : rni_handle_make(run, rni_run_generation(run));
}

static bool is_settling(const rni_run *run) {
    const rni_settling *frame = rni_self ? rni_self->settling : NULL;
    while (frame && frame->run != run) frame = frame->outer;
    return frame != NULL;
}

/* Whose handle is neither NULL nor the static run's. */
static bool is_current(rni_run *run, rn_future *future) {
    rni_chunk *chunk = rni_chunk_of(run);
    return chunk->class_of == RNI_CLASS_RUN && (rni_run_generation(run) & RNI_TAG_MASK) == rni_handle_tag(future);
}

/* What is not a live future at first sight. */
static __attribute__((noinline)) rni_run *look_closely(rn_future *future, const char *function) {
    if (!future) rni_misuse("%s: the future is NULL; rn_run() never returns that", function);
    rni_run *run = rni_handle_object(future);
    if (run == &no_memory_run) return run;
    const rni_chunk *chunk = rni_chunk_of(run); /* that was emptied: what lay there was released, in whatever process */
    if (chunk->place && chunk->era != rni_world_era()) return NULL;
    if (!is_current(run, future) || !is_settling(run)) rni_misuse("%s: the future %p has been released", function, (void *)future);
    return run;
}

rni_run *rni_future_run(rn_future *future, const char *function) {
    rni_run *run = rni_handle_object(future);
    bool is_live = future && run != &no_memory_run && rni_chunk_of(run)->era == rni_world_era() &&
                   is_current(run, future) && !(rni_load_relaxed(&run->done.word) & RNI_RELEASED);
    return is_live ? run : look_closely(future, function);
}

rn_future *rni_future_failed(rn_value error) {
    rni_run *run = rni_run_make(NULL);
    if (!run) {
        rni_drop(error);
        return (rn_future *)&no_memory_run;
    }
    run->done.value = error;
    rni_store_relaxed(&run->flags, 0);
    run->function = NULL;
    rni_completion_init(&run->done, RN_DONE | RNI_SETTLED);
    return rni_run_future(run);
}

/* The words of a name, written whole so that the pending list may read them while they change. */
void rni_run_name(rni_run *run, char text[RN_NAME_MAX + 1]) {
    uint64_t words[RNI_NAME_WORDS] = {0};
    rni_plan *plan = rni_plan_in(rni_load_acquire(&run->plan)); /* pairs with rni_run_add_plan */
    for (unsigned i = 0; plan && i < RNI_NAME_WORDS; i++) words[i] = rni_load_relaxed(&plan->name[i]);
    if (words[0] != 0) {
        memcpy(text, words, RN_NAME_MAX + 1);
        text[RN_NAME_MAX] = '\0';
        return;
    }
    const char *origin = rni_load_relaxed(&run->origin);
    size_t length = origin ? strnlen(origin, RN_NAME_MAX) : 0;
    if (length > 0) memcpy(text, origin, length);
    text[length] = '\0';
}

static void settle(rni_run *run) {
    rni_thread *self = rni_self;
    rni_settling frame = {run, self ? self->settling : NULL};
    if (self) self->settling = &frame;
    enum rni_verdict verdict = rni_completion_settle(&run->done, rni_run_future(run), rni_node_free);
    if (self) self->settling = frame.outer;
    if (verdict == RNI_LAST) rni_run_give_back(run);
}

void rni_run_complete(rn_runtime *runtime, rni_lane *lane, rni_run *run, rn_value value) {
    if (runtime->seed) runtime->executor->completing(runtime, run);
    if (rni_run_flags(run) & RNI_DETACHED) {
        rni_drop(value);
        rni_run_free(run);
    } else {
        enum rni_verdict verdict = rni_completion_complete(&run->done, value);
        if (verdict == RNI_YES) settle(run);
        if (verdict == RNI_LAST) rni_run_give_back(run);
    }
    rni_count_finished(runtime, lane);
}

bool rni_run_cancel(rni_run *run, rn_value error) {
    rn_runtime *runtime = rni_world_runtime(rni_run_runtime(run));
    rn_value arg;
    if (rni_completion_cancel(&run->done, error, &arg) != RNI_YES) return false;
    bool limited = rni_run_flags(run) & RNI_COUNTED_IN; /* ours to read until it is settled */
    rni_drop(arg);
    rni_schedule_leave(runtime, run);
    settle(run);
    if (limited) rni_queue_release(runtime);
    rni_count_finished(runtime, rni_lane_of(rni_load_relaxed(&runtime->serial)));
    return true;
}

void rni_run_unqueue(rni_run *run) {
    if (rni_completion_unqueue(&run->done) == RNI_LAST) rni_run_give_back(run);
}
