/*
 * P8: host, zygote and keeper are killed at random moments, in several orders, some stopped before. Nothing of them is
 * left, neither workers nor what those started.
 *
 * The host is this program in another process, which starts workers and lets them end without pause. All of a round
 * are known by an entry of their environment. RUNIUM_TORTURE=1: ten times as many rounds. --canary: the processes of a
 * round are looked for while they should be there, and the test must fail.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "zygote_support.h"

#define LIMIT_NS INT64_C(100000000)
#define GIVE_UP_NS INT64_C(10000000000)

static bool canary;

enum kind {
    HOST,
    ZYGOTE,
    KEEPER,
    ZYGOTE_THEN_HOST,
    HOST_THEN_ZYGOTE,
    STOPPED_ZYGOTE,
    ALL_STOPPED,
    STOPPED_HOST,
    KIND_COUNT
};

static const char *const kind_names[KIND_COUNT] = {
    "host", "zygote", "keeper", "zygote, then host", "host, then zygote", "host, the zygote being stopped",
    "host, all others being stopped", "host, being stopped"};

/* ------------------------------------------------------------------------------------------------
 * The host
 */
_Noreturn static void be_host(bool grandchildren) {
    enum { ALIVE = 3 };
    rni_zygote zygote;
    test_worker workers[ALIVE], worker;
    rn_value error = rni_zygote_start(&zygote);
    if (rn_is_error(error)) _exit(1);
    for (uint32_t i = 0; try_worker(&zygote, &worker) == RN_OK; i++) {
        struct zygote_order end = {ORDER_EXIT, 0}, more = {ORDER_GRANDCHILD, 0};
        if (grandchildren) (void)send_order(&worker, &more);
        if (i >= ALIVE) {
            (void)send_order(&workers[i % ALIVE], &end);
            give_back(&workers[i % ALIVE]);
        }
        workers[i % ALIVE] = worker;
        rni_ended ended;
        while (rni_zygote_news(&zygote, &ended)) {}
    }
    _exit(0);
}

static pid_t start_host(const char *program, const char *mark, bool grandchildren) {
    pid_t host = fork();
    if (host == 0) {
        putenv(strdup(mark));
        execl("/proc/self/exe", program, "--host", grandchildren ? "more" : NULL, (char *)NULL);
        _exit(1);
    }
    return host;
}

/* ------------------------------------------------------------------------------------------------
 * A round
 */
static uint64_t random_state;

static uint64_t random_below(uint64_t limit) {
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (random_state >> 33) % limit;
}

/* The host lives on, so there must be something to kill. */
static void kill_when_there(pid_t host, const char *mark, const char *name) {
    for (int i = 0; i < 10000 && signal_marked(mark, name, SIGKILL) == 0; i++) {
        siginfo_t ended = {.si_pid = 0};
        if (waitid(P_PID, (id_t)host, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid != 0) return;
    }
}

static void kill_in_order(enum kind kind, pid_t host, const char *mark) {
    if (kind == STOPPED_HOST) kill(host, SIGSTOP);
    if (kind == STOPPED_ZYGOTE) signal_marked(mark, "runium-zygote", SIGSTOP);
    if (kind == ALL_STOPPED) {
        const char *const names[] = {"runium-keeper", "runium-zygote", "runium-worker"};
        for (size_t i = 0; i < COUNT_OF(names); i++) signal_marked(mark, names[i], SIGSTOP);
    }
    if (kind == ZYGOTE) kill_when_there(host, mark, "runium-zygote");
    if (kind == KEEPER) kill_when_there(host, mark, "runium-keeper");
    if (kind == ZYGOTE_THEN_HOST) signal_marked(mark, "runium-zygote", SIGKILL);
    if (kind != ZYGOTE && kind != KEEPER) kill(host, SIGKILL);
    if (kind == HOST_THEN_ZYGOTE) signal_marked(mark, "runium-zygote", SIGKILL);
}

/* A host whose zygote was killed ends by itself; until then it is in the count. */
static int64_t await_none(const char *mark, pid_t host) {
    int64_t start = now_ns();
    while (now_ns() - start < GIVE_UP_NS) {
        (void)waitpid(host, NULL, WNOHANG);
        if (count_marked(mark) == 0) break;
        usleep(500);
    }
    return now_ns() - start;
}

static int64_t play_round(const char *program, int number, enum kind kind) {
    char mark[64];
    (void)snprintf(mark, sizeof mark, "ZYGOTE_ROUND=%d.%d", (int)getpid(), number);
    pid_t host = start_host(program, mark, kind != KEEPER);
    usleep((useconds_t)random_below(25000));
    kill_in_order(kind, host, mark);
    unsigned at_once = count_marked(mark); /* some are still there */
    int64_t took = await_none(mark, host);
    kill(host, SIGKILL); /* one that was killed before it was this program */
    (void)waitpid(host, NULL, 0);
    if (took >= GIVE_UP_NS) (void)printf("# %u survive: %s\n", count_marked(mark), kind_names[kind]);
    kill_marked(mark);
    if (canary) assert_int_equal(at_once, 0);
    return took;
}

static const char *this_program;

static void nothing_survives(void **state) {
    (void)state;
    int rounds = getenv("RUNIUM_TORTURE") ? 3000 : 300, late = 0;
    int64_t longest = 0;
    random_state = (uint64_t)now_ns();
    (void)printf("# seed %llu\n", (unsigned long long)random_state);
    for (int i = 0; i < rounds; i++) {
        int64_t took = play_round(this_program, i, (enum kind)(i % KIND_COUNT));
        assert_true(took < GIVE_UP_NS);
        if (took > longest) longest = took;
        late += took > LIMIT_NS;
    }
    /* The limit is for a machine that has nothing else to do: it is told, not held. */
    (void)printf("# P8: %d rounds, 0 survivors, longest %.1f ms, %d above 100 ms\n", rounds, (double)longest / 1e6, late);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "--host") == 0) be_host(argc > 2);
    canary = argc > 1 && strcmp(argv[1], "--canary") == 0;
    this_program = argv[0];
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_survives)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
