/*
 * Buffers and worker processes: 64 MiB to a worker and back are the same memory, and what processes do with buffers,
 * their own death and lies about them included, leaves no descriptor and no mapping behind.
 *
 *     buffers [--canary]     the last line is the figure; the canary keeps buffers that it should drop
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <runium.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support.h"

enum { LARGE = 64 << 20, PAGE = 4096, ROUNDS = 10000, KEPT_MAX = 64 };

static rn_value kept[KEPT_MAX];
static unsigned kept_count;

/* Where the canary does what a leak would do. */
static void drop(rn_value value) {
    if (proof_canary && kept_count < KEPT_MAX) kept[kept_count++] = value;
    else rn_drop(value);
}

static rn_value end_of(rn_future *future) {
    rn_value result = rn_keep(rn_result(future));
    rn_release(future);
    return result;
}

static bool is_code(rn_value value, int code) { return rn_is_error(value) && rn_error_code(value) == code; }

/* ------------------------------------------------------------------------------------------------
 * What /proc says of this process
 */
static unsigned mapped_buffers(void) {
    char line[512];
    unsigned count = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps && fgets(line, sizeof line, maps)) count += strstr(line, "runium-buffer") != NULL;
    if (maps) fclose(maps);
    return count;
}

/* The file that is mapped there: memory with the same number is the same memory. */
static uint64_t inode_at(const void *memory) {
    char line[512];
    uint64_t start, end, inode, found = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps && fgets(line, sizeof line, maps))
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*s %*s %*s %" SCNu64, &start, &end, &inode) == 3 &&
            start <= (uintptr_t)memory && (uintptr_t)memory < end) found = inode;
    if (maps) fclose(maps);
    return found;
}

static long faults_so_far(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
}

struct holdings {
    unsigned descriptors, buffers;
};

static struct holdings holdings(void) { return (struct holdings){proc_entries("/proc/self/fd"), mapped_buffers()}; }

static bool check_same(const char *who, struct holdings before, struct holdings after) {
    return check(before.descriptors == after.descriptors && before.buffers == after.buffers,
                 "%s had %u descriptors and %u buffers mapped, now %u and %u", who, before.descriptors, before.buffers,
                 after.descriptors, after.buffers);
}

static rn_value tell_holdings(rn_call *call) {
    (void)call;
    struct holdings now = holdings();
    return rn_bytes(&now, sizeof now);
}

static struct holdings holdings_of_worker(rn_runtime *runtime) {
    struct holdings now = {0, 0};
    rn_value told = end_of(rn_run(runtime, tell_holdings));
    if (check(rn_kind(told) == RN_BYTES, "the worker does not say what it holds")) memcpy(&now, rn_as_bytes(told), sizeof now);
    rn_drop(told);
    return now;
}

/* ------------------------------------------------------------------------------------------------
 * There and back
 */
static rn_value turn_over(rn_call *call) {
    rn_value arg = rn_arg(call);
    unsigned char *bytes = rn_as_buffer(arg);
    for (size_t at = 0; at < rn_length(arg); at += PAGE) bytes[at] = (unsigned char)~bytes[at];
    uint64_t inode = inode_at(bytes);
    memcpy(bytes + PAGE / 2, &inode, sizeof inode);
    return rn_keep(arg);
}

static bool is_turned_over(const unsigned char *bytes) {
    for (size_t at = 0; at < LARGE; at += PAGE)
        if (bytes[at] != (unsigned char)~(at / PAGE)) return false;
    return true;
}

/* A copy in this process would be 16,384 pages that are touched for the first time. */
static void go_there_and_back(rn_runtime *runtime, rn_value buffer) {
    unsigned char *bytes = rn_as_buffer(buffer);
    uint64_t inode;
    for (size_t at = 0; at < LARGE; at += PAGE) bytes[at] = (unsigned char)(at / PAGE);
    long faults = faults_so_far();
    rn_value result = end_of(rn_run(runtime, turn_over, .arg = rn_keep(buffer)));
    faults = faults_so_far() - faults;
    check(rn_kind(result) == RN_BUFFER, "no buffer came back");
    check(rn_kind(result) == RN_BUFFER && rn_as_buffer(result) == bytes, "another address came back");
    check(is_turned_over(bytes), "the worker's bytes are not here");
    memcpy(&inode, bytes + PAGE / 2, sizeof inode);
    check(inode != 0 && inode == inode_at(bytes), "the worker had other memory");
    check(faults < LARGE / PAGE / 8, "%ld page faults in this process", faults);
    drop(result);
}

static void large_buffer_is_the_same_memory(void) {
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = 1);
    rn_drop(end_of(rn_run(runtime, tell_holdings)));
    struct holdings before = holdings(), worker = holdings_of_worker(runtime);
    rn_value buffer = rn_buffer(LARGE);
    for (int i = 0; i < 3; i++) go_there_and_back(runtime, buffer);
    check_same("the worker", worker, holdings_of_worker(runtime));
    rn_drop(buffer);
    check_same("the program", before, holdings());
    rn_close(runtime);
    proof_case();
}

/* ------------------------------------------------------------------------------------------------
 * Many rounds
 */
static rn_value count_up(rn_call *call) {
    ++*(uint64_t *)rn_as_buffer(rn_arg(call));
    return rn_keep(rn_arg(call));
}

static rn_value make_one(rn_call *call) {
    rn_value made = rn_buffer(PAGE);
    *(uint64_t *)rn_as_buffer(made) = *(uint64_t *)rn_as_buffer(rn_arg(call));
    return made;
}

static void many_rounds_leave_nothing_behind(void) {
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = 1);
    rn_value buffer = rn_buffer(PAGE);
    uint64_t *number = rn_as_buffer(buffer), wrong = 0;
    rn_drop(end_of(rn_run(runtime, count_up, .arg = rn_keep(buffer))));
    struct holdings before = holdings(), worker = holdings_of_worker(runtime);
    unsigned mappings = proc_lines("/proc/self/maps");
    for (uint64_t i = 1; i <= ROUNDS / 2; i++) {
        rn_value same = end_of(rn_run(runtime, count_up, .arg = rn_keep(buffer)));
        rn_value other = end_of(rn_run(runtime, make_one, .arg = rn_keep(buffer)));
        wrong += rn_kind(same) != RN_BUFFER || rn_as_buffer(same) != number || *number != i + 1;
        wrong += rn_kind(other) != RN_BUFFER || *(uint64_t *)rn_as_buffer(other) != i + 1;
        drop(same);
        drop(other);
    }
    check(wrong == 0, "%" PRIu64 " of %d rounds went wrong", wrong, ROUNDS);
    check_same("the program", before, holdings());
    check_same("the worker", worker, holdings_of_worker(runtime));
    check(proc_lines("/proc/self/maps") <= mappings, "there are more mappings than before");
    rn_drop(buffer);
    rn_close(runtime);
    proof_case();
}

/* ------------------------------------------------------------------------------------------------
 * Many at once. Short runs go to a worker by the dozen, and those with buffers are among them.
 */
static rn_value give_back(rn_call *call) { return rn_keep(rn_arg(call)); }

static rn_value buffer_of_number(rn_call *call) {
    int64_t number = rn_as_int(rn_arg(call));
    if (number % 3 == 0) return rn_int(number);
    rn_value made = rn_buffer(PAGE);
    *(int64_t *)rn_as_buffer(made) = number;
    return made;
}

static bool is_number(rn_value value, int64_t number) {
    if (number % 3 == 0) return rn_kind(value) == RN_INT && rn_as_int(value) == number;
    return rn_kind(value) == RN_BUFFER && *(int64_t *)rn_as_buffer(value) == number;
}

static void many_at_once(void) {
    enum { RUNS = 600 };
    static rn_future *makers[RUNS], *others[RUNS];
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = 1);
    struct holdings before = {0, 0};
    int wrong = 0;
    for (int round = 0; round < 3; round++) {
        rn_value buffer = rn_buffer(PAGE);
        for (int i = 0; i < RUNS; i++) {
            makers[i] = rn_run(runtime, buffer_of_number, .arg = rn_int(i));
            others[i] = rn_run(runtime, give_back, .arg = i % 5 == 0 ? rn_keep(buffer) : rn_int(i));
        }
        for (int i = 0; i < RUNS; i++) {
            rn_value made = end_of(makers[i]), other = end_of(others[i]);
            wrong += !is_number(made, i);
            wrong += i % 5 == 0 ? other.bits != buffer.bits : rn_kind(other) != RN_INT || rn_as_int(other) != i;
            drop(made);
            rn_drop(other);
        }
        rn_drop(buffer);
        if (round == 0) before = holdings();
    }
    check(wrong == 0, "%d runs went wrong", wrong);
    check_same("the program", before, holdings());
    rn_close(runtime);
    proof_case();
}

/* ------------------------------------------------------------------------------------------------
 * Death
 */
static rn_value write_and_die(rn_call *call) {
    strcat(rn_as_buffer(rn_arg(call)), "f");
    raise(SIGKILL);
    return rn_none();
}

static rn_value write_after_death(rn_call *call, rn_value error) {
    strcat(rn_as_buffer(rn_arg(call)), is_code(error, RN_CRASHED) ? "e" : "?");
    return rn_keep(rn_arg(call));
}

static void a_dead_worker_leaves_the_buffer_as_it_is(void) {
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = 1, .log = rn_log_nothing,
                                  .quarantine = UINT32_MAX);
    rn_drop(end_of(rn_run(runtime, tell_holdings)));
    struct holdings before = holdings();
    for (int i = 0; i < 10; i++) {
        rn_value buffer = rn_buffer(PAGE);
        rn_value result = end_of(rn_run(runtime, write_and_die, .arg = rn_keep(buffer), .on_error = write_after_death,
                                        .updates_result = RN_ON_ERROR, .name = i % 2 ? "one" : "other"));
        check(rn_kind(result) == RN_BUFFER && rn_as_buffer(result) == rn_as_buffer(buffer), "another buffer came back");
        check(strcmp(rn_as_buffer(buffer), "fe") == 0, "it holds \"%s\"", (const char *)rn_as_buffer(buffer));
        drop(result);
        rn_drop(buffer);
        rn_drop(end_of(rn_run(runtime, tell_holdings)));
    }
    check_same("the program", before, holdings());
    rn_close(runtime);
    proof_case();
}

static rn_value die(rn_call *call) {
    (void)call;
    raise(SIGKILL);
    return rn_none();
}

static void a_buffer_outlives_the_worker_that_made_it(void) {
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = 1, .log = rn_log_nothing,
                                  .quarantine = UINT32_MAX);
    rn_value number = rn_buffer(PAGE);
    *(uint64_t *)rn_as_buffer(number) = 4711;
    rn_value made = end_of(rn_run(runtime, make_one, .arg = number));
    rn_drop(end_of(rn_run(runtime, die)));
    check(rn_kind(made) == RN_BUFFER && *(uint64_t *)rn_as_buffer(made) == 4711, "its bytes are gone");
    rn_value next = end_of(rn_run(runtime, count_up, .arg = rn_keep(made)));
    rn_close(runtime);
    check(rn_kind(next) == RN_BUFFER && *(uint64_t *)rn_as_buffer(made) == 4712, "the next worker does not have it");
    rn_drop(made);
    drop(next);
    check(mapped_buffers() == 0, "a buffer is mapped still");
    proof_case();
}

/* ------------------------------------------------------------------------------------------------
 * Lies. A worker's channel is its only socket of packets.
 */
static int find_channel(void) {
    for (int fd = 3; fd < 100; fd++) {
        int type = 0;
        socklen_t size = sizeof type;
        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET) return fd;
    }
    return -1;
}

static void send_files(int socket, int fd, unsigned count) {
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(100 * sizeof(int))];
    } control = {.bytes = {0}};
    char byte = 0;
    int fds[100];
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes,
                             .msg_controllen = CMSG_SPACE(count * sizeof *fds)};
    for (unsigned i = 0; i < count; i++) fds[i] = fd;
    control.header = (struct cmsghdr){
        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(count * sizeof *fds)};
    memcpy(CMSG_DATA(&control.header), fds, count * sizeof *fds);
    if (sendmsg(socket, &message, 0) != 1) abort();
}

enum lie { A_PIPE, NO_SEALS, TWO, A_HUNDRED, LIES };

/* What is sent first is taken for the file of the buffer that is returned. */
static rn_value lie(rn_call *call) {
    enum lie which = (enum lie)rn_as_int(rn_arg(call));
    int ends[2], socket = find_channel(), file = memfd_create("runium-buffer", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (pipe2(ends, O_CLOEXEC) != 0 || ftruncate(file, PAGE) != 0) abort();
    if (which > NO_SEALS) fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    send_files(socket, which == A_PIPE ? ends[0] : file, which == TWO ? 2 : which == A_HUNDRED ? 100 : 1);
    if (which == NO_SEALS && ftruncate(file, 0) != 0) abort();
    return rn_buffer(PAGE);
}

static void a_worker_that_lies_is_killed(void) {
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = 1, .log = rn_log_nothing,
                                  .quarantine = UINT32_MAX);
    rn_drop(end_of(rn_run(runtime, tell_holdings)));
    struct holdings before = holdings();
    for (enum lie which = A_PIPE; which < LIES; which++) {
        rn_value result = end_of(rn_run(runtime, lie, .arg = rn_int(which)));
        check(is_code(result, RN_CRASHED) && strstr(rn_error_message(result), "protocol"), "lie %d was believed", which);
        rn_drop(result);
        rn_value next = end_of(rn_run(runtime, tell_holdings));
        check(rn_kind(next) == RN_BYTES, "after lie %d nothing runs", which);
        drop(next);
    }
    if (proof_canary) drop(rn_buffer(1));
    check_same("the program", before, holdings());
    rn_close(runtime);
    proof_case();
}

/* ------------------------------------------------------------------------------------------------
 * Want of descriptors
 */
static rn_value use_up_descriptors(rn_call *call) {
    (void)call;
    int next = dup(0);
    struct rlimit limit = {.rlim_cur = (rlim_t)next, .rlim_max = (rlim_t)next};
    close(next);
    setrlimit(RLIMIT_NOFILE, &limit);
    return rn_none();
}

static rn_value note_that_it_ran(rn_call *call) {
    (void)call;
    return rn_int(1);
}

static void a_worker_without_descriptors_says_so(void) {
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = 1, .log = rn_log_nothing,
                                  .quarantine = UINT32_MAX);
    rn_drop(end_of(rn_run(runtime, use_up_descriptors)));
    rn_value with = end_of(rn_run(runtime, note_that_it_ran, .arg = rn_buffer(PAGE)));
    rn_value without = end_of(rn_run(runtime, note_that_it_ran, .arg = rn_int(1)));
    check(is_code(with, RN_NO_MEMORY), "the function ran without its argument");
    check(rn_kind(without) == RN_INT, "the worker does nothing more");
    rn_drop(with);
    rn_drop(without);
    rn_close(runtime);
    if (proof_canary) drop(rn_buffer(1));
    check(mapped_buffers() == 0, "a buffer is mapped still");
    proof_case();
}

int main(int argc, char **argv) {
    proof_begin(argc, argv, "buffers");
    guard_against_hang(240);
    large_buffer_is_the_same_memory();
    many_rounds_leave_nothing_behind();
    many_at_once();
    a_dead_worker_leaves_the_buffer_as_it_is();
    a_buffer_outlives_the_worker_that_made_it();
    a_worker_that_lies_is_killed();
    a_worker_without_descriptors_says_so();
    return proof_end("cases");
}
