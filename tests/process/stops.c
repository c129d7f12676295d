/*
 * Runs are stopped at any moment: before they begin, in a batch, in a hook, while they ask or wait, between ticks, just as
 * they end, by rn_stop() or by closing; with times of any length, and processes that are prepared and recycled. The ledger
 * says what was begun. Each run ends once: with its own value, or RN_OVERTIME, or cancelled; who was not stopped has
 * begun once and has its own value; no run hangs, and no process is left.
 *
 *     stops [--runs=N]     the figure comes last; --canary takes one that was stopped for one that was not, and must fail
 */
#include <runium.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ledger.h"
#include "support.h"

enum { ROUND = 96, PIDS = 1 << 16 };

struct notes {
    atomic_uint begun[ROUND], hooks[ROUND];
    atomic_uint process_count;
    atomic_int processes[PIDS];
};

static struct notes *notes(void) { return ledger_pages; }

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static void spin_for(int64_t time) {
    for (int64_t end = now() + time; now() < end;) {
    }
}

/* ---- what is run ---- */

static void note_process(void) {
    static int noted;
    if (noted == getpid()) return;
    noted = getpid();
    unsigned place = atomic_fetch_add(&notes()->process_count, 1);
    if (place < PIDS) atomic_store(&notes()->processes[place], noted);
}

static int64_t begin(rn_call *call) {
    int64_t number = rn_as_int(rn_arg(call));
    note_process();
    atomic_fetch_add(&notes()->begun[number], 1);
    return number;
}

static rn_value prepare(rn_call *call) {
    (void)call;
    note_process();
    return rn_none();
}

static rn_value give_number(rn_call *call) { return rn_int(begin(call)); }

static rn_value take_a_moment(rn_call *call) {
    int64_t number = begin(call);
    spin_for(number * 20000);
    return rn_int(number);
}

static rn_value listen(rn_call *call) {
    int64_t number = begin(call);
    while (!rn_stopping(call)) {
    }
    return rn_int(number);
}

static rn_value loop(rn_call *call) {
    for (begin(call); rn_iteration(call) > 0;) { /* always */
    }
    return rn_none();
}

static rn_value ignore(rn_call *call) {
    signal(SIGTERM, SIG_IGN);
    return loop(call);
}

static volatile sig_atomic_t has_come;
static void note_signal(int number) { has_come = number; }

static int64_t await_signal(rn_call *call) {
    struct sigaction action = {.sa_handler = note_signal};
    sigaction(SIGTERM, &action, NULL);
    int64_t number = begin(call);
    while (!has_come) {
    }
    return number;
}

static rn_value return_after_sigterm(rn_call *call) { return rn_int(await_signal(call)); }

static rn_value ask_after_sigterm(rn_call *call) {
    int64_t number = await_signal(call);
    return rn_pending(rn_runtime_of(call), NULL, 0) > 0 ? rn_int(number) : rn_none();
}

static rn_value ask_all_the_time(rn_call *call) {
    int64_t number = begin(call);
    while (!rn_stopping(call)) (void)rn_pending(rn_runtime_of(call), NULL, 0);
    return rn_int(number);
}

static rn_value give_back(rn_call *call) { return rn_keep(rn_arg(call)); }

static rn_value wait_for_others(rn_call *call) {
    int64_t number = begin(call);
    while (!rn_stopping(call)) {
        rn_future *future = rn_run(rn_runtime_of(call), give_back, .arg = rn_int(number));
        (void)rn_wait(future, -1);
        rn_release(future);
    }
    return rn_int(number);
}

static rn_value wait_for_ever(rn_call *call) {
    int64_t number = begin(call);
    while (!rn_stopping(call)) pause();
    return rn_int(number);
}

static rn_task_fn *const victims[] = {listen, loop, ignore, return_after_sigterm, ask_after_sigterm, ask_all_the_time,
                                      wait_for_others, wait_for_ever, take_a_moment, give_number};
enum { VICTIMS = sizeof victims / sizeof *victims, THAT_END = 2 }; /* the last of them end by themselves */

static rn_value note_hook(rn_call *call, rn_value success, rn_value error) {
    (void)success, (void)error;
    atomic_fetch_add(&notes()->hooks[rn_as_int(rn_arg(call))], 1);
    return rn_none();
}

static rn_value hang_in_hook(rn_call *call, rn_value success, rn_value error) {
    (void)success, (void)error;
    atomic_fetch_add(&notes()->hooks[rn_as_int(rn_arg(call))], 1);
    while (rn_stopping(call)) { /* always */
    }
    return rn_none();
}

/* ---- a round ---- */

enum shape { PLAIN, HOOKED, REPEATED, TICKING, LIMITED, HANGING, SHAPES };

struct started {
    rn_future *future;
    rn_task_fn *function;
    enum shape shape;
    bool is_victim, is_stopped;
};

static int64_t pick(struct dice *dice, const int64_t *of, size_t count) { return of[roll_below(dice, count)]; }

static rn_runtime *open_any(struct dice *dice) {
    static const int64_t times[] = {1, RN_MICROSECONDS(50), RN_MILLISECONDS(1), RN_MILLISECONDS(4), RN_MILLISECONDS(15)};
    static const int64_t recycled[] = {0, 0, 1, 3};
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = 1 + (unsigned)roll_below(dice, 4),
                                  .stop_grace = pick(dice, times, 5), .grace = pick(dice, times, 5), .respawn_rate = 100000,
                                  .recycle_after = (uint64_t)pick(dice, recycled, 4), .log = rn_log_nothing,
                                  .prepare = roll_below(dice, 3) == 0 ? prepare : NULL);
    check(rn_is_none(rn_open_error(runtime)), "the runtime did not open");
    return runtime;
}

static rn_future *start(rn_runtime *runtime, const struct started *one, int number) {
    rn_value arg = rn_int(number);
    switch (one->shape) {
    case HOOKED: return rn_run(runtime, one->function, .arg = arg, .on_iter = note_hook, .on_finished = note_hook);
    case REPEATED: return rn_run(runtime, one->function, .arg = arg, .times = 3);
    case TICKING: return rn_run(runtime, one->function, .arg = arg, .times = RN_ENDLESS, .every = RN_MICROSECONDS(200), .on_finished = note_hook);
    case LIMITED: return rn_run(runtime, one->function, .arg = arg, .timeout = RN_MILLISECONDS(5));
    case HANGING: return rn_run(runtime, one->function, .arg = arg, .on_finished = hang_in_hook);
    default: return rn_run(runtime, one->function, .arg = arg);
    }
}

/* Innocents have only what ends well in any case. */
static void start_round(rn_runtime *runtime, struct dice *dice, struct started all[ROUND]) {
    for (int i = 0; i < ROUND; i++) {
        bool is_victim = roll_below(dice, 3) == 0;
        all[i].is_victim = is_victim;
        all[i].is_stopped = false;
        all[i].shape = roll_below(dice, 3) > 0 ? PLAIN : (enum shape)roll_below(dice, is_victim ? SHAPES : TICKING);
        all[i].function = is_victim ? victims[roll_below(dice, VICTIMS)] : roll_below(dice, 8) ? give_number : take_a_moment;
        all[i].future = start(runtime, &all[i], i);
        if (is_victim && roll_below(dice, 8) == 0) check(rn_stop(all[i].future) || rn_done(all[i].future), "it was not told");
        if (roll_below(dice, 16) == 0) spin_for((int64_t)roll_below(dice, 3000000));
    }
}

static bool is_time_for(struct dice *dice, const struct started *one, int number) {
    if (!one->is_victim || one->is_stopped) return false;
    return atomic_load(&notes()->begun[number]) > 0 || rn_done(one->future) || roll_below(dice, 2048) == 0;
}

/* Most of them soon after they have begun, which makes room for others; some of them twice. */
static void stop_victims(struct dice *dice, struct started all[ROUND]) {
    for (int left = ROUND, i = 0; left > 0; i = (i + 1) % ROUND) {
        if (i == 0) left = ROUND;
        if (is_time_for(dice, &all[i], i)) {
            if (roll_below(dice, 4) == 0) spin_for((int64_t)roll_below(dice, 1000000));
            (void)rn_stop(all[i].future);
            if (roll_below(dice, 4) == 0) (void)rn_stop(all[i].future);
            all[i].is_stopped = true;
        }
        left -= !all[i].is_victim || all[i].is_stopped;
        if (i == ROUND - 1) spin_for(20000);
    }
}

static void check_innocent(const struct started *one, int number) {
    rn_value result = rn_result(one->future);
    unsigned begun = atomic_load(&notes()->begun[number]), hooks = atomic_load(&notes()->hooks[number]);
    bool is_right = rn_kind(result) == RN_INT && rn_as_int(result) == number;
    check(is_right, "%d, shape %d, who was not stopped, has not its value: %s", number, one->shape,
          rn_is_error(result) ? rn_error_message(result) : "no error");
    check(begun == (one->shape == REPEATED ? 3u : 1u), "%d, shape %d, who was not stopped, has begun %u times", number, one->shape, begun);
    check(hooks == (one->shape == HOOKED ? 2u : 0u), "%d: %u hooks", number, hooks);
}

static unsigned own, ended, cancelled;

static void check_stopped(const struct started *one, int number, bool is_by_close) {
    rn_value result = rn_result(one->future);
    unsigned begun = atomic_load(&notes()->begun[number]);
    int code = rn_is_error(result) ? rn_error_code(result) : 0;
    bool is_own = rn_kind(result) == RN_INT && rn_as_int(result) == number;
    bool is_unprepared = is_by_close && code == RN_NO_PROCESSES; /* .prepare was ended */
    check(is_own || code == RN_OVERTIME || code == RN_CANCELLED || is_unprepared, "%d, victim in shape %d, has %d: %s", number, one->shape, code,
          code ? rn_error_message(result) : "no error");
    own += is_own;
    ended += code == RN_OVERTIME;
    cancelled += code == RN_CANCELLED;
    if (code == RN_CANCELLED) check(begun == 0, "%d was cancelled, and had begun", number);
    if (one->shape <= HOOKED) check(begun <= 1, "%d has begun %u times", number, begun);
}

static bool is_left(int pid) {
    for (int tries = 0; tries < 5000; tries++) {
        if (kill(pid, 0) != 0) return false;
        struct timespec pause = {0, 1000000};
        nanosleep(&pause, NULL);
    }
    return true;
}

static void check_processes(void) {
    unsigned count = atomic_load(&notes()->process_count);
    for (unsigned i = 0; i < count && i < PIDS; i++)
        check(!is_left(atomic_load(&notes()->processes[i])), "process %d is left", atomic_load(&notes()->processes[i]));
}

static void play(struct dice *dice) {
    static struct started all[ROUND];
    memset(notes(), 0, sizeof *notes());
    rn_runtime *runtime = open_any(dice);
    bool is_by_close = roll_below(dice, 4) == 0;
    start_round(runtime, dice, all);
    if (!is_by_close) stop_victims(dice, all);
    for (int i = 0; i < ROUND && !is_by_close; i++) {
        if (all[i].is_victim != proof_canary) check_stopped(&all[i], i, is_by_close);
        else check_innocent(&all[i], i);
    }
    check(rn_close(runtime, .how = is_by_close ? RN_STOP : RN_DRAIN) == RN_OK, "the runtime did not close");
    for (int i = 0; i < ROUND; i++) {
        if (is_by_close) check_stopped(&all[i], i, is_by_close);
        rn_release(all[i].future);
    }
    check_processes();
    proof_case();
}

/* ---- one at a time ---- */

static rn_runtime *open_impatient(int64_t stop_grace, int64_t grace, rn_task_fn *prepare_by) {
    return rn_open(.executor = RN_PROCESSES, .workers = 1, .stop_grace = stop_grace, .grace = grace, .log = rn_log_nothing,
                   .prepare = prepare_by);
}

static void await_begin(void) {
    while (!atomic_load(&notes()->begun[0])) {
    }
}

static void check_ended(rn_value result, const char *name) {
    bool is_error = rn_is_error(result);
    check(is_error && rn_error_code(result) == RN_OVERTIME && strstr(rn_error_message(result), ".stop_grace"),
          "%s: it was not ended: %s", name, is_error ? rn_error_message(result) : "no error");
}

/* So short that it is over when it begins, and so long that it never is. */
static void a_time_of_any_length_is_taken(void) {
    rn_runtime *runtime = open_impatient(1, 1, NULL);
    atomic_store(&notes()->begun[0], 0);
    rn_future *future = rn_run(runtime, loop, .arg = rn_int(0));
    await_begin();
    check(rn_stop(future), "it was not told");
    rn_value result = rn_result(future);
    check(rn_is_error(result) && rn_error_code(result) == RN_OVERTIME, "a nanosecond is not over");
    rn_release(future);
    check(rn_close(runtime) == RN_OK, "the runtime did not close");
    runtime = open_impatient(RN_DURATION_MAX, RN_DURATION_MAX, NULL);
    atomic_store(&notes()->begun[0], 0);
    future = rn_run(runtime, listen, .arg = rn_int(0));
    await_begin();
    check(rn_close(runtime, .how = RN_STOP) == RN_OK, "the runtime did not close");
    result = rn_result(future);
    check(rn_kind(result) == RN_INT && rn_as_int(result) == 0, "a hundred years are over");
    rn_release(future);
    proof_case();
}

static rn_value stop_myself_and(rn_call *call) {
    atomic_fetch_add(&notes()->begun[0], 1);
    check(rn_stop_self(call) && rn_stopping(call), "it was not told");
    if (rn_as_int(rn_arg(call))) raise(SIGKILL);
    while (rn_iteration(call) > 0) spin_for(1000); /* always */
    return rn_none();
}

/* The program's side knows: of the time that it has, and that there is no further iteration when it has died. */
static void who_stops_himself_is_stopped(bool is_crash, bool is_repeated) {
    rn_runtime *runtime = open_impatient(RN_MILLISECONDS(40), RN_SECONDS(60), NULL);
    atomic_store(&notes()->begun[0], 0);
    rn_future *future = rn_run(runtime, stop_myself_and, .arg = rn_int(is_crash), .times = is_repeated ? 5 : 1);
    rn_value result = rn_result(future);
    if (is_crash) check(rn_is_error(result) && rn_error_code(result) == RN_CRASHED, "it has not crashed");
    else check_ended(result, "who stops himself");
    check(atomic_load(&notes()->begun[0]) == 1, "%d iterations have begun", atomic_load(&notes()->begun[0]));
    rn_release(future);
    check(rn_close(runtime) == RN_OK, "the runtime did not close");
    proof_case();
}

/* It is no run that anybody could stop; but whoever closes would wait for it for ever. */
static void closing_by_stopping_ends_prepare(rn_task_fn *prepare_by) {
    rn_runtime *runtime = open_impatient(RN_MILLISECONDS(40), RN_SECONDS(60), prepare_by);
    atomic_store(&notes()->begun[0], 0);
    rn_future *future = rn_run(runtime, give_back);
    await_begin();
    check(rn_close(runtime, .how = RN_STOP) == RN_OK, "the runtime did not close");
    rn_value result = rn_result(future);
    bool is_right = rn_is_error(result) && rn_error_code(result) == RN_NO_PROCESSES;
    if (check(is_right, "it was run in a process that is not prepared")) check_ended(rn_error_cause(result), ".prepare");
    rn_release(future);
    proof_case();
}

static rn_value hang_in_prepare(rn_call *call) {
    for (atomic_store(&notes()->begun[0], 1); rn_iteration(call) > 0;) { /* always */
    }
    return rn_none();
}

static rn_value return_from_prepare_after_sigterm(rn_call *call) {
    struct sigaction action = {.sa_handler = note_signal};
    sigaction(SIGTERM, &action, NULL);
    for (atomic_store(&notes()->begun[0], 1); !has_come && rn_iteration(call) > 0;) {
    }
    return rn_none();
}

int main(int argc, char **argv) {
    proof_begin(argc, argv, "P15");
    guard_against_hang(580);
    if (!ledger_make()) return 2;
    uint64_t rounds = proof_amount(40, 4000);
    struct dice dice = dice_of(1);
    a_time_of_any_length_is_taken();
    for (int way = 0; way < 4; way++) who_stops_himself_is_stopped(way & 1, way & 2);
    closing_by_stopping_ends_prepare(hang_in_prepare);
    closing_by_stopping_ends_prepare(return_from_prepare_after_sigterm);
    for (uint64_t i = 0; i < rounds; i++) play(&dice);
    printf("# of what was stopped %u had their own outcome, %u were ended, %u cancelled\n", own, ended, cancelled);
    check(own > 0 && ended > 0 && cancelled > 0, "one of these was not tried");
    return proof_end("cases of runs that were stopped at any moment");
}
