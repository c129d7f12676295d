/*
 * Slabs: no object twice, nothing lost, memory used again, and generations that only grow.
 */
#include "core/slab.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/handle.h"
#include "core/run.h"
#include "core/world.h"
#include "support.h"

#define OBJECTS 20000

static rni_slab slab;

static void *take(rni_slab *from) { return rni_slab_take(from, rni_stride(from->class_of)); }

static void give(rni_slab *to, void *object) { rni_slab_give(to, object, to->class_of); }

/* An object that is in use is full of its own number: one that overlaps another would show. */
static void fill(void *object, uint32_t number, size_t size) {
    for (size_t i = 0; i < size / 4; i++) ((uint32_t *)object)[i] = number;
}

static void check_full(const void *object, uint32_t number, size_t size) {
    for (size_t i = 0; i < size / 4; i++) assert_int_equal(((const uint32_t *)object)[i], number);
}

static void check_place(const rni_slab *of, const void *object) {
    const rni_chunk *chunk = rni_chunk_of(object);
    size_t offset = (uintptr_t)object - rni_chunk_start(object);
    assert_true(offset >= RNI_CHUNK_HEADER && offset + rni_stride(of->class_of) <= RNI_CHUNK_BYTES);
    assert_int_equal(chunk->class_of, of->class_of);
}

static void play(enum rni_class class_of, uint64_t *random) {
    static void *objects[OBJECTS];
    size_t size = rni_stride(class_of);
    memset(objects, 0, sizeof objects);
    rni_slab_init(&slab, class_of);
    for (uint32_t i = 0; i < 200000; i++) {
        uint32_t number = (uint32_t)random_below(random, OBJECTS);
        if (objects[number]) {
            check_full(objects[number], number, size);
            give(&slab, objects[number]);
            objects[number] = NULL;
        } else {
            objects[number] = take(&slab);
            assert_non_null(objects[number]);
            check_place(&slab, objects[number]);
            fill(objects[number], number, size);
        }
        if (i % 5000 == 0) rni_slab_flush(&slab);
        if (i % 20000 == 0) rni_slab_trim(&slab);
    }
    for (uint32_t i = 0; i < OBJECTS; i++) {
        if (!objects[i]) continue;
        check_full(objects[i], i, size);
        give(&slab, objects[i]);
    }
    rni_slab_flush(&slab);
    rni_slab_trim(&slab);
    assert_true(slab.count <= 1); /* the current chunk stays */
}

TEST(objects_never_overlap) {
    uint64_t random = random_seed();
    play(RNI_CLASS_NODE, &random);
    play(RNI_CLASS_PLAN, &random);
}

/* The groups of runs have a side each: it belongs to one run alone. */
TEST(the_sides_of_runs_do_not_overlap) {
    static rni_chunk chunk __attribute__((aligned(RNI_CHUNK_BYTES)));
    static char *sides[4096];
    size_t count = 0;
    for (uint32_t group = 0; group < rni_groups(RNI_CLASS_RUN); group++)
        for (uint32_t i = 0; i < RNI_GROUP; i++) {
            uintptr_t start = (uintptr_t)&chunk + RNI_CHUNK_HEADER + (uintptr_t)group * rni_group_bytes(RNI_CLASS_RUN);
            uintptr_t run = start + (uintptr_t)i * RNI_RUN_STRIDE;
            uintptr_t side = (uintptr_t)rni_run_side((const void *)run);
            assert_true(side >= start + (uintptr_t)RNI_GROUP * RNI_RUN_STRIDE);
            assert_true(side + RNI_RUN_SIDE <= start + rni_group_bytes(RNI_CLASS_RUN));
            sides[count] = (char *)side;
            if (i > 0) assert_int_equal(sides[count] - sides[count - 1], RNI_RUN_SIDE);
            count++;
        }
    assert_true((uintptr_t)sides[count - 1] + RNI_RUN_SIDE <= (uintptr_t)&chunk + RNI_CHUNK_BYTES);
}

TEST(every_object_of_a_chunk_is_used_before_another_is_mapped) {
    static void *objects[OBJECTS];
    for (int class_of = 0; class_of < RNI_CLASSES; class_of++) {
        rni_slab_init(&slab, (enum rni_class)class_of);
        uint32_t whole = rni_groups(slab.class_of) * RNI_GROUP;
        assert_true(whole <= OBJECTS);
        for (uint32_t i = 0; i < whole; i++) objects[i] = take(&slab);
        assert_int_equal(slab.count, 1);
        void *more = take(&slab);
        assert_int_equal(slab.count, 2);
        give(&slab, more);
        for (uint32_t i = 0; i < whole; i++) give(&slab, objects[i]);
        rni_slab_flush(&slab);
        rni_slab_trim(&slab);
        assert_int_equal(slab.count, 1);
    }
}

static void *give_all(void *objects) {
    for (void **object = objects; *object; object++) rni_slab_give(NULL, *object, RNI_CLASS_NODE);
    return NULL;
}

/* A thread fills, another gives back: the first one must find its own objects again. */
TEST(what_another_thread_gives_back_is_used_again) {
    static void *objects[OBJECTS + 1];
    uint64_t mapped = 0;
    rni_slab_init(&slab, RNI_CLASS_NODE);
    for (int round = 0; round < 12; round++) {
        pthread_t thread;
        for (int i = 0; i < OBJECTS; i++) objects[i] = take(&slab);
        assert_int_equal(pthread_create(&thread, NULL, give_all, objects), 0);
        pthread_join(thread, NULL);
        if (round == 5) mapped = rn_testing_held(RN_FAULT_MAPPING);
    }
    assert_int_equal(rn_testing_held(RN_FAULT_MAPPING), mapped);
    rni_slab_trim(&slab);
}

TEST(a_trimmed_chunk_serves_the_next_who_needs_one) {
    static void *objects[OBJECTS];
    rni_slab other;
    rni_slab_init(&slab, RNI_CLASS_PLAN);
    rni_slab_init(&other, RNI_CLASS_PLAN);
    for (int i = 0; i < 5000; i++) objects[i] = take(&slab);
    uint32_t chunks = slab.count;
    for (int i = 0; i < 5000; i++) give(&slab, objects[i]);
    rni_slab_flush(&slab);
    rni_slab_trim(&slab);
    uint64_t mapped = rn_testing_held(RN_FAULT_MAPPING);
    for (int i = 0; i < 2000; i++) {
        objects[i] = take(&other);
        check_full(objects[i], 0, RNI_PLAN_STRIDE); /* emptied: zero again */
    }
    assert_true(chunks >= 4 && other.count >= 2);
    assert_int_equal(rn_testing_held(RN_FAULT_MAPPING), mapped);
    for (int i = 0; i < 2000; i++) give(&other, objects[i]);
    rni_slab_flush(&other);
    rni_slab_trim(&other);
}

TEST(a_chunk_with_one_object_in_use_is_not_trimmed) {
    static void *objects[OBJECTS];
    rni_slab_init(&slab, RNI_CLASS_PLAN);
    for (int i = 0; i < 5000; i++) objects[i] = take(&slab);
    fill(objects[0], 7, RNI_PLAN_STRIDE);
    for (int i = 1; i < 5000; i++) give(&slab, objects[i]);
    rni_slab_flush(&slab);
    rni_slab_trim(&slab);
    check_full(objects[0], 7, RNI_PLAN_STRIDE);
    assert_int_equal(slab.count, 2);
    give(&slab, objects[0]);
    rni_slab_flush(&slab);
    rni_slab_trim(&slab);
    assert_int_equal(slab.count, 1);
}

TEST(a_refused_mapping_gives_nothing_and_harms_nothing) {
    uint32_t count = 0;
    rni_slab_init(&slab, RNI_CLASS_RUNTIME);
    void *first = take(&slab);
    rn_testing_fail(RN_FAULT_MAPPING, 1, UINT64_MAX);
    while (take(&slab)) count++;
    rn_testing_fail(RN_FAULT_MAPPING, 1, 0);
    assert_int_equal(count % (rni_groups(RNI_CLASS_RUNTIME) * RNI_GROUP), rni_groups(RNI_CLASS_RUNTIME) * RNI_GROUP - 1);
    give(&slab, first);
    assert_ptr_equal(take(&slab), first);
    assert_non_null(take(&slab));
}

/* ---- given back twice ---- */

static void give_twice(rni_slab *to, void *object) {
    give(to, object);
    give(to, object);
    rni_slab_flush(to);
}

TEST(an_object_given_back_twice_stops_the_program) {
    void *objects[3 * RNI_GROUP];
    rni_slab_init(&slab, RNI_CLASS_NODE);
    for (size_t i = 0; i < COUNT_OF(objects); i++) objects[i] = take(&slab);
    void *current = objects[COUNT_OF(objects) - 1], *old = objects[0];
    assert_misuse("broken invariant", give_twice(&slab, current));
    assert_misuse("broken invariant", rni_slab_give(NULL, old, RNI_CLASS_NODE); give_twice(&slab, old));
    assert_misuse("broken invariant", rni_slab_give(NULL, old, RNI_CLASS_NODE);
                  rni_slab_give(NULL, old, RNI_CLASS_NODE));
    for (size_t i = 0; i < COUNT_OF(objects); i++) give(&slab, objects[i]);
    rni_slab_flush(&slab);
}

/* ---- generations ---- */

/* What a stale handle is found out by: at one place, no two runs of a process ever have the same number. */
static uint32_t number_of(rn_future *future) {
    const rni_chunk *chunk = rni_chunk_of(rni_handle_object(future));
    rni_run *run = rni_handle_object(future);
    return rni_load_relaxed(&((rni_chunk *)(uintptr_t)chunk)->generation) + rni_load_relaxed(&run->generation);
}

TEST(generations_survive_trimming) {
    enum { FUTURES = 12000, ROUNDS = 6 };
    static rn_future *futures[FUTURES];
    rni_run *place = NULL;
    uint32_t former = 0, returns = 0;
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < FUTURES; i++) {
            futures[i] = rni_future_failed(rn_none());
            rni_run *run = rni_handle_object(futures[i]);
            if (run == place) {
                assert_true(number_of(futures[i]) > former);
                former = number_of(futures[i]);
                returns++;
            }
        }
        if (!place) place = rni_handle_object(futures[5]);
        if (round == 0) former = number_of(futures[5]);
        for (int i = 0; i < FUTURES; i++) rn_release(futures[i]);
        for (unsigned i = 0; i < RNI_CLASSES; i++) rni_slab_flush(&rni_self->slabs[i]);
        rni_world_trim();
    }
    assert_true(returns > 0);
}

/* A future that was released before all the memory around it was given back, and perhaps used again. */
static rn_future *future_from_before_a_trim(bool is_used_again) {
    enum { FUTURES = 6000 };
    static rn_future *futures[FUTURES];
    for (int i = 0; i < FUTURES; i++) futures[i] = rni_future_failed(rn_none());
    for (int i = 0; i < FUTURES; i++) rn_release(futures[i]);
    rni_slab_flush(&rni_self->slabs[RNI_CLASS_RUN]);
    rni_world_trim();
    rn_future *old = futures[0];
    for (int i = 0; i < FUTURES && is_used_again; i++) futures[i] = rni_future_failed(rn_none());
    return old;
}

/* The places of chunks of runs whose memory is gone, header and all; and whether those in use know their places. */
static size_t empty_places(void) {
    size_t empty = 0;
    for (rni_place *place = rni_world_places(RNI_CLASS_RUN); place; place = place->next_all) {
        if (!place->chunk->place) empty++;
        else assert_ptr_equal(place->chunk->place, place);
    }
    return empty;
}

TEST(a_trim_gives_back_headers_too_and_a_place_remembers_the_generation) {
    (void)future_from_before_a_trim(false);
    size_t empty = empty_places();
    assert_true(empty > 0);
    rni_place *place = rni_world_places(RNI_CLASS_RUN);
    while (place->chunk->place) place = place->next_all;
    assert_true(place->generation > 1);
    assert_int_equal(rni_load_relaxed(&place->chunk->generation), 0);
    (void)future_from_before_a_trim(true); /* two chunks and more of them in use again */
    assert_true(empty_places() < empty);
}

TEST(a_future_from_before_a_trim_is_found_out) {
    assert_misuse("rn_done: the future 0x", (void)rn_done(future_from_before_a_trim(false)));
    assert_misuse("rn_done: the future 0x", (void)rn_done(future_from_before_a_trim(true)));
}
