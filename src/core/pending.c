/*
 * The list of pending runs is not kept: it is read off the slabs. Each run is read while it may
 * change or be reused, so what was read counts only if its generation and state still stand after.
 * (On machines that reorder stores an entry may still mix a run with the next one in its place: that
 * would cost every run a read-modify-write to rule out. It is a list for people to look at.)
 */
#include <string.h>

#include "core/executor.h"
#include "core/pending.h"
#include "core/remote.h"
#include "core/run.h"
#include "core/world.h"

static bool is_pending_in(rni_run *run, uint32_t index, uint64_t *word) {
    *word = rni_load_acquire(&run->done.word); /* pairs with init: what was filled in before is seen */
    return !rni_is_over(*word) && (*word & (RNI_QUEUED | RNI_BEGUN)) && rni_run_runtime(run) == index;
}

static double fraction_of(uint64_t bits) {
    double fraction;
    memcpy(&fraction, &bits, sizeof fraction);
    return fraction;
}

static int64_t time_until(rn_runtime *runtime, int64_t start, const rn_run_info *info) {
    int64_t now = rni_now(runtime);
    return info->state == RN_WAITING && start > now ? start - now : 0;
}

static void read_plan(rn_runtime *runtime, rni_plan *plan, rn_run_info *info) {
    info->age_ns = rni_now(runtime) - (int64_t)rni_load_relaxed(&plan->born);
    info->iteration = rni_load_relaxed(&plan->iteration);
    info->next_start_ns = time_until(runtime, (int64_t)rni_load_relaxed(&plan->next_start), info);
    info->progress = fraction_of(rni_load_relaxed(&plan->progress));
}

/* False: it changed while it was read. */
static bool read_run(rn_runtime *runtime, rni_run *run, rn_run_info *info) {
    uint64_t word;
    uint32_t generation = rni_load_acquire(&run->generation); /* pairs with rni_run_free */
    if (!is_pending_in(run, runtime->index, &word)) return false;
    memset(info, 0, sizeof *info);
    info->id = rni_run_id(run);
    info->state = rni_is_being_cancelled(word) ? RN_WAITING : rni_state_of(word);
    rni_run_name(run, info->name);
    uint64_t plan = rni_load_acquire(&run->plan); /* pairs with rni_run_add_plan */
    if (rni_plan_in(plan)) {
        read_plan(runtime, rni_plan_in(plan), info);
    } else {
        int64_t born = runtime->opened + (int64_t)rni_load_relaxed(&run->born) * 1000000;
        info->age_ns = rni_os_now_coarse() - born;
        if (info->age_ns < 0) info->age_ns = 0;
        info->iteration = info->state == RN_RUNNING ? 1 : 0;
        info->next_start_ns = time_until(runtime, (int64_t)plan, info); /* 0, or when it is due */
    }
    uint64_t again;
    /* A read-modify-write that changes nothing: the reads above stay before it. */
    return rni_add_acq_rel(&run->generation, 0) == generation && is_pending_in(run, runtime->index, &again);
}

static void visit_group(rn_runtime *runtime, rni_run *first, rni_visitor *visit, void *context) {
    for (uint32_t i = 0; i < RNI_GROUP; i++) {
        rn_run_info info;
        if (read_run(runtime, &first[i], &info)) visit(context, &first[i], &info);
    }
}

void rni_pending_visit(rn_runtime *runtime, rni_visitor *visit, void *context) {
    for (rni_place *place = rni_world_places(RNI_CLASS_RUN); place; place = place->next_all)
        for (uint32_t group = 0; group < rni_groups(RNI_CLASS_RUN); group++) {
            rni_chunk *chunk = place->chunk;
            if (rni_load_relaxed(&chunk->free[group]) == UINT64_MAX) continue;
            visit_group(runtime, (rni_run *)rni_group_start(chunk, RNI_CLASS_RUN, group), visit, context);
        }
}

struct listing {
    char *infos;
    size_t capacity, info_size, count;
};

static void add_to_listing(void *context, rni_run *run, const rn_run_info *info) {
    struct listing *listing = context;
    (void)run;
    if (listing->count < listing->capacity) {
        size_t size = listing->info_size < sizeof *info ? listing->info_size : sizeof *info;
        char *entry = listing->infos + listing->count * listing->info_size;
        memset(entry, 0, listing->info_size);
        memcpy(entry, info, size);
    }
    listing->count++;
}

int64_t rni_pending(rn_runtime *handle, rn_run_info *infos, size_t capacity, size_t info_size) {
    int code;
    rn_runtime *runtime = rni_runtime_of(handle, "rn_pending", &code);
    if (!runtime) return code;
    if (rni_host && runtime == rni_host->runtime) return rni_host->pending(infos, capacity, info_size);
    struct listing listing = {(char *)infos, infos ? capacity : 0, info_size, 0};
    if (runtime->executor) rni_pending_visit(runtime, add_to_listing, &listing);
    return (int64_t)listing.count;
}
