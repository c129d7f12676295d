/*
 * Tasks that crash, and a program that does not: 1,000 tasks in worker processes, of which 5 write to address 0.
 */
#include <runium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { TASKS = 1000 };

static rn_value divide_or_crash(rn_call *call) {
    int64_t number = rn_as_int(rn_arg(call));
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}); /* no core files of what is meant to crash */
    if (number % 200 == 100) *(volatile int *)(uintptr_t)(number - number) = 1;
    return rn_int(number / 2);
}

static rn_value in_short(rn_call *call, rn_value error) {
    (void)call;
    return rn_textf("%.*s", (int)strcspn(rn_error_message(error), ";"), rn_error_message(error));
}

int main(void) {
    static rn_future *futures[TASKS];
    int results = 0, crashes = 0;
    rn_runtime *rn = rn_open(.executor = RN_PROCESSES, .workers = 4, .log = rn_log_nothing);
    if (rn_is_error(rn_open_error(rn))) {
        fprintf(stderr, "no worker processes: %s\n", rn_error_message(rn_open_error(rn)));
        return EXIT_FAILURE;
    }
    for (int i = 0; i < TASKS; i++)
        futures[i] = rn_run(rn, divide_or_crash, .arg = rn_int(i), .on_error = in_short,
                            .updates_result = RN_ON_ERROR);
    for (int i = 0; i < TASKS; i++) {
        rn_value result = rn_result(futures[i]);
        if (rn_kind(result) == RN_INT) results += rn_as_int(result) == i / 2;
        else if (crashes++ == 0) printf("task %d: %s\n", i, rn_as_text(result));
        rn_release(futures[i]);
    }
    printf("%d results, %d crashes, and this program goes on.\n", results, crashes);
    return rn_close(rn) == RN_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
