/* The test kit: a clock that jumps, so that a test of a year takes no time, and no test sleeps. */
#include <runium/testing.h>

#include <stdio.h>

static rn_value hourly(rn_call *call) { return rn_int((int64_t)rn_iteration(call)); }

int main(void) {
    rn_testing kit = {.size = sizeof kit, .virtual_clock = true, .seed = 42};
    rn_runtime *rn = rn_open(.workers = 2, .testing = &kit, .log = rn_log_nothing);

    printf("every hour, for a year of 365 days\n");
    rn_future *future = rn_run(rn, hourly, .every = RN_HOURS(1), .times = 24 * 365 + 1);
    int64_t iterations = rn_as_int(rn_result(future));
    printf("  iterations: %d\n", (int)iterations);
    printf("  days on the virtual clock: %d\n", (int)(rn_testing_now(rn) / RN_DAYS(1)));
    rn_release(future);

    return rn_close(rn) == RN_OK ? 0 : 1;
}
