/*
 * The command-line program: `runium VERB ...`. It uses the library as any program does, by runium.h.
 *
 * Exit status: 0, 1 if what was asked for failed, 2 if it was asked in a way that is not understood, 126 and 127 if a
 * program was found but could not be started, or not found. A replay ends as the program that it executes does.
 */
#include <errno.h>
#include <getopt.h>
#include <runium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FAILED = 1, USAGE = 2, NOT_STARTED = 126, NOT_FOUND = 127 };

static const char usage[] = "usage: runium replay [--force] FILE [--gdb [OPTION-OF-GDB ...]]\n"
                            "       runium --help | --version\n";

static const char help[] =
    "\n"
    "runium replay FILE runs again what a crash capsule holds: the function or hook of a task that took its worker\n"
    "process with it, with the same argument and environment. It prints what that returns, and ends with status 0, with 1\n"
    "if that is an error, or as it ended then: by the same signal, or with the same status. It executes the program that\n"
    "FILE names: replay only what you trust.\n"
    "\n"
    "  --force    also if the program was built anew: the function is found by its name\n"
    "  --gdb      under gdb, which runs it at once; what follows goes to gdb: --gdb -batch -ex bt\n"
    "  --help     this text\n"
    "  --version  the version\n";

static int complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

static int complain(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("runium: ", stderr);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n%s", usage);
    va_end(arguments);
    return USAGE;
}

/* What was asked for, on stdout. */
static int say(const char *format, ...) __attribute__((format(printf, 1, 2)));

static int say(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    bool is_said = vprintf(format, arguments) >= 0 && fflush(stdout) == 0;
    va_end(arguments);
    if (!is_said) perror("runium: stdout");
    return is_said ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Takes the error. */
static int fail(rn_value error, const char *advice) {
    int code = rn_error_code(error);
    fprintf(stderr, "runium: %s%s\n", rn_error_message(error), advice);
    rn_drop(error);
    return code;
}

/* ------------------------------------------------------------------------------------------------
 * replay
 */
#define WRAPPED "--started-by-gdb" /* what follows is the program as gdb would start it */

struct replay {
    const char *file;
    bool force, gdb;
    char **gdb_options;
    int gdb_count;
};

static int start(const struct replay *replay) {
    rn_value program = rn_capsule_program(replay->file);
    if (rn_is_error(program)) return fail(program, ""), FAILED;
    rn_drop(program);
    rn_value error = rn_capsule_replay(replay->file, replay->force);
    bool is_other = rn_error_code(error) == RN_INVALID && !replay->force;
    int code = fail(error, is_other ? "; --force runs it all the same" : "");
    if (code <= 0) return FAILED;
    return code == ENOENT ? NOT_FOUND : NOT_STARTED;
}

/* A word as the shell reads it back. NULL: no memory. */
static char *quoted(const char *word) {
    char *text = malloc(4 * strlen(word) + 3), *to = text;
    if (!text) return NULL;
    *to++ = '\'';
    for (; *word; word++) {
        if (*word == '\'') to = mempcpy(to, "'\\'", 3); /* out of the quotes, one by itself, and in again */
        *to++ = *word;
    }
    memcpy(to, "'", 2);
    return text;
}

/* The command of gdb after which each program is started by way of this one, which gives it its environment. */
static char *wrapper(const struct replay *replay) {
    char own[4096], *command = NULL;
    ssize_t length = readlink("/proc/self/exe", own, sizeof own - 1);
    own[length < 0 ? 0 : length] = '\0';
    char *whole = realpath(replay->file, NULL), *me = quoted(own), *file = whole ? quoted(whole) : NULL;
    const char *options = replay->force ? "--force " : "";
    if (!me || !file || asprintf(&command, "set exec-wrapper %s replay %s%s " WRAPPED, me, options, file) < 0) command = NULL;
    free(whole);
    free(me);
    free(file);
    return command;
}

/* gdb starts the program with /bin/sh, whatever shell this user has. */
static int start_gdb(const struct replay *replay) {
    rn_value program = rn_capsule_program(replay->file);
    if (rn_is_error(program)) return fail(program, ""), FAILED;
    char **arguments = calloc((size_t)replay->gdb_count + 12, sizeof *arguments), *command = wrapper(replay);
    if (!arguments || !command) return fail(rn_error(RN_NO_MEMORY, "no memory"), ""), FAILED;
    char *const fixed[] = {"gdb", "-q", "-iex", "set startup-with-shell on", "-iex", command, "-ex", "run"};
    size_t count = sizeof fixed / sizeof fixed[0];
    memcpy(arguments, fixed, sizeof fixed);
    for (int i = 0; i < replay->gdb_count; i++) arguments[count++] = replay->gdb_options[i];
    arguments[count++] = "--args";
    arguments[count++] = (char *)(uintptr_t)rn_as_text(program);
    setenv("SHELL", "/bin/sh", 1);
    execvp("gdb", arguments);
    fprintf(stderr, "runium: gdb cannot be started: %s\n", strerror(errno));
    return errno == ENOENT ? NOT_FOUND : NOT_STARTED;
}

static bool is_option(const char *word, const char *option) { return strcmp(word, option) == 0; }

/* What belongs to gdb is not for us to read: it is cut off. Returns how many words are left. */
static int cut(struct replay *replay, int count, char **words) {
    for (int i = 1; i < count && !is_option(words[i], "--"); i++) {
        replay->gdb = is_option(words[i], "--gdb");
        if (!replay->gdb && !is_option(words[i], WRAPPED)) continue;
        replay->gdb_options = words + i + 1;
        replay->gdb_count = count - i - 1;
        return i;
    }
    return count;
}

static int replay_verb(int count, char **words) {
    static const struct option options[] = {{"force", no_argument, NULL, 'f'}, {"help", no_argument, NULL, 'h'}, {0}};
    struct replay replay = {.file = NULL};
    count = cut(&replay, count, words);
    opterr = 0;
    for (int option; (option = getopt_long(count, words, "", options, NULL)) != -1;) {
        if (option == 'h') return say("%s%s", usage, help);
        if (option != 'f') return complain("replay: unknown option %s", words[optind - 1]);
        replay.force = true;
    }
    if (optind >= count) return complain("replay: no file is named");
    if (optind + 1 < count) return complain("replay: one file at a time, and '%s' is a second one", words[optind + 1]);
    replay.file = words[optind];
    return replay.gdb ? start_gdb(&replay) : start(&replay);
}

int main(int count, char **words) {
    const char *verb = count > 1 ? words[1] : "";
    if (is_option(verb, "replay")) return replay_verb(count - 1, words + 1);
    if (is_option(verb, "--help")) return say("%s%s", usage, help);
    if (is_option(verb, "--version"))
        return say("runium %d.%d.%d\n", RN_VERSION_MAJOR, RN_VERSION_MINOR, RN_VERSION_PATCH);
    return verb[0] ? complain("'%s' is no verb", verb) : complain("nothing is asked for");
}
