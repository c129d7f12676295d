/*
 * Buffers, see buffer.h.
 *
 * A table of the buffers that this process has, by file: so one that comes back from another process is the same blob,
 * with the same address, and no second mapping. Rows are singly linked; each change is one store, so that the child of a
 * fork finds the table whole, whatever another thread was about to do.
 *
 * A buffer whose last owner is just letting it go still stands in the table, with no owners. It is passed over: the file
 * is mapped once more, and for a moment there are two.
 */
#include "value/buffer.h"

#include "base/memory.h"
#include "base/os.h"
#include "base/os_buffer.h"
#include "base/os_shared.h"
#include "value/value.h"

struct rni_buffer {
    rni_blob blob;
    int fd;
    size_t size;
    void *memory;
    rni_os_file_id id;
    rni_aptr next; /* guarded by table.lock: the next in its row */
};

#define ROWS 64u

static struct {
    rni_mutex lock; /* below every other lock */
    rni_aptr rows[ROWS];
} table;

static rni_aptr *row_of(rni_os_file_id id) { return &table.rows[id.number % ROWS]; }

/* With the lock held, as all readers: only a forked child sees rows in an order of its own, hence the releases. */
static void enter(rni_buffer *buffer) {
    rni_aptr *row = row_of(buffer->id);
    rni_store_relaxed(&buffer->next, rni_load_relaxed(row));
    rni_store_release(row, buffer);
}

static void leave(rni_buffer *buffer) {
    rni_aptr *link = row_of(buffer->id);
    for (rni_buffer *each; (each = rni_load_relaxed(link)); link = &each->next) {
        if (each != buffer) continue;
        rni_store_release(link, rni_load_relaxed(&buffer->next));
        return;
    }
}

/* One more owner, unless it has lost its last. */
static bool keep(rni_buffer *buffer) {
    uint32_t owners = rni_load_relaxed(&buffer->blob.owners); /* as in rn_keep: the lock shows us what it is */
    while (owners > 0)
        if (rni_cas_relaxed(&buffer->blob.owners, &owners, owners + 1)) return true;
    return false;
}

static rni_buffer *find(rni_os_file_id id) {
    for (rni_buffer *each = rni_load_relaxed(row_of(id)); each; each = rni_load_relaxed(&each->next))
        if (each->id.device == id.device && each->id.number == id.number && keep(each)) return each;
    return NULL;
}

static rn_value value_of(rni_buffer *buffer) {
    return (rn_value){.kind = RN_BUFFER | RNI_COUNTED, .aux = 0, .bits = (uintptr_t)buffer};
}

/* Takes the descriptor. With the lock held. NULL: no memory. */
static rni_buffer *make(int fd, size_t size, rni_os_file_id id) {
    rni_buffer *buffer = rni_alloc_zeroed(sizeof *buffer);
    void *memory = buffer ? rni_os_map_buffer(fd, size) : NULL;
    if (!memory) {
        rni_free(buffer);
        rni_os_close(fd);
        return NULL;
    }
    rni_store_relaxed(&buffer->blob.owners, 1);
    buffer->fd = fd;
    buffer->size = size;
    buffer->memory = memory;
    buffer->id = id;
    enter(buffer);
    return buffer;
}

static rni_buffer *find_or_make(int fd, size_t size, rni_os_file_id id) {
    rni_mutex_lock(&table.lock);
    rni_buffer *found = find(id), *buffer = found ? found : make(fd, size, id);
    rni_mutex_unlock(&table.lock);
    if (found) rni_os_close(fd);
    return buffer;
}

rn_value rn_buffer(size_t size) {
    rni_os_file_id id;
    if (size == 0) return rn_error(RN_INVALID, "rn_buffer: 0 bytes; 1 to %zu are accepted", RN_BUFFER_MAX);
    if (size > RN_BUFFER_MAX)
        return rn_error(RN_TOO_LARGE, "rn_buffer: %zu bytes; at most %zu are accepted", size, RN_BUFFER_MAX);
    int fd = rni_os_buffer_file(size, &id);
    rni_buffer *buffer = fd >= 0 ? find_or_make(fd, size, id) : NULL;
    return buffer ? value_of(buffer) : rni_error_no_memory();
}

bool rni_buffer_adopt(int fd, rn_value *value) {
    uint64_t size;
    rni_os_file_id id;
    *value = rni_none();
    if (!rni_os_is_buffer_file(fd, &size, &id) || size == 0 || size > RN_BUFFER_MAX) {
        rni_os_close(fd);
        return false;
    }
    rni_buffer *buffer = find_or_make(fd, (size_t)size, id);
    *value = buffer ? value_of(buffer) : rni_error_no_memory();
    return true;
}

int rni_buffer_file(rn_value buffer) { return ((rni_buffer *)rni_value_pointer(buffer))->fd; }

void *rni_buffer_memory(const rni_buffer *buffer) { return buffer->memory; }

size_t rni_buffer_size(const rni_buffer *buffer) { return buffer->size; }

int rni_buffer_write(rni_buffer *buffer, size_t offset, const void *data, size_t size) {
    if (offset > buffer->size || size > buffer->size - offset) return RN_INVALID;
    return rni_os_write_buffer(buffer->fd, offset, data, size) ? RN_OK : RN_NO_MEMORY;
}

void rni_buffer_free(rni_buffer *buffer) {
    rni_mutex_lock(&table.lock);
    leave(buffer);
    rni_mutex_unlock(&table.lock);
    rni_os_unmap_buffer(buffer->memory, buffer->size);
    rni_os_close(buffer->fd);
    rni_free(buffer);
}

void rni_buffers_forked(void) { table.lock = (rni_mutex){{0}}; }
