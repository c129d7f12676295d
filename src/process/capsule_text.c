/*
 * Capsules as text, and back. Both ways go by one table of fields. The decoder copies each value once, into one block
 * that is as long as the header, and checks it there; nothing is looked at beyond the end, and every number has a
 * bound before it is used.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "process/capsule.h"
#include "process/module.h"
#include "value/value.h"
#include "value/wire.h"

enum kind { TEXT, NUMBER, OFFSET, ID, PART };

static const struct field {
    const char *name;
    enum kind kind;
    size_t place;    /* in the capsule */
    uint64_t most;   /* bytes of a text; the largest number */
} fields[] = {
#define FIELD(name, kind, member, most) {name, kind, offsetof(rni_capsule, member), most}
    FIELD("task", TEXT, task, RN_NAME_MAX),
    FIELD("part", PART, part, RNI_PART_ON_FINISHED),
    FIELD("iteration", NUMBER, iteration, UINT64_MAX - 1),
    FIELD("times", NUMBER, times, UINT64_MAX),
    FIELD("every", NUMBER, every, RN_DURATION_MAX),
    FIELD("missed", NUMBER, missed, UINT64_MAX),
    FIELD("run", NUMBER, run_id, UINT64_MAX),
    FIELD("time", TEXT, time, UINT64_MAX),
    FIELD("cause", TEXT, cause, UINT64_MAX),
    FIELD("argument", TEXT, argument, UINT64_MAX),
    FIELD("file", TEXT, file, RNI_MODULE_PATH_MAX),
    FIELD("file-id", ID, file_id, RNI_ELF_ID_MAX),
    FIELD("offset", OFFSET, offset, UINT64_MAX),
    FIELD("symbol", TEXT, symbol, UINT64_MAX),
    FIELD("program", TEXT, program, RNI_MODULE_PATH_MAX),
    FIELD("program-id", ID, program_id, RNI_ELF_ID_MAX),
    FIELD("name", TEXT, name, UINT64_MAX),
    FIELD("library", TEXT, library, RNI_MODULE_PATH_MAX),
    FIELD("folder", TEXT, folder, UINT64_MAX),
    FIELD("workers", NUMBER, workers, RN_WORKERS_MAX),
    FIELD("limit-address-space", NUMBER, limits[0], UINT64_MAX),
    FIELD("limit-data", NUMBER, limits[1], UINT64_MAX),
    FIELD("limit-file-size", NUMBER, limits[2], UINT64_MAX),
    FIELD("limit-locked-memory", NUMBER, limits[3], UINT64_MAX),
    FIELD("limit-open-files", NUMBER, limits[4], UINT64_MAX),
    FIELD("limit-stack", NUMBER, limits[5], UINT64_MAX),
#undef FIELD
};

#define LENGTH_BYTES 8u /* of a buffer's length, behind its kind; then come its bytes, which are elsewhere on the wire */

#define FIELDS (sizeof fields / sizeof fields[0])

static const char *const parts[] = {"function", "on_iter", "on_success", "on_error", "on_finished"};

const char *rni_part_name(uint64_t part) { return parts[part]; }

/* ------------------------------------------------------------------------------------------------
 * Writing: once to count, once to write
 */
struct sink {
    unsigned char *bytes; /* NULL: they are only counted */
    size_t length;
};

static void put(struct sink *sink, const void *bytes, size_t length) {
    if (sink->bytes) memcpy(sink->bytes + sink->length, bytes, length);
    sink->length += length;
}

static void put_text(struct sink *sink, const char *text) { put(sink, text, strlen(text)); }

static bool must_be_escaped(unsigned char byte) { return byte < 0x20 || byte == 0x7f || byte == '\\'; }

static void put_escaped(struct sink *sink, const char *text) {
    for (; *text; text++) {
        char escape[8];
        if (!must_be_escaped((unsigned char)*text)) {
            put(sink, text, 1);
            continue;
        }
        (void)snprintf(escape, sizeof escape, "\\x%02x", (unsigned char)*text);
        put(sink, escape, 4);
    }
}

static void put_number(struct sink *sink, uint64_t number) {
    char digits[24];
    (void)snprintf(digits, sizeof digits, "%" PRIu64, number);
    put_text(sink, number == UINT64_MAX ? "unlimited" : digits);
}

static void put_offset(struct sink *sink, uint64_t offset) {
    char digits[24];
    (void)snprintf(digits, sizeof digits, "0x%" PRIx64, offset);
    put_text(sink, digits);
}

static void put_id(struct sink *sink, const rni_elf_id *id) {
    for (uint32_t i = 0; i < id->length; i++) {
        char digits[4];
        (void)snprintf(digits, sizeof digits, "%02x", id->bytes[i]);
        put(sink, digits, 2);
    }
}

static void put_field(struct sink *sink, const struct field *field, const rni_capsule *capsule) {
    const void *place = (const char *)capsule + field->place;
    put_text(sink, field->name);
    put_text(sink, ": ");
    switch (field->kind) {
    case TEXT: put_escaped(sink, *(const char *const *)place); break;
    case NUMBER: put_number(sink, *(const uint64_t *)place); break;
    case OFFSET: put_offset(sink, *(const uint64_t *)place); break;
    case ID: put_id(sink, place); break;
    default: put_text(sink, parts[*(const uint64_t *)place]); break;
    }
    put_text(sink, "\n");
}

static void put_list(struct sink *sink, const char *name, char *const *texts, size_t count) {
    for (size_t i = 0; i < count; i++) {
        put_text(sink, name);
        put_escaped(sink, texts[i]);
        put_text(sink, "\n");
    }
}

static void put_value(struct sink *sink, rn_value value) {
    if (rn_kind(value) == RN_BUFFER) {
        put(sink, &(unsigned char){RN_BUFFER}, 1);
        for (unsigned i = 0; i < LENGTH_BYTES; i++) put(sink, &(unsigned char){(unsigned char)(rn_length(value) >> (8 * i))}, 1);
        put(sink, rn_as_buffer(value), rn_length(value));
        return;
    }
    if (sink->bytes) (void)rni_wire_write(value, sink->bytes + sink->length);
    sink->length += rni_wire_size(value);
}

static size_t value_size(rn_value value) {
    struct sink sink = {.bytes = NULL};
    put_value(&sink, value);
    return sink.length;
}

size_t rni_capsule_encode(const rni_capsule *capsule, unsigned char *bytes) {
    struct sink sink = {.bytes = bytes};
    bool has_outcome = capsule->part != RNI_PART_FUNCTION;
    size_t values = value_size(capsule->arg) + (has_outcome ? value_size(capsule->outcome) : 0);
    put_text(&sink, RNI_CAPSULE_FIRST_LINE "\n");
    for (size_t i = 0; i < FIELDS; i++) put_field(&sink, &fields[i], capsule);
    put_list(&sink, "trace: ", capsule->trace, capsule->trace_count);
    put_list(&sink, "variable: ", capsule->variables, capsule->variable_count);
    put_text(&sink, "values: ");
    put_number(&sink, values);
    put_text(&sink, "\n\n");
    put_value(&sink, capsule->arg);
    if (has_outcome) put_value(&sink, capsule->outcome);
    return sink.length;
}

/* ------------------------------------------------------------------------------------------------
 * Reading
 */
struct source {
    const unsigned char *at, *end; /* of the header */
    unsigned line;
    char *room;                    /* where the next text goes */
};

#define SHOWN 60 /* bytes of a value that is refused */

static rn_value refuse(const struct source *source, const char *name, const char *text, const char *accepted) {
    return rn_error(RN_INVALID, "line %u: %s is '%.*s'; accepted is %s", source->line, name, SHOWN, text, accepted);
}

static int digit_of(unsigned char byte) {
    if (byte >= '0' && byte <= '9') return byte - '0';
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* The byte that an escape stands for; -1: it is none, or one that nobody writes. */
static int escaped(const unsigned char *at, const unsigned char *end) {
    if (end - at < 4 || at[1] != 'x') return -1;
    int high = digit_of(at[2]), low = digit_of(at[3]);
    int byte = high < 0 || low < 0 ? 0 : high * 16 + low;
    return byte > 0 && must_be_escaped((unsigned char)byte) ? byte : -1;
}

/* The text between two places, into the room. NULL: it is not escaped as it should be. */
static const char *unescape(struct source *source, const unsigned char *at, const unsigned char *end) {
    const char *text = source->room;
    while (at < end) {
        int byte = *at == '\\' ? escaped(at, end) : *at;
        if (byte < 0 || (*at != '\\' && must_be_escaped(*at))) return NULL;
        at += *at == '\\' ? 4 : 1;
        *source->room++ = (char)byte;
    }
    *source->room++ = '\0';
    return text;
}

static bool is_next(const struct source *source, const char *name) {
    size_t length = strlen(name), left = (size_t)(source->end - source->at);
    return left >= length + 2 && memcmp(source->at, name, length) == 0 && memcmp(source->at + length, ": ", 2) == 0;
}

/* The value of the next line, which must have that name. */
static rn_value take_line(struct source *source, const char *name, const char **text) {
    source->line++;
    *text = "";
    if (!is_next(source, name)) return rn_error(RN_INVALID, "line %u is not '%s: ...'", source->line, name);
    const unsigned char *start = source->at + strlen(name) + 2;
    const unsigned char *end = memchr(start, '\n', (size_t)(source->end - start));
    RNI_ASSERT(end); /* LCOV_EXCL_BR_LINE: the header ends with one */
    source->at = end + 1;
    *text = unescape(source, start, end);
    if (*text) return rni_none();
    return rn_error(RN_INVALID, "line %u: %s holds a byte or an escape that nobody writes; accepted are printable "
                                "bytes, and \\xHH for the others and the backslash", source->line, name);
}

static bool read_number(const char *text, uint64_t *number) {
    uint64_t sum = 0;
    *number = UINT64_MAX;
    if (strcmp(text, "unlimited") == 0) return true;
    if (!*text || (text[0] == '0' && text[1])) return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || __builtin_mul_overflow(sum, 10u, &sum)) return false;
        if (__builtin_add_overflow(sum, (unsigned)(*text - '0'), &sum)) return false;
    }
    *number = sum;
    return sum != UINT64_MAX; /* that one is written as a word */
}

static bool read_offset(const char *text, uint64_t *offset) {
    *offset = 0;
    if (text[0] != '0' || text[1] != 'x' || !text[2] || (text[2] == '0' && text[3])) return false;
    size_t length = strlen(text += 2);
    for (; *text; text++) {
        int digit = digit_of((unsigned char)*text);
        if (digit < 0 || length > 16) return false;
        *offset = *offset << 4 | (uint64_t)digit;
    }
    return true;
}

static bool read_id(const char *text, rni_elf_id *id) {
    size_t length = strlen(text);
    *id = (rni_elf_id){.length = 0};
    if (length == 0 || length % 2 != 0 || length > 2 * RNI_ELF_ID_MAX) return false;
    for (size_t i = 0; i < length; i++) {
        int digit = digit_of((unsigned char)text[i]);
        if (digit < 0) return false;
        id->bytes[i / 2] = (uint8_t)(id->bytes[i / 2] << 4 | digit);
    }
    id->length = (uint32_t)(length / 2);
    return true;
}

static bool read_part(const char *text, uint64_t *part) {
    for (*part = 0; *part <= RNI_PART_ON_FINISHED; ++*part)
        if (strcmp(text, parts[*part]) == 0) return true;
    *part = 0;
    return false;
}

static bool read_field(const struct field *field, const char *text, void *place) {
    switch (field->kind) {
    case TEXT: *(const char **)place = text; return strlen(text) <= field->most;
    case NUMBER: return read_number(text, place) && *(uint64_t *)place <= field->most;
    case OFFSET: return read_offset(text, place);
    case ID: return read_id(text, place);
    default: return read_part(text, place);
    }
}

static rn_value accepted_in(const struct source *source, const struct field *field, const char *text) {
    char range[64];
    static const char *const forms[] = {
        [OFFSET] = "a number like 0x12ab of at most 16 digits", [ID] = "2 to 64 digits 0-9 and a-f, in pairs",
        [PART] = "function, on_iter, on_success, on_error or on_finished"};
    if (field->kind == TEXT) (void)snprintf(range, sizeof range, "a text of at most %" PRIu64 " bytes", field->most);
    else if (field->most == UINT64_MAX) (void)snprintf(range, sizeof range, "a decimal number, or unlimited");
    else (void)snprintf(range, sizeof range, "a decimal number up to %" PRIu64, field->most);
    return refuse(source, field->name, text, forms[field->kind] ? forms[field->kind] : range);
}

static rn_value take_fields(struct source *source, rni_capsule *capsule) {
    const char *text;
    for (size_t i = 0; i < FIELDS; i++) {
        rn_value error = take_line(source, fields[i].name, &text);
        if (rni_is_error(error)) return error;
        if (!read_field(&fields[i], text, (char *)capsule + fields[i].place)) return accepted_in(source, &fields[i], text);
    }
    if (capsule->iteration == 0 || capsule->iteration > capsule->times)
        return rn_error(RN_INVALID, "the iteration is %" PRIu64 "; accepted is 1 up to times, %" PRIu64, capsule->iteration,
                        capsule->times);
    if (capsule->program[0] != '/') return rn_error(RN_INVALID, "the program is '%.*s'; accepted is a path from the "
                                                                "root on", SHOWN, capsule->program);
    return rni_none();
}

static rn_value take_list(struct source *source, const char *name, char **texts, size_t *count) {
    while (is_next(source, name)) {
        const char *text;
        rn_value error = take_line(source, name, &text);
        if (rni_is_error(error)) return error;
        texts[(*count)++] = (char *)(uintptr_t)text;
    }
    return rni_none();
}

/* As rni_wire_read(), and for buffers. */
static bool read_value(const unsigned char *bytes, size_t length, rn_value *value, size_t *used) {
    uint64_t size = 0;
    *value = rni_none();
    if (length == 0 || bytes[0] != RN_BUFFER) return rni_wire_read(bytes, length, value, used);
    if (length < 1 + LENGTH_BYTES) return false;
    for (unsigned i = 0; i < LENGTH_BYTES; i++) size |= (uint64_t)bytes[1 + i] << (8 * i);
    if (size == 0 || size > length - 1 - LENGTH_BYTES) return false;
    *value = rn_buffer((size_t)size);
    *used = (size_t)size + 1 + LENGTH_BYTES;
    if (!rni_is_error(*value)) memcpy(rn_as_buffer(*value), bytes + 1 + LENGTH_BYTES, (size_t)size);
    return true;
}

static rn_value take_values(const unsigned char *bytes, size_t length, rni_capsule *capsule) {
    size_t used = 0, more = 0;
    bool has_outcome = capsule->part != RNI_PART_FUNCTION;
    if (!read_value(bytes, length, &capsule->arg, &used) || rni_is_error(capsule->arg))
        return rn_error(RN_INVALID, "the values do not begin with an argument: with a value that is no error");
    if (has_outcome && !read_value(bytes + used, length - used, &capsule->outcome, &more))
        return rn_error(RN_INVALID, "behind the argument there is no outcome for %s", parts[capsule->part]);
    if (used + more != length) return rn_error(RN_INVALID, "there are %zu bytes behind the values", length - used - more);
    if (rni_is_error(capsule->outcome) && capsule->part == RNI_PART_ON_SUCCESS)
        return rn_error(RN_INVALID, "the outcome for on_success is an error");
    if (!rni_is_error(capsule->outcome) && capsule->part == RNI_PART_ON_ERROR)
        return rn_error(RN_INVALID, "the outcome for on_error is no error");
    return rni_none();
}

/* Up to the bytes of the values. */
static rn_value take_header(struct source *source, size_t rest, rni_capsule *capsule) {
    const char *text;
    uint64_t length;
    rn_value error = take_fields(source, capsule);
    if (!rni_is_error(error)) error = take_list(source, "trace", capsule->trace, &capsule->trace_count);
    if (!rni_is_error(error)) error = take_list(source, "variable", capsule->variables, &capsule->variable_count);
    if (!rni_is_error(error)) error = take_line(source, "values", &text);
    if (rni_is_error(error)) return error;
    if (!read_number(text, &length) || length != rest) {
        char range[64];
        (void)snprintf(range, sizeof range, "%zu, as many bytes as there are", rest);
        return refuse(source, "values", text, range);
    }
    return source->at + 1 == source->end ? rni_none() : rn_error(RN_INVALID, "line %u is not empty", source->line + 1);
}

static size_t count_lines(const unsigned char *bytes, size_t length) {
    size_t count = 0;
    for (size_t i = 0; i < length; i++) count += bytes[i] == '\n';
    return count;
}

/* The header ends with an empty line, and none is before it: a value is never at the begin of a line. */
static size_t header_length(const unsigned char *bytes, size_t length) {
    const unsigned char *end = memmem(bytes, length, "\n\n", 2);
    return end ? (size_t)(end - bytes) + 2 : 0;
}

rn_value rni_capsule_decode(const unsigned char *bytes, size_t length, rni_capsule *capsule) {
    static const char first[] = RNI_CAPSULE_FIRST_LINE "\n";
    *capsule = (rni_capsule){.arg = rni_none(), .outcome = rni_none()};
    if (length < sizeof first - 1 || memcmp(bytes, first, sizeof first - 1) != 0)
        return rn_error(RN_INVALID, "the first line is not '%s'", RNI_CAPSULE_FIRST_LINE);
    size_t header = header_length(bytes, length);
    if (header == 0) return rn_error(RN_INVALID, "no empty line ends the header");
    size_t lines = count_lines(bytes, header) + 1; /* each list has room for all, and its NULL */
    capsule->memory = rni_alloc_zeroed(2 * lines * sizeof(char *) + header);
    if (!capsule->memory) return rni_error_no_memory();
    capsule->trace = capsule->memory;
    capsule->variables = capsule->trace + lines;
    struct source source = {.at = bytes + sizeof first - 1, .end = bytes + header, .line = 1,
                            .room = (char *)(capsule->variables + lines)};
    rn_value error = take_header(&source, length - header, capsule);
    if (!rni_is_error(error)) error = take_values(bytes + header, length - header, capsule);
    if (rni_is_error(error)) rni_capsule_free(capsule);
    return error;
}

void rni_capsule_free(rni_capsule *capsule) {
    rni_drop(capsule->arg);
    rni_drop(capsule->outcome);
    rni_free(capsule->memory);
    *capsule = (rni_capsule){.arg = rni_none(), .outcome = rni_none()};
}
