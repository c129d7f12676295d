/*
 * The dynamic linker's list, and files. Paths in that list are as they were asked for, relative ones too, and the
 * folder that they were relative to may not be the current one any more: then the kernel's list of mappings knows
 * better (Linux, Documentation/filesystems/proc.rst, "maps").
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "base/os_elf.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <inttypes.h>
#include <link.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

/* ------------------------------------------------------------------------------------------------
 * Objects
 */
static bool in_segment(const struct dl_phdr_info *info, const ElfW(Phdr) *segment, uintptr_t address) {
    uintptr_t start = info->dlpi_addr + segment->p_vaddr;
    return segment->p_type == PT_LOAD && address >= start && address - start < segment->p_memsz;
}

static const ElfW(Phdr) *segment_of(const struct dl_phdr_info *info, uintptr_t address) {
    for (size_t i = 0; i < info->dlpi_phnum; i++)
        if (in_segment(info, &info->dlpi_phdr[i], address)) return &info->dlpi_phdr[i];
    return NULL;
}

static rni_elf_id id_in_memory(const struct dl_phdr_info *info) {
    rni_elf_id id = {.length = 0};
    for (size_t i = 0; i < info->dlpi_phnum && id.length == 0; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t start = info->dlpi_addr + segment->p_vaddr;
        /* Notes that are not in a loaded segment are not in memory. */
        if (segment->p_type == PT_NOTE && segment_of(info, start))
            id = rni_elf_note_id((const void *)start, segment->p_memsz);
    }
    return id;
}

/* The path at the end of a line of /proc/self/maps, if the address is in its range. */
static bool path_in_line(char *line, uintptr_t address, char *path) {
    uintptr_t start, end;
    char *slash = strchr(line, '/');
    if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR, &start, &end) != 2 || address < start || address >= end || !slash)
        return false;
    size_t length = strcspn(slash, "\n");
    if (length > RNI_OS_PATH_MAX) return false;
    memcpy(path, slash, length);
    path[length] = '\0';
    return true;
}

static bool path_from_kernel(uintptr_t address, char *path) {
    FILE *maps = fopen("/proc/self/maps", "re");
    if (!maps) return false;
    char line[RNI_OS_PATH_MAX + 256];
    bool found = false;
    while (!found && fgets(line, sizeof line, maps)) found = path_in_line(line, address, path);
    fclose(maps);
    return found;
}

static uintptr_t first_address(const struct dl_phdr_info *info) {
    for (size_t i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD) return info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
    return 0;
}

/* Its own code in each process (vdso), which is in no file: to look for a path takes long, and every search meets it. */
static bool is_of_kernel(const struct dl_phdr_info *info) {
    return first_address(info) == getauxval(AT_SYSINFO_EHDR);
}

/* The linker lists the program first; only glibc leaves its name empty. */
static bool fill(rni_os_object *object, const struct dl_phdr_info *info, bool program) {
    memset(object, 0, sizeof *object);
    object->base = info->dlpi_addr;
    object->id = id_in_memory(info);
    if (program) return true;
    bool is_asked_for = info->dlpi_name[0] != '/' && !is_of_kernel(info);
    if (is_asked_for && path_from_kernel(first_address(info), object->path)) return true;
    size_t length = strlen(info->dlpi_name);
    if (length > RNI_OS_PATH_MAX) return false;
    memcpy(object->path, info->dlpi_name, length);
    return true;
}

struct search {
    uintptr_t address;
    bool (*matches)(const rni_os_object *object, const void *context);
    const void *context;
    rni_os_object *object;
    bool first, found, code;
};

static int visit_address(struct dl_phdr_info *info, size_t size, void *context) {
    (void)size;
    struct search *search = context;
    const ElfW(Phdr) *segment = segment_of(info, search->address);
    bool program = search->first;
    search->first = false;
    if (!segment) return 0;
    search->found = fill(search->object, info, program);
    search->code = segment->p_flags & PF_X;
    return 1;
}

static int visit_match(struct dl_phdr_info *info, size_t size, void *context) {
    (void)size;
    struct search *search = context;
    bool program = search->first;
    search->first = false;
    search->found = fill(search->object, info, program) && search->matches(search->object, search->context);
    return search->found;
}

bool rni_os_object_of(const void *address, rni_os_object *object, bool *code) {
    struct search search = {.address = (uintptr_t)address, .object = object, .first = true};
    dl_iterate_phdr(visit_address, &search);
    *code = search.code;
    return search.found;
}

bool rni_os_object_find(bool (*matches)(const rni_os_object *object, const void *context), const void *context,
                        rni_os_object *object) {
    struct search search = {.matches = matches, .context = context, .object = object, .first = true};
    dl_iterate_phdr(visit_match, &search);
    return search.found;
}

static int visit_first(struct dl_phdr_info *info, size_t size, void *context) {
    bool is_told = size >= offsetof(struct dl_phdr_info, dlpi_subs) + sizeof info->dlpi_subs;
    if (is_told) *(uint64_t *)context = info->dlpi_adds + info->dlpi_subs;
    return 1;
}

uint64_t rni_os_objects_now(void) {
    uint64_t changes = 0;
    dl_iterate_phdr(visit_first, &changes);
    return changes;
}

bool rni_os_load(const char *path, const void **inside, char *reason, size_t size) {
    struct link_map *map;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library && dlinfo(library, RTLD_DI_LINKMAP, &map) == 0) {
        *inside = map->l_ld;
        return true;
    }
    const char *message = dlerror();
    (void)snprintf(reason, size, "%s", message ? message : "unknown reason");
    return false;
}

/* ------------------------------------------------------------------------------------------------
 * Files
 */
static size_t read_at(const rni_elf_file *file, uint64_t offset, void *bytes, size_t length) {
    const int *descriptor = file->context;
    size_t done = 0;
    while (done < length) {
        ssize_t got = pread(*descriptor, (char *)bytes + done, length - done, (off_t)(offset + done));
        if (got <= 0) break;
        done += (size_t)got;
    }
    return done;
}

bool rni_os_elf_open(rni_os_elf_file *file, const char *path) {
    struct stat status;
    if (!path[0]) path = "/proc/self/exe";
    /* To open a device may do something, and to open a FIFO may wait: only files are opened. */
    if (stat(path, &status) != 0 || !S_ISREG(status.st_mode)) return false;
    file->descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (file->descriptor < 0) return false;
    if (fstat(file->descriptor, &status) == 0 && S_ISREG(status.st_mode) && status.st_size >= 0) {
        file->file = (rni_elf_file){.read = read_at, .context = &file->descriptor, .size = (uint64_t)status.st_size};
        return true;
    }
    close(file->descriptor);
    return false;
}

void rni_os_elf_close(rni_os_elf_file *file) { close(file->descriptor); }

void rni_os_program_path(char *path, size_t size) {
    ssize_t length = readlink("/proc/self/exe", path, size - 1);
    path[length < 0 ? 0 : length] = '\0';
}
