/*
 * Values as bytes, see wire.h.
 *
 * Writing goes through one sink that either copies or only counts, so that the size and the bytes cannot disagree.
 *
 * Reading: the bytes may lie in memory that another process still writes to. Whatever is decided here is decided by a
 * copy: numbers are composed in a local variable, texts are looked at where they were copied to. Only the functions
 * under "Foreign bytes" touch what was received; tests/proof has the proof that they stay within it.
 */
#include "value/wire.h"

#include <string.h>

#include "value/value.h"

#define DETAILED (RN_ERROR | RNI_WIRE_DETAILED) /* the kind byte of an error with a detail */

/* ------------------------------------------------------------------------------------------------
 * Writing
 */
struct sink {
    unsigned char *bytes; /* NULL: only count */
    size_t size;
    uint32_t number; /* of the buffer, if it is one */
    uint32_t nest;   /* details that this is within */
};

static void put(struct sink *sink, const void *data, size_t length) {
    if (sink->bytes && length > 0) memcpy(sink->bytes + sink->size, data, length);
    sink->size += length;
}

static void put_number(struct sink *sink, uint64_t number, size_t width) {
    unsigned char bytes[8];
    for (size_t i = 0; i < width; i++) bytes[i] = (unsigned char)(number >> (8 * i));
    put(sink, bytes, width);
}

static void put_data(struct sink *sink, const void *data, size_t length) {
    put_number(sink, length, 4);
    put(sink, data, length);
}

static void put_text(struct sink *sink, const char *text) { put_data(sink, text, strnlen(text, RN_LENGTH_MAX)); }

static bool put_value(struct sink *sink, rn_value value);

/* How many bytes the detail takes; 0: there is none, or it stays behind. */
static size_t detail_size(const struct sink *sink, rn_value detail) {
    enum rn_kind kind = rn_kind(detail);
    if (kind == RN_NONE || kind == RN_BUFFER || sink->nest == RNI_WIRE_NEST) return 0;
    struct sink count = {.bytes = NULL, .nest = sink->nest + 1};
    return put_value(&count, detail) && count.size <= UINT32_MAX ? count.size : 0; /* LCOV_EXCL_BR_LINE: of 4 GiB */
}

static void put_detail(struct sink *sink, rn_value detail, size_t size) {
    put_number(sink, size, 4);
    if (!sink->bytes) {
        sink->size += size;
        return;
    }
    sink->nest++;
    (void)put_value(sink, detail);
    sink->nest--;
}

/* An error without its cause. */
static void put_head(struct sink *sink, const struct rni_error *error) {
    size_t detail = detail_size(sink, error->detail);
    put_number(sink, detail > 0 ? DETAILED : RN_ERROR, 1);
    put_number(sink, (uint32_t)error->code, 4);
    put_number(sink, (uint32_t)error->line, 4);
    put_number(sink, error->iteration, 8);
    put_text(sink, error->message);
    put_text(sink, error->file);
    put_text(sink, error->task);
    put_text(sink, error->hook);
    if (detail > 0) put_detail(sink, error->detail, detail);
}

/* An error and its causes, as far as they travel, and how many bytes each takes as a cause. */
struct chain {
    const struct rni_error *errors[RNI_WIRE_DEPTH];
    uint64_t sizes[RNI_WIRE_DEPTH + 1];
    uint32_t length;
};

static void follow(struct chain *chain, rn_value value) {
    for (chain->length = 0; chain->length < RNI_WIRE_DEPTH && rni_is_error(value); chain->length++) {
        const struct rni_error *error = rni_value_pointer(value);
        chain->errors[chain->length] = error;
        value = error->cause;
    }
}

/* From the innermost outwards. A cause that is too long for its length field is left out, with all below it. */
static void measure(struct chain *chain, uint32_t nest) {
    chain->sizes[chain->length] = 1;
    for (uint32_t i = chain->length; i-- > 0;) {
        if (chain->sizes[i + 1] > UINT32_MAX) {
            chain->length = i + 1;
            chain->sizes[i + 1] = 1;
        }
        struct sink head = {.bytes = NULL, .size = 0, .nest = nest};
        put_head(&head, chain->errors[i]);
        chain->sizes[i] = head.size + 4 + chain->sizes[i + 1];
    }
}

static void put_error(struct sink *sink, rn_value value) {
    struct chain chain;
    follow(&chain, value);
    measure(&chain, sink->nest);
    if (!sink->bytes) {
        sink->size += (size_t)chain.sizes[0];
        return;
    }
    for (uint32_t i = 0; i < chain.length; i++) {
        put_head(sink, chain.errors[i]);
        put_number(sink, chain.sizes[i + 1], 4);
    }
    put_number(sink, RN_NONE, 1);
}

/* False: it cannot travel. */
static bool put_value(struct sink *sink, rn_value value) {
    enum rn_kind kind = rn_kind(value);
    if (kind == RN_ERROR) {
        put_error(sink, value);
        return true;
    }
    put_number(sink, kind, 1);
    switch (kind) {
    case RN_NONE:
        return true;
    case RN_BOOL:
        put_number(sink, value.bits != 0, 1);
        return true;
    case RN_INT:
    case RN_FLOAT:
        put_number(sink, value.bits, 8);
        return true;
    case RN_TEXT:
        put_data(sink, rn_as_text(value), rn_length(value));
        return true;
    case RN_BYTES:
        put_data(sink, rn_as_bytes(value), rn_length(value));
        return true;
    case RN_BUFFER:
        put_number(sink, sink->number, 4);
        put_number(sink, rn_length(value), 8);
        return true;
    default:
        return false;
    }
}

size_t rni_wire_size(rn_value value) {
    struct sink sink = {.bytes = NULL, .size = 0};
    return put_value(&sink, value) ? sink.size : SIZE_MAX;
}

size_t rni_wire_write_numbered(rn_value value, uint32_t number, unsigned char *bytes) {
    struct sink sink = {.bytes = bytes, .size = 0, .number = number};
    return put_value(&sink, value) ? sink.size : SIZE_MAX;
}

size_t rni_wire_write(rn_value value, unsigned char *bytes) { return rni_wire_write_numbered(value, 0, bytes); }

/* ------------------------------------------------------------------------------------------------
 * Foreign bytes. volatile: they may change at any time, so each is loaded once, and the proof assumes nothing of it.
 */
struct source {
    const volatile unsigned char *next;
    size_t left;
};

/* Bytes that are there, and were not looked at yet. */
struct span {
    const volatile unsigned char *bytes;
    size_t length;
};

/*@ predicate readable(struct source *source) =
      source->left == 0 || \valid_read(source->next + (0 .. source->left - 1)); */

/*@ predicate whole(struct span span) = span.length == 0 || \valid_read(span.bytes + (0 .. span.length - 1)); */

/*@ requires \valid(source) && \valid(number) && \separated(source, number, source->next + (0 .. source->left - 1));
    requires readable(source) && 1 <= width <= 8;
    assigns *source, *number;
    ensures readable(source);
    ensures !\result ==> \old(source->left) < width && *source == \old(*source) && *number == \old(*number);
    ensures \result ==> source->left == \old(source->left) - width && source->next == \old(source->next) + width; */
static bool take_number(struct source *source, size_t width, uint64_t *number) {
    if (source->left < width) return false;
    uint64_t sum = 0;
    /*@ loop invariant 0 <= i <= width;
        loop assigns i, sum;
        loop variant width - i; */
    for (size_t i = 0; i < width; i++) sum |= (uint64_t)source->next[i] << (8 * i);
    *number = sum;
    source->next += width;
    source->left -= width;
    return true;
}

/*@ requires \valid(source) && \valid(span) && \separated(source, span, source->next + (0 .. source->left - 1));
    requires readable(source);
    assigns *source, *span;
    ensures readable(source);
    ensures \result ==> span->length <= \old(source->left) - 4;
    ensures \result ==> source->left == \old(source->left) - 4 - span->length;
    ensures \result ==> span->bytes == \old(source->next) + 4;
    ensures \result ==> source->next == span->bytes + span->length;
    ensures \result ==> whole(*span); */
static bool take_span(struct source *source, struct span *span) {
    uint64_t length;
    if (!take_number(source, 4, &length) || length > source->left) return false;
    span->bytes = source->next;
    span->length = (size_t)length;
    source->next += span->length;
    source->left -= span->length;
    return true;
}

/* Copies a span, and says whether the copy is a text. */
/*@ requires whole(span);
    requires span.length == 0 || \valid(copy + (0 .. span.length - 1));
    requires \separated(copy + (0 .. span.length - 1), span.bytes + (0 .. span.length - 1));
    assigns copy[0 .. span.length - 1];
    ensures \result ==> \forall integer i; 0 <= i < span.length ==> copy[i] != 0; */
static bool copy_text(char *copy, struct span span) {
    /*@ loop invariant 0 <= i <= span.length;
        loop invariant \forall integer k; 0 <= k < i ==> copy[k] != 0;
        loop assigns i, copy[0 .. span.length - 1];
        loop variant span.length - i; */
    for (size_t i = 0; i < span.length; i++) {
        copy[i] = (char)span.bytes[i];
        if (copy[i] == '\0') return false;
    }
    return true;
}

/* ------------------------------------------------------------------------------------------------
 * Reading. One error without its cause, and the bytes of the cause.
 */
struct parts {
    uint64_t code, line, iteration;
    struct span message, file, task, hook;
    struct span detail; /* empty: none */
    uint32_t nest;      /* details that it is within */
};

static bool read_numbers(struct source *source, struct parts *parts) {
    return take_number(source, 4, &parts->code) && take_number(source, 4, &parts->line) &&
           take_number(source, 8, &parts->iteration);
}

static bool read_texts(struct source *source, struct parts *parts) {
    return take_span(source, &parts->message) && take_span(source, &parts->file) && take_span(source, &parts->task) &&
           take_span(source, &parts->hook);
}

static bool read_parts(struct source *source, bool is_detailed, struct parts *parts, struct source *cause) {
    struct span rest;
    if (!read_numbers(source, parts) || !read_texts(source, parts)) return false;
    parts->detail.length = 0;
    if (is_detailed && (!take_span(source, &parts->detail) || parts->detail.length == 0)) return false;
    if (!take_span(source, &rest)) return false;
    cause->next = rest.bytes;
    cause->left = rest.length;
    return parts->code != 0 && parts->task.length <= RN_NAME_MAX;
}

/* The errors of a chain, the outermost first. Each cause fills the bytes that were announced for it. */
static bool read_chain(struct source *source, bool is_detailed, uint32_t nest, struct parts *chain, uint32_t *length) {
    struct source inner;
    uint64_t kind = is_detailed ? DETAILED : RN_ERROR;
    for (*length = 0; kind == RN_ERROR || kind == DETAILED; source = &inner) {
        struct source cause;
        if (*length == RNI_WIRE_DEPTH || !read_parts(source, kind == DETAILED, &chain[*length], &cause)) return false;
        chain[*length].nest = nest;
        if (*length > 0 && source->left > 0) return false;
        ++*length;
        inner = cause;
        if (!take_number(&inner, 1, &kind)) return false;
    }
    return kind == RN_NONE && inner.left == 0;
}

static bool read_value(struct source *source, rni_wire_buffers *buffers, uint32_t nest, rn_value *value);

/* Without memory for it, it is left behind. */
static bool read_detail(const struct parts *parts, rn_value *detail) {
    struct source source = {.next = parts->detail.bytes, .left = parts->detail.length};
    rni_wire_buffers none = {.count = 0};
    rn_value value = rni_none();
    if (parts->detail.length == 0) return true;
    if (parts->nest == RNI_WIRE_NEST || !read_value(&source, &none, parts->nest + 1, &value)) return false;
    if (source.left > 0 || rni_is_none(value)) {
        rn_drop(value);
        return false;
    }
    bool is_blank = rni_is_error(value) && rni_value_is_plain(value);
    *detail = is_blank ? rni_none() : value;
    return true;
}

/* Takes the cause. False: one of its texts, or its detail, is none; *value is an error all the same. */
static bool build(const struct parts *parts, rn_value cause, rn_value *value) {
    *value = rni_error_blank(parts->message.length, parts->file.length, parts->hook.length);
    if (rni_value_is_plain(*value)) { /* no memory */
        rni_drop(cause);
        return true;
    }
    struct rni_error *error = rni_value_pointer(*value);
    error->code = (int)(uint32_t)parts->code;
    error->line = (int)(uint32_t)parts->line;
    error->iteration = parts->iteration;
    error->cause = cause;
    char *file = error->text + parts->message.length + 1;
    char *hook = file + parts->file.length + 1;
    return copy_text(error->text, parts->message) && copy_text(file, parts->file) && copy_text(hook, parts->hook) &&
           copy_text(error->task, parts->task) && read_detail(parts, &error->detail);
}

static bool read_error(struct source *source, bool is_detailed, uint32_t nest, rn_value *value) {
    struct parts chain[RNI_WIRE_DEPTH];
    uint32_t length;
    if (!read_chain(source, is_detailed, nest, chain, &length)) return false;
    rn_value error = rni_none();
    while (length-- > 0) {
        if (!build(&chain[length], error, &error)) {
            rn_drop(error);
            return false;
        }
        if (rni_value_is_plain(error)) break; /* no memory: that is the value */
    }
    *value = error;
    return true;
}

/*@ requires \valid(source) && \valid(value) && readable(source);
    requires \separated(source, value, source->next + (0 .. source->left - 1));
    assigns *source, *value;
    ensures readable(source); */
static bool read_bool(struct source *source, rn_value *value) {
    uint64_t number;
    if (!take_number(source, 1, &number) || number > 1) return false;
    *value = rn_bool(number == 1);
    return true;
}

/*@ requires \valid(source) && \valid(value) && readable(source);
    requires \separated(source, value, source->next + (0 .. source->left - 1));
    assigns *source, *value;
    ensures readable(source); */
static bool read_scalar(struct source *source, enum rn_kind kind, rn_value *value) {
    uint64_t bits;
    if (!take_number(source, 8, &bits)) return false;
    *value = (rn_value){.kind = (uint32_t)kind, .aux = 0, .bits = bits};
    return true;
}

/* A text is bytes without a NUL: what is looked through is the copy. */
static bool read_data(struct source *source, enum rn_kind kind, rn_value *value) {
    struct span span;
    if (!take_span(source, &span)) return false;
    rn_value copy = rn_bytes((const void *)span.bytes, span.length);
    if (kind == RN_TEXT && !rni_is_error(copy)) {
        if (memchr(rn_as_bytes(copy), '\0', span.length)) {
            rn_drop(copy);
            return false;
        }
        copy.kind = (copy.kind & ~RNI_KIND) | RN_TEXT;
    }
    *value = copy;
    return true;
}

/* One that could not be had is the error that says so, and has no size. */
static bool read_buffer(struct source *source, rni_wire_buffers *buffers, rn_value *value) {
    uint64_t number, size;
    if (!take_number(source, 4, &number) || !take_number(source, 8, &size)) return false;
    if (number >= buffers->count || number != buffers->taken) return false;
    rn_value next = buffers->values[number];
    if (!rni_is_error(next) && rn_length(next) != size) return false;
    *value = next;
    buffers->taken++;
    return true;
}

static bool read_value(struct source *source, rni_wire_buffers *buffers, uint32_t nest, rn_value *value) {
    uint64_t kind;
    if (!take_number(source, 1, &kind)) return false;
    switch (kind) {
    case RN_NONE:
        return true;
    case RN_BOOL:
        return read_bool(source, value);
    case RN_INT:
    case RN_FLOAT:
        return read_scalar(source, (enum rn_kind)kind, value);
    case RN_TEXT:
    case RN_BYTES:
        return read_data(source, (enum rn_kind)kind, value);
    case RN_ERROR:
    case DETAILED:
        return read_error(source, kind == DETAILED, nest, value);
    case RN_BUFFER:
        return read_buffer(source, buffers, value);
    default:
        return false;
    }
}

bool rni_wire_read_beside(const unsigned char *bytes, size_t length, rni_wire_buffers *buffers, rn_value *value,
                          size_t *used) {
    struct source source = {.next = bytes, .left = length};
    *value = rni_none();
    *used = 0;
    if (!read_value(&source, buffers, 0, value)) return false;
    *used = length - source.left;
    return true;
}

bool rni_wire_read(const unsigned char *bytes, size_t length, rn_value *value, size_t *used) {
    rni_wire_buffers none = {.count = 0};
    return rni_wire_read_beside(bytes, length, &none, value, used);
}

void rni_wire_drop_buffers(rni_wire_buffers *buffers) {
    for (uint32_t i = buffers->taken; i < buffers->count; i++) rni_drop(buffers->values[i]);
    buffers->count = buffers->taken = 0;
}
