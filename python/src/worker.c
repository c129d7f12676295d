/*
 * A run in a worker process, the worker's side.
 *
 * The process is a fork of the program as it is before main() (docs/processes.md), so there is no interpreter in it until
 * worker_prepare() starts one. From then on its first thread runs tasks, and holds the interpreter's lock while it runs
 * Python, and not a moment longer: what threads a task has left behind run on.
 *
 * What belongs to a turn, the function with its hooks, is decoded once: they see the very objects. A slot holds it until
 * the last of them has run. A task that waits may run another's turn meanwhile, which has the next slot.
 */
#include "module.h"
#include "remote.h"

#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS 4
#define NAMES_MOST 512 /* recipes by reference that are kept decoded; then they are decoded anew */
#define TEXT_MOST ((Py_ssize_t)64 * 1024)

struct slot {
    rn_value argument;  /* whose decoding this is; none: of nothing. Kept, so that no other has its address */
    uint32_t flags;
    PyObject *functions; /* a tuple, in the order of remote.h */
    PyObject *args;      /* a tuple; NULL: not decoded, or let go */
    PyObject *kwargs;    /* or NULL */
    rn_value outcome;    /* the last iteration's: a value, or the detail of an error; kept */
    PyObject *object;    /* what it stands for */
};

static struct {
    payload_tools tools;
    module_state *state;   /* of runium._core, once it was imported */
    PyObject *known;       /* recipes by reference: bytes to functions */
    PyObject *no_args, *flush_name;
    struct slot slots[SLOTS];
    unsigned depth;        /* functions and hooks that are at work */
    bool is_up;
} worker = {.slots = {{.argument = {0}}}};

/* ------------------------------------------------------------------------------------------------
 * Starting the interpreter, from pairs of name and value (preparation() in _remote.py)
 */
struct setting {
    const char *name;
    size_t offset;
};

#define FIELD(name) {#name, offsetof(PyConfig, name)}
static const struct setting numbers[] = {
    FIELD(isolated), FIELD(use_environment), FIELD(site_import), FIELD(user_site_directory), FIELD(optimization_level),
    FIELD(write_bytecode), FIELD(bytes_warning), FIELD(dev_mode), FIELD(warn_default_encoding),
#if PY_VERSION_HEX >= 0x030b0000
    FIELD(safe_path),
#endif
};
static const struct setting texts[] = {
    FIELD(executable), FIELD(base_executable), FIELD(prefix), FIELD(base_prefix), FIELD(exec_prefix),
    FIELD(base_exec_prefix), FIELD(platlibdir), FIELD(pycache_prefix),
};
static const struct setting lists[] = {
    {"path", offsetof(PyConfig, module_search_paths)}, {"argv", offsetof(PyConfig, argv)},
    {"orig_argv", offsetof(PyConfig, orig_argv)}, {"warnoption", offsetof(PyConfig, warnoptions)},
    {"xoption", offsetof(PyConfig, xoptions)},
};
#undef FIELD
#define COUNT(array) (sizeof(array) / sizeof *(array))

static void *field_of(PyConfig *config, const struct setting *settings, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(settings[i].name, name) == 0) return (char *)config + settings[i].offset;
    return NULL;
}

static PyStatus append(PyWideStringList *list, const char *value) {
    wchar_t *text = Py_DecodeLocale(value, NULL);
    if (!text) return PyStatus_NoMemory();
    PyStatus status = PyWideStringList_Append(list, text);
    PyMem_RawFree(text);
    return status;
}

static PyStatus set(PyConfig *config, const char *name, const char *value) {
    int *number = field_of(config, numbers, COUNT(numbers), name);
    wchar_t **text = number ? NULL : field_of(config, texts, COUNT(texts), name);
    PyWideStringList *list = number || text ? NULL : field_of(config, lists, COUNT(lists), name);
    if (number) *number = atoi(value);
    if (text) return PyConfig_SetBytesString(config, text, value);
    return list ? append(list, value) : PyStatus_Ok();
}

/* The next pair, from *at on. */
static bool next_pair(rn_value pairs, size_t *at, const char **name, const char **value) {
    const char *bytes = rn_as_bytes(pairs), *end = bytes + rn_length(pairs);
    *name = bytes + *at;
    const char *end_of_name = *at < rn_length(pairs) ? memchr(*name, '\0', (size_t)(end - *name)) : NULL;
    if (!end_of_name) return false;
    *value = end_of_name + 1;
    const char *end_of_value = memchr(*value, '\0', (size_t)(end - *value));
    if (!end_of_value) return false;
    *at = (size_t)(end_of_value + 1 - bytes);
    return true;
}

static const char *value_named(rn_value pairs, const char *wanted) {
    const char *name, *value;
    for (size_t at = 0; next_pair(pairs, &at, &name, &value);)
        if (strcmp(name, wanted) == 0) return value;
    return NULL;
}

static int number_named(rn_value pairs, const char *wanted, int otherwise) {
    const char *value = value_named(pairs, wanted);
    return value ? atoi(value) : otherwise;
}

static PyStatus begin_runtime(rn_value pairs) {
    PyPreConfig config;
    PyPreConfig_InitPythonConfig(&config);
    config.isolated = number_named(pairs, "isolated", 0);
    config.use_environment = number_named(pairs, "use_environment", 1);
    config.utf8_mode = number_named(pairs, "utf8_mode", 0);
    config.dev_mode = number_named(pairs, "dev_mode", 0);
    return Py_PreInitialize(&config);
}

/* Our crash_watch() enables faulthandler, in its own way. */
static PyStatus configure(PyConfig *config, rn_value pairs) {
    const char *name, *value;
    PyStatus status = PyStatus_Ok();
    config->parse_argv = 0;
    config->module_search_paths_set = 1;
    for (size_t at = 0; next_pair(pairs, &at, &name, &value) && !PyStatus_Exception(status);)
        status = set(config, name, value);
    config->faulthandler = 0;
    value = value_named(pairs, "executable");
    if (value && !PyStatus_Exception(status)) status = PyConfig_SetBytesString(config, &config->program_name, value);
    return status;
}

static PyStatus begin_interpreter(rn_value pairs) {
    PyConfig config;
    PyStatus status = begin_runtime(pairs);
    if (PyStatus_Exception(status)) return status;
    PyConfig_InitPythonConfig(&config);
    status = configure(&config, pairs);
    if (!PyStatus_Exception(status)) status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    return status;
}

/* The program's own list, to the letter: site may have added to it. */
static bool restore_path(rn_value pairs) {
    const char *name, *value;
    PyObject *path = PyList_New(0);
    for (size_t at = 0; path && next_pair(pairs, &at, &name, &value);) {
        if (strcmp(name, "path") != 0) continue;
        PyObject *entry = PyUnicode_DecodeFSDefault(value);
        if (!entry || PyList_Append(path, entry) < 0) Py_CLEAR(path);
        Py_XDECREF(entry);
    }
    bool is_good = path && PySys_SetObject("path", path) == 0;
    Py_XDECREF(path);
    return is_good;
}

/* For _remote.py, which is imported when it is needed. */
static bool remember_main(rn_value pairs) {
    const char *name = value_named(pairs, "main_name"), *path = value_named(pairs, "main_path");
    if (!name && !path) return true;
    PyObject *text = PyUnicode_DecodeFSDefault(name ? name : path);
    PyObject *pair = text ? Py_BuildValue("(sO)", name ? "name" : "path", text) : NULL;
    bool is_good = pair && PySys_SetObject("_runium_main", pair) == 0;
    Py_XDECREF(text);
    Py_XDECREF(pair);
    return is_good;
}

/* What an interpreter does at its end and others notice; the process is about to end. Not where a task has called exit(). */
static void end_interpreter(void) {
    if (worker.depth > 0) return;
    (void)gil_enter();
    PyObject *module = PyImport_ImportModule("atexit");
    PyObject *done = module ? PyObject_CallMethod(module, "_run_exitfuncs", NULL) : NULL;
    if (!done) PyErr_Clear();
}

static bool set_up(rn_value pairs) {
    worker.tools.is_worker = true;
    worker.known = PyDict_New();
    worker.no_args = PyTuple_New(0);
    worker.flush_name = PyUnicode_InternFromString("flush");
    bool is_good = worker.known && worker.no_args && worker.flush_name && payload_open(&worker.tools);
    is_good = is_good && restore_path(pairs) && remember_main(pairs);
    if (is_good) crash_watch();
    return is_good && atexit(end_interpreter) == 0;
}

rn_value worker_prepare(rn_call *call) {
    rn_value pairs = rn_arg(call);
    if (worker.is_up) return rn_none();
    (void)signal(SIGINT, SIG_IGN); /* the program's to answer, which then stops its runs */
    PyStatus status = begin_interpreter(pairs);
    if (PyStatus_Exception(status))
        return rn_error_at("", 0, RN_UNSUPPORTED, "the interpreter cannot be started in a worker process: %s",
                           status.err_msg ? status.err_msg : "it ended");
    worker.is_up = set_up(pairs);
    if (!worker.is_up) PyErr_Print();
    (void)PyEval_SaveThread();
    return worker.is_up ? rn_none()
                        : rn_error_at("", 0, RN_UNSUPPORTED, "the interpreter cannot be set up in a worker process");
}

static module_state *find_state(void) {
    PyObject *module = worker.state ? NULL : PyImport_ImportModule("runium._core");
    if (module) worker.state = module_state_of(module);
    Py_XDECREF(module); /* sys.modules has it */
    return worker.state;
}

/* ------------------------------------------------------------------------------------------------
 * Slots
 */
static struct slot *slot_here(void) { return &worker.slots[worker.depth < SLOTS ? worker.depth : SLOTS - 1]; }

static void let_args_go(struct slot *slot) {
    Py_CLEAR(slot->args);
    Py_CLEAR(slot->kwargs);
}

static void let_outcome_go(struct slot *slot) {
    rn_value outcome = slot->outcome;
    slot->outcome = rn_none();
    Py_CLEAR(slot->object);
    rn_drop(outcome);
}

static void clear_slot(struct slot *slot) {
    rn_value argument = slot->argument;
    slot->argument = rn_none();
    let_args_go(slot);
    let_outcome_go(slot);
    Py_CLEAR(slot->functions);
    rn_drop(argument);
}

/* Two that own the same memory; numbers and the like own none. */
static bool is_same(rn_value a, rn_value b) {
    bool owns = rn_kind(a) == RN_BYTES || rn_kind(a) == RN_BUFFER;
    return owns && a.kind == b.kind && a.bits == b.bits;
}

static void keep_outcome(struct slot *slot, rn_value value, PyObject *object) {
    let_outcome_go(slot);
    slot->outcome = rn_keep(value);
    slot->object = Py_NewRef(object);
}

static uint32_t hooks_of(const struct slot *slot) {
    return slot->flags & (REMOTE_HOOK(HOOK_ON_ITER) | REMOTE_HOOK(HOOK_ON_SUCCESS) | REMOTE_HOOK(HOOK_ON_ERROR) |
                          REMOTE_HOOK(HOOK_ON_FINISHED));
}

/* ------------------------------------------------------------------------------------------------
 * Decoding
 */
/* Names are found once: what they stand for is the same in each run. */
static PyObject *find_functions(const payload_parts *parts) {
    if (!(parts->flags & REMOTE_BY_REFERENCE)) return payload_load_bytes(&worker.tools, parts->recipe, parts->recipe_size);
    PyObject *key = PyBytes_FromStringAndSize(parts->recipe, (Py_ssize_t)parts->recipe_size);
    PyObject *functions = key ? Py_XNewRef(PyDict_GetItemWithError(worker.known, key)) : NULL;
    if (key && !functions && !PyErr_Occurred()) {
        functions = payload_load_bytes(&worker.tools, parts->recipe, parts->recipe_size);
        if (PyDict_GET_SIZE(worker.known) >= NAMES_MOST) PyDict_Clear(worker.known);
        if (functions && PyDict_SetItem(worker.known, key, functions) < 0) Py_CLEAR(functions);
    }
    Py_XDECREF(key);
    return functions;
}

static bool decode_functions(struct slot *slot, const payload_parts *parts) {
    PyObject *functions = find_functions(parts);
    bool is_good = functions && PyTuple_CheckExact(functions) && PyTuple_GET_SIZE(functions) == 1 + HOOK_COUNT;
    if (functions && !is_good) PyErr_SetString(PyExc_RuntimeError, "what came from another process is no task");
    if (!is_good) {
        remote_refuse(&worker.tools, "the function or a callback");
        Py_XDECREF(functions);
        return false;
    }
    clear_slot(slot);
    slot->argument = rn_keep(parts->value);
    slot->flags = parts->flags;
    slot->functions = functions;
    return true;
}

static bool decode_args(struct slot *slot, const payload_parts *parts) {
    let_args_go(slot);
    if (slot->flags & REMOTE_NO_ARGUMENTS) {
        slot->args = Py_NewRef(worker.no_args);
        return true;
    }
    PyObject *both = payload_load(&worker.tools, parts);
    bool is_good = both && PyTuple_CheckExact(both) && PyTuple_GET_SIZE(both) == 2;
    if (is_good) {
        PyObject *args = PyTuple_GET_ITEM(both, 0), *kwargs = PyTuple_GET_ITEM(both, 1);
        slot->args = Py_NewRef(args == Py_None ? worker.no_args : args);
        slot->kwargs = kwargs == Py_None ? NULL : Py_NewRef(kwargs);
    }
    Py_XDECREF(both);
    if (!is_good) remote_refuse(&worker.tools, "the arguments");
    return is_good;
}

/* False: an exception is set. */
static bool decode(struct slot *slot, rn_call *call, bool with_args) {
    payload_parts parts;
    bool is_known = slot->functions && is_same(slot->argument, rn_arg(call));
    if (is_known && (!with_args || slot->args)) return true;
    if (!payload_read(rn_arg(call), false, &parts)) return false;
    if (!is_known && !decode_functions(slot, &parts)) return false;
    return !with_args || decode_args(slot, &parts);
}

/* ------------------------------------------------------------------------------------------------
 * Outcomes
 */
/* Where not even that can be said which is to be said. */
static rn_value bare_error(PyObject *exception, int code) {
    PyErr_Clear();
    return rn_error_at("", 0, code, "%s", exception ? Py_TYPE(exception)->tp_name : "unknown exception");
}

/* Takes the reference. The detail is the error's, and borrowed from it. */
static rn_value error_here(PyObject *exception, uint32_t flags, rn_value *detail) {
    int code = flags & REMOTE_QUIET ? PYTHON_RAISED_QUIETLY : PYTHON_RAISED;
    PyObject *is_printed = flags & REMOTE_DEBUG ? Py_True : Py_False;
    const char *line, *pickle;
    Py_ssize_t size;
    *detail = rn_none();
    PyObject *remote = exception ? payload_remote(&worker.tools) : NULL;
    PyObject *pair = remote ? PyObject_CallMethod(remote, "describe", "OO", exception, is_printed) : NULL;
    rn_value error;
    if (pair && PyArg_ParseTuple(pair, "sy#", &line, &pickle, &size)) {
        *detail = rn_bytes(pickle, (size_t)size);
        error = rn_error_with(rn_error_at("", 0, code, "%s", line), *detail);
    } else {
        error = bare_error(exception, code);
    }
    Py_XDECREF(pair);
    return error;
}

static bool is_number(PyObject *object, rn_value *value) {
    int overflow;
    if (object == Py_None) return *value = rn_none(), true;
    if (PyBool_Check(object)) return *value = rn_bool(object == Py_True), true;
    if (PyFloat_CheckExact(object)) return *value = rn_float(PyFloat_AS_DOUBLE(object)), true;
    if (!PyLong_CheckExact(object)) return false;
    long long number = PyLong_AsLongLongAndOverflow(object, &overflow);
    *value = rn_int(number);
    return overflow == 0;
}

static bool is_short_text(PyObject *object, rn_value *value) {
    if (!PyUnicode_CheckExact(object) || PyUnicode_GET_LENGTH(object) > TEXT_MOST / 4) return false;
    Py_ssize_t length;
    const char *text = PyUnicode_AsUTF8AndSize(object, &length); /* NULL: lone surrogates */
    if (!text) PyErr_Clear();
    if (!text || memchr(text, '\0', (size_t)length)) return false;
    *value = rn_text_n(text, (size_t)length);
    return true;
}

/* Takes the reference. NULL: an exception is set, and is the outcome. */
static rn_value outcome_here(struct slot *slot, PyObject *object, const payload_content *where, uint32_t flags) {
    payload_content content = *where;
    rn_value value, detail;
    content.object = object;
    content.what = "result";
    bool is_good = object && (is_number(object, &value) || is_short_text(object, &value) ||
                              payload_pack(&worker.tools, &content, &value));
    PyObject *exception = is_good ? NULL : take_exception();
    if (!is_good) value = error_here(exception, flags, &detail);
    if (slot && hooks_of(slot)) keep_outcome(slot, is_good ? value : detail, is_good ? object : exception);
    Py_XDECREF(object);
    Py_XDECREF(exception);
    return value;
}

/* ------------------------------------------------------------------------------------------------
 * Calling
 */
static void flush(const char *name) {
    PyObject *stream = PySys_GetObject(name);
    if (!stream || stream == Py_None) return;
    PyObject *done = PyObject_CallMethodNoArgs(stream, worker.flush_name);
    if (!done) PyErr_Clear();
    Py_XDECREF(done);
}

struct stay {
    gil_visit visit;
    call_frame frame;
};

static void enter(struct stay *stay, rn_call *call) {
    stay->visit = gil_enter();
    call_enter(&stay->frame, call);
}

/* What it printed is the host's to see, whatever becomes of this process. */
static void leave(struct stay *stay) {
    flush("stdout");
    flush("stderr");
    call_leave(&stay->frame);
    gil_leave(stay->visit);
}

static PyObject *call_function(const struct slot *slot, rn_call *call) {
    PyObject *function = Py_NewRef(PyTuple_GET_ITEM(slot->functions, 0)), *args = Py_NewRef(slot->args);
    PyObject *kwargs = Py_XNewRef(slot->kwargs), *result = NULL;
    bool is_ready = true;
    if (slot->flags & REMOTE_WANTS_RUNIUM) {
        const recipe_object wants = {.wants_runium = true};
        module_state *state = find_state();
        PyObject *all = state ? call_kwargs(state, &wants, kwargs, call) : NULL;
        Py_XSETREF(kwargs, all);
        is_ready = all != NULL;
    }
    worker.depth++;
    if (is_ready) result = PyObject_Call(function, args, kwargs);
    worker.depth--;
    Py_DECREF(function);
    Py_DECREF(args);
    Py_XDECREF(kwargs);
    return result;
}

/* What no hook of this turn, and no iteration of it, will ask for. */
static void tidy_after_function(struct slot *slot, rn_call *call, bool failed) {
    bool is_last = rn_remaining(call) == 0;
    uint32_t wanted = REMOTE_HOOK(HOOK_ON_ITER) | REMOTE_HOOK(HOOK_ON_FINISHED) |
                      REMOTE_HOOK(failed ? HOOK_ON_ERROR : HOOK_ON_SUCCESS);
    if (is_last && !(slot->flags & wanted)) clear_slot(slot);
    else if (is_last || rn_kind(slot->argument) == RN_BUFFER) let_args_go(slot);
}

rn_value worker_function(rn_call *call) {
    struct stay stay;
    if (!worker.is_up) return rn_error_at("", 0, RN_UNSUPPORTED, "there is no interpreter in this worker process");
    enter(&stay, call);
    struct slot *slot = slot_here();
    PyObject *result = decode(slot, call, true) ? call_function(slot, call) : NULL;
    payload_parts parts;
    uint32_t flags = payload_read(rn_arg(call), false, &parts) ? parts.flags : 0;
    bool is_slot = is_same(slot->argument, rn_arg(call)); /* a deep nest of waits may have taken it */
    /* Callbacks have what the function returned, and never ask for the arguments. */
    const payload_content where = {.home = rn_arg(call), .is_last = rn_remaining(call) == 0};
    rn_value outcome = outcome_here(is_slot ? slot : NULL, result, &where, flags);
    if (is_slot) tidy_after_function(slot, call, rn_is_error(outcome));
    leave(&stay);
    return outcome;
}

/* ------------------------------------------------------------------------------------------------
 * Hooks
 */
static PyObject *object_here(const struct slot *slot, rn_value value) {
    module_state *state;
    if (rn_kind(value) != RN_ERROR) {
        if (is_same(slot->outcome, value)) return Py_NewRef(slot->object);
        return remote_object(&worker.tools, value);
    }
    if (is_same(slot->outcome, rn_error_detail(value))) return Py_NewRef(slot->object);
    state = find_state();
    return state ? exception_of(state, value) : NULL;
}

static void tidy_after_hook(struct slot *slot, rn_call *call, enum hook hook, bool failed) {
    uint32_t wanted = hook == HOOK_ON_FINISHED ? 0 : REMOTE_HOOK(HOOK_ON_FINISHED);
    if (hook == HOOK_ON_ITER) wanted |= REMOTE_HOOK(failed ? HOOK_ON_ERROR : HOOK_ON_SUCCESS);
    bool is_more = hook == HOOK_ON_ITER && rn_remaining(call) > 0;
    if (!is_more && !(slot->flags & wanted)) clear_slot(slot);
}

static PyObject *call_hook(const struct slot *slot, enum hook hook, const rn_value *values, size_t count) {
    PyObject *objects[2] = {NULL, NULL}, *result = NULL;
    bool is_ready = true;
    for (size_t i = 0; i < count && is_ready; i++) is_ready = (objects[i] = object_here(slot, values[i])) != NULL;
    PyObject *function = Py_NewRef(PyTuple_GET_ITEM(slot->functions, 1 + hook));
    worker.depth++;
    if (is_ready) result = PyObject_Vectorcall(function, objects, count, NULL);
    worker.depth--;
    Py_DECREF(function);
    Py_XDECREF(objects[0]);
    Py_XDECREF(objects[1]);
    return result;
}

static rn_value run_hook(rn_call *call, enum hook hook, const rn_value *values, size_t count, bool failed) {
    struct stay stay;
    if (!worker.is_up) return rn_error_at("", 0, RN_UNSUPPORTED, "there is no interpreter in this worker process");
    enter(&stay, call);
    struct slot *slot = slot_here();
    PyObject *result = decode(slot, call, false) ? call_hook(slot, hook, values, count) : NULL;
    const payload_content nowhere = {.home = rn_none()};
    rn_value outcome = outcome_here(NULL, result, &nowhere, 0);
    if (is_same(slot->argument, rn_arg(call))) tidy_after_hook(slot, call, hook, failed);
    leave(&stay);
    return outcome;
}

rn_value worker_on_iter(rn_call *call, rn_value success, rn_value error) {
    return run_hook(call, HOOK_ON_ITER, (rn_value[]){success, error}, 2, rn_is_error(error));
}

rn_value worker_on_success(rn_call *call, rn_value success) { return run_hook(call, HOOK_ON_SUCCESS, &success, 1, false); }

rn_value worker_on_error(rn_call *call, rn_value error) { return run_hook(call, HOOK_ON_ERROR, &error, 1, true); }

rn_value worker_on_finished(rn_call *call, rn_value success, rn_value error) {
    return run_hook(call, HOOK_ON_FINISHED, (rn_value[]){success, error}, 2, rn_is_error(error));
}
