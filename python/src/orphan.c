#include <pthread.h>
#include <unistd.h>

#include "module.h"

/*
 * A runtime whose last reference goes in one of its own workers cannot be closed there: the worker would wait for itself.
 * A thread of its own closes it.
 */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned count; /* that are being closed */
static pid_t process;  /* whose they are: a forked child has none of those threads */

struct orphan {
    rn_runtime *handle;
    log_sink *sink;
};

static void *close_orphan(void *context) {
    struct orphan *orphan = context;
    (void)rn_close(orphan->handle, .how = RN_STOP);
    free(orphan->sink);
    free(orphan);
    pthread_mutex_lock(&lock);
    count--;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    return NULL;
}

static void forget_those_of_the_parent(void) {
    if (process == getpid()) return;
    process = getpid();
    count = 0;
}

void orphan_close(rn_runtime *handle, log_sink *sink) {
    pthread_t thread;
    struct orphan *orphan = malloc(sizeof *orphan);
    if (!orphan) return; /* it stays open: nothing runs in it any more */
    *orphan = (struct orphan){handle, sink};
    pthread_mutex_lock(&lock);
    forget_those_of_the_parent();
    count++;
    if (pthread_create(&thread, NULL, close_orphan, orphan) == 0) {
        (void)pthread_detach(thread);
    } else {
        count--;
        free(orphan);
    }
    pthread_mutex_unlock(&lock);
}

void orphans_wait(void) {
    gil_begin_wait();
    pthread_mutex_lock(&lock);
    forget_those_of_the_parent();
    while (count > 0) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    gil_end_wait();
}
