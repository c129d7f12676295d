/*
 * What the contenders share that run tasks in other processes: the task itself, the shape of each case, and worker
 * processes that end with the program. A task cannot count itself here, since its counter would be in another process:
 * the submitter checks every result instead, and that each came exactly once.
 */
#ifndef RUNIUM_BENCH_PROCESSES_H
#define RUNIUM_BENCH_PROCESSES_H

#include <sys/types.h>

#include "bench.h"

/* ------------------------------------------------------------------------------------------------
 * Tasks: what runs in the worker
 */

/* Argument and result of a task of the pipelined case and of round trips: 16 bytes. */
struct bench_message {
    uint64_t number; /* of the task, 0, 1, 2 ... */
    uint64_t word;   /* a function of the number; of the result another one */
};

typedef struct bench_message bench_message_fn(struct bench_message argument);

struct bench_message bench_answer(struct bench_message argument);

/* What a pool sends where both sides know the function by its address, which a fork keeps. */
struct bench_order {
    bench_message_fn *function;
    struct bench_message argument;
};

/* The task of the payload case: changes one byte of each page. */
void bench_touch(unsigned char *bytes, size_t size);

/* The task of the death case: writes the time into the descriptor `word` of process `number`, and kills its own. */
struct bench_message bench_die(struct bench_message place);

/* ------------------------------------------------------------------------------------------------
 * Worker processes
 */

/* As fork(), and the child is killed when this process ends, however it ends. */
pid_t bench_fork(void);

/* Waits for the end of a child. */
void bench_reap(pid_t child);

/* All of it, or the measurement has failed. `receive` returns false at the end of the stream. */
void bench_send(int file, const void *bytes, size_t size);
bool bench_receive(int file, void *bytes, size_t size);

/* ------------------------------------------------------------------------------------------------
 * The shapes
 */

/* A pool as one thread sees it that submits tasks and reads results. */
struct bench_stream {
    void *context;
    size_t window; /* most tasks that are submitted and not read; 0: no limit */
    void (*submit)(void *context, struct bench_message argument);
    struct bench_message (*next)(void *context); /* waits for one more result, of any task */
    void (*close)(void *context);                /* ends the pool, and reaps its processes; may be NULL */
};

/* A tenth of job->tasks as a warm-up, then all: reports ns per task and the CPU time of all processes per task. When
 * half of a window is read it is filled up. */
void bench_pipeline(const struct bench_job *job, const struct bench_stream *stream);

/* One task at a time, job->samples of them: reports p50 and p99 in ns. */
void bench_process_trips(const struct bench_job *job, const struct bench_stream *stream);

/* Takes `size` bytes to a worker, which calls bench_touch(), and back; returns where they are, until the next call. */
typedef unsigned char *bench_carry_fn(void *context, unsigned char *payload, size_t size);

/* Carries a payload of job->bytes, job->samples times, and looks at one byte of each page: reports p50 and p99 in ns.
 * `payload` is the memory to use; NULL: any. */
void bench_payload_trips(const struct bench_job *job, bench_carry_fn *carry, void *context, unsigned char *payload);

/* A pool of one worker. */
struct bench_mortal {
    void *context;
    void (*kill)(void *context, struct bench_message place); /* runs bench_die(); returns when its end is known */
    void (*run)(void *context); /* any task, in the worker that takes the place of the dead one */
    bool replaces;              /* false: run() only clears away what is left of the dead one */
};

/* Maps and writes job->bytes, as a program that holds so much. To be called before the first process is started. */
void bench_hold(const struct bench_job *job);

/* Lets workers die, job->samples times, with a pause of job->gap_ns before each: reports the p50 of the time from the
 * death until it is known ("seen") and until the next task has run ("replaced"), in ns. */
void bench_deaths(const struct bench_job *job, const struct bench_mortal *mortal);

#endif
