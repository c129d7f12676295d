#include "zygote_support.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* ------------------------------------------------------------------------------------------------
 * The host
 */
void start_zygote(rni_zygote *zygote) {
    rn_value error = rni_zygote_start(zygote);
    if (rn_is_error(error)) fail_msg("%s", rn_error_message(error));
    assert_true(rn_is_none(error));
}

int try_worker(rni_zygote *zygote, test_worker *worker) {
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    int code = rni_zygote_spawn(zygote, &pair[1], 1, &worker->pidfd, &worker->number);
    close(pair[1]);
    worker->talk = pair[0];
    if (code != RN_OK) close(pair[0]);
    return code;
}

test_worker start_worker(rni_zygote *zygote) {
    test_worker worker;
    assert_int_equal(try_worker(zygote, &worker), RN_OK);
    return worker;
}

void give_back(test_worker *worker) {
    close(worker->pidfd);
    close(worker->talk);
}

bool send_order(const test_worker *worker, const struct zygote_order *message) {
    return send(worker->talk, message, sizeof *message, MSG_NOSIGNAL) == (ssize_t)sizeof *message;
}

void order(const test_worker *worker, enum order what, int64_t value) {
    assert_true(send_order(worker, &(struct zygote_order){what, value}));
}

const char *ask(const test_worker *worker, enum order what, int64_t value) {
    static char answer[ANSWER_MAX];
    order(worker, what, value);
    ssize_t got;
    do got = recv(worker->talk, answer, sizeof answer, 0);
    while (got < 0 && errno == EINTR);
    assert_true(got > 0);
    return answer;
}

bool await_readable(int fd, int timeout_ms) {
    struct pollfd polled = {.fd = fd, .events = POLLIN};
    int found;
    do found = poll(&polled, 1, timeout_ms);
    while (found < 0 && errno == EINTR);
    return found == 1;
}

rni_ended await_ended(rni_zygote *zygote) {
    rni_ended ended;
    while (!rni_zygote_news(zygote, &ended)) {
        assert_true(await_readable(zygote->socket, 30000));
        assert_false(rni_zygote_is_gone(zygote) && !rni_zygote_news(zygote, &ended));
    }
    return ended;
}

/* ------------------------------------------------------------------------------------------------
 * All processes of a mark
 */
static bool has_entry(const char *pid, const char *entry) {
    char path[300];
    static char text[65536];
    (void)snprintf(path, sizeof path, "/proc/%s/environ", pid);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    ssize_t size = read(file, text, sizeof text - 1);
    close(file);
    return size > 0 && memmem(text, (size_t)size, entry, strlen(entry) + 1); /* with its NUL */
}

static bool is_called(const char *pid, const char *name) {
    char path[300], text[32] = "";
    (void)snprintf(path, sizeof path, "/proc/%s/comm", pid);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    ssize_t size = read(file, text, sizeof text - 1);
    close(file);
    return size > 0 && strncmp(text, name, strlen(name)) == 0;
}

/* Signal 0 counts them alone; name NULL: all. */
static unsigned each_marked(const char *entry, const char *name, int signal) {
    DIR *folder = opendir("/proc");
    unsigned count = 0;
    for (struct dirent *process; (process = readdir(folder));) {
        pid_t pid = atoi(process->d_name);
        if (pid <= 0 || pid == getpid() || !has_entry(process->d_name, entry)) continue;
        if (name && !is_called(process->d_name, name)) continue;
        count++;
        if (signal) kill(pid, signal);
    }
    closedir(folder);
    return count;
}

unsigned count_marked(const char *entry) { return each_marked(entry, NULL, 0); }

unsigned signal_marked(const char *entry, const char *name, int signal) { return each_marked(entry, name, signal); }

void kill_marked(const char *entry) { (void)each_marked(entry, NULL, SIGKILL); }
