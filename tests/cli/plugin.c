/*
 * A library whose task crashes: loaded by a program that knows nothing of Runium (loader.c).
 */
#include <runium.h>
#include <stdio.h>
#include <sys/resource.h>

int crash_in_plugin(const char *folder);

static rn_value crash(rn_call *call) {
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    *(volatile int *)(uintptr_t)rn_as_int(rn_arg(call)) = 1;
    return rn_none();
}

int crash_in_plugin(const char *folder) {
    rn_runtime *rn = rn_open(.executor = RN_PROCESSES, .workers = 1, .capsules = folder);
    if (rn_is_error(rn_open_error(rn))) {
        printf("%s\n", rn_error_message(rn_open_error(rn)));
        return 1;
    }
    rn_release(rn_run(rn, crash, .arg = rn_int(0)));
    return rn_close(rn) == RN_OK ? 0 : 1;
}
