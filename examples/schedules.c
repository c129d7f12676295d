/* Schedules: many times, periodically, later, until stopped. */
#include <runium.h>

#include <stdio.h>

static rn_value count(rn_call *call) {
    printf("  iteration %d, %d to come\n", (int)rn_iteration(call), (int)rn_remaining(call));
    return rn_int((int64_t)rn_iteration(call));
}

static rn_value remind(rn_call *call) {
    printf("  %s\n", rn_as_text(rn_arg(call)));
    return rn_none();
}

/* A fixed rate: an iteration that takes too long makes the ticks it covers missed ones, never a burst. */
static rn_value watch(rn_call *call) {
    if (rn_iteration(call) == 3) rn_stop_self(call); /* or rn_stop(future), from anywhere */
    return rn_textf("watched %d times", (int)rn_iteration(call));
}

static void wait_for(rn_future *future) {
    char text[200];
    rn_format(rn_result(future), text, sizeof text);
    printf("  result: %s\n", text);
    rn_release(future);
}

int main(void) {
    rn_runtime *rn = rn_open();

    printf("3 times, 10 ms apart\n");
    wait_for(rn_run(rn, count, .times = 3, .every = RN_MILLISECONDS(10)));

    printf("later\n");
    wait_for(rn_run(rn, remind, .arg = rn_text("Tea is ready."), .start_in_text = "0.02 seconds"));

    printf("at a date and time; one that has gone by means at once\n");
    wait_for(rn_run(rn, remind, .arg = rn_text("Happy new year."), .at_text = "2000-01-01 00:00"));

    printf("until stopped\n");
    wait_for(rn_run(rn, watch, .every_text = "10 ms"));

    return rn_close(rn) == RN_OK ? 0 : 1;
}
