/*
 * T13: complete, cancel, stop, wait with a limit, add a done callback, and release, all at once on the
 * same run. Whatever the order was: one outcome, which fits what each racer was told; each hook and each
 * accepted callback once; the argument's and the result's destructor once.
 *
 * While the workers go through the runs of a round, one racer follows the thread that starts them, at its
 * heels, and the other comes to meet the workers from the last run backwards. The last racer to leave a
 * run releases its future, which may still be pending.
 */
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "support.h"

#define RACERS 2
#define RUNS 1024 /* a round */
#define SPINS_MAX 500u
#define ACTIONS 3

struct race {
    rn_future *future;
    _Atomic bool started;
    unsigned spins;
    _Atomic unsigned racers_inside;
    _Atomic unsigned iterations, on_iters, on_successes, on_finisheds;
    _Atomic unsigned arg_destroyed, result_destroyed;
    _Atomic unsigned first_called, later_called, later_accepted;
    _Atomic unsigned told_cancelled, told_begun, told_done;
    _Atomic bool ended_cancelled;
};

static struct race races[RUNS];
static struct counter ended = COUNTER_ZERO;   /* first callbacks */
static struct counter settled = COUNTER_ZERO; /* destructors and later callbacks */
static uint64_t ended_expected, settled_expected;
static pthread_barrier_t round_begins, round_ends;
static bool no_more_rounds;
static _Thread_local bool is_adding; /* this thread is within rn_add_done_callback() */
static uint64_t cancelled_races;

static void destroy_arg(void *pointer) {
    atomic_fetch_add(&((struct race *)pointer)->arg_destroyed, 1);
    counter_add(&settled, 1);
}

static void destroy_result(void *pointer) {
    atomic_fetch_add(&((struct race *)pointer)->result_destroyed, 1);
    counter_add(&settled, 1);
}

static struct race *race_of(const rn_call *call) { return rn_as_pointer(rn_arg(call)); }

/* It takes a little while, so that the racers find runs in each state. */
static rn_value function(rn_call *call) {
    struct race *race = race_of(call);
    atomic_fetch_add(&race->iterations, 1);
    for (volatile unsigned spins = race->spins; spins > 0; spins--)
        continue;
    return rn_pointer_owned(race, destroy_result);
}

static rn_value on_iter(rn_call *call, rn_value success, rn_value error) {
    (void)success;
    (void)error;
    atomic_fetch_add(&race_of(call)->on_iters, 1);
    return rn_none();
}

static rn_value on_success(rn_call *call, rn_value success) {
    (void)success;
    atomic_fetch_add(&race_of(call)->on_successes, 1);
    return rn_none();
}

static rn_value on_finished(rn_call *call, rn_value success, rn_value error) {
    (void)success;
    (void)error;
    atomic_fetch_add(&race_of(call)->on_finisheds, 1);
    return rn_none();
}

static void first_callback(rn_future *future, void *context) {
    struct race *race = context;
    atomic_fetch_add(&race->first_called, 1);
    atomic_store(&race->ended_cancelled, rn_cancelled(future));
    check(rn_done(future), "a done callback before the end");
    counter_add(&ended, 1);
}

/* One that is added to a future which is done runs at once, perhaps before the earlier ones have run. */
static void later_callback(rn_future *future, void *context) {
    struct race *race = context;
    (void)future;
    check(is_adding || atomic_load(&race->first_called) == 1, "a later callback was called before the first");
    atomic_fetch_add(&race->later_called, 1);
    counter_add(&settled, 1);
}

/* ------------------------------------------------------------------------------------------------
 * Racers
 */
static void note_wait(struct race *race, int code) {
    check(code == RN_OK || code == RN_TIMED_OUT, "rn_wait gave %s", rn_code_name(code));
    if (code != RN_OK)
        return;
    atomic_fetch_add(&race->told_done, 1);
    rn_value value = rn_result_within(race->future, 0);
    check(rn_done(race->future), "rn_wait said done, rn_done does not");
    check(!rn_is_error(value) || rn_error_code(value) == RN_CANCELLED, "a done run gave code %d",
          rn_is_error(value) ? rn_error_code(value) : 0);
}

static void cancel(struct race *race) {
    atomic_fetch_add(rn_cancel(race->future) ? &race->told_cancelled : &race->told_begun, 1);
}

static void stop(struct race *race) {
    if (!rn_stop(race->future))
        atomic_fetch_add(&race->told_done, 1);
}

static void add(struct race *race) {
    is_adding = true;
    if (rn_add_done_callback(race->future, later_callback, race) == RN_OK)
        atomic_fetch_add(&race->later_accepted, 1);
    is_adding = false;
}

/* A wait with a limit is rare, because the racer that sleeps in it is left behind by the workers. */
static void act(struct race *race, struct dice *dice) {
    uint64_t choice = roll_below(dice, 64);
    if (choice < 16)
        cancel(race);
    else if (choice < 28)
        stop(race);
    else if (choice < 44)
        add(race);
    else if (choice < 63)
        note_wait(race, rn_wait(race->future, 0));
    else
        note_wait(race, rn_wait(race->future, (int64_t)roll_below(dice, 5000)));
}

static void leave(struct race *race) {
    if (atomic_fetch_sub(&race->racers_inside, 1) == 1)
        rn_release(race->future);
}

static void race_through(struct dice *dice, bool backwards) {
    for (unsigned i = 0; i < RUNS; i++) {
        struct race *race = &races[backwards ? RUNS - 1 - i : i];
        while (!atomic_load(&race->started))
            sched_yield();
        for (uint64_t actions = roll_below(dice, ACTIONS + 1); actions > 0; actions--)
            act(race, dice);
        leave(race);
    }
}

static void *racer(void *context) {
    struct dice dice = dice_of((uintptr_t)context);
    while (true) {
        pthread_barrier_wait(&round_begins);
        if (no_more_rounds)
            return NULL;
        race_through(&dice, context != NULL);
        pthread_barrier_wait(&round_ends);
    }
}

/* ------------------------------------------------------------------------------------------------
 * Rounds
 */
static void start_round(rn_runtime *runtime, struct dice *dice) {
    for (unsigned i = 0; i < RUNS; i++) {
        struct race *race = &races[i];
        bool waits = roll_below(dice, 8) == 0;
        atomic_store(&race->racers_inside, RACERS);
        race->spins = (unsigned)roll_below(dice, SPINS_MAX);
        race->future = rn_run(runtime, function, .arg = rn_pointer_owned(race, destroy_arg), .on_iter = on_iter,
                              .on_success = on_success, .on_finished = on_finished, .times = 1 + roll_below(dice, 3),
                              .start_in = waits ? (int64_t)roll_below(dice, 20000) : 0);
        check(rn_add_done_callback(race->future, first_callback, race) == RN_OK, "the first callback was refused");
        atomic_store(&race->started, true);
    }
}

static void judge_cancelled(struct race *race) {
    cancelled_races++;
    check(race->iterations == 0, "a cancelled run ran %u iterations", race->iterations);
    check(race->on_iters + race->on_successes + race->on_finisheds == 0, "a cancelled run ran a hook");
    check(race->told_begun == 0, "rn_cancel said that a cancelled run has begun");
    check(race->result_destroyed == 0, "a cancelled run had a result");
}

static void judge_done(struct race *race) {
    check(race->iterations >= 1 && race->iterations <= 3, "%u iterations", race->iterations);
    check(race->on_iters == race->iterations, "%u on_iter for %u iterations", race->on_iters, race->iterations);
    check(race->on_successes == 1 && race->on_finisheds == 1, "on_success %u times, on_finished %u times",
          race->on_successes, race->on_finisheds);
    check(race->told_cancelled == 0, "rn_cancel said that a run which ran is cancelled");
    check(race->result_destroyed == race->iterations, "%u results were made, %u destroyed", race->iterations,
          race->result_destroyed);
}

static void judge(struct race *race) {
    check(race->first_called == 1, "the first callback was called %u times", race->first_called);
    check(race->later_called == race->later_accepted, "%u later callbacks were accepted, %u called",
          race->later_accepted, race->later_called);
    check(race->arg_destroyed == 1, "the argument was destroyed %u times", race->arg_destroyed);
    if (race->ended_cancelled)
        judge_cancelled(race);
    else
        judge_done(race);
    proof_case();
}

/*
 * Returns when everything that the round set in motion has ended. The number of iterations is final once
 * every run has called its first callback; then the rest that is expected can be counted.
 */
static void await_end_of_round(void) {
    ended_expected += RUNS;
    counter_await(&ended, ended_expected);
    for (unsigned i = 0; i < RUNS; i++)
        settled_expected += 1 + atomic_load(&races[i].iterations) + atomic_load(&races[i].later_accepted);
    counter_await(&settled, settled_expected);
}

/* The canary loses a callback in the bookkeeping, as a library that drops a completion would. */
static void play_round(rn_runtime *runtime, struct dice *dice) {
    memset(races, 0, sizeof races);
    pthread_barrier_wait(&round_begins);
    start_round(runtime, dice);
    pthread_barrier_wait(&round_ends);
    await_end_of_round();
    if (proof_canary)
        atomic_fetch_sub(&races[roll_below(dice, RUNS)].first_called, 1);
    for (unsigned i = 0; i < RUNS; i++)
        judge(&races[i]);
}

static void play_rounds(uint64_t rounds) {
    struct dice dice = dice_of(RACERS);
    pthread_t racers[RACERS];
    rn_runtime *runtime = rn_open(.workers = 2, .log = rn_log_nothing);
    pthread_barrier_init(&round_begins, NULL, RACERS + 1);
    pthread_barrier_init(&round_ends, NULL, RACERS + 1);
    for (uintptr_t i = 0; i < RACERS; i++)
        if (!check(pthread_create(&racers[i], NULL, racer, (void *)i) == 0, "no thread for a racer"))
            return;
    for (uint64_t i = 0; i < rounds && proof_broken() < 20; i++)
        play_round(runtime, &dice);
    no_more_rounds = true;
    pthread_barrier_wait(&round_begins);
    for (unsigned i = 0; i < RACERS; i++)
        pthread_join(racers[i], NULL);
    check(rn_close(runtime) == RN_OK, "close after the races");
}

int main(int argc, char **argv) {
    proof_begin(argc, argv, "T13");
    guard_against_hang(proof_torture ? 3000 : 240);
    play_rounds(proof_amount(400000, 10000000) / RUNS + 1);
    check(counter_read(&ended) == ended_expected, "%lld first callbacks too many",
          (long long)(counter_read(&ended) - ended_expected));
    check(counter_read(&settled) == settled_expected, "%lld callbacks or destructors too many",
          (long long)(counter_read(&settled) - settled_expected));
    printf("  %llu runs were cancelled\n", (unsigned long long)cancelled_races);
    return proof_end("races");
}
