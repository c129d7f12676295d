/*
 * Worker processes that are none: the host's side of the library as it is shipped, with the zygote replaced (ld's
 * --wrap), so that what "the process" does is a function in this program. It is called in the host's thread, when that
 * has sent a message: so millions of messages are exchanged without a change of threads, and the same seed gives the
 * same messages.
 */
#ifndef RUNIUM_TESTS_FAKE_WORKER_H
#define RUNIUM_TESTS_FAKE_WORKER_H

#include <stdatomic.h>

#include "process/channel.h"

struct fake {
    rni_channel channel;      /* the worker's end */
    void *host_in, *host_out; /* where the host has mapped the worker's mailbox, and its own */
    int pidfd;                /* an event, which the host takes for a pidfd */
    uint32_t number;
    bool is_dead, is_playing;
    unsigned steps;           /* messages since it began */
    unsigned waited, waited_at; /* how often somebody waited for its word in vain, and after which message */

    /* The player's: where its turn stands. */
    uint8_t stage;
    uint64_t iteration, times, every;
    bool has_hooks, is_starting;
};

/* What a worker does with a message: any number of frames, or its end. The reader is behind the frame's kind. */
typedef void fake_player(struct fake *fake, uint8_t kind, rni_reader *reader);
extern fake_player *fake_plays;

/* Whether the system refuses a new one. NULL: it never does. */
extern bool (*fake_is_refused)(void);

/* Called when a fake has its mailboxes. */
extern void (*fake_appears)(struct fake *fake);

extern atomic_ullong fake_spawned, fake_killed; /* killed: by the host */

/* The process ends, as waitpid() would say it. */
void fake_die(struct fake *fake, int status);

#endif
