/* Rules C1 to C4: which hooks run, in which order, and where. */
#include "support.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ------------------------------------------------------------------------------------------------
 * C1
 */
RULE(c1_on_iter_runs_after_every_iteration_failed_or_not) {
    rn_runtime *rn = OPEN_VIRTUAL();
    rn_task back_to_back = scripted_task(1), periodic = scripted_task(2);
    back_to_back.times = periodic.times = 5;
    periodic.every = RN_SECONDS(1);
    board->scripts[1].failing = board->scripts[2].failing = 0xa;
    assert_ends_with_int(rn_submit(rn, &back_to_back), iteration_value(1, 5));
    assert_ends_with_int(rn_submit(rn, &periodic), iteration_value(2, 5));
    assert_story(1, "f1 i1 f2 i2 f3 i3 f4 i4 f5 i5 s5 z5");
    assert_story(2, "f1 i1 f2 i2 f3 i3 f4 i4 f5 i5 s5 z5");
    close_runtime(rn);
}

RULE(c1_on_iter_runs_after_a_single_iteration_too) {
    rn_runtime *rn = OPEN();
    rn_task task = scripted_task(1);
    task.on_success = NULL;
    task.on_finished = NULL;
    assert_ends_with_int(rn_submit(rn, &task), iteration_value(1, 1));
    assert_story(1, "f1 i1");
    close_runtime(rn);
}

/* ------------------------------------------------------------------------------------------------
 * C2
 */
static void assert_fires_on_success(enum rn_kind kind) {
    rn_runtime *rn = OPEN();
    rn_task task = scripted_task(1);
    board->scripts[1].success_kind = kind;
    rn_value result = end_of(rn_submit(rn, &task));
    assert_int_equal(rn_kind(result), kind);
    rn_drop(result);
    assert_story(1, "f1 i1 s1 z1");
    close_runtime(rn);
}

RULE(c2_a_task_that_returns_none_fires_on_success) { assert_fires_on_success(RN_NONE); }
RULE(c2_a_task_that_returns_false_fires_on_success) { assert_fires_on_success(RN_BOOL); }
RULE(c2_a_task_that_returns_an_empty_text_fires_on_success) { assert_fires_on_success(RN_TEXT); }

static rn_value zero(rn_call *call) {
    (void)call;
    return rn_int(0);
}

RULE(c2_a_task_that_returns_zero_fires_on_success) {
    rn_runtime *rn = OPEN();
    rn_task task = scripted_task(1);
    task.function = zero;
    assert_ends_with_int(rn_submit(rn, &task), 0);
    assert_story(1, "i1 s1 z1");
    close_runtime(rn);
}

RULE(c2_a_task_that_fails_fires_on_error_and_not_on_success) {
    rn_runtime *rn = OPEN();
    rn_task task = scripted_task(1);
    board->scripts[1].failing = 1;
    assert_ends_with_error(rn_submit(rn, &task), iteration_code(1, 1));
    assert_story(1, "f1 i1 e1 z1");
    close_runtime(rn);
}

RULE(c2_the_last_iteration_chooses_between_on_success_and_on_error) {
    rn_runtime *rn = OPEN_VIRTUAL();
    for (int mask = 0; mask < 8; mask++) {
        rn_task task = scripted_task(mask);
        task.times = 3;
        task.every = mask % 2 ? RN_SECONDS(1) : 0;
        board->scripts[mask].failing = (uint64_t)mask;
        rn_drop(end_of(rn_submit(rn, &task)));
        assert_story(mask, mask & 4 ? "f1 i1 f2 i2 f3 i3 e3 z3" : "f1 i1 f2 i2 f3 i3 s3 z3");
    }
    close_runtime(rn);
}

RULE(c2_on_finished_runs_always_alone_too) {
    rn_runtime *rn = OPEN();
    for (int fails = 0; fails <= 1; fails++) {
        rn_task task = scripted_task(fails);
        task.on_iter = NULL;
        task.on_success = NULL;
        task.on_error = NULL;
        board->scripts[fails].failing = (uint64_t)fails;
        rn_drop(end_of(rn_submit(rn, &task)));
        assert_story(fails, "f1 z1");
    }
    close_runtime(rn);
}

RULE(c2_a_hook_that_is_not_there_is_passed_over) {
    rn_runtime *rn = OPEN();
    for (unsigned hooks = 0; hooks < 16; hooks++) {
        for (unsigned fails = 0; fails <= 1; fails++) {
            int tag = (int)(hooks * 2 + fails);
            char expected[32];
            rn_task task = scripted_task(tag);
            task.on_iter = hooks & RN_ON_ITER ? task.on_iter : NULL;
            task.on_success = hooks & RN_ON_SUCCESS ? task.on_success : NULL;
            task.on_error = hooks & RN_ON_ERROR ? task.on_error : NULL;
            task.on_finished = hooks & RN_ON_FINISHED ? task.on_finished : NULL;
            board->scripts[tag].failing = fails;
            rn_drop(end_of(rn_submit(rn, &task)));
            snprintf(expected, sizeof expected, "f1%s%s%s%s", hooks & RN_ON_ITER ? " i1" : "",
                     !fails && hooks & RN_ON_SUCCESS ? " s1" : "", fails && hooks & RN_ON_ERROR ? " e1" : "",
                     hooks & RN_ON_FINISHED ? " z1" : "");
            assert_story(tag, expected);
        }
    }
    close_runtime(rn);
}

/* ------------------------------------------------------------------------------------------------
 * C3: random shapes of runs, each compared with the story and the result that the rules tell.
 */
struct shape {
    uint64_t times, failing, stop_self_at;
    int64_t every, start_in;
    unsigned hooks, updates, failing_hook;
    uint64_t failing_iter;
    int done_callbacks;
};

static struct shape random_shape(uint64_t *seed) {
    struct shape shape = {
        .times = next_random(seed) % 6, .failing = next_random(seed), .hooks = next_random(seed) % 16};
    if (next_random(seed) % 2) {
        shape.every = RN_SECONDS(1) + (int64_t)(next_random(seed) % 1000);
        shape.times += 1; /* without end otherwise */
    }
    shape.start_in = next_random(seed) % 3 ? 0 : (int64_t)(next_random(seed) % 5000000000);
    if (next_random(seed) % 4 == 0) shape.stop_self_at = next_random(seed) % 6;
    if (next_random(seed) % 3 == 0) {
        shape.failing_hook = 1u << next_random(seed) % 4;
        shape.failing_iter = next_random(seed);
    } else {
        shape.updates = next_random(seed) % 16;
    }
    shape.done_callbacks = (int)(next_random(seed) % 4);
    return shape;
}

static rn_task task_of_shape(int tag, const struct shape *shape) {
    rn_task task = scripted_task(tag);
    board->scripts[tag].failing = shape->failing;
    board->scripts[tag].failing_hooks = shape->failing_hook;
    board->scripts[tag].failing_iter = shape->failing_iter;
    board->scripts[tag].stop_self_at = shape->stop_self_at;
    task.times = shape->times;
    task.every = shape->every;
    task.start_in = shape->start_in;
    task.updates_result = shape->updates;
    task.on_iter = shape->hooks & RN_ON_ITER ? task.on_iter : NULL;
    task.on_success = shape->hooks & RN_ON_SUCCESS ? task.on_success : NULL;
    task.on_error = shape->hooks & RN_ON_ERROR ? task.on_error : NULL;
    task.on_finished = shape->hooks & RN_ON_FINISHED ? task.on_finished : NULL;
    return task;
}

struct expectation {
    char story[512];
    size_t length;
    bool failed;    /* the result is an error, with the code `result` */
    int64_t result; /* else the int */
};

/* A step of the story: the hook, if it is there, runs, and may change the result. */
static bool expect_hook(struct expectation *expected, const struct shape *shape, int tag, unsigned hook, uint64_t k) {
    static const char letters[] = {
        [RN_ON_ITER] = 'i', [RN_ON_SUCCESS] = 's', [RN_ON_ERROR] = 'e', [RN_ON_FINISHED] = 'z'};
    if (!(shape->hooks & hook)) return false;
    expected->length += (size_t)snprintf(expected->story + expected->length, sizeof expected->story - expected->length,
                                         " %c%" PRIu64, letters[hook], k);
    bool fails = shape->failing_hook == hook && (hook != RN_ON_ITER || (shape->failing_iter >> (k - 1)) & 1);
    if (fails) {
        expected->failed = true;
        expected->result = hook_code(tag, hook, k);
    } else if (shape->updates & hook) {
        expected->failed = false;
        expected->result = hook_value(tag, hook, k);
    }
    return fails;
}

static struct expectation expect_of_shape(int tag, const struct shape *shape) {
    struct expectation expected = {.length = 0};
    uint64_t times = shape->times ? shape->times : 1, k = 0;
    bool hook_failed = false, failed = false;
    while (k < times && !hook_failed && (k == 0 || k != shape->stop_self_at)) {
        k++;
        expected.length += (size_t)snprintf(expected.story + expected.length, sizeof expected.story - expected.length,
                                            "%sf%" PRIu64, k == 1 ? "" : " ", k);
        failed = (shape->failing >> (k - 1)) & 1;
        expected.failed = failed;
        expected.result = iteration_value(tag, k);
        hook_failed = expect_hook(&expected, shape, tag, RN_ON_ITER, k);
    }
    expect_hook(&expected, shape, tag, failed ? RN_ON_ERROR : RN_ON_SUCCESS, k);
    expect_hook(&expected, shape, tag, RN_ON_FINISHED, k);
    for (int i = 0; i < shape->done_callbacks; i++)
        expected.length +=
            (size_t)snprintf(expected.story + expected.length, sizeof expected.story - expected.length, " d");
    return expected;
}

static void assert_shape(int tag, const struct shape *shape, rn_value result) {
    struct expectation expected = expect_of_shape(tag, shape);
    bool right_result = rn_is_error(result) == expected.failed &&
                        (expected.failed ? rn_error_code(result) : rn_as_int(result)) == expected.result;
    if (right_result && strcmp(story_of(tag), expected.story) == 0) return;
    char got[256];
    rn_format(result, got, sizeof got);
    fail_msg("run %d: times %" PRIu64 ", every %" PRId64 ", failing %#" PRIx64
             ", hooks %#x, updates %#x, failing hook %#x "
             "at %#" PRIx64 ", stop at %" PRIu64 ":\ngot      \"%s\", %s\nexpected \"%s\", %s %" PRId64,
             tag, shape->times, shape->every, shape->failing & 0x3f, shape->hooks, shape->updates, shape->failing_hook,
             shape->failing_iter & 0x3f, shape->stop_self_at, story_of(tag), got, expected.story,
             expected.failed ? "error" : "int", expected.result);
}

RULE(c3_random_runs_side_by_side_keep_the_order_and_have_the_result_that_the_rules_tell) {
    enum { RUNS = 400 };
    static struct shape shapes[RUNS];
    static rn_future *futures[RUNS];
    static int tags[RUNS];
    uint64_t seed = test_seed();
    rn_runtime *rn = OPEN_VIRTUAL();
    for (int i = 0; i < RUNS; i++) {
        shapes[i] = random_shape(&seed);
        tags[i] = i;
        rn_task task = task_of_shape(i, &shapes[i]);
        futures[i] = rn_submit(rn, &task);
        for (int d = 0; d < shapes[i].done_callbacks; d++)
            assert_int_equal(rn_add_done_callback(futures[i], note_done, &tags[i]), RN_OK);
    }
    assert_int_equal(rn_testing_settle(rn), RN_OK);
    for (int i = 0; i < RUNS; i++) assert_int_equal(rn_wait(futures[i], -1), RN_OK);
    /* Whether the last done callbacks have returned is certain only when the runtime is closed. */
    close_runtime(rn);
    for (int i = 0; i < RUNS; i++) {
        assert_shape(i, &shapes[i], rn_result(futures[i]));
        rn_release(futures[i]);
    }
}

static rn_value note_state_in_hook(rn_call *call, rn_value success, rn_value error) {
    (void)success, (void)error;
    gate_pass((int)rn_as_int(rn_arg(call)));
    return rn_none();
}

RULE(c3_the_future_is_not_done_while_a_hook_runs) {
    rn_runtime *rn = OPEN();
    rn_future *future = rn_run(rn, give_back, .arg = rn_int(1), .on_finished = note_state_in_hook);
    gate_await(1, 1);
    assert_false(rn_done(future));
    assert_int_equal(rn_state(future), RN_RUNNING);
    assert_error_code(rn_result_within(future, 0), RN_TIMED_OUT);
    gate_open(1, 1);
    assert_ends_with_int(future, 1);
    close_runtime(rn);
}

static void note_done_and_state(rn_future *future, void *context) {
    set_cell(1, rn_done(future));
    note_done(future, context);
}

RULE(c3_done_callbacks_come_after_every_hook_and_see_a_done_future) {
    rn_runtime *rn = OPEN();
    int tag = 1;
    hold_every_worker(rn);
    rn_task task = scripted_task(tag);
    task.times = 2;
    rn_future *future = rn_submit(rn, &task);
    assert_int_equal(rn_add_done_callback(future, note_done_and_state, &tag), RN_OK);
    free_every_worker();
    close_runtime(rn);
    assert_story(1, "f1 i1 f2 i2 s2 z2 d");
    assert_int_equal(cell(1), 1);
    rn_release(future);
}

/* ------------------------------------------------------------------------------------------------
 * C4
 */
/* Every hook has the thread of the iteration before it; so have, by the same law, the hooks at the end. */
static void assert_hooks_run_where_their_iteration_ran(int tag) {
    struct event events[512];
    size_t count = events_of(tag, events, COUNT_OF(events));
    assert_in_range(count, 1, COUNT_OF(events));
    pid_t pid = 0, tid = 0;
    for (size_t i = 0; i < count; i++) {
        if (events[i].kind == FUNCTION) {
            pid = events[i].pid;
            tid = events[i].tid;
        }
        assert_int_equal(events[i].pid, pid);
        assert_int_equal(events[i].tid, tid);
    }
}

RULE(c4_hooks_run_in_the_thread_and_process_of_the_iteration_before_them) {
    rn_runtime *rn = OPEN_VIRTUAL();
    rn_future *futures[100];
    for (int i = 0; i < 100; i++) {
        rn_task task = scripted_task(i);
        task.times = 1 + (uint64_t)i % 5;
        task.every = i % 2 ? RN_SECONDS(1) : 0;
        board->scripts[i].failing = (uint64_t)i;
        futures[i] = rn_submit(rn, &task);
    }
    for (int i = 0; i < 100; i++) {
        rn_drop(end_of(futures[i]));
        assert_hooks_run_where_their_iteration_ran(i);
    }
    close_runtime(rn);
}

static pthread_t thread_of_function;

static rn_value keep_thread(rn_call *call) {
    (void)call;
    thread_of_function = pthread_self();
    return rn_none();
}

static rn_value compare_thread(rn_call *call, rn_value success) {
    (void)call, (void)success;
    return rn_bool(pthread_equal(thread_of_function, pthread_self()) != 0);
}

RULE(c4_the_thread_is_the_same_to_pthreads_too) {
    threads_only();
    rn_runtime *rn = OPEN();
    rn_value result = end_of(rn_run(rn, keep_thread, .on_success = compare_thread, .updates_result = RN_ON_SUCCESS));
    assert_true(rn_as_bool(result));
    close_runtime(rn);
}

RULE(c4_no_hook_runs_in_the_thread_of_the_program) {
    rn_runtime *rn = OPEN();
    rn_task task = scripted_task(1);
    task.times = 10;
    rn_drop(end_of(rn_submit(rn, &task)));
    struct event events[32];
    size_t count = events_of(1, events, COUNT_OF(events));
    for (size_t i = 0; i < count; i++) assert_int_not_equal(events[i].tid, (pid_t)syscall(SYS_gettid));
    close_runtime(rn);
}

/* Runs the scripted task whose tag is its argument, and waits for it. */
static rn_value run_scripted_and_wait(rn_call *call) {
    rn_task task = scripted_task((int)rn_as_int(rn_arg(call)));
    task.times = 3;
    rn_future *future = rn_submit(rn_runtime_of(call), &task);
    rn_wait(future, -1);
    rn_release(future);
    return rn_none();
}

RULE(c4_a_run_that_a_waiting_task_runs_itself_keeps_its_hooks_in_that_thread) {
    rn_runtime *rn = OPEN(.workers = 1);
    rn_value result = end_of(rn_run(rn, run_scripted_and_wait, .arg = rn_int(9)));
    assert_true(rn_is_none(result));
    assert_story(9, "f1 i1 f2 i2 f3 i3 s3 z3");
    assert_hooks_run_where_their_iteration_ran(9);
    close_runtime(rn);
}

RULE(c4_the_final_hooks_of_a_run_that_is_stopped_between_ticks_run_where_its_last_iteration_ran) {
    rn_runtime *rn = OPEN_VIRTUAL();
    rn_future *futures[50];
    for (int i = 0; i < 50; i++) {
        rn_task task = scripted_task(i);
        task.every = RN_HOURS(1);
        futures[i] = rn_submit(rn, &task);
    }
    assert_int_equal(rn_testing_settle(rn), RN_OK);
    for (int i = 0; i < 50; i++) {
        assert_true(rn_stop(futures[i]));
        rn_drop(end_of(futures[i]));
        assert_story(i, "f1 i1 s1 z1");
        assert_hooks_run_where_their_iteration_ran(i);
    }
    close_runtime(rn);
}
