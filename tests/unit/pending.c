/*
 * The list of pending runs, which is read off the slabs.
 */
#include "core/pending.h"

#include <string.h>

#include "core/handle.h"
#include "core/runtime.h"
#include "support.h"

static rn_value hold_and_report(rn_call *call) {
    rn_report(call, 0.25);
    return hold(call);
}

static rn_runtime *open_held(unsigned workers) {
    gate_close();
    return rn_open(.workers = workers, .log = rn_log_nothing);
}

static void close_and_release(rn_runtime *runtime, rn_future **futures, size_t count) {
    gate_open();
    assert_int_equal(rn_close(runtime, .how = RN_STOP), RN_OK);
    for (size_t i = 0; i < count; i++) rn_release(futures[i]);
}

static const rn_run_info *find(const rn_run_info *infos, int64_t count, const char *name) {
    for (int64_t i = 0; i < count; i++)
        if (strcmp(infos[i].name, name) == 0) return &infos[i];
    fail_msg("no run '%s' is listed", name);
    return NULL;
}

TEST(each_state_is_listed_as_it_is) {
    rn_run_info infos[8];
    rn_runtime *runtime = open_held(1);
    rn_future *futures[] = {
        rn_run(runtime, hold_and_report, .name = "running"),
        rn_run(runtime, hold),
        rn_run(runtime, hold, .name = "named"),
        rn_run(runtime, hold, .name = "later", .start_in = RN_HOURS(1)),
    };
    gate_await(1);
    assert_int_equal(rn_pending(runtime, infos, COUNT_OF(infos)), 4);
    const rn_run_info *info = find(infos, 4, "running");
    assert_int_equal(info->state, RN_RUNNING);
    assert_int_equal(info->iteration, 1);
    assert_true(info->progress > 0.24 && info->progress < 0.26);
    assert_int_equal(info->next_start_ns, 0);
    info = find(infos, 4, "hold");
    assert_int_equal(info->state, RN_WAITING);
    assert_int_equal(info->iteration, 0);
    assert_true(info->age_ns >= 0);
    info = find(infos, 4, "later");
    assert_int_equal(info->state, RN_WAITING);
    assert_true(info->next_start_ns > RN_MINUTES(59) && info->next_start_ns <= RN_HOURS(1));
    assert_int_equal(find(infos, 4, "named")->next_start_ns, 0);
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < i; k++) assert_int_not_equal(infos[i].id, infos[k].id);
    close_and_release(runtime, futures, COUNT_OF(futures));
}

TEST(a_running_run_without_a_plan_is_in_its_first_iteration) {
    rn_run_info info;
    rn_runtime *runtime = open_held(1);
    rn_future *future = rn_run(runtime, hold);
    gate_await(1);
    assert_int_equal(rn_pending(runtime, &info, 1), 1);
    assert_int_equal(info.state, RN_RUNNING);
    assert_int_equal(info.iteration, 1);
    close_and_release(runtime, &future, 1);
}

/* A program that was compiled with an older header has shorter entries, one with a newer header longer ones. */
TEST(entries_of_any_size_are_filled) {
    enum { MOST = sizeof(rn_run_info) + 64 };
    unsigned char entries[3][MOST];
    const size_t sizes[] = {8, 16, sizeof(rn_run_info) - 8, sizeof(rn_run_info), MOST};
    rn_runtime *runtime = open_held(1);
    rn_future *futures[2] = {rn_run(runtime, hold), rn_run(runtime, hold)};
    gate_await(1);
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        rn_run_info whole[2];
        memset(entries, 0xaa, sizeof entries);
        assert_int_equal(rni_pending(runtime, (rn_run_info *)(void *)entries, 2, sizes[i]), 2);
        assert_int_equal(rn_pending(runtime, whole, 2), 2);
        for (size_t k = 0; k < 2; k++) {
            const unsigned char *entry = (const unsigned char *)entries + k * sizes[i];
            assert_memory_equal(entry, &whole[k].id, sizeof(uint64_t));
            for (size_t at = sizeof(rn_run_info); at < sizes[i]; at++) assert_int_equal(entry[at], 0);
        }
        assert_int_equal(((const unsigned char *)entries)[2 * sizes[i]], 0xaa);
    }
    close_and_release(runtime, futures, 2);
}

TEST(the_count_needs_no_room) {
    rn_run_info info;
    rn_runtime *runtime = open_held(1);
    rn_future *futures[3];
    for (size_t i = 0; i < COUNT_OF(futures); i++) futures[i] = rn_run(runtime, hold);
    assert_int_equal(rn_pending(runtime, NULL, 0), 3);
    assert_int_equal(rn_pending(runtime, NULL, 100), 3);
    assert_int_equal(rn_pending(runtime, &info, 1), 3);
    close_and_release(runtime, futures, COUNT_OF(futures));
}

TEST(runs_of_other_runtimes_are_not_listed) {
    rn_run_info infos[10];
    rn_runtime *runtimes[2] = {open_held(1), rn_open(.workers = 1, .log = rn_log_nothing)};
    rn_future *futures[5];
    for (size_t i = 0; i < COUNT_OF(futures); i++) futures[i] = rn_run(runtimes[i % 2], hold);
    assert_int_equal(rn_pending(runtimes[0], infos, 10), 3);
    assert_int_equal(rn_pending(runtimes[1], infos, 10), 2);
    gate_open();
    assert_int_equal(rn_close(runtimes[0]), RN_OK);
    assert_int_equal(rn_pending(runtimes[1], NULL, 0) <= 2, 1);
    assert_int_equal(rn_close(runtimes[1]), RN_OK);
    for (size_t i = 0; i < COUNT_OF(futures); i++) rn_release(futures[i]);
}

TEST(a_runtime_that_did_not_open_has_none) {
    rn_runtime *runtime = rn_open(.workers = RN_WORKERS_MAX + 1);
    rn_stats stats = {.size = sizeof stats};
    assert_int_equal(rn_pending(runtime, NULL, 0), 0);
    assert_int_equal(rn_get_stats(runtime, &stats), RN_OK);
    assert_int_equal(stats.pending + stats.workers + stats.started, 0);
    assert_int_equal(rn_close(runtime), RN_OK);
}

/* With a virtual clock that stands still, ages are those of the clock. */
TEST(ages_are_by_the_clock_of_the_runtime) {
    rn_run_info info;
    rn_testing kit = {.size = sizeof kit, .virtual_clock = true};
    gate_close();
    rn_runtime *runtime = rn_open(.workers = 1, .testing = &kit);
    rn_future *later = rn_run(runtime, hold, .start_in = RN_HOURS(5), .name = "later");
    assert_int_equal(rn_testing_advance(runtime, RN_HOURS(2)), RN_OK);
    assert_int_equal(rn_pending(runtime, &info, 1), 1);
    assert_int_equal(info.age_ns, RN_HOURS(2));
    assert_int_equal(info.next_start_ns, RN_HOURS(3));
    rn_future *now = rn_run(runtime, hold);
    rn_run_info infos[2];
    assert_int_equal(rn_pending(runtime, infos, 2), 2);
    assert_int_equal(find(infos, 2, "hold")->age_ns, 0);
    rn_future *futures[] = {later, now};
    close_and_release(runtime, futures, 2);
}

/* More than one chunk of runs, with holes, is walked whole. */
TEST(many_runs_are_each_listed_once) {
    enum { RUNS = 9000 };
    static rn_future *futures[RUNS];
    static rn_run_info infos[RUNS];
    rn_runtime *runtime = open_held(1);
    for (size_t i = 0; i < RUNS; i++) futures[i] = rn_run(runtime, hold, .start_in = RN_HOURS(1));
    for (size_t i = 0; i < RUNS; i += 3) assert_true(rn_cancel(futures[i]));
    assert_int_equal(rn_pending(runtime, infos, RUNS), RUNS - RUNS / 3);
    uint64_t sum = 0, ids = 0;
    for (size_t i = 0; i < RUNS - RUNS / 3; i++) sum += infos[i].id;
    for (size_t i = 0; i < RUNS; i++)
        if (i % 3 != 0) ids += rni_run_id(rni_handle_object(futures[i]));
    assert_int_equal(sum, ids);
    close_and_release(runtime, futures, RUNS);
}
