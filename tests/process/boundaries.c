#include "boundaries.h"

#include <string.h>

/* In single steps: an arrival at a breakpoint that is not the last one, which is stepped over. */
enum { ARRIVAL_COST = 3 };

enum { PLACES = 1 << 17 };

static struct place {
    uint64_t address; /* 0: free */
    uint32_t arrivals;
    bool is_killed;
} places[PLACES];

static struct way ways[PATH_LONGEST + 1];

/* Paths have some ten thousand addresses at most: there is always a free place. */
static struct place *place_of(uint64_t address) {
    uint64_t i = (address * UINT64_C(0x9e3779b97f4a7c15)) >> 47;
    while (places[i].address && places[i].address != address) i = (i + 1) % PLACES;
    return &places[i];
}

/* A breakpoint: from `boundary` on single steps are taken. */
struct start {
    uint64_t boundary, address;
    uint32_t arrival;
};

static uint64_t cost(const struct start *start, uint64_t boundary) {
    return boundary - start->boundary + (uint64_t)ARRIVAL_COST * start->arrival;
}

/*
 * An instruction that repeats is one arrival, and many boundaries: at the same address again and again. None of them is left
 * out, for what `rep movs` has copied into shared memory differs. No breakpoint lies on one, as it could not be stepped over.
 */
void boundaries_make(const uint64_t *record, uint64_t length) {
    struct start best = {0, 0, 0};
    uint32_t repeats = 0;
    memset(places, 0, sizeof places);
    for (uint64_t i = 1; i <= length; i++) {
        repeats = record[i] == record[i - 1] ? repeats + 1 : 0;
        struct place *place = place_of(record[i]);
        place->address = record[i];
        if (repeats == 0) place->arrivals++;
        bool will_repeat = i == length || record[i + 1] == record[i];
        struct start here = {i, record[i], place->arrivals};
        if (repeats == 0 && !will_repeat && cost(&here, i) < cost(&best, i)) best = here;
        ways[i] = (struct way){best.address, best.arrival, repeats, i - repeats - best.boundary};
    }
}

const struct way *boundaries_way(uint64_t boundary) { return &ways[boundary]; }

static uint64_t count(bool only_killed) {
    uint64_t found = 0;
    for (uint64_t i = 0; i < PLACES; i++) found += places[i].address && (places[i].is_killed || !only_killed);
    return found;
}

uint64_t boundaries_addresses(void) { return count(false); }

uint64_t boundaries_killed(void) { return count(true); }

void boundaries_kill(uint64_t address) { place_of(address)->is_killed = true; }
