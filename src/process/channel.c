#include "process/channel.h"

#include <string.h>

#include "base/memory.h"
#include "base/os.h"
#include "base/os_shared.h"
#include "process/attach.h"
#include "process/stream.h"
#include "value/value.h"

#define SPINS 60 /* before it sleeps: about as long as a short task takes */

static void clear(rni_channel *channel) {
    *channel = (rni_channel){.socket = -1};
}

static void *map(int fd, bool writable) {
    return rni_os_map_shared(fd, RNI_MAILBOX_BYTES, RNI_MAILBOX_THERE, writable);
}

bool rni_channel_make(rni_channel *channel, int theirs[3]) {
    clear(channel);
    int sockets[2] = {-1, -1};
    int down = rni_os_memory_file(RNI_MAILBOX_BYTES, RNI_MAILBOX_THERE);
    int up = rni_os_memory_file(RNI_MAILBOX_BYTES, RNI_MAILBOX_THERE);
    channel->out = down >= 0 ? map(down, true) : NULL;
    channel->in = up >= 0 ? map(up, true) : NULL;
    channel->copy = rni_alloc(RNI_INLINE_BYTES);
    bool is_made = channel->out && channel->in && channel->copy && rni_os_seal_to_others(down);
    if (is_made && rni_os_socket_pair(sockets)) {
        channel->socket = sockets[0];
        channel->patience = RNI_CHANNEL_PATIENCE;
        theirs[0] = down;
        theirs[1] = up;
        theirs[2] = sockets[1];
        return true;
    }
    rni_os_close(down);
    rni_os_close(up);
    rni_channel_close(channel);
    return false;
}

bool rni_channel_join(rni_channel *channel, const int fds[3]) {
    clear(channel);
    channel->in = map(fds[0], false);
    channel->out = map(fds[1], true);
    channel->copy = rni_alloc(RNI_INLINE_BYTES);
    channel->socket = fds[2];
    return channel->in && channel->out && channel->copy;
}

/* What the message read last has brought. */
static void drop_last(rni_channel *channel) {
    rni_free(channel->long_copy);
    channel->long_copy = NULL;
    rni_wire_drop_buffers(&channel->brought);
    rni_wire_drop_buffers(&channel->larges);
}

void rni_channel_close(rni_channel *channel) {
    drop_last(channel);
    rni_os_unmap(channel->in, RNI_MAILBOX_BYTES);
    rni_os_unmap(channel->out, RNI_MAILBOX_BYTES);
    rni_os_close(channel->socket);
    rni_free(channel->copy);
    rni_writer_free(&channel->frame);
    clear(channel);
}

/* ---- sending ---- */

static void put_head(rni_channel *channel) {
    const rni_writer *frame = &channel->frame;
    rni_mailbox *out = channel->out;
    rni_store_relaxed(&out->length, frame->length);
    rni_store_relaxed(&out->buffers, frame->buffers.count);
    rni_store_relaxed(&out->larges, frame->larges.count);
    for (uint32_t i = 0; i < frame->larges.count; i++)
        rni_store_relaxed(&out->large_lengths[i], rn_length(frame->larges.values[i]));
}

static bool write_large(rni_stream *stream, rn_value value) {
    return rni_stream_write(stream, rn_kind(value) == RN_TEXT ? rn_as_text(value) : rn_as_bytes(value), rn_length(value));
}

/* Announces the message, and sees to it that all of it gets there. */
static void put_message(rni_channel *channel) {
    const rni_writer *frame = &channel->frame;
    bool is_inline = frame->length <= RNI_INLINE_BYTES;
    rni_stream stream = rni_stream_out(channel, rni_writer_size(frame) - (is_inline ? frame->length : 0));
    put_head(channel);
    if (is_inline) memcpy(channel->out->bytes, frame->bytes, frame->length);
    if (stream.length == 0) rni_stream_announce(channel);
    bool goes_on = is_inline || rni_stream_write(&stream, frame->bytes, frame->length);
    for (uint32_t i = 0; goes_on && i < frame->larges.count; i++) goes_on = write_large(&stream, frame->larges.values[i]);
}

int rni_channel_send(rni_channel *channel) {
    rni_writer *frame = &channel->frame;
    if (frame->failed) return RN_NO_MEMORY;
    if (rni_writer_size(frame) > RNI_FRAME_MAX || frame->is_overfull) return RN_TOO_LARGE;
    int code = rni_attach_send(channel->socket, &frame->buffers);
    if (code == RN_OK) put_message(channel);
    rni_writer_sent(frame);
    return code;
}

/* ---- receiving ---- */

bool rni_channel_has_mail(rni_channel *channel, uint32_t *word) {
    *word = rni_load_seq_cst(&channel->in->word); /* pairs with the add in send and nudge */
    return rni_load_acquire(&channel->in->count) != channel->seen; /* pairs with send */
}

void rni_channel_wait(rni_channel *channel, uint32_t word, int64_t deadline) {
    for (int i = 0; i < SPINS; i++) {
        if (rni_load_relaxed(&channel->in->word) != word) return;
        rni_pause();
    }
    rni_os_wait_shared(&channel->in->word, word, deadline);
}

/* Of the message that is there. Each number is read once: the other side may change it at any time. */
struct head {
    uint64_t length, lengths[RNI_WIRE_BUFFERS], streamed; /* through the ring, all in all */
    uint32_t buffers, larges;
};

static bool read_head(const rni_mailbox *in, struct head *head) {
    head->length = rni_load_relaxed(&in->length);
    head->buffers = rni_load_relaxed(&in->buffers);
    head->larges = rni_load_relaxed(&in->larges);
    if (head->length == 0 || head->length > RNI_FRAME_MAX || head->larges > RNI_WIRE_BUFFERS) return false;
    head->streamed = head->length > RNI_INLINE_BYTES ? head->length : 0;
    for (uint32_t i = 0; i < head->larges; i++) {
        head->lengths[i] = rni_load_relaxed(&in->large_lengths[i]);
        if (head->lengths[i] > RNI_FRAME_MAX) return false;
        head->streamed += head->lengths[i];
    }
    return head->streamed <= RNI_FRAME_MAX;
}

/* The frame. NULL: there is none, or no memory for it. */
static const unsigned char *read_frame(rni_channel *channel, rni_stream *stream, size_t length) {
    if (length <= RNI_INLINE_BYTES) return memcpy(channel->copy, channel->in->bytes, length);
    channel->long_copy = rni_alloc(length);
    return channel->long_copy && rni_stream_read(stream, channel->long_copy, length) ? channel->long_copy : NULL;
}

/* To where they stay: each byte is copied once, and looked at there. One for which there is no memory is the error that
 * says so. */
static bool read_larges(rni_channel *channel, rni_stream *stream, const struct head *head) {
    rni_wire_buffers *larges = &channel->larges;
    for (uint32_t i = 0; i < head->larges; i++) {
        void *bytes;
        larges->values[larges->count++] = rni_bytes_blank((size_t)head->lengths[i], &bytes);
        if (!rni_stream_read(stream, bytes, (size_t)head->lengths[i])) return false;
    }
    return true;
}

bool rni_channel_read(rni_channel *channel, rni_reader *reader) {
    struct head head;
    uint32_t count = rni_load_relaxed(&channel->in->count); /* acquired by has_mail */
    bool is_good = count == channel->seen + 1 && read_head(channel->in, &head);
    channel->seen++;
    channel->is_cut = false;
    drop_last(channel);
    if (!is_good) return false;
    if (head.buffers > 0 && !rni_attach_receive(channel->socket, head.buffers, &channel->brought)) return false;
    rni_stream stream = rni_stream_in(channel, head.streamed);
    const unsigned char *bytes = read_frame(channel, &stream, (size_t)head.length);
    if (!bytes || !read_larges(channel, &stream, &head)) return false;
    *reader = (rni_reader){bytes, bytes + head.length, false, &channel->brought, &channel->larges};
    return true;
}

void rni_channel_nudge(rni_channel *channel) {
    rni_add_seq_cst(&channel->in->word, 1); /* as in send */
    rni_os_wake_shared(&channel->in->word);
}
