/*
 * P11: worker processes that turn against their host while others work.
 *
 *   scribble   a thread of a worker writes at random over the mailbox that its host reads
 *   memory     a worker tries to shrink, punch, seal and overwrite the shared memory
 *   flood      a worker sends descriptors and wakes its host without end
 *   stall      a worker says nothing any more
 *
 * The host neither crashes nor hangs, every run ends, and what ran in processes that did nothing of the kind is right: a
 * ledger in shared memory says in which process each run was executed.
 *
 *     hostile_live [--canary]     the figure comes last; the canary takes an honest result for a wrong one
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <runium.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "ledger.h"
#include "support.h"

enum { RUNS_MAX = 1 << 20, PROCESSES_MAX = 1 << 20, ROUND = 64, WORKERS = 3 };

struct ledger {
    atomic_uint process[RUNS_MAX];  /* that executed the run; 0: none */
    atomic_uint processes;          /* how many have come so far: their ids come again in a long run, their numbers here do not */
    atomic_bool is_tainted[PROCESSES_MAX]; /* it has turned */
    atomic_int tainted[PROCESSES_MAX];     /* ids of those, in their order */
    atomic_uint tainted_count;
    atomic_ullong written, refused, allowed;
};
_Static_assert(sizeof(struct ledger) <= LEDGER_BYTES, "it fits its pages");
#define ledger ((struct ledger *)ledger_pages)

/* Of this process. */
static unsigned own_number(void) {
    static unsigned number;
    if (number == 0) number = 1 + atomic_fetch_add(&ledger->processes, 1) % (PROCESSES_MAX - 1);
    return number;
}

static void taint(void) {
    if (atomic_exchange(&ledger->is_tainted[own_number()], true)) return;
    atomic_store(&ledger->tainted[atomic_fetch_add(&ledger->tainted_count, 1) % PROCESSES_MAX], getpid());
}

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- what a worker finds of its own mailboxes ---- */

struct pages {
    char *start;
    size_t size;
    bool is_writable;
};

static unsigned find_pages(struct pages *pages, unsigned most) {
    char line[512], mode[8];
    unsigned count = 0;
    unsigned long first, end;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps) && count < most) {
        if (!strstr(line, "memfd:runium") || sscanf(line, "%lx-%lx %7s", &first, &end, mode) != 3) continue;
        pages[count++] = (struct pages){(char *)first, end - first, mode[1] == 'w'};
    }
    if (maps) fclose(maps);
    return count;
}

static unsigned find_fds(int *fds, unsigned most, const char *kind) {
    unsigned count = 0;
    for (int fd = 3; fd < 64 && count < most; fd++) {
        char path[64], name[128] = "";
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        if (readlink(path, name, sizeof name - 1) > 0 && strstr(name, kind)) fds[count++] = fd;
    }
    return count;
}

/* ---- tasks ---- */

static rn_value work(rn_call *call) {
    int64_t number = rn_as_int(rn_arg(call));
    atomic_store(&ledger->process[number], own_number());
    for (volatile int64_t i = 0; i < number * 7919 % 4000; i++) {
    }
    return rn_int(number * 3 + 1);
}

static void *scribble(void *argument) {
    struct pages pages[8];
    struct dice dice = {now_ns() ^ (uint64_t)getpid() << 40};
    unsigned count = find_pages(pages, 8);
    (void)argument;
    while (count > 0) {
        struct pages *of = &pages[roll_below(&dice, count)];
        if (!of->is_writable) continue;
        size_t at = (size_t)roll_below(&dice, roll_below(&dice, 2) ? 256 : of->size - 8);
        uint64_t number = roll_below(&dice, 2) ? roll(&dice) : roll_below(&dice, 70000);
        if (roll_below(&dice, 2)) at &= ~(size_t)7;
        memcpy(of->start + at, &number, 1 + (size_t)roll_below(&dice, 8));
        atomic_fetch_add(&ledger->written, 1);
        if (roll_below(&dice, 1024) == 0) sched_yield();
    }
    return NULL;
}

/* Some end at once and leave the thread behind, some sit with it, some ask their host things meanwhile, some die. */
static rn_value scribbler(rn_call *call) {
    pthread_t thread;
    int64_t how = rn_as_int(rn_arg(call)) % 3;
    uint64_t end = now_ns() + 3000000;
    taint();
    if (pthread_create(&thread, NULL, scribble, NULL) != 0) return rn_none();
    while (how > 0 && now_ns() < end) {
        if (how >= 2) rn_report(call, 0.5);
    }
    if (how == 1) raise(SIGKILL);
    return rn_text("a text");
}

static void count(const char *what, bool succeeded) {
    atomic_fetch_add(succeeded ? &ledger->allowed : &ledger->refused, 1);
    if (succeeded) fprintf(stderr, "P11: allowed: %s\n", what);
}

/* Every one of these must be refused. */
static void attack_file(int fd) {
    struct { off_t start, size; } parts[] = {{0, 4096}, {0, 1 << 20}, {4096, 4096}};
    count("ftruncate(fd, 0) == 0", ftruncate(fd, 0) == 0);
    count("ftruncate(fd, 1) == 0", ftruncate(fd, 1) == 0);
    count("ftruncate(fd, 1 << 24) == 0", ftruncate(fd, 1 << 24) == 0);
    count("fallocate(fd, 0, 1 << 24, 4096) == 0", fallocate(fd, 0, 1 << 24, 4096) == 0);
    for (unsigned i = 0; i < 3; i++) {
        count("fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, parts[i].start, parts[i].size) == 0", fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, parts[i].start, parts[i].size) == 0);
        (void)fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, parts[i].start, parts[i].size); /* of its own: harmless */
    }
    count("fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == 0", fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == 0);
}

/* What the host writes is not for the worker to write, in whatever way. */
static void attack_host_mailbox(int fd) {
    char byte = 1, path[64];
    void *pages = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int again = open(path, O_RDWR | O_CLOEXEC);
    count("pages != MAP_FAILED", pages != MAP_FAILED);
    count("pwrite(fd, &byte, 1, 0) == 1", pwrite(fd, &byte, 1, 0) == 1);
    count("again >= 0 && pwrite(again, &byte, 1, 0) == 1", again >= 0 && pwrite(again, &byte, 1, 0) == 1);
    count("fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0);
}

static void attack_pages(const struct pages *of) {
    if (!of->is_writable) count("mprotect(of->start, of->size, PROT_READ | PROT_WRITE) == 0", mprotect(of->start, of->size, PROT_READ | PROT_WRITE) == 0);
    else (void)madvise(of->start, of->size, MADV_REMOVE); /* its own: the host reads zeros */
}

static rn_value attacks_memory(rn_call *call) {
    struct pages pages[8];
    int fds[8];
    (void)call;
    taint();
    unsigned mappings = find_pages(pages, 8), files = find_fds(fds, 8, "memfd:runium");
    for (unsigned i = 0; i < files; i++) attack_file(fds[i]);
    if (files > 0) attack_host_mailbox(fds[0]);
    for (unsigned i = 0; i < mappings; i++) attack_pages(&pages[i]);
    return rn_int((int64_t)files);
}

/* Wakes the host, and fills the socket with descriptors that nobody asked for. */
static rn_value floods(rn_call *call) {
    int sockets[8];
    union { struct cmsghdr header; char bytes[CMSG_SPACE(sizeof(int))]; } control = {.bytes = {0}};
    char byte = 0;
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    int standard_input = 0;
    taint();
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(&control.header), &standard_input, sizeof(int));
    unsigned found = find_fds(sockets, 8, "socket:");
    for (unsigned i = 0; i < 10000 && found > 0; i++) (void)sendmsg(sockets[i % found], &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    for (unsigned i = 0; i < 200; i++) rn_report(call, 0.25);
    return rn_buffer(200000); /* the host finds another file in its place */
}

static rn_value stalls(rn_call *call) {
    (void)call;
    taint();
    raise(SIGSTOP);
    return rn_none();
}

/* ---- the host ---- */

/* A worker that says nothing any more, or has made its own words unreadable, is as one whose task never ends: somebody
 * ends it. */
static atomic_bool is_over;

static bool is_worker(int pid) {
    char path[64], name[32] = "";
    snprintf(path, sizeof path, "/proc/%d/comm", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd >= 0 ? read(fd, name, sizeof name - 1) : -1;
    if (fd >= 0) close(fd);
    return length > 0 && strncmp(name, "runium worker", 13) == 0;
}

static void *end_tainted(void *argument) {
    const struct timespec pause = {0, 20000000};
    unsigned done = 0;
    while (!atomic_load(&is_over)) {
        unsigned count = atomic_load(&ledger->tainted_count);
        nanosleep(&pause, NULL);
        for (; done < count; done++) {
            int pid = atomic_load(&ledger->tainted[done % PROCESSES_MAX]);
            if (pid > 0 && is_worker(pid)) kill(pid, SIGKILL);
        }
    }
    return argument;
}

static int64_t next_run;
static unsigned long long not_executed;

static bool is_crash(rn_value result) { return rn_is_error(result) && rn_error_code(result) == RN_CRASHED; }

/* Honest runs and one of the others between them. */
static void play_round(rn_runtime *host, rn_task_fn *hostile) {
    rn_future *honest[ROUND], *others[ROUND / 8];
    int64_t first = next_run;
    next_run += ROUND;
    for (unsigned i = 0; i < ROUND; i++) {
        honest[i] = rn_run(host, work, .arg = rn_int(first + i));
        if (i % 8 == 0) others[i / 8] = rn_run(host, hostile, .arg = rn_int(first + i / 8));
    }
    for (unsigned i = 0; i < ROUND; i++) {
        rn_value result = rn_result(honest[i]);
        unsigned process = atomic_load(&ledger->process[first + i]);
        bool is_right = rn_kind(result) == RN_INT && rn_as_int(result) == (first + i) * 3 + 1;
        if (proof_canary && first == 0 && i == 0) is_right = false;
        bool is_honest = process != 0 && !atomic_load(&ledger->is_tainted[process]);
        if (proof_canary && first == 0 && i == 0) is_honest = true;
        check(process != 0 || is_crash(result) || !rn_is_error(result), "run %lld was lost: %s", (long long)(first + i),
              rn_is_error(result) ? rn_error_message(result) : "");
        not_executed += process == 0;
        check(is_right || !is_honest, "run %lld, executed in a process that did nothing, has its result",
              (long long)(first + i));
        rn_release(honest[i]);
    }
    for (unsigned i = 0; i < ROUND / 8; i++) {
        (void)rn_result(others[i]);
        rn_release(others[i]);
    }
    proof_cases(ROUND + ROUND / 8);
}

/* The processes that were left behind by the round before go on scribbling meanwhile. */
static void play(const char *what, rn_task_fn *hostile, uint64_t seconds_4) {
    uint64_t before = proof_good(), end = now_ns() + seconds_4 * 250000000u;
    rn_runtime *host = rn_open(.executor = RN_PROCESSES, .workers = WORKERS, .quarantine = 1000000000, .respawn_rate = 1000000, .log = rn_log_nothing);
    check(rn_is_none(rn_open_error(host)), "the host opens");
    do play_round(host, hostile);
    while (now_ns() < end && next_run + ROUND < RUNS_MAX);
    check(rn_close(host) == RN_OK, "the host closes");
    printf("P11: %s: %llu runs, of which %llu were not executed\n", what, (unsigned long long)(proof_good() - before), not_executed);
    not_executed = 0;
}

int main(int argc, char **argv) {
    proof_begin(argc, argv, "P11");
    guard_against_hang(proof_torture ? 1500 : 240);
    pthread_t ender;
    if (!ledger_make() || pthread_create(&ender, NULL, end_tainted, NULL) != 0) return 2;
    play("a live scribbler", scribbler, proof_torture ? 240 : 20);
    play("attacks on the memory", attacks_memory, proof_torture ? 40 : 4);
    play("floods", floods, proof_torture ? 40 : 4);
    play("stalls", stalls, proof_torture ? 40 : 4);
    atomic_store(&is_over, true);
    pthread_join(ender, NULL);
    printf("P11: %llu words scribbled, %llu attacks on the memory refused, %llu allowed\n",
           (unsigned long long)atomic_load(&ledger->written), (unsigned long long)atomic_load(&ledger->refused),
           (unsigned long long)atomic_load(&ledger->allowed));
    check(atomic_load(&ledger->written) > 1000 && atomic_load(&ledger->refused) > 100, "there were attacks");
    check(atomic_load(&ledger->allowed) == 0, "no attack on the memory is allowed");
    return proof_end("runs beside hostile workers");
}
