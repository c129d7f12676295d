/*
 * What the fault and stress programs share: a figure that is printed last, seeds that can be replayed,
 * children with a time limit, and a gate to hold tasks back.
 *
 * A program is a series of cases, each with any number of checks; a case is good if none of its checks
 * failed. Its last line is its figure, "T7: 153 of 153 cases", and it exits with 0 only if all are good.
 *
 *   --canary           seeds a fault into the program's own bookkeeping: it must then exit with 1
 *   RUNIUM_TORTURE=1   the long form
 *   RUNIUM_TEST_SEED=n replays the random choices of an earlier run
 */
#ifndef RUNIUM_TESTS_SUPPORT_H
#define RUNIUM_TESTS_SUPPORT_H

#include <pthread.h>
#include <runium.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#if defined(__has_feature)
#define PROOF_HAS(feature) __has_feature(feature)
#else
#define PROOF_HAS(feature) 0
#endif

#if defined(__SANITIZE_THREAD__) || PROOF_HAS(thread_sanitizer)
#define UNDER_TSAN 1
#else
#define UNDER_TSAN 0
#endif

#if defined(__SANITIZE_ADDRESS__) || PROOF_HAS(address_sanitizer)
#define UNDER_ASAN 1
#else
#define UNDER_ASAN 0
#endif

/* Meson's exit code for a test that says why it cannot run here. */
#define EXIT_SKIPPED 77

extern bool proof_canary;  /* --canary was given */
extern bool proof_torture; /* RUNIUM_TORTURE=1 */

/* Reads the options above, prints the seed, and names the row of the figure. */
void proof_begin(int argc, char **argv, const char *row);

/* The value of an option "name=value" or "name", "" without a value; NULL if it was not given. */
const char *proof_option(const char *name);

/* The amount of work: small in CI, less under a sanitizer, large for torture. */
uint64_t proof_amount(uint64_t ci, uint64_t torture);

/* Notes a failed check, with a line to say what broke. Returns `holds`. Any thread. */
bool check(bool holds, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* How many checks failed so far. */
uint64_t proof_broken(void);

/* A case ends: it is good if no check has failed since the one before it. */
void proof_case(void);

/* `good` cases more, for those that are checked in bulk. */
void proof_cases(uint64_t good);

/* How many cases were good so far. */
uint64_t proof_good(void);

/* Prints the figure, "<row>: <good> of <all> <unit>", and returns the exit code. */
int proof_end(const char *unit);

/* ------------------------------------------------------------------------------------------------
 * Random choices
 */
struct dice {
    uint64_t state;
};

/* Dice number `lane` of this program's seed: each thread takes a lane of its own. */
struct dice dice_of(uint64_t lane);
uint64_t roll(struct dice *dice);
uint64_t roll_below(struct dice *dice, uint64_t end); /* 0 .. end - 1 */

/* A bijection on 64 bits that spreads them: sums of it tell apart what sums of numbers do not. */
uint64_t scramble(uint64_t number);

/* ------------------------------------------------------------------------------------------------
 * Children
 */
struct ending {
    bool hung;   /* it had to be killed */
    int status;  /* as from waitpid() */
};

/* Runs body(context) in a child that then ends with _exit(0). The caller has no threads. */
struct ending child_run(void (*body)(void *context), void *context, unsigned limit_s);

/* Runs this program again with these arguments, the last of them NULL. */
struct ending child_again(char *const *arguments, unsigned limit_s);

/* Waits for a child, and kills it when the limit is over. */
struct ending child_await(pid_t child, unsigned limit_s);

/* What became of it, "exit 3", "signal 11", "hung". Returns buffer. */
const char *ending_text(struct ending ending, char *buffer, size_t size);

/* Kills this whole process when it still runs after limit_s: the guard against hangs. */
void guard_against_hang(unsigned limit_s);

/* Pages shared with every child. */
void *shared_pages(size_t size);

/* ------------------------------------------------------------------------------------------------
 * A gate: closed until it is opened, once.
 */
struct gate {
    pthread_mutex_t mutex;
    pthread_cond_t moved;
    bool is_open;
};

#define GATE_CLOSED {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false}

void gate_open(struct gate *gate);
void gate_wait(struct gate *gate);

/* A count that threads raise, and that one can wait for. */
struct counter {
    pthread_mutex_t mutex;
    pthread_cond_t moved;
    uint64_t count;
};

#define COUNTER_ZERO {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0}

void counter_add(struct counter *counter, uint64_t more);
void counter_await(struct counter *counter, uint64_t count); /* until it is at least `count` */
uint64_t counter_read(struct counter *counter);

/* ------------------------------------------------------------------------------------------------
 * This process, as /proc shows it
 */
unsigned proc_entries(const char *folder); /* "/proc/self/fd": without those of the look itself */
unsigned proc_lines(const char *file);     /* "/proc/self/maps" */

#endif
