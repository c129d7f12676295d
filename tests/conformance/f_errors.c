/* Rules F1 and F2: errors, and what is told of them. */
#include "support.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

/* ------------------------------------------------------------------------------------------------
 * F1
 */
static const int line_of_failure = __LINE__ + 2;
static rn_value fail_in_one_line(rn_call *call) {
    return rn_error(EIO, "smtp: %s, attempt %" PRIu64, "refused", rn_iteration(call));
}

RULE(f1_an_error_has_a_code_and_a_message_and_where_it_arose) {
    rn_runtime *rn = OPEN();
    rn_value error = end_of(rn_run(rn, fail_in_one_line, .times = 3));
    assert_error_code(error, EIO);
    assert_string_equal(rn_error_message(error), "smtp: refused, attempt 3");
    assert_string_equal(rn_error_task(error), "fail_in_one_line");
    assert_string_equal(rn_error_hook(error), "");
    assert_int_equal(rn_error_iteration(error), 3);
    assert_contains(rn_error_file(error), "f_errors.c");
    assert_int_equal(rn_error_line(error), line_of_failure);
    assert_true(rn_is_none(rn_error_cause(error)));
    rn_drop(error);
    close_runtime(rn);
}

static rn_value fail_as_named(rn_call *call, rn_value success, rn_value error) {
    (void)success, (void)error;
    return rn_error(12, "iteration %" PRIu64, rn_iteration(call));
}

RULE(f1_the_error_of_a_hook_names_the_hook) {
    rn_runtime *rn = OPEN();
    rn_value error = end_of(rn_run(rn, nothing, .times = 2, .on_finished = fail_as_named, .name = "a named one"));
    assert_string_equal(rn_error_task(error), "a named one");
    assert_string_equal(rn_error_hook(error), "on_finished");
    assert_int_equal(rn_error_iteration(error), 2);
    rn_drop(error);
    close_runtime(rn);
}

RULE(f1_an_error_made_outside_a_task_has_no_task) {
    rn_value error = rn_error(3, "outside");
    assert_string_equal(rn_error_task(error), "");
    assert_string_equal(rn_error_hook(error), "");
    assert_int_equal(rn_error_iteration(error), 0);
    assert_contains(rn_error_file(error), "f_errors.c");
    rn_drop(error);
}

RULE(f1_a_code_of_zero_is_replaced) {
    rn_value error = rn_error(0, "no code");
    assert_error_code(error, RN_INVALID);
    assert_string_equal(rn_error_message(error), "no code");
    rn_drop(error);
}

static rn_value fail_with_causes(rn_call *call) {
    (void)call;
    rn_value disk = rn_error(ENOSPC, "the disk is full");
    rn_value write = rn_error_because(disk, EIO, "the journal could not be written");
    return rn_error_because(write, 7, "the mail was not sent");
}

RULE(f1_an_error_has_a_chain_of_causes) {
    rn_runtime *rn = OPEN();
    rn_value error = end_of(rn_run(rn, fail_with_causes));
    assert_error_code(error, 7);
    assert_string_equal(rn_error_task(error), "fail_with_causes");
    rn_value cause = rn_error_cause(error);
    assert_error_code(cause, EIO);
    assert_string_equal(rn_error_message(cause), "the journal could not be written");
    cause = rn_error_cause(cause);
    assert_error_code(cause, ENOSPC);
    assert_string_equal(rn_error_message(cause), "the disk is full");
    assert_true(rn_is_none(rn_error_cause(cause)));
    rn_drop(error);
    close_runtime(rn);
}

RULE(f1_an_error_as_text_shows_its_origin_and_every_cause_on_a_line) {
    rn_runtime *rn = OPEN();
    rn_value error = end_of(rn_run(rn, fail_with_causes));
    char text[2048], start[32], none[1] = {'x'};
    size_t length = rn_format(error, text, sizeof text);
    assert_int_equal(length, strlen(text));
    assert_contains(text, "the mail was not sent");
    assert_contains(text, "the journal could not be written");
    assert_contains(text, "the disk is full");
    assert_contains(text, "fail_with_causes");
    assert_contains(text, "f_errors.c");
    assert_true(count_of(text, "\n") >= 2);
    assert_int_equal(rn_format(error, start, sizeof start), length);
    assert_int_equal(strlen(start), sizeof start - 1);
    assert_memory_equal(start, text, sizeof start - 1);
    assert_int_equal(rn_format(error, none, 0), length);
    assert_int_equal(none[0], 'x');
    assert_int_equal(rn_format(error, NULL, 0), length);
    rn_drop(error);
    close_runtime(rn);
}

RULE(f1_every_code_of_the_library_has_its_name) {
    static const struct {
        int code;
        const char *name;
    } codes[] = {{RN_OK, "RN_OK"},
                 {RN_NO_MEMORY, "RN_NO_MEMORY"},
                 {RN_INVALID, "RN_INVALID"},
                 {RN_CLOSED, "RN_CLOSED"},
                 {RN_CANCELLED, "RN_CANCELLED"},
                 {RN_TIMED_OUT, "RN_TIMED_OUT"},
                 {RN_DEADLOCK, "RN_DEADLOCK"},
                 {RN_NO_THREADS, "RN_NO_THREADS"},
                 {RN_QUEUE_FULL, "RN_QUEUE_FULL"},
                 {RN_FORKED, "RN_FORKED"},
                 {RN_TOO_LARGE, "RN_TOO_LARGE"},
                 {RN_UNSUPPORTED, "RN_UNSUPPORTED"},
                 {RN_NO_PROCESSES, "RN_NO_PROCESSES"},
                 {RN_CRASHED, "RN_CRASHED"},
                 {RN_NOT_PORTABLE, "RN_NOT_PORTABLE"},
                 {RN_OVERTIME, "RN_OVERTIME"},
                 {RN_QUARANTINED, "RN_QUARANTINED"}};
    for (size_t i = 0; i < COUNT_OF(codes); i++) assert_string_equal(rn_code_name(codes[i].code), codes[i].name);
    static const int unknown[] = {1, EIO, -17, -1000, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < COUNT_OF(unknown); i++) assert_string_equal(rn_code_name(unknown[i]), "unknown code");
}

/* What a program must not do, each with the function that has to be named when it is stopped. */
static rn_runtime *runtime_of_child;

static rn_future *released_future(void) {
    runtime_of_child = OPEN();
    rn_future *future = rn_run(runtime_of_child, give_back, .arg = rn_int(1));
    rn_wait(future, -1);
    rn_release(future);
    return future;
}

static void use_result(void) { rn_result(released_future()); }
static void use_result_within(void) { rn_result_within(released_future(), 0); }
static void use_wait(void) { rn_wait(released_future(), 0); }
static void use_state(void) { rn_state(released_future()); }
static void use_done(void) { rn_done(released_future()); }
static void use_running(void) { rn_running(released_future()); }
static void use_cancelled(void) { rn_cancelled(released_future()); }
static void use_progress(void) { rn_progress(released_future()); }
static void use_cancel(void) { rn_cancel(released_future()); }
static void use_stop(void) { rn_stop(released_future()); }
static void use_callback(void) { rn_add_done_callback(released_future(), note_done, NULL); }
static void use_release(void) { rn_release(released_future()); }

/* The memory of the released future may serve other runs by now. */
static void use_after_reuse(void) {
    rn_future *stale = released_future(), *others[100];
    for (int i = 0; i < 100; i++) others[i] = rn_run(runtime_of_child, give_back, .arg = rn_int(i));
    for (int i = 0; i < 100; i++) rn_wait(others[i], -1);
    rn_result(stale);
}

static void release_while_running(void) {
    runtime_of_child = OPEN();
    rn_future *future = rn_run(runtime_of_child, hold, .arg = rn_int(1));
    gate_await(1, 1);
    rn_release(future);
    rn_state(future);
}

static void read_text_as_int(void) { rn_as_int(rn_literal("twelve")); }
static void read_int_as_text(void) { rn_as_text(rn_int(12)); }
static void read_none_as_bool(void) { rn_as_bool(rn_none()); }
static void read_int_as_float(void) { rn_as_float(rn_int(1)); }
static void read_text_as_pointer(void) { rn_as_pointer(rn_literal("x")); }
static void read_text_as_bytes(void) { rn_as_bytes(rn_literal("x")); }
static void length_of_int(void) { rn_length(rn_int(1)); }
static void code_of_int(void) { rn_error_code(rn_int(-6)); }

static void assert_stops(void (*body)(void), const char *function) {
    struct child child;
    run_child(body, &child);
    if (!WIFSIGNALED(child.status) || WTERMSIG(child.status) != SIGABRT)
        fail_msg("%s: the child was not aborted, its status is 0x%x: %s", function, (unsigned)child.status, child.text);
    assert_contains(child.text, function);
}

RULE(f1_a_future_that_is_used_after_its_release_stops_the_program_by_the_name_of_the_call) {
    threads_only();
    static const struct {
        void (*body)(void);
        const char *function;
    } uses[] = {{use_result, "rn_result"},
                {use_result_within, "rn_result_within"},
                {use_wait, "rn_wait"},
                {use_state, "rn_state"},
                {use_done, "rn_done"},
                {use_running, "rn_running"},
                {use_cancelled, "rn_cancelled"},
                {use_progress, "rn_progress"},
                {use_cancel, "rn_cancel"},
                {use_stop, "rn_stop"},
                {use_callback, "rn_add_done_callback"},
                {use_release, "rn_release"},
                {use_after_reuse, "rn_result"},
                {release_while_running, "rn_state"}};
    for (size_t i = 0; i < COUNT_OF(uses); i++) assert_stops(uses[i].body, uses[i].function);
}

RULE(f1_a_value_that_is_read_as_another_kind_stops_the_program_by_the_name_of_the_call) {
    static const struct {
        void (*body)(void);
        const char *function;
    } uses[] = {{read_text_as_int, "rn_as_int"},
                {read_int_as_text, "rn_as_text"},
                {read_none_as_bool, "rn_as_bool"},
                {read_int_as_float, "rn_as_float"},
                {read_text_as_pointer, "rn_as_pointer"},
                {read_text_as_bytes, "rn_as_bytes"},
                {length_of_int, "rn_length"},
                {code_of_int, "rn_error_code"}};
    for (size_t i = 0; i < COUNT_OF(uses); i++) assert_stops(uses[i].body, uses[i].function);
}

/* ------------------------------------------------------------------------------------------------
 * F2
 */
static rn_value fail_loudly(rn_call *call) { return rn_error(1234, "marker-%" PRIu64, rn_iteration(call)); }

static void run_failing(rn_runtime *rn) {
    assert_ends_with_error(rn_run(rn, fail_loudly, .times = 2, .name = "loud"), 1234);
    close_runtime(rn);
}

static void assert_printed_once(const char *text) {
    assert_int_equal(count_of(text, "marker-1"), 1);
    assert_int_equal(count_of(text, "marker-2"), 1);
    assert_contains(text, "loud");
}

RULE(f2_debug_prints_every_failed_iteration_with_its_trace_to_stderr_and_not_to_the_log) {
    capture_begin();
    run_failing(OPEN(.debug = true));
    const char *text = capture_end();
    assert_printed_once(text);
    assert_contains(text, "f_errors.c");
    assert_int_equal(book_count_code(1234), 0);
}

RULE(f2_debug_prints_the_causes_too) {
    capture_begin();
    rn_runtime *rn = OPEN(.debug = true);
    assert_ends_with_error(rn_run(rn, fail_with_causes), 7);
    close_runtime(rn);
    const char *text = capture_end();
    assert_contains(text, "the mail was not sent");
    assert_contains(text, "the journal could not be written");
    assert_contains(text, "the disk is full");
}

RULE(f2_without_debug_every_failed_iteration_goes_to_the_log_and_not_to_stderr) {
    capture_begin();
    run_failing(OPEN());
    assert_string_equal(capture_end(), "");
    assert_int_equal(book_count_code(1234), 2);
    for (uint64_t i = 1; i <= 2; i++) {
        char marker[16];
        snprintf(marker, sizeof marker, "marker-%" PRIu64, i);
        struct logged logged;
        assert_true(book_find("loud", marker, &logged));
        assert_int_equal(logged.iteration, i);
        assert_int_equal(logged.code, 1234);
        assert_true(logged.run_id != 0);
        assert_null(strchr(logged.message, '\n'));
    }
}

RULE(f2_with_debug_everything_else_still_goes_to_the_log) {
    capture_begin();
    rn_runtime *rn = OPEN(.debug = true);
    assert_int_equal(rn_run_detached(rn, NULL), RN_INVALID);
    close_runtime(rn);
    capture_end();
    assert_int_equal(book_count_code(RN_INVALID), 1);
}

static rn_runtime *open_without_log(bool debug) {
    rn_options options = options_under_test(&(const rn_options){.size = sizeof options, .debug = debug});
    options.log = NULL;
    rn_runtime *rn = rn_open_with(&options);
    assert_true(rn_is_none(rn_open_error(rn)));
    return rn;
}

RULE(f2_without_a_log_a_failed_iteration_is_a_line_on_stderr_with_debug_or_without) {
    for (int debug = 0; debug <= 1; debug++) {
        capture_begin();
        run_failing(open_without_log(debug));
        const char *text = capture_end();
        assert_printed_once(text);
        if (!debug) assert_int_equal(count_of(text, "\n"), 2);
    }
}

RULE(f2_a_program_that_asks_for_no_log_gets_none) {
    capture_begin();
    run_failing(OPEN(.log = rn_log_nothing));
    assert_string_equal(capture_end(), "");
    assert_false(book_find(NULL, NULL, NULL));
}

RULE(f2_debug_prints_even_where_the_program_asked_for_no_log) {
    capture_begin();
    run_failing(OPEN(.debug = true, .log = rn_log_nothing));
    assert_printed_once(capture_end());
}

RULE(f2_the_failed_iterations_of_a_detached_run_are_told_too) {
    rn_runtime *rn = OPEN();
    assert_int_equal(rn_run_detached(rn, fail_loudly, .times = 2, .name = "loud"), RN_OK);
    close_runtime(rn);
    assert_int_equal(book_count_code(1234), 2);
}

RULE(f2_the_error_of_a_hook_of_a_detached_run_is_told_since_no_future_has_it) {
    rn_runtime *rn = OPEN();
    assert_int_equal(rn_run_detached(rn, nothing, .on_finished = fail_as_named, .name = "hooked"), RN_OK);
    close_runtime(rn);
    assert_int_equal(book_count_code(12), 1);
}

static void *context_seen;
static void keep_context(void *context, const rn_log_record *log_record) {
    (void)log_record;
    context_seen = context;
}

RULE(f2_the_log_is_called_with_its_context) {
    int mine;
    context_seen = NULL;
    run_failing(OPEN(.log = keep_context, .log_context = &mine));
    assert_ptr_equal(context_seen, &mine);
}
