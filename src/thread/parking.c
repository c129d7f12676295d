#include "thread/parking.h"

#include "base/os.h"

/* The counts, 16 bits each. A whole pool is below 2^15 threads, so none runs over into the next. */
#define PARKED UINT64_C(1)
#define ACTIVE (UINT64_C(1) << 16)
#define SEARCHING (UINT64_C(1) << 32)
#define WAKING (UINT64_C(1) << 48)

static uint32_t parked(uint64_t state) { return (uint32_t)(state & 0xffff); }
static uint32_t active(uint64_t state) { return (uint32_t)(state >> 16 & 0xffff); }
static uint32_t searching(uint64_t state) { return (uint32_t)(state >> 32 & 0xffff); }

void rni_parking_init(rni_parking *parking, uint32_t seats, uint32_t starting) {
    rni_store_relaxed(&parking->state, starting * (ACTIVE + SEARCHING));
    rni_store_relaxed(&parking->epoch, 0);
    parking->seats = seats;
}

static bool wants_wake(const rni_parking *parking, uint64_t state) {
    return parked(state) > 0 && searching(state) == 0 && !(state & WAKING) && active(state) < parking->seats;
}

void rni_parking_notify(rni_parking *parking) {
    /* Dekker with announce: pairs with its read-modify-write of state. */
    uint64_t state = rni_load_seq_cst(&parking->state);
    do {
        if (!wants_wake(parking, state)) return;
    } while (!rni_cas_seq_cst(&parking->state, &state, state | WAKING));
    /* Releases the wake to the acquire load in sleep. */
    rni_add_acq_rel(&parking->epoch, 1);
    rni_os_wake(&parking->epoch, 1);
}

void rni_parking_wake_all(rni_parking *parking) {
    /* Releases what the caller changed (closing, a due timer) to the acquire load of epoch in sleep. */
    rni_add_acq_rel(&parking->epoch, 1);
    rni_os_wake(&parking->epoch, INT32_MAX);
}

uint32_t rni_parking_announce(rni_parking *parking) {
    /* Before the seat is given up: a wake that counts on us moves the epoch after this. */
    uint32_t epoch = rni_load_acquire(&parking->epoch);
    /* Dekker with push and notify: pairs with their swap of bottom and load of state. */
    rni_add_seq_cst(&parking->state, PARKED - ACTIVE - SEARCHING);
    return epoch;
}

void rni_parking_sleep(rni_parking *parking, uint32_t epoch, int64_t deadline_ns) {
    /* Pairs with the add in notify and wake_all. */
    if (rni_load_acquire(&parking->epoch) != epoch) return;
    rni_os_wait(&parking->epoch, epoch, deadline_ns);
}

bool rni_parking_rise(rni_parking *parking) {
    uint64_t state = rni_load_relaxed(&parking->state);
    uint64_t next;
    bool seated;
    do {
        seated = active(state) < parking->seats;
        next = (state & ~WAKING) + (seated ? ACTIVE + SEARCHING - PARKED : 0);
        /* Seq_cst: an end of search that other searchers and producers order themselves by. */
    } while (!rni_cas_seq_cst(&parking->state, &state, next));
    return seated;
}

void rni_parking_rise_anyway(rni_parking *parking, bool is_parked) {
    uint64_t state = rni_load_relaxed(&parking->state);
    uint64_t next;
    do {
        next = is_parked ? (state & ~WAKING) - PARKED : state;
    } while (!rni_cas_seq_cst(&parking->state, &state, next + ACTIVE + SEARCHING)); /* as in rise */
}

void rni_parking_start_search(rni_parking *parking) {
    rni_add_seq_cst(&parking->state, SEARCHING); /* pairs with the load in notify: it may now rely on us */
}

bool rni_parking_stop_search(rni_parking *parking) {
    /* Dekker with notify: a producer that relied on us published before this, so we see its work. */
    uint64_t before = rni_add_seq_cst(&parking->state, -SEARCHING);
    return searching(before) == 1;
}

void rni_parking_leave(rni_parking *parking) {
    rni_add_seq_cst(&parking->state, -ACTIVE); /* Dekker with push and notify, as in announce */
}

void rni_parking_come_back(rni_parking *parking) {
    rni_add_seq_cst(&parking->state, ACTIVE); /* pairs with nothing: it only takes; kept in the one order */
}

void rni_parking_join(rni_parking *parking) {
    rni_add_seq_cst(&parking->state, PARKED); /* pairs with the load in notify */
}

uint32_t rni_parking_epoch(rni_parking *parking) {
    return rni_load_acquire(&parking->epoch); /* pairs with the add in notify and wake_all */
}

void rni_parking_quit(rni_parking *parking) {
    uint64_t state = rni_load_relaxed(&parking->state);
    /* As in rise: the order of those who leave the parked. */
    while (!rni_cas_seq_cst(&parking->state, &state, (state & ~WAKING) - PARKED)) {
    }
}

bool rni_parking_sit(rni_parking *parking) {
    uint64_t state = rni_load_relaxed(&parking->state);
    do {
        if (parked(state) == 0 || active(state) >= parking->seats) return false;
    } while (!rni_cas_seq_cst(&parking->state, &state, state + ACTIVE + SEARCHING)); /* as in rise */
    return true;
}

void rni_parking_nudge(rni_parking *parking) {
    rni_add_acq_rel(&parking->epoch, 1); /* releases the timekeeper's place to the load in sleep */
    rni_os_wake(&parking->epoch, 1);
}

bool rni_parking_give_up_surplus(rni_parking *parking, uint32_t *epoch) {
    uint64_t state = rni_load_relaxed(&parking->state);
    if (active(state) <= parking->seats) return false;
    *epoch = rni_load_acquire(&parking->epoch); /* before, as in announce */
    do {
        if (active(state) <= parking->seats) return false;
    } while (!rni_cas_seq_cst(&parking->state, &state, state + PARKED - ACTIVE)); /* as in announce */
    return true;
}

bool rni_parking_is_waking(rni_parking *parking) {
    return rni_load_seq_cst(&parking->state) & WAKING; /* pairs with the CAS in notify */
}

uint32_t rni_parking_parked(rni_parking *parking) { return parked(rni_load_seq_cst(&parking->state)); }

uint32_t rni_parking_active(rni_parking *parking) { return active(rni_load_seq_cst(&parking->state)); }

bool rni_parking_is_quiet(rni_parking *parking) {
    uint64_t state = rni_load_seq_cst(&parking->state); /* pairs with announce and notify */
    return active(state) == 0 && !(state & WAKING);
}
