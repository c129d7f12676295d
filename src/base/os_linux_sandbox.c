/*
 * Landlock, and what else is given up on entering a sandbox: privileges to come, capabilities, core dumps.
 *
 * The structures and numbers are those of Linux, Documentation/userspace-api/landlock.rst: headers of a distribution may
 * be older than the kernel that runs, and each version of Landlock knows more rights. All that the kernel knows are
 * handled, so that what is not allowed is refused; what an older kernel does not know, the filter of system calls makes
 * up for (os_linux_filter.c).
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/os_elf.h"
#include "base/os_sandbox.h"

/* The same numbers on every kind of machine. */
#define CREATE_RULESET 444
#define ADD_RULE 445
#define RESTRICT_SELF 446
#define CREATE_RULESET_VERSION 1u
#define RULE_PATH_BENEATH 1

enum {
    EXECUTE = 1 << 0,
    WRITE_FILE = 1 << 1,
    READ_FILE = 1 << 2,
    READ_DIR = 1 << 3,
    REMOVE_DIR = 1 << 4,
    REMOVE_FILE = 1 << 5,
    MAKE_DIR = 1 << 7,
    MAKE_REG = 1 << 8,
    MAKE_FIFO = 1 << 10,
    MAKE_SYM = 1 << 12,
    REFER = 1 << 13,     /* version 2 */
    TRUNCATE = 1 << 14,  /* 3 */
    IOCTL_DEV = 1 << 15, /* 5 */

    TO_READ = EXECUTE | READ_FILE | READ_DIR,
    TO_WRITE = WRITE_FILE | READ_FILE | READ_DIR | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_FIFO | MAKE_SYM |
               REFER | TRUNCATE | IOCTL_DEV,
    OF_A_FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
};

#define SCOPE_ABSTRACT_SOCKETS 1u /* version 6 */
#define SCOPE_SIGNALS 2u

struct ruleset {
    uint64_t files, network, scopes;
};

struct beneath {
    uint64_t allowed;
    int parent;
} __attribute__((packed));

static uint64_t known_rights(uint32_t version) {
    if (version >= 5) return (IOCTL_DEV << 1) - 1;
    if (version >= 3) return (TRUNCATE << 1) - 1;
    return version == 2 ? (REFER << 1) - 1 : REFER - 1;
}

static long version_of_landlock(void) { return syscall(CREATE_RULESET, NULL, 0, CREATE_RULESET_VERSION); }

static bool has_filters(void) {
    uint32_t action = SECCOMP_RET_ERRNO;
    return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

const char *rni_os_sandbox_lacks(void) {
    int saved = errno;
    const char *lacks = NULL;
    if (!rni_os_filter_is_known()) lacks = "a list of system calls for this kind of machine (there is one for x86-64 and aarch64)";
    else if (!has_filters()) lacks = "seccomp (the kernel needs CONFIG_SECCOMP_FILTER)";
    else if (version_of_landlock() < 1) lacks = "Landlock (Linux 5.13 or newer, with lsm=landlock)";
    errno = saved;
    return lacks;
}

/* ------------------------------------------------------------------------------------------------
 * The ruleset
 */
static int add_rule(int ruleset, const rni_os_rule *rule) {
    struct beneath beneath = {rule->rights, rule->fd};
    return syscall(ADD_RULE, ruleset, RULE_PATH_BENEATH, &beneath, 0) == 0 ? 0 : errno;
}

static bool make_room(rni_os_sandbox *sandbox) {
    if (sandbox->count < sandbox->room) return true;
    uint32_t room = sandbox->room ? 2 * sandbox->room : 32;
    rni_os_rule *rules = rni_alloc(room * sizeof *rules);
    if (!rules) return false;
    if (sandbox->count > 0) memcpy(rules, sandbox->rules, sandbox->count * sizeof *rules);
    rni_free(sandbox->rules);
    sandbox->rules = rules;
    sandbox->room = room;
    return true;
}

/* Its rights, as far as this kernel knows them, and as they can be had of a file. */
static int make_rule(const rni_os_sandbox *sandbox, const char *path, uint64_t rights, rni_os_rule *rule) {
    struct stat facts;
    *rule = (rni_os_rule){open(path, O_PATH | O_CLOEXEC), rights & known_rights(sandbox->version)};
    if (rule->fd < 0) return errno;
    if (fstat(rule->fd, &facts) == 0 && !S_ISDIR(facts.st_mode)) rule->rights &= OF_A_FILE;
    return 0;
}

static int allow(rni_os_sandbox *sandbox, const char *path, uint64_t rights) {
    rni_os_rule rule;
    if (!make_room(sandbox)) return ENOMEM;
    int error = make_rule(sandbox, path, rights, &rule);
    if (error) return error;
    error = add_rule(sandbox->files, &rule);
    if (error) close(rule.fd);
    else sandbox->rules[sandbox->count++] = rule;
    return error;
}

int rni_os_sandbox_allow(rni_os_sandbox *sandbox, const char *path, bool write) {
    return allow(sandbox, path, write ? TO_WRITE : TO_READ);
}

struct library {
    rni_os_sandbox *sandbox;
    int error; /* of memory or descriptors; a library whose file is gone cannot be loaded anyhow */
};

static bool is_ours(int error) { return error == ENOMEM || error == EMFILE || error == ENFILE; }

/* With the linker's lock held. */
static bool allow_object(const rni_os_object *object, const void *context) {
    struct library *library = (struct library *)(uintptr_t)context;
    const char *path = object->path[0] ? object->path : "/proc/self/exe";
    int error = path[0] == '/' ? allow(library->sandbox, path, EXECUTE | READ_FILE) : 0;
    if (is_ours(error)) library->error = error;
    return is_ours(error);
}

static int allow_program(rni_os_sandbox *sandbox) {
    rni_os_object unused;
    struct library library = {sandbox, 0};
    (void)rni_os_object_find(allow_object, &library, &unused);
    return library.error;
}

static int allow_devices(rni_os_sandbox *sandbox) {
    static const char *const devices[] = {"/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"};
    int error = 0;
    for (unsigned i = 0; i < sizeof devices / sizeof *devices && !is_ours(error); i++)
        error = allow(sandbox, devices[i], i < 2 ? READ_FILE | WRITE_FILE : READ_FILE);
    return is_ours(error) ? error : 0;
}

/* An older kernel takes what is zero beyond its own. */
static int make_ruleset(uint32_t version, int *ruleset) {
    const struct ruleset attributes = {.files = known_rights(version),
                                       .scopes = version >= 6 ? SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS : 0};
    *ruleset = (int)syscall(CREATE_RULESET, &attributes, sizeof attributes, 0);
    return *ruleset < 0 ? errno : 0;
}

int rni_os_sandbox_make(rni_os_sandbox *sandbox) {
    long version = version_of_landlock();
    if (version < 1) return errno;
    sandbox->version = (uint32_t)version;
    int error = make_ruleset(sandbox->version, &sandbox->files);
    if (!error) error = allow_program(sandbox);
    return error ? error : allow_devices(sandbox);
}

int rni_os_sandbox_copy(const rni_os_sandbox *sandbox, int *ruleset) {
    int error = make_ruleset(sandbox->version, ruleset);
    for (uint32_t i = 0; i < sandbox->count && !error; i++) error = add_rule(*ruleset, &sandbox->rules[i]);
    if (error && *ruleset >= 0) close(*ruleset);
    return error;
}

void rni_os_sandbox_forget(const rni_os_sandbox *sandbox) {
    for (uint32_t i = 0; i < sandbox->count; i++) close(sandbox->rules[i].fd);
    if (sandbox->files >= 0) close(sandbox->files);
}

void rni_os_sandbox_close(rni_os_sandbox *sandbox) {
    rni_os_sandbox former = *sandbox;
    *sandbox = (rni_os_sandbox){.files = -1}; /* first: a forked child must not close what has these numbers by then */
    rni_os_sandbox_forget(&former);
    rni_free(former.rules);
}

/* ------------------------------------------------------------------------------------------------
 * Entering
 */
static bool is_library(const rni_os_object *object, const void *unused) {
    (void)unused;
    return object->path[0] == '/';
}

/* glibc loads this library when a thread is cancelled or calls pthread_exit(), and for backtraces: then it must be there.
 * A program without any library has it in itself. */
static void load_unwinder(void) {
    rni_os_object object;
    const void *inside;
    char reason[64];
    if (rni_os_object_find(is_library, NULL, &object)) (void)rni_os_load("libgcc_s.so.1", &inside, reason, sizeof reason);
}

static int drop_capabilities(void) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    return syscall(SYS_capset, &header, none) == 0 ? 0 : errno;
}

static int give_up_privileges(void) {
    const struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none) != 0) return errno;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno;
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return errno; /* neither core dumps nor debuggers of other processes */
    return drop_capabilities();
}

/* Its limits, its mappings: libc and whoever counts look there. Where /proc is not mounted nobody finds it anyway. */
static int allow_itself(const rni_os_sandbox *sandbox) {
    rni_os_rule rule;
    if (make_rule(sandbox, "/proc/self", READ_FILE | READ_DIR, &rule) != 0) return 0;
    int error = add_rule(sandbox->files, &rule);
    close(rule.fd);
    return error;
}

int rni_os_sandbox_enter(const rni_os_sandbox *sandbox) {
    load_unwinder();
    int error = allow_itself(sandbox);
    if (!error) error = give_up_privileges();
    if (!error && syscall(RESTRICT_SELF, sandbox->files, 0) != 0) error = errno;
    close(sandbox->files); /* it could be added to, and entered by the next worker so */
    return error ? error : rni_os_filter_enter(sandbox);
}
