/*
 * Errors: their parts, their causes, and how they look.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"
#include "value/value.h"

TEST(codes_have_names) {
    static const char *const names[] = {"RN_OK",         "RN_NO_MEMORY",  "RN_INVALID",    "RN_CLOSED",
                                        "RN_CANCELLED",  "RN_TIMED_OUT",  "RN_DEADLOCK",   "RN_NO_THREADS",
                                        "RN_QUEUE_FULL", "RN_FORKED",     "RN_TOO_LARGE",  "RN_UNSUPPORTED",
                                        "RN_NO_PROCESSES", "RN_CRASHED", "RN_NOT_PORTABLE", "RN_OVERTIME",
                                        "RN_QUARANTINED"};
    for (int i = 0; i < (int)COUNT_OF(names); i++) assert_string_equal(rn_code_name(-i), names[i]);
    const int others[] = {1, EIO, -(int)COUNT_OF(names), INT32_MIN, INT32_MAX};
    for (size_t i = 0; i < COUNT_OF(others); i++) assert_string_equal(rn_code_name(others[i]), "unknown code");
}

TEST(an_error_knows_where_it_arose) {
    rn_value error = rn_error(EIO, "smtp: %s", "refused");
    int line = __LINE__ - 1;
    assert_int_equal(rn_error_code(error), EIO);
    assert_string_equal(rn_error_message(error), "smtp: refused");
    assert_contains(rn_error_file(error), "errors.c");
    assert_int_equal(rn_error_line(error), line);
    assert_string_equal(rn_error_task(error), "");
    assert_string_equal(rn_error_hook(error), "");
    assert_int_equal(rn_error_iteration(error), 0);
    assert_true(rn_is_none(rn_error_cause(error)));
    rn_drop(error);
}

TEST(an_error_without_a_code_or_a_file_has_others) {
    rn_value error = rn_error_at(NULL, 0, 0, "%s", "");
    assert_int_equal(rn_error_code(error), RN_INVALID);
    assert_string_equal(rn_error_file(error), "");
    assert_string_equal(rn_error_message(error), "");
    rn_drop(error);
}

TEST(a_cause_is_taken) {
    rn_value cause = rn_error(1, "below");
    rn_value error = rn_error_because(cause, 2, "above");
    assert_int_equal(rn_error_cause(error).bits, cause.bits);
    assert_int_equal(rn_error_code(rn_error_cause(error)), 1);
    rn_drop(error);
}

TEST(a_cause_that_is_no_error_is_taken_too) {
    rn_drop(rn_error_because(rn_none(), 2, "above"));
    rn_drop(rn_error_because(rn_text("a text"), 2, "above"));
    rn_drop(rn_error_because(rni_error_timed_out(), 2, "above"));
}

TEST(without_memory_the_cause_is_dropped) {
    rn_value cause = rn_error(1, "below");
    rn_testing_fail(RN_FAULT_ALLOCATION, 1, 1);
    assert_error_code(rn_error_because(cause, 2, "above"), RN_NO_MEMORY);
}

/* A recursion through so many causes would run out of stack. */
TEST(a_long_chain_of_causes_is_freed_in_a_loop) {
    uint64_t held = rn_testing_held(RN_FAULT_ALLOCATION);
    rn_value error = rn_error(1, "the first");
    for (int i = 0; i < 400000; i++) error = rn_error_because(error, 2, "x");
    rn_drop(error);
    assert_int_equal(rn_testing_held(RN_FAULT_ALLOCATION), held);
}

TEST(a_cause_that_has_another_owner_stays) {
    rn_value bottom = rn_error(1, "bottom");
    rn_value middle = rn_error_because(rn_keep(bottom), 2, "middle");
    rn_value top = rn_error_because(rn_keep(middle), 3, "top");
    rn_drop(top);
    assert_string_equal(rn_error_message(middle), "middle");
    rn_drop(middle);
    assert_string_equal(rn_error_message(bottom), "bottom");
    rn_drop(bottom);
}

/* ---- stamps: where a run puts its name on an error ---- */

TEST(a_fresh_error_is_stamped_itself) {
    rn_value error = rn_error(5, "why"), stamped = rni_error_stamp(error, "task", "on_iter", 7);
    assert_int_equal(stamped.bits, error.bits);
    assert_string_equal(rn_error_task(stamped), "task");
    assert_string_equal(rn_error_hook(stamped), "on_iter");
    assert_int_equal(rn_error_iteration(stamped), 7);
    rn_drop(stamped);
}

static void check_wrapped(rn_value stamped, uint64_t cause, int code, const char *message) {
    assert_int_not_equal(stamped.bits, cause);
    assert_int_equal(rn_error_cause(stamped).bits, cause);
    assert_int_equal(rn_error_code(stamped), code);
    assert_string_equal(rn_error_message(stamped), message);
    assert_string_equal(rn_error_task(stamped), "task");
    rn_drop(stamped);
}

TEST(an_error_of_others_becomes_the_cause) {
    rn_value kept = rn_error(5, "why");
    check_wrapped(rni_error_stamp(rn_keep(kept), "task", "", 1), kept.bits, 5, "why");
    assert_string_equal(rn_error_task(kept), "");
    rn_drop(kept);
    rn_value named = rni_error_stamp(rn_error(6, "it"), "another", "", 1);
    uint64_t bits = named.bits;
    check_wrapped(rni_error_stamp(named, "task", "", 2), bits, 6, "it");
    rn_value fixed = rni_error_timed_out();
    check_wrapped(rni_error_stamp(fixed, "task", "", 1), fixed.bits, RN_TIMED_OUT, rn_error_message(fixed));
}

TEST(without_memory_an_error_of_others_stays_bare) {
    rn_value fixed = rni_error_cancelled();
    rn_testing_fail(RN_FAULT_ALLOCATION, 1, 1);
    assert_int_equal(rni_error_stamp(fixed, "task", "", 1).bits, fixed.bits);
}

TEST(the_name_in_a_stamp_is_cut) {
    char name[RN_NAME_MAX + 20];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    rn_value stamped = rni_error_stamp(rn_error(5, "why"), name, "", 1);
    assert_int_equal(strlen(rn_error_task(stamped)), RN_NAME_MAX);
    rn_drop(stamped);
}

TEST(errors_that_need_no_memory_have_their_codes) {
    rn_testing_fail(RN_FAULT_ALLOCATION, 1, UINT64_MAX);
    const rn_value errors[] = {rni_error_no_memory(), rni_error_timed_out(), rni_error_forked(), rni_error_cancelled(),
                               rni_error_closed()};
    const int codes[] = {RN_NO_MEMORY, RN_TIMED_OUT, RN_FORKED, RN_CANCELLED, RN_CLOSED};
    for (size_t i = 0; i < COUNT_OF(codes); i++) {
        assert_error_code(errors[i], codes[i]);
        assert_true(rn_error_message(errors[i])[0] != '\0');
        assert_string_equal(rn_error_task(errors[i]), "");
        assert_int_equal(rn_error_line(errors[i]), 0);
    }
}

/* ---- what an error carries ---- */

TEST(an_error_carries_a_value) {
    rn_value error = rn_error(5, "why");
    assert_true(rn_is_none(rn_error_detail(error)));
    uint64_t bits = error.bits;
    error = rn_error_with(error, rn_text("more"));
    assert_int_equal(error.bits, bits); /* it is ours alone */
    assert_string_equal(rn_as_text(rn_error_detail(error)), "more");
    error = rn_error_with(error, rn_int(7)); /* in place of the former, which is dropped */
    assert_int_equal(rn_as_int(rn_error_detail(error)), 7);
    rn_drop(error);
}

/* Takes both. */
static void check_copied(rn_value error, rn_value copy) {
    assert_true(error.bits != copy.bits);
    assert_true(rn_is_none(rn_error_detail(error)));
    assert_int_equal(rn_as_int(rn_error_detail(copy)), 1);
    assert_int_equal(rn_error_code(copy), rn_error_code(error));
    assert_string_equal(rn_error_message(copy), rn_error_message(error));
    assert_string_equal(rn_error_task(copy), rn_error_task(error));
    assert_string_equal(rn_error_hook(copy), rn_error_hook(error));
    assert_true(rn_error_iteration(copy) == rn_error_iteration(error));
    assert_string_equal(rn_error_file(copy), rn_error_file(error));
    assert_int_equal(rn_error_line(copy), rn_error_line(error));
    assert_int_equal(rn_error_cause(copy).bits, rn_error_cause(error).bits);
    rn_drop(copy);
    rn_drop(error);
}

TEST(an_error_of_others_is_copied_to_carry_one) {
    rn_value error = rni_error_stamp(rn_error_because(rn_error(1, "below"), 5, "why"), "task", "on_iter", 7);
    check_copied(error, rn_error_with(rn_keep(error), rn_int(1)));
    check_copied(rni_error_timed_out(), rn_error_with(rni_error_timed_out(), rn_int(1)));
}

TEST(without_memory_an_error_of_others_carries_nothing) {
    uint64_t held = rn_testing_held(RN_FAULT_ALLOCATION);
    rn_value detail = rn_text("dropped"), fixed = rni_error_cancelled();
    rn_testing_fail(RN_FAULT_ALLOCATION, 1, 1);
    assert_int_equal(rn_error_with(fixed, detail).bits, fixed.bits);
    rn_value error = rn_error(5, "why"), kept = rn_keep(error);
    detail = rn_text("dropped");
    rn_testing_fail(RN_FAULT_ALLOCATION, 1, 1);
    assert_int_equal(rn_error_with(error, detail).bits, kept.bits);
    rn_drop(error);
    rn_drop(kept);
    assert_int_equal(rn_testing_held(RN_FAULT_ALLOCATION), held);
}

TEST(an_error_that_is_wrapped_in_a_stamp_carries_the_same) {
    rn_value error = rn_error_with(rn_error(5, "why"), rn_text("more"));
    rn_value stamped = rni_error_stamp(rn_keep(error), "task", "", 1);
    assert_true(stamped.bits != error.bits);
    assert_int_equal(rn_error_detail(stamped).bits, rn_error_detail(error).bits);
    rn_drop(error);
    assert_string_equal(rn_as_text(rn_error_detail(stamped)), "more");
    rn_drop(stamped);
}

/* Recursion through so many would run out of stack. */
TEST(a_long_chain_of_details_is_freed_in_a_loop) {
    uint64_t held = rn_testing_held(RN_FAULT_ALLOCATION);
    rn_value error = rn_error(1, "the first"), kept = rn_keep(error);
    for (int i = 0; i < 200000; i++) {
        error = rn_error_with(rn_error_because(rn_error_with(rn_error(1, "cause"), rn_text("x")), 2, "x"), error);
        if (i % 2) error = rn_error_because(error, 3, "y");
    }
    rn_drop(error);
    assert_string_equal(rn_error_message(kept), "the first");
    rn_drop(kept);
    assert_int_equal(rn_testing_held(RN_FAULT_ALLOCATION), held);
}

TEST(what_an_error_carries_is_not_shown) {
    char text[64];
    rn_value error = rn_error_with(rn_error_at("", 0, 5, "why"), rn_text("secret"));
    rn_format(error, text, sizeof text);
    assert_string_equal(text, "error 5: why");
    rn_drop(error);
}

/* ---- as text ---- */

/* In a buffer of every size the text is the beginning of the whole, ends with a NUL, and nothing is written behind. */
static void check_every_size(rn_value value, const char *text) {
    char buffer[600];
    size_t length = strlen(text);
    for (size_t size = 0; size <= length + 3; size++) {
        memset(buffer, '#', sizeof buffer);
        assert_int_equal(rn_format(value, size ? buffer : NULL, size), length);
        size_t shown = size == 0 ? 0 : size - 1 < length ? size - 1 : length;
        assert_memory_equal(buffer, text, shown);
        if (size > 0) assert_int_equal(buffer[shown], '\0');
        assert_int_equal(buffer[size == 0 ? 0 : shown + 1], '#');
    }
    rn_drop(value);
}

TEST(every_kind_has_a_text) {
    char pointer[64];
    snprintf(pointer, sizeof pointer, "pointer %p", (void *)pointer);
    check_every_size(rn_none(), "none");
    check_every_size(rn_bool(true), "true");
    check_every_size(rn_bool(false), "false");
    check_every_size(rn_int(INT64_MIN), "-9223372036854775808");
    check_every_size(rn_float(0.1), "0.10000000000000001");
    check_every_size(rn_text("a text"), "a text");
    check_every_size(rn_literal(""), "");
    check_every_size(rn_bytes("\x01\xff", 2), "2 bytes: 01 ff");
    check_every_size(rn_bytes("", 0), "0 bytes:");
    check_every_size(rn_pointer(pointer), pointer);
}

TEST(long_bytes_are_cut) {
    char expected[200] = "32 bytes:", zeroes[33] = {0};
    for (size_t i = 0; i < 32; i++) memcpy(expected + 9 + 3 * i, " 00", 4);
    check_every_size(rn_bytes(zeroes, 32), expected);
    expected[1] = '3';
    memcpy(expected + strlen(expected), " ...", 5);
    check_every_size(rn_bytes(zeroes, 33), expected);
}

/* With no file, so that the texts do not depend on where this one lies. */
TEST(an_error_shows_its_origin_and_its_causes) {
    check_every_size(rn_error_at("", 0, 5, "bare"), "error 5: bare");
    check_every_size(rn_error_at("a.c", 12, 5, "where"), "error 5: where\n  at a.c:12");
    check_every_size(rn_error_at("", 0, RN_INVALID, "ours"), "error -2 (RN_INVALID): ours");
    check_every_size(rni_error_stamp(rn_error_at("", 0, 5, "run"), "t", "", 3), "error 5: run\n  in task 't', iteration 3");
    check_every_size(rni_error_stamp(rn_error_at("a.c", 12, 5, "run"), "t", "on_error", 3),
                     "error 5: run\n  in task 't', iteration 3, on_error, at a.c:12");
    rn_value cause = rn_error_because_at("b.c", 2, rn_error_at("a.c", 1, 1, "one"), 2, "two");
    check_every_size(rn_error_because_at("", 0, cause, 3, "three"),
                     "error 3: three\n  caused by error 2: two\n  at b.c:2\n  caused by error 1: one\n  at a.c:1");
}
