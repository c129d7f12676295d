#include "process/frame.h"

#include <string.h>

#include "base/memory.h"
#include "value/value.h"

static unsigned char *make_room(rni_writer *writer, size_t length) {
    if (writer->failed) return NULL;
    if (length > writer->room - writer->length) {
        size_t room = writer->room * 2 > writer->length + length ? writer->room * 2 : writer->length + length + 256;
        unsigned char *bytes = rni_alloc(room);
        writer->failed = !bytes;
        if (!bytes) return NULL;
        if (writer->length > 0) memcpy(bytes, writer->bytes, writer->length);
        rni_free(writer->bytes);
        writer->bytes = bytes;
        writer->room = room;
    }
    unsigned char *at = writer->bytes + writer->length;
    writer->length += length;
    return at;
}

static void drop_values(rni_writer *writer) {
    rni_wire_drop_buffers(&writer->buffers);
    rni_wire_drop_buffers(&writer->larges);
}

void rni_writer_begin(rni_writer *writer, enum rni_frame frame) {
    writer->length = 0;
    writer->failed = writer->is_overfull = false;
    drop_values(writer);
    rni_put_8(writer, (uint8_t)frame);
}

void rni_writer_free(rni_writer *writer) {
    rni_free(writer->bytes);
    drop_values(writer);
    *writer = (rni_writer){0};
}

#define ROOM_KEPT ((size_t)256 * 1024) /* bytes: most frames have few */

void rni_writer_sent(rni_writer *writer) {
    drop_values(writer);
    if (writer->room <= ROOM_KEPT) return;
    rni_free(writer->bytes);
    writer->bytes = NULL;
    writer->room = 0;
}

uint64_t rni_writer_size(const rni_writer *writer) {
    uint64_t size = writer->length;
    for (uint32_t i = 0; i < writer->larges.count; i++) size += rn_length(writer->larges.values[i]);
    return size;
}

static void put_number(rni_writer *writer, uint64_t number, unsigned size) {
    unsigned char *at = make_room(writer, size);
    if (!at) return;
    for (unsigned i = 0; i < size; i++) at[i] = (unsigned char)(number >> (8 * i));
}

void rni_put_8(rni_writer *writer, uint8_t number) { put_number(writer, number, 1); }
void rni_put_32(rni_writer *writer, uint32_t number) { put_number(writer, number, 4); }
void rni_put_64(rni_writer *writer, uint64_t number) { put_number(writer, number, 8); }

void rni_put_bytes(rni_writer *writer, const void *bytes, size_t length) {
    rni_put_64(writer, length);
    unsigned char *at = length > 0 ? make_room(writer, length) : NULL;
    if (at) memcpy(at, bytes, length);
}

void rni_put_text(rni_writer *writer, const char *text) { rni_put_bytes(writer, text, strlen(text)); }

static void add_buffer(rni_writer *writer, rn_value buffer) {
    writer->is_overfull = writer->is_overfull || writer->buffers.count == RNI_WIRE_BUFFERS;
    if (!writer->is_overfull) writer->buffers.values[writer->buffers.count++] = rn_keep(buffer);
}

_Static_assert((RNI_BESIDE & (RNI_WIRE_DETAILED | RN_ERROR | RN_BUFFER)) == 0,
               "the first byte of a value tells them apart");

static bool goes_beside(const rni_writer *writer, rn_value value) {
    enum rn_kind kind = rn_kind(value);
    return (kind == RN_TEXT || kind == RN_BYTES) && rn_length(value) >= RNI_LARGE_BYTES &&
           writer->larges.count < RNI_WIRE_BUFFERS;
}

static void put_beside(rni_writer *writer, rn_value value) {
    rni_put_8(writer, (uint8_t)(RNI_BESIDE | (unsigned)rn_kind(value)));
    rni_put_32(writer, writer->larges.count);
    rni_put_64(writer, rn_length(value));
    writer->larges.values[writer->larges.count++] = rn_keep(value);
}

bool rni_put_value(rni_writer *writer, rn_value value) {
    if (goes_beside(writer, value)) {
        put_beside(writer, value);
        return true;
    }
    size_t size = rni_wire_size(value);
    if (size == SIZE_MAX) return false;
    uint32_t number = writer->buffers.count;
    if (rn_kind(value) == RN_BUFFER) add_buffer(writer, value);
    unsigned char *at = make_room(writer, size);
    if (at) rni_wire_write_numbered(value, number, at);
    return true;
}

bool rni_wire_is_portable(rn_value value) { return rni_wire_size(value) != SIZE_MAX; }

static bool has(rni_reader *reader, size_t length) {
    if ((size_t)(reader->end - reader->at) < length) reader->failed = true;
    return !reader->failed;
}

static uint64_t take_number(rni_reader *reader, unsigned size) {
    uint64_t number = 0;
    if (!has(reader, size)) return 0;
    for (unsigned i = 0; i < size; i++) number |= (uint64_t)reader->at[i] << (8 * i);
    reader->at += size;
    return number;
}

uint8_t rni_take_8(rni_reader *reader) { return (uint8_t)take_number(reader, 1); }
uint32_t rni_take_32(rni_reader *reader) { return (uint32_t)take_number(reader, 4); }
uint64_t rni_take_64(rni_reader *reader) { return take_number(reader, 8); }

bool rni_take_flag(rni_reader *reader) {
    uint8_t flag = rni_take_8(reader);
    if (flag > 1) reader->failed = true;
    return flag == 1;
}

const void *rni_take_bytes(rni_reader *reader, size_t *length) {
    uint64_t count = rni_take_64(reader);
    *length = 0;
    if (count > PTRDIFF_MAX) reader->failed = true;
    if (reader->failed || !has(reader, (size_t)count)) return NULL;
    const void *bytes = reader->at;
    *length = (size_t)count;
    reader->at += *length;
    return bytes;
}

void rni_take_text(rni_reader *reader, char *text, size_t size) {
    size_t length;
    const char *bytes = rni_take_bytes(reader, &length);
    text[0] = '\0';
    if (!bytes) return;
    if (length >= size || memchr(bytes, '\0', length)) {
        reader->failed = true;
        return;
    }
    memcpy(text, bytes, length);
    text[length] = '\0';
}

/* The next that came beside the frame. One for which there was no memory is the error that says so. */
static rn_value take_beside(rni_reader *reader) {
    rni_wire_buffers *larges = reader->larges;
    unsigned kind = rni_take_8(reader) & ~RNI_BESIDE;
    uint32_t number = rni_take_32(reader);
    uint64_t length = rni_take_64(reader);
    bool is_next = larges && number == larges->taken && number < larges->count && (kind == RN_TEXT || kind == RN_BYTES);
    if (reader->failed || !is_next) {
        reader->failed = true;
        return rn_none();
    }
    rn_value value = larges->values[larges->taken++];
    if (rni_is_error(value) || (rn_length(value) == length && rni_bytes_become(&value, (enum rn_kind)kind))) return value;
    rni_drop(value);
    reader->failed = true;
    return rn_none();
}

rn_value rni_take_value(rni_reader *reader) {
    rn_value value = rn_none();
    size_t used = 0;
    if (!reader->failed && reader->at < reader->end && *reader->at & RNI_BESIDE) return take_beside(reader);
    rni_wire_buffers none = {.count = 0}, *buffers = reader->buffers ? reader->buffers : &none;
    if (reader->failed || !rni_wire_read_beside(reader->at, (size_t)(reader->end - reader->at), buffers, &value, &used)) {
        reader->failed = true;
        return rn_none();
    }
    reader->at += used;
    return value;
}

bool rni_reader_is_done(const rni_reader *reader) {
    const rni_wire_buffers *buffers = reader->buffers, *larges = reader->larges;
    bool is_all_taken = (!buffers || buffers->taken == buffers->count) && (!larges || larges->taken == larges->count);
    return !reader->failed && reader->at == reader->end && is_all_taken;
}
