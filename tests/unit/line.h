/*
 * Both ends of a channel in one process: what one sends the other reads.
 */
#ifndef TESTS_UNIT_LINE_H
#define TESTS_UNIT_LINE_H

#include <unistd.h>

#include "process/channel.h"
#include "support.h"

static inline void line_open(rni_channel *host, rni_channel *worker) {
    int theirs[3];
    assert_true(rni_channel_make(host, theirs));
    assert_true(rni_channel_join(worker, theirs));
    close(theirs[0]);
    close(theirs[1]);
}

static inline void line_close(rni_channel *host, rni_channel *worker) {
    rni_channel_close(host);
    rni_channel_close(worker);
}

#endif
