/*
 * Uses every macro of runium.h once, in the common subset of C11 and C++11, and the one-line calls where
 * the language has them. header.py compiles it in every dialect, and runs it in some.
 */
#include <runium.h>
#include <runium/testing.h>

#include <errno.h>
#include <string.h>

#if !defined(__cplusplus) || __cplusplus >= 202002L
#define HAS_ONE_LINE_CALLS 1
#else
#define HAS_ONE_LINE_CALLS 0
#endif

static rn_value greet(rn_call *call) {
    if (rn_kind(rn_arg(call)) != RN_TEXT)
        return rn_error(EINVAL, "a text is needed, not %s", rn_kind_name(rn_kind(rn_arg(call))));
    return rn_textf("Hello %s", rn_as_text(rn_arg(call)));
}

static rn_value explain(rn_call *call, rn_value error) {
    (void)call;
    return rn_error_because(rn_keep(error), EIO, "nobody was greeted");
}

static rn_value notice(rn_call *call, rn_value success, rn_value error) {
    (void)call;
    return rn_bool(rn_is_none(error) && !rn_is_none(success));
}

static rn_value praise(rn_call *call, rn_value success) {
    (void)call;
    (void)success;
    return rn_literal("praised");
}

static bool are_same(rn_value one, rn_value other) {
    return one.kind == other.kind && one.aux == other.aux && one.bits == other.bits;
}

/* What is made and read in place, and by the functions, whose names in parentheses are no macros. */
static bool values_agree(void) {
    return are_same(rn_none(), (rn_none)()) && are_same(rn_bool(true), (rn_bool)(true)) &&
           are_same(rn_int(-7), (rn_int)(-7)) && are_same(rn_float(0.5), (rn_float)(0.5)) &&
           rn_as_bool(rn_bool(true)) && (rn_as_bool)(rn_bool(true)) &&
           rn_as_int(rn_int(-7)) == -7 && (rn_as_int)(rn_int(-7)) == -7 &&
           !(rn_as_float(rn_float(0.5)) < 0.5) && !((rn_as_float)(rn_float(0.5)) < 0.5) &&
           rn_is_none(rn_none()) && (rn_is_none)(rn_none()) && !rn_is_error(rn_none()) && !(rn_is_error)(rn_none());
}

static bool durations_agree(void) {
    return RN_MICROSECONDS(1) == RN_NANOSECONDS(1000) && RN_MILLISECONDS(1) == RN_MICROSECONDS(1000) &&
           RN_SECONDS(1) == RN_MILLISECONDS(1000) && RN_MINUTES(1) == RN_SECONDS(60) &&
           RN_HOURS(1) == RN_MINUTES(60) && RN_DAYS(1) == RN_HOURS(24) && RN_WEEKS(1) == RN_DAYS(7) &&
           RN_DURATION_MAX == RN_DAYS(36525);
}

static bool constants_agree(void) {
    return RN_VERSION_MAJOR == 0 && RN_VERSION_MINOR >= 0 && RN_VERSION_PATCH >= 0 && RN_LENGTH_MAX == UINT32_MAX &&
           RN_ENDLESS == UINT64_MAX && RN_SEED_RANDOM == UINT64_MAX && RN_WORKERS_MAX >= 1 && RN_CAPSULES_MAX >= 1 &&
           RN_BUFFER_MAX >= RN_LENGTH_MAX / 4 &&
           RN_GRACE_DEFAULT > 0 && RN_STOP_GRACE_DEFAULT > 0 && RN_QUARANTINE_DEFAULT >= 1 && RN_RESPAWN_RATE_DEFAULT >= 1 &&
           (RN_ON_ITER | RN_ON_SUCCESS | RN_ON_FINISHED) == 11;
}

#if HAS_ONE_LINE_CALLS
static rn_runtime *open_small(void) { return rn_open(.workers = 2, .spare_workers = RN_SPARES_DEFAULT); }

static rn_future *start(rn_runtime *rn, rn_value name) {
    return rn_run(rn, greet, .arg = name, .on_iter = notice, .on_success = praise, .on_error = explain,
                  .on_finished = notice, .updates_result = RN_ON_ERROR);
}

static int start_detached(rn_runtime *rn) { return rn_run_detached(rn, greet, .arg = rn_text("nobody"), .times = 2); }

static int close_now(rn_runtime *rn) { return rn_close(rn, .how = RN_STOP, .within = RN_MINUTES(1)); }
#else
static rn_runtime *open_small() {
    rn_options options = rn_options_default();
    options.workers = 2;
    options.spare_workers = RN_SPARES_DEFAULT;
    return rn_open_with(options);
}

static rn_future *start(rn_runtime *rn, rn_value name) {
    rn_task task = rn_task_of(greet);
    task.arg = name;
    task.on_iter = notice;
    task.on_success = praise;
    task.on_error = explain;
    task.on_finished = notice;
    task.updates_result = RN_ON_ERROR;
    return rn_submit(rn, task);
}

static int start_detached(rn_runtime *rn) { return rn_submit_detached(rn, rn_task_of(greet)); }

static int close_now(rn_runtime *rn) { return rn_close(rn); }
#endif

static bool greets(rn_runtime *rn) {
    rn_future *future = start(rn, rn_text("Bob"));
    bool right = strcmp(rn_as_text(rn_result(future)), "Hello Bob") == 0;
    rn_release(future);
    return right;
}

static bool refuses(rn_runtime *rn) {
    rn_future *future = start(rn, rn_int(7));
    rn_value result = rn_result(future);
    bool right = rn_error_code(result) == EIO && rn_error_code(rn_error_cause(result)) == EINVAL;
    rn_release(future);
    return right;
}

static bool lists(rn_runtime *rn) {
    rn_run_info infos[4];
    memset(infos, 0, sizeof infos);
    return rn_pending(rn, infos, 4) >= 0 && strlen(infos[0].name) <= RN_NAME_MAX;
}

int main(void) {
    rn_runtime *rn = open_small();
    bool right = durations_agree() && values_agree() && constants_agree() && greets(rn) && refuses(rn) && lists(rn) &&
                 start_detached(rn) == RN_OK && close_now(rn) == RN_OK;

    rn_runtime *plain = rn_open();
    right = right && rn_is_none(rn_open_error(plain)) && rn_close(plain) == RN_OK;
    return right ? 0 : 1;
}
