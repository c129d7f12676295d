/*
 * Buffers: values whose bytes are a memory file, mapped by each process that has one (buffer.c).
 */
#ifndef RNI_VALUE_BUFFER_H
#define RNI_VALUE_BUFFER_H

#include <runium.h>

typedef struct rni_buffer rni_buffer;

/* Takes the descriptor. True: *value is yours: the buffer that this process has of this file already, or a new one; where
 * memory is refused, the error that says so. False: it is no file of a buffer, and *value is none. */
bool rni_buffer_adopt(int fd, rn_value *value);

int rni_buffer_file(rn_value buffer); /* borrowed */
void *rni_buffer_memory(const rni_buffer *buffer);
size_t rni_buffer_size(const rni_buffer *buffer);
int rni_buffer_write(rni_buffer *buffer, size_t offset, const void *data, size_t size); /* as rn_buffer_write() */
void rni_buffer_free(rni_buffer *buffer); /* by its last owner */

/* In the child of a fork: whoever held the lock is not here. */
void rni_buffers_forked(void);

#endif
