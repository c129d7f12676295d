#include "process/stderr.h"

#include <string.h>

#include "base/memory.h"
#include "base/os_shared.h"
#include "base/os_stderr.h"

#define PATIENCE_MS 1000
#define SHARE ((size_t)64 * 1024) /* taken from one worker before the others have their turn */
#define PIPE_MAX ((size_t)1 << 20) /* what a pipe holds at most: what is behind that was written after the death */

/* ---- the relay ---- */

static bool make_room(rni_relay *relay, size_t size) {
    if (relay->room - relay->length >= size) return true;
    size_t room = relay->room ? 2 * relay->room : 4 * RNI_OS_STDERR_PIECE;
    char *bytes = room <= RNI_RELAY_MAX ? rni_alloc(room) : NULL;
    if (!bytes) return false;
    if (relay->length > 0) memcpy(bytes, relay->bytes, relay->length);
    rni_free(relay->bytes);
    relay->bytes = bytes;
    relay->room = room;
    return true;
}

/* What there is no room for is lost. */
static void put(rni_relay *relay, const char *bytes, size_t size) {
    if (!make_room(relay, size)) return;
    memcpy(relay->bytes + relay->length, bytes, size);
    relay->length += size;
}

/* Lines are not torn, so that what others write does not come between. */
static size_t next_piece(const rni_relay *relay) {
    if (relay->length <= RNI_OS_STDERR_PIECE) return relay->length;
    const char *newline = memrchr(relay->bytes, '\n', RNI_OS_STDERR_PIECE);
    return newline ? (size_t)(newline + 1 - relay->bytes) : RNI_OS_STDERR_PIECE;
}

/* False: it has no room. */
static bool write_some(rni_relay *relay) {
    int taken = rni_os_stderr_write(relay->bytes, next_piece(relay));
    if (taken == 0) return false;
    size_t gone = taken < 0 ? relay->length : (size_t)taken; /* nobody wants it */
    relay->length -= gone;
    memmove(relay->bytes, relay->bytes + gone, relay->length);
    return true;
}

void rni_relay_write(rni_relay *relay) {
    while (relay->length > 0 && write_some(relay)) {}
}

void rni_relay_end(rni_relay *relay) {
    rni_relay_write(relay);
    for (size_t before = 0; relay->length > 0 && relay->length != before && rni_os_stderr_has_room(PATIENCE_MS);) {
        before = relay->length;
        rni_relay_write(relay);
    }
    rni_free(relay->bytes);
    *relay = (rni_relay){.bytes = NULL};
}

/* ---- a tail ---- */

bool rni_tail_open(rni_tail *tail, int *theirs) {
    int ends[2];
    tail->pipe = -1;
    tail->total = 0;
    if (!rni_os_pipe(ends)) return false;
    tail->pipe = ends[0];
    *theirs = ends[1];
    return true;
}

void rni_tail_close(rni_tail *tail) {
    rni_os_close(tail->pipe);
    tail->pipe = -1;
}

_Static_assert(RNI_OS_STDERR_PIECE <= RNI_TAIL_BYTES, "a piece goes round the ring once at most");

static void keep(rni_tail *tail, const char *bytes, size_t size) {
    size_t at = (size_t)(tail->total % RNI_TAIL_BYTES), first = RNI_TAIL_BYTES - at;
    if (first > size) first = size;
    memcpy(tail->bytes + at, bytes, first);
    memcpy(tail->bytes, bytes + first, size - first);
    tail->total += size;
}

/* How many bytes came, or as rni_os_pipe_read(). *is_torn: a line may go on. */
static int take_some(rni_tail *tail, rni_relay *relay, bool *is_torn) {
    char bytes[RNI_OS_STDERR_PIECE];
    int got = rni_os_pipe_read(tail->pipe, bytes, sizeof bytes);
    if (got <= 0) return got;
    keep(tail, bytes, (size_t)got);
    put(relay, bytes, (size_t)got);
    *is_torn = bytes[got - 1] != '\n';
    return got;
}

void rni_tail_take(rni_tail *tail, rni_relay *relay, bool all) {
    int got = tail->pipe < 0 ? 0 : 1;
    bool is_torn = false;
    for (size_t sum = 0; got > 0 && sum < (all || is_torn ? PIPE_MAX : SHARE); sum += got > 0 ? (size_t)got : 0)
        got = take_some(tail, relay, &is_torn);
    if (all || got < 0) rni_tail_close(tail);
}

size_t rni_tail_copy(const rni_tail *tail, char bytes[RNI_TAIL_BYTES]) {
    size_t length = tail->total < RNI_TAIL_BYTES ? (size_t)tail->total : RNI_TAIL_BYTES;
    for (size_t i = 0; i < length; i++) bytes[i] = tail->bytes[(tail->total - length + i) % RNI_TAIL_BYTES];
    return length;
}
