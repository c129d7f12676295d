/*
 * Values: what goes in comes out, each keep is paired with a drop, and what fails says why.
 */
#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <wchar.h>

#include "support.h"
#include "value/value.h"

TEST(plain_values_come_out_as_they_went_in) {
    const int64_t numbers[] = {0, 1, -1, INT64_MAX, INT64_MIN, 1234567890123};
    const double fractions[] = {0.0, -0.0, 1.5, DBL_MAX, DBL_MIN, -INFINITY, 5e-324};
    int object;
    for (size_t i = 0; i < COUNT_OF(numbers); i++) assert_true(rn_as_int(rn_int(numbers[i])) == numbers[i]);
    for (size_t i = 0; i < COUNT_OF(fractions); i++) {
        double got = rn_as_float(rn_float(fractions[i]));
        assert_memory_equal(&got, &fractions[i], sizeof got);
    }
    assert_true(isnan(rn_as_float(rn_float(NAN))));
    assert_true(rn_as_bool(rn_bool(true)));
    assert_false(rn_as_bool(rn_bool(false)));
    assert_ptr_equal(rn_as_pointer(rn_pointer(&object)), &object);
    assert_null(rn_as_pointer(rn_pointer(NULL)));
    assert_true(rn_is_none(rn_none()));
}

TEST(kinds_have_names) {
    static const char *const names[] = {"none",  "bool",    "int",   "float", "text",
                                        "bytes", "pointer", "error", "buffer"};
    for (size_t i = 0; i < COUNT_OF(names); i++) assert_string_equal(rn_kind_name((enum rn_kind)i), names[i]);
    assert_string_equal(rn_kind_name((enum rn_kind)COUNT_OF(names)), "unknown kind");
    assert_string_equal(rn_kind_name((enum rn_kind)255), "unknown kind");
}

TEST(every_value_knows_its_kind) {
    rn_value values[] = {rn_none(),      rn_bool(true),   rn_int(1),        rn_float(1),
                         rn_text("t"),   rn_bytes("b", 1), rn_pointer(NULL), rn_error(5, "e"),
                         rn_buffer(1)};
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        assert_int_equal(rn_kind(values[i]), i);
        assert_int_equal(rn_is_none(values[i]), i == RN_NONE);
        assert_int_equal(rn_is_error(values[i]), i == RN_ERROR);
        rn_drop(values[i]);
    }
    assert_int_equal(sizeof(rn_value), 16);
}

/* ---- texts and bytes ---- */

static void check_text(rn_value value, const char *text) {
    assert_int_equal(rn_kind(value), RN_TEXT);
    assert_string_equal(rn_as_text(value), text);
    assert_int_equal(rn_length(value), strlen(text));
    rn_drop(value);
}

TEST(a_text_is_copied) {
    char text[] = "bob@example.org";
    rn_value copy = rn_text(text), part = rn_text_n(text, 3);
    memset(text, 'x', sizeof text - 1);
    check_text(copy, "bob@example.org");
    check_text(part, "bob");
    check_text(rn_text(""), "");
    check_text(rn_text_n("", 0), "");
    check_text(rn_text_n(NULL, 0), "");
    check_text(rn_textf("%d-%s", 5, "five"), "5-five");
    check_text(rn_textf("%s", ""), "");
}

TEST(a_literal_is_not_copied_and_never_fails) {
    rn_testing_fail(RN_FAULT_ALLOCATION, 1, UINT64_MAX);
    rn_value value = rn_literal("a literal");
    assert_int_equal(rn_testing_reached(RN_FAULT_ALLOCATION), 0);
    rn_drop(rn_keep(value));
    check_text(value, "a literal");
    check_text(rn_literal(""), "");
}

TEST(bytes_are_copied_whatever_they_are) {
    unsigned char data[256];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (unsigned char)i;
    rn_value value = rn_bytes(data, sizeof data), empty = rn_bytes(NULL, 0);
    assert_int_equal(rn_length(value), sizeof data);
    assert_memory_equal(rn_as_bytes(value), data, sizeof data);
    assert_ptr_not_equal(rn_as_bytes(value), data);
    assert_int_equal(rn_length(empty), 0);
    assert_non_null(rn_as_bytes(empty));
    rn_drop(value);
    rn_drop(empty);
}

TEST(texts_and_bytes_that_cannot_be_say_why) {
    int unused = 0;
    assert_fails(rn_text(NULL), RN_INVALID, "rn_text: the text is NULL");
    assert_fails(rn_text_n(NULL, 1), RN_INVALID, "rn_text_n: the text is NULL");
    assert_fails(rn_text_n("ab\0cd", 5), RN_INVALID, "a NUL at offset 2 of 5");
    assert_fails(rn_text_n("\0", 1), RN_INVALID, "a NUL at offset 0 of 1");
    assert_fails(rn_literal("ab\0cd"), RN_INVALID, "a NUL at offset 2 of 5");
    assert_fails(rn_textf("ab%cd", 0), RN_INVALID, "rn_textf: \"ab%cd\" gives a NUL inside the text");
    assert_fails(rn_bytes(NULL, 1), RN_INVALID, "rn_bytes: the data is NULL");
    assert_fails(rn_pointer_owned(&unused, NULL), RN_INVALID, "destroy is NULL");
}

/* An address that must not be read: the length alone is too much. */
TEST(what_is_too_long_is_refused_before_it_is_read) {
    void *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    size_t size = (size_t)RN_LENGTH_MAX + 1;
    assert_fails(rn_bytes(page, size), RN_TOO_LARGE, "4294967296 bytes of bytes: at most 4294967295 are accepted");
    assert_fails(rn_bytes(page, SIZE_MAX), RN_TOO_LARGE, "at most 4294967295");
    assert_fails(rn_text_n(page, size), RN_TOO_LARGE, "4294967296 bytes of text");
    munmap(page, 4096);
}

/* A wide character that no locale of this program can write. */
TEST(a_text_that_cannot_be_formatted_says_so) {
    assert_string_equal(setlocale(LC_ALL, "C"), "C");
    assert_fails(rn_textf("%ls", L"\x20ac"), RN_INVALID, "rn_textf: \"%ls\" cannot be formatted");
    assert_fails(rn_error(7, "%ls", L"\x20ac"), 7, "");
}

/* ---- owners ---- */

static int destroyed;
static void *destroyed_pointer;

static void destroy(void *pointer) {
    destroyed++;
    destroyed_pointer = pointer;
}

TEST(the_last_drop_destroys_once) {
    int object;
    destroyed = 0;
    rn_value value = rn_pointer_owned(&object, destroy);
    assert_int_equal(rn_kind(value), RN_POINTER);
    assert_ptr_equal(rn_as_pointer(value), &object);
    for (int i = 0; i < 1000; i++) assert_ptr_equal(rn_as_pointer(rn_keep(value)), &object);
    for (int i = 0; i < 1000; i++) rn_drop(value);
    assert_int_equal(destroyed, 0);
    rn_drop(value);
    assert_int_equal(destroyed, 1);
    assert_ptr_equal(destroyed_pointer, &object);
}

TEST(an_owned_pointer_without_memory_is_destroyed_at_once) {
    int object;
    destroyed = 0;
    rn_testing_fail(RN_FAULT_ALLOCATION, 1, 1);
    assert_error_code(rn_pointer_owned(&object, destroy), RN_NO_MEMORY);
    assert_int_equal(destroyed, 1);
}

TEST(keep_and_drop_of_what_nobody_counts_do_nothing) {
    rn_value values[] = {rn_none(), rn_bool(true), rn_int(1), rn_float(1), rn_pointer(&destroyed), rn_literal("x")};
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        rn_value kept = rn_keep(values[i]);
        assert_memory_equal(&kept, &values[i], sizeof kept);
        for (int times = 0; times < 3; times++) rn_drop(values[i]);
    }
    for (int times = 0; times < 3; times++) rn_drop(rni_error_timed_out());
}

TEST(keeps_and_drops_are_paired) {
    uint64_t held = rn_testing_held(RN_FAULT_ALLOCATION);
    rn_value values[] = {rn_text("text"), rn_bytes("bytes", 5), rn_error(3, "error")};
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        assert_int_equal(rn_testing_held(RN_FAULT_ALLOCATION), held + COUNT_OF(values) - i);
        assert_int_equal(rn_keep(values[i]).bits, values[i].bits);
        rn_drop(values[i]);
        assert_int_equal(rn_testing_held(RN_FAULT_ALLOCATION), held + COUNT_OF(values) - i);
        rn_drop(values[i]);
    }
    assert_int_equal(rn_testing_held(RN_FAULT_ALLOCATION), held);
}

TEST(without_memory_values_are_errors) {
    rn_testing_fail(RN_FAULT_ALLOCATION, 1, UINT64_MAX);
    assert_error_code(rn_text("x"), RN_NO_MEMORY);
    assert_error_code(rn_text_n("x", 1), RN_NO_MEMORY);
    assert_error_code(rn_textf("%d", 1), RN_NO_MEMORY);
    assert_error_code(rn_bytes("x", 1), RN_NO_MEMORY);
    assert_error_code(rn_error(5, "x"), RN_NO_MEMORY);
    assert_error_code(rn_bytes("x", SIZE_MAX), RN_NO_MEMORY);
    assert_string_equal(rn_error_message(rni_error_no_memory()), "out of memory");
}

/* ---- what is no value of that kind ---- */

static rn_value dead_text(void) {
    rn_value value = rn_text("dropped");
    /* Its owners are counted down by hand, so that its memory is still there to look at. */
    rni_store_relaxed(&((rni_blob *)rni_value_pointer(value))->owners, 0);
    return value;
}

TEST(a_value_read_as_another_kind_stops_the_program) {
    assert_misuse("rn_as_bool: the value is of kind int, not bool: 5", (void)rn_as_bool(rn_int(5)));
    assert_misuse("rn_as_int: the value is of kind none, not int: none", (void)rn_as_int(rn_none()));
    assert_misuse("rn_as_int: the value is of kind float, not int: 1.5", (void)rn_as_int(rn_float(1.5)));
    assert_misuse("rn_as_float: the value is of kind bool, not float: true", (void)rn_as_float(rn_bool(true)));
    assert_misuse("rn_as_text: the value is of kind error, not text: error 5: why", (void)rn_as_text(rn_error(5, "why")));
    assert_misuse("rn_as_text: the value is of kind bytes, not text", (void)rn_as_text(rn_bytes("x", 1)));
    assert_misuse("rn_as_bytes: the value is of kind text, not bytes: hello", (void)rn_as_bytes(rn_text("hello")));
    assert_misuse("rn_as_pointer: the value is of kind int, not pointer", (void)rn_as_pointer(rn_int(5)));
    assert_misuse("rn_length: the value is of kind pointer, not text: pointer", (void)rn_length(rn_pointer(NULL)));
}

TEST(a_value_that_is_no_error_stops_the_program) {
    assert_misuse("rn_error_code: the value is of kind none, not error", (void)rn_error_code(rn_none()));
    assert_misuse("rn_error_message: the value is of kind int, not error", (void)rn_error_message(rn_int(0)));
    assert_misuse("rn_error_task: the value is of kind text, not error", (void)rn_error_task(rn_literal("x")));
    assert_misuse("rn_error_hook: the value is of kind bool, not error", (void)rn_error_hook(rn_bool(true)));
    assert_misuse("rn_error_iteration: the value is of kind none", (void)rn_error_iteration(rn_none()));
    assert_misuse("rn_error_file: the value is of kind none", (void)rn_error_file(rn_none()));
    assert_misuse("rn_error_line: the value is of kind none", (void)rn_error_line(rn_none()));
    assert_misuse("rn_error_cause: the value is of kind none", (void)rn_error_cause(rn_none()));
    assert_misuse("rn_error_detail: the value is of kind none", (void)rn_error_detail(rn_none()));
    assert_misuse("rn_error_with: the value is of kind none", (void)rn_error_with(rn_none(), rn_none()));
}

TEST(a_value_without_owners_stops_the_program) {
    assert_misuse("rn_keep: a text that has been dropped by its last owner", (void)rn_keep(dead_text()));
    assert_misuse("rn_drop: a text that has been dropped by its last owner", rn_drop(dead_text()));
}

/* ---- long texts ---- */

/* The same few pages again and again: a text of 2 GiB that takes no memory. NULL where the machine cannot. */
static char *long_text(size_t length) {
    size_t block = (size_t)16 << 20;
    int file = memfd_create("text", 0);
    size_t whole = length / block * block + block;
    char *start = mmap(NULL, whole, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (file < 0 || start == MAP_FAILED || ftruncate(file, (off_t)block) != 0) return NULL;
    char *first = mmap(NULL, block, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (first == MAP_FAILED) return NULL;
    memset(first, 'a', block);
    for (size_t at = 0; at + block < whole; at += block)
        if (mmap(start + at, block, PROT_READ, MAP_SHARED | MAP_FIXED, file, 0) == MAP_FAILED) return NULL;
    munmap(first, block);
    close(file);
    char *last = mmap(start + whole - block, block, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (last == MAP_FAILED) return NULL;
    memset(last, 'a', length - (whole - block));
    return start;
}

TEST(a_text_beyond_what_printf_counts_has_its_whole_length) {
    size_t length = (size_t)INT32_MAX + 1000;
    char buffer[20];
    char *text = UNDER_SANITIZER ? NULL : long_text(length);
    if (!text) return;
    assert_int_equal(rn_format(rni_literal(text, length), buffer, sizeof buffer), length);
    assert_string_equal(buffer, "aaaaaaaaaaaaaaaaaaa");
}
