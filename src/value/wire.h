/*
 * Values as bytes: how they cross to a worker process, and what is in a capsule.
 *
 * Little endian, no padding. A value is a kind byte, then:
 *   none                 nothing
 *   bool                 1 byte, 0 or 1
 *   int, float           8 bytes
 *   text, bytes          4 bytes length, then the bytes; a text has no NUL inside
 *   error                4 bytes code, 4 line, 8 iteration, then five texts, each 4 bytes length and the bytes: message,
 *                        file, task, hook, and last the cause: a whole value of kind error, or none
 *   error with a detail  as an error, but its kind byte has RNI_WIRE_DETAILED too, and between hook and cause comes the
 *                        detail: 4 bytes length, then a whole value that is neither none nor a buffer
 *   buffer               4 bytes number, 8 size: its bytes are in a memory file that comes beside this, and the number
 *                        says which of those it is. They are numbered from 0, in the order in which values name them
 * A pointer does not travel. Errors nest at most RNI_WIRE_DEPTH deep; of a longer chain of causes the rest is left out.
 * A detail that cannot travel is left behind: a pointer, a buffer, one of 4 GiB. If it is an error it may have a detail in
 * turn, down to RNI_WIRE_NEST details within each other.
 *
 * The decoder is total: any bytes give a value, or false. It trusts nothing that it reads: each length is checked
 * against what is left before it is used, and each byte is read once. Where no files come beside the bytes, a buffer is
 * no value.
 */
#ifndef RNI_VALUE_WIRE_H
#define RNI_VALUE_WIRE_H

#include <runium.h>
#include <stddef.h>

#define RNI_WIRE_DEPTH 32u
#define RNI_WIRE_NEST 4u
#define RNI_WIRE_DETAILED 0x40u

/* What comes beside the bytes: the buffers that they name. */
#define RNI_WIRE_BUFFERS 8u
typedef struct rni_wire_buffers {
    rn_value values[RNI_WIRE_BUFFERS]; /* owned; when received, those from `taken` on */
    uint32_t count, taken;
} rni_wire_buffers;

void rni_wire_drop_buffers(rni_wire_buffers *buffers); /* leaves none */

/* How many bytes it takes. SIZE_MAX: it holds a pointer, and cannot travel. */
size_t rni_wire_size(rn_value value);

/* Writes exactly rni_wire_size() bytes, which `bytes` must have room for. Borrows the value. */
size_t rni_wire_write(rn_value value, unsigned char *bytes);

/* As above; if it is a buffer it is the one with that number. */
size_t rni_wire_write_numbered(rn_value value, uint32_t number, unsigned char *bytes);

/* Reads one value from the first of `length` bytes. False: they are not a value; then *value is none. True: *value is
 * yours, *used says how many bytes it took; where memory is refused the value is the error that says so. */
bool rni_wire_read(const unsigned char *bytes, size_t length, rn_value *value, size_t *used);

/* As above, with what came beside the bytes. A buffer is taken from there: the next one, and of the size that it has. */
bool rni_wire_read_beside(const unsigned char *bytes, size_t length, rni_wire_buffers *buffers, rn_value *value,
                          size_t *used);

#endif
