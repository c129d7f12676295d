/*
 * Errors with a detail, as bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "support.h"
#include "value/value.h"
#include "value/wire.h"
#include "wire_bytes.h"

/* An error with a detail and without a cause. */
static struct frame detailed(const struct frame *detail) {
    struct frame frame = {.length = 0};
    add_number(&frame, RN_ERROR | RNI_WIRE_DETAILED, 1);
    add_number(&frame, 5, 4);
    add_number(&frame, 77, 4);
    add_number(&frame, 3, 8);
    add_text(&frame, "m");
    add_text(&frame, "file.c");
    add_text(&frame, "task");
    add_text(&frame, "on_iter");
    add_number(&frame, detail->length, 4);
    add(&frame, detail->bytes, detail->length);
    add_number(&frame, 1, 4);
    add_number(&frame, RN_NONE, 1);
    return frame;
}

static rn_value copy_of(rn_value value) {
    size_t size = rni_wire_size(value), used;
    unsigned char *bytes = malloc(size);
    rni_wire_write(value, bytes);
    rn_value copy;
    assert_true(rni_wire_read(bytes, size, &copy, &used));
    free(bytes);
    return copy;
}

static void ignore(void *pointer) { (void)pointer; }

TEST(a_detail_stands_between_hook_and_cause) {
    struct frame detail = {.bytes = {RN_TEXT, 2, 0, 0, 0, 'a', 'b'}, .length = 7}, frame = detailed(&detail);
    rn_value error = rni_error_stamp(rn_error_at("file.c", 77, 5, "m"), "task", "on_iter", 3);
    error = rn_error_with(error, rn_literal("ab"));
    unsigned char bytes[4096];
    assert_int_equal(rni_wire_write(error, bytes), frame.length);
    assert_memory_equal(bytes, frame.bytes, frame.length);
    rn_drop(error);
    assert_false(is_refused(&frame));
    while (frame.length-- > 0) assert_true(is_refused(&frame));
}

TEST(a_detail_that_cannot_travel_stays_behind) {
    rn_value buffer = rn_buffer(1), details[] = {rn_none(), rn_pointer(details), rn_pointer_owned(details, ignore), buffer};
    size_t bare = rni_wire_size(rni_error_closed());
    for (size_t i = 0; i < COUNT_OF(details); i++) {
        rn_value error = rn_error_with(rni_error_closed(), details[i]), copy = copy_of(error);
        assert_int_equal(rni_wire_size(error), bare);
        assert_true(rn_is_none(rn_error_detail(copy)));
        assert_string_equal(rn_error_message(copy), rn_error_message(error));
        rn_drop(copy);
        rn_drop(error);
    }
}

TEST(details_within_each_other_travel_to_a_depth) {
    for (uint32_t depth = 1; depth <= RNI_WIRE_NEST + 2; depth++) {
        rn_value error = rn_bool(true);
        for (uint32_t i = 0; i < depth; i++) error = rn_error_with(rn_error(1, "x"), error);
        rn_value copy = copy_of(error), inner = copy;
        uint32_t travelled = 0;
        while (rn_is_error(inner) && !rn_is_none(rn_error_detail(inner))) {
            inner = rn_error_detail(inner);
            travelled++;
        }
        assert_int_equal(travelled, depth < RNI_WIRE_NEST ? depth : RNI_WIRE_NEST);
        rn_drop(copy);
        rn_drop(error);
    }
}

TEST(a_detail_that_nobody_writes_is_refused) {
    const struct frame odd[] = {
        {.bytes = {RN_NONE}, .length = 0},     {.bytes = {RN_NONE}, .length = 1},     {.bytes = {RN_BOOL, 1, 0}, .length = 3},
        {.bytes = {RN_BOOL, 2}, .length = 2},  {.bytes = {RN_POINTER}, .length = 9},  {.bytes = {RN_BUFFER}, .length = 13},
        {.bytes = {RN_TEXT, 1}, .length = 6},  {.bytes = {RN_ERROR}, .length = 1},    {.bytes = {0xff}, .length = 1}};
    for (size_t i = 0; i < COUNT_OF(odd); i++) {
        struct frame frame = detailed(&odd[i]);
        assert_true(is_refused(&frame));
    }
    struct frame nested = {.bytes = {RN_BOOL, 1}, .length = 2};
    for (uint32_t nest = 0; nest <= RNI_WIRE_NEST + 2; nest++) {
        assert_int_equal(is_refused(&nested), nest > RNI_WIRE_NEST);
        nested = detailed(&nested);
    }
}

TEST(without_memory_for_it_a_detail_stays_behind) {
    struct frame detail = {.bytes = {RN_TEXT, 2, 0, 0, 0, 'a', 'b'}, .length = 7}, frame = detailed(&detail);
    rn_value value;
    size_t used;
    rn_testing_fail(RN_FAULT_ALLOCATION, 2, 1);
    assert_true(reads(&frame, &value, &used));
    assert_int_equal(rn_error_code(value), 5);
    assert_true(rn_is_none(rn_error_detail(value)));
    rn_drop(value);
}
