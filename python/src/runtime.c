#include <stddef.h>

#include "module.h"

#include <structmember.h>

static runtime_object *runtime_of(PyObject *self) { return (runtime_object *)self; }

/* ------------------------------------------------------------------------------------------------
 * The log
 */
static const char *method_of(enum rn_level level) {
    if (level == RN_LOG_ERROR) return "error";
    return level == RN_LOG_WARNING ? "warning" : "info";
}

/* With debug a failed iteration is printed: by the worker if it is an exception, else here. */
static bool is_printed(const log_sink *sink, const rn_log_record *record) {
    if (!sink->debug || record->iteration == 0 || !rn_is_error(record->error)) return false;
    if (rn_error_code(record->error) == PYTHON_RAISED) return true;
    PySys_FormatStderr("runium: %s\n", record->message);
    return true;
}

static void log_record(const log_sink *sink, const rn_log_record *record) {
    module_state *state = sink->state;
    if (is_printed(sink, record)) return;
    PyObject *exception = NULL;
    if (rn_is_error(record->error) && rn_kind(rn_error_detail(record->error)) == RN_POINTER)
        exception = exception_of(state, record->error);
    PyObject *method = PyObject_GetAttrString(state->logger, method_of(record->level));
    PyObject *args = method ? Py_BuildValue("(ss)", "%s", record->message) : NULL;
    PyObject *kwargs = args ? PyDict_New() : NULL;
    bool is_ready = kwargs && (!exception || PyDict_SetItemString(kwargs, "exc_info", exception) == 0);
    PyObject *done = is_ready ? PyObject_Call(method, args, kwargs) : NULL;
    if (!done) PyErr_WriteUnraisable(state->logger);
    Py_XDECREF(done);
    Py_XDECREF(kwargs);
    Py_XDECREF(args);
    Py_XDECREF(method);
    Py_XDECREF(exception);
}

static void on_log(void *context, const rn_log_record *record) {
    const log_sink *sink = context;
    if (rn_is_error(record->error) && rn_error_code(record->error) == PYTHON_RAISED_QUIETLY) return;
    bool is_of_a_task = record->run_id != 0 || record->iteration != 0;
    if (interpreter_is_ending() || (sink->quiet && !is_of_a_task)) return;
    gil_visit visit = gil_enter();
    PyObject *type, *exception, *traceback;
    PyErr_Fetch(&type, &exception, &traceback); /* the caller's, if there is one, is no business of the log */
    log_record(sink, record);
    PyErr_Restore(type, exception, traceback);
    gil_leave(visit);
}

/* ------------------------------------------------------------------------------------------------
 * Opening
 */
static int read_mode(PyObject *mode, bool *processes) {
    *processes = mode && PyUnicode_Check(mode) && PyUnicode_CompareWithASCIIString(mode, "multiprocessing") == 0;
    if (!mode || *processes) return 0;
    if (PyUnicode_Check(mode) && PyUnicode_CompareWithASCIIString(mode, "multithreading") == 0) return 0;
    PyErr_Format(PyExc_ValueError, "mode: %R is not accepted; it is 'multithreading' or 'multiprocessing'", mode);
    return -1;
}

static int read_workers(PyObject *workers, unsigned *count) {
    if (!workers || workers == Py_None) return 0;
    PyObject *number = PyNumber_Index(workers);
    if (!number) {
        PyErr_Format(PyExc_TypeError, "max_workers: a whole number or None is needed, not %s", Py_TYPE(workers)->tp_name);
        return -1;
    }
    int overflow;
    long long value = PyLong_AsLongLongAndOverflow(number, &overflow);
    Py_DECREF(number);
    if (overflow || value < 1 || value > RN_WORKERS_MAX) {
        PyErr_Format(PyExc_ValueError, "max_workers: %R is not accepted; it is 1 to %u, or None", workers, RN_WORKERS_MAX);
        return -1;
    }
    *count = (unsigned)value;
    return 0;
}

/* Threads: as concurrent.futures, whose tasks often wait. Processes: as many as there are CPUs, which the core counts. */
static int default_workers(unsigned *count) {
    PyObject *os = PyImport_ImportModule("os");
    PyObject *cpus = os ? PyObject_CallMethod(os, "cpu_count", NULL) : NULL;
    long number = cpus && cpus != Py_None ? PyLong_AsLong(cpus) : 1;
    Py_XDECREF(os);
    Py_XDECREF(cpus);
    if (PyErr_Occurred()) return -1;
    *count = number + 4 < 32 ? (unsigned)number + 4 : 32;
    return 0;
}

static int read_recycle_after(PyObject *value, bool processes, uint64_t *turns) {
    if (!value || value == Py_None) return 0;
    if (!processes) {
        PyErr_SetString(PyExc_ValueError, "recycle_after: threads are not replaced; accepted with mode='multiprocessing'");
        return -1;
    }
    int overflow = 0;
    long long number = PyLong_Check(value) ? PyLong_AsLongLongAndOverflow(value, &overflow) : 0;
    if (!PyLong_Check(value)) {
        PyErr_Format(PyExc_TypeError, "recycle_after: a whole number or None is needed, not %s", Py_TYPE(value)->tp_name);
        return -1;
    }
    if (number < 1 && overflow <= 0) {
        PyErr_Format(PyExc_ValueError, "recycle_after: %R is not accepted; it is 1 or more, or None", value);
        return -1;
    }
    *turns = overflow ? UINT64_MAX : (uint64_t)number;
    return 0;
}

static int read_stop_grace(PyObject *value, bool processes, int64_t *grace) {
    if (!value || value == Py_None) return 0;
    if (!processes) {
        PyErr_SetString(PyExc_ValueError, "stop_grace: a thread cannot be ended; accepted with mode='multiprocessing'");
        return -1;
    }
    if (read_interval(value, "stop_grace", grace) < 0) return -1;
    if (*grace > 0) return 0;
    PyErr_Format(PyExc_ValueError, "stop_grace: %R is not accepted; it is longer than nothing, or None", value);
    return -1;
}

static int open_runtime(runtime_object *self, const rn_options *wanted) {
    rn_options options = *wanted;
    options.log = on_log;
    options.log_context = self->sink;
    if (self->processes) {
        options.executor = RN_PROCESSES;
        options.quarantine = UINT_MAX; /* it tells C functions apart, and all tasks here have the same */
        options.prepare = worker_prepare;
        if (!remote_preparation(self->state, &options.prepare_arg)) return -1;
    } else {
        options.on_idle = gil_on_idle;
    }
    gil_begin_wait();
    rn_runtime *handle = rn_open_with(&options);
    gil_end_wait();
    rn_value error = rn_open_error(handle);
    if (rn_is_error(error)) {
        (void)raise_core(self->state, rn_keep(error));
        (void)rn_close(handle);
        return -1;
    }
    rn_stats stats = {.size = sizeof stats};
    (void)rn_get_stats(handle, &stats);
    self->workers = stats.workers;
    self->handle = handle;
    self->next = self->state->runtimes;
    if (self->next) self->next->link = &self->next;
    self->link = &self->state->runtimes;
    self->state->runtimes = self;
    return 0;
}

static int open_with_log(runtime_object *self, const rn_options *wanted) {
    self->sink = malloc(sizeof *self->sink);
    if (!self->sink) {
        (void)PyErr_NoMemory();
        return -1;
    }
    *self->sink = (log_sink){self->state, self->debug, false};
    if (open_runtime(self, wanted) == 0) return 0;
    free(self->sink);
    self->sink = NULL;
    return -1;
}

static int init(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"mode", "max_workers", "debug", "recycle_after", "stop_grace", NULL};
    runtime_object *self = runtime_of(object);
    PyObject *mode = NULL, *workers = NULL, *debug = NULL, *recycle_after = NULL, *stop_grace = NULL;
    rn_options options = {.size = sizeof options};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|OOO$OO:Runium", names, &mode, &workers, &debug, &recycle_after, &stop_grace))
        return -1;
    if (self->sink) {
        PyErr_SetString(PyExc_RuntimeError, "Runium.__init__: this runtime is open already");
        return -1;
    }
    int is_debug = debug ? PyObject_IsTrue(debug) : 1;
    if (is_debug < 0 || read_mode(mode, &self->processes) < 0 || read_workers(workers, &options.workers) < 0) return -1;
    if (options.workers == 0 && !self->processes && default_workers(&options.workers) < 0) return -1;
    if (read_recycle_after(recycle_after, self->processes, &options.recycle_after) < 0) return -1;
    if (read_stop_grace(stop_grace, self->processes, &options.stop_grace) < 0) return -1;
    self->debug = is_debug == 1;
    return open_with_log(self, &options);
}

static PyObject *new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)args, (void)kwargs;
    PyObject *module = PyType_GetModuleByDef(type, &runium_module);
    runtime_object *self = module ? (runtime_object *)type->tp_alloc(type, 0) : NULL;
    if (!self) return NULL;
    self->state = module_state_of(module);
    self->kept_end = &self->kept;
    return (PyObject *)self;
}

/* ------------------------------------------------------------------------------------------------
 * Closing
 */
static void let_go_of_kept(runtime_object *self) {
    while (self->kept) task_forget(self->kept);
}

static void forget(runtime_object *self) {
    self->handle = NULL;
    *self->link = self->next;
    if (self->next) self->next->link = self->link;
    self->link = NULL;
    let_go_of_kept(self);
}

#define SIGNALS_NS RN_MILLISECONDS(50)
#define SAID_ROUNDS 20 /* once a second it is said what is waited for */
#define SHOWN 4

/* The names of the first few, with commas between them. */
static PyObject *names_of(const rn_run_info *infos, int64_t count) {
    PyObject *text = PyUnicode_FromString("");
    for (int64_t i = 0; text && i < count && i < SHOWN; i++)
        Py_XSETREF(text, PyUnicode_FromFormat("%U%s'%s'", text, i > 0 ? ", " : "", infos[i].name));
    if (text && count > SHOWN) Py_XSETREF(text, PyUnicode_FromFormat("%U and others", text));
    return text;
}

static void say_what_is_waited_for(runtime_object *self) {
    rn_run_info infos[SHOWN];
    int64_t count = rn_pending(self->handle, infos, SHOWN);
    PyObject *names = count > 0 ? names_of(infos, count) : NULL;
    PyObject *done = names ? PyObject_CallMethod(self->state->logger, "warning", "sO", "close waits for %s", names) : NULL;
    if (!done && PyErr_Occurred()) PyErr_WriteUnraisable(self->state->logger);
    Py_XDECREF(names);
    Py_XDECREF(done);
}

static int close_for(runtime_object *self, enum rn_close_how how, int64_t within) {
    rn_runtime *handle = self->handle;
    gil_begin_wait();
    int code = rn_close(handle, .how = how, .within = within);
    gil_end_wait();
    return code;
}

/* In slices, to see signals between them. Returns the core's code; 1: a handler raised. */
static int close_looking_up(runtime_object *self, enum rn_close_how how, int64_t within) {
    int64_t end = within > 0 ? now_ns() + within : INT64_MAX;
    for (unsigned round = 1;; round++) {
        int64_t left = end - now_ns();
        bool is_last = left <= SIGNALS_NS;
        self->sink->quiet = !is_last; /* that this slice of time is over is no news */
        int code = close_for(self, how, is_last ? (left > 0 ? left : 1) : SIGNALS_NS);
        self->sink->quiet = false;
        if (code != RN_TIMED_OUT || is_last) return code;
        if (round % SAID_ROUNDS == 0) say_what_is_waited_for(self);
        if (PyErr_CheckSignals() < 0) return 1;
    }
}

/* 1: closed, 0: the time is over, -1: an exception is set. */
static int close_runtime(runtime_object *self, enum rn_close_how how, int64_t within) {
    if (!self->handle) return 1;
    bool looks_up = PyThread_get_thread_ident() == self->state->main_thread;
    int code = looks_up ? close_looking_up(self, how, within) : close_for(self, how, within);
    if (code == 1) return -1;
    if (code == RN_TIMED_OUT) return 0;
    if (code == RN_DEADLOCK) {
        PyObject *type = PyObject_GetAttrString(self->state->errors, "Deadlock");
        if (type) PyErr_SetString(type, "close: called by a task or a callback of this runtime, which it would wait for");
        Py_XDECREF(type);
        return -1;
    }
    if (self->link && code != RN_CLOSED) forget(self);
    return 1;
}

static PyObject *close_method(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    static const char *const parameters[] = {"how", "within", NULL};
    PyObject *values[2];
    int64_t within = 0;
    enum rn_close_how how = RN_DRAIN;
    if (arguments_read("close", parameters, 2, args, count, names, values) < 0) return NULL;
    if (values[0] && PyUnicode_Check(values[0]) && PyUnicode_CompareWithASCIIString(values[0], "stop") == 0) how = RN_STOP;
    else if (values[0] && !(PyUnicode_Check(values[0]) && PyUnicode_CompareWithASCIIString(values[0], "drain") == 0))
        return PyErr_Format(PyExc_ValueError, "close: how: %R is not accepted; it is 'drain' or 'stop'", values[0]);
    if (values[1] && values[1] != Py_None) {
        if (read_interval(values[1], "within", &within) < 0) return NULL;
        if (within == 0) within = 1;
    }
    int closed = close_runtime(runtime_of(object), how, within);
    return closed < 0 ? NULL : PyBool_FromLong(closed);
}

/* At the end of the interpreter: what is pending ends as planned. A Ctrl-C meanwhile stops it. */
PyObject *close_all(PyObject *module, PyObject *unused) {
    (void)unused;
    module_state *state = module_state_of(module);
    enum rn_close_how how = RN_DRAIN;
    state->is_ending = true;
    while (state->runtimes) {
        runtime_object *self = (runtime_object *)Py_NewRef(state->runtimes);
        int closed = close_runtime(self, how, 0);
        if (closed < 0 && how == RN_DRAIN && PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
            how = RN_STOP;
            PyErr_Clear();
        } else if (closed < 0 || state->runtimes == self) {
            PyErr_Clear();
            if (self->link) forget(self);
        }
        Py_DECREF(self);
    }
    orphans_wait();
    Py_RETURN_NONE;
}

/* Nothing is pending: every run refers to its task, and every task to its runtime. */
static void close_quietly(runtime_object *self) {
    PyObject *type, *exception, *traceback;
    PyErr_Fetch(&type, &exception, &traceback);
    self->sink->quiet = true;
    if (close_for(self, RN_STOP, 0) == RN_DEADLOCK) {
        orphan_close(self->handle, self->sink);
        self->sink = NULL;
    }
    forget(self);
    PyErr_Restore(type, exception, traceback);
}

/* ------------------------------------------------------------------------------------------------
 * Tasks
 */
static PyObject *args_of(PyObject *value) {
    if (PyTuple_Check(value)) return PyTuple_GET_SIZE(value) == 0 ? NULL : Py_NewRef(value);
    if (!PyIter_Check(value) && !PySequence_Check(value) && !PyAnySet_Check(value))
        return PyErr_Format(PyExc_TypeError, "args: a sequence is needed, not %s", Py_TYPE(value)->tp_name);
    return PySequence_Tuple(value);
}

static bool is_mapping(PyObject *value) { /* texts and lists can be asked for an item too */
    return PyDict_Check(value) || (PyMapping_Check(value) && PyObject_HasAttrString(value, "keys"));
}

static PyObject *new_task(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    static const char *const parameters[] = {"fn", "kwargs", "args", "name", NULL};
    PyObject *values[4];
    if (arguments_read("new_task", parameters, 2, args, count, names, values) < 0) return NULL;
    if (!values[0]) return PyErr_Format(PyExc_TypeError, "new_task() needs a callable");
    if (!PyCallable_Check(values[0])) return PyErr_Format(PyExc_TypeError, "new_task: %R cannot be called", values[0]);
    for (int i = 1; i < 4; i++)
        if (values[i] == Py_None) values[i] = NULL;
    if (values[1] && !is_mapping(values[1]))
        return PyErr_Format(PyExc_TypeError, "kwargs: a mapping is needed, not %s", Py_TYPE(values[1])->tp_name);
    if (values[3] && !PyUnicode_Check(values[3]))
        return PyErr_Format(PyExc_TypeError, "name: a text is needed, not %s", Py_TYPE(values[3])->tp_name);
    PyObject *positional = values[2] ? args_of(values[2]) : NULL;
    if (!positional && PyErr_Occurred()) return NULL;
    PyObject *task = task_new(runtime_of(object), values[0], positional, values[1], values[3]);
    Py_XDECREF(positional);
    return task;
}

static PyObject *pending_tasks(PyObject *object, PyObject *unused) {
    (void)unused;
    PyObject *all = PyDict_New();
    if (!all) return NULL;
    for (task_object *task = runtime_of(object)->tasks; task; task = task->next) {
        if (!task_is_pending(task)) continue;
        PyObject *id = PyLong_FromUnsignedLongLong(task->id);
        int code = id ? PyDict_SetItem(all, id, (PyObject *)task) : -1;
        Py_XDECREF(id);
        if (code < 0) {
            Py_DECREF(all);
            return NULL;
        }
    }
    return all;
}

static PyObject *get_mode(PyObject *self, void *unused) {
    (void)unused;
    return PyUnicode_FromString(runtime_of(self)->processes ? "multiprocessing" : "multithreading");
}

static PyObject *get_closed(PyObject *self, void *unused) {
    (void)unused;
    return PyBool_FromLong(!runtime_of(self)->handle);
}

/* Of the tasks that it keeps it shows those that are done: one that is pending is held by its run, whatever else is gone. */
static int traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    for (task_object *task = runtime_of(self)->kept; task; task = task->next_kept)
        if (!task_has_open_runs(task)) Py_VISIT(task);
    return 0;
}

/* All are done: else nobody would take it for garbage. The tasks go, and with the last of them the runtime. */
static int clear(PyObject *object) {
    let_go_of_kept(runtime_of(object));
    return 0;
}

static void dealloc(PyObject *object) {
    runtime_object *self = runtime_of(object);
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    if (self->weak) PyObject_ClearWeakRefs(object);
    if (self->handle) close_quietly(self);
    free(self->sink);
    type->tp_free(object);
    Py_DECREF(type);
}

#define FAST(function) (PyCFunction)(void (*)(void))(function), METH_FASTCALL | METH_KEYWORDS

static PyMethodDef methods[] = {
    {"new_task", FAST(new_task),
     "new_task($self, fn, kwargs={}, *, args=(), name=None)\n--\n\n"
     "Makes a Task of a function: fn(*args, **kwargs), looked at when it is run. Runs nothing yet.\n\n"
     "If fn has a parameter named runium it is given a dict with 'iterations' (1, 2, 3 ...) and 'iterations_remaining'\n"
     "(2, 1, 0; None in a run without end). name is for pending tasks, messages and logs; else it is the function's."},
    {"pending_tasks", pending_tasks, METH_NOARGS,
     "pending_tasks($self, /)\n--\n\nA dict, id to Task, of those that are not run yet or not done yet."},
    {"close", FAST(close_method),
     "close($self, how='drain', within=None)\n--\n\n"
     "Closes the runtime; new runs fail with runium.Closed from now on. 'drain': pending runs end as planned, endless\n"
     "ones after their current iteration. 'stop': those not begun are cancelled, the others stopped. within: seconds or\n"
     "text, the longest to wait. Returns True when nothing of it runs any more, False if the time is over: close again."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef members[] = {
    {"max_workers", T_UINT, offsetof(runtime_object, workers), READONLY, "How many workers it has."},
    {"debug", T_BOOL, offsetof(runtime_object, debug), READONLY, "Whether tracebacks of failed iterations go to stderr."},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(runtime_object, weak), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef properties[] = {
    {"mode", get_mode, NULL, "'multithreading' or 'multiprocessing'.", NULL},
    {"closed", get_closed, NULL, "True once it is closed.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "Runtime(mode='multithreading', max_workers=None, debug=True)\n--\n\n"
                "Owns the workers and the tasks: see runium.core.Runium."},
    {Py_tp_new, new},
    {Py_tp_init, init},
    {Py_tp_dealloc, dealloc},
    {Py_tp_traverse, traverse},
    {Py_tp_clear, clear},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {Py_tp_getset, properties},
    {0, NULL},
};

PyType_Spec runtime_spec = {
    .name = "runium._core.Runtime",
    .basicsize = sizeof(runtime_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};
