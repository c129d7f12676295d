/*
 * The sandbox on kernels whose Landlock is older than the one that runs here: what it does not see there, the filter of
 * system calls refuses. Each test is a child with that filter alone, made for an old version.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/os_sandbox.h"

#define OPENAT2 437

static char path[] = "/tmp/runium-sandbox-old-XXXXXX";

static void enter(uint32_t version, bool processes) {
    const rni_os_sandbox sandbox = {.files = -1, .version = version, .processes = processes};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || rni_os_filter_enter(&sandbox) != 0) _exit(100);
}

/* In a child: the result of act(), 0 or an errno. */
static int within(uint32_t version, bool processes, int (*act)(void)) {
    int status;
    pid_t child = fork();
    if (child == 0) {
        enter(version, processes);
        _exit(act());
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int result_of(long result) { return result < 0 ? errno : 0; }

static int truncates(void) { return result_of(truncate(path, 1)); }
static int opens_to_empty(void) { return result_of(open(path, O_RDONLY | O_TRUNC | O_CLOEXEC)); }
static int opens_for_nothing_to_empty(void) { return result_of(open(path, O_ACCMODE | O_TRUNC | O_CLOEXEC)); }
static int opens_the_old_way(void) {
#ifdef SYS_open
    return result_of(syscall(SYS_open, path, O_RDONLY | O_TRUNC | O_CLOEXEC, 0));
#else
    return EPERM;
#endif
}
static int opens_to_write(void) { return result_of(open(path, O_WRONLY | O_TRUNC | O_CLOEXEC)); }
static int opens_by_a_structure(void) {
    unsigned long long how[3] = {O_RDONLY | O_CLOEXEC, 0, 0};
    return result_of(syscall(OPENAT2, AT_FDCWD, path, how, sizeof how));
}

static void before_version_3_nothing_is_truncated_that_was_not_opened_to_be_written(void **state) {
    (void)state;
    int (*const acts[])(void) = {truncates, opens_to_empty, opens_for_nothing_to_empty, opens_the_old_way};
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) {
        assert_int_equal(within(2, false, acts[i]), EPERM);
        if (acts[i] != opens_the_old_way) assert_int_equal(within(3, false, acts[i]), 0);
    }
    assert_int_equal(within(2, false, opens_by_a_structure), ENOSYS);
    assert_int_equal(within(3, false, opens_by_a_structure), 0);
    assert_int_equal(within(2, false, opens_to_write), 0);
}

static int signals_its_parent(void) { return result_of(kill(getppid(), 0)); }
static int signals_itself(void) { return result_of(kill(getpid(), 0)); }
static int joins_the_group_of_its_parent(void) { return result_of(setpgid(0, getpgid(getppid()))); }

static int forks(void) {
    pid_t child = fork();
    if (child == 0) _exit(0);
    return child < 0 ? errno : waitpid(child, NULL, 0) == child ? 0 : errno;
}

static void before_version_6_a_signal_goes_no_further_than_to_oneself(void **state) {
    (void)state;
    assert_int_equal(within(5, true, signals_its_parent), EPERM);
    assert_int_equal(within(5, true, joins_the_group_of_its_parent), EPERM);
    assert_int_equal(within(5, true, signals_itself), 0);
    assert_int_equal(within(5, true, forks), 0);
    assert_int_equal(within(6, true, signals_its_parent), 0); /* there Landlock says no */
    assert_int_equal(within(6, false, signals_its_parent), EPERM);
    assert_int_equal(within(6, false, forks), EPERM);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(before_version_3_nothing_is_truncated_that_was_not_opened_to_be_written),
        cmocka_unit_test(before_version_6_a_signal_goes_no_further_than_to_oneself),
    };
    int fd = mkstemp(path);
    if (fd < 0) return 2;
    close(fd);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
