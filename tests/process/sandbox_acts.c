/* What no worker process in a sandbox may do. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <mqueue.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "sandbox.h"

#define COUNT(list) (sizeof(list) / sizeof *(list))

int result_of(long result) { return result < 0 ? errno : 0; }

int close_result(int fd) {
    int error = result_of(fd);
    if (fd >= 0) close(fd);
    return error;
}

/* Where an act would harm it is asked for so that it cannot be done, which is told otherwise than that it may not be. */
static int unless(long result, int expected) { return result < 0 && errno != expected ? errno : 0; }

void path_in(char path[PATH_ROOM], const char *folder, const char *name) {
    if (snprintf(path, PATH_ROOM, "%s/%s", folder, name) >= PATH_ROOM) abort();
}

/* ------------------------------------------------------------------------------------------------
 * Against another process
 */
static int traces_it(void) {
    long result = ptrace(PTRACE_SEIZE, scene->target, NULL, NULL);
    int error = result_of(result);
    if (result == 0 && ptrace(PTRACE_INTERRUPT, scene->target, NULL, NULL) == 0 && waitpid(scene->target, NULL, __WALL) > 0)
        ptrace(PTRACE_DETACH, scene->target, NULL, NULL);
    return error;
}

static int opens_of_it(const char *file, int flags) {
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/%s", (int)scene->target, file);
    return close_result(open(path, flags | O_CLOEXEC));
}

static int opens_its_memory_to_write(void) { return opens_of_it("mem", O_RDWR); }
static int opens_its_memory_to_read(void) { return opens_of_it("mem", O_RDONLY); }
static int reads_its_environment(void) { return opens_of_it("environ", O_RDONLY); }
static int reads_its_mappings(void) { return opens_of_it("maps", O_RDONLY); }
static int reads_its_command(void) { return opens_of_it("cmdline", O_RDONLY); }
static int kills_it(void) { return result_of(kill(scene->target, scene->signal)); }
static int kills_the_zygote(void) { return result_of(kill(scene->zygote, scene->signal)); }
static int kills_its_group(void) { return result_of(kill(-getpgid(scene->target), scene->signal)); }
static int kills_everybody(void) { return result_of(kill(-1, 0)); }
static int kills_its_thread(void) { return result_of(syscall(SYS_tgkill, scene->target, scene->target, scene->signal)); }
static int kills_its_thread_the_old_way(void) { return result_of(syscall(SYS_tkill, scene->target, scene->signal)); }

static int queues_a_signal(void) {
    return result_of(sigqueue(scene->target, scene->signal, (union sigval){.sival_int = 0}));
}

/* A socket of one's own sends any signal to its owner, whoever that is. */
static int lets_a_descriptor_send_a_signal(void) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return errno;
    int error = result_of(fcntl(pair[0], F_SETOWN, scene->target));
    close(pair[0]);
    close(pair[1]);
    return error;
}

static int lets_it_own_a_descriptor(void) {
    int pair[2], owner = scene->target;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return errno;
    int error = result_of(ioctl(pair[0], FIOSETOWN, &owner));
    close(pair[0]);
    close(pair[1]);
    return error;
}

static int opens_its_pidfd(void) { return close_result((int)syscall(SYS_pidfd_open, scene->target, 0)); }

static int takes_a_descriptor(void) {
    int self = (int)syscall(SYS_pidfd_open, getpid(), 0);
    if (self < 0) return errno;
    int error = close_result((int)syscall(SYS_pidfd_getfd, self, 0, 0));
    close(self);
    return error;
}

static int writes_its_memory(void) {
    long value = 1;
    struct iovec here = {&value, sizeof value}, there = {&scene->word, sizeof value};
    return result_of(process_vm_writev(scene->target, &here, 1, &there, 1, 0));
}

static int reads_its_memory(void) {
    long value;
    struct iovec here = {&value, sizeof value}, there = {&scene->word, sizeof value};
    return result_of(process_vm_readv(scene->target, &here, 1, &there, 1, 0));
}

static int changes_its_limits(void) {
    struct rlimit limit;
    int error = result_of(prlimit(scene->target, RLIMIT_CORE, NULL, &limit));
    return error ? error : result_of(prlimit(scene->target, RLIMIT_CORE, &limit, NULL));
}

static int changes_its_priority(void) {
    return result_of(setpriority(PRIO_PROCESS, (id_t)scene->target, getpriority(PRIO_PROCESS, (id_t)scene->target)));
}

static int changes_its_cpus(void) {
    cpu_set_t all;
    (void)sched_getaffinity(0, sizeof all, &all);
    return result_of(sched_setaffinity(scene->target, sizeof all, &all));
}

static int changes_its_scheduler(void) {
    struct sched_param none = {0};
    return result_of(sched_setscheduler(scene->target, SCHED_OTHER, &none));
}

static int moves_its_pages(void) { return result_of(syscall(SYS_move_pages, scene->target, 0, NULL, NULL, NULL, 0)); }
static int compares_it(void) { return result_of(syscall(SYS_kcmp, getpid(), scene->target, 1 /* memory */, 0, 0)); }

static int leaves_its_group(void) {
    int error = result_of(setpgid(0, getpgid(getppid())));
    if (!error) setpgid(0, 0);
    return error;
}

static int survives_its_parent(void) {
    int error = result_of(prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0));
    if (!error) prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    return error;
}

static int becomes_dumpable(void) { return result_of(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)); }

/* ------------------------------------------------------------------------------------------------
 * Files
 */
static int opens(const char *folder, const char *name, int flags) {
    char path[PATH_ROOM];
    path_in(path, folder, name);
    return close_result(open(path, flags | O_CLOEXEC, 0600));
}

static int reads_passwords(void) { return close_result(open("/etc/passwd", O_RDONLY | O_CLOEXEC)); }
static int reads_outside(void) { return opens(scene->outside, "secret", O_RDONLY); }
static int reads_by_a_link(void) { return opens(scene->readable, "link", O_RDONLY); }
static int reads_by_the_parent_folder(void) { return opens(scene->readable, "../outside/secret", O_RDONLY); }
static int lists_outside(void) { return opens(scene->outside, "", O_RDONLY | O_DIRECTORY); }
static int writes_outside(void) { return opens(scene->outside, "secret", O_WRONLY); }
static int makes_outside(void) { return opens(scene->outside, "made", O_WRONLY | O_CREAT); }
static int writes_what_it_may_read(void) { return opens(scene->readable, "file", O_WRONLY); }
static int appends_to_what_it_may_read(void) { return opens(scene->readable, "file", O_RDWR | O_APPEND); }
static int empties_what_it_may_read(void) { return opens(scene->readable, "spare", O_RDONLY | O_TRUNC); }
static int makes_where_it_may_read(void) { return opens(scene->readable, "made", O_WRONLY | O_CREAT); }

static int reads_by_the_root_of_proc(void) {
    char folder[PATH_ROOM];
    path_in(folder, "/proc/self/root", scene->outside + 1);
    return opens(folder, "secret", O_RDONLY);
}

static int writes_about_itself(void) { return close_result(open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC)); }

static int truncates_outside(void) {
    char path[PATH_ROOM];
    path_in(path, scene->outside, "spare");
    return result_of(truncate(path, 1));
}

static int removes_outside(void) {
    char path[PATH_ROOM];
    path_in(path, scene->outside, "to remove");
    return result_of(unlink(path));
}

static int makes_a_folder_outside(void) {
    char path[PATH_ROOM];
    path_in(path, scene->outside, "folder");
    return result_of(mkdir(path, 0700));
}

static int makes_a_link_outside(void) {
    char path[PATH_ROOM];
    path_in(path, scene->outside, "a link");
    return result_of(symlink("secret", path));
}

static int makes_a_fifo_outside(void) {
    char path[PATH_ROOM];
    path_in(path, scene->outside, "fifo");
    return result_of(mkfifo(path, 0600));
}

static int moves_it_in(void) {
    char from[PATH_ROOM], to[PATH_ROOM];
    path_in(from, scene->outside, "to move");
    path_in(to, scene->writable, "moved");
    return result_of(rename(from, to));
}

static int links_it_in(void) {
    char from[PATH_ROOM], to[PATH_ROOM];
    path_in(from, scene->outside, "secret");
    path_in(to, scene->writable, "linked");
    return result_of(link(from, to));
}

static int changes_the_mode(void) {
    char path[PATH_ROOM];
    path_in(path, scene->outside, "spare");
    return result_of(chmod(path, 0600));
}

static int changes_the_mode_of_what_it_may_read(void) {
    char path[PATH_ROOM];
    path_in(path, scene->readable, "spare");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0; /* it must be able to do that */
    int error = result_of(fchmod(fd, 0600));
    close(fd);
    return error;
}

static int changes_the_owner(void) {
    char path[PATH_ROOM];
    path_in(path, scene->outside, "spare");
    return result_of(chown(path, geteuid(), getegid()));
}

static int changes_the_time(void) {
    char path[PATH_ROOM];
    path_in(path, scene->outside, "spare");
    return result_of(utimensat(AT_FDCWD, path, NULL, 0));
}

static int sets_an_attribute(void) {
    char path[PATH_ROOM];
    path_in(path, scene->outside, "spare");
    return result_of(setxattr(path, "user.runium", "1", 1, 0));
}

static int asks_for_a_handle(void) {
    union {
        struct file_handle handle;
        char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
    } file = {.handle = {.handle_bytes = MAX_HANDLE_SZ}};
    int mount;
    return result_of(name_to_handle_at(AT_FDCWD, scene->outside, &file.handle, &mount, 0));
}

static int opens_a_handle(void) {
    struct file_handle handle = {.handle_bytes = 0};
    return unless(open_by_handle_at(AT_FDCWD, &handle, O_RDONLY), EINVAL);
}

static int shares_memory(void) {
    int id = shmget(IPC_PRIVATE, 4096, 0600);
    if (id >= 0) shmctl(id, IPC_RMID, NULL);
    return result_of(id);
}

static int shares_a_semaphore(void) {
    int id = semget(IPC_PRIVATE, 1, 0600);
    if (id >= 0) semctl(id, 0, IPC_RMID);
    return result_of(id);
}

static int opens_a_message_queue(void) {
    mqd_t queue = mq_open("/runium-sandbox", O_RDWR | O_CREAT, 0600, NULL);
    int error = result_of(queue);
    if (!error) mq_close(queue);
    if (!error) mq_unlink("/runium-sandbox");
    return error;
}

/* ------------------------------------------------------------------------------------------------
 * Sockets and processes
 */
static int opens_a_socket(void) { return close_result(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)); }
static int opens_a_datagram_socket(void) { return close_result(socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0)); }
static int opens_a_local_socket(void) { return close_result(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)); }
static int opens_a_netlink_socket(void) { return close_result(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0)); }

/* They can be sent to anybody who listens on this machine. */
static int makes_a_pair_for_datagrams(void) {
    int pair[2];
    int error = result_of(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair));
    if (error) return error;
    close(pair[0]);
    close(pair[1]);
    return 0;
}

static int end_child(pid_t child) {
    int error = result_of(child);
    if (child == 0) _exit(0);
    if (child > 0) waitpid(child, NULL, __WALL);
    return error;
}

static int forks(void) { return end_child(fork()); }
static int clones(void) { return end_child((pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL)); }
static int executes(void) {
    char *arguments[] = {scene->program, NULL}, *environment[] = {NULL};
    execve(scene->program, arguments, environment);
    return errno == ENOENT ? 0 : errno; /* where it is not refused there is no program */
}

static int executes_a_descriptor(void) {
    char *arguments[] = {scene->program, NULL}, *environment[] = {NULL};
    syscall(SYS_execveat, -1, scene->program + 1, arguments, environment, 0);
    return errno == EBADF ? 0 : errno;
}

static int forks_into_namespaces(void) {
    return end_child((pid_t)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL));
}

static int leaves_its_namespaces(void) { return result_of(unshare(CLONE_NEWUTS)); }
static int becomes_another_user(void) { return unless(unshare(CLONE_NEWUSER | 1), EINVAL); } /* there is no flag 1 */
static int enters_a_namespace(void) { return setns(-1, 0) < 0 && errno != EBADF ? errno : 0; }

/* ------------------------------------------------------------------------------------------------
 * The system
 */
static int mounts(void) { return unless(mount("none", "/nowhere/at all", "tmpfs", 0, NULL), ENOENT); }
static int unmounts(void) { return unless(umount2("/nowhere/at all", 0), ENOENT); }
static int changes_the_root(void) { return result_of(chroot("/")); }
static int pivots_the_root(void) { return unless(syscall(SYS_pivot_root, "/nowhere/at all", "/nowhere"), ENOENT); }
static int opens_a_file_system(void) { return close_result((int)syscall(430, "tmpfs", 0)); }
static int opens_a_tree(void) { return unless(syscall(428, AT_FDCWD, "/nowhere/at all", 0), ENOENT); }
static int reads_a_keyring(void) { return result_of(syscall(SYS_keyctl, 0, -4 /* the user's */, 1, 0, 0)); }
static int adds_a_key(void) { return unless(syscall(SYS_add_key, "user", "", NULL, 0, -4), EINVAL); }
static int loads_a_program(void) { return unless(syscall(SYS_bpf, 0, NULL, 0), EINVAL); }
static int uses_userfaultfd(void) { return close_result((int)syscall(SYS_userfaultfd, O_CLOEXEC | 1 /* user mode only */)); }
static int loads_a_module(void) { return unless(syscall(SYS_finit_module, -1, "", 0), EBADF); }
static int unloads_a_module(void) { return unless(syscall(SYS_delete_module, "no such module", O_NONBLOCK), ENOENT); }
static int loads_a_kernel(void) { return unless(syscall(SYS_kexec_load, 0, 1000000, NULL, ~0UL), EINVAL); }
static int restarts_the_machine(void) { return unless(syscall(SYS_reboot, 0, 0, 0, NULL), EINVAL); }
static int swaps(void) { return unless(swapon("/nowhere/at all", 0), ENOENT); }
static int names_the_machine(void) { return unless(syscall(SYS_sethostname, "", -1), EINVAL); }
static int accounts(void) { return unless(acct("/nowhere/at all"), ENOENT); }
static int reads_the_log(void) { return result_of(klogctl(10, NULL, 0)); }
static int asks_for_quotas(void) { return unless(syscall(SYS_quotactl, 0x80000700, "/nowhere/at all", 0, NULL), ENOENT); }
static int types_at_the_terminal(void) { return unless(ioctl(0, TIOCSTI, "x"), ENOTTY); }

static int sets_the_clock(void) {
    const struct timespec never = {0, -1};
    return unless(syscall(SYS_clock_settime, CLOCK_REALTIME, &never), EINVAL);
}

static int adjusts_the_clock(void) {
    struct timex nothing = {.modes = 0};
    return result_of(adjtimex(&nothing));
}

static int counts_events(void) {
    struct perf_event_attr event = {.type = PERF_TYPE_SOFTWARE, .size = sizeof event, .config = PERF_COUNT_SW_TASK_CLOCK,
                                    .exclude_kernel = 1};
    return close_result((int)syscall(SYS_perf_event_open, &event, 0, -1, -1, 0));
}

static int uses_io_uring(void) {
    char parameters[120] = {0};
    return close_result((int)syscall(SYS_io_uring_setup, 1, parameters));
}

static int watches_all_files(void) { return close_result((int)syscall(SYS_fanotify_init, 0x200 /* FAN_REPORT_FID */, 0)); }
static int changes_its_personality(void) { return result_of(syscall(SYS_personality, 0)); }
static int calls_what_is_newer(void) { return unless(syscall(467, -1, "", 0, NULL, 0), EBADF); }

#ifdef __x86_64__
static int calls_in_32_bits(void) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20L /* getpid */) : "memory");
    return result < 0 ? (int)-result : 0;
}

static int changes_its_segments(void) {
    char table[16];
    return result_of(syscall(SYS_modify_ldt, 0, table, sizeof table));
}
#endif

#define ACT(function) {#function, function}

const struct act forbidden_acts[] = {
    ACT(traces_it), ACT(opens_its_memory_to_write), ACT(opens_its_memory_to_read), ACT(reads_its_environment),
    ACT(reads_its_mappings), ACT(reads_its_command), ACT(kills_it), ACT(kills_the_zygote), ACT(kills_its_group),
    ACT(kills_everybody), ACT(kills_its_thread), ACT(kills_its_thread_the_old_way), ACT(queues_a_signal),
    ACT(lets_a_descriptor_send_a_signal), ACT(lets_it_own_a_descriptor), ACT(opens_its_pidfd), ACT(takes_a_descriptor),
    ACT(writes_its_memory), ACT(reads_its_memory), ACT(changes_its_limits), ACT(changes_its_priority),
    ACT(changes_its_cpus), ACT(changes_its_scheduler), ACT(moves_its_pages), ACT(compares_it), ACT(leaves_its_group),
    ACT(survives_its_parent), ACT(becomes_dumpable),

    ACT(reads_passwords), ACT(reads_outside), ACT(reads_by_a_link), ACT(reads_by_the_parent_folder),
    ACT(reads_by_the_root_of_proc), ACT(lists_outside), ACT(writes_outside), ACT(makes_outside),
    ACT(writes_what_it_may_read), ACT(appends_to_what_it_may_read), ACT(empties_what_it_may_read),
    ACT(makes_where_it_may_read), ACT(writes_about_itself), ACT(truncates_outside), ACT(removes_outside), ACT(makes_a_folder_outside),
    ACT(makes_a_link_outside), ACT(makes_a_fifo_outside), ACT(moves_it_in), ACT(links_it_in), ACT(changes_the_mode),
    ACT(changes_the_mode_of_what_it_may_read), ACT(changes_the_owner), ACT(changes_the_time), ACT(sets_an_attribute),
    ACT(asks_for_a_handle), ACT(opens_a_handle), ACT(shares_memory), ACT(shares_a_semaphore), ACT(opens_a_message_queue),

    ACT(opens_a_socket), ACT(opens_a_datagram_socket), ACT(opens_a_local_socket), ACT(opens_a_netlink_socket),
    ACT(makes_a_pair_for_datagrams), ACT(forks), ACT(clones), ACT(executes), ACT(executes_a_descriptor),
    ACT(forks_into_namespaces), ACT(leaves_its_namespaces), ACT(becomes_another_user), ACT(enters_a_namespace),

    ACT(mounts), ACT(unmounts), ACT(changes_the_root), ACT(pivots_the_root), ACT(opens_a_file_system), ACT(opens_a_tree),
    ACT(reads_a_keyring), ACT(adds_a_key), ACT(loads_a_program), ACT(uses_userfaultfd), ACT(loads_a_module),
    ACT(unloads_a_module), ACT(loads_a_kernel), ACT(restarts_the_machine), ACT(swaps), ACT(names_the_machine),
    ACT(accounts), ACT(reads_the_log), ACT(asks_for_quotas), ACT(types_at_the_terminal), ACT(sets_the_clock),
    ACT(adjusts_the_clock), ACT(counts_events), ACT(uses_io_uring), ACT(watches_all_files), ACT(changes_its_personality),
    ACT(calls_what_is_newer),
#ifdef __x86_64__
    ACT(calls_in_32_bits), ACT(changes_its_segments),
#endif
};
const unsigned forbidden_count = COUNT(forbidden_acts);
