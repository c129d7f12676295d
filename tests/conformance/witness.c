/* What comes out of the library and its programs: log records, standard error, and the ends of processes. */
#include "support.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILD_GUARD_SECONDS = 240 };

/* ------------------------------------------------------------------------------------------------
 * The book
 */
static pthread_mutex_t book_lock = PTHREAD_MUTEX_INITIALIZER;
static struct logged book[256]; /* guarded by book_lock; the first records of the test */
static size_t book_count;       /* guarded by book_lock */

void log_to_book(void *context, const rn_log_record *log_record) {
    (void)context;
    pthread_mutex_lock(&book_lock);
    if (book_count < COUNT_OF(book)) {
        struct logged *logged = &book[book_count++];
        bool error = rn_is_error(log_record->error);
        logged->level = log_record->level;
        logged->run_id = log_record->run_id;
        logged->iteration = log_record->iteration;
        logged->code = error ? rn_error_code(log_record->error) : 0;
        snprintf(logged->message, sizeof logged->message, "%s", log_record->message);
        snprintf(logged->task, sizeof logged->task, "%s", log_record->task);
        snprintf(logged->error, sizeof logged->error, "%s", error ? rn_error_message(log_record->error) : "");
    }
    pthread_mutex_unlock(&book_lock);
}

void empty_book(void) {
    pthread_mutex_lock(&book_lock);
    memset(book, 0, sizeof book);
    book_count = 0;
    pthread_mutex_unlock(&book_lock);
}

bool book_find(const char *task, const char *text, struct logged *found) {
    bool there = false;
    pthread_mutex_lock(&book_lock);
    for (size_t i = 0; i < book_count && !there; i++) {
        bool right_task = !task || strcmp(book[i].task, task) == 0;
        there = right_task &&
                (!text || strstr(book[i].message, text) || strstr(book[i].error, text) || strstr(book[i].task, text));
        if (there && found) *found = book[i];
    }
    pthread_mutex_unlock(&book_lock);
    return there;
}

size_t book_count_code(int code) {
    size_t count = 0;
    pthread_mutex_lock(&book_lock);
    for (size_t i = 0; i < book_count; i++) count += book[i].code == code;
    pthread_mutex_unlock(&book_lock);
    return count;
}

/* ------------------------------------------------------------------------------------------------
 * Standard error and processes
 */
static int saved_stderr = -1, capture_file = -1;
static char captured[65536];

void capture_begin(void) {
    fflush(stderr);
    capture_file = memfd_create("stderr", MFD_CLOEXEC);
    saved_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
    assert_true(capture_file >= 0 && saved_stderr >= 0);
    assert_true(dup2(capture_file, STDERR_FILENO) >= 0);
}

bool capturing(void) { return saved_stderr >= 0; }

const char *capture_end(void) {
    fflush(stderr);
    dup2(saved_stderr, STDERR_FILENO);
    ssize_t length = pread(capture_file, captured, sizeof captured - 1, 0);
    captured[length > 0 ? length : 0] = '\0';
    close(capture_file);
    close(saved_stderr);
    saved_stderr = -1;
    fputs(captured, stderr);
    return captured;
}

size_t count_of(const char *text, const char *part) {
    size_t count = 0;
    for (const char *at = strstr(text, part); at; at = strstr(at + 1, part)) count++;
    return count;
}

bool in_child;

_Noreturn static void be_the_child(void (*body)(void), int output) {
    in_child = true;
    const struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    alarm(CHILD_GUARD_SECONDS);
    dup2(output, STDERR_FILENO);
    int null = open("/dev/null", O_WRONLY);
    dup2(null, STDOUT_FILENO);
    close(null);
    close(output);
    body();
    exit(0);
}

void run_child(void (*body)(void), struct child *child) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(ends[0]);
        be_the_child(body, ends[1]);
    }
    close(ends[1]);
    size_t length = 0;
    ssize_t got;
    while ((got = read(ends[0], child->text + length, sizeof child->text - 1 - length)) > 0) length += (size_t)got;
    child->text[length] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(pid, &child->status, 0), pid);
}

void assert_child_exits(void (*body)(void), int code) {
    struct child child;
    run_child(body, &child);
    if (!WIFEXITED(child.status) || WEXITSTATUS(child.status) != code)
        fail_msg("the child ended with status 0x%x instead of exit(%d): %s", (unsigned)child.status, code, child.text);
}

void child_check(bool holds, const char *condition, const char *file, int line) {
    if (holds) return;
    dprintf(STDERR_FILENO, "%s:%d: does not hold in the child: %s\n", file, line, condition);
    _exit(99);
}
