/*
 * What worker processes write to their standard error. It comes through a pipe for each, and the watcher passes it on to
 * the program's, in the order in which each wrote it, and keeps the last of it in case that the process dies.
 *
 * The watcher never waits for whoever reads the program's standard error: what that does not take lies in the relay, and
 * while something does no pipe is read, so that the workers wait, as they would without us. Only what the dead leave in
 * their pipes comes on top, up to RNI_RELAY_MAX.
 */
#ifndef RNI_PROCESS_STDERR_H
#define RNI_PROCESS_STDERR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RNI_TAIL_BYTES 16384u /* a stack of 100 lines has room */
#define RNI_RELAY_MAX ((size_t)1 << 20)

/* One worker's. Guarded by processes->lock; once the process is dead, and its thread was told, that thread's. */
typedef struct rni_tail {
    int pipe;       /* -1: closed */
    uint64_t total; /* bytes that came */
    char bytes[RNI_TAIL_BYTES]; /* a ring of the last ones */
} rni_tail;

/* On its way out. The watcher's alone. */
typedef struct rni_relay {
    char *bytes;
    size_t length, room;
} rni_relay;

/* False: refused. *theirs: for the worker. */
bool rni_tail_open(rni_tail *tail, int *theirs);
void rni_tail_close(rni_tail *tail);

/* Takes what is there; of a process that is dead (`all`), everything. Closes the pipe when nobody can write any more. */
void rni_tail_take(rni_tail *tail, rni_relay *relay, bool all);

/* Copies the last bytes in their order. Returns how many. */
size_t rni_tail_copy(const rni_tail *tail, char bytes[RNI_TAIL_BYTES]);

/* Passes on what the program's standard error takes at once; rni_relay_is_waiting(): not all of it was. */
void rni_relay_write(rni_relay *relay);
static inline bool rni_relay_is_waiting(const rni_relay *relay) { return relay->length > 0; }

/* The runtime closes: passes on all of it, unless nobody takes anything for a second. */
void rni_relay_end(rni_relay *relay);

#endif
