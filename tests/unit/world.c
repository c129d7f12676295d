/*
 * What all runtimes of a process share: threads and their lanes, which are used again, and the table of runtimes.
 */
#include "core/world.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/executor.h"
#include "core/handle.h"
#include "core/lane.h"
#include "core/run.h"
#include "support.h"

static rn_value nothing(rn_call *call) {
    (void)call;
    return rn_none();
}

static void run_one(rn_runtime *runtime) {
    rn_future *future = rn_run(runtime, nothing);
    if (!rn_is_none(rn_result(future))) abort();
    rn_release(future);
}

static size_t lanes_of(rn_runtime *handle) {
    size_t count = 0;
    for (rni_lane *lane = rni_lanes(rni_handle_object(handle)); lane; lane = lane->next_of_runtime) count++;
    return count;
}

static void *use(void *runtime) {
    run_one(runtime);
    return NULL;
}

static void use_in_thread(rn_runtime *runtime) {
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, use, runtime), 0);
    pthread_join(thread, NULL);
}

TEST(the_lane_of_a_thread_that_ended_serves_the_next) {
    rn_runtime *runtime = rn_open(.workers = 2);
    use_in_thread(runtime);
    assert_int_equal(lanes_of(runtime), 3);
    uint64_t mapped = rn_testing_held(RN_FAULT_MAPPING);
    for (int i = 0; i < 200; i++) use_in_thread(runtime);
    assert_int_equal(lanes_of(runtime), 3);
    assert_int_equal(rn_testing_held(RN_FAULT_MAPPING), mapped); /* nor does a thread cost memory of its own */
    rn_stats stats = {.size = sizeof stats};
    assert_int_equal(rn_get_stats(runtime, &stats), RN_OK);
    assert_int_equal(stats.started, 201);
    assert_int_equal(rn_close(runtime), RN_OK);
}

/* ---- a thread that outlives its runtimes ---- */

static struct {
    rn_runtime *runtimes[3];
    rni_a32 step;
} shared;

static void await_step(uint32_t step) {
    while (rni_load_acquire(&shared.step) < step) rni_os_wait(&shared.step, step - 1, -1); /* pairs with next_step */
}

static void next_step(void) {
    rni_add_acq_rel(&shared.step, 1); /* pairs with await_step */
    rni_os_wake(&shared.step, INT32_MAX);
}

/* Uses two runtimes, waits until they are closed, and uses a third. */
static void *outlive(void *unused) {
    (void)unused;
    run_one(shared.runtimes[0]);
    run_one(shared.runtimes[1]);
    next_step();
    await_step(2);
    if (shared.runtimes[2]) run_one(shared.runtimes[2]);
    next_step();
    await_step(4);
    return NULL;
}

static void start_outliving(pthread_t *thread, bool uses_third) {
    rni_store_relaxed(&shared.step, 0);
    for (int i = 0; i < 3; i++) shared.runtimes[i] = i < 2 || uses_third ? rn_open(.workers = 1) : NULL;
    assert_int_equal(pthread_create(thread, NULL, outlive, NULL), 0);
    await_step(1);
    for (int i = 1; i >= 0; i--) assert_int_equal(rn_close(shared.runtimes[i]), RN_OK);
    if (uses_third) run_one(shared.runtimes[2]); /* its worker has begun, and freed what it was started with */
}

TEST(a_dead_lane_is_freed_when_its_thread_ends) {
    pthread_t thread;
    uint64_t held = rn_testing_held(RN_FAULT_ALLOCATION);
    start_outliving(&thread, false);
    assert_int_equal(rn_testing_held(RN_FAULT_ALLOCATION), held + 2);
    next_step();
    await_step(3);
    next_step();
    pthread_join(thread, NULL);
    assert_int_equal(rn_testing_held(RN_FAULT_ALLOCATION), held);
}

TEST(a_dead_lane_is_freed_when_its_thread_uses_another_runtime) {
    pthread_t thread;
    start_outliving(&thread, true);
    uint64_t held = rn_testing_held(RN_FAULT_ALLOCATION);
    next_step();
    await_step(3);
    assert_int_equal(rn_testing_held(RN_FAULT_ALLOCATION), held - 2 + 1);
    next_step();
    pthread_join(thread, NULL);
    assert_int_equal(rn_close(shared.runtimes[2]), RN_OK);
}

/* ---- lanes by themselves ---- */

TEST(a_thread_finds_its_lane_by_the_serial_of_the_runtime) {
    rn_runtime *first = rn_open(.workers = 1), *second = rn_open(.workers = 1);
    run_one(first);
    run_one(second);
    rn_runtime *runtimes[] = {rni_handle_object(first), rni_handle_object(second)};
    for (int i = 0; i < 4; i++) {
        rni_lane *lane = rni_lane_of(rni_load_relaxed(&runtimes[i % 2]->serial));
        assert_ptr_equal(lane->runtime, runtimes[i % 2]);
        assert_ptr_equal(rni_self->lane, lane);
    }
    uint64_t serial = rni_load_relaxed(&runtimes[0]->serial);
    assert_int_equal(rn_close(first), RN_OK);
    assert_null(rni_lane_find(serial));
    assert_null(rni_lane_make(runtimes[0], serial, rni_self, false)); /* it is closed */
    assert_int_equal(rn_close(second), RN_OK);
}

static void *find_without_an_entry(void *found) {
    *(bool *)found = rni_self || rni_lane_find(1) != NULL;
    rni_lanes_drop_dead();
    return NULL;
}

TEST(a_thread_that_never_used_the_library_has_no_lane) {
    bool found = true;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, find_without_an_entry, &found), 0);
    pthread_join(thread, NULL);
    assert_false(found);
}

/* ---- the table of runtimes ---- */

/* Without threads, so that the limit is the table's. */
static rn_runtime *open_threadless(void) {
    rn_testing_fail(RN_FAULT_THREAD_START, 1, UINT64_MAX);
    rn_runtime *runtime = rn_open(.workers = 1, .when_full = RN_CALLER_RUNS, .log = rn_log_nothing);
    rn_testing_fail(RN_FAULT_THREAD_START, 1, 0);
    return runtime;
}

TEST(as_many_runtimes_open_as_the_table_holds) {
    static rn_runtime *runtimes[RNI_RUNTIMES_MAX];
    for (size_t i = 0; i < RNI_RUNTIMES_MAX; i++) {
        runtimes[i] = open_threadless();
        if (!rn_is_none(rn_open_error(runtimes[i]))) fail_msg("only %zu runtimes open", i);
    }
    rn_runtime *refused = open_threadless();
    assert_int_equal(rn_error_code(rn_open_error(refused)), RN_NO_MEMORY);
    assert_int_equal(rn_close(refused), RN_OK);
    run_one(runtimes[RNI_RUNTIMES_MAX - 1]);
    assert_int_equal(rn_close(runtimes[1000]), RN_OK);
    runtimes[1000] = open_threadless();
    assert_true(rn_is_none(rn_open_error(runtimes[1000])));
    for (size_t i = 0; i < RNI_RUNTIMES_MAX; i++) assert_int_equal(rn_close(runtimes[i]), RN_OK);
}

TEST(a_thread_entry_is_given_back_and_taken_again) {
    rni_thread *entry = rni_thread_new();
    assert_non_null(entry);
    rni_thread_give_back(entry);
    assert_ptr_equal(rni_thread_new(), entry);
    rni_thread_give_back(entry);
}

static pthread_t forker;

static void *end_after_forker(void *unused) {
    (void)unused;
    pthread_join(forker, NULL);
    child_ends(0);
}

/* Its entry in a forked child is a copy of the parent's: it is not given back there. */
static void *fork_in_thread(void *unused) {
    (void)unused;
    rn_release(rni_future_failed(rn_none()));
    if (child_begins()) {
        pthread_t other;
        forker = pthread_self();
        if (pthread_create(&other, NULL, end_after_forker, NULL) == 0) pthread_exit(NULL);
        child_ends(1);
    }
    return NULL;
}

TEST(a_thread_that_forked_ends_in_the_child_too) {
    char text[1000];
    pthread_t thread;
    if (UNDER_SANITIZER) skip(); /* they do not allow threads in a child that was forked beside others */
    assert_int_equal(pthread_create(&thread, NULL, fork_in_thread, NULL), 0);
    pthread_join(thread, NULL);
    check_child_ends(text, sizeof text, __FILE__, __LINE__);
}
