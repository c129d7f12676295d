/*
 * The two mailboxes of a worker process: what the system refuses while they are made, and what the other side may have
 * written there in place of a message.
 */
#include "process/channel.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/os_shared.h"
#include "line.h"
#include "support.h"
#include "value/value.h"

/* ------------------------------------------------------------------------------------------------
 * What the system refuses: the n-th of its calls
 */
enum call { MEMFD, SEAL, SOCKETS, CALLS };

static unsigned refused_at[CALLS], made[CALLS];

static bool is_refused(enum call call) {
    bool is = ++made[call] == refused_at[call];
    if (is) errno = EMFILE;
    return is;
}

int __real_memfd_create(const char *name, unsigned flags);
int __wrap_memfd_create(const char *name, unsigned flags);
int __real_fcntl64(int fd, int command, int argument);
int __wrap_fcntl64(int fd, int command, int argument);
int __real_socketpair(int domain, int type, int protocol, int fds[2]);
int __wrap_socketpair(int domain, int type, int protocol, int fds[2]);

int __wrap_memfd_create(const char *name, unsigned flags) { return is_refused(MEMFD) ? -1 : __real_memfd_create(name, flags); }

int __wrap_fcntl64(int fd, int command, int argument) {
    return is_refused(SEAL) ? -1 : __real_fcntl64(fd, command, argument);
}

int __wrap_socketpair(int domain, int type, int protocol, int fds[2]) {
    return is_refused(SOCKETS) ? -1 : __real_socketpair(domain, type, protocol, fds);
}

static int lowest_free(void) {
    int fd = dup(STDIN_FILENO);
    close(fd);
    return fd;
}

static void close_all(const int fds[3]) {
    for (unsigned i = 0; i < 3; i++) close(fds[i]);
}

/* One that could not be made may be closed, and nothing is left of it. */
static void assert_nothing_is_left(rni_channel *channel, int lowest) {
    assert_null(channel->in);
    assert_null(channel->out);
    assert_int_equal(channel->socket, -1);
    rni_channel_close(channel);
    assert_int_equal(lowest_free(), lowest);
}

/* How many such calls there are. */
static unsigned refuse_each(enum call call) {
    for (unsigned nth = 1;; nth++) {
        rni_channel channel;
        int theirs[3], lowest = lowest_free();
        made[call] = 0;
        refused_at[call] = nth;
        bool is_made = rni_channel_make(&channel, theirs);
        refused_at[call] = 0;
        assert_int_equal(is_made, made[call] < nth);
        if (!is_made) {
            assert_nothing_is_left(&channel, lowest);
            continue;
        }
        rni_channel_close(&channel);
        close_all(theirs);
        return nth - 1;
    }
}

TEST(a_channel_that_the_system_refuses_leaves_nothing) {
    assert_int_equal(refuse_each(MEMFD), 2);
    assert_int_equal(refuse_each(SEAL), 3);
    assert_int_equal(refuse_each(SOCKETS), 1);
}

static void refuse_memory(enum rn_fault fault, uint64_t most) {
    for (uint64_t nth = 1; nth <= most; nth++) {
        rni_channel channel;
        int theirs[3], lowest = lowest_free();
        rn_testing_fail(fault, nth, 1);
        assert_false(rni_channel_make(&channel, theirs));
        rn_testing_fail(fault, 1, 0);
        assert_nothing_is_left(&channel, lowest);
    }
}

TEST(without_memory_a_channel_is_not_made) {
    refuse_memory(RN_FAULT_ALLOCATION, 1);
    refuse_memory(RN_FAULT_MAPPING, 2);
}

TEST(without_memory_a_channel_is_not_joined) {
    static const struct { enum rn_fault fault; uint64_t nth; } cases[] = {
        {RN_FAULT_ALLOCATION, 1}, {RN_FAULT_MAPPING, 1}, {RN_FAULT_MAPPING, 2}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        rni_channel host, worker;
        int theirs[3];
        assert_true(rni_channel_make(&host, theirs));
        rn_testing_fail(cases[i].fault, cases[i].nth, 1);
        assert_false(rni_channel_join(&worker, theirs));
        rn_testing_fail(cases[i].fault, 1, 0);
        rni_channel_close(&worker); /* with its socket */
        rni_channel_close(&host);
        close(theirs[0]);
        close(theirs[1]);
    }
}

/* ------------------------------------------------------------------------------------------------
 * What the other side may have written
 */
static struct {
    rni_channel host, worker;
} line;

static void open_line(void) { line_open(&line.host, &line.worker); }
static void close_line(void) { line_close(&line.host, &line.worker); }

static bool is_read(void) {
    rni_reader reader;
    uint32_t word;
    assert_true(rni_channel_has_mail(&line.host, &word));
    return rni_channel_read(&line.host, &reader);
}

static void send_something(void) {
    rni_writer_begin(&line.worker.frame, RNI_ENDED);
    assert_int_equal(rni_channel_send(&line.worker), RN_OK);
}

/* A message with that head, of which nothing goes through the ring. */
static void assert_head(bool is_good, uint64_t length, uint32_t larges, uint64_t large_length) {
    open_line();
    send_something();
    rni_mailbox *out = line.worker.out;
    rni_store_relaxed(&out->length, length);
    rni_store_relaxed(&out->larges, larges);
    for (uint32_t i = 0; i < larges && i < RNI_WIRE_BUFFERS; i++) rni_store_relaxed(&out->large_lengths[i], large_length);
    line.host.patience = 1; /* what is to come does not */
    assert_int_equal(is_read(), is_good);
    send_something();
    assert_true(is_read()); /* the next message is as if that one had not been */
    close_line();
}

TEST(lengths_that_cannot_be_are_refused) {
    const uint64_t max = RNI_FRAME_MAX;
    assert_head(true, 1, 0, 0);
    assert_head(true, RNI_INLINE_BYTES, 0, 0);
    static const uint64_t bad[] = {0, UINT64_C(1) << 31, UINT32_MAX, UINT64_C(1) << 63, UINT64_MAX};
    for (size_t i = 0; i < COUNT_OF(bad); i++) assert_head(false, bad[i], 0, 0);
    assert_head(false, max + 1, 0, 0);
    assert_head(false, RNI_INLINE_BYTES + 1, 0, 0); /* that much is not there */
}

TEST(a_count_of_messages_that_cannot_be_is_refused) {
    static const uint32_t more[] = {1, 2, UINT32_MAX - 1, UINT32_C(1) << 31};
    open_line();
    for (size_t i = 0; i < COUNT_OF(more); i++) {
        send_something();
        uint32_t count = rni_load_relaxed(&line.worker.out->count);
        rni_store_relaxed(&line.worker.out->count, count + more[i]);
        assert_false(is_read());
        rni_store_relaxed(&line.worker.out->count, count);
        send_something();
        assert_true(is_read()); /* as if that one had not been */
    }
    close_line();
}

TEST(counts_of_large_values_that_cannot_be_are_refused) {
    static const uint32_t bad[] = {RNI_WIRE_BUFFERS + 1, INT32_MAX, UINT32_C(1) << 31, UINT32_MAX};
    assert_head(true, 1, RNI_WIRE_BUFFERS, 0);
    for (size_t i = 0; i < COUNT_OF(bad); i++) assert_head(false, 1, bad[i], 0);
}

TEST(lengths_of_large_values_that_cannot_be_are_refused) {
    const uint64_t max = RNI_FRAME_MAX;
    static const uint64_t bad[] = {UINT64_C(1) << 63, UINT64_MAX, UINT64_MAX / 2};
    for (size_t i = 0; i < COUNT_OF(bad); i++) assert_head(false, 1, 1, bad[i]);
    assert_head(false, 1, 1, max + 1);
    assert_head(false, 1, 2, max / 2 + 1); /* each may be, and not all of them */
    assert_head(false, 1, RNI_WIRE_BUFFERS, max);
    assert_head(false, 1, 1, 1);           /* that much is not there */
}

TEST(more_buffers_than_came_are_refused) {
    static const uint32_t counts[] = {1, RNI_WIRE_BUFFERS, RNI_WIRE_BUFFERS + 1, UINT32_MAX};
    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        open_line();
        send_something();
        rni_store_relaxed(&line.worker.out->buffers, counts[i]);
        assert_false(is_read());
        close_line();
    }
}

TEST(nobody_waits_for_what_has_come_already_or_when_the_time_is_over) {
    uint32_t word;
    open_line();
    assert_false(rni_channel_has_mail(&line.host, &word));
    rni_channel_wait(&line.host, word, 0); /* that time is over */
    send_something();
    rni_channel_wait(&line.host, word, -1); /* for ever */
    assert_true(is_read());
    close_line();
}

/* ------------------------------------------------------------------------------------------------
 * Frames beyond the mailbox
 */
static unsigned char long_bytes[RNI_INLINE_BYTES + 1];

static void begin_long(rni_channel *sender) {
    rni_writer_begin(&sender->frame, RNI_ENDED);
    rni_put_bytes(&sender->frame, long_bytes, sizeof long_bytes);
}

TEST(without_memory_for_it_a_long_frame_is_not_read) {
    open_line();
    begin_long(&line.worker);
    assert_int_equal(rni_channel_send(&line.worker), RN_OK);
    rn_testing_fail(RN_FAULT_ALLOCATION, 1, 1);
    assert_false(is_read());
    rn_testing_fail(RN_FAULT_ALLOCATION, 1, 0);
    assert_false(line.host.is_cut);
    close_line();
}

TEST(without_memory_for_it_a_long_frame_is_not_sent) {
    open_line();
    rn_testing_fail(RN_FAULT_ALLOCATION, 1, 100);
    begin_long(&line.worker);
    rn_testing_fail(RN_FAULT_ALLOCATION, 1, 0);
    assert_int_equal(rni_channel_send(&line.worker), RN_NO_MEMORY);
    uint32_t word;
    assert_false(rni_channel_has_mail(&line.host, &word));
    close_line();
}

TEST(nobody_waits_for_a_dead_worker_to_read_a_long_frame) {
    open_line();
    begin_long(&line.host);
    rni_store_relaxed(&line.worker.out->taken, UINT64_MAX - RNI_RING_BYTES + 1); /* there is no room */
    rni_store_release(&line.host.is_gone, 1); /* pairs with stream.c */
    assert_int_equal(rni_channel_send(&line.host), RN_OK);
    close_line();
}

TEST(one_that_has_room_for_nothing_is_told_what_it_must_refuse) {
    open_line();
    begin_long(&line.host);
    rni_store_relaxed(&line.worker.out->taken, UINT64_MAX - RNI_RING_BYTES + 1); /* there is no room */
    line.host.patience = 1;
    assert_int_equal(rni_channel_send(&line.host), RN_OK);
    rni_reader reader;
    uint32_t word;
    assert_true(rni_channel_has_mail(&line.worker, &word));
    assert_false(rni_channel_read(&line.worker, &reader));
    close_line();
}
