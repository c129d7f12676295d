/* Rule B7: durations, and times, as numbers and as text. */
#include "support.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void assert_parses(const char *text, int64_t duration_ns) {
    int64_t parsed = -77;
    rn_value error = rn_parse_duration(text, &parsed);
    if (!rn_is_none(error)) fail_msg("\"%s\" is refused: %s", text, rn_error_message(error));
    if (parsed != duration_ns) fail_msg("\"%s\" is read as %" PRId64 " ns, not as %" PRId64, text, parsed, duration_ns);
}

RULE(b7_every_unit_is_read_in_every_spelling) {
    static const struct {
        const char *words[5];
        int64_t ns;
    } units[] = {{{"ns", "nanosecond", "nanoseconds"}, 1},
                 {{"us", "microsecond", "microseconds"}, RN_MICROSECONDS(1)},
                 {{"ms", "millisecond", "milliseconds"}, RN_MILLISECONDS(1)},
                 {{"s", "sec", "secs", "second", "seconds"}, RN_SECONDS(1)},
                 {{"m", "min", "mins", "minute", "minutes"}, RN_MINUTES(1)},
                 {{"h", "hr", "hrs", "hour", "hours"}, RN_HOURS(1)},
                 {{"d", "day", "days"}, RN_DAYS(1)},
                 {{"w", "week", "weeks"}, RN_WEEKS(1)}};
    char text[64];
    for (size_t u = 0; u < COUNT_OF(units); u++) {
        for (size_t w = 0; w < COUNT_OF(units[u].words) && units[u].words[w]; w++) {
            static const char *const formats[] = {"%d%s", "%d %s"};
            for (size_t f = 0; f < COUNT_OF(formats); f++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
                snprintf(text, sizeof text, formats[f], 12, units[u].words[w]);
#pragma GCC diagnostic pop
                assert_parses(text, 12 * units[u].ns);
            }
        }
    }
}

RULE(b7_units_are_read_in_any_case) {
    assert_parses("10 SECONDS", RN_SECONDS(10));
    assert_parses("10 Minutes", RN_MINUTES(10));
    assert_parses("10 Ms", RN_MILLISECONDS(10));
    assert_parses("10 H", RN_HOURS(10));
    assert_parses("1 wEEk", RN_WEEKS(1));
}

RULE(b7_a_bare_number_is_seconds) {
    assert_parses("0", 0);
    assert_parses("10", RN_SECONDS(10));
    assert_parses("1.5", RN_MILLISECONDS(1500));
}

RULE(b7_fractions_and_long_numbers_are_exact_to_the_nanosecond) {
    assert_parses("1.5 hours", RN_MINUTES(90));
    assert_parses("250 ms", RN_MILLISECONDS(250));
    assert_parses("0.1 s", INT64_C(100000000));
    assert_parses("0.3 seconds", INT64_C(300000000));
    assert_parses("1.000000001 s", INT64_C(1000000001));
    assert_parses("0.000001 ms", 1);
    assert_parses("2.5 weeks", RN_DAYS(17) + RN_HOURS(12));
    assert_parses("9007199254740993 ns", INT64_C(9007199254740993));
    assert_parses("123456789.123456789 s", INT64_C(123456789123456789));
    assert_parses("0 weeks", 0);
    assert_parses("000000000000000000000000000000010 s", RN_SECONDS(10));
}

RULE(b7_the_longest_duration_is_read_and_the_next_is_refused) {
    int64_t ns = 3;
    assert_parses("3155760000000000000 ns", RN_DURATION_MAX);
    assert_parses("36525 days", RN_DURATION_MAX);
    assert_parses("3155760000 s", RN_DURATION_MAX);
    static const char *const beyond[] = {"3155760000000000001 ns", "36526 days", "3155760000.000000001 s"};
    for (size_t i = 0; i < COUNT_OF(beyond); i++) {
        rn_value error = rn_parse_duration(beyond[i], &ns);
        assert_error_code(error, RN_INVALID);
        rn_drop(error);
    }
    assert_int_equal(ns, 3);
}

/* Whether the word stands in the text, not as a part of a longer word. */
static bool has_word(const char *text, const char *word) {
    size_t length = strlen(word);
    for (const char *at = strstr(text, word); at; at = strstr(at + 1, word)) {
        bool starts = at == text || !strchr("abcdefghijklmnopqrstuvwxyz", at[-1]);
        bool ends = !at[length] || !strchr("abcdefghijklmnopqrstuvwxyz", at[length]);
        if (starts && ends) return true;
    }
    return false;
}

static void assert_duration_refused(const char *text) {
    static const char *const units[] = {"ns", "us", "ms", "s", "m", "h", "d", "w"};
    int64_t ns = 12345;
    rn_value error = rn_parse_duration(text, &ns);
    if (!rn_is_error(error)) fail_msg("\"%s\" is read as %" PRId64 " ns", text, ns);
    assert_error_code(error, RN_INVALID);
    assert_int_equal(ns, 12345);
    if (strlen(text) < 40 && !strpbrk(text, "\n\t")) assert_contains(rn_error_message(error), text);
    for (size_t i = 0; i < COUNT_OF(units); i++)
        if (!has_word(rn_error_message(error), units[i]))
            fail_msg("the error about \"%s\" does not name %s: %s", text, units[i], rn_error_message(error));
    rn_drop(error);
}

RULE(b7_anything_else_is_an_error_that_shows_the_text_and_the_units) {
    static const char *const bad[] = {"ten seconds", "seconds",       "10 parsecs",
                                      "10 months",   "10 years",      "10 secondss",
                                      "10 s s",      "10 s 5 ms",     "10 seconds tomorrow",
                                      "1.5.2 s",     "1,5 s",         "10 10",
                                      "0x10 s",      "1e400 s",       "--1 s",
                                      "10 sec onds", "%s%n 10",       "10\ts\tx",
                                      ".",           ". s",           "s10",
                                      "1 s\n2",      "10 \xc2\xb5s?", "10 nan",
                                      "+-1",         "10 m s"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) assert_duration_refused(bad[i]);
    int64_t ns = 1;
    rn_value error = rn_parse_duration("", &ns);
    assert_error_code(error, RN_INVALID);
    rn_drop(error);
}

RULE(b7_negative_durations_and_numbers_that_are_none_are_errors) {
    static const char *const bad[] = {"-1",         "-1 s",  "-0.5 hours", "-1 ns", "-9223372036854775808 ns",
                                      "nan",        "NaN s", "inf",        "-inf",  "infinity hours",
                                      "nan seconds"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) assert_duration_refused(bad[i]);
}

RULE(b7_durations_beyond_the_range_are_errors_however_long_the_number) {
    static const char *const bad[] = {"9223372036854775807 ns", "9223372036854775808 ns", "18446744073709551616 ns",
                                      "18446744073709551617 s", "999999999999 weeks",     "101 years"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) assert_duration_refused(bad[i]);
    static char digits[100002], zeros[100002];
    memset(digits, '9', sizeof digits - 1);
    assert_duration_refused(digits);
    memset(zeros, '0', sizeof zeros - 1);
    zeros[1] = '.';
    assert_parses(zeros, 0);
}

RULE(b7_texts_stand_wherever_a_duration_is_taken) {
    rn_runtime *rn = OPEN_VIRTUAL();
    rn_task task = scripted_task(1);
    task.start_in_text = "250 ms";
    task.every_text = "1 minute";
    task.times = 2;
    assert_ends_with_int(rn_submit(rn, &task), iteration_value(1, 2));
    assert_true(rn_testing_now(rn) == RN_MILLISECONDS(250) + RN_MINUTES(1));
    close_runtime(rn);
}

static void assert_time(const char *text, int64_t seconds) {
    int64_t ns = -77;
    rn_value error = rn_parse_time(text, &ns);
    if (!rn_is_none(error)) fail_msg("\"%s\" is refused: %s", text, rn_error_message(error));
    if (ns != seconds * RN_SECONDS(1))
        fail_msg("\"%s\" is read as %" PRId64 " ns, not as %" PRId64 " s", text, ns, seconds);
}

static void use_time_zone(const char *zone) {
    setenv("TZ", zone, 1);
    tzset();
}

RULE(b7_dates_and_times_are_local_unless_they_say_their_offset) {
    const char *before = getenv("TZ");
    char *saved = before ? strdup(before) : NULL;
    use_time_zone("CET-1CEST,M3.5.0,M10.5.0/3");
    assert_time("2030-12-24 18:00", 1924362000);
    assert_time("2030-12-24T18:00:30", 1924362030);
    assert_time("2030-07-24 18:00", 1911139200);
    assert_time("2030-12-24 18:00Z", 1924365600);
    assert_time("2030-12-24T18:00:30+02:00", 1924358430);
    assert_time("2030-12-24T18:00:30-05:30", 1924385430);
    assert_time("1970-01-01 00:00Z", 0);
    assert_time("2028-02-29 12:00Z", 1835438400);
    use_time_zone("UTC0");
    assert_time("2030-12-24 18:00", 1924365600);
    if (saved) use_time_zone(saved);
    else unsetenv("TZ");
    tzset();
    free(saved);
}

RULE(b7_what_is_no_date_and_time_is_an_error_that_shows_it) {
    static const char *const bad[] = {"tomorrow",
                                      "2030-13-01 10:00",
                                      "2030-02-30 10:00",
                                      "2030-02-29 10:00Z",
                                      "2030-12-24 24:61",
                                      "2030-12-24 25:00",
                                      "2030-12-24 18:00 o'clock",
                                      "24.12.2030 18:00",
                                      "2030-00-10 10:00",
                                      "2030-01-00 10:00",
                                      "2030-12-24 18:00+99:00",
                                      "99999999999999999999-01-01 10:00",
                                      "2030-12-24 18:00:99",
                                      "-2030-12-24 18:00"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        int64_t ns = 12345;
        rn_value error = rn_parse_time(bad[i], &ns);
        if (!rn_is_error(error)) fail_msg("\"%s\" is read as %" PRId64 " ns", bad[i], ns);
        assert_error_code(error, RN_INVALID);
        assert_contains(rn_error_message(error), bad[i]);
        assert_int_equal(ns, 12345);
        rn_drop(error);
    }
}

/* The third tick of this run is due beyond 64 bits of nanoseconds: it never comes, least of all early. */
RULE(b7_a_tick_beyond_the_range_never_comes) {
    rn_runtime *rn = OPEN_VIRTUAL();
    rn_task task = scripted_task(1);
    task.start_in = RN_DURATION_MAX;
    task.every = RN_DURATION_MAX;
    task.times = 5;
    rn_future *future = rn_submit(rn, &task);
    assert_int_equal(rn_testing_advance(rn, RN_DURATION_MAX - 1), RN_OK);
    assert_story(1, "");
    assert_int_equal(rn_testing_advance(rn, 1), RN_OK);
    assert_story(1, "f1 i1");
    assert_int_equal(rn_testing_advance(rn, RN_DURATION_MAX), RN_OK);
    assert_story(1, "f1 i1 f2 i2");
    assert_int_equal(rn_wait(future, RN_DAYS(1)), RN_TIMED_OUT);
    assert_true(rn_stop(future));
    assert_ends_with_int(future, iteration_value(1, 2));
    assert_story(1, "f1 i1 f2 i2 s2 z2");
    close_runtime(rn);
}

RULE(b7_a_wait_longer_than_the_range_is_a_long_wait) {
    rn_runtime *rn = OPEN_VIRTUAL();
    rn_future *first = rn_run(rn, give_back, .arg = rn_int(1), .start_in = RN_HOURS(1));
    assert_int_equal(rn_wait(first, INT64_MAX), RN_OK);
    rn_future *second = rn_run(rn, give_back, .arg = rn_int(2), .start_in = RN_HOURS(1));
    assert_int_value(rn_result_within(second, INT64_MAX), 2);
    rn_future *third = rn_run(rn, give_back, .arg = rn_int(3), .start_in = RN_HOURS(1));
    assert_int_equal(rn_wait(third, INT64_MIN), RN_OK);
    assert_true(rn_testing_now(rn) == RN_HOURS(3));
    rn_release(first);
    rn_release(second);
    rn_release(third);
    close_runtime(rn);
}
