/* on_error: a callback that runs once, if the task failed. */
#include <runium.h>

#include <errno.h>

#include "show.h"

static rn_value send_email(rn_call *call) {
    show_task(call, "Sending email...");
    return rn_error(EIO, "Email was not sent.");
}

static rn_value resend_email(rn_call *call) {
    show_task(call, "Sending email again...");
    return rn_text("Email sent at last.");
}

/* The callback must have the error parameter. */
static rn_value on_error(rn_call *call, rn_value error) {
    show_hook(call, "on_error", rn_none(), error);
    return resend_email(call);
}

static rn_value on_success(rn_call *call, rn_value success) {
    show_hook(call, "on_success", success, rn_none());
    return rn_none();
}

int main(void) {
    rn_runtime *rn = rn_open(); /* it also logs each failed iteration, on stderr if there is no .log */

    /* Attach the callback like this. The result is the task's error, with where it arose. */
    show_title("on_error");
    rn_future *future = rn_run(rn, send_email, .on_error = on_error);
    show_result(future);
    rn_release(future);

    /* Together with an on_success callback, which does not run here. The result is the callback's. */
    show_title("on_error with on_success, .updates_result = RN_ON_ERROR");
    future = rn_run(rn, send_email, .on_success = on_success, .on_error = on_error, .updates_result = RN_ON_ERROR);
    show_result(future);
    rn_release(future);

    return rn_close(rn) == RN_OK ? 0 : 1;
}
