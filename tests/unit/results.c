/*
 * What a worker says of its batch: marks and results, as they are written and as they may be.
 */
#include "process/results.h"

#include <stdlib.h>
#include <string.h>

#include "process/batch.h"
#include "process/channel.h"
#include "support.h"
#include "value/value.h"
#include "value/wire.h"

/* ---- marks ---- */

TEST(a_mark_counts_the_runs_of_its_message) {
    static const uint32_t messages[] = {0, 1, INT32_MAX, UINT32_MAX};
    for (size_t i = 0; i < COUNT_OF(messages); i++) {
        for (uint32_t place = 0; place <= RNI_BATCH_MOST; place++) {
            assert_int_equal(rni_results_place(rni_batch_mark(messages[i], place), messages[i]), place);
            assert_int_equal(rni_results_place(rni_batch_mark(messages[i], place | RNI_TALKS), messages[i]), place);
            assert_int_equal(rni_results_place(rni_batch_mark(messages[i] + 1, place), messages[i]), 0);
        }
    }
}

TEST(a_mark_beyond_every_batch_is_refused) {
    static const uint32_t bad[] = {RNI_BATCH_MOST + 1, INT32_MAX, RNI_TALKS | (RNI_BATCH_MOST + 1), UINT32_MAX};
    for (size_t i = 0; i < COUNT_OF(bad); i++) assert_int_equal(rni_results_place(rni_batch_mark(7, bad[i]), 7), UINT32_MAX);
}

/* ---- results ---- */

/* Of exactly its size, so that a sanitizer sees one byte too many. */
static unsigned char *blank(void) {
    unsigned char *results = calloc(1, RNI_RESULTS_BYTES);
    assert_non_null(results);
    return results;
}

static size_t put(unsigned char *results, size_t at, rn_value value) {
    uint32_t size = (uint32_t)rni_wire_write(value, results + at + sizeof size);
    memcpy(results + at, &size, sizeof size);
    return at + sizeof size + size;
}

TEST(results_come_back_one_behind_the_other) {
    unsigned char *results = blank();
    size_t end = 0, at = 0;
    rn_value value;
    for (int64_t i = 0; i < 100; i++) end = put(results, end, rn_int(i));
    for (int64_t i = 0; i < 100; i++) {
        assert_true(rni_results_take(results, &at, &value));
        assert_int_equal(rn_as_int(value), i);
    }
    assert_int_equal(at, end);
    free(results);
}

TEST(a_result_may_end_where_the_room_ends) {
    unsigned char *results = blank();
    size_t at = RNI_RESULTS_BYTES - sizeof(uint32_t) - rni_wire_size(rn_int(7));
    rn_value value;
    assert_int_equal(put(results, at, rn_int(7)), RNI_RESULTS_BYTES);
    assert_true(rni_results_take(results, &at, &value));
    assert_int_equal(rn_as_int(value), 7);
    for (size_t left = 0; left < sizeof(uint32_t); left++) {
        at = RNI_RESULTS_BYTES - left;
        assert_false(rni_results_take(results, &at, &value));
    }
    free(results);
}

/* A length that is not that of the value behind it. */
static bool takes_length(size_t at, uint32_t size) {
    unsigned char *results = blank();
    rn_value value;
    rn_value text = rn_text("a text that is on the heap, so that a sanitizer sees it if it is lost");
    memset(results, RN_NONE, RNI_RESULTS_BYTES);
    if (at < 100) (void)put(results, at, text);
    memcpy(results + at, &size, sizeof size);
    bool takes = rni_results_take(results, &at, &value);
    if (takes) rn_drop(value);
    rn_drop(text);
    free(results);
    return takes;
}

TEST(a_length_that_cannot_be_is_refused) {
    static const uint32_t bad[] = {0, RNI_BATCH_VALUE + 17, RNI_RESULTS_BYTES, UINT32_C(1) << 31, UINT32_MAX, UINT32_MAX - 3};
    rn_value text = rn_text("a text that is on the heap, so that a sanitizer sees it if it is lost");
    uint32_t good = (uint32_t)rni_wire_size(text);
    rn_drop(text);
    assert_true(takes_length(0, good));
    for (uint32_t size = 0; size < RNI_BATCH_VALUE; size++) assert_int_equal(takes_length(0, size), size == good);
    for (size_t i = 0; i < COUNT_OF(bad); i++) assert_false(takes_length(0, bad[i]));
    size_t near_end = RNI_RESULTS_BYTES - sizeof(uint32_t) - 1;
    assert_true(takes_length(near_end, 1)); /* of a none */
    assert_false(takes_length(near_end, 2));
}

TEST(bytes_that_are_no_value_are_refused) {
    unsigned char *results = blank();
    uint32_t size = 1;
    for (unsigned kind = 0; kind <= 0xff; kind++) {
        size_t at = 0;
        rn_value value;
        memcpy(results, &size, sizeof size);
        results[sizeof size] = (unsigned char)kind;
        assert_int_equal(rni_results_take(results, &at, &value), kind == RN_NONE);
    }
    free(results);
}
