/*
 * Structs that may grow at their end: every size, and everything that may stand behind what is known.
 */
#include "core/grown.h"

#include <string.h>

#include "support.h"

struct known {
    size_t size;
    unsigned char bytes[24];
};

struct longer {
    struct known known;
    unsigned char more[40];
};

static const rni_grown rule = {"rn_known", offsetof(struct known, bytes) + 8, sizeof(struct known)};

static struct longer filled(size_t size) {
    struct longer longer;
    memset(&longer, 0, sizeof longer);
    longer.known.size = size;
    memset(longer.known.bytes, 7, sizeof longer.known.bytes);
    return longer;
}

TEST(what_is_given_is_read_and_the_rest_is_zero) {
    for (size_t size = rule.least; size <= sizeof(struct longer); size++) {
        struct longer given = filled(size);
        struct known whole;
        memset(&whole, 0xaa, sizeof whole);
        assert_true(rn_is_none(rni_grown_read(&rule, &given, &whole)));
        assert_int_equal(whole.size, size);
        for (size_t i = 0; i < sizeof whole.bytes; i++)
            assert_int_equal(whole.bytes[i], offsetof(struct known, bytes) + i < size ? 7 : 0);
    }
}

TEST(any_byte_beyond_what_is_known_is_refused) {
    struct longer given = filled(sizeof given);
    struct known whole;
    for (size_t i = 0; i < sizeof given.more; i++) {
        given.more[i] = 1;
        assert_fails(rni_grown_read(&rule, &given, &whole), RN_INVALID,
                     "rn_known.size is 72 and something is set beyond the 32 bytes that this version knows");
        given.known.size = sizeof given.known + i;
        assert_true(rn_is_none(rni_grown_read(&rule, &given, &whole))); /* it ends before */
        given.known.size = sizeof given;
        given.more[i] = 0;
    }
}

TEST(what_is_no_size_is_refused_before_anything_is_read) {
    const size_t sizes[] = {0, 1, rule.least - 1, rule.known + 65537, SIZE_MAX};
    struct longer given = filled(0);
    struct known whole;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        given.known.size = sizes[i];
        memset(&whole, 0xaa, sizeof whole);
        assert_fails(rni_grown_read(&rule, &given, &whole), RN_INVALID,
                     "accepted is sizeof(rn_known), 32 here, and from 16 to 65568");
        assert_int_equal(whole.size, UINT64_C(0xaaaaaaaaaaaaaaaa));
        assert_fails(rni_grown_write(&rule, &whole, &given), RN_INVALID, "rn_known.size is ");
        assert_int_equal(given.known.bytes[0], 7);
    }
}

TEST(as_much_as_there_is_room_for_is_written) {
    struct known whole;
    memset(&whole, 9, sizeof whole);
    for (size_t size = rule.least; size < sizeof(struct longer); size++) {
        struct longer given;
        memset(&given, 0xaa, sizeof given);
        given.known.size = size;
        assert_true(rn_is_none(rni_grown_write(&rule, &whole, &given)));
        assert_int_equal(given.known.size, size);
        const unsigned char *bytes = (const unsigned char *)&given;
        for (size_t i = sizeof(size_t); i < sizeof given; i++)
            assert_int_equal(bytes[i], i >= size ? 0xaa : i < sizeof whole ? 9 : 0);
    }
}
