#include <sched.h>
#include <stdatomic.h>

#include "module.h"

/*
 * Threads of the core have no Python thread state until they first call Python. Then they get one that stays until the
 * thread ends. `saved` is that state, while the thread does not hold the lock.
 */
static _Thread_local struct {
    PyThreadState *saved;
    unsigned waits; /* calls of the core that may wait, and that this thread is within */
    unsigned kept;  /* visits that found the lock kept */
    bool is_ours;   /* a thread of the core */
} self;

#define KEPT_MOST 128u /* so many tasks, then whoever waits for the lock has a chance, even if they run no bytecode */

/*
 * Who asks the interpreter for its lock while it is held sleeps, and to wake a thread on another core takes longer than
 * most tasks. But threads here hold it in turns that are short: the one that has just submitted a run gives it up when it
 * waits, a worker when it is idle. So whoever wants the lock looks at this word for a moment first. It is a guess: threads
 * of the program that take turns elsewhere are not counted.
 */
static atomic_uint held;

#define PATIENCE 400u /* looks: about as long as a wake-up takes */
#define PAUSES 8u     /* between two of them, in which the core is given to whoever has nothing else */

static void wait_a_moment(void) {
    for (unsigned i = 0; i < PATIENCE && atomic_load_explicit(&held, memory_order_relaxed); i++) {
        if (i % PAUSES == PAUSES - 1) sched_yield();
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#endif
    }
}

bool interpreter_is_ending(void) {
#if PY_VERSION_HEX >= 0x030d0000
    return Py_IsFinalizing();
#else
    return !Py_IsInitialized() || _Py_IsFinalizing();
#endif
}

static void give(void) {
    self.saved = PyEval_SaveThread();
    atomic_store_explicit(&held, 0, memory_order_relaxed);
}

/* A thread of the core ends: its Python thread state ends with it, which may run Python. */
static void end_thread(void *state) {
    if (interpreter_is_ending()) return;
    if (self.saved) PyEval_RestoreThread(state);
    self.saved = NULL;
    PyThreadState_Clear(state);
    PyThreadState_DeleteCurrent();
    atomic_store_explicit(&held, 0, memory_order_relaxed);
}

/*
 * Has end_thread() called as the destructor of an object of this thread, as C++ has it, and not by the destructor of a
 * thread-specific value: when those run the system has forgotten the values of lower keys already. The interpreter's is one
 * of them, and by that it knows whose state it is.
 */
extern int __cxa_thread_atexit_impl(void (*destroy)(void *), void *object, void *module);
extern void *__dso_handle __attribute__((visibility("hidden")));

/* CPython 3.11 takes it for granted that there is memory for the state of a thread: so that much is asked for ahead. */
static void await_memory(void) {
    void *block;
    while (!(block = PyMem_RawMalloc(sizeof(PyThreadState)))) sched_yield();
    PyMem_RawFree(block);
}

/* In a worker process there is one that has a state already: it has begun the interpreter, and exit() ends it. */
static void adopt_thread(void) {
    bool has_state = PyGILState_GetThisThreadState() != NULL;
    if (!has_state) await_memory();
    (void)PyGILState_Ensure(); /* never released: end_thread() does what is to be done */
    if (has_state) return;
    self.is_ours = true;
    (void)__cxa_thread_atexit_impl(end_thread, PyThreadState_Get(), &__dso_handle);
}

/* A thread of Python's own that has given up the lock in gil_begin_wait(), or a thread of the core. */
static void take(void) {
    wait_a_moment();
    if (self.saved) {
        PyThreadState *state = self.saved;
        self.saved = NULL;
        PyEval_RestoreThread(state);
    } else {
        adopt_thread();
    }
    atomic_store_explicit(&held, 1, memory_order_relaxed);
}

/* PyGILState_Check() says yes to everybody once there has been a sub-interpreter. */
static bool holds_lock(void) {
    PyThreadState *own = PyGILState_GetThisThreadState();
#if PY_VERSION_HEX >= 0x030d0000
    return own && own == PyThreadState_GetUnchecked();
#else
    return own && own == _PyThreadState_UncheckedGet();
#endif
}

gil_visit gil_enter(void) {
    if (holds_lock()) return (gil_visit){.took = false};
    take();
    return (gil_visit){.took = true};
}

void gil_leave(gil_visit visit) {
    if (visit.took) give();
}

void gil_keep(gil_visit visit) {
    if (self.waits > 0 || !self.is_ours) {
        gil_leave(visit);
    } else if (++self.kept % KEPT_MOST == 0) {
        give();
        take();
    }
}

void gil_on_idle(void *context) {
    (void)context;
    if (self.is_ours && !self.saved) give();
}

void gil_begin_wait(void) {
    self.waits++;
    give();
}

void gil_end_wait(void) {
    self.waits--;
    take();
}
