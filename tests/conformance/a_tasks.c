/* Rules A1 to A3: tasks and runs. */
#include "support.h"

#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------------
 * A1
 */
static rn_value count_calls(rn_call *call) {
    (void)call;
    return rn_int(add_to_cell(0, 1) + 1);
}

RULE(a1_making_a_task_runs_nothing) {
    rn_runtime *rn = OPEN();
    rn_task task = scripted_task(1);
    rn_task copy = task;
    assert_int_equal(rn_testing_settle(rn), RN_OK);
    assert_int_equal(event_count(), 0);
    rn_drop(copy.arg);
    close_runtime(rn);
    assert_int_equal(event_count(), 0);
}

RULE(a1_each_run_of_a_task_has_a_future_of_its_own) {
    rn_runtime *rn = OPEN();
    const rn_task task = {.size = sizeof task, .function = count_calls};
    rn_future *futures[3];
    bool seen[4] = {false};
    for (int i = 0; i < 3; i++) futures[i] = rn_submit(rn, &task);
    assert_ptr_not_equal(futures[0], futures[1]);
    assert_ptr_not_equal(futures[1], futures[2]);
    assert_ptr_not_equal(futures[0], futures[2]);
    for (int i = 0; i < 3; i++) {
        rn_value result = end_of(futures[i]);
        assert_in_range(rn_as_int(result), 1, 3);
        assert_false(seen[rn_as_int(result)]);
        seen[rn_as_int(result)] = true;
    }
    close_runtime(rn);
}

RULE(a1_a_task_that_ended_can_be_run_again) {
    rn_runtime *rn = OPEN();
    const rn_task task = {.size = sizeof task, .function = count_calls};
    for (int i = 1; i <= 100; i++) assert_ends_with_int(rn_submit(rn, &task), i);
    close_runtime(rn);
}

RULE(a1_one_task_can_run_in_several_runtimes_of_the_program) {
    rn_runtime *first = OPEN(.name = "first"), *second = OPEN(.name = "second");
    const rn_task task = {.size = sizeof task, .function = give_back, .arg = rn_int(7)};
    rn_future *here = rn_submit(first, &task), *there = rn_submit(second, &task);
    close_runtime(first);
    assert_ends_with_int(rn_submit(second, &task), 7);
    assert_ends_with_int(here, 7);
    assert_ends_with_int(there, 7);
    close_runtime(second);
}

/* ------------------------------------------------------------------------------------------------
 * A2
 */
RULE(a2_starting_a_run_does_not_wait_for_a_worker) {
    rn_runtime *rn = OPEN();
    hold_every_worker(rn);
    rn_future *futures[100];
    for (int i = 0; i < 100; i++) futures[i] = rn_run(rn, give_back, .arg = rn_int(i));
    for (int i = 0; i < 100; i++) assert_false(rn_done(futures[i]));
    free_every_worker();
    for (int i = 0; i < 100; i++) assert_ends_with_int(futures[i], i);
    close_runtime(rn);
}

/* A future that has failed to start: done at once, with the code, and a done callback is called at once. */
static void assert_never_started(rn_future *future, int code) {
    assert_non_null(future);
    assert_true(rn_done(future));
    assert_false(rn_running(future));
    assert_int_equal(rn_state(future), RN_DONE);
    int tag = 999;
    size_t before = event_count();
    assert_int_equal(rn_add_done_callback(future, note_done, &tag), RN_OK);
    assert_int_equal(event_count(), before + 1);
    assert_false(rn_cancel(future));
    assert_ends_with_error(future, code);
}

RULE(a2_a_run_without_a_function_is_a_failed_future) {
    rn_runtime *rn = OPEN();
    rn_task task = scripted_task(1);
    task.function = NULL;
    assert_never_started(rn_submit(rn, &task), RN_INVALID);
    close_runtime(rn);
    assert_story(1, "");
}

static void assert_refused(rn_runtime *rn, const rn_task *task) {
    assert_never_started(rn_submit(rn, task), RN_INVALID);
}

RULE(a2_a_run_with_a_duration_out_of_range_is_a_failed_future) {
    rn_runtime *rn = OPEN_VIRTUAL();
    static const int64_t bad[] = {-1, -RN_SECONDS(1), RN_DURATION_MAX + 1, INT64_MAX, INT64_MIN, INT64_MIN + 1};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        rn_task every = scripted_task(1), start_in = scripted_task(1);
        every.every = bad[i];
        start_in.start_in = bad[i];
        assert_refused(rn, &every);
        assert_refused(rn, &start_in);
    }
    close_runtime(rn);
    assert_story(1, "");
}

RULE(a2_a_run_with_a_text_that_is_no_time_is_a_failed_future_that_shows_it) {
    rn_runtime *rn = OPEN_VIRTUAL();
    rn_task every = scripted_task(1), start_in = scripted_task(1), at = scripted_task(1);
    every.every_text = "ten parsecs";
    start_in.start_in_text = "ten parsecs";
    at.at_text = "ten parsecs";
    const rn_task *tasks[] = {&every, &start_in, &at};
    for (size_t i = 0; i < COUNT_OF(tasks); i++) {
        rn_future *future = rn_submit(rn, tasks[i]);
        assert_contains(rn_error_message(rn_result(future)), "ten parsecs");
        assert_never_started(future, RN_INVALID);
    }
    close_runtime(rn);
    assert_story(1, "");
}

RULE(a2_a_run_with_both_forms_of_one_time_is_a_failed_future) {
    rn_runtime *rn = OPEN_VIRTUAL();
    rn_task every = scripted_task(1), start_in = scripted_task(1), at = scripted_task(1);
    every.every = start_in.start_in = RN_SECONDS(1);
    every.every_text = start_in.start_in_text = "1 s";
    at.at = RN_SECONDS(1);
    at.at_text = "2030-12-24 18:00Z";
    assert_refused(rn, &every);
    assert_refused(rn, &start_in);
    assert_refused(rn, &at);
    close_runtime(rn);
    assert_story(1, "");
}

RULE(a2_a_run_with_a_time_limit_that_is_none_is_a_failed_future_that_names_it) {
    static const int64_t bad[] = {-1, RN_DURATION_MAX + 1, INT64_MIN};
    static const rn_limits of_no_size = {.size = 0}, too_long = {.size = sizeof(rn_limits), .cpu = -1};
    rn_runtime *rn = OPEN();
    rn_task task = scripted_task(1);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        task.timeout = bad[i];
        assert_refused(rn, &task);
    }
    task = scripted_task(1);
    for (const char *const *text = (const char *const[]){"soon", "0 s", "-1 s", NULL}; *text; text++) {
        task.timeout_text = *text;
        assert_refused(rn, &task);
    }
    task = scripted_task(1);
    task.limits = &of_no_size;
    assert_refused(rn, &task);
    task.limits = &too_long;
    rn_future *future = rn_submit(rn, &task);
    assert_contains(rn_error_message(rn_result(future)), ".limits.cpu");
    assert_never_started(future, RN_INVALID);
    task = scripted_task(1);
    task.timeout = RN_SECONDS(1);
    task.timeout_text = "1 s";
    assert_refused(rn, &task);
    close_runtime(rn);
    assert_story(1, "");
}

RULE(a2_a_run_with_limits_that_threads_cannot_have_is_a_failed_future_there) {
    static const rn_limits limits = {.size = sizeof limits, .open_files = 100};
    rn_runtime *rn = OPEN();
    rn_task task = scripted_task(1);
    task.limits = &limits;
    task.timeout_text = "10 minutes";
    rn_future *future = rn_submit(rn, &task);
    if (rn_is_error(rn_result(future))) {
        assert_contains(rn_error_message(rn_result(future)), ".timeout");
        assert_never_started(future, RN_UNSUPPORTED);
        task.timeout_text = NULL;
        future = rn_submit(rn, &task);
        assert_contains(rn_error_message(rn_result(future)), ".limits");
        assert_never_started(future, RN_UNSUPPORTED);
        assert_story(1, "");
    } else {
        assert_ends_with_int(future, iteration_value(1, 1));
    }
    close_runtime(rn);
}

/* An rn_task as a newer header would declare it: with members at its end that this library does not know. */
struct newer_task {
    rn_task task;
    unsigned char tail[64];
};

RULE(a2_a_task_of_an_unknown_size_is_a_failed_future) {
    rn_runtime *rn = OPEN();
    static const size_t bad[] = {0, 1, sizeof(size_t), SIZE_MAX, SIZE_MAX / 2};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        rn_task task = scripted_task(1);
        task.size = bad[i];
        assert_refused(rn, &task);
    }
    close_runtime(rn);
    assert_story(1, "");
}

RULE(a2_a_task_of_an_older_header_has_none_of_what_came_later) {
    rn_runtime *rn = OPEN();
    rn_task task = scripted_task(1);
    task.size = offsetof(rn_task, timeout);
    task.timeout = -1; /* whatever lies behind it */
    task.timeout_text = "no time";
    assert_ends_with_int(rn_submit(rn, &task), iteration_value(1, 1));
    close_runtime(rn);
}

RULE(a2_a_larger_task_is_accepted_if_its_unknown_part_is_zero) {
    rn_runtime *rn = OPEN();
    struct newer_task newer = {.task = scripted_task(1)};
    newer.task.size = sizeof newer;
    assert_ends_with_int(rn_submit(rn, &newer.task), iteration_value(1, 1));
    assert_story(1, "f1 i1 s1 z1");
    for (size_t i = 0; i < sizeof newer.tail; i++) {
        newer.task.arg = rn_int(2);
        newer.tail[i] = 1;
        assert_refused(rn, &newer.task);
        newer.tail[i] = 0;
    }
    close_runtime(rn);
    assert_story(2, "");
}

RULE(a2_a_run_whose_argument_is_an_error_fails_with_that_error) {
    rn_runtime *rn = OPEN();
    rn_task task = scripted_task(1);
    task.arg = rn_error(77, "the argument could not be read");
    rn_future *future = rn_submit(rn, &task);
    assert_string_equal(rn_error_message(rn_result(future)), "the argument could not be read");
    assert_never_started(future, 77);
    close_runtime(rn);
    assert_int_equal(event_count(), 1);
}

RULE(a2_a_run_in_a_closed_runtime_is_a_failed_future) {
    rn_runtime *rn = OPEN();
    rn_task task = scripted_task(1);
    close_runtime(rn);
    assert_never_started(rn_submit(rn, &task), RN_CLOSED);
    assert_story(1, "");
}

/* Memory that the library has in stock may serve a few runs; then the system is asked, and refuses. */
RULE(a2_a_run_without_memory_is_a_failed_future) {
    rn_runtime *rn = OPEN();
    hold_every_worker(rn);
    rn_testing_fail(RN_FAULT_ALLOCATION, 1, UINT64_MAX);
    rn_testing_fail(RN_FAULT_MAPPING, 1, UINT64_MAX);
    bool refused = false;
    int started = 0;
    for (int i = 0; i < 1000000 && !refused; i++) {
        rn_future *future = rn_run(rn, count_calls);
        assert_non_null(future);
        refused = rn_done(future);
        started += !refused;
        if (refused) assert_never_started(future, RN_NO_MEMORY);
        else rn_release(future);
    }
    rn_testing_fail(RN_FAULT_ALLOCATION, 1, 0);
    rn_testing_fail(RN_FAULT_MAPPING, 1, 0);
    assert_true(refused);
    free_every_worker();
    assert_ends_with_int(rn_run(rn, give_back, .arg = rn_int(5)), 5);
    close_runtime(rn);
    assert_int_equal(cell(0), started);
}

RULE(a2_a_detached_run_that_could_not_start_says_so_by_its_code_and_in_the_log) {
    rn_runtime *rn = OPEN();
    rn_task task = scripted_task(1);
    task.start_in = -1;
    assert_int_equal(rn_submit_detached(rn, &task), RN_INVALID);
    assert_int_equal(book_count_code(RN_INVALID), 1);
    task = scripted_task(1);
    task.arg = rn_error(78, "no argument");
    assert_int_equal(rn_submit_detached(rn, &task), 78);
    assert_int_equal(book_count_code(78), 1);
    close_runtime(rn);
    assert_story(1, "");
}

RULE(a2_a_detached_run_runs_with_all_its_hooks) {
    rn_runtime *rn = OPEN();
    rn_task task = scripted_task(1);
    task.times = 2;
    assert_int_equal(rn_submit_detached(rn, &task), RN_OK);
    assert_int_equal(rn_run_detached(rn, note_event, .arg = rn_int(2)), RN_OK);
    close_runtime(rn);
    assert_story(1, "f1 i1 f2 i2 s2 z2");
    assert_story(2, "f1");
}

/* ------------------------------------------------------------------------------------------------
 * A3
 */
static rn_value describe_call(rn_call *call) { return rn_textf("%s said %s", rn_name(call), rn_as_text(rn_arg(call))); }

RULE(a3_texts_that_a_run_was_given_may_change_when_it_has_started) {
    rn_runtime *rn = OPEN_VIRTUAL();
    char name[] = "bob", words[] = "hello", start[] = "1 hour", every[] = "2 hours";
    hold_every_worker(rn);
    rn_future *future = rn_run(rn, describe_call, .arg = rn_text(words), .name = name, .start_in_text = start,
                               .every_text = every, .times = 2);
    memset(name, 'x', sizeof name - 1);
    memset(words, 'x', sizeof words - 1);
    memset(start, '9', sizeof start - 1);
    memset(every, '9', sizeof every - 1);
    free_every_worker();
    assert_string_equal(rn_as_text(rn_result(future)), "bob said hello");
    assert_int_equal(rn_testing_now(rn), RN_HOURS(3));
    rn_release(future);
    close_runtime(rn);
}

RULE(a3_the_task_itself_may_change_when_a_run_of_it_has_started) {
    rn_runtime *rn = OPEN();
    rn_task *task = malloc(sizeof *task);
    assert_non_null(task);
    *task = scripted_task(1);
    task->times = 2;
    task->updates_result = RN_ON_FINISHED;
    hold_every_worker(rn);
    rn_future *future = rn_submit(rn, task);
    memset(task, 0xff, sizeof *task);
    free(task);
    free_every_worker();
    assert_ends_with_int(future, hook_value(1, RN_ON_FINISHED, 2));
    assert_story(1, "f1 i1 f2 i2 s2 z2");
    close_runtime(rn);
}

RULE(a3_bytes_and_texts_with_a_length_are_copied) {
    rn_runtime *rn = OPEN();
    char data[] = {'a', 'b', 0, 'c'}, words[] = {'o', 'n', 'e', 't', 'w', 'o'};
    hold_every_worker(rn);
    rn_future *bytes = rn_run(rn, give_back, .arg = rn_bytes(data, sizeof data));
    rn_future *text = rn_run(rn, give_back, .arg = rn_text_n(words, 3));
    memset(data, 'x', sizeof data);
    memset(words, 'x', sizeof words);
    free_every_worker();
    rn_value got = end_of(bytes), said = end_of(text);
    assert_int_equal(rn_length(got), 4);
    assert_memory_equal(rn_as_bytes(got), "ab\0c", 4);
    assert_string_equal(rn_as_text(said), "one");
    rn_drop(got);
    rn_drop(said);
    close_runtime(rn);
}

static rn_value write_through_pointer(rn_call *call) {
    *(int *)rn_as_pointer(rn_arg(call)) = 12;
    return rn_none();
}

RULE(a3_a_plain_pointer_stays_the_callers) {
    threads_only();
    rn_runtime *rn = OPEN();
    int target = 0;
    rn_value result = end_of(rn_run(rn, write_through_pointer, .arg = rn_pointer(&target)));
    assert_true(rn_is_none(result));
    assert_int_equal(target, 12);
    close_runtime(rn);
}

static void count_destroyed(void *pointer) { add_to_cell((int)*(char *)pointer, 1); }

RULE(a3_an_owned_pointer_is_destroyed_once_with_the_last_who_holds_it) {
    threads_only();
    rn_runtime *rn = OPEN();
    char index[] = {1, 2, 3, 4};
    rn_value result = end_of(rn_run(rn, nothing, .arg = rn_pointer_owned(&index[0], count_destroyed)));
    assert_true(rn_is_none(result));
    rn_future *future = rn_run(rn, give_back, .arg = rn_pointer_owned(&index[1], count_destroyed));
    assert_ptr_equal(rn_as_pointer(rn_result(future)), &index[1]);
    assert_int_equal(cell(2), 0);
    rn_value kept = rn_keep(rn_result(future));
    rn_release(future);
    assert_int_equal(rn_run_detached(rn, nothing, .arg = rn_pointer_owned(&index[2], count_destroyed)), RN_OK);
    close_runtime(rn);
    assert_int_equal(cell(1), 1);
    assert_int_equal(cell(2), 0);
    rn_drop(kept);
    assert_int_equal(cell(2), 1);
    assert_int_equal(cell(3), 1);
}

RULE(a3_the_argument_of_a_run_that_does_not_start_is_destroyed_once_too) {
    threads_only();
    rn_runtime *rn = OPEN();
    char index[] = {1, 2, 3};
    rn_release(rn_run(rn, NULL, .arg = rn_pointer_owned(&index[0], count_destroyed)));
    hold_every_worker(rn);
    rn_future *cancelled = rn_run(rn, nothing, .arg = rn_pointer_owned(&index[1], count_destroyed));
    assert_true(rn_cancel(cancelled));
    rn_release(cancelled);
    free_every_worker();
    close_runtime(rn);
    rn_release(rn_run(rn, nothing, .arg = rn_pointer_owned(&index[2], count_destroyed)));
    for (int i = 1; i <= 3; i++) assert_int_equal(cell(i), 1);
}

RULE(a3_the_options_of_a_runtime_may_change_when_it_is_open) {
    char name[] = "short-lived";
    rn_testing kit = virtual_clock;
    rn_options options = options_under_test(&(const rn_options){.size = sizeof options, .testing = &kit, .name = name});
    rn_runtime *rn = open_under_test(&options);
    memset(name, 'x', sizeof name - 1);
    memset(&kit, 0xff, sizeof kit);
    memset(&options, 0xff, sizeof options);
    assert_ends_with_int(rn_run(rn, give_back, .arg = rn_int(1), .start_in = RN_DAYS(1)), 1);
    close_runtime(rn);
}
