#include "process/stream.h"

#include <string.h>

#include "base/os.h"
#include "base/os_shared.h"

#define PIECE ((size_t)256 * 1024) /* so much is worth a wake-up */

rni_stream rni_stream_out(rni_channel *channel, uint64_t length) {
    return (rni_stream){.channel = channel, .base = rni_load_relaxed(&channel->out->put), .length = length};
}

rni_stream rni_stream_in(rni_channel *channel, uint64_t length) {
    return (rni_stream){.channel = channel, .base = rni_load_relaxed(&channel->out->taken), .length = length};
}

/* Wakes whoever waits at the other end. */
static void tell(rni_channel *channel) {
    rni_add_seq_cst(&channel->out->word, 1); /* pairs with the loads in has_mail, write and read, ahead of the others there */
    rni_os_wake_shared(&channel->out->word);
}

void rni_stream_announce(rni_channel *channel) {
    /* Releases the message to the acquire load in has_mail. */
    rni_store_release(&channel->out->count, rni_load_relaxed(&channel->out->count) + 1);
    tell(channel);
}

/* How many bytes at that place of the stream lie in a row, of so many that may be moved. */
static size_t piece_of(const rni_stream *stream, uint64_t possible, size_t length) {
    size_t piece = RNI_RING_BYTES - stream->done % RNI_RING_BYTES;
    if (piece > possible) piece = (size_t)possible;
    if (piece > length) piece = length;
    return piece < PIECE ? piece : PIECE;
}

/* Until the other side moves; *deadline: until when it has to, -1 at first. False: it has not. */
static bool await_move(rni_channel *channel, uint32_t word, int64_t *deadline) {
    int64_t now = channel->patience > 0 ? rni_os_now() : 0;
    if (channel->patience > 0 && *deadline < 0) *deadline = now + channel->patience;
    if (*deadline >= 0 && now >= *deadline) return false;
    rni_channel_wait(channel, word, *deadline);
    return true;
}

/* ---- the sender's end ---- */

static uint64_t room_of(const rni_stream *stream) {
    uint64_t taken = rni_load_acquire(&stream->channel->in->taken); /* pairs with rni_stream_read: it has copied them */
    uint64_t used = stream->base + stream->done - taken;
    return used < RNI_RING_BYTES ? RNI_RING_BYTES - used : 0;
}

/* The receiver refuses what it is told now. */
static void give_up(rni_stream *stream) {
    rni_channel *channel = stream->channel;
    rni_store_release(&channel->out->put, stream->base + stream->done + 2 * RNI_RING_BYTES); /* pairs with ready_of */
    if (stream->is_announced) tell(channel);
    else rni_stream_announce(channel);
}

static bool await_room(rni_stream *stream, uint32_t word, int64_t *deadline) {
    rni_channel *channel = stream->channel;
    uint32_t ignored;
    if (rni_load_acquire(&channel->is_gone)) return false; /* pairs with the watcher */
    if (rni_channel_has_mail(channel, &ignored)) return false;
    if (await_move(channel, word, deadline)) return true;
    give_up(stream);
    return false;
}

/* So many more are there: the first of them make it a message. */
static void advance(rni_stream *stream, size_t piece) {
    rni_channel *channel = stream->channel;
    stream->done += piece;
    rni_store_release(&channel->out->put, stream->base + stream->done); /* pairs with ready_of */
    if (stream->is_announced) {
        tell(channel);
    } else if (stream->done == stream->length || stream->done >= PIECE) {
        stream->is_announced = true;
        rni_stream_announce(channel);
    }
}

bool rni_stream_write(rni_stream *stream, const void *bytes, size_t length) {
    rni_channel *channel = stream->channel;
    const unsigned char *next = bytes;
    int64_t deadline = -1;
    while (length > 0) {
        uint32_t word = rni_load_seq_cst(&channel->in->word); /* pairs with tell: read before `taken` */
        size_t piece = piece_of(stream, room_of(stream), length);
        if (piece == 0) {
            if (!await_room(stream, word, &deadline)) return false;
            continue;
        }
        deadline = -1;
        memcpy(channel->out->ring + stream->done % RNI_RING_BYTES, next, piece);
        next += piece;
        length -= piece;
        advance(stream, piece);
    }
    return true;
}

/* ---- the receiver's end ---- */

static uint64_t ready_of(const rni_stream *stream) {
    uint64_t put = rni_load_acquire(&stream->channel->in->put); /* pairs with advance */
    return put - (stream->base + stream->done);
}

static void take(rni_stream *stream, unsigned char *bytes, size_t piece) {
    rni_channel *channel = stream->channel;
    if (bytes) memcpy(bytes, channel->in->ring + stream->done % RNI_RING_BYTES, piece);
    stream->done += piece;
    rni_store_release(&channel->out->taken, stream->base + stream->done); /* pairs with room_of */
    if (stream->length > RNI_RING_BYTES) tell(channel); /* else there is room for all of it, and nobody waits for more */
}

bool rni_stream_read(rni_stream *stream, void *bytes, size_t length) {
    rni_channel *channel = stream->channel;
    unsigned char *next = bytes;
    int64_t deadline = -1;
    while (length > 0) {
        uint32_t word = rni_load_seq_cst(&channel->in->word);  /* pairs with tell, and the nudge of a death */
        bool is_gone = rni_load_acquire(&channel->is_gone);    /* pairs with the watcher; read before `put`: what it left counts */
        uint64_t ready = ready_of(stream);
        if (ready > RNI_RING_BYTES) return false;
        channel->is_cut = ready == 0 && is_gone;
        if (channel->is_cut) return false;
        if (ready == 0) {
            if (!await_move(channel, word, &deadline)) return false;
            continue;
        }
        deadline = -1;
        size_t piece = piece_of(stream, ready, length);
        take(stream, next, piece);
        if (next) next += piece;
        length -= piece;
    }
    return true;
}
