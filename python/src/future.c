#include <math.h>

#include "module.h"

/*
 * FutureBase, of which the class Future inherits what it does, and concurrent.futures.Future, of which it inherits what it
 * is. The state is the core's: nothing is done here when a run ends, unless somebody asked for it.
 *
 * Who asks: add_done_callback(), and concurrent.futures.wait() and as_completed(), which want a condition, a state and a
 * list of waiters. Then the core is asked for a done callback (`is_watched`), which has its own reference to the future.
 *
 * wait() holds the conditions of its futures, counts those that are not done, leaves its waiter there, and lets go. The core
 * knows no condition, and a run may end in between: so for them a future is done once its waiters were told (`is_told`), which
 * happens below the condition, and at the latest when somebody asks for the condition of a future that is done.
 */
struct future_object {
    PyObject_HEAD
    module_state *state;
    rn_future *handle;      /* NULL: it has failed before there was one */
    PyObject *outcome;      /* once it was asked for: what result() returns or raises */
    PyObject *task;         /* in worker processes: listed until somebody sees that it is done */
    PyObject *callbacks;    /* a list; or NULL */
    PyObject *condition, *waiters;
    PyObject **noted;       /* where its run has it; or NULL */
    bool raises;            /* result() raises the outcome */
    bool is_standard;       /* as in concurrent.futures: the exception of the task is raised too */
    bool is_watched, has_fired, is_told;
    future_object *next, **link; /* in the row of its executor; NULL: in none */
};

static future_object *future_of(PyObject *self) { return (future_object *)self; }

/* The garbage collector hears of a future only when it refers to something that may refer to it: most never do. An
 * outcome that nobody asks for may, too. */
static void track(future_object *self) {
    if (!PyObject_GC_IsTracked((PyObject *)self)) PyObject_GC_Track(self);
}

static future_object *allocate(module_state *state) {
    PyObject *made = state->future_type->tp_alloc(state->future_type, 0);
    if (made) PyObject_GC_UnTrack(made);
    return (future_object *)made;
}

PyObject *future_new(module_state *state, PyObject *task) {
    future_object *made = allocate(state);
    if (!made) return NULL;
    made->state = state;
    made->task = Py_XNewRef(task);
    if (task) track(made);
    return (PyObject *)made;
}

void future_note(PyObject *self, PyObject **place) {
    *place = self;
    future_of(self)->noted = place;
}

void future_forget_note(PyObject *const *place) {
    if (*place) future_of(*place)->noted = NULL;
}

/* While a future goes, what the user has hung on it may run Python, and another thread come here. */
void future_expect(PyObject *self, PyObject *object) {
    if (Py_REFCNT(self) > 0 && PyObject_IS_GC(object)) track(future_of(self));
}

void future_begin(PyObject *self, rn_future *handle) { future_of(self)->handle = handle; }

PyObject *future_failed(module_state *state, PyObject *exception) {
    future_object *made = exception ? allocate(state) : NULL;
    if (!made) {
        Py_XDECREF(exception);
        return NULL;
    }
    made->state = state;
    made->outcome = exception;
    made->raises = true;
    track(made);
    return (PyObject *)made;
}

static bool is_done(const future_object *self) { return !self->handle || rn_done(self->handle); }

static bool is_cancelled(const future_object *self) { return self->handle && rn_cancelled(self->handle); }

bool future_is_done(PyObject *self) { return is_done(future_of(self)); }

/* ------------------------------------------------------------------------------------------------
 * The row of an executor
 */
void future_make_standard(PyObject *object, future_row *row) {
    future_object *self = future_of(object);
    self->is_standard = true;
    self->next = row->first;
    if (self->next) self->next->link = &self->next;
    self->link = &row->first;
    row->first = self;
}

static void leave_row(future_object *self) {
    if (!self->link) return;
    *self->link = self->next;
    if (self->next) self->next->link = self->link;
    self->link = NULL;
}

void future_row_clear(future_row *row) {
    while (row->first) leave_row(row->first);
}

static Py_ssize_t count_pending(const future_row *row) {
    Py_ssize_t count = 0;
    for (const future_object *each = row->first; each; each = each->next) count += !is_done(each);
    return count;
}

/* The list is made first, for that may run other code, and then filled: nothing comes in between. */
PyObject *future_row_pending(future_row *row) {
    Py_ssize_t room = count_pending(row), count = 0;
    PyObject *list = PyList_New(room);
    if (!list) return NULL;
    for (future_object *each = row->first; each && count < room; each = each->next)
        if (!is_done(each)) PyList_SET_ITEM(list, count++, Py_NewRef((PyObject *)each));
    Py_SET_SIZE(list, count);
    return list;
}

/* ------------------------------------------------------------------------------------------------
 * Waiting
 */
#define SIGNALS_NS RN_MILLISECONDS(50) /* how often the main thread looks for signals while it waits */

/* The main thread looks up now and then, and runs the handlers of signals: so Ctrl-C ends a wait. Returns what the core
 * said, borrowed from the future. False: a handler raised. */
static bool wait_for_value(future_object *self, int64_t deadline, rn_value *value) {
    bool looks_up = PyThread_get_thread_ident() == self->state->main_thread;
    for (;;) {
        int64_t left = deadline < 0 ? -1 : deadline - now_ns();
        bool is_last = deadline >= 0 && left <= 0;
        if (is_last) left = 0;
        if (looks_up && (left < 0 || left > SIGNALS_NS)) left = SIGNALS_NS;
        gil_begin_wait();
        *value = rn_result_within(self->handle, left);
        gil_end_wait();
        bool is_over = !rn_is_error(*value) || rn_error_code(*value) != RN_TIMED_OUT || rn_done(self->handle);
        if (is_over || is_last || (deadline >= 0 && now_ns() >= deadline)) return true;
        if (looks_up && PyErr_CheckSignals() < 0) return false;
    }
}

/* Waits until it is done. False: it is not, and an exception is set. */
static bool wait_until_done(future_object *self, int64_t deadline) {
    rn_value value;
    if (is_done(self)) return true;
    if (!wait_for_value(self, deadline, &value)) return false;
    if (is_done(self)) return true;
    PyObject *exception = rn_error_code(value) == RN_TIMED_OUT ? PyObject_CallNoArgs(self->state->timeout_error)
                                                               : exception_of(self->state, value);
    if (exception) PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
    Py_XDECREF(exception);
    return false;
}

/* The core says which error is the outcome of an iteration: it is that of the task, and in this package's futures a
 * result like others. What a callback raised, and what kept the run from an iteration, is raised. */
static bool is_outcome_of_task(rn_value error) {
    return rn_error_iteration(error) > 0 && rn_error_hook(error)[0] == '\0';
}

/* Of a future that is done. */
static void read_outcome(future_object *self) {
    if (self->outcome) return;
    rn_value value = rn_result(self->handle);
    PyObject *outcome = object_of(self->state, value);
    bool raises = rn_is_error(value) && (self->is_standard || !is_outcome_of_task(value));
    if (!outcome) { /* it cannot be read here */
        outcome = take_exception();
        raises = true;
    }
    if (self->outcome) { /* another thread has read it meanwhile */
        Py_DECREF(outcome);
        return;
    }
    self->raises = raises;
    self->outcome = outcome;
    if (PyObject_IS_GC(outcome)) track(self);
    if (self->task) task_let_go((task_object *)self->task);
    Py_CLEAR(self->task);
}

static int read_timeout(PyObject *const *values, int64_t *deadline) {
    *deadline = -1;
    if (!values[0] || values[0] == Py_None) return 0;
    double seconds = PyFloat_AsDouble(values[0]);
    if (seconds == -1 && PyErr_Occurred()) return -1;
    if (isnan(seconds)) {
        PyErr_SetString(PyExc_ValueError, "timeout: nan is not accepted; it is a number of seconds, or None");
        return -1;
    }
    if (seconds > 1e9) return 0;
    *deadline = now_ns() + (seconds <= 0 ? 0 : (int64_t)(seconds * 1e9));
    return 0;
}

static int wait_by_arguments(future_object *self, const char *method, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    static const char *const parameters[] = {"timeout", NULL};
    PyObject *values[1];
    int64_t deadline = -1;
    if (arguments_read(method, parameters, 1, args, count, names, values) < 0) return -1;
    if (read_timeout(values, &deadline) < 0 || !wait_until_done(self, deadline)) return -1;
    read_outcome(self);
    return 0;
}

/* One that Python began, as a daemon. Those that it only knows of, the core's among them, call themselves daemons too. */
static bool is_daemon_thread(void) {
    PyObject *threading = PyImport_ImportModule("threading");
    PyObject *thread = threading ? PyObject_CallMethod(threading, "current_thread", NULL) : NULL;
    PyObject *daemon = thread ? PyObject_GetAttrString(thread, "daemon") : NULL;
    PyObject *known_only = daemon == Py_True ? PyObject_GetAttrString(threading, "_DummyThread") : NULL;
    bool is_one = known_only && PyObject_IsInstance(thread, known_only) == 0;
    PyErr_Clear();
    Py_XDECREF(known_only);
    Py_XDECREF(daemon);
    Py_XDECREF(thread);
    Py_XDECREF(threading);
    return is_one;
}

/*
 * At its end the interpreter takes a daemon thread away wherever it is, and aborts if that is within a write to stderr. So
 * the end of the runtimes, which wakes those that wait, shall not have them print a traceback: SystemExit is printed by
 * nobody.
 */
static bool ends_with_interpreter(const future_object *self) {
    if (!self->state->is_ending) return false;
    PyObject *closed = PyObject_GetAttrString(self->state->errors, "Closed");
    bool is_by_close = is_cancelled(self) || (closed && PyObject_IsInstance(self->outcome, closed) == 1);
    PyErr_Clear();
    Py_XDECREF(closed);
    return is_by_close && is_daemon_thread();
}

static PyObject *raise_outcome(const future_object *self) {
    if (ends_with_interpreter(self)) PyErr_SetNone(PyExc_SystemExit);
    else PyErr_SetObject((PyObject *)Py_TYPE(self->outcome), self->outcome);
    return NULL;
}

static PyObject *result(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    future_object *self = future_of(object);
    if (!self->outcome && wait_by_arguments(self, "result", args, count, names) < 0) return NULL;
    return self->raises ? raise_outcome(self) : Py_NewRef(self->outcome);
}

static PyObject *exception(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    future_object *self = future_of(object);
    if (!self->outcome && wait_by_arguments(self, "exception", args, count, names) < 0) return NULL;
    if (!self->raises) Py_RETURN_NONE;
    return is_cancelled(self) ? raise_outcome(self) : Py_NewRef(self->outcome);
}

/* ------------------------------------------------------------------------------------------------
 * Done callbacks
 */
static void call_back(PyObject *function, PyObject *self) {
    PyObject *done = PyObject_CallOneArg(function, self);
    if (!done) PyErr_WriteUnraisable(function);
    Py_XDECREF(done);
}

/* What wait() and as_completed() left here is told once, as concurrent.futures does it. */
static PyObject *tell_waiters(future_object *self) {
    const char *how = "add_result";
    if (self->is_told) Py_RETURN_NONE;
    read_outcome(self);
    self->is_told = true;
    if (is_cancelled(self)) how = "add_cancelled";
    else if (self->raises) how = "add_exception";
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(self->waiters); i++) {
        PyObject *waiter = Py_NewRef(PyList_GET_ITEM(self->waiters, i));
        PyObject *done = PyObject_CallMethod(waiter, how, "O", self);
        Py_DECREF(waiter);
        if (!done) return NULL;
        Py_DECREF(done);
    }
    return PyObject_CallMethod(self->condition, "notify_all", NULL);
}

static void notify(future_object *self) {
    PyObject *entered = PyObject_CallMethod(self->condition, "acquire", NULL);
    PyObject *told = entered ? tell_waiters(self) : NULL;
    if (!told) PyErr_WriteUnraisable((PyObject *)self);
    PyObject *left = entered ? PyObject_CallMethod(self->condition, "release", NULL) : NULL;
    if (entered && !left) PyErr_WriteUnraisable((PyObject *)self);
    Py_XDECREF(entered);
    Py_XDECREF(told);
    Py_XDECREF(left);
}

/* Called by the core, once, with the reference that watch() took. */
static void fire(rn_future *handle, void *context) {
    future_object *self = context;
    (void)handle;
    if (interpreter_is_ending()) return;
    gil_visit visit = gil_enter();
    self->has_fired = true;
    if (self->condition) notify(self);
    PyObject *callbacks = self->callbacks;
    self->callbacks = NULL;
    for (Py_ssize_t i = 0; callbacks && i < PyList_GET_SIZE(callbacks); i++)
        call_back(PyList_GET_ITEM(callbacks, i), (PyObject *)self);
    Py_XDECREF(callbacks);
    Py_DECREF(self);
    gil_leave(visit);
}

/* 0: fire() is called in time, or was already. */
static int watch(future_object *self) {
    track(self);
    if (self->is_watched) return 0;
    self->is_watched = true;
    if (!self->handle) {
        self->has_fired = true;
        return 0;
    }
    int code = rn_add_done_callback(self->handle, fire, Py_NewRef(self));
    if (code == RN_OK) return 0;
    self->is_watched = false;
    Py_DECREF(self);
    if (code == RN_NO_MEMORY) PyErr_NoMemory();
    else PyErr_Format(PyExc_RuntimeError, "add_done_callback: %s", rn_code_name(code));
    return -1;
}

static PyObject *add_done_callback(PyObject *object, PyObject *function) {
    future_object *self = future_of(object);
    if (!PyCallable_Check(function)) return PyErr_Format(PyExc_TypeError, "add_done_callback: %R cannot be called", function);
    if (!self->has_fired) {
        if (!self->callbacks && !(self->callbacks = PyList_New(0))) return NULL;
        if (PyList_Append(self->callbacks, function) < 0 || watch(self) < 0) return NULL;
        Py_RETURN_NONE;
    }
    call_back(function, object);
    Py_RETURN_NONE;
}

/* ------------------------------------------------------------------------------------------------
 * The rest of what a future does
 */
static PyObject *done(PyObject *self, PyObject *unused) {
    (void)unused;
    return PyBool_FromLong(is_done(future_of(self)));
}

static PyObject *running(PyObject *self, PyObject *unused) {
    (void)unused;
    return PyBool_FromLong(future_of(self)->handle && rn_running(future_of(self)->handle));
}

static PyObject *cancelled(PyObject *self, PyObject *unused) {
    (void)unused;
    return PyBool_FromLong(is_cancelled(future_of(self)));
}

static PyObject *cancel(PyObject *self, PyObject *unused) {
    (void)unused;
    return PyBool_FromLong(future_of(self)->handle && rn_cancel(future_of(self)->handle));
}

static PyObject *stop(PyObject *self, PyObject *unused) {
    (void)unused;
    return PyBool_FromLong(future_of(self)->handle && rn_stop(future_of(self)->handle));
}

static PyObject *progress(PyObject *self, PyObject *unused) {
    (void)unused;
    return PyFloat_FromDouble(future_of(self)->handle ? rn_progress(future_of(self)->handle) : 1.0);
}

static PyObject *refuse_to_set(PyObject *self, PyObject *args) {
    (void)args;
    PyErr_SetString(future_of(self)->state->invalid_state_error, "the result of a run is set by the run alone");
    return NULL;
}

static PyObject *refuse_to_pickle(PyObject *self, PyObject *args) {
    (void)args;
    return PyErr_Format(PyExc_TypeError, "cannot pickle '%s' object: it is of use in its own process only",
                        Py_TYPE(self)->tp_name);
}

static const char *state_of(const future_object *self) {
    if (is_cancelled(self)) return "CANCELLED_AND_NOTIFIED";
    if (is_done(self)) return "FINISHED";
    return rn_running(self->handle) ? "RUNNING" : "PENDING";
}

/* Stands still while the condition is held. */
static PyObject *get_state(PyObject *object, void *unused) {
    (void)unused;
    future_object *self = future_of(object);
    bool is_to_be_told = self->condition && !self->is_told && is_done(self);
    return PyUnicode_FromString(is_to_be_told ? "RUNNING" : state_of(self));
}

/* Makes the condition and the list of waiters, if there are none. */
static int be_waited_for(future_object *self) {
    if (!self->condition) {
        PyObject *condition = PyObject_CallNoArgs(self->state->condition_type);
        PyObject *waiters = condition ? PyList_New(0) : NULL;
        if (!waiters) {
            Py_XDECREF(condition);
            return -1;
        }
        if (self->condition) { /* another thread was faster */
            Py_DECREF(condition);
            Py_DECREF(waiters);
        } else {
            self->waiters = waiters;
            self->condition = condition;
        }
    }
    return watch(self);
}

static PyObject *get_condition(PyObject *object, void *unused) {
    (void)unused;
    future_object *self = future_of(object);
    if (be_waited_for(self) < 0) return NULL;
    if (!self->is_told && is_done(self)) notify(self);
    return Py_NewRef(self->condition);
}

static PyObject *get_waiters(PyObject *object, void *unused) {
    (void)unused;
    future_object *self = future_of(object);
    return be_waited_for(self) < 0 ? NULL : Py_NewRef(self->waiters);
}

static PyObject *repr(PyObject *self) {
    return PyUnicode_FromFormat("<runium.Future at %p state=%s>", self, state_of(future_of(self)));
}

static int set_attribute(PyObject *self, PyObject *name, PyObject *value) {
    track(future_of(self));
    return PyObject_GenericSetAttr(self, name, value);
}

/* The core refers to an object for it: the result, or the exception that an error carries. */
static int visit_value(const future_object *self, visitproc visit, void *arg) {
    if (!self->handle || !rn_done(self->handle)) return 0;
    rn_value value = rn_result(self->handle);
    if (rn_is_error(value)) value = rn_error_detail(value);
    if (rn_kind(value) == RN_POINTER) Py_VISIT((PyObject *)rn_as_pointer(value));
    return 0;
}

static int traverse(PyObject *object, visitproc visit, void *arg) {
    future_object *self = future_of(object);
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->outcome);
    Py_VISIT(self->task);
    Py_VISIT(self->callbacks);
    Py_VISIT(self->condition);
    Py_VISIT(self->waiters);
    return visit_value(self, visit, arg);
}

static void let_go(future_object *self) {
    rn_future *handle = self->handle;
    self->handle = NULL;
    Py_CLEAR(self->outcome);
    Py_CLEAR(self->task);
    Py_CLEAR(self->callbacks);
    Py_CLEAR(self->condition);
    Py_CLEAR(self->waiters);
    if (handle) rn_release(handle);
}

/* Whoever still gets at it finds that it is done, and None. */
static int clear(PyObject *object) {
    future_object *self = future_of(object);
    let_go(self);
    self->raises = false;
    self->outcome = Py_NewRef(Py_None);
    return 0;
}

static void dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    if (future_of(object)->noted) *future_of(object)->noted = NULL;
    leave_row(future_of(object));
    let_go(future_of(object));
    type->tp_free(object);
    Py_DECREF(type);
}

#define FAST(function) (PyCFunction)(void (*)(void))(function), METH_FASTCALL | METH_KEYWORDS

static PyMethodDef methods[] = {
    {"result", FAST(result),
     "result($self, /, timeout=None)\n--\n\n"
     "What the run ended with; waits for it, at most timeout seconds (TimeoutError).\n\n"
     "An exception that the task itself raised is returned, as are runium.WorkerCrashed and runium.Overtime, which took\n"
     "the place of what it would have returned. Raised are: what a callback raised; CancelledError; what kept the run\n"
     "from starting. In a task it never deadlocks: the awaited run is run here if nobody has begun it, and a wait that\n"
     "could never end raises runium.Deadlock."},
    {"exception", FAST(exception),
     "exception($self, /, timeout=None)\n--\n\nWhat result() would raise, or None; waits as result() does."},
    {"add_done_callback", add_done_callback, METH_O,
     "add_done_callback($self, fn, /)\n--\n\n"
     "Calls fn(future) once the run is done, in the thread that completes it; at once if it is done. Any number, in the\n"
     "order added. What one raises goes to sys.unraisablehook, and the next are called all the same."},
    {"cancel", cancel, METH_NOARGS,
     "cancel($self, /)\n--\n\nCancels a run that has not begun: it never runs. False if it has."},
    {"stop", stop, METH_NOARGS,
     "stop($self, /)\n--\n\nStops a run: no further iteration starts, the final callbacks run with the last outcome. One "
     "that has\nnot begun is cancelled. False if it was done already."},
    {"done", done, METH_NOARGS, "done($self, /)\n--\n\nTrue if it is done or cancelled: result() would not wait."},
    {"running", running, METH_NOARGS, "running($self, /)\n--\n\nTrue while an iteration or a callback runs."},
    {"cancelled", cancelled, METH_NOARGS, "cancelled($self, /)\n--\n\nTrue if it was cancelled."},
    {"progress", progress, METH_NOARGS,
     "progress($self, /)\n--\n\nWhat the task last reported by Call.report(), 0 to 1; 1 when done."},
    {"set_result", refuse_to_set, METH_VARARGS, "Refused: a run sets its own result."},
    {"set_exception", refuse_to_set, METH_VARARGS, "Refused: a run sets its own result."},
    {"set_running_or_notify_cancel", refuse_to_set, METH_VARARGS, "Refused: a run has its own state."},
    {"__reduce_ex__", refuse_to_pickle, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef properties[] = {
    {"_state", get_state, NULL, NULL, NULL},
    {"_condition", get_condition, NULL, NULL, NULL},
    {"_waiters", get_waiters, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "What Future does; see runium.Future."},
    {Py_tp_dealloc, dealloc},
    {Py_tp_traverse, traverse},
    {Py_tp_clear, clear},
    {Py_tp_repr, repr},
    {Py_tp_setattro, set_attribute},
    {Py_tp_methods, methods},
    {Py_tp_getset, properties},
    {0, NULL},
};

PyType_Spec future_spec = {
    .name = "runium._core.FutureBase",
    .basicsize = sizeof(future_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};
