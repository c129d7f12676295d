/*
 * A model checker for the shipped C: it runs a few threads as coroutines, stops each before every
 * atomic operation, and visits every state that any order of these operations can reach.
 *
 * A state is all of it: the shared memory, what each thread has on its stack and in its registers,
 * and what the memory model holds back (store buffers, messages that may still be read). A state is
 * saved by copying it and never visited twice, so loops are no trouble and "all interleavings"
 * means all, not those of some depth.
 *
 * What an exercise has to keep to: everything that its threads change lies in `shared` (or on their
 * stacks); every atomic word is stored to in `start`; nothing else has an effect (no heap, no I/O).
 */
#ifndef RUNIUM_TESTS_CHECKER_H
#define RUNIUM_TESTS_CHECKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mc_memory {
    MC_SC,   /* sequential consistency */
    MC_TSO,  /* x86: plain and release stores wait in a buffer of their thread, in order */
    MC_VIEWS /* C11 as RC11 has it, but for load buffering: loads may read old values; see README.md */
};

#define MC_ALL (~0u)

typedef struct mc_exercise {
    const char *name;
    unsigned threads;
    void (*start)(void);           /* fills the shared memory; its operations happen at once */
    void (*thread)(unsigned self); /* the body of each thread */
    void (*at_state)(void);        /* what holds in every state; may be NULL */
    void (*at_end)(void);          /* what holds when no thread can go on */
    void *shared;
    size_t shared_size;
    enum mc_memory memory;
    unsigned preemptions;   /* visit schedules with at most so many; MC_ALL */
    unsigned early_returns; /* how often rni_os_wait() may return for no reason */
} mc_exercise;

typedef struct mc_counts {
    uint64_t states;
    uint64_t steps; /* from a state to another */
    uint64_t ends;  /* states in which no thread can go on */
    uint64_t depth; /* of the longest way */
} mc_counts;

/* Visits all states. False at the first error, after printing the way there. */
bool mc_check(const mc_exercise *exercise, mc_counts *counts);

/* From here on for exercises. A false condition is an error. */
#define mc_assert(condition) ((condition) ? (void)0 : mc_fail(__FILE__, __LINE__, #condition))
void mc_fail(const char *file, int line, const char *text);

/* In a thread: every number below `bound`, each in a state of its own. */
unsigned mc_choose(unsigned bound);

/* In `start`: plain memory whose accesses are checked for data races, and which can be given back. An atomic
 * word may be watched too: an access to it after mc_free() is an error, and mc_free() races with those before. */
void mc_watch(const void *address, size_t size);

/* Plain accesses. Those of the shipped files are seen without this. */
void mc_read(const void *address);
void mc_write(const void *address);
void mc_free(const void *address, size_t size); /* once; an access after it is an error */

/* Does this thread sleep in rni_os_wait()? For at_state and at_end. */
bool mc_sleeps(unsigned thread);

#endif
