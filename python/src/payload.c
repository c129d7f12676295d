/*
 * The layout of a payload, in the bytes of a value or in a buffer:
 *
 *     head | recipe | pickle | extents | memory, memory, ...        | reply (only in a buffer)
 *
 * An extent says where the memory of one object lies, from the start of the value. The reply is room for the head, pickle
 * and extents of a result whose memory lies in this same buffer: an array that came as an argument, was changed in
 * place and is returned, goes back without a copy. Large bytes go back in the place of those that came, once nobody will
 * ask for these again: that is a copy, but no new pages, which cost more than a copy.
 *
 * What is copied: into a buffer each memory once, as there the objects begin to exist for others; out of it none, for the
 * objects lie on it; but bytes and bytearray, which always own their memory, are copied out once.
 *
 * The small way is that of most runs: one call of the C pickler, one copy. What it cannot do is left to runium._remote:
 * objects of __main__, large bytes within others, and to name what cannot be pickled.
 */
#include "payload.h"

#include <stddef.h>
#include <string.h>

#include "large.h"

#define MARK 0x6e75527bu
#define BESIDE ((size_t)16 * 1024)  /* memory that objects lend goes beside the pickle from here on */
#define ALIGNMENT ((size_t)64)
#define REPLY_ROOM ((size_t)4096)
#define SCRATCH 2048

enum own_flags { HAS_LARGE = 1u << 24 };
enum extent_kind { LENT = 0, BYTES = 1, BYTEARRAY = 2 };

struct head {
    uint32_t mark, flags;
    uint64_t recipe_size, pickle_size;
    uint32_t count;        /* of extents */
    uint32_t reply_room;   /* at the end of the buffer */
    uint64_t reply;        /* where it is; 0: there is none */
};

struct extent {
    uint64_t offset, size;
    uint64_t kind;
};

static size_t aligned(size_t size) { return (size + ALIGNMENT - 1) & ~(ALIGNMENT - 1); }

/* ------------------------------------------------------------------------------------------------
 * Views: what lends the memory of a value
 */
typedef struct view_object {
    PyObject_HEAD
    rn_value value;
    void *memory;
    Py_ssize_t size;
} view_object;

static int view_lend(PyObject *self, Py_buffer *buffer, int flags) {
    view_object *view = (view_object *)self;
    return PyBuffer_FillInfo(buffer, self, view->memory, view->size, 0, flags);
}

static void view_free(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    rn_drop(((view_object *)self)->value);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot view_slots[] = {
    {Py_tp_doc, "Memory that came from, or goes to, a worker process."},
    {Py_tp_dealloc, view_free},
    {Py_bf_getbuffer, view_lend},
    {0, NULL},
};

static PyType_Spec view_spec = {
    .name = "runium._core.SharedMemory",
    .basicsize = sizeof(view_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = view_slots,
};

static PyObject *view_of(payload_tools *tools, rn_value value, const void *memory, size_t size) {
    view_object *made = (view_object *)tools->view_type->tp_alloc(tools->view_type, 0);
    if (!made) return NULL;
    made->value = rn_keep(value);
    made->memory = (void *)(uintptr_t)memory;
    made->size = (Py_ssize_t)size;
    return (PyObject *)made;
}

/* ------------------------------------------------------------------------------------------------
 * Tools
 */
static bool find_pickler(payload_tools *tools) {
    PyObject *module = PyImport_ImportModule("_pickle");
    if (!module) return false;
    tools->dumps = PyObject_GetAttrString(module, "dumps");
    tools->loads = tools->dumps ? PyObject_GetAttrString(module, "loads") : NULL;
    Py_DECREF(module);
    return tools->loads != NULL;
}

bool payload_open(payload_tools *tools) {
    if (tools->view_type) return true;
    tools->protocol = PyLong_FromLong(5);
    tools->dumps_names = Py_BuildValue("(s)", "buffer_callback");
    tools->loads_names = Py_BuildValue("(s)", "buffers");
    if (tools->protocol && tools->dumps_names && tools->loads_names && find_pickler(tools))
        tools->view_type = (PyTypeObject *)PyType_FromSpec(&view_spec);
    if (!tools->view_type) payload_clear(tools);
    return tools->view_type != NULL;
}

int payload_traverse(const payload_tools *tools, visitproc visit, void *arg) {
    Py_VISIT(tools->dumps);
    Py_VISIT(tools->loads);
    Py_VISIT(tools->view_type);
    Py_VISIT(tools->remote);
    return 0;
}

void payload_clear(payload_tools *tools) {
    Py_CLEAR(tools->dumps);
    Py_CLEAR(tools->loads);
    Py_CLEAR(tools->dumps_names);
    Py_CLEAR(tools->loads_names);
    Py_CLEAR(tools->protocol);
    Py_CLEAR(tools->view_type);
    Py_CLEAR(tools->remote);
}

PyObject *payload_remote(payload_tools *tools) {
    if (!tools->remote) tools->remote = PyImport_ImportModule("runium._remote");
    return tools->remote;
}

/* ------------------------------------------------------------------------------------------------
 * Pickling
 */
struct pickled {
    PyObject *pickle; /* bytes */
    PyObject *lent;   /* a list of PickleBuffer */
    PyObject *large;  /* a list of bytes and bytearray; or NULL */
};

static void drop_pickled(struct pickled *pickled) {
    Py_CLEAR(pickled->pickle);
    Py_CLEAR(pickled->lent);
    Py_CLEAR(pickled->large);
}

/* The pickler's buffer_callback: what it says is whether the memory goes into the pickle. */
static PyObject *set_beside(PyObject *lent, PyObject *buffer) {
    const Py_buffer *view = PyPickleBuffer_GetBuffer(buffer);
    if (!view) return NULL;
    if ((size_t)view->len < BESIDE) Py_RETURN_TRUE;
    if (PyList_Append(lent, buffer) < 0) return NULL;
    Py_RETURN_FALSE;
}

static PyMethodDef set_beside_method = {"set_beside", set_beside, METH_O, NULL};

static PyObject *make_callback(struct pickled *pickled) {
    pickled->lent = PyList_New(0);
    return pickled->lent ? PyCFunction_New(&set_beside_method, pickled->lent) : NULL;
}

static bool is_fatal(void) {
    return PyErr_ExceptionMatches(PyExc_MemoryError) || PyErr_ExceptionMatches(PyExc_KeyboardInterrupt);
}

/* 1: done; 0: it takes more than that; -1: an exception is set. */
static int pickle_fast(payload_tools *tools, PyObject *object, struct pickled *pickled) {
    PyObject *callback = make_callback(pickled);
    if (!callback) return -1;
    PyObject *arguments[] = {object, tools->protocol, callback};
    pickled->pickle = PyObject_Vectorcall(tools->dumps, arguments, 2, tools->dumps_names);
    Py_DECREF(callback);
    if (!pickled->pickle && is_fatal()) return -1;
    PyErr_Clear();
    if (!pickled->pickle) return 0;
    static const char main_name[] = "__main__";
    size_t size = (size_t)PyBytes_GET_SIZE(pickled->pickle);
    return memmem(PyBytes_AS_STRING(pickled->pickle), size, main_name, sizeof main_name - 1) == NULL;
}

static bool pickle_slowly(payload_tools *tools, const payload_content *content, struct pickled *pickled) {
    drop_pickled(pickled);
    PyObject *remote = payload_remote(tools);
    PyObject *callback = remote ? make_callback(pickled) : NULL;
    if (!callback) return false;
    pickled->large = PyList_New(0);
    if (pickled->large)
        pickled->pickle = PyObject_CallMethod(remote, "dump", "OsOOn", content->object, content->what, callback,
                                              pickled->large, (Py_ssize_t)LARGE_BYTES);
    Py_DECREF(callback);
    return pickled->pickle != NULL;
}

static bool pickle_content(payload_tools *tools, const payload_content *content, struct pickled *pickled) {
    int done = large_is_near(content->object) ? 0 : pickle_fast(tools, content->object, pickled);
    return done == 0 ? pickle_slowly(tools, content, pickled) : done > 0;
}

/* ------------------------------------------------------------------------------------------------
 * Packing
 */
struct piece {
    const char *memory;
    Py_buffer buffer; /* of bytearrays, which must not change their size meanwhile; obj NULL: none */
    uint64_t size, kind;
};

struct packing {
    struct head head;
    const char *recipe, *pickle;
    struct piece *pieces;
    size_t extents_at, memory_at, size; /* size: with the memory, without the reply's room */
};

static bool take_lent(struct piece *piece, PyObject *buffer) {
    const Py_buffer *view = PyPickleBuffer_GetBuffer(buffer);
    if (!view) return false;
    *piece = (struct piece){.memory = view->buf, .size = (uint64_t)view->len, .kind = LENT};
    return true;
}

static bool take_large(struct piece *piece, PyObject *object) {
    piece->kind = PyBytes_Check(object) ? BYTES : BYTEARRAY;
    if (PyObject_GetBuffer(object, &piece->buffer, PyBUF_SIMPLE) < 0) return false;
    piece->memory = piece->buffer.buf;
    piece->size = (uint64_t)piece->buffer.len;
    return true;
}

static void drop_pieces(struct packing *packing) {
    for (uint32_t i = 0; packing->pieces && i < packing->head.count; i++) PyBuffer_Release(&packing->pieces[i].buffer);
    PyMem_Free(packing->pieces);
}

static bool take_pieces(struct packing *packing, const struct pickled *pickled) {
    size_t lent = (size_t)PyList_GET_SIZE(pickled->lent);
    size_t large = pickled->large ? (size_t)PyList_GET_SIZE(pickled->large) : 0;
    if (lent + large == 0) return true;
    packing->pieces = PyMem_Calloc(lent + large, sizeof *packing->pieces);
    if (!packing->pieces) return PyErr_NoMemory(), false;
    packing->head.count = (uint32_t)(lent + large);
    if (large > 0) packing->head.flags |= HAS_LARGE;
    bool is_good = true;
    for (size_t i = 0; i < lent && is_good; i++)
        is_good = take_lent(&packing->pieces[i], PyList_GET_ITEM(pickled->lent, (Py_ssize_t)i));
    for (size_t i = 0; i < large && is_good; i++)
        is_good = take_large(&packing->pieces[lent + i], PyList_GET_ITEM(pickled->large, (Py_ssize_t)i));
    return is_good;
}

static void lay_out(struct packing *packing) {
    struct head *head = &packing->head;
    packing->size = sizeof *head + (size_t)head->recipe_size + (size_t)head->pickle_size;
    if (head->count == 0) return;
    packing->extents_at = (packing->size + 7) & ~(size_t)7;
    packing->memory_at = packing->size = aligned(packing->extents_at + head->count * sizeof(struct extent));
    for (uint32_t i = 0; i < head->count; i++) packing->size += aligned(packing->pieces[i].size);
}

/* Head, recipe, pickle and extents; base is where offsets of extents count from, places says where each memory is. */
static void write_front(const struct packing *packing, char *to, size_t extents_at, const uint64_t *places) {
    const struct head *head = &packing->head;
    memcpy(to, head, sizeof *head);
    if (head->recipe_size > 0) memcpy(to + sizeof *head, packing->recipe, head->recipe_size);
    memcpy(to + sizeof *head + head->recipe_size, packing->pickle, head->pickle_size);
    for (uint32_t i = 0; i < head->count; i++) {
        struct extent extent = {places[i], packing->pieces[i].size, packing->pieces[i].kind};
        memcpy(to + extents_at + i * sizeof extent, &extent, sizeof extent);
    }
}

static void set_places(const struct packing *packing, uint64_t *places) {
    size_t at = packing->memory_at;
    for (uint32_t i = 0; i < packing->head.count; i++) {
        places[i] = at;
        at += aligned(packing->pieces[i].size);
    }
}

static rn_value make_bytes(const struct packing *packing, const uint64_t *places) {
    char scratch[SCRATCH];
    char *bytes = packing->size <= sizeof scratch ? scratch : PyMem_Calloc(1, packing->size);
    if (!bytes) return rn_error(RN_NO_MEMORY, "out of memory");
    write_front(packing, bytes, packing->extents_at, places);
    for (uint32_t i = 0; i < packing->head.count; i++)
        memcpy(bytes + places[i], packing->pieces[i].memory, packing->pieces[i].size);
    rn_value value = rn_bytes(bytes, packing->size);
    if (bytes != scratch) PyMem_Free(bytes);
    return value;
}

static bool write_memory(const struct packing *packing, rn_value value, const uint64_t *places) {
    bool is_good = true;
    for (uint32_t i = 0; i < packing->head.count && is_good; i++)
        is_good = rn_buffer_write(value, places[i], packing->pieces[i].memory, packing->pieces[i].size) == RN_OK;
    return is_good;
}

static rn_value make_buffer(const struct packing *packing, const uint64_t *places) {
    rn_value value = rn_buffer(aligned(packing->size) + packing->head.reply_room);
    if (rn_is_error(value)) return value;
    bool is_good;
    write_front(packing, rn_as_buffer(value), packing->extents_at, places);
    Py_BEGIN_ALLOW_THREADS
    is_good = write_memory(packing, value, places);
    Py_END_ALLOW_THREADS
    if (is_good) return value;
    rn_drop(value);
    return rn_error(RN_NO_MEMORY, "out of memory");
}

/* ------------------------------------------------------------------------------------------------
 * Replies
 */
static bool read_extent(const payload_parts *parts, uint32_t index, struct extent *extent) {
    memcpy(extent, (const char *)parts->extents + index * sizeof *extent, sizeof *extent);
    size_t size = rn_length(parts->value);
    return extent->offset <= size && extent->size <= size - extent->offset;
}

/* The next of the large bytes that came which has so much room: objects have been made of them, and lie elsewhere. */
static bool find_room(const payload_parts *home, uint32_t *next, uint64_t size, uint64_t *place) {
    struct extent extent;
    while (*next < home->count) {
        bool is_good = read_extent(home, (*next)++, &extent) && extent.kind != LENT && extent.size >= size;
        if (is_good) return *place = extent.offset, true;
    }
    return false;
}

static bool find_lent(const struct piece *piece, rn_value home, uint64_t *place) {
    *place = (uintptr_t)piece->memory - (uintptr_t)rn_as_buffer(home);
    size_t size = rn_length(home);
    return *place < size && piece->size <= size - *place;
}

static bool find_places(const struct packing *packing, const payload_content *content, uint64_t *places) {
    payload_parts home = {.count = 0};
    uint32_t next = 0;
    bool is_good = true;
    if (content->is_last && !payload_read(content->home, false, &home)) {
        PyErr_Clear();
        return false;
    }
    for (uint32_t i = 0; i < packing->head.count && is_good; i++) {
        const struct piece *piece = &packing->pieces[i];
        is_good = piece->kind == LENT ? find_lent(piece, content->home, &places[i])
                                      : find_room(&home, &next, piece->size, &places[i]);
    }
    return is_good;
}

/* Their pages are there: the host has filled them. */
static void write_large(const struct packing *packing, char *home, const uint64_t *places) {
    Py_BEGIN_ALLOW_THREADS
    for (uint32_t i = 0; i < packing->head.count; i++)
        if (packing->pieces[i].kind != LENT) memcpy(home + places[i], packing->pieces[i].memory, packing->pieces[i].size);
    Py_END_ALLOW_THREADS
}

/* Whether the result could be left on the buffer that its memory lies on already, or has room in. */
static bool reply(const struct packing *packing, const payload_content *content, uint64_t *places, rn_value *value) {
    rn_value home = content->home;
    if (rn_kind(home) != RN_BUFFER || packing->head.count == 0) return false;
    struct head *head = rn_as_buffer(home);
    size_t room = head->reply_room, extents_at = packing->extents_at;
    size_t size = extents_at + packing->head.count * sizeof(struct extent);
    if (room == 0 || room > rn_length(home) || size > room || !find_places(packing, content, places)) return false;
    head->reply = rn_length(home) - room;
    write_front(packing, (char *)head + head->reply, extents_at, places);
    write_large(packing, (char *)head, places);
    *value = rn_keep(home);
    return true;
}

static bool pack(const struct packing *packing, const payload_content *content, rn_value *value) {
    uint64_t few[16], *places = few;
    if (packing->head.count > sizeof few / sizeof *few) places = PyMem_Calloc(packing->head.count, sizeof *places);
    if (!places) return PyErr_NoMemory(), false;
    if (!reply(packing, content, places, value)) {
        set_places(packing, places);
        *value = packing->size < LARGE_BYTES ? make_bytes(packing, places) : make_buffer(packing, places);
    }
    if (places != few) PyMem_Free(places);
    if (!rn_is_error(*value)) return true;
    if (rn_error_code(*value) == RN_NO_MEMORY) PyErr_NoMemory();
    else PyErr_SetString(PyExc_OverflowError, rn_error_message(*value));
    rn_drop(*value);
    return false;
}

bool payload_pack(payload_tools *tools, const payload_content *content, rn_value *value) {
    struct pickled pickled = {NULL, NULL, NULL};
    if (!payload_open(tools)) return false;
    bool is_good = pickle_content(tools, content, &pickled);
    if (is_good) {
        struct packing packing = {.head = {.mark = MARK, .flags = content->flags}};
        packing.pickle = PyBytes_AS_STRING(pickled.pickle);
        packing.head.pickle_size = (uint64_t)PyBytes_GET_SIZE(pickled.pickle);
        packing.recipe = content->recipe ? PyBytes_AS_STRING(content->recipe) : NULL;
        packing.head.recipe_size = content->recipe ? (uint64_t)PyBytes_GET_SIZE(content->recipe) : 0;
        is_good = take_pieces(&packing, &pickled);
        lay_out(&packing);
        packing.head.reply_room = content->has_reply && packing.size >= LARGE_BYTES ? (uint32_t)REPLY_ROOM : 0;
        is_good = is_good && pack(&packing, content, value);
        drop_pieces(&packing);
    }
    drop_pickled(&pickled);
    return is_good;
}

/* ------------------------------------------------------------------------------------------------
 * Reading. Another process may write to a buffer meanwhile: a number that counts is read once.
 */
static bool read_head(payload_parts *parts, size_t size, size_t at) {
    struct head head;
    if (at > size || size - at < sizeof head) return false;
    memcpy(&head, parts->start + at, sizeof head);
    size_t left = size - at - sizeof head;
    if (head.mark != MARK || head.recipe_size > left || head.pickle_size > left - head.recipe_size) return false;
    parts->flags = head.flags;
    parts->count = head.count;
    parts->recipe = (const char *)parts->start + at + sizeof head;
    parts->recipe_size = (size_t)head.recipe_size;
    parts->pickle = parts->recipe + parts->recipe_size;
    parts->pickle_size = (size_t)head.pickle_size;
    if (head.count == 0) return true;
    size_t front = sizeof head + parts->recipe_size + parts->pickle_size, extents_at = (front + 7) & ~(size_t)7;
    parts->extents = parts->start + at + extents_at;
    return extents_at <= size - at && head.count <= (size - at - extents_at) / sizeof(struct extent);
}

bool payload_read(rn_value value, bool is_reply, payload_parts *parts) {
    bool is_buffer = rn_kind(value) == RN_BUFFER, is_good = is_buffer || rn_kind(value) == RN_BYTES;
    uint64_t at = 0;
    *parts = (payload_parts){.value = value};
    if (is_good) {
        parts->start = is_buffer ? rn_as_buffer(value) : rn_as_bytes(value);
        size_t size = rn_length(value);
        if (is_reply && is_buffer && size >= sizeof(struct head))
            memcpy(&at, parts->start + offsetof(struct head, reply), sizeof at);
        is_good = at <= size && read_head(parts, size, (size_t)at);
    }
    if (!is_good) PyErr_SetString(PyExc_RuntimeError, "what came from another process is no payload");
    return is_good;
}

/* What an extent stands for: a view for what lies on it, else the object itself. */
static PyObject *object_of_extent(payload_tools *tools, const payload_parts *parts, uint32_t index, bool *is_lent) {
    struct extent extent;
    if (!read_extent(parts, index, &extent))
        return PyErr_SetString(PyExc_RuntimeError, "what came from another process is no payload"), NULL;
    const unsigned char *memory = parts->start + extent.offset;
    *is_lent = extent.kind == LENT;
    if (*is_lent) return view_of(tools, parts->value, memory, (size_t)extent.size);
    return large_copy(memory, (size_t)extent.size, extent.kind == BYTEARRAY);
}

/* Two lists: the memory that the pickle asks for in its order, and the large bytes. */
static bool make_objects(payload_tools *tools, const payload_parts *parts, PyObject *lent, PyObject *large) {
    for (uint32_t i = 0; i < parts->count; i++) {
        bool is_lent;
        PyObject *object = object_of_extent(tools, parts, i, &is_lent);
        bool is_good = object && PyList_Append(is_lent ? lent : large, object) == 0;
        Py_XDECREF(object);
        if (!is_good) return false;
    }
    return true;
}

/* Whether the pickle names what a worker has only once it has imported the main file. */
static bool needs_main(const payload_tools *tools, const char *pickle, size_t size) {
    static const char main_name[] = "_main__"; /* __main__, and __mp_main__ of a worker's program */
    return tools->is_worker && memmem(pickle, size, main_name, sizeof main_name - 1);
}

static PyObject *load_small(payload_tools *tools, const char *pickle, size_t size) {
    PyObject *memory = PyMemoryView_FromMemory((char *)(uintptr_t)pickle, (Py_ssize_t)size, PyBUF_READ);
    PyObject *object = memory ? PyObject_CallOneArg(tools->loads, memory) : NULL;
    Py_XDECREF(memory);
    return object;
}

static PyObject *load_slowly(payload_tools *tools, PyObject *pickle, PyObject *lent, PyObject *large) {
    PyObject *remote = payload_remote(tools);
    return remote ? PyObject_CallMethod(remote, "load", "OOO", pickle, lent, large) : NULL;
}

static PyObject *load_views(payload_tools *tools, const payload_parts *parts, bool slowly) {
    PyObject *lent = PyList_New(0), *large = PyList_New(0), *object = NULL;
    PyObject *pickle = view_of(tools, parts->value, parts->pickle, parts->pickle_size);
    if (lent && large && pickle && make_objects(tools, parts, lent, large)) {
        PyObject *arguments[] = {pickle, lent};
        object = slowly ? load_slowly(tools, pickle, lent, large)
                        : PyObject_Vectorcall(tools->loads, arguments, 1, tools->loads_names);
    }
    Py_XDECREF(lent);
    Py_XDECREF(large);
    Py_XDECREF(pickle);
    return object;
}

PyObject *payload_load(payload_tools *tools, const payload_parts *parts) {
    if (!payload_open(tools)) return NULL;
    bool slowly = (parts->flags & HAS_LARGE) || needs_main(tools, parts->pickle, parts->pickle_size);
    if (parts->count == 0 && !slowly) return load_small(tools, parts->pickle, parts->pickle_size);
    return load_views(tools, parts, slowly);
}

PyObject *payload_load_bytes(payload_tools *tools, const char *pickle, size_t size) {
    if (!payload_open(tools)) return NULL;
    if (!needs_main(tools, pickle, size)) return load_small(tools, pickle, size);
    PyObject *bytes = PyBytes_FromStringAndSize(pickle, (Py_ssize_t)size), *none = PyTuple_New(0), *object = NULL;
    if (bytes && none) object = load_slowly(tools, bytes, none, none);
    Py_XDECREF(bytes);
    Py_XDECREF(none);
    return object;
}
