/*
 * A process in which the library cannot hear of forks or of the ends of threads: it must not begin at all. This
 * program plays it by running itself again, with the refusal in its environment.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/run.h"
#include "support.h"

#define VARIABLE "UNIT_REFUSED"

static bool is_refused(const char *what) {
    const char *refused = getenv(VARIABLE);
    return refused && strcmp(refused, what) == 0;
}

int __real_pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void));
int __wrap_pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void));
int __real_pthread_key_create(pthread_key_t *key, void (*destructor)(void *));
int __wrap_pthread_key_create(pthread_key_t *key, void (*destructor)(void *));

int __wrap_pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void)) {
    return is_refused("atfork") ? ENOMEM : __real_pthread_atfork(prepare, parent, child);
}

int __wrap_pthread_key_create(pthread_key_t *key, void (*destructor)(void *)) {
    return is_refused("key") ? EAGAIN : __real_pthread_key_create(key, destructor);
}

static rn_value nothing(rn_call *call) {
    (void)call;
    return rn_none();
}

/* What this program does when it runs again; else nothing. */
TEST(refused) {
    if (!getenv(VARIABLE)) return;
    rn_runtime *runtime = rn_open(.workers = 1);
    rn_future *future = rn_run(runtime, nothing);
    assert_error_code(rn_open_error(runtime), RN_NO_MEMORY);
    assert_error_code(rn_result(future), RN_NO_MEMORY);
    assert_int_equal(rn_close(runtime), RN_OK);
    rn_release(future);
}

static void run_again(const char *what) {
    CHILD_CHECK(setenv(VARIABLE, what, 1) == 0);
    CHILD_CHECK(dup2(STDERR_FILENO, STDOUT_FILENO) == STDOUT_FILENO);
    execl("/proc/self/exe", "hooks", "refused", (char *)NULL);
    child_ends(2);
}

TEST(a_process_that_cannot_hear_of_forks_opens_no_runtime) {
    char text[1000];
    in_child(text, run_again("atfork"));
}

TEST(a_process_that_cannot_hear_of_threads_that_end_opens_no_runtime) {
    char text[1000];
    in_child(text, run_again("key"));
}
