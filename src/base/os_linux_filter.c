/*
 * The filter of system calls (seccomp): what a computing task never needs is refused, by name. EPERM where a program
 * would ask whether it may, ENOSYS where it would then do without (clone3: libc takes clone instead, whose flags can be
 * looked at). A call that is newer than this list is ENOSYS, and so are those of other kinds of machines (32 bits).
 *
 * What the list keeps a worker from:
 *   other processes      ptrace and its kin; signals, also those that a descriptor sends (F_SETOWN); their limits,
 *                        priority, affinity and pages; getting out of its process group or its parent's death
 *   other files          what Landlock does not see: modes, owners, times, attributes, handles; truncation before its
 *                        version 3; message queues and shared memory of System V
 *   other machines       sockets, but for pairs of those that cannot be sent elsewhere (datagrams can)
 *   the system           mounts, namespaces, modules, clocks, keys, quotas, swap
 *   parts of the kernel  that had many faults: bpf, io_uring, userfaultfd, perf events
 *   the terminal         putting characters into its input
 * A filter sees the arguments, but not what they point to. Hence no rule looks at a path or an address.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/os_sandbox.h"

#if defined(__x86_64__) && defined(__LP64__)
#define MACHINE AUDIT_ARCH_X86_64
#elif defined(__aarch64__) && defined(__AARCH64EL__)
#define MACHINE AUDIT_ARCH_AARCH64
#endif

#ifdef MACHINE

/* Calls that the headers may be too old for; since 424 all kinds of machines have the same numbers. */
enum {
    NR_open_tree = 428,
    NR_move_mount = 429,
    NR_fsopen = 430,
    NR_fsconfig = 431,
    NR_fsmount = 432,
    NR_fspick = 433,
    NR_pidfd_open = 434,
    NR_clone3 = 435,
    NR_openat2 = 437,
    NR_pidfd_getfd = 438,
    NR_process_madvise = 440,
    NR_mount_setattr = 442,
    NR_quotactl_fd = 443,
    NR_process_mrelease = 448,
    NR_fchmodat2 = 452,
    NR_statmount = 457,
    NR_listmount = 458,
    NR_setxattrat = 463,
    NR_removexattrat = 466,
    NEWEST = 466
};

static const int often[] = {SYS_futex, SYS_read, SYS_write, SYS_mmap, SYS_munmap, SYS_madvise, SYS_sendmsg, SYS_recvmsg};

static const int never[] = {
    /* processes */
    SYS_ptrace, SYS_kcmp, NR_process_madvise, NR_process_mrelease, NR_pidfd_getfd, SYS_setsid,
    /* files */
    SYS_fchmod, SYS_fchmodat, NR_fchmodat2, SYS_fchown, SYS_fchownat, SYS_utimensat, SYS_setxattr, SYS_lsetxattr,
    SYS_fsetxattr, SYS_removexattr, SYS_lremovexattr, SYS_fremovexattr, NR_setxattrat, NR_removexattrat,
    SYS_name_to_handle_at, SYS_open_by_handle_at, SYS_fanotify_init, SYS_fanotify_mark, SYS_mq_open, SYS_mq_unlink,
    SYS_shmget, SYS_shmat, SYS_shmctl, SYS_msgget, SYS_msgsnd, SYS_msgrcv, SYS_msgctl, SYS_semget, SYS_semop, SYS_semctl,
    SYS_semtimedop,
    /* the system */
    SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, NR_open_tree, NR_move_mount, NR_fsopen, NR_fsconfig, NR_fsmount,
    NR_fspick, NR_mount_setattr, NR_statmount, NR_listmount, SYS_unshare, SYS_setns, SYS_init_module, SYS_finit_module,
    SYS_delete_module, SYS_kexec_load, SYS_reboot, SYS_swapon, SYS_swapoff, SYS_sethostname, SYS_setdomainname,
    SYS_settimeofday, SYS_clock_settime, SYS_clock_adjtime, SYS_adjtimex, SYS_acct, SYS_syslog, SYS_quotactl,
    NR_quotactl_fd, SYS_vhangup, SYS_keyctl, SYS_add_key, SYS_request_key, SYS_lookup_dcookie, SYS_nfsservctl,
    /* parts of the kernel */
    SYS_bpf, SYS_perf_event_open, SYS_userfaultfd, SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register,
#ifdef SYS_kexec_file_load
    SYS_kexec_file_load,
#endif
#ifdef __x86_64__
    SYS_chmod, SYS_chown, SYS_lchown, SYS_utime, SYS_utimes, SYS_futimesat, SYS_iopl, SYS_ioperm, SYS_modify_ldt,
    SYS_uselib,
#endif
};

static const int only_with_processes[] = {
    SYS_execve, SYS_execveat,
#ifdef __x86_64__
    SYS_fork, SYS_vfork,
#endif
};

static const int only_with_network[] = {SYS_connect, SYS_bind, SYS_listen, SYS_accept, SYS_accept4};

/* ------------------------------------------------------------------------------------------------
 * Rules about an argument: its low half, which is all that the kernel takes of an int
 */
enum { VALUES_MAX = 8 };

struct rule {
    int call;
    unsigned argument; /* from 0 */
    bool only;         /* one of the values, else it is refused; false: any but those */
    unsigned count;
    uint32_t mask;     /* of what is compared; 0: all of it */
    uint32_t values[VALUES_MAX];
};

#define NEW_NAMESPACES                                                                                                 \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)
#define SOCKET_TYPE 0xfu
#define PUTS_FLAGS_32 0x40046602u  /* FS_IOC_SETFLAGS; a descriptor that only reads is enough for the owner */
#define PUTS_FLAGS 0x40086602u
#define PUTS_ATTRIBUTES 0x401c5820u /* FS_IOC_FSSETXATTR */

static const struct rule always[] = {
    {SYS_clone, 0, true, 1, NEW_NAMESPACES | CLONE_PARENT, {0}},
    {SYS_socketpair, 0, true, 1, 0, {AF_UNIX}},
    {SYS_socketpair, 1, true, 2, SOCKET_TYPE, {SOCK_STREAM, SOCK_SEQPACKET}},
    {SYS_fcntl, 1, false, 4, 0, {F_SETOWN, F_SETSIG, F_SETOWN_EX, F_SETLEASE}},
    {SYS_ioctl, 1, false, 8, 0,
     {FIOSETOWN, SIOCSPGRP, TIOCSTI, TIOCLINUX, TIOCCONS, PUTS_FLAGS_32, PUTS_FLAGS, PUTS_ATTRIBUTES}},
    {SYS_prctl, 0, false, 4, 0, {PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_MM, PR_SET_PTRACER}},
    {SYS_personality, 0, true, 1, 0, {0xffffffff}}, /* asks */
    {SYS_setpriority, 0, true, 1, 0, {0}},          /* PRIO_PROCESS */
    {SYS_ioprio_set, 0, true, 1, 0, {1}},           /* IOPRIO_WHO_PROCESS */
};

static const struct rule without_processes[] = {{SYS_clone, 0, true, 1, CLONE_THREAD, {CLONE_THREAD}}};

static const struct rule with_network[] = {
    {SYS_socket, 0, true, 2, 0, {AF_INET, AF_INET6}},
    {SYS_socket, 1, true, 2, SOCKET_TYPE, {SOCK_STREAM, SOCK_DGRAM}},
};

/* Before version 3 Landlock does not ask who truncates: opening for nothing or for reading is enough. */
static const struct rule before_truncation[] = {
    {SYS_openat, 2, false, 2, O_TRUNC | O_ACCMODE, {O_TRUNC, O_TRUNC | O_ACCMODE}},
#ifdef __x86_64__
    {SYS_open, 1, false, 2, O_TRUNC | O_ACCMODE, {O_TRUNC, O_TRUNC | O_ACCMODE}},
#endif
};

/* The argument is a process or a group: this one. */
struct target {
    int call;
    unsigned argument;
};

static const struct target of_itself[] = {
    {SYS_process_vm_readv, 0}, {SYS_process_vm_writev, 0}, {SYS_prlimit64, 0},    {SYS_setpriority, 1},
    {SYS_ioprio_set, 1},       {SYS_sched_setparam, 0},    {SYS_sched_setattr, 0}, {SYS_sched_setscheduler, 0},
    {SYS_sched_setaffinity, 0}, {SYS_migrate_pages, 0},    {SYS_move_pages, 0},   {SYS_get_robust_list, 0},
};

/* Where Landlock keeps signals within the sandbox (version 6), processes that a task starts may have them. */
static const struct target signals[] = {
    {SYS_kill, 0}, {SYS_tkill, 0}, {SYS_tgkill, 0}, {SYS_rt_sigqueueinfo, 0}, {SYS_rt_tgsigqueueinfo, 0}, {NR_pidfd_open, 0},
};

/* ------------------------------------------------------------------------------------------------
 * The program: rules in a row, each of which passes on what it does not refuse. Between two of them the accumulator
 * holds the number of the call.
 */
enum { PROGRAM_MAX = 1024 };

struct program {
    struct sock_filter code[PROGRAM_MAX];
    unsigned short length;
    bool is_full;
};

static void add(struct program *program, struct sock_filter instruction) {
    program->is_full = program->length == PROGRAM_MAX;
    if (!program->is_full) program->code[program->length++] = instruction;
}

static void load(struct program *program, size_t offset) {
    add(program, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset));
}

static void load_call(struct program *program) { load(program, offsetof(struct seccomp_data, nr)); }

/* Passes over so many instructions if the accumulator is the value, or if it is not. */
static void pass_if(struct program *program, uint32_t value, unsigned equal, unsigned other) {
    add(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, (uint8_t)equal, (uint8_t)other));
}

static void give(struct program *program, uint32_t action) {
    add(program, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action));
}

static void refuse(struct program *program, int error) { give(program, SECCOMP_RET_ERRNO | (uint32_t)error); }

static void refuse_call(struct program *program, int call, int error) {
    pass_if(program, (uint32_t)call, 0, 1);
    refuse(program, error);
}

static void refuse_calls(struct program *program, const int *calls, size_t count) {
    for (size_t i = 0; i < count; i++) refuse_call(program, calls[i], EPERM);
}

/* The low half is the first one: both kinds of machines are little endian. */
static void add_rule(struct program *program, const struct rule *rule) {
    pass_if(program, (uint32_t)rule->call, 0, rule->count + 5);
    load(program, offsetof(struct seccomp_data, args) + rule->argument * sizeof(uint64_t));
    add(program, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, rule->mask ? rule->mask : UINT32_MAX));
    for (unsigned i = 0; i < rule->count; i++) /* what follows the list: to pass on, to refuse */
        pass_if(program, rule->values[i], rule->count - 1 - i + (rule->only ? 2 : 1), 0);
    add(program, (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, rule->only ? 0 : 1));
    refuse(program, EPERM);
    load_call(program);
}

static void add_rules(struct program *program, const struct rule *rules, size_t count) {
    for (size_t i = 0; i < count; i++) add_rule(program, &rules[i]);
}

static void add_targets(struct program *program, const struct target *targets, size_t count) {
    uint32_t self = (uint32_t)getpid();
    for (size_t i = 0; i < count; i++)
        add_rule(program, &(struct rule){targets[i].call, targets[i].argument, true, 3, 0, {0, self, 0 - self}});
}

#define ADD(how, program, list) how(program, list, sizeof(list) / sizeof *(list))

static void begin(struct program *program) {
    load(program, offsetof(struct seccomp_data, arch));
    pass_if(program, MACHINE, 1, 0);
    refuse(program, ENOSYS);
    load_call(program);
    add(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, NEWEST, 0, 1));
    refuse(program, ENOSYS);
    for (size_t i = 0; i < sizeof often / sizeof *often; i++) {
        pass_if(program, (uint32_t)often[i], 0, 1);
        give(program, SECCOMP_RET_ALLOW);
    }
}

static void add_processes(struct program *program, const rni_os_sandbox *sandbox) {
    bool may_signal = sandbox->processes && sandbox->version >= 6;
    refuse_call(program, NR_clone3, ENOSYS);
    if (!sandbox->processes) {
        ADD(refuse_calls, program, only_with_processes);
        ADD(add_rules, program, without_processes);
    }
    ADD(add_targets, program, of_itself);
    if (may_signal) return;
    ADD(add_targets, program, signals);
    refuse_call(program, SYS_pidfd_send_signal, EPERM);
    refuse_call(program, SYS_setpgid, EPERM); /* kill(0) reaches the group that one is in */
}

static void add_network(struct program *program, const rni_os_sandbox *sandbox) {
    if (sandbox->network) {
        ADD(add_rules, program, with_network);
        return;
    }
    refuse_call(program, SYS_socket, EPERM);
    ADD(refuse_calls, program, only_with_network);
}

static void add_truncation(struct program *program, const rni_os_sandbox *sandbox) {
    if (sandbox->version >= 3) return;
    refuse_call(program, SYS_truncate, EPERM);
    refuse_call(program, NR_openat2, ENOSYS); /* its flags cannot be seen */
    ADD(add_rules, program, before_truncation);
}

bool rni_os_filter_is_known(void) { return true; }

int rni_os_filter_enter(const rni_os_sandbox *sandbox) {
    static struct program program; /* too large for any stack; the process has one thread, and enters once */
    begin(&program);
    ADD(refuse_calls, &program, never);
    ADD(add_rules, &program, always);
    add_processes(&program, sandbox);
    add_network(&program, sandbox);
    add_truncation(&program, sandbox);
    give(&program, SECCOMP_RET_ALLOW);
    if (program.is_full) return E2BIG;
    const struct sock_fprog whole = {program.length, program.code};
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &whole) == 0 ? 0 : errno;
}

#else

bool rni_os_filter_is_known(void) { return false; }

int rni_os_filter_enter(const rni_os_sandbox *sandbox) {
    (void)sandbox;
    return ENOSYS;
}

#endif
