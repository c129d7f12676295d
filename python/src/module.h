/*
 * The extension module runium._core: Python's view of runium.h, and of nothing else here.
 *
 *   module.c    the module: its state, and what it makes when it is imported
 *   gil.c       when a worker takes the interpreter's lock, and when it gives it back
 *   runtime.c   Runtime: a runtime, its log, its tasks that are not done
 *   task.c      Task: function, arguments and hooks; run()
 *   run.c       a run in a thread: calls the function and the hooks
 *   value.c     Python's objects as values, and values as objects
 *   future.c    Future: waits, done callbacks, and what concurrent.futures expects to find
 *   remote.c    a run in a worker process, the host's side: what goes there, and what came back
 *   payload.c   objects as bytes: pickles, and the buffers that go beside them
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

/* What the interpreter's module object owns: no static objects. */
typedef struct module_state {
    PyTypeObject *runtime_type, *task_type, *recipe_type, *future_base;
    PyTypeObject *future_type;    /* what run() returns: future_base and concurrent.futures.Future */
    PyObject *condition_type;     /* threading.Condition */
    PyObject *signature;          /* inspect.signature */
    PyObject *print_exception;    /* traceback.print_exception */
    PyObject *logger;             /* logging.getLogger('runium') */
    PyObject *errors;             /* the module runium.errors */
    PyObject *cancelled_error, *timeout_error, *invalid_state_error; /* of concurrent.futures */
    PyObject *remote;             /* the module runium._remote, once a runtime of processes was opened; or NULL */
    PyObject *empty_tuple;
} module_state;

extern struct PyModuleDef runium_module;

module_state *module_state_of(PyObject *module); /* borrowed */
module_state *module_state_of_type(PyTypeObject *type);

/* ------------------------------------------------------------------------------------------------
 * Recipes: what a task runs, as it was when it was run. Immutable; a task that is changed gets another one.
 */
enum hook { HOOK_ON_ITER, HOOK_ON_SUCCESS, HOOK_ON_ERROR, HOOK_ON_FINISHED, HOOK_COUNT };

typedef struct recipe {
    PyObject_HEAD
    module_state *state;
    PyObject *function;
    PyObject *hooks[HOOK_COUNT]; /* NULL: none */
    unsigned updates_result;     /* as in rn_task */
    bool wants_runium;           /* the function has a parameter of that name */
    bool debug;                  /* tracebacks of failed iterations go to stderr */
} recipe;

/* The exceptions of runium.errors, by name: sets one, "%s: %s"-like. Always returns NULL. */
void *raise_error(module_state *state, const char *name, const char *format, ...);

/* An error of the core as an exception object, which is not raised. */
PyObject *exception_of(module_state *state, rn_value error);

/* ------------------------------------------------------------------------------------------------
 * A run in a worker process
 */
/* The argument of a run for a worker process: recipe, args and kwargs (both may be NULL) as bytes, or as a buffer if
 * they are large. False: they cannot travel, and an exception that names the culprit is set. */
bool remote_pack(recipe *recipe, PyObject *args, PyObject *kwargs, rn_value *argument);

/* What a worker process returned, as an object. NULL: it cannot be read here, and an exception is set. */
PyObject *remote_unpack(module_state *state, rn_value value);

/* What .prepare of a runtime gets: all that an interpreter needs to be like this one. */
bool remote_preparation(module_state *state, rn_value *argument);

/* What the core calls in a worker process, without the interpreter's lock, and before there is an interpreter. */
rn_task_fn worker_prepare;
rn_task_fn worker_function;
rn_outcome_fn worker_on_iter, worker_on_finished;
rn_success_fn worker_on_success;
rn_error_fn worker_on_error;

/* An exception that crosses in an error: code of those errors whose detail is a pickled exception, or the exception. */
#define PYTHON_RAISED 1

#endif
