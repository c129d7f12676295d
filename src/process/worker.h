/*
 * The worker process: takes runs through turns for a host thread, one at a time, and asks the host what its tasks ask of
 * their runtime. Everything here runs in the process's first thread.
 */
#ifndef RNI_PROCESS_WORKER_H
#define RNI_PROCESS_WORKER_H

#include "core/turn.h"
#include "process/channel.h"
#include "process/names.h"

/* What a worker process has, once. */
typedef struct rni_worker_self {
    rni_channel channel;
    rni_names names;
    rn_runtime *runtime;   /* stands for the host's */
    uintptr_t thread;      /* the one that may ask */
    uint64_t run_id;       /* of the run at work */
} rni_worker_self;

extern rni_worker_self rni_worker;

/* Sends the frame that was written and waits for the answer; runs the turns that come before it. False: this is not the
 * thread that may ask; or the frame could not be sent. */
bool rni_ask(rni_reader *answer);

/* client.c: what is asked. */
void rni_client_init(void);

#endif
