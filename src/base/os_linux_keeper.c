/*
 * The program, started again, out of the host's sight.
 *
 * A child that was made without a signal at its end is not seen by the host's waits (clone(2), exit_signal 0); but
 * execve() gives it SIGCHLD back. So the host's child is one that never executes anything, the keeper: it shares the
 * host's memory as a thread does, is nevertheless a process of its own, starts the program as its own child, and then
 * sleeps in wait4() until that has ended.
 *
 *   host  --clone, no signal, memory shared-->  keeper  --vfork, exec-->  program
 *
 * The keeper runs on a stack of its own but with the thread pointer of the thread that made it. It makes system calls
 * only, and these so that they touch nothing of that thread: neither its errno nor its canary, for the thread goes on
 * and may end. What it calls is not instrumented, and goes past libc's wrappers: sanitizers put their own in the place
 * of those, which would note in the host's memory what happens to the keeper. The thread sleeps until `busy` is 0: until
 * the program was started, or the kernel says that the keeper has ended (CLONE_CHILD_CLEARTID).
 *
 * Who ends with whom: the program is killed when the keeper dies, which has one thread (PR_SET_PDEATHSIG speaks of the
 * thread that forked), and until the program has been taken over both are killed when the host closes its end of the
 * socket or dies (F_SETSIG), even if somebody stopped them. The keeper ends when the program has ended; if somebody
 * stopped it, the host's death continues it. The two have a process group of their own: a Ctrl-C is for the host.
 * All descendants that lose their parent become the keeper's children (PR_SET_CHILD_SUBREAPER), not the host's, even if
 * that is the first process of its namespace. The keeper reaps them, and when the program has ended it kills those that
 * did not begin a session of their own.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/memory.h"
#include "base/os_process.h"

#define STACK_BYTES 32768
#define SIGNAL_SET_BYTES (_NSIG / 8)
#define EXIT_NOT_STARTED 127
#define WAIT_FOR_PIDFD ((idtype_t)3) /* P_PIDFD, which older headers lack */

#if defined(__clang__)
#define NOT_INSTRUMENTED __attribute__((noinline, no_stack_protector, disable_sanitizer_instrumentation))
#else
#define NOT_INSTRUMENTED __attribute__((noinline, no_stack_protector, no_sanitize("address", "thread", "undefined")))
#endif

#ifdef __GLIBC__
/* The same function by a name that ThreadSanitizer leaves alone: its own takes every child for a fork. */
extern int __clone(int (*function)(void *argument), void *stack, int flags, void *argument, ...);
#define clone_real __clone
#else
#define clone_real clone
#endif

struct rni_os_keeper {
    _Alignas(16) char keeper_stack[STACK_BYTES];
    _Alignas(16) char program_stack[STACK_BYTES];
    char *const *arguments;
    char *const *environment;
    long host;   /* process ids */
    long keeper;
    int socket;
    int error;   /* errno of what failed; written by the keeper and the program's child before busy is 0 */
    int status;  /* of the program; written before the keeper ends, read after it was reaped */
    int ended;   /* the keeper's: status of whatever child */
    rni_a32 busy;
};

/* As the kernel takes it: all zero is the default action. */
struct default_action {
    unsigned long words[8];
};

/* A system call whose error is its result, as the kernel has it. */
static NOT_INSTRUMENTED long call(long number, long a, long b, long c, long d) {
#if defined(__x86_64__) && defined(__LP64__)
    long result;
    register long fourth __asm__("r10") = d;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth)
                     : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long eighth __asm__("x8") = number;
    register long first __asm__("x0") = a;
    register long second __asm__("x1") = b;
    register long third __asm__("x2") = c;
    register long fourth __asm__("x3") = d;
    __asm__ volatile("svc 0"
                     : "+r"(first)
                     : "r"(eighth), "r"(second), "r"(third), "r"(fourth)
                     : "memory");
    return first;
#else
    long result = syscall(number, a, b, c, d); /* errors are rare enough here to share errno */
    return result < 0 ? -errno : result;
#endif
}

static NOT_INSTRUMENTED void take_default_actions(void) {
    struct default_action action = {{0}};
    for (int number = 1; number < _NSIG; number++)
        syscall(SYS_rt_sigaction, number, &action, NULL, SIGNAL_SET_BYTES);
}

static NOT_INSTRUMENTED void set_signal_mask(unsigned char byte, void *former) {
    unsigned char set[SIGNAL_SET_BYTES];
    for (size_t i = 0; i < sizeof set; i++) set[i] = byte;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, set, former, sizeof set);
}

static NOT_INSTRUMENTED void close_from(unsigned first) {
    if (syscall(SYS_close_range, first, ~0u, 0) == 0) return;
    /* A filter of system calls may not know it. */
    struct rlimit limit = {0};
    syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &limit);
    unsigned end = limit.rlim_max > 1u << 20 ? 1u << 20 : (unsigned)limit.rlim_max;
    for (unsigned fd = first; fd < end; fd++) syscall(SYS_close, fd);
}

static NOT_INSTRUMENTED bool put_null_at(int fd, int flags) {
    long null = syscall(SYS_openat, AT_FDCWD, "/dev/null", flags, 0);
    if (null < 0) return false;
    if (null == fd) return true;
    return syscall(SYS_dup3, null, fd, 0) == fd && syscall(SYS_close, null) == 0;
}

/* 0, 1, 2 and the socket, and nothing else. The table of descriptors is the keeper's own. */
static NOT_INSTRUMENTED bool arrange_fds(int socket) {
    /* First the socket: it might lie where a standard stream goes. */
    long moved = syscall(SYS_fcntl, socket, F_DUPFD, RNI_OS_PROGRAM_SOCKET);
    if (moved < 0) return false;
    if (moved != RNI_OS_PROGRAM_SOCKET && syscall(SYS_dup3, moved, RNI_OS_PROGRAM_SOCKET, 0) < 0) return false;
    close_from(RNI_OS_PROGRAM_SOCKET + 1);
    if (!put_null_at(0, O_RDONLY)) return false;
    for (int fd = 1; fd <= 2; fd++) {
        /* A host without outputs may have something else there, which is close-on-exec or none of the program's. */
        bool is_output = syscall(SYS_fcntl, fd, F_GETFD) == 0;
        if (!is_output && !put_null_at(fd, O_WRONLY)) return false;
    }
    return true;
}

/* The keeper's group, which the program's child is born into: so there is no moment at which it is not covered. */
static NOT_INSTRUMENTED bool die_with_socket(long self) {
    return syscall(SYS_setpgid, 0, 0) == 0 && syscall(SYS_fcntl, RNI_OS_PROGRAM_SOCKET, F_SETSIG, SIGKILL) == 0 &&
           syscall(SYS_fcntl, RNI_OS_PROGRAM_SOCKET, F_SETOWN, -self) == 0 &&
           syscall(SYS_fcntl, RNI_OS_PROGRAM_SOCKET, F_SETFL, O_ASYNC) == 0;
}

/* The program's child, between vfork and exec. */
static NOT_INSTRUMENTED int execute(void *argument) {
    struct rni_os_keeper *keeper = argument;
    bool ready = syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0;
    if (ready && syscall(SYS_getppid) == keeper->keeper) {
        set_signal_mask(0, NULL);
        syscall(SYS_execve, "/proc/self/exe", keeper->arguments, keeper->environment);
    }
    keeper->error = errno;
    syscall(SYS_exit_group, EXIT_NOT_STARTED);
    return 0;
}

static NOT_INSTRUMENTED long start_program(struct rni_os_keeper *keeper) {
    take_default_actions();
    if (!arrange_fds(keeper->socket) || !die_with_socket(keeper->keeper)) return -1;
    syscall(SYS_prctl, PR_SET_NAME, "runium-keeper", 0, 0, 0);
    return clone_real(execute, keeper->program_stack + STACK_BYTES, CLONE_VM | CLONE_VFORK | SIGCHLD, keeper);
}

/* The keeper's children are listed by number, which nobody else has before they are reaped. */
static NOT_INSTRUMENTED unsigned kill_listed(const char *text, long length, long session) {
    unsigned killed = 0;
    long number = 0;
    for (long i = 0; i < length; i++) {
        if (text[i] >= '0' && text[i] <= '9') {
            number = number * 10 + (text[i] - '0');
            continue;
        }
        if (number > 0 && call(SYS_getsid, number, 0, 0, 0) == session) {
            call(SYS_kill, number, SIGKILL, 0, 0);
            killed++;
        }
        number = 0;
    }
    return killed;
}

/* How many there are that die. The list may be cut, then the rest's turn comes. */
static NOT_INSTRUMENTED unsigned kill_children(int list) {
    char text[1024];
    long session = call(SYS_getsid, 0, 0, 0, 0);
    call(SYS_lseek, list, 0, SEEK_SET, 0);
    long length = call(SYS_read, list, (long)(uintptr_t)text, sizeof text, 0);
    return kill_listed(text, length, session);
}

static NOT_INSTRUMENTED void await_program(struct rni_os_keeper *keeper, long program, int list) {
    long ended, status_at = (long)(uintptr_t)&keeper->ended;
    do ended = call(SYS_wait4, -1, status_at, 0, 0);
    while (ended >= 0 && ended != program);
    if (ended == program) keeper->status = keeper->ended;
    for (unsigned left = 1; list >= 0 && left > 0;) {
        left = kill_children(list); /* then those that lost their parent by that */
        for (unsigned i = 0; i < left; i++) call(SYS_wait4, -1, status_at, 0, 0);
    }
}

static NOT_INSTRUMENTED int keep(void *argument) {
    struct rni_os_keeper *keeper = argument;
    keeper->keeper = syscall(SYS_getpid);
    syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGCONT, 0, 0, 0);
    syscall(SYS_prctl, PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    long program = -1;
    if (syscall(SYS_getppid) == keeper->host) {
        program = start_program(keeper);
        if (program < 0) keeper->error = errno;
    }
    close_from(0);
    int list = (int)syscall(SYS_openat, AT_FDCWD, "/proc/thread-self/children", O_RDONLY, 0);
    /* From here on the thread's errno is its own. Pairs with await_keeper(). */
    rni_store_release(&keeper->busy, 0);
    call(SYS_futex, (long)(uintptr_t)&keeper->busy, FUTEX_WAKE, 1, 0);
    if (program > 0) await_program(keeper, program, list);
    call(SYS_exit_group, 0, 0, 0, 0);
    return 0;
}

static void await_keeper(struct rni_os_keeper *keeper) {
    /* Not a private futex: the kernel's own wake-up at the keeper's end is not one. Pairs with keep(). */
    while (rni_load_acquire(&keeper->busy)) syscall(SYS_futex, &keeper->busy, FUTEX_WAIT, 1, NULL, NULL, 0);
}

static int clone_keeper(struct rni_os_keeper *keeper, int *pidfd) {
    unsigned char mask[SIGNAL_SET_BYTES];
    /* No handler of the host's may run in the keeper: it would see the host's memory. */
    set_signal_mask(0xff, mask);
    int flags = CLONE_VM | CLONE_PIDFD | CLONE_CHILD_CLEARTID;
    long made = clone_real(keep, keeper->keeper_stack + STACK_BYTES, flags, keeper, pidfd, NULL, &keeper->busy);
    int error = made < 0 ? errno : 0;
    if (!error) await_keeper(keeper);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, mask, NULL, sizeof mask);
    return error;
}

int rni_os_program_start(rni_os_program *program, char *const *arguments, char *const *environment, int socket) {
    *program = (rni_os_program){NULL, -1};
    struct rni_os_keeper *keeper = rni_alloc_lines(sizeof *keeper);
    if (!keeper) return ENOMEM;
    keeper->arguments = arguments;
    keeper->environment = environment;
    keeper->socket = socket;
    keeper->host = getpid();
    keeper->status = -1;
    rni_store_relaxed(&keeper->busy, 1);
    int saved = errno; /* the keeper shares it */
    int pidfd = -1, error = clone_keeper(keeper, &pidfd);
    errno = saved;
    if (error) {
        rni_free(keeper);
        return error;
    }
    *program = (rni_os_program){keeper, pidfd};
    error = keeper->error;
    if (error) (void)rni_os_program_reap(program);
    return error;
}

/* ------------------------------------------------------------------------------------------------
 * Its end
 */
void rni_os_program_kill(rni_os_program *program) {
    /* The keeper: the program is killed by its death, and has no number that this process could trust. */
    if (program->keeper) syscall(SYS_pidfd_send_signal, program->pidfd, SIGKILL, NULL, 0);
}

static void await_end(int pidfd) {
    struct pollfd polled = {.fd = pidfd, .events = POLLIN};
    while (poll(&polled, 1, -1) < 0 && errno == EINTR) {}
}

int rni_os_program_reap(rni_os_program *program) {
    if (!program->keeper) return -1;
    siginfo_t info;
    await_end(program->pidfd); /* the host may have reaped it with __WALL; then waitid() knows nothing */
    while (waitid(WAIT_FOR_PIDFD, (id_t)program->pidfd, &info, WEXITED | __WALL) < 0 && errno == EINTR) {}
    int status = program->keeper->status;
    rni_os_program_forget(program);
    return status;
}

void rni_os_program_forget(rni_os_program *program) {
    rni_os_program former = *program;
    *program = (rni_os_program){NULL, -1}; /* first: a forked child must not close what has this number by then */
    if (former.pidfd >= 0) close(former.pidfd);
    rni_free(former.keeper);
}

bool rni_os_gains_rights(void) {
    struct stat file;
    if (getauxval(AT_SECURE)) return true;
    if (stat("/proc/self/exe", &file) != 0) return false; /* exec will say what is wrong */
    return (file.st_mode & (S_ISUID | S_ISGID)) || getxattr("/proc/self/exe", "security.capability", NULL, 0) > 0;
}
