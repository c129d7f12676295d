/*
 * A run in a worker process, the host's side.
 *
 * Function and hooks do not change from one run of a task to the next, so they are pickled once: the recipe keeps what
 * came of it, and where that is but names of functions, so does a table for recipes with the same functions. It is kept as
 * a whole argument, too: a run without arguments of its own costs no pickling and no copy.
 */
#include "module.h"
#include "remote.h"

#define TABLE_MOST 256 /* recipes that the table keeps; then it begins anew */

/* What came of a recipe: the pointer of a capsule. */
typedef struct packed_recipe {
    PyObject *bytes; /* the pickle of function and hooks */
    rn_value alone;  /* the argument of a run with no arguments */
} packed_recipe;

static const char capsule_name[] = "runium.packed";

static void free_packed(PyObject *capsule) {
    packed_recipe *packed = PyCapsule_GetPointer(capsule, capsule_name);
    Py_XDECREF(packed->bytes);
    rn_drop(packed->alone);
    PyMem_Free(packed);
}

static PyObject *make_capsule(void) {
    packed_recipe *packed = PyMem_Calloc(1, sizeof *packed);
    if (!packed) return PyErr_NoMemory();
    packed->alone = rn_none();
    PyObject *capsule = PyCapsule_New(packed, capsule_name, free_packed);
    if (!capsule) PyMem_Free(packed);
    return capsule;
}

/* ------------------------------------------------------------------------------------------------
 * Recipes
 */
static uint32_t flags_of(const recipe_object *recipe) {
    uint32_t flags = (recipe->wants_runium ? REMOTE_WANTS_RUNIUM : 0) | (recipe->debug ? REMOTE_DEBUG : 0) |
                     (recipe->is_quiet ? REMOTE_QUIET : 0);
    for (unsigned i = 0; i < HOOK_COUNT; i++)
        if (recipe->hooks[i]) flags |= REMOTE_HOOK(i);
    return flags;
}

static PyObject *hook_of(const recipe_object *recipe, enum hook hook) {
    return recipe->hooks[hook] ? recipe->hooks[hook] : Py_None;
}

/* What the worker calls, in the order of remote.h. */
static PyObject *functions_of(const recipe_object *recipe) {
    return PyTuple_Pack(5, recipe->function, hook_of(recipe, HOOK_ON_ITER), hook_of(recipe, HOOK_ON_SUCCESS),
                        hook_of(recipe, HOOK_ON_ERROR), hook_of(recipe, HOOK_ON_FINISHED));
}

/* Functions of Python are alike if they are the same; of other callables that is not known. */
static bool may_be_known(const recipe_object *recipe) {
    bool may_be = PyFunction_Check(recipe->function);
    for (unsigned i = 0; i < HOOK_COUNT && may_be; i++) may_be = !recipe->hooks[i] || PyFunction_Check(recipe->hooks[i]);
    return may_be;
}

static PyObject *key_of(const recipe_object *recipe, PyObject *functions) {
    PyObject *flags = PyLong_FromUnsignedLong(flags_of(recipe));
    PyObject *key = flags ? PyTuple_Pack(2, functions, flags) : NULL;
    Py_XDECREF(flags);
    return key;
}

static bool fill_packed(recipe_object *recipe, PyObject *functions, packed_recipe *packed, bool *by_reference) {
    module_state *state = recipe->state;
    PyObject *remote = payload_remote(&state->payload), *pair = NULL;
    if (remote) pair = PyObject_CallMethod(remote, "pack_recipe", "(O)", functions);
    int is_by_reference = 0;
    bool is_good = pair && PyArg_ParseTuple(pair, "Sp", &packed->bytes, &is_by_reference);
    *by_reference = is_by_reference;
    if (is_good) Py_INCREF(packed->bytes);
    Py_XDECREF(pair);
    uint32_t flags = flags_of(recipe) | (*by_reference ? REMOTE_BY_REFERENCE : 0) | REMOTE_NO_ARGUMENTS;
    const payload_content content = {.object = Py_None, .what = "recipe", .recipe = packed->bytes, .flags = flags,
                                     .home = rn_none()};
    return is_good && payload_pack(&state->payload, &content, &packed->alone);
}

/* Not under a lock: where two threads do it at once the one replaces what the other made. */
static PyObject *make_packed(recipe_object *recipe, PyObject *functions, PyObject *key) {
    PyObject *capsule = make_capsule();
    bool by_reference = false;
    if (capsule && !fill_packed(recipe, functions, PyCapsule_GetPointer(capsule, capsule_name), &by_reference))
        Py_CLEAR(capsule);
    if (!capsule || !by_reference || !key) return capsule;
    PyObject *table = recipe->state->packed;
    if (PyDict_GET_SIZE(table) >= TABLE_MOST) PyDict_Clear(table);
    if (PyDict_SetItem(table, key, capsule) < 0) PyErr_Clear();
    return capsule;
}

static PyObject *find_in(PyObject *table, PyObject *key) {
#if PY_VERSION_HEX >= 0x030d0000
    PyObject *found = NULL;
    (void)PyDict_GetItemRef(table, key, &found);
    return found;
#else
    return Py_XNewRef(PyDict_GetItemWithError(table, key));
#endif
}

static PyObject *find_packed(recipe_object *recipe) {
    module_state *state = recipe->state;
    PyObject *functions = functions_of(recipe), *key = NULL, *capsule = NULL;
    if (!state->packed) state->packed = PyDict_New();
    if (functions && state->packed && may_be_known(recipe)) key = key_of(recipe, functions);
    if (key) capsule = find_in(state->packed, key);
    if (functions && !capsule && !PyErr_Occurred()) capsule = make_packed(recipe, functions, key);
    Py_XDECREF(functions);
    Py_XDECREF(key);
    return capsule;
}

/* Where two threads come at once, both get what the first of them has made. */
static PyObject *set_packed(recipe_object *recipe, PyObject *capsule) {
    PyObject *mine = capsule;
#ifdef Py_GIL_DISABLED
    Py_BEGIN_CRITICAL_SECTION(recipe);
#endif
    if (!recipe->packed) recipe->packed = Py_NewRef(capsule);
    capsule = Py_NewRef(recipe->packed);
#ifdef Py_GIL_DISABLED
    Py_END_CRITICAL_SECTION();
#endif
    Py_DECREF(mine);
    return capsule;
}

/* The recipe's capsule. */
static PyObject *packed_of(recipe_object *recipe) {
    PyObject *capsule = recipe->packed;
    if (capsule) return Py_NewRef(capsule);
    capsule = find_packed(recipe);
    return capsule ? set_packed(recipe, capsule) : NULL;
}

/* ------------------------------------------------------------------------------------------------
 * Arguments
 */
static bool pack_arguments(recipe_object *recipe, const packed_recipe *packed, PyObject *args, PyObject *kwargs,
                           rn_value *argument) {
    PyObject *both = PyTuple_Pack(2, args ? args : Py_None, kwargs ? kwargs : Py_None);
    if (!both) return false;
    payload_parts parts;
    bool is_good = payload_read(packed->alone, false, &parts);
    const payload_content content = {.object = both, .what = "arguments", .recipe = packed->bytes,
                                     .flags = parts.flags & ~(uint32_t)REMOTE_NO_ARGUMENTS, .has_reply = true,
                                     .home = rn_none()};
    is_good = is_good && payload_pack(&recipe->state->payload, &content, argument);
    Py_DECREF(both);
    return is_good;
}

bool remote_pack(recipe_object *recipe, PyObject *args, PyObject *kwargs, rn_value *argument) {
    PyObject *capsule = packed_of(recipe);
    if (!capsule) return false;
    const packed_recipe *packed = PyCapsule_GetPointer(capsule, capsule_name);
    if (args && PyTuple_GET_SIZE(args) == 0) args = NULL;
    if (kwargs && PyDict_GET_SIZE(kwargs) == 0) kwargs = NULL;
    bool is_good = true;
    if (args || kwargs) is_good = pack_arguments(recipe, packed, args, kwargs, argument);
    else *argument = rn_keep(packed->alone);
    Py_DECREF(capsule);
    return is_good;
}

void remote_set_functions(rn_task *task, const recipe_object *recipe) {
    task->function = worker_function;
    if (recipe->hooks[HOOK_ON_ITER]) task->on_iter = worker_on_iter;
    if (recipe->hooks[HOOK_ON_SUCCESS]) task->on_success = worker_on_success;
    if (recipe->hooks[HOOK_ON_ERROR]) task->on_error = worker_on_error;
    if (recipe->hooks[HOOK_ON_FINISHED]) task->on_finished = worker_on_finished;
}

bool remote_preparation(module_state *state, rn_value *argument) {
    PyObject *remote = payload_open(&state->payload) ? payload_remote(&state->payload) : NULL;
    PyObject *bytes = remote ? PyObject_CallMethod(remote, "preparation", NULL) : NULL;
    if (!bytes) return false;
    *argument = rn_bytes(PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes));
    Py_DECREF(bytes);
    if (!rn_is_error(*argument)) return true;
    rn_drop(*argument);
    return PyErr_NoMemory(), false;
}

/* ------------------------------------------------------------------------------------------------
 * Results
 */
/* What is raised in place of what an object raised while it was unpickled: it may be anything, SystemExit too. */
void *remote_refuse(payload_tools *tools, const char *what) {
    if (PyErr_ExceptionMatches(PyExc_MemoryError) || PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) return NULL;
    PyObject *failure = take_exception(), *remote = payload_remote(tools), *instead = NULL;
    if (remote) instead = PyObject_CallMethod(remote, "unreadable", "sO", what, failure);
    if (instead) PyErr_SetObject((PyObject *)Py_TYPE(instead), instead);
    Py_XDECREF(instead);
    Py_XDECREF(failure);
    return NULL;
}

static PyObject *unpack_payload(payload_tools *tools, rn_value value) {
    payload_parts parts;
    PyObject *object = payload_read(value, true, &parts) ? payload_load(tools, &parts) : NULL;
    return object ? object : remote_refuse(tools, "the result");
}

PyObject *remote_object(payload_tools *tools, rn_value value) {
    switch (rn_kind(value)) {
    case RN_NONE: Py_RETURN_NONE;
    case RN_BOOL: return PyBool_FromLong(rn_as_bool(value));
    case RN_INT: return PyLong_FromLongLong(rn_as_int(value));
    case RN_FLOAT: return PyFloat_FromDouble(rn_as_float(value));
    case RN_TEXT: return PyUnicode_DecodeUTF8(rn_as_text(value), (Py_ssize_t)rn_length(value), "strict");
    default: return unpack_payload(tools, value);
    }
}

PyObject *remote_unpack(module_state *state, rn_value value) { return remote_object(&state->payload, value); }

PyObject *remote_unpack_exception(module_state *state, rn_value detail) {
    PyObject *remote = payload_remote(&state->payload);
    if (!remote) return NULL;
    PyObject *exception = PyObject_CallMethod(remote, "revive", "y#", (const char *)rn_as_bytes(detail),
                                              (Py_ssize_t)rn_length(detail));
    return exception ? exception : remote_refuse(&state->payload, "the exception");
}
