#include "module.h"

/* The argument of a run in a thread: what was copied when it started. */
typedef struct run_state {
    recipe_object *recipe;
    PyObject *task;    /* so that it is listed as long as it is pending */
    PyObject *args;    /* a tuple */
    PyObject *kwargs;  /* or NULL */
    PyObject *context; /* of contextvars */
    PyObject *future;  /* noted, not owned; NULL: it is gone */
} run_state;

static void free_run(void *pointer) {
    run_state *run = pointer;
    if (interpreter_is_ending()) return;
    gil_visit visit = gil_enter();
    future_forget_note(&run->future);
    Py_DECREF(run->recipe);
    Py_DECREF(run->task);
    Py_DECREF(run->args);
    Py_XDECREF(run->kwargs);
    Py_DECREF(run->context);
    PyMem_Free(run);
    gil_leave(visit);
}

rn_value run_make(recipe_object *recipe, PyObject *task, PyObject *args, PyObject *kwargs, PyObject *future) {
    run_state *made = PyMem_Malloc(sizeof *made);
    PyObject *context = made ? PyContext_CopyCurrent() : NULL;
    if (!context) {
        PyMem_Free(made);
        PyErr_Clear();
        return rn_error(RN_NO_MEMORY, "out of memory");
    }
    made->recipe = (recipe_object *)Py_NewRef(recipe);
    made->task = Py_NewRef(task);
    made->args = Py_NewRef(args ? args : recipe->state->empty_tuple);
    made->kwargs = Py_XNewRef(kwargs);
    made->context = context;
    future_note(future, &made->future);
    return rn_pointer_owned(made, free_run);
}

/* ------------------------------------------------------------------------------------------------
 * What the core calls. The task's context is entered for each function and hook: a run's iterations see what those before
 * them have set.
 */
static run_state *enter(rn_call *call, call_frame *frame) {
    run_state *run = rn_as_pointer(rn_arg(call));
    call_enter(frame, call);
    (void)PyContext_Enter(run->context);
    return run;
}

/* The result of a call, NULL if it raised, as the outcome. */
static rn_value leave(run_state *run, call_frame *frame, PyObject *result, bool is_iteration) {
    PyObject *exception = result ? NULL : take_exception();
    (void)PyContext_Exit(run->context);
    call_leave(frame);
    if (run->future) future_expect(run->future, result ? result : exception);
    if (result) return value_of(result);
    if (is_iteration && run->recipe->debug) print_exception(run->recipe->state, exception);
    return error_of(exception, run->recipe->is_quiet ? PYTHON_RAISED_QUIETLY : PYTHON_RAISED);
}

static rn_value run_function(rn_call *call) {
    call_frame frame;
    gil_visit visit = gil_enter();
    run_state *run = enter(call, &frame);
    const recipe_object *recipe = run->recipe;
    PyObject *result = NULL;
    if (!recipe->wants_runium) {
        result = PyObject_Call(recipe->function, run->args, run->kwargs);
    } else {
        PyObject *kwargs = call_kwargs(recipe->state, recipe, run->kwargs, call);
        if (kwargs) result = PyObject_Call(recipe->function, run->args, kwargs);
        Py_XDECREF(kwargs);
    }
    rn_value outcome = leave(run, &frame, result, true);
    gil_keep(visit);
    return outcome;
}

static rn_value run_hook(rn_call *call, enum hook hook, const rn_value *values, size_t count) {
    call_frame frame;
    gil_visit visit = gil_enter();
    run_state *run = enter(call, &frame);
    PyObject *objects[2] = {NULL, NULL};
    bool are_made = true;
    for (size_t i = 0; i < count && are_made; i++) {
        objects[i] = object_of(run->recipe->state, values[i]);
        are_made = objects[i] != NULL;
    }
    PyObject *result = are_made ? PyObject_Vectorcall(run->recipe->hooks[hook], objects, count, NULL) : NULL;
    Py_XDECREF(objects[0]);
    Py_XDECREF(objects[1]);
    rn_value outcome = leave(run, &frame, result, false);
    gil_keep(visit);
    return outcome;
}

static rn_value run_on_iter(rn_call *call, rn_value success, rn_value error) {
    return run_hook(call, HOOK_ON_ITER, (rn_value[]){success, error}, 2);
}

static rn_value run_on_success(rn_call *call, rn_value success) { return run_hook(call, HOOK_ON_SUCCESS, &success, 1); }

static rn_value run_on_error(rn_call *call, rn_value error) { return run_hook(call, HOOK_ON_ERROR, &error, 1); }

static rn_value run_on_finished(rn_call *call, rn_value success, rn_value error) {
    return run_hook(call, HOOK_ON_FINISHED, (rn_value[]){success, error}, 2);
}

void run_set_functions(rn_task *task, const recipe_object *recipe) {
    task->function = run_function;
    if (recipe->hooks[HOOK_ON_ITER]) task->on_iter = run_on_iter;
    if (recipe->hooks[HOOK_ON_SUCCESS]) task->on_success = run_on_success;
    if (recipe->hooks[HOOK_ON_ERROR]) task->on_error = run_on_error;
    if (recipe->hooks[HOOK_ON_FINISHED]) task->on_finished = run_on_finished;
}
