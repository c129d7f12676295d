/*
 * Values as another process would write them, put together by hand, and what the decoder says of them.
 */
#ifndef TESTS_UNIT_WIRE_BYTES_H
#define TESTS_UNIT_WIRE_BYTES_H

#include <runium.h>

struct frame {
    unsigned char bytes[4096];
    size_t length;
};

void add(struct frame *frame, const void *data, size_t length);
void add_number(struct frame *frame, uint64_t number, size_t width);
void add_text(struct frame *frame, const char *text);

/* Whether they are a value. It is the caller's. */
bool reads(const struct frame *frame, rn_value *value, size_t *used);

/* Whether they are none, and nothing is left of the try. */
bool is_refused(const struct frame *frame);

#endif
