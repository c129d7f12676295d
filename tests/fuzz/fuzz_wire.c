/*
 * Fuzz target: rni_wire_read. What it takes for a value is well formed, and written again gives the same bytes:
 * there is one encoding of each value. Then once more with an allocation refused.
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

static void check_errors(rn_value error) {
    unsigned depth = 0;
    for (; rn_is_error(error); error = rn_error_cause(error)) {
        expect(++depth <= RNI_WIRE_DEPTH && rn_error_code(error) != 0);
        check_text(rn_error_message(error), SIZE_MAX);
        check_text(rn_error_file(error), SIZE_MAX);
        check_text(rn_error_task(error), RN_NAME_MAX);
        check_text(rn_error_hook(error), SIZE_MAX);
    }
    expect(rn_is_none(error));
}

static void check_value(rn_value value) {
    switch (rn_kind(value)) {
    case RN_TEXT:
        expect(strlen(rn_as_text(value)) == rn_length(value));
        break;
    case RN_BOOL:
        expect(value.bits <= 1);
        break;
    case RN_ERROR:
        check_errors(value);
        break;
    default:
        expect(rn_kind(value) <= RN_BYTES);
    }
}

static void check_same_bytes(rn_value value, const uint8_t *data, size_t used) {
    expect(rni_wire_size(value) == used);
    uint8_t *bytes = malloc(used);
    expect(rni_wire_write(value, bytes) == used && memcmp(bytes, data, used) == 0);
    free(bytes);
}

static void read_without_memory(const uint8_t *data, size_t size) {
    rn_value value;
    size_t used;
    rn_testing_fail(RN_FAULT_ALLOCATION, 1 + size % 3, 1);
    expect(!rni_wire_read(data, size, &value, &used) || used <= size);
    rn_testing_fail(RN_FAULT_ALLOCATION, 1, 0);
    rn_drop(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    rn_value value;
    size_t used, held = rn_testing_held(RN_FAULT_ALLOCATION);
    if (rni_wire_read(data, size, &value, &used)) {
        expect(used > 0 && used <= size);
        check_value(value);
        check_same_bytes(value, data, used);
        rn_drop(value);
    } else {
        expect(used == 0 && rn_is_none(value));
    }
    read_without_memory(data, size);
    expect(rn_testing_held(RN_FAULT_ALLOCATION) == held);
    return 0;
}
