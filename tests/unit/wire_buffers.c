/*
 * Buffers as bytes: a number and a size, and what comes beside the bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "support.h"
#include "value/value.h"
#include "value/wire.h"

struct frame {
    unsigned char bytes[512];
    size_t length;
};

static void add_number(struct frame *frame, uint64_t number, size_t width) {
    assert_true(frame->length + width <= sizeof frame->bytes);
    for (size_t i = 0; i < width; i++) frame->bytes[frame->length++] = (unsigned char)(number >> (8 * i));
}

static void add_buffer(struct frame *frame, uint64_t number, uint64_t size) {
    add_number(frame, RN_BUFFER, 1);
    add_number(frame, number, 4);
    add_number(frame, size, 8);
}

/* From bytes of exactly this size, so that a sanitizer sees one too many. */
static bool reads_beside(const struct frame *frame, rni_wire_buffers *buffers, rn_value *value, size_t *used) {
    unsigned char *bytes = malloc(frame->length + 1);
    memcpy(bytes + 1, frame->bytes, frame->length);
    bool read = rni_wire_read_beside(bytes + 1, frame->length, buffers, value, used);
    free(bytes);
    return read;
}

TEST(a_buffer_is_its_number_and_its_size) {
    unsigned char bytes[32];
    rn_value value = rn_buffer(0x12345);
    assert_int_equal(rni_wire_size(value), 13);
    assert_int_equal(rni_wire_write_numbered(value, 7, bytes), 13);
    assert_memory_equal(bytes, "\10\7\0\0\0\x45\x23\1\0\0\0\0\0", 13);
    assert_int_equal(rni_wire_write(value, bytes), 13);
    assert_memory_equal(bytes, "\10\0\0\0\0\x45\x23\1\0\0\0\0\0", 13);
    rn_drop(value);
}

TEST(buffers_are_taken_one_by_one_in_their_order) {
    rni_wire_buffers beside = {.values = {rn_buffer(10), rn_buffer(20), rn_buffer(30)}, .count = 3};
    for (uint32_t i = 0; i < 3; i++) {
        rn_value expected = beside.values[i], value;
        struct frame frame = {.length = 0};
        size_t used;
        add_buffer(&frame, i, 10 * (i + 1));
        assert_true(reads_beside(&frame, &beside, &value, &used));
        assert_int_equal(used, 13);
        assert_true(value.bits == expected.bits && rn_kind(value) == RN_BUFFER);
        assert_int_equal(beside.taken, i + 1);
        rn_drop(value);
        assert_false(reads_beside(&frame, &beside, &value, &used)); /* not twice */
    }
    rni_wire_drop_buffers(&beside);
}

TEST(a_buffer_of_another_number_or_size_is_refused) {
    const uint64_t numbers[] = {0, 1, 2, 3, RNI_WIRE_BUFFERS, INT32_MAX, UINT32_MAX};
    const uint64_t sizes[] = {0, 1, 4095, 4096, 4097, UINT32_MAX, RN_BUFFER_MAX, UINT64_C(1) << 63, UINT64_MAX, UINT64_MAX - 4095};
    for (uint32_t count = 0; count <= 2; count++)
        for (size_t n = 0; n < COUNT_OF(numbers); n++)
            for (size_t s = 0; s < COUNT_OF(sizes); s++) {
                rni_wire_buffers beside = {.count = 0};
                while (beside.count < count) beside.values[beside.count++] = rn_buffer(4096);
                struct frame frame = {.length = 0};
                add_buffer(&frame, numbers[n], sizes[s]);
                rn_value value = rn_int(1);
                size_t used = 1;
                bool expected = count > 0 && numbers[n] == 0 && sizes[s] == 4096;
                assert_int_equal(reads_beside(&frame, &beside, &value, &used), expected);
                if (!expected) assert_true(rn_is_none(value) && used == 0 && beside.taken == 0);
                rn_drop(value);
                rni_wire_drop_buffers(&beside);
            }
}

TEST(a_buffer_that_is_cut_off_takes_none) {
    rni_wire_buffers beside = {.values = {rn_buffer(5)}, .count = 1};
    struct frame frame = {.length = 0};
    add_buffer(&frame, 0, 5);
    rn_value value;
    size_t used;
    while (frame.length-- > 0) {
        assert_false(reads_beside(&frame, &beside, &value, &used));
        assert_int_equal(beside.taken, 0);
    }
    rni_wire_drop_buffers(&beside);
    assert_int_equal(beside.count, 0);
}

TEST(where_nothing_comes_beside_the_bytes_a_buffer_is_no_value) {
    struct frame frame = {.length = 0};
    add_buffer(&frame, 0, 5);
    rn_value value = rn_int(1);
    size_t used = 1;
    assert_false(rni_wire_read(frame.bytes, frame.length, &value, &used));
    assert_true(rn_is_none(value) && used == 0);
}

TEST(a_buffer_that_could_not_be_had_is_its_error_whatever_its_size) {
    rni_wire_buffers beside = {.values = {rni_error_no_memory()}, .count = 1};
    struct frame frame = {.length = 0};
    add_buffer(&frame, 0, 77);
    rn_value value;
    size_t used;
    assert_true(reads_beside(&frame, &beside, &value, &used));
    assert_error_code(value, RN_NO_MEMORY);
    assert_int_equal(used, 13);
}

/* Neither is it written as one, nor read. */
TEST(a_buffer_is_no_cause_of_an_error) {
    rn_value error = rn_error_because(rn_buffer(5), 2, "above");
    struct frame frame = {.length = 0};
    frame.length = rni_wire_write(error, frame.bytes);
    assert_int_equal(frame.bytes[frame.length - 1], RN_NONE);
    rn_drop(error);
    frame.length -= 5;
    add_number(&frame, 13, 4);
    add_buffer(&frame, 0, 5);
    rni_wire_buffers beside = {.values = {rn_buffer(5)}, .count = 1};
    rn_value value;
    size_t used;
    assert_false(reads_beside(&frame, &beside, &value, &used));
    assert_int_equal(beside.taken, 0);
    rni_wire_drop_buffers(&beside);
}
