/*
 * The standard error of a worker process: a pipe, of which the host passes on what comes to its own standard error.
 */
#ifndef RNI_BASE_OS_STDERR_H
#define RNI_BASE_OS_STDERR_H

#include <stdbool.h>
#include <stddef.h>

#define RNI_OS_STDERR 2
#define RNI_OS_STDERR_PIECE ((size_t)4096) /* PIPE_BUF: what a pipe that has room takes as a whole */

/* Both ends close-on-exec; ends[0], for reading, never waits. */
bool rni_os_pipe(int ends[2]);

/* How many bytes came; 0: none are there now; -1: nobody can write any more. */
int rni_os_pipe_read(int pipe, char *bytes, size_t size);

/* Writes at most RNI_OS_STDERR_PIECE bytes to the standard error, without waiting for its reader. How many it took; 0:
 * it has no room; -1: it is closed, or nobody reads it. For threads that block SIGPIPE. */
int rni_os_stderr_write(const char *bytes, size_t size);

/* Waits until it has room, at most so long. */
bool rni_os_stderr_has_room(int timeout_ms);

/* Worker: what comes from now on goes into the pipe, whose end is closed under its own number. */
void rni_os_stderr_become(int pipe);

#endif
