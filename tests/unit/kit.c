/*
 * The test kit: fault points, seeds, and what the clock's functions refuse.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "support.h"

static rn_value nothing(rn_call *call) {
    (void)call;
    return rn_none();
}

TEST(fault_points_have_names) {
    assert_string_equal(rn_fault_name(RN_FAULT_ALLOCATION), "allocation");
    assert_string_equal(rn_fault_name(RN_FAULT_MAPPING), "mapping");
    assert_string_equal(rn_fault_name(RN_FAULT_THREAD_START), "thread start");
    assert_string_equal(rn_fault_name(RN_FAULT_FUTEX), "futex");
    assert_string_equal(rn_fault_name(RN_FAULT_COUNT), "unknown fault");
    assert_string_equal(rn_fault_name((enum rn_fault)-1), "unknown fault");
}

TEST(an_unknown_fault_is_none) {
    enum rn_fault unknown = RN_FAULT_COUNT;
    rn_testing_fail(unknown, 1, 5);
    assert_int_equal(rn_testing_reached(unknown), 0);
    assert_int_equal(rn_testing_held(unknown), 0);
}

TEST(passes_fail_as_planned) {
    for (uint64_t nth = 1; nth <= 4; nth++)
        for (uint64_t count = 0; count <= 3; count++) {
            rn_testing_fail(RN_FAULT_FUTEX, nth, count);
            for (uint64_t pass = 1; pass <= 8; pass++) {
                assert_int_equal(rni_fault(RN_FAULT_FUTEX), pass >= nth && pass < nth + count);
                assert_int_equal(rn_testing_reached(RN_FAULT_FUTEX), pass);
            }
        }
    rn_testing_fail(RN_FAULT_FUTEX, 3, UINT64_MAX);
    for (int pass = 1; pass <= 100; pass++) assert_int_equal(rni_fault(RN_FAULT_FUTEX), pass >= 3);
    rn_testing_fail(RN_FAULT_FUTEX, 0, 5); /* there is no pass 0 */
    for (int pass = 1; pass <= 10; pass++) assert_false(rni_fault(RN_FAULT_FUTEX));
}

TEST(what_is_held_goes_up_and_down) {
    uint64_t held = rn_testing_held(RN_FAULT_ALLOCATION);
    rn_value value = rn_text("held");
    assert_int_equal(rn_testing_held(RN_FAULT_ALLOCATION), held + 1);
    rn_drop(value);
    assert_int_equal(rn_testing_held(RN_FAULT_ALLOCATION), held);
}

/* ---- the clock ---- */

static rn_runtime *open_kit(bool virtual_clock, uint64_t seed) {
    rn_testing kit = {.size = sizeof kit, .virtual_clock = virtual_clock, .seed = seed};
    return rn_open(.workers = 2, .log = rn_log_nothing, .testing = &kit);
}

TEST(a_virtual_clock_stands_still_and_goes_as_far_as_asked) {
    rn_runtime *runtime = open_kit(true, 0);
    assert_int_equal(rn_testing_now(runtime), 0);
    const int64_t steps[] = {0, 1, 1023, 1024, 1025, RN_HOURS(1), RN_DURATION_MAX};
    int64_t now = 0;
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        assert_int_equal(rn_testing_advance(runtime, steps[i]), RN_OK);
        now += steps[i];
        assert_true(rn_testing_now(runtime) == now);
    }
    assert_int_equal(rn_close(runtime), RN_OK);
}

TEST(the_end_of_time_does_not_come_round) {
    rn_runtime *runtime = open_kit(true, 0);
    int64_t former = 0;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(rn_testing_advance(runtime, RN_DURATION_MAX), RN_OK);
        assert_true(rn_testing_now(runtime) >= former);
        former = rn_testing_now(runtime);
    }
    assert_int_equal(rn_close(runtime), RN_OK);
}

TEST(a_real_clock_goes_by_itself_and_cannot_be_moved) {
    rn_runtime *runtime = rn_open(.workers = 1);
    int64_t now = rn_testing_now(runtime);
    assert_true(now >= 0 && rn_testing_now(runtime) >= now);
    assert_int_equal(rn_testing_advance(runtime, 1), RN_INVALID);
    assert_int_equal(rn_testing_settle(runtime), RN_OK);
    assert_int_equal(rn_testing_seed(runtime), 0);
    assert_int_equal(rn_close(runtime), RN_OK);
}

TEST(a_clock_is_not_moved_back_or_too_far) {
    rn_runtime *runtime = open_kit(true, 0);
    assert_int_equal(rn_testing_advance(runtime, -1), RN_INVALID);
    assert_int_equal(rn_testing_advance(runtime, RN_DURATION_MAX + 1), RN_INVALID);
    assert_int_equal(rn_testing_now(runtime), 0);
    assert_int_equal(rn_close(runtime), RN_OK);
}

static rn_value move_clock(rn_call *call) {
    rn_runtime *runtime = rn_runtime_of(call);
    return rn_bool(rn_testing_advance(runtime, 1) == RN_INVALID && rn_testing_settle(runtime) == RN_INVALID);
}

TEST(a_task_does_not_move_the_clock) {
    rn_runtime *runtime = open_kit(true, 0);
    rn_future *future = rn_run(runtime, move_clock);
    assert_true(rn_as_bool(rn_result(future)));
    rn_release(future);
    assert_int_equal(rn_close(runtime), RN_OK);
}

/* ---- seeds ---- */

static char order[64];
static size_t order_length;

static rn_value note(rn_call *call) {
    order[order_length++] = (char)rn_as_int(rn_arg(call));
    return rn_none();
}

/* The order in which a seed starts ten tasks. */
static const char *order_of(rn_runtime *runtime) {
    rn_future *futures[10];
    order_length = 0;
    for (int i = 0; i < 10; i++) futures[i] = rn_run(runtime, note, .arg = rn_int('a' + i));
    assert_int_equal(rn_testing_settle(runtime), RN_OK);
    for (int i = 0; i < 10; i++) rn_release(futures[i]);
    assert_int_equal(rn_close(runtime), RN_OK);
    order[order_length] = '\0';
    assert_int_equal(order_length, 10);
    return order;
}

TEST(one_seed_gives_one_order) {
    char first[64];
    unsigned others = 0;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        memcpy(first, order_of(open_kit(false, seed)), sizeof first);
        assert_string_equal(order_of(open_kit(true, seed)), first);
        others += strcmp(first, "abcdefghij") != 0;
    }
    assert_true(others > 0);
}

TEST(a_random_seed_is_another_each_time) {
    rn_runtime *runtimes[2] = {open_kit(false, RN_SEED_RANDOM), open_kit(false, RN_SEED_RANDOM)};
    assert_int_not_equal(rn_testing_seed(runtimes[0]), 0);
    assert_int_not_equal(rn_testing_seed(runtimes[0]), rn_testing_seed(runtimes[1]));
    for (int i = 0; i < 2; i++) assert_int_equal(rn_close(runtimes[i]), RN_OK);
}

static void check_environment(const char *text, uint64_t wanted, uint64_t seed) {
    setenv("RUNIUM_SEED", text, 1);
    rn_runtime *runtime = open_kit(false, wanted);
    CHILD_CHECK(rn_testing_seed(runtime) == seed);
    CHILD_CHECK(rn_close(runtime) == RN_OK);
}

TEST(the_environment_replaces_a_seed) {
    char text[1000];
    in_child(text, check_environment("77", 5, 77); check_environment("77", RN_SEED_RANDOM, 77);
             check_environment("", 5, 5); check_environment("0", 5, 5); check_environment("77", 0, 0));
}

static char said[200];

static void keep_info(void *context, const rn_log_record *record) {
    (void)context;
    if (record->level == RN_LOG_INFO) snprintf(said, sizeof said, "%s", record->message);
}

TEST(the_seed_goes_to_the_log) {
    rn_testing kit = {.size = sizeof kit, .seed = 4711};
    rn_runtime *runtime = rn_open(.workers = 1, .log = keep_info, .testing = &kit);
    assert_string_equal(said, "seed 4711; RUNIUM_SEED=4711 replays it");
    assert_int_equal(rn_close(runtime), RN_OK);
}

TEST(a_schedule_in_virtual_time_takes_no_time) {
    rn_runtime *runtime = open_kit(true, 0);
    rn_future *future = rn_run(runtime, nothing, .every = RN_HOURS(1), .times = 8760);
    assert_true(rn_is_none(rn_result(future)));
    assert_true(rn_testing_now(runtime) == RN_HOURS(8759));
    rn_release(future);
    assert_int_equal(rn_close(runtime), RN_OK);
}
