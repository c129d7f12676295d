/*
 * P1: SIGKILL after every instruction. A tracer takes a worker process, or the zygote, to a boundary between two instructions
 * of one path, and kills it there: at each of them in turn (in CI: at some of them, beginning anywhere).
 *
 *   a run        from the idle worker's waking over the run, its answer, and a run with a name, to its sleep
 *   two runs     the same without a name: the second may come in the message of the first, or in the next
 *   a start      from the worker's birth in the zygote's fork to its first run
 *   an end       from the message that says so to the worker's exit
 *   a large run  as a run, with an argument and a result that go through the ring
 *   a fork       of the zygote, from the death of one worker over the request for the next to its answer
 *
 * A path is first recorded, in single steps. Each boundary of the record is then gone to in the cheapest way (tracer.h), and
 * where the process stood when it was killed is compared with the record: no two runs are quite the same. What did not land
 * there is done again in single steps, as the record was, and what does not land then either is counted as that.
 *
 * The ledger (see kills.c) is the judge: no run is lost, none is executed twice, none hangs, none has a wrong result, and only a run
 * that had begun says that it crashed. A run that waits behind it notices nothing.
 *
 *     single_step [--canary] [--path=N]     the figure comes last; the canary counts an execution twice
 */
#include <runium.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <time.h>
#include <unistd.h>

#include "boundaries.h"
#include "ledger.h"
#include "support.h"
#include "tracer.h"

#if !defined(__x86_64__)
int main(void) {
    puts("P1: not on this machine");
    return EXIT_SKIPPED;
}
#else

enum { RUNS_MAX = 1 << 20 };

struct ledger {
    atomic_uint executions[RUNS_MAX];
    atomic_int process; /* of the run executed last */
};
_Static_assert(sizeof(struct ledger) <= LEDGER_BYTES, "it fits its pages");
#define ledger ((struct ledger *)ledger_pages)

/* ------------------------------------------------------------------------------------------------
 * The host
 */
static rn_runtime *host;
static int64_t next_run;
static uint64_t crashed;

static bool is_large; /* the runs: what they carry goes through the ring, just so */
static bool is_plain; /* the run behind has no name */

static rn_value value_for(int64_t number) {
    static int64_t bytes[17000 / 8];
    bytes[0] = number;
    return is_large ? rn_bytes(bytes, sizeof bytes) : rn_int(number);
}

static int64_t number_of(rn_value value) {
    if (rn_kind(value) == RN_INT) return rn_as_int(value);
    return rn_kind(value) == RN_BYTES ? *(const int64_t *)rn_as_bytes(value) : -1;
}

static rn_value work(rn_call *call) {
    int64_t number = number_of(rn_arg(call));
    atomic_fetch_add(&ledger->executions[number], 1);
    atomic_store(&ledger->process, getpid());
    return rn_kind(rn_arg(call)) == RN_INT ? rn_int(number * 3 + 1) : rn_keep(rn_arg(call));
}

static rn_value whose_child(rn_call *call) {
    (void)call;
    return rn_int((int64_t)getppid() << 32 | getpid());
}

static void open_host(void) {
    host = rn_open(.executor = RN_PROCESSES, .workers = 1, .quarantine = 1000000000, .respawn_rate = 1000000, .log = rn_log_nothing);
    check(rn_is_none(rn_open_error(host)), "the host opens");
}

struct who {
    pid_t worker, zygote;
};

static struct who who_works(void) {
    for (unsigned tries = 0; tries < 5; tries++) {
        rn_future *future = rn_run(host, whose_child);
        rn_value result = rn_result(future);
        int64_t both = rn_kind(result) == RN_INT ? rn_as_int(result) : 0;
        rn_release(future);
        if (both) return (struct who){(pid_t)(both & INT32_MAX), (pid_t)(both >> 32)};
    }
    check(false, "a worker can be had");
    return (struct who){0, 0};
}

/* It has run nothing but what says who it is: which functions a worker knows, and what it keeps, is the same each time. */
static struct who who_is_new(void) {
    struct who former = who_works(), now = former;
    kill(former.worker, SIGKILL);
    for (unsigned tries = 0; tries < 5 && now.worker == former.worker; tries++) now = who_works();
    return now;
}

static rn_future *start_run(const char *name) { return rn_run(host, work, .arg = value_for(next_run++), .name = name); }

/* may_crash: it may have been at work in the one that was killed. True: it was. */
static bool judge(rn_future *future, int64_t number, bool may_crash, const char *path, uint64_t steps) {
    rn_value result = rn_result(future);
    unsigned executions = atomic_load(&ledger->executions[number]);
    if (proof_canary && number == 0) executions++;
    bool is_right = number_of(result) == (is_large ? number : number * 3 + 1);
    bool is_crash = rn_is_error(result) && rn_error_code(result) == RN_CRASHED;
    crashed += is_crash;
    check(executions <= 1, "%s, %llu steps: run %lld is executed %u times", path, (unsigned long long)steps, (long long)number,
          executions);
    check(is_right ? executions == 1 : is_crash && may_crash, "%s, %llu steps: run %lld is told as it was: %s", path,
          (unsigned long long)steps, (long long)number, rn_is_error(result) ? rn_error_message(result) : "a value");
    rn_release(future);
    return is_crash;
}

/* ------------------------------------------------------------------------------------------------
 * Paths
 */

/* One kill, or the measuring of the path. */
struct visit {
    const char *path;
    uint64_t boundary; /* for what is told */
    struct order order;
};

static bool take(const struct visit *visit, enum traced who, pid_t process) {
    struct order order = visit->order;
    order.who = who;
    order.process = process;
    return check(tracer_take(&order), "the tracer takes process %d", (int)process);
}

static const struct report nothing = {.is_taken = false};

/* One run for the process that is traced, and one behind it, which it gets next. One of them may crash, not both. */
static void play_runs(const struct visit *visit) {
    int64_t first = next_run;
    rn_future *one = start_run(NULL), *other = start_run(is_plain ? NULL : "behind");
    bool has_crashed = judge(one, first, true, visit->path, visit->boundary);
    (void)judge(other, first + 1, !has_crashed, visit->path, visit->boundary);
}

static struct report play_run(const struct visit *visit) {
    struct who who = who_is_new();
    if (!take(visit, TRACED_ITSELF, who.worker)) return nothing;
    play_runs(visit);
    return tracer_report_of(who.worker);
}

static struct report play_two(const struct visit *visit) {
    is_plain = true;
    struct report report = play_run(visit);
    is_plain = false;
    return report;
}

static struct report play_large(const struct visit *visit) {
    is_large = true;
    struct report report = play_run(visit);
    is_large = false;
    return report;
}

static struct report play_start(const struct visit *visit) {
    struct who who = who_works();
    if (!take(visit, TRACED_NEXT_CHILD, who.zygote)) return nothing;
    kill(who.worker, SIGKILL);
    play_runs(visit);
    return tracer_report_of(atomic_load(&ledger->process)); /* the traced one, if it lives */
}

static struct report play_end(const struct visit *visit) {
    unsigned long long boundary = visit->boundary;
    struct who who = who_works();
    if (!take(visit, TRACED_ITSELF, who.worker)) return nothing;
    check(rn_close(host) == RN_OK, "%s, %llu steps: the host closes", visit->path, boundary);
    struct report report = tracer_report();
    check(kill(who.worker, 0) != 0 && kill(who.zygote, 0) != 0, "%s, %llu steps: nobody is left", visit->path, boundary);
    open_host();
    return report;
}

static struct report play_fork(const struct visit *visit) {
    struct who who = who_works();
    if (!take(visit, TRACED_ITSELF, who.zygote)) return nothing;
    kill(who.worker, SIGKILL);
    play_runs(visit);
    return tracer_report_of(who.zygote);
}

/* Where a breakpoint lies a fork of the zygote would have it, too: its path is single steps only. */
static struct path {
    const char *name;
    struct report (*play)(const struct visit *visit);
    unsigned in_ci;
    bool runs; /* breakpoints may be used */
} paths[] = {{"a run", play_run, 600, true},   {"two runs", play_two, 50, true},  {"a start", play_start, 500, true},
             {"an end", play_end, 100, true}, {"a fork", play_fork, 60, false}, {"a large run", play_large, 300, true}};

/* ------------------------------------------------------------------------------------------------
 * All boundaries of a path
 */
static uint64_t *record; /* shared with the tracer */

static struct tally {
    uint64_t kills, exact, again, elsewhere, nowhere; /* exact: at once; again: in single steps */
} tally;

/* Where it was killed. 0: nowhere. */
static uint64_t kill_at(const struct path *path, uint64_t boundary, bool runs) {
    struct visit visit = {path->name, boundary, {.runs = runs, .way = *boundaries_way(boundary)}};
    uint64_t address = path->play(&visit).address;
    tally.kills += address != 0;
    if (address) boundaries_kill(address);
    return address;
}

static void visit_boundary(const struct path *path, uint64_t boundary) {
    bool is_exact = kill_at(path, boundary, path->runs) == record[boundary];
    tally.exact += is_exact;
    if (!is_exact) {
        uint64_t address = kill_at(path, boundary, false);
        if (address == record[boundary]) tally.again++;
        else if (address) tally.elsewhere++;
        else tally.nowhere++;
    }
    proof_case();
}

/* In CI of the repetitions of one instruction, which are most of a large run, one in 64. */
static uint64_t choose(uint64_t *boundaries, uint64_t length, struct dice *dice) {
    uint64_t count = 0, offered = roll_below(dice, 64);
    for (uint64_t i = 1; i <= length; i++) {
        uint64_t repeats = boundaries_way(i)->repeats;
        if (proof_torture || repeats == 0 || repeats % 64 == offered) boundaries[count++] = i;
    }
    return count;
}

static void tell_progress(const struct path *path, uint64_t i, uint64_t count) {
    static time_t told;
    time_t now = time(NULL);
    if (!told) told = now;
    if (!proof_torture || now - told < 60) return;
    told = now;
    printf("P1: %s: %llu of %llu boundaries\n", path->name, (unsigned long long)i, (unsigned long long)count);
}

static void tell_end(const struct path *path, uint64_t visited) {
    printf("P1: %s: %llu boundaries, %llu kills: %llu landed exactly, %llu more in single steps, %llu elsewhere, "
           "%llu ended before; %llu of %llu addresses\n",
           path->name, (unsigned long long)visited, (unsigned long long)tally.kills, (unsigned long long)tally.exact,
           (unsigned long long)tally.again, (unsigned long long)tally.elsewhere, (unsigned long long)tally.nowhere,
           (unsigned long long)boundaries_killed(), (unsigned long long)boundaries_addresses());
}

static uint64_t record_path(const struct path *path) {
    struct visit visit = {path->name, 0, {.measures = true, .way = {.steps = PATH_LONGEST}}};
    uint64_t length = path->play(&visit).length;
    bool is_good = check(length > 100 && length < PATH_LONGEST, "%s can be followed", path->name);
    if (is_good) boundaries_make(record, length);
    return is_good ? length : 0;
}

static void play_path(const struct path *path, struct dice *dice) {
    static uint64_t boundaries[PATH_LONGEST];
    uint64_t length = record_path(path);
    uint64_t count = choose(boundaries, length, dice), stride = proof_torture ? 1 : count / path->in_ci + 1, visited = 0;
    printf("P1: %s: %llu instructions at %llu addresses\n", path->name, (unsigned long long)length,
           (unsigned long long)boundaries_addresses());
    tally = (struct tally){.kills = 0};
    for (uint64_t i = roll_below(dice, stride); i < count; i += stride, visited++) {
        if (!check(next_run + 8 < RUNS_MAX, "the ledger has room")) break;
        visit_boundary(path, boundaries[i]);
        tell_progress(path, i, count);
    }
    tell_end(path, visited);
}

/* So that an instruction is at one address in every process of the program. What cannot have that lands elsewhere. */
static void hold_addresses(char **argv) {
    int former = personality(0xffffffff);
    if (former < 0 || former & ADDR_NO_RANDOMIZE || personality((unsigned long)former | ADDR_NO_RANDOMIZE) < 0) return;
    (void)execv("/proc/self/exe", argv);
}

int main(int argc, char **argv) {
    hold_addresses(argv);
    proof_begin(argc, argv, "P1");
    guard_against_hang(proof_torture ? 7000 : 280);
    struct dice dice = dice_of(0);
    const char *only = proof_option("--path");
    record = shared_pages((PATH_LONGEST + 1) * sizeof *record);
    if (!ledger_make() || !tracer_start(record)) return 2;
    open_host();
    for (unsigned i = 0; i < sizeof paths / sizeof paths[0]; i++)
        if (only ? (unsigned)atoi(only) == i : !proof_canary || i == 0) play_path(&paths[i], &dice);
    check(rn_close(host) == RN_OK, "the host closes");
    printf("P1: %lld runs, %llu crashed, each told once\n", (long long)next_run, (unsigned long long)crashed);
    return proof_end("instruction boundaries");
}

#endif
