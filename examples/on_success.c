/* on_success: a callback that runs once, if the task succeeded. */
#include <runium.h>

#include "show.h"

static rn_value send_email(rn_call *call) {
    show_task(call, "Sending email...");
    return rn_text("Email sent.");
}

/* The callback must have the success parameter. */
static rn_value on_success(rn_call *call, rn_value success) {
    show_hook(call, "on_success", success, rn_none());
    return rn_literal("Success!");
}

static rn_value on_error(rn_call *call, rn_value error) {
    show_hook(call, "on_error", rn_none(), error);
    return rn_none();
}

int main(void) {
    rn_runtime *rn = rn_open();

    /* Attach the callback like this. */
    show_title("on_success");
    rn_future *future = rn_run(rn, send_email, .on_success = on_success);
    show_result(future);
    rn_release(future);

    /* This callback is often used together with an on_error callback, which does not run here. */
    show_title("on_success with on_error, .updates_result = RN_ON_SUCCESS");
    future = rn_run(rn, send_email, .on_success = on_success, .on_error = on_error, .updates_result = RN_ON_SUCCESS);
    show_result(future);
    rn_release(future);

    return rn_close(rn) == RN_OK ? 0 : 1;
}
