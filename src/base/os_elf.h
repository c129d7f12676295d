/*
 * What is loaded into this process: the program and its libraries, as the dynamic linker lists them.
 */
#ifndef RNI_BASE_OS_ELF_H
#define RNI_BASE_OS_ELF_H

#include "base/elf.h"

#define RNI_OS_PATH_MAX 1023u

typedef struct rni_os_object {
    char path[RNI_OS_PATH_MAX + 1]; /* absolute; "" for the program itself; no path ("linux-vdso.so.1"): no file */
    uintptr_t base;                 /* what is added to the addresses in its file */
    rni_elf_id id;                  /* its build id, as it lies in memory; of length 0 without one */
} rni_os_object;

/* The object that has this address in one of its segments; *code: in one that can be executed. False: none, or its
 * path is longer than RNI_OS_PATH_MAX. */
bool rni_os_object_of(const void *address, rni_os_object *object, bool *code);

/* The first object that `matches` says yes to. It is called with the linker's lock held: it loads nothing. */
bool rni_os_object_find(bool (*matches)(const rni_os_object *object, const void *context), const void *context,
                        rni_os_object *object);

/* A number that changes whenever a library was loaded or unloaded: what was found with the same number is there still.
 * 0: unknown. */
uint64_t rni_os_objects_now(void);

/* Loads a library, for ever; *inside is an address in it. False: `reason` says why not. */
bool rni_os_load(const char *path, const void **inside, char *reason, size_t size);

/* Opens a file to be read as ELF; "" is the program itself. False: it cannot be opened. */
typedef struct rni_os_elf_file {
    rni_elf_file file;
    int descriptor;
} rni_os_elf_file;
bool rni_os_elf_open(rni_os_elf_file *file, const char *path);
void rni_os_elf_close(rni_os_elf_file *file);

/* Where the program's own file is, for people; "" if unknown. */
void rni_os_program_path(char *path, size_t size);

#endif
