/*
 * ExecutorBase, of which runium.executor.Executor inherits submit().
 *
 * It has a row of the futures that it gave out, so that shutdown() finds those that are not done. The row owns none: a run
 * that is not done refers to its task, and that to its future (a worker process's by way of the runtime), so whoever has
 * left the row is done, or of no concern to anybody. Nothing is done here when a run ends.
 */
#include "module.h"

typedef struct executor_object {
    PyObject_HEAD
    runtime_object *runtime;
    future_row row;
    bool is_shut_down;
} executor_object;

static executor_object *executor_of(PyObject *self) { return (executor_object *)self; }

static int init(PyObject *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"runtime", NULL};
    PyObject *runtime, *module = PyType_GetModuleByDef(Py_TYPE(self), &runium_module);
    if (!module) return -1;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!:Executor", names, module_state_of(module)->runtime_type, &runtime))
        return -1;
    Py_XSETREF(executor_of(self)->runtime, (runtime_object *)Py_NewRef(runtime));
    return 0;
}

/* The arguments by name, as a dict; NULL without an exception: there are none. */
static PyObject *kwargs_of(PyObject *const *values, PyObject *names) {
    Py_ssize_t count = names ? PyTuple_GET_SIZE(names) : 0;
    PyObject *kwargs = count > 0 ? PyDict_New() : NULL;
    for (Py_ssize_t i = 0; kwargs && i < count; i++)
        if (PyDict_SetItem(kwargs, PyTuple_GET_ITEM(names, i), values[i]) < 0) Py_CLEAR(kwargs);
    return kwargs;
}

static PyObject *args_of(PyObject *const *values, Py_ssize_t count) {
    PyObject *args = count > 0 ? PyTuple_New(count) : NULL;
    for (Py_ssize_t i = 0; args && i < count; i++) PyTuple_SET_ITEM(args, i, Py_NewRef(values[i]));
    return args;
}

static PyObject *start(executor_object *self, PyObject *function, PyObject *args, PyObject *kwargs) {
    PyObject *task = task_new(self->runtime, function, args, kwargs, NULL);
    if (!task) return NULL;
    const task_standard standard = {&self->row, &self->is_shut_down};
    PyObject *future = task_run_standard((task_object *)task, &standard);
    Py_DECREF(task);
    return future;
}

static PyObject *submit(PyObject *object, PyObject *const *values, Py_ssize_t count, PyObject *names) {
    executor_object *self = executor_of(object);
    if (count == 0) return PyErr_Format(PyExc_TypeError, "submit() needs a callable");
    if (!PyCallable_Check(values[0])) return PyErr_Format(PyExc_TypeError, "submit: %R cannot be called", values[0]);
    if (!self->runtime) return PyErr_Format(PyExc_RuntimeError, "submit: this executor was not initialised");
    PyObject *args = args_of(values + 1, count - 1), *future = NULL;
    PyObject *kwargs = PyErr_Occurred() ? NULL : kwargs_of(values + count, names);
    if (!PyErr_Occurred()) future = start(self, values[0], args, kwargs);
    Py_XDECREF(args);
    Py_XDECREF(kwargs);
    return future;
}

/* From now on submit() refuses: also one that is at work in another thread, and has not begun its run. */
static PyObject *refuse_more(PyObject *self, PyObject *unused) {
    (void)unused;
    executor_of(self)->is_shut_down = true;
    return future_row_pending(&executor_of(self)->row);
}

static int traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(executor_of(self)->runtime);
    return 0;
}

static int clear(PyObject *self) {
    Py_CLEAR(executor_of(self)->runtime);
    return 0;
}

static void dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    future_row_clear(&executor_of(self)->row);
    (void)clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"submit", (PyCFunction)(void (*)(void))submit, METH_FASTCALL | METH_KEYWORDS,
     "submit($self, fn, /, *args, **kwargs)\n--\n\n"
     "Runs fn(*args, **kwargs) in a worker, and returns its Future, whose result() raises what fn raises."},
    {"_refuse_more", refuse_more, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "What Executor does; see runium.executor.Executor."},
    {Py_tp_init, init},
    {Py_tp_dealloc, dealloc},
    {Py_tp_traverse, traverse},
    {Py_tp_clear, clear},
    {Py_tp_methods, methods},
    {0, NULL},
};

PyType_Spec executor_spec = {
    .name = "runium._core.ExecutorBase",
    .basicsize = sizeof(executor_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};
