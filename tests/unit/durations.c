/*
 * Durations and times as text, beyond what rule B7 says: each is exact against an independent calculation, and what
 * is nearly one is refused.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "support.h"

__extension__ typedef __int128 wide;

static const struct {
    const char *name;
    int64_t ns;
} units[] = {{"ns", 1},
             {"nanosecond", 1},
             {"nanoseconds", 1},
             {"us", 1000},
             {"microsecond", 1000},
             {"microseconds", 1000},
             {"ms", 1000000},
             {"millisecond", 1000000},
             {"milliseconds", 1000000},
             {"", INT64_C(1000000000)},
             {"s", INT64_C(1000000000)},
             {"sec", INT64_C(1000000000)},
             {"secs", INT64_C(1000000000)},
             {"second", INT64_C(1000000000)},
             {"seconds", INT64_C(1000000000)},
             {"m", INT64_C(60000000000)},
             {"min", INT64_C(60000000000)},
             {"mins", INT64_C(60000000000)},
             {"minute", INT64_C(60000000000)},
             {"minutes", INT64_C(60000000000)},
             {"h", INT64_C(3600000000000)},
             {"hr", INT64_C(3600000000000)},
             {"hrs", INT64_C(3600000000000)},
             {"hour", INT64_C(3600000000000)},
             {"hours", INT64_C(3600000000000)},
             {"d", INT64_C(86400000000000)},
             {"day", INT64_C(86400000000000)},
             {"days", INT64_C(86400000000000)},
             {"w", INT64_C(604800000000000)},
             {"week", INT64_C(604800000000000)},
             {"weeks", INT64_C(604800000000000)}};

static int64_t unit_ns(const char *name) {
    for (size_t i = 0; i < COUNT_OF(units); i++)
        if (strcmp(units[i].name, name) == 0) return units[i].ns;
    return 0;
}

/* The duration, or -1 where it is refused; then the number must be as it was. */
static int64_t parse(const char *text) {
    int64_t ns = -77;
    rn_value error = rn_parse_duration(text, &ns);
    if (rn_is_none(error)) {
        assert_true(ns >= 0 && ns <= RN_DURATION_MAX);
        return ns;
    }
    assert_error_code(error, RN_INVALID);
    assert_int_equal(ns, -77);
    rn_drop(error);
    return -1;
}

static void check(const char *text, int64_t ns) {
    int64_t got = parse(text);
    if (got != ns) fail_msg("\"%s\" is %" PRId64 ", not %" PRId64, text, got, ns);
}

static void check_refused(const char *text, const char *why) {
    int64_t ns = 0;
    assert_fails(text ? rn_parse_duration(text, &ns) : rn_parse_duration(NULL, &ns), RN_INVALID, why);
}

/* Upper and lower case of ASCII; the micro sign has none here. */
static void vary_case(char *text, uint64_t bits) {
    for (size_t i = 0; text[i]; i++)
        if (bits >> i & 1) text[i] = (char)toupper((unsigned char)text[i]);
}

TEST(every_unit_is_read_in_every_case_with_any_spaces) {
    static const char *const spaces[] = {"", " ", "\t", "  \n"};
    char text[100], name[20];
    for (size_t u = 0; u < COUNT_OF(units); u++)
        for (uint64_t bits = 0; bits < 16; bits++)
            for (size_t s = 0; s < COUNT_OF(spaces); s++) {
                snprintf(name, sizeof name, "%s", units[u].name);
                vary_case(name, bits * 0x1111);
                snprintf(text, sizeof text, "%s7%s%s%s", spaces[3 - s], spaces[s], name, spaces[s]);
                check(text, 7 * units[u].ns);
                snprintf(text, sizeof text, "+7.%s%s", spaces[s], name);
                check(text, 7 * units[u].ns);
            }
}

/* Each character of each unit replaced, left out, doubled: it is another unit, or none. */
TEST(what_is_nearly_a_unit_is_refused) {
    char text[40];
    for (size_t u = 0; u < COUNT_OF(units); u++)
        for (size_t at = 0; at <= strlen(units[u].name); at++)
            for (int way = 0; way < 3; way++)
                for (int c = 'a'; c <= 'z' + 1; c++) {
                    const char *name = units[u].name;
                    size_t skipped = way == 0 || name[at] == '\0' ? 0 : 1;
                    char with[2] = {way == 2 ? '\0' : (char)c, '\0'};
                    snprintf(text, sizeof text, "3%.*s%s%s", (int)at, name, with, name + at + skipped);
                    int64_t unit = unit_ns(text + 1);
                    check(text, unit ? 3 * unit : -1);
                }
}

TEST(each_unit_has_its_longest) {
    char text[60];
    for (size_t u = 0; u < COUNT_OF(units); u++) {
        int64_t most = RN_DURATION_MAX / units[u].ns;
        snprintf(text, sizeof text, "%" PRId64 " %s", most, units[u].name);
        check(text, most * units[u].ns);
        snprintf(text, sizeof text, "%" PRId64 " %s", most + 1, units[u].name);
        check(text, -1);
        if (units[u].ns == 1) continue;
        snprintf(text, sizeof text, "%" PRId64 ".999999999999 %s", most, units[u].name);
        int64_t rest = RN_DURATION_MAX - most * units[u].ns;
        if (rest < units[u].ns * 9 / 10) check(text, -1);
    }
}

/* number / 10^digits of a unit, rounded to the nearest nanosecond, by integers alone. */
static void check_fraction(uint64_t number, int digits, size_t unit) {
    char text[80], decimals[20] = "";
    uint64_t scale = 1;
    for (int i = 0; i < digits; i++) scale *= 10;
    uint64_t left = number;
    for (int i = digits - 1; i >= 0; i--, left /= 10) decimals[i] = (char)('0' + left % 10);
    uint64_t whole = number / scale, rest = number % scale;
    wide exact = (wide)rest * units[unit].ns;
    wide twice = exact * 2 % (2 * (wide)scale);
    wide distance = twice > scale ? twice - scale : scale - twice;
    if (distance * 4 < scale) return; /* within an eighth of a nanosecond of a half: a double may go either way */
    int64_t rounded = (int64_t)((exact * 2 + scale) / (2 * (wide)scale));
    snprintf(text, sizeof text, "%" PRIu64 ".%s%s", whole, decimals, units[unit].name);
    wide total = (wide)whole * units[unit].ns + rounded;
    check(text, total > RN_DURATION_MAX ? -1 : (int64_t)total);
}

TEST(fractions_are_rounded_to_the_nearest_nanosecond) {
    uint64_t random = random_seed();
    for (int i = 0; i < 200000; i++) {
        int digits = 1 + (int)random_below(&random, 15);
        uint64_t number = random_below(&random, UINT64_C(5000000000000000));
        check_fraction(number, digits, (size_t)random_below(&random, COUNT_OF(units)));
    }
    check("0.5ns", 1);
    check("0.4999999ns", 0);
    check("0.123456789012345678901234567890 s", 123456789);
    check(".25 m", RN_SECONDS(15));
    check("3. s", RN_SECONDS(3));
}

TEST(each_reason_is_said) {
    check_refused(NULL, "a duration is NULL; accepted is a text such as \"10 seconds\"");
    check_refused("-1 s", "\"-1 s\" is negative; a duration is a number and a unit");
    check_refused("", "\"\" is not a duration");
    check_refused("soon", "\"soon\" is not a duration");
    check_refused(".", "is not a duration");
    check_refused(". s", "is not a duration");
    check_refused("+", "is not a duration");
    check_refused("+-1", "is not a duration");
    check_refused("1 fortnight", "has no known unit");
    check_refused("1 s s", "has no known unit");
    check_refused("1,5 s", "has no known unit");
    check_refused("1e3 s", "has no known unit");
    check_refused("99999999999999999999 ns", "is too long");
    check_refused("18446744073709551615 ns", "is too long");
    check_refused("184467440737095516160 ns", "is too long");
    check_refused("36525.0000000001 days", "is too long");
}

/* Whatever comes: an answer, and the number is as it was or in the range. */
TEST(any_text_has_an_answer) {
    static const char letters[] = "0123456789..+- smhdwnusecia\xc2\xb5\t\x80\xff";
    uint64_t random = random_seed();
    char text[24];
    int64_t time_ns;
    for (int i = 0; i < 300000; i++) {
        size_t length = (size_t)random_below(&random, sizeof text);
        for (size_t at = 0; at < length; at++) text[at] = letters[random_below(&random, sizeof letters - 1)];
        text[length] = '\0';
        (void)parse(text);
        rn_drop(rn_parse_time(text, &time_ns));
    }
}

TEST(a_refusal_without_memory_is_no_memory) {
    int64_t ns = 5;
    rn_testing_fail(RN_FAULT_ALLOCATION, 1, UINT64_MAX);
    assert_error_code(rn_parse_duration("never", &ns), RN_NO_MEMORY);
    assert_error_code(rn_parse_time("never", &ns), RN_NO_MEMORY);
    assert_int_equal(ns, 5);
}
