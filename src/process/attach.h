/*
 * The files of a frame's buffers, which go over the channel's socket. They are one packet, so that they come as a whole or
 * not at all.
 *
 * The receiver believes nothing: what came must be what the mailbox says, and each file must be one of a buffer; else the
 * frame is refused. Whatever came is used or closed.
 */
#ifndef RNI_PROCESS_ATTACH_H
#define RNI_PROCESS_ATTACH_H

#include "value/wire.h"

/* RN_OK, also if there are none, or nobody is there to receive them; RN_NO_MEMORY. Nothing is taken. */
int rni_attach_send(int socket, const rni_wire_buffers *buffers);

/* count: the buffers that were announced, at least one. False: something else came, and nothing of it is left. Buffers for
 * which there is no memory or no descriptor are errors that say so. */
bool rni_attach_receive(int socket, uint32_t count, rni_wire_buffers *buffers);

#endif
