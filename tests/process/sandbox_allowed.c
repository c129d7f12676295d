/* What a worker process in a sandbox can do all the same. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox.h"

#define COUNT(list) (sizeof(list) / sizeof *(list))

/* ------------------------------------------------------------------------------------------------
 * Files
 */
static int reads_a_file(void) {
    char path[PATH_ROOM], text[16];
    path_in(path, scene->readable, "file");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno;
    int error = read(fd, text, sizeof text) == 4 ? 0 : EIO;
    close(fd);
    return error;
}

static int lists_a_folder(void) {
    DIR *folder = opendir(scene->readable);
    if (!folder) return errno;
    int entries = 0;
    while (readdir(folder)) entries++;
    closedir(folder);
    return entries > 2 ? 0 : EIO;
}

static int write_file(const char *path) {
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return errno;
    char back[4] = "";
    bool good = write(fd, "text", 4) == 4 && pread(fd, back, 4, 0) == 4 && memcmp(back, "text", 4) == 0 && ftruncate(fd, 2) == 0;
    close(fd);
    return good ? 0 : EIO;
}

static int makes_moves_and_removes(void) {
    char folder[PATH_ROOM], file[PATH_ROOM + 100], moved[PATH_ROOM];
    path_in(folder, scene->writable, "folder");
    (void)snprintf(file, sizeof file, "%s/file", folder);
    path_in(moved, scene->writable, "a file");
    int error = result_of(mkdir(folder, 0700));
    if (!error) error = write_file(file);
    if (!error) error = result_of(rename(file, moved)); /* to another folder: needs version 2 */
    if (!error) error = result_of(unlink(moved));
    return error ? error : result_of(rmdir(folder));
}

static int opens_devices(void) {
    int error = close_result(open("/dev/null", O_RDWR | O_CLOEXEC));
    return error ? error : close_result(open("/dev/urandom", O_RDONLY | O_CLOEXEC));
}

static int reads_the_program(void) { return close_result(open("/proc/self/exe", O_RDONLY | O_CLOEXEC)); }

static int reads_about_itself(void) {
    static const char *const files[] = {"/proc/self/statm", "/proc/self/maps", "/proc/self/status", "/proc/self/fd"};
    char byte;
    for (unsigned i = 0; i < COUNT(files); i++) {
        int fd = open(files[i], O_RDONLY | O_CLOEXEC);
        if (fd < 0 || (i < 3 && read(fd, &byte, 1) != 1)) return errno ? errno : EIO;
        close(fd);
    }
    return 0;
}

static int loads_a_library(void) {
    void *library = dlopen(scene->plugin, RTLD_NOW | RTLD_LOCAL);
    if (!library) (void)fprintf(stderr, "%s\n", dlerror());
    return library && dlsym(library, "sandbox_plugin") ? 0 : ENOENT;
}

/* ------------------------------------------------------------------------------------------------
 * The process itself
 */
static void *double_it(void *number) { return (void *)(2 * (uintptr_t)number); }

static void *end_early(void *number) {
    pthread_exit(number); /* libc loads a library for that */
    return NULL;
}

static int starts(void *(*function)(void *), uintptr_t given, uintptr_t expected) {
    pthread_t thread;
    void *result;
    int error = pthread_create(&thread, NULL, function, (void *)given);
    if (error) return error;
    pthread_join(thread, &result);
    return (uintptr_t)result == expected ? 0 : EIO;
}

static int starts_threads(void) {
    for (uintptr_t i = 1; i <= 8; i++) {
        int error = starts(double_it, i, 2 * i);
        if (error) return error;
    }
    return 0;
}

static int ends_a_thread_early(void) { return starts(end_early, 7, 7); }

static void *wait_for_ever(void *unused) {
    for (;;) pause();
    return unused;
}

static int cancels_a_thread(void) {
    pthread_t thread;
    void *result;
    int error = pthread_create(&thread, NULL, wait_for_ever, NULL);
    if (!error) error = pthread_cancel(thread);
    if (!error) error = pthread_join(thread, &result);
    return error;
}

static int maps_memory(void) {
    void *large = malloc((size_t)64 << 20);
    int fd = memfd_create("memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    void *pages = fd >= 0 && ftruncate(fd, 4096) == 0 ? mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
    int error = large && pages != MAP_FAILED ? result_of(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK)) : ENOMEM;
    if (pages != MAP_FAILED) munmap(pages, 4096);
    if (fd >= 0) close(fd);
    free(large);
    return error;
}

static volatile sig_atomic_t handled;
static void handle(int number) { handled = number; }

static int signals_itself(void) {
    void (*before)(int) = signal(SIGUSR1, handle);
    handled = 0;
    int error = result_of(raise(SIGUSR1));
    if (!error && handled != SIGUSR1) error = EIO;
    handled = 0;
    if (!error) error = result_of(kill(getpid(), SIGUSR1));
    if (!error && handled != SIGUSR1) error = EIO;
    signal(SIGUSR1, before);
    return error;
}

static int talks_to_itself(void) {
    int pair[2];
    char byte = 1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return errno;
    int error = write(pair[0], &byte, 1) == 1 && read(pair[1], &byte, 1) == 1 ? 0 : EIO;
    close(pair[0]);
    close(pair[1]);
    return error;
}

static int lowers_its_own_limits(void) {
    struct rlimit limit;
    int error = result_of(getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur--;
    if (!error) error = result_of(setrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur++;
    return error ? error : result_of(setrlimit(RLIMIT_NOFILE, &limit));
}

static int draws_random_numbers(void) {
    char bytes[16];
    return result_of(getrandom(bytes, sizeof bytes, 0));
}

static int has_no_privileges_and_no_core(void) {
    struct rlimit core;
    struct {
        uint32_t version;
        int pid;
    } header = {0x20080522, 0};
    uint32_t capabilities[6] = {1, 1, 1, 1, 1, 1};
    if (getrlimit(RLIMIT_CORE, &core) != 0 || core.rlim_max != 0) return E2BIG;
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 || prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0) return EPROTO;
    if (syscall(SYS_capget, &header, capabilities) != 0) return errno;
    for (unsigned i = 0; i < COUNT(capabilities); i++)
        if (capabilities[i] != 0) return EUCLEAN;
    return 0;
}

/* ------------------------------------------------------------------------------------------------
 * With .network
 */
static int connects(void) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)scene->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return errno;
    int error = result_of(connect(fd, (struct sockaddr *)&to, sizeof to));
    close(fd);
    return error;
}

static int listens(void) {
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return errno;
    int error = result_of(bind(fd, (struct sockaddr *)&any, sizeof any));
    if (!error) error = result_of(listen(fd, 1));
    close(fd);
    return error;
}

static int is_refused(int error) { return error == EPERM || error == EACCES ? 0 : error ? error : EIO; }

static int finds_local_sockets_refused(void) { return is_refused(close_result(socket(AF_UNIX, SOCK_STREAM, 0))); }
static int finds_raw_sockets_refused(void) { return is_refused(close_result(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP))); }

/* ------------------------------------------------------------------------------------------------
 * With .processes
 */
static int status_of(pid_t child) {
    int status;
    if (waitpid(child, &status, 0) != child) return errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int forks(void) {
    pid_t child = fork();
    if (child == 0) _exit(0);
    return child < 0 ? errno : status_of(child);
}

/* argument: "" or one for the program. */
static int runs(const char *program, const char *argument) {
    char *arguments[] = {(char *)(uintptr_t)program, (char *)(uintptr_t)argument, NULL}, *environment[] = {NULL};
    pid_t child;
    int error = posix_spawn(&child, program, NULL, NULL, arguments, environment);
    return error ? error : status_of(child);
}

static int executes(void) { return runs(scene->program, "--nothing"); }
static int finds_others_refused(void) { return is_refused(runs("/bin/true", "")); }

static int gains_nothing(void) {
    char path[PATH_ROOM];
    path_in(path, scene->readable, "set-uid");
    return runs(path, "--is-another-user") == 1 ? 0 : EPERM;
}

static int child_that_kills(void) {
    pid_t child = fork();
    if (child == 0) _exit(is_refused(result_of(kill(scene->target, scene->signal))));
    return child < 0 ? errno : status_of(child);
}

static int child_that_traces(void) {
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/mem", (int)scene->target);
    pid_t child = fork();
    if (child == 0) _exit(is_refused(close_result(open(path, O_RDWR | O_CLOEXEC))));
    return child < 0 ? errno : status_of(child);
}

static int begins_no_session(void) {
    pid_t child = fork();
    if (child == 0) _exit(is_refused(result_of(setsid())));
    return child < 0 ? errno : status_of(child);
}

static int kills_its_child(void) {
    if (syscall(444, NULL, 0, 1) < 6) return 0; /* only Landlock knows whose child it is */
    pid_t child = fork();
    if (child == 0) wait_for_ever(NULL);
    if (child < 0) return errno;
    int error = result_of(kill(child, SIGKILL));
    if (error) return error;
    return status_of(child) == 128 + SIGKILL ? 0 : EIO;
}

#define ACT(function) {#function, function}

const struct act allowed_acts[] = {
    ACT(reads_a_file), ACT(lists_a_folder), ACT(makes_moves_and_removes), ACT(opens_devices), ACT(reads_the_program), ACT(reads_about_itself),
    ACT(loads_a_library), ACT(starts_threads), ACT(ends_a_thread_early), ACT(cancels_a_thread), ACT(maps_memory),
    ACT(signals_itself), ACT(talks_to_itself), ACT(lowers_its_own_limits), ACT(draws_random_numbers),
    ACT(has_no_privileges_and_no_core),
};
const struct act network_acts[] = {
    ACT(connects), ACT(listens), ACT(finds_local_sockets_refused), ACT(finds_raw_sockets_refused),
};
const struct act process_acts[] = {
    ACT(gains_nothing), ACT(forks), ACT(executes), ACT(finds_others_refused), ACT(child_that_kills), ACT(child_that_traces),
    ACT(begins_no_session), ACT(kills_its_child),
};
const unsigned allowed_count = COUNT(allowed_acts), network_count = COUNT(network_acts), process_count = COUNT(process_acts);
