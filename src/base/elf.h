/*
 * ELF files, read as bytes that nobody vouches for: they may be cut short, hostile, or change while they are read.
 * Every offset and count is checked, and what is not understood is as if it were not there. Files of this process's
 * own word size only.
 */
#ifndef RNI_BASE_ELF_H
#define RNI_BASE_ELF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RNI_ELF_ID_MAX 32u

typedef struct rni_elf_id {
    uint8_t bytes[RNI_ELF_ID_MAX];
    uint32_t length; /* 0: none */
} rni_elf_id;

/* Where the bytes come from: copies up to `length` of them from an offset, and says how many there were. */
typedef struct rni_elf_file {
    size_t (*read)(const struct rni_elf_file *file, uint64_t offset, void *bytes, size_t length);
    const void *context;
    uint64_t size;
} rni_elf_file;

/* The GNU build id in the notes of a PT_NOTE segment, its first 32 bytes; without one the length is 0. */
rni_elf_id rni_elf_note_id(const void *notes, size_t size);

/*
 * What tells this file from others: its GNU build id. Without one a hash of 16 bytes: FNV-1a with 64 bits, twice, from
 * the standard basis and from its complement, over the file's size (8 bytes, this machine's order), its first 64 KiB,
 * and the bytes of its symbol tables (SHT_SYMTAB and SHT_DYNSYM, in the order of their headers, 64 MiB at most of
 * each). Length 0: not an ELF file.
 */
rni_elf_id rni_elf_id_of(const rni_elf_file *file);

/* Whether the file is as long as its segments say. To load one that is cut short ends in SIGBUS. */
bool rni_elf_is_whole(const rni_elf_file *file);

/* The function that an address of the file (as its headers have it) lies in: of several the one that begins last.
 * Its name is cut at `size`, and what is not printable ASCII becomes '?'. False: none. */
bool rni_elf_symbol(const rni_elf_file *file, uint64_t address, char *name, size_t size, uint64_t *distance);

/* The other way round: the address of the function with that name. Returns how many different ones there are (2: or
 * more), *address is that of the first; 0: none. */
unsigned rni_elf_function(const rni_elf_file *file, const char *name, uint64_t *address);

#endif
