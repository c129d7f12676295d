/*
 * Fuzz target: rni_wire_read_beside, value after value. What it takes for one is well formed, and written again gives the
 * same bytes: there is one encoding of each value. Then once more with an allocation refused.
 */
#include <runium/testing.h>
#include <stdlib.h>
#include <string.h>

#include "value/value.h"
#include "value/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool holds) {
    if (!holds) abort();
}

static void check_text(const char *text, size_t most) { expect(strlen(text) <= most); }

static void check_errors(rn_value error, unsigned nest) {
    unsigned depth = 0;
    expect(nest <= RNI_WIRE_NEST);
    for (; rn_is_error(error); error = rn_error_cause(error)) {
        expect(++depth <= RNI_WIRE_DEPTH && rn_error_code(error) != 0);
        check_text(rn_error_message(error), SIZE_MAX);
        check_text(rn_error_file(error), SIZE_MAX);
        check_text(rn_error_task(error), RN_NAME_MAX);
        check_text(rn_error_hook(error), SIZE_MAX);
        rn_value detail = rn_error_detail(error);
        expect(rn_kind(detail) <= RN_BYTES || rn_is_error(detail));
        if (rn_is_error(detail)) check_errors(detail, nest + 1);
    }
    expect(rn_is_none(error));
}

/* The buffers that come beside the bytes. */
static const size_t buffer_sizes[] = {1, 0x1234};
enum { BUFFERS = sizeof buffer_sizes / sizeof *buffer_sizes };

static void bring(rni_wire_buffers *beside) {
    static rn_value buffers[BUFFERS];
    for (size_t i = 0; i < BUFFERS; i++) {
        if (rn_is_none(buffers[i])) buffers[i] = rn_buffer(buffer_sizes[i]);
        expect(rn_kind(buffers[i]) == RN_BUFFER);
        beside->values[i] = rn_keep(buffers[i]);
    }
    beside->count = BUFFERS;
    beside->taken = 0;
}

static void check_value(rn_value value, const rni_wire_buffers *beside) {
    switch (rn_kind(value)) {
    case RN_TEXT:
        expect(strlen(rn_as_text(value)) == rn_length(value));
        break;
    case RN_BOOL:
        expect(value.bits <= 1);
        break;
    case RN_ERROR:
        check_errors(value, 0);
        break;
    case RN_BUFFER:
        expect(beside->taken > 0 && beside->taken <= BUFFERS && value.bits == beside->values[beside->taken - 1].bits);
        break;
    default:
        expect(rn_kind(value) <= RN_BYTES);
    }
}

static void check_same_bytes(rn_value value, uint32_t number, const uint8_t *data, size_t used) {
    expect(rni_wire_size(value) == used);
    uint8_t *bytes = malloc(used);
    expect(rni_wire_write_numbered(value, number, bytes) == used && memcmp(bytes, data, used) == 0);
    free(bytes);
}

static void read_without_memory(const uint8_t *data, size_t size) {
    rn_value value;
    size_t used;
    rn_testing_fail(RN_FAULT_ALLOCATION, 1 + size % 3, 1); /* without what comes beside */
    expect(!rni_wire_read(data, size, &value, &used) || used <= size);
    rn_testing_fail(RN_FAULT_ALLOCATION, 1, 0);
    rn_drop(value);
}

static void read_all(const uint8_t *data, size_t size, rni_wire_buffers *beside) {
    rn_value value;
    size_t used;
    while (rni_wire_read_beside(data, size, beside, &value, &used)) {
        expect(used > 0 && used <= size);
        check_value(value, beside);
        check_same_bytes(value, beside->taken - 1, data, used);
        rn_drop(value);
        data += used;
        size -= used;
    }
    expect(used == 0 && rn_is_none(value));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    rni_wire_buffers beside;
    bring(&beside);
    size_t held = rn_testing_held(RN_FAULT_ALLOCATION);
    read_all(data, size, &beside);
    rni_wire_drop_buffers(&beside);
    read_without_memory(data, size);
    expect(rn_testing_held(RN_FAULT_ALLOCATION) == held);
    return 0;
}
