#include "takeover_check.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "process/zygote.h"
#include "zygote_worker.h"

static int complain(const char *what, const char *detail) {
    (void)fprintf(stderr, "%s: %s\n", what, detail);
    return 1;
}

static int compare_answer(int talk, const char *(*task)(void), const char *expected) {
    static char answer[ANSWER_MAX];
    struct zygote_order message = {ORDER_CALL, offset_in_program((const void *)(uintptr_t)task)};
    if (send(talk, &message, sizeof message, MSG_NOSIGNAL) < 0 || recv(talk, answer, sizeof answer, 0) <= 0)
        return complain("no answer from", "the worker");
    return strcmp(answer, expected) == 0 ? 0 : complain("the worker said", answer);
}

int takeover_check(const char *(*task)(void), const char *expected) {
    rni_zygote zygote;
    int pair[2], pidfd;
    uint32_t number;
    rn_value error = rni_zygote_start(&zygote);
    if (rn_is_error(error)) return complain("no zygote", rn_error_message(error));
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0 ||
        rni_zygote_spawn(&zygote, &pair[1], 1, &pidfd, &number) != RN_OK)
        return complain("no worker", "");
    close(pair[1]);
    int failed = compare_answer(pair[0], task, expected);
    rni_zygote_stop(&zygote);
    return failed;
}

int takeover_fails(const char *part) {
    rni_zygote zygote;
    rn_value error = rni_zygote_start(&zygote);
    if (!rn_is_error(error)) return complain("a zygote started that should not", part);
    (void)printf("%s\n", rn_error_message(error));
    int failed = strstr(rn_error_message(error), part) ? 0 : complain("the error does not say", part);
    rn_drop(error);
    return failed;
}
