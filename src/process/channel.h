/*
 * A channel: the line between a host thread and its worker process. Two mailboxes in shared memory, one for each
 * direction, and a socket for the descriptors of what is too large for them.
 *
 * Each side alone writes its own mailbox. `count` says how many messages it has put there; the other side knows how many
 * it has read. `word` is the futex: it moves with each message, and when the one who waits there should look at
 * something else (the worker has died, a run is to stop), so that it alone says nothing.
 *
 * The host trusts nothing in the worker's mailbox: it copies the head once, checks the copy, copies the bytes, and
 * decodes that copy. What is too large comes in a memory file that is sealed before it is looked at. The socket brings it,
 * and the files of buffers (attach.h).
 */
#ifndef RNI_PROCESS_CHANNEL_H
#define RNI_PROCESS_CHANNEL_H

#include "base/atomic.h"
#include "process/frame.h"

#define RNI_MAILBOX_BYTES ((size_t)128 * 1024)
#define RNI_RESULTS_BYTES ((size_t)64 * 1024)
#define RNI_INLINE_BYTES (RNI_MAILBOX_BYTES - RNI_RESULTS_BYTES - 128)
#define RNI_FRAME_MAX ((size_t)1 << 30) /* bytes in one message */

typedef struct rni_mailbox {
    rni_a32 word;
    rni_a32 count;
    rni_a64 length;   /* of the message; above RNI_INLINE_BYTES it is in a file, that the socket brings */
    rni_a32 told;     /* the host's: bits for the run at work, enum rni_told */
    rni_a32 revoked;  /* the host's: the number of the batch of which no further run is to begin; see batch.h */
    rni_a32 buffers;  /* of the message: how many the socket brings */
    _Alignas(64) rni_a64 begun; /* the worker's: which of the host's messages it works on, and how many runs of it have begun */
    rni_a64 done;               /* the worker's: likewise, and how many of its results are there */
    _Alignas(64) unsigned char bytes[RNI_INLINE_BYTES];
    unsigned char results[RNI_RESULTS_BYTES]; /* the worker's: of a batch */
} rni_mailbox;

_Static_assert(sizeof(rni_mailbox) == RNI_MAILBOX_BYTES, "a mailbox is whole pages");

typedef struct rni_channel {
    rni_mailbox *in, *out;
    int socket;
    uint32_t seen;   /* messages read */
    rni_writer frame; /* the one being written */
    unsigned char *copy; /* of the message read last, RNI_INLINE_BYTES */
    void *file;      /* mapped, of the message read last, if it was large */
    size_t file_size;
    rni_wire_buffers brought; /* by the message read last, and not taken */
} rni_channel;

/* Host: makes both mailboxes and the socket pair. False: refused; nothing is left. theirs: the three descriptors for
 * the worker: the host's mailbox (read-only there), its own, its socket. */
bool rni_channel_make(rni_channel *channel, int theirs[3]);

/* Worker: takes up its end. */
bool rni_channel_join(rni_channel *channel, const int fds[3]);

void rni_channel_close(rni_channel *channel);

/* Sends channel->frame. RN_OK, RN_NO_MEMORY, RN_TOO_LARGE. */
int rni_channel_send(rni_channel *channel);

/* Whether a message is there; the word to wait on if not. */
bool rni_channel_has_mail(rni_channel *channel, uint32_t *word);
void rni_channel_wait(rni_channel *channel, uint32_t word, int64_t deadline); /* monotonic; negative: none */

/* Reads the message that is there: until the next one, reader is over the channel's copy. False: it is none. */
bool rni_channel_read(rni_channel *channel, rni_reader *reader);

/* Any thread of the host: whoever waits for mail looks around. */
void rni_channel_nudge(rni_channel *channel);

#endif
