#include <stddef.h>

#include "module.h"

#include <structmember.h>

/* ------------------------------------------------------------------------------------------------
 * Recipes
 */
/* Recipes are no business of the garbage collector: there is one for each task, and it has enough to do with those. A task
 * shows it what its recipe refers to, as long as no run has it too. */
static int visit_recipe(const recipe_object *recipe, visitproc visit, void *arg) {
    if (!recipe || Py_REFCNT(recipe) > 1) return 0;
    Py_VISIT(recipe->function);
    Py_VISIT(recipe->packed);
    for (int i = 0; i < HOOK_COUNT; i++) Py_VISIT(recipe->hooks[i]);
    return 0;
}

static void dealloc_recipe(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    recipe_object *recipe = (recipe_object *)self;
    Py_XDECREF(recipe->function);
    Py_XDECREF(recipe->packed);
    for (int i = 0; i < HOOK_COUNT; i++) Py_XDECREF(recipe->hooks[i]);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot recipe_slots[] = {
    {Py_tp_dealloc, dealloc_recipe},
    {0, NULL},
};

PyType_Spec recipe_spec = {
    .name = "runium._core.Recipe",
    .basicsize = sizeof(recipe_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = recipe_slots,
};

/* A plain function says by itself what its parameters are; of anything else inspect.signature() knows it. */
static int wants_runium(module_state *state, PyObject *function) {
    PyObject *names = NULL;
    if (PyFunction_Check(function) && !((PyFunctionObject *)function)->func_dict) {
        PyCodeObject *code = (PyCodeObject *)PyFunction_GET_CODE(function);
        int count = code->co_argcount + code->co_kwonlyargcount;
        if (count == 0) return 0;
        PyObject *all = PyObject_GetAttrString((PyObject *)code, "co_varnames");
        names = all ? PySequence_GetSlice(all, 0, count) : NULL;
        Py_XDECREF(all);
    } else {
        PyObject *signature = PyObject_CallOneArg(state->signature, function);
        names = signature ? PyObject_GetAttrString(signature, "parameters") : NULL;
        Py_XDECREF(signature);
        if (!names && (PyErr_ExceptionMatches(PyExc_ValueError) || PyErr_ExceptionMatches(PyExc_TypeError))) {
            PyErr_Clear(); /* there are callables that have none to show */
            return 0;
        }
    }
    int found = names ? PySequence_Contains(names, state->runium_name) : -1;
    Py_XDECREF(names);
    return found;
}

static PyObject *name_of(const task_object *task) {
    if (task->name) return Py_NewRef(task->name);
    if (PyFunction_Check(task->function)) return Py_NewRef(((PyFunctionObject *)task->function)->func_name);
    PyObject *name = PyObject_GetAttrString(task->function, "__name__");
    if (name && PyUnicode_Check(name)) return name;
    if (!name && PyErr_ExceptionMatches(PyExc_MemoryError)) return NULL;
    Py_XDECREF(name);
    PyErr_Clear();
    return PyUnicode_FromString(Py_TYPE(task->function)->tp_name);
}

/* The core keeps a pointer to a name beyond the end of its run, so names stay: as many as there are different ones. */
static const char *origin_of(module_state *state, const task_object *task) {
    PyObject *name = name_of(task);
    if (!name) return NULL;
    PyObject *bytes = PyDict_GetItemWithError(state->names, name);
    if (!bytes && !PyErr_Occurred()) {
        PyObject *utf8 = PyUnicode_AsEncodedString(name, "utf-8", "replace");
        /* Behind the name the core expects where it was run; bytes end with a NUL: that makes it "". */
        bytes = utf8 ? PyBytes_FromFormat("%s%c", PyBytes_AS_STRING(utf8), 0) : NULL;
        Py_XDECREF(utf8);
        if (bytes && PyDict_SetItem(state->names, name, bytes) < 0) Py_CLEAR(bytes);
        Py_XDECREF(bytes); /* the dict has it */
    }
    Py_DECREF(name);
    return bytes ? PyBytes_AS_STRING(bytes) : NULL;
}

static recipe_object *make_recipe(const task_object *task) {
    module_state *state = task->runtime->state;
    int wants = task->is_standard ? 0 : wants_runium(state, task->function);
    const char *origin = wants < 0 ? NULL : origin_of(state, task);
    recipe_object *made = origin ? (recipe_object *)state->recipe_type->tp_alloc(state->recipe_type, 0) : NULL;
    if (!made) return NULL;
    made->state = state;
    made->function = Py_NewRef(task->function);
    for (int i = 0; i < HOOK_COUNT; i++) made->hooks[i] = Py_XNewRef(task->hooks[i]);
    made->origin = origin;
    made->updates_result = task->updates_result;
    made->wants_runium = wants == 1;
    made->debug = task->runtime->debug && !task->is_standard;
    made->is_quiet = task->is_standard;
    return made;
}

/* ------------------------------------------------------------------------------------------------
 * Tasks
 */
PyObject *task_new(runtime_object *runtime, PyObject *function, PyObject *args, PyObject *kwargs, PyObject *name) {
    PyTypeObject *type = runtime->state->task_type;
    task_object *made = (task_object *)type->tp_alloc(type, 0);
    if (!made) return NULL;
    made->runtime = (runtime_object *)Py_NewRef(runtime);
    made->id = ++runtime->state->last_id;
    made->function = Py_NewRef(function);
    made->args = Py_XNewRef(args);
    made->kwargs = Py_XNewRef(kwargs);
    made->name = Py_XNewRef(name);
    made->next = runtime->tasks;
    if (made->next) made->next->link = &made->next;
    made->link = &runtime->tasks;
    runtime->tasks = made;
    return (PyObject *)made;
}

bool task_is_pending(const task_object *task) { return !task->future || !future_is_done(task->future); }

bool task_has_open_runs(const task_object *task) {
    bool is_open = task_is_pending(task);
    for (Py_ssize_t i = 0; !is_open && task->earlier && i < PyList_GET_SIZE(task->earlier); i++)
        is_open = !future_is_done(PyList_GET_ITEM(task->earlier, i));
    return is_open;
}

/* Those of the earlier futures that are not done, in a list of their own: to free one may run code of anybody's. */
static PyObject *open_ones(PyObject *futures) {
    PyObject *open = PyList_New(0);
    for (Py_ssize_t i = 0; open && futures && i < PyList_GET_SIZE(futures); i++) {
        PyObject *future = PyList_GET_ITEM(futures, i);
        if (!future_is_done(future) && PyList_Append(open, future) < 0) Py_CLEAR(open);
    }
    return open;
}

/* Room for one more among the earlier futures: those that are done by now are taken out now and then. */
static int make_room(task_object *task) {
    if (task->earlier && PyList_GET_SIZE(task->earlier) < task->earlier_most) return 0;
    PyObject *open = open_ones(task->earlier), *former = task->earlier;
    if (!open) return -1;
    task->earlier = open;
    task->earlier_most = 2 * PyList_GET_SIZE(open) + 16;
    Py_XDECREF(former);
    return 0;
}

/* Of the run that has begun. In worker processes the one before it is one of the earlier ones, if it is not done. */
static int set_future(task_object *task, PyObject *future) {
    PyObject *last = task->future;
    bool stays = last && task->runtime->processes && !future_is_done(last);
    task->future = Py_NewRef(future);
    int code = stays ? make_room(task) : 0;
    if (stays && code == 0) code = PyList_Append(task->earlier, last);
    Py_XDECREF(last);
    return code;
}

/* ------------------------------------------------------------------------------------------------
 * Tasks that are kept
 */
static void unlink_kept(task_object *task) {
    runtime_object *runtime = task->runtime;
    *task->link_kept = task->next_kept;
    if (task->next_kept) task->next_kept->link_kept = task->link_kept;
    else runtime->kept_end = task->link_kept;
    task->link_kept = NULL;
}

static void link_kept(task_object *task) {
    runtime_object *runtime = task->runtime;
    task->next_kept = NULL;
    task->link_kept = runtime->kept_end;
    *runtime->kept_end = task;
    runtime->kept_end = &task->next_kept;
}

/* The one that was not looked at for longest: it goes, or to the end of the row. */
static void look_at_kept(runtime_object *runtime) {
    task_object *task = runtime->kept;
    if (!task) return;
    unlink_kept(task);
    if (task_has_open_runs(task)) link_kept(task);
    else Py_DECREF(task);
}

void task_keep(task_object *task) {
    look_at_kept(task->runtime);
    look_at_kept(task->runtime);
    if (task->link_kept || !task_has_open_runs(task)) return;
    link_kept((task_object *)Py_NewRef(task));
}

void task_forget(task_object *task) {
    unlink_kept(task);
    Py_DECREF(task);
}

void task_let_go(task_object *task) {
    if (task->link_kept && !task_has_open_runs(task)) task_forget(task);
}

static PyObject *set_hook(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names, enum hook hook) {
    static const unsigned bits[] = {RN_ON_ITER, RN_ON_SUCCESS, RN_ON_ERROR, RN_ON_FINISHED};
    static const char *const methods[] = {"on_iter", "on_success", "on_error", "on_finished"};
    static const char *const parameters[] = {"fn", "updates_result", NULL};
    PyObject *values[2];
    task_object *task = (task_object *)self;
    if (arguments_read(methods[hook], parameters, 2, args, count, names, values) < 0) return NULL;
    if (!values[0]) return PyErr_Format(PyExc_TypeError, "%s() needs a callable", methods[hook]);
    if (!PyCallable_Check(values[0]) && values[0] != Py_None)
        return PyErr_Format(PyExc_TypeError, "%s: %R cannot be called", methods[hook], values[0]);
    int updates = values[1] ? PyObject_IsTrue(values[1]) : 0;
    if (updates < 0) return NULL;
    Py_XSETREF(task->hooks[hook], values[0] == Py_None ? NULL : Py_NewRef(values[0]));
    task->updates_result &= ~bits[hook];
    if (updates && task->hooks[hook]) task->updates_result |= bits[hook];
    Py_CLEAR(task->recipe);
    return Py_NewRef(self);
}

static PyObject *on_iter(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    return set_hook(self, args, count, names, HOOK_ON_ITER);
}

static PyObject *on_success(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    return set_hook(self, args, count, names, HOOK_ON_SUCCESS);
}

static PyObject *on_error(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    return set_hook(self, args, count, names, HOOK_ON_ERROR);
}

static PyObject *on_finished(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    return set_hook(self, args, count, names, HOOK_ON_FINISHED);
}

/* ------------------------------------------------------------------------------------------------
 * Running
 */
/* What the caller gave as kwargs, copied: a dict, or NULL if there is nothing in it. */
static int copy_kwargs(const task_object *task, PyObject **copy) {
    *copy = NULL;
    if (!task->kwargs || (PyDict_CheckExact(task->kwargs) && PyDict_GET_SIZE(task->kwargs) == 0)) return 0;
    *copy = PyDict_New();
    if (*copy && PyDict_Update(*copy, task->kwargs) == 0) return 0;
    Py_CLEAR(*copy);
    return -1;
}

static bool make_argument(task_object *task, rn_task *schedule, PyObject *kwargs, PyObject *future) {
    recipe_object *recipe = task->recipe;
    schedule->origin = recipe->origin;
    schedule->updates_result = recipe->updates_result;
    if (task->runtime->processes) remote_set_functions(schedule, recipe);
    else run_set_functions(schedule, recipe);
    if (task->runtime->processes) return remote_pack(recipe, task->args, kwargs, &schedule->arg);
    schedule->arg = run_make(recipe, (PyObject *)task, task->args, kwargs, future);
    return true;
}

/* No code of Python's runs between the look at `is_refused` and the row: shutdown() misses none. */
static bool submit(const task_object *task, const rn_task *schedule, PyObject *future, const task_standard *standard) {
    if (standard && *standard->is_refused) {
        rn_drop(schedule->arg);
        PyErr_SetString(PyExc_RuntimeError, "cannot schedule new futures after shutdown");
        return false;
    }
    future_begin(future, rn_submit(task->runtime->handle, schedule));
    if (standard) future_make_standard(future, standard->row);
    return true;
}

static PyObject *start(task_object *task, rn_task *schedule, const task_standard *standard) {
    module_state *state = task->runtime->state;
    PyObject *kwargs;
    if (!task->runtime->handle) return future_failed(state, PyObject_CallMethod(state->errors, "Closed", "s",
                                                     "the runtime is closed; it accepts no new runs"));
    if (!task->recipe) task->recipe = make_recipe(task);
    if (!task->recipe || copy_kwargs(task, &kwargs) < 0) return NULL;
    /* Made before the run begins: one that has begun is not taken back for want of a future. */
    PyObject *future = future_new(state, task->runtime->processes ? (PyObject *)task : NULL);
    bool can_travel = future && make_argument(task, schedule, kwargs, future);
    Py_XDECREF(kwargs);
    if (future && !can_travel) {
        Py_DECREF(future);
        return future_failed(state, take_exception());
    }
    if (future && !submit(task, schedule, future, standard)) Py_CLEAR(future);
    return future;
}

static PyObject *start_and_keep(task_object *task, rn_task *schedule, const task_standard *standard) {
    PyObject *future = start(task, schedule, standard);
    if (!future) return NULL;
    if (set_future(task, future) < 0) PyErr_Clear(); /* the run goes on as long as somebody has the runtime */
    if (task->runtime->processes) task_keep(task);
    return future;
}

PyObject *task_run_standard(task_object *task, const task_standard *standard) {
    rn_task schedule = {.size = sizeof schedule};
    task->is_standard = true;
    return start_and_keep(task, &schedule, standard);
}

static PyObject *run(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    static const char *const parameters[] = {"every", "times", "start_in", "at", "timeout", NULL};
    PyObject *values[SCHEDULE_COUNT];
    task_object *task = (task_object *)self;
    rn_task schedule = {.size = sizeof schedule};
    if (count > 0 || names) {
        if (arguments_read("run", parameters, 3, args, count, names, values) < 0) return NULL;
        for (int i = 0; i < SCHEDULE_COUNT; i++)
            if (values[i] == Py_None) values[i] = NULL;
        if (schedule_read(&schedule, values, task->runtime->processes) < 0) return NULL;
    }
    return start_and_keep(task, &schedule, NULL);
}

static PyObject *get_id(PyObject *self, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLongLong(((task_object *)self)->id);
}

static PyObject *get_name(PyObject *self, void *unused) {
    (void)unused;
    return name_of((task_object *)self);
}

static PyObject *repr(PyObject *self) {
    task_object *task = (task_object *)self;
    PyObject *name = name_of(task);
    PyObject *text = name ? PyUnicode_FromFormat("<runium.Task %llu %R>", (unsigned long long)task->id, name) : NULL;
    Py_XDECREF(name);
    return text;
}

static int traverse(PyObject *self, visitproc visit, void *arg) {
    task_object *task = (task_object *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(task->runtime);
    Py_VISIT(task->function);
    Py_VISIT(task->args);
    Py_VISIT(task->kwargs);
    Py_VISIT(task->name);
    for (int i = 0; i < HOOK_COUNT; i++) Py_VISIT(task->hooks[i]);
    Py_VISIT(task->future);
    Py_VISIT(task->earlier);
    return visit_recipe(task->recipe, visit, arg);
}

/* But for the runtime: methods need it, and it refers to none of its tasks. */
static int clear(PyObject *self) {
    task_object *task = (task_object *)self;
    Py_CLEAR(task->args);
    Py_CLEAR(task->kwargs);
    for (int i = 0; i < HOOK_COUNT; i++) Py_CLEAR(task->hooks[i]);
    Py_CLEAR(task->recipe);
    Py_CLEAR(task->future);
    Py_CLEAR(task->earlier);
    return 0;
}

static void dealloc(PyObject *self) {
    task_object *task = (task_object *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (task->link) *task->link = task->next;
    if (task->next) task->next->link = task->link;
    if (task->weak) PyObject_ClearWeakRefs(self);
    (void)clear(self);
    Py_XDECREF(task->name);
    Py_XDECREF(task->function);
    Py_XDECREF(task->runtime);
    type->tp_free(self);
    Py_DECREF(type);
}

#define HOOK(name, signature, text) \
    {#name, (PyCFunction)(void (*)(void))name, METH_FASTCALL | METH_KEYWORDS, \
     #name "($self, fn, updates_result=False)\n--\n\n" text \
     "\n\nfn is called with " signature ", in the thread or process of the iteration. With updates_result the result of\n" \
     "the run becomes what fn returns; the last callback that does so wins. Returns the task."}

static PyMethodDef methods[] = {
    {"run", (PyCFunction)(void (*)(void))run, METH_FASTCALL | METH_KEYWORDS,
     "run($self, every=None, times=None, start_in=0, *, at=None, timeout=None)\n--\n\n"
     "Starts the task and returns its Future at once.\n\n"
     "every     the period: seconds, or text such as '10 seconds'. A fixed rate: a tick that comes while an iteration\n"
     "          still runs is skipped. Without times until future.stop().\n"
     "times     how many iterations, 1 or more; without every back to back.\n"
     "start_in  the delay before the first: seconds or text.\n"
     "at        when the first starts: a datetime, text such as '2030-12-24 18:00', or seconds since 1970.\n"
     "timeout   the longest that an iteration or a callback may take, seconds or text: worker processes only.\n\n"
     "A run that cannot start is a future that has failed. A task can be run many times; each run has its own future."},
    HOOK(on_iter, "(success, error)", "Sets what runs after every iteration, whether it succeeded or raised."),
    HOOK(on_success, "(success)", "Sets what runs once at the end, if the last iteration raised nothing."),
    HOOK(on_error, "(error)", "Sets what runs once at the end, if the last iteration raised: with the exception."),
    HOOK(on_finished, "(success, error)", "Sets what runs once at the very end, in any case."),
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, "Task[T]: a task whose function returns T."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef members[] = {
    {"future", T_OBJECT, offsetof(task_object, future), READONLY, "The future of the last run, or None."},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(task_object, weak), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef properties[] = {
    {"id", get_id, NULL, "Its key in Runium.pending_tasks().", NULL},
    {"name", get_name, NULL, "Its name: the function's, if new_task() was not given another.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "What to run: a function, its arguments, and the callbacks. Made by Runium.new_task(); runs nothing until run()."},
    {Py_tp_dealloc, dealloc},
    {Py_tp_traverse, traverse},
    {Py_tp_clear, clear},
    {Py_tp_repr, repr},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {Py_tp_getset, properties},
    {0, NULL},
};

PyType_Spec task_spec = {
    .name = "runium._core.Task",
    .basicsize = sizeof(task_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};
