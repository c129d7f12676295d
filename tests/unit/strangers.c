/*
 * Threads that never used the library before: what they may do with what others have made, though they have no entry
 * and no lane; and code on stacks that are not the thread's own.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

#include "base/os.h"
#include "core/handle.h"
#include "core/run.h"
#include "core/world.h"
#include "support.h"

static rn_value nothing(rn_call *call) {
    (void)call;
    return rn_none();
}

static struct {
    rn_runtime *runtime;
    rn_future *future;
    bool had_entry, cancelled;
    int told;
} stranger;

static void in_stranger(void *(*function)(void *)) {
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, function, NULL), 0);
    pthread_join(thread, NULL);
    assert_false(stranger.had_entry);
}

static void *release(void *unused) {
    (void)unused;
    stranger.had_entry = rni_self != NULL;
    rn_release(stranger.future);
    return NULL;
}

/* The memory goes back at once, by way of nobody's slab: so much more is never mapped. */
TEST(a_stranger_gives_a_future_back) {
    uint64_t mapped = 0;
    for (int i = 0; i < 300; i++) {
        stranger.future = rni_future_failed(rn_text("freed by a stranger"));
        in_stranger(release);
        if (i == 100) mapped = rn_testing_held(RN_FAULT_MAPPING);
    }
    assert_int_equal(rn_testing_held(RN_FAULT_MAPPING), mapped);
}

static void note_done(rn_future *future, void *context) {
    (void)context;
    stranger.told += rn_cancelled(future);
}

static void *cancel(void *unused) {
    (void)unused;
    stranger.had_entry = rni_self != NULL;
    stranger.cancelled = rn_cancel(stranger.future);
    return NULL;
}

TEST(a_stranger_cancels_and_calls_the_callbacks) {
    stranger.runtime = rn_open(.workers = 1);
    stranger.told = 0;
    stranger.future = rn_run(stranger.runtime, nothing, .start_in = RN_HOURS(1));
    assert_int_equal(rn_add_done_callback(stranger.future, note_done, NULL), RN_OK);
    in_stranger(cancel);
    assert_true(stranger.cancelled);
    assert_int_equal(stranger.told, 1);
    rn_release(stranger.future);
    assert_int_equal(rn_close(stranger.runtime), RN_OK); /* and it counts as finished */
}

static void *use_released(void *unused) {
    (void)unused;
    CHILD_CHECK(rni_self == NULL);
    (void)rn_done(stranger.future);
    return NULL;
}

/* Its run goes on, so that only the flag tells. */
static void release_and_use(void) {
    pthread_t thread;
    stranger.runtime = rn_open(.workers = 1);
    stranger.future = rn_run(stranger.runtime, nothing, .start_in = RN_HOURS(1));
    rn_release(stranger.future);
    CHILD_CHECK(pthread_create(&thread, NULL, use_released, NULL) == 0);
    pthread_join(thread, NULL);
}

TEST(a_stranger_that_uses_a_released_future_stops_the_program) {
    assert_misuse("rn_done: the future 0x", release_and_use());
}

/* ---- callbacks in callbacks ---- */

static rn_future *outer;

static void use_outer(rn_future *future, void *context) {
    (void)future;
    (void)context;
    stranger.told += rn_cancelled(outer); /* released, but its callbacks are being called */
}

static void cancel_inner(rn_future *future, void *context) {
    rn_future *inner = context;
    rn_release(future);
    stranger.told += rn_cancel(inner);
    rn_release(inner);
}

TEST(a_future_that_was_released_in_its_callback_serves_until_that_ends) {
    rn_runtime *runtime = rn_open(.workers = 1);
    outer = rn_run(runtime, nothing, .start_in = RN_HOURS(1));
    rn_future *inner = rn_run(runtime, nothing, .start_in = RN_HOURS(1));
    stranger.told = 0;
    assert_int_equal(rn_add_done_callback(outer, cancel_inner, inner), RN_OK);
    assert_int_equal(rn_add_done_callback(inner, use_outer, NULL), RN_OK);
    assert_true(rn_cancel(outer));
    assert_int_equal(stranger.told, 2);
    assert_int_equal(rn_close(runtime), RN_OK);
}

/* ---- other stacks ---- */

static struct {
    ucontext_t own, other;
    rn_runtime *runtime;
    int64_t number;
} switched;

static rn_value five(rn_call *call) {
    (void)call;
    return rn_int(5);
}

static void wait_on_this_stack(void) {
    rn_future *future = rn_run(switched.runtime, five);
    switched.number = rn_as_int(rn_result(future));
    rn_release(future);
}

/* A task that goes on as a coroutine, on a stack of the program's: how much of it is left nobody knows. */
static rn_value wait_on_another_stack(rn_call *call) {
    switched.runtime = rn_runtime_of(call);
    getcontext(&switched.other);
    switched.other.uc_stack.ss_sp = rn_as_pointer(rn_arg(call));
    switched.other.uc_stack.ss_size = 131072;
    switched.other.uc_link = &switched.own;
    makecontext(&switched.other, wait_on_this_stack, 0);
    swapcontext(&switched.own, &switched.other);
    return rn_int(switched.number);
}

static void check_stack(void *stack) {
    rn_runtime *runtime = rn_open(.workers = 1);
    rn_future *future = rn_run(runtime, wait_on_another_stack, .arg = rn_pointer(stack));
    assert_int_equal(rn_as_int(rn_result(future)), 5);
    rn_release(future);
    assert_int_equal(rn_close(runtime), RN_OK);
}

TEST(a_task_waits_on_a_stack_above_or_below_its_own) {
    char above[131072]; /* this thread's stack lies above all others */
    void *below = malloc(131072);
    assert_non_null(below);
    if (!UNDER_SANITIZER) { /* which watches stacks, and would not follow */
        check_stack(above);
        check_stack(below);
    }
    free(below);
}

/* ---- destructors ---- */

static rn_future *busy;

static void destroy(void *code) { *(int *)code = rn_wait(busy, 0); }

static rn_value owned(rn_call *call) { return rn_pointer_owned(rn_as_pointer(rn_arg(call)), destroy); }

static rn_future *claimed;

static rn_value claim(rn_call *call) {
    (void)call;
    (void)rn_wait(claimed, -1);
    rn_drop(hold(call));
    return rn_none();
}

/* The last to let go of a run is the queue, from which its awaiter had taken it: the worker destroys the result. */
TEST(a_destructor_on_a_worker_may_ask_for_a_run) {
    int code = 77;
    gate_close();
    rn_runtime *runtime = rn_open(.workers = 1), *other = rn_open(.workers = 1);
    busy = rn_run(other, nothing, .start_in = RN_HOURS(1));
    rn_future *held = rn_run(runtime, hold);
    gate_await(1);
    rn_future *claiming = rn_run(runtime, claim), *between = rn_run(runtime, nothing);
    claimed = rn_run(runtime, owned, .arg = rn_pointer(&code));
    gate_open();
    assert_int_equal(rn_wait(claimed, -1), RN_OK);
    rn_release(claimed);
    rn_future *futures[] = {held, claiming, between};
    for (size_t i = 0; i < COUNT_OF(futures); i++) {
        (void)rn_wait(futures[i], -1);
        rn_release(futures[i]);
    }
    assert_int_equal(rn_close(runtime), RN_OK);
    assert_int_equal(code, RN_TIMED_OUT);
    assert_true(rn_cancel(busy));
    rn_release(busy);
    assert_int_equal(rn_close(other), RN_OK);
}
