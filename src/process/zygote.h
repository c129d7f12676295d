/*
 * The zygote: a process that only makes worker processes. It is the program itself, started again and stopped short of
 * main() (takeover.c): so it has one thread, none of the host's memory, and the program's code and libraries with their
 * constructors done. Workers are plain forks of it, so that no lock is inherited held and a start costs the same
 * whatever the size of the host.
 *
 *   host  --clone-->  keeper  --exec-->  zygote  --fork-->  worker, worker, ...
 *
 * The keeper (base/os_linux_keeper.c) keeps the others out of the sight of the host's own waits and of its SIGCHLD: also
 * what is left over when they die, if the host is a subreaper or the first process of its namespace.
 *
 * Host and zygote talk over two pairs of packet sockets. `calls`: SPAWN with the descriptors that the worker gets, to
 * which the zygote answers with the worker's pidfd; ENTER, to which it answers; SIGNAL and STOP, without an answer. `socket`: news from the zygote:
 * ENDED, with the wait status and the resource usage of a worker that it reaped.
 *
 * Who ends with whom. The zygote ends, and with it every worker, when the host says STOP, closes its end, or is gone in
 * whatever way; a zygote that was stopped is continued by that. A worker dies with the zygote, at once and in any case.
 * When a worker ends the zygote kills what is left of its process group. When the zygote ends, in whatever way, the
 * keeper kills what is left of all. So what tasks start survives a worker if it has left the group, survives the zygote
 * only if it has begun a session of its own (setsid), and a SIGKILL of the keeper too, which is the last in this row.
 *
 * What a worker is: the program after its last constructor. Its environment, arguments but for argv[0], handlers, signal
 * mask and descriptors are what a program has then that was started with the host's environment, with every signal at
 * its default and none blocked; what the host changed since its own start (handlers, memory, umask later than the
 * zygote's start) is not there. Then worker.c puts its handlers where a fault has the default action, and its pipe in
 * the place of stderr. The zygote itself blocks every signal: when it ends is for the host to say.
 *
 * At most ENDED for a worker whose number the caller was not told (EMFILE while its pidfd came) is to be ignored.
 */
#ifndef RNI_PROCESS_ZYGOTE_H
#define RNI_PROCESS_ZYGOTE_H

#include <runium.h>

#include "base/os_elf.h"
#include "base/os_process.h"

#define RNI_WORKER_FDS_MAX 8u
#define RNI_ZYGOTE_START_NS RN_SECONDS(10)  /* until it must be up */
#define RNI_ZYGOTE_STOPPED_NS RN_SECONDS(1) /* until one that is stopped, and does not go on, is given up */

typedef struct rni_zygote {
    int socket;             /* news; -1: there is no zygote */
    int calls;
    rni_os_program program; /* its pidfd is readable when the zygote is gone */
    int pid;                /* for people: never to be signalled */
    int64_t stopped_ns;     /* since when it was found stopped at every look; 0: it was not */
    int worker_pid;         /* of the worker made last: for /proc, never to be signalled */
    uint32_t next;          /* number of the next worker */
    int refusal;            /* errno of the last SPAWN that the system refused */
} rni_zygote;

typedef struct rni_ended {
    uint32_t number;       /* of the worker, as rni_zygote_spawn() gave it */
    int status;            /* as waitpid() gives it; -1: unknown (the zygote died) */
    int64_t peak_bytes;    /* of its memory */
    int64_t cpu_ns;        /* user and system */
    int64_t cpu_limit_s;   /* beyond which the system kills it; 0: none, or unknown */
} rni_ended;

/* Host. Starts the zygote and waits until it says that it is up (at most RNI_ZYGOTE_START_NS). An error says what went
 * wrong, and then nothing is left behind: RN_UNSUPPORTED (this program cannot be started again), RN_NO_PROCESSES,
 * RN_NO_MEMORY. Callers see to it that one thread at a time uses a zygote. */
rn_value rni_zygote_start(rni_zygote *zygote);

/* Host. Makes a worker process that gets `fds` as its descriptors, in that order, close-on-exec; beside them it has 0, 1
 * and 2 (its standard input is /dev/null) and what constructors opened. RN_OK: *pidfd is the caller's, *number names it
 * in rni_ended. RN_NO_PROCESSES: the system refused (errno in zygote->refusal). RN_CLOSED: the zygote is gone, or did not
 * answer and was killed: for RNI_ZYGOTE_START_NS, or for RNI_ZYGOTE_STOPPED_NS if it is stopped and SIGCONT does not help,
 * as under a debugger. */
int rni_zygote_spawn(rni_zygote *zygote, const int *fds, uint32_t count, int *pidfd, uint32_t *number);

/* Host. Sends a signal (base/os_process.h) to a worker and to its process group, if it has not ended. RN_CLOSED: the zygote is gone. */
int rni_zygote_signal(rni_zygote *zygote, uint32_t number, int signal);

/* Host. Writes the worker's process id to that file, which puts it into a control group: the zygote does it, which reaps
 * the worker, so the number is nobody else's. 0, or an errno: ESRCH: it has ended. RN_CLOSED: as rni_zygote_spawn(). */
int rni_zygote_enter(rni_zygote *zygote, uint32_t number, int file);

/* Host. News, without waiting: true and *ended, or false. zygote->socket is readable when there is some, or when the
 * zygote is gone: then rni_zygote_is_gone(). */
bool rni_zygote_news(rni_zygote *zygote, rni_ended *ended);
bool rni_zygote_is_gone(rni_zygote *zygote);

/* Host, while it waits for the zygote: now and then. One that somebody stopped goes on by that. True: it does not, for
 * RNI_ZYGOTE_STOPPED_NS. */
bool rni_zygote_is_stuck(rni_zygote *zygote);

/* Host. It is gone, and there will be no more news: zygote->socket is -1 from now on. */
void rni_zygote_leave(rni_zygote *zygote);

/* Host. Ends the zygote and every worker; returns when the zygote is reaped. */
void rni_zygote_stop(rni_zygote *zygote);

/* In a forked child of the host: closes what belongs to the parent's zygote here, and leaves that alone. */
void rni_zygote_forget(rni_zygote *zygote);

/* Worker: what it does with its descriptors: those of its channel, the record of its crash (os_crash.h), and the pipe that
 * becomes its stderr. Elsewhere (worker.c); does not return. */
enum { RNI_WORKER_RECORD = 3, RNI_WORKER_STDERR = 4, RNI_WORKER_FDS = 5 };
_Noreturn void rni_worker_process(const int *fds, uint32_t count);

/* ------------------------------------------------------------------------------------------------
 * Between the host and the zygote
 */
#define RNI_ZYGOTE_VARIABLE "RUNIUM_ZYGOTE"         /* <socket>:<cookie, 16 hex digits> */
#define RNI_ZYGOTE_PRELOAD "RUNIUM_ZYGOTE_PRELOAD"  /* the whole former entry LD_PRELOAD=..., or nothing */

enum rni_zygote_word {
    RNI_ZYGOTE_BEGIN = 1,  /* cookie; with the zygote's end of the news, and the host's pidfd */
    RNI_ZYGOTE_UP = 2,     /* cookie, number: process id, build */
    RNI_ZYGOTE_FAILED = 3, /* cookie, value: errno, number: enum rni_zygote_step */
    RNI_ZYGOTE_SPAWN = 4,
    RNI_ZYGOTE_SPAWNED = 5, /* value: process id; with the pidfd */
    RNI_ZYGOTE_REFUSED = 6, /* value: errno */
    RNI_ZYGOTE_SIGNAL = 7,  /* value: the signal */
    RNI_ZYGOTE_STOP = 8,
    RNI_ZYGOTE_ENDED = 9,   /* value: the wait status, and the usage */
    RNI_ZYGOTE_ENTER = 10,  /* with the file */
    RNI_ZYGOTE_ENTERED = 11 /* value: 0, or errno */
};

enum rni_zygote_step { RNI_ZYGOTE_LIST = 1, RNI_ZYGOTE_THREADS = 2, RNI_ZYGOTE_SYSTEM = 3 };

typedef struct rni_zygote_packet {
    uint32_t word;
    uint32_t number;
    int32_t value;
    uint32_t id_length;
    uint64_t cookie;
    int64_t peak_bytes;
    int64_t cpu_ns;
    int64_t cpu_limit_s;
    uint64_t offset; /* of the library's code in its file: with the id, which build it is */
    uint8_t id[RNI_ELF_ID_MAX];
} rni_zygote_packet;

/* Fills in which build this code is. False: it is in no file. It lies in takeover.c: so that this file of a static
 * library comes into the program, though nobody calls a constructor. */
bool rni_zygote_build(rni_zygote_packet *packet, rni_os_object *object);

#endif
