/*
 * P2, P4, P5, P7: worker processes that are killed at random moments, and a ledger in shared memory of what was executed and
 * what was completed. Nothing is lost, nothing is told twice, nothing is executed twice, and a run whose process was
 * not killed does not notice. When the runtime is closed no descriptor, thread, process or mapping of a file is left.
 *
 *     kills [KILLS [WORKERS]]     the last line is the figure; --canary counts an execution twice, and must fail
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <runium.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ledger.h"

enum { RUNS_MAX = 1000000, ROUND = 500, SLOTS = 64, LARGE = 2500000 };

struct ledger {
    atomic_uint executions[RUNS_MAX], ends[RUNS_MAX];
    atomic_int at_work[SLOTS]; /* process ids */
};
_Static_assert(sizeof(struct ledger) <= LEDGER_BYTES, "it fits its pages");
#define ledger ((struct ledger *)ledger_pages)

/* Of mixed length: mostly next to nothing, so that batches grow; some take 100 us, a few some milliseconds: those behind
 * them are given to others. */
static int64_t length_of(int64_t number) {
    if (number % 512 == 7) return 4000000;
    return number * 7919 % (number % 16 == 3 ? 60000 : 600);
}

/* Some runs have an argument that takes its time, and return it: their process may die while it is on its way. */
static rn_value value_for(int64_t number) {
    static int64_t bytes[LARGE / 8];
    bytes[0] = bytes[LARGE / 8 - 1] = number;
    return number % 61 == 5 ? rn_bytes(bytes, sizeof bytes) : rn_int(number);
}

/* Negative: it is no such value. */
static int64_t number_of(rn_value value) {
    if (rn_kind(value) == RN_INT) return rn_as_int(value);
    if (rn_kind(value) != RN_BYTES || rn_length(value) != LARGE / 8 * 8) return -1;
    const int64_t *bytes = rn_as_bytes(value);
    return bytes[0] == bytes[LARGE / 8 - 1] ? bytes[0] : -1;
}

static rn_value work(rn_call *call) {
    int64_t number = number_of(rn_arg(call));
    int64_t length = length_of(number);
    atomic_fetch_add(&ledger->executions[number], 1);
    atomic_store(&ledger->at_work[getpid() % SLOTS], getpid());
    for (volatile int64_t i = 0; i < length; i++) {
    }
    return rn_keep(rn_arg(call));
}

static rn_value note_end(rn_call *call, rn_value success, rn_value error) {
    (void)success;
    (void)error;
    atomic_fetch_add(&ledger->ends[number_of(rn_arg(call))], 1);
    return rn_none();
}

static struct {
    uint64_t wanted, random;
    atomic_uint_fast64_t killed;
    atomic_bool stop;
} killer;

static bool is_worker(int pid) {
    char path[64], name[32] = "";
    snprintf(path, sizeof path, "/proc/%d/comm", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t length = read(fd, name, sizeof name - 1);
    close(fd);
    return length > 0 && strncmp(name, "runium worker", 13) == 0;
}

static uint64_t next_random(void) {
    killer.random ^= killer.random << 13;
    killer.random ^= killer.random >> 7;
    killer.random ^= killer.random << 17;
    return killer.random;
}

static void *kill_some(void *unused) {
    (void)unused;
    while (!atomic_load(&killer.stop)) {
        int pid = atomic_exchange(&ledger->at_work[next_random() % SLOTS], 0);
        if (pid > 0 && is_worker(pid) && kill(pid, SIGKILL) == 0) atomic_fetch_add(&killer.killed, 1);
        struct timespec pause = {0, (long)(next_random() % 300000)};
        nanosleep(&pause, NULL);
    }
    return NULL;
}

struct tally {
    uint64_t runs, crashed, lost, twice, wrong;
};

/* A quarter of the runs have a final hook, which must be run once whatever happens: the others go in batches. */
static bool has_end(uint64_t i) { return i % 64 >= 48; }

static bool play_round(rn_runtime *runtime, struct tally *tally) {
    static rn_future *futures[ROUND];
    uint64_t first = tally->runs;
    if (first + ROUND > RUNS_MAX) return false;
    for (uint64_t i = 0; i < ROUND; i++)
        futures[i] = rn_run(runtime, work, .arg = value_for((int64_t)(first + i)), .on_finished = has_end(i) ? note_end : NULL);
    for (uint64_t i = 0; i < ROUND; i++) {
        rn_value result = rn_result(futures[i]);
        unsigned executions = atomic_load(&ledger->executions[first + i]);
        bool has_crashed = rn_is_error(result) && rn_error_code(result) == RN_CRASHED;
        tally->crashed += has_crashed;
        unsigned ends = atomic_load(&ledger->ends[first + i]);
        tally->twice += executions > 1 || ends > 1;
        tally->lost += !has_crashed && (executions == 0 || ends != has_end(i));
        tally->wrong += !has_crashed && number_of(result) != (int64_t)(first + i);
        rn_release(futures[i]);
    }
    tally->runs += ROUND;
    return true;
}

/* ---- what is left ---- */

struct belongings {
    unsigned descriptors, threads, files_mapped;
};

static unsigned entries_of(const char *path) {
    unsigned count = 0;
    DIR *folder = opendir(path);
    while (folder && readdir(folder)) count++;
    count -= 2; /* itself, and the folder above */
    if (folder) closedir(folder);
    return count;
}

static unsigned lines_with(const char *path, const char *text) {
    char line[512];
    unsigned count = 0;
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file)) count += strstr(line, text) != NULL;
    if (file) fclose(file);
    return count;
}

static struct belongings belongings(void) {
    return (struct belongings){entries_of("/proc/self/fd"), entries_of("/proc/self/task"), lines_with("/proc/self/maps", "memfd:")};
}

static bool is_nothing_left(const struct belongings *before) {
    struct belongings now = belongings();
    bool has_child = waitpid(-1, NULL, WNOHANG | __WALL) != -1 || errno != ECHILD;
    printf("P7: %u descriptors, before %u; %u threads, before %u; %u files mapped, before %u; %s\n", now.descriptors,
           before->descriptors, now.threads, before->threads, now.files_mapped, before->files_mapped,
           has_child ? "a child" : "no child");
    return now.descriptors == before->descriptors && now.threads == before->threads &&
           now.files_mapped == before->files_mapped && !has_child;
}

static int judge(const struct tally *tally, uint64_t kills) {
    bool is_good = tally->lost == 0 && tally->twice == 0 && tally->wrong == 0 && tally->crashed <= kills;
    printf("P2: %" PRIu64 " kills, %" PRIu64 " runs: %" PRIu64 " crashed, %" PRIu64 " lost, %" PRIu64
           " executed twice, %" PRIu64 " wrong\n", kills, tally->runs, tally->crashed, tally->lost, tally->twice, tally->wrong);
    return is_good ? 0 : 1;
}

int main(int argc, char **argv) {
    bool canary = argc > 1 && strcmp(argv[1], "--canary") == 0;
    struct tally tally = {0};
    pthread_t thread;
    alarm(600); /* a hang */
    killer.wanted = canary ? 20 : argc > 1 ? strtoull(argv[1], NULL, 10) : 1000;
    killer.random = (uint64_t)time(NULL) * 2654435761u | 1;
    printf("# seed %" PRIu64 "\n", killer.random);
    if (!ledger_make()) return 2;
    struct belongings before = belongings();
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = argc > 2 ? (unsigned)atoi(argv[2]) : 4,
                                  .log = rn_log_nothing, .quarantine = UINT32_MAX, .respawn_rate = UINT32_MAX);
    if (rn_is_error(rn_open_error(runtime))) return 2;
    if (canary) atomic_fetch_add(&ledger->executions[3], 1);
    if (pthread_create(&thread, NULL, kill_some, NULL) != 0) return 2;
    while (atomic_load(&killer.killed) < killer.wanted && play_round(runtime, &tally)) {
    }
    atomic_store(&killer.stop, true);
    pthread_join(thread, NULL);
    if (rn_close(runtime) != RN_OK) return 2;
    if (!is_nothing_left(&before)) return 1;
    return judge(&tally, atomic_load(&killer.killed));
}
