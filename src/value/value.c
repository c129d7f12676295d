#include "value/value.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "value/buffer.h"

struct text_blob {
    rni_blob blob;
    _Alignas(16) char data[]; /* bytes are aligned as malloc() would */
};

struct pointer_blob {
    rni_blob blob;
    void *pointer;
    void (*destroy)(void *pointer);
};

static rn_value counted(enum rn_kind kind, uint32_t length, rni_blob *blob) {
    rni_store_relaxed(&blob->owners, 1);
    return (rn_value){.kind = (uint32_t)kind | RNI_COUNTED, .aux = length, .bits = (uintptr_t)blob};
}

/* What programs make and read in place (runium.h). Their names in parentheses are those of functions, not of macros. */
rn_value (rn_none)(void) { return rni_none(); }
rn_value (rn_bool)(bool value) { return rni_bool(value); }
rn_value (rn_int)(int64_t value) { return rni_int(value); }
rn_value (rn_float)(double value) { return rni_float(value); }
enum rn_kind rn_kind(rn_value value) { return rni_kind(value); }
bool (rn_is_none)(rn_value value) { return rni_is_none(value); }
bool (rn_is_error)(rn_value value) { return rni_is_error(value); }
bool (rn_as_bool)(rn_value value) { return rni_as_bool(value); }
int64_t (rn_as_int)(rn_value value) { return rni_as_int(value); }
double (rn_as_float)(rn_value value) { return rni_as_float(value); }

static size_t size_of_text(size_t length) { return sizeof(struct text_blob) + length + 1; }

static struct text_blob *alloc_text(size_t length) {
    return length < RNI_VALUE_LARGE ? rni_alloc(size_of_text(length)) : rni_alloc_large(size_of_text(length));
}

static void free_text(struct text_blob *blob, size_t length) {
    if (length < RNI_VALUE_LARGE) rni_free(blob);
    else rni_free_large(blob, size_of_text(length));
}

static rn_value blank(enum rn_kind kind, size_t length, void **data) {
    *data = NULL;
    if (length > RN_LENGTH_MAX)
        return rn_error(RN_TOO_LARGE, "%zu bytes of %s: at most %lu are accepted", length, rn_kind_name(kind),
                        (unsigned long)RN_LENGTH_MAX);
    struct text_blob *blob = alloc_text(length);
    if (!blob) return rni_error_no_memory();
    blob->data[length] = '\0';
    *data = blob->data;
    return counted(kind, (uint32_t)length, &blob->blob);
}

static rn_value blob_of(enum rn_kind kind, const void *data, size_t length) {
    void *copy;
    rn_value value = blank(kind, length, &copy);
    if (copy && length > 0) memcpy(copy, data, length);
    return value;
}

rn_value rni_bytes_blank(size_t length, void **data) { return blank(RN_BYTES, length, data); }

bool rni_bytes_become(rn_value *value, enum rn_kind kind) {
    if (kind == RN_TEXT && memchr(rn_as_bytes(*value), '\0', rn_length(*value))) return false;
    value->kind = (value->kind & ~RNI_KIND) | (uint32_t)kind;
    return true;
}

rn_value rn_text(const char *text) {
    if (!text) return rn_error(RN_INVALID, "rn_text: the text is NULL");
    return blob_of(RN_TEXT, text, strlen(text));
}

rn_value rn_text_n(const char *text, size_t length) {
    if (!text && length > 0) return rn_error(RN_INVALID, "rn_text_n: the text is NULL");
    const char *nul = length > 0 && length <= RN_LENGTH_MAX ? memchr(text, '\0', length) : NULL;
    if (nul)
        return rn_error(RN_INVALID, "rn_text_n: a NUL at offset %zu of %zu; rn_bytes() takes any bytes",
                        (size_t)(nul - text), length);
    return blob_of(RN_TEXT, text, length);
}

rn_value rn_textf(const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    struct text_blob *blob = length < 0 ? NULL : alloc_text((size_t)length);
    if (blob) (void)vsnprintf(blob->data, (size_t)length + 1, format, again);
    va_end(again);
    if (length < 0) return rn_error(RN_INVALID, "rn_textf: \"%s\" cannot be formatted", format);
    if (!blob) return rni_error_no_memory();
    if (strlen(blob->data) == (size_t)length) return counted(RN_TEXT, (uint32_t)length, &blob->blob);
    free_text(blob, (size_t)length);
    return rn_error(RN_INVALID, "rn_textf: \"%s\" gives a NUL inside the text; rn_bytes() takes any bytes", format);
}

rn_value rni_literal(const char *text, size_t length) {
    if (strlen(text) != length) return rn_text_n(text, length); /* which says where the NUL is */
    return (rn_value){.kind = RN_TEXT | RNI_STATIC, .aux = (uint32_t)length, .bits = (uintptr_t)text};
}

rn_value rn_bytes(const void *data, size_t size) {
    if (!data && size > 0) return rn_error(RN_INVALID, "rn_bytes: the data is NULL");
    return blob_of(RN_BYTES, data, size);
}

rn_value rn_pointer(void *pointer) { return rni_one_word(RN_POINTER, (uintptr_t)pointer); }

rn_value rn_pointer_owned(void *pointer, void (*destroy)(void *pointer)) {
    if (!destroy) return rn_error(RN_INVALID, "rn_pointer_owned: destroy is NULL; rn_pointer() owns nothing");
    struct pointer_blob *blob = rni_alloc(sizeof *blob);
    if (!blob) { /* The pointer was given away, so it is ours to destroy. */
        destroy(pointer);
        return rni_error_no_memory();
    }
    blob->pointer = pointer;
    blob->destroy = destroy;
    return counted(RN_POINTER, 0, &blob->blob);
}

rn_value rn_keep(rn_value value) {
    if (rni_value_is_plain(value)) return value;
    rni_blob *blob = rni_value_pointer(value);
    /* Relaxed: who keeps has it already, so nothing needs to be seen through the count. */
    uint32_t before = rni_add_relaxed(&blob->owners, 1);
    if (before == 0) rni_misuse("rn_keep: a %s that has been dropped by its last owner", rn_kind_name(rn_kind(value)));
    return value;
}

static void destroy_blob(rn_value value) {
    void *blob = rni_value_pointer(value);
    if (rn_kind(value) == RN_ERROR) {
        rni_error_free(blob);
        return;
    }
    if (rn_kind(value) == RN_BUFFER) {
        rni_buffer_free(blob);
        return;
    }
    if (rn_kind(value) == RN_POINTER) {
        struct pointer_blob *owned = blob;
        owned->destroy(owned->pointer);
        rni_free(blob);
        return;
    }
    free_text(blob, value.aux);
}

void rn_drop(rn_value value) {
    if (rni_value_is_plain(value)) return;
    rni_blob *blob = rni_value_pointer(value);
    /* Releases this owner's reads to the last owner, who acquires them and destroys. */
    uint32_t before = rni_add_acq_rel(&blob->owners, UINT32_MAX);
    if (before == 0) rni_misuse("rn_drop: a %s that has been dropped by its last owner", rn_kind_name(rn_kind(value)));
    if (before == 1) destroy_blob(value);
}

const char *rn_kind_name(enum rn_kind kind) {
    static const char *const names[] = {"none", "bool", "int", "float", "text", "bytes", "pointer", "error", "buffer"};
    return (unsigned)kind < sizeof names / sizeof *names ? names[kind] : "unknown kind";
}

void rni_wrong_kind(const char *function, rn_value value, enum rn_kind accepted) {
    char text[200];
    rn_format(value, text, sizeof text);
    rni_misuse("%s: the value is of kind %s, not %s: %s", function, rn_kind_name(rn_kind(value)), rn_kind_name(accepted),
               text);
}

static const char *data_of(rn_value value) {
    return value.kind & RNI_STATIC ? rni_value_pointer(value) : ((struct text_blob *)rni_value_pointer(value))->data;
}

const char *rn_as_text(rn_value value) {
    RNI_EXPECT("rn_as_text", value, RN_TEXT);
    return data_of(value);
}

const void *rn_as_bytes(rn_value value) {
    RNI_EXPECT("rn_as_bytes", value, RN_BYTES);
    return data_of(value);
}

void *rn_as_pointer(rn_value value) {
    RNI_EXPECT("rn_as_pointer", value, RN_POINTER);
    if (rni_value_is_plain(value)) return rni_value_pointer(value);
    return ((struct pointer_blob *)rni_value_pointer(value))->pointer;
}

void *rn_as_buffer(rn_value value) {
    RNI_EXPECT("rn_as_buffer", value, RN_BUFFER);
    return rni_buffer_memory(rni_value_pointer(value));
}

int rn_buffer_write(rn_value buffer, size_t offset, const void *data, size_t size) {
    RNI_EXPECT("rn_buffer_write", buffer, RN_BUFFER);
    return rni_buffer_write(rni_value_pointer(buffer), offset, data, size);
}

size_t rn_length(rn_value value) {
    if (rn_kind(value) == RN_BUFFER) return rni_buffer_size(rni_value_pointer(value));
    if (rn_kind(value) != RN_BYTES) RNI_EXPECT("rn_length", value, RN_TEXT);
    return value.aux;
}
