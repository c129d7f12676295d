#include "module.h"

module_state *module_state_of(PyObject *module) { return PyModule_GetState(module); }

static PyObject *attribute_of(const char *module_name, const char *name) {
    PyObject *module = PyImport_ImportModule(module_name);
    PyObject *attribute = module ? PyObject_GetAttrString(module, name) : NULL;
    Py_XDECREF(module);
    return attribute;
}

static PyObject *make_logger(void) {
    PyObject *get = attribute_of("logging", "getLogger");
    PyObject *logger = get ? PyObject_CallFunction(get, "s", "runium") : NULL;
    Py_XDECREF(get);
    return logger;
}

static int read_main_thread(module_state *state) {
    PyObject *get = attribute_of("threading", "main_thread");
    PyObject *thread = get ? PyObject_CallNoArgs(get) : NULL;
    PyObject *number = thread ? PyObject_GetAttrString(thread, "ident") : NULL;
    if (number) state->main_thread = PyLong_AsUnsignedLongMask(number);
    Py_XDECREF(number);
    Py_XDECREF(thread);
    Py_XDECREF(get);
    return PyErr_Occurred() ? -1 : 0;
}

static int find_what_is_used(module_state *state) {
    state->condition_type = attribute_of("threading", "Condition");
    state->signature = attribute_of("inspect", "signature");
    state->print_exception = attribute_of("traceback", "print_exception");
    state->logger = make_logger();
    state->errors = PyImport_ImportModule("runium.errors");
    state->cancelled_error = attribute_of("concurrent.futures", "CancelledError");
    state->timeout_error = attribute_of("concurrent.futures", "TimeoutError");
    state->invalid_state_error = attribute_of("concurrent.futures", "InvalidStateError");
    state->names = PyDict_New();
    state->empty_tuple = PyTuple_New(0);
    state->runium_name = PyUnicode_InternFromString("runium");
    state->iterations_name = PyUnicode_InternFromString("iterations");
    state->remaining_name = PyUnicode_InternFromString("iterations_remaining");
    bool has_all = state->condition_type && state->signature && state->print_exception && state->logger && state->errors &&
                   state->cancelled_error && state->timeout_error && state->invalid_state_error && state->names &&
                   state->empty_tuple && state->runium_name && state->iterations_name && state->remaining_name;
    return has_all ? read_main_thread(state) : -1;
}

static PyTypeObject *add_type(PyObject *module, PyType_Spec *spec) {
    PyTypeObject *type = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
    if (type && PyModule_AddType(module, type) < 0) Py_CLEAR(type);
    return type;
}

static int execute(PyObject *module) {
    module_state *state = module_state_of(module);
    if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
        PyErr_SetString(PyExc_ImportError, "runium works in the main interpreter only, not in a sub-interpreter: "
                                           "its workers belong to the process");
        return -1;
    }
    if (find_what_is_used(state) < 0) return -1;
    state->runtime_type = add_type(module, &runtime_spec);
    state->task_type = add_type(module, &task_spec);
    state->call_type = add_type(module, &call_spec);
    state->future_base = add_type(module, &future_spec);
    PyTypeObject *executor_type = add_type(module, &executor_spec);
    Py_XDECREF(executor_type); /* the module has it */
    state->recipe_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &recipe_spec, NULL);
    bool has_all = state->runtime_type && state->task_type && state->call_type && state->future_base && state->recipe_type &&
                   executor_type;
    return has_all ? 0 : -1;
}

/* What run() returns: a subclass of FutureBase. */
static PyObject *set_future_type(PyObject *module, PyObject *type) {
    module_state *state = module_state_of(module);
    if (!PyType_Check(type) || !PyType_IsSubtype((PyTypeObject *)type, state->future_base))
        return PyErr_Format(PyExc_TypeError, "%R is no subclass of FutureBase", type);
    Py_XSETREF(state->future_type, (PyTypeObject *)Py_NewRef(type));
    Py_RETURN_NONE;
}

static int traverse(PyObject *module, visitproc visit, void *arg) {
    module_state *state = module_state_of(module);
    PyObject *all[] = {(PyObject *)state->runtime_type, (PyObject *)state->task_type, (PyObject *)state->recipe_type,
                       (PyObject *)state->call_type, (PyObject *)state->future_base, (PyObject *)state->future_type,
                       state->condition_type, state->signature, state->print_exception, state->logger, state->errors,
                       state->cancelled_error, state->timeout_error, state->invalid_state_error, state->packed,
                       state->names};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) Py_VISIT(all[i]);
    return payload_traverse(&state->payload, visit, arg);
}

static int clear(PyObject *module) {
    module_state *state = module_state_of(module);
    Py_CLEAR(state->runtime_type);
    Py_CLEAR(state->task_type);
    Py_CLEAR(state->recipe_type);
    Py_CLEAR(state->call_type);
    Py_CLEAR(state->future_base);
    Py_CLEAR(state->future_type);
    Py_CLEAR(state->condition_type);
    Py_CLEAR(state->signature);
    Py_CLEAR(state->print_exception);
    Py_CLEAR(state->logger);
    Py_CLEAR(state->errors);
    Py_CLEAR(state->cancelled_error);
    Py_CLEAR(state->timeout_error);
    Py_CLEAR(state->invalid_state_error);
    Py_CLEAR(state->packed);
    payload_clear(&state->payload);
    Py_CLEAR(state->names);
    Py_CLEAR(state->empty_tuple);
    Py_CLEAR(state->runium_name);
    Py_CLEAR(state->iterations_name);
    Py_CLEAR(state->remaining_name);
    return 0;
}

static void free_module(void *module) { (void)clear(module); }

static PyMethodDef functions[] = {
    {"close_all", close_all, METH_NOARGS, "close_all()\n--\n\nCloses every runtime, draining it: the interpreter ends."},
    {"current_call", call_current, METH_NOARGS,
     "current_call()\n--\n\nThe Call of the task whose function or callback runs in this thread, or None outside of one."},
    {"get_seconds", get_seconds, METH_O, "get_seconds(interval, /)\n--\n\nSee runium.util.get_seconds()."},
    {"set_future_type", set_future_type, METH_O, "set_future_type(type, /)\n--\n\nThe class of what Task.run() returns."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, execute},
#if PY_VERSION_HEX >= 0x030c0000
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
#if PY_VERSION_HEX >= 0x030d0000
    {Py_mod_gil, Py_MOD_GIL_USED},
#endif
    {0, NULL},
};

PyModuleDef runium_module = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "runium._core",
    .m_doc = "The core of Runium, as Python sees it: use it by way of the package runium.",
    .m_size = sizeof(module_state),
    .m_methods = functions,
    .m_slots = slots,
    .m_traverse = traverse,
    .m_clear = clear,
    .m_free = free_module,
};

PyMODINIT_FUNC PyInit__core(void);
PyMODINIT_FUNC PyInit__core(void) { return PyModuleDef_Init(&runium_module); }
