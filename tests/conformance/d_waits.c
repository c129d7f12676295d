/* Rule D6: waits inside tasks. */
#include "support.h"

#include <stdio.h>

RULE(d6_waits_nested_a_thousand_deep_end_with_one_worker) {
    rn_runtime *rn = OPEN(.workers = 1);
    assert_ends_with_int(rn_run(rn, nest, .arg = rn_int(1000)), 1000);
    close_runtime(rn);
}

RULE(d6_waits_nested_a_thousand_deep_end_with_any_number_of_workers_and_side_by_side) {
    rn_runtime *rn = OPEN();
    rn_future *futures[4];
    for (int i = 0; i < 4; i++) futures[i] = rn_run(rn, nest, .arg = rn_int(1000));
    for (int i = 0; i < 4; i++) assert_ends_with_int(futures[i], 1000);
    close_runtime(rn);
}

static rn_value sum_of_tree(rn_call *call) {
    int64_t depth = rn_as_int(rn_arg(call));
    if (depth == 0) return rn_int(1);
    rn_future *left = rn_run(rn_runtime_of(call), sum_of_tree, .arg = rn_int(depth - 1));
    rn_future *right = rn_run(rn_runtime_of(call), sum_of_tree, .arg = rn_int(depth - 1));
    int64_t sum = rn_as_int(rn_result(left)) + rn_as_int(rn_result(right));
    rn_release(left);
    rn_release(right);
    return rn_int(sum);
}

RULE(d6_a_tree_of_waits_ends_with_one_worker_and_with_many) {
    rn_runtime *one = OPEN(.workers = 1), *many = OPEN();
    rn_future *here = rn_run(one, sum_of_tree, .arg = rn_int(10)),
              *there = rn_run(many, sum_of_tree, .arg = rn_int(10));
    assert_ends_with_int(here, 1024);
    assert_ends_with_int(there, 1024);
    close_runtime(one);
    close_runtime(many);
}

/* Futures that tasks wait for. Written by the test before it opens gate 1, which the tasks pass before they read. */
static rn_future *targets[1024];

static rn_value wait_for_target(rn_call *call) {
    rn_value result = rn_result(targets[rn_as_int(rn_arg(call))]);
    return rn_keep(result);
}

/* Waits for the next in the ring as soon as the test has written all of them down. */
static rn_value wait_after_gate(rn_call *call) {
    gate_pass(1);
    return wait_for_target(call);
}

RULE(d6_a_task_that_waits_for_one_that_another_worker_runs_ends) {
    threads_only();
    rn_runtime *rn = OPEN(.workers = 1);
    rn_future *waiter = rn_run(rn, wait_after_gate, .arg = rn_int(0));
    targets[0] = rn_run(rn, give_back, .arg = rn_int(12));
    gate_open(1, 1);
    assert_ends_with_int(waiter, 12);
    rn_release(targets[0]);
    close_runtime(rn);
}

static rn_value wait_for_later(rn_call *call) {
    rn_future *later = rn_run(rn_runtime_of(call), give_back, .arg = rn_int(9), .start_in = RN_HOURS(1));
    rn_value result = rn_keep(rn_result(later));
    rn_release(later);
    return result;
}

RULE(d6_a_task_may_wait_for_a_run_that_waits_for_the_clock) {
    rn_runtime *rn = OPEN_VIRTUAL(.workers = 1);
    assert_ends_with_int(rn_run(rn, wait_for_later), 9);
    assert_true(rn_testing_now(rn) == RN_HOURS(1));
    close_runtime(rn);
}

static rn_value wait_for_ticks(rn_call *call) {
    rn_future *ticks = rn_run(rn_runtime_of(call), give_back, .arg = rn_int(8), .every = RN_HOURS(1), .times = 5);
    rn_value result = rn_keep(rn_result(ticks));
    rn_release(ticks);
    return result;
}

RULE(d6_a_task_may_wait_for_a_run_that_is_between_its_ticks) {
    rn_runtime *rn = OPEN_VIRTUAL(.workers = 1);
    rn_future *futures[5];
    for (int i = 0; i < 5; i++) futures[i] = rn_run(rn, wait_for_ticks);
    for (int i = 0; i < 5; i++) assert_ends_with_int(futures[i], 8);
    assert_true(rn_testing_now(rn) == RN_HOURS(4));
    close_runtime(rn);
}

/* More waiting tasks than there are workers and stand-ins together. */
static void assert_many_wait_for_one(rn_runtime *rn, int64_t start_in) {
    rn_future *waiters[100];
    targets[0] = rn_run(rn, give_back, .arg = rn_int(10), .start_in = start_in);
    for (int i = 0; i < 100; i++) waiters[i] = rn_run(rn, wait_for_target, .arg = rn_int(0));
    for (int i = 0; i < 100; i++) assert_ends_with_int(waiters[i], 10);
    rn_release(targets[0]);
}

RULE(d6_a_hundred_tasks_may_wait_for_one_that_waits_for_the_clock) {
    threads_only();
    rn_runtime *many = OPEN_VIRTUAL(), *one = OPEN_VIRTUAL(.workers = 1),
               *bare = OPEN_VIRTUAL(.workers = 1, .spare_workers = 1);
    assert_many_wait_for_one(many, RN_HOURS(1));
    assert_many_wait_for_one(one, RN_HOURS(1));
    assert_many_wait_for_one(bare, RN_HOURS(1));
    close_runtime(many);
    close_runtime(one);
    close_runtime(bare);
}

/* Waits for a run with ticks, which nobody can run here but a worker that takes it from a queue. */
static rn_value wait_for_a_ticking_run(rn_call *call) {
    rn_future *ticking = rn_run(rn_runtime_of(call), give_back, .arg = rn_int(16), .start_in = RN_MILLISECONDS(2),
                                .every = RN_MILLISECONDS(1), .times = 2);
    rn_value result = rn_keep(rn_result(ticking));
    rn_stop(ticking);
    rn_release(ticking);
    return result;
}

/* Each of the tasks has its result, or is told that no thread is left; none sleeps on, till something else is due. */
static void assert_waits_for_ticks_end(rn_runtime *rn) {
    rn_future *waiters[4], *later = rn_run(rn, nothing, .start_in = RN_DAYS(1), .every = RN_DAYS(1));
    for (int i = 0; i < 4; i++) waiters[i] = rn_run(rn, wait_for_a_ticking_run);
    for (int i = 0; i < 4; i++) {
        rn_value result = rn_result(waiters[i]);
        if (rn_is_error(result)) assert_error_code(result, RN_DEADLOCK);
        else assert_int_value(result, 16);
        rn_release(waiters[i]);
    }
    assert_int_equal(rn_state(later), RN_WAITING);
    assert_true(rn_cancel(later));
    rn_release(later);
}

RULE(d6_the_last_thread_does_not_sleep_on_when_what_it_waits_for_is_due) {
    threads_only();
    rn_runtime *real = OPEN(.workers = 1, .spare_workers = 1), *virtual = OPEN_VIRTUAL(.workers = 1, .spare_workers = 1);
    assert_waits_for_ticks_end(real);
    assert_waits_for_ticks_end(virtual);
    close_runtime(real);
    close_runtime(virtual);
}

RULE(d6_a_hundred_tasks_may_wait_for_one_that_is_ready) {
    threads_only();
    rn_runtime *many = OPEN(), *one = OPEN(.workers = 1, .spare_workers = 1);
    for (int i = 0; i < 20; i++) {
        assert_many_wait_for_one(many, 0);
        assert_many_wait_for_one(one, 0);
    }
    close_runtime(many);
    close_runtime(one);
}

RULE(d6_a_hundred_tasks_may_wait_for_one_that_is_behind_them) {
    threads_only();
    rn_runtime *rn = OPEN(.spare_workers = 1);
    rn_future *waiters[100];
    hold_every_worker(rn);
    for (int i = 0; i < 100; i++) waiters[i] = rn_run(rn, wait_for_target, .arg = rn_int(0));
    targets[0] = rn_run(rn, nest, .arg = rn_int(50));
    free_every_worker();
    for (int i = 0; i < 100; i++) assert_ends_with_int(waiters[i], 50);
    rn_release(targets[0]);
    close_runtime(rn);
}

/* Each of many waits for the one before it, and they start in the wrong order. */
RULE(d6_a_long_chain_of_waits_ends_whatever_the_order_of_its_starts) {
    threads_only();
    enum { LINKS = 500 };
    rn_runtime *rn = OPEN(.spare_workers = 2);
    rn_future *links[LINKS];
    hold_every_worker(rn);
    for (int i = LINKS - 1; i > 0; i--) links[i] = targets[i] = rn_run(rn, wait_for_target, .arg = rn_int(i - 1));
    links[0] = targets[0] = rn_run(rn, give_back, .arg = rn_int(99));
    free_every_worker();
    for (int i = 0; i < LINKS; i++) assert_int_value(rn_result(links[i]), 99);
    for (int i = 0; i < LINKS; i++) rn_release(links[i]);
    close_runtime(rn);
}

/* Runs so many tasks, each waiting for the next, the last for the first, and asserts that the wait that closes the
 * ring is told so with every name of it, and that all of them end. */
static void assert_ring_is_told(rn_runtime *rn, rn_task_fn *function, int length) {
    rn_future *ring[16];
    char names[16][16];
    for (int i = 0; i < length; i++) {
        snprintf(names[i], sizeof names[i], "ring-%c", 'a' + i);
        ring[i] = targets[i] = rn_run(rn, function, .arg = rn_int((i + 1) % length), .name = names[i]);
    }
    gate_open(1, (unsigned)length);
    for (int i = 0; i < length; i++) {
        rn_value result = rn_result(ring[i]);
        assert_error_code(result, RN_DEADLOCK);
        for (int n = 0; n < length; n++) assert_contains(rn_error_message(result), names[n]);
    }
    for (int i = 0; i < length; i++) rn_release(ring[i]);
    gate_await(1, (unsigned)length);
}

RULE(d6_a_true_cycle_is_an_error_that_shows_the_chain) {
    threads_only();
    rn_runtime *many = OPEN(), *one = OPEN(.workers = 1);
    static const int lengths[] = {2, 3, 10};
    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        assert_ring_is_told(many, wait_after_gate, lengths[i]);
        assert_ring_is_told(one, wait_after_gate, lengths[i]);
    }
    assert_int_equal(rn_testing_settle(many), RN_OK);
    close_runtime(many);
    close_runtime(one);
}

/* Has begun for certain when it waits: all of the ring sleep on the clock before. */
static rn_value wait_after_an_hour(rn_call *call) {
    gate_pass(1);
    last_for(call, RN_HOURS(1));
    return wait_for_target(call);
}

RULE(d6_a_true_cycle_of_tasks_that_have_all_begun_is_told_too) {
    threads_only();
    rn_runtime *many = OPEN_VIRTUAL(), *one = OPEN_VIRTUAL(.workers = 1);
    static const int lengths[] = {2, 3, 10};
    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        assert_ring_is_told(many, wait_after_an_hour, lengths[i]);
        assert_ring_is_told(one, wait_after_an_hour, lengths[i]);
    }
    close_runtime(many);
    close_runtime(one);
}

RULE(d6_a_wait_on_a_cycle_from_outside_it_ends_with_the_error_too) {
    threads_only();
    rn_runtime *rn = OPEN();
    rn_future *outside[4];
    targets[0] = rn_run(rn, wait_after_gate, .arg = rn_int(1), .name = "ring-a");
    targets[1] = rn_run(rn, wait_after_gate, .arg = rn_int(0), .name = "ring-b");
    gate_open(1, 2);
    for (int i = 0; i < 4; i++) outside[i] = rn_run(rn, wait_for_target, .arg = rn_int(i % 2));
    for (int i = 0; i < 4; i++) assert_ends_with_error(outside[i], RN_DEADLOCK);
    rn_release(targets[0]);
    rn_release(targets[1]);
    close_runtime(rn);
}

/* The only worker of one runtime waits for a run in another, which waits for one behind it in the first. */
RULE(d6_waits_that_go_through_another_runtime_and_back_end) {
    threads_only();
    rn_runtime *here = OPEN(.workers = 1), *there = OPEN(.workers = 1);
    rn_future *waiter = rn_run(here, wait_after_gate, .arg = rn_int(1));
    gate_await(1, 1);
    targets[0] = rn_run(here, give_back, .arg = rn_int(14));
    targets[1] = rn_run(there, wait_for_target, .arg = rn_int(0));
    gate_open(1, 1);
    assert_ends_with_int(waiter, 14);
    rn_release(targets[0]);
    rn_release(targets[1]);
    close_runtime(here);
    close_runtime(there);
}

RULE(d6_a_task_that_waits_does_not_keep_others_from_starting) {
    threads_only();
    rn_runtime *rn = OPEN(.workers = 1);
    targets[0] = rn_run(rn, nothing, .start_in = RN_DAYS(1));
    rn_future *waiter = rn_run(rn, wait_after_gate, .arg = rn_int(0));
    gate_open(1, 1);
    assert_ends_with_int(rn_run(rn, give_back, .arg = rn_int(15)), 15);
    assert_false(rn_done(waiter));
    assert_true(rn_cancel(targets[0]));
    assert_ends_with_error(waiter, RN_CANCELLED);
    rn_release(targets[0]);
    close_runtime(rn);
}

/* Waits with a limit, for a run that no clock brings to its end before. */
static rn_value wait_a_minute(rn_call *call) {
    rn_future *later = rn_run(rn_runtime_of(call), nothing, .start_in = RN_HOURS(1));
    int code = rn_wait(later, RN_MINUTES(1));
    rn_cancel(later);
    rn_release(later);
    return rn_int(code);
}

RULE(d6_a_wait_inside_a_task_can_time_out) {
    rn_runtime *rn = OPEN_VIRTUAL(.workers = 1);
    assert_ends_with_int(rn_run(rn, wait_a_minute), RN_TIMED_OUT);
    assert_true(rn_testing_now(rn) == RN_MINUTES(1));
    close_runtime(rn);
}

static rn_value last_an_hour(rn_call *call) {
    last_for(call, RN_HOURS(1));
    return rn_int(1);
}

/* Waits for a run that nobody has begun, and that lasts longer than the wait may. */
static rn_value wait_a_minute_for_an_hour(rn_call *call) {
    rn_future *lasting = rn_run(rn_runtime_of(call), last_an_hour);
    int code = rn_wait(lasting, RN_MINUTES(1));
    set_cell(1, rn_testing_now(rn_runtime_of(call)));
    rn_release(lasting);
    return rn_int(code);
}

RULE(d6_a_wait_that_can_time_out_does_so_though_nobody_has_begun_the_run) {
    rn_runtime *rn = OPEN_VIRTUAL(.workers = 1);
    assert_ends_with_int(rn_run(rn, wait_a_minute_for_an_hour), RN_TIMED_OUT);
    assert_true(cell(1) == RN_MINUTES(1));
    close_runtime(rn);
}

static rn_value pass_gate_one(rn_call *call) {
    (void)call;
    gate_pass(1);
    return rn_none();
}

static rn_value wait_for_second_target(rn_call *call, rn_value success, rn_value error) {
    (void)call, (void)success, (void)error;
    return rn_keep(rn_result(targets[1]));
}

static rn_value wait_for_first_target(rn_call *call) {
    (void)call;
    gate_pass(2);
    return rn_keep(rn_result(targets[0]));
}

/* One of the two is told, whichever waits later, and both end. */
RULE(d6_a_cycle_through_the_final_hook_of_a_stopped_run_is_told) {
    threads_only();
    rn_runtime *rn = OPEN(.workers = 2);
    targets[0] =
        rn_run(rn, pass_gate_one, .every = RN_HOURS(1), .on_finished = wait_for_second_target, .name = "stopped");
    targets[1] = rn_run(rn, wait_for_first_target, .name = "other");
    gate_await(1, 1);
    gate_await(2, 1);
    assert_true(rn_stop(targets[0]));
    gate_open(2, 1);
    gate_open(1, 1);
    close_runtime(rn);
    assert_error_code(rn_result(targets[0]), RN_DEADLOCK);
    assert_error_code(rn_result(targets[1]), RN_DEADLOCK);
    rn_release(targets[0]);
    rn_release(targets[1]);
}

/* Waits for a run that it starts: with one worker that is behind everything that was started before. */
static rn_value ask_for_another(rn_call *call) {
    int64_t number = rn_as_int(rn_arg(call));
    if (number % 10 != 4) return rn_int(number);
    return end_of(rn_run(rn_runtime_of(call), give_back, .arg = rn_int(number)));
}

RULE(d6_a_task_among_many_short_ones_may_wait_for_another) {
    enum { MANY = 500 };
    static rn_future *futures[MANY];
    rn_runtime *rn = OPEN(.workers = 1);
    for (int i = 0; i < 3 * MANY; i++) {
        if (i >= MANY) assert_ends_with_int(futures[i % MANY], i - MANY);
        futures[i % MANY] = rn_run(rn, ask_for_another, .arg = rn_int(i));
    }
    for (int i = 0; i < MANY; i++) assert_ends_with_int(futures[i], i + 2 * MANY);
    close_runtime(rn);
}
