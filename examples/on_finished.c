/* on_finished: one callback for both ends of a task, success and failure. */
#include <runium.h>

#include "show.h"

static rn_value send_email(rn_call *call) {
    show_task(call, "Sending email...");
    return rn_text("Email sent.");
}

/* The callback must have the success and error parameters. */
static rn_value callback(rn_call *call, rn_value success, rn_value error) {
    show_hook(call, "on_finished", success, error);
    if (rn_is_error(error)) return rn_text("An error occurred.");
    return rn_bool(true);
}

int main(void) {
    rn_runtime *rn = rn_open();

    /* Attach the callback like this. */
    show_title("on_finished");
    rn_future *future = rn_run(rn, send_email, .on_finished = callback);
    show_result(future); /* what the task returned: rn_as_text(rn_result(future)) */
    rn_release(future);

    /* You may also choose to get the result of the callback instead of the task's. */
    show_title("on_finished, .updates_result = RN_ON_FINISHED");
    future = rn_run(rn, send_email, .on_finished = callback, .updates_result = RN_ON_FINISHED);
    show_result(future); /* true: rn_as_bool(rn_result(future)) */
    rn_release(future);

    return rn_close(rn) == RN_OK ? 0 : 1;
}
