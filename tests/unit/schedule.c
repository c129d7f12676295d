/*
 * Ticks of a periodic run: a fixed rate, and an exact count of those that were passed over.
 */
#include "core/schedule.h"
#include "support.h"

struct tick {
    int64_t due, every, now, next;
    uint64_t missed;
};

static void check(const struct tick *tick) {
    rni_plan plan = {.timer = {.due = tick->due}, .every = tick->every, .missed = 5};
    rni_schedule_next(&plan, tick->now);
    assert_int_equal(plan.timer.due, tick->next);
    assert_int_equal(plan.missed, 5 + tick->missed);
}

TEST(a_tick_that_is_due_while_the_iteration_runs_is_missed) {
    static const struct tick ticks[] = {
        {100, 10, 100, 110, 0},                        /* it took no time */
        {100, 10, 109, 110, 0},                        /* it ended just before the next tick */
        {100, 10, 110, 120, 1},                        /* with it: that tick came due while it ran */
        {100, 10, 111, 120, 1},
        {100, 10, 119, 120, 1},
        {100, 10, 120, 130, 2},
        {100, 10, 1234, 1240, 113},
        {100, 1, 100, 101, 0},
        {100, 1, 1000100, 1000101, 1000000},
        {100, RN_DURATION_MAX, RN_DURATION_MAX, RN_DURATION_MAX + 100, 0},
        {RN_DURATION_MAX, RN_DURATION_MAX, RN_DURATION_MAX + 5, 2 * RN_DURATION_MAX, 0},
        {100, 10, 50, 110, 0},                         /* a clock that shows less than the due time */
    };
    for (size_t i = 0; i < COUNT_OF(ticks); i++) check(&ticks[i]);
}

TEST(ticks_are_counted_as_one_by_one) {
    uint64_t random = random_seed();
    for (int i = 0; i < 20000; i++) {
        struct tick tick = {.due = (int64_t)random_below(&random, 1000), .every = 1 + (int64_t)random_below(&random, 40)};
        tick.now = tick.due + (int64_t)random_below(&random, 400);
        for (tick.next = tick.due + tick.every; tick.next <= tick.now; tick.next += tick.every) tick.missed++;
        check(&tick);
    }
}

/* The due times of a run are start + k x every, whenever its iterations end. */
TEST(a_schedule_does_not_drift) {
    uint64_t random = random_seed();
    rni_plan plan = {.timer = {.due = 777}, .every = 1000};
    uint64_t ticks = 0;
    for (int i = 0; i < 5000; i++) {
        rni_schedule_next(&plan, plan.timer.due + (int64_t)random_below(&random, 3500));
        ticks++;
        assert_int_equal(plan.timer.due, 777 + (int64_t)(ticks + plan.missed) * 1000);
    }
    assert_true(plan.missed > 0);
}
