/*
 * Runium: any function becomes a task.
 *
 *     rn_runtime *rn = rn_open();
 *     rn_future *future = rn_run(rn, send_email, .arg = rn_text("bob@example.org"), .on_error = resend);
 *     rn_value result = rn_result(future);
 *     rn_release(future);
 *     rn_close(rn);
 *
 * The laws
 *   Ownership  What you return or pass as an argument you give away. What you receive as a parameter
 *              you borrow. A result belongs to its future. rn_keep() turns a borrowed value into one
 *              that you own; rn_drop() gives one that you own back.
 *   NULL       No function here returns NULL for a future or a runtime. One that could not be made is
 *              a failed one, and says why. A pointer parameter may be NULL only where that is said.
 *   Errors     An expected failure is a value of kind RN_ERROR or a negative rn_code. A mistake in
 *              the calling program (a future used after its release, a value read as another kind)
 *              stops the program with a message that names the function and the value.
 *   Threads    Every function may be called from any thread, from tasks, hooks and done callbacks,
 *              unless its comment says otherwise. No lock is held while your code runs.
 *   Time       Durations are signed 64-bit nanoseconds on the monotonic clock, at most RN_DURATION_MAX.
 *   Growth     A struct that starts with `size` may grow at its end. The macros fill `size` in. A
 *              larger struct from a newer header is accepted if the part unknown here is zero.
 *   fork()     In the child every runtime, future and call of the parent answers RN_FORKED, at once;
 *              the child may open runtimes of its own. Nothing changes for the parent.
 *
 * C11 or newer; C++11 or newer. The one-line calls need designated initialisers, hence C or C++20;
 * older C++ fills in an rn_task and calls rn_submit(). No exception may leave a function, hook or
 * callback that Runium calls: catch it there, and return an error. Link with -lrunium.
 */
#ifndef RUNIUM_H
#define RUNIUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define RN_VERSION_MAJOR 0
#define RN_VERSION_MINOR 1
#define RN_VERSION_PATCH 0

#if defined(__GNUC__)
#define RN_API __attribute__((visibility("default")))
#define RN_PRINTF(text, first) __attribute__((format(printf, text, first)))
#define RN_MUST_USE __attribute__((warn_unused_result))
#define RNI_STOPS __attribute__((noreturn, cold))
#define RNI_INLINE static inline __attribute__((always_inline))
#define RNI_IS_KNOWN(condition) __builtin_constant_p(condition)
#else
#define RN_API
#define RN_PRINTF(text, first)
#define RN_MUST_USE
#define RNI_STOPS
#define RNI_INLINE static inline
#define RNI_IS_KNOWN(condition) 0
#endif

#if defined(__cplusplus) && __cplusplus >= 202002L
#define RNI_DEFAULT {} /* keeps g++ from warning about members that a task does not set */
#else
#define RNI_DEFAULT
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rn_runtime rn_runtime; /* owns workers, timers and pending runs */
typedef struct rn_future rn_future;   /* the outcome of one run, now or later */
typedef struct rn_call rn_call;       /* what a function or hook sees of the run that called it */

/*
 * What a task takes, returns, and hands to its hooks: 16 bytes, passed in registers. Made and read
 * by the functions under "Values", which alone know what the members mean.
 */
typedef struct rn_value {
    uint32_t kind;
    uint32_t aux;
    uint64_t bits;
} rn_value;

/* ------------------------------------------------------------------------------------------------
 * Codes
 * Zero is success, negative codes are Runium's and never change their number, positive codes are
 * yours: by habit an errno value.
 */
enum rn_code {
    RN_OK = 0,
    RN_NO_MEMORY = -1,   /* an allocation was refused */
    RN_INVALID = -2,     /* an argument is outside what is accepted; the message shows both */
    RN_CLOSED = -3,      /* the runtime is closing or closed */
    RN_CANCELLED = -4,   /* the run was cancelled before its first iteration */
    RN_TIMED_OUT = -5,   /* the time given for a wait is over */
    RN_DEADLOCK = -6,    /* this wait could never end; the message shows the chain of tasks */
    RN_NO_THREADS = -7,  /* the system refused every thread */
    RN_QUEUE_FULL = -8,  /* .queue_limit runs are pending and .when_full is RN_FAIL */
    RN_FORKED = -9,      /* the handle belongs to the parent of this process */
    RN_TOO_LARGE = -10,  /* a text or a byte string is longer than RN_LENGTH_MAX */
    RN_UNSUPPORTED = -11,  /* not in this build; the message names what is */
    RN_NO_PROCESSES = -12, /* the system refused every process, or .prepare failed in it: see the cause */
    RN_CRASHED = -13,      /* the worker process died; the message says of what, its causes where, and its last words */
    RN_NOT_PORTABLE = -14, /* it means nothing in another process: a pointer, code made at run time */
    RN_OVERTIME = -15,     /* an iteration or hook took longer than .timeout, or than .stop_grace once it was stopped */
    RN_QUARANTINED = -16   /* the function has killed too many worker processes, and is not run again */
};

/* The name of a code, "RN_TIMED_OUT"; for other codes "unknown code". Returns a constant. */
RN_API const char *rn_code_name(int code);

/* ------------------------------------------------------------------------------------------------
 * Durations and times
 */
#define RN_NANOSECONDS(n) ((int64_t)(n))
#define RN_MICROSECONDS(n) ((int64_t)((n)*INT64_C(1000)))
#define RN_MILLISECONDS(n) ((int64_t)((n)*INT64_C(1000000)))
#define RN_SECONDS(n) ((int64_t)((n)*INT64_C(1000000000)))
#define RN_MINUTES(n) ((int64_t)((n)*INT64_C(60000000000)))
#define RN_HOURS(n) ((int64_t)((n)*INT64_C(3600000000000)))
#define RN_DAYS(n) ((int64_t)((n)*INT64_C(86400000000000)))
#define RN_WEEKS(n) ((int64_t)((n)*INT64_C(604800000000000)))

/* The longest duration accepted anywhere: 100 years of 365.25 days. */
#define RN_DURATION_MAX INT64_C(3155760000000000000)

/*
 * Reads a duration: "10 seconds", "1.5 hours", "250 ms". Units: ns, us, ms, s, m, h, d, w and the
 * words nanosecond(s) to week(s), sec(s), min(s), hr(s); any case; a bare number is seconds.
 * Returns   none, and the duration in *duration_ns; or an error, *duration_ns untouched.
 * Errors    RN_INVALID: not a duration, negative, or beyond RN_DURATION_MAX; shows the text and the units.
 * Ownership An error is yours to drop.
 */
RN_API rn_value rn_parse_duration(const char *text, int64_t *duration_ns);

/*
 * Reads a date and time: "2030-12-24 18:00", "2030-12-24T18:00:30", local; a trailing "Z" or
 * "+02:00" fixes the offset. Result: nanoseconds since 1970-01-01 00:00 UTC.
 * Returns, errors and ownership as rn_parse_duration().
 */
RN_API rn_value rn_parse_time(const char *text, int64_t *time_ns);

/* ------------------------------------------------------------------------------------------------
 * Values
 */
enum rn_kind {
    RN_NONE = 0,
    RN_BOOL = 1,
    RN_INT = 2,
    RN_FLOAT = 3,
    RN_TEXT = 4,
    RN_BYTES = 5,
    RN_POINTER = 6,
    RN_ERROR = 7,
    RN_BUFFER = 8
};

/* The longest text or byte string: 4 GiB - 1 byte. */
#define RN_LENGTH_MAX UINT32_MAX

/*
 * Making values. Each result is yours, until you return it, pass it as an argument, or drop it.
 * Those that copy (text, bytes, owned pointers, errors) may fail; the failure is an error value,
 * so that it travels to wherever the value was bound for.
 * Errors    RN_NO_MEMORY; RN_TOO_LARGE beyond RN_LENGTH_MAX; RN_INVALID: NULL, or a NUL within a text.
 */
RN_API rn_value rn_none(void);
RN_API rn_value rn_bool(bool value);
RN_API rn_value rn_int(int64_t value);
RN_API rn_value rn_float(double value);
RN_API rn_value rn_text(const char *text);                                      /* copies */
RN_API rn_value rn_text_n(const char *text, size_t length);                     /* copies; no NUL inside */
RN_API rn_value rn_textf(const char *format, ...) RN_PRINTF(1, 2);              /* as printf */
RN_API rn_value rn_bytes(const void *data, size_t size);                        /* copies; aligned as by malloc */
RN_API rn_value rn_pointer(void *pointer);                                      /* threads only; stays yours */
RN_API rn_value rn_pointer_owned(void *pointer, void (*destroy)(void *pointer)); /* destroyed with the value, once */

/*
 * A buffer: `size` bytes of zeroed shared memory. It goes to a worker process and back without a copy: all who have it
 * see the same bytes, and what one writes the others read. Page aligned; the memory is given back with the last owner.
 * Errors    RN_NO_MEMORY: also when no descriptor or no mapping is to be had; RN_INVALID: 0; RN_TOO_LARGE: beyond
 *           RN_BUFFER_MAX.
 */
RN_API rn_value rn_buffer(size_t size);
#define RN_BUFFER_MAX ((size_t)1 << (sizeof(size_t) > 4 ? 40 : 30)) /* bytes: 1 TiB; 1 GiB in programs of 32 bits */

/*
 * Copies into a buffer, as memcpy() into its memory would; where nobody has touched that yet it takes half the time, for
 * the pages come full and not zeroed, and what the system refuses is an error and not a signal.
 * Returns   RN_OK; RN_INVALID: it would go beyond the end, and nothing was copied; RN_NO_MEMORY: a part was copied.
 */
RN_API int rn_buffer_write(rn_value buffer, size_t offset, const void *data, size_t size);

/* A text that is not copied: for string literals only. Never fails. */
#define rn_literal(text) rni_literal("" text "", sizeof(text) - 1)
RN_API rn_value rni_literal(const char *text, size_t length);

/*
 * An error, with where it arose: `return rn_error(EIO, "smtp: %s", reason);`
 * code      Any number but 0, see enum rn_code. A 0 is replaced by RN_INVALID.
 * The second form takes `cause`, an error that you own, into the new one.
 */
#define rn_error(code, ...) rn_error_at(__FILE__, __LINE__, (code), __VA_ARGS__)
#define rn_error_because(cause, code, ...) rn_error_because_at(__FILE__, __LINE__, (cause), (code), __VA_ARGS__)
RN_API rn_value rn_error_at(const char *file, int line, int code, const char *format, ...) RN_PRINTF(4, 5);
RN_API rn_value rn_error_because_at(const char *file, int line, rn_value cause, int code, const char *format, ...)
    RN_PRINTF(5, 6);

/*
 * Gives an error a value to carry, for whoever can read more than a message: an exception of another language, the bytes
 * of an answer. It goes with the error, to and from worker processes too, where it must be a value that may go there (but
 * no buffer): else it is left behind.
 * Returns   The error; or, where memory is refused, the error as it was. An error that others own too is copied.
 * Ownership Both are taken; the result is yours.
 */
RN_API rn_value rn_error_with(rn_value error, rn_value detail);

/* Another owner of the same value: each keep is paired with one drop. Returns its parameter. */
RN_API rn_value rn_keep(rn_value value);
RN_API void rn_drop(rn_value value);

/*
 * Reading values. Pointers are borrowed from the value. Reading a value as a kind that it is not is
 * a mistake in the program: rn_kind() tells first.
 */
RN_API enum rn_kind rn_kind(rn_value value);
RN_API const char *rn_kind_name(enum rn_kind kind);
RN_API bool rn_is_none(rn_value value);
RN_API bool rn_is_error(rn_value value);
RN_API bool rn_as_bool(rn_value value);
RN_API int64_t rn_as_int(rn_value value);
RN_API double rn_as_float(rn_value value);
RN_API const char *rn_as_text(rn_value value); /* ends with a NUL */
RN_API const void *rn_as_bytes(rn_value value);
RN_API void *rn_as_pointer(rn_value value);
RN_API void *rn_as_buffer(rn_value value);     /* readable and writable, by all owners at once */
RN_API size_t rn_length(rn_value value); /* of a text (without its NUL), of bytes, or of a buffer */

/* The values of one word are made and read in place, without a call: numbers are what tasks take and return most. The
 * functions are there all the same, for their addresses and for other languages. A value is put together of two words
 * and not of its members, so that compilers keep it, and the task that it is given to, in registers. */
#define RNI_KIND 0xffu /* of .kind */
#define RNI_EXPECT(function, value, accepted) \
    if (((value).kind & RNI_KIND) != (accepted)) rni_wrong_kind(function, value, accepted)
RN_API RNI_STOPS void rni_wrong_kind(const char *function, rn_value value, enum rn_kind accepted);
RNI_INLINE rn_value rni_one_word(enum rn_kind kind, uint64_t bits) {
    rn_value value;
    const uint64_t words[2] = {(uint64_t)kind, bits};
    memcpy(&value, words, sizeof value);
    return value;
}
RNI_INLINE enum rn_kind rni_kind(rn_value value) { return (enum rn_kind)(value.kind & RNI_KIND); }
RNI_INLINE rn_value rni_none(void) { return rni_one_word(RN_NONE, 0); }
RNI_INLINE rn_value rni_bool(bool value) { return rni_one_word(RN_BOOL, value); }
RNI_INLINE rn_value rni_int(int64_t value) { return rni_one_word(RN_INT, (uint64_t)value); }
RNI_INLINE rn_value rni_float(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return rni_one_word(RN_FLOAT, bits);
}
RNI_INLINE bool rni_is_none(rn_value value) { return (value.kind & RNI_KIND) == RN_NONE; }
RNI_INLINE bool rni_is_error(rn_value value) { return (value.kind & RNI_KIND) == RN_ERROR; }
RNI_INLINE bool rni_as_bool(rn_value value) {
    RNI_EXPECT("rn_as_bool", value, RN_BOOL);
    return value.bits != 0;
}
RNI_INLINE int64_t rni_as_int(rn_value value) {
    RNI_EXPECT("rn_as_int", value, RN_INT);
    return (int64_t)value.bits;
}
RNI_INLINE double rni_as_float(rn_value value) {
    double number;
    RNI_EXPECT("rn_as_float", value, RN_FLOAT);
    memcpy(&number, &value.bits, sizeof number);
    return number;
}
#define rn_none() rni_none()
#define rn_bool(...) rni_bool(__VA_ARGS__)
#define rn_int(...) rni_int(__VA_ARGS__)
#define rn_float(...) rni_float(__VA_ARGS__)
#define rn_is_none(...) rni_is_none(__VA_ARGS__)
#define rn_is_error(...) rni_is_error(__VA_ARGS__)
#define rn_as_bool(...) rni_as_bool(__VA_ARGS__)
#define rn_as_int(...) rni_as_int(__VA_ARGS__)
#define rn_as_float(...) rni_as_float(__VA_ARGS__)

/* An error's parts. What is not known is "" or 0; a cause that is not there is none. Borrowed. */
RN_API int rn_error_code(rn_value error);
RN_API const char *rn_error_message(rn_value error);
RN_API const char *rn_error_task(rn_value error);     /* name of the task whose iteration returned it */
RN_API const char *rn_error_hook(rn_value error);     /* "on_iter" ...: the hook that returned it, else "" */
RN_API uint64_t rn_error_iteration(rn_value error);   /* 1, 2, 3 ...; 0 outside a task */
RN_API const char *rn_error_file(rn_value error);
RN_API int rn_error_line(rn_value error);
RN_API rn_value rn_error_cause(rn_value error);
RN_API rn_value rn_error_detail(rn_value error);      /* what rn_error_with() gave it, or none */

/*
 * Any value as text for people, as snprintf(): at most size bytes with the NUL; an error with its
 * origin and its causes, a line each. Returns the length that the whole text has.
 */
RN_API size_t rn_format(rn_value value, char *buffer, size_t size);

/* ------------------------------------------------------------------------------------------------
 * Tasks: what to run. A plain struct; all zero is the default. The four hook types are four
 * contracts: a hook in the wrong place does not compile.
 */
typedef rn_value rn_task_fn(rn_call *call);
typedef rn_value rn_success_fn(rn_call *call, rn_value success);
typedef rn_value rn_error_fn(rn_call *call, rn_value error);
typedef rn_value rn_outcome_fn(rn_call *call, rn_value success, rn_value error);
typedef void rn_done_fn(rn_future *future, void *context);

/* For .updates_result: the hooks whose return value replaces the result of the run; the last one wins. */
#define RN_ON_ITER 1u
#define RN_ON_SUCCESS 2u
#define RN_ON_ERROR 4u
#define RN_ON_FINISHED 8u

/*
 * What one iteration, with its hooks, may use: worker processes only. 0: as much as the process itself may. What is
 * beyond is refused to the task by the system (ENOMEM, EMFILE), but for CPU time, which ends the process (RN_CRASHED).
 */
typedef struct rn_limits {
    size_t size RNI_DEFAULT;                 /* sizeof(rn_limits) */
    uint64_t address_space RNI_DEFAULT;      /* bytes, beyond what the process has mapped when the turn begins */
    int64_t cpu RNI_DEFAULT;                 /* ns of CPU time, rounded up to whole seconds */
    uint64_t open_files RNI_DEFAULT;         /* descriptors, beyond those that are open when the turn begins */
    uint64_t memory RNI_DEFAULT;             /* bytes of the process in a cgroup of its own: RN_UNSUPPORTED where
                                                the machine delegates none */
} rn_limits;

/* rn_remaining() of a run without end. */
#define RN_ENDLESS UINT64_MAX

/*
 * The order in a run: function, on_iter, [function, on_iter ...], on_success or on_error,
 * on_finished, then the future completes, then its done callbacks. All hooks run in the worker
 * that ran the iteration before them, and see the outcome of that iteration: the parameter that
 * does not apply is none. A hook that returns an error ends the schedule, and its error becomes
 * the result. A hook's other return values are dropped, unless .updates_result names the hook.
 *
 * Schedule: neither .times nor .every: once. .times alone: so many iterations, back to back.
 * .every alone: until stopped. Both: so many, at that fixed rate: iteration k is due at start +
 * (k - 1) x every; an iteration still running then makes that tick a missed one (rn_missed()).
 * The first starts at once, or .start_in later, or .at a time. The _text forms take text as
 * rn_parse_duration() and rn_parse_time() do; giving both forms of one is an error.
 *
 * In C++20 the members must be named in this order.
 */
typedef struct rn_task {
    size_t size RNI_DEFAULT;                 /* sizeof(rn_task) */
    const char *origin RNI_DEFAULT;          /* set by rn_run: name NUL file:line; a constant, or NULL */
    rn_task_fn *function RNI_DEFAULT;
    rn_value arg RNI_DEFAULT;                /* given away; an error value fails the run with that error */
    rn_outcome_fn *on_iter RNI_DEFAULT;      /* after every iteration */
    rn_success_fn *on_success RNI_DEFAULT;   /* once, if the last iteration succeeded */
    rn_error_fn *on_error RNI_DEFAULT;       /* once, if the last iteration failed */
    rn_outcome_fn *on_finished RNI_DEFAULT;  /* once, at the end */
    unsigned updates_result RNI_DEFAULT;     /* RN_ON_ITER | RN_ON_SUCCESS | RN_ON_ERROR | RN_ON_FINISHED */
    uint64_t times RNI_DEFAULT;              /* 0: once, or endless with every */
    int64_t every RNI_DEFAULT;               /* period in ns; 0: none */
    const char *every_text RNI_DEFAULT;
    int64_t start_in RNI_DEFAULT;            /* delay in ns */
    const char *start_in_text RNI_DEFAULT;
    int64_t at RNI_DEFAULT;                  /* ns since 1970 UTC; 0: not used; a time gone by: at once */
    const char *at_text RNI_DEFAULT;
    const char *name RNI_DEFAULT;            /* copied, cut at RN_NAME_MAX bytes; NULL: the function's name */
    int64_t timeout RNI_DEFAULT;             /* most that an iteration or a hook may take, in ns; 0: no limit */
    const char *timeout_text RNI_DEFAULT;
    const rn_limits *limits RNI_DEFAULT;     /* copied; NULL: none */
} rn_task;

#define RN_NAME_MAX 63u

/*
 * .timeout, in worker processes (in threads RN_UNSUPPORTED: no thread can be ended): when the time is over the task is
 * told, as by rn_stop(); a .grace of the runtime later its process group gets SIGTERM, another one later SIGKILL. The
 * outcome is RN_OVERTIME, whose message says which step ended it and after how long; a task that returns by itself
 * once it was told has that outcome too. What the task started and left in its process group ends with it.
 */

/*
 * Starts a run of the task and returns its future at once.
 *     rn_future *future = rn_run(rn, send_email, .arg = rn_text("bob"), .times = 3);
 * Returns   A future, never NULL. Yours until rn_release().
 * Errors    A run that could not start is a future that is done, with RN_NO_MEMORY, RN_CLOSED,
 *           RN_INVALID (function NULL, an unknown size, a duration outside 0 .. RN_DURATION_MAX, both
 *           forms of one field), RN_QUEUE_FULL, RN_NOT_PORTABLE (worker processes: the message names the
 *           field), RN_UNSUPPORTED (.timeout or .limits that cannot be kept here), or with .arg where that
 *           is an error. No hook runs then.
 * Ownership .arg is taken, also on failure. Everything else is copied.
 * Blocks    Only where .when_full is RN_BLOCK or RN_CALLER_RUNS, and the queue is full.
 */
#ifdef __cplusplus
#if __cplusplus >= 202002L
#define rn_run(runtime, ...) rni_run_task((runtime), RNI_TASK(__VA_ARGS__))
#define rn_run_detached(runtime, ...) rni_run_task_detached((runtime), RNI_TASK(__VA_ARGS__))
#endif
#define RNI_TASK(...) \
    rn_task { .size = sizeof(rn_task), .origin = RNI_ORIGIN(__VA_ARGS__, 0), .function = __VA_ARGS__ }
#else
#define rn_run(runtime, ...) rni_run_task((runtime), RNI_TASK(__VA_ARGS__))
#define rn_run_detached(runtime, ...) rni_run_task_detached((runtime), RNI_TASK(__VA_ARGS__))
#define RNI_TASK(...) \
    &(const rn_task) { .size = sizeof(rn_task), .origin = RNI_ORIGIN(__VA_ARGS__, 0), .function = __VA_ARGS__ }
#endif
#define RNI_STRING(token) #token
#define RNI_LINE(line) RNI_STRING(line)
#define RNI_ORIGIN(function, ...) #function "\0" __FILE__ ":" RNI_LINE(__LINE__)
RN_API RN_MUST_USE rn_future *rn_submit(rn_runtime *runtime, const rn_task *task);

/*
 * Fire and forget: as rn_run(), without a future; nothing is yours and nothing leaks.
 * Returns   RN_OK, or the code of the error that kept the run from starting; that error went to the log.
 */
RN_API int rn_submit_detached(rn_runtime *runtime, const rn_task *task);

/* What rn_run() becomes. A task of which nothing is given but the function and .arg, as the compiler sees, need not be
 * written down to be read again. Of another one a copy is: a task whose address goes nowhere needs no place in memory
 * until then, and its members are not zeroed first. */
RN_API RN_MUST_USE rn_future *rni_start(rn_runtime *runtime, rn_task_fn *function, const char *origin, rn_value arg);
RN_API int rni_start_detached(rn_runtime *runtime, rn_task_fn *function, const char *origin, rn_value arg);
#define RNI_IS_BARE(task)                                                                                          \
    (!(task)->on_iter && !(task)->on_success && !(task)->on_error && !(task)->on_finished &&                       \
     (task)->updates_result == 0 && (task)->times <= 1 && (task)->every == 0 && !(task)->every_text &&             \
     (task)->start_in == 0 && !(task)->start_in_text && (task)->at == 0 && !(task)->at_text && !(task)->name &&    \
     (task)->timeout == 0 && !(task)->timeout_text && !(task)->limits)
#define RNI_COPY_OF(task)                                                                                          \
    {(task)->size, (task)->origin, (task)->function, (task)->arg, (task)->on_iter, (task)->on_success,             \
     (task)->on_error, (task)->on_finished, (task)->updates_result, (task)->times, (task)->every,                  \
     (task)->every_text, (task)->start_in, (task)->start_in_text, (task)->at, (task)->at_text, (task)->name,       \
     (task)->timeout, (task)->timeout_text, (task)->limits}
RN_MUST_USE RNI_INLINE rn_future *rni_run_task(rn_runtime *runtime, const rn_task *task) {
    if (RNI_IS_KNOWN(RNI_IS_BARE(task)) && RNI_IS_BARE(task))
        return rni_start(runtime, task->function, task->origin, task->arg);
    const rn_task copy = RNI_COPY_OF(task);
    return rn_submit(runtime, &copy);
}
RNI_INLINE int rni_run_task_detached(rn_runtime *runtime, const rn_task *task) {
    if (RNI_IS_KNOWN(RNI_IS_BARE(task)) && RNI_IS_BARE(task))
        return rni_start_detached(runtime, task->function, task->origin, task->arg);
    const rn_task copy = RNI_COPY_OF(task);
    return rn_submit_detached(runtime, &copy);
}

/* ------------------------------------------------------------------------------------------------
 * The call: what a function or a hook may ask and say. Valid until that function or hook returns,
 * on its own thread.
 */
RN_API rn_value rn_arg(const rn_call *call);            /* borrowed */
RN_API uint64_t rn_iteration(const rn_call *call);      /* 1, 2, 3 ... */
RN_API uint64_t rn_remaining(const rn_call *call);      /* iterations after this one; or RN_ENDLESS */
RN_API uint64_t rn_missed(const rn_call *call);         /* ticks of .every missed so far */
RN_API const char *rn_name(const rn_call *call);        /* borrowed until the call ends */
RN_API bool rn_stopping(const rn_call *call);           /* asked to stop: by rn_stop() or by rn_close() */
RN_API rn_runtime *rn_runtime_of(const rn_call *call);  /* where this run runs: to start others */
RN_API uint64_t rn_run_id(const rn_call *call);         /* as in rn_run_info */
RN_API void rn_report(rn_call *call, double fraction);  /* progress, 0 to 1: see rn_progress() */
RN_API bool rn_stop_self(rn_call *call);                /* as rn_stop() on its own future */

/* ------------------------------------------------------------------------------------------------
 * Futures
 */
enum rn_state {
    RN_WAITING = 0,  /* for a worker, for its start, or for its next tick */
    RN_RUNNING = 1,
    RN_DONE = 2,
    RN_STATE_CANCELLED = 3
};

/*
 * The result, once there is one; waits for it.
 * Returns   A value, or an error value: the task's own, or one of the errors.
 * Errors    RN_CANCELLED; RN_FORKED; in a task RN_DEADLOCK, when this wait could never end, or would
 *           leave no thread to run tasks (every one of .spare_workers waits already).
 * Ownership Borrowed from the future, until its release (an RN_DEADLOCK: until the calling task's next
 *           wait that ends so, or its end).
 * Blocks    Until the run is done. In a task: it runs the awaited run itself if nobody has begun it,
 *           else a spare worker takes its place.
 */
RN_API rn_value rn_result(rn_future *future);

/* As rn_result(), for at most timeout_ns (0: does not wait; negative: for ever); then the error is RN_TIMED_OUT, and
 * the run goes on. With a time-out a task never runs the awaited run itself. */
RN_API rn_value rn_result_within(rn_future *future, int64_t timeout_ns);

/* Waits as rn_result_within(); negative: for ever. Returns RN_OK when done or cancelled, else RN_TIMED_OUT,
 * RN_DEADLOCK, RN_FORKED. */
RN_API int rn_wait(rn_future *future, int64_t timeout_ns);

RN_API enum rn_state rn_state(rn_future *future);
RN_API bool rn_done(rn_future *future);      /* done or cancelled: rn_result() would not wait */
RN_API bool rn_running(rn_future *future);
RN_API bool rn_cancelled(rn_future *future);
RN_API double rn_progress(rn_future *future); /* what the task last reported, 0 to 1; 1 when done */

/*
 * Cancels a run that has not begun: it never runs, no hook runs, the result is RN_CANCELLED.
 * Returns   True if cancelled, now or before; false if it has begun or is done.
 */
RN_API bool rn_cancel(rn_future *future);

/*
 * Stops a run: one that has not begun is cancelled; in one that has, no further iteration starts,
 * rn_stopping() turns true in the current one, and the final hooks run with the last outcome: in the
 * worker of the last iteration, so they wait for the task that this worker may be running.
 * In threads the current iteration takes the time that it takes. In worker processes it has the .stop_grace of the
 * runtime, as has each final hook: then its process group gets SIGTERM, a .grace later SIGKILL, and the outcome is
 * RN_OVERTIME, whose message says which of them ended it and after how long.
 * Returns   True if it was told, now or before; false if it was done already.
 */
RN_API bool rn_stop(rn_future *future);

/*
 * Calls function(future, context) once the future is done, after every hook, on the thread that
 * completes it; if it is done already, now, on this thread. Any number, called in the order added.
 * Returns   RN_OK; RN_NO_MEMORY or RN_FORKED, and then the function is never called.
 */
RN_API int rn_add_done_callback(rn_future *future, rn_done_fn *function, void *context);

/* Gives the future back, once. The run goes on, its hooks and done callbacks run all the same. */
RN_API void rn_release(rn_future *future);

/* ------------------------------------------------------------------------------------------------
 * Runtimes
 */
/*
 * Where tasks run. RN_PROCESSES: function, hooks and iterations run in worker processes, forked from the program as it is
 * after its constructors. A process that dies is the failure of the iteration or hook that it ran (RN_CRASHED) and of
 * nothing else. Arguments and results are copied, but for buffers, and must not hold pointers: RN_NOT_PORTABLE.
 */
enum rn_executor { RN_THREADS = 0, RN_PROCESSES = 1, RN_CLUSTER = 2 };
/* RN_BLOCK in a task of the same runtime acts as RN_CALLER_RUNS: that task might be what the queue waits for. A run
 * with a delay cannot run in its caller: RN_QUEUE_FULL. */
enum rn_when_full { RN_BLOCK = 0, RN_FAIL = 1, RN_CALLER_RUNS = 2 };
enum rn_level { RN_LOG_ERROR = 0, RN_LOG_WARNING = 1, RN_LOG_INFO = 2 };

typedef struct rn_log_record {
    size_t size;
    enum rn_level level;
    const char *message;  /* one line, no newline; borrowed, as all of it */
    rn_value error;       /* the error that it is about, or none */
    const char *task;     /* name of the task, or "" */
    uint64_t run_id;      /* or 0 */
    uint64_t iteration;   /* or 0 */
} rn_log_record;
typedef void rn_log_fn(void *context, const rn_log_record *record);

/* For .log: no log at all. */
RN_API void rn_log_nothing(void *context, const rn_log_record *record);

struct rn_testing; /* runium/testing.h */

typedef struct rn_options {
    size_t size RNI_DEFAULT;                 /* sizeof(rn_options) */
    enum rn_executor executor RNI_DEFAULT;
    unsigned workers RNI_DEFAULT;            /* 1 to RN_WORKERS_MAX; 0: as many as this process may use CPUs */
    unsigned spare_workers RNI_DEFAULT;      /* stand-ins for waiting ones, to RN_WORKERS_MAX; 0: RN_SPARES_DEFAULT */
    size_t queue_limit RNI_DEFAULT;          /* most runs that are not begun; 0: no limit */
    enum rn_when_full when_full RNI_DEFAULT; /* also what rn_open() does when no thread can start */
    bool debug RNI_DEFAULT;                  /* failed iterations, with their trace, to stderr */
    rn_log_fn *log RNI_DEFAULT;              /* everything else, and those too without debug; NULL: a line to stderr */
    void *log_context RNI_DEFAULT;           /* yours; must outlive the runtime */
    const char *name RNI_DEFAULT;            /* of the runtime, in messages and thread names; copied */
    const struct rn_testing *testing RNI_DEFAULT;

    /* Called by a worker that has run tasks and finds no other, before it looks further, sleeps or ends: for what tasks
     * keep from one to the next, such as the lock of an interpreter. Not in worker processes. Must not wait. */
    void (*on_idle)(void *context) RNI_DEFAULT;
    void *idle_context RNI_DEFAULT;          /* yours; must outlive the runtime */

    /* Worker processes only: elsewhere RN_INVALID. */
    const char *capsules RNI_DEFAULT;        /* folder for crash capsules, see `runium replay`; copied; NULL: none */
    int64_t grace RNI_DEFAULT;               /* between two steps of ending a task, ns; 0: RN_GRACE_DEFAULT */
    int64_t stop_grace RNI_DEFAULT;          /* that a task has to end, see rn_stop(), ns; 0: RN_STOP_GRACE_DEFAULT */
    unsigned quarantine RNI_DEFAULT;         /* deaths of workers after which a function is refused; 0: RN_QUARANTINE_DEFAULT */
    unsigned respawn_rate RNI_DEFAULT;       /* most workers that died replaced per second; 0: RN_RESPAWN_RATE_DEFAULT */
    uint64_t recycle_after RNI_DEFAULT;      /* turns, after which a worker is replaced; 0: never */
    uint64_t recycle_memory RNI_DEFAULT;     /* bytes resident, beyond which it is replaced after the turn; 0: never */
    const struct rn_sandbox *sandbox RNI_DEFAULT; /* what workers may do; copied; NULL: all that the program may */
    rn_task_fn *prepare RNI_DEFAULT;         /* run once in each worker process before its first task: NULL: nothing */
    rn_value prepare_arg RNI_DEFAULT;        /* its rn_arg(); given away, also on failure */
} rn_options;

#define RN_WORKERS_MAX 1024u
#define RN_SPARES_DEFAULT 64u
#define RN_GRACE_DEFAULT RN_SECONDS(1)
#define RN_STOP_GRACE_DEFAULT RN_SECONDS(30)
#define RN_QUARANTINE_DEFAULT 3u
#define RN_RESPAWN_RATE_DEFAULT 100u

/*
 * A sandbox for worker processes, entered after the program's constructors and before the first task. Without one,
 * process mode contains faults, not malice: a worker may do all that the program's user may do, to the program too.
 * In a sandbox a worker gains no privileges and has none, does nothing to other processes (ptrace, signals, limits,
 * /proc/PID), makes no socket but pairs, loads no kernel code, mounts nothing, changes neither modes, owners nor times
 * of files, and opens no file but those below `read` and `write`, the program's own and its libraries as they are
 * loaded when the runtime opens, /proc/self, /dev/null, /dev/zero, /dev/random and /dev/urandom. What constructors
 * opened stays open.
 * Paths are resolved when the runtime opens: RN_INVALID, with the path, for one that is not there. What a sandbox does
 * not keep from a worker stands in docs/processes.md.
 * The system must have what is asked for (seccomp, Landlock): else rn_open_error() is RN_UNSUPPORTED and names it.
 */
typedef struct rn_sandbox {
    size_t size RNI_DEFAULT;               /* sizeof(rn_sandbox) */
    const char *const *read RNI_DEFAULT;   /* folders and files that may be read and executed, ends with NULL;
                                              NULL: none */
    const char *const *write RNI_DEFAULT;  /* folders and files that may be read, written, made and removed, ends with
                                              NULL; NULL: none */
    bool network RNI_DEFAULT;              /* sockets of the internet, IPv4 and IPv6: to this machine too */
    bool processes RNI_DEFAULT;            /* fork and exec, of what may be executed: they are in the sandbox as well */
} rn_sandbox;

/*
 * Opens a runtime: `rn_open()`, `rn_open(.workers = 4, .debug = true)`.
 * Returns   A runtime, never NULL. One that could not open fails every run with rn_open_error().
 *           Threads that the system refuses make it smaller, and the log says so. If every one is
 *           refused it fails with RN_NO_THREADS; with .when_full = RN_CALLER_RUNS it opens, and
 *           runs tasks in the thread that starts them.
 * Errors    As rn_open_error(). At most 4,096 runtimes are open at a time; one more is RN_NO_MEMORY.
 * Ownership Yours until rn_close().
 */
#ifdef __cplusplus
#if __cplusplus >= 202002L
#define rn_open(...) rn_open_with(rn_options{.size = sizeof(rn_options), __VA_ARGS__})
#endif
#else
#define rn_open(...) rn_open_with(&(const rn_options){.size = sizeof(rn_options), __VA_ARGS__})
#endif
RN_API RN_MUST_USE rn_runtime *rn_open_with(const rn_options *options);

/*
 * Why the runtime could not open: RN_INVALID, RN_NO_MEMORY, RN_NO_THREADS, RN_NO_PROCESSES, RN_NOT_PORTABLE or
 * RN_UNSUPPORTED; none if it did open. Borrowed from the runtime.
 */
RN_API rn_value rn_open_error(rn_runtime *runtime);

enum rn_close_how {
    RN_DRAIN = 0, /* pending runs end as planned; endless ones stop after their current iteration */
    RN_STOP = 1   /* runs not begun are cancelled, the others stopped as by rn_stop() */
};

typedef struct rn_close_options {
    size_t size RNI_DEFAULT;
    rn_runtime *runtime RNI_DEFAULT;
    enum rn_close_how how RNI_DEFAULT;
    int64_t within RNI_DEFAULT; /* ns; 0: as long as it takes */
} rn_close_options;

/*
 * Closes a runtime: `rn_close(rn)`, `rn_close(rn, .how = RN_STOP, .within = RN_SECONDS(5))`.
 * New runs fail with RN_CLOSED from now on. While it waits, the log says once a second for what.
 * Returns   RN_OK: nothing of it runs any more, and the handle is gone. Futures stay valid.
 * Errors    RN_TIMED_OUT: the time is over and runs go on; the log names them; the runtime is still
 *           yours: close it again. RN_DEADLOCK: called by a task, hook or done callback of this runtime;
 *           nothing happened. RN_CLOSED: closed before, or being closed by another thread. RN_FORKED.
 *           RN_INVALID: .how or .within (0 .. RN_DURATION_MAX) is not one that is accepted; nothing happened.
 * Blocks    Until the last run has ended, or for .within.
 */
#ifdef __cplusplus
#if __cplusplus >= 202002L
#define rn_close(...) rn_close_with(rn_close_options{.size = sizeof(rn_close_options), .runtime = __VA_ARGS__})
#endif
#else
#define rn_close(...) rn_close_with(&(const rn_close_options){.size = sizeof(rn_close_options), .runtime = __VA_ARGS__})
#endif
RN_API int rn_close_with(const rn_close_options *options);

typedef struct rn_run_info {
    uint64_t id;               /* unique among the runs that are pending at one time */
    char name[RN_NAME_MAX + 1];
    enum rn_state state;       /* RN_WAITING or RN_RUNNING */
    int64_t age_ns;            /* since the run was started; to about 10 ms */
    uint64_t iteration;        /* the current one, or the last; 0: not begun */
    int64_t next_start_ns;     /* from now; 0: at once, or running; */
    double progress;
} rn_run_info;

/*
 * Lists the runs that are not done, in no particular order; each entry is consistent in itself.
 * Returns   How many there are, even if more than capacity. RN_FORKED, RN_CLOSED as negative numbers.
 */
#define rn_pending(runtime, infos, capacity) rni_pending((runtime), (infos), (capacity), sizeof(rn_run_info))
RN_API int64_t rni_pending(rn_runtime *runtime, rn_run_info *infos, size_t capacity, size_t info_size);

typedef struct rn_stats {
    size_t size;
    unsigned workers_asked, workers;  /* wanted, and got from the system */
    unsigned spares;                  /* further threads: stand-ins for waiting ones, and the timekeeper */
    uint64_t started, failed;         /* iterations begun, and those that returned an error */
    uint64_t pending;                 /* runs that are not done */
} rn_stats;

/* Fills *stats, whose size the caller has set. Counts lag by a few tasks while workers are busy.
 * Returns RN_OK, RN_INVALID (unknown size), RN_CLOSED, RN_FORKED. */
RN_API int rn_get_stats(rn_runtime *runtime, rn_stats *stats);

/* ------------------------------------------------------------------------------------------------
 * Crash capsules
 * With .capsules each iteration or hook that took its worker process with it leaves a file in that folder, from which it
 * can be run again: `runium replay FILE`, see docs/cli.md. At most RN_CAPSULES_MAX of a runtime; the log says where each
 * is, and what went wrong where there is none. A capsule holds the argument and the environment, hence maybe secrets:
 * it is for its user alone (mode 0600). To replay one is to execute what it names: only those that you trust.
 */
#define RN_CAPSULES_MAX 100u

/*
 * The program that a capsule is of.
 * Returns   Its path, a text; or an error.
 * Errors    RN_INVALID: not a capsule, the message says where; RN_NO_MEMORY; an errno value: the file cannot be read.
 * Ownership The value is yours to drop.
 */
RN_API rn_value rn_capsule_program(const char *file);

/*
 * Executes the program of a capsule in the place of this one, with the environment, folder and limits that its workers
 * had. In the place of main() it runs what crashed once more, prints what that returns, and ends with status 0, or 1 if
 * it is an error. any_build: also if the program or a library has been built anew; the function is found by its name.
 * Returns   Only an error; the process may have the capsule's folder, limits and signals then.
 * Errors    As rn_capsule_program(), and RN_INVALID: another build; an errno value: the program cannot be started.
 */
RN_API rn_value rn_capsule_replay(const char *file, bool any_build);

#ifdef __cplusplus
} /* extern "C" */

inline rn_future *rn_submit(rn_runtime *runtime, const rn_task &task) { return rn_submit(runtime, &task); }
inline int rn_submit_detached(rn_runtime *runtime, const rn_task &task) { return rn_submit_detached(runtime, &task); }
RN_MUST_USE RNI_INLINE rn_future *rni_run_task(rn_runtime *runtime, const rn_task &task) { return rni_run_task(runtime, &task); }
RNI_INLINE int rni_run_task_detached(rn_runtime *runtime, const rn_task &task) { return rni_run_task_detached(runtime, &task); }
inline rn_runtime *rn_open_with(const rn_options &options) { return rn_open_with(&options); }
inline int rn_close_with(const rn_close_options &options) { return rn_close_with(&options); }
#if __cplusplus < 202002L
inline rn_task rn_task_of(rn_task_fn *function) {
    rn_task task = rn_task();
    task.size = sizeof task;
    task.function = function;
    return task;
}
inline rn_options rn_options_default() {
    rn_options options = rn_options();
    options.size = sizeof options;
    return options;
}
inline rn_runtime *rn_open() { return rn_open_with(rn_options_default()); }
inline int rn_close(rn_runtime *runtime) {
    rn_close_options options = rn_close_options();
    options.size = sizeof options;
    options.runtime = runtime;
    return rn_close_with(options);
}
#endif
#endif

#endif
