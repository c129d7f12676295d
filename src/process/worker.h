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
    bool is_quiet;         /* in a batch whose task has asked nothing of the host yet */
} rni_worker_self;

/* A run as the host describes it. */
typedef struct rni_order {
    enum rni_stage stage;
    uint64_t iteration, times, missed, run_id, now, opened;
    int64_t every;
    uint32_t flags;
    uint32_t message; /* its number */
    bool debug, is_virtual, has_plan, is_hook_failed, has_updated;
    char name[RN_NAME_MAX + 1];
    rn_task_fn *function;
    rni_hooks hooks;
    rni_bounds bounds; /* if its flags say so */
    rn_value arg, outcome, updated;
    rn_value refusal; /* why a function of it is not here, or none */
} rni_order;

extern rni_worker_self rni_worker;

/* Sends the frame that was written and waits for the answer; runs the turns that come before it. False: this is not the
 * thread that may ask; or the frame could not be sent. */
bool rni_ask(rni_reader *answer);

/* The beginning and the end of a turn, around rni_turn_work(). */
void rni_worker_begin_turn(rni_turn *turn, rni_run *run, const rni_order *order);
void rni_worker_end_turn(rni_turn *turn);
void rni_worker_send_end(rni_turn *turn, bool waits);
void rni_worker_send_refusal(rn_value refusal); /* takes it */
void rni_worker_make_portable(rni_turn *turn, rn_value *value, const char *who);

/* worker_batch.c: runs a batch. */
void rni_worker_batch(rni_reader *reader);
void rni_worker_talk(void); /* from here on its current run is a turn like any other */

/* client.c: what is asked. */
void rni_client_init(void);

#endif
