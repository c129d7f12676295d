/*
 * Crash capsules as text: there and back, and what is said about each line that is wrong.
 */
#include "process/capsule.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support.h"
#include "value/value.h"
#include "value/wire.h"

static char *no_variables[] = {NULL};
static char *some_variables[] = {"EMPTY=", "LINES=a\nb\\c\x7f\x01", "UTF=\xc3\xa4", "no equals sign", NULL};

static rni_capsule sample(void) {
    return (rni_capsule){.task = "a task", .part = RNI_PART_FUNCTION, .iteration = 2, .times = UINT64_MAX, .every = 5,
                         .missed = 1, .run_id = 99, .time = "2030-01-02T03:04:05Z", .cause = "SIGSEGV\nat \\ 0",
                         .argument = "7", .file = "/lib/x.so", .file_id = {{0x12, 0xab}, 2}, .offset = 0x1f, .symbol = "f",
                         .program = "/bin/x", .program_id = {{0xff}, 1}, .name = "x", .library = "", .folder = "/",
                         .workers = 3, .limits = {UINT64_MAX, 0, 1, 2, 3, 4}, .variables = no_variables,
                         .arg = rn_int(7), .outcome = rn_none()};
}

/* Of exactly its size, so that a sanitizer sees one byte too many. */
static unsigned char *encoded(const rni_capsule *capsule, size_t *length) {
    *length = rni_capsule_encode(capsule, NULL);
    unsigned char *bytes = malloc(*length);
    assert_int_equal(rni_capsule_encode(capsule, bytes), *length);
    return bytes;
}

static void assert_same(const rni_capsule *a, const rni_capsule *b) {
    assert_string_equal(a->task, b->task);
    assert_int_equal(a->part, b->part);
    assert_true(a->iteration == b->iteration && a->times == b->times && a->every == b->every && a->missed == b->missed);
    assert_true(a->run_id == b->run_id && a->offset == b->offset && a->workers == b->workers);
    assert_string_equal(a->cause, b->cause);
    assert_string_equal(a->file, b->file);
    assert_string_equal(a->symbol, b->symbol);
    assert_string_equal(a->program, b->program);
    assert_string_equal(a->name, b->name);
    assert_string_equal(a->library, b->library);
    assert_string_equal(a->folder, b->folder);
    assert_memory_equal(&a->file_id, &b->file_id, sizeof a->file_id);
    assert_memory_equal(&a->program_id, &b->program_id, sizeof a->program_id);
    assert_memory_equal(a->limits, b->limits, sizeof a->limits);
    assert_int_equal(a->variable_count, b->variable_count);
    assert_int_equal(a->trace_count, b->trace_count);
    for (size_t i = 0; i < a->trace_count; i++) assert_string_equal(a->trace[i], b->trace[i]);
    for (size_t i = 0; i < a->variable_count; i++) assert_string_equal(a->variables[i], b->variables[i]);
    assert_null(b->variables[b->variable_count]);
}

static void assert_comes_back(const rni_capsule *capsule) {
    rni_capsule read;
    size_t length;
    unsigned char *bytes = encoded(capsule, &length);
    rn_value error = rni_capsule_decode(bytes, length, &read);
    assert_true(rn_is_none(error));
    free(bytes);
    assert_same(capsule, &read);
    assert_int_equal(rn_kind(read.arg), rn_kind(capsule->arg));
    assert_int_equal(rn_kind(read.outcome), rn_kind(capsule->outcome));
    rni_capsule_free(&read);
}

TEST(a_capsule_comes_back_as_it_was) {
    rni_capsule capsule = sample();
    assert_comes_back(&capsule);
    capsule.variables = some_variables;
    capsule.variable_count = 4;
    capsule.trace = (char *[]){"#0 f", "", "    #1 g"};
    capsule.trace_count = 3;
    assert_comes_back(&capsule);
    capsule.part = RNI_PART_ON_ERROR;
    capsule.outcome = rn_error(5, "why");
    assert_comes_back(&capsule);
    rn_drop(capsule.outcome);
}

TEST(the_bytes_of_a_buffer_are_in_the_capsule) {
    rni_capsule capsule = sample(), read;
    size_t length;
    capsule.arg = rn_buffer(70000);
    memcpy((char *)rn_as_buffer(capsule.arg) + 69990, "the end", 8);
    unsigned char *bytes = encoded(&capsule, &length);
    assert_true(rn_is_none(rni_capsule_decode(bytes, length, &read)));
    assert_int_equal(rn_kind(read.arg), RN_BUFFER);
    assert_int_equal(rn_length(read.arg), 70000);
    assert_memory_equal(rn_as_buffer(read.arg), rn_as_buffer(capsule.arg), 70000);
    rni_capsule_free(&read);
    rn_drop(capsule.arg);
    free(bytes);
}

/* The sample with one text in the place of another. */
static rn_value read_changed(const char *old, const char *new) {
    rni_capsule capsule = sample(), read;
    size_t length, before;
    unsigned char *bytes = encoded(&capsule, &length);
    unsigned char *place = memmem(bytes, length, old, strlen(old));
    assert_non_null(place);
    before = (size_t)(place - bytes);
    unsigned char *changed = malloc(length + strlen(new));
    memcpy(changed, bytes, before);
    memcpy(changed + before, new, strlen(new));
    memcpy(changed + before + strlen(new), place + strlen(old), length - before - strlen(old));
    rn_value error = rni_capsule_decode(changed, length + strlen(new) - strlen(old), &read);
    if (!rn_is_error(error)) rni_capsule_free(&read);
    free(bytes);
    free(changed);
    return error;
}

static void assert_refused(const char *old, const char *new, const char *message) {
    rn_value error = read_changed(old, new);
    assert_int_equal(rn_error_code(error), RN_INVALID);
    assert_string_equal(rn_error_message(error), message);
    rn_drop(error);
}

TEST(a_line_that_is_wrong_is_named_with_what_is_accepted) {
    assert_refused("capsule 1", "capsule 2", "the first line is not 'runium capsule 1'");
    assert_refused("task: a task\n", "", "line 2 is not 'task: ...'");
    assert_refused("task", "name", "line 2 is not 'task: ...'");
    assert_refused("function", "constructor", "line 3: part is 'constructor'; accepted is function, on_iter, on_success, "
                                              "on_error or on_finished");
    assert_refused("every: 5", "every: -5", "line 6: every is '-5'; accepted is a decimal number up to 3155760000000000000");
    assert_refused("missed: 1", "missed: 01", "line 7: missed is '01'; accepted is a decimal number, or unlimited");
    assert_refused("run: 99", "run: 99999999999999999999", "line 8: run is '99999999999999999999'; accepted is a decimal "
                                                           "number, or unlimited");
    assert_refused("cause: ", "cause: \x01", "line 10: cause holds a byte or an escape that nobody writes; accepted are "
                                              "printable bytes, and \\xHH for the others and the backslash");
    assert_refused("file-id: 12ab", "file-id: 12a", "line 13: file-id is '12a'; accepted is 2 to 64 digits 0-9 and a-f, in pairs");
    assert_refused("0x1f", "31", "line 14: offset is '31'; accepted is a number like 0x12ab of at most 16 digits");
    assert_refused("workers: 3", "workers: 2000", "line 21: workers is '2000'; accepted is a decimal number up to 1024");
    assert_refused("/bin/x", "x", "the program is 'x'; accepted is a path from the root on");
    assert_refused("iteration: 2", "iteration: 0", "the iteration is 0; accepted is 1 up to times, 18446744073709551615");
    assert_refused("values: 9", "values: 8", "line 28: values is '8'; accepted is 9, as many bytes as there are");
    assert_refused("values: 9\n", "values: 9", "no empty line ends the header");
}

static void assert_value_refused(const char *line, const char *old, const char *new, const char *accepted) {
    char before[100], after[200], message[300];
    (void)snprintf(before, sizeof before, "%s%s", line, old);
    (void)snprintf(after, sizeof after, "%s%s", line, new);
    rn_value error = read_changed(before, after);
    (void)snprintf(message, sizeof message, "is '%.60s'; accepted is %s", new, accepted);
    assert_int_equal(rn_error_code(error), RN_INVALID);
    if (!strstr(rn_error_message(error), message)) fail_msg("\"%s\" does not say: %s", rn_error_message(error), message);
    rn_drop(error);
}

static void assert_good(const char *old, const char *new) {
    rn_value error = read_changed(old, new);
    assert_true(rn_is_none(error));
}

TEST(numbers_are_read_up_to_their_ends) {
    static const char *const bad[] = {"", "00", "1:", "1/", "18446744073709551615", "18446744073709551616", "unlimite", "1 "};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_value_refused("run: ", "99", bad[i], "a decimal number, or unlimited");
    assert_good("run: 99", "run: 0");
    assert_good("run: 99", "run: 18446744073709551614");
    assert_good("run: 99", "run: unlimited");
    assert_good("workers: 3", "workers: 1024");
    assert_value_refused("workers: ", "3", "1025", "a decimal number up to 1024");
    assert_refused("values: 9", "values: nine", "line 28: values is 'nine'; accepted is 9, as many bytes as there are");
}

TEST(offsets_are_read_up_to_their_ends) {
    static const char *const bad[] = {"", "1x1", "0y1", "0x", "0x01", "0xg", "0x1F", "0x12345678901234567", "0x/", "0x`"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_value_refused("offset: ", "0x1f", bad[i], "a number like 0x12ab of at most 16 digits");
    assert_good("0x1f", "0x0");
    assert_good("0x1f", "0xffffffffffffffff");
}

TEST(ids_are_pairs_of_digits) {
    char longest[65], too_long[67];
    memset(longest, 'a', sizeof longest - 1);
    memset(too_long, 'a', sizeof too_long - 1);
    longest[sizeof longest - 1] = too_long[sizeof too_long - 1] = '\0';
    const char *const bad[] = {"", "1", "zz", "0g", "0:", "A0", too_long};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_value_refused("file-id: ", "12ab", bad[i], "2 to 64 digits 0-9 and a-f, in pairs");
    char line[100];
    (void)snprintf(line, sizeof line, "file-id: %s", longest);
    assert_good("file-id: 12ab", line);
}

TEST(a_text_that_is_too_long_is_refused) {
    char longest[64], too_long[65];
    memset(longest, 'x', sizeof longest - 1);
    memset(too_long, 'x', sizeof too_long - 1);
    longest[sizeof longest - 1] = too_long[sizeof too_long - 1] = '\0';
    assert_value_refused("task: ", "a task", too_long, "a text of at most 63 bytes");
    assert_good("a task", longest);
}

/* What is escaped must be, and in one way only. */
TEST(only_escapes_that_are_written_are_read) {
    static const char *const bad[] = {"\\", "\\x", "\\x0", "\\y01", "\\xg1", "\\x1g", "\\x00", "\\x41", "\\x1F", "\x7f", "\\\\", "\x1f"};
    char old[] = "argument: 7", new[40], message[200];
    (void)snprintf(message, sizeof message, "line 11: argument holds a byte or an escape that nobody writes; accepted are "
                                            "printable bytes, and \\xHH for the others and the backslash");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        (void)snprintf(new, sizeof new, "argument: %s", bad[i]);
        assert_refused(old, new, message);
    }
    assert_good(old, "argument: \\x01\\x5c\\x7f \xff");
}

TEST(lines_that_are_others_than_expected_are_refused) {
    assert_refused("task: ", "task:", "line 2 is not 'task: ...'");
    assert_refused("task: ", "task; ", "line 2 is not 'task: ...'");
    assert_refused("task: ", "\ntask: ", "line 2 is not 'task: ...'");
    assert_refused("values: 9\n", "values: 9\nmore: 1\n", "line 29 is not empty");
    assert_refused("values: 9", "trace: #0\ntrace: \x01\nvalues: 9", "line 29: trace holds a byte or an escape that nobody writes; "
                   "accepted are printable bytes, and \\xHH for the others and the backslash");
    assert_refused("values: 9", "variable: A=\\\nvalues: 9", "line 28: variable holds a byte or an escape that nobody writes; "
                   "accepted are printable bytes, and \\xHH for the others and the backslash");
}

/* The sample's header for another part, and these bytes behind it. */
static void assert_values(uint64_t part, const void *values, size_t length, const char *message) {
    rni_capsule capsule = sample(), read;
    size_t whole;
    char line[40];
    capsule.part = part;
    unsigned char *bytes = encoded(&capsule, &whole), *end = memmem(bytes, whole, "values: ", 8);
    size_t header = (size_t)(end - bytes), line_length = (size_t)snprintf(line, sizeof line, "values: %zu\n\n", length);
    unsigned char *changed = malloc(header + line_length + length);
    memcpy(changed, bytes, header);
    memcpy(changed + header, line, line_length);
    memcpy(changed + header + line_length, values, length);
    rn_value error = rni_capsule_decode(changed, header + line_length + length, &read);
    if (rn_is_none(error)) rni_capsule_free(&read);
    assert_string_equal(rn_is_error(error) ? rn_error_message(error) : "", message);
    rn_drop(error);
    free(changed);
    free(bytes);
}

/* A buffer of that length, of which so many bytes are there. */
static void assert_buffer(uint64_t size, size_t there, const char *message) {
    unsigned char bytes[1 + 8 + 8] = {RN_BUFFER};
    for (unsigned i = 0; i < 8; i++) bytes[1 + i] = (unsigned char)(size >> (8 * i));
    assert_values(RNI_PART_FUNCTION, bytes, there, message);
}

TEST(bytes_that_are_no_argument_are_refused) {
    static const char none[] = "the values do not begin with an argument: with a value that is no error";
    unsigned char bytes[256];
    rn_value error = rn_error(5, "why");
    size_t length = rni_wire_write(error, bytes);
    rn_drop(error);
    assert_values(RNI_PART_FUNCTION, bytes, length, none);
    assert_values(RNI_PART_FUNCTION, bytes, 0, none);
    for (size_t there = 1; there < 9; there++) assert_buffer(4, there, none);
    assert_buffer(0, 17, none);
    assert_buffer(9, 17, none);
    assert_buffer(UINT64_MAX, 17, none);
    assert_buffer(1, 9, none);
    assert_buffer(8, 17, "");
    assert_buffer(7, 17, "there are 1 bytes behind the values");
}

TEST(an_outcome_that_does_not_fit_its_hook_is_refused) {
    unsigned char bytes[256];
    size_t first = rni_wire_write(rn_int(1), bytes), second = rni_wire_write(rn_int(2), bytes + first);
    assert_values(RNI_PART_ON_ERROR, bytes, first + second, "the outcome for on_error is no error");
    assert_values(RNI_PART_ON_SUCCESS, bytes, first + second, "");
    assert_values(RNI_PART_ON_ITER, bytes, first + second, "");
    assert_values(RNI_PART_FUNCTION, bytes, first + second, "there are 9 bytes behind the values");
    assert_values(RNI_PART_ON_ITER, bytes, first + second - 1, "behind the argument there is no outcome for on_iter");
    rn_value error = rn_error(5, "why");
    second = rni_wire_write(error, bytes + first);
    rn_drop(error);
    assert_values(RNI_PART_ON_SUCCESS, bytes, first + second, "the outcome for on_success is an error");
    assert_values(RNI_PART_ON_ERROR, bytes, first + second, "");
    assert_values(RNI_PART_ON_FINISHED, bytes, first + second, "");
}

TEST(what_is_no_capsule_at_all_is_refused) {
    static const char *const bad[] = {"", "r", "runium capsule 1\n", "runium capsule 1\n\n", "runium capsule 1 \n\n", "\n\n",
                                      "runium capsule 1\ntask\n\n", "runium capsule 1\ntask: a\n\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        rni_capsule read;
        rn_value error = rni_capsule_decode((const unsigned char *)bad[i], strlen(bad[i]), &read);
        assert_int_equal(rn_error_code(error), RN_INVALID);
        rn_drop(error);
    }
}

TEST(values_that_do_not_fit_the_part_are_refused) {
    assert_refused("function", "on_success", "behind the argument there is no outcome for on_success");
    assert_refused("times: unlimited", "times: 1", "the iteration is 2; accepted is 1 up to times, 1");
}

TEST(every_beginning_of_a_capsule_is_refused) {
    rni_capsule capsule = sample(), read;
    size_t length;
    unsigned char *bytes = encoded(&capsule, &length);
    for (size_t i = 0; i < length; i++) {
        rn_value error = rni_capsule_decode(bytes, i, &read);
        assert_true(rn_is_error(error) && !read.memory);
        rn_drop(error);
    }
    free(bytes);
}

TEST(without_memory_for_a_buffer_a_capsule_is_not_read) {
    rni_capsule capsule = sample(), read;
    size_t length;
    capsule.arg = rn_buffer(10);
    unsigned char *bytes = encoded(&capsule, &length);
    rn_testing_fail(RN_FAULT_MAPPING, 1, 1);
    rn_value error = rni_capsule_decode(bytes, length, &read);
    rn_testing_fail(RN_FAULT_MAPPING, 1, 0);
    assert_true(rn_is_error(error));
    rn_drop(error);
    free(bytes);
    rn_drop(capsule.arg);
}

TEST(without_memory_a_capsule_is_not_read) {
    rni_capsule capsule = sample(), read;
    size_t length;
    capsule.arg = rn_text("text");
    unsigned char *bytes = encoded(&capsule, &length);
    for (uint64_t n = 1; n <= 2; n++) {
        rn_testing_fail(RN_FAULT_ALLOCATION, n, 1);
        rn_value error = rni_capsule_decode(bytes, length, &read);
        rn_testing_fail(RN_FAULT_ALLOCATION, 1, 0);
        assert_true(rn_is_error(error));
        rn_drop(error);
    }
    free(bytes);
    rn_drop(capsule.arg);
}

/* ------------------------------------------------------------------------------------------------
 * Opening
 */
static void remove_folder(const char *folder) { assert_int_equal(rmdir(folder), 0); }

TEST(where_memory_is_refused_no_capsules_are_opened) {
    char folder[] = "/tmp/capsules.XXXXXX";
    rni_capsules *capsules;
    assert_non_null(mkdtemp(folder));
    for (uint64_t n = 1; n <= 3; n++) {
        rn_testing_fail(RN_FAULT_ALLOCATION, n, 1);
        rn_value error = rni_capsules_open(folder, &capsules);
        rn_testing_fail(RN_FAULT_ALLOCATION, 1, 0);
        assert_int_equal(rn_error_code(error), RN_NO_MEMORY);
        assert_null(capsules);
        rn_drop(error);
    }
    remove_folder(folder); /* nothing is left in it */
}

TEST(opening_and_closing_keeps_no_descriptor) {
    char folder[] = "/tmp/capsules.XXXXXX";
    rni_capsules *capsules;
    assert_non_null(mkdtemp(folder));
    int before = dup(0);
    close(before);
    for (int i = 0; i < 100; i++) {
        assert_true(rn_is_none(rni_capsules_open(folder, &capsules)));
        rni_capsules_close(capsules);
        assert_true(rn_is_none(rni_capsules_open(NULL, &capsules)));
        assert_null(capsules);
        rni_capsules_close(capsules);
        rn_drop(rni_capsules_open("/none", &capsules));
    }
    int after = dup(0);
    close(after);
    assert_int_equal(after, before);
    remove_folder(folder);
}

/* ------------------------------------------------------------------------------------------------
 * Files, and what is said about those that cannot be read
 */
static void assert_unreadable(const char *path, int code, const char *message) {
    rn_value error = rn_capsule_program(path);
    assert_int_equal(rn_error_code(error), code);
    assert_string_equal(rn_error_message(error), message);
    rn_drop(error);
    error = rn_capsule_replay(path, false);
    assert_int_equal(rn_error_code(error), code);
    rn_drop(error);
}

TEST(a_file_that_cannot_be_read_is_named) {
    assert_unreadable("/none", ENOENT, "/none cannot be read: No such file or directory");
    assert_unreadable("/", EISDIR, "/ cannot be read: Is a directory");
    assert_unreadable("/dev/null", EINVAL, "/dev/null cannot be read: Invalid argument");
    assert_unreadable("/etc/passwd", RN_INVALID, "/etc/passwd is no crash capsule: the first line is not 'runium capsule 1'");
    assert_unreadable(NULL, RN_INVALID, "rn_capsule_program: the file is NULL");
}
