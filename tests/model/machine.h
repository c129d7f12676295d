/*
 * The machine that an exercise runs on: its threads, its memory, what is known of plain memory.
 * Internal to the checker.
 */
#ifndef RUNIUM_TESTS_MACHINE_H
#define RUNIUM_TESTS_MACHINE_H

#include "checker.h"
#include "model_atomic.h"

#define THREADS 8u
#define LOCATIONS 24u
#define MESSAGES 32u
#define BUFFERED 8u
#define WATCHED 16u

/*
 * Facts: what happens before a point. Of each watched piece of memory: "the last write to it", and
 * per thread "the last read by it". A thread knows a fact if the access happens before its next
 * step; a fact dies when a newer access takes its place. An access races if the fact that it needs
 * is alive and not known.
 */
typedef uint64_t facts;

/* A value that a location had or has. Older ones are kept under MC_VIEWS only. */
typedef struct message {
    uint64_t value;
    facts known;              /* what whoever acquires it gets to know */
    uint8_t view[LOCATIONS];  /* and how far it has to have read then */
} message;

typedef struct location {
    char *address;
    unsigned size;
    unsigned count;           /* of messages */
    unsigned watched;         /* 1 + index of the watched memory that it lies in, or 0 */
    unsigned seq_cst;         /* the last message that a seq_cst operation read or wrote */
    message messages[MESSAGES];
} location;

enum request { REQUEST_NONE, REQUEST_OPERATE, REQUEST_CAS, REQUEST_WAIT, REQUEST_WAKE, REQUEST_CHOOSE };

/* The operation that a thread has stopped before. This, `stored` and `message` are compared as bytes: no padding. */
typedef struct operation {
    enum request request;
    enum mc_kind kind;
    enum mc_order order;
    unsigned location;
    uint64_t value;    /* to store, to add; how many to wake, to choose from */
    uint64_t expected;
    const char *where; /* name of the function that called it */
} operation;

typedef struct stored {
    uint64_t value;
    facts known;
    uint64_t location;
} stored;

enum status { THREAD_READY, THREAD_ASLEEP, THREAD_ENDED };

typedef struct thread {
    void *context[5]; /* of __builtin_setjmp: the third is the stack pointer, below which nothing is alive */
    enum status status;
    operation next;
    uint64_t result;
    bool succeeded;
    facts known;
    uint8_t view[LOCATIONS];
    unsigned buffered;
    stored buffer[BUFFERED];
} thread;

typedef struct piece {
    const char *address;
    size_t size;
    bool freed;
} piece;

typedef struct machine {
    const mc_exercise *exercise;
    unsigned current; /* the running thread, or NOBODY */
    const char *error;
    unsigned locations;
    location location[LOCATIONS];
    thread thread[THREADS];
    unsigned watched;
    piece piece[WATCHED];
    facts alive;
    unsigned early_returns; /* left */
    unsigned last;          /* thread that made the last step */
    unsigned preemptions;   /* left */
} machine;

#define NOBODY (~0u)
#define STACK_SIZE ((size_t)1 << 14)
extern machine m;
extern char stacks[THREADS][STACK_SIZE];

/* coroutine.c */
void machine_start(const mc_exercise *exercise);
void machine_resume(unsigned index); /* runs a thread up to its next operation */
void machine_stop(void);             /* in a thread: back to the checker */

/* state.c */
size_t state_pack(unsigned char *bytes); /* the whole state, in at most STATE_MOST bytes: a multiple of 32 */
void state_unpack(const unsigned char *bytes);
#define STATE_MOST ((size_t)1 << 16)

/* memory.c */
unsigned memory_find(const void *address); /* index of the location, or LOCATIONS */
unsigned memory_outcomes(const thread *t);
void memory_apply(unsigned index, unsigned outcome);
void memory_flush(unsigned index); /* the oldest store of its buffer */
void memory_forget(void);          /* messages that nobody can read any more */
uint64_t memory_value(unsigned index);

/* facts.c */
void facts_atomic(unsigned index, unsigned word);
unsigned facts_piece_of(const void *address);

#endif
