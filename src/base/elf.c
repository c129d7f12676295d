/*
 * Reading ELF files, see elf.h. Everything is copied out of the file before it is looked at, in pieces of fixed size,
 * by load(): no length from the file is ever an amount of memory, and no pointer into the file exists.
 */
#include "base/elf.h"

#include <elf.h>
#include <link.h>
#include <string.h>

typedef ElfW(Ehdr) file_header;
typedef ElfW(Phdr) segment_header;
typedef ElfW(Shdr) section_header;
typedef ElfW(Sym) symbol_entry;
typedef ElfW(Nhdr) note_header;

#define OWN_CLASS (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32)
#define OWN_ORDER (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? ELFDATA2LSB : ELFDATA2MSB)

enum {
    NOTES_MAX = 4096,      /* bytes of a note segment that are looked at */
    FIRST_BYTES = 1 << 16, /* of the file, in the hash */
    TABLES_MAX = 4,        /* symbol tables that are looked at: files have two */
    TABLE_MAX = 64 << 20,  /* bytes of one */
    PIECE = 128            /* symbols that are loaded at a time */
};

/* Exactly `length` bytes from an offset, or false. */
static bool load(const rni_elf_file *file, uint64_t offset, void *bytes, size_t length) {
    if (offset > file->size || length > file->size - offset) return false;
    return file->read(file, offset, bytes, length) == length;
}

/* The i-th entry of a table at an offset, which may be anything. */
static bool load_entry(const rni_elf_file *file, uint64_t table, uint64_t i, void *entry, size_t size) {
    uint64_t at;
    if (__builtin_mul_overflow(i, (uint64_t)size, &at) || __builtin_add_overflow(at, table, &at)) return false;
    return load(file, at, entry, size);
}

static bool load_header(const rni_elf_file *file, file_header *header) {
    if (!load(file, 0, header, sizeof *header)) return false;
    return memcmp(header->e_ident, ELFMAG, SELFMAG) == 0 && header->e_ident[EI_CLASS] == OWN_CLASS &&
           header->e_ident[EI_DATA] == OWN_ORDER && header->e_phentsize == sizeof(segment_header);
}

/* ------------------------------------------------------------------------------------------------
 * Build ids
 */
static size_t aligned(size_t length) { return (length + 3) & ~(size_t)3; }

/* The note at the front: its parts lie within `size`, or it is none. *whole is what it takes. */
static bool note_fits(const note_header *note, size_t size, size_t *whole) {
    size_t left = size - sizeof *note;
    if (note->n_namesz > left || aligned(note->n_namesz) > left) return false;
    left -= aligned(note->n_namesz);
    if (note->n_descsz > left) return false;
    size_t end = sizeof *note + aligned(note->n_namesz) + aligned(note->n_descsz);
    *whole = end < size ? end : size;
    return true;
}

static bool is_build_id(const note_header *note, const char *name) {
    return note->n_type == NT_GNU_BUILD_ID && note->n_namesz == sizeof ELF_NOTE_GNU && note->n_descsz > 0 &&
           memcmp(name, ELF_NOTE_GNU, sizeof ELF_NOTE_GNU) == 0;
}

rni_elf_id rni_elf_note_id(const void *notes, size_t size) {
    rni_elf_id id = {.length = 0};
    const char *at = notes;
    note_header note;
    size_t whole;
    for (; size >= sizeof note; at += whole, size -= whole) {
        memcpy(&note, at, sizeof note);
        if (!note_fits(&note, size, &whole)) break;
        if (!is_build_id(&note, at + sizeof note)) continue;
        id.length = note.n_descsz < RNI_ELF_ID_MAX ? note.n_descsz : RNI_ELF_ID_MAX;
        memcpy(id.bytes, at + sizeof note + aligned(note.n_namesz), id.length);
        break;
    }
    return id;
}

static rni_elf_id id_in_notes(const rni_elf_file *file, const file_header *header) {
    rni_elf_id id = {.length = 0};
    segment_header segment;
    for (uint32_t i = 0; i < header->e_phnum && id.length == 0; i++) {
        if (!load_entry(file, header->e_phoff, i, &segment, sizeof segment)) break;
        char notes[NOTES_MAX];
        size_t size = segment.p_filesz < NOTES_MAX ? (size_t)segment.p_filesz : NOTES_MAX;
        if (segment.p_type == PT_NOTE && load(file, segment.p_offset, notes, size)) id = rni_elf_note_id(notes, size);
    }
    return id;
}

bool rni_elf_is_whole(const rni_elf_file *file) {
    file_header header;
    segment_header segment;
    if (!load_header(file, &header)) return false;
    for (uint32_t i = 0; i < header.e_phnum; i++) {
        if (!load_entry(file, header.e_phoff, i, &segment, sizeof segment)) return false;
        if (segment.p_type != PT_LOAD) continue;
        if (segment.p_offset > file->size || segment.p_filesz > file->size - segment.p_offset) return false;
    }
    return true;
}

/* ------------------------------------------------------------------------------------------------
 * Symbol tables
 */
static bool is_symbol_table(const section_header *section) {
    return (section->sh_type == SHT_SYMTAB || section->sh_type == SHT_DYNSYM) &&
           section->sh_entsize == sizeof(symbol_entry);
}

/* Finds the first tables. Returns how many. */
static uint32_t find_tables(const rni_elf_file *file, const file_header *header, section_header *tables) {
    uint32_t count = 0;
    if (header->e_shentsize != sizeof *tables) return 0;
    for (uint32_t i = 0; i < header->e_shnum && count < TABLES_MAX; i++) {
        if (!load_entry(file, header->e_shoff, i, &tables[count], sizeof *tables)) break;
        if (is_symbol_table(&tables[count])) count++;
    }
    return count;
}

/* A piece of a table, from the i-th symbol on. Returns how many; 0: its end, or that of the file. */
static size_t load_symbols(const rni_elf_file *file, const section_header *table, uint64_t i, symbol_entry *symbols) {
    uint64_t size = table->sh_size < TABLE_MAX ? table->sh_size : TABLE_MAX;
    uint64_t count = size / sizeof *symbols;
    if (i >= count) return 0;
    size_t piece = count - i < PIECE ? (size_t)(count - i) : PIECE;
    uint64_t at;
    if (__builtin_add_overflow(table->sh_offset, i * sizeof *symbols, &at)) return 0;
    return load(file, at, symbols, piece * sizeof *symbols) ? piece : 0;
}

/* ------------------------------------------------------------------------------------------------
 * A hash for files without a build id
 */
struct hash {
    uint64_t low, high;
};

static void hash_bytes(struct hash *hash, const void *bytes, size_t length) {
    const uint64_t prime = UINT64_C(0x100000001b3);
    const unsigned char *next = bytes;
    for (size_t i = 0; i < length; i++) {
        hash->low = (hash->low ^ next[i]) * prime;
        hash->high = (hash->high ^ next[i]) * prime;
    }
}

static void hash_start(struct hash *hash, const rni_elf_file *file) {
    unsigned char bytes[4096];
    for (uint64_t at = 0; at < FIRST_BYTES && at < file->size; at += sizeof bytes) {
        uint64_t left = file->size - at;
        size_t piece = left < sizeof bytes ? (size_t)left : sizeof bytes;
        if (load(file, at, bytes, piece)) hash_bytes(hash, bytes, piece);
    }
}

static void hash_table(struct hash *hash, const rni_elf_file *file, const section_header *table) {
    symbol_entry symbols[PIECE];
    size_t count;
    for (uint64_t i = 0; (count = load_symbols(file, table, i, symbols)) > 0; i += count)
        hash_bytes(hash, symbols, count * sizeof *symbols);
}

static rni_elf_id hash_of(const rni_elf_file *file, const file_header *header) {
    const uint64_t basis = UINT64_C(0xcbf29ce484222325);
    struct hash hash = {.low = basis, .high = ~basis};
    section_header tables[TABLES_MAX];
    uint32_t count = find_tables(file, header, tables);
    hash_bytes(&hash, &file->size, sizeof file->size);
    hash_start(&hash, file);
    for (uint32_t i = 0; i < count; i++) hash_table(&hash, file, &tables[i]);
    rni_elf_id id = {.length = sizeof hash};
    memcpy(id.bytes, &hash, sizeof hash);
    return id;
}

rni_elf_id rni_elf_id_of(const rni_elf_file *file) {
    file_header header;
    if (!load_header(file, &header)) return (rni_elf_id){.length = 0};
    rni_elf_id id = id_in_notes(file, &header);
    return id.length > 0 ? id : hash_of(file, &header);
}

/* ------------------------------------------------------------------------------------------------
 * The function at an address
 */
struct search {
    uint64_t address;
    bool found;
    uint64_t start; /* of the best so far */
    uint64_t name;  /* its offset in the strings */
};

/* A function of unknown size is its first byte. */
static bool contains(const symbol_entry *symbol, uint64_t address) {
    unsigned type = symbol->st_info & 0xfu;
    if ((type != STT_FUNC && type != STT_GNU_IFUNC) || symbol->st_shndx == SHN_UNDEF) return false;
    uint64_t size = symbol->st_size ? symbol->st_size : 1;
    return symbol->st_value <= address && address - symbol->st_value < size;
}

static void search_table(struct search *search, const rni_elf_file *file, const section_header *table) {
    symbol_entry symbols[PIECE];
    size_t count;
    for (uint64_t i = 0; (count = load_symbols(file, table, i, symbols)) > 0; i += count)
        for (size_t k = 0; k < count; k++) {
            if (!contains(&symbols[k], search->address)) continue;
            if (search->found && symbols[k].st_value <= search->start) continue;
            search->found = true;
            search->start = symbols[k].st_value;
            search->name = symbols[k].st_name;
        }
}

/* The text at an offset of a string table, as far as there is one. */
static bool load_name(const rni_elf_file *file, const section_header *strings, uint64_t at, char *name, size_t size) {
    uint64_t start;
    if (size == 0 || at >= strings->sh_size || __builtin_add_overflow(strings->sh_offset, at, &start)) return false;
    if (start >= file->size) return false;
    uint64_t left = strings->sh_size - at < file->size - start ? strings->sh_size - at : file->size - start;
    size_t most = left < size - 1 ? (size_t)left : size - 1;
    if (!load(file, start, name, most)) return false;
    name[most] = '\0';
    for (char *c = name; *c; c++)
        if (*c < ' ' || *c > '~') *c = '?';
    return name[0] != '\0';
}

static bool search_for(struct search *search, const rni_elf_file *file, const file_header *header,
                       const section_header *table, char *name, size_t size) {
    section_header strings;
    search->found = false;
    search_table(search, file, table);
    return search->found && table->sh_link < header->e_shnum &&
           load_entry(file, header->e_shoff, table->sh_link, &strings, sizeof strings) &&
           load_name(file, &strings, search->name, name, size);
}

/* .symtab has all that .dynsym has, and the static functions; but it is often stripped. */
bool rni_elf_symbol(const rni_elf_file *file, uint64_t address, char *name, size_t size, uint64_t *distance) {
    static const uint32_t types[] = {SHT_SYMTAB, SHT_DYNSYM};
    file_header header;
    if (!load_header(file, &header)) return false;
    section_header tables[TABLES_MAX];
    uint32_t count = find_tables(file, &header, tables);
    struct search search = {.address = address};
    for (uint32_t i = 0; i < 2 * count; i++) {
        const section_header *table = &tables[i % count];
        if (table->sh_type != types[i / count]) continue;
        if (!search_for(&search, file, &header, table, name, size)) continue;
        *distance = address - search.start;
        return true;
    }
    return false;
}

/* ------------------------------------------------------------------------------------------------
 * The address of a function
 */
#define NAME_MAX_BYTES 512 /* of names that are compared */

static bool has_name(const rni_elf_file *file, const section_header *strings, const symbol_entry *symbol, const char *name) {
    char found[NAME_MAX_BYTES];
    return contains(symbol, symbol->st_value) && load_name(file, strings, symbol->st_name, found, sizeof found) &&
           strcmp(found, name) == 0;
}

static unsigned find_in_table(const rni_elf_file *file, const section_header *table, const section_header *strings,
                              const char *name, uint64_t *address) {
    symbol_entry symbols[PIECE];
    unsigned count = 0;
    size_t piece;
    for (uint64_t i = 0; count < 2 && (piece = load_symbols(file, table, i, symbols)) > 0; i += piece)
        for (size_t k = 0; k < piece && count < 2; k++) {
            if (!has_name(file, strings, &symbols[k], name)) continue;
            if (count > 0 && symbols[k].st_value == *address) continue;
            if (count++ == 0) *address = symbols[k].st_value;
        }
    return count;
}

unsigned rni_elf_function(const rni_elf_file *file, const char *name, uint64_t *address) {
    static const uint32_t types[] = {SHT_SYMTAB, SHT_DYNSYM};
    file_header header;
    section_header tables[TABLES_MAX], strings;
    if (!load_header(file, &header)) return 0;
    uint32_t tables_count = find_tables(file, &header, tables);
    unsigned found = 0;
    for (uint32_t i = 0; i < 2 * tables_count && found == 0; i++) {
        const section_header *table = &tables[i % tables_count];
        if (table->sh_type != types[i / tables_count] || table->sh_link >= header.e_shnum) continue;
        if (load_entry(file, header.e_shoff, table->sh_link, &strings, sizeof strings))
            found = find_in_table(file, table, &strings, name, address);
    }
    return found;
}
