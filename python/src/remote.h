/*
 * What remote.c and worker.c agree about: the argument of a run in a worker process is a payload, whose recipe is the
 * pickle of (function, on_iter, on_success, on_error, on_finished), None for what there is not, and whose object is
 * (args, kwargs), None for those that are empty.
 */
#ifndef RUNIUM_PYTHON_REMOTE_H
#define RUNIUM_PYTHON_REMOTE_H

#include "payload.h"

enum remote_flags {
    REMOTE_WANTS_RUNIUM = 1,
    REMOTE_DEBUG = 2,
    REMOTE_BY_REFERENCE = 4, /* the recipe is names alone: whoever has found them may keep them */
    REMOTE_NO_ARGUMENTS = 8,
    REMOTE_QUIET = 256 /* 16 to 128 are the hooks */
};
#define REMOTE_HOOK(hook) (16u << (hook))

/* Raises NotPicklable in place of the exception that is set. Always NULL. */
void *remote_refuse(payload_tools *tools, const char *what);

/* What a value of another process stands for, but for errors. */
PyObject *remote_object(payload_tools *tools, rn_value value);

/* crash.c, in a worker: has a process that dies of a signal say what its Python was doing, without the lock of the
 * interpreter. After the interpreter has begun. */
void crash_watch(void);

#endif
