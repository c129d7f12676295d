#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "tracer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__x86_64__)

enum { BREAKPOINT = 0xcc, BREAKPOINT_LENGTH = 1, SYSCALL = 0x050f, SYSCALL_LENGTH = 2 };

/* Futexes that are waited for within so many steps are the one where it was taken, after a wake-up that came late. */
enum { RESTARTED = 200 };

static int orders[2], reports[2];
static uint64_t *steps_record;

struct tracee {
    pid_t process;
    int signal; /* came to it, and is passed on to it as it goes on */
};

/* ------------------------------------------------------------------------------------------------
 * Its registers and its code
 */
static bool await_stop(pid_t process, int *status) {
    pid_t got;
    do got = waitpid(process, status, __WALL);
    while (got < 0 && errno == EINTR);
    return got == process && WIFSTOPPED(*status);
}

static struct user_regs_struct registers_of(pid_t process) {
    struct user_regs_struct registers = {.rip = 0};
    (void)ptrace(PTRACE_GETREGS, process, NULL, &registers);
    return registers;
}

static uint64_t address_of(pid_t process) {
    return (uint64_t)ptrace(PTRACE_PEEKUSER, process, (void *)offsetof(struct user_regs_struct, rip), NULL);
}

static void set_address(pid_t process, uint64_t address) {
    (void)ptrace(PTRACE_POKEUSER, process, (void *)offsetof(struct user_regs_struct, rip), (void *)address);
}

static uint64_t code_at(pid_t process, uint64_t address) {
    return (uint64_t)ptrace(PTRACE_PEEKTEXT, process, (void *)address, NULL);
}

/* Puts one byte of code in the place of another, and returns that. The page becomes the process's own. A whole word at a
 * time, which lies in one page. */
static uint8_t put_code(pid_t process, uint64_t address, uint8_t byte) {
    uint64_t word = address & ~UINT64_C(7), shift = 8 * (address - word), former = code_at(process, word);
    uint64_t changed = (former & ~(UINT64_C(0xff) << shift)) | (uint64_t)byte << shift;
    (void)ptrace(PTRACE_POKETEXT, process, (void *)word, (void *)changed);
    return (uint8_t)(former >> shift);
}

/* Sleeping, or gone: what is stopped or runs is neither. The state follows the name, which is in brackets. */
static bool is_asleep(pid_t process) {
    char path[32], text[256] = "";
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)process);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return true;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    const char *end = length > 0 ? strrchr(text, ')') : NULL;
    return !end || end[2] == 'S' || end[2] == 'Z' || end[2] == 'X';
}

/* Whether that is a wait without an end for a message: a worker's on a futex, or a zygote's for anything. */
static bool waits(const struct user_regs_struct *registers, uint64_t call) {
    bool on_futex = (registers->rsi & 0x7f) == 0 || (registers->rsi & 0x7f) == 9;
    if (call == SYS_futex) return on_futex && registers->r10 == 0;
    return call == SYS_poll && (int)registers->rdx == -1;
}

/* Whether its next instruction is such a call. */
static bool falls_asleep(pid_t process, uint64_t call) {
    struct user_regs_struct registers = registers_of(process);
    return registers.rax == call && waits(&registers, call) && (code_at(process, registers.rip) & 0xffff) == SYSCALL;
}

/* Of a `rep movs` or `rep stos`, which need no flags. 0: it is none. */
static uint64_t length_of_repeated(uint64_t code) {
    bool has_prefix = (code >> 8 & 0xf0) == 0x40;
    uint64_t operation = code >> (has_prefix ? 16 : 8) & 0xfe;
    if ((code & 0xff) != 0xf3 || (operation != 0xa4 && operation != 0xaa)) return 0;
    return has_prefix ? 3 : 2;
}

/* ------------------------------------------------------------------------------------------------
 * Its ways. All functions are false if it has ended.
 */

/* Until it stops by a trap: news about it are not one, and its signals are its own. */
static bool advance(struct tracee *it, enum __ptrace_request request) {
    for (int status;;) {
        if (ptrace(request, it->process, NULL, (void *)(intptr_t)it->signal) != 0) return false;
        if (!await_stop(it->process, &status)) return false;
        bool is_news = status >> 16 != 0, is_trap = WSTOPSIG(status) == SIGTRAP;
        it->signal = is_news || is_trap ? 0 : WSTOPSIG(status);
        if (is_trap && !is_news) return true;
    }
}

static bool run_to(struct tracee *it, uint64_t address) {
    uint8_t former = put_code(it->process, address, BREAKPOINT);
    do {
        if (!advance(it, PTRACE_CONT)) return false;
    } while (address_of(it->process) != address + BREAKPOINT_LENGTH);
    (void)put_code(it->process, address, former);
    set_address(it->process, address);
    return true;
}

static bool step_to(struct tracee *it, uint64_t address) {
    do {
        if (!advance(it, PTRACE_SINGLESTEP)) return false;
    } while (address_of(it->process) != address);
    return true;
}

/* No instruction that repeats. */
static bool arrive(struct tracee *it, const struct order *order) {
    uint64_t address = order->way.address;
    for (uint32_t i = 1; i <= order->way.arrival; i++) {
        if (order->runs && i > 1 && !advance(it, PTRACE_SINGLESTEP)) return false;
        if (!(order->runs ? run_to(it, address) : step_to(it, address))) return false;
    }
    return true;
}

/*
 * The processor is given a smaller count, and when it is through, the rest of it at the same instruction again: count,
 * addresses and memory are then what they are after so many repetitions, and flags have no part in it. False too: it is
 * at another instruction, or at one that repeats less often.
 */
static bool repeat(struct tracee *it, uint64_t times) {
    struct user_regs_struct before = registers_of(it->process), after = before;
    uint64_t length = length_of_repeated(code_at(it->process, before.rip));
    if (times == 0) return true;
    if (length == 0 || before.rcx <= times) return false;
    after.rcx = times;
    if (ptrace(PTRACE_SETREGS, it->process, NULL, &after) != 0 || !run_to(it, before.rip + length)) return false;
    after = registers_of(it->process);
    after.rip = before.rip;
    after.rcx = before.rcx - times;
    return ptrace(PTRACE_SETREGS, it->process, NULL, &after) == 0;
}

static bool go(struct tracee *it, const struct order *order) {
    if (!arrive(it, order)) return false;
    for (uint64_t i = 0; i < order->way.steps; i++)
        if (!advance(it, PTRACE_SINGLESTEP)) return false;
    return repeat(it, order->way.repeats);
}

/* How many steps it took to its end or its sleep. */
static uint64_t measure(struct tracee *it, uint64_t longest) {
    uint64_t length = 0;
    steps_record[0] = address_of(it->process);
    while (length < longest && advance(it, PTRACE_SINGLESTEP)) {
        steps_record[++length] = address_of(it->process);
        if (length > RESTARTED && falls_asleep(it->process, SYS_futex)) break;
    }
    return length;
}

/* It was interrupted where it waits, or (seldom, as it slept) before. In a system call its address is already behind it. */
static bool settle(struct tracee *it) {
    struct user_regs_struct registers = registers_of(it->process);
    if (waits(&registers, registers.orig_rax)) return true;
    while (advance(it, PTRACE_SINGLESTEP))
        if (falls_asleep(it->process, SYS_futex) || falls_asleep(it->process, SYS_poll)) return true;
    return false;
}

static void end(pid_t process) {
    int status;
    kill(process, SIGKILL);
    while (waitpid(process, &status, __WALL) == process && WIFSTOPPED(status)) {
    }
}

/* ------------------------------------------------------------------------------------------------
 * Orders
 */
static void tell(const struct report *report) {
    if (write(reports[1], report, sizeof *report) != sizeof *report) _exit(1);
}

static void follow(const struct order *order, pid_t process) {
    struct tracee it = {process, 0};
    struct report report = {.is_taken = true};
    if (order->measures) report.length = measure(&it, order->way.steps);
    else if (go(&it, order)) report.address = address_of(process);
    end(process);
    tell(&report);
}

static void trace_it(const struct order *order) {
    struct tracee it = {order->process, 0};
    int status;
    while (!is_asleep(order->process)) sched_yield();
    bool is_taken = ptrace(PTRACE_SEIZE, order->process, NULL, NULL) == 0 &&
                    ptrace(PTRACE_INTERRUPT, order->process, NULL, NULL) == 0 && await_stop(order->process, &status) &&
                    settle(&it);
    tell(&(struct report){.is_taken = is_taken});
    if (is_taken) follow(order, order->process);
}

/* Lets the parent go on until it has forked. */
static pid_t await_child(pid_t parent) {
    unsigned long child = 0;
    int status;
    while (child == 0 && await_stop(parent, &status)) {
        int event = status >> 16;
        if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_CLONE || event == PTRACE_EVENT_VFORK)
            ptrace(PTRACE_GETEVENTMSG, parent, NULL, &child);
        int signal = event || WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
        if (child == 0) ptrace(PTRACE_CONT, parent, NULL, (void *)(intptr_t)signal);
    }
    return (pid_t)child;
}

static void trace_child(const struct order *order) {
    intptr_t options = PTRACE_O_TRACEFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEVFORK;
    struct report report = {.is_taken = ptrace(PTRACE_SEIZE, order->process, NULL, (void *)options) == 0};
    int status;
    tell(&report);
    if (!report.is_taken) return;
    pid_t child = await_child(order->process);
    ptrace(PTRACE_DETACH, order->process, NULL, NULL);
    if (child > 0 && await_stop(child, &status)) follow(order, child);
    else tell(&report);
}

static void trace(void) {
    struct order order;
    while (read(orders[0], &order, sizeof order) == sizeof order) {
        if (order.who == TRACED_ITSELF) trace_it(&order);
        else trace_child(&order);
    }
    _exit(0);
}

/* ------------------------------------------------------------------------------------------------
 * The other side
 */
bool tracer_start(uint64_t *record) {
    steps_record = record;
    if (pipe2(orders, O_CLOEXEC) != 0 || pipe2(reports, O_CLOEXEC) != 0) return false;
    pid_t tracer = fork();
    if (tracer != 0) {
        close(orders[0]);
        close(reports[1]);
        return tracer > 0;
    }
    close(orders[1]);
    close(reports[0]);
    trace();
    return false;
}

struct report tracer_report(void) { return tracer_report_of(0); }

struct report tracer_report_of(pid_t sleeper) {
    struct pollfd told = {.fd = reports[0], .events = POLLIN};
    while (sleeper && poll(&told, 1, 1) == 0)
        if (is_asleep(sleeper)) kill(sleeper, SIGKILL);
    struct report report = {.is_taken = false};
    bool is_whole = read(reports[0], &report, sizeof report) == sizeof report;
    return is_whole ? report : (struct report){.is_taken = false};
}

bool tracer_take(const struct order *order) {
    return write(orders[1], order, sizeof *order) == sizeof *order && tracer_report().is_taken;
}

#endif
