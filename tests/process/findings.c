/*
 * What sanitizers are to find in a worker process: the canaries of tests/sanitized.py. The task that does it dies of it,
 * and this program is content with that, as is any test that lets tasks crash.
 *
 *     findings WHAT [sandbox]     task, library, number
 */
#include <runium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 24 };

static char *block(void) {
    char *bytes = malloc(SIZE);
    if (!bytes) abort();
    memset(bytes, 'a', SIZE);
    return bytes;
}

/* The argument of each is 0, which no compiler knows. */
static rn_value overflow_in_the_task(rn_call *call) {
    char *volatile bytes = block(); /* of a size that is not known to the compiler, whose own check would come first */
    bytes[SIZE + rn_as_int(rn_arg(call))] = 'b';
    return rn_int(bytes[0]);
}

static rn_value overflow_in_the_library(rn_call *call) {
    return rn_bytes(block(), (size_t)(SIZE + 1 + rn_as_int(rn_arg(call))));
}

static rn_value overflow_of_a_number(rn_call *call) {
    int number = (int)rn_as_int(rn_arg(call)) + __INT_MAX__;
    return rn_int(number + (number > 0));
}

static rn_task_fn *function_of(const char *what) {
    if (strcmp(what, "task") == 0) return overflow_in_the_task;
    if (strcmp(what, "library") == 0) return overflow_in_the_library;
    return strcmp(what, "number") == 0 ? overflow_of_a_number : NULL;
}

static rn_runtime *open_runtime(bool has_sandbox) {
    const char *const folders[] = {getenv("RUNIUM_TEST_REPORTS"), NULL};
    const rn_sandbox sandbox = {.size = sizeof sandbox, .write = folders};
    return rn_open(.executor = RN_PROCESSES, .workers = 1, .sandbox = has_sandbox ? &sandbox : NULL);
}

int main(int argc, char **argv) {
    rn_task_fn *function = argc > 1 ? function_of(argv[1]) : NULL;
    if (!function) return 2;
    rn_value result = rn_result(rn_run(open_runtime(argc > 2), function, .arg = rn_int(0)));
    bool died = rn_is_error(result) && rn_error_code(result) == RN_CRASHED;
    printf("the task %s\n", died ? rn_error_message(result) : "did not die");
    fflush(stdout);
    _Exit(!died); /* the runtime is not closed: what the worker wrote to stderr may be lost */
}
