/* Closing: drains by default; or stops; or gives up waiting after a time, and says for what it waited. */
#include <runium.h>

#include <semaphore.h>
#include <stdio.h>

static sem_t begun, may_end;

static rn_value stubborn(rn_call *call) {
    (void)call;
    sem_post(&begun);
    sem_wait(&may_end);
    return rn_none();
}

static rn_value never_begun(rn_call *call) {
    (void)call;
    return rn_none();
}

/* Lists what is pending: name, state, age, iteration, next start, progress. */
static void list_pending(rn_runtime *rn) {
    rn_run_info runs[10];
    int64_t count = rn_pending(rn, runs, 10);
    for (int64_t i = 0; i < count; i++)
        if (runs[i].state == RN_RUNNING) printf("  running: %s, iteration %d\n", runs[i].name, (int)runs[i].iteration);
    printf("  pending: %d\n", (int)count);
}

int main(void) {
    rn_runtime *rn = rn_open(.workers = 1, .log = rn_log_nothing);
    sem_init(&begun, 0, 0);
    sem_init(&may_end, 0, 0);

    printf("one run that does not end, one that is due in an hour\n");
    rn_future *first = rn_run(rn, stubborn);
    rn_future *second = rn_run(rn, never_begun, .start_in = RN_HOURS(1));
    sem_wait(&begun);
    list_pending(rn);

    printf("stop, and wait for 20 ms at most\n");
    int code = rn_close(rn, .how = RN_STOP, .within = RN_MILLISECONDS(20));
    printf("  close: %s\n", rn_code_name(code));
    printf("  the second run: %s\n", rn_code_name(rn_error_code(rn_result(second))));

    printf("close again\n");
    sem_post(&may_end);
    code = rn_close(rn);
    printf("  close: %s\n", rn_code_name(code));
    printf("  the first run is done: %s\n", rn_done(first) ? "yes" : "no");

    rn_release(first);
    rn_release(second);
    return code == RN_OK ? 0 : 1;
}
