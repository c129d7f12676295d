/*
 * Buffers: memory that is a file, the table that finds them again by it, and files that are none of a buffer.
 */
#include "value/buffer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/os_buffer.h"
#include "support.h"
#include "value/value.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

/* ------------------------------------------------------------------------------------------------
 * What the system says
 */
static struct {
    bool is_old;            /* it knows no MFD_NOEXEC_SEAL */
    bool refuses_files;
    const char *overcommit; /* what its setting says; NULL: as it is */
    unsigned files;         /* calls of memfd_create() */
} machine;

int __real_memfd_create(const char *name, unsigned flags);
int __wrap_memfd_create(const char *name, unsigned flags);
int __real_open64(const char *path, int flags, mode_t mode);
int __wrap_open64(const char *path, int flags, mode_t mode);

int __wrap_memfd_create(const char *name, unsigned flags) {
    machine.files++;
    bool refused = machine.refuses_files || (machine.is_old && (flags & MFD_NOEXEC_SEAL));
    if (refused) errno = machine.refuses_files ? EMFILE : EINVAL;
    return refused ? -1 : __real_memfd_create(name, flags);
}

int __wrap_open64(const char *path, int flags, mode_t mode) {
    if (!machine.overcommit || strcmp(path, "/proc/sys/vm/overcommit_memory") != 0) return __real_open64(path, flags, mode);
    if (!machine.overcommit[0]) return -1;
    int fd = __real_memfd_create("setting", MFD_CLOEXEC);
    assert_int_equal(write(fd, machine.overcommit, 1), 1);
    lseek(fd, 0, SEEK_SET);
    return fd;
}

static unsigned descriptors(void) {
    unsigned count = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (readdir(folder)) count++;
    closedir(folder);
    return count;
}

static unsigned mappings_of_buffers(void) {
    char line[512];
    unsigned count = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    while (fgets(line, sizeof line, maps)) count += strstr(line, "runium-buffer") != NULL;
    fclose(maps);
    return count;
}

/* ------------------------------------------------------------------------------------------------
 * The value
 */
TEST(a_buffer_is_zeroed_pages_of_any_size) {
    const size_t sizes[] = {1, 2, 4095, 4096, 4097, 1 << 20};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        rn_value value = rn_buffer(sizes[i]);
        char text[64], *bytes = rn_as_buffer(value);
        assert_int_equal(rn_kind(value), RN_BUFFER);
        assert_int_equal(rn_length(value), sizes[i]);
        assert_int_equal((uintptr_t)bytes % 4096, 0);
        for (size_t k = 0; k < sizes[i]; k++) assert_int_equal(bytes[k], 0);
        memset(bytes, 'x', sizes[i]);
        rn_format(value, text, sizeof text);
        assert_contains(text, "buffer of ");
        rn_drop(value);
    }
    char text[64];
    rn_value value = rn_buffer(12345);
    assert_int_equal(rn_format(value, text, sizeof text), strlen("buffer of 12345 bytes"));
    assert_string_equal(text, "buffer of 12345 bytes");
    rn_drop(value);
}

TEST(a_size_out_of_range_is_refused_with_both_numbers) {
    assert_fails(rn_buffer(0), RN_INVALID, "0 bytes");
    assert_fails(rn_buffer(0), RN_INVALID, "1099511627776");
    assert_fails(rn_buffer(RN_BUFFER_MAX + 1), RN_TOO_LARGE, "1099511627777 bytes; at most 1099511627776");
    assert_fails(rn_buffer(SIZE_MAX), RN_TOO_LARGE, "rn_buffer");
}

TEST(the_largest_buffer_costs_what_is_touched_of_it) {
    if (UNDER_SANITIZER) skip(); /* its shadow may have the addresses */
    rn_value value = rn_buffer(RN_BUFFER_MAX);
    if (rn_is_error(value)) { /* a machine that promises strictly */
        assert_fails(value, RN_NO_MEMORY, "");
        return;
    }
    char *bytes = rn_as_buffer(value);
    bytes[0] = bytes[RN_BUFFER_MAX - 1] = 1;
    assert_int_equal(bytes[RN_BUFFER_MAX / 2], 0);
    rn_drop(value);
}

TEST(the_last_owner_gives_the_memory_back) {
    unsigned before = descriptors(), mapped = mappings_of_buffers();
    uint64_t held = rn_testing_held(RN_FAULT_MAPPING);
    rn_value value = rn_buffer(4096);
    assert_int_equal(descriptors(), before + 1);
    assert_int_equal(mappings_of_buffers(), mapped + 1);
    assert_int_equal(rn_testing_held(RN_FAULT_MAPPING), held + 1);
    rn_value again = rn_keep(value);
    rn_drop(value);
    memset(rn_as_buffer(again), 1, 4096);
    rn_drop(again);
    assert_int_equal(descriptors(), before);
    assert_int_equal(mappings_of_buffers(), mapped);
    assert_int_equal(rn_testing_held(RN_FAULT_MAPPING), held);
}

TEST(what_is_written_to_a_buffer_is_in_its_memory_and_nothing_goes_beyond_its_end) {
    rn_value value = rn_buffer(10000);
    char *bytes = rn_as_buffer(value);
    assert_int_equal(rn_buffer_write(value, 9997, "end", 3), RN_OK);
    assert_int_equal(rn_buffer_write(value, 0, "start", 5), RN_OK);
    assert_int_equal(rn_buffer_write(value, 10000, "", 0), RN_OK);
    assert_memory_equal(bytes, "start\0", 6);
    assert_memory_equal(bytes + 9996, "\0end", 4);
    assert_int_equal(rn_buffer_write(value, 9998, "end", 3), RN_INVALID);
    assert_int_equal(rn_buffer_write(value, 10001, "", 0), RN_INVALID);
    assert_int_equal(rn_buffer_write(value, 1, "", SIZE_MAX), RN_INVALID);
    assert_memory_equal(bytes + 9996, "\0end", 4);
    assert_misuse("rn_buffer_write: the value is of kind none, not buffer", (void)rn_buffer_write(rn_none(), 0, "", 0));
    rn_drop(value);
}

TEST(reading_a_buffer_as_another_kind_stops_the_program) {
    rn_value value = rn_buffer(7);
    assert_misuse("rn_as_bytes: the value is of kind buffer, not bytes: buffer of 7 bytes", (void)rn_as_bytes(value));
    assert_misuse("rn_as_buffer: the value is of kind none, not buffer", (void)rn_as_buffer(rn_none()));
    assert_misuse("rn_length: the value is of kind int, not text", (void)rn_length(rn_int(1)));
    rn_drop(value);
}

TEST(each_refusal_is_an_error_and_leaves_nothing) {
    const enum rn_fault faults[] = {RN_FAULT_MAPPING, RN_FAULT_MAPPING, RN_FAULT_ALLOCATION};
    const uint64_t passes[] = {1, 2, 1};
    unsigned before = descriptors();
    for (size_t i = 0; i < COUNT_OF(faults); i++) {
        uint64_t held = rn_testing_held(RN_FAULT_MAPPING);
        rn_testing_fail(faults[i], passes[i], 1);
        assert_fails(rn_buffer(4096), RN_NO_MEMORY, "");
        rn_testing_fail(faults[i], 1, 0);
        assert_int_equal(descriptors(), before);
        assert_int_equal(rn_testing_held(RN_FAULT_MAPPING), held);
    }
    machine.refuses_files = true;
    assert_fails(rn_buffer(4096), RN_NO_MEMORY, "");
    machine.refuses_files = false;
    assert_int_equal(descriptors(), before);
}

TEST(a_kernel_that_does_not_know_the_newest_flag_is_asked_without_it) {
    machine.is_old = true;
    machine.files = 0;
    rn_value value = rn_buffer(10);
    machine.is_old = false;
    assert_int_equal(machine.files, 2);
    assert_int_equal(rn_kind(value), RN_BUFFER);
    rn_drop(value);
}

/* Beyond RLIMIT_FSIZE the system sends a signal that ends the program. */
TEST(a_limit_on_file_sizes_is_an_error_and_not_a_signal) {
    char text[1000];
    in_child(text, struct rlimit limit = {.rlim_cur = 8192, .rlim_max = 8192}; setrlimit(RLIMIT_FSIZE, &limit);
             rn_value over = rn_buffer(8193); CHILD_CHECK(rn_error_code(over) == RN_NO_MEMORY); rn_drop(over);
             rn_value within = rn_buffer(8192); CHILD_CHECK(rn_kind(within) == RN_BUFFER); rn_drop(within));
}

static uint64_t bytes_there(rn_value buffer) {
    struct stat facts;
    assert_int_equal(fstat(rni_buffer_file(buffer), &facts), 0);
    return (uint64_t)facts.st_blocks * 512;
}

/* Else a page that is not to be had would be a SIGBUS when it is touched. */
TEST(where_memory_is_promised_strictly_all_pages_are_there_at_once) {
    const char *const settings[] = {"0", "1", "2", ""};
    for (size_t i = 0; i < COUNT_OF(settings); i++) {
        machine.overcommit = settings[i];
        rn_value value = rn_buffer(1 << 20);
        machine.overcommit = NULL;
        assert_int_equal(bytes_there(value), settings[i][0] == '2' ? 1 << 20 : 0);
        rn_drop(value);
    }
}

TEST(nobody_changes_size_or_seals_of_a_buffer) {
    rn_value value = rn_buffer(8192);
    int fd = rni_buffer_file(value);
    assert_int_equal(ftruncate(fd, 4096), -1);
    assert_int_equal(ftruncate(fd, 16384), -1);
    assert_int_equal(fallocate(fd, 0, 0, 16384), -1);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), -1);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    rn_drop(value);
}

/* ------------------------------------------------------------------------------------------------
 * A file that comes from elsewhere
 */
TEST(a_file_that_comes_back_is_the_same_buffer) {
    rn_value value = rn_buffer(5000), back, again;
    unsigned before = descriptors(), mapped = mappings_of_buffers();
    assert_true(rni_buffer_adopt(dup(rni_buffer_file(value)), &back));
    assert_true(rni_buffer_adopt(dup(rni_buffer_file(value)), &again));
    assert_true(back.bits == value.bits && again.bits == value.bits);
    assert_ptr_equal(rn_as_buffer(back), rn_as_buffer(value));
    assert_int_equal(descriptors(), before);
    assert_int_equal(mappings_of_buffers(), mapped);
    rn_drop(value);
    rn_drop(again);
    memset(rn_as_buffer(back), 1, 5000);
    rn_drop(back);
}

TEST(a_file_that_nobody_here_has_is_mapped_with_what_is_in_it) {
    rn_value value = rn_buffer(5000), back;
    int fd = dup(rni_buffer_file(value));
    strcpy(rn_as_buffer(value), "what is in it");
    rn_drop(value);
    assert_true(rni_buffer_adopt(fd, &back));
    assert_int_equal(rn_length(back), 5000);
    assert_string_equal(rn_as_buffer(back), "what is in it");
    rn_drop(back);
}

/* More of them than the table has rows, let go in an order of their own. */
TEST(of_many_buffers_each_is_found_again) {
    enum { COUNT = 300 };
    static rn_value values[COUNT];
    uint64_t seed = random_seed();
    for (size_t i = 0; i < COUNT; i++) values[i] = rn_buffer(i + 1);
    for (size_t left = COUNT; left > 0; left--) {
        size_t at = random_below(&seed, left);
        rn_value back;
        assert_true(rni_buffer_adopt(dup(rni_buffer_file(values[at])), &back));
        assert_true(back.bits == values[at].bits);
        rn_drop(back);
        rn_drop(values[at]);
        values[at] = values[left - 1];
    }
}

static void refuse(int fd) {
    assert_true(fd >= 0);
    unsigned before = descriptors();
    rn_value value = rn_int(1);
    assert_false(rni_buffer_adopt(fd, &value));
    assert_true(rn_is_none(value));
    assert_int_equal(descriptors(), before - 1); /* it was closed */
}

static int file_with(unsigned flags, int seals, off_t size) {
    int fd = __real_memfd_create("odd", MFD_CLOEXEC | flags);
    if (fd < 0) return -1;
    assert_int_equal(ftruncate(fd, size), 0);
    if (seals) assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

enum { FIXED = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL };

TEST(what_is_no_file_of_a_buffer_is_refused_and_closed) {
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    refuse(ends[0]);
    refuse(ends[1]);
    refuse(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    refuse(open("/dev/zero", O_RDWR | O_CLOEXEC));
    refuse(open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    refuse(file_with(0, 0, 4096));
    refuse(file_with(MFD_ALLOW_SEALING, F_SEAL_SHRINK, 4096));
    refuse(file_with(MFD_ALLOW_SEALING, F_SEAL_GROW, 4096));
    refuse(file_with(MFD_ALLOW_SEALING, F_SEAL_SHRINK | F_SEAL_GROW, 4096)); /* a seal against writing might follow */
    refuse(file_with(MFD_ALLOW_SEALING, FIXED | F_SEAL_WRITE, 4096));
    refuse(file_with(MFD_ALLOW_SEALING, FIXED | F_SEAL_FUTURE_WRITE, 4096));
    refuse(file_with(MFD_ALLOW_SEALING, FIXED, 0));
    refuse(file_with(MFD_ALLOW_SEALING, FIXED, (off_t)RN_BUFFER_MAX + 1));
    int huge = file_with(MFD_ALLOW_SEALING | MFD_HUGETLB, FIXED, 2 << 20);
    if (huge >= 0) refuse(huge);
}

TEST(a_file_that_may_not_be_written_is_refused) {
    char path[64];
    int fd = file_with(MFD_ALLOW_SEALING, FIXED, 4096);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    refuse(open(path, O_RDONLY | O_CLOEXEC));
    refuse(open(path, O_WRONLY | O_CLOEXEC));
    refuse(open(path, O_PATH | O_CLOEXEC));
    rn_value value;
    assert_true(rni_buffer_adopt(fd, &value));
    rn_drop(value);
    assert_false(rni_buffer_adopt(-1, &value));
}

TEST(a_file_for_which_there_is_no_memory_is_an_error_and_closed) {
    const enum rn_fault faults[] = {RN_FAULT_MAPPING, RN_FAULT_ALLOCATION};
    for (size_t i = 0; i < COUNT_OF(faults); i++) {
        int fd = file_with(MFD_ALLOW_SEALING, FIXED, 4096);
        unsigned before = descriptors();
        rn_value value;
        rn_testing_fail(faults[i], 1, 1);
        assert_true(rni_buffer_adopt(fd, &value));
        rn_testing_fail(faults[i], 1, 0);
        assert_fails(value, RN_NO_MEMORY, "");
        assert_int_equal(descriptors(), before - 1);
    }
}

/* ------------------------------------------------------------------------------------------------
 * Threads, and fork()
 */
enum { ROUNDS = 20000 };
static int shared_file;

static void *come_and_go(void *unused) {
    (void)unused;
    for (int i = 0; i < ROUNDS; i++) {
        rn_value value;
        if (!rni_buffer_adopt(dup(shared_file), &value) || rn_kind(value) != RN_BUFFER) return "refused";
        ((volatile char *)rn_as_buffer(value))[i % 4096]; /* mapped, whatever the others do */
        rn_drop(value);
    }
    return NULL;
}

TEST(threads_that_take_and_drop_one_buffer_do_not_meet_a_dead_one) {
    pthread_t threads[3];
    unsigned before = descriptors(), mapped = mappings_of_buffers();
    shared_file = file_with(MFD_ALLOW_SEALING, FIXED, 4096);
    for (size_t i = 0; i < COUNT_OF(threads); i++) assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, NULL), 0);
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        void *complaint;
        pthread_join(threads[i], &complaint);
        assert_null(complaint);
    }
    close(shared_file);
    assert_int_equal(descriptors(), before);
    assert_int_equal(mappings_of_buffers(), mapped);
}

TEST(the_child_of_a_fork_shares_the_bytes_and_finds_the_table_whole) {
    if (UNDER_SANITIZER) skip(); /* a child forked beside threads */
    pthread_t thread;
    rn_value value = rn_buffer(4096);
    volatile char *bytes = rn_as_buffer(value);
    shared_file = file_with(MFD_ALLOW_SEALING, FIXED, 4096);
    assert_int_equal(pthread_create(&thread, NULL, come_and_go, NULL), 0);
    for (int i = 0; i < 200; i++) {
        pid_t child = fork();
        if (child == 0) {
            alarm(20); /* a hang on a lock that nobody here holds */
            rn_value back, mine = rn_buffer(1);
            bool same = rni_buffer_adopt(dup(rni_buffer_file(value)), &back) && back.bits == value.bits;
            bytes[0]++;
            rn_drop(mine);
            rn_drop(back);
            rn_drop(value);
            _exit(same ? 0 : 1);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
    pthread_join(thread, NULL);
    close(shared_file);
    assert_int_equal((unsigned char)bytes[0], 200);
    rn_drop(value);
}
