/*
 * Dates and times as text, against the C library's calendar.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "support.h"

#define NOT_ONE INT64_MIN

/* The time, or NOT_ONE where it is refused; then the number must be as it was. */
static int64_t parse(const char *text) {
    int64_t ns = -77;
    rn_value error = rn_parse_time(text, &ns);
    if (rn_is_none(error)) return ns;
    assert_error_code(error, RN_INVALID);
    assert_int_equal(ns, -77);
    rn_drop(error);
    return NOT_ONE;
}

static void check(const char *text, int64_t ns) {
    int64_t got = parse(text);
    if (got != ns) fail_msg("\"%s\" is %" PRId64 ", not %" PRId64, text, got, ns);
}

static int64_t ns_of(int64_t seconds) { return seconds * INT64_C(1000000000); }

TEST(every_day_is_where_the_calendar_has_it) {
    char text[64];
    int64_t days = 0;
    for (int year = 1970; year <= 2261; year++)
        for (int month = 1; month <= 12; month++)
            for (int day = 1; day <= 31; day++) {
                struct tm tm = {.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day};
                int64_t seconds = timegm(&tm);
                bool is_one = tm.tm_mday == day;
                snprintf(text, sizeof text, "%04d-%02d-%02dZ", year, month, day);
                check(text, is_one ? ns_of(seconds) : NOT_ONE);
                days += is_one;
            }
    assert_int_equal(days, 106651);
}

TEST(every_second_of_a_day_is_read) {
    char text[64];
    for (int second = 0; second < 86400; second += 7) {
        snprintf(text, sizeof text, "2030-12-24 %02d:%02d:%02dZ", second / 3600, second / 60 % 60, second % 60);
        check(text, ns_of(INT64_C(1924300800) + second));
    }
}

TEST(every_offset_is_read) {
    char text[64];
    for (int minutes = -23 * 60 - 59; minutes <= 23 * 60 + 59; minutes++) {
        int size = abs(minutes);
        int64_t ns = ns_of(INT64_C(1924365600) - minutes * 60);
        snprintf(text, sizeof text, "2030-12-24T18:00%c%02d:%02d", minutes < 0 ? '-' : '+', size / 60, size % 60);
        check(text, ns);
        snprintf(text, sizeof text, "2030-12-24t18:00:00 %c%02d%02d", minutes < 0 ? '-' : '+', size / 60, size % 60);
        check(text, ns);
    }
    check("2030-12-24 18:00+02", ns_of(1924365600 - 7200));
    check("2030-12-24 18:00z", ns_of(1924365600));
}

TEST(fractions_of_a_second_are_read_to_the_nanosecond) {
    check("1970-01-01T00:00:00.5Z", 500000000);
    check("1970-01-01T00:00:00.000000001Z", 1);
    check("1970-01-01T00:00:00.0000000019Z", 1);
    check("1970-01-01T00:00:01.123456789123456789Z", 1123456789);
    check("1970-01-01T00:00:00.Z", NOT_ONE);
}

TEST(leap_days_are_days_of_leap_years_only) {
    check("2000-02-29Z", ns_of(951782400));
    check("2024-02-29Z", ns_of(1709164800));
    check("2100-02-29Z", NOT_ONE);
    check("2023-02-29Z", NOT_ONE);
    check("2200-02-29Z", NOT_ONE);
}

TEST(the_range_ends_with_2261) {
    check("1970-01-01T00:00Z", 0);
    check("1970-01-01T00:00+00:01", NOT_ONE);
    check("1970-01-01T00:00-00:01", ns_of(60));
    check("1969-12-31T23:59-12:00", NOT_ONE);
    check("2261-12-31T23:59:59.999999999Z", ns_of(9214646399) + 999999999);
    check("2261-12-31T23:59:59.999999999-23:59", ns_of(9214646399 + 86340) + 999999999);
    check("2262-01-01Z", NOT_ONE);
}

TEST(what_is_no_date_is_refused) {
    static const char *const texts[] = {
        "",                   "x",                    "203-12-24Z",          "2030-12",
        "2030/12/24Z",        "2030-12/24Z",          "2030-1-24Z",          "2030-12-4Z",
        "2030-00-24Z",        "2030-13-24Z",          "2030-12-00Z",         "2030-12-32Z",
        "2030-12-24TZ",       "2030-12-24T1Z",        "2030-12-24T18Z",      "2030-12-24T18:Z",
        "2030-12-24T18:0Z",   "2030-12-24T18-00Z",    "2030-12-24T24:00Z",   "2030-12-24T18:60Z",
        "2030-12-24T18:00:Z", "2030-12-24T18:00:6Z",  "2030-12-24T18:00:60Z", "2030-12-24T18:00ZZ",
        "2030-12-24T18:00 x", "2030-12-24T18:00+2",   "2030-12-24T18:00+24", "2030-12-24T18:00+02:60",
        "2030-12-24T18:00+02:", "2030-12-24T18:00+02:0", "2030-12-24T18:00+x", "2030-12-24T18:00Z 1",
        "-2030-12-24Z",       "+2030-12-24Z",         "20301-12-24Z",        "2030-12-24  18:00",
        "2030-12-24T18:00-",  "2030-12-24T18:00+02x0", "2030-12-24T18:00:00.x"};
    for (size_t i = 0; i < COUNT_OF(texts); i++) check(texts[i], NOT_ONE);
    int64_t ns = 0;
    assert_fails(rn_parse_time(NULL, &ns), RN_INVALID, "a time is NULL");
    assert_fails(rn_parse_time("tomorrow", &ns), RN_INVALID, "\"tomorrow\" is not a date and time; accepted are");
}

TEST(spaces_around_a_time_do_not_matter) {
    check("  2030-12-24 18:00:00 Z \n", ns_of(1924365600));
    check("\t2030-12-24T18:00Z", ns_of(1924365600));
}

/* ---- local time: the zone is of the process, so each is a child ---- */

struct local {
    const char *zone, *text;
    int64_t seconds, or_seconds;
};

static void check_local(const struct local *local) {
    int64_t ns = 0;
    setenv("TZ", local->zone, 1);
    tzset();
    rn_value error = rn_parse_time(local->text, &ns);
    if (!rn_is_none(error)) ns = NOT_ONE;
    bool holds = ns == (local->seconds == NOT_ONE ? NOT_ONE : ns_of(local->seconds)) || ns == ns_of(local->or_seconds);
    if (!holds) fprintf(stderr, "TZ=%s, \"%s\": %" PRId64 "\n", local->zone, local->text, ns);
    CHILD_CHECK(holds);
    rn_drop(error);
}

#define BERLIN "CET-1CEST,M3.5.0,M10.5.0/3"

TEST(without_an_offset_a_time_is_local) {
    static const struct local locals[] = {
        {"UTC0", "2030-12-24 18:00", 1924365600, 1924365600},
        {BERLIN, "2030-12-24 18:00", 1924365600 - 3600, 1924365600 - 3600},
        {BERLIN, "2030-07-24 18:00:30", 1911146430 - 7200, 1911146430 - 7200},
        {BERLIN, "2030-12-24", 1924300800 - 3600, 1924300800 - 3600},
        {BERLIN, "2030-12-24 18:00Z", 1924365600, 1924365600},
        {BERLIN, "2030-03-31 02:30", 1901154600, 1901151000}, /* there is no such time: an hour to either side */
        {BERLIN, "2030-10-27 02:30", 1919295000, 1919291400}, /* there are two */
        {"NPT-5:45", "2024-02-29 06:00", 1709165700, 1709165700},
        {"XST11", "2030-12-24 18:00", 1924365600 + 39600, 1924365600 + 39600},
        {"XST-14", "1970-01-01 13:59", NOT_ONE, NOT_ONE}, /* before 1970 UTC */
        {"XST-14", "1970-01-01 14:00", 0, 0},
        {"XST11", "2261-12-31 23:59:59", 9214646399 + 39600, 9214646399 + 39600},
    };
    char text[1000];
    for (size_t i = 0; i < COUNT_OF(locals); i++) in_child(text, check_local(&locals[i]));
}
