#include "process/names.h"

#include <string.h>

#include "base/memory.h"
#include "base/os.h"
#include "base/os_elf.h"
#include "core/world.h"
#include "value/value.h"

#define FILES_MAX 4096u
#define CACHED 1024u

struct place {
    uintptr_t function;
    uint32_t file; /* its number, from 1; 0: none */
    uint64_t offset;
};

/* What this process has named so far. */
static struct {
    rni_mutex lock;
    uint32_t era; /* a forked child begins anew: the lock may have been held */
    uint32_t count;
    rni_module *files;
    struct place cache[CACHED];
} named;

static void lock_named(void) {
    if (named.era != rni_world_era()) {
        memset(&named, 0, sizeof named);
        named.era = rni_world_era();
    }
    rni_mutex_lock(&named.lock);
}

static struct place *cached(uintptr_t function) {
    return &named.cache[function / 16 % CACHED];
}

/* The number of a file; 0: no memory, or too many. */
static uint32_t number_of(const rni_module *module) {
    for (uint32_t i = 0; i < named.count; i++)
        if (memcmp(&named.files[i], module, sizeof *module) == 0) return i + 1;
    if (named.count == FILES_MAX) return 0;
    if ((named.count & (named.count - 1)) == 0) { /* full, at each power of two */
        size_t room = (size_t)(named.count ? named.count * 2 : 1);
        rni_module *more = rni_os_map((room * sizeof *more + 4095) & ~(size_t)4095, 4096); /* kept for ever, as threads' entries */
        if (!more) return 0;
        if (named.count > 0) memcpy(more, named.files, named.count * sizeof *more);
        named.files = more;
    }
    named.files[named.count] = *module;
    return ++named.count;
}

static bool look_up(uintptr_t function, struct place *place) {
    rni_module module = {.path = ""};
    *place = (struct place){.function = function};
    if (!rni_module_of((const void *)function, &module, &place->offset)) return false;
    place->file = number_of(&module);
    return place->file != 0;
}

static bool find(uintptr_t function, struct place *place) {
    lock_named();
    struct place *entry = cached(function);
    bool found = entry->function == function || look_up(function, entry);
    *place = *entry;
    if (!found) *entry = (struct place){0};
    rni_mutex_unlock(&named.lock);
    return found;
}

void rni_names_free(rni_names *names) {
    rni_free(names->theirs);
    *names = (rni_names){0};
}

bool rni_names_find(uintptr_t function) {
    struct place place;
    return !function || find(function, &place);
}

void rni_put_files(rni_writer *writer, rni_names *names) {
    lock_named();
    rni_put_32(writer, named.count - names->told);
    for (; names->told < named.count; names->told++) {
        const rni_module *file = &named.files[names->told];
        rni_put_text(writer, file->path);
        rni_put_bytes(writer, file->id, file->id_length);
    }
    rni_mutex_unlock(&named.lock);
}

void rni_put_function(rni_writer *writer, uintptr_t function) {
    struct place place = {0};
    if (function) (void)find(function, &place); /* it was found before */
    rni_put_32(writer, place.file);
    rni_put_64(writer, place.offset);
}

static bool take_file(rni_reader *reader, rni_module *file) {
    size_t length;
    memset(file, 0, sizeof *file);
    rni_take_text(reader, file->path, sizeof file->path);
    const void *id = rni_take_bytes(reader, &length);
    if (reader->failed || length > sizeof file->id) return false;
    if (length > 0) memcpy(file->id, id, length);
    file->id_length = (uint32_t)length;
    return true;
}

void rni_take_files(rni_reader *reader, rni_names *names) {
    uint32_t count = rni_take_32(reader);
    if (reader->failed || count == 0) return;
    rni_module *all = count <= FILES_MAX - names->known ? rni_alloc((names->known + count) * sizeof *all) : NULL;
    bool is_good = all != NULL;
    if (is_good && names->known > 0) memcpy(all, names->theirs, names->known * sizeof *all);
    for (uint32_t i = 0; i < count && is_good; i++) is_good = take_file(reader, &all[names->known + i]);
    if (!is_good) {
        reader->failed = true;
        rni_free(all);
        return;
    }
    rni_free(names->theirs);
    names->theirs = all;
    names->known += count;
}

static rni_found *found_at(rni_names *names, uint64_t offset) {
    return &names->found[(offset >> 4) % (sizeof names->found / sizeof *names->found)];
}

static rn_value resolve(rni_names *names, uint32_t number, uint64_t offset, bool may_load, uintptr_t *function) {
    rni_found *found = found_at(names, offset);
    uint64_t objects = rni_os_objects_now();
    if (objects != 0 && found->objects == objects && found->number == number && found->offset == offset) {
        *function = (uintptr_t)found->address;
        return rni_none();
    }
    void *address = NULL;
    rn_value error = rni_module_resolve(&names->theirs[number - 1], offset, may_load, &address);
    *function = (uintptr_t)address;
    if (!rni_is_error(error)) *found = (rni_found){offset, *function, rni_os_objects_now(), number};
    return error;
}

rn_value rni_take_function(rni_reader *reader, rni_names *names, bool may_load, uintptr_t *function) {
    uint32_t number = rni_take_32(reader);
    uint64_t offset = rni_take_64(reader);
    *function = 0;
    if (reader->failed || number == 0) return rni_none();
    if (number > names->known) {
        reader->failed = true;
        return rni_none();
    }
    return resolve(names, number, offset, may_load, function);
}
