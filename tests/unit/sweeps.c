/*
 * Every refusal, one at a time: a story is told once for each memory, page and thread that it asks for, and that one
 * is refused. Each call must then end with its result or with the error of the refusal, and all must be given back.
 *
 * Each telling is a child: its world is empty, so that all is asked for anew.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "support.h"

typedef void story(void);

/* Where a telling is refused something, nothing may be left of it. Threads give back when they end. */
static void tell(story *play, enum rn_fault fault, uint64_t nth, uint64_t count) {
    rn_testing_fail(fault, nth, count);
    uint64_t held = rn_testing_held(RN_FAULT_ALLOCATION), threads = rn_testing_held(RN_FAULT_THREAD_START);
    play();
    uint64_t reached = rn_testing_reached(fault);
    rn_testing_fail(fault, 1, 0);
    CHILD_CHECK(rn_testing_held(RN_FAULT_ALLOCATION) == held);
    CHILD_CHECK(rn_testing_held(RN_FAULT_THREAD_START) == threads);
    fprintf(stderr, "reached %" PRIu64 "\n", reached);
}

/* How often the story passes a fault point depends on its threads: so until a telling does not reach it. */
static void sweep(story *play, enum rn_fault fault) {
    static const uint64_t counts[] = {1, UINT64_MAX};
    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        char text[4000] = "";
        uint64_t nth = 0, reached = UINT64_MAX;
        while (++nth <= reached) {
            in_child(text, tell(play, fault, nth, counts[i]));
            const char *number = strstr(text, "reached ");
            assert_non_null(number);
            reached = strtoull(number + 8, NULL, 10);
        }
        assert_true(nth > 1);
    }
}

/* A full queue refuses what its caller cannot run at once. */
static bool is_refusal(int code) { return code == RN_NO_MEMORY || code == RN_NO_THREADS || code == RN_QUEUE_FULL; }

/* The result is the number, or a refusal. */
static void check_end(rn_future *future, int64_t number) {
    rn_value result = rn_result(future);
    char text[400];
    rn_format(result, text, sizeof text);
    bool holds = rn_is_error(result) ? is_refusal(rn_error_code(result)) : rn_as_int(result) == number;
    child_check(holds, text, __FILE__, __LINE__);
    rn_release(future);
}

static rn_value five(rn_call *call) {
    rn_report(call, 0.5);
    return rn_int(5);
}

static rn_value failing(rn_call *call) {
    (void)call;
    return rn_error_because(rn_error(3, "below"), 4, "above");
}

static rn_value six_instead(rn_call *call, rn_value error) {
    (void)call;
    (void)error;
    return rn_int(6);
}

static rn_value nested(rn_call *call) {
    rn_future *future = rn_run(rn_runtime_of(call), five, .name = "inner");
    rn_value result = rn_keep(rn_result(future));
    rn_release(future);
    return result;
}

static rni_a32 calls;

static void note(rn_future *future, void *context) {
    (void)future;
    (void)context;
    rni_add_relaxed(&calls, 1);
}

static void tell_runs(rn_runtime *runtime) {
    rn_future *noted = rn_run(runtime, five, .name = "noted", .arg = rn_text("an argument"));
    uint32_t before = rni_load_relaxed(&calls);
    int code = rn_add_done_callback(noted, note, NULL);
    CHILD_CHECK(code == RN_OK || code == RN_NO_MEMORY);
    rn_future *plain = rn_run(runtime, five), *inner = rn_run(runtime, nested);
    rn_future *replaced = rn_run(runtime, failing, .on_error = six_instead, .updates_result = RN_ON_ERROR, .times = 2);
    rn_future *later = rn_run(runtime, five, .start_in_text = "1 us", .times = 2, .every_text = "1 us");
    rn_future *wrong = rn_run(runtime, five, .every_text = "never");
    code = rn_run_detached(runtime, five);
    CHILD_CHECK(code == RN_OK || is_refusal(code));
    check_end(plain, 5);
    check_end(inner, 5);
    check_end(replaced, 6);
    check_end(later, 5);
    check_end(noted, 5);
    code = rn_error_code(rn_result(wrong));
    CHILD_CHECK(code == RN_INVALID || is_refusal(code));
    rn_release(wrong);
    CHILD_CHECK(rni_load_relaxed(&calls) - before <= 1);
}

static void tell_plain(void) {
    rn_runtime *runtime = rn_open(.workers = 2, .log = rn_log_nothing);
    rn_value error = rn_open_error(runtime);
    if (rn_is_error(error)) CHILD_CHECK(is_refusal(rn_error_code(error)));
    tell_runs(runtime);
    CHILD_CHECK(rn_close(runtime) == RN_OK);
}

static void tell_kit(void) {
    rn_testing kit = {.size = sizeof kit, .virtual_clock = true, .seed = 7};
    rn_runtime *runtime = rn_open(.workers = 2, .log = rn_log_nothing, .testing = &kit);
    tell_runs(runtime);
    CHILD_CHECK(rn_close(runtime) == RN_OK);
}

static void tell_caller_runs(void) {
    rn_runtime *runtime =
        rn_open(.workers = 1, .queue_limit = 2, .when_full = RN_CALLER_RUNS, .log = rn_log_nothing);
    tell_runs(runtime);
    CHILD_CHECK(rn_close(runtime) == RN_OK);
}

/* More than a deque holds, so that the overflow is wanted. */
static void tell_many(void) {
    enum { MANY = 700 };
    static rn_future *futures[MANY];
    gate_close();
    rn_runtime *runtime = rn_open(.workers = 1, .log = rn_log_nothing);
    rn_future *held = rn_run(runtime, hold, .arg = rn_int(1));
    for (int i = 0; i < MANY; i++) futures[i] = rn_run(runtime, five);
    gate_open();
    for (int i = 0; i < MANY; i++) check_end(futures[i], 5);
    check_end(held, 1);
    CHILD_CHECK(rn_close(runtime) == RN_OK);
}

TEST(every_allocation_may_be_refused) {
    sweep(tell_plain, RN_FAULT_ALLOCATION);
    sweep(tell_kit, RN_FAULT_ALLOCATION);
    sweep(tell_caller_runs, RN_FAULT_ALLOCATION);
}

TEST(every_mapping_may_be_refused) {
    sweep(tell_plain, RN_FAULT_MAPPING);
    sweep(tell_kit, RN_FAULT_MAPPING);
    sweep(tell_caller_runs, RN_FAULT_MAPPING);
    sweep(tell_many, RN_FAULT_MAPPING);
}

TEST(every_thread_may_be_refused) {
    sweep(tell_plain, RN_FAULT_THREAD_START);
    sweep(tell_kit, RN_FAULT_THREAD_START);
    sweep(tell_caller_runs, RN_FAULT_THREAD_START);
}

TEST(every_allocation_may_be_refused_while_the_queue_is_long) { sweep(tell_many, RN_FAULT_ALLOCATION); }

/* All waits at once: each is only slept through again. */
static void tell_without_sleep(void) {
    rn_testing_fail(RN_FAULT_FUTEX, 1, UINT64_MAX);
    tell_plain();
    rn_testing_fail(RN_FAULT_FUTEX, 1, 0);
}

TEST(every_sleep_may_end_early) {
    char text[4000];
    in_child(text, tell_without_sleep());
}
