/*
 * How many CPUs the process may use, on machines that are only files here: the library's open() is this program's.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/os.h"
#include "support.h"

/* The files of the machine; those not here do not exist. */
static const struct file {
    const char *path, *text;
} *files;
static size_t file_count;

static int affinity; /* how many CPUs the mask has; 0: the call fails */

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_sched_getaffinity(pid_t pid, size_t size, cpu_set_t *set);

static long cpus_online; /* what sysconf() says; 0: the truth */

long __real_sysconf(int name);
long __wrap_sysconf(int name);

long __wrap_sysconf(int name) { return name == _SC_NPROCESSORS_ONLN && cpus_online ? cpus_online : __real_sysconf(name); }

int __wrap_open64(const char *path, int flags, ...) {
    if (strncmp(path, "/sys/", 5) != 0 && strncmp(path, "/proc/", 6) != 0) return __real_open64(path, flags, 0600);
    for (size_t i = 0; i < file_count; i++) {
        if (strcmp(files[i].path, path) != 0) continue;
        int file = memfd_create("file", MFD_CLOEXEC);
        ssize_t written = write(file, files[i].text, strlen(files[i].text));
        (void)written;
        lseek(file, 0, SEEK_SET);
        return file;
    }
    return -1;
}

int __wrap_sched_getaffinity(pid_t pid, size_t size, cpu_set_t *set) {
    (void)pid;
    if (affinity == 0) return -1;
    CPU_ZERO_S(size, set);
    for (int i = 0; i < affinity; i++) CPU_SET_S((size_t)i * 2, size, set);
    return 0;
}

#define CPUS(mask, ...)                                         \
    do {                                                        \
        static const struct file machine[] = {{"/none", ""}, __VA_ARGS__}; \
        files = machine;                                        \
        file_count = COUNT_OF(machine);                         \
        affinity = (mask);                                      \
    } while (0)

#define V2 "/sys/fs/cgroup"
#define V1 "/sys/fs/cgroup/cpu/cpu.cfs_"

static unsigned online(void) { return (unsigned)sysconf(_SC_NPROCESSORS_ONLN); }

TEST(without_a_quota_the_mask_counts) {
    CPUS(1, {"/proc/self/cgroup", "0::/\n"});
    assert_int_equal(rni_os_cpu_count(), 1);
    affinity = 64;
    assert_int_equal(rni_os_cpu_count(), 64);
    files = NULL;
    file_count = 0;
    assert_int_equal(rni_os_cpu_count(), 64);
}

TEST(more_cpus_than_a_mask_holds_are_those_that_are_online) {
    CPUS(0, {"/proc/self/cgroup", "0::/\n"});
    assert_int_equal(rni_os_cpu_count(), online());
    cpus_online = 5000;
    assert_int_equal(rni_os_cpu_count(), 5000);
    cpus_online = -1; /* not even that is known */
    assert_int_equal(rni_os_cpu_count(), 1);
    cpus_online = 0;
}

TEST(a_quota_is_rounded_up) {
    CPUS(64, {V2 "/cpu.max", "400000 100000\n"});
    assert_int_equal(rni_os_cpu_count(), 4);
    CPUS(64, {V2 "/cpu.max", "400001 100000\n"});
    assert_int_equal(rni_os_cpu_count(), 5);
    CPUS(64, {V2 "/cpu.max", "1000 100000\n"});
    assert_int_equal(rni_os_cpu_count(), 1);
    CPUS(2, {V2 "/cpu.max", "400000 100000\n"});
    assert_int_equal(rni_os_cpu_count(), 2);
}

TEST(what_is_no_quota_is_none) {
    CPUS(8, {V2 "/cpu.max", "max 100000\n"});
    assert_int_equal(rni_os_cpu_count(), 8);
    CPUS(8, {V2 "/cpu.max", ""});
    assert_int_equal(rni_os_cpu_count(), 8);
    CPUS(8, {V2 "/cpu.max", "100000"});
    assert_int_equal(rni_os_cpu_count(), 8);
    CPUS(8, {V2 "/cpu.max", "0 100000"});
    assert_int_equal(rni_os_cpu_count(), 8);
    CPUS(8, {V2 "/cpu.max", "9000000000000 1"});
    assert_int_equal(rni_os_cpu_count(), 8);
}

TEST(the_quota_of_every_folder_above_counts) {
    CPUS(64, {"/proc/self/cgroup", "0::/a/b/c\n"}, {V2 "/a/b/c/cpu.max", "max 100000"}, {V2 "/a/b/cpu.max", "500000 100000"},
         {V2 "/a/cpu.max", "300000 100000"}, {V2 "/cpu.max", "700000 100000"});
    assert_int_equal(rni_os_cpu_count(), 3);
    CPUS(64, {"/proc/self/cgroup", "1:name=x:/y\n0::/a/b\n"}, {V2 "/a/b/cpu.max", "200000 100000"},
         {V2 "/a/cpu.max", "300000 100000"});
    assert_int_equal(rni_os_cpu_count(), 2);
}

TEST(the_older_quota_counts) {
    CPUS(64, {V1 "quota_us", "250000\n"}, {V1 "period_us", "100000\n"});
    assert_int_equal(rni_os_cpu_count(), 3);
    CPUS(64, {V1 "quota_us", "-1\n"}, {V1 "period_us", "100000\n"});
    assert_int_equal(rni_os_cpu_count(), 64);
    CPUS(64, {V1 "quota_us", "250000\n"});
    assert_int_equal(rni_os_cpu_count(), 64);
    CPUS(64, {V1 "quota_us", "250000\n"}, {V1 "period_us", "0\n"});
    assert_int_equal(rni_os_cpu_count(), 64);
    CPUS(64, {"/proc/self/cgroup", "4:cpu:/there\n3:memory:/x\n"}, {V1 "quota_us", "250000\n"}, {V1 "period_us", "100000\n"});
    assert_int_equal(rni_os_cpu_count(), 3);
}

/* The mask of this process for real, in a child that narrows it. */
int __real_sched_getaffinity(pid_t pid, size_t size, cpu_set_t *set);

static void narrow_to_one(void) {
    cpu_set_t set;
    CHILD_CHECK(__real_sched_getaffinity(0, sizeof set, &set) == 0);
    size_t first = 0;
    while (!CPU_ISSET(first, &set)) first++;
    CPU_ZERO(&set);
    CPU_SET(first, &set);
    CHILD_CHECK(sched_setaffinity(0, sizeof set, &set) == 0);
    CHILD_CHECK(__real_sched_getaffinity(0, sizeof set, &set) == 0);
    affinity = CPU_COUNT(&set);
    CHILD_CHECK(rni_os_cpu_count() == 1);
    rn_runtime *runtime = rn_open();
    rn_stats stats = {.size = sizeof stats};
    CHILD_CHECK(rn_get_stats(runtime, &stats) == RN_OK && stats.workers_asked == 1 && stats.workers == 1);
    CHILD_CHECK(rn_close(runtime) == RN_OK);
}

TEST(a_process_on_one_cpu_opens_one_worker) {
    char text[1000];
    CPUS(1, {"/proc/self/cgroup", "0::/\n"});
    in_child(text, narrow_to_one());
}
