/*
 * What a frame has beside its bytes, and what goes over the channel's socket: the memory file that the bytes are in, if
 * they are many, and the files of its buffers. All of it is one packet, so that it comes as a whole or not at all.
 *
 * The receiver believes nothing: what came must be what the mailbox says, and each file must be one of a buffer; else the
 * frame is refused. Whatever came is used or closed.
 */
#ifndef RNI_PROCESS_ATTACH_H
#define RNI_PROCESS_ATTACH_H

#include "value/wire.h"

/* file: -1 if the bytes are few. RN_OK, also if nobody is there to receive it; RN_NO_MEMORY. Nothing is taken. */
int rni_attach_send(int socket, int file, const rni_wire_buffers *buffers);

/* file: where to put it, NULL if the bytes are few; the caller's. count: the buffers that were announced. False: something
 * else came, and nothing of it is left. Buffers for which there is no memory or no descriptor are errors that say so. */
bool rni_attach_receive(int socket, int *file, uint32_t count, rni_wire_buffers *buffers);

#endif
