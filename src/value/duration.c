/*
 * Durations and times as people type them. No locale has a say: the decimal point is a point.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "value/value.h"

#define UNITS "ns, us, ms, s, m, h, d, w, or nanosecond(s), microsecond(s), millisecond(s), second(s), minute(s), " \
              "hour(s), day(s), week(s)"

static const struct unit {
    const char *name; /* a plural "s" may follow where the name has more than two letters */
    int64_t ns;
} units[] = {
    {"", INT64_C(1000000000)},
    {"ns", 1},
    {"nanosecond", 1},
    {"us", INT64_C(1000)},
    {"microsecond", INT64_C(1000)},
    {"ms", INT64_C(1000000)},
    {"millisecond", INT64_C(1000000)},
    {"s", INT64_C(1000000000)},
    {"sec", INT64_C(1000000000)},
    {"second", INT64_C(1000000000)},
    {"m", INT64_C(60000000000)},
    {"min", INT64_C(60000000000)},
    {"minute", INT64_C(60000000000)},
    {"h", INT64_C(3600000000000)},
    {"hr", INT64_C(3600000000000)},
    {"hour", INT64_C(3600000000000)},
    {"d", INT64_C(86400000000000)},
    {"day", INT64_C(86400000000000)},
    {"w", INT64_C(604800000000000)},
    {"week", INT64_C(604800000000000)},
};

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static const char *skip_spaces(const char *text) {
    while (is_space(*text)) text++;
    return text;
}

static bool is_unit(const char *name, const char *text, size_t length) {
    size_t full = strlen(name);
    if (strncasecmp(name, text, length) == 0 && length == full) return true;
    bool plural = full > 2 || strcmp(name, "hr") == 0;
    return plural && length == full + 1 && strncasecmp(name, text, full) == 0 && (text[full] | 0x20) == 's';
}

/* The unit that the rest of a text names; 0: none. */
static int64_t unit_of(const char *text) {
    size_t length = strlen(text);
    while (length > 0 && is_space(text[length - 1])) length--;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (is_unit(units[i].name, text, length)) return units[i].ns;
    return 0;
}

static rn_value refuse(const char *text, const char *why) {
    return rn_error(RN_INVALID,
                    "\"%.80s\" %s; a duration is a number and a unit, such as \"10 seconds\" or \"1.5 hours\", from 0 "
                    "to 36525 days; units: " UNITS,
                    text, why);
}

/* Digits, of which the first 15 after the point count: as many as a double holds. */
static const char *read_number(const char *text, uint64_t *whole, double *fraction, bool *over) {
    *whole = 0;
    *fraction = 0;
    for (; is_digit(*text); text++) {
        if (*whole > (UINT64_MAX - 9) / 10) *over = true;
        else *whole = *whole * 10 + (uint64_t)(*text - '0');
    }
    if (*text != '.') return text;
    double digits = 0, scale = 1;
    for (text++; is_digit(*text); text++) {
        if (scale >= 1e15) continue;
        digits = digits * 10 + (*text - '0');
        scale *= 10;
    }
    *fraction = digits / scale;
    return text;
}

rn_value rn_parse_duration(const char *text, int64_t *duration_ns) {
    if (!text) return rn_error(RN_INVALID, "a duration is NULL; accepted is a text such as \"10 seconds\"");
    const char *start = skip_spaces(text);
    if (*start == '-') return refuse(text, "is negative");
    uint64_t whole;
    double fraction;
    bool over = false;
    if (*start == '+') start++;
    if (!is_digit(*start) && !(*start == '.' && is_digit(start[1]))) return refuse(text, "is not a duration");
    const char *end = read_number(start, &whole, &fraction, &over);
    int64_t unit = unit_of(skip_spaces(end));
    if (unit == 0) return refuse(text, "has no known unit");
    if (over || whole > (uint64_t)(RN_DURATION_MAX / unit)) return refuse(text, "is too long");
    int64_t total = (int64_t)whole * unit + (int64_t)(fraction * (double)unit + 0.5);
    if (total > RN_DURATION_MAX) return refuse(text, "is too long");
    *duration_ns = total;
    return rn_none();
}

/* Days from 1970-01-01 to a date of the Gregorian calendar: whole 400-year eras, then the year
 * counted from March, so that the leap day is its last. */
static int64_t days_from_date(int64_t year, int month, int day) {
    year -= month <= 2;
    int64_t era = year / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static int days_in_month(int year, int month) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

/* Reads exactly `count` digits. */
static bool read_digits(const char **text, int count, int *number) {
    *number = 0;
    for (int i = 0; i < count; i++) {
        if (!is_digit((*text)[i])) return false;
        *number = *number * 10 + ((*text)[i] - '0');
    }
    *text += count;
    return true;
}

static bool read_char(const char **text, char wanted) {
    if (**text != wanted) return false;
    (*text)++;
    return true;
}

struct moment {
    int year, month, day, hour, minute, second;
    int64_t fraction_ns;
    bool has_offset;
    int offset_minutes;
};

static bool read_date(const char **text, struct moment *moment) {
    return read_digits(text, 4, &moment->year) && read_char(text, '-') && read_digits(text, 2, &moment->month) &&
           read_char(text, '-') && read_digits(text, 2, &moment->day);
}

static bool read_clock(const char **text, struct moment *moment) {
    if (!read_digits(text, 2, &moment->hour) || !read_char(text, ':') || !read_digits(text, 2, &moment->minute))
        return false;
    if (!read_char(text, ':')) return true;
    if (!read_digits(text, 2, &moment->second)) return false;
    if (!read_char(text, '.')) return true;
    if (!is_digit(**text)) return false;
    for (int64_t weight = 100000000; is_digit(**text); (*text)++, weight /= 10)
        moment->fraction_ns += (**text - '0') * weight;
    return true;
}

static bool read_offset(const char **text, struct moment *moment) {
    *text = skip_spaces(*text);
    if (**text == '\0') return true;
    moment->has_offset = true;
    if (read_char(text, 'Z') || read_char(text, 'z')) return true;
    bool west = **text == '-';
    int hours, minutes = 0;
    if (!read_char(text, west ? '-' : '+') || !read_digits(text, 2, &hours)) return false;
    if ((read_char(text, ':') || is_digit(**text)) && !read_digits(text, 2, &minutes)) return false;
    moment->offset_minutes = (west ? -1 : 1) * (hours * 60 + minutes);
    return hours <= 23 && minutes <= 59;
}

static bool read_moment(const char *text, struct moment *moment) {
    text = skip_spaces(text);
    if (!read_date(&text, moment)) return false;
    bool clock = read_char(&text, 'T') || read_char(&text, 't') || (*text == ' ' && is_digit(text[1]) && text++);
    if (clock && !read_clock(&text, moment)) return false;
    if (!read_offset(&text, moment)) return false;
    return *skip_spaces(text) == '\0';
}

static bool in_range(const struct moment *moment) {
    return moment->year >= 1970 && moment->year <= 2261 && moment->month >= 1 && moment->month <= 12 &&
           moment->day >= 1 && moment->day <= days_in_month(moment->year, moment->month) && moment->hour <= 23 &&
           moment->minute <= 59 && moment->second <= 59;
}

static int64_t seconds_of(const struct moment *moment) {
    if (moment->has_offset)
        return days_from_date(moment->year, moment->month, moment->day) * 86400 + moment->hour * 3600 +
               (moment->minute - moment->offset_minutes) * 60 + moment->second;
    struct tm local = {.tm_year = moment->year - 1900,
                       .tm_mon = moment->month - 1,
                       .tm_mday = moment->day,
                       .tm_hour = moment->hour,
                       .tm_min = moment->minute,
                       .tm_sec = moment->second,
                       .tm_isdst = -1};
    return (int64_t)mktime(&local);
}

rn_value rn_parse_time(const char *text, int64_t *time_ns) {
    if (!text) return rn_error(RN_INVALID, "a time is NULL; accepted is a text such as \"2030-12-24 18:00\"");
    struct moment moment = {0};
    if (!read_moment(text, &moment) || !in_range(&moment) || seconds_of(&moment) < 0)
        return rn_error(RN_INVALID,
                        "\"%.80s\" is not a date and time; accepted are \"2030-12-24 18:00\", \"2030-12-24T18:00:30\", "
                        "with \"Z\" or \"+02:00\" behind for an offset, from 1970 to 2261",
                        text);
    *time_ns = seconds_of(&moment) * 1000000000 + moment.fraction_ns;
    return rn_none();
}
