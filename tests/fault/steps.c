#include "steps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum refused refused_now;
struct tally tally;

bool excused(int code) {
    bool memory = refused_now == REFUSED_MEMORY || refused_now == REFUSED_ANY;
    bool threads = refused_now == REFUSED_THREADS || refused_now == REFUSED_ANY;
    return (memory && code == RN_NO_MEMORY) || (threads && code == RN_NO_THREADS);
}

bool excused_error(rn_value value) { return rn_is_error(value) && excused(rn_error_code(value)); }

const char *shown(rn_value value) {
    static _Thread_local char text[256];
    rn_format(value, text, sizeof text);
    return text;
}

void count_log(void *context, const rn_log_record *record) {
    (void)context;
    check(record->message != NULL && strchr(record->message, '\n') == NULL, "a log record without its one line");
    atomic_fetch_add(&tally.logged, 1 + (strlen(record->message) == 0));
}

/* ------------------------------------------------------------------------------------------------
 * Steps that a refusal may turn into an excused error
 */
rn_runtime *opened(rn_options options) {
    options.size = sizeof options;
    if (options.log == NULL)
        options.log = count_log;
    rn_runtime *runtime = rn_open_with(&options);
    rn_value error = rn_open_error(runtime);
    check(rn_is_none(error) || excused_error(error), "open: %s", shown(error));
    return runtime;
}

rn_runtime *opened_with_workers(unsigned workers) { return opened((rn_options){.workers = workers}); }

bool is_open(rn_runtime *runtime) { return rn_is_none(rn_open_error(runtime)); }

void closed(rn_runtime *runtime) {
    int code = rn_close(runtime);
    check(code == RN_OK, "close: %s", rn_code_name(code));
}

void gave_int(rn_future *future, int64_t expected) {
    rn_value value = rn_result(future);
    bool right = rn_kind(value) == RN_INT && rn_as_int(value) == expected;
    check(right || excused_error(value), "result: %s, not %lld", shown(value), (long long)expected);
    check(rn_done(future), "a future that gave its result is not done");
    rn_release(future);
}

void gave_text(rn_future *future, const char *expected) {
    rn_value value = rn_result(future);
    bool right = rn_kind(value) == RN_TEXT && strcmp(rn_as_text(value), expected) == 0;
    check(right || excused_error(value), "result: %s, not %s", shown(value), expected);
    rn_release(future);
}

void gave_error(rn_future *future, int expected) {
    rn_value value = rn_result(future);
    bool right = rn_is_error(value) && rn_error_code(value) == expected;
    check(right || excused_error(value), "result: %s, not %s", shown(value), rn_code_name(expected));
    rn_release(future);
}

/* A run that was stopped or cancelled: it may have been either, but not anything else. */
void gave_int_or_cancelled(rn_future *future, int64_t expected) {
    rn_value value = rn_result(future);
    bool right = rn_kind(value) == RN_INT && rn_as_int(value) == expected;
    bool cancelled = rn_is_error(value) && rn_error_code(value) == RN_CANCELLED;
    check(right || cancelled || excused_error(value), "result: %s", shown(value));
    check(!cancelled || rn_cancelled(future), "RN_CANCELLED from a run that is not cancelled");
    rn_release(future);
}

/* ------------------------------------------------------------------------------------------------
 * Tasks, hooks, destructors
 */
static void destroy(void *pointer) {
    atomic_fetch_add(&tally.destroyed, 1);
    free(pointer);
}

rn_value owned(void) {
    void *pointer = malloc(24);
    atomic_fetch_add(&tally.made, 1);
    return rn_pointer_owned(pointer, destroy);
}

rn_value nine(rn_call *call) {
    (void)call;
    atomic_fetch_add(&tally.iterations, 1);
    return rn_int(9);
}

rn_value echo(rn_call *call) { return rn_keep(rn_arg(call)); }

rn_value fails(rn_call *call) {
    (void)call;
    return rn_error(EIO, "the mail was not sent after %d tries", 3);
}

rn_value fails_because(rn_call *call) {
    rn_value cause = rn_error(ECONNREFUSED, "%s refused", rn_as_text(rn_arg(call)));
    return rn_error_because(cause, EHOSTUNREACH, "no host took the mail");
}

rn_value iteration(rn_call *call) { return rn_int((int64_t)rn_iteration(call)); }

rn_value after_gate(rn_call *call) {
    gate_wait(rn_as_pointer(rn_arg(call)));
    return rn_int(9);
}

static rn_value held(rn_call *call) {
    struct hold *hold = rn_as_pointer(rn_arg(call));
    counter_add(&hold->begun, 1);
    gate_wait(&hold->gate);
    return rn_int(9);
}

/* Returns when a worker is held, or false: the run was refused. */
bool hold_worker(struct hold *hold, rn_runtime *runtime) {
    hold->future = rn_run(runtime, held, .arg = rn_pointer(hold));
    if (rn_done(hold->future))
        return false;
    counter_await(&hold->begun, 1);
    return true;
}

void let_go(struct hold *hold) {
    gate_open(&hold->gate);
    gave_int(hold->future, 9);
}

rn_value until_stopped(rn_call *call) {
    rn_report(call, 0.5);
    if (rn_iteration(call) == 3)
        rn_stop_self(call);
    return rn_int(9);
}

rn_value count_iter(rn_call *call, rn_value success, rn_value error) {
    (void)call;
    atomic_fetch_add(&tally.on_iters, 1);
    check(rn_is_none(success) || rn_is_none(error), "on_iter saw a success and an error");
    return rn_textf("iteration %llu", (unsigned long long)rn_iteration(call));
}

rn_value count_success(rn_call *call, rn_value success) {
    (void)call;
    atomic_fetch_add(&tally.on_successes, 1);
    return rn_keep(success);
}

rn_value count_error(rn_call *call, rn_value error) {
    (void)call;
    atomic_fetch_add(&tally.on_errors, 1);
    return rn_textf("recovered from %d", rn_error_code(error));
}

rn_value count_finished(rn_call *call, rn_value success, rn_value error) {
    (void)call;
    (void)success;
    (void)error;
    atomic_fetch_add(&tally.on_finisheds, 1);
    return rn_text("finished");
}

rn_value failing_hook(rn_call *call, rn_value success, rn_value error) {
    (void)call;
    (void)success;
    return rn_error_because(rn_keep(error), EPROTO, "this hook always fails");
}

void count_done(rn_future *future, void *context) {
    check(rn_done(future), "a done callback before the future is done");
    if (context != NULL)
        counter_add(context, 1);
}
