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
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

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
static int add_rule(const rni_os_sandbox *sandbox, int fd, uint64_t rights) {
    struct stat facts;
    if (fstat(fd, &facts) != 0) return errno;
    if (!S_ISDIR(facts.st_mode)) rights &= OF_A_FILE;
    struct beneath rule = {rights & known_rights(sandbox->version), fd};
    return syscall(ADD_RULE, sandbox->files, RULE_PATH_BENEATH, &rule, 0) == 0 ? 0 : errno;
}

static int allow(const rni_os_sandbox *sandbox, const char *path, uint64_t rights) {
    int fd = open(path, O_PATH | O_CLOEXEC);
    int error = fd < 0 ? errno : add_rule(sandbox, fd, rights);
    if (fd >= 0) close(fd);
    return error;
}

int rni_os_sandbox_allow(const rni_os_sandbox *sandbox, const char *path, bool write) {
    return allow(sandbox, path, write ? TO_WRITE : TO_READ);
}

/* With the linker's lock held. A library whose file is gone cannot be loaded anyhow. */
static bool allow_object(const rni_os_object *object, const void *sandbox) {
    if (!object->path[0]) (void)allow(sandbox, "/proc/self/exe", EXECUTE | READ_FILE);
    else if (object->path[0] == '/') (void)allow(sandbox, object->path, EXECUTE | READ_FILE);
    return false;
}

static void allow_devices(const rni_os_sandbox *sandbox) {
    static const char *const devices[] = {"/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"};
    for (unsigned i = 0; i < sizeof devices / sizeof *devices; i++)
        (void)allow(sandbox, devices[i], i < 2 ? READ_FILE | WRITE_FILE : READ_FILE);
}

int rni_os_sandbox_make(rni_os_sandbox *sandbox) {
    long version = version_of_landlock();
    if (version < 1) return errno;
    struct ruleset ruleset = {.files = known_rights((uint32_t)version),
                              .scopes = version >= 6 ? SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS : 0};
    long fd = syscall(CREATE_RULESET, &ruleset, sizeof ruleset, 0); /* an older kernel takes what is zero beyond its own */
    if (fd < 0) return errno;
    sandbox->files = (int)fd;
    sandbox->version = (uint32_t)version;
    rni_os_object unused;
    (void)rni_os_object_find(allow_object, sandbox, &unused);
    allow_devices(sandbox);
    return 0;
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

int rni_os_sandbox_enter(const rni_os_sandbox *sandbox) {
    load_unwinder();
    int error = give_up_privileges();
    if (!error && syscall(RESTRICT_SELF, sandbox->files, 0) != 0) error = errno;
    close(sandbox->files); /* it could be added to, and entered by the next worker so */
    return error ? error : rni_os_filter_enter(sandbox);
}
