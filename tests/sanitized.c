/*
 * Part of the test programs with worker processes in a build with sanitizers, for what their options do not do (sanitized.py).
 *
 * Whether a process looks for leaks when it ends: the program does. A child that it forked ends in the middle of things, and
 * leaks by design; so does a worker, and where the library keeps its memory a leak checker does not look. Besides, it could
 * not in a sandbox.
 *
 * What UndefinedBehaviorSanitizer finds is written down as a report: beside AddressSanitizer it has no file of its own.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define STARTED "RUNIUM_TEST_STARTED" /* in the environment of what the program starts: of the zygote, which is it again */

static pid_t program;
static char folder[256]; /* for the reports; "": none */

__attribute__((constructor)) static void note_start(void) {
    const char *reports = getenv("RUNIUM_TEST_REPORTS");
    if (!getenv(STARTED)) program = getpid();
    setenv(STARTED, "1", 1);
    (void)snprintf(folder, sizeof folder, "%s", reports ? reports : "");
}

/* The leak checker asks. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void) { return getpid() != program; }

/* UndefinedBehaviorSanitizer tells of each finding. */
void __ubsan_on_report(void);
void __ubsan_get_current_report_data(const char **kind, const char **message, const char **file, unsigned *line,
                                     unsigned *column, char **address) __attribute__((weak));

void __ubsan_on_report(void) {
    const char *kind = "", *message = "", *file = "";
    unsigned line = 0, column;
    char path[300], *address;
    if (!folder[0]) return;
    if (__ubsan_get_current_report_data) __ubsan_get_current_report_data(&kind, &message, &file, &line, &column, &address);
    (void)snprintf(path, sizeof path, "%s/UBSAN.%d", folder, (int)getpid());
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) dprintf(STDERR_FILENO, "ERROR: Can't open file: %s\n", path);
    dprintf(fd < 0 ? STDERR_FILENO : fd, "%s:%u: %s: %s\n", file, line, kind, message);
    if (fd >= 0) close(fd);
}
