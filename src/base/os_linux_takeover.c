/*
 * A function in the place of main().
 *
 * libc runs the constructors of the libraries, then those that the program's init_array lists, in its order, then
 * main(). Whoever replaces the last entry of that list, from a constructor before it, runs after all of them. Where the
 * list lies is said by the program's dynamic section; a static program at a fixed address has none, but the linker then
 * sets two symbols around it.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/os_process.h"

struct list {
    rni_os_constructor **start;
    size_t count;
    uintptr_t relro_start, relro_end; /* what was made read-only */
};

extern rni_os_constructor *__init_array_start[] __attribute__((weak, visibility("hidden")));
extern rni_os_constructor *__init_array_end[] __attribute__((weak, visibility("hidden")));

static uintptr_t page_of(uintptr_t address) { return address & ~((uintptr_t)sysconf(_SC_PAGESIZE) - 1); }

static void read_dynamic(struct list *list, const ElfW(Dyn) *entry, uintptr_t base) {
    for (; entry->d_tag != DT_NULL; entry++) {
        if (entry->d_tag == DT_INIT_ARRAY) list->start = (rni_os_constructor **)(base + entry->d_un.d_ptr);
        if (entry->d_tag == DT_INIT_ARRAYSZ) list->count = entry->d_un.d_val / sizeof *list->start;
    }
}

/* The first object is the program. */
static int read_program(struct dl_phdr_info *info, size_t size, void *context) {
    (void)size;
    struct list *list = context;
    bool is_dynamic = false;
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t start = info->dlpi_addr + segment->p_vaddr;
        if (segment->p_type == PT_DYNAMIC) {
            is_dynamic = true;
            read_dynamic(list, (const ElfW(Dyn) *)start, info->dlpi_addr);
        }
        if (segment->p_type == PT_GNU_RELRO) {
            list->relro_start = page_of(start);
            list->relro_end = page_of(start + segment->p_memsz);
        }
    }
    if (!is_dynamic) {
        list->start = __init_array_start;
        list->count = (size_t)(__init_array_end - __init_array_start);
    }
    return 1;
}

static bool is_read_only(const struct list *list, uintptr_t address) {
    return address >= list->relro_start && address < list->relro_end;
}

static int replace(const struct list *list, rni_os_constructor **entry, rni_os_constructor *function) {
    void *page = (void *)page_of((uintptr_t)entry);
    size_t length = (uintptr_t)(entry + 1) - (uintptr_t)page;
    bool read_only = is_read_only(list, (uintptr_t)entry);
    if (read_only && mprotect(page, length, PROT_READ | PROT_WRITE) != 0) return errno;
    *entry = function;
    if (read_only) mprotect(page, length, PROT_READ); /* as it was; that it stays writable does no harm here */
    return 0;
}

static rni_os_constructor *last_constructor;
static void (*in_place_of_main)(void);

static void run_last(int argc, char **argv, char **environment) {
    last_constructor(argc, argv, environment);
    in_place_of_main();
}

int rni_os_instead_of_main(void (*function)(void), rni_os_constructor *const *own) {
    struct list list = {.count = 0};
    dl_iterate_phdr(read_program, &list);
    if (!list.start || list.count == 0) return ENOENT;
    rni_os_constructor **last = &list.start[list.count - 1];
    if (last == own) function(); /* there is none after the caller */
    last_constructor = *last;
    in_place_of_main = function;
    return replace(&list, last, run_last);
}

bool rni_os_has_more_rights(void) { return getauxval(AT_SECURE) != 0; }
