/*
 * What the tests of the zygote share: a worker that does what it is told over a socket, and questions about it.
 *
 * The programs see the library's internals, and are linked with its lower half and this worker in the place of the
 * real one. They are started again by what they test: a worker is told from its host by nothing but its own function.
 */
#ifndef ZYGOTE_SUPPORT_H
#define ZYGOTE_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h> /* needs the ones above */

#include "process/zygote.h"
#include "zygote_worker.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

typedef struct test_worker {
    int pidfd;
    int talk; /* the host's end of its first descriptor */
    uint32_t number;
} test_worker;

/* As rni_zygote_start() and so on, with assertions. */
void start_zygote(rni_zygote *zygote);
test_worker start_worker(rni_zygote *zygote);
int try_worker(rni_zygote *zygote, test_worker *worker); /* what rni_zygote_spawn() says */
void give_back(test_worker *worker);

bool send_order(const test_worker *worker, const struct zygote_order *message); /* false: it is gone */
void order(const test_worker *worker, enum order what, int64_t value);
/* One buffer, overwritten by the next answer. */
const char *ask(const test_worker *worker, enum order what, int64_t value);

/* The next news; waits for it. Fails after 30 s, and when the zygote is gone. */
rni_ended await_ended(rni_zygote *zygote);
bool await_readable(int fd, int timeout_ms);

int64_t now_ns(void);

/* Processes, zombies left out, whose first environment has this entry. */
unsigned count_marked(const char *entry);
unsigned signal_marked(const char *entry, const char *name, int signal); /* those that have this name; how many */
void kill_marked(const char *entry);

#endif
