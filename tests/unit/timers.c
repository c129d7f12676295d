/*
 * The timing wheel against a naive model: every timer in a flat array, with the tick at which it must come.
 */
#include <stdlib.h>
#include <string.h>

#include "core/timers.h"
#include "support.h"

#define TICK (INT64_C(1) << RNI_TICK_SHIFT)
#define TIMERS 400

/* What the model knows of a timer: its tick while it is in the wheel, else 0; and which were cancelled, oldest first. */
struct model {
    rni_timers timers;
    rni_timer all[TIMERS];
    uint64_t ticks[TIMERS];
    int leaving[RNI_LEAVING];
    size_t number_leaving;
    int64_t now;
};

static struct model model;

static uint64_t tick_of(int64_t due) { return ((uint64_t)due + (uint64_t)TICK - 1) / (uint64_t)TICK; }

static void reset(int64_t now) {
    memset(&model, 0, sizeof model);
    model.now = now;
    rni_timers_init(&model.timers, now);
}

static bool add(int index, int64_t due) {
    uint64_t next = (uint64_t)model.now / (uint64_t)TICK + 1;
    model.all[index].due = due;
    model.ticks[index] = due <= 0 || tick_of(due) < next ? next : tick_of(due);
    return rni_timers_add(&model.timers, &model.all[index]);
}

static uint64_t first_tick(void) {
    uint64_t first = UINT64_MAX;
    for (int i = 0; i < TIMERS; i++)
        if (model.ticks[i] != 0 && model.ticks[i] < first) first = model.ticks[i];
    return first;
}

static size_t count(void) {
    size_t number = 0;
    for (int i = 0; i < TIMERS; i++) number += model.ticks[i] != 0;
    return number;
}

static int64_t first_due(void) { return (int64_t)rni_load_relaxed(&model.timers.first_due); }

/* Nobody who sleeps until first_due sleeps too long, or would not sleep at all. */
static void check_first_due(void) {
    uint64_t first = first_tick();
    assert_int_equal(model.timers.count, count());
    if (first == UINT64_MAX) return;
    assert_true((uint64_t)first_due() <= first * (uint64_t)TICK);
    assert_true(first_due() > model.now);
}

static void note_left(const rni_timer *left) {
    for (size_t i = 0; i < model.number_leaving; i++) {
        if (left != &model.all[model.leaving[i]]) continue;
        model.ticks[model.leaving[i]] = 0;
        model.leaving[i] = model.leaving[--model.number_leaving];
        assert_null(left->link);
        return;
    }
    fail_msg("a timer left that was not leaving");
}

/* Those that are leaving have left, all of them. */
static void flush(void) {
    for (rni_timer *next, *left = rni_timers_flush(&model.timers); left; left = next) {
        next = left->next;
        note_left(left);
    }
    assert_int_equal(model.number_leaving, 0);
}

static bool is_leaving(int index) {
    for (size_t i = 0; i < model.number_leaving; i++)
        if (model.leaving[i] == index) return true;
    return false;
}

/* One that is cancelled: it stays, and so does what it says, until another has to leave for it. */
static void leave(int index) {
    bool is_full = model.number_leaving == RNI_LEAVING;
    rni_timer *left = rni_timers_leave(&model.timers, &model.all[index]);
    assert_int_equal(left != NULL, is_full && model.ticks[index] != 0);
    if (left) note_left(left);
    if (model.ticks[index] != 0) model.leaving[model.number_leaving++] = index;
}

/* Advances, and compares all that came with the model: the set, the order, and the bounds of lateness. */
static size_t advance(int64_t now) {
    size_t came = 0;
    uint64_t former = 0;
    model.now = now;
    flush();
    for (rni_timer *next, *timer = rni_timers_advance(&model.timers, now); timer; timer = next, came++) {
        next = timer->next;
        size_t index = (size_t)(timer - model.all);
        assert_true(timer->due <= now);
        assert_true(model.ticks[index] != 0 && model.ticks[index] <= (uint64_t)(now / TICK));
        assert_true(model.ticks[index] >= former);
        assert_null(timer->link);
        former = model.ticks[index];
        model.ticks[index] = 0;
    }
    if (first_tick() != UINT64_MAX) assert_true(first_tick() > (uint64_t)(now / TICK));
    check_first_due();
    if (count() == 0) assert_int_equal(first_due(), RNI_NEVER);
    return came;
}

static void remove_timer(int index) {
    flush();
    assert_int_equal(rni_timers_remove(&model.timers, &model.all[index]), model.ticks[index] != 0);
    model.ticks[index] = 0;
    check_first_due();
}

/* A distance of any order of magnitude, from nothing to beyond the longest duration. */
static int64_t some_distance(uint64_t *random) {
    uint64_t bits = random_below(random, 62);
    return (int64_t)(next_random(random) & ((UINT64_C(1) << bits) - 1));
}

static void step(uint64_t *random, int64_t end) {
    int index = (int)random_below(random, TIMERS);
    uint64_t choice = random_below(random, 10);
    if (choice < 5) {
        if (model.ticks[index]) remove_timer(index);
        int64_t due = model.now + some_distance(random) / 2;
        if (random_below(random, 16) == 0) due = (int64_t)random_below(random, (uint64_t)model.now + 1);
        add(index, due < end ? due : end);
    } else if (choice == 5) {
        remove_timer(index);
    } else if (choice == 6) {
        if (!is_leaving(index)) leave(index);
    } else if (choice == 7) {
        advance(model.now + (int64_t)random_below(random, 64 * 64 * (uint64_t)TICK));
    } else if (first_due() != RNI_NEVER && choice == 8) {
        advance(first_due() > model.now ? first_due() : model.now);
    } else {
        advance(model.now + some_distance(random) / 4096);
    }
    check_first_due();
}

TEST(timers_come_as_in_a_sorted_list) {
    uint64_t random = random_seed();
    int64_t end = INT64_MAX - RN_DAYS(1);
    for (int round = 0; round < 30; round++) {
        reset(some_distance(&random) / 4);
        for (int i = 0; i < 2000; i++) step(&random, end);
        advance(end);
        assert_int_equal(count(), 0);
    }
}

/* Every distance at which a timer changes its level, from every place at which a slot wraps. */
TEST(a_timer_is_on_time_from_every_level_and_at_every_wrap) {
    for (unsigned at = 0; at < 8; at++)
        for (unsigned level = 0; level < RNI_LEVELS - 1; level++)
            for (int shift = -2; shift <= 2; shift++)
                for (int from = -2; from <= 2; from++) {
                    int64_t now = ((INT64_C(1) << (6 * at)) + 2 + from) * TICK;
                    int64_t due = now + ((INT64_C(1) << (6 * level)) + 2 + shift) * TICK - 1;
                    reset(now);
                    assert_true(add(0, due));
                    assert_int_equal(advance(due - 1 - (due - 1) % TICK), 0);
                    assert_int_equal(advance(due + TICK - 1), 1);
                }
}

TEST(a_timer_is_never_early_and_at_most_a_tick_late) {
    for (int64_t offset = 0; offset <= 2 * TICK; offset++) {
        reset(RN_HOURS(3));
        int64_t due = RN_HOURS(3) + 5 * TICK + offset;
        add(0, due);
        assert_int_equal(advance(due - 1), 0);
        assert_int_equal(advance(due + TICK - 1), 1);
    }
}

TEST(what_is_due_already_comes_with_the_next_tick) {
    reset(RN_HOURS(1));
    assert_true(add(0, 0));
    assert_false(add(1, RN_HOURS(1)));
    assert_int_equal(advance(model.now), 0);
    assert_int_equal(advance(model.now + TICK), 2);
}

TEST(a_time_before_the_start_is_the_start) {
    reset(0);
    add(0, -5);
    assert_int_equal(model.timers.now_tick, 0);
    assert_null(rni_timers_advance(&model.timers, -1));
    assert_int_equal(advance(TICK), 1);
}

TEST(adding_says_whether_the_first_due_moved_forward) {
    reset(0);
    assert_true(add(0, 1000 * TICK));
    assert_false(add(1, 2000 * TICK));
    assert_true(add(2, 10 * TICK));
    assert_false(add(3, 10 * TICK));
    assert_int_equal(first_due(), 10 * TICK);
}

TEST(removing_the_first_costs_at_most_one_early_look) {
    reset(0);
    add(0, 3 * TICK);
    add(1, 30 * TICK);
    remove_timer(0);
    remove_timer(0);
    assert_int_equal(advance(first_due()), 0);
    assert_int_equal(first_due(), 30 * TICK);
    remove_timer(1);
    assert_int_equal(advance(30 * TICK), 0);
    assert_int_equal(first_due(), RNI_NEVER);
}

/* The list of one slot: its head, its middle and its end leave, and its bit goes with the last. */
TEST(any_of_one_slot_can_leave_it) {
    for (unsigned order = 0; order < 27; order++) {
        unsigned chosen[3] = {order % 3, order / 3 % 3, order / 9};
        reset(0);
        for (int i = 0; i < 3; i++) add(i, 7 * TICK);
        for (int i = 0; i < 3; i++) remove_timer((int)chosen[i]);
        size_t left = count();
        assert_int_equal(advance(7 * TICK), left);
    }
}

TEST(one_that_leaves_does_so_when_as_many_have_come_after_it) {
    reset(0);
    for (int i = 0; i < 30; i++) add(i, (i % 2 ? 7 : 700) * TICK);
    for (int i = 0; i < (int)RNI_LEAVING; i++) leave(i);
    assert_int_equal(count(), 30);
    for (int i = RNI_LEAVING; i < 20; i++) {
        leave(i);
        assert_int_equal(model.ticks[i - (int)RNI_LEAVING], 0);
        check_first_due();
    }
    leave(0); /* not in it: it pushes nobody out */
    assert_int_equal(model.number_leaving, RNI_LEAVING);
    assert_int_equal(advance(7 * TICK), 5);
    assert_int_equal(count(), 5);
}

TEST(the_last_that_leave_wait_for_a_flush) {
    reset(0);
    flush();
    for (int i = 0; i < 3; i++) add(i, 7 * TICK);
    for (int i = 0; i < 3; i++) leave(i);
    assert_int_equal(count(), 3);
    flush();
    assert_int_equal(count(), 0);
    flush();
    assert_int_equal(advance(7 * TICK), 0);
    assert_int_equal(first_due(), RNI_NEVER);
}

static bool is_chosen(const rni_timer *timer, void *remainder) {
    return (timer - model.all) % 3 == *(const int *)remainder;
}

static size_t take(int remainder) {
    size_t taken = 0;
    for (rni_timer *timer = rni_timers_take(&model.timers, is_chosen, &remainder); timer; timer = timer->next, taken++) {
        size_t index = (size_t)(timer - model.all);
        assert_true(model.ticks[index] != 0 && (int)(index % 3) == remainder);
        assert_null(timer->link);
        model.ticks[index] = 0;
    }
    check_first_due();
    return taken;
}

TEST(the_chosen_are_taken_from_every_level_and_the_others_stay) {
    uint64_t random = random_seed();
    reset(RN_DAYS(10));
    assert_int_equal(take(0), 0);
    for (int i = 0; i < TIMERS; i++) add(i, model.now + (i < 100 ? 5 * TICK : some_distance(&random)));
    advance(model.now + RN_SECONDS(5));
    size_t before = count(), taken = take(1);
    assert_true(taken > 0);
    assert_int_equal(count(), before - taken);
    assert_int_equal(take(1), 0);
    taken += take(0) + take(2);
    assert_int_equal(taken, before);
    assert_int_equal(count(), 0);
    assert_int_equal(advance(first_due()), 0);
    assert_int_equal(first_due(), RNI_NEVER);
}

/* As many as a large program has: a tick that is lost or out of order shows here, whatever the level. */
TEST(a_million_timers_come_in_order) {
    size_t many = UNDER_SANITIZER ? 50000 : 1000000;
    rni_timer *all = calloc(many, sizeof *all);
    rni_timers *timers = malloc(sizeof *timers);
    uint64_t random = random_seed();
    int64_t now = RN_HOURS(2);
    assert_non_null(all);
    assert_non_null(timers);
    rni_timers_init(timers, now);
    for (size_t i = 0; i < many; i++) {
        all[i].due = now + (int64_t)random_below(&random, (uint64_t)RN_DAYS(1)) + 1;
        rni_timers_add(timers, &all[i]);
    }
    assert_int_equal(timers->count, many);
    size_t came = 0;
    for (int64_t former = now; came < many; former = now) {
        now += RN_MINUTES(1);
        for (rni_timer *timer = rni_timers_advance(timers, now); timer; timer = timer->next, came++) {
            assert_true(timer->due <= now && timer->due > former - TICK);
            if (timer->next) assert_true(tick_of(timer->due) <= tick_of(timer->next->due));
        }
    }
    assert_int_equal(came, many);
    assert_int_equal(timers->count, 0);
    free(timers);
    free(all);
}
