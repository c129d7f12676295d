/*
 * A worker that is dead, and told dead by the zygote, before the thread that asked for it knows that it has one: how it died
 * is known all the same. And one that died while nobody used it, when the system gives no more: the run that comes next is
 * told so, and does not wait for the dead.
 *
 *     early_deaths     the last line is the figure; --canary: the first worker is left alive, and it must fail
 *
 * The host's side as it is shipped; only the call to the zygote is taken by this program, and passed on.
 */
#include <poll.h>
#include <runium.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "process/zygote.h"
#include "support.h"

static atomic_int deaths_wanted; /* of new workers, once their news have come */
static atomic_bool refuses;

int __real_rni_zygote_spawn(rni_zygote *zygote, const int *fds, uint32_t count, int *pidfd, uint32_t *number);
int __wrap_rni_zygote_spawn(rni_zygote *zygote, const int *fds, uint32_t count, int *pidfd, uint32_t *number);

int __wrap_rni_zygote_spawn(rni_zygote *zygote, const int *fds, uint32_t count, int *pidfd, uint32_t *number) {
    if (atomic_load(&refuses)) {
        zygote->refusal = 11;
        return RN_NO_PROCESSES;
    }
    int code = __real_rni_zygote_spawn(zygote, fds, count, pidfd, number);
    if (code != RN_OK || atomic_load(&deaths_wanted) <= 0) return code;
    atomic_fetch_sub(&deaths_wanted, 1);
    struct pollfd news = {.fd = zygote->socket, .events = POLLIN};
    if (!proof_canary) kill(zygote->worker_pid, SIGKILL);
    (void)poll(&news, 1, proof_canary ? 0 : -1);
    return code;
}

static rn_value number_of_process(rn_call *call) {
    (void)call;
    return rn_int(getpid());
}

static rn_runtime *open_runtime(unsigned workers) {
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = workers, .log = rn_log_nothing);
    check(rn_is_none(rn_open_error(runtime)), "the runtime did not open");
    return runtime;
}

/* As often as a turn is begun again; the name makes it a turn of its own. */
static void a_death_that_is_told_at_once_is_known(void) {
    rn_runtime *runtime = open_runtime(1);
    atomic_store(&deaths_wanted, 3);
    rn_future *future = rn_run(runtime, number_of_process, .name = "early");
    rn_value result = rn_result(future);
    check(rn_is_error(result) && rn_error_code(result) == RN_CRASHED, "it did not crash");
    check(rn_is_error(result) && strstr(rn_error_message(result), "SIGKILL"), "it died of: %s",
          rn_is_error(result) ? rn_error_message(result) : "nothing");
    rn_release(future);
    check(rn_close(runtime) == RN_OK, "the runtime did not close");
    proof_case();
}

/* The dead one belongs to a thread that has nothing to do. */
static void a_dead_worker_that_lies_idle_is_nobody_to_wait_for(void) {
    rn_runtime *runtime = open_runtime(2);
    rn_future *future = rn_run(runtime, number_of_process);
    rn_value result = rn_result(future);
    int number = rn_kind(result) == RN_INT ? (int)rn_as_int(result) : 0;
    rn_release(future);
    atomic_store(&refuses, true);
    if (check(number > 0, "the first run failed")) kill(number, SIGKILL);
    future = rn_run(runtime, number_of_process, .name = "later"); /* in the other thread, as often as not */
    result = rn_result(future);
    check(rn_is_error(result) && rn_error_code(result) == RN_NO_PROCESSES, "it was not told that there is no process");
    rn_release(future);
    atomic_store(&refuses, false);
    check(rn_close(runtime) == RN_OK, "the runtime did not close");
    proof_case();
}

int main(int argc, char **argv) {
    proof_begin(argc, argv, "early deaths");
    guard_against_hang(60);
    a_death_that_is_told_at_once_is_known();
    a_dead_worker_that_lies_idle_is_nobody_to_wait_for();
    return proof_end("rules hold");
}
