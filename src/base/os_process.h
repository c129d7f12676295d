/*
 * Processes: the program started again, packets with descriptors in them, and what the zygote and its workers ask of
 * the system. Functions that can be refused return 0 or an errno.
 */
#ifndef RNI_BASE_OS_PROCESS_H
#define RNI_BASE_OS_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ------------------------------------------------------------------------------------------------
 * The host: the program, started again as the child of a keeper (os_linux_keeper.c)
 */
#define RNI_OS_PROGRAM_SOCKET 3 /* the number that the socket has in the started program */

typedef struct rni_os_program {
    struct rni_os_keeper *keeper; /* NULL: none was started */
    int pidfd;                    /* the keeper's: readable when all has ended */
} rni_os_program;

/* What it is started with: its arguments and environment, and its one end of a socket pair, which stays the caller's.
 * Its standard input is /dev/null, its outputs are inherited, as is the folder it works in; nothing else. */
int rni_os_program_start(rni_os_program *program, char *const *arguments, char *const *environment, int socket);

void rni_os_program_kill(rni_os_program *program);

/* Waits until it has ended, and all its descendants that did not begin a session of their own, which are killed. Gives
 * everything back. Its wait status; -1: unknown. */
int rni_os_program_reap(rni_os_program *program);

/* In a forked child: gives back what the parent's program holds here, and leaves the program alone. */
void rni_os_program_forget(rni_os_program *program);

char **rni_os_environment(void);         /* the array itself */
const char *rni_os_program_name(void);   /* argv[0] */

/* Whether exec of this program's file changes its rights: then the environment would not be believed. */
bool rni_os_gains_rights(void);

int rni_os_open_self(int *pidfd); /* of the calling process */

/* Whether a process is stopped, by a signal or a tracer. */
bool rni_os_is_stopped(int pid);

/* Whether the file can be opened for reading. */
bool rni_os_is_readable(const char *path);

/* ------------------------------------------------------------------------------------------------
 * Packets
 */
#define RNI_OS_FDS_MAX 16u

/* `wait`: until there is room. EAGAIN: there is none. EPIPE: the other end is gone. */
int rni_os_send_packet(int socket, const void *bytes, size_t size, const int *fds, uint32_t count, bool wait);

/* Takes a packet of exactly `size` bytes, without waiting. *count: room in fds, then how many came, close-on-exec.
 * EAGAIN: there is none. EPIPE: the other end is gone. EMFILE: descriptors were lost, those that came are closed.
 * E2BIG: more than RNI_OS_FDS_MAX came, all are closed. EBADMSG: of another size. In the last three cases the packet's bytes are there, as far as they fit. */
int rni_os_receive_packet(int socket, void *bytes, size_t size, int *fds, uint32_t *count);

/* The bytes of the next packet, which stays where it is. */
int rni_os_peek_packet(int socket, void *bytes, size_t size);

/* Waits until one is readable, or was closed at its other end, or, for those with a bit in `writable`, has room.
 * Returns a bit for each; 0: the time is over. timeout_ms: negative: none. At most 8; negative ones are passed over. */
uint32_t rni_os_poll_some(const int *fds, uint32_t count, uint32_t writable, int timeout_ms);

bool rni_os_is_packet_socket(int fd);

/* Whether the other end was closed. */
bool rni_os_is_hung_up(int socket);

/* ------------------------------------------------------------------------------------------------
 * The started program, before main()
 */
typedef void rni_os_constructor(int argc, char **argv, char **environment);

/* Lets function run after the last constructor of the program, hence of all libraries too, in place of main(). `own` is
 * where the calling constructor is listed. ENOENT: the program has no list of constructors. */
int rni_os_instead_of_main(void (*function)(void), rni_os_constructor *const *own);

bool rni_os_has_more_rights(void); /* the environment is not to be believed */

/* ------------------------------------------------------------------------------------------------
 * The zygote and its workers
 */
enum { RNI_OS_KILL = 9, RNI_OS_TERMINATE = 15, RNI_OS_CPU_EXCEEDED = 24 }; /* signals */

void rni_os_close_on_exec(int fd);

/* Whatever comes over the socket, or its end, also continues this process and its keeper if they are stopped. */
void rni_os_continue_on(int socket);

/* Gives the process a name, and lets it be killed when its parent ends. False: the parent has ended. */
bool rni_os_die_with(int parent, const char *name);
int rni_os_process(void);
int rni_os_parent(void);

unsigned rni_os_thread_count(void); /* 0: unknown */

/* Blocks every signal; *children becomes readable when a child ends. Undone in each forked child by rni_os_fork(). */
int rni_os_watch_children(int *children);
void rni_os_lower_children(int children); /* no longer readable, until the next one ends */

/* A child that leads a process group of its own, has the signal mask and handlers from before rni_os_watch_children(),
 * and dies with this process. 0 in it; in the parent its number, and its pidfd; negative: an errno. */
int rni_os_fork(int *pidfd);

/* In the child: moves these descriptors, in this order, to the lowest numbers from 3 on. */
void rni_os_settle_fds(int *fds, uint32_t count);

typedef struct rni_os_ended {
    int pid;
    int status;         /* as waitpid() gives it */
    int64_t peak_bytes; /* of its memory */
    int64_t cpu_ns;
    int64_t cpu_limit_s; /* hard; 0: none, or unknown */
} rni_os_ended;

/* A child that has ended and is not reaped; it stays so. False: none; with `wait`, no child is left. */
bool rni_os_next_ended(rni_os_ended *ended, bool wait);
void rni_os_reap(int pid);

int rni_os_write_number(int fd, int number); /* as text, in one piece. 0, or an errno */

void rni_os_signal_group(int leader, int signal); /* the leader, wherever it is, and its group; not reaped yet */
void rni_os_kill_group(int leader);

_Noreturn void rni_os_end_process(int status);

/* What tells how much memory that child's process uses, while it lives. -1: it cannot be told. */
int rni_os_open_memory(int pid, int pidfd);
uint64_t rni_os_memory_used(int memory); /* resident bytes; 0: unknown */

#endif
