/*
 * P9: whatever a host does with its children and with SIGCHLD, its workers end as they should, and its waits and its
 * handler know of none of them. Each host is a process of its own. --canary: the host makes a child of its own that
 * counts as ours, and the test must fail.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "zygote_support.h"

static bool canary;
static _Atomic int seen; /* ends that the host came to know of */

static void need(bool holds, const char *what) {
    if (holds) return;
    (void)fprintf(stderr, "# %s\n", what);
    _exit(1);
}

/* The same for every host: three causes of death, a grandchild left alone, and the zygote's own end. */
static void use_workers(bool killed) {
    rni_zygote zygote;
    rn_value error = rni_zygote_start(&zygote);
    need(!rn_is_error(error), rn_is_error(error) ? rn_error_message(error) : "");
    test_worker workers[3];
    const struct zygote_order ends[] = {{ORDER_EXIT, 5}, {ORDER_RAISE, SIGABRT}, {ORDER_RAISE, SIGKILL}};
    const int statuses[] = {5 << 8, SIGABRT, SIGKILL};
    for (int i = 0; i < 3; i++) {
        need(try_worker(&zygote, &workers[i]) == RN_OK, "no worker");
        (void)ask(&workers[i], ORDER_GRANDCHILD, 0);
        need(send_order(&workers[i], &ends[i]), "the worker is gone");
        rni_ended ended = await_ended(&zygote);
        need(ended.number == workers[i].number && (ended.status & ~0x80) == statuses[i], "another status");
        give_back(&workers[i]);
    }
    if (canary && fork() == 0) _exit(0);
    test_worker last = start_worker(&zygote);
    (void)ask(&last, ORDER_GRANDCHILD, 0);
    if (killed) kill(zygote.pid, SIGKILL);
    rni_zygote_stop(&zygote);
    give_back(&last);
    usleep(20000); /* what came late would still be seen */
}

static void count_signal(int signal) {
    (void)signal;
    atomic_fetch_add(&seen, 1);
}

static void *wait_for_any(void *nothing) {
    (void)nothing;
    for (;;) {
        if (waitpid(-1, NULL, 0) > 0) atomic_fetch_add(&seen, 1);
        else usleep(200);
    }
    return NULL;
}

static void begin_waiting(void) {
    pthread_t thread;
    need(pthread_create(&thread, NULL, wait_for_any, NULL) == 0, "no thread");
}

/* ------------------------------------------------------------------------------------------------
 * Hosts
 */
static void quiet(void) {}

static void ignoring(void) { signal(SIGCHLD, SIG_IGN); }

static void handling(void) {
    struct sigaction action = {.sa_handler = count_signal, .sa_flags = SA_RESTART};
    sigaction(SIGCHLD, &action, NULL);
}

static void greedy(void) {
    handling();
    begin_waiting();
}

static void daemon_host(void) {
    if (fork() > 0) pause();
    setsid();
    signal(SIGHUP, SIG_IGN);
    need(chdir("/") == 0, "chdir");
    for (int fd = 0; fd <= 2; fd++) close(fd);
    handling();
    begin_waiting();
}

/* As the first process of a container is. */
static void subreaper(void) {
    need(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0, "prctl");
    greedy();
}

static void run_host(void (*become)(void), bool killed) {
    int result[2];
    char byte = 1;
    need(pipe2(result, O_CLOEXEC) == 0, "pipe");
    pid_t host = fork();
    if (host == 0) {
        alarm(60);
        fcntl(result[1], F_DUPFD_CLOEXEC, 10); /* a daemon closes the low ones */
        become();
        use_workers(killed);
        byte = (char)(atomic_load(&seen) == 0 ? 0 : 2);
        ssize_t wrote = write(result[1], &byte, 1);
        _exit(wrote == 1 ? 0 : 1);
    }
    close(result[1]);
    ssize_t got = read(result[0], &byte, 1);
    kill(host, SIGKILL);
    waitpid(host, NULL, 0);
    close(result[0]);
    assert_int_equal(got, 1);
    assert_int_equal(byte, 0);
}

#define HOST_TEST(name, become)               \
    static void name(void **state) {          \
        (void)state;                          \
        run_host(become, false);              \
        run_host(become, true);               \
    }

HOST_TEST(a_quiet_host_sees_nothing, quiet)
HOST_TEST(a_host_that_ignores_the_signal_sees_nothing, ignoring)
HOST_TEST(a_host_with_a_handler_sees_nothing, handling)
HOST_TEST(a_host_that_waits_for_any_child_sees_nothing, greedy)
HOST_TEST(a_daemon_sees_nothing, daemon_host)
HOST_TEST(a_subreaper_sees_nothing, subreaper)

/* With __WALL a host gets the keeper, and nothing hangs for it. */
static void a_host_that_takes_the_keeper_loses_only_a_status(void **state) {
    (void)state;
    rni_zygote zygote;
    start_zygote(&zygote);
    kill(zygote.pid, SIGKILL);
    assert_true(waitpid(-1, NULL, __WALL) > 0);
    assert_true(rni_zygote_is_gone(&zygote));
    rni_zygote_stop(&zygote);
}

/* Its child has copies of the sockets: the zygote must not take that for a host. */
static void a_fork_of_the_host_does_not_keep_the_zygote_alive(void **state) {
    (void)state;
    int told[2], pids[2] = {0, 0}; /* the zygote, the copy of the host */
    assert_int_equal(pipe(told), 0);
    pid_t host = fork();
    if (host == 0) {
        rni_zygote zygote;
        start_zygote(&zygote);
        pids[0] = zygote.pid;
        pids[1] = fork();
        if (pids[1] > 0 && write(told[1], pids, sizeof pids) != (ssize_t)sizeof pids) _exit(1);
        for (;;) pause();
    }
    assert_int_equal(read(told[0], pids, sizeof pids), sizeof pids);
    assert_int_equal(kill(pids[0], 0), 0);
    kill(host, SIGKILL);
    waitpid(host, NULL, 0);
    for (int i = 0; i < 5000 && kill(pids[0], 0) == 0; i++) usleep(1000);
    int gone = kill(pids[0], 0);
    kill(pids[1], SIGKILL);
    assert_int_equal(gone, -1);
    close(told[0]);
    close(told[1]);
}

int main(int argc, char **argv) {
    canary = argc > 1 && strcmp(argv[1], "--canary") == 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_quiet_host_sees_nothing),
        cmocka_unit_test(a_host_that_ignores_the_signal_sees_nothing),
        cmocka_unit_test(a_host_with_a_handler_sees_nothing),
        cmocka_unit_test(a_host_that_waits_for_any_child_sees_nothing),
        cmocka_unit_test(a_daemon_sees_nothing),
        cmocka_unit_test(a_subreaper_sees_nothing),
        cmocka_unit_test(a_host_that_takes_the_keeper_loses_only_a_status),
        cmocka_unit_test(a_fork_of_the_host_does_not_keep_the_zygote_alive),
    };
    alarm(240);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
