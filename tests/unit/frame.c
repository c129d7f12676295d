/*
 * Frames as bytes (process/frame.h): what was written is read again, a reader that met the end, or a wrong byte, gives zeros
 * from then on, and a writer without memory says so once and for all.
 */
#include "process/frame.h"

#include <string.h>

#include "process/attach.h"
#include "support.h"
#include "value/buffer.h"
#include "value/value.h"

static rni_writer writer;

static int begin(void **state) {
    (void)state;
    writer = (rni_writer){0};
    rni_writer_begin(&writer, RNI_TURN);
    return 0;
}

static int end(void **state) {
    (void)state;
    rni_writer_free(&writer);
    return 0;
}

/* Over what was written, but for so many bytes at its end. */
static rni_reader read_but(size_t missing) {
    return (rni_reader){writer.bytes, writer.bytes + writer.length - missing, false, NULL, NULL};
}

static void what_was_written_is_read(void **state) {
    (void)state;
    char text[16];
    size_t length;
    rni_put_8(&writer, 200);
    rni_put_32(&writer, 0xfedcba98);
    rni_put_64(&writer, UINT64_MAX - 5);
    rni_put_8(&writer, 1);
    rni_put_bytes(&writer, "ab\0c", 4);
    rni_put_bytes(&writer, NULL, 0);
    rni_put_text(&writer, "text");
    assert_true(rni_put_value(&writer, rn_int(-7)));
    rni_reader reader = read_but(0);
    assert_int_equal(rni_take_8(&reader), RNI_TURN);
    assert_int_equal(rni_take_8(&reader), 200);
    assert_int_equal(rni_take_32(&reader), 0xfedcba98);
    assert_true(rni_take_64(&reader) == UINT64_MAX - 5);
    assert_true(rni_take_flag(&reader));
    assert_memory_equal(rni_take_bytes(&reader, &length), "ab\0c", 4);
    assert_int_equal(length, 4);
    assert_non_null(rni_take_bytes(&reader, &length));
    assert_int_equal(length, 0);
    rni_take_text(&reader, text, sizeof text);
    assert_string_equal(text, "text");
    assert_false(rni_reader_is_done(&reader)); /* something is left */
    assert_int_equal(rn_as_int(rni_take_value(&reader)), -7);
    assert_true(rni_reader_is_done(&reader));
}

/* Of every length. */
static void a_reader_that_met_the_end_gives_zeros_from_then_on(void **state) {
    (void)state;
    rni_put_32(&writer, 0xffffffff);
    rni_put_text(&writer, "word");
    for (size_t missing = 1; missing <= writer.length; missing++) {
        char text[16] = "stale";
        rni_reader reader = read_but(missing);
        (void)rni_take_8(&reader);
        (void)rni_take_32(&reader);
        rni_take_text(&reader, text, sizeof text);
        assert_true(reader.failed);
        assert_string_equal(text, "");
        assert_int_equal(rni_take_8(&reader), 0);
        assert_int_equal(rni_take_32(&reader), 0);
        assert_true(rni_take_64(&reader) == 0);
        assert_false(rni_take_flag(&reader));
        assert_true(rni_is_none(rni_take_value(&reader)));
        assert_false(rni_reader_is_done(&reader));
    }
}

static void a_flag_is_zero_or_one(void **state) {
    (void)state;
    rni_put_8(&writer, 0);
    rni_put_8(&writer, 2);
    rni_reader reader = read_but(0);
    (void)rni_take_8(&reader);
    assert_false(rni_take_flag(&reader));
    assert_false(reader.failed);
    assert_false(rni_take_flag(&reader));
    assert_true(reader.failed);
}

static void a_length_beyond_all_memory_is_refused(void **state) {
    (void)state;
    size_t length = 1;
    rni_put_64(&writer, (uint64_t)PTRDIFF_MAX + 1);
    rni_reader reader = read_but(0);
    (void)rni_take_8(&reader);
    assert_null(rni_take_bytes(&reader, &length));
    assert_true(reader.failed);
    assert_int_equal(length, 0);
}

static void a_text_that_does_not_fit_or_holds_a_zero_is_refused(void **state) {
    (void)state;
    char text[4] = "abc";
    rni_put_text(&writer, "four");
    rni_put_bytes(&writer, "a\0b", 3);
    rni_reader reader = read_but(0);
    (void)rni_take_8(&reader);
    rni_take_text(&reader, text, sizeof text);
    assert_true(reader.failed);
    assert_string_equal(text, "");
    reader = read_but(0);
    reader.at += 1 + 8 + 4;
    rni_take_text(&reader, text, sizeof text);
    assert_true(reader.failed);
}

static void a_value_that_is_none_is_refused(void **state) {
    (void)state;
    rni_put_8(&writer, 0xee);
    rni_reader reader = read_but(0);
    (void)rni_take_8(&reader);
    assert_true(rni_is_none(rni_take_value(&reader)));
    assert_true(reader.failed);
}

static void a_pointer_is_no_part_of_a_frame(void **state) {
    (void)state;
    size_t length = writer.length;
    assert_false(rni_wire_is_portable(rn_pointer(&length)));
    assert_true(rni_wire_is_portable(rn_int(1)));
    assert_false(rni_put_value(&writer, rn_pointer(&length)));
    assert_int_equal(writer.length, length);
}

static void buffers_are_kept_until_the_frame_is_sent_and_a_ninth_is_too_many(void **state) {
    (void)state;
    rn_value buffer = rn_buffer(4096);
    for (unsigned i = 0; i < RNI_WIRE_BUFFERS; i++) assert_true(rni_put_value(&writer, buffer));
    assert_false(writer.is_overfull);
    assert_true(rni_put_value(&writer, buffer));
    assert_true(writer.is_overfull);
    assert_true(rni_put_value(&writer, buffer));
    assert_true(writer.is_overfull);
    assert_int_equal(writer.buffers.count, RNI_WIRE_BUFFERS);
    rni_writer_begin(&writer, RNI_TURN);
    assert_false(writer.is_overfull);
    assert_int_equal(writer.buffers.count, 0);
    rn_drop(buffer);
}

static void a_frame_is_done_when_its_buffers_are_taken(void **state) {
    (void)state;
    rn_value buffer = rn_buffer(4096);
    assert_true(rni_put_value(&writer, buffer));
    rni_wire_buffers brought = {.count = 1, .values = {rn_keep(buffer)}};
    rni_reader reader = read_but(0);
    reader.buffers = &brought;
    (void)rni_take_8(&reader);
    reader.end = reader.at; /* nothing is left, but the buffer */
    assert_false(rni_reader_is_done(&reader));
    reader.end = writer.bytes + writer.length;
    rn_value taken = rni_take_value(&reader);
    assert_true(rni_reader_is_done(&reader));
    rn_drop(taken);
    rn_drop(buffer);
}

static void what_has_no_file_needs_no_socket(void **state) {
    (void)state;
    const rni_wire_buffers none = {.count = 0};
    assert_int_equal(rni_attach_send(-1, &none), RN_OK);
}

static void a_place_that_holds_no_buffer_is_dropped_as_well(void **state) {
    (void)state;
    rni_wire_buffers brought = {.count = 1, .values = {rn_none()}};
    rni_wire_drop_buffers(&brought);
    assert_int_equal(brought.count, 0);
}

static void a_writer_without_memory_says_so_once_and_for_all(void **state) {
    (void)state;
    static char bytes[5000];
    size_t length = writer.length;
    rn_testing_fail(RN_FAULT_ALLOCATION, 1, 1);
    rni_put_bytes(&writer, bytes, sizeof bytes);
    assert_true(writer.failed);
    rni_put_8(&writer, 1);
    assert_true(rni_put_value(&writer, rn_int(1)));
    assert_true(writer.failed);
    assert_true(writer.length <= length + 8);
    rni_writer_begin(&writer, RNI_TURN);
    rni_put_bytes(&writer, bytes, sizeof bytes);
    rni_put_bytes(&writer, bytes, sizeof bytes); /* grows by what it needs, and by twice */
    rni_put_bytes(&writer, bytes, 300);
    assert_false(writer.failed);
    assert_int_equal(writer.length, 1 + 3 * 8 + 2 * sizeof bytes + 300);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_written_is_read, begin, end),
        cmocka_unit_test_setup_teardown(a_reader_that_met_the_end_gives_zeros_from_then_on, begin, end),
        cmocka_unit_test_setup_teardown(a_flag_is_zero_or_one, begin, end),
        cmocka_unit_test_setup_teardown(a_length_beyond_all_memory_is_refused, begin, end),
        cmocka_unit_test_setup_teardown(a_text_that_does_not_fit_or_holds_a_zero_is_refused, begin, end),
        cmocka_unit_test_setup_teardown(a_value_that_is_none_is_refused, begin, end),
        cmocka_unit_test_setup_teardown(a_pointer_is_no_part_of_a_frame, begin, end),
        cmocka_unit_test_setup_teardown(buffers_are_kept_until_the_frame_is_sent_and_a_ninth_is_too_many, begin, end),
        cmocka_unit_test_setup_teardown(a_frame_is_done_when_its_buffers_are_taken, begin, end),
        cmocka_unit_test_setup_teardown(what_has_no_file_needs_no_socket, begin, end),
        cmocka_unit_test_setup_teardown(a_place_that_holds_no_buffer_is_dropped_as_well, begin, end),
        cmocka_unit_test_setup_teardown(a_writer_without_memory_says_so_once_and_for_all, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
