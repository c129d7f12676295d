/*
 * Large values over a channel: whatever their length they arrive whole, who waits for the other side waits no longer than
 * it lives, and what is not as it should be is refused.
 */
#include "process/stream.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "line.h"
#include "support.h"
#include "value/value.h"

static struct {
    rni_channel host, worker;
} line;

static void open_line(void) { line_open(&line.host, &line.worker); }
static void close_line(void) { line_close(&line.host, &line.worker); }

static rni_writer *begin(rni_channel *sender) {
    rni_writer_begin(&sender->frame, RNI_ENDED);
    return &sender->frame;
}

static unsigned char byte_at(size_t at) { return (unsigned char)(1 + (at * 31 + at / 4096) % 255); } /* never 0 */

static rn_value pattern(enum rn_kind kind, size_t length) {
    void *bytes;
    rn_value value = rni_bytes_blank(length, &bytes);
    for (size_t at = 0; at < length; at++) ((unsigned char *)bytes)[at] = byte_at(at);
    assert_true(rni_bytes_become(&value, kind));
    return value;
}

static bool is_pattern(rn_value value, enum rn_kind kind, size_t length) {
    if (rn_kind(value) != kind || rn_length(value) != length) return false;
    const char *bytes = kind == RN_TEXT ? rn_as_text(value) : rn_as_bytes(value);
    for (size_t at = 0; at < length; at++)
        if ((unsigned char)bytes[at] != byte_at(at)) return false;
    return bytes[length] == '\0';
}

static bool reads(rni_channel *receiver, rni_reader *reader) {
    uint32_t word;
    while (!rni_channel_has_mail(receiver, &word)) rni_channel_wait(receiver, word, -1);
    return rni_channel_read(receiver, reader) && rni_take_8(reader) == RNI_ENDED;
}

static bool takes_pattern(rni_reader *reader, enum rn_kind kind, size_t length) {
    rn_value value = rni_take_value(reader);
    bool is = is_pattern(value, kind, length);
    rn_drop(value);
    return is;
}

static void *send_in_thread(void *sender) {
    return (void *)(intptr_t)rni_channel_send(sender);
}

static pthread_t start_sending(rni_channel *sender) {
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, send_in_thread, sender), 0);
    return thread;
}

static void assert_sent(pthread_t thread) {
    void *code;
    assert_int_equal(pthread_join(thread, &code), 0);
    assert_int_equal((intptr_t)code, RN_OK);
}

/* ------------------------------------------------------------------------------------------------
 * As it should be
 */
static void go_over(rni_channel *sender, rni_channel *receiver, enum rn_kind kind, size_t length) {
    rni_reader reader;
    rn_value value = pattern(kind, length);
    assert_true(rni_put_value(begin(sender), value));
    rni_put_8(&sender->frame, 77);
    rn_drop(value);
    pthread_t thread = start_sending(sender);
    assert_true(reads(receiver, &reader));
    assert_sent(thread);
    assert_true(takes_pattern(&reader, kind, length));
    assert_int_equal(rni_take_8(&reader), 77);
    assert_true(rni_reader_is_done(&reader));
}

TEST(values_of_any_length_arrive_whole) {
    const size_t lengths[] = {0, 1, RNI_LARGE_BYTES - 1, RNI_LARGE_BYTES, RNI_LARGE_BYTES + 1, RNI_INLINE_BYTES,
                              (size_t)256 * 1024, RNI_RING_BYTES - 1, RNI_RING_BYTES, RNI_RING_BYTES + 1,
                              3 * RNI_RING_BYTES + 17, RNI_VALUE_LARGE, RNI_VALUE_LARGE + 4095};
    open_line();
    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        go_over(&line.host, &line.worker, RN_BYTES, lengths[i]);
        go_over(&line.worker, &line.host, RN_BYTES, lengths[i]);
        go_over(&line.worker, &line.host, RN_TEXT, lengths[i]);
    }
    close_line();
}

TEST(counts_may_overflow) {
    open_line();
    rni_store_relaxed(&line.worker.out->put, UINT64_MAX - 5);
    rni_store_relaxed(&line.host.out->taken, UINT64_MAX - 5);
    for (int i = 0; i < 3; i++) go_over(&line.worker, &line.host, RN_BYTES, 2 * RNI_RING_BYTES + 1);
    close_line();
}

TEST(a_ninth_large_value_is_within_the_frame) {
    rni_reader reader;
    open_line();
    (void)begin(&line.worker);
    for (size_t i = 0; i <= RNI_WIRE_BUFFERS; i++) {
        rn_value value = pattern(i % 2 ? RN_TEXT : RN_BYTES, RNI_LARGE_BYTES + 100000 * i);
        assert_true(rni_put_value(&line.worker.frame, value));
        rn_drop(value);
    }
    assert_int_equal(line.worker.frame.larges.count, RNI_WIRE_BUFFERS);
    pthread_t thread = start_sending(&line.worker);
    assert_true(reads(&line.host, &reader));
    assert_sent(thread);
    for (size_t i = 0; i <= RNI_WIRE_BUFFERS; i++)
        assert_true(takes_pattern(&reader, i % 2 ? RN_TEXT : RN_BYTES, RNI_LARGE_BYTES + 100000 * i));
    assert_true(rni_reader_is_done(&reader));
    close_line();
}

TEST(a_frame_may_be_longer_than_the_mailbox) {
    enum { LONG = 3000000 };
    size_t length;
    rni_reader reader;
    open_line();
    rn_value filler = pattern(RN_BYTES, LONG), value = pattern(RN_TEXT, LONG);
    rni_put_bytes(begin(&line.worker), rn_as_bytes(filler), LONG);
    assert_true(rni_put_value(&line.worker.frame, value));
    pthread_t thread = start_sending(&line.worker);
    assert_true(reads(&line.host, &reader));
    assert_sent(thread);
    const void *bytes = rni_take_bytes(&reader, &length);
    assert_int_equal(length, LONG);
    assert_memory_equal(bytes, rn_as_bytes(filler), LONG);
    assert_true(takes_pattern(&reader, RN_TEXT, LONG));
    assert_true(rni_reader_is_done(&reader));
    assert_int_equal(line.worker.frame.room, 0); /* what was needed for that one is not kept */
    rn_drop(filler);
    rn_drop(value);
    close_line();
}

TEST(a_message_longer_than_any_is_too_large) {
    open_line();
    rn_value value = pattern(RN_BYTES, 200 << 20);
    (void)begin(&line.worker);
    for (int i = 0; i < 6; i++) assert_true(rni_put_value(&line.worker.frame, value));
    assert_int_equal(rni_channel_send(&line.worker), RN_TOO_LARGE);
    rn_drop(value);
    close_line();
}

TEST(a_large_value_lives_until_its_frame_is_sent_or_begun_again) {
    open_line();
    for (int i = 0; i < 3; i++) {
        rn_value value = pattern(RN_BYTES, 100000);
        assert_true(rni_put_value(begin(&line.worker), value));
        rn_drop(value);
    }
    assert_int_equal(rni_channel_send(&line.worker), RN_OK);
    rni_reader reader;
    assert_true(reads(&line.host, &reader));
    assert_true(takes_pattern(&reader, RN_BYTES, 100000));
    close_line();
}

/* ------------------------------------------------------------------------------------------------
 * Want of memory
 */
TEST(a_value_for_which_there_is_no_memory_is_the_error_that_says_so) {
    for (uint64_t nth = 1; nth <= 3; nth++) {
        rni_reader reader;
        open_line();
        (void)begin(&line.worker);
        for (size_t i = 0; i < 3; i++) {
            rn_value value = pattern(RN_TEXT, 100000 + i);
            assert_true(rni_put_value(&line.worker.frame, value));
            rn_drop(value);
        }
        assert_int_equal(rni_channel_send(&line.worker), RN_OK);
        rn_testing_fail(RN_FAULT_ALLOCATION, nth, 1);
        assert_true(reads(&line.host, &reader));
        rn_testing_fail(RN_FAULT_ALLOCATION, 1, 0);
        for (size_t i = 0; i < 3; i++) {
            rn_value value = rni_take_value(&reader);
            if (i + 1 == nth) assert_error_code(value, RN_NO_MEMORY);
            else assert_true(is_pattern(value, RN_TEXT, 100000 + i));
            rn_drop(value);
        }
        assert_true(rni_reader_is_done(&reader));
        close_line();
    }
}

/* ------------------------------------------------------------------------------------------------
 * The other side dies, or does what it must not
 */
static void announce_half(size_t there) {
    rn_value value = pattern(RN_BYTES, 100000);
    assert_true(rni_put_value(begin(&line.worker), value));
    rn_drop(value);
    assert_int_equal(rni_channel_send(&line.worker), RN_OK);
    rni_store_relaxed(&line.worker.out->put, there);
}

TEST(a_worker_that_dies_within_a_message_has_died_before_it) {
    const size_t there[] = {0, 1, 99999};
    for (size_t i = 0; i < COUNT_OF(there); i++) {
        rni_reader reader;
        open_line();
        announce_half(there[i]);
        rni_store_release(&line.host.is_gone, 1); /* pairs with stream.c */
        assert_false(reads(&line.host, &reader));
        assert_true(line.host.is_cut);
        close_line();
    }
}

static void *die_later(void *unused) {
    (void)unused;
    while (rni_load_relaxed(&line.host.out->taken) == 0) usleep(100);
    rni_store_release(&line.host.is_gone, 1); /* as the watcher */
    rni_channel_nudge(&line.host);
    return NULL;
}

TEST(its_death_wakes_who_waits_for_the_rest) {
    pthread_t thread;
    rni_reader reader;
    open_line();
    announce_half(50000);
    assert_int_equal(pthread_create(&thread, NULL, die_later, NULL), 0);
    assert_false(reads(&line.host, &reader));
    assert_true(line.host.is_cut);
    pthread_join(thread, NULL);
    close_line();
}

TEST(what_a_dead_worker_has_said_to_the_end_counts) {
    rni_reader reader;
    open_line();
    announce_half(100000);
    rni_store_release(&line.host.is_gone, 1); /* pairs with stream.c */
    assert_true(reads(&line.host, &reader));
    assert_true(takes_pattern(&reader, RN_BYTES, 100000));
    close_line();
}

static void put_more_than_the_ring(void) {
    rn_value value = pattern(RN_BYTES, 2 * RNI_RING_BYTES);
    assert_true(rni_put_value(begin(&line.host), value));
    rn_drop(value);
}

TEST(nobody_waits_for_a_dead_worker_to_read) {
    open_line();
    put_more_than_the_ring();
    rni_store_release(&line.host.is_gone, 1); /* pairs with stream.c */
    assert_int_equal(rni_channel_send(&line.host), RN_OK);
    close_line();
}

TEST(nor_for_one_that_speaks_instead) {
    open_line();
    put_more_than_the_ring();
    (void)begin(&line.worker);
    assert_int_equal(rni_channel_send(&line.worker), RN_OK);
    assert_int_equal(rni_channel_send(&line.host), RN_OK);
    close_line();
}

TEST(a_worker_that_says_it_took_what_was_not_there_is_waited_for) {
    open_line();
    put_more_than_the_ring();
    rni_store_relaxed(&line.worker.out->taken, UINT64_MAX / 2);
    pthread_t thread = start_sending(&line.host);
    rni_store_release(&line.host.is_gone, 1); /* as the watcher */
    rni_channel_nudge(&line.host);
    assert_sent(thread);
    close_line();
}

TEST(a_worker_that_does_not_move_within_a_message_is_given_up) {
    rni_reader reader;
    open_line();
    line.host.patience = 1;
    announce_half(50000);
    assert_false(reads(&line.host, &reader));
    assert_false(line.host.is_cut);
    close_line();
}

TEST(one_that_takes_nothing_is_told_what_it_must_refuse) {
    rni_reader reader;
    open_line();
    line.host.patience = 1;
    put_more_than_the_ring();
    assert_int_equal(rni_channel_send(&line.host), RN_OK);
    assert_false(reads(&line.worker, &reader));
    close_line();
}

TEST(counts_that_cannot_be_are_refused) {
    const uint64_t put[] = {UINT64_MAX, RNI_RING_BYTES + 1, UINT64_MAX / 2};
    for (size_t i = 0; i < COUNT_OF(put); i++) {
        rni_reader reader;
        open_line();
        announce_half(put[i]);
        assert_false(reads(&line.host, &reader));
        assert_false(line.host.is_cut);
        close_line();
    }
}

/* ------------------------------------------------------------------------------------------------
 * What a frame says of what is beside it
 */
static rn_value value_beside(unsigned kind, uint32_t number, uint64_t length, const char *bytes, size_t count, bool *failed) {
    unsigned char text[13] = {(unsigned char)(RNI_BESIDE | kind)};
    for (unsigned i = 0; i < 4; i++) text[1 + i] = (unsigned char)(number >> (8 * i));
    for (unsigned i = 0; i < 8; i++) text[5 + i] = (unsigned char)(length >> (8 * i));
    rni_wire_buffers larges = {.values = {rn_bytes(bytes, count)}, .count = 1};
    rni_reader reader = {text, text + sizeof text, false, NULL, &larges};
    rn_value value = rni_take_value(&reader);
    *failed = !rni_reader_is_done(&reader);
    rni_wire_drop_buffers(&larges);
    return value;
}

static void assert_beside(bool good, unsigned kind, uint32_t number, uint64_t length, const char *bytes, size_t count) {
    bool failed;
    rn_value value = value_beside(kind, number, length, bytes, count, &failed);
    assert_int_equal(failed, !good);
    assert_int_equal(rn_kind(value), good ? kind : (unsigned)RN_NONE);
    rn_drop(value);
}

TEST(what_is_beside_a_frame_is_what_the_frame_says) {
    assert_beside(true, RN_BYTES, 0, 5, "by\0es", 5);
    assert_beside(true, RN_TEXT, 0, 5, "bytes", 5);
    assert_beside(true, RN_TEXT, 0, 0, "", 0);
    assert_beside(false, RN_TEXT, 0, 5, "by\0es", 5);
    assert_beside(false, RN_BYTES, 0, 4, "bytes", 5);
    assert_beside(false, RN_BYTES, 0, UINT64_C(1) << 32 | 5, "bytes", 5);
    assert_beside(false, RN_BYTES, 1, 5, "bytes", 5);
    assert_beside(false, RN_BYTES, UINT32_MAX, 5, "bytes", 5);
    for (unsigned kind = 0; kind <= 0xff; kind++)
        if (!(kind & RNI_BESIDE) && kind != RN_BYTES && kind != RN_TEXT) assert_beside(false, kind, 0, 5, "bytes", 5);
}

TEST(nothing_is_taken_from_a_frame_that_has_failed_or_ended_nor_from_beside_it_when_all_was_taken) {
    const unsigned char text[13] = {RNI_BESIDE | RN_BYTES};
    rni_wire_buffers larges = {.count = 0};
    rni_reader readers[] = {{text, text + sizeof text, true, NULL, &larges},
                            {text, text, false, NULL, &larges},
                            {text, text + sizeof text, false, NULL, &larges}};
    for (size_t i = 0; i < COUNT_OF(readers); i++) {
        assert_true(rn_is_none(rni_take_value(&readers[i])));
        assert_true(readers[i].failed);
    }
}

TEST(where_nothing_is_beside_nothing_is_taken) {
    const unsigned char text[13] = {RNI_BESIDE | RN_BYTES};
    rni_reader reader = {text, text + sizeof text, false, NULL, NULL};
    assert_true(rn_is_none(rni_take_value(&reader)));
    assert_true(reader.failed);
    for (size_t length = 1; length < sizeof text; length++) {
        rni_wire_buffers larges = {.values = {rn_bytes("", 0)}, .count = 1};
        reader = (rni_reader){text, text + length, false, NULL, &larges};
        assert_true(rn_is_none(rni_take_value(&reader)));
        assert_true(reader.failed);
        rni_wire_drop_buffers(&larges);
    }
}
