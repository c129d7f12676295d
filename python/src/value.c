#include "module.h"

/*
 * None, True and False have kinds of their own. Every other object goes as a pointer that owns a reference: so what
 * comes out is the very object that went in.
 */
static void drop_object(void *object) {
    if (interpreter_is_ending()) return; /* with all that it refers to */
    gil_visit visit = gil_enter();
    Py_DECREF((PyObject *)object);
    gil_leave(visit);
}

rn_value value_of(PyObject *object) {
    if (object == Py_None || PyBool_Check(object)) {
        rn_value value = object == Py_None ? rn_none() : rn_bool(object == Py_True);
        Py_DECREF(object);
        return value;
    }
    return rn_pointer_owned(object, drop_object);
}

PyObject *object_of(module_state *state, rn_value value) {
    switch (rn_kind(value)) {
    case RN_NONE: Py_RETURN_NONE;
    case RN_BOOL: return PyBool_FromLong(rn_as_bool(value));
    case RN_POINTER: return Py_NewRef((PyObject *)rn_as_pointer(value));
    case RN_ERROR: return exception_of(state, value);
    default: return remote_unpack(state, value);
    }
}

PyObject *take_exception(void) {
#if PY_VERSION_HEX >= 0x030c0000
    return PyErr_GetRaisedException();
#else
    PyObject *type, *exception, *traceback;
    PyErr_Fetch(&type, &exception, &traceback);
    PyErr_NormalizeException(&type, &exception, &traceback);
    if (traceback) (void)PyException_SetTraceback(exception, traceback);
    Py_XDECREF(traceback);
    Py_XDECREF(type);
    return exception;
#endif
}

/* What it says, for logs that know nothing of exceptions. */
static rn_value describe(PyObject *exception, int code) {
    const char *type = Py_TYPE(exception)->tp_name;
    PyObject *text = PyObject_Str(exception);
    const char *utf8 = text ? PyUnicode_AsUTF8(text) : NULL;
    if (!utf8) PyErr_Clear();
    rn_value error = rn_error_at("", 0, code, utf8 && *utf8 ? "%s: %s" : "%s%s", type, utf8 ? utf8 : "");
    Py_XDECREF(text);
    return error;
}

rn_value error_of(PyObject *exception, int code) { return rn_error_with(describe(exception, code), value_of(exception)); }

/* The class of runium.errors, or of Python, that stands for a code of the core; borrowed. */
static PyObject *class_of(module_state *state, int code, const char **name) {
    switch (code) {
    case RN_NO_MEMORY: return PyExc_MemoryError;
    case RN_INVALID: case RN_UNSUPPORTED: return PyExc_ValueError;
    case RN_TOO_LARGE: return PyExc_OverflowError;
    case RN_CANCELLED: return state->cancelled_error;
    case RN_TIMED_OUT: return state->timeout_error;
    case RN_CLOSED: *name = "Closed"; break;
    case RN_DEADLOCK: *name = "Deadlock"; break;
    case RN_FORKED: *name = "Forked"; break;
    case RN_NOT_PORTABLE: *name = "NotPicklable"; break;
    case RN_OVERTIME: *name = "Overtime"; break;
    case RN_QUARANTINED: *name = "Quarantined"; break;
    case RN_CRASHED: *name = "crashed"; break;
    default: *name = "RuniumError";
    }
    return NULL;
}

static PyObject *message_of(rn_value error) {
    const char *message = rn_error_message(error);
    return PyUnicode_DecodeUTF8(message, (Py_ssize_t)strlen(message), "replace");
}

/* The message of a crash, and those of its causes: where it was, and the last words. */
static PyObject *messages_of(rn_value error) {
    PyObject *messages = PyList_New(0);
    for (rn_value each = error; messages && rn_is_error(each); each = rn_error_cause(each)) {
        PyObject *message = message_of(each);
        if (!message || PyList_Append(messages, message) < 0) Py_CLEAR(messages);
        Py_XDECREF(message);
    }
    return messages;
}

static PyObject *make_exception(module_state *state, rn_value error) {
    const char *name = NULL;
    PyObject *class = class_of(state, rn_error_code(error), &name);
    PyObject *message = rn_error_code(error) == RN_CRASHED ? messages_of(error) : message_of(error);
    if (!message) return NULL;
    PyObject *exception = name ? PyObject_CallMethod(state->errors, name, "O", message)
                               : PyObject_CallOneArg(class, message);
    Py_DECREF(message);
    return exception;
}

PyObject *exception_of(module_state *state, rn_value error) {
    rn_value detail = rn_error_detail(error);
    PyObject *exception = NULL;
    if (rn_kind(detail) == RN_POINTER) exception = Py_NewRef((PyObject *)rn_as_pointer(detail));
    else if (rn_kind(detail) == RN_BYTES) exception = remote_unpack_exception(state, detail);
    else exception = make_exception(state, error);
    return exception ? exception : take_exception();
}

void *raise_core(module_state *state, rn_value error) {
    PyObject *exception = exception_of(state, error);
    rn_drop(error);
    PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
    Py_DECREF(exception);
    return NULL;
}

void print_exception(module_state *state, PyObject *exception) {
    PyObject *done = PyObject_CallOneArg(state->print_exception, exception);
    if (!done) PyErr_WriteUnraisable(exception);
    Py_XDECREF(done);
}
