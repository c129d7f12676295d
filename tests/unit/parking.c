/*
 * Parking, single-threaded: every transition of its one word against counts in plain variables; then two transitions
 * at once.
 */
#include <pthread.h>

#include "base/os.h"
#include "interleave.h"
#include "thread/parking.h"

#define SEATS 3

static rni_parking parking;

static struct {
    uint32_t parked, active, searching, blocked, epoch;
    bool waking;
} model;

static void reset(uint32_t seats, uint32_t active) {
    rni_parking_init(&parking, seats, active);
    model.parked = model.blocked = model.epoch = 0;
    model.active = model.searching = active;
    model.waking = false;
}

static void check_counts(void) {
    uint64_t state = rni_load_relaxed(&parking.state);
    assert_int_equal(rni_parking_parked(&parking), model.parked);
    assert_int_equal(rni_parking_active(&parking), model.active);
    assert_int_equal(state >> 32 & 0xffff, model.searching);
    assert_int_equal(state >> 48, model.waking);
    assert_int_equal(rni_parking_epoch(&parking), model.epoch);
    assert_int_equal(rni_parking_is_quiet(&parking), model.active == 0 && !model.waking);
    assert_int_equal(rni_parking_is_waking(&parking), model.waking);
}

static void notify(void) {
    rni_parking_notify(&parking);
    if (model.parked == 0 || model.searching > 0 || model.waking || model.active >= parking.seats) return;
    model.waking = true;
    model.epoch++;
}

static void announce(void) {
    if (model.searching == 0) return;
    assert_int_equal(rni_parking_announce(&parking), model.epoch);
    model.parked++;
    model.active--;
    model.searching--;
}

static void give_up_surplus(void) {
    uint32_t epoch = UINT32_MAX;
    if (model.active == model.searching) return;
    bool is_surplus = model.active > parking.seats;
    assert_int_equal(rni_parking_give_up_surplus(&parking, &epoch), is_surplus);
    assert_int_equal(epoch, is_surplus ? model.epoch : UINT32_MAX);
    model.parked += is_surplus;
    model.active -= is_surplus;
}

static void rise(void) {
    if (model.parked == 0) return;
    bool seated = model.active < parking.seats;
    assert_int_equal(rni_parking_rise(&parking), seated);
    model.waking = false;
    model.parked -= seated;
    model.active += seated;
    model.searching += seated;
}

static void rise_anyway(bool is_parked) {
    if (is_parked ? model.parked == 0 : model.active > 6) return;
    rni_parking_rise_anyway(&parking, is_parked);
    model.waking = model.waking && !is_parked;
    model.parked -= is_parked;
    model.active++;
    model.searching++;
}

static void quit(void) {
    if (model.parked == 0) return;
    rni_parking_quit(&parking);
    model.waking = false;
    model.parked--;
}

static void sit(void) {
    bool seated = model.parked > 0 && model.active < parking.seats;
    assert_int_equal(rni_parking_sit(&parking), seated);
    model.active += seated;
    model.searching += seated;
}

static void search(bool begins) {
    if (begins && model.searching < model.active) {
        rni_parking_start_search(&parking);
        model.searching++;
    } else if (!begins && model.searching > 0) {
        assert_int_equal(rni_parking_stop_search(&parking), model.searching == 1);
        model.searching--;
    }
}

static void block(bool begins) {
    if (begins && model.active > model.searching) {
        rni_parking_leave(&parking);
        model.active--;
        model.blocked++;
    } else if (!begins && model.blocked > 0) {
        rni_parking_come_back(&parking);
        model.active++;
        model.blocked--;
    }
}

static void wake(bool all) {
    if (all) rni_parking_wake_all(&parking);
    else rni_parking_nudge(&parking);
    model.epoch++;
}

static void join(void) {
    if (model.parked + model.active + model.blocked >= 8) return;
    rni_parking_join(&parking);
    model.parked++;
}

TEST(every_transition_counts_as_it_says) {
    uint64_t random = random_seed();
    for (uint32_t starting = 0; starting <= SEATS; starting++) {
        reset(SEATS, starting);
        for (int i = 0; i < 30000; i++) {
            bool flag = random_below(&random, 2);
            switch (random_below(&random, 12)) {
            case 0:
            case 1: notify(); break;
            case 2: announce(); break;
            case 3: rise(); break;
            case 4: quit(); break;
            case 5: sit(); break;
            case 6: search(flag); break;
            case 7: block(flag); break;
            case 8: wake(flag); break;
            case 9: give_up_surplus(); break;
            case 10: rise_anyway(flag); break;
            default: join(); break;
            }
            check_counts();
        }
    }
}

TEST(nobody_is_woken_while_one_searches_or_wakes_or_no_seat_is_free) {
    reset(2, 2);
    announce();
    notify(); /* the other one searches */
    assert_int_equal(model.epoch, 0);
    search(false);
    notify();
    assert_int_equal(model.epoch, 1);
    notify(); /* one is on its way */
    assert_int_equal(model.epoch, 1);
    rise();
    search(false);
    join();
    notify(); /* both seats are taken */
    check_counts();
    assert_int_equal(model.epoch, 1);
}

static void *sleep_until_woken(void *epoch) {
    rni_parking_sleep(&parking, *(uint32_t *)epoch, -1);
    return NULL;
}

TEST(a_sleeper_is_woken_and_one_whose_epoch_has_moved_does_not_sleep) {
    pthread_t thread;
    rn_testing_fail(RN_FAULT_FUTEX, 1, 0);
    reset(1, 1);
    uint32_t epoch = rni_parking_announce(&parking);
    assert_int_equal(pthread_create(&thread, NULL, sleep_until_woken, &epoch), 0);
    await_sleepers(1);
    rni_parking_notify(&parking);
    pthread_join(thread, NULL);
    uint64_t passed = rn_testing_reached(RN_FAULT_FUTEX);
    rni_parking_sleep(&parking, epoch, -1);
    assert_int_equal(rn_testing_reached(RN_FAULT_FUTEX), passed);
    rni_parking_sleep(&parking, epoch + 1, 1); /* a deadline gone by */
    assert_int_equal(rn_testing_reached(RN_FAULT_FUTEX), passed + 1);
}

/* ---- two at once ---- */

static struct {
    bool first, second;
} seated;

static void one_parked_one_seat(void) {
    reset(1, 1);
    (void)rni_parking_announce(&parking);
}

static void two_parked_one_seat(void) {
    reset(1, 0);
    rni_parking_join(&parking);
    rni_parking_join(&parking);
}

static void do_notify(void) { rni_parking_notify(&parking); }
static void do_quit(void) { rni_parking_quit(&parking); }
/* Two workers came back from their waits: more are active than there are seats. */
static void one_too_many(void) {
    reset(2, 0);
    for (int i = 0; i < 3; i++) rni_parking_come_back(&parking);
    seated.first = seated.second = false;
}

static void do_give_up_first(void) { seated.first = rni_parking_give_up_surplus(&parking, &(uint32_t){0}); }
static void do_give_up_second(void) { seated.second = rni_parking_give_up_surplus(&parking, &(uint32_t){0}); }
static void do_rise_first(void) { seated.first = rni_parking_rise(&parking); }
static void do_rise_anyway(void) { rni_parking_rise_anyway(&parking, true); }
static void do_rise_second(void) { seated.second = rni_parking_rise(&parking); }
static void do_sit_first(void) { seated.first = rni_parking_sit(&parking); }
static void do_sit_second(void) { seated.second = rni_parking_sit(&parking); }

static void judge_one_wake(void) {
    assert_int_equal(rni_parking_epoch(&parking), 1);
    assert_int_equal(rni_load_relaxed(&parking.state) >> 48, 1);
    assert_int_equal(rni_parking_parked(&parking), 1);
}

static void judge_one_seated(void) {
    assert_int_equal(seated.first + seated.second, 1);
    assert_int_equal(rni_parking_active(&parking), 1);
}

static void judge_both_seated(void) {
    assert_int_equal(rni_parking_active(&parking), 2);
    assert_int_equal(rni_parking_parked(&parking), 0);
}

static void judge_one_gave_up(void) {
    assert_int_equal(seated.first + seated.second, 1);
    assert_int_equal(rni_parking_active(&parking), 2);
    assert_int_equal(rni_parking_parked(&parking), 1);
}

/* A wake that met nobody parked any more would keep the next ones from being sent. */
static void judge_no_wake_left(void) {
    assert_int_equal(rni_parking_parked(&parking), 0);
    assert_int_equal(rni_load_relaxed(&parking.state) >> 48, 0);
}

TEST(of_two_producers_one_wakes) {
    const struct interleaving parts = {one_parked_one_seat, do_notify, do_notify, judge_one_wake};
    interleave(&parts);
}

TEST(of_two_who_rise_one_is_seated) {
    const struct interleaving parts = {two_parked_one_seat, do_rise_first, do_rise_second, judge_one_seated};
    interleave(&parts);
}

TEST(of_two_who_sit_one_is_seated) {
    const struct interleaving parts = {two_parked_one_seat, do_sit_first, do_sit_second, judge_one_seated};
    interleave(&parts);
}

TEST(of_one_who_rises_and_one_who_sits_one_is_seated) {
    const struct interleaving parts = {two_parked_one_seat, do_rise_first, do_sit_second, judge_one_seated};
    interleave(&parts);
    const struct interleaving turned = {two_parked_one_seat, do_sit_first, do_rise_second, judge_one_seated};
    interleave(&turned);
}

TEST(two_who_rise_for_work_of_their_own_are_both_seated) {
    const struct interleaving parts = {two_parked_one_seat, do_rise_anyway, do_rise_anyway, judge_both_seated};
    interleave(&parts);
}

/* Else both would park, and a seat would stand empty that work is waiting for. */
TEST(of_two_who_are_one_too_many_one_gives_up) {
    const struct interleaving parts = {one_too_many, do_give_up_first, do_give_up_second, judge_one_gave_up};
    interleave(&parts);
}

TEST(no_wake_stays_behind_when_the_last_parked_quits) {
    const struct interleaving parts = {one_parked_one_seat, do_notify, do_quit, judge_no_wake_left};
    interleave(&parts);
    const struct interleaving turned = {one_parked_one_seat, do_quit, do_notify, judge_no_wake_left};
    interleave(&turned);
}

TEST(no_wake_stays_behind_when_the_last_parked_rises) {
    const struct interleaving parts = {one_parked_one_seat, do_notify, do_rise_first, judge_no_wake_left};
    interleave(&parts);
    const struct interleaving turned = {one_parked_one_seat, do_rise_first, do_notify, judge_no_wake_left};
    interleave(&turned);
}

/* Another's wake lands in the middle of a quit: its change of the word must not be lost. */
static void two_parked_two_seats(void) {
    reset(2, 0);
    rni_parking_join(&parking);
    rni_parking_join(&parking);
}

static void judge_both_left(void) {
    assert_int_equal(rni_parking_parked(&parking), 0);
    assert_int_equal(rni_parking_active(&parking), 0);
}

TEST(two_who_quit_both_leave) {
    const struct interleaving parts = {two_parked_two_seats, do_quit, do_quit, judge_both_left};
    interleave(&parts);
}
