#include "module.h"

/*
 * A Call lives as long as somebody refers to it, but speaks only while its function or hook runs, and only in the thread
 * where that runs: the core says so of rn_call.
 */
typedef struct call_object {
    PyObject_HEAD
    rn_call *call; /* NULL: it has ended */
    unsigned long thread;
} call_object;

static _Thread_local call_frame *innermost;

void call_enter(call_frame *frame, rn_call *call) {
    *frame = (call_frame){.call = call, .object = NULL, .outer = innermost};
    innermost = frame;
}

void call_leave(call_frame *frame) {
    innermost = frame->outer;
    if (!frame->object) return;
    ((call_object *)frame->object)->call = NULL;
    Py_DECREF(frame->object);
}

bool call_is_running(void) { return innermost != NULL; }

PyObject *call_current(PyObject *module, PyObject *unused) {
    (void)unused;
    call_frame *frame = innermost;
    if (!frame) Py_RETURN_NONE;
    if (!frame->object) {
        PyTypeObject *type = module_state_of(module)->call_type;
        call_object *object = (call_object *)type->tp_alloc(type, 0);
        if (!object) return NULL;
        object->call = frame->call;
        object->thread = PyThread_get_thread_ident();
        frame->object = (PyObject *)object;
    }
    return Py_NewRef(frame->object);
}

static rn_call *live(PyObject *self) {
    call_object *object = (call_object *)self;
    if (!object->call) PyErr_SetString(PyExc_RuntimeError, "this call has ended: a Call is of use while its function runs");
    else if (object->thread != PyThread_get_thread_ident())
        PyErr_SetString(PyExc_RuntimeError, "this call runs in another thread: a Call is of use only where it runs");
    else return object->call;
    return NULL;
}

static PyObject *get_iteration(PyObject *self, void *unused) {
    (void)unused;
    rn_call *call = live(self);
    return call ? PyLong_FromUnsignedLongLong(rn_iteration(call)) : NULL;
}

static PyObject *number_of_remaining(uint64_t remaining) {
    if (remaining == RN_ENDLESS) Py_RETURN_NONE;
    return PyLong_FromUnsignedLongLong(remaining);
}

static PyObject *get_remaining(PyObject *self, void *unused) {
    (void)unused;
    rn_call *call = live(self);
    return call ? number_of_remaining(rn_remaining(call)) : NULL;
}

static PyObject *get_missed(PyObject *self, void *unused) {
    (void)unused;
    rn_call *call = live(self);
    return call ? PyLong_FromUnsignedLongLong(rn_missed(call)) : NULL;
}

static PyObject *get_name(PyObject *self, void *unused) {
    (void)unused;
    rn_call *call = live(self);
    return call ? PyUnicode_DecodeUTF8(rn_name(call), (Py_ssize_t)strlen(rn_name(call)), "replace") : NULL;
}

static PyObject *get_stopping(PyObject *self, void *unused) {
    (void)unused;
    rn_call *call = live(self);
    return call ? PyBool_FromLong(rn_stopping(call)) : NULL;
}

static PyObject *report(PyObject *self, PyObject *fraction) {
    rn_call *call = live(self);
    double number = call ? PyFloat_AsDouble(fraction) : -1;
    if (!call || (number == -1 && PyErr_Occurred())) return NULL;
    if (!(number >= 0 && number <= 1)) return PyErr_Format(PyExc_ValueError, "report: %R is not between 0 and 1", fraction);
    rn_report(call, number);
    Py_RETURN_NONE;
}

static PyObject *stop(PyObject *self, PyObject *unused) {
    (void)unused;
    rn_call *call = live(self);
    return call ? PyBool_FromLong(rn_stop_self(call)) : NULL;
}

PyObject *call_kwargs(module_state *state, const recipe_object *recipe, PyObject *kwargs, const rn_call *call) {
    if (!recipe->wants_runium) return Py_XNewRef(kwargs);
    PyObject *all = kwargs ? PyDict_Copy(kwargs) : PyDict_New();
    PyObject *numbers = all ? PyDict_New() : NULL;
    PyObject *iteration = numbers ? PyLong_FromUnsignedLongLong(rn_iteration(call)) : NULL;
    PyObject *remaining = iteration ? number_of_remaining(rn_remaining(call)) : NULL;
    if (!remaining || PyDict_SetItem(numbers, state->iterations_name, iteration) < 0 ||
        PyDict_SetItem(numbers, state->remaining_name, remaining) < 0 ||
        PyDict_SetItem(all, state->runium_name, numbers) < 0) {
        Py_CLEAR(all);
    }
    Py_XDECREF(numbers);
    Py_XDECREF(iteration);
    Py_XDECREF(remaining);
    return all;
}

static void dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyGetSetDef properties[] = {
    {"iteration", get_iteration, NULL, "1, 2, 3 ...", NULL},
    {"remaining", get_remaining, NULL, "Iterations after this one; None in a run without end.", NULL},
    {"missed", get_missed, NULL, "Ticks of `every` that came while an iteration still ran, and were skipped.", NULL},
    {"name", get_name, NULL, "The task's name.", NULL},
    {"stopping", get_stopping, NULL, "True once the run was asked to stop: end soon.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef methods[] = {
    {"report", report, METH_O, "report($self, fraction, /)\n--\n\nTells how far it is, 0 to 1: see Future.progress()."},
    {"stop", stop, METH_NOARGS,
     "stop($self, /)\n--\n\nStops its own run: no further iteration starts, and the final callbacks run."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "What a running function may ask and say: runium.current_call().\n\n"
                "It is of use while that function or callback runs, in its thread."},
    {Py_tp_dealloc, dealloc},
    {Py_tp_getset, properties},
    {Py_tp_methods, methods},
    {0, NULL},
};

PyType_Spec call_spec = {
    .name = "runium._core.Call",
    .basicsize = sizeof(call_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};
