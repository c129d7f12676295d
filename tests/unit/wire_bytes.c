#include "wire_bytes.h"

#include <stdlib.h>
#include <string.h>

#include "support.h"
#include "value/wire.h"

void add(struct frame *frame, const void *data, size_t length) {
    assert_true(length <= sizeof frame->bytes - frame->length);
    memcpy(frame->bytes + frame->length, data, length);
    frame->length += length;
}

void add_number(struct frame *frame, uint64_t number, size_t width) {
    for (size_t i = 0; i < width; i++) add(frame, &(unsigned char){(unsigned char)(number >> (8 * i))}, 1);
}

void add_text(struct frame *frame, const char *text) {
    add_number(frame, strlen(text), 4);
    add(frame, text, strlen(text));
}

bool reads(const struct frame *frame, rn_value *value, size_t *used) {
    /* Of exactly this size, so that a sanitizer sees one byte too many. */
    unsigned char *bytes = malloc(frame->length + 1);
    memcpy(bytes + 1, frame->bytes, frame->length);
    bool read = rni_wire_read(bytes + 1, frame->length, value, used);
    free(bytes);
    return read;
}

bool is_refused(const struct frame *frame) {
    rn_value value = rn_int(1);
    size_t used = 1, held = rn_testing_held(RN_FAULT_ALLOCATION);
    bool read = reads(frame, &value, &used);
    if (read) rn_drop(value);
    assert_int_equal(rn_testing_held(RN_FAULT_ALLOCATION), held);
    if (!read) assert_true(rn_is_none(value) && used == 0);
    return !read;
}
