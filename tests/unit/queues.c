/*
 * The queues behind the deques: the overflow, and the ready list of a seeded pool.
 */
#include <string.h>

#include "core/world.h"
#include "support.h"
#include "thread/overflow.h"
#include "thread/ready.h"

static rni_overflow overflow;

static void *item_of(size_t number) { return (void *)(uintptr_t)(number + 1); }

static bool push_block(size_t first, size_t count) {
    void *items[RNI_BLOCK_RUNS];
    for (size_t i = 0; i < count; i++) items[i] = item_of(first + i);
    return rni_overflow_push(&overflow, items, count);
}

/* Takes one block and compares it with the numbers that it must hold. */
static void take_block(size_t first, size_t count) {
    void *items[RNI_BLOCK_RUNS];
    assert_int_equal(rni_overflow_take(&overflow, items), count);
    for (size_t i = 0; i < count; i++) assert_ptr_equal(items[i], item_of(first + i));
}

TEST(blocks_leave_in_the_order_they_came) {
    uint64_t random = random_seed();
    size_t sizes[200], in = 0, out = 0, pushed = 0, taken = 0;
    rni_overflow_init(&overflow);
    take_block(0, 0);
    while (out < COUNT_OF(sizes)) {
        bool pushes = in < COUNT_OF(sizes) && (in == out || random_below(&random, 2));
        if (pushes) {
            sizes[in] = 1 + (size_t)random_below(&random, RNI_BLOCK_RUNS);
            assert_true(push_block(pushed, sizes[in]));
            pushed += sizes[in++];
        } else {
            take_block(taken, sizes[out]);
            taken += sizes[out++];
        }
        assert_int_equal(rni_overflow_has_some(&overflow), in > out);
    }
    rni_overflow_destroy(&overflow);
}

TEST(a_few_empty_blocks_are_kept_for_the_next_ones) {
    rni_overflow_init(&overflow);
    uint64_t held = rn_testing_held(RN_FAULT_ALLOCATION);
    for (size_t i = 0; i < 100; i++) assert_true(push_block(i, 1));
    for (size_t i = 0; i < 100; i++) take_block(i, 1);
    assert_int_equal(rn_testing_held(RN_FAULT_ALLOCATION), held + 64);
    rn_testing_fail(RN_FAULT_ALLOCATION, 1, UINT64_MAX);
    for (size_t i = 0; i < 64; i++) assert_true(push_block(i, 1));
    assert_false(push_block(64, 1));
    assert_int_equal(rn_testing_reached(RN_FAULT_ALLOCATION), 1);
    rn_testing_fail(RN_FAULT_ALLOCATION, 1, 0);
    rni_overflow_destroy(&overflow); /* with blocks in it */
    assert_int_equal(rn_testing_held(RN_FAULT_ALLOCATION), held);
}

static rni_run *run_with_plan(void) {
    rni_run *run = rni_run_make(NULL);
    assert_non_null(rni_run_add_plan(run, 0));
    rni_store_relaxed(&run->flags, 0);
    run->done.value = rn_none();
    return run;
}

TEST(what_is_due_goes_before_what_overflowed) {
    rni_run *runs[3];
    void *items[RNI_BLOCK_RUNS];
    rni_overflow_init(&overflow);
    assert_true(push_block(0, 5));
    for (size_t round = 0; round < 2; round++) { /* twice: the list was empty in between */
        for (size_t i = 0; i < COUNT_OF(runs); i++) rni_overflow_push_due(&overflow, runs[i] = run_with_plan());
        for (size_t i = 0; i < COUNT_OF(runs); i++) {
            assert_int_equal(rni_overflow_take(&overflow, items), 1);
            assert_ptr_equal(items[0], runs[i]);
            rni_run_free(runs[i]);
        }
    }
    take_block(0, 5);
    rni_overflow_destroy(&overflow);
}

/* ---- the ready list ---- */

#define RUNS 6

static void fill(rni_ready *ready, uint64_t seed) {
    rni_ready_init(ready, seed);
    assert_true(rni_ready_reserve(ready, RUNS));
    for (size_t i = 0; i < RUNS; i++) rni_ready_push(ready, item_of(i));
}

/* The order in which all of them come, as a number in base RUNS. */
static unsigned order_of(uint64_t seed) {
    rni_ready ready;
    unsigned order = 0, seen = 0;
    fill(&ready, seed);
    for (size_t i = 0; i < RUNS; i++) {
        unsigned number = (unsigned)(uintptr_t)rni_ready_take(&ready) - 1;
        seen |= 1u << number;
        order = order * RUNS + number;
    }
    assert_int_equal(seen, (1u << RUNS) - 1);
    assert_null(rni_ready_take(&ready));
    assert_int_equal(rni_load_relaxed(&ready.count), 0);
    rni_ready_destroy(&ready);
    return order;
}

TEST(a_seed_gives_one_order_and_seeds_give_every_order) {
    static bool seen[46656]; /* 6^6 */
    unsigned orders = 0;
    for (uint64_t seed = 1; seed <= 20000; seed++) {
        unsigned order = order_of(seed);
        assert_int_equal(order_of(seed), order);
        orders += !seen[order];
        seen[order] = true;
    }
    assert_int_equal(orders, 720);
}

TEST(a_reserved_place_is_kept_while_the_list_grows) {
    rni_ready ready;
    size_t pushed = 0, taken = 0;
    bool seen[3000] = {false};
    rni_ready_init(&ready, 99);
    while (pushed < COUNT_OF(seen)) {
        assert_true(rni_ready_reserve(&ready, 1));
        rni_ready_push(&ready, item_of(pushed++));
        if (pushed % 3 == 0) {
            seen[(uintptr_t)rni_ready_take(&ready) - 1] = true;
            taken++;
        }
    }
    for (rni_run *run; (run = rni_ready_take(&ready)) != NULL; taken++) seen[(uintptr_t)run - 1] = true;
    assert_int_equal(taken, pushed);
    for (size_t i = 0; i < COUNT_OF(seen); i++) assert_true(seen[i]);
    rni_ready_destroy(&ready);
}

TEST(a_place_that_cannot_be_reserved_changes_nothing) {
    rni_ready ready;
    fill(&ready, 1);
    rn_testing_fail(RN_FAULT_ALLOCATION, 1, 1);
    assert_false(rni_ready_reserve(&ready, 1000));
    assert_true(rni_ready_reserve(&ready, 1000));
    for (size_t i = 0; i < RUNS; i++) assert_non_null(rni_ready_take(&ready));
    rni_ready_destroy(&ready);
}

TEST(a_push_without_a_place_stops_the_program) {
    rni_ready ready;
    rni_ready_init(&ready, 1);
    assert_misuse("broken invariant", rni_ready_push(&ready, item_of(0)));
}
