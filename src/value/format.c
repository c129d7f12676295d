#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "value/value.h"

/* A text that grows into a buffer of fixed size, and counts what does not fit. */
struct sink {
    char *buffer;
    size_t size, length;
};

static void put(struct sink *sink, const char *format, ...) RN_PRINTF(2, 3);

static void put(struct sink *sink, const char *format, ...) {
    bool room = sink->length < sink->size;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(room ? sink->buffer + sink->length : NULL, room ? sink->size - sink->length : 0, format,
                           arguments);
    va_end(arguments);
    if (length > 0) sink->length += (size_t)length;
}

/* Not by printf, which counts to INT_MAX only: texts may be longer. */
static void put_text(struct sink *sink, const char *text, size_t length) {
    size_t room = sink->length < sink->size ? sink->size - sink->length - 1 : 0;
    size_t shown = length < room ? length : room;
    if (sink->length < sink->size) {
        memcpy(sink->buffer + sink->length, text, shown);
        sink->buffer[sink->length + shown] = '\0';
    }
    sink->length += length;
}

static void put_bytes(struct sink *sink, const unsigned char *data, size_t size) {
    size_t shown = size < 32 ? size : 32;
    put(sink, "%zu bytes:", size);
    for (size_t i = 0; i < shown; i++) put(sink, " %02x", data[i]);
    if (shown < size) put(sink, " ...");
}

static void put_origin(struct sink *sink, const struct rni_error *error) {
    if (error->task[0]) put(sink, "\n  in task '%s', iteration %" PRIu64, error->task, error->iteration);
    if (error->hook[0]) put(sink, ", %s", error->hook);
    if (error->file[0]) put(sink, "%s at %s:%d", error->task[0] ? "," : "\n ", error->file, error->line);
}

static void put_error(struct sink *sink, rn_value value) {
    for (;;) {
        const struct rni_error *error = rni_value_pointer(value);
        put(sink, "error %d", error->code);
        if (error->code < 0) put(sink, " (%s)", rn_code_name(error->code));
        put(sink, ": ");
        put_text(sink, error->message, strlen(error->message));
        put_origin(sink, error);
        value = error->cause;
        if (!rn_is_error(value)) return;
        put(sink, "\n  caused by ");
    }
}

size_t rn_format(rn_value value, char *buffer, size_t size) {
    struct sink sink = {buffer, size, 0};
    if (size > 0) buffer[0] = '\0';
    switch (rn_kind(value)) {
    case RN_NONE: put(&sink, "none"); break;
    case RN_BOOL: put(&sink, "%s", rn_as_bool(value) ? "true" : "false"); break;
    case RN_INT: put(&sink, "%" PRId64, rn_as_int(value)); break;
    case RN_FLOAT: put(&sink, "%.17g", rn_as_float(value)); break;
    case RN_TEXT: put_text(&sink, rn_as_text(value), rn_length(value)); break;
    case RN_BYTES: put_bytes(&sink, rn_as_bytes(value), rn_length(value)); break;
    case RN_POINTER: put(&sink, "pointer %p", rn_as_pointer(value)); break;
    case RN_ERROR: put_error(&sink, value); break;
    case RN_BUFFER: put(&sink, "buffer of %zu bytes", rn_length(value)); break;
    }
    return sink.length;
}
