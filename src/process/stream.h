/*
 * A stream: the bytes of one message on their way through the ring of a mailbox. The sender puts pieces into it while the
 * receiver takes them out at the other end, so that both copy at the same time, and a ring that fits into a cache is enough
 * for a message of any length.
 *
 * `put` and `taken` count all bytes that ever went through; the sender writes the one, the receiver, in its own mailbox, the
 * other. Each message begins at the ring's first byte: so messages of some length use the same few pages again and again.
 * Who has to wait does so on the word of the other's mailbox, which moves with every piece.
 *
 * Neither side believes the other's count. A sender that reads nonsense takes the ring for full; what it writes there is
 * the receiver's to misread. A receiver that reads nonsense refuses the message.
 *
 * A worker whose memory was written to may wait for the host while the host waits for it: for bytes that were never
 * announced so, or for room that is there. The host has the channel's patience with one that does not move: it refuses the
 * message, or puts a count that the worker must refuse.
 */
#ifndef RNI_PROCESS_STREAM_H
#define RNI_PROCESS_STREAM_H

#include "process/channel.h"

typedef struct rni_stream {
    rni_channel *channel;
    uint64_t base;   /* bytes that went through before it */
    uint64_t done;   /* of its own */
    uint64_t length; /* all in all */
    bool is_announced;
} rni_stream;

rni_stream rni_stream_out(rni_channel *channel, uint64_t length);
rni_stream rni_stream_in(rni_channel *channel, uint64_t length);

/* Says that a message is there, whose head is written. With a stream that happens by itself, with its first piece. */
void rni_stream_announce(rni_channel *channel);

/* False: nobody takes the rest: the other side has died, or speaks itself, which it must not, or does not move. */
bool rni_stream_write(rni_stream *stream, const void *bytes, size_t length);

/* NULL: the bytes are thrown away. False: the other side has died (channel->is_cut), counts as nobody does, or does not
 * move. */
bool rni_stream_read(rni_stream *stream, void *bytes, size_t length);

#endif
