/*
 * Values as bytes: there and back (X4), and every length at its borders (X5).
 */
#include "value/wire.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "support.h"
#include "value/value.h"
#include "wire_bytes.h"

/* An error up to its cause, whose length is to follow. */
static void add_head(struct frame *frame, const char *message) {
    add_number(frame, RN_ERROR, 1);
    add_number(frame, 5, 4);
    add_number(frame, 77, 4);
    add_number(frame, 3, 8);
    add_text(frame, message);
    add_text(frame, "file.c");
    add_text(frame, "task");
    add_text(frame, "on_iter");
}

static void set_number(struct frame *frame, size_t at, uint64_t number) {
    size_t length = frame->length;
    frame->length = at;
    add_number(frame, number, 4);
    frame->length = length;
}

/* ------------------------------------------------------------------------------------------------
 * There and back
 */
static bool same(rn_value a, rn_value b) {
    if (rn_kind(a) != rn_kind(b)) return false;
    switch (rn_kind(a)) {
    case RN_TEXT:
        return rn_length(a) == rn_length(b) && strcmp(rn_as_text(a), rn_as_text(b)) == 0;
    case RN_BYTES:
        return rn_length(a) == rn_length(b) && memcmp(rn_as_bytes(a), rn_as_bytes(b), rn_length(a)) == 0;
    case RN_ERROR:
        return rn_error_code(a) == rn_error_code(b) && rn_error_line(a) == rn_error_line(b) &&
               rn_error_iteration(a) == rn_error_iteration(b) &&
               strcmp(rn_error_message(a), rn_error_message(b)) == 0 &&
               strcmp(rn_error_file(a), rn_error_file(b)) == 0 && strcmp(rn_error_task(a), rn_error_task(b)) == 0 &&
               strcmp(rn_error_hook(a), rn_error_hook(b)) == 0 && same(rn_error_cause(a), rn_error_cause(b)) &&
               same(rn_error_detail(a), rn_error_detail(b));
    default:
        return a.bits == b.bits;
    }
}

/* Takes the value. It fills the bytes exactly, fewer bytes are none, and more are left alone. */
static void check_travels(rn_value value) {
    size_t size = rni_wire_size(value), used;
    assert_true(size < SIZE_MAX);
    unsigned char *bytes = malloc(size + 2);
    memset(bytes, 0xa5, size + 2);
    assert_int_equal(rni_wire_write(value, bytes), size);
    assert_true(bytes[size] == 0xa5 && bytes[size + 1] == 0xa5);
    rn_value back;
    assert_true(rni_wire_read(bytes, size + 2, &back, &used));
    assert_int_equal(used, size);
    assert_true(same(value, back));
    rn_drop(back);
    assert_false(rni_wire_read(bytes, size - 1, &back, &used));
    assert_true(rn_is_none(back));
    free(bytes);
    rn_drop(value);
}

static void random_bytes(uint64_t *seed, char *text, size_t length, unsigned least) {
    for (size_t i = 0; i < length; i++) text[i] = (char)(least + random_below(seed, 256 - least));
    text[length] = '\0';
}

static rn_value random_value(uint64_t *seed, unsigned nest);

static rn_value random_error(uint64_t *seed, unsigned nest) {
    static const char *const hooks[] = {"", "on_iter", "on_success", "on_error", "on_finished"};
    rn_value error = rn_none();
    for (uint64_t depth = 1 + random_below(seed, random_below(seed, 8) ? 3 : RNI_WIRE_DEPTH); depth > 0; depth--) {
        char message[128], file[128], task[RN_NAME_MAX + 1];
        random_bytes(seed, message, random_below(seed, sizeof message), 1);
        random_bytes(seed, file, random_below(seed, sizeof file), 1);
        random_bytes(seed, task, random_below(seed, sizeof task), 1);
        error = rn_error_because_at(file, (int)(uint32_t)next_random(seed), error, (int)(uint32_t)next_random(seed) | 1,
                                    "%s", message);
        if (random_below(seed, 2) && task[0])
            error = rni_error_stamp(error, task, hooks[random_below(seed, COUNT_OF(hooks))], next_random(seed));
        if (nest < RNI_WIRE_NEST && random_below(seed, 4) == 0) error = rn_error_with(error, random_value(seed, nest + 1));
    }
    return error;
}

static rn_value random_value(uint64_t *seed, unsigned nest) {
    char text[300];
    size_t length = random_below(seed, sizeof text);
    switch (random_below(seed, 8)) {
    case 0:
        return rn_none();
    case 1:
        return rn_bool(random_below(seed, 2));
    case 2:
        return rn_int((int64_t)next_random(seed) >> random_below(seed, 64));
    case 3:
        return (rn_value){.kind = RN_FLOAT, .aux = 0, .bits = next_random(seed)}; /* odd NaNs too */
    case 4:
        random_bytes(seed, text, length, 1);
        return rn_text(text);
    case 5:
        random_bytes(seed, text, length, 0);
        return rn_bytes(text, length);
    case 6:
        return rn_literal("a literal");
    default:
        return random_error(seed, nest);
    }
}

TEST(random_values_come_back_as_they_were) {
    uint64_t seed = random_seed();
    long count = UNDER_SANITIZER ? 100000 : 1000000;
    for (long i = 0; i < count; i++) check_travels(random_value(&seed, 0));
}

TEST(borders_of_numbers_come_back) {
    const int64_t numbers[] = {0, 1, -1, INT64_MAX, INT64_MIN, 255, 256, -256, INT64_C(1) << 32};
    for (size_t i = 0; i < COUNT_OF(numbers); i++) check_travels(rn_int(numbers[i]));
    const int parts[] = {1, -1, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < COUNT_OF(parts); i++) check_travels(rn_error_at("f", parts[i], parts[i], "m"));
    const double floats[] = {0.0, -0.0, 1e308, -1e-308};
    for (size_t i = 0; i < COUNT_OF(floats); i++) check_travels(rn_float(floats[i]));
    check_travels(rn_text(""));
    check_travels(rn_bytes(NULL, 0));
}

TEST(errors_that_need_no_memory_come_back) {
    rn_value (*const errors[])(void) = {rni_error_no_memory, rni_error_timed_out, rni_error_forked,
                                        rni_error_cancelled, rni_error_closed};
    for (size_t i = 0; i < COUNT_OF(errors); i++) check_travels(errors[i]());
}

/* What other builds and capsules rely on. */
TEST(the_bytes_are_those_of_the_contract) {
    struct frame frame = {.length = 0};
    struct frame inner = {.length = 0};
    add_head(&inner, "below");
    add_number(&inner, 1, 4);
    add_number(&inner, RN_NONE, 1);
    add_head(&frame, "above");
    add_number(&frame, inner.length, 4);
    add(&frame, inner.bytes, inner.length);

    rn_value error = rn_none();
    for (int i = 0; i < 2; i++) {
        error = rn_error_because_at("file.c", 77, error, 5, "%s", i == 0 ? "below" : "above");
        error = rni_error_stamp(error, "task", "on_iter", 3);
    }
    unsigned char bytes[4096];
    assert_int_equal(rni_wire_write(error, bytes), frame.length);
    assert_memory_equal(bytes, frame.bytes, frame.length);
    rn_drop(error);

    const struct {
        rn_value value;
        const char *bytes;
        size_t length;
    } plain[] = {
        {rn_none(), "\0", 1},
        {rn_bool(true), "\1\1", 2},
        {rn_int(-2), "\2\xfe\xff\xff\xff\xff\xff\xff\xff", 9},
        {rn_float(1.0), "\3\0\0\0\0\0\0\xf0\x3f", 9},
        {rn_literal("ab"), "\4\2\0\0\0ab", 7},
        {rn_bytes("\0b", 2), "\5\2\0\0\0\0b", 7},
    };
    for (size_t i = 0; i < COUNT_OF(plain); i++) {
        assert_int_equal(rni_wire_write(plain[i].value, bytes), plain[i].length);
        assert_memory_equal(bytes, plain[i].bytes, plain[i].length);
        rn_drop(plain[i].value);
    }
}

/* ------------------------------------------------------------------------------------------------
 * What does not travel
 */
static void ignore(void *pointer) { (void)pointer; }

TEST(a_pointer_does_not_travel) {
    unsigned char bytes[64];
    rn_value owned = rn_pointer_owned(bytes, ignore);
    assert_true(rni_wire_size(rn_pointer(bytes)) == SIZE_MAX);
    assert_true(rni_wire_size(owned) == SIZE_MAX);
    assert_true(rni_wire_write(rn_pointer(NULL), bytes) == SIZE_MAX);
    rn_drop(owned);
}

static uint32_t depth_of(rn_value error) {
    uint32_t depth = 0;
    for (; rn_is_error(error); error = rn_error_cause(error)) depth++;
    return depth;
}

static rn_value error_of_depth(uint32_t depth) {
    rn_value error = rn_none();
    for (uint32_t i = 0; i < depth; i++) error = rn_error_because(error, (int)(i + 1), "x");
    return error;
}

static rn_value copy_of(rn_value value) {
    size_t size = rni_wire_size(value), used;
    unsigned char *bytes = malloc(size);
    rni_wire_write(value, bytes);
    rn_value copy;
    assert_true(rni_wire_read(bytes, size, &copy, &used));
    free(bytes);
    return copy;
}

TEST(of_a_long_chain_of_causes_the_rest_is_left_out) {
    const uint32_t depths[] = {1, 2, RNI_WIRE_DEPTH - 1, RNI_WIRE_DEPTH, RNI_WIRE_DEPTH + 1, 1000};
    for (size_t i = 0; i < COUNT_OF(depths); i++) {
        rn_value error = error_of_depth(depths[i]), copy = copy_of(error);
        assert_int_equal(depth_of(copy), depths[i] < RNI_WIRE_DEPTH ? depths[i] : RNI_WIRE_DEPTH);
        assert_int_equal(rn_error_code(copy), depths[i]);
        rn_drop(copy);
        rn_drop(error);
    }
}

TEST(a_cause_that_is_no_error_is_left_out) {
    rn_value error = rn_error_because(rn_pointer(&error), 2, "above"), copy = copy_of(error);
    assert_true(rn_is_none(rn_error_cause(copy)));
    rn_drop(copy);
    rn_drop(error);
}

/* A text that needs few pages: the same 2 MiB, mapped again and again. */
static char *huge_text(size_t size) {
    const size_t step = (size_t)2 << 20;
    char *text = mmap(NULL, size + step, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    int file = memfd_create("huge", MFD_CLOEXEC);
    assert_true(text != MAP_FAILED && ftruncate(file, (off_t)step) == 0);
    for (size_t at = 0; at < size; at += step)
        assert_true(mmap(text + at, step, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0) == text + at);
    memset(text, 'x', step);
    assert_true(mmap(text + size, step, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == text + size);
    close(file);
    return text;
}

/* Two texts of 2 GiB do not fit under one length field of 4 bytes; each alone does. */
TEST(a_cause_of_more_than_4_gib_is_left_out) {
    if (sizeof(size_t) < 8) skip();
    size_t size = (size_t)1 << 31;
    char *text = huge_text(size);
    rn_value outer = error_of_depth(3);
    struct rni_error *error = rni_value_pointer(rn_error_cause(outer));
    struct rni_error *ends[] = {rni_value_pointer(outer), error, rni_value_pointer(error->cause)};
    for (size_t i = 0; i < COUNT_OF(ends); i++) ends[i]->message = ends[i]->file = "";
    size_t head = 1 + 4 + 4 + 8 + 4 * 4 + 4;
    assert_int_equal(rni_wire_size(outer), 3 * head + 1);
    error->message = text;
    assert_int_equal(rni_wire_size(outer), 3 * head + 1 + size);
    error->file = text + 2 * head + 2; /* one byte less than 4 GiB, with the innermost */
    assert_int_equal(rni_wire_size(outer), head + UINT32_MAX);
    error->file = text + 2 * head + 1;
    assert_int_equal(rni_wire_size(outer), head + 1);
    rn_drop(outer);
    munmap(text, size + ((size_t)2 << 20));
}

/* ------------------------------------------------------------------------------------------------
 * What is no value
 */
TEST(an_unknown_kind_is_refused) {
    for (unsigned kind = 0; kind < 256; kind++) {
        struct frame frame = {.length = 0};
        add_number(&frame, kind, 1);
        add_number(&frame, 0, 8);
        bool known = kind <= RN_BYTES;
        assert_int_equal(is_refused(&frame), !known);
    }
    assert_true(is_refused(&(struct frame){.length = 0}));
}

TEST(a_bool_is_0_or_1) {
    for (unsigned number = 0; number < 256; number++) {
        struct frame frame = {.bytes = {RN_BOOL, (unsigned char)number}, .length = 2};
        assert_int_equal(is_refused(&frame), number > 1);
    }
}

TEST(a_text_with_a_nul_is_refused) {
    for (size_t at = 0; at < 4; at++) {
        struct frame frame = {.bytes = {RN_TEXT, 4, 0, 0, 0, 'a', 'b', 'c', 'd'}, .length = 9};
        frame.bytes[5 + at] = 0;
        assert_true(is_refused(&frame));
        frame.bytes[0] = RN_BYTES;
        assert_false(is_refused(&frame));
    }
}

/* An error that travelled, with where each of its fields begins. */
enum { CODE = 1 };
static const struct {
    size_t at, length;
} texts[] = {{17, 5}, {26, 6}, {36, 4}, {44, 7}};

static struct frame an_error(void) {
    struct frame frame = {.length = 0};
    add_head(&frame, "above");
    add_number(&frame, 1, 4);
    add_number(&frame, RN_NONE, 1);
    return frame;
}

TEST(an_error_with_a_nul_in_a_text_is_refused) {
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        for (size_t at = 0; at < texts[i].length; at++) {
            struct frame frame = an_error();
            assert_false(is_refused(&frame));
            frame.bytes[texts[i].at + 4 + at] = 0;
            assert_true(is_refused(&frame));
        }
}

TEST(an_error_with_the_code_0_is_refused) {
    struct frame frame = an_error();
    set_number(&frame, CODE, 0);
    assert_true(is_refused(&frame));
}

TEST(a_task_name_has_its_limit) {
    for (unsigned length = RN_NAME_MAX - 1; length <= RN_NAME_MAX + 1; length++) {
        char name[100] = "";
        memset(name, 'n', length);
        struct frame frame = {.length = 0};
        add(&frame, an_error().bytes, 36);
        add_text(&frame, name);
        add_text(&frame, "");
        add_number(&frame, 1, 4);
        add_number(&frame, RN_NONE, 1);
        assert_int_equal(is_refused(&frame), length > RN_NAME_MAX);
    }
}

/* A frame of so many errors, each the cause of the one before it; the innermost has `last` as its cause. */
static struct frame chain(uint32_t depth, const void *last, size_t last_length) {
    struct frame inner = {.length = 0};
    add(&inner, last, last_length);
    for (uint32_t i = 0; i < depth; i++) {
        struct frame outer = {.length = 0};
        add_head(&outer, "m");
        add_number(&outer, inner.length, 4);
        add(&outer, inner.bytes, inner.length);
        inner = outer;
    }
    return inner;
}

TEST(errors_that_nest_too_deep_are_refused) {
    for (uint32_t depth = 1; depth <= RNI_WIRE_DEPTH + 2; depth++) {
        struct frame frame = chain(depth, "\0", 1);
        assert_int_equal(is_refused(&frame), depth > RNI_WIRE_DEPTH);
    }
}

TEST(a_cause_is_an_error_or_none_and_nothing_behind_it) {
    const struct {
        const char *bytes;
        size_t length;
    } odd[] = {{"", 0}, {"\0\0", 2}, {"\1\1", 2}, {"\4\0\0\0\0", 5}, {"\7", 1}, {"\6", 1}, {"\xff", 1}};
    for (uint32_t depth = 1; depth <= 3; depth++)
        for (size_t i = 0; i < COUNT_OF(odd); i++) {
            struct frame frame = chain(depth, odd[i].bytes, odd[i].length);
            assert_true(is_refused(&frame));
        }
    /* Garbage behind an error that is a cause. */
    struct frame inner = chain(1, "\0", 1), outer = {.length = 0};
    add_head(&outer, "m");
    add_number(&outer, inner.length + 1, 4);
    add(&outer, inner.bytes, inner.length);
    add_number(&outer, 0, 1);
    assert_true(is_refused(&outer));
}

TEST(every_shorter_frame_is_refused) {
    struct frame frames[] = {chain(3, "\0", 1),
                             {.bytes = {RN_TEXT, 2, 0, 0, 0, 'a', 'b'}, .length = 7},
                             {.bytes = {RN_BYTES, 2, 0, 0, 0, 'a', 'b'}, .length = 7},
                             {.bytes = {RN_INT}, .length = 9},
                             {.bytes = {RN_FLOAT}, .length = 9},
                             {.bytes = {RN_BOOL}, .length = 2}};
    for (size_t i = 0; i < COUNT_OF(frames); i++) {
        assert_false(is_refused(&frames[i]));
        while (frames[i].length-- > 0) assert_true(is_refused(&frames[i]));
    }
}

TEST(what_follows_a_value_is_left_alone) {
    struct frame frame = chain(2, "\0", 1);
    size_t length = frame.length, used;
    add_number(&frame, UINT64_MAX, 8);
    rn_value value;
    assert_true(reads(&frame, &value, &used));
    assert_int_equal(used, length);
    rn_drop(value);
}

/* ------------------------------------------------------------------------------------------------
 * X5: each length at its borders. A length field stands before `there` bytes of 'x', which end the frame, or which a
 * valid rest follows. A length is accepted if the frame is a value when it is taken at its word.
 */
static const uint64_t lengths[] = {0, 1, 14, 15, 16, UINT64_C(1) << 31, UINT32_MAX};

TEST(a_length_is_at_most_what_is_left) {
    for (unsigned kind = RN_TEXT; kind <= RN_BYTES; kind++)
        for (size_t i = 0; i < COUNT_OF(lengths); i++) {
            struct frame frame = {.length = 0};
            add_number(&frame, kind, 1);
            add_number(&frame, lengths[i], 4);
            add(&frame, "xxxxxxxxxxxxxxx", 15);
            rn_value value;
            size_t used;
            assert_int_equal(reads(&frame, &value, &used), lengths[i] <= 15);
            if (lengths[i] > 15) continue;
            assert_int_equal(rn_length(value), lengths[i]);
            assert_int_equal(used, 5 + lengths[i]);
            rn_drop(value);
        }
}

/* One of the five length fields of an error says `length`, and what stands behind it has that length, or max bytes. */
static struct frame error_with(size_t field, uint64_t length, size_t max) {
    struct frame frame = {.length = 0};
    add_number(&frame, RN_ERROR, 1);
    add_number(&frame, 5, 4);
    add_number(&frame, 77, 4);
    add_number(&frame, 3, 8);
    for (size_t i = 0; i < 4; i++) {
        add_number(&frame, i == field ? length : 1, 4);
        size_t there = i == field ? (length < max ? (size_t)length : max) : 1;
        for (size_t k = 0; k < there; k++) add_number(&frame, 'x', 1);
        if (i == field && length >= max) return frame; /* the frame ends within or behind this text */
    }
    add_number(&frame, field == 4 ? length : 1, 4);
    add_number(&frame, RN_NONE, 1);
    return frame;
}

TEST(each_length_of_an_error_is_exact_or_refused) {
    for (size_t field = 0; field < 5; field++)
        for (size_t i = 0; i < COUNT_OF(lengths); i++) {
            struct frame frame = error_with(field, lengths[i], 15);
            /* A cause of none takes 1 byte, neither less nor more. */
            bool accepted = field == 4 ? lengths[i] == 1 : lengths[i] < 15;
            assert_int_equal(is_refused(&frame), !accepted);
        }
}

/* Its allocation would succeed on many machines: what counts is that the length is checked first. */
TEST(no_length_is_believed_before_it_is_checked) {
    for (size_t field = 0; field < 5; field++) {
        struct frame frame = error_with(field, UINT32_MAX, 15);
        rn_testing_fail(RN_FAULT_ALLOCATION, 1, 0);
        assert_true(is_refused(&frame));
        assert_int_equal(rn_testing_reached(RN_FAULT_ALLOCATION), 0);
    }
}

TEST(the_longest_bytes_are_read) {
    if (sizeof(size_t) < 8) skip();
    size_t size = 5 + (size_t)UINT32_MAX, used;
    unsigned char *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(bytes != MAP_FAILED);
    memcpy(bytes, "\5\xff\xff\xff\xff", 5);
    rn_value value;
    assert_false(rni_wire_read(bytes, size - 1, &value, &used));
    rn_testing_fail(RN_FAULT_ALLOCATION, 1, 1); /* a copy would take 4 GiB of this machine */
    assert_true(rni_wire_read(bytes, size, &value, &used));
    assert_error_code(value, RN_NO_MEMORY);
    assert_int_equal(used, size);
    munmap(bytes, size);
}

/* ------------------------------------------------------------------------------------------------
 * Want of memory, and bytes that move
 */
TEST(without_memory_the_value_says_so) {
    struct frame frames[] = {chain(4, "\0", 1), {.bytes = {RN_TEXT, 1, 0, 0, 0, 'a'}, .length = 6},
                             {.bytes = {RN_BYTES, 1, 0, 0, 0, 'a'}, .length = 6}};
    const uint64_t allocations[] = {4, 1, 1};
    for (size_t i = 0; i < COUNT_OF(frames); i++)
        for (uint64_t refused = 1; refused <= allocations[i]; refused++) {
            rn_value value;
            size_t used, held = rn_testing_held(RN_FAULT_ALLOCATION);
            rn_testing_fail(RN_FAULT_ALLOCATION, refused, 1);
            assert_true(reads(&frames[i], &value, &used));
            rn_testing_fail(RN_FAULT_ALLOCATION, 1, 0);
            assert_error_code(value, RN_NO_MEMORY);
            assert_int_equal(used, frames[i].length);
            rn_drop(value);
            assert_int_equal(rn_testing_held(RN_FAULT_ALLOCATION), held);
        }
}

struct scribble {
    volatile unsigned char bytes[64];
    volatile bool over;
};

static void *scribble(void *context) {
    struct scribble *shared = context;
    for (unsigned i = 0; !shared->over; i++) {
        shared->bytes[1] = (unsigned char)(i % 70);
        shared->bytes[40] = i & 1 ? 'a' : '\0';
    }
    return NULL;
}

/* A check of bytes that are read again afterwards would let a NUL, or a length, slip through. */
TEST(bytes_that_change_while_they_are_read_give_a_value_or_none) {
    if (UNDER_SANITIZER) skip(); /* ThreadSanitizer would tell of the race that is the point of it */
    static struct scribble shared;
    for (size_t i = 0; i < sizeof shared.bytes; i++) shared.bytes[i] = i < 5 ? 0 : 'a';
    shared.bytes[0] = RN_TEXT;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, scribble, &shared), 0);
    for (int i = 0; i < 200000; i++) {
        rn_value value;
        size_t used;
        bool read = rni_wire_read((const unsigned char *)(uintptr_t)shared.bytes, sizeof shared.bytes, &value, &used);
        if (!read) continue;
        if (strlen(rn_as_text(value)) != rn_length(value) || used != 5 + rn_length(value)) fail_msg("torn");
        rn_drop(value);
    }
    shared.over = true;
    pthread_join(thread, NULL);
}
