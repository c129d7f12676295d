/*
 * Tasks that crash, and a program that does not: 1,000 tasks in worker processes, of which 5 write to address 0.
 *
 *     crash_proof [FOLDER]     with a folder, `runium replay FILE` runs again what crashed
 */
#include <runium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

enum { TASKS = 1000 };

static rn_value divide_or_crash(rn_call *call) {
    int64_t number = rn_as_int(rn_arg(call));
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}); /* no core files of what is meant to crash */
    if (number % 200 == 100) *(volatile int *)(uintptr_t)(number - number) = 1;
    return rn_int(number / 2);
}

/* An error with all that is known about it: where it crashed, and how it came there. */
static void show(int number, rn_value error) {
    char text[4096];
    rn_format(error, text, sizeof text);
    printf("task %d: %s\n\n", number, text);
}

int main(int count, char **words) {
    static rn_future *futures[TASKS];
    int results = 0, crashes = 0;
    rn_runtime *rn = rn_open(.executor = RN_PROCESSES, .workers = 4, .log = rn_log_nothing,
                             .capsules = count > 1 ? words[1] : NULL, /* a folder: each crash leaves a file there */
                             .quarantine = 10);                       /* it may crash that often */
    if (rn_is_error(rn_open_error(rn))) {
        fprintf(stderr, "no worker processes: %s\n", rn_error_message(rn_open_error(rn)));
        return EXIT_FAILURE;
    }
    for (int i = 0; i < TASKS; i++) futures[i] = rn_run(rn, divide_or_crash, .arg = rn_int(i));
    for (int i = 0; i < TASKS; i++) {
        rn_value result = rn_result(futures[i]);
        if (!rn_is_error(result)) results += rn_as_int(result) == i / 2;
        else if (crashes++ == 0) show(i, result);
        rn_release(futures[i]);
    }
    printf("%d results, %d crashes, and this program goes on.\n", results, crashes);
    return rn_close(rn) == RN_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
