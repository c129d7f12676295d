/*
 * The memory of buffers: files in memory that several processes map, and whose size nobody can change.
 */
#ifndef RNI_BASE_OS_BUFFER_H
#define RNI_BASE_OS_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Which file it is, in every process, as long as somebody has it open. */
typedef struct rni_os_file_id {
    uint64_t device, number;
} rni_os_file_id;

/* A memory file of that size, all zero, close-on-exec, that keeps its size and its seals for ever. -1 if refused. Its
 * pages come when they are first touched; where the system promises no more memory than it has, all of them at once. */
int rni_os_buffer_file(size_t size, rni_os_file_id *id);

/* Whether a descriptor, which another process may have sent, is such a file: only then may it be mapped. */
bool rni_os_is_buffer_file(int fd, uint64_t *size, rni_os_file_id *id);

/* False: the system has no page for some of it. */
bool rni_os_write_buffer(int fd, size_t offset, const void *data, size_t size);

/* NULL if refused. If all its pages are there, and not too many, they are mapped at once: so a process that is given a
 * buffer does not fault at each of them. */
void *rni_os_map_buffer(int fd, size_t size);
void rni_os_unmap_buffer(void *pages, size_t size);

/* Whether a page of shared memory that is touched for the first time can be refused, which would be a SIGBUS. */
bool rni_os_promises_strictly(void);

#endif
