/*
 * Bytes and bytearrays that are too large for a pickle: payload.c sets them beside it.
 */
#ifndef RUNIUM_PYTHON_LARGE_H
#define RUNIUM_PYTHON_LARGE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stddef.h>

#define LARGE_BYTES ((size_t)64 * 1024) /* from here on bytes go beside the pickle, and a payload is a buffer */

/* A look, not a search: what lies deep among others is pickled as anything else, which is a copy or two more. No code of
 * Python's runs here, so nothing changes meanwhile. */
bool large_is_near(PyObject *object);

/* Bytes or a bytearray of that memory, which stays the caller's; the interpreter's lock is given up meanwhile. */
PyObject *large_copy(const void *memory, size_t size, bool is_bytearray);

#endif
