#include "process/attach.h"

#include <errno.h>

#include "base/os_process.h"
#include "base/os_shared.h"
#include "value/buffer.h"
#include "value/value.h"

_Static_assert(RNI_WIRE_BUFFERS < RNI_OS_FDS_MAX, "one more than a frame may have can be told from it");

int rni_attach_send(int socket, const rni_wire_buffers *buffers) {
    int fds[RNI_WIRE_BUFFERS];
    if (buffers->count == 0) return RN_OK;
    for (uint32_t i = 0; i < buffers->count; i++) fds[i] = rni_buffer_file(buffers->values[i]);
    int error = rni_os_send_packet(socket, "", 1, fds, buffers->count, false); /* telephone: the socket is empty */
    return error == 0 || error == EPIPE ? RN_OK : RN_NO_MEMORY;
}

static void close_all(const int *fds, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) rni_os_close(fds[i]);
}

static bool adopt_all(const int *fds, uint32_t count, rni_wire_buffers *buffers) {
    for (uint32_t i = 0; i < count; i++) {
        if (!rni_buffer_adopt(fds[i], &buffers->values[i])) {
            close_all(fds + i + 1, count - i - 1);
            rni_wire_drop_buffers(buffers);
            return false;
        }
        buffers->count++;
    }
    return true;
}

/* The descriptors came, but this process may have no more. */
static bool miss_all(uint32_t count, rni_wire_buffers *buffers) {
    for (uint32_t i = 0; i < count; i++) buffers->values[i] = rni_error_no_memory();
    buffers->count = count;
    return true;
}

bool rni_attach_receive(int socket, uint32_t count, rni_wire_buffers *buffers) {
    char byte;
    int fds[RNI_OS_FDS_MAX];
    uint32_t came = RNI_OS_FDS_MAX;
    if (count > RNI_WIRE_BUFFERS) return false;
    int error = rni_os_receive_packet(socket, &byte, 1, fds, &came);
    if (error == EMFILE) return miss_all(count, buffers);
    if (!error && came == count) return adopt_all(fds, count, buffers);
    close_all(fds, came);
    return false;
}
