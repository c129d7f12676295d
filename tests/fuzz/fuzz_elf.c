/*
 * Fuzz target: the reader of ELF files. The input is the file; the first address that is asked for is its last bytes.
 * It is never asked for bytes that it has not, and what is found is well formed.
 */
#include <stdlib.h>
#include <string.h>

#include "base/elf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool holds) {
    if (!holds) abort();
}

static size_t read_memory(const rni_elf_file *file, uint64_t offset, void *bytes, size_t length) {
    expect(offset <= file->size && length <= file->size - offset);
    if (length > 0) memcpy(bytes, (const uint8_t *)file->context + offset, length);
    return length;
}

static void ask_symbol(const rni_elf_file *file, uint64_t address) {
    char name[16];
    memset(name, 1, sizeof name);
    uint64_t distance;
    if (!rni_elf_symbol(file, address, name, sizeof name, &distance)) return;
    expect(name[0] && memchr(name, '\0', sizeof name) && distance <= address);
    for (const char *c = name; *c; c++) expect(*c >= ' ' && *c <= '~');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    rni_elf_file file = {.read = read_memory, .context = data, .size = size};
    uint64_t address = 0;
    if (size >= sizeof address) memcpy(&address, data + size - sizeof address, sizeof address);
    expect(rni_elf_note_id(data, size).length <= RNI_ELF_ID_MAX);
    expect(rni_elf_id_of(&file).length <= RNI_ELF_ID_MAX);
    (void)rni_elf_is_whole(&file);
    ask_symbol(&file, address);
    ask_symbol(&file, 110);
    expect(rni_elf_function(&file, "inner", &address) <= 2);
    return 0;
}
