#include <pthread.h>

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

static pthread_key_t thread_end;
static pthread_once_t once = PTHREAD_ONCE_INIT;

bool interpreter_is_ending(void) {
#if PY_VERSION_HEX >= 0x030d0000
    return Py_IsFinalizing();
#else
    return !Py_IsInitialized() || _Py_IsFinalizing();
#endif
}

/* A thread of the core ends: its Python thread state ends with it. */
static void end_thread(void *state) {
    if (interpreter_is_ending()) return;
    if (!PyGILState_Check()) PyEval_RestoreThread(state);
    PyThreadState_Clear(state);
    PyThreadState_DeleteCurrent();
}

static void make_key(void) { (void)pthread_key_create(&thread_end, end_thread); }

static void adopt_thread(void) {
    (void)PyGILState_Ensure(); /* never released: end_thread() does what is to be done */
    self.is_ours = true;
    (void)pthread_once(&once, make_key);
    (void)pthread_setspecific(thread_end, PyThreadState_Get());
}

/* A thread of Python's own that has given up the lock in gil_begin_wait(), or a thread of the core. */
static void take(void) {
    if (self.saved) {
        PyThreadState *state = self.saved;
        self.saved = NULL;
        PyEval_RestoreThread(state);
    } else {
        adopt_thread();
    }
}

static void give(void) { self.saved = PyEval_SaveThread(); }

gil_visit gil_enter(void) {
    if (PyGILState_Check()) return (gil_visit){.took = false};
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
