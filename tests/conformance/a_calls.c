/* Rules A4 and A5: what a run can be asked, and the list of runs. */
#include "support.h"

#include <string.h>

/* ------------------------------------------------------------------------------------------------
 * A4
 */
RULE(a4_the_function_can_ask_for_its_argument_of_every_kind) {
    rn_runtime *rn = OPEN();
    rn_value none = end_of(rn_run(rn, give_back));
    rn_value yes = end_of(rn_run(rn, give_back, .arg = rn_bool(true)));
    rn_value least = end_of(rn_run(rn, give_back, .arg = rn_int(INT64_MIN)));
    rn_value tenth = end_of(rn_run(rn, give_back, .arg = rn_float(0.1)));
    rn_value text = end_of(rn_run(rn, give_back, .arg = rn_text("Gr\xc3\xbc\xc3\x9f!")));
    rn_value bytes = end_of(rn_run(rn, give_back, .arg = rn_bytes("\0\1\2", 3)));
    assert_true(rn_is_none(none));
    assert_true(rn_as_bool(yes));
    assert_true(rn_as_int(least) == INT64_MIN);
    assert_true(rn_as_float(tenth) == 0.1);
    assert_string_equal(rn_as_text(text), "Gr\xc3\xbc\xc3\x9f!");
    assert_memory_equal(rn_as_bytes(bytes), "\0\1\2", 3);
    rn_drop(text);
    rn_drop(bytes);
    close_runtime(rn);
}

static rn_value double_all(rn_call *call) {
    rn_value arg = rn_arg(call);
    unsigned char *bytes = rn_as_buffer(arg);
    for (size_t i = 0; i < rn_length(arg); i++) bytes[i] = (unsigned char)(bytes[i] * 2);
    return rn_keep(arg);
}

RULE(a4_a_buffer_that_is_the_argument_is_the_callers_memory_and_comes_back_as_such) {
    static const size_t sizes[] = {1, 4096, 70000, 4 << 20};
    rn_runtime *rn = OPEN();
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        rn_value buffer = rn_buffer(sizes[i]);
        assert_int_equal(rn_kind(buffer), RN_BUFFER);
        unsigned char *bytes = rn_as_buffer(buffer);
        memset(bytes, 21, sizes[i]);
        rn_value result = end_of(rn_run(rn, double_all, .arg = rn_keep(buffer)));
        assert_int_equal(rn_kind(result), RN_BUFFER);
        assert_int_equal(rn_length(result), sizes[i]);
        assert_ptr_equal(rn_as_buffer(result), bytes);
        for (size_t k = 0; k < sizes[i]; k++) assert_int_equal(bytes[k], 42);
        rn_drop(buffer);
        assert_int_equal(bytes[sizes[i] - 1], 42);
        rn_drop(result);
    }
    close_runtime(rn);
}

static rn_value bring_buffer(rn_call *call) {
    rn_value buffer = rn_buffer((size_t)rn_as_int(rn_arg(call)));
    strcpy(rn_as_buffer(buffer), "f");
    return buffer;
}

static rn_value sign_i(rn_call *call, rn_value success, rn_value error) {
    (void)call;
    (void)error;
    strcat(rn_as_buffer(success), "i");
    return rn_none();
}

static rn_value sign_s(rn_call *call, rn_value success) {
    (void)call;
    strcat(rn_as_buffer(success), "s");
    return rn_keep(success);
}

static rn_value sign_z(rn_call *call, rn_value success, rn_value error) {
    sign_i(call, success, error);
    return rn_none();
}

RULE(a4_a_buffer_that_a_task_makes_goes_through_its_hooks_and_to_the_caller) {
    rn_runtime *rn = OPEN();
    rn_value result = end_of(rn_run(rn, bring_buffer, .arg = rn_int(100000), .on_iter = sign_i, .on_success = sign_s,
                                    .on_finished = sign_z, .updates_result = RN_ON_SUCCESS));
    assert_int_equal(rn_kind(result), RN_BUFFER);
    assert_int_equal(rn_length(result), 100000);
    assert_string_equal(rn_as_buffer(result), "fisi");
    rn_drop(result);
    close_runtime(rn);
}

/* Starts a run with its own argument, and one that makes another buffer; all three see the same bytes. */
static rn_value hand_on(rn_call *call) {
    rn_value arg = rn_arg(call);
    unsigned char *bytes = rn_as_buffer(arg);
    rn_value same = end_of(rn_run(rn_runtime_of(call), double_all, .arg = rn_keep(arg)));
    rn_value other = end_of(rn_run(rn_runtime_of(call), bring_buffer, .arg = rn_int(5)));
    bool is_good = rn_kind(same) == RN_BUFFER && rn_as_buffer(same) == bytes && rn_kind(other) == RN_BUFFER &&
                   strcmp(rn_as_buffer(other), "f") == 0;
    bytes[1] = is_good;
    rn_drop(same);
    return other;
}

RULE(a4_a_task_hands_its_buffer_on_to_the_runs_that_it_starts) {
    rn_runtime *rn = OPEN();
    rn_value buffer = rn_buffer(4096);
    unsigned char *bytes = rn_as_buffer(buffer);
    for (int i = 0; i < 3; i++) {
        memset(bytes, 3, 4096);
        rn_value result = end_of(rn_run(rn, hand_on, .arg = rn_keep(buffer)));
        assert_int_equal(rn_kind(result), RN_BUFFER);
        assert_string_equal(rn_as_buffer(result), "f");
        assert_int_equal(bytes[0], 6);
        assert_int_equal(bytes[1], 1);
        rn_drop(result);
    }
    rn_drop(buffer);
    close_runtime(rn);
}

RULE(a4_iterations_count_up_from_one_and_the_remaining_ones_down_to_zero) {
    rn_runtime *rn = OPEN();
    rn_task task = scripted_task(1);
    task.times = 3;
    rn_value result = end_of(rn_submit(rn, &task));
    assert_int_value(result, iteration_value(1, 3));
    struct event events[8];
    assert_int_equal(events_of(1, events, COUNT_OF(events)), 8);
    static const struct {
        char kind;
        uint64_t iteration, remaining;
    } expected[] = {{'f', 1, 2}, {'i', 1, 2}, {'f', 2, 1}, {'i', 2, 1},
                    {'f', 3, 0}, {'i', 3, 0}, {'s', 3, 0}, {'z', 3, 0}};
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        assert_int_equal(events[i].kind, expected[i].kind);
        assert_int_equal(events[i].iteration, expected[i].iteration);
        assert_int_equal(events[i].remaining, expected[i].remaining);
    }
    close_runtime(rn);
}

RULE(a4_a_single_iteration_has_none_remaining_and_an_endless_run_has_no_end_of_them) {
    rn_runtime *rn = OPEN_VIRTUAL();
    rn_task once = scripted_task(1), endless = scripted_task(2);
    endless.every = RN_HOURS(1);
    board->scripts[2].stop_self_at = 2;
    assert_ends_with_int(rn_submit(rn, &once), iteration_value(1, 1));
    assert_ends_with_int(rn_submit(rn, &endless), iteration_value(2, 2));
    struct event events[4];
    assert_true(events_of(1, events, 4) == 4);
    assert_int_equal(events[0].remaining, 0);
    assert_true(events_of(2, events, 4) > 0);
    assert_true(events[0].remaining == RN_ENDLESS);
    close_runtime(rn);
}

RULE(a4_missed_ticks_are_none_where_nothing_is_late) {
    rn_runtime *rn = OPEN_VIRTUAL();
    rn_task task = scripted_task(1);
    task.every = RN_SECONDS(1);
    task.times = 5;
    assert_ends_with_int(rn_submit(rn, &task), iteration_value(1, 5));
    struct event events[12];
    assert_int_equal(events_of(1, events, COUNT_OF(events)), 12);
    for (size_t i = 0; i < COUNT_OF(events); i++) assert_int_equal(events[i].missed, 0);
    close_runtime(rn);
}

static rn_value own_name(rn_call *call) { return rn_text(rn_name(call)); }

static void assert_named(rn_future *future, const char *name) {
    rn_value result = end_of(future);
    assert_string_equal(rn_as_text(result), name);
    rn_drop(result);
}

RULE(a4_the_name_is_the_given_one_or_else_the_functions) {
    rn_runtime *rn = OPEN();
    assert_named(rn_run(rn, own_name), "own_name");
    assert_named(rn_run(rn, own_name, .arg = rn_int(1), .times = 2), "own_name");
    assert_named(rn_run(rn, own_name, .name = "a task: \"quoted\", %s, 100 %"), "a task: \"quoted\", %s, 100 %");
    close_runtime(rn);
}

RULE(a4_a_name_is_cut_at_its_longest) {
    rn_runtime *rn = OPEN();
    char longest[RN_NAME_MAX + 1], longer[2 * RN_NAME_MAX];
    memset(longest, 'n', RN_NAME_MAX);
    memset(longer, 'n', sizeof longer - 1);
    longest[RN_NAME_MAX] = longer[sizeof longer - 1] = '\0';
    assert_named(rn_run(rn, own_name, .name = longest), longest);
    assert_named(rn_run(rn, own_name, .name = longer), longest);
    close_runtime(rn);
}

/* Tells whether it was asked to stop, before and after the gate whose number is its argument. */
static rn_value ask_about_stop(rn_call *call) {
    set_cell(1, rn_stopping(call));
    gate_pass((int)rn_as_int(rn_arg(call)));
    set_cell(2, rn_stopping(call));
    return rn_none();
}

RULE(a4_a_run_can_ask_whether_it_was_asked_to_stop) {
    rn_runtime *rn = OPEN();
    for (int stops = 0; stops <= 1; stops++) {
        rn_future *future = rn_run(rn, ask_about_stop, .arg = rn_int(1));
        gate_await(1, 1);
        if (stops) assert_true(rn_stop(future));
        gate_open(1, 1);
        assert_int_equal(rn_wait(future, -1), RN_OK);
        assert_int_equal(cell(1), 0);
        assert_int_equal(cell(2), stops);
        rn_release(future);
    }
    close_runtime(rn);
}

static rn_value report_a_quarter(rn_call *call) {
    rn_report(call, 0.25);
    gate_pass((int)rn_as_int(rn_arg(call)));
    return rn_none();
}

RULE(a4_progress_that_a_run_reports_can_be_read_while_it_runs) {
    rn_runtime *rn = OPEN();
    rn_future *future = rn_run(rn, report_a_quarter, .arg = rn_int(1), .name = "progress");
    gate_await(1, 1);
    assert_true(rn_progress(future) == 0.25);
    rn_run_info info;
    assert_int_equal(rn_pending(rn, &info, 1), 1);
    assert_true(info.progress == 0.25);
    gate_open(1, 1);
    assert_int_equal(rn_wait(future, -1), RN_OK);
    assert_true(rn_progress(future) == 1);
    rn_release(future);
    close_runtime(rn);
}

static rn_value report_oddly(rn_call *call) {
    static const double odd[] = {-1, 2, -0.0, 1e308 * 10, -1e308 * 10, 0.0 / 0.0, 5e-324};
    for (size_t i = 0; i < COUNT_OF(odd); i++) {
        rn_report(call, odd[i]);
        gate_pass((int)rn_as_int(rn_arg(call)));
    }
    return rn_none();
}

RULE(a4_progress_is_never_outside_zero_to_one) {
    rn_runtime *rn = OPEN();
    rn_future *future = rn_run(rn, report_oddly, .arg = rn_int(1));
    for (int i = 0; i < 7; i++) {
        gate_await(1, 1);
        assert_true(rn_progress(future) >= 0 && rn_progress(future) <= 1);
        gate_open(1, 1);
    }
    assert_int_equal(rn_wait(future, -1), RN_OK);
    rn_release(future);
    close_runtime(rn);
}

static rn_value start_another(rn_call *call) {
    rn_future *other = rn_run(rn_runtime_of(call), give_back, .arg = rn_int(31));
    rn_value result = rn_keep(rn_result(other));
    rn_release(other);
    return result;
}

RULE(a4_a_run_can_ask_for_its_runtime_and_start_others_there) {
    rn_runtime *rn = OPEN();
    assert_ends_with_int(rn_run(rn, start_another), 31);
    close_runtime(rn);
}

static rn_value own_id(rn_call *call) {
    set_cell(3, (int64_t)rn_run_id(call));
    gate_pass((int)rn_as_int(rn_arg(call)));
    return rn_none();
}

RULE(a4_the_id_that_a_run_sees_is_the_one_in_the_list) {
    rn_runtime *rn = OPEN();
    rn_future *future = rn_run(rn, own_id, .arg = rn_int(1));
    gate_await(1, 1);
    rn_run_info info;
    assert_int_equal(rn_pending(rn, &info, 1), 1);
    assert_true(info.id == (uint64_t)cell(3));
    assert_true(info.id != 0);
    gate_open(1, 1);
    assert_int_equal(rn_wait(future, -1), RN_OK);
    rn_release(future);
    close_runtime(rn);
}

static rn_value compare_call_in_hook(rn_call *call, rn_value success, rn_value error) {
    (void)success, (void)error;
    bool same = rn_as_int(rn_arg(call)) == 41 && rn_iteration(call) == 1 && rn_remaining(call) == 0 &&
                rn_missed(call) == 0 && strcmp(rn_name(call), "asked by a hook") == 0 && !rn_stopping(call);
    return rn_bool(same);
}

RULE(a4_a_hook_can_ask_the_same_things) {
    rn_runtime *rn = OPEN();
    rn_future *future = rn_run(rn, give_back, .arg = rn_int(41), .on_finished = compare_call_in_hook,
                               .updates_result = RN_ON_FINISHED, .name = "asked by a hook");
    assert_true(rn_as_bool(rn_result(future)));
    rn_release(future);
    close_runtime(rn);
}

/* ------------------------------------------------------------------------------------------------
 * A5
 */
static const rn_run_info *info_named(const rn_run_info *infos, int64_t count, const char *name) {
    for (int64_t i = 0; i < count; i++)
        if (strcmp(infos[i].name, name) == 0) return &infos[i];
    fail_msg("no run named %s is listed", name);
    return NULL;
}

static rn_value wait_ten_hours(rn_call *call) {
    last_for(call, RN_HOURS(10));
    return rn_none();
}

/* The list's ages are exact to about 10 ms, and no less so on a virtual clock. */
static void assert_age(const rn_run_info *info, int64_t age_ns) {
    assert_true(info->age_ns >= age_ns - RN_MILLISECONDS(20) && info->age_ns <= age_ns + RN_MILLISECONDS(20));
}

RULE(a5_the_list_shows_name_state_age_iteration_and_next_start) {
    rn_runtime *rn = OPEN_VIRTUAL();
    rn_future *running = rn_run(rn, wait_ten_hours, .name = "running");
    rn_future *later = rn_run(rn, nothing, .start_in = RN_HOURS(5), .name = "later");
    rn_future *ticking = rn_run(rn, nothing, .every = RN_HOURS(3), .name = "ticking");
    assert_int_equal(rn_testing_settle(rn), RN_OK);
    assert_int_equal(rn_testing_advance(rn, RN_HOURS(4)), RN_OK);
    rn_run_info infos[8];
    int64_t count = rn_pending(rn, infos, COUNT_OF(infos));
    assert_int_equal(count, 4); /* the fourth is the one that the running one waits for */
    const rn_run_info *one = info_named(infos, count, "running"), *two = info_named(infos, count, "later"),
                      *three = info_named(infos, count, "ticking");
    assert_int_equal(one->state, RN_RUNNING);
    assert_int_equal(one->iteration, 1);
    assert_int_equal(one->next_start_ns, 0);
    assert_int_equal(two->state, RN_WAITING);
    assert_int_equal(two->iteration, 0);
    assert_true(two->next_start_ns == RN_HOURS(1));
    assert_int_equal(three->state, RN_WAITING);
    assert_int_equal(three->iteration, 2);
    assert_true(three->next_start_ns == RN_HOURS(2));
    assert_age(one, RN_HOURS(4));
    assert_age(two, RN_HOURS(4));
    assert_age(three, RN_HOURS(4));
    assert_true(one->id != two->id && two->id != three->id && one->id != three->id);
    stop_runtime(rn);
    rn_release(running);
    rn_release(later);
    rn_release(ticking);
}

RULE(a5_the_plainest_run_has_its_age_too) {
    rn_runtime *rn = OPEN_VIRTUAL();
    rn_future *future = rn_run(rn, wait_ten_hours);
    assert_int_equal(rn_testing_settle(rn), RN_OK);
    assert_int_equal(rn_testing_advance(rn, RN_HOURS(4)), RN_OK);
    rn_run_info infos[2];
    assert_int_equal(rn_pending(rn, infos, COUNT_OF(infos)), 2);
    assert_age(info_named(infos, 2, "wait_ten_hours"), RN_HOURS(4));
    stop_runtime(rn);
    rn_release(future);
}

RULE(a5_a_run_that_waits_for_a_worker_is_listed_and_one_that_ended_is_not) {
    rn_runtime *rn = OPEN();
    rn_future *ended = rn_run(rn, nothing, .name = "ended");
    assert_int_equal(rn_wait(ended, -1), RN_OK);
    assert_int_equal(rn_testing_settle(rn), RN_OK);
    assert_int_equal(rn_pending(rn, NULL, 0), 0);
    hold_every_worker(rn);
    rn_future *queued = rn_run(rn, nothing, .name = "queued");
    rn_run_info infos[128];
    int64_t count = rn_pending(rn, infos, COUNT_OF(infos));
    const rn_run_info *info = info_named(infos, count, "queued");
    assert_int_equal(info->state, RN_WAITING);
    assert_int_equal(info->iteration, 0);
    assert_int_equal(info->next_start_ns, 0);
    for (int64_t i = 0; i < count; i++) assert_string_not_equal(infos[i].name, "ended");
    free_every_worker();
    assert_int_equal(rn_wait(queued, -1), RN_OK);
    rn_release(ended);
    rn_release(queued);
    close_runtime(rn);
}

RULE(a5_the_count_is_whole_even_where_the_list_has_no_room) {
    rn_runtime *rn = OPEN_VIRTUAL();
    rn_future *futures[10];
    for (int i = 0; i < 10; i++) futures[i] = rn_run(rn, nothing, .start_in = RN_HOURS(1));
    rn_run_info infos[4];
    memset(infos, 0xee, sizeof infos);
    assert_int_equal(rn_pending(rn, NULL, 0), 10);
    assert_int_equal(rn_pending(rn, infos, 3), 10);
    assert_true(infos[0].id != infos[1].id && infos[1].id != infos[2].id && infos[0].id != infos[2].id);
    unsigned char untouched[sizeof infos[3]];
    memset(untouched, 0xee, sizeof untouched);
    assert_memory_equal(&infos[3], untouched, sizeof untouched);
    stop_runtime(rn);
    for (int i = 0; i < 10; i++) rn_release(futures[i]);
}

RULE(a5_the_list_of_a_closed_runtime_is_an_error) {
    rn_runtime *rn = OPEN();
    close_runtime(rn);
    rn_run_info info;
    assert_int_equal(rn_pending(rn, &info, 1), RN_CLOSED);
}

static rn_value fail_always(rn_call *call) { return rn_error(iteration_code(0, rn_iteration(call)), "as ever"); }

RULE(a5_the_statistics_count_every_failed_iteration_though_no_hook_sees_it) {
    rn_runtime *rn = OPEN();
    rn_stats stats = {.size = sizeof stats};
    for (int is_timed = 0; is_timed <= 1; is_timed++)
        rn_drop(end_of(rn_run(rn, fail_always, .times = 4, .every = is_timed ? RN_MICROSECONDS(10) : 0)));
    assert_int_equal(rn_get_stats(rn, &stats), RN_OK);
    assert_int_equal(stats.started, 8);
    assert_int_equal(stats.failed, 8);
    close_runtime(rn);
}

RULE(a5_the_statistics_count_pending_and_started_and_failed) {
    rn_runtime *rn = OPEN_VIRTUAL();
    for (int i = 0; i < 5; i++) {
        rn_task task = scripted_task(i);
        board->scripts[i].failing = i < 2;
        rn_drop(end_of(rn_submit(rn, &task)));
    }
    rn_future *later = rn_run(rn, nothing, .start_in = RN_HOURS(1));
    assert_int_equal(rn_testing_settle(rn), RN_OK);
    rn_stats stats = {.size = sizeof stats};
    assert_int_equal(rn_get_stats(rn, &stats), RN_OK);
    assert_int_equal(stats.workers_asked, test_workers());
    assert_in_range(stats.workers, 1, test_workers());
    assert_int_equal(stats.started, 5);
    assert_int_equal(stats.failed, 2);
    assert_int_equal(stats.pending, 1);
    stop_runtime(rn);
    rn_release(later);
    stats.size = sizeof stats;
    assert_int_equal(rn_get_stats(rn, &stats), RN_CLOSED);
}
