/*
 * How a value holds what it holds. kind: the low 8 bits are enum rn_kind, above them the flags here.
 *
 *   none                          bool, int, float: in bits
 *   text, bytes                   bits points at a blob, or with RNI_STATIC at the characters; aux: the length
 *   pointer                       bits is it; with RNI_COUNTED bits points at a blob that owns it
 *   buffer                        bits points at a struct rni_buffer (buffer.c)
 *   error                         bits points at a struct rni_error, RNI_STATIC: one that is never freed
 *
 * Blobs are counted and never change while more than one owner has them; but for the bytes of buffers, which are there
 * to be changed.
 */
#ifndef RNI_VALUE_VALUE_H
#define RNI_VALUE_VALUE_H

#include <runium.h>
#include <stdarg.h>

#include "base/atomic.h"

#define RNI_STATIC 0x100u  /* nothing to count */
#define RNI_COUNTED 0x200u /* bits points at a blob */

typedef struct rni_blob {
    rni_a32 owners;
} rni_blob;

struct rni_error {
    rni_blob blob;
    int code;
    int line;
    uint64_t iteration;
    rn_value cause;
    rn_value detail;            /* what it carries */
    struct rni_error *next;     /* of those that are being freed */
    const char *message;
    const char *file;
    const char *hook;           /* a constant, or in text */
    char task[RN_NAME_MAX + 1]; /* "" until a run stamps it */
    char text[];                /* message NUL file NUL, and for a blank one: hook NUL */
};

static inline void *rni_value_pointer(rn_value value) { return (void *)(uintptr_t)value.bits; }
static inline bool rni_value_is_plain(rn_value value) { return !(value.kind & RNI_COUNTED); }

/* As rn_drop(), without a call where there is nothing to count. */
static inline void rni_drop(rn_value value) {
    if (value.kind & RNI_COUNTED) rn_drop(value);
}

/* From this length on texts and bytes have pages of their own: huge ones, where there are such, for a tenth of the time. */
#define RNI_VALUE_LARGE ((size_t)4 << 20)

/* Bytes of that length to be written to *data before anybody else has the value; or the error that says why not. */
rn_value rni_bytes_blank(size_t length, void **data);

/* Bytes that have one owner become a text, if no NUL is in them. False: one is. kind: RN_TEXT, or RN_BYTES: nothing is done. */
bool rni_bytes_become(rn_value *value, enum rn_kind kind);

/* Errors that need no memory. */
rn_value rni_error_no_memory(void);
rn_value rni_error_timed_out(void);
rn_value rni_error_forked(void);
rn_value rni_error_cancelled(void);
rn_value rni_error_closed(void);

rn_value rni_error_make(const char *file, int line, rn_value cause, int code, const char *format, va_list arguments)
    RN_PRINTF(5, 0);

/* An error whose parts the caller fills in: all zero, with room in .text for its three texts, one after the other, each
 * with a NUL behind it. Where memory is refused: rni_error_no_memory(), which is plain. */
rn_value rni_error_blank(size_t message_length, size_t file_length, size_t hook_length);

/* An error as the outcome of a run: with the task, the hook ("" if none) and the iteration it comes
 * from. Takes the error; one that belongs to others too, or to another task, becomes the cause. */
rn_value rni_error_stamp(rn_value error, const char *task, const char *hook, uint64_t iteration);
void rni_error_free(struct rni_error *error);

#endif
