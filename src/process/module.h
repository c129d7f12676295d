/*
 * Where a function is, in words that hold in another process: the file that it was loaded from, told by its build id,
 * and the offset in it. Addresses do not travel: each process is loaded elsewhere.
 */
#ifndef RNI_PROCESS_MODULE_H
#define RNI_PROCESS_MODULE_H

#include <runium.h>
#include <stddef.h>

#define RNI_MODULE_PATH_MAX 1023u
#define RNI_MODULE_ID_MAX 32u

/* One loaded file. The program itself has an empty path: it is always loaded. */
typedef struct rni_module {
    char path[RNI_MODULE_PATH_MAX + 1]; /* absolute */
    uint8_t id[RNI_MODULE_ID_MAX];      /* its GNU build id; where it has none, a hash of its size, first bytes and symbols */
    uint32_t id_length;
} rni_module;

/* Finds the loaded file that an address is in, and the offset from its load address. False: none (code made at run
 * time, or unloaded). Any thread; takes no lock of ours. The same file gives the same bytes each time. */
bool rni_module_of(const void *address, rni_module *module, uint64_t *offset);

/* The address of an offset in a module. If it is not loaded yet, it is loaded from its path where `may_load` says so (a
 * worker may; a host loads nothing that a worker names). An error says
 * what is wrong: no such file, another build id, an offset that is not in its code. None: *address is set. */
rn_value rni_module_resolve(const rni_module *module, uint64_t offset, bool may_load, void **address);

/* A name for people: "symbol+0x12 (file.so)", from .symtab or .dynsym of the file; "0x1234 (file.so)" without. For
 * backtraces: reads the file, takes milliseconds. Never fails; cut at `size`. Total against odd ELF files. */
void rni_module_symbol(const rni_module *module, uint64_t offset, char *text, size_t size);

/* The function that an offset is in, and how far into it; of a module without an id too, whose file cannot be told from
 * another one at its path. False: unknown. Costs the same. */
bool rni_module_function(const rni_module *module, uint64_t offset, char *name, size_t size, uint64_t *distance);

#endif
