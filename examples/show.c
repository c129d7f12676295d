#define _GNU_SOURCE 1 /* gettid */
#include "show.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SHOWN_SIZE = 256 };

/* Written by a task and read by its hooks, which may run in another thread if Runium is broken. */
static atomic_int task_thread;

static const char *file_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/* A text in quotes, an error as its message in quotes, anything else as rn_format() has it. */
static const char *shown(rn_value value, char *buffer) {
    if (rn_is_error(value)) snprintf(buffer, SHOWN_SIZE, "\"%s\"", rn_error_message(value));
    else if (rn_kind(value) == RN_TEXT) snprintf(buffer, SHOWN_SIZE, "\"%s\"", rn_as_text(value));
    else rn_format(value, buffer, SHOWN_SIZE);
    return buffer;
}

static void show_line(const char *who, const char *what) {
    int here = gettid();
    const char *same = here == atomic_load(&task_thread) ? "yes" : "no";
    printf("  %-14s  %-41s  thread %d, the task's: %s\n", who, what, here, same);
}

void show_title(const char *title) { printf("%s\n", title); }

void show_task(const rn_call *call, const char *output) {
    char line[SHOWN_SIZE];
    atomic_store(&task_thread, gettid());
    snprintf(line, sizeof line, "prints: %s", output);
    printf("  %-14s  %-41s  thread %d\n", rn_name(call), line, gettid());
}

void show_hook(const rn_call *call, const char *hook, rn_value success, rn_value error) {
    char success_shown[SHOWN_SIZE], error_shown[SHOWN_SIZE], who[SHOWN_SIZE], line[3 * SHOWN_SIZE];
    uint64_t iterations = rn_iteration(call) + rn_remaining(call);
    if (iterations > 1) snprintf(who, sizeof who, "%s %d/%d", hook, (int)rn_iteration(call), (int)iterations);
    else snprintf(who, sizeof who, "%s", hook);
    snprintf(line, sizeof line, "success %s, error %s", shown(success, success_shown), shown(error, error_shown));
    show_line(who, line);
}

void show_done_callback(int number, rn_future *future) {
    char result[SHOWN_SIZE], who[SHOWN_SIZE], line[2 * SHOWN_SIZE];
    snprintf(who, sizeof who, "callback %d", number);
    snprintf(line, sizeof line, "done: %s, result %s", rn_done(future) ? "yes" : "no",
             shown(rn_result(future), result));
    show_line(who, line);
}

void show_result(rn_future *future) {
    char text[SHOWN_SIZE];
    rn_value result = rn_result(future);
    printf("  %-14s  %s%s\n", "result", rn_is_error(result) ? "error " : "", shown(result, text));
    if (rn_is_error(result))
        printf("  %-14s  code %d, from %s, iteration %d, %s:%d\n", "", rn_error_code(result), rn_error_task(result),
               (int)rn_error_iteration(result), file_of(rn_error_file(result)), rn_error_line(result));
}
