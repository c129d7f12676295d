/*
 * What worker processes write to stderr, and where in the code they died: all of it reaches the program's stderr, in
 * order, whatever becomes of the worker; a stderr that takes nothing, is closed, or that nobody reads holds nobody up;
 * and the error has the last lines, and a backtrace that names functions.
 *
 *     last_words [--canary]     the last line is the figure; the canary loses a line, and must fail
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <runium.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

enum { WORKERS = 3, LINES = 1500 };

/* ------------------------------------------------------------------------------------------------
 * The program's stderr, exchanged
 */
static int former;

static void exchange(int fd) {
    former = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
    if (fd < 0) close(STDERR_FILENO);
    else dup2(fd, STDERR_FILENO);
}

static void put_back(void) {
    dup2(former, STDERR_FILENO);
    close(former);
}

static rn_runtime *open_runtime(void) {
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = WORKERS, .log = rn_log_nothing, .quarantine = 1000000,
                                  .respawn_rate = 1000000);
    check(rn_is_none(rn_open_error(runtime)), "the runtime did not open");
    return runtime;
}

static char text[1 << 16]; /* of the last error */

/* What became of a run, as text. */
static const char *end(rn_future *future) {
    rn_format(rn_result(future), text, sizeof text);
    rn_release(future);
    return text;
}

static void expect(const char *what) { check(strstr(text, what) != NULL, "\"%s\" expected in %s", what, text); }
static void expect_not(const char *what) { check(strstr(text, what) == NULL, "\"%s\" not expected in %s", what, text); }

static void no_core(void) {
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
}

/* ------------------------------------------------------------------------------------------------
 * All of it arrives, in order
 */
static rn_value write_lines(rn_call *call) {
    for (int line = 0; line < LINES; line++)
        fprintf(stderr, "run %" PRId64 " line %d of a length that does not divide 4096\n", rn_as_int(rn_arg(call)), line);
    if (rn_as_int(rn_arg(call)) % 2) kill(getpid(), SIGKILL);
    return rn_none();
}

struct reader {
    int fd;
    int next[2 * WORKERS]; /* line of each run */
    int strange;
};

static void read_line(struct reader *reader, const char *line) {
    int run, number;
    if (sscanf(line, "run %d line %d of a length that does not divide 4096", &run, &number) != 2) reader->strange++;
    else if (run < 0 || run >= 2 * WORKERS || number != reader->next[run]) reader->strange++;
    else reader->next[run]++;
}

static void *read_all(void *argument) {
    struct reader *reader = argument;
    char line[256];
    FILE *stream = fdopen(reader->fd, "r");
    while (fgets(line, sizeof line, stream)) read_line(reader, line);
    fclose(stream);
    return NULL;
}

static void all_lines_arrive_whole_and_in_order(void) {
    int ends[2];
    pthread_t thread;
    rn_future *futures[2 * WORKERS];
    if (pipe2(ends, O_CLOEXEC) != 0) return;
    struct reader reader = {.fd = ends[0]};
    pthread_create(&thread, NULL, read_all, &reader);
    exchange(ends[1]);
    close(ends[1]);
    rn_runtime *runtime = open_runtime();
    for (int i = 0; i < 2 * WORKERS; i++) futures[i] = rn_run(runtime, write_lines, .arg = rn_int(i));
    for (int i = 0; i < 2 * WORKERS; i++) end(futures[i]);
    rn_close(runtime);
    put_back();
    pthread_join(thread, NULL);
    check(reader.strange == 0, "%d lines out of order, or torn", reader.strange);
    reader.next[0] -= proof_canary;
    for (int i = 0; i < 2 * WORKERS; i++) check(reader.next[i] == LINES, "run %d: %d lines", i, reader.next[i]);
}

/* ------------------------------------------------------------------------------------------------
 * Nobody reads
 */
static rn_value speak_and_die(rn_call *call) {
    no_core();
    for (int i = 0; i < 40; i++) fprintf(stderr, "line %d before the end of run %" PRId64 "\n", i, rn_as_int(rn_arg(call)));
    raise(SIGSEGV);
    return rn_none();
}

static rn_value speak(rn_call *call) {
    fprintf(stderr, "run %" PRId64 " goes on\n", rn_as_int(rn_arg(call)));
    return rn_keep(rn_arg(call));
}

static void die_and_go_on(void) {
    rn_runtime *runtime = open_runtime();
    for (int i = 0; i < 50; i++) {
        char words[64];
        end(rn_run(runtime, speak_and_die, .arg = rn_int(i)));
        expect("killed by SIGSEGV");
        snprintf(words, sizeof words, "line 39 before the end of run %d", i);
        expect(words);
        snprintf(words, sizeof words, "%d", i);
        check(strcmp(end(rn_run(runtime, speak, .arg = rn_int(i))), words) == 0, "run %d: %s", i, text);
    }
    check(rn_close(runtime) == RN_OK, "it does not close");
}

static void a_stderr_that_takes_nothing_holds_nobody_up(void) {
    int ends[2];
    char zeroes[4096] = {0};
    if (pipe2(ends, O_CLOEXEC) != 0) return;
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    while (write(ends[1], zeroes, sizeof zeroes) > 0) {}
    fcntl(ends[1], F_SETFL, 0);
    exchange(ends[1]);
    die_and_go_on();
    put_back();
    close(ends[0]);
    close(ends[1]);
}

static void a_stderr_that_nobody_reads_ends_nobody(void) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return;
    close(ends[0]);
    signal(SIGPIPE, SIG_DFL);
    exchange(ends[1]);
    die_and_go_on();
    put_back();
    close(ends[1]);
}

static void a_closed_stderr_breaks_nothing(void) {
    exchange(-1);
    die_and_go_on();
    put_back();
}

static void a_stderr_that_is_closed_later_breaks_nothing(void) {
    rn_runtime *runtime = open_runtime();
    exchange(-1);
    for (int i = 0; i < 20; i++) {
        end(rn_run(runtime, speak_and_die, .arg = rn_int(i)));
        expect("line 39");
    }
    check(rn_close(runtime) == RN_OK, "it does not close");
    put_back();
}

/* ------------------------------------------------------------------------------------------------
 * The last lines
 */
static rn_value say_and_exit(rn_call *call) {
    (void)!write(STDERR_FILENO, rn_as_bytes(rn_arg(call)), rn_length(rn_arg(call)));
    _exit(3);
}

static void say(rn_runtime *runtime, const char *bytes, size_t size) {
    end(rn_run(runtime, say_and_exit, .arg = rn_bytes(bytes, size)));
    expect("ended with exit(3)");
}

#define SAY(literal) say(runtime, literal, sizeof(literal) - 1)

static void the_error_has_the_last_lines_as_text(void) {
    char large[3000];
    rn_runtime *runtime = open_runtime();
    SAY("1\n2\n3\n4\n5\n6\n7\n8\n9\n");
    expect("stderr:\n    2\n    3\n    4\n    5\n    6\n    7\n    8\n    9");
    SAY("no newline");
    expect("stderr:\n    no newline");
    SAY("\x1b[31mred\x07\xff\xc3\xa4\xe2\x82\xac\xc3\n\n");
    expect("\\x1b[31mred\\x07\\xff\xc3\xa4\xe2\x82\xac\\xc3");
    SAY("zero\0zero");
    expect("zero\\x00zero");
    SAY("");
    expect_not("stderr:");
    memset(large, 'x', sizeof large);
    say(runtime, large, sizeof large);
    expect("xxxxxxxx");
    large[1500] = '\n';
    say(runtime, large, sizeof large);
    check(strlen(text) < 1800, "%zu bytes of a line that was cut", strlen(text));
    rn_close(runtime);
}

/* ------------------------------------------------------------------------------------------------
 * Where it died
 */
static volatile int nothing;

__attribute__((noinline)) static int read_there(const volatile int *pointer) { return *pointer + 1; }

__attribute__((noinline)) static int parse_line(void) {
    return read_there((const volatile int *)(uintptr_t)(0x10 + (unsigned)nothing)) + nothing;
}

static rn_value segfault(rn_call *call) {
    (void)call;
    no_core();
    return rn_int(parse_line() + nothing);
}

static rn_value jump_to_nothing(rn_call *call) {
    (void)call;
    no_core();
    int (*volatile function)(void) = NULL;
    return rn_int(function() + nothing);
}

static rn_value succeed(rn_call *call) { return rn_int(rn_iteration(call) > 0); }

/* Short runs go to a process many at a time. */
static void expect_backtrace_among_many(rn_runtime *runtime) {
    enum { RUNS = 300, VICTIM = 200 };
    rn_future *futures[RUNS];
    for (int i = 0; i < RUNS; i++) futures[i] = i == VICTIM ? rn_run(runtime, segfault) : rn_run(runtime, succeed);
    end(futures[VICTIM]);
    expect("in read_there; peak memory");
    expect("in task 'segfault', iteration 1\n  caused by error -13 (RN_CRASHED): backtrace:\n    #0 read_there");
    expect_not("#3");
    for (int i = 0; i < RUNS; i++)
        if (i != VICTIM) check(strcmp(end(futures[i]), "1") == 0, "run %d: %s", i, text);
}

/* A stack that cannot be walked: the walk is what fails then, and the death is the same. */
static rn_value lose_stack(rn_call *call) {
    no_core();
#if defined(__x86_64__)
    if (rn_iteration(call) > 0) __asm__ volatile("mov $0x1000, %%rsp; mov $0x1000, %%rbp; movl $1, 0x20" ::: "memory");
#endif
    return segfault(call);
}

static void *segfault_here(void *unused) {
    (void)unused;
    return (void *)(intptr_t)(parse_line() + nothing);
}

/* All that belongs to a worker is given back when it is dead. */
static void deaths_leave_nothing_behind(void) {
    unsigned fds = 0, mappings = 0;
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = 1, .log = rn_log_nothing, .quarantine = 1000000,
                                  .respawn_rate = 1000000);
    for (int i = 0; i < 200; i++) {
        end(rn_run(runtime, segfault));
        expect("#0 read_there");
        if (i == 100) fds = proc_entries("/proc/self/fd"), mappings = proc_lines("/proc/self/maps");
    }
    check(proc_entries("/proc/self/fd") == fds, "%u descriptors, %u before", proc_entries("/proc/self/fd"), fds);
    check(proc_lines("/proc/self/maps") == mappings, "%u mappings, %u before", proc_lines("/proc/self/maps"), mappings);
    rn_close(runtime);
}

static rn_value segfault_in_thread(rn_call *call) {
    pthread_t thread;
    (void)call;
    no_core();
    pthread_create(&thread, NULL, segfault_here, NULL);
    pthread_join(thread, NULL);
    return rn_none();
}

static rn_value segfault_in_child(rn_call *call) {
    int status = 0;
    (void)call;
    no_core();
    pid_t child = fork();
    if (child == 0) _exit(parse_line());
    waitpid(child, &status, 0);
    _exit(WIFSIGNALED(status) ? WTERMSIG(status) : 99);
}

static rn_value raise_bus(rn_call *call) {
    (void)call;
    raise(SIGBUS);
    return rn_none();
}

/* What addr2line says about the offset in a frame, " (last_words+0x1234)". */
static void ask_addr2line(const char *frame, char *answer, size_t size) {
    char command[4200], path[4000];
    unsigned long offset = 0;
    const char *plus = frame ? strstr(frame, "+0x") : NULL;
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    path[length > 0 ? length : 0] = '\0';
    if (plus) offset = strtoul(plus + 3, NULL, 16);
    snprintf(command, sizeof command, "addr2line -f -e '%s' 0x%lx", path, offset);
    FILE *output = popen(command, "r");
    answer[0] = '\0';
    if (output && !fgets(answer, (int)size, output)) answer[0] = '\0';
    if (output) pclose(output);
}

static void the_backtrace_names_functions(void) {
    char answer[256];
    rn_runtime *runtime = open_runtime();
    end(rn_run(runtime, segfault));
    expect("killed by SIGSEGV (11) at address 0x10: nothing is mapped there, in read_there; peak memory");
    expect("#0 read_there (last_words+0x");
    expect("#1 parse_line (last_words+0x");
    expect("#2 segfault (last_words+0x");
    expect_not("#3");
    ask_addr2line(strstr(text, "#1 "), answer, sizeof answer);
    check(strncmp(answer, "parse_line", 10) == 0 || !answer[0], "addr2line says %s", answer);
    expect_backtrace_among_many(runtime);
    end(rn_run(runtime, jump_to_nothing));
    expect("in 0x0, called by jump_to_nothing");
    expect("#1 jump_to_nothing");
    end(rn_run(runtime, lose_stack));
    expect("killed by SIGSEGV (11) at address 0x");
    expect("#0 ");
    end(rn_run(runtime, segfault_in_thread));
    expect("backtrace, of a thread that the task started:\n    #0 read_there");
    end(rn_run(runtime, segfault_in_child));
    expect("ended with exit(11)");
    expect_not("backtrace");
    rn_close(runtime);
}

/* The program's own handler is there before the worker begins. */
static void own_handler(int number) { _exit(number == SIGBUS ? 42 : 43); }

__attribute__((constructor)) static void handle_bus(void) {
    if (getenv("LAST_WORDS_HANDLER")) signal(SIGBUS, own_handler);
}

static void the_programs_own_handler_stays(void) {
    setenv("LAST_WORDS_HANDLER", "1", 1);
    rn_runtime *runtime = open_runtime();
    end(rn_run(runtime, raise_bus));
    expect("ended with exit(42)");
    end(rn_run(runtime, segfault));
    expect("#0 read_there");
    rn_close(runtime);
    unsetenv("LAST_WORDS_HANDLER");
}

/* A worker may have written anything to its record, and then die of what the record says. */
static rn_value scribble(rn_call *call) {
    char line[512];
    uint64_t random = (uint64_t)rn_as_int(rn_arg(call));
    FILE *maps = fopen("/proc/self/maps", "re");
    no_core();
    signal(SIGSEGV, SIG_DFL);
    while (maps && fgets(line, sizeof line, maps)) {
        uintptr_t start, stop;
        if (!strstr(line, "memfd:runium") || !strstr(line, " rw-s ")) continue;
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR, &start, &stop) != 2 || stop - start != 8192) continue;
        for (uint32_t *word = (uint32_t *)start; word < (uint32_t *)stop; word++) {
            random = scramble(random + 1);
            *word = random % 4 ? (uint32_t)(random >> 32) % 64 : (uint32_t)(random >> 32);
        }
        ((uint32_t *)start)[0] = 1;
        ((uint32_t *)start)[3] = SIGSEGV;
    }
    raise(SIGSEGV);
    return rn_none();
}

static void a_record_may_hold_anything(void) {
    rn_runtime *runtime = open_runtime();
    for (int i = 0; i < 100; i++) {
        end(rn_run(runtime, scribble, .arg = rn_int(i)));
        expect("killed by SIGSEGV (11)");
        check(strlen(text) < sizeof text - 1, "a text of %zu bytes", strlen(text));
    }
    rn_close(runtime);
}

int main(int argc, char **argv) {
    static void (*const cases[])(void) = {
        all_lines_arrive_whole_and_in_order,
        a_stderr_that_takes_nothing_holds_nobody_up,
        a_stderr_that_nobody_reads_ends_nobody,
        a_closed_stderr_breaks_nothing,
        a_stderr_that_is_closed_later_breaks_nothing,
        the_error_has_the_last_lines_as_text,
        the_backtrace_names_functions,
        the_programs_own_handler_stays,
        a_record_may_hold_anything,
        deaths_leave_nothing_behind,
    };
    proof_begin(argc, argv, "Last words");
    guard_against_hang(300);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cases[i]();
        proof_case();
    }
    return proof_end("cases");
}
