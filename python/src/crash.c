/*
 * In a worker process: the stack of Python functions beside the stack of C functions.
 *
 * The core has a handler for the signals that a process dies of (docs/processes.md): it writes a record for the host, and
 * what the process last wrote to stderr goes with it. Python's faulthandler writes the Python stack, but raises the signal
 * anew then, so whoever comes after it no longer sees where the fault was. So there are two handlers of ours around it:
 *
 *     before   keeps what the kernel said (siginfo, context), and calls faulthandler's
 *     faulthandler's writes into a memory file, puts back the handler that was there before it, and raises the signal
 *     after    lets that pass
 *     before   writes what is in the file to stderr, and calls the core's handler with what it has kept
 *
 * The stack is written as tracebacks are, the innermost call last: the host shows the last lines. All of it runs on the
 * core's second stack, and takes no memory and no lock. If faulthandler's stumbles, one of the two is called with the new
 * signal, and goes on to the core's.
 */
#include <Python.h>

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "remote.h"

#define FILE_BYTES ((size_t)64 * 1024)
#define FRAMES_MOST 101 /* the innermost 100, and a line for the others: faulthandler has no more */

static const int signals[] = {SIGSEGV, SIGFPE, SIGABRT, SIGBUS, SIGILL};
#define SIGNALS (sizeof signals / sizeof *signals)

static struct {
    struct sigaction core[SIGNALS], fault[SIGNALS];
    pid_t process;
    char *text; /* the file, in memory */
    volatile sig_atomic_t is_kept;
    siginfo_t info;
    void *context;
} crash;

static size_t index_of(int signal) {
    size_t i = 0;
    while (i + 1 < SIGNALS && signals[i] != signal) i++;
    return i;
}

/* ------------------------------------------------------------------------------------------------
 * What faulthandler has written
 */
static void say(const char *text, size_t length) {
    while (length > 0) {
        ssize_t written = write(STDERR_FILENO, text, length);
        if (written <= 0) return;
        text += written;
        length -= (size_t)written;
    }
}

static size_t length_of(const char *line, const char *end) {
    const char *newline = memchr(line, '\n', (size_t)(end - line));
    return newline ? (size_t)(newline - line) + 1 : (size_t)(end - line);
}

static bool begins(const char *line, const char *end, const char *with) {
    return (size_t)(end - line) >= strlen(with) && memcmp(line, with, strlen(with)) == 0;
}

/* The frames that begin here, in the order of a traceback. */
static void say_frames(const char *frame, const char *end) {
    const char *frames[FRAMES_MOST];
    size_t count = 0;
    for (; count < FRAMES_MOST && begins(frame, end, "  "); frame += length_of(frame, end)) frames[count++] = frame;
    while (count-- > 0) say(frames[count], length_of(frames[count], end));
}

/* Its first line, and the stack of the thread that the signal came to. */
static void say_stack(void) {
    static const char title[] = "Python stack (most recent call last):\n";
    const char *end = crash.text + strnlen(crash.text, FILE_BYTES), *line = crash.text;
    if (line == end) return;
    say(line, length_of(line, end));
    while (line < end && !begins(line, end, "Current thread") && !begins(line, end, "Stack (most")) line += length_of(line, end);
    if (line == end) return;
    say(title, sizeof title - 1);
    say_frames(line + length_of(line, end), end);
}

/* ------------------------------------------------------------------------------------------------
 * The handlers
 */
static void call_core(int signal, siginfo_t *info, void *context) {
    const struct sigaction *core = &crash.core[index_of(signal)];
    bool has_handler = core->sa_handler != SIG_DFL && core->sa_handler != SIG_IGN;
    if (has_handler && (core->sa_flags & SA_SIGINFO)) core->sa_sigaction(signal, info, context);
    else if (has_handler) core->sa_handler(signal);
    else {
        sigaction(signal, core, NULL);
        raise(signal);
    }
}

static void go_on(void) {
    say_stack();
    call_core(crash.info.si_signo, &crash.info, crash.context);
}

static bool is_raised(const siginfo_t *info) { return info->si_code <= 0 && info->si_pid == crash.process; }

static void after(int signal, siginfo_t *info, void *context) {
    if (!crash.is_kept) call_core(signal, info, context);
    else if (!is_raised(info)) go_on();
}

static void before(int signal, siginfo_t *info, void *context) {
    const struct sigaction *fault = &crash.fault[index_of(signal)];
    bool is_first = !crash.is_kept && getpid() == crash.process; /* a child that a task has forked has no host */
    if (!is_first) {
        after(signal, info, context);
        return;
    }
    crash.info = *info;
    crash.context = context;
    crash.is_kept = 1;
    if (fault->sa_flags & SA_SIGINFO) fault->sa_sigaction(signal, info, context);
    else fault->sa_handler(signal);
    go_on();
}

/* ------------------------------------------------------------------------------------------------
 * Setting them
 */
static void set_handlers(void (*handler)(int, siginfo_t *, void *), struct sigaction *former) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < SIGNALS; i++) sigaction(signals[i], &action, &former[i]);
}

static bool enable_faulthandler(int fd) {
    PyObject *module = PyImport_ImportModule("faulthandler");
    PyObject *done = module ? PyObject_CallMethod(module, "enable", "iO", fd, Py_True) : NULL;
    Py_XDECREF(module);
    Py_XDECREF(done);
    if (!done) PyErr_Clear();
    return done != NULL;
}

/* The file stays open, and without a name. */
void crash_watch(void) {
    struct sigaction ignored[SIGNALS];
    stack_t stack;
    int fd = memfd_create("python stack", MFD_CLOEXEC);
    if (fd < 0) return;
    if (ftruncate(fd, (off_t)FILE_BYTES) == 0)
        crash.text = mmap(NULL, FILE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
    if (!crash.text || crash.text == MAP_FAILED || sigaltstack(NULL, &stack) != 0) {
        close(fd);
        return;
    }
    crash.process = getpid();
    set_handlers(after, crash.core);
    bool is_enabled = enable_faulthandler(fd);
    if (is_enabled) set_handlers(before, crash.fault);
    else for (size_t i = 0; i < SIGNALS; i++) sigaction(signals[i], &crash.core[i], &ignored[i]);
    if (!(stack.ss_flags & SS_DISABLE)) (void)sigaltstack(&stack, NULL); /* the core's: faulthandler's is small */
}
