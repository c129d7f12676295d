/*
 * No pool at all: a process for each task, which writes its result into a pipe. By fork(), which takes the argument
 * along, or by posix_spawn(), which starts this program anew with the argument on its command line.
 */
#include "processes.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILD "child"

struct tasks {
    int results[2]; /* the pipe of all tasks */
    unsigned char *payload;
};

static struct tasks open_tasks(void) {
    struct tasks tasks;
    if (pipe2(tasks.results, O_CLOEXEC) != 0) {
        bench_fail("pipe: %s", strerror(errno));
    }
    return tasks;
}

/* ------------------------------------------------------------------------------------------------
 * fork()
 */
static void answer_and_end(int file, struct bench_message argument) {
    struct bench_message result = bench_answer(argument);
    bench_send(file, &result, sizeof result);
    _exit(0);
}

static void fork_task(void *pointer, struct bench_message argument) {
    struct tasks *tasks = pointer;
    if (bench_fork() == 0) {
        answer_and_end(tasks->results[1], argument);
    }
}

/* Whichever child it is that is reaped: there is one for each result. */
static struct bench_message next(void *pointer) {
    struct tasks *tasks = pointer;
    struct bench_message result;
    bench_receive(tasks->results[0], &result, sizeof result);
    bench_reap(-1);
    return result;
}

static void pipelined(const struct bench_job *job) {
    struct tasks tasks = open_tasks();
    struct bench_stream stream = {&tasks, job->workers, fork_task, next, NULL};
    bench_pipeline(job, &stream);
}

static void round_trip(const struct bench_job *job) {
    struct tasks tasks = open_tasks();
    struct bench_stream stream = {&tasks, 1, fork_task, next, NULL};
    bench_process_trips(job, &stream);
}

static unsigned char *carry(void *pointer, unsigned char *payload, size_t size) {
    struct tasks *tasks = pointer;
    if (bench_fork() == 0) {
        bench_touch(payload, size);
        bench_send(tasks->results[1], payload, size);
        _exit(0);
    }
    bench_receive(tasks->results[0], tasks->payload, size);
    bench_reap(-1);
    return tasks->payload;
}

static void payload(const struct bench_job *job) {
    struct tasks tasks = open_tasks();
    tasks.payload = bench_allocate(1, job->bytes);
    bench_payload_trips(job, carry, &tasks, NULL);
    free(tasks.payload);
}

static void kill_task(void *context, struct bench_message place) {
    (void)context;
    if (bench_fork() == 0) {
        bench_die(place);
    }
    bench_reap(-1);
}

static void run_task(void *tasks) {
    fork_task(tasks, (struct bench_message){.number = 0});
    next(tasks);
}

static void deaths(const struct bench_job *job) {
    struct tasks tasks = open_tasks();
    struct bench_mortal mortal = {&tasks, kill_task, run_task, true};
    bench_hold(job);
    bench_deaths(job, &mortal);
}

/* ------------------------------------------------------------------------------------------------
 * posix_spawn()
 */
static void spawn_task(void *pointer, struct bench_message argument) {
    struct tasks *tasks = pointer;
    char number[24];
    char word[24];
    char *arguments[] = {(char[]){"bench-fork"}, (char[]){CHILD}, number, word, NULL};
    posix_spawn_file_actions_t actions;
    pid_t child;
    snprintf(number, sizeof number, "%" PRIu64, argument.number);
    snprintf(word, sizeof word, "%" PRIu64, argument.word);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, tasks->results[1], STDOUT_FILENO);
    if (posix_spawn(&child, "/proc/self/exe", &actions, NULL, arguments, environ) != 0) {
        bench_fail("posix_spawn: %s", strerror(errno));
    }
    posix_spawn_file_actions_destroy(&actions);
}

static void child_main(char **words) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    answer_and_end(STDOUT_FILENO, (struct bench_message){strtoull(words[0], NULL, 10), strtoull(words[1], NULL, 10)});
}

static void spawn_pipelined(const struct bench_job *job) {
    struct tasks tasks = open_tasks();
    struct bench_stream stream = {&tasks, job->workers, spawn_task, next, NULL};
    bench_pipeline(job, &stream);
}

static void spawn_round_trip(const struct bench_job *job) {
    struct tasks tasks = open_tasks();
    struct bench_stream stream = {&tasks, 1, spawn_task, next, NULL};
    bench_process_trips(job, &stream);
}

int main(int count, char **arguments) {
    static const struct bench_case cases[] = {
        {"fork", "processes-pipelined", pipelined},
        {"fork", "processes-round-trip", round_trip},
        {"fork", "processes-payload", payload},
        {"fork", "processes-death", deaths},
        {"posix-spawn", "processes-pipelined", spawn_pipelined},
        {"posix-spawn", "processes-round-trip", spawn_round_trip},
        {NULL, NULL, NULL},
    };
    if (count == 4 && strcmp(arguments[1], CHILD) == 0) {
        child_main(arguments + 2);
    }
    return bench_main(count, arguments, "a process for each task, and a pipe", cases);
}
