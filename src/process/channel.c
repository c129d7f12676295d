#include "process/channel.h"

#include <string.h>

#include "base/memory.h"
#include "base/os.h"
#include "base/os_shared.h"
#include "process/attach.h"

#define SPINS 60 /* before it sleeps: about as long as a short task takes */

static void clear(rni_channel *channel) {
    *channel = (rni_channel){.socket = -1};
}

bool rni_channel_make(rni_channel *channel, int theirs[3]) {
    clear(channel);
    int sockets[2] = {-1, -1};
    int down = rni_os_memory_file(RNI_MAILBOX_BYTES), up = rni_os_memory_file(RNI_MAILBOX_BYTES);
    channel->out = down >= 0 ? rni_os_map_shared(down, RNI_MAILBOX_BYTES, true) : NULL;
    channel->in = up >= 0 ? rni_os_map_shared(up, RNI_MAILBOX_BYTES, true) : NULL;
    channel->copy = rni_alloc(RNI_INLINE_BYTES);
    if (channel->out && channel->in && channel->copy && rni_os_socket_pair(sockets)) {
        channel->socket = sockets[0];
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
    channel->in = rni_os_map_shared(fds[0], RNI_MAILBOX_BYTES, false);
    channel->out = rni_os_map_shared(fds[1], RNI_MAILBOX_BYTES, true);
    channel->copy = rni_alloc(RNI_INLINE_BYTES);
    channel->socket = fds[2];
    return channel->in && channel->out && channel->copy;
}

static void drop_file(rni_channel *channel) {
    rni_os_unmap(channel->file, channel->file_size);
    channel->file = NULL;
}

void rni_channel_close(rni_channel *channel) {
    drop_file(channel);
    rni_wire_drop_buffers(&channel->brought);
    rni_os_unmap(channel->in, RNI_MAILBOX_BYTES);
    rni_os_unmap(channel->out, RNI_MAILBOX_BYTES);
    rni_os_close(channel->socket);
    rni_free(channel->copy);
    rni_writer_free(&channel->frame);
    clear(channel);
}

/* -1 if the system refuses. */
static int make_file(const void *bytes, size_t length) {
    int fd = rni_os_memory_file(length);
    void *pages = fd >= 0 ? rni_os_map_file(fd, length, true) : NULL;
    if (pages) memcpy(pages, bytes, length);
    rni_os_unmap(pages, length);
    if (pages && rni_os_seal(fd)) return fd;
    rni_os_close(fd);
    return -1;
}

/* What goes over the socket. */
static int send_beside(rni_channel *channel) {
    rni_writer *frame = &channel->frame;
    bool is_large = frame->length > RNI_INLINE_BYTES;
    int file = is_large ? make_file(frame->bytes, frame->length) : -1;
    int code = is_large && file < 0 ? RN_NO_MEMORY : rni_attach_send(channel->socket, file, &frame->buffers);
    rni_os_close(file);
    rni_store_relaxed(&channel->out->buffers, frame->buffers.count);
    rni_wire_drop_buffers(&frame->buffers);
    return code;
}

int rni_channel_send(rni_channel *channel) {
    const rni_writer *frame = &channel->frame;
    rni_mailbox *out = channel->out;
    if (frame->failed) return RN_NO_MEMORY;
    if (frame->length > RNI_FRAME_MAX || frame->is_overfull) return RN_TOO_LARGE;
    int code = send_beside(channel);
    if (code != RN_OK) return code;
    if (frame->length <= RNI_INLINE_BYTES) memcpy(out->bytes, frame->bytes, frame->length);
    rni_store_relaxed(&out->length, frame->length);
    /* Releases the message to the acquire load in has_mail. */
    rni_store_release(&out->count, rni_load_relaxed(&out->count) + 1);
    rni_add_seq_cst(&out->word, 1); /* pairs with the load in has_mail: read before count */
    rni_os_wake_shared(&out->word);
    return RN_OK;
}

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

static bool read_file(rni_channel *channel, size_t length, uint32_t buffers, rni_reader *reader) {
    int fd = -1;
    bool is_good = rni_attach_receive(channel->socket, &fd, buffers, &channel->brought) && rni_os_is_sealed(fd, length);
    channel->file = is_good ? rni_os_map_file(fd, length, false) : NULL;
    channel->file_size = length;
    rni_os_close(fd);
    if (!channel->file) return false;
    *reader = (rni_reader){channel->file, (unsigned char *)channel->file + length, false, &channel->brought};
    return true;
}

bool rni_channel_read(rni_channel *channel, rni_reader *reader) {
    uint64_t length = rni_load_relaxed(&channel->in->length); /* read once: the other side may change it at any time */
    uint32_t buffers = rni_load_relaxed(&channel->in->buffers);        /* as well */
    channel->seen++;
    drop_file(channel);
    rni_wire_drop_buffers(&channel->brought);
    if (length == 0 || length > RNI_FRAME_MAX) return false;
    if (length > RNI_INLINE_BYTES) return read_file(channel, (size_t)length, buffers, reader);
    if (buffers > 0 && !rni_attach_receive(channel->socket, NULL, buffers, &channel->brought)) return false;
    memcpy(channel->copy, channel->in->bytes, (size_t)length);
    *reader = (rni_reader){channel->copy, channel->copy + length, false, &channel->brought};
    return true;
}

void rni_channel_nudge(rni_channel *channel) {
    rni_add_seq_cst(&channel->in->word, 1); /* as in send */
    rni_os_wake_shared(&channel->in->word);
}
