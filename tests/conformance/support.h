/*
 * What the conformance programs share: a runtime of the executor under test, a board on which tasks and hooks write
 * down what they saw, gates at which tasks can be held, a book of log records, and child processes.
 *
 * The programs know the library by runium.h and runium/testing.h alone. Environment variables say under which
 * conditions the rules are tried: RUNIUM_TEST_EXECUTOR (threads, processes, cluster) and RUNIUM_TEST_WORKERS; with
 * RUNIUM_TEST_SANDBOX worker processes are in a sandbox. A task may run in another process, so what it tells the test
 * goes through the board, which is shared memory, and what the test tells the task goes through its argument, an int or
 * a text. A test that cannot do without shared pointers begins with threads_only().
 *
 * Assertions stand only in the thread that runs the test: tasks, hooks and callbacks record, the test judges.
 */
#ifndef CONFORMANCE_SUPPORT_H
#define CONFORMANCE_SUPPORT_H

#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h> /* needs the ones above */

#include <runium.h>
#include <runium/testing.h>

/* What the sanitizers do not allow a child that was forked beside threads: ThreadSanitizer ends it when it starts
 * threads of its own, and AddressSanitizer leaves the locks of its malloc() as they were. */
#ifndef __has_feature
#define __has_feature(feature) 0
#endif
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#define FORKED_CHILD_MAY_START_THREADS false
#else
#define FORKED_CHILD_MAY_START_THREADS true
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define FORKED_CHILD_MAY_ALLOCATE false
#else
#define FORKED_CHILD_MAY_ALLOCATE true
#endif

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* ------------------------------------------------------------------------------------------------
 * Tests. RULE(c2_a_sentence) { ... } defines a test and enters it in the program's list; its name begins with the
 * rule that it tries. Each test begins with an empty board and an empty book, and fails if the library still
 * holds memory at its end that it did not hold at its start.
 */
typedef void test_function(void **state);
void register_test(const char *name, test_function *function);

#define RULE(name)                                                                                 \
    static void name(void **state);                                                                \
    __attribute__((constructor)) static void register_##name(void) { register_test(#name, name); } \
    static void name(void **state __attribute__((unused)))

/* Ends the test as skipped where tasks do not share the memory of the test. */
void threads_only(void);

enum { WORKERS_MAX = 64 };
unsigned test_workers(void); /* RUNIUM_TEST_WORKERS, else 2 */
uint64_t test_seed(void);    /* RUNIUM_TEST_SEED, else a new one; printed */
uint64_t next_random(uint64_t *seed);

/* ------------------------------------------------------------------------------------------------
 * Runtimes of the executor under test. OPEN takes the options of rn_open(): where .workers is 0 there are as many
 * as the environment asks for, and where .log is NULL the records go into the book. A runtime that could not open
 * fails the test.
 */
#define OPEN(...) open_under_test(&(const rn_options){.size = sizeof(rn_options), __VA_ARGS__})
#define OPEN_VIRTUAL(...) OPEN(.testing = &virtual_clock, __VA_ARGS__)
extern const rn_testing virtual_clock;
rn_options options_under_test(const rn_options *options);
rn_runtime *open_under_test(const rn_options *options);
void close_runtime(rn_runtime *runtime);  /* by draining; it must succeed */
void stop_runtime(rn_runtime *runtime);   /* by stopping; it must succeed */
void forget_runtime(rn_runtime *runtime); /* the test closed it by itself */

/* ------------------------------------------------------------------------------------------------
 * The board: all zero at the start of a test.
 */
enum event_kind { FUNCTION = 'f', ITER = 'i', SUCCESS = 's', FAILURE = 'e', FINISHED = 'z', DONE_CALLBACK = 'd' };

struct event {
    enum event_kind kind;
    int tag; /* of the run: the argument of a scripted task */
    uint64_t iteration;
    enum rn_kind success_kind; /* what a hook was given */
    int64_t success;           /* where that is an int */
    int error_code;            /* 0: the error parameter was none */
    pid_t pid, tid;
    int64_t now; /* on the runtime's clock; only of functions */
    uint64_t missed, remaining;
};

/* What a scripted task does. Iterations are numbered from 1, and bit k - 1 of a mask stands for iteration k. */
struct script {
    uint64_t failing;          /* iterations that return an error */
    unsigned failing_hooks;    /* RN_ON_...: hooks that return an error */
    uint64_t failing_iter;     /* iterations after which on_iter fails, where it is one of those */
    uint64_t stop_self_at;     /* the iteration that stops the run; 0: none */
    enum rn_kind success_kind; /* RN_NONE, RN_BOOL (false), RN_TEXT (empty); any other: the int of iteration_value() */
};

struct gate {
    sem_t entered, opened;
};

enum { SCRIPTS = 1024, GATES = 16, CELLS = 64, TIMES = 16384, EVENTS = 65536 };

struct board {
    struct script scripts[SCRIPTS];
    struct gate gates[GATES];
    _Atomic int64_t cells[CELLS]; /* for whatever a test counts */
    int64_t times[TIMES];
    atomic_size_t event_count;
    struct event events[EVENTS];
    atomic_bool written[EVENTS]; /* whether the event of that number is whole */
};
extern struct board *board;
void make_board(void);

int64_t cell(int index);
void set_cell(int index, int64_t value);
int64_t add_to_cell(int index, int64_t amount); /* returns what it held before */

/* Writes an event down; the ones of hooks with the outcome that the hook was given. */
void record(enum event_kind kind, rn_call *call, rn_value success, rn_value error);
size_t event_count(void);
bool event_is_of(size_t index, int tag); /* false also while the event is being written */
size_t events_of(int tag, struct event *events, size_t capacity);

/* The events of a run in their order as letters and iterations, "f1 i1 s1 z1 d"; done callbacks have no iteration. */
const char *story_of(int tag);

/* ------------------------------------------------------------------------------------------------
 * Tasks
 */
rn_task_fn nothing;    /* returns none */
rn_task_fn give_back;  /* returns its argument */
rn_task_fn note_event; /* records its event under the int that is its argument, and returns that */
rn_task_fn hold;       /* passes the gate whose number is its argument */
rn_task_fn nest;       /* waits for itself with an argument of one less, down to 0; returns its depth or the error */
rn_done_fn note_done;  /* a done callback: records an event under the tag that *(int *)context is */

/* A task with all four hooks that does what board->scripts[tag] says, and records each of its steps. */
rn_task scripted_task(int tag);
rn_value end_of(rn_future *future); /* waits, releases, and returns the result: yours to drop */
int64_t iteration_value(int tag, uint64_t iteration);
int iteration_code(int tag, uint64_t iteration);
int64_t hook_value(int tag, unsigned hook, uint64_t iteration);
int hook_code(int tag, unsigned hook, uint64_t iteration);
const char *hook_name(unsigned hook);

/* For tasks: lasts so long on the runtime's clock, by waiting for a run that starts then. */
void last_for(rn_call *call, int64_t duration_ns);

/* ------------------------------------------------------------------------------------------------
 * Gates: a task that passes one tells that it is there, and goes on when the test has opened it. A worker that is
 * held at a gate does not wait on Runium, so that a virtual clock stands still.
 */
void gate_pass(int gate);
void gate_await(int gate, unsigned count);
void gate_open(int gate, unsigned count);

/* Keeps every worker of the runtime busy at gate 0, then lets all of them go. */
void hold_every_worker(rn_runtime *runtime);
void free_every_worker(void);

/* ------------------------------------------------------------------------------------------------
 * The book: the log records of the runtimes that OPEN made.
 */
struct logged {
    enum rn_level level;
    char message[512], task[RN_NAME_MAX + 1], error[256];
    uint64_t run_id, iteration;
    int code;
};
rn_log_fn log_to_book;
void empty_book(void);
bool book_find(const char *task, const char *text, struct logged *found); /* the first with both; NULL: any */
size_t book_count_code(int code);                                         /* records about errors with this code */

/* ------------------------------------------------------------------------------------------------
 * Standard error and processes
 */
void capture_begin(void);
bool capturing(void);
const char *capture_end(void); /* what came meanwhile; it also goes where it was bound for */
size_t count_of(const char *text, const char *part);

struct child {
    int status; /* as of waitpid() */
    char text[8192];
};
/* Forks, calls body() in the child, where an end without exit is exit(0), and waits until nobody holds its stderr. */
void run_child(void (*body)(void), struct child *child);
void assert_child_exits(void (*body)(void), int code);
extern bool in_child;
/* In a child: ends it with a message where a condition does not hold. */
#define CHILD_CHECK(condition) child_check((condition), #condition, __FILE__, __LINE__)
void child_check(bool holds, const char *condition, const char *file, int line);

/* ------------------------------------------------------------------------------------------------
 * Assertions
 */
#define assert_error_code(value, code) check_error_code((value), (code), __FILE__, __LINE__)
#define assert_int_value(value, number) check_int_value((value), (number), __FILE__, __LINE__)
#define assert_contains(text, part) check_contains((text), (part), __FILE__, __LINE__)
#define assert_story(tag, story) assert_string_equal(story_of(tag), (story))
void check_error_code(rn_value value, int code, const char *file, int line);
void check_int_value(rn_value value, int64_t number, const char *file, int line);
void check_contains(const char *text, const char *part, const char *file, int line);

/* As end_of(), and then the assertion about the result. */
#define assert_ends_with_int(future, number) check_end(end_of(future), false, (number), __FILE__, __LINE__)
#define assert_ends_with_error(future, code) check_end(end_of(future), true, (code), __FILE__, __LINE__)
void check_end(rn_value result, bool error, int64_t number, const char *file, int line);

#endif
