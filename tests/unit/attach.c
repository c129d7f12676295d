/*
 * Frames with buffers, over a channel whose worker says whatever it likes: what is not as it should be is refused, and
 * of what came nothing is left.
 */
#include "process/attach.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/os_process.h"
#include "process/channel.h"
#include "line.h"
#include "support.h"
#include "value/buffer.h"
#include "value/value.h"

static struct {
    rni_channel host, worker;
    unsigned descriptors, buffers;
} line;

static unsigned descriptors(void) {
    unsigned count = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (readdir(folder)) count++;
    closedir(folder);
    return count;
}

static unsigned mapped_buffers(void) {
    char text[512];
    unsigned count = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    while (fgets(text, sizeof text, maps)) count += strstr(text, "runium-buffer") != NULL;
    fclose(maps);
    return count;
}

static void open_line(void) {
    line.descriptors = descriptors();
    line.buffers = mapped_buffers();
    line_open(&line.host, &line.worker);
}

static void close_line(void) {
    line_close(&line.host, &line.worker);
    assert_int_equal(descriptors(), line.descriptors);
    assert_int_equal(mapped_buffers(), line.buffers);
}

static rni_writer *begin(void) {
    rni_writer_begin(&line.worker.frame, RNI_ENDED);
    return &line.worker.frame;
}

static bool host_reads(rni_reader *reader) {
    uint32_t word;
    assert_true(rni_channel_has_mail(&line.host, &word));
    return rni_channel_read(&line.host, reader) && rni_take_8(reader) == RNI_ENDED;
}

/* ------------------------------------------------------------------------------------------------
 * As it should be
 */
TEST(buffers_arrive_in_their_order_and_are_the_same_blobs) {
    open_line();
    rn_value values[] = {rn_buffer(1), rn_buffer(2), rn_text("between"), rn_buffer(3)};
    for (size_t i = 0; i < COUNT_OF(values); i++) assert_true(rni_put_value(i ? &line.worker.frame : begin(), values[i]));
    assert_int_equal(rni_channel_send(&line.worker), RN_OK);
    rni_reader reader;
    assert_true(host_reads(&reader));
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        assert_false(rni_reader_is_done(&reader));
        rn_value back = rni_take_value(&reader);
        assert_int_equal(rn_kind(back), rn_kind(values[i]));
        if (rn_kind(back) == RN_BUFFER) assert_true(back.bits == values[i].bits);
        rn_drop(back);
        rn_drop(values[i]);
    }
    assert_true(rni_reader_is_done(&reader));
    close_line();
}

TEST(a_buffer_lives_until_its_frame_is_sent) {
    open_line();
    rn_value value = rn_buffer(100);
    strcpy(rn_as_buffer(value), "still there");
    assert_true(rni_put_value(begin(), value));
    rn_drop(value);
    assert_int_equal(mapped_buffers(), line.buffers + 1);
    assert_int_equal(rni_channel_send(&line.worker), RN_OK);
    assert_int_equal(mapped_buffers(), line.buffers);
    rni_reader reader;
    assert_true(host_reads(&reader));
    rn_value back = rni_take_value(&reader);
    assert_string_equal(rn_as_buffer(back), "still there");
    rn_drop(back);
    close_line();
}

TEST(a_frame_that_is_not_sent_lets_its_buffers_go) {
    open_line();
    rn_value value = rn_buffer(100);
    assert_true(rni_put_value(begin(), value));
    rn_drop(value);
    (void)begin();
    assert_int_equal(mapped_buffers(), line.buffers);
    value = rn_buffer(100);
    assert_true(rni_put_value(begin(), value));
    rn_drop(value);
    close_line();
}

TEST(a_large_frame_has_its_buffers_too) {
    enum { LONG = 100000 };
    open_line();
    char *bytes = malloc(LONG);
    memset(bytes, 'b', LONG);
    rn_value large = rn_bytes(bytes, LONG), value = rn_buffer(5);
    assert_true(rni_put_value(begin(), large) && rni_put_value(&line.worker.frame, value));
    assert_int_equal(rni_channel_send(&line.worker), RN_OK);
    rni_reader reader;
    assert_true(host_reads(&reader));
    rn_value first = rni_take_value(&reader), second = rni_take_value(&reader);
    assert_true(rni_reader_is_done(&reader));
    assert_memory_equal(rn_as_bytes(first), bytes, LONG);
    assert_true(second.bits == value.bits);
    rn_drop(first);
    rn_drop(second);
    rn_drop(large);
    rn_drop(value);
    free(bytes);
    close_line();
}

TEST(more_buffers_than_a_frame_may_have_are_too_large) {
    open_line();
    rn_value value = rn_buffer(5);
    rni_writer *frame = begin();
    for (uint32_t i = 0; i < RNI_WIRE_BUFFERS; i++) assert_true(rni_put_value(frame, value));
    assert_int_equal(rni_channel_send(&line.worker), RN_OK);
    rni_reader reader;
    assert_true(host_reads(&reader));
    for (uint32_t i = 0; i < RNI_WIRE_BUFFERS; i++) rn_drop(rni_take_value(&reader));
    assert_true(rni_reader_is_done(&reader));
    frame = begin();
    for (uint32_t i = 0; i <= RNI_WIRE_BUFFERS; i++) assert_true(rni_put_value(frame, value));
    assert_int_equal(rni_channel_send(&line.worker), RN_TOO_LARGE);
    (void)rni_put_value(begin(), value);
    assert_int_equal(rni_channel_send(&line.worker), RN_OK);
    assert_true(host_reads(&reader));
    rn_drop(rni_take_value(&reader));
    rn_drop(value);
    close_line();
}

/* The death of the other side is told elsewhere: what is not received does not matter. */
TEST(what_nobody_receives_counts_as_sent) {
    open_line();
    rn_value value = rn_buffer(5);
    assert_true(rni_put_value(begin(), value));
    shutdown(line.host.socket, SHUT_RDWR);
    assert_int_equal(rni_channel_send(&line.worker), RN_OK);
    rn_drop(value);
    close_line();
}

/* A worker that answers without reading what was sent must not hold the host up. */
TEST(a_socket_that_is_full_is_an_error_and_not_a_wait) {
    open_line();
    rn_value value = rn_buffer(5);
    int code = RN_OK;
    for (int i = 0; i < 100000 && code == RN_OK; i++) {
        assert_true(rni_put_value(begin(), value));
        code = rni_channel_send(&line.worker);
    }
    assert_int_equal(code, RN_NO_MEMORY);
    rn_drop(value);
    close_line();
}

/* ------------------------------------------------------------------------------------------------
 * As no worker says it
 */
enum file { GOOD, PIPE, UNSEALED, SHRINKS, READ_ONLY, EMPTY };

static int file_of(enum file kind) {
    enum { FIXED = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL };
    int ends[2], fd = memfd_create("runium-buffer", MFD_CLOEXEC | MFD_ALLOW_SEALING), seals = FIXED;
    char path[64];
    if (kind == UNSEALED) seals = 0;
    if (kind == SHRINKS) seals = F_SEAL_GROW | F_SEAL_SEAL;
    if (kind != EMPTY) assert_int_equal(ftruncate(fd, 4096), 0);
    if (seals) assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (kind == READ_ONLY || kind == PIPE) {
        int good = fd;
        fd = kind == READ_ONLY ? open(path, O_RDONLY | O_CLOEXEC) : pipe2(ends, O_CLOEXEC) == 0 ? ends[0] : -1;
        if (kind == PIPE) close(ends[1]);
        close(good);
    }
    return fd;
}

/* A frame of so many buffers of 4,096 bytes, by hand; with it go these files; the mailbox announces so many. */
static void say(uint32_t named, const enum file *files, uint32_t count, uint32_t announced) {
    rni_mailbox *out = line.worker.out;
    rni_writer *frame = begin();
    int fds[RNI_OS_FDS_MAX];
    for (uint32_t i = 0; i < named; i++) {
        rni_put_8(frame, RN_BUFFER);
        rni_put_32(frame, i);
        rni_put_64(frame, 4096);
    }
    for (uint32_t i = 0; i < count; i++) fds[i] = file_of(files[i]);
    if (count > 0) assert_int_equal(rni_os_send_packet(line.worker.socket, "", 1, fds, count, false), 0);
    for (uint32_t i = 0; i < count; i++) close(fds[i]);
    memcpy(out->bytes, frame->bytes, frame->length);
    rni_store_relaxed(&out->length, frame->length);
    rni_store_relaxed(&out->buffers, announced);
    rni_store_release(&out->count, rni_load_relaxed(&out->count) + 1); /* pairs with has_mail */
}

static bool host_accepts(uint32_t named) {
    rni_reader reader;
    if (!host_reads(&reader)) return false;
    for (uint32_t i = 0; i < named; i++) rn_drop(rni_take_value(&reader));
    return rni_reader_is_done(&reader);
}

TEST(files_that_are_none_of_a_buffer_are_refused) {
    for (enum file kind = GOOD; kind <= EMPTY; kind++)
        for (uint32_t at = 0; at < 3; at++) {
            enum file files[3] = {GOOD, GOOD, GOOD};
            files[at] = kind;
            open_line();
            say(3, files, 3, 3);
            assert_int_equal(host_accepts(3), kind == GOOD);
            close_line();
        }
}

TEST(too_many_and_too_few_files_are_refused) {
    const enum file files[RNI_OS_FDS_MAX] = {GOOD};
    for (uint32_t named = 0; named <= 3; named++)
        for (uint32_t sent = 0; sent <= RNI_OS_FDS_MAX; sent++)
            for (uint32_t announced = 0; announced <= RNI_WIRE_BUFFERS + 1; announced++) {
                if (announced == 0 && sent > 0) continue; /* what nobody looks for lies in the socket, and goes with it */
                open_line();
                say(named, files, sent, announced);
                bool as_it_should_be = named == sent && sent == announced;
                assert_int_equal(host_accepts(named), as_it_should_be);
                close_line();
            }
}

/* More than the system could hand over at once into the room that there is. */
TEST(a_packet_full_of_files_is_refused) {
    enum { MOST = 253 };
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(MOST * sizeof(int))];
    } control = {.bytes = {0}};
    char byte = 0;
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control};
    int fds[MOST], fd = file_of(GOOD);
    open_line();
    line.descriptors--; /* ours */
    for (int i = 0; i < MOST; i++) fds[i] = fd;
    control.header = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fds)};
    memcpy(CMSG_DATA(&control.header), fds, sizeof fds);
    assert_int_equal(sendmsg(line.worker.socket, &message, 0), 1);
    close(fd);
    say(1, NULL, 0, 1);
    assert_false(host_accepts(1));
    close_line();
}

TEST(a_packet_of_another_length_is_refused) {
    open_line();
    int fd = file_of(GOOD);
    assert_int_equal(rni_os_send_packet(line.worker.socket, "ab", 2, &fd, 1, false), 0);
    close(fd);
    say(1, NULL, 0, 1);
    assert_false(host_accepts(1));
    close_line();
}

/* ------------------------------------------------------------------------------------------------
 * Want of descriptors and of memory, which is nobody's fault
 */
TEST(a_buffer_that_cannot_be_had_is_the_error_that_says_so) {
    const enum file files[] = {GOOD, GOOD};
    for (uint64_t nth = 1; nth <= 2; nth++) {
        rni_reader reader;
        open_line();
        say(2, files, 2, 2);
        rn_testing_fail(RN_FAULT_MAPPING, nth, 1);
        assert_true(host_reads(&reader));
        rn_testing_fail(RN_FAULT_MAPPING, 1, 0);
        rn_value first = rni_take_value(&reader), second = rni_take_value(&reader);
        assert_true(rni_reader_is_done(&reader));
        assert_error_code(nth == 1 ? first : second, RN_NO_MEMORY);
        assert_int_equal(rn_kind(nth == 1 ? second : first), RN_BUFFER);
        rn_drop(first);
        rn_drop(second);
        close_line();
    }
}

TEST(where_no_descriptor_is_to_be_had_all_buffers_of_the_frame_are_that_error) {
    const enum file files[] = {GOOD, GOOD};
    struct rlimit limit, none;
    for (unsigned left = 0; left <= 2; left++) {
        rni_reader reader;
        open_line();
        say(2, files, 2, 2);
        int next = dup(0);
        close(next);
        getrlimit(RLIMIT_NOFILE, &limit);
        none = (struct rlimit){(rlim_t)next + left, limit.rlim_max};
        setrlimit(RLIMIT_NOFILE, &none);
        bool read = host_reads(&reader);
        setrlimit(RLIMIT_NOFILE, &limit);
        assert_true(read);
        for (int i = 0; i < 2; i++) {
            rn_value value = rni_take_value(&reader);
            if (left < 2) assert_error_code(value, RN_NO_MEMORY);
            else assert_int_equal(rn_kind(value), RN_BUFFER);
            rn_drop(value);
        }
        assert_true(rni_reader_is_done(&reader));
        close_line();
    }
}
