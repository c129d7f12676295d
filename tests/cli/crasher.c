/*
 * A program whose tasks crash where they are told to, and leave capsules: crasher FOLDER WHERE [ITERATION]
 *
 * It prints a line for each run: how it ended.
 */
#include <fcntl.h>
#include <runium.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static int *volatile nowhere;

/* Anything else is fine. */
static void crash(const char *how) {
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    if (strcmp(how, "segv") == 0) *nowhere = 1; /* the line of the crash */
    if (strcmp(how, "abort") == 0) abort();
    if (strcmp(how, "exit") == 0) exit(3);
    if (strcmp(how, "kill") == 0) raise(SIGKILL);
}

/* Uses that much of the stack. */
static int recurse(long bytes) {
    volatile char used[10000] = {1};
    return bytes > 0 ? recurse(bytes - (long)sizeof used) + used[0] : used[1];
}

/* The argument is "WHERE HOW ITERATION", or else one of the words here. */
static void crash_in(rn_call *call, const char *here) {
    char where[32], how[32], folder[4001];
    unsigned long long iteration;
    long bytes;
    if (sscanf(rn_as_text(rn_arg(call)), "recurse %ld", &bytes) == 1) (void)recurse(bytes);
    if (sscanf(rn_as_text(rn_arg(call)), "removes %4000s", folder) == 1) rmdir(folder), crash("segv");
    if (strcmp(rn_as_text(rn_arg(call)), "always") == 0 && strcmp(here, "function") == 0) crash("segv");
    if (sscanf(rn_as_text(rn_arg(call)), "%31s %31s %llu", where, how, &iteration) != 3) return;
    if (strcmp(where, here) == 0 && iteration == rn_iteration(call)) crash(how);
}

static rn_value work(rn_call *call) {
    crash_in(call, "function");
    if (strstr(rn_as_text(rn_arg(call)), "fails")) return rn_error(EXIT_FAILURE, "as told");
    return rn_textf("%s %s", rn_as_text(rn_arg(call)), getenv("CRASHER") ? getenv("CRASHER") : "nothing");
}

static rn_value on_iter(rn_call *call, rn_value success, rn_value error) {
    (void)success, (void)error;
    crash_in(call, "on_iter");
    return rn_none();
}

static rn_value on_success(rn_call *call, rn_value success) {
    if (!strstr(rn_as_text(success), rn_as_text(rn_arg(call)))) abort(); /* the outcome is the one that it had */
    crash_in(call, "on_success");
    return rn_none();
}

static rn_value on_error(rn_call *call, rn_value error) {
    if (strstr(rn_as_text(rn_arg(call)), "fails") && strcmp(rn_error_message(error), "as told") != 0) abort();
    crash_in(call, "on_error");
    return rn_none();
}

static rn_value on_finished(rn_call *call, rn_value success, rn_value error) {
    (void)success, (void)error;
    crash_in(call, "on_finished");
    return rn_none();
}

/* What a replay answers: it prints it, and then crashes if the argument says so. */
static rn_value ask(rn_call *call) {
    rn_future *future = rn_run(rn_runtime_of(call), work, .arg = rn_text("nowhere fine 1"));
    rn_value inner = rn_result(future);
    char folder[4096];
    printf("asked: %s; %s, iteration %d, %d remain, %d missed, %s, in %s, input %d, %s, %d variables of ours\n",
           rn_as_text(inner), rn_name(call), (int)rn_iteration(call), (int)rn_remaining(call), (int)rn_missed(call),
           rn_stopping(call) ? "stopping" : "going on", getcwd(folder, sizeof folder) ? folder : "nowhere", getchar(),
           rn_runtime_of(call) ? "a runtime" : "none",
           (getenv("RUNIUM_REPLAY") != NULL) + (getenv("LD_PRELOAD") != NULL));
    fflush(stdout);
    rn_report(call, 0.5);
    rn_release(future);
    crash_in(call, "function");
    return rn_none();
}

/* Waits for a run that its own process begins. */
static rn_value inline_it(rn_call *call) {
    rn_future *future = rn_run(rn_runtime_of(call), work, .arg = rn_keep(rn_arg(call)));
    rn_value result = rn_keep(rn_result(future));
    rn_release(future);
    return result;
}

/* Its argument is a buffer of a MiB, at whose end stands what to do. */
static rn_value read_buffer(rn_call *call) {
    const char *end = (const char *)rn_as_buffer(rn_arg(call)) + rn_length(rn_arg(call)) - 16;
    crash(end);
    return rn_textf("%zu bytes, %s", rn_length(rn_arg(call)), end);
}

static rn_value make_buffer(const char *end) {
    rn_value buffer = rn_buffer(1 << 20);
    if (!rn_is_error(buffer)) snprintf((char *)rn_as_buffer(buffer) + rn_length(buffer) - 16, 16, "%s", end);
    return buffer;
}

enum { PLAIN_RUNS = 200 };

/* Runs without hooks and names, which go to worker processes many at a time; one of them crashes. */
static void run_many(rn_runtime *rn) {
    rn_future *futures[PLAIN_RUNS];
    int crashes = 0;
    for (int i = 0; i < PLAIN_RUNS; i++)
        futures[i] = rn_run(rn, work, .arg = rn_text(i == PLAIN_RUNS / 2 ? "function segv 1" : "function fine 1"));
    for (int i = 0; i < PLAIN_RUNS; i++) {
        crashes += rn_is_error(rn_result(futures[i]));
        rn_release(futures[i]);
    }
    printf("%d crashes\n", crashes);
}

int main(int count, char **words) {
    if (count < 3) return 2;
    const char *argument = words[2];
    uint64_t times = count > 3 ? strtoull(words[3], NULL, 10) : 1;
    rn_runtime *rn = rn_open(.executor = RN_PROCESSES, .workers = 1, .capsules = words[1][0] ? words[1] : NULL,
                             .quarantine = 1000, .respawn_rate = 10000);
    if (rn_is_error(rn_open_error(rn))) {
        printf("%s: %s\n", rn_code_name(rn_error_code(rn_open_error(rn))), rn_error_message(rn_open_error(rn)));
        printf("%s\n", fcntl(STDIN_FILENO, F_GETFD) < 0 ? "and the input was closed" : "and no more");
        return 1;
    }
    if (strcmp(argument, "many") == 0) {
        run_many(rn);
        return rn_close(rn) == RN_OK ? 0 : 1;
    }
    rn_task_fn *function = strstr(argument, "asks") ? ask : strstr(argument, "inlines") ? inline_it : work;
    if (strcmp(argument, "buffer") == 0) {
        rn_release(rn_run(rn, read_buffer, .arg = make_buffer("segv")));
        return rn_close(rn) == RN_OK ? 0 : 1;
    }
    rn_future *future = rn_run(rn, function, .arg = rn_text(argument), .on_iter = on_iter, .on_success = on_success,
                               .on_error = on_error, .on_finished = on_finished, .times = times, .name = "a/task");
    rn_value result = rn_result(future);
    printf("%s\n", rn_is_error(result) ? rn_error_message(result) : "fine");
    rn_release(future);
    return rn_close(rn) == RN_OK ? 0 : 1;
}
