/*
 * A channel: the line between a host thread and its worker process. Two mailboxes in shared memory, one for each
 * direction, and a socket for the descriptors of buffers (attach.h).
 *
 * Each side alone writes its own mailbox. `count` says how many messages it has put there; the other side knows how many
 * it has read, which is one less at most: nobody sends before the last one was read, and a count that is anything else is
 * refused, or one message could be read four thousand million times. `word` is the futex: it moves with each message, and
 * when the one who waits there should look at something else (the worker has died, a run is to stop), so that it alone says
 * nothing.
 *
 * The host trusts nothing in the worker's mailbox: it copies the head once, checks the copy, copies the bytes, and
 * decodes that copy.
 *
 * What is large goes through the mailbox's ring, piece by piece, while the receiver takes it out at the other end
 * (stream.c): first the frame, if it has more than RNI_INLINE_BYTES, then the texts and byte strings beside it, each to
 * the value that it will be. So a mailbox has the same size whatever is sent, and a message may begin before it is whole:
 * a worker that dies within one has died before it.
 */
#ifndef RNI_PROCESS_CHANNEL_H
#define RNI_PROCESS_CHANNEL_H

#include "base/atomic.h"
#include "process/batch.h"
#include "process/frame.h"
#include "value/wire.h"

#define RNI_MAILBOX_BYTES (RNI_MAILBOX_THERE + RNI_RING_BYTES)
#define RNI_MAILBOX_THERE ((size_t)128 * 1024) /* of which so many are always there */
#define RNI_RING_BYTES ((size_t)1024 * 1024)
#define RNI_RESULTS_BYTES ((size_t)64 * 1024)
#define RNI_INLINE_BYTES (RNI_MAILBOX_THERE - RNI_RESULTS_BYTES - 320 - 4 * RNI_BATCH_MOST)
#define RNI_FRAME_MAX ((size_t)1 << 30) /* bytes in one message, with what is beside the frame */

typedef struct rni_mailbox {
    rni_a32 word;
    rni_a32 count;
    rni_a64 length;   /* of the frame; above RNI_INLINE_BYTES it comes through the ring */
    rni_a32 told;     /* the host's: bits for the run at work, enum rni_told */
    rni_a32 revoked;  /* the host's: the number of the batch of which no further run is to begin; see batch.h */
    rni_a32 buffers;  /* of the message: how many the socket brings */
    rni_a32 larges;   /* of the message: how many texts and byte strings are beside the frame */
    _Alignas(64) rni_a64 begun; /* the worker's: which of the host's messages it works on, and how many runs of it have begun */
    rni_a64 done;               /* the worker's: likewise, and how many of its results are there */
    rni_a64 since;              /* the worker's: the moment (rni_os_now) at which the turn there began, if it has bounds */
    _Alignas(64) rni_a64 put;   /* bytes into the ring, so far */
    _Alignas(64) rni_a64 taken; /* bytes out of the other side's ring, so far */
    rni_a64 large_lengths[RNI_WIRE_BUFFERS];
    _Alignas(64) rni_a32 told_in_batch[RNI_BATCH_MOST]; /* the host's: as `told`, for each run of a batch */
    unsigned char bytes[RNI_INLINE_BYTES];
    unsigned char results[RNI_RESULTS_BYTES]; /* the worker's: of a batch */
    unsigned char ring[RNI_RING_BYTES]; /* its pages come when the first large message does */
} rni_mailbox;

_Static_assert(sizeof(rni_mailbox) == RNI_MAILBOX_BYTES, "a mailbox is whole pages");

#define RNI_CHANNEL_PATIENCE RN_SECONDS(10) /* of the host: far more than a copy takes on the busiest machine */

typedef struct rni_channel {
    rni_mailbox *in, *out;
    int socket;
    uint32_t seen;   /* messages read */
    rni_writer frame; /* the one being written */
    unsigned char *copy; /* of the frame read last, RNI_INLINE_BYTES */
    unsigned char *long_copy; /* of the frame read last, if it was longer */
    rni_wire_buffers brought; /* by the message read last, and not taken */
    rni_wire_buffers larges;  /* likewise */
    rni_a32 is_gone;  /* host: the worker has died; set by the watcher */
    bool is_cut;      /* the other side died within the message that was to be read */
    int64_t patience; /* how long the other side may take for the next bytes of a message, ns; 0: as long as it likes */
} rni_channel;

/* Host: makes both mailboxes and the socket pair. False: refused; nothing is left. theirs: the three descriptors for
 * the worker: the host's mailbox (read-only there), its own, its socket. */
bool rni_channel_make(rni_channel *channel, int theirs[3]);

/* Worker: takes up its end. */
bool rni_channel_join(rni_channel *channel, const int fds[3]);

void rni_channel_close(rni_channel *channel);

/* Sends channel->frame. RN_OK, also if the other side is dead; RN_NO_MEMORY, RN_TOO_LARGE. Waits while a large message is
 * on its way. */
int rni_channel_send(rni_channel *channel);

/* Whether a message is there; the word to wait on if not. */
bool rni_channel_has_mail(rni_channel *channel, uint32_t *word);
void rni_channel_wait(rni_channel *channel, uint32_t word, int64_t deadline); /* monotonic; negative: none */

/* Reads the message that is there, and waits for the rest of it: until the next one, reader is over the channel's copy.
 * False: it is none, or is_cut. */
bool rni_channel_read(rni_channel *channel, rni_reader *reader);

/* Any thread of the host: whoever waits for mail looks around. */
void rni_channel_nudge(rni_channel *channel);

#endif
