/* Scenarios: values and errors; hooks and done callbacks. */
#include <errno.h>
#include <pthread.h>
#include <runium/testing.h>
#include <stdio.h>
#include <string.h>

#include "scenarios.h"
#include "steps.h"
#include "support.h"

/* ------------------------------------------------------------------------------------------------
 * Values and errors
 */
void every_kind_travels(void) {
    static char long_text[3000];
    memset(long_text, 'x', sizeof long_text - 1);
    rn_runtime *runtime = opened_with_workers(1);
    gave_text(rn_run(runtime, echo, .arg = rn_text("a text that is copied")), "a text that is copied");
    gave_text(rn_run(runtime, echo, .arg = rn_text_n("cut here, not there", 8)), "cut here");
    gave_text(rn_run(runtime, echo, .arg = rn_textf("%d of %s", 3, "many")), "3 of many");
    gave_text(rn_run(runtime, echo, .arg = rn_text(long_text)), long_text);
    gave_text(rn_run(runtime, echo, .arg = rn_literal("not copied")), "not copied");
    rn_future *bytes = rn_run(runtime, echo, .arg = rn_bytes(long_text, 2000));
    rn_value value = rn_result(bytes);
    check((rn_kind(value) == RN_BYTES && rn_length(value) == 2000) || excused_error(value), "%s", shown(value));
    rn_release(bytes);
    rn_future *pointer = rn_run(runtime, echo, .arg = owned());
    check(rn_kind(rn_result(pointer)) == RN_POINTER || excused_error(rn_result(pointer)), "an owned pointer");
    rn_release(pointer);
    rn_future *buffer = rn_run(runtime, echo, .arg = rn_buffer(5000));
    value = rn_result(buffer);
    check((rn_kind(value) == RN_BUFFER && rn_length(value) == 5000) || excused_error(value), "%s", shown(value));
    rn_release(buffer);
    closed(runtime);
}

void values_without_a_runtime(void) {
    for (int i = 0; i < 8; i++) {
        rn_value value = i % 2 ? owned() : rn_textf("text %d", i);
        rn_value again = rn_keep(value);
        check(!rn_is_error(value) || excused_error(value), "value: %s", shown(value));
        rn_drop(value);
        rn_drop(again);
    }
    rn_value with_nul = rn_text_n("a\0b", 3);
    check(rn_is_error(with_nul), "a NUL within a text");
    check(rn_error_code(with_nul) == RN_INVALID || excused_error(with_nul), "a NUL within: %s", shown(with_nul));
    rn_drop(with_nul);
}

void causes(void) {
    rn_value error = rn_error(ENOENT, "cause %d", 0);
    for (int i = 1; i < 6; i++)
        error = rn_error_because(error, 100 + i, "effect %d", i);
    char text[1024];
    size_t length = rn_format(error, text, sizeof text);
    check(length > 0 && rn_is_error(error), "an error with causes");
    check(rn_error_code(error) == 105 || excused_error(error), "code %d", rn_error_code(error));
    check(rn_error_message(error)[0] != '\0', "an error without a message");
    unsigned depth = 0;
    for (rn_value cause = error; rn_is_error(cause) && depth < 10; cause = rn_error_cause(cause))
        depth++;
    check(depth == 6 || refused_now != REFUSED_NOTHING, "%u causes", depth);
    rn_value kept = rn_keep(error);
    error = rn_error_with(error, rn_text("more")); /* a copy carries it, or nothing does */
    rn_value detail = rn_error_detail(error);
    check(rn_kind(detail) == RN_TEXT || refused_now != REFUSED_NOTHING, "the detail is %s", shown(detail));
    check(rn_error_code(error) == rn_error_code(kept), "its code is %d", rn_error_code(error));
    rn_drop(kept);
    rn_drop(error);
}

void failing_task(void) {
    rn_runtime *runtime = opened_with_workers(1);
    rn_future *future = rn_run(runtime, fails, .name = "send_email");
    rn_value error = rn_result(future);
    check(rn_is_error(error), "a failed task gave %s", shown(error));
    if (check(rn_error_code(error) == EIO || excused_error(error), "code: %s", shown(error)) &&
        rn_error_code(error) == EIO && refused_now == REFUSED_NOTHING)
        check(strcmp(rn_error_task(error), "send_email") == 0 && rn_error_iteration(error) == 1, "origin of the error");
    rn_release(future);
    gave_error(rn_run(runtime, nine, .arg = rn_error(EPERM, "no argument")), EPERM);
    closed(runtime);
}

void refused_runs(void) {
    rn_runtime *runtime = opened_with_workers(1);
    const rn_task unknown = {.size = 3, .function = nine};
    gave_error(rn_submit(runtime, &unknown), RN_INVALID);
    gave_error(rn_run(runtime, NULL), RN_INVALID);
    gave_error(rn_run(runtime, nine, .every = -1, .arg = owned()), RN_INVALID);
    gave_error(rn_run(runtime, nine, .every_text = "3 parsecs"), RN_INVALID);
    gave_error(rn_run(runtime, nine, .start_in = 1, .start_in_text = "1 ns"), RN_INVALID);
    int code = rn_run_detached(runtime, nine, .at_text = "tomorrow");
    check(code == RN_INVALID || excused(code), "at tomorrow: %s", rn_code_name(code));
    closed(runtime);
}

void durations_and_times(void) {
    static const char *const texts[] = {"1.5 hours", "250 ms", "nonsense", "-1 s", "9e99 weeks"};
    for (unsigned i = 0; i < 5; i++) {
        int64_t duration = -1;
        rn_value error = rn_parse_duration(texts[i], &duration);
        bool right = i < 2 ? rn_is_none(error) && duration > 0 : rn_is_error(error) && duration == -1;
        check(right && (i < 2 || rn_error_code(error) == RN_INVALID || excused_error(error)), "%s", texts[i]);
        rn_drop(error);
    }
    int64_t time = -1;
    rn_value none = rn_parse_time("2030-12-24T18:00:30Z", &time);
    rn_value error = rn_parse_time("2030-13-32", &time);
    check((rn_is_none(none) && time > 0) || excused_error(none), "a time: %s", shown(none));
    check(rn_is_error(error), "a time that is none");
    rn_drop(none);
    rn_drop(error);
}

/* ------------------------------------------------------------------------------------------------
 * Hooks and done callbacks
 */
struct hook_counts {
    uint64_t iter, success, error, finished;
};

static struct hook_counts hook_counts(void) {
    return (struct hook_counts){.iter = atomic_load(&tally.on_iters),
                                .success = atomic_load(&tally.on_successes),
                                .error = atomic_load(&tally.on_errors),
                                .finished = atomic_load(&tally.on_finisheds)};
}

/* A run has all its final hooks, or none because it never began. */
static void check_hooks(struct hook_counts before) {
    struct hook_counts now = hook_counts();
    uint64_t finished = now.finished - before.finished;
    uint64_t outcomes = now.success - before.success + now.error - before.error;
    check(finished == outcomes && finished <= 1, "on_finished ran %d times, on_success and on_error %d times",
          (int)finished, (int)outcomes);
    check(finished == 1 || refused_now != REFUSED_NOTHING, "no hook ran");
}

void hooks_of_a_success(void) {
    rn_runtime *runtime = opened_with_workers(1);
    struct hook_counts before = hook_counts();
    gave_int(rn_run(runtime, nine, ALL_HOOKS, .times = 3), 9);
    check_hooks(before);
    before = hook_counts();
    gave_text(rn_run(runtime, nine, ALL_HOOKS, .updates_result = RN_ON_ITER | RN_ON_FINISHED), "finished");
    check_hooks(before);
    closed(runtime);
}

void hooks_of_a_failure(void) {
    rn_runtime *runtime = opened_with_workers(1);
    struct hook_counts before = hook_counts();
    rn_future *future = rn_run(runtime, fails, ALL_HOOKS, .updates_result = RN_ON_ERROR);
    rn_value value = rn_result(future);
    check(rn_kind(value) == RN_TEXT || excused_error(value), "the value of on_error: %s", shown(value));
    rn_release(future);
    check_hooks(before);
    closed(runtime);
}

void a_hook_fails(void) {
    rn_runtime *runtime = opened_with_workers(1);
    rn_future *future = rn_run(runtime, fails, .on_iter = failing_hook, .times = 4, .on_finished = count_finished);
    rn_value error = rn_result(future);
    check(rn_is_error(error) && (rn_error_code(error) == EPROTO || excused_error(error)), "a hook's: %s", shown(error));
    rn_release(future);
    closed(runtime);
}

void done_callbacks(void) {
    rn_runtime *runtime = opened_with_workers(1);
    struct gate gate = GATE_CLOSED;
    struct counter called = COUNTER_ZERO;
    rn_future *future = rn_run(runtime, after_gate, .arg = rn_pointer(&gate));
    uint64_t accepted = 0;
    for (int i = 0; i < 12; i++) {
        int code = rn_add_done_callback(future, count_done, &called);
        check(code == RN_OK || excused(code), "callback: %s", rn_code_name(code));
        accepted += code == RN_OK;
    }
    gate_open(&gate);
    gave_int(future, 9);
    closed(runtime);
    check(counter_read(&called) == accepted, "%d callbacks were called, %d accepted", (int)counter_read(&called),
          (int)accepted);
}

void done_callback_afterwards(void) {
    rn_runtime *runtime = opened_with_workers(1);
    struct counter called = COUNTER_ZERO;
    rn_future *future = rn_run(runtime, nine);
    int waited = rn_wait(future, -1);
    int code = rn_add_done_callback(future, count_done, &called);
    check(waited == RN_OK, "wait: %s", rn_code_name(waited));
    check(code == RN_OK || excused(code), "callback: %s", rn_code_name(code));
    check(counter_read(&called) == (code == RN_OK), "a callback on a done future");
    gave_int(future, 9);
    closed(runtime);
}

/* ------------------------------------------------------------------------------------------------
 * Many at once
 */
void texts_in_bulk(void) {
    rn_runtime *runtime = opened_with_workers(2);
    rn_future *futures[24];
    for (int i = 0; i < 24; i++)
        futures[i] = rn_run(runtime, echo, .arg = rn_textf("text number %d, which is not a short one", i), ALL_HOOKS,
                            .updates_result = RN_ON_FINISHED);
    for (int i = 0; i < 24; i++)
        gave_text(futures[i], "finished");
    closed(runtime);
}

void errors_in_bulk(void) {
    rn_runtime *runtime = opened_with_workers(2);
    rn_future *futures[16];
    for (int i = 0; i < 16; i++)
        futures[i] = rn_run(runtime, fails_because, .arg = rn_textf("host%d.example.org", i), .on_iter = count_iter);
    for (int i = 0; i < 16; i++)
        gave_error(futures[i], EHOSTUNREACH);
    closed(runtime);
}
