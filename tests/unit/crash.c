/*
 * Of what a worker process died, in words: each cause, and what a record that was written by anybody may hold.
 */
#include "process/crash.h"
#include "process/stderr.h"

#include <gnu/libc-version.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "process/module.h"
#include "support.h"

static char text[1 << 17];

static void describe(rni_remains remains) {
    rn_value error = rni_crash_error(&remains);
    assert_int_equal(rn_error_code(error), RN_CRASHED);
    assert_true(rn_format(error, text, sizeof text) < sizeof text);
    rn_drop(error);
}

static void assert_says(const char *what) {
    if (!strstr(text, what)) fail_msg("\"%s\" does not say %s", text, what);
}

static void assert_silent(const char *what) {
    if (strstr(text, what)) fail_msg("\"%s\" says %s", text, what);
}

static rni_os_crash *blank(int signal, int code) {
    rni_os_crash *record = calloc(1, sizeof *record);
    assert_non_null(record);
    rni_store_relaxed(&record->mark, 1);
    record->signal = signal;
    record->code = code;
    return record;
}

static void describe_record(rni_os_crash *record) {
    describe((rni_remains){.ended.status = record->signal, .record = record});
    free(record);
}

/* ---- causes ---- */

TEST(an_end_without_a_signal_says_the_status) {
    describe((rni_remains){.ended = {.status = 7 << 8, .peak_bytes = 3 << 20, .cpu_ns = 12000000}});
    assert_says("ended with exit(7); peak memory 3072 KiB, CPU time 12 ms");
    describe((rni_remains){.ended = {.status = -1}});
    assert_says("died; the zygote, which would know of what, has ended");
}

TEST(a_kill_says_whose_it_may_be) {
    describe((rni_remains){.ended = {.status = SIGKILL}});
    assert_says("SIGKILL (9), not by Runium");
    describe((rni_remains){.ended = {.status = SIGKILL}, .is_out_of_memory = true});
    assert_says("SIGKILL (9): out of memory");
    describe((rni_remains){.ended = {.status = SIGKILL, .cpu_ns = 2100000000, .cpu_limit_s = 2}});
    assert_says("SIGKILL (9): CPU time limit");
    describe((rni_remains){.ended = {.status = SIGKILL, .cpu_ns = 100000000, .cpu_limit_s = 2}});
    assert_says("not by Runium");
    describe((rni_remains){.ended = {.status = SIGXCPU | 0x80}});
    assert_says("SIGXCPU (24): CPU time limit, core dumped");
    describe((rni_remains){.ended = {.status = SIGXFSZ}});
    assert_says("SIGXFSZ (25): file size limit");
}

TEST(a_filter_that_kills_at_once_is_named) {
    describe((rni_remains){.ended = {.status = SIGSYS}});
    assert_says("SIGSYS (31): a system call that is not allowed (seccomp);");
}

TEST(a_fault_says_where_and_why) {
    rni_os_crash *record = blank(SIGSEGV, SEGV_ACCERR);
    record->address = 0x1230;
    record->stack = 0x7fff00000000;
    describe_record(record);
    assert_says("SIGSEGV (11) at address 0x1230: the access is not allowed there;");
    describe_record(blank(SIGFPE, FPE_INTDIV));
    assert_says("SIGFPE (8): integer division by zero;");
    describe_record(blank(SIGSEGV, SI_KERNEL));
    assert_says("SIGSEGV (11): the address is none that the machine has;");
    describe_record(blank(SIGABRT, SI_TKILL));
    assert_says("SIGABRT (6);");
    record = blank(SIGSYS, 1);
    record->call = 101;
    describe_record(record);
    assert_says("SIGSYS (31): system call 101 is not allowed (seccomp)");
}

TEST(a_fault_near_the_stack_pointer_is_an_overflow) {
    static const int64_t near[] = {-65536, -8, 0, 8, 65535}, far[] = {-65537, 65536};
    for (size_t i = 0; i < sizeof near / sizeof *near + sizeof far / sizeof *far; i++) {
        bool is_near = i < sizeof near / sizeof *near;
        rni_os_crash *record = blank(SIGSEGV, SEGV_MAPERR);
        record->stack = 0x7fff00000000;
        record->address = record->stack + (uint64_t)(is_near ? near[i] : far[i - sizeof near / sizeof *near]);
        describe_record(record);
        if (is_near) assert_says("SIGSEGV (11): stack overflow");
        else assert_says("SIGSEGV (11) at address");
    }
}

TEST(a_record_of_another_signal_is_no_record) {
    rni_os_crash *record = blank(SIGSEGV, SEGV_MAPERR);
    describe((rni_remains){.ended.status = SIGBUS, .record = record});
    assert_says("SIGBUS (7);");
    assert_silent("backtrace");
    rni_store_relaxed(&record->mark, 0);
    describe((rni_remains){.ended.status = SIGSEGV, .record = record});
    assert_says("SIGSEGV (11);");
    free(record);
}

/* ---- frames ---- */

TEST(calls_from_one_place_are_one_line) {
    rni_os_crash *record = blank(SIGSEGV, SEGV_MAPERR);
    rni_store_relaxed(&record->frame_count, 6);
    for (uint32_t i = 0; i < 6; i++)
        record->frames[i] = (rni_os_crash_frame){i == 0 ? 0x10 : i < 5 ? 0x20 : 0x30, RNI_OS_CRASH_NO_FILE};
    describe_record(record);
    assert_says("backtrace:\n    #0 0x10\n    #1 to #4 0x20\n    #5 0x30");
    assert_silent("and so on");
}

TEST(a_frame_in_an_unknown_file_has_the_offset_in_it) {
    rni_os_crash *record = blank(SIGSEGV, SEGV_MAPERR);
    rni_store_relaxed(&record->frame_count, 1);
    rni_store_relaxed(&record->file_count, 1);
    record->frames[0] = (rni_os_crash_frame){0x5234, 0};
    record->files[0].base = 0x5000;
    strcpy(record->files[0].path, "/no/such/lib\033.so");
    describe_record(record);
    assert_says("in lib\\x1b.so+0x234;");
    assert_says("#0 lib\\x1b.so+0x234");
}

TEST(a_file_without_an_end_or_with_too_long_an_id_is_none) {
    for (int is_id = 0; is_id < 2; is_id++) {
        rni_os_crash *record = blank(SIGSEGV, SEGV_MAPERR);
        rni_store_relaxed(&record->frame_count, 1);
        rni_store_relaxed(&record->file_count, 1);
        record->frames[0] = (rni_os_crash_frame){0x5234, 0};
        if (is_id) record->files[0].id_length = RNI_ELF_ID_MAX + 1;
        else memset(record->files[0].path, 'x', sizeof record->files[0].path);
        describe_record(record);
        assert_says("#0 0x5234");
    }
}

/* ---- functions ---- */

__attribute__((noinline, used)) static int own_function(void) { return 1; }

/* The names that a compiler gives to pieces of a function, and one that is nobody's piece. */
int piece_of_it(void) __asm__("whole_function.cold");
int nobodys_piece(void) __asm__(".odd_function");
__attribute__((noinline, used)) int piece_of_it(void) { return 2; }
__attribute__((noinline, used)) int nobodys_piece(void) { return 3; }

/* No sanitizer puts one of its own in the place of that one. */
static void *in_libc(void) { return (void *)(uintptr_t)gnu_get_libc_version; }

static void put_frame_of(rni_os_crash *record, uint32_t index, const void *address) {
    rni_module module;
    uint64_t offset;
    assert_true(rni_module_of(address, &module, &offset));
    rni_os_crash_file *file = &record->files[index];
    assert_true(strlen(module.path) < sizeof file->path);
    *file = (rni_os_crash_file){.base = (uint64_t)(uintptr_t)address - offset, .id_length = module.id_length};
    memcpy(file->id, module.id, module.id_length);
    strcpy(file->path, module.path);
    record->frames[index] = (rni_os_crash_frame){(uint64_t)(uintptr_t)address, index};
    rni_store_relaxed(&record->frame_count, index + 1);
    rni_store_relaxed(&record->file_count, index + 1);
}

static void describe_calls(int code, const void *const *addresses, uint32_t count) {
    rni_os_crash *record = blank(SIGSEGV, code);
    for (uint32_t i = 0; i < count; i++) put_frame_of(record, i, addresses[i]);
    describe_record(record);
}

#define ADDRESS_OF(function) ((const void *)(uintptr_t)(function))

TEST(functions_are_named) {
    describe_calls(SEGV_MAPERR, (const void *[]){ADDRESS_OF(own_function)}, 1);
    assert_says(", in own_function;");
    assert_says("#0 own_function (unit_crash+0x");
    describe_calls(SEGV_MAPERR, (const void *[]){ADDRESS_OF(piece_of_it)}, 1);
    assert_says(", in whole_function;");
    describe_calls(SEGV_MAPERR, (const void *[]){ADDRESS_OF(nobodys_piece)}, 1);
    assert_says(", in .odd_function;");
}

TEST(what_libc_stumbled_over_says_who_called_it) {
    describe_calls(SEGV_MAPERR, (const void *[]){in_libc(), ADDRESS_OF(own_function)}, 2);
    assert_says(", called by own_function;");
    assert_says("(libc.so.6+0x");
    describe_calls(SI_TKILL, (const void *[]){in_libc(), ADDRESS_OF(own_function)}, 2); /* it was sent: where it arrived is chance */
    assert_says(", in own_function;");
    assert_silent("called by");
    describe_calls(SEGV_MAPERR, (const void *[]){in_libc()}, 1);
    assert_says("#0 ");
    assert_silent("called by");
}

TEST(without_memory_a_death_is_told_all_the_same) {
    rn_testing_fail(RN_FAULT_ALLOCATION, 1, 1);
    rn_value error = rni_crash_error(&(rni_remains){.ended.status = SIGKILL});
    rn_testing_fail(RN_FAULT_ALLOCATION, 1, 0);
    assert_int_equal(rn_error_code(error), RN_CRASHED);
    assert_string_equal(rn_error_message(error), "the worker process died; no memory to say of what");
    rn_drop(error);
}

TEST(a_record_may_hold_anything) {
    uint64_t random = random_seed();
    for (int round = 0; round < 3000; round++) {
        rni_os_crash *record = blank(SIGSEGV, SEGV_MAPERR);
        unsigned char *bytes = (unsigned char *)record;
        rni_store_relaxed(&record->frame_count, (uint32_t)random_below(&random, 80));
        rni_store_relaxed(&record->file_count, (uint32_t)random_below(&random, 20));
        for (uint32_t i = 0; i < RNI_OS_CRASH_FRAMES; i++)
            record->frames[i] = (rni_os_crash_frame){next_random(&random) >> 20, (uint32_t)random_below(&random, 16)};
        for (size_t changes = random_below(&random, 3) ? 5 : sizeof *record; changes > 0; changes--)
            bytes[random_below(&random, sizeof *record)] = (unsigned char)next_random(&random);
        record->signal = SIGSEGV;
        describe_record(record);
        assert_says("killed by SIGSEGV (11)");
    }
}

TEST(frames_for_which_there_is_no_room_are_left_out) {
    rni_os_crash *record = blank(SIGSEGV, SEGV_MAPERR);
    rni_store_relaxed(&record->frame_count, RNI_OS_CRASH_FRAMES);
    rni_store_relaxed(&record->file_count, 1);
    memset(record->files[0].path, 1, RNI_OS_CRASH_PATH);
    for (uint32_t i = 0; i < RNI_OS_CRASH_FRAMES; i++) record->frames[i] = (rni_os_crash_frame){.address = i + 1, .file = 0};
    describe_record(record);
    assert_says("killed by SIGSEGV (11)");
    assert_says("#0 \\x01\\x01");
    assert_silent("#63 ");
}

/* ---- last words ---- */

static void describe_words(const char *words, size_t length, bool is_cut) {
    describe((rni_remains){.ended.status = 7 << 8, .last_words = words, .last_length = length, .is_cut = is_cut});
}

TEST(the_last_words_are_the_last_lines) {
    describe_words("a\nb\n", 4, false);
    assert_says("\n  caused by error -13 (RN_CRASHED): stderr:\n    a\n    b");
    describe_words("1\n2\n3\n4\n5\n6\n7\n8\n9", 17, false);
    assert_says("stderr:\n    2\n    3\n    4\n    5\n    6\n    7\n    8\n    9");
    describe_words("rest of a line\nwhole\n", 21, true);
    assert_says("stderr:\n    whole");
    describe_words("one line without an end", 23, true);
    assert_says("stderr:\n    one line");
    describe_words("\n\n\n", 3, false);
    assert_silent("stderr");
    describe_words("", 0, false);
    assert_silent("stderr");
}

/* Before, a title, and so many lines that are not to be cut. */
static size_t write_stack(char *words, const char *title, unsigned lines) {
    size_t length = (size_t)sprintf(words, "before\n%s\n", title);
    for (unsigned i = 1; i <= lines; i++) length += (size_t)sprintf(words + length, "  File \"a.py\", line %u in f\n", i);
    return length;
}

TEST(a_stack_at_the_end_is_shown_whole) {
    static char words[RNI_TAIL_BYTES];
    size_t length = write_stack(words, "Stack (most recent call last):", 120);
    assert_true(length > 2048);
    describe_words(words, length, true);
    assert_says("stderr:\n    Stack (most recent call last):\n      File \"a.py\", line 1 in f\n");
    assert_says("line 120 in f");
    describe_words(words, (size_t)sprintf(words + length, "over\n") + length, true);
    assert_says("line 120 in f\n    over");
    assert_silent("line 113 in f");
    describe_words(words, write_stack(words, "Stack:", 120), true);
    assert_silent("line 112 in f");
    describe_words(words, write_stack(words, "What was called, from the first on:", 120), true);
    assert_silent("line 112 in f");
    describe_words(words, write_stack(words, "Stack (most recent call last):", 3), false);
    assert_says("stderr:\n    before\n    Stack");
    describe_words(words + 8, length - 8, true);
    describe_words("  a\n  b", 7, true);
    assert_says("stderr:\n      b");
}

TEST(lines_before_the_last_two_kilobytes_are_not_shown) {
    static char words[RNI_TAIL_BYTES];
    memset(words, 'x', 4000);
    memcpy(words + 3990, "\nlast", 5);
    describe_words(words, 3995, false);
    assert_says("stderr:\n    last");
    assert_silent("xx");
    memset(words, '\n', 4000);
    words[0] = 'x';
    describe_words(words, 4000, false);
    assert_silent("    x");
}

TEST(what_is_no_text_is_shown_as_bytes) {
    static const char *const odd[][2] = {
        {"a\tb", "    a\tb"},           {"\x1b[2J", "    \\x1b[2J"},       {"\xc3\xa4", "    \xc3\xa4"},
        {"\xc3", "    \\xc3"},          {"\xc2\x9b", "    \\xc2\\x9b"},    {"\xe2\x82\xac", "    \xe2\x82\xac"},
        {"\xed\xa0\x80", "    \\xed\\xa0\\x80"}, {"\xf4\x90\x80\x80", "    \\xf4\\x90\\x80\\x80"},
        {"\xe0\x80\x80", "    \\xe0\\x80\\x80"}, {"\xf0\x80\x80\x80", "    \\xf0\\x80\\x80\\x80"},
        {"\xf0\x9f\x98\x80", "    \xf0\x9f\x98\x80"}, {"\xe2\x82", "    \\xe2\\x82"}, {"\x80", "    \\x80"},
        {"\x7f", "    \\x7f"}, {"\xc2\xa9", "    \xc2\xa9"}, {"\xe0\xa4\xa8", "    \xe0\xa4\xa8"},
        {"\xed\x9f\xbf", "    \xed\x9f\xbf"}, {"\xf4\x8f\xbf\xbf", "    \xf4\x8f\xbf\xbf"}, {"\xf5\x80\x80\x80", "    \\xf5\\x80\\x80\\x80"},
        {"\xe2(\xa1", "    \\xe2(\\xa1"}, {"a\n\n", "    a"}, {"\xf0\x9f\x98", "    \\xf0\\x9f\\x98"},
    };
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        describe_words(odd[i][0], strlen(odd[i][0]), false);
        assert_says(odd[i][1]);
    }
}
