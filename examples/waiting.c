/* Waiting inside a task for other tasks: it never deadlocks, not even with a single worker. */
#include <runium.h>

#include <semaphore.h>
#include <stdio.h>

static rn_value fibonacci(rn_call *call) {
    int64_t n = rn_as_int(rn_arg(call));
    if (n < 2) return rn_int(n);
    rn_future *one = rn_run(rn_runtime_of(call), fibonacci, .arg = rn_int(n - 1));
    rn_future *two = rn_run(rn_runtime_of(call), fibonacci, .arg = rn_int(n - 2));
    int64_t sum = rn_as_int(rn_result(one)) + rn_as_int(rn_result(two));
    rn_release(one);
    rn_release(two);
    return rn_int(sum);
}

/* Two tasks that wait for each other could never end: the second to wait is told so, at once. */
static rn_future *chicken_future, *egg_future;
static sem_t both_started;

static rn_value wait_for_the_other(rn_call *call, rn_future **other) {
    sem_wait(&both_started);
    rn_value result = rn_result(*other);
    if (rn_is_error(result)) {
        printf("  %s: %s: %s\n", rn_name(call), rn_code_name(rn_error_code(result)), rn_error_message(result));
        return rn_literal("alone");
    }
    printf("  %s: the other one is %s\n", rn_name(call), rn_as_text(result));
    return rn_none();
}

static rn_value chicken(rn_call *call) { return wait_for_the_other(call, &egg_future); }

static rn_value egg(rn_call *call) { return wait_for_the_other(call, &chicken_future); }

int main(void) {
    rn_runtime *rn = rn_open(.workers = 1);

    printf("fibonacci(15), a task per call, 1 worker\n");
    rn_future *future = rn_run(rn, fibonacci, .arg = rn_int(15));
    printf("  result: %d\n", (int)rn_as_int(rn_result(future)));
    rn_release(future);

    printf("a true cycle\n");
    sem_init(&both_started, 0, 0);
    chicken_future = rn_run(rn, chicken);
    egg_future = rn_run(rn, egg);
    sem_post(&both_started);
    sem_post(&both_started);
    rn_wait(chicken_future, -1);
    rn_wait(egg_future, -1);
    rn_release(chicken_future);
    rn_release(egg_future);

    sem_destroy(&both_started);
    return rn_close(rn) == RN_OK ? 0 : 1;
}
