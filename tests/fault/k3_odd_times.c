/*
 * K3: 24 odd durations in every place that takes one, and odd texts in every place that takes text. Each
 * is refused with RN_INVALID, or taken for what it is, or cut at the end of the range: the table says
 * which. None makes a wait hang, end at once when it is long, or spin.
 *
 * A cell has one letter per acceptable answer:
 *   r  refused with RN_INVALID      n  at once         w  waits (until it is cancelled)
 *   o  the awaited came in time     t  RN_TIMED_OUT
 */
#include <inttypes.h>
#include <runium/testing.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "support.h"

#define NUMBERS 24
#define PLACES 8
/* Longer than anything here takes: a wait for at least this must not time out. */
#define LONG RN_MINUTES(10)

static rn_value ends(rn_call *call) {
    (void)call;
    return rn_int(1);
}

static bool is_invalid(rn_value value) { return rn_is_error(value) && rn_error_code(value) == RN_INVALID; }

/* ------------------------------------------------------------------------------------------------
 * Numbers: each place gives the letter of what happened, and knows which are acceptable.
 */
static char answer_of_code(int code) {
    switch (code) {
    case RN_OK:
        return 'o';
    case RN_TIMED_OUT:
        return 't';
    case RN_INVALID:
        return 'r';
    default:
        return '?';
    }
}

/* A run is refused, ends at once, or waits for the clock; one that waits is stopped. */
static char answer_of_run(rn_runtime *runtime, rn_future *future) {
    char answer = 'w';
    rn_testing_settle(runtime);
    if (rn_done(future))
        answer = is_invalid(rn_result(future)) ? 'r' : 'n';
    rn_stop(future);
    check(rn_wait(future, LONG) == RN_OK, "a run with an odd time did not end");
    rn_release(future);
    return answer;
}

static char start_in(rn_runtime *runtime, int64_t odd) {
    return answer_of_run(runtime, rn_run(runtime, ends, .start_in = odd));
}

static char at(rn_runtime *runtime, int64_t odd) { return answer_of_run(runtime, rn_run(runtime, ends, .at = odd)); }

/* Two iterations: the second waits for its tick. */
static char every(rn_runtime *runtime, int64_t odd) {
    return answer_of_run(runtime, rn_run(runtime, ends, .every = odd, .times = 2));
}

static char wait_outside(rn_runtime *runtime, int64_t odd) {
    rn_future *future = rn_run(runtime, ends, .start_in = RN_MILLISECONDS(2));
    char answer = answer_of_code(rn_wait(future, odd));
    rn_wait(future, -1);
    rn_release(future);
    return answer;
}

static char result_within(rn_runtime *runtime, int64_t odd) {
    rn_future *future = rn_run(runtime, ends, .start_in = RN_MILLISECONDS(2));
    rn_value value = rn_result_within(future, odd);
    char answer = answer_of_code(rn_is_error(value) ? rn_error_code(value) : RN_OK);
    rn_wait(future, -1);
    rn_release(future);
    return answer;
}

static rn_value waits_inside(rn_call *call) {
    char answer = wait_outside(rn_runtime_of(call), rn_as_int(rn_arg(call)));
    return rn_int(answer);
}

static char wait_inside(rn_runtime *runtime, int64_t odd) {
    rn_future *future = rn_run(runtime, waits_inside, .arg = rn_int(odd));
    rn_value value = rn_result(future);
    char answer = rn_kind(value) == RN_INT ? (char)rn_as_int(value) : '?';
    rn_release(future);
    return answer;
}

static char close_within(rn_runtime *runtime, int64_t odd) {
    (void)runtime;
    rn_runtime *own = rn_open(.workers = 1, .log = rn_log_nothing);
    rn_release(rn_run(own, ends, .start_in = RN_MILLISECONDS(2)));
    int code = rn_close(own, .within = odd);
    if (code != RN_OK)
        check(rn_close(own) == RN_OK, "a runtime did not close after an odd limit");
    return answer_of_code(code);
}

static char advance(rn_runtime *runtime, int64_t odd) {
    (void)runtime;
    rn_testing kit = {.size = sizeof kit, .virtual_clock = true};
    rn_runtime *own = rn_open(.workers = 1, .log = rn_log_nothing, .testing = &kit);
    rn_future *future = rn_run(own, ends, .every = RN_DURATION_MAX);
    int code = rn_testing_advance(own, odd);
    int again = rn_testing_advance(own, odd);
    check(again == code || again == RN_INVALID, "advance gave %d, then %d", code, again);
    check(rn_testing_now(own) >= 0, "the clock went back to %" PRId64, rn_testing_now(own));
    rn_stop(future);
    rn_release(future);
    check(rn_close(own) == RN_OK, "a runtime with a virtual clock did not close");
    return answer_of_code(code);
}

/* What each place may answer: to negative numbers, to those that time out here, to long ones, to too long ones. */
struct place {
    const char *name;
    char (*answer)(rn_runtime *runtime, int64_t odd);
    const char *negative, *short_one, *long_one, *too_long;
};

static const struct place places[PLACES] = {
    {"start_in", start_in, "r", "nw", "w", "r"},
    {"every", every, "r", "nw", "w", "r"},
    {"at", at, "n", "n", "nw", "wr"}, /* a date: only one that is far ahead waits */
    {"wait", wait_outside, "o", "to", "o", "or"},
    {"result", result_within, "otr", "to", "o", "or"},
    {"in task", wait_inside, "o", "to", "o", "or"},
    {"close", close_within, "otr", "to", "o", "or"},
    {"advance", advance, "r", "o", "o", "or"},
};

static const int64_t numbers[NUMBERS] = {
    0,
    1,
    -1,
    2,
    -2,
    999,
    999999999,
    1000000000,
    INT32_MAX,
    INT32_MIN,
    UINT32_MAX,
    INT64_C(0x100000000),
    RN_MILLISECONDS(INT32_MAX),               /* what a wait in int milliseconds holds */
    RN_MILLISECONDS(INT32_MAX) + 1000000,
    INT64_C(9007199254740993),                /* 2 ** 53 + 1: not a double */
    RN_SECONDS(INT32_MAX),
    RN_DURATION_MAX - 1,
    RN_DURATION_MAX,
    RN_DURATION_MAX + 1,
    INT64_MAX - RN_SECONDS(2000000000),       /* overflows when now is added to it */
    INT64_MAX - 1,
    INT64_MAX,
    INT64_MIN + 1,
    INT64_MIN,
};

static const char *acceptable(const struct place *place, int64_t odd) {
    if (odd < 0)
        return place->negative;
    if (odd > RN_DURATION_MAX)
        return place->too_long;
    /* No limit: for a close 0 is none; for a start it is the default. */
    if (odd == 0 && place->answer == close_within)
        return "o";
    return odd >= LONG ? place->long_one : place->short_one;
}

/* The canary expects every place to refuse 1, as if the table had a slip in it. */
static void prove_number(rn_runtime *runtime, int64_t odd) {
    printf("  %20" PRId64, odd);
    for (int i = 0; i < PLACES; i++) {
        const char *wanted = proof_canary && odd == 1 ? "r" : acceptable(&places[i], odd);
        char answer = places[i].answer(runtime, odd);
        printf(" %7c", answer);
        check(strchr(wanted, answer) != NULL, "%s %" PRId64 ": %c, not one of %s", places[i].name, odd, answer, wanted);
        proof_case();
    }
    printf("\n");
}

static void prove_numbers(rn_runtime *runtime) {
    printf("  %20s", "nanoseconds");
    for (int i = 0; i < PLACES; i++)
        printf(" %7s", places[i].name);
    printf("\n");
    for (int i = 0; i < NUMBERS; i++)
        prove_number(runtime, numbers[i]);
}

/* ------------------------------------------------------------------------------------------------
 * Sums that overflow: start + (k - 1) x every, on a clock that jumps there.
 */
static void prove_sum(int64_t delay, int64_t period, uint64_t times) {
    rn_testing kit = {.size = sizeof kit, .virtual_clock = true};
    rn_runtime *runtime = rn_open(.workers = 1, .log = rn_log_nothing, .testing = &kit);
    rn_future *future = rn_run(runtime, ends, .start_in = delay, .every = period, .times = times);
    int code = rn_wait(future, RN_DURATION_MAX);
    check(code == RN_OK || code == RN_TIMED_OUT, "a sum that overflows: %s", rn_code_name(code));
    int64_t before = 0, now = rn_testing_now(runtime);
    for (int i = 0; i < 4; i++, before = now, now = rn_testing_now(runtime)) {
        check(now >= before, "the clock went from %" PRId64 " to %" PRId64, before, now);
        code = rn_testing_advance(runtime, RN_DURATION_MAX);
        check(code == RN_OK || code == RN_INVALID, "advance to the end of time: %s", rn_code_name(code));
    }
    rn_stop(future);
    rn_release(future);
    check(rn_close(runtime) == RN_OK, "close after a sum that overflows");
    printf("  %" PRId64 " + %" PRIu64 " x %" PRId64 ": the clock ends at %" PRId64 "\n", delay, times - 1, period, now);
    proof_case();
}

static void prove_sums(void) {
    prove_sum(RN_DURATION_MAX, RN_DURATION_MAX, 2);
    prove_sum(RN_DURATION_MAX, RN_DURATION_MAX, 4);
    prove_sum(0, RN_DURATION_MAX, 4);
    prove_sum(0, RN_DURATION_MAX, UINT64_MAX);
    prove_sum(1, RN_DURATION_MAX - 1, 3);
    prove_sum(0, RN_WEEKS(4000), 12);
}

/* ------------------------------------------------------------------------------------------------
 * Texts
 */
enum verdict { REFUSED, TAKEN, EITHER };

struct text {
    const char *text;
    enum verdict verdict;
    int64_t ns; /* if taken */
};

static const struct text durations[] = {
    {"nan", REFUSED, 0},
    {"NaN s", REFUSED, 0},
    {"nan(1)", REFUSED, 0},
    {"inf", REFUSED, 0},
    {"-inf seconds", REFUSED, 0},
    {"infinity", REFUSED, 0},
    {"-0", EITHER, 0},
    {"-0.0 s", EITHER, 0},
    {"-1", REFUSED, 0},
    {"-1e-300 s", REFUSED, 0},
    {"4.9e-324 s", EITHER, 0},
    {"1e-400", EITHER, 0},
    {"1e999", REFUSED, 0},
    {"1e999 ns", REFUSED, 0},
    {"99999999999999999999 weeks", REFUSED, 0},
    {"", REFUSED, 0},
    {" ", REFUSED, 0},
    {"\t\n", REFUSED, 0},
    {"s", REFUSED, 0},
    {"seconds", REFUSED, 0},
    {".", REFUSED, 0},
    {". s", REFUSED, 0},
    {"-", REFUSED, 0},
    {"+", REFUSED, 0},
    {"0", TAKEN, 0},
    {"0.0 s", TAKEN, 0},
    {"1 ns", TAKEN, 1},
    {"0.0000000001 s", EITHER, 0},
    {"9223372036854775807 ns", REFUSED, 0},
    {"9223372036854775808 ns", REFUSED, 0},
    {"18446744073709551617 ns", REFUSED, 0},
    {"3155760000000000000 ns", TAKEN, RN_DURATION_MAX},
    {"3155760000000000001 ns", REFUSED, 0},
    {"36525 days", TAKEN, RN_DURATION_MAX},
    {"36525.0000001 days", REFUSED, 0},
    {"0x10", REFUSED, 0},
    {"0x1p3 s", REFUSED, 0},
    {"1,5 s", REFUSED, 0},
    {"1 parsec", REFUSED, 0},
    {"1 s s", REFUSED, 0},
    {"1 2 s", REFUSED, 0},
    {"1..5 s", REFUSED, 0},
    {"1 s.", REFUSED, 0},
    {"\xd9\xa1 s", REFUSED, 0}, /* an Arabic one */
    {"\xff\xfe", REFUSED, 0},
};

static const struct text dates[] = {
    {"", REFUSED, 0},
    {" ", REFUSED, 0},
    {"nan", REFUSED, 0},
    {"0000-00-00 00:00", REFUSED, 0},
    {"2030-00-10 00:00", REFUSED, 0},
    {"2030-02-30 00:00", REFUSED, 0},
    {"2030-13-01 00:00", REFUSED, 0},
    {"2030-12-24 25:00", REFUSED, 0},
    {"2030-12-24 18:60", REFUSED, 0},
    {"2030-12-24T18:00:61Z", REFUSED, 0},
    {"2030-12-24 18:00+99:99", REFUSED, 0},
    {"2030-12-24 18:00 pm", REFUSED, 0},
    {"2030-12-24 18:00Z Z", REFUSED, 0},
    {"-2030-01-01 00:00", REFUSED, 0},
    {"1e999-01-01 00:00", REFUSED, 0},
    {"99999999999999999999-01-01 00:00", REFUSED, 0},
    {"9999-12-31 23:59Z", REFUSED, 0}, /* beyond 64 bits of nanoseconds */
    {"2262-04-11T23:47:17Z", REFUSED, 0},
    {"1600-01-01 00:00Z", REFUSED, 0},
    {"0x7ee-01-01 00:00", REFUSED, 0},
    {"\xff", REFUSED, 0},
    {"2262-04-11T23:47:16Z", EITHER, INT64_C(9223372036000000000)},
    {"1970-01-01 00:00Z", TAKEN, 0},
    {"1970-01-01T00:00:01+00:00", TAKEN, INT64_C(1000000000)},
    {"1969-12-31T23:59:59Z", EITHER, INT64_C(-1000000000)},
};

typedef rn_value parse_fn(const char *text, int64_t *ns);

static bool prove_text(const struct text *text, parse_fn *parse) {
    const int64_t untouched = INT64_C(-77);
    int64_t ns = untouched;
    rn_value error = parse(text->text, &ns);
    bool taken = rn_is_none(error);
    check(taken || is_invalid(error), "\"%s\": neither taken nor refused", text->text);
    check(taken || ns == untouched, "\"%s\" was refused, and the result touched", text->text);
    check(taken || rn_error_message(error)[0] != '\0', "\"%s\" was refused without a message", text->text);
    check(!taken || text->verdict != REFUSED, "\"%s\" was taken for %" PRId64, text->text, ns);
    check(taken || text->verdict != TAKEN, "\"%s\" was refused", text->text);
    check(!taken || ns == text->ns, "\"%s\" was taken for %" PRId64, text->text, ns);
    rn_drop(error);
    proof_case();
    return taken;
}

/* The fields of a task that take text agree with the function that reads it; but nothing is no period. */
static void prove_field(const char *text, bool taken, rn_future *future) {
    rn_cancel(future);
    rn_wait(future, LONG);
    check(is_invalid(rn_result(future)) == !taken, "\"%s\" in a task is not what it is elsewhere", text);
    rn_release(future);
    proof_case();
}

static void prove_texts(rn_runtime *runtime) {
    for (unsigned i = 0; i < sizeof durations / sizeof *durations; i++) {
        const char *text = durations[i].text;
        bool taken = prove_text(&durations[i], rn_parse_duration);
        prove_field(text, taken, rn_run(runtime, ends, .start_in_text = text));
        prove_field(text, taken && durations[i].ns > 0, rn_run(runtime, ends, .every_text = text, .times = 1));
    }
    for (unsigned i = 0; i < sizeof dates / sizeof *dates; i++) {
        bool taken = prove_text(&dates[i], rn_parse_time);
        prove_field(dates[i].text, taken, rn_run(runtime, ends, .at_text = dates[i].text));
    }
}

/* Digits without end: as many as a page holds, in front of the point and behind it. */
static void prove_long_texts(void) {
    static char digits[4096];
    int64_t ns = -1;
    memset(digits, '1', sizeof digits - 1);
    rn_value beyond = rn_parse_duration(digits, &ns);
    check(is_invalid(beyond) && ns == -1, "4,095 digits were taken for a duration");
    memset(digits, '0', sizeof digits - 2);
    rn_value zero = rn_parse_duration(digits, &ns);
    check(is_invalid(zero) || ns == RN_SECONDS(1), "4,094 zeros and a one are %" PRId64, ns);
    rn_drop(beyond);
    rn_drop(zero);
    proof_case();
}

/* ------------------------------------------------------------------------------------------------
 * No spin: while runs with long odd times wait, this process uses next to no processor.
 */
static int64_t nanoseconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void *wait_long(void *future) {
    check(rn_wait(future, RN_DURATION_MAX) == RN_OK, "the longest wait timed out");
    return NULL;
}

static void prove_no_spin(rn_runtime *runtime) {
    static const int64_t waits[] = {LONG, RN_MILLISECONDS(INT32_MAX), RN_SECONDS(INT32_MAX), RN_DURATION_MAX};
    rn_future *futures[8];
    pthread_t waiter;
    for (int i = 0; i < 8; i++)
        futures[i] = i % 2 ? rn_run(runtime, ends, .start_in = waits[i / 2])
                           : rn_run(runtime, ends, .every = waits[i / 2], .start_in = RN_DURATION_MAX);
    bool waits_too = pthread_create(&waiter, NULL, wait_long, futures[7]) == 0;
    rn_testing_settle(runtime);
    const struct timespec look = {0, 300000000};
    int64_t used = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
    nanosleep(&look, NULL);
    used = nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - used;
    check(used < look.tv_nsec / 4, "waiting runs used %" PRId64 " us of processor in 300 ms", used / 1000);
    printf("  waiting runs used %" PRId64 " us of processor in 300 ms\n", used / 1000);
    for (int i = 0; i < 8; i++)
        check(rn_cancel(futures[i]), "a waiting run was not cancelled");
    if (waits_too)
        pthread_join(waiter, NULL);
    for (int i = 0; i < 8; i++)
        rn_release(futures[i]);
    proof_case();
}

int main(int argc, char **argv) {
    proof_begin(argc, argv, "K3");
    guard_against_hang(120);
    rn_runtime *runtime = rn_open(.workers = 2, .log = rn_log_nothing);
    prove_numbers(runtime);
    prove_sums();
    prove_texts(runtime);
    prove_long_texts();
    prove_no_spin(runtime);
    check(rn_close(runtime) == RN_OK, "close");
    return proof_end("odd times");
}
