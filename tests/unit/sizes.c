/*
 * Options and tasks of every size, and every value in them that is refused.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/runtime.h"
#include "support.h"

static rn_value give_back(rn_call *call) { return rn_keep(rn_arg(call)); }

static rn_value name_of(rn_call *call) { return rn_text(rn_name(call)); }

static rn_runtime *runtime;

static void open_one(void) {
    runtime = rn_open(.workers = 1, .log = rn_log_nothing);
    assert_true(rn_is_none(rn_open_error(runtime)));
}

static void close_one(void) { assert_int_equal(rn_close(runtime), RN_OK); }

/* The result of a task, which is dropped. */
static rn_value end_of(const rn_task *task) {
    rn_future *future = rn_submit(runtime, task);
    rn_value result = rn_keep(rn_result(future));
    rn_release(future);
    return result;
}

/* ---- sizes ---- */

/* A struct behind which there is something that this build does not know. */
struct longer_task {
    rn_task task;
    char more[40];
};

TEST(a_task_that_ends_before_a_member_has_none_of_it) {
    static const size_t sizes[] = {
        offsetof(rn_task, arg),      offsetof(rn_task, on_iter), offsetof(rn_task, on_finished),
        offsetof(rn_task, every),    offsetof(rn_task, at_text), offsetof(rn_task, name),
        sizeof(rn_task),
    };
    open_one();
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        rn_task task = {.size = sizes[i], .origin = "from the origin\0file.c:7", .function = name_of, .arg = rn_text("arg"),
                        .name = "given"};
        rn_value result = end_of(&task);
        assert_string_equal(rn_as_text(result), sizes[i] > offsetof(rn_task, name) ? "given" : "from the origin");
        rn_drop(result);
        if (sizes[i] < offsetof(rn_task, on_iter)) rn_drop(task.arg); /* not part of the task: it was not given away */
    }
    close_one();
}

TEST(a_task_of_another_size_is_refused) {
    rn_task task = {.function = give_back};
    open_one();
    for (task.size = 0; task.size < offsetof(rn_task, arg); task.size++) {
        rn_value result = end_of(&task);
        assert_error_code(result, RN_INVALID);
        assert_contains(rn_error_message(result), "rn_task.size is ");
        rn_drop(result);
    }
    assert_fails(end_of(NULL), RN_INVALID, "the task is NULL");
    close_one();
}

TEST(a_longer_task_is_accepted_if_what_is_unknown_is_zero) {
    struct longer_task longer = {.task = {.size = sizeof longer, .function = give_back, .arg = rn_int(5)}};
    open_one();
    rn_value result = end_of(&longer.task);
    assert_int_equal(rn_as_int(result), 5);
    for (size_t i = 0; i < sizeof longer.more; i++) {
        longer.more[i] = 1;
        longer.task.arg = rn_text("dropped");
        assert_fails(end_of(&longer.task), RN_INVALID, "and something is set beyond the ");
        longer.more[i] = 0;
    }
    close_one();
}

static int open_code_with(size_t size, char beyond) {
    struct {
        rn_options options;
        char more[16];
    } longer = {.options = {.size = size, .workers = 1, .log = rn_log_nothing}, .more = {beyond}};
    /* It is not known to a header before it; a larger one gives it away, although threads have nothing to prepare. */
    if (beyond) longer.options.prepare_arg = rn_text("dropped");
    rn_runtime *opened = rn_open_with(&longer.options);
    rn_value error = rn_open_error(opened);
    int code = rn_is_error(error) ? rn_error_code(error) : RN_OK;
    assert_int_equal(rn_close(opened), RN_OK);
    return code;
}

static int open_code(size_t size) { return open_code_with(size, 0); }

TEST(options_of_every_size_open_or_say_why_not) {
    for (size_t size = 0; size < offsetof(rn_options, workers); size++) assert_int_equal(open_code(size), RN_INVALID);
    assert_int_equal(open_code(offsetof(rn_options, spare_workers)), RN_OK);
    assert_int_equal(open_code(offsetof(rn_options, log)), RN_OK);
    assert_int_equal(open_code(sizeof(rn_options)), RN_OK);
    assert_int_equal(open_code(sizeof(rn_options) + 16), RN_OK);
    assert_int_equal(open_code_with(sizeof(rn_options) + 16, 1), RN_INVALID);
    assert_int_equal(open_code_with(sizeof(rn_options), 1), RN_INVALID);
}

TEST(close_options_of_every_size_close_or_say_why_not) {
    struct {
        rn_close_options options;
        char more[16];
    } longer = {.options = {.runtime = NULL}};
    open_one();
    longer.options.runtime = runtime;
    for (size_t size = 0; size < offsetof(rn_close_options, how); size++) {
        longer.options.size = size;
        assert_int_equal(rn_close_with(&longer.options), RN_INVALID);
    }
    longer.options.size = offsetof(rn_close_options, how);
    assert_int_equal(rn_close_with(&longer.options), RN_OK);
    open_one();
    longer.options = (rn_close_options){.size = sizeof longer, .runtime = runtime};
    longer.more[3] = 1;
    assert_int_equal(rn_close_with(&longer.options), RN_INVALID);
    longer.more[3] = 0;
    assert_int_equal(rn_close_with(&longer.options), RN_OK);
}

TEST(a_close_that_asks_for_what_is_not_there_is_refused) {
    open_one();
    assert_int_equal(rn_close(runtime, .how = (enum rn_close_how)2), RN_INVALID);
    assert_int_equal(rn_close(runtime, .within = -1), RN_INVALID);
    assert_int_equal(rn_close(runtime, .within = RN_DURATION_MAX + 1), RN_INVALID);
    assert_int_equal(rn_close(runtime, .within = RN_DURATION_MAX), RN_OK);
}

TEST(statistics_need_a_place_of_a_known_size) {
    rn_stats stats = {.size = 0};
    open_one();
    assert_int_equal(rn_get_stats(runtime, NULL), RN_INVALID);
    for (; stats.size < offsetof(rn_stats, workers_asked); stats.size++)
        assert_int_equal(rn_get_stats(runtime, &stats), RN_INVALID);
    stats.size = sizeof stats;
    assert_int_equal(rn_get_stats(runtime, &stats), RN_OK);
    assert_int_equal(stats.workers_asked, 1);
    close_one();
}

/* ---- values that are refused ---- */

#define REFUSED(message, ...)                                                                                \
    do {                                                                                                     \
        const rn_task task = {.size = sizeof task, .arg = rn_text("dropped"), .function = __VA_ARGS__};      \
        assert_fails(end_of(&task), RN_INVALID, (message));                                                  \
    } while (0)

TEST(each_time_that_a_task_cannot_have_is_named) {
    open_one();
    REFUSED(".every is -1 ns; accepted are 0 to 3155760000000000000 ns (36525 days)", give_back, .every = -1);
    REFUSED(".every is 3155760000000000001 ns", give_back, .every = RN_DURATION_MAX + 1);
    REFUSED(".start_in is -1 ns", give_back, .start_in = -1);
    REFUSED(".start_in is 3155760000000000001 ns", give_back, .start_in = RN_DURATION_MAX + 1);
    REFUSED(".every and .every_text are both given; accepted is one of them", give_back, .every = 1, .every_text = "1 s");
    REFUSED(".start_in and .start_in_text are both given", give_back, .start_in = 1, .start_in_text = "1 s");
    REFUSED(".at and .at_text are both given", give_back, .at = 1, .at_text = "2030-12-24");
    REFUSED(".at and .start_in are both given", give_back, .at = 1, .start_in = 1);
    REFUSED(".at and .start_in are both given", give_back, .at = 1, .start_in_text = "0 s");
    REFUSED(".at and .start_in are both given", give_back, .at_text = "2030-12-24", .start_in_text = "1 s");
    REFUSED(".every_text: \"0 s\" is no period; accepted is more than 0", give_back, .every_text = "0 s");
    REFUSED(".every_text: \"x\" is not a duration", give_back, .every_text = "x");
    REFUSED(".start_in_text: \"-1\" is negative", give_back, .start_in_text = "-1");
    REFUSED(".at_text: \"x\" is not a date and time", give_back, .at_text = "x");
    close_one();
}

TEST(a_task_without_a_function_or_with_unknown_hooks_is_refused) {
    open_one();
    REFUSED("the function is NULL", NULL);
    REFUSED(".updates_result is 0x10; accepted are RN_ON_ITER", give_back, .updates_result = 16);
    REFUSED(".updates_result is 0x1f", give_back, .updates_result = 31);
    close_one();
}

TEST(an_argument_that_is_an_error_is_the_result) {
    rn_value cause = rn_error(77, "the argument");
    rn_task task = {.size = sizeof task, .function = give_back, .arg = rn_keep(cause), .origin = "f\0a.c:1"};
    open_one();
    rn_value result = end_of(&task);
    assert_int_equal(result.bits, cause.bits);
    rn_drop(result);
    rn_drop(cause);
    close_one();
}

TEST(a_refusal_names_the_line_of_the_caller) {
    static const struct {
        const char *origin, *file;
        int line;
    } origins[] = {{"f\0a.c:12", "a.c", 12}, {"f\0C:/x.c:7", "C:/x.c", 7}, {"f\0nothing", "", 0}};
    open_one();
    for (size_t i = 0; i < COUNT_OF(origins); i++) {
        rn_task task = {.size = sizeof task, .function = give_back, .every = -1, .origin = origins[i].origin};
        rn_value result = end_of(&task);
        assert_string_equal(rn_error_file(result), origins[i].file);
        assert_int_equal(rn_error_line(result), origins[i].line);
        rn_drop(result);
    }
    rn_future *future = rn_run(runtime, give_back, .every = -1);
    assert_contains(rn_error_file(rn_result(future)), "sizes.c");
    assert_int_equal(rn_error_line(rn_result(future)), __LINE__ - 2);
    rn_release(future);
    close_one();
}

#define UNOPENED(wanted, message, ...)                                            \
    do {                                                                          \
        rn_runtime *opened = rn_open(.log = rn_log_nothing, __VA_ARGS__);         \
        assert_error_code(rn_open_error(opened), (wanted));                       \
        assert_contains(rn_error_message(rn_open_error(opened)), (message));      \
        rn_future *future = rn_run(opened, give_back, .arg = rn_text("dropped")); \
        assert_error_code(rn_result(future), (wanted));                           \
        rn_release(future);                                                       \
        assert_int_equal(rn_testing_settle(opened), RN_INVALID);                  \
        assert_int_equal(rn_close(opened), RN_OK);                                \
    } while (0)

TEST(each_option_that_a_runtime_cannot_have_is_named) {
    const rn_testing kit = {.size = sizeof kit - 1};
    UNOPENED(RN_INVALID, ".workers is 1025; accepted are 1 to 1024", .workers = 1025);
    UNOPENED(RN_INVALID, ".spare_workers is 1025; accepted are 1 to 1024, and 0 for 64", .spare_workers = 1025);
    UNOPENED(RN_INVALID, ".when_full is 3; accepted are RN_BLOCK", .when_full = (enum rn_when_full)3);
    UNOPENED(RN_UNSUPPORTED, ".executor is 2; this build has RN_THREADS and RN_PROCESSES", .executor = RN_CLUSTER);
    UNOPENED(RN_UNSUPPORTED, ".executor is 7; this build has RN_THREADS and RN_PROCESSES", .executor = (enum rn_executor)7);
    UNOPENED(RN_INVALID, "rn_testing.size is ", .testing = &kit);
}

TEST(an_unopened_runtime_knows_no_clock) {
    const rn_testing kit = {.size = sizeof kit, .virtual_clock = true};
    rn_testing_fail(RN_FAULT_THREAD_START, 1, UINT64_MAX);
    rn_runtime *opened = rn_open(.workers = 1, .testing = &kit);
    rn_testing_fail(RN_FAULT_THREAD_START, 1, 0);
    assert_error_code(rn_open_error(opened), RN_NO_THREADS);
    assert_int_equal(rn_testing_advance(opened, 1), RN_INVALID);
    assert_int_equal(rn_close(opened), RN_OK);
}
