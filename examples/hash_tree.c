/*
 * hash_tree: the SHA-256 of every regular file below a folder, one Runium task per file.
 *
 *     hash_tree [--list] [--plain] [--rounds N] [FOLDER]        FOLDER is /usr/include if not given
 *
 *     --list      prints what `find FOLDER -type f -print0 | xargs -0 sha256sum` prints, in another order
 *     --plain     progress as a line for each tenth, as where stderr is no terminal
 *     --rounds N  measures N times (default 5; 0 with --list) against one thread, see compare()
 *
 * Exit status: 0; 1 if something could not be read, or standard output not be written; 2 for a wrong
 * argument. Symbolic links below FOLDER are not followed. At most QUEUE_LIMIT tasks wait at a time: when
 * they are too many, the thread that lists the files hashes the next one itself. Each thread has one file
 * open. So neither memory nor descriptors grow with the tree.
 */
#define _GNU_SOURCE 1
#include <runium.h>

#include <errno.h>
#include <fts.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "sha256.h"

enum { QUEUE_LIMIT = 256, DEFAULT_ROUNDS = 5, MAX_ROUNDS = 99, BAR_WIDTH = 30 };

static struct {
    char *folder;
    bool list, plain;
    int rounds;
} options;

/* Added to by hooks, which run in several threads at a time. */
struct totals {
    atomic_ullong hashed, failed, bytes;
    atomic_ullong mark; /* the sum of all hashes' first bytes: equal for equal hashes, in any order */
};

static struct totals totals;

/* What the progress bar goes by. */
static struct {
    atomic_ullong expected; /* files counted so far, before the first is hashed */
    atomic_bool counted;    /* and that was all of them */
} progress;

/* ---- The folder ---- */

typedef void visit_fn(const char *path, void *context);

/* Error text with names in it may reach a terminal: without the bytes that would control it. */
static void complain(const char *message) {
    const char *clear_bar = options.plain ? "" : "\r\033[K";
    flockfile(stderr);
    fprintf(stderr, "%shash_tree: ", clear_bar);
    for (; *message != '\0'; message++) {
        unsigned char byte = (unsigned char)*message;
        putc(byte < 0x20 || byte == 0x7f ? '?' : byte, stderr);
    }
    putc('\n', stderr);
    funlockfile(stderr);
}

static void complain_about(const char *path, int error) {
    char reason[128];
    rn_value text = rn_error(error, "%s: %s", path, strerror_r(error, reason, sizeof reason));
    complain(rn_error_message(text));
    rn_drop(text);
}

/*
 * Calls visit for every regular file below the folder. A file that cannot even be looked at is visited
 * too: its task will say why. Returns how many folders could not be read.
 */
static unsigned walk(visit_fn *visit, void *context, bool quiet) {
    char *roots[] = {options.folder, NULL};
    unsigned unread = 0;
    FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, NULL);
    FTSENT *entry;
    if (tree == NULL) {
        complain_about(options.folder, errno);
        return 1;
    }
    while (errno = 0, (entry = fts_read(tree)) != NULL) {
        if (entry->fts_info == FTS_F || entry->fts_info == FTS_NS) {
            visit(entry->fts_path, context);
        } else if (entry->fts_info == FTS_DNR || entry->fts_info == FTS_ERR) {
            unread++;
            if (!quiet) complain_about(entry->fts_path, entry->fts_errno);
        }
    }
    if (errno != 0) {
        unread++;
        complain_about(options.folder, errno);
    }
    fts_close(tree);
    return unread;
}

/* ---- One file: the task and its hooks ---- */

static rn_value hash_file(rn_call *call) { return sha256_of_file(rn_as_text(rn_arg(call))); }

static rn_value print_hash(rn_call *call, rn_value success) {
    struct sha256_file file = sha256_file_in(success);
    sha256_print(stdout, rn_as_text(rn_arg(call)), &file);
    return rn_none();
}

static rn_value tell_error(rn_call *call, rn_value error) {
    (void)call;
    complain(rn_error_message(error));
    return rn_none();
}

static void add_up(rn_value success, rn_value error) {
    if (rn_is_error(error)) {
        atomic_fetch_add(&totals.failed, 1);
        return;
    }
    struct sha256_file file = sha256_file_in(success);
    uint64_t first_bytes;
    memcpy(&first_bytes, file.digest, sizeof first_bytes);
    atomic_fetch_add(&totals.hashed, 1);
    atomic_fetch_add(&totals.bytes, file.size_bytes);
    atomic_fetch_add(&totals.mark, first_bytes);
}

static rn_value add_to_totals(rn_call *call, rn_value success, rn_value error) {
    (void)call;
    add_up(success, error);
    return rn_none();
}

/* ---- The progress bar: a task that runs every 100 ms until it is stopped ---- */

static void draw_bar(unsigned long long done, unsigned long long expected) {
    char bar[BAR_WIDTH + 1];
    unsigned long long filled = expected > 0 ? done * BAR_WIDTH / expected : BAR_WIDTH;
    for (unsigned i = 0; i < BAR_WIDTH; i++) bar[i] = i < filled ? '#' : '-';
    bar[BAR_WIDTH] = '\0';
    fprintf(stderr, "\r[%s] %llu of %llu files, %.1f MB\033[K", bar, done, expected,
            (double)atomic_load(&totals.bytes) / 1e6);
}

/* Iterations of a run never overlap, so the tenth that was printed last needs no lock. */
static void print_tenth(unsigned long long done, unsigned long long expected) {
    static unsigned long long printed;
    unsigned long long tenth = expected > 0 ? done * 10 / expected : 10;
    if (tenth > printed)
        fprintf(stderr, "%3llu %%  %llu of %llu files, %.1f MB\n", tenth * 10, done, expected,
                (double)atomic_load(&totals.bytes) / 1e6);
    printed = tenth;
}

static void show_state(void) {
    unsigned long long done = atomic_load(&totals.hashed) + atomic_load(&totals.failed);
    unsigned long long expected = atomic_load(&progress.expected);
    if (expected < done) expected = done; /* files were added since they were counted */
    if (!atomic_load(&progress.counted)) {
        if (!options.plain) fprintf(stderr, "\rcounting: %llu files\033[K", expected);
    } else if (options.plain) {
        print_tenth(done, expected);
    } else {
        draw_bar(done, expected);
    }
}

static rn_value show_progress(rn_call *call) {
    (void)call;
    show_state();
    return rn_none();
}

/* ---- The passes over the folder ---- */

static void count_file(const char *path, void *context) {
    (void)path;
    (void)context;
    atomic_fetch_add(&progress.expected, 1);
}

static void count_unless_started(int code) {
    if (code != RN_OK) atomic_fetch_add(&totals.failed, 1);
}

static void start_file(const char *path, void *context) {
    count_unless_started(rn_run_detached(context, hash_file, .arg = rn_text(path),
                                         .on_success = options.list ? print_hash : NULL, .on_error = tell_error,
                                         .on_finished = add_to_totals));
}

static void start_file_quietly(const char *path, void *context) {
    count_unless_started(rn_run_detached(context, hash_file, .arg = rn_text(path), .on_finished = add_to_totals));
}

static void hash_file_here(const char *path, void *context) {
    rn_value result = sha256_of_file(path);
    (void)context;
    add_up(rn_is_error(result) ? rn_none() : result, rn_is_error(result) ? result : rn_none());
    rn_drop(result);
}

/* Files that failed are told by on_error; anything else of the runtime's is worth a line. */
static void log_all_but_failed_files(void *context, const rn_log_record *record) {
    (void)context;
    if (record->iteration == 0) complain(record->message);
}

static rn_runtime *open_runtime(void) {
    rn_runtime *rn = rn_open(.queue_limit = QUEUE_LIMIT, .when_full = RN_CALLER_RUNS, .log = log_all_but_failed_files,
                             .name = "hash_tree");
    if (rn_is_error(rn_open_error(rn))) {
        complain(rn_error_message(rn_open_error(rn)));
        exit(1);
    }
    return rn;
}

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

struct pass {
    double seconds;
    unsigned workers;
    unsigned unread; /* folders */
};

/* From opening a runtime to its close, which waits for all files. */
static struct pass pass_over(visit_fn *visit, bool quiet) {
    struct pass pass;
    rn_stats stats = {.size = sizeof stats};
    double start = seconds_now();
    rn_runtime *rn = open_runtime();
    pass.unread = walk(visit, rn, quiet);
    rn_get_stats(rn, &stats);
    rn_close(rn);
    pass.seconds = seconds_now() - start;
    pass.workers = stats.workers;
    return pass;
}

/* The bar has a runtime of its own: it is drawn also while all workers of the other one are busy. */
static struct pass pass_with_progress(void) {
    rn_runtime *rn = rn_open(.workers = 1, .log = log_all_but_failed_files, .name = "progress");
    rn_run_detached(rn, show_progress, .every = RN_MILLISECONDS(100));
    walk(count_file, NULL, true);
    atomic_store(&progress.counted, true);
    struct pass pass = pass_over(start_file, false);
    rn_close(rn);
    show_state();
    if (!options.plain) fputs("\r\033[K", stderr);
    return pass;
}

static double time_runium(void) { return pass_over(start_file_quietly, true).seconds; }

static double time_one_thread(void) {
    double start = seconds_now();
    walk(hash_file_here, NULL, true);
    return seconds_now() - start;
}

/* ---- The report ---- */

static void reset_totals(void) {
    atomic_store(&totals.hashed, 0);
    atomic_store(&totals.failed, 0);
    atomic_store(&totals.bytes, 0);
    atomic_store(&totals.mark, 0);
}

static bool same_totals(struct totals *a, struct totals *b) {
    return a->hashed == b->hashed && a->failed == b->failed && a->bytes == b->bytes && a->mark == b->mark;
}

static int by_value(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static double median(double *values, int count) {
    qsort(values, (size_t)count, sizeof *values, by_value);
    return count % 2 == 1 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

/*
 * Both ways walk the same tree and hash with the same function, in turn, and take turns at being the
 * first of the two. All files were read a moment ago, so both find them in the page cache.
 */
static void compare(struct totals *first, unsigned workers) {
    double one_thread[MAX_ROUNDS], runium[MAX_ROUNDS];
    bool same = true;
    for (int turn = 0; turn < 2 * options.rounds; turn++) {
        int round = turn / 2;
        reset_totals();
        if ((turn + round) % 2 == 0) one_thread[round] = time_one_thread();
        else runium[round] = time_runium();
        same = same && same_totals(&totals, first);
    }
    double slow = median(one_thread, options.rounds), fast = median(runium, options.rounds);
    printf("\nAgainst one thread, with the files in the page cache: medians of %d round%s, the two ways in turn\n",
           options.rounds, options.rounds == 1 ? "" : "s");
    printf("  one thread         %.3f s\n", slow);
    printf("  Runium, %u worker%s  %.3f s, %.2f times as fast\n", workers, workers == 1 ? " " : "s", fast, slow / fast);
    printf("  the same hashes    %s\n", same ? "yes, every time" : "NO: files changed while they were read");
}

static void report(FILE *out, const struct pass *pass) {
    double megabytes = (double)totals.bytes / 1e6;
    fprintf(out, "%s\n", options.folder);
    fprintf(out, "  tasks run     %llu, one per file\n", totals.hashed + totals.failed);
    fprintf(out, "  tasks failed  %llu\n", (unsigned long long)totals.failed);
    if (pass->unread > 0) fprintf(out, "  not listed    %u folder%s\n", pass->unread, pass->unread == 1 ? "" : "s");
    fprintf(out, "  bytes hashed  %llu (%.1f MB)\n", (unsigned long long)totals.bytes, megabytes);
    fprintf(out, "  time          %.3f s, %.0f MB/s\n", pass->seconds, megabytes / pass->seconds);
}

/* ---- Arguments ---- */

static bool parse_rounds(const char *text) {
    char *end;
    long rounds = strtol(text, &end, 10);
    options.rounds = (int)rounds;
    return end != text && *end == '\0' && rounds >= 0 && rounds <= MAX_ROUNDS;
}

static bool parse_arguments(char **argument) {
    static char default_folder[] = "/usr/include";
    options.folder = NULL;
    options.rounds = -1;
    options.plain = !isatty(STDERR_FILENO);
    for (; *argument != NULL; argument++) {
        if (strcmp(*argument, "--list") == 0) options.list = true;
        else if (strcmp(*argument, "--plain") == 0) options.plain = true;
        else if (strcmp(*argument, "--rounds") == 0 && argument[1] != NULL && parse_rounds(argument[1])) argument++;
        else if (**argument != '-' && options.folder == NULL) options.folder = *argument;
        else return false;
    }
    if (options.folder == NULL) options.folder = default_folder;
    if (options.rounds < 0) options.rounds = options.list ? 0 : DEFAULT_ROUNDS;
    return true;
}

static bool folder_is_there(void) {
    struct stat status;
    if (stat(options.folder, &status) != 0) complain_about(options.folder, errno);
    else if (!S_ISDIR(status.st_mode)) complain_about(options.folder, ENOTDIR);
    else return true;
    return false;
}

int main(int argc, char **argv) {
    if (argc < 1 || !parse_arguments(argv + 1)) {
        fputs("usage: hash_tree [--list] [--plain] [--rounds 0..99] [FOLDER]\n", stderr);
        return 2;
    }
    if (!folder_is_there()) return 2;
    rn_value opened = sha256_open();
    if (rn_is_error(opened)) {
        complain(rn_error_message(opened));
        return 1;
    }
    struct pass pass = pass_with_progress();
    struct totals first = totals;
    report(options.list ? stderr : stdout, &pass);
    if (options.rounds > 0) compare(&first, pass.workers);
    sha256_close();
    bool written = fflush(stdout) == 0 && !ferror(stdout);
    if (!written) complain_about("standard output", errno);
    return first.failed > 0 || pass.unread > 0 || !written ? 1 : 0;
}
