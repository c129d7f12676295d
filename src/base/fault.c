#include "base/fault.h"

#include "base/atomic.h"

/* One fault's plan and counts. Words of their own, relaxed: each is a plain counter, and a test that
 * sets a plan starts the threads that meet it, or is one of them. */
struct point {
    rni_a64 reached; /* passes since the last plan */
    rni_a64 first;   /* the first pass that fails; 0: none */
    rni_a64 count;   /* how many fail from there */
    rni_a64 held;
};

static struct point points[RN_FAULT_COUNT];
static rni_a32 armed; /* a test has asked: count from now on */

static bool is_known(enum rn_fault fault) { return (unsigned)fault < RN_FAULT_COUNT; }

bool rni_fault(enum rn_fault fault) {
    if (!rni_load_relaxed(&armed)) return false;
    struct point *point = &points[fault];
    uint64_t pass = rni_add_relaxed(&point->reached, 1) + 1;
    uint64_t first = rni_load_relaxed(&point->first);
    return first != 0 && pass >= first && pass - first < rni_load_relaxed(&point->count);
}

void rni_fault_hold(enum rn_fault fault, int64_t change) {
    if (rni_load_relaxed(&armed)) (void)rni_add_relaxed(&points[fault].held, (uint64_t)change);
}

const char *rn_fault_name(enum rn_fault fault) {
    static const char *const names[RN_FAULT_COUNT] = {"allocation", "mapping", "thread start", "futex"};
    return is_known(fault) ? names[fault] : "unknown fault";
}

void rn_testing_fail(enum rn_fault fault, uint64_t nth, uint64_t count) {
    if (!is_known(fault)) return;
    struct point *point = &points[fault];
    rni_store_relaxed(&point->first, 0);
    rni_store_relaxed(&point->reached, 0);
    rni_store_relaxed(&point->count, count);
    rni_store_relaxed(&point->first, count == 0 ? 0 : nth);
    rni_store_relaxed(&armed, 1);
}

uint64_t rn_testing_reached(enum rn_fault fault) {
    return is_known(fault) ? rni_load_relaxed(&points[fault].reached) : 0;
}

uint64_t rn_testing_held(enum rn_fault fault) {
    rni_store_relaxed(&armed, 1);
    return is_known(fault) ? rni_load_relaxed(&points[fault].held) : 0;
}
