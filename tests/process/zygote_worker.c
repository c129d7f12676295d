#include "zygote_worker.h"

#include <dirent.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "process/zygote.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* ------------------------------------------------------------------------------------------------
 * Facts, the same in the host and in a worker
 */
static int compare(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

static unsigned list_fds(int *fds, unsigned room) {
    DIR *folder = opendir("/proc/self/fd");
    unsigned count = 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        int fd = atoi(entry->d_name);
        if (entry->d_name[0] != '.' && fd != dirfd(folder) && count < room) fds[count++] = fd;
    }
    closedir(folder);
    qsort(fds, count, sizeof *fds, compare);
    return count;
}

unsigned count_fds(void) {
    int fds[1024];
    return list_fds(fds, COUNT_OF(fds));
}

static void add(char *text, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void add(char *text, size_t size, const char *format, ...) {
    size_t length = strlen(text);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text + length, size - length, format, arguments);
    va_end(arguments);
}

void print_fds(char *text, size_t size) {
    int fds[1024];
    unsigned count = list_fds(fds, COUNT_OF(fds));
    text[0] = '\0';
    for (unsigned i = 0; i < count; i++) add(text, size, "%d ", fds[i]);
    add(text, size, "kept:");
    for (unsigned i = 0; i < count; i++)
        if (!(fcntl(fds[i], F_GETFD) & FD_CLOEXEC)) add(text, size, " %d", fds[i]);
}

void print_limits(char *text, size_t size) {
    text[0] = '\0';
    for (int i = 0; i < RLIM_NLIMITS; i++) {
        struct rlimit limit = {0, 0};
        (void)getrlimit((__rlimit_resource_t)i, &limit);
        add(text, size, "%d: %llu %llu\n", i, (unsigned long long)limit.rlim_cur, (unsigned long long)limit.rlim_max);
    }
}

void print_environment(char *text, size_t size) {
    text[0] = '\0';
    for (char **entry = environ; *entry; entry++) add(text, size, "%s\n", *entry);
}

void print_signals(char *text, size_t size) {
    char line[256];
    FILE *status = fopen("/proc/self/status", "re");
    text[0] = '\0';
    while (status && fgets(line, sizeof line, status))
        if (strncmp(line, "Sig", 3) == 0 && strncmp(line, "SigQ", 4) != 0) add(text, size, "%s", line);
    if (status) fclose(status);
}

static int find_base(struct dl_phdr_info *info, size_t size, void *base) {
    (void)size;
    *(uintptr_t *)base = info->dlpi_addr;
    return 1;
}

static uintptr_t program_base(void) {
    uintptr_t base = 0;
    dl_iterate_phdr(find_base, &base);
    return base;
}

int64_t offset_in_program(const void *address) { return (int64_t)((uintptr_t)address - program_base()); }

/* ------------------------------------------------------------------------------------------------
 * The worker
 */
static void have_grandchild(char *text, size_t size) {
    pid_t child = fork();
    if (child == 0)
        for (;;) pause();
    (void)snprintf(text, size, "%d", (int)child);
}

static void touch(int64_t mebibytes) {
    volatile char *memory = malloc((size_t)mebibytes << 20);
    for (int64_t i = 0; memory && i < mebibytes << 20; i += 4096) memory[i] = 1;
}

static void talk(char *text, size_t size) {
    char byte;
    ssize_t wrote = write(1, "", 0) + write(2, "", 0), got = read(0, &byte, 1);
    (void)snprintf(text, size, "wrote %zd read %zd", wrote, got);
}

static void call_function(int64_t offset, char *text, size_t size) {
    const char *(*function)(void) = (const char *(*)(void))(program_base() + (uintptr_t)offset);
    (void)snprintf(text, size, "%s", function());
}

static void obey(const struct zygote_order *message, char *text, size_t size) {
    (void)snprintf(text, size, "done");
    switch (message->what) {
    case ORDER_EXIT: _exit((int)message->value);
    case ORDER_RAISE: raise((int)message->value); break;
    case ORDER_GRANDCHILD: have_grandchild(text, size); break;
    case ORDER_PID: (void)snprintf(text, size, "%d %d %d", getpid(), getppid(), getpgrp()); break;
    case ORDER_FDS: print_fds(text, size); break;
    case ORDER_SIGNALS: print_signals(text, size); break;
    case ORDER_LIMITS: print_limits(text, size); break;
    case ORDER_ENVIRONMENT: print_environment(text, size); break;
    case ORDER_TOUCH: touch(message->value); break;
    case ORDER_CALL: call_function(message->value, text, size); break;
    case ORDER_TALK: talk(text, size); break;
    default: (void)snprintf(text, size, "unknown order"); break;
    }
}

/* When nobody talks to it any more it does not end by itself: others must see to that. */
_Noreturn void rni_worker_process(const int *fds, uint32_t count) {
    static char text[ANSWER_MAX];
    struct zygote_order message;
    while (count > 0 && recv(fds[0], &message, sizeof message, 0) == (ssize_t)sizeof message) {
        obey(&message, text, sizeof text);
        (void)send(fds[0], text, strlen(text) + 1, MSG_NOSIGNAL);
    }
    for (;;) pause();
}
