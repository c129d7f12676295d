/*
 * Large bytes and bytearrays, see large.h.
 *
 * Such an object owns its memory, in every Python, so what came in shared memory is copied out of it. The copy itself is
 * the smaller part: memory that is new to the process comes page by page, each by a fault, and 64 MiB are 16,384 pages. So
 * the system is asked for all of them at once before the first is touched. (Huge pages would be fewer, and were half as
 * fast: in a virtual machine such a page is first backed by the host, and zeroed again.)
 */
#include "large.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#define LOOK_DEPTH 4 /* in containers */
#define LOOK_WIDTH 32

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

#define PAGE_BYTES ((uintptr_t)4096)
#define POPULATED ((size_t)1 << 20) /* less than that is often memory which the process has used before */

/* ------------------------------------------------------------------------------------------------
 * Looking for them
 */
static bool is_near(PyObject *object, int depth);

static bool is_near_item(PyObject **items, Py_ssize_t count, int depth) {
    bool found = false;
    for (Py_ssize_t i = 0; i < count && i < LOOK_WIDTH && !found; i++) found = is_near(items[i], depth);
    return found;
}

static bool is_near_listed(PyObject *list, int depth) {
    bool found = false;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list) && i < LOOK_WIDTH && !found; i++)
        found = is_near(PyList_GET_ITEM(list, i), depth);
    return found;
}

static bool is_near_value(PyObject *dict, int depth) {
    PyObject *value;
    bool found = false;
    Py_ssize_t at = 0;
    for (int i = 0; i < LOOK_WIDTH && !found && PyDict_Next(dict, &at, NULL, &value); i++) found = is_near(value, depth);
    return found;
}

static bool is_near(PyObject *object, int depth) {
    if (PyBytes_CheckExact(object)) return (size_t)PyBytes_GET_SIZE(object) >= LARGE_BYTES;
    if (PyByteArray_CheckExact(object)) return (size_t)PyByteArray_GET_SIZE(object) >= LARGE_BYTES;
    if (depth == 0) return false;
    if (PyTuple_CheckExact(object))
        return is_near_item(&PyTuple_GET_ITEM(object, 0), PyTuple_GET_SIZE(object), depth - 1);
    if (PyList_CheckExact(object)) return is_near_listed(object, depth - 1);
    return PyDict_CheckExact(object) && is_near_value(object, depth - 1);
}

bool large_is_near(PyObject *object) { return is_near(object, LOOK_DEPTH); }

/* ------------------------------------------------------------------------------------------------
 * Making them
 */
/* A system that cannot, or has no memory, says so: then the copy itself asks for it. */
static void ask_for_pages(void *memory, size_t size) {
    uintptr_t from = (uintptr_t)memory & ~(PAGE_BYTES - 1), to = (uintptr_t)memory + size;
    if (size >= POPULATED) (void)madvise((void *)from, to - from, MADV_POPULATE_WRITE);
}

static void fill(char *to, const void *memory, size_t size) {
    Py_BEGIN_ALLOW_THREADS
    ask_for_pages(to, size);
    memcpy(to, memory, size);
    Py_END_ALLOW_THREADS
}

PyObject *large_copy(const void *memory, size_t size, bool is_bytearray) {
    PyObject *made = is_bytearray ? PyByteArray_FromStringAndSize(NULL, (Py_ssize_t)size)
                                  : PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (made) fill(is_bytearray ? PyByteArray_AS_STRING(made) : PyBytes_AS_STRING(made), memory, size);
    return made;
}
