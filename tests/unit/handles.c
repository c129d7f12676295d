/*
 * Handles: what is made is read back; what is stale, NULL or of another kind is found out by every function.
 */
#include "core/handle.h"

#include "core/run.h"
#include "core/runtime.h"
#include "core/world.h"
#include "support.h"

TEST(a_handle_has_its_object_and_its_tag) {
    uint64_t random = random_seed();
    for (int i = 0; i < 100000; i++) {
        uintptr_t object = (uintptr_t)next_random(&random) & RNI_ADDRESS_MASK;
        uint32_t generation = (uint32_t)next_random(&random);
        void *handle = rni_handle_make((void *)object, generation);
        assert_int_equal((uintptr_t)rni_handle_object(handle), object);
        assert_int_equal(rni_handle_tag(handle), generation & RNI_TAG_MASK);
    }
}

TEST(neighbouring_generations_have_different_handles) {
    void *object = (void *)(uintptr_t)0x7f0000001000;
    for (uint32_t generation = 0; generation < 1000; generation++)
        for (uint32_t later = generation + 1; later < generation + 200; later++)
            assert_ptr_not_equal(rni_handle_make(object, generation), rni_handle_make(object, later));
}

static rn_value nothing(rn_call *call) {
    (void)call;
    return rn_none();
}

static void done(rn_future *future, void *context) {
    (void)future;
    (void)context;
}

#define CHECK_FUTURE(future, how)                                                                                 \
    do {                                                                                                          \
        assert_misuse("rn_result: the future " how, (void)rn_result(future));                                     \
        assert_misuse("rn_result_within: the future " how, (void)rn_result_within((future), 0));                  \
        assert_misuse("rn_wait: the future " how, (void)rn_wait((future), 0));                                    \
        assert_misuse("rn_state: the future " how, (void)rn_state(future));                                       \
        assert_misuse("rn_running: the future " how, (void)rn_running(future));                                   \
        assert_misuse("rn_cancelled: the future " how, (void)rn_cancelled(future));                               \
        assert_misuse("rn_done: the future " how, (void)rn_done(future));                                         \
        assert_misuse("rn_progress: the future " how, (void)rn_progress(future));                                 \
        assert_misuse("rn_cancel: the future " how, (void)rn_cancel(future));                                     \
        assert_misuse("rn_stop: the future " how, (void)rn_stop(future));                                         \
        assert_misuse("rn_add_done_callback: the future " how, (void)rn_add_done_callback((future), done, NULL)); \
        assert_misuse("rn_release: the future " how, rn_release(future));                                         \
    } while (0)

TEST(a_null_future_stops_the_program) { CHECK_FUTURE(NULL, "is NULL"); }

/* The misuse happens in a child, whose futures must be its own. */
static rn_future *released(void) {
    rn_future *future = rni_future_failed(rn_none());
    rn_release(future);
    return future;
}

TEST(a_released_future_stops_the_program) { CHECK_FUTURE(released(), "0x"); }

/* Its place is another run's by now: only the generation tells. */
static rn_future *replaced(void) {
    rn_future *stale = released(), *other = rni_future_failed(rn_none());
    CHILD_CHECK(rni_handle_object(other) == rni_handle_object(stale));
    return stale;
}

TEST(a_released_future_whose_place_is_used_again_stops_the_program) { CHECK_FUTURE(replaced(), "0x"); }

static rn_future *runtime_as_future(void) { return (rn_future *)(void *)rn_open(.workers = 1); }

TEST(a_runtime_is_no_future) { assert_misuse("rn_result: the future 0x", (void)rn_result(runtime_as_future())); }

TEST(a_null_callback_stops_the_program) {
    rn_future *future = rni_future_failed(rn_none());
    assert_misuse("rn_add_done_callback: the function is NULL", (void)rn_add_done_callback(future, NULL, NULL));
    rn_release(future);
}

TEST(a_null_runtime_or_options_stop_the_program) {
    rn_stats stats = {.size = sizeof stats};
    assert_misuse("rn_open: the options are NULL", (void)!rn_open_with(NULL));
    assert_misuse("rn_close: the options are NULL", (void)rn_close_with(NULL));
    assert_misuse("rn_close: the runtime is NULL", (void)rn_close(NULL));
    assert_misuse("rn_open_error: the runtime is NULL", (void)rn_open_error(NULL));
    assert_misuse("rn_run: the runtime is NULL", (void)!rn_run(NULL, nothing));
    assert_misuse("rn_run: the runtime is NULL", (void)rn_run_detached(NULL, nothing));
    assert_misuse("rn_pending: the runtime is NULL", (void)rn_pending(NULL, NULL, 0));
    assert_misuse("rn_get_stats: the runtime is NULL", (void)rn_get_stats(NULL, &stats));
    assert_misuse("rn_testing_now: the runtime is NULL", (void)rn_testing_now(NULL));
    assert_misuse("rn_testing_seed: the runtime is NULL", (void)rn_testing_seed(NULL));
    assert_misuse("rn_testing_settle: the runtime is NULL", (void)rn_testing_settle(NULL));
    assert_misuse("rn_testing_advance: the runtime is NULL", (void)rn_testing_advance(NULL, 1));
}

/* What every function answers to the handle of a runtime that is not to be had any more. */
static bool every_answer_is(rn_runtime *runtime, int code) {
    rn_stats stats = {.size = sizeof stats};
    rn_future *future = rn_run(runtime, nothing);
    bool holds = rn_error_code(rn_result(future)) == code;
    if (code != RN_FORKED) rn_release(future);
    return holds && rn_error_code(rn_open_error(runtime)) == code && rn_run_detached(runtime, nothing) == code &&
           rn_pending(runtime, NULL, 0) == code && rn_get_stats(runtime, &stats) == code &&
           rn_testing_now(runtime) == 0 && rn_testing_seed(runtime) == 0 && rn_testing_settle(runtime) == code &&
           rn_testing_advance(runtime, 1) == code && rn_close(runtime) == code;
}

TEST(a_closed_runtime_says_so) {
    rn_runtime *runtime = rn_open(.workers = 1);
    assert_int_equal(rn_close(runtime), RN_OK);
    assert_true(every_answer_is(runtime, RN_CLOSED));
    rn_runtime *other = rn_open(.workers = 1); /* in the same place */
    assert_ptr_equal(rni_handle_object(other), rni_handle_object(runtime));
    assert_true(every_answer_is(runtime, RN_CLOSED));
    assert_int_equal(rn_close(other), RN_OK);
}

TEST(a_runtime_of_the_parent_says_so) {
    char text[2000];
    rn_runtime *runtime = rn_open(.workers = 1);
    in_child(text, CHILD_CHECK(every_answer_is(runtime, RN_FORKED)));
    assert_int_equal(rn_close(runtime), RN_OK);
}

static bool every_future_answer_is_forked(rn_future *future) {
    bool holds = rn_error_code(rn_result(future)) == RN_FORKED && rn_wait(future, -1) == RN_FORKED &&
                 rn_error_code(rn_result_within(future, 0)) == RN_FORKED && rn_state(future) == RN_DONE &&
                 rn_done(future) && !rn_running(future) && !rn_cancelled(future) && !rn_cancel(future) &&
                 !rn_stop(future) && rn_add_done_callback(future, done, NULL) == RN_FORKED && rn_progress(future) >= 1;
    rn_release(future);
    rn_release(future);
    return holds;
}

TEST(a_future_of_the_parent_says_so) {
    char text[2000];
    rn_future *future = rni_future_failed(rn_none());
    in_child(text, CHILD_CHECK(every_future_answer_is_forked(future)));
    rn_release(future);
}

/* ---- without memory ---- */

TEST(a_runtime_for_which_there_is_no_memory_says_so) {
    in_child((char[2000]){0}, rn_testing_fail(RN_FAULT_MAPPING, 1, UINT64_MAX);
             rn_runtime *runtime = rn_open(.workers = 1);
             CHILD_CHECK(rn_error_code(rn_open_error(runtime)) == RN_NO_MEMORY);
             CHILD_CHECK(rn_pending(runtime, NULL, 0) == RN_NO_MEMORY);
             CHILD_CHECK(rn_run_detached(runtime, nothing) == RN_NO_MEMORY); CHILD_CHECK(rn_close(runtime) == RN_OK);
             CHILD_CHECK(rn_close(runtime) == RN_OK));
}

/* One that could not open for a reason that the message names, but the reason finds no memory either. */
TEST(a_wrong_option_without_memory_is_no_memory) {
    in_child((char[2000]){0}, rn_testing_fail(RN_FAULT_MAPPING, 1, UINT64_MAX);
             rn_runtime *runtime = rn_open(.workers = RN_WORKERS_MAX + 1);
             CHILD_CHECK(rn_error_code(rn_open_error(runtime)) == RN_NO_MEMORY); CHILD_CHECK(rn_close(runtime) == RN_OK));
}

static bool static_future_works(rn_future *future) {
    bool holds = rn_error_code(rn_result(future)) == RN_NO_MEMORY && rn_state(future) == RN_DONE &&
                 rn_wait(future, -1) == RN_OK && !rn_cancel(future) && !rn_stop(future) && rn_progress(future) >= 1;
    rn_release(future);
    rn_release(future);
    return holds && rn_done(future);
}

TEST(the_future_for_want_of_memory_serves_everybody) {
    in_child((char[2000]){0}, rn_testing_fail(RN_FAULT_MAPPING, 1, UINT64_MAX);
             rn_future *future = rni_future_failed(rn_int(5)); rn_future *second = rni_future_failed(rn_text("lost"));
             CHILD_CHECK(future == second); CHILD_CHECK(static_future_works(future)));
}
