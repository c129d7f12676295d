/* on_iter: a callback that runs after every iteration, whether it succeeded or failed. */
#include <runium.h>

#include <errno.h>

#include "show.h"

static rn_value send_email(rn_call *call) {
    show_task(call, "Sending email...");
    return rn_text("Email sent.");
}

/* An iteration that fails does not end the schedule. */
static rn_value send_sometimes(rn_call *call) {
    show_task(call, "Sending email...");
    if (rn_iteration(call) == 2) return rn_error(EBUSY, "The server is busy.");
    return rn_textf("Email %d sent.", (int)rn_iteration(call));
}

/* The callback must have the success and error parameters. */
static rn_value callback(rn_call *call, rn_value success, rn_value error) {
    show_hook(call, "on_iter", success, error);
    if (rn_is_error(error)) return rn_text("An error occurred.");
    return rn_bool(true);
}

int main(void) {
    rn_runtime *rn = rn_open();

    /* The callback will be executed 3 times. */
    show_title("on_iter, .times = 3");
    rn_future *future = rn_run(rn, send_email, .on_iter = callback, .times = 3);
    show_result(future);
    rn_release(future);

    /* Also 3 times, 20 ms apart; the second iteration fails. The result is the callback's last. */
    show_title("on_iter, .times = 3, .every = RN_MILLISECONDS(20), .updates_result = RN_ON_ITER");
    future = rn_run(rn, send_sometimes, .on_iter = callback, .updates_result = RN_ON_ITER, .times = 3,
                    .every = RN_MILLISECONDS(20));
    show_result(future);
    rn_release(future);

    return rn_close(rn) == RN_OK ? 0 : 1;
}
