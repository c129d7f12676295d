/*
 * Objects as bytes, for the way to a worker process and back: a pickle (protocol 5), and beside it the memory of those
 * objects that lend it (numpy's arrays), and of large bytes and bytearrays. Small payloads are a value of kind bytes;
 * large ones a buffer, which both processes map. The layout stands in payload.c.
 */
#ifndef RUNIUM_PYTHON_PAYLOAD_H
#define RUNIUM_PYTHON_PAYLOAD_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <runium.h>

/* What an interpreter needs for it. All NULL: not opened yet. */
typedef struct payload_tools {
    PyObject *dumps, *loads;                   /* of _pickle */
    PyObject *dumps_names, *loads_names;       /* the names of their arguments by name */
    PyObject *protocol;                        /* 5 */
    PyTypeObject *view_type;                   /* lends a part of a value, which it owns as long as it exists */
    PyObject *remote;                          /* the module runium._remote, once it is needed; or NULL */
    bool is_worker;
} payload_tools;

bool payload_open(payload_tools *tools);
int payload_traverse(const payload_tools *tools, visitproc visit, void *arg);
void payload_clear(payload_tools *tools);
PyObject *payload_remote(payload_tools *tools); /* runium._remote; borrowed */

/* What is to be packed. */
typedef struct payload_content {
    PyObject *object;
    const char *what;  /* names the object where it cannot be pickled */
    PyObject *recipe;  /* bytes; or NULL */
    uint32_t flags;    /* the caller's; below PAYLOAD_FLAGS */
    bool has_reply;    /* a payload that is a buffer gets room for a result that lies on it */
    rn_value home;     /* a payload with that room: what lies on it is not copied. Or none */
    bool is_last;      /* nobody will load home again: its large bytes may be written over */
} payload_content;

#define PAYLOAD_FLAGS 0x10000u

/* False: an exception is set; NotPicklable where it is the object's fault. */
bool payload_pack(payload_tools *tools, const payload_content *content, rn_value *value);

/* A payload that was looked through: every number in it is checked. Borrowed from the value. */
typedef struct payload_parts {
    rn_value value;
    const unsigned char *start; /* of the value's memory */
    uint32_t flags, count;
    const char *recipe, *pickle;
    size_t recipe_size, pickle_size;
    const void *extents;
} payload_parts;

/* is_reply: the result that lies on it, if there is one. False: it is no payload, and an exception is set. */
bool payload_read(rn_value value, bool is_reply, payload_parts *parts);

/* The object in it. */
PyObject *payload_load(payload_tools *tools, const payload_parts *parts);

/* The same of a pickle that is its own whole. */
PyObject *payload_load_bytes(payload_tools *tools, const char *pickle, size_t size);

#endif
