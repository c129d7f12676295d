/*
 * A plugin that uses Runium: t10_dlopen loads and unloads it again and again. Its own functions are
 * unmapped each time, so nothing of the library may call them after rn_close() has returned.
 */
#include <runium.h>
#include <stdbool.h>

bool plugin_use(bool closes);

static rn_value square(rn_call *call) {
    int64_t number = rn_as_int(rn_arg(call));
    return rn_int(number * number);
}

static void add_result(rn_future *future, void *context) {
    int64_t *sum = context;
    *sum += rn_as_int(rn_result(future));
}

static int64_t run_some(rn_runtime *runtime) {
    rn_future *futures[4];
    int64_t sum = 0;
    for (int i = 0; i < 4; i++)
        futures[i] = rn_run(runtime, square, .arg = rn_int(i), .start_in = i == 3 ? RN_MICROSECONDS(50) : 0);
    for (int i = 0; i < 4; i++) {
        rn_wait(futures[i], -1);
        rn_add_done_callback(futures[i], add_result, &sum);
        rn_release(futures[i]);
    }
    return sum;
}

/* Returns whether all went well. A runtime that stays open keeps its workers, but none of our code. */
__attribute__((visibility("default"))) bool plugin_use(bool closes) {
    rn_runtime *runtime = rn_open(.workers = 1, .log = rn_log_nothing);
    if (!rn_is_none(rn_open_error(runtime)))
        return false;
    bool right = run_some(runtime) == 0 + 1 + 4 + 9;
    return (!closes || rn_close(runtime) == RN_OK) && right;
}
