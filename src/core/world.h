/*
 * The world: what all runtimes of a process share. Chunks, the threads that use the library, and the
 * table of open runtimes. It holds no workers and no tasks: there is no hidden runtime.
 *
 * Era: one more in each forked child. Whatever was made in another era is the parent's, and is
 * answered with RN_FORKED, never touched. The child starts with an empty world: it forgets what it
 * inherited, since any lock of it may be held by a thread that the child does not have.
 */
#ifndef RNI_CORE_WORLD_H
#define RNI_CORE_WORLD_H

#include <runium.h>

#include "core/slab.h"

#define RNI_RUNTIMES_MAX 4096u

struct rni_lane;
struct rni_run;

/* A run whose done callbacks are being called: it may be used though it was released. */
typedef struct rni_settling {
    struct rni_run *run;
    struct rni_settling *outer;
} rni_settling;

/* One thread that uses the library: ours or the program's. Only that thread touches it, but for the
 * slabs' chunk lists. Recycled when the thread ends, never freed. */
typedef struct rni_thread {
    rni_slab slabs[RNI_CLASSES];
    struct rni_lane *lane;  /* the one used last */
    struct rni_lane *lanes; /* one per runtime that this thread has used; linked by next_of_thread */
    rn_call *call;          /* the innermost call that runs on this thread, or NULL */
    void *worker;           /* the executor's, if this is a worker */
    uint32_t worker_number; /* its index there, plus 1; else 0 */
    rn_runtime *worker_of;  /* the runtime that it is a worker of, or NULL */
    rni_settling *settling;
    struct rni_thread *next_all;    /* constant once published */
    struct rni_thread *next_vacant; /* guarded by the world's lock */
} rni_thread;

extern __thread rni_thread *rni_self;

/* Guards the graph of waits inside tasks, of all runtimes: see thread/await.c. Here, because a forked child must
 * forget who held it. */
extern rni_mutex rni_waits_lock;

/* The number by which a run of the runtime says that this thread runs it: 0 if it is not a worker of that runtime. */
static inline uint32_t rni_worker_number(const rni_thread *self, const rn_runtime *runtime) {
    return self && self->worker_of == runtime ? self->worker_number : 0;
}

/* This thread's entry; made at first use. NULL if memory is refused. */
rni_thread *rni_thread_make(void);

/* The same in two steps: one that is about to start a thread makes its entry, the thread installs it. */
rni_thread *rni_thread_new(void);
void rni_thread_install(rni_thread *thread);
void rni_thread_give_back(rni_thread *thread); /* not installed */
static inline rni_thread *rni_thread_get(void) { return rni_self ? rni_self : rni_thread_make(); }

/* Any thread: gives the memory of wholly free chunks of all threads back to the system. */
void rni_world_trim(void);

uint32_t rni_world_era(void);

rni_chunk *rni_world_take_chunk(enum rni_class class_of); /* all objects free; NULL if refused */
void rni_world_give_chunk(rni_chunk *chunk);
rni_place *rni_world_places(enum rni_class class_of);     /* the newest; the others by next_all */

/* A new runtime, all zero but for its serial and index. NULL: no memory, or RNI_RUNTIMES_MAX are open. */
rn_runtime *rni_world_open(void);
void rni_world_close(rn_runtime *runtime);
rn_runtime *rni_world_runtime(uint32_t index); /* NULL: closed */

void rni_world_lock(void);
void rni_world_unlock(void);

#endif
