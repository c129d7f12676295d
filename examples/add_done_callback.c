/* add_done_callback: callbacks of the future, for when the run and all its hooks are over. */
#include <runium.h>

#include <semaphore.h>

#include "show.h"

/* A mail server that answers when it is told to: after the callbacks were added, here. */
static sem_t server;

static rn_value send_email(rn_call *call) {
    sem_wait(&server);
    show_task(call, "Sending email...");
    return rn_text("Email sent.");
}

static rn_value on_finished(rn_call *call, rn_value success, rn_value error) {
    show_hook(call, "on_finished", success, error);
    return rn_none();
}

static void done_callback(rn_future *future, void *context) { show_done_callback(*(const int *)context, future); }

int main(void) {
    static int number[] = {1, 2, 3};
    rn_runtime *rn = rn_open();
    sem_init(&server, 0, 0);

    /* Any number of callbacks. They run in the order added, in the thread that completes the future. */
    show_title("add_done_callback");
    rn_future *future = rn_run(rn, send_email, .on_finished = on_finished);
    rn_add_done_callback(future, done_callback, &number[0]);
    rn_add_done_callback(future, done_callback, &number[1]);
    sem_post(&server);
    rn_close(rn); /* waits for the run, its hooks and its callbacks; the future stays valid */

    /* On a future that is done a callback runs at once, in the thread that adds it. */
    rn_add_done_callback(future, done_callback, &number[2]);
    show_result(future);
    rn_release(future);

    sem_destroy(&server);
    return 0;
}
