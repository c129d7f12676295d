/*
 * ELF files that nobody vouches for: symbols, notes, and odd numbers in every header (X5).
 * unit_plugin*.so lie beside this program.
 */
#include "base/elf.h"

#include <elf.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support.h"

enum { PATH_SIZE = 4096 };

struct bytes {
    unsigned char *data;
    size_t size;
};

static void beside_program(char *path, const char *name) {
    ssize_t length = readlink("/proc/self/exe", path, PATH_SIZE - 1);
    assert_true(length > 0);
    path[length] = '\0';
    char *end = strrchr(path, '/') + 1;
    snprintf(end, PATH_SIZE - (size_t)(end - path), "%s", name);
}

static struct bytes read_file(const char *path) {
    FILE *file = fopen(path, "rbe");
    assert_non_null(file);
    struct bytes bytes = {malloc(1 << 20), 0};
    bytes.size = fread(bytes.data, 1, 1 << 20, file);
    assert_true(bytes.size > 0 && bytes.size < 1 << 20);
    fclose(file);
    return bytes;
}

/* ------------------------------------------------------------------------------------------------
 * A file in memory, which knows if it is asked for what it has not.
 */
static size_t read_memory(const rni_elf_file *file, uint64_t offset, void *bytes, size_t length) {
    assert_true(offset <= file->size && length <= file->size - offset);
    if (length > 0) memcpy(bytes, (const unsigned char *)file->context + offset, length);
    return length;
}

static rni_elf_file file_of(const struct bytes *bytes) {
    return (rni_elf_file){.read = read_memory, .context = bytes->data, .size = bytes->size};
}

/* Asks everything of a file. What it answers does not matter, as long as it is well formed. */
static void ask(const struct bytes *bytes) {
    rni_elf_file file = file_of(bytes);
    rni_elf_id id = rni_elf_id_of(&file);
    assert_true(id.length <= RNI_ELF_ID_MAX);
    (void)rni_elf_is_whole(&file);
    for (uint64_t address = 0; address < 0x2000; address += 0x400) {
        char name[32];
        memset(name, 1, sizeof name);
        uint64_t distance = 0;
        if (!rni_elf_symbol(&file, address + 0x124, name, sizeof name, &distance)) continue;
        assert_true(strnlen(name, sizeof name) < sizeof name && name[0] && distance <= address + 0x124);
        for (const char *c = name; *c; c++) assert_true(*c >= ' ' && *c <= '~');
    }
    assert_true(rni_elf_function(&file, "plugin_answer", &(uint64_t){0}) <= 2);
}

static struct bytes plugin_bytes(const char *plugin) {
    char path[PATH_SIZE];
    beside_program(path, plugin);
    return read_file(path);
}

TEST(a_file_that_is_cut_short_is_read_as_far_as_it_goes) {
    struct bytes whole = plugin_bytes("unit_plugin.so");
    for (size_t size = 0; size <= whole.size; size += size < 4096 || size + 4096 > whole.size ? 1 : 61) {
        struct bytes part = {malloc(size + !size), size};
        memcpy(part.data, whole.data, size);
        ask(&part);
        free(part.data);
    }
    free(whole.data);
}

static const uint64_t odd_numbers[] = {0,          1,          UINT64_C(1) << 31, UINT32_MAX, UINT64_C(1) << 63,
                                       UINT64_MAX, UINT64_MAX - 7};

/* Each number in a part of the file, of each width, at each border. */
static void bend(struct bytes *bytes, size_t start, size_t end) {
    for (size_t width = 2; width <= 8; width *= 2)
        for (size_t at = start; at + width <= end && at + width <= bytes->size; at += width)
            for (size_t i = 0; i < COUNT_OF(odd_numbers) + 3; i++) {
                unsigned char before[8];
                memcpy(before, bytes->data + at, width);
                uint64_t number = i < COUNT_OF(odd_numbers) ? odd_numbers[i]
                                                            : bytes->size + i - COUNT_OF(odd_numbers) - 1;
                memcpy(bytes->data + at, &number, width); /* little endian, or another odd number */
                ask(bytes);
                memcpy(bytes->data + at, before, width);
            }
}

TEST(headers_with_odd_numbers_do_no_harm) {
    static const char *const plugins[] = {"unit_plugin.so", "unit_plugin_bare.so"};
    for (size_t i = 0; i < COUNT_OF(plugins); i++) {
        struct bytes bytes = plugin_bytes(plugins[i]);
        ElfW(Ehdr) header;
        memcpy(&header, bytes.data, sizeof header);
        bend(&bytes, 0, sizeof header);
        bend(&bytes, header.e_phoff, header.e_phoff + header.e_phnum * sizeof(ElfW(Phdr)));
        bend(&bytes, header.e_shoff, header.e_shoff + header.e_shnum * sizeof(ElfW(Shdr)));
        free(bytes.data);
    }
}

TEST(tables_of_symbols_with_odd_numbers_do_no_harm) {
    struct bytes bytes = plugin_bytes("unit_plugin.so");
    ElfW(Ehdr) header;
    memcpy(&header, bytes.data, sizeof header);
    for (size_t i = 0; i < header.e_shnum; i++) {
        ElfW(Shdr) section;
        memcpy(&section, bytes.data + header.e_shoff + i * sizeof section, sizeof section);
        if (section.sh_type == SHT_SYMTAB || section.sh_type == SHT_DYNSYM)
            bend(&bytes, section.sh_offset, section.sh_offset + section.sh_size);
    }
    free(bytes.data);
}

static size_t read_less(const rni_elf_file *file, uint64_t offset, void *bytes, size_t length) {
    if (length == 0 || offset + length > *(const size_t *)file->context) return 0;
    memset(bytes, 0, length);
    return length - 1;
}

TEST(a_file_that_shrinks_while_it_is_read_is_none) {
    size_t there = 4096;
    rni_elf_file file = {.read = read_less, .context = &there, .size = 8192};
    char name[32];
    uint64_t distance;
    assert_int_equal(rni_elf_id_of(&file).length, 0);
    assert_false(rni_elf_is_whole(&file));
    assert_false(rni_elf_symbol(&file, 1, name, sizeof name, &distance));
}

/* A file of a header, two tables of symbols and their strings, put together by hand. */
struct made {
    ElfW(Ehdr) header;
    ElfW(Shdr) sections[4];
    ElfW(Sym) dynamic[1], all[6];
    char strings[32];
};

static struct made make_file(void) {
    static const char strings[32] = "\0outer\0inner\0later\0odd\x1b[\0last";
    struct made made;
    memset(&made, 0, sizeof made);
    memcpy(made.strings, strings, sizeof strings);
    memcpy(made.header.e_ident, ELFMAG, SELFMAG);
    made.header.e_ident[EI_CLASS] = sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32;
    made.header.e_ident[EI_DATA] = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? ELFDATA2LSB : ELFDATA2MSB;
    made.header.e_phentsize = sizeof(ElfW(Phdr));
    made.header.e_shentsize = sizeof(ElfW(Shdr));
    made.header.e_shoff = offsetof(struct made, sections);
    made.header.e_shnum = 4;
    made.sections[1] = (ElfW(Shdr)){.sh_type = SHT_DYNSYM, .sh_offset = offsetof(struct made, dynamic),
                                    .sh_size = sizeof made.dynamic, .sh_link = 3, .sh_entsize = sizeof(ElfW(Sym))};
    made.sections[2] = (ElfW(Shdr)){.sh_type = SHT_SYMTAB, .sh_offset = offsetof(struct made, all),
                                    .sh_size = sizeof made.all, .sh_link = 3, .sh_entsize = sizeof(ElfW(Sym))};
    made.sections[3] = (ElfW(Shdr)){.sh_type = SHT_STRTAB, .sh_offset = offsetof(struct made, strings),
                                    .sh_size = sizeof made.strings};
    const ElfW(Sym) function = {.st_info = STT_FUNC, .st_shndx = 1};
    for (size_t i = 0; i < COUNT_OF(made.all); i++) made.all[i] = function;
    made.dynamic[0] = function;
    const struct {
        ElfW(Word) name;
        ElfW(Addr) value;
        ElfW(Addr) size;
    } symbols[] = {{1, 100, 50}, {7, 110, 10}, {13, 200, 0}, {19, 300, 10}, {25, 400, 10}, {1, 0, 0}};
    for (size_t i = 0; i < COUNT_OF(symbols); i++) {
        made.all[i].st_name = symbols[i].name;
        made.all[i].st_value = symbols[i].value;
        made.all[i].st_size = symbols[i].size;
    }
    made.all[5].st_shndx = SHN_UNDEF;
    made.dynamic[0].st_name = 13;
    made.dynamic[0].st_value = 90;
    made.dynamic[0].st_size = 1000;
    return made;
}

static void check_symbol(const struct made *made, uint64_t address, const char *wanted, uint64_t wanted_distance) {
    char name[32] = "";
    uint64_t distance = UINT64_MAX;
    struct bytes bytes = {malloc(sizeof *made), sizeof *made};
    memcpy(bytes.data, made, sizeof *made);
    rni_elf_file file = file_of(&bytes);
    bool found = rni_elf_symbol(&file, address, name, sizeof name, &distance);
    free(bytes.data);
    assert_int_equal(found, wanted != NULL);
    if (!wanted) return;
    assert_string_equal(name, wanted);
    assert_int_equal(distance, wanted_distance);
}

TEST(the_nearest_function_around_an_address_is_its_symbol) {
    struct made made = make_file();
    check_symbol(&made, 100, "outer", 0);
    check_symbol(&made, 109, "outer", 9);
    check_symbol(&made, 110, "inner", 0);
    check_symbol(&made, 119, "inner", 9);
    check_symbol(&made, 120, "outer", 20);
    check_symbol(&made, 149, "outer", 49);
    check_symbol(&made, 150, "later", 60); /* only .dynsym has it */
    check_symbol(&made, 200, "later", 0);  /* of no size: its first byte */
    check_symbol(&made, 201, "later", 111);
    check_symbol(&made, 305, "odd?[", 5);
    check_symbol(&made, 89, NULL, 0);
    check_symbol(&made, 0, NULL, 0); /* not defined here */
    check_symbol(&made, 1090, NULL, 0);
}

TEST(a_name_ends_with_its_strings) {
    struct made made = make_file();
    made.header.e_shnum = 4;
    check_symbol(&made, 400, "last", 0);
    made.strings[29] = made.strings[30] = made.strings[31] = 'x';
    check_symbol(&made, 400, "lastxxx", 0);
    made.sections[3].sh_size = 27; /* the table ends within the name */
    check_symbol(&made, 400, "la", 0);
    made.sections[3].sh_size = 25; /* and before it: the other table is asked */
    check_symbol(&made, 400, "later", 310);
    made.sections[3].sh_offset = UINT32_MAX;
    check_symbol(&made, 400, NULL, 0);
}

TEST(other_tables_are_none) {
    for (int i = 0; i < 9; i++) {
        struct made made = make_file();
        switch (i) {
        case 0: made.header.e_ident[0] = 'E'; break;
        case 1: made.header.e_ident[EI_CLASS] ^= 3; break;
        case 2: made.header.e_ident[EI_DATA] ^= 3; break;
        case 3: made.header.e_shentsize--; break;
        case 4: made.header.e_phentsize--; break;
        case 5: made.sections[1].sh_entsize = made.sections[2].sh_entsize = 1; break;
        case 6: made.sections[1].sh_link = made.sections[2].sh_link = 4; break;
        case 7: made.header.e_shnum = 1; break;
        default: made.sections[1].sh_type = made.sections[2].sh_type = SHT_PROGBITS; break;
        }
        check_symbol(&made, 110, NULL, 0);
    }
}

TEST(types_that_are_no_functions_have_no_names) {
    struct made made = make_file();
    made.dynamic[0].st_info = STT_OBJECT;
    made.all[0].st_info = STT_GNU_IFUNC | STB_WEAK << 4;
    made.all[1].st_info = STT_NOTYPE;
    check_symbol(&made, 110, "outer", 10);
    check_symbol(&made, 201, NULL, 0);
}

/* ------------------------------------------------------------------------------------------------
 * Notes
 */
static size_t add_note(unsigned char *notes, size_t at, uint32_t name_size, uint32_t id_size, uint32_t type) {
    const ElfW(Nhdr) note = {.n_namesz = name_size, .n_descsz = id_size, .n_type = type};
    memcpy(notes + at, &note, sizeof note);
    memcpy(notes + at + sizeof note, "GNU", 4);
    return at + sizeof note + 4;
}

TEST(a_build_id_is_as_long_as_it_is_up_to_32_bytes) {
    const uint32_t sizes[] = {0, 1, 19, 20, 31, 32, 33, 64};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        unsigned char notes[256];
        for (size_t k = 0; k < sizeof notes; k++) notes[k] = (unsigned char)k;
        size_t at = add_note(notes, 0, 4, 5, NT_GNU_ABI_TAG) + 8;
        size_t start = add_note(notes, at, 4, sizes[i], NT_GNU_BUILD_ID);
        rni_elf_id id = rni_elf_note_id(notes, start + sizes[i]);
        assert_int_equal(id.length, sizes[i] < 32 ? sizes[i] : 32);
        assert_memory_equal(id.bytes, notes + start, id.length);
        if (sizes[i] > 0) assert_int_equal(rni_elf_note_id(notes, start + sizes[i] - 1).length, 0);
    }
}

TEST(odd_notes_are_none) {
    const uint32_t numbers[] = {0, 1, 3, 5, 8, 200, 1u << 31, UINT32_MAX - 3, UINT32_MAX};
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        for (size_t k = 0; k < COUNT_OF(numbers); k++) {
            unsigned char *notes = calloc(1, 36);
            add_note(notes, 0, numbers[i], numbers[k], NT_GNU_BUILD_ID);
            assert_int_equal(rni_elf_note_id(notes, 36).length, 0);
            free(notes);
        }
    for (size_t size = 0; size < 16; size++) {
        unsigned char *notes = calloc(1, size + 16);
        add_note(notes, 0, 4, 20, NT_GNU_BUILD_ID);
        assert_int_equal(rni_elf_note_id(notes, size).length, 0);
        free(notes);
    }
}

/* ------------------------------------------------------------------------------------------------
 * Functions by their names
 */
static void check_function(const struct made *made, const char *name, unsigned wanted, uint64_t wanted_address) {
    uint64_t address = UINT64_MAX;
    struct bytes bytes = {malloc(sizeof *made), sizeof *made};
    memcpy(bytes.data, made, sizeof *made);
    rni_elf_file file = file_of(&bytes);
    unsigned found = rni_elf_function(&file, name, &address);
    free(bytes.data);
    assert_int_equal(found, wanted);
    if (wanted > 0) assert_int_equal(address, wanted_address);
}

TEST(a_function_is_found_by_its_name) {
    struct made made = make_file();
    check_function(&made, "inner", 1, 110);
    check_function(&made, "later", 1, 200); /* .symtab is asked first */
    check_function(&made, "inne", 0, 0);
    check_function(&made, "", 0, 0);
    made.sections[2].sh_type = SHT_PROGBITS;
    check_function(&made, "later", 1, 90);
    check_function(&made, "inner", 0, 0);
}

TEST(functions_of_one_name_at_several_places_are_several) {
    struct made made = make_file();
    made.all[2].st_name = made.all[1].st_name;
    check_function(&made, "inner", 2, 110);
    made.all[2].st_value = made.all[1].st_value; /* one place that is named twice */
    check_function(&made, "inner", 1, 110);
    made.all[1].st_info = made.all[2].st_info = STT_OBJECT;
    check_function(&made, "inner", 0, 0);
}

TEST(odd_files_have_no_functions) {
    struct made made = make_file();
    made.sections[1].sh_link = made.sections[2].sh_link = 4;
    check_function(&made, "inner", 0, 0);
    made.sections[1].sh_link = made.sections[2].sh_link = UINT32_MAX;
    check_function(&made, "inner", 0, 0);
    made.header.e_ident[0] = 0;
    check_function(&made, "inner", 0, 0);
}
