/*
 * What the library says, where, and how it is cut.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/handle.h"
#include "core/run.h"
#include "core/runtime.h"
#include "support.h"

static rn_value nothing(rn_call *call) {
    (void)call;
    return rn_none();
}

static rn_value failing(rn_call *call) {
    (void)call;
    return rn_error_because(rn_error(5, "the deep reason"), 7, "the task's words");
}

static rn_value failing_hook(rn_call *call, rn_value success, rn_value error) {
    (void)call;
    (void)success;
    (void)error;
    return rn_error(9, "the hook's words");
}

static rn_value failing_long(rn_call *call) {
    char text[5000];
    (void)call;
    memset(text, 'y', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    return rn_error(7, "%s", text);
}

/* ---- a book of records ---- */

static struct {
    int records;
    enum rn_level level;
    char message[600], task[RN_NAME_MAX + 1];
    int code;
    uint64_t run_id, iteration;
} book;

/* In whatever thread: no assertion of the test framework. */
static void write_down(void *context, const rn_log_record *record) {
    if (context != &book || record->size != sizeof *record) abort();
    book.records++;
    book.level = record->level;
    snprintf(book.message, sizeof book.message, "%s", record->message);
    snprintf(book.task, sizeof book.task, "%s", record->task);
    book.code = rn_is_error(record->error) ? rn_error_code(record->error) : 0;
    book.run_id = record->run_id;
    book.iteration = record->iteration;
}

static rn_runtime *open_with_book(void) {
    memset(&book, 0, sizeof book);
    return rn_open(.workers = 1, .log = write_down, .log_context = &book);
}

static void run_to_end(rn_runtime *runtime, rn_task task) {
    task.size = sizeof task;
    rn_future *future = rn_submit(runtime, &task);
    (void)rn_wait(future, -1);
    rn_release(future);
}

TEST(a_failed_iteration_goes_to_the_log_with_all_that_is_known) {
    rn_runtime *runtime = open_with_book();
    run_to_end(runtime, (rn_task){.function = failing, .name = "mine"});
    assert_int_equal(rn_close(runtime), RN_OK);
    assert_int_equal(book.records, 1);
    assert_int_equal(book.level, RN_LOG_ERROR);
    assert_string_equal(book.message, "task 'mine', iteration 1 failed: the task's words");
    assert_string_equal(book.task, "mine");
    assert_int_equal(book.code, 7);
    assert_int_equal(book.iteration, 1);
    assert_int_not_equal(book.run_id, 0);
}

TEST(a_failed_hook_is_named) {
    rn_runtime *runtime = open_with_book();
    run_to_end(runtime, (rn_task){.function = nothing, .name = "mine", .on_finished = failing_hook});
    assert_int_equal(rn_close(runtime), RN_OK);
    assert_int_equal(book.records, 1);
    assert_string_equal(book.message, "task 'mine', iteration 1, on_finished failed: the hook's words");
}

TEST(a_record_about_the_runtime_names_no_task) {
    rn_runtime *runtime = open_with_book();
    rni_log(rni_handle_object(runtime), RN_LOG_WARNING, "%s %d", "words", 5);
    assert_int_equal(book.level, RN_LOG_WARNING);
    assert_string_equal(book.message, "words 5");
    assert_string_equal(book.task, "");
    assert_int_equal(book.run_id + book.iteration, 0);
    assert_int_equal(rn_close(runtime), RN_OK);
}

TEST(long_records_are_cut) {
    rn_runtime *runtime = open_with_book();
    run_to_end(runtime, (rn_task){.function = failing_long, .name = "mine"});
    assert_int_equal(rn_close(runtime), RN_OK);
    assert_int_equal(strlen(book.message), 511);
    assert_contains(book.message, "task 'mine', iteration 1 failed: yyyy");
}

TEST(a_detached_run_that_does_not_start_goes_to_the_log) {
    rn_runtime *runtime = open_with_book();
    assert_int_equal(rn_run_detached(runtime, nothing, .start_in = -1), RN_INVALID);
    assert_contains(book.message, "a run of 'nothing' could not start: .start_in is -1 ns");
    assert_int_equal(rn_submit_detached(runtime, NULL), RN_INVALID);
    assert_contains(book.message, "a run of '' could not start: the task is NULL");
    rn_task task = {.size = 1, .origin = "x"};
    assert_int_equal(rn_submit_detached(runtime, &task), RN_INVALID);
    assert_contains(book.message, "a run of '' could not start: rn_task.size is 1");
    task = (rn_task){.size = sizeof task};
    assert_int_equal(rn_submit_detached(runtime, &task), RN_INVALID);
    assert_contains(book.message, "a run of '' could not start: the function is NULL");
    assert_int_equal(book.records, 4);
    assert_int_equal(rn_close(runtime), RN_OK);
}

/* ---- standard error ---- */

static void fail_in(rn_runtime *runtime, rn_task_fn *function) {
    run_to_end(runtime, (rn_task){.function = function, .name = "mine"});
    CHILD_CHECK(rn_close(runtime) == RN_OK);
}

TEST(without_a_log_errors_and_warnings_go_to_stderr) {
    char text[2000];
    in_child(text, fail_in(rn_open(.workers = 1), failing));
    assert_string_equal(text, "runium: error: task 'mine', iteration 1 failed: the task's words\n");
    in_child(text, rn_runtime *runtime = rn_open(.workers = 1);
             rni_log(rni_handle_object(runtime), RN_LOG_WARNING, "careful");
             rni_log(rni_handle_object(runtime), RN_LOG_INFO, "by the way"); CHILD_CHECK(rn_close(runtime) == RN_OK));
    assert_string_equal(text, "runium: warning: careful\n");
    in_child(text, fail_in(rn_open(.workers = 1), failing_long));
    assert_int_equal(strlen(text), strlen("runium: error: ") + 511 + 1);
    assert_int_equal(text[strlen(text) - 1], '\n');
}

TEST(with_debug_the_trace_goes_to_stderr_and_not_to_the_log) {
    char text[8000];
    in_child(text, memset(&book, 0, sizeof book);
             fail_in(rn_open(.workers = 1, .debug = true, .log = write_down, .log_context = &book), failing);
             CHILD_CHECK(book.records == 0));
    assert_contains(text, "runium: task 'mine' failed: error 7: the task's words\n  in task 'mine', iteration 1, at ");
    assert_contains(text, "\n  caused by error 5: the deep reason\n  at ");
    in_child(text, fail_in(rn_open(.workers = 1, .debug = true), failing_long));
    assert_true(strlen(text) > 5000); /* whole */
    assert_contains(text, "y\n  in task 'mine', iteration 1, at ");
    assert_int_equal(text[strlen(text) - 1], '\n');
}

TEST(with_debug_everything_else_goes_to_the_log) {
    char text[2000];
    in_child(text, memset(&book, 0, sizeof book);
             rn_runtime *runtime = rn_open(.workers = 1, .debug = true, .log = write_down, .log_context = &book);
             CHILD_CHECK(rn_run_detached(runtime, nothing, .start_in = -1) == RN_INVALID); CHILD_CHECK(book.records == 1);
             CHILD_CHECK(rn_close(runtime) == RN_OK));
    assert_string_equal(text, "");
}

TEST(to_log_nothing_says_nothing) {
    char text[2000];
    in_child(text, fail_in(rn_open(.workers = 1, .log = rn_log_nothing), failing));
    assert_string_equal(text, "");
    rn_log_nothing(NULL, NULL);
}

/* ---- what rn_close waits for ---- */

static rni_a32 gate; /* 1: open */

static rn_value linger(rn_call *call) {
    while (!rni_load_acquire(&gate) && !rn_stopping(call)) rni_os_wait(&gate, 0, rni_os_now() + RN_MILLISECONDS(2));
    return rn_none();
}

/* Keeps the runtime open until its first word about it. */
static void open_gate(void *context, const rn_log_record *record) {
    write_down(context, record);
    rni_store_release(&gate, 1); /* pairs with linger */
}

TEST(a_close_that_takes_longer_says_for_what_it_waits) {
    memset(&book, 0, sizeof book);
    rni_store_relaxed(&gate, 0);
    rn_runtime *runtime = rn_open(.workers = 1, .log = open_gate, .log_context = &book);
    rn_future *futures[7];
    for (int i = 0; i < 7; i++) futures[i] = rn_run(runtime, linger, .name = i < 3 ? "a name" : NULL);
    while (rn_state(futures[0]) == RN_WAITING) rni_os_yield();
    assert_int_equal(rn_close(runtime), RN_OK);
    assert_int_equal(book.level, RN_LOG_WARNING);
    assert_contains(book.message, "rn_close waits for '");
    assert_contains(book.message, "'a name' (running, iteration 1, 1.");
    assert_contains(book.message, "(waiting, iteration 0, ");
    assert_contains(book.message, ", and others");
    for (int i = 0; i < 7; i++) rn_release(futures[i]);
}

TEST(a_close_that_runs_out_of_time_names_what_is_left) {
    memset(&book, 0, sizeof book);
    rni_store_relaxed(&gate, 0);
    rn_runtime *runtime = rn_open(.workers = 1, .log = write_down, .log_context = &book);
    rn_future *future = rn_run(runtime, linger, .name = "the last");
    while (rn_state(future) == RN_WAITING) rni_os_yield();
    assert_int_equal(rn_close(runtime, .within = 1), RN_TIMED_OUT);
    assert_int_equal(book.level, RN_LOG_ERROR);
    assert_contains(book.message, "rn_close ends, its time being over; still there are 'the last' (running, iteration 1");
    assert_int_equal(rn_close(runtime, .how = RN_STOP), RN_OK);
    rn_release(future);
}
