/*
 * The extension module runium._core: Python's view of runium.h, and of nothing else here.
 *
 *   module.c    the module: its state, and what it makes when it is imported
 *   gil.c       when a worker takes the interpreter's lock, and when it gives it back
 *   runtime.c   Runtime: a runtime, its log, its tasks that are not done
 *   orphan.c    runtimes that nobody refers to any more
 *   task.c      Task: function, arguments and hooks; run()
 *   schedule.c  what run() takes: intervals, times, dates
 *   arguments.c the arguments of a method, by position and by name
 *   call.c      Call: what a running function may ask
 *   run.c       a run in a thread: calls the function and the hooks
 *   value.c     Python's objects as values, and values as objects
 *   future.c    Future: waits, done callbacks, and what concurrent.futures expects to find
 *   executor.c  ExecutorBase: submit() of the standard interface
 *   remote.c    a run in a worker process, the host's side: what goes there, and what came back
 *   payload.c   objects as bytes: pickles, and the buffers that go beside them
 *   large.c     large bytes and bytearrays: which are there, and how they are made
 *   worker.c    the same, the worker's side: an interpreter in it, and the functions that the core calls there
 *
 * Ownership as in Python: what a function returns is a new reference unless it says "borrowed". A function that returns
 * NULL or -1 has set an exception. Unless a comment says otherwise the caller holds the interpreter's lock.
 */
#ifndef RUNIUM_PYTHON_MODULE_H
#define RUNIUM_PYTHON_MODULE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <runium.h>

#include "payload.h"

typedef struct recipe_object recipe_object;
typedef struct task_object task_object;
typedef struct runtime_object runtime_object;

/* What the interpreter's module object owns: no static objects. */
typedef struct module_state {
    PyTypeObject *runtime_type, *task_type, *recipe_type, *call_type, *future_base;
    PyTypeObject *future_type;    /* what run() returns: future_base and concurrent.futures.Future */
    PyObject *condition_type;     /* threading.Condition */
    PyObject *signature;          /* inspect.signature */
    PyObject *print_exception;    /* traceback.print_exception */
    PyObject *logger;             /* logging.getLogger('runium') */
    PyObject *errors;             /* the module runium.errors */
    PyObject *cancelled_error, *timeout_error, *invalid_state_error; /* of concurrent.futures */
    payload_tools payload;        /* of runs in worker processes, once there was one */
    PyObject *packed;             /* dict: remote.c's recipes that are names of functions alone; or NULL */
    PyObject *names;              /* dict: name of a function to the bytes that the core keeps a pointer to */
    PyObject *empty_tuple;
    PyObject *runium_name, *iterations_name, *remaining_name; /* 'runium', ... */
    unsigned long main_thread;    /* the one that gets signals */
    bool is_ending;               /* close_all() was called: the interpreter ends */
    runtime_object *runtimes;     /* those that are open, linked by next; borrowed */
    uint64_t last_id;             /* of a task_object */
} module_state;

extern struct PyModuleDef runium_module;

module_state *module_state_of(PyObject *module); /* borrowed */

/* ------------------------------------------------------------------------------------------------
 * gil.c: the interpreter's lock. Every function that the core calls begins and ends with a visit. A worker keeps the lock
 * from one task to the next and gives it back when the core says that it is idle: a task costs no hand-over.
 */
typedef struct gil_visit {
    bool took; /* this visit took the lock */
} gil_visit;

gil_visit gil_enter(void);
void gil_leave(gil_visit visit);     /* gives back what gil_enter() took */
void gil_keep(gil_visit visit);      /* the same; but a worker, unless it is within a wait, keeps it until it is idle */
void gil_on_idle(void *context);     /* rn_options.on_idle */

/* Around calls of the core that may wait, and run other tasks in this thread meanwhile. */
void gil_begin_wait(void);
void gil_end_wait(void);

bool interpreter_is_ending(void);

/* ------------------------------------------------------------------------------------------------
 * Recipes: what a task runs, as it was when it was run. Immutable; a task that is changed gets another one.
 */
enum hook { HOOK_ON_ITER, HOOK_ON_SUCCESS, HOOK_ON_ERROR, HOOK_ON_FINISHED, HOOK_COUNT };

struct recipe_object {
    PyObject_HEAD
    module_state *state;
    PyObject *function;
    PyObject *hooks[HOOK_COUNT]; /* NULL: none */
    PyObject *packed;            /* remote.c's: function and hooks as bytes, once they are; or NULL */
    const char *origin;          /* the task's name, as rn_task wants it */
    unsigned updates_result;     /* as in rn_task */
    bool wants_runium;           /* the function has a parameter of that name */
    bool debug;                  /* tracebacks of failed iterations go to stderr */
    bool is_quiet;               /* what it raises is no business of the log either: of an executor */
};

/* ------------------------------------------------------------------------------------------------
 * value.c
 */
rn_value value_of(PyObject *object);                        /* takes the reference; an error where memory is refused */
PyObject *object_of(module_state *state, rn_value value);   /* what value_of() was given, or a worker process's result */

/* The exception that is set, taken from the interpreter, with its traceback. */
PyObject *take_exception(void);

/* An exception as an error of the core, with that code and the exception as detail. Takes the reference. */
rn_value error_of(PyObject *exception, int code);

/* An error of the core as an exception object, which is not raised. */
PyObject *exception_of(module_state *state, rn_value error);

/* Raises an error of the core, of which it is the last owner. Always NULL. */
void *raise_core(module_state *state, rn_value error);

/* Prints an exception that a task raised to sys.stderr, as debug wants it. */
void print_exception(module_state *state, PyObject *exception);

/* The code of an error that stands for an exception. */
enum { PYTHON_RAISED = 1, PYTHON_RAISED_QUIETLY = 2 /* result() raises it, and the log has nothing of it */ };

/* ------------------------------------------------------------------------------------------------
 * call.c: the iterations and hooks that run in this thread, the innermost first
 */
typedef struct call_frame {
    rn_call *call;
    PyObject *object; /* the Call, if somebody asked for it; or NULL */
    struct call_frame *outer;
} call_frame;

void call_enter(call_frame *frame, rn_call *call);
void call_leave(call_frame *frame);
bool call_is_running(void);          /* a task's function or hook called this */
PyObject *call_current(PyObject *module, PyObject *unused);

/* The arguments of a call of the function: kwargs (may be NULL) with the `runium` parameter if it is wanted. */
PyObject *call_kwargs(module_state *state, const recipe_object *recipe, PyObject *kwargs, const rn_call *call);

/* ------------------------------------------------------------------------------------------------
 * run.c: a run in a thread. Takes the task's argument objects: references are added. To its future it adds none: one that
 * nobody refers to goes, and the run goes on.
 */
rn_value run_make(recipe_object *recipe, PyObject *task, PyObject *args, PyObject *kwargs, PyObject *future);
void run_set_functions(rn_task *task, const recipe_object *recipe);

/* ------------------------------------------------------------------------------------------------
 * runtime.c
 */
typedef struct log_sink { /* outlives the runtime that logs to it */
    module_state *state;
    bool debug;
    bool quiet; /* a close looks for signals now and then: what the core says of the time between is left out */
} log_sink;

struct runtime_object {
    PyObject_HEAD
    module_state *state;
    log_sink *sink;           /* from malloc: the last log may come without the interpreter's lock */
    rn_runtime *handle;       /* NULL: closed */
    runtime_object *next, **link;
    task_object *tasks;       /* those that exist, linked by next; borrowed */
    unsigned workers;
    bool processes, debug;
    task_object *kept, **kept_end; /* of worker processes: those that run, linked by next_kept; each is a reference */
    PyObject *weak;
};

/* ------------------------------------------------------------------------------------------------
 * task.c, schedule.c
 */
struct task_object {
    PyObject_HEAD
    runtime_object *runtime;
    task_object *next, **link; /* in the runtime's list */
    uint64_t id;
    PyObject *function, *args, *kwargs; /* args: a tuple or NULL; kwargs: what the caller gave, or NULL */
    PyObject *name;                     /* or NULL: the function's */
    PyObject *hooks[HOOK_COUNT];
    unsigned updates_result;
    recipe_object *recipe;                     /* of the last run; NULL: the task has changed since */
    PyObject *future;                   /* of the last run; or NULL */
    PyObject *earlier;                  /* in worker processes: a list of those before it that were not done then; or NULL */
    Py_ssize_t earlier_most;            /* how many there may be before those that are done by now are taken out */
    bool is_standard;                   /* of an executor: a parameter named runium is one like any other */
    task_object *next_kept, **link_kept;
    PyObject *weak;
};

void orphan_close(rn_runtime *handle, log_sink *sink); /* takes both */
void orphans_wait(void);                               /* until they are closed */

PyObject *close_all(PyObject *module, PyObject *unused);

PyObject *task_new(runtime_object *runtime, PyObject *function, PyObject *args, PyObject *kwargs, PyObject *name);
bool task_is_pending(const task_object *task);    /* as its last run */
bool task_has_open_runs(const task_object *task); /* that or one before it */

/* A run by the standard interface: its future stands in a row, and its result() raises what the task raised. */
typedef struct task_standard {
    struct future_row *row;
    const bool *is_refused; /* looked at when it begins: a RuntimeError */
} task_standard;

PyObject *task_run_standard(task_object *task, const task_standard *standard);

/* A run in a worker process has nothing here that refers to its task: the runtime keeps it until somebody sees that all its
 * runs are done, which is looked for whenever another task is run, and by the garbage collector. */
void task_keep(task_object *task);   /* if it has open runs */
void task_let_go(task_object *task); /* if it has none */
void task_forget(task_object *task); /* that is kept, in any case */

/* What run() was given, as the core wants it. -1: an exception is set. */
int schedule_read(rn_task *schedule, PyObject *const *values, bool processes);
enum { EVERY, TIMES, START_IN, AT, TIMEOUT, SCHEDULE_COUNT };

/* Seconds as a number, or text, as nanoseconds. what: for the message. -1: an exception is set. */
int read_interval(PyObject *value, const char *what, int64_t *ns);

int64_t now_ns(void); /* of the monotonic clock */

PyObject *get_seconds(PyObject *module, PyObject *interval);

/* The arguments of a method with the parameters that `names` lists, of which so many may be given by position: each in its
 * place of `values`, NULL where none was given. -1: an exception is set. */
int arguments_read(const char *method, const char *const *names, Py_ssize_t positional, PyObject *const *args,
                   Py_ssize_t count, PyObject *keywords, PyObject **values);

/* ------------------------------------------------------------------------------------------------
 * future.c
 */
/* Takes the handle, also on failure. With a task: it is kept until the run is done. */
PyObject *future_new(module_state *state, PyObject *task);          /* for a run that is to begin */
void future_begin(PyObject *future, rn_future *handle);              /* takes the handle */
PyObject *future_failed(module_state *state, PyObject *exception); /* takes the reference */
bool future_is_done(PyObject *future);

/* The place where a run notes its future without a reference to it: it is NULL as soon as the future is gone. Whoever gives
 * up the place says so. */
void future_note(PyObject *future, PyObject **place);
void future_forget_note(PyObject *const *place);

/* The core is given this object, which the future may come to be asked for: from now on the garbage collector looks there. */
void future_expect(PyObject *future, PyObject *object);

/* The futures of an executor, the latest first; borrowed: each leaves when it is freed. */
typedef struct future_object future_object;
typedef struct future_row {
    future_object *first;
} future_row;

void future_make_standard(PyObject *future, future_row *row); /* result() raises; it enters the row */
PyObject *future_row_pending(future_row *row);                /* a list of those that are not done */
void future_row_clear(future_row *row);

extern PyType_Spec runtime_spec, task_spec, recipe_spec, call_spec, future_spec, executor_spec;

/* ------------------------------------------------------------------------------------------------
 * A run in a worker process
 */
/* The argument of a run for a worker process: recipe, args and kwargs (both may be NULL) as bytes, or as a buffer if
 * they are large. False: they cannot travel, and an exception that names the culprit is set. */
bool remote_pack(recipe_object *recipe, PyObject *args, PyObject *kwargs, rn_value *argument);

/* What a worker process returned, as an object: the value is of kind bytes or buffer, the detail of an error bytes. */
PyObject *remote_unpack(module_state *state, rn_value value);
PyObject *remote_unpack_exception(module_state *state, rn_value detail);

/* What .prepare of a runtime gets: all that an interpreter needs to be like this one. */
bool remote_preparation(module_state *state, rn_value *argument);

void remote_set_functions(rn_task *task, const recipe_object *recipe);

/* What the core calls in a worker process, without the interpreter's lock, and before there is an interpreter. */
rn_task_fn worker_prepare;
rn_task_fn worker_function;
rn_outcome_fn worker_on_iter, worker_on_finished;
rn_success_fn worker_on_success;
rn_error_fn worker_on_error;

#endif
