/*
 * The zygote: workers are made, watched, ended and reaped, and begin with nothing but what they should.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "zygote_support.h"

static void a_worker_is_not_the_hosts_child_and_leads_a_group(void **state) {
    (void)state;
    rni_zygote zygote;
    start_zygote(&zygote);
    test_worker worker = start_worker(&zygote);
    int pid, parent, group;
    assert_int_equal(sscanf(ask(&worker, ORDER_PID, 0), "%d %d %d", &pid, &parent, &group), 3);
    assert_int_not_equal(pid, getpid());
    assert_int_equal(parent, zygote.pid);
    assert_int_equal(group, pid);
    give_back(&worker);
    rni_zygote_stop(&zygote);
    assert_int_equal(kill(pid, 0), -1);
}

static void an_end_is_told_with_its_status(void **state) {
    (void)state;
    rni_zygote zygote;
    start_zygote(&zygote);
    test_worker a = start_worker(&zygote), b = start_worker(&zygote);
    order(&a, ORDER_EXIT, 7);
    assert_true(await_readable(a.pidfd, 30000));
    rni_ended ended = await_ended(&zygote);
    assert_int_equal(ended.number, a.number);
    assert_true(WIFEXITED(ended.status) && WEXITSTATUS(ended.status) == 7);
    order(&b, ORDER_RAISE, SIGUSR1);
    ended = await_ended(&zygote);
    assert_int_equal(ended.number, b.number);
    assert_true(WIFSIGNALED(ended.status) && WTERMSIG(ended.status) == SIGUSR1);
    give_back(&a);
    give_back(&b);
    rni_zygote_stop(&zygote);
}

static void an_end_is_told_with_its_peak_of_memory(void **state) {
    (void)state;
    rni_zygote zygote;
    start_zygote(&zygote);
    test_worker small = start_worker(&zygote), large = start_worker(&zygote);
    (void)ask(&large, ORDER_TOUCH, 64);
    order(&small, ORDER_EXIT, 0);
    int64_t least = await_ended(&zygote).peak_bytes;
    order(&large, ORDER_EXIT, 0);
    rni_ended ended = await_ended(&zygote);
    assert_true(least > 0 && ended.peak_bytes >= (64 << 20) && ended.peak_bytes > least);
    assert_true(ended.cpu_ns > 0);
    give_back(&small);
    give_back(&large);
    rni_zygote_stop(&zygote);
}

static void a_worker_has_the_listed_descriptors_and_no_other(void **state) {
    (void)state;
    int leak = open("/dev/null", O_RDONLY), high = fcntl(leak, F_DUPFD, 500); /* kept at exec */
    rni_zygote zygote;
    start_zygote(&zygote);
    int pair[2], pidfd;
    uint32_t number;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    int fds[] = {pair[1], leak, high};
    assert_int_equal(rni_zygote_spawn(&zygote, fds, 3, &pidfd, &number), RN_OK);
    close(pair[1]);
    test_worker worker = {pidfd, pair[0], number}, second = start_worker(&zygote);
    assert_string_equal(ask(&worker, ORDER_FDS, 0), "0 1 2 3 4 5 kept: 0 1 2");
    assert_string_equal(ask(&second, ORDER_FDS, 0), "0 1 2 3 kept: 0 1 2");
    assert_string_equal(ask(&second, ORDER_TALK, 0), "wrote 0 read 0");
    give_back(&worker);
    give_back(&second);
    rni_zygote_stop(&zygote);
    close(leak);
    close(high);
}

/* In a process of its own, as the standard streams of this one are needed. */
static void a_host_without_standard_streams_gets_workers_that_have_them(void **state) {
    (void)state;
    pid_t host = fork();
    if (host == 0) {
        for (int fd = 0; fd < 64; fd++) close(fd);
        rni_zygote zygote;
        start_zygote(&zygote);
        test_worker worker = start_worker(&zygote);
        bool good = strcmp(ask(&worker, ORDER_FDS, 0), "0 1 2 3 kept: 0 1 2") == 0 &&
                    strcmp(ask(&worker, ORDER_TALK, 0), "wrote 0 read 0") == 0;
        rni_zygote_stop(&zygote);
        _exit(good ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(host, &status, 0), host);
    assert_int_equal(status, 0);
}

static void nothing(int signal) { (void)signal; }

/* Handlers that the program has before main(): a sanitizer's. Those of libc for its threads (32 and 33) do not count. */
static unsigned long long handlers_in(const char *signals) {
    unsigned long long caught = 0;
    const char *line = strstr(signals, "SigCgt:");
    (void)(line && sscanf(line, "SigCgt: %llx", &caught));
    return caught & ~(UINT64_C(3) << 31);
}

static unsigned long long handlers_at_start;

/* Before cmocka sets its own. */
static void note_handlers(void) {
    char text[1024];
    print_signals(text, sizeof text);
    handlers_at_start = handlers_in(text);
}

static void a_worker_has_no_mask_and_no_handler_of_its_host(void **state) {
    (void)state;
    sigset_t mask, former;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    sigaddset(&mask, SIGTERM);
    sigprocmask(SIG_BLOCK, &mask, &former);
    signal(SIGUSR2, nothing);
    signal(SIGHUP, SIG_IGN);
    signal(SIGCHLD, SIG_IGN);
    rni_zygote zygote;
    start_zygote(&zygote);
    test_worker worker = start_worker(&zygote);
    const char *signals = ask(&worker, ORDER_SIGNALS, 0);
    assert_non_null(strstr(signals, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"));
    assert_true(handlers_in(signals) == handlers_at_start);
    sigset_t after;
    sigprocmask(SIG_SETMASK, &former, &after);
    assert_true(sigismember(&after, SIGUSR1) && sigismember(&after, SIGTERM) && !sigismember(&after, SIGINT));
    for (int number = 1; number < 32; number++) signal(number, SIG_DFL);
    give_back(&worker);
    rni_zygote_stop(&zygote);
}

static void a_worker_has_the_limits_and_the_environment_of_its_host(void **state) {
    (void)state;
    static char expected[ANSWER_MAX];
    setenv("ZYGOTE_TEST", "a = b", 1);
    rni_zygote zygote;
    start_zygote(&zygote);
    test_worker worker = start_worker(&zygote);
    print_limits(expected, sizeof expected);
    assert_string_equal(ask(&worker, ORDER_LIMITS, 0), expected);
    print_environment(expected, sizeof expected);
    assert_string_equal(ask(&worker, ORDER_ENVIRONMENT, 0), expected);
    assert_null(strstr(expected, "RUNIUM_ZYGOTE"));
    give_back(&worker);
    rni_zygote_stop(&zygote);
}

static bool is_gone_soon(pid_t pid) {
    for (int i = 0; i < 3000; i++) {
        char path[64], line[256] = "";
        (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
        FILE *file = fopen(path, "re");
        if (!file) return true;
        bool zombie = fgets(line, sizeof line, file) && strstr(line, ") Z");
        fclose(file);
        if (zombie) return true;
        usleep(1000);
    }
    return false;
}

static void a_grandchild_dies_with_its_worker(void **state) {
    (void)state;
    rni_zygote zygote;
    start_zygote(&zygote);
    test_worker worker = start_worker(&zygote), other = start_worker(&zygote);
    pid_t child = atoi(ask(&worker, ORDER_GRANDCHILD, 0)), stays = atoi(ask(&other, ORDER_GRANDCHILD, 0));
    order(&worker, ORDER_EXIT, 0);
    assert_int_equal(await_ended(&zygote).number, worker.number);
    assert_true(is_gone_soon(child));
    assert_int_equal(kill(stays, 0), 0);
    rni_zygote_stop(&zygote);
    assert_true(is_gone_soon(stays));
    give_back(&worker);
    give_back(&other);
}

static void a_signal_reaches_a_worker_and_its_group(void **state) {
    (void)state;
    rni_zygote zygote;
    start_zygote(&zygote);
    test_worker worker = start_worker(&zygote), other = start_worker(&zygote);
    pid_t child = atoi(ask(&worker, ORDER_GRANDCHILD, 0));
    assert_int_equal(rni_zygote_signal(&zygote, worker.number, RNI_OS_TERMINATE), RN_OK);
    rni_ended ended = await_ended(&zygote);
    assert_int_equal(ended.number, worker.number);
    assert_true(WIFSIGNALED(ended.status) && WTERMSIG(ended.status) == SIGTERM);
    assert_true(is_gone_soon(child));
    assert_int_equal(rni_zygote_signal(&zygote, worker.number, RNI_OS_TERMINATE), RN_OK); /* one that has ended */
    assert_string_equal(ask(&other, ORDER_TALK, 0), "wrote 0 read 0");
    give_back(&worker);
    give_back(&other);
    rni_zygote_stop(&zygote);
}

static void the_zygote_is_not_ended_by_signals_for_the_program(void **state) {
    (void)state;
    rni_zygote zygote;
    start_zygote(&zygote);
    const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGPIPE, SIGUSR1, SIGQUIT};
    for (size_t i = 0; i < COUNT_OF(signals); i++) kill(zygote.pid, signals[i]);
    test_worker worker = start_worker(&zygote);
    assert_string_equal(ask(&worker, ORDER_TALK, 0), "wrote 0 read 0");
    give_back(&worker);
    rni_zygote_stop(&zygote);
}

static void a_stopped_zygote_goes_on_when_it_is_asked(void **state) {
    (void)state;
    rni_zygote zygote;
    start_zygote(&zygote);
    kill(zygote.pid, SIGSTOP);
    test_worker worker = start_worker(&zygote);
    kill(zygote.pid, SIGSTOP);
    give_back(&worker);
    rni_zygote_stop(&zygote);
    assert_int_equal(zygote.socket, -1);
}

static void a_zygote_that_was_killed_is_gone_and_takes_its_workers_along(void **state) {
    (void)state;
    rni_zygote zygote;
    start_zygote(&zygote);
    test_worker worker = start_worker(&zygote), another;
    pid_t child = atoi(ask(&worker, ORDER_GRANDCHILD, 0));
    assert_false(rni_zygote_is_gone(&zygote));
    kill(zygote.pid, SIGKILL);
    assert_true(await_readable(worker.pidfd, 30000));
    assert_true(await_readable(zygote.program.pidfd, 30000));
    assert_true(rni_zygote_is_gone(&zygote));
    assert_int_equal(try_worker(&zygote, &another), RN_CLOSED);
    assert_true(is_gone_soon(child));
    give_back(&worker);
    rni_zygote_stop(&zygote);
}

/* ------------------------------------------------------------------------------------------------
 * Refusals
 */
static void set_fd_limit(rlim_t limit) {
    struct rlimit both;
    getrlimit(RLIMIT_NOFILE, &both);
    both.rlim_cur = limit;
    setrlimit(RLIMIT_NOFILE, &both);
}

static void a_host_without_descriptors_is_told_so_and_recovers(void **state) {
    (void)state;
    struct rlimit former;
    getrlimit(RLIMIT_NOFILE, &former);
    rni_zygote zygote;
    start_zygote(&zygote);
    test_worker worker;
    int pair[2], number = 0;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    int fd = dup(0); /* the lowest that is free */
    close(fd);
    set_fd_limit((rlim_t)fd);
    assert_int_equal(rni_zygote_spawn(&zygote, &pair[1], 1, &worker.pidfd, (uint32_t *)&number), RN_NO_PROCESSES);
    assert_int_equal(zygote.refusal, EMFILE);
    rni_zygote second;
    rn_value error = rni_zygote_start(&second);
    assert_int_equal(rn_error_code(error), RN_NO_PROCESSES);
    rn_drop(error);
    set_fd_limit(former.rlim_cur);
    (void)await_ended(&zygote); /* of the worker that nobody could watch */
    close(pair[0]);
    close(pair[1]);
    worker = start_worker(&zygote);
    assert_string_equal(ask(&worker, ORDER_TALK, 0), "wrote 0 read 0");
    give_back(&worker);
    rni_zygote_stop(&zygote);
}

static void a_zygote_without_descriptors_refuses(void **state) {
    (void)state;
    struct rlimit former;
    getrlimit(RLIMIT_NOFILE, &former);
    rni_zygote zygote;
    start_zygote(&zygote);
    struct rlimit few = {8, former.rlim_max};
    assert_int_equal(prlimit(zygote.pid, RLIMIT_NOFILE, &few, NULL), 0);
    int fds[] = {0, 1, 2, 0, 1, 2}, pidfd;
    uint32_t number;
    assert_int_equal(rni_zygote_spawn(&zygote, fds, 6, &pidfd, &number), RN_NO_PROCESSES);
    assert_int_equal(zygote.refusal, EMFILE);
    assert_int_equal(prlimit(zygote.pid, RLIMIT_NOFILE, &former, NULL), 0);
    test_worker worker = start_worker(&zygote);
    assert_string_equal(ask(&worker, ORDER_FDS, 0), "0 1 2 3 kept: 0 1 2");
    give_back(&worker);
    rni_zygote_stop(&zygote);
}

/* ------------------------------------------------------------------------------------------------
 * The steady state
 */
static unsigned count_children_of(pid_t pid) {
    char path[64], line[4096] = "";
    (void)snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    FILE *file = fopen(path, "re");
    if (!file) return 0;
    if (!fgets(line, sizeof line, file)) line[0] = '\0';
    fclose(file);
    unsigned count = 0;
    for (const char *at = line; *at; at++) count += *at == ' ';
    return count;
}

static unsigned count_fds_of(pid_t pid) {
    unsigned count = 0;
    for (int fd = 0; fd < 256; fd++) {
        char path[64];
        (void)snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)pid, fd);
        count += faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    }
    return count;
}

static void a_thousand_workers_leave_nothing_behind(void **state) {
    (void)state;
    rni_zygote zygote;
    start_zygote(&zygote);
    unsigned here = count_fds(), there = count_fds_of(zygote.pid);
    assert_true(there >= 7);
    for (int i = 0; i < 1000; i++) {
        test_worker worker = start_worker(&zygote);
        assert_int_equal(worker.number, i);
        order(&worker, i % 2 ? ORDER_EXIT : ORDER_RAISE, i % 2 ? i % 256 : SIGKILL);
        rni_ended ended = await_ended(&zygote);
        assert_int_equal(ended.number, i);
        assert_int_equal(ended.status, i % 2 ? (i % 256) << 8 : SIGKILL);
        give_back(&worker);
    }
    assert_int_equal(count_fds(), here);
    assert_int_equal(count_fds_of(zygote.pid), there);
    test_worker last = start_worker(&zygote); /* its answer comes after all that was before it */
    assert_int_equal(count_children_of(zygote.pid), 1);
    give_back(&last);
    rni_zygote_stop(&zygote);
}

/* The host reads no news while 600 workers end: spawning goes on, and nothing is lost. */
static void news_that_nobody_reads_are_kept(void **state) {
    (void)state;
    enum { MANY = 600 };
    rni_zygote zygote;
    start_zygote(&zygote);
    static bool told[MANY];
    for (int i = 0; i < MANY; i++) {
        test_worker worker = start_worker(&zygote);
        order(&worker, ORDER_EXIT, i % 256);
        give_back(&worker);
    }
    for (int i = 0; i < MANY; i++) {
        rni_ended ended = await_ended(&zygote);
        assert_true(ended.number < MANY && !told[ended.number]);
        assert_int_equal(ended.status, (int)(ended.number % 256) << 8);
        told[ended.number] = true;
    }
    rni_zygote_stop(&zygote);
}

static void fifty_zygotes_leave_nothing_behind(void **state) {
    (void)state;
    unsigned here = count_fds();
    for (int i = 0; i < 50; i++) {
        rni_zygote zygote;
        start_zygote(&zygote);
        test_worker worker = start_worker(&zygote);
        give_back(&worker);
        rni_zygote_stop(&zygote);
        assert_int_equal(waitpid(-1, NULL, __WALL | WNOHANG), -1);
        assert_int_equal(errno, ECHILD);
    }
    assert_int_equal(count_fds(), here);
}

static void a_forked_child_forgets_and_the_zygote_goes_on(void **state) {
    (void)state;
    rni_zygote zygote;
    start_zygote(&zygote);
    pid_t child = fork();
    if (child == 0) {
        rni_zygote_forget(&zygote);
        _exit(zygote.socket == -1 && rni_zygote_is_gone(&zygote) ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    test_worker worker = start_worker(&zygote);
    give_back(&worker);
    rni_zygote_stop(&zygote);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_worker_is_not_the_hosts_child_and_leads_a_group),
        cmocka_unit_test(an_end_is_told_with_its_status),
        cmocka_unit_test(an_end_is_told_with_its_peak_of_memory),
        cmocka_unit_test(a_worker_has_the_listed_descriptors_and_no_other),
        cmocka_unit_test(a_host_without_standard_streams_gets_workers_that_have_them),
        cmocka_unit_test(a_worker_has_no_mask_and_no_handler_of_its_host),
        cmocka_unit_test(a_worker_has_the_limits_and_the_environment_of_its_host),
        cmocka_unit_test(a_grandchild_dies_with_its_worker),
        cmocka_unit_test(a_signal_reaches_a_worker_and_its_group),
        cmocka_unit_test(the_zygote_is_not_ended_by_signals_for_the_program),
        cmocka_unit_test(a_stopped_zygote_goes_on_when_it_is_asked),
        cmocka_unit_test(a_zygote_that_was_killed_is_gone_and_takes_its_workers_along),
        cmocka_unit_test(a_host_without_descriptors_is_told_so_and_recovers),
        cmocka_unit_test(a_zygote_without_descriptors_refuses),
        cmocka_unit_test(a_thousand_workers_leave_nothing_behind),
        cmocka_unit_test(news_that_nobody_reads_are_kept),
        cmocka_unit_test(fifty_zygotes_leave_nothing_behind),
        cmocka_unit_test(a_forked_child_forgets_and_the_zygote_goes_on),
    };
    note_handlers();
    alarm(300);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
