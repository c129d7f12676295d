/*
 * Names of functions that hold in another process, see module.h.
 *
 * A module is looked for in this order: what is loaded from that path with that id; where loading is allowed, the file
 * at that path, if its id is the wanted one (it is read first: the constructors of another library must not run);
 * whatever else is loaded with that id, as the path may be gone. Two copies of one file have one id but two sets of
 * variables, hence the path comes first. Where loading is not allowed no file is opened that the module names.
 */
#include "process/module.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/os_elf.h"

_Static_assert(RNI_MODULE_PATH_MAX == RNI_OS_PATH_MAX, "a path that the system has fits into a module");
_Static_assert(RNI_MODULE_ID_MAX == RNI_ELF_ID_MAX, "an id that a file has fits into a module");

/* *whole: it is as long as it should be. */
static rni_elf_id id_of_file(const char *path, bool *whole) {
    rni_os_elf_file file;
    if (!rni_os_elf_open(&file, path)) return (rni_elf_id){.length = 0};
    rni_elf_id id = rni_elf_id_of(&file.file);
    *whole = rni_elf_is_whole(&file.file);
    rni_os_elf_close(&file);
    return id;
}

static rni_elf_id id_of(const rni_os_object *object) {
    bool whole;
    return object->id.length > 0 ? object->id : id_of_file(object->path, &whole);
}

/* What another process wrote may be anything. */
static bool is_well_formed(const rni_module *module) {
    return module->id_length <= RNI_MODULE_ID_MAX && memchr(module->path, '\0', sizeof module->path);
}

static bool has_id(const rni_module *module, const rni_elf_id *id) {
    return id->length == module->id_length && id->length > 0 && memcmp(id->bytes, module->id, id->length) == 0;
}

bool rni_module_of(const void *address, rni_module *module, uint64_t *offset) {
    rni_os_object object;
    bool code;
    if (!rni_os_object_of(address, &object, &code)) return false;
    rni_elf_id id = id_of(&object);
    if (id.length == 0) return false;
    memset(module, 0, sizeof *module);
    memcpy(module->path, object.path, strlen(object.path));
    memcpy(module->id, id.bytes, id.length);
    module->id_length = id.length;
    *offset = (uintptr_t)address - object.base;
    return true;
}

/* ------------------------------------------------------------------------------------------------
 * From a name to an address
 */
static bool is_module(const rni_os_object *object, const void *context) {
    const rni_module *module = context;
    if (strcmp(object->path, module->path) != 0) return false;
    rni_elf_id id = id_of(object);
    return has_id(module, &id);
}

static bool has_path(const rni_os_object *object, const void *context) {
    return strcmp(object->path, ((const rni_module *)context)->path) == 0;
}

/* The program is never taken for a library. */
static bool has_build_id(const rni_os_object *object, const void *context) {
    return object->path[0] && has_id(context, &object->id);
}

static rn_value load(const rni_module *module, rni_os_object *object) {
    char reason[512];
    const void *inside;
    bool code, whole = false;
    rni_elf_id id = id_of_file(module->path, &whole);
    if (id.length == 0) return rn_error(RN_INVALID, "%s: there is no such library", module->path);
    if (!has_id(module, &id) || rni_os_object_find(has_path, module, object))
        return rn_error(RN_INVALID, "%s: another build than the one that the function is in", module->path);
    if (!whole) return rn_error(RN_INVALID, "%s is cut short", module->path);
    if (!rni_os_load(module->path, &inside, reason, sizeof reason))
        return rn_error(RN_INVALID, "%s cannot be loaded: %s", module->path, reason);
    if (!rni_os_object_of(inside, object, &code) || (id = id_of(object), !has_id(module, &id)))
        return rn_error(RN_INVALID, "%s: another file was loaded than the one that the function is in", module->path);
    return rn_none();
}

static rn_value find(const rni_module *module, bool may_load, rni_os_object *object) {
    if (rni_os_object_find(is_module, module, object)) return rn_none();
    if (!module->path[0]) return rn_error(RN_INVALID, "the program is another build than the one of the function");
    rn_value error = may_load ? load(module, object) : rn_error(RN_INVALID, "%s is not loaded", module->path);
    if (!rn_is_error(error) || !rni_os_object_find(has_build_id, module, object)) return error;
    rn_drop(error);
    return rn_none();
}

static bool is_code_of(const rni_os_object *object, const void *place) {
    rni_os_object owner;
    bool code;
    return rni_os_object_of(place, &owner, &code) && code && owner.base == object->base &&
           strcmp(owner.path, object->path) == 0;
}

rn_value rni_module_resolve(const rni_module *module, uint64_t offset, bool may_load, void **address) {
    if (!is_well_formed(module))
        return rn_error(RN_INVALID, "the name of a function's file is longer than it can be");
    rni_os_object object;
    rn_value error = find(module, may_load, &object);
    if (rn_is_error(error)) return error;
    uintptr_t place;
    if (__builtin_add_overflow(object.base, offset, &place) || !is_code_of(&object, (const void *)place))
        return rn_error(RN_INVALID, "offset 0x%" PRIx64 " is not in the code of %s", offset,
                        module->path[0] ? module->path : "the program");
    *address = (void *)place;
    return rn_none();
}

/* ------------------------------------------------------------------------------------------------
 * For people
 */
bool rni_module_function(const rni_module *module, uint64_t offset, char *name, size_t size, uint64_t *distance) {
    rni_os_elf_file file;
    if (!is_well_formed(module) || !rni_os_elf_open(&file, module->path)) return false;
    rni_elf_id id = rni_elf_id_of(&file.file);
    /* The symbols of a file that has been replaced would be wrong. */
    bool is_it = module->id_length == 0 || has_id(module, &id);
    bool found = is_it && rni_elf_symbol(&file.file, offset, name, size, distance);
    rni_os_elf_close(&file);
    return found;
}

static const char *last_part(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

void rni_module_symbol(const rni_module *module, uint64_t offset, char *text, size_t size) {
    char name[256], program[RNI_MODULE_PATH_MAX + 1];
    uint64_t distance;
    const char *path = is_well_formed(module) ? module->path : "?";
    if (!path[0]) {
        rni_os_program_path(program, sizeof program);
        path = program;
    }
    if (rni_module_function(module, offset, name, sizeof name, &distance))
        (void)snprintf(text, size, "%s+0x%" PRIx64 " (%s)", name, distance, last_part(path));
    else
        (void)snprintf(text, size, "0x%" PRIx64 " (%s)", offset, last_part(path));
}
