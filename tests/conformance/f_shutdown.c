/* Rules F3 and F4: closing, exit, and fork. */
#include "support.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ------------------------------------------------------------------------------------------------
 * F3
 */
RULE(f3_closing_drains_by_default) {
    rn_runtime *rn = OPEN_VIRTUAL();
    rn_future *futures[300];
    for (int i = 0; i < 300; i++) {
        rn_task task = scripted_task(i);
        task.start_in = i % 3 ? RN_HOURS(i) : 0;
        task.every = i % 2 ? RN_HOURS(1) : 0;
        task.times = 2;
        futures[i] = rn_submit(rn, &task);
    }
    close_runtime(rn);
    for (int i = 0; i < 300; i++) {
        assert_true(rn_done(futures[i]));
        assert_ends_with_int(futures[i], iteration_value(i, 2));
        assert_story(i, "f1 i1 f2 i2 s2 z2");
    }
}

RULE(f3_draining_ends_endless_runs_after_their_current_iteration) {
    rn_runtime *rn = OPEN_VIRTUAL();
    rn_task task = scripted_task(1);
    task.every = RN_HOURS(1);
    rn_future *future = rn_submit(rn, &task);
    assert_int_equal(rn_testing_settle(rn), RN_OK);
    assert_int_equal(rn_testing_advance(rn, RN_MINUTES(90)), RN_OK);
    close_runtime(rn);
    assert_ends_with_int(future, iteration_value(1, 2));
    assert_story(1, "f1 i1 f2 i2 s2 z2");
}

/* Starts another of itself, down to zero, and counts in cell 2 those that were refused. */
static rn_value start_chain(rn_call *call) {
    int64_t left = rn_as_int(rn_arg(call));
    add_to_cell(1, 1);
    if (left > 0)
        add_to_cell(2, rn_run_detached(rn_runtime_of(call), start_chain, .arg = rn_int(left - 1)) == RN_CLOSED);
    return rn_none();
}

RULE(f3_what_a_draining_task_starts_belongs_to_its_end_and_is_drained_too) {
    rn_runtime *rn = OPEN_VIRTUAL();
    assert_int_equal(rn_run_detached(rn, start_chain, .arg = rn_int(5), .start_in = RN_HOURS(1)), RN_OK);
    close_runtime(rn);
    assert_int_equal(cell(1), 6);
    assert_int_equal(cell(2), 0);
}

/* Goes on when the runtime is being stopped, and then tries to start a run. */
static rn_value start_when_stopped(rn_call *call) {
    gate_pass(1);
    while (!rn_stopping(call)) sched_yield();
    return rn_int(rn_run_detached(rn_runtime_of(call), nothing));
}

RULE(f3_what_a_task_starts_while_the_runtime_stops_is_refused) {
    rn_runtime *rn = OPEN();
    rn_future *future = rn_run(rn, start_when_stopped);
    gate_await(1, 1);
    gate_open(1, 1);
    stop_runtime(rn);
    assert_ends_with_int(future, RN_CLOSED);
}

static rn_value wait_a_day(rn_call *call) {
    rn_future *later = rn_run(rn_runtime_of(call), nothing, .start_in = RN_DAYS(1));
    int code = rn_error_code(rn_result(later));
    rn_release(later);
    return rn_int(rn_stopping(call) ? code : 1);
}

RULE(f3_closing_by_stopping_cancels_what_has_not_begun_and_stops_the_rest) {
    rn_runtime *rn = OPEN_VIRTUAL();
    rn_future *running = rn_run(rn, wait_a_day, .times = 5);
    rn_future *delayed = rn_run(rn, nothing, .start_in = RN_HOURS(1));
    rn_future *ticking = rn_run(rn, give_back, .arg = rn_int(3), .every = RN_HOURS(1));
    assert_int_equal(rn_testing_settle(rn), RN_OK);
    stop_runtime(rn);
    assert_ends_with_int(running, RN_CANCELLED);
    assert_ends_with_error(delayed, RN_CANCELLED);
    assert_ends_with_int(ticking, 3);
}

/* Keeps its worker busy until the runtime asks it to stop. */
static rn_value run_until_told(rn_call *call) {
    gate_pass(1);
    while (!rn_stopping(call)) sched_yield();
    return rn_none();
}

RULE(f3_closing_by_stopping_cancels_what_waits_for_a_worker) {
    rn_runtime *rn = OPEN();
    unsigned workers = test_workers();
    rn_future *queued[200], *busy[64];
    for (unsigned i = 0; i < workers; i++) busy[i] = rn_run(rn, run_until_told);
    gate_await(1, workers);
    for (int i = 0; i < 200; i++) {
        rn_task task = scripted_task(i);
        queued[i] = rn_submit(rn, &task);
    }
    gate_open(1, workers);
    stop_runtime(rn);
    for (int i = 0; i < 200; i++) {
        assert_ends_with_error(queued[i], RN_CANCELLED);
        assert_story(i, "");
    }
    for (unsigned i = 0; i < workers; i++) rn_release(busy[i]);
}

/* Starts a run that its only worker cannot begin meanwhile, and waits for it when the runtime is being stopped. */
static rn_value wait_when_stopped(rn_call *call) {
    rn_future *unbegun = rn_run(rn_runtime_of(call), note_event, .arg = rn_int(7));
    gate_pass(1);
    while (!rn_stopping(call)) sched_yield();
    rn_value result = rn_keep(rn_result(unbegun));
    rn_release(unbegun);
    return result;
}

RULE(f3_closing_by_stopping_begins_no_run_that_a_task_waits_for) {
    rn_runtime *rn = OPEN(.workers = 1);
    rn_future *future = rn_run(rn, wait_when_stopped);
    gate_await(1, 1);
    gate_open(1, 1);
    stop_runtime(rn);
    assert_ends_with_error(future, RN_CANCELLED);
    assert_story(7, "");
}

static rn_value start_endless(rn_call *call) {
    rn_task task = scripted_task(2);
    task.start_in = RN_DAYS(1);
    task.every = RN_DAYS(1);
    return rn_int(rn_submit_detached(rn_runtime_of(call), &task));
}

RULE(f3_draining_does_not_wait_for_endless_runs_that_have_not_begun) {
    rn_runtime *rn = OPEN_VIRTUAL();
    rn_task task = scripted_task(1);
    task.start_in = RN_DAYS(1);
    task.every = RN_HOURS(1);
    rn_future *before = rn_submit(rn, &task);
    rn_future *during = rn_run(rn, start_endless, .start_in = RN_HOURS(1));
    close_runtime(rn);
    assert_ends_with_error(before, RN_CANCELLED);
    assert_int_equal(rn_wait(during, 0), RN_OK);
    rn_release(during);
    assert_story(1, "");
    assert_story(2, "");
}

RULE(f3_a_deadline_ends_the_wait_and_the_runtime_can_be_closed_again) {
    rn_runtime *rn = OPEN();
    rn_future *future = rn_run(rn, hold, .arg = rn_int(1), .name = "holder");
    gate_await(1, 1);
    assert_int_equal(rn_close(rn, .within = RN_MILLISECONDS(1)), RN_TIMED_OUT);
    assert_true(book_find(NULL, "holder", NULL));
    assert_ends_with_error(rn_run(rn, nothing), RN_CLOSED);
    assert_int_equal(rn_close(rn, .how = RN_STOP, .within = 1), RN_TIMED_OUT);
    assert_false(rn_done(future));
    gate_open(1, 1);
    stop_runtime(rn);
    assert_true(rn_done(future));
    rn_release(future);
}

/* The log callback opens the gate as soon as a record names the run that stands there: a close that does not say
 * what it waits for never ends. */
static void open_gate_when_named(void *context, const rn_log_record *log_record) {
    (void)context;
    bool named = strstr(log_record->message, "the last one") || strcmp(log_record->task, "the last one") == 0;
    if (named && add_to_cell(1, 1) == 0) gate_open(1, 1);
}

RULE(f3_closing_says_which_runs_it_waits_for) {
    rn_runtime *rn = OPEN(.log = open_gate_when_named);
    rn_future *future = rn_run(rn, hold, .arg = rn_int(1), .name = "the last one");
    gate_await(1, 1);
    close_runtime(rn);
    assert_true(cell(1) >= 1);
    rn_release(future);
}

static rn_value count_call(rn_call *call) {
    (void)call;
    add_to_cell(1, 1);
    return rn_none();
}

static rn_value count_hook(rn_call *call, rn_value success, rn_value error) {
    (void)success, (void)error;
    return count_call(call);
}

static void count_done(rn_future *future, void *context) {
    (void)future, (void)context;
    add_to_cell(2, 1);
}

/* The second runtime gives whatever is left of the first the time to show. */
RULE(f3_nothing_runs_after_close_returns) {
    for (int round = 1; round <= 20; round++) {
        rn_runtime *rn = OPEN();
        for (int i = 0; i < 20; i++) {
            rn_future *future = rn_run(rn, count_call, .every = RN_MICROSECONDS(10), .on_finished = count_hook);
            assert_int_equal(rn_add_done_callback(future, count_done, NULL), RN_OK);
            rn_release(future);
        }
        if (round % 2) stop_runtime(rn);
        else close_runtime(rn);
        int64_t calls = cell(1);
        assert_int_equal(cell(2), 20 * round);
        rn_runtime *other = OPEN();
        for (int i = 0; i < 100; i++) rn_drop(end_of(rn_run(other, nothing)));
        close_runtime(other);
        assert_int_equal(cell(1), calls);
        assert_int_equal(cell(2), 20 * round);
    }
}

static rn_value close_from_within(rn_call *call) {
    rn_runtime *rn = rn_runtime_of(call);
    set_cell(1, rn_close(rn));
    set_cell(2, rn_close(rn, .how = RN_STOP, .within = 1));
    return rn_int(1);
}

static rn_value close_from_hook(rn_call *call, rn_value success, rn_value error) {
    (void)success, (void)error;
    set_cell(3, rn_close(rn_runtime_of(call)));
    return rn_none();
}

RULE(f3_closing_from_a_task_or_hook_is_a_deadlock_and_changes_nothing) {
    rn_runtime *rn = OPEN();
    assert_ends_with_int(rn_run(rn, close_from_within, .on_finished = close_from_hook), 1);
    for (int i = 1; i <= 3; i++) assert_int_equal(cell(i), RN_DEADLOCK);
    assert_ends_with_int(rn_run(rn, give_back, .arg = rn_int(2)), 2);
    close_runtime(rn);
}

static void close_in_callback(rn_future *future, void *context) {
    (void)future;
    add_to_cell(1, rn_close((rn_runtime *)context, .within = RN_SECONDS(1)) == RN_DEADLOCK);
}

RULE(f3_closing_from_a_done_callback_is_a_deadlock_and_changes_nothing) {
    rn_runtime *rn = OPEN();
    hold_every_worker(rn);
    rn_future *cancelled = rn_run(rn, nothing), *ended = rn_run(rn, nothing);
    assert_int_equal(rn_add_done_callback(cancelled, close_in_callback, rn), RN_OK);
    assert_int_equal(rn_add_done_callback(ended, close_in_callback, rn), RN_OK);
    assert_true(rn_cancel(cancelled));
    assert_int_equal(cell(1), 1);
    free_every_worker();
    close_runtime(rn);
    assert_int_equal(cell(1), 2);
    rn_release(cancelled);
    rn_release(ended);
}

RULE(f3_closing_twice_is_told) {
    rn_runtime *rn = OPEN();
    close_runtime(rn);
    assert_int_equal(rn_close(rn), RN_CLOSED);
    assert_int_equal(rn_close(rn, .how = RN_STOP), RN_CLOSED);
    assert_int_equal(rn_testing_settle(rn), RN_CLOSED);
    assert_int_equal(rn_testing_advance(rn, 1), RN_CLOSED);
    assert_int_equal(rn_run_detached(rn, nothing), RN_CLOSED);
}

/* The record that says what close waits for comes while it waits: it lets the test pass gate 2. */
static void tell_when_named(void *context, const rn_log_record *log_record) {
    (void)context;
    bool named = strstr(log_record->message, "the last one") || strcmp(log_record->task, "the last one") == 0;
    if (named && add_to_cell(1, 1) == 0) sem_post(&board->gates[2].entered);
}

static void *close_in_thread(void *runtime) { return rn_close((rn_runtime *)runtime) == RN_OK ? runtime : NULL; }

RULE(f3_closing_while_another_thread_closes_is_told) {
    rn_runtime *rn = OPEN(.log = tell_when_named);
    rn_future *future = rn_run(rn, hold, .arg = rn_int(1), .name = "the last one");
    gate_await(1, 1);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, close_in_thread, rn), 0);
    gate_await(2, 1);
    assert_int_equal(rn_close(rn, .within = 1), RN_CLOSED);
    gate_open(1, 1);
    void *closed;
    pthread_join(thread, &closed);
    assert_ptr_equal(closed, rn);
    forget_runtime(rn);
    rn_release(future);
}

RULE(f3_a_runtime_without_runs_closes) {
    for (int i = 0; i < 50; i++) {
        rn_runtime *rn = OPEN();
        if (i % 2) close_runtime(rn);
        else stop_runtime(rn);
    }
}

RULE(f3_close_options_of_an_unknown_size_are_refused_and_change_nothing) {
    struct {
        rn_close_options options;
        unsigned char tail[32];
    } newer = {.options = {.size = 0}};
    rn_runtime *rn = OPEN();
    static const size_t bad[] = {0, 1, sizeof(size_t), SIZE_MAX};
    newer.options.runtime = rn;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        newer.options.size = bad[i];
        assert_int_equal(rn_close_with(&newer.options), RN_INVALID);
    }
    newer.options.size = sizeof newer;
    newer.tail[31] = 1;
    assert_int_equal(rn_close_with(&newer.options), RN_INVALID);
    assert_ends_with_int(rn_run(rn, give_back, .arg = rn_int(1)), 1);
    newer.tail[31] = 0;
    forget_runtime(rn);
    assert_int_equal(rn_close_with(&newer.options), RN_OK);
}

/* Programs that end without closing. */
static void exit_idle(void) {
    static rn_runtime *rn;
    rn = OPEN();
    rn_wait(rn_run(rn, nothing), -1);
}

static void exit_with_everything_pending(void) {
    static rn_runtime *rn;
    rn = OPEN();
    rn_run_detached(rn, hold, .arg = rn_int(1));
    gate_await(1, 1);
    for (int i = 0; i < 1000; i++) {
        rn_run_detached(rn, nothing, .start_in = RN_MICROSECONDS(i));
        rn_run_detached(rn, nothing, .every = RN_MICROSECONDS(10));
        rn_run_detached(rn, nothing);
    }
}

static rn_value exit_seven(rn_call *call) {
    (void)call;
    exit(7);
}

static void exit_in_a_task(void) {
    static rn_runtime *rn;
    rn = OPEN();
    rn_wait(rn_run(rn, exit_seven), -1);
}

/* That nothing is left behind shows in the end of the child's stderr, which would otherwise be held open. */
RULE(f3_a_program_that_exits_without_closing_neither_hangs_nor_crashes) {
    for (int i = 0; i < 5; i++) {
        assert_child_exits(exit_idle, 0);
        assert_child_exits(exit_with_everything_pending, 0);
    }
}

RULE(f3_a_task_may_exit_the_program) {
    threads_only();
    assert_child_exits(exit_in_a_task, 7);
}

/* ------------------------------------------------------------------------------------------------
 * F4
 */
static rn_runtime *parents;
static rn_future *parents_done, *parents_running, *parents_later;

static void use_handles_in_child(void) {
    rn_future *futures[] = {parents_done, parents_running, parents_later};
    for (size_t i = 0; i < COUNT_OF(futures); i++) {
        rn_value result = rn_result(futures[i]);
        CHILD_CHECK(rn_is_error(result) && rn_error_code(result) == RN_FORKED);
        CHILD_CHECK(strlen(rn_error_message(result)) > 0);
        CHILD_CHECK(rn_error_code(rn_result_within(futures[i], RN_HOURS(1))) == RN_FORKED);
        CHILD_CHECK(rn_wait(futures[i], -1) == RN_FORKED);
        CHILD_CHECK(!rn_cancel(futures[i]));
        CHILD_CHECK(!rn_stop(futures[i]));
        CHILD_CHECK(rn_add_done_callback(futures[i], count_done, NULL) == RN_FORKED);
        rn_state(futures[i]);
        rn_progress(futures[i]);
        rn_release(futures[i]);
    }
    rn_future *refused = rn_run(parents, nothing);
    CHILD_CHECK(rn_error_code(rn_result(refused)) == RN_FORKED);
    rn_release(refused);
    rn_run_info info;
    rn_stats stats = {.size = sizeof stats};
    CHILD_CHECK(rn_run_detached(parents, nothing) == RN_FORKED);
    CHILD_CHECK(rn_pending(parents, &info, 1) == RN_FORKED);
    CHILD_CHECK(rn_get_stats(parents, &stats) == RN_FORKED);
    CHILD_CHECK(rn_close(parents) == RN_FORKED);
}

static void open_runtime_in_child(void) {
    if (!FORKED_CHILD_MAY_START_THREADS) return;
    rn_runtime *rn = rn_open(.workers = 2, .log = rn_log_nothing);
    CHILD_CHECK(rn_is_none(rn_open_error(rn)));
    rn_future *future = rn_run(rn, nest, .arg = rn_int(20));
    CHILD_CHECK(rn_as_int(rn_result(future)) == 20);
    rn_release(future);
    CHILD_CHECK(rn_close(rn) == RN_OK);
}

static void use_handles_and_open(void) {
    use_handles_in_child();
    open_runtime_in_child();
}

static void exit_at_once(void) {}

static rn_value pass_gate(rn_call *call) {
    gate_pass(1);
    return rn_keep(rn_arg(call));
}

static void open_parents(void) {
    parents = OPEN();
    parents_done = rn_run(parents, give_back, .arg = rn_int(1));
    rn_wait(parents_done, -1);
    parents_running = rn_run(parents, pass_gate, .arg = rn_int(1));
    parents_later = rn_run(parents, give_back, .arg = rn_int(3), .start_in = RN_MILLISECONDS(20));
    gate_await(1, 1);
}

static void assert_parents_unchanged(void) {
    gate_open(1, 1);
    assert_ends_with_int(parents_done, 1);
    assert_ends_with_int(parents_running, 1);
    assert_ends_with_int(parents_later, 3);
    close_runtime(parents);
    assert_int_equal(cell(2), 0);
}

RULE(f4_in_the_child_every_handle_of_the_parent_says_so_and_a_new_runtime_opens) {
    threads_only();
    if (!FORKED_CHILD_MAY_ALLOCATE) skip();
    open_parents();
    assert_child_exits(use_handles_and_open, 0);
    assert_parents_unchanged();
}

RULE(f4_a_child_that_just_exits_leaves_the_parent_untouched) {
    threads_only();
    if (!FORKED_CHILD_MAY_ALLOCATE) skip(); /* exit() looks for leaks */
    open_parents();
    for (int i = 0; i < 10; i++) assert_child_exits(exit_at_once, 0);
    assert_parents_unchanged();
}

static rn_value start_and_wait(rn_call *call) {
    rn_drop(end_of(rn_run(rn_runtime_of(call), give_back, .arg = rn_text("a text for the allocator"))));
    return rn_none();
}

RULE(f4_fork_at_any_moment_of_a_busy_runtime_leaves_a_usable_child) {
    threads_only();
    if (!FORKED_CHILD_MAY_ALLOCATE) skip();
    rn_runtime *rn = OPEN();
    for (int i = 0; i < 5; i++)
        assert_int_equal(rn_run_detached(rn, start_and_wait, .every = RN_MICROSECONDS(10)), RN_OK);
    for (int i = 0; i < 20; i++) assert_child_exits(open_runtime_in_child, 0);
    stop_runtime(rn);
}

/* Forks in a task; the child uses a runtime of its own, and tells by its exit code. */
static rn_value fork_in_task(rn_call *call) {
    (void)call;
    pid_t pid = fork();
    if (pid == 0) {
        alarm(60);
        open_runtime_in_child();
        _exit(0);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    return rn_int(status);
}

RULE(f4_a_task_may_fork) {
    threads_only();
    if (!FORKED_CHILD_MAY_ALLOCATE) skip(); /* other workers may be about to start */
    rn_runtime *rn = OPEN();
    assert_ends_with_int(rn_run(rn, fork_in_task), 0);
    assert_ends_with_int(rn_run(rn, give_back, .arg = rn_int(2)), 2);
    close_runtime(rn);
}
