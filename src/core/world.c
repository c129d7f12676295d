#include "core/world.h"

#include <string.h>

#include "base/fault.h"
#include "base/memory.h"
#include "core/executor.h"
#include "core/lane.h"
#include "core/remote.h"
#include "core/run.h"
#include "core/runtime.h"
#include "value/buffer.h"

static struct {
    rni_place *pool[RNI_CLASSES];
    rni_mutex lock;           /* guards what follows; above every slab's lock in the order */
    rni_thread *vacant;
    rni_slab runtimes;        /* used under the lock */
    uint64_t serial;          /* of the runtime opened last */
    char *arena;              /* what is left of the arena that chunks are cut from */
    size_t arena_left;        /* bytes */
    unsigned arenas;
    rni_place *places;        /* what is left of a page of them */
    size_t places_left;
    rni_mutex pool_lock;      /* guards pool, arenas and places; a leaf, since it is taken with a slab's lock held */
} world;

static rni_aptr all_places[RNI_CLASSES];
static rni_aptr all_threads;
static rni_aptr table[RNI_RUNTIMES_MAX]; /* open runtimes by index; written under the lock */
static rni_a32 table_used;               /* entries from this on were never used; written under the lock */
static rni_a32 era;
static bool has_hooks;

__thread rni_thread *rni_self;
rni_mutex rni_waits_lock;
const rni_remote *rni_host;

uint32_t rni_world_era(void) { return rni_load_relaxed(&era); }

void rni_world_lock(void) { rni_mutex_lock(&world.lock); }

void rni_world_unlock(void) { rni_mutex_unlock(&world.lock); }

/* Only what was used: each worker process is a fork, and would have the whole table copied. */
static void forget_runtimes(void) {
    uint32_t used = rni_load_relaxed(&table_used);
    for (uint32_t i = 0; i < used; i++) {
        rn_runtime *runtime = rni_load_relaxed(&table[i]);
        if (runtime && runtime->executor && runtime->executor->forget) runtime->executor->forget(runtime);
        rni_store_relaxed(&table[i], NULL);
    }
}

/* In the child of a fork: alone, with whatever the other threads left half done. */
static void forget_parent(void) {
    memset(&world, 0, sizeof world);
    rni_waits_lock = (rni_mutex){{0}};
    rni_buffers_forked();
    rni_slab_init(&world.runtimes, RNI_CLASS_RUNTIME);
    for (unsigned i = 0; i < RNI_CLASSES; i++) rni_store_relaxed(&all_places[i], NULL);
    forget_runtimes();
    rni_store_relaxed(&all_threads, NULL);
    rni_store_relaxed(&era, rni_world_era() + 1);
    rni_self = NULL;
}

static void thread_ends(void *value);

/* When the library is loaded: later, a fork might come in between. */
__attribute__((constructor)) static void set_hooks(void) {
    rni_slab_init(&world.runtimes, RNI_CLASS_RUNTIME);
    has_hooks = rni_os_on_fork(forget_parent) && rni_os_on_thread_exit(thread_ends);
}

/* A list whose head moves by CAS and whose entries never leave. */
static void publish(rni_aptr *head, void *entry, void **next) {
    void *first = rni_load_relaxed(head);
    do {
        *next = first;
    } while (!rni_cas_acq_rel(head, &first, entry)); /* pairs with the acquire loads of the heads */
}

rni_place *rni_world_places(enum rni_class class_of) {
    return rni_load_acquire(&all_places[class_of]); /* pairs with publish */
}

/* A program that uses this many arenas uses them up, and has millions of objects to reach: from here on huge pages
 * save it most page faults and misses of the TLB. */
#define SMALL_ARENAS 4u

static bool add_arena(void) {
    char *arena = rni_os_map(RNI_HUGE_BYTES, RNI_HUGE_BYTES);
    if (!arena) return false;
    if (world.arenas++ >= SMALL_ARENAS) rni_os_prefer_huge(arena, RNI_HUGE_BYTES);
    world.arena = arena;
    world.arena_left = RNI_HUGE_BYTES;
    return true;
}

/* Kept for ever, as those of threads. */
static bool add_places(void) {
    world.places = rni_os_map(4096, 4096);
    if (world.places) world.places_left = 4096 / sizeof(rni_place);
    return world.places != NULL;
}

/* NULL if memory is refused. */
static rni_place *cut_chunk(void) {
    rni_place *place = NULL;
    rni_mutex_lock(&world.pool_lock);
    if ((world.places_left > 0 || add_places()) && (world.arena_left > 0 || add_arena())) {
        place = world.places++;
        world.places_left--;
        place->chunk = rni_chunk_of(world.arena);
        place->generation = 1;
        world.arena += RNI_CHUNK_BYTES;
        world.arena_left -= RNI_CHUNK_BYTES;
    }
    rni_mutex_unlock(&world.pool_lock);
    return place;
}

static rni_place *map_chunk(enum rni_class class_of) {
    rni_place *place = rni_fault(RN_FAULT_MAPPING) ? NULL : cut_chunk();
    if (!place) return NULL;
    rni_fault_hold(RN_FAULT_MAPPING, 1);
    publish(&all_places[class_of], place, (void **)&place->next_all);
    return place;
}

rni_chunk *rni_world_take_chunk(enum rni_class class_of) {
    rni_mutex_lock(&world.pool_lock);
    rni_place *place = world.pool[class_of];
    if (place) world.pool[class_of] = place->next;
    rni_mutex_unlock(&world.pool_lock);
    if (!place) place = map_chunk(class_of);
    if (!place) return NULL;
    rni_chunk *chunk = place->chunk;
    rni_store_relaxed(&chunk->generation, place->generation);
    chunk->era = rni_world_era();
    chunk->place = place;
    chunk->class_of = class_of;
    chunk->next = NULL;
    for (uint32_t i = 0; i < rni_groups(class_of); i++) rni_store_relaxed(&chunk->free[i], UINT64_MAX);
    return chunk;
}

/* The highest generation of any object in the chunk: emptied pages would start again from 0. */
static uint32_t highest_generation(rni_chunk *chunk) {
    uint32_t highest = 0;
    if (chunk->class_of != RNI_CLASS_RUN) return 0;
    for (uint32_t group = 0; group < rni_groups(RNI_CLASS_RUN); group++) {
        rni_run *run = (rni_run *)rni_group_start(chunk, RNI_CLASS_RUN, group);
        for (uint32_t i = 0; i < RNI_GROUP; i++)
            if (rni_load_relaxed(&run[i].generation) > highest) highest = rni_load_relaxed(&run[i].generation);
    }
    return highest;
}

void rni_world_give_chunk(rni_chunk *chunk) {
    rni_place *place = chunk->place;
    enum rni_class class_of = chunk->class_of;
    uint32_t generation = rni_load_relaxed(&chunk->generation) + highest_generation(chunk) + 1;
    /* In words too, for a system that will not empty it. */
    rni_store_relaxed(&chunk->generation, generation);
    for (uint32_t i = 0; i < rni_groups(class_of); i++) rni_store_relaxed(&chunk->free[i], 0);
    rni_os_discard((void *)rni_chunk_start(chunk), RNI_CHUNK_BYTES);
    rni_mutex_lock(&world.pool_lock);
    place->generation = generation;
    place->next = world.pool[class_of];
    world.pool[class_of] = place;
    rni_mutex_unlock(&world.pool_lock);
}

static rni_thread *vacant_thread(void) {
    rni_world_lock();
    rni_thread *thread = world.vacant;
    if (thread) world.vacant = thread->next_vacant;
    rni_world_unlock();
    return thread;
}

/* Kept for ever, so mapped and not from malloc: a leak checker would call it lost. */
static rni_thread *new_thread(void) {
    rni_thread *thread = rni_os_map((sizeof *thread + 4095) & ~(size_t)4095, 4096);
    if (!thread) return NULL;
    for (unsigned i = 0; i < RNI_CLASSES; i++) rni_slab_init(&thread->slabs[i], (enum rni_class)i);
    publish(&all_threads, thread, (void **)&thread->next_all);
    return thread;
}

rni_thread *rni_thread_new(void) {
    if (!has_hooks) return NULL;
    rni_thread *thread = vacant_thread();
    return thread ? thread : new_thread();
}

void rni_thread_install(rni_thread *thread) {
    rni_self = thread;
    rni_os_at_thread_exit(thread);
}

rni_thread *rni_thread_make(void) {
    rni_thread *thread = rni_thread_new();
    if (thread) rni_thread_install(thread);
    return thread;
}

void rni_thread_give_back(rni_thread *thread) {
    for (unsigned i = 0; i < RNI_CLASSES; i++) rni_slab_flush(&thread->slabs[i]);
    rni_world_lock();
    rni_lanes_leave(thread);
    thread->lane = thread->lanes = NULL;
    thread->call = NULL;
    thread->worker = NULL;
    thread->worker_number = 0;
    thread->worker_of = NULL;
    thread->next_vacant = world.vacant;
    world.vacant = thread;
    rni_world_unlock();
}

static void thread_ends(void *value) {
    if (value != rni_self) return; /* a child's copy of its parent's */
    rni_thread_give_back(value);
    rni_self = NULL;
}

/* A huge page is there as a whole once one chunk of it was written to. */
static void discard_rest_of_arena(void) {
    rni_mutex_lock(&world.pool_lock);
    if (world.arena_left > 0) rni_os_discard(world.arena, world.arena_left);
    rni_mutex_unlock(&world.pool_lock);
}

void rni_world_trim(void) {
    discard_rest_of_arena();
    rni_thread *thread = rni_load_acquire(&all_threads); /* pairs with publish */
    for (; thread; thread = thread->next_all)
        for (unsigned i = 0; i < RNI_CLASSES; i++) rni_slab_trim(&thread->slabs[i]);
}

static uint32_t free_index(void) {
    uint32_t index = 0;
    while (index < RNI_RUNTIMES_MAX && rni_load_relaxed(&table[index])) index++;
    return index;
}

rn_runtime *rni_world_open(void) {
    if (!has_hooks) return NULL;
    rni_world_lock();
    uint32_t index = free_index();
    rn_runtime *runtime =
        index < RNI_RUNTIMES_MAX ? rni_slab_take(&world.runtimes, RNI_RUNTIME_STRIDE) : NULL;
    if (runtime) {
        rni_runtime_reset(runtime, ++world.serial, index);
        if (index >= rni_load_relaxed(&table_used)) rni_store_relaxed(&table_used, index + 1);
        rni_store_release(&table[index], runtime); /* pairs with rni_world_runtime */
    }
    rni_world_unlock();
    return runtime;
}

void rni_world_close(rn_runtime *runtime) {
    rni_world_lock();
    rni_store_release(&table[runtime->index], NULL); /* pairs with rni_world_runtime */
    rni_store_release(&runtime->serial, 0);          /* pairs with the check of a handle: it is stale now */
    rni_lanes_close(runtime);
    rni_slab_give(&world.runtimes, runtime, RNI_CLASS_RUNTIME);
    rni_world_unlock();
    rni_lanes_drop_dead();
}

rn_runtime *rni_world_runtime(uint32_t index) {
    return rni_load_acquire(&table[index]); /* pairs with open: the runtime is filled in */
}
