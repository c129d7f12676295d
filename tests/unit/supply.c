/* How fast worker processes that died may be replaced, by the times that are handed in. */
#include "process/supply.h"
#include "support.h"

/* Asks as often as it may, for so long; waits as it is told to. */
static unsigned replaced_in(rni_supply *supply, int64_t from, int64_t length) {
    unsigned count = 0;
    for (int64_t now = from; now < from + length;) {
        int64_t until = rni_supply_may_replace(supply, now);
        count += until == 0;
        assert_true(until == 0 || until > now);
        if (until > 0) now = until;
    }
    return count;
}

TEST(replacements_come_at_their_rate_and_a_second_of_them_at_once) {
    static const unsigned rates[] = {1, 2, 3, 7, 100, 1000};
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        rni_supply supply;
        rni_supply_init(&supply, rates[i]);
        assert_in_range(replaced_in(&supply, RN_HOURS(1), RN_SECONDS(10)), 10 * rates[i], 11 * rates[i]);
        assert_in_range(replaced_in(&supply, RN_HOURS(2), 1), rates[i], rates[i]);
    }
}

TEST(without_haste_nothing_waits) {
    rni_supply supply;
    rni_supply_init(&supply, 10);
    for (int64_t now = RN_HOURS(1); now < RN_HOURS(2); now += RN_SECONDS(1) / 10)
        assert_int_equal(rni_supply_may_replace(&supply, now), 0);
}

TEST(a_rate_beyond_one_in_a_nanosecond_is_none) {
    rni_supply supply;
    rni_supply_init(&supply, UINT32_MAX);
    for (int i = 0; i < 100000; i++) assert_int_equal(rni_supply_may_replace(&supply, RN_HOURS(1)), 0);
}
