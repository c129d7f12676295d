/*
 * Memory that two processes share, and descriptors that go from one to the other.
 */
#ifndef RNI_BASE_OS_SHARED_H
#define RNI_BASE_OS_SHARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As rni_os_wait and rni_os_wake, for a word in shared memory. */
void rni_os_wait_shared(const void *word, uint32_t expected, int64_t deadline_ns);
void rni_os_wake_shared(const void *word);

/* A memory file of that size, close-on-exec, never to shrink or grow. Its first `there` bytes are there (they never run
 * full under a writer); the others come when they are first touched, or are there as well where the system promises
 * memory strictly. -1 if the system refuses. */
int rni_os_memory_file(size_t size, size_t there);

/* Lets nobody write to it, but through the mappings that there are. */
bool rni_os_seal_to_others(int fd);

/* Forked children do not have it. The first `there` bytes are touched at once. NULL if refused. */
void *rni_os_map_shared(int fd, size_t size, size_t there, bool writable);
void rni_os_unmap(void *pages, size_t size);
void rni_os_close(int fd); /* -1 is allowed */

/* A pair of connected sockets that keep messages apart. */
bool rni_os_socket_pair(int fds[2]);
bool rni_os_send_fd(int socket, int fd);
int rni_os_receive_fd(int socket); /* -1: none has been sent */

/* Ends a process at once, by its pidfd. */
void rni_os_kill(int pidfd);
const char *rni_os_signal_name(int signal); /* "SIGSEGV"; "a signal": one that is not usual */

/* Waits until one of the descriptors is readable, or was closed at its other end; the one at the index `writable`: until
 * it has room; or until deadline_ns (monotonic; negative: never). Negative descriptors are passed over. ready[i] says
 * which. */
void rni_os_poll(const int *fds, bool *ready, size_t count, size_t writable, int64_t deadline_ns);

/* A descriptor that is readable once it was raised, until it is lowered. -1 if refused. */
int rni_os_event(void);
void rni_os_event_raise(int event);
void rni_os_event_lower(int event);

#endif
