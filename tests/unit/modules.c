/*
 * Names of functions that hold in another process: there and back, what is refused, names for people.
 * unit_plugin*.so lie beside this program.
 */
#include "process/module.h"

#include <dlfcn.h>
#include <elf.h>
#include <inttypes.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support.h"

enum { PATH_SIZE = 4096, ANSWER = 42, OTHER_ANSWER = 43 };

/* ------------------------------------------------------------------------------------------------
 * Files
 */
struct folder {
    char path[64];
};

static struct folder make_folder(void) {
    struct folder folder = {"/tmp/unit-modules-XXXXXX"};
    assert_non_null(mkdtemp(folder.path));
    return folder;
}

static void beside_program(char *path, const char *name) {
    ssize_t length = readlink("/proc/self/exe", path, PATH_SIZE - 1);
    assert_true(length > 0);
    path[length] = '\0';
    char *end = strrchr(path, '/') + 1;
    snprintf(end, PATH_SIZE - (size_t)(end - path), "%s", name);
}

struct bytes {
    unsigned char *data;
    size_t size;
};

static struct bytes read_file(const char *path) {
    FILE *file = fopen(path, "rbe");
    assert_non_null(file);
    struct bytes bytes = {malloc(1 << 20), 0};
    bytes.size = fread(bytes.data, 1, 1 << 20, file);
    assert_true(bytes.size > 0 && bytes.size < 1 << 20);
    fclose(file);
    return bytes;
}

static void write_file(const char *path, const void *data, size_t size) {
    FILE *file = fopen(path, "wbe");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* A copy of a plugin, in a folder of its own, and gone at the end. */
struct copy {
    struct folder folder;
    char path[128];
};

static void put_plugin(const char *path, const char *plugin) {
    char from[PATH_SIZE];
    beside_program(from, plugin);
    struct bytes bytes = read_file(from);
    unlink(path); /* a library that is loaded is replaced, not written over */
    write_file(path, bytes.data, bytes.size);
    free(bytes.data);
}

static struct copy copy_plugin(const char *plugin) {
    struct copy copy = {.folder = make_folder()};
    snprintf(copy.path, sizeof copy.path, "%s/copy.so", copy.folder.path);
    put_plugin(copy.path, plugin);
    return copy;
}

static void remove_copy(const struct copy *copy) {
    unlink(copy->path);
    rmdir(copy->folder.path);
}

typedef int answer_function(void);

/* The name of a function in a library, which is unloaded again. */
static void name_in(const char *path, const char *function, rni_module *module, uint64_t *offset) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    assert_non_null(library);
    void *address = dlsym(library, function);
    assert_non_null(address);
    assert_true(rni_module_of(address, module, offset));
    assert_int_equal(dlclose(library), 0);
    assert_null(dlopen(path, RTLD_NOW | RTLD_NOLOAD));
    unsetenv("UNIT_PLUGIN_LOADED");
}

static bool was_loaded(void) { return getenv("UNIT_PLUGIN_LOADED"); }

static int call(void *address) {
    answer_function *function;
    memcpy(&function, &address, sizeof function);
    return function();
}

/* What a test loads stays: each runs in a child. */
#define IN_CHILD(...)                                       \
    do {                                                    \
        char said[4096];                                    \
        in_child(said, __VA_ARGS__);                        \
    } while (0)

static bool is_refused(const rni_module *module, uint64_t offset, bool may_load, const char *why) {
    void *address = NULL;
    rn_value error = rni_module_resolve(module, offset, may_load, &address);
    bool refused = rn_is_error(error) && strstr(rn_error_message(error), why) && !address;
    if (!refused) fprintf(stderr, "%s\n", rn_is_error(error) ? rn_error_message(error) : "not refused");
    rn_drop(error);
    return refused;
}

static void *resolved(const rni_module *module, uint64_t offset, bool may_load) {
    void *address = NULL;
    rn_value error = rni_module_resolve(module, offset, may_load, &address);
    if (rn_is_error(error)) fprintf(stderr, "%s\n", rn_error_message(error));
    rn_drop(error);
    return address;
}

/* ------------------------------------------------------------------------------------------------
 * There and back
 */
static __attribute__((noinline)) int a_function_of_this_program(void) {
    __asm__ volatile("");
    return ANSWER;
}

static void *address_of(answer_function *function) {
    void *address;
    memcpy(&address, &function, sizeof address);
    return address;
}

TEST(a_function_of_the_program_is_named_without_a_path) {
    rni_module module;
    uint64_t offset;
    void *address = address_of(a_function_of_this_program);
    assert_true(rni_module_of(address, &module, &offset));
    assert_string_equal(module.path, "");
    assert_true(module.id_length > 0);
    assert_ptr_equal(resolved(&module, offset, false), address);
}

TEST(a_function_of_a_library_is_named_by_its_path) {
    rni_module module;
    uint64_t offset;
    void *address = dlsym(RTLD_DEFAULT, "getenv");
    assert_true(rni_module_of(address, &module, &offset));
    assert_int_equal(module.path[0], '/');
    assert_ptr_equal(resolved(&module, offset, false), address);
}

TEST(the_same_file_gives_the_same_bytes) {
    rni_module first, second;
    uint64_t offset;
    memset(&first, 0x11, sizeof first);
    memset(&second, 0x22, sizeof second);
    assert_true(rni_module_of(dlsym(RTLD_DEFAULT, "getenv"), &first, &offset));
    assert_true(rni_module_of(dlsym(RTLD_DEFAULT, "labs"), &second, &offset));
    assert_memory_equal(&first, &second, sizeof first);
}

TEST(an_address_outside_every_file_has_no_name) {
    rni_module module;
    uint64_t offset;
    int on_the_stack;
    void *on_the_heap = malloc(1);
    assert_false(rni_module_of(NULL, &module, &offset));
    assert_false(rni_module_of(&on_the_stack, &module, &offset));
    assert_false(rni_module_of(on_the_heap, &module, &offset));
    assert_false(rni_module_of((void *)UINTPTR_MAX, &module, &offset));
    free(on_the_heap);
}

static void load_by_name(const char *plugin, int answer) {
    struct copy copy = copy_plugin(plugin);
    rni_module module;
    uint64_t offset;
    name_in(copy.path, "plugin_answer", &module, &offset);
    CHILD_CHECK(strcmp(module.path, copy.path) == 0);
    CHILD_CHECK(is_refused(&module, offset, false, "is not loaded") && !was_loaded());
    void *address = resolved(&module, offset, true);
    CHILD_CHECK(address && call(address) == answer && was_loaded());
    CHILD_CHECK(resolved(&module, offset, false) == address);
    remove_copy(&copy);
}

TEST(a_library_is_loaded_where_that_is_allowed) { IN_CHILD(load_by_name("unit_plugin.so", ANSWER)); }

TEST(a_library_without_a_build_id_is_loaded_too) {
    IN_CHILD(load_by_name("unit_plugin_bare.so", ANSWER));
    IN_CHILD(load_by_name("unit_plugin_bare_other.so", OTHER_ANSWER));
}

static void load_by_relative_path(void) {
    struct copy copy = copy_plugin("unit_plugin.so");
    CHILD_CHECK(chdir(copy.folder.path) == 0);
    void *library = dlopen("./copy.so", RTLD_NOW | RTLD_LOCAL);
    CHILD_CHECK(library && chdir("/") == 0);
    rni_module module;
    uint64_t offset;
    void *address = dlsym(library, "plugin_answer");
    CHILD_CHECK(rni_module_of(address, &module, &offset));
    CHILD_CHECK(strcmp(module.path, copy.path) == 0);
    CHILD_CHECK(resolved(&module, offset, false) == address);
    remove_copy(&copy);
}

TEST(a_path_is_absolute_even_if_it_was_loaded_by_another) { IN_CHILD(load_by_relative_path()); }

/* Folders below each other, until the path is longer than a module can have it. */
static void load_from_a_long_path(void) {
    struct folder folder = make_folder();
    char path[PATH_SIZE], name[201] = "";
    memset(name, 'n', 200);
    int length = snprintf(path, sizeof path, "%s", folder.path);
    for (int i = 0; i < 5; i++) {
        length += snprintf(path + length, sizeof path - (size_t)length, "/%s", name);
        CHILD_CHECK(mkdir(path, 0700) == 0);
    }
    snprintf(path + length, sizeof path - (size_t)length, "/copy.so");
    put_plugin(path, "unit_plugin.so");
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    rni_module module;
    uint64_t offset;
    CHILD_CHECK(library && !rni_module_of(dlsym(library, "plugin_answer"), &module, &offset));
    unlink(path);
    for (char *slash; (slash = strrchr(path, '/')) && strlen(path) > strlen(folder.path);) {
        *slash = '\0';
        rmdir(path);
    }
}

TEST(a_file_whose_path_is_too_long_has_no_name) { IN_CHILD(load_from_a_long_path()); }

/* ------------------------------------------------------------------------------------------------
 * Which of several
 */
static void load_replaced(const char *plugin, const char *other) {
    struct copy copy = copy_plugin(plugin);
    rni_module module;
    uint64_t offset;
    name_in(copy.path, "plugin_answer", &module, &offset);
    put_plugin(copy.path, other);
    CHILD_CHECK(is_refused(&module, offset, true, "another build"));
    CHILD_CHECK(!was_loaded()); /* not even its constructors ran */
    remove_copy(&copy);
}

TEST(another_build_at_the_same_path_is_not_loaded) {
    IN_CHILD(load_replaced("unit_plugin.so", "unit_plugin_other.so"));
    IN_CHILD(load_replaced("unit_plugin.so", "unit_plugin_bare.so"));
    IN_CHILD(load_replaced("unit_plugin_bare.so", "unit_plugin.so"));
    IN_CHILD(load_replaced("unit_plugin_bare.so", "unit_plugin_bare_other.so"));
}

/* The linker takes what it has loaded from that path, whatever lies there now. */
static void load_over_another(void) {
    struct copy copy = copy_plugin("unit_plugin.so");
    rni_module module;
    uint64_t offset;
    name_in(copy.path, "plugin_answer", &module, &offset);
    put_plugin(copy.path, "unit_plugin_other.so");
    CHILD_CHECK(dlopen(copy.path, RTLD_NOW));
    CHILD_CHECK(is_refused(&module, offset, true, "another build"));
    put_plugin(copy.path, "unit_plugin.so");
    CHILD_CHECK(is_refused(&module, offset, true, "another build"));
    remove_copy(&copy);
}

TEST(another_build_that_is_loaded_is_not_taken_for_it) { IN_CHILD(load_over_another()); }

static void load_two_copies(void) {
    struct copy first = copy_plugin("unit_plugin.so"), second = copy_plugin("unit_plugin.so");
    rni_module one, two;
    uint64_t offset;
    name_in(first.path, "plugin_count", &one, &offset);
    name_in(second.path, "plugin_count", &two, &offset);
    void *in_first = resolved(&one, offset, true), *in_second = resolved(&two, offset, true);
    CHILD_CHECK(in_first && in_second && in_first != in_second);
    CHILD_CHECK(call(in_first) == 1 && call(in_first) == 2 && call(in_second) == 1);
    /* A path that is gone: any other of that build. */
    snprintf(two.path, sizeof two.path, "/nowhere/copy.so");
    CHILD_CHECK(resolved(&two, offset, true) == in_first);
    CHILD_CHECK(resolved(&two, offset, false) == in_first);
    remove_copy(&first);
    remove_copy(&second);
}

TEST(of_two_copies_the_path_decides) { IN_CHILD(load_two_copies()); }

static void load_what_is_deleted(void) {
    struct copy copy = copy_plugin("unit_plugin.so");
    rni_module module;
    uint64_t offset;
    name_in(copy.path, "plugin_answer", &module, &offset);
    void *address = resolved(&module, offset, true);
    remove_copy(&copy);
    CHILD_CHECK(address && resolved(&module, offset, true) == address);
}

TEST(a_file_that_was_deleted_since_it_was_loaded_is_found) { IN_CHILD(load_what_is_deleted()); }

/* ------------------------------------------------------------------------------------------------
 * What is refused
 */
static void load_odd_files(void) {
    struct copy copy = copy_plugin("unit_plugin.so");
    rni_module module;
    uint64_t offset;
    name_in(copy.path, "plugin_answer", &module, &offset);
    struct bytes bytes = read_file(copy.path);
    unlink(copy.path);
    CHILD_CHECK(is_refused(&module, offset, true, "no such library"));
    CHILD_CHECK(mkdir(copy.path, 0700) == 0);
    CHILD_CHECK(is_refused(&module, offset, true, "no such library"));
    CHILD_CHECK(rmdir(copy.path) == 0 && mkfifo(copy.path, 0600) == 0);
    CHILD_CHECK(is_refused(&module, offset, true, "no such library"));
    unlink(copy.path);
    write_file(copy.path, "#!/bin/sh\n", 10);
    CHILD_CHECK(is_refused(&module, offset, true, "no such library"));
    /* Its notes are there, its code is not. */
    write_file(copy.path, bytes.data, 4096 + 16);
    CHILD_CHECK(is_refused(&module, offset, true, "is cut short"));
    /* All is there, but for another machine. */
    unlink(copy.path);
    bytes.data[offsetof(ElfW(Ehdr), e_machine)] ^= 0xff;
    write_file(copy.path, bytes.data, bytes.size);
    CHILD_CHECK(is_refused(&module, offset, true, "cannot be loaded"));
    free(bytes.data);
    remove_copy(&copy);
}

TEST(what_is_no_library_is_refused) { IN_CHILD(load_odd_files()); }

static void load_odd_offsets(void) {
    struct copy copy = copy_plugin("unit_plugin.so");
    rni_module module;
    uint64_t code, data;
    name_in(copy.path, "plugin_data", &module, &data);
    name_in(copy.path, "plugin_answer", &module, &code);
    CHILD_CHECK(resolved(&module, code, true) != NULL);
    const uint64_t odd[] = {0, 1, data, code + (1 << 30), UINT32_MAX, UINT64_C(1) << 63, UINT64_MAX};
    for (size_t i = 0; i < COUNT_OF(odd); i++) CHILD_CHECK(is_refused(&module, odd[i], true, "is not in the code"));
    /* Code, but of another library. */
    void *other = dlsym(RTLD_DEFAULT, "getenv"), *own = resolved(&module, code, true);
    CHILD_CHECK(is_refused(&module, code + ((uintptr_t)other - (uintptr_t)own), true, "is not in the code"));
    remove_copy(&copy);
}

TEST(an_offset_outside_of_its_code_is_refused) { IN_CHILD(load_odd_offsets()); }

TEST(the_program_is_taken_for_no_other_build) {
    rni_module module;
    uint64_t offset;
    assert_true(rni_module_of(address_of(a_function_of_this_program), &module, &offset));
    module.id[0] ^= 1;
    assert_true(is_refused(&module, offset, true, "another build"));
    module.id[0] ^= 1;
    module.id_length--;
    assert_true(is_refused(&module, offset, true, "another build"));
    module.id_length = 0;
    assert_true(is_refused(&module, offset, true, "another build"));
    module.id_length = RNI_MODULE_ID_MAX + 1;
    assert_true(is_refused(&module, offset, true, "longer than it can be"));
    module.id_length = UINT32_MAX;
    assert_true(is_refused(&module, offset, true, "longer than it can be"));
}

TEST(a_path_without_an_end_is_refused) {
    char text[64];
    rni_module module;
    memset(&module, '/', sizeof module);
    module.id_length = 20;
    assert_true(is_refused(&module, 0, true, "longer than it can be"));
    rni_module_symbol(&module, 0, text, sizeof text);
    assert_string_equal(text, "0x0 (?)");
}

/* A name that the linker would look for in its folders is not looked for. */
TEST(a_path_that_is_not_absolute_is_not_loaded) {
    rni_module module = {.path = "libm.so.6", .id = {1}, .id_length = 20};
    assert_true(is_refused(&module, 0, true, "no such library"));
}

/* ------------------------------------------------------------------------------------------------
 * Names for people
 */
TEST(functions_have_their_names) {
    char text[128];
    rni_module module;
    uint64_t offset;
    assert_true(rni_module_of(address_of(a_function_of_this_program), &module, &offset));
    rni_module_symbol(&module, offset, text, sizeof text);
    assert_string_equal(text, "a_function_of_this_program+0x0 (unit_modules)");
    rni_module_symbol(&module, offset + 1, text, sizeof text);
    assert_string_equal(text, "a_function_of_this_program+0x1 (unit_modules)");
    rni_module_symbol(&module, 3, text, sizeof text);
    assert_string_equal(text, "0x3 (unit_modules)");
}

TEST(functions_of_a_stripped_library_have_their_names) {
    char text[128];
    rni_module module;
    uint64_t offset;
    assert_true(rni_module_of(dlsym(RTLD_DEFAULT, "getenv"), &module, &offset));
    rni_module_symbol(&module, offset, text, sizeof text);
    assert_contains(text, "getenv+0x0 (libc");
}

static void name_hidden(void) {
    char text[128];
    struct copy copy = copy_plugin("unit_plugin.so");
    void *library = dlopen(copy.path, RTLD_NOW), **hidden = dlsym(library, "plugin_hidden");
    rni_module module;
    uint64_t offset;
    CHILD_CHECK(rni_module_of(*hidden, &module, &offset));
    rni_module_symbol(&module, offset + 2, text, sizeof text);
    CHILD_CHECK(strcmp(text, "hidden_step+0x2 (copy.so)") == 0);
    /* Its symbols are not those of the file that lies there now. */
    char other[128];
    snprintf(other, sizeof other, "0x%" PRIx64 " (copy.so)", offset);
    put_plugin(copy.path, "unit_plugin_other.so");
    rni_module_symbol(&module, offset, text, sizeof text);
    CHILD_CHECK(strcmp(text, other) == 0);
    remove_copy(&copy);
    rni_module_symbol(&module, offset, text, sizeof text);
    CHILD_CHECK(strcmp(text, other) == 0);
}

TEST(static_functions_have_names_and_replaced_files_have_none) { IN_CHILD(name_hidden()); }

TEST(a_name_is_cut_at_the_size) {
    char text[128];
    rni_module module;
    uint64_t offset;
    const char *whole = "a_function_of_this_program+0x0 (unit_modules)";
    assert_true(rni_module_of(address_of(a_function_of_this_program), &module, &offset));
    for (size_t size = 0; size <= strlen(whole) + 2; size++) {
        memset(text, '#', sizeof text);
        rni_module_symbol(&module, offset, text, size);
        if (size == 0) {
            assert_int_equal(text[0], '#');
            continue;
        }
        assert_int_equal(strlen(text), size - 1 < strlen(whole) ? size - 1 : strlen(whole));
        assert_memory_equal(text, whole, strlen(text));
    }
}
