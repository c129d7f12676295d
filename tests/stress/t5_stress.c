/*
 * T4 and T5: producers, timers, cancels, stops, nested submissions and waits, done callbacks, lists and
 * further runtimes that open and close, all at once. Under ThreadSanitizer this is T4.
 *
 * Every task has an identity, and adds a scrambled form of it to the account of its producer when it
 * runs; the producer adds the same to its expectation once it knows that the task was to run. The two
 * sums agree only if each task ran exactly as often as it should have. What is decided by a race (was
 * it cancelled in time? how many iterations before the stop?) the future tells when it is done.
 */
#include <runium/testing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "support.h"

#define PRODUCERS 4u
#define LANES (PRODUCERS + 2u) /* and one each for the threads that open and close runtimes */
#define BATCH 48

struct account {
    _Alignas(64) _Atomic uint64_t sum; /* of what ran */
    _Atomic uint64_t ran;
    uint64_t expected_sum, expected; /* the lane's own thread alone */
    uint64_t next;
};

static struct account accounts[LANES];
static _Atomic bool time_is_over;
static _Atomic uint64_t callbacks, callbacks_accepted, listed;

/* ------------------------------------------------------------------------------------------------
 * Identities: the lane in the low byte, then room for iterations or children, then a number.
 */
static int64_t new_identity(unsigned lane) { return (int64_t)(++accounts[lane].next << 24 | lane); }

static void note_ran(int64_t identity, uint64_t part) {
    struct account *account = &accounts[(uint64_t)identity & 0xff];
    atomic_fetch_add(&account->sum, scramble((uint64_t)identity + (part << 8)));
    atomic_fetch_add(&account->ran, 1);
}

static void expect_ran(int64_t identity, uint64_t parts) {
    struct account *account = &accounts[(uint64_t)identity & 0xff];
    for (uint64_t part = 1; part <= parts; part++)
        account->expected_sum += scramble((uint64_t)identity + (part << 8));
    account->expected += parts;
}

/* ------------------------------------------------------------------------------------------------
 * Tasks. Each returns how many parts of its identity have run when it is done.
 */
static rn_value once_or_more(rn_call *call) {
    note_ran(rn_as_int(rn_arg(call)), rn_iteration(call));
    return rn_int((int64_t)rn_iteration(call));
}

struct tree {
    int64_t identity;
    _Atomic uint64_t next_part;
    struct counter ended;
};

static rn_value leaf(rn_call *call) {
    struct tree *tree = rn_as_pointer(rn_arg(call));
    note_ran(tree->identity, atomic_fetch_add(&tree->next_part, 1) + 1);
    counter_add(&tree->ended, 1);
    return rn_none();
}

static rn_value branch(rn_call *call) {
    for (int i = 0; i < 4; i++)
        rn_run_detached(rn_runtime_of(call), leaf, .arg = rn_keep(rn_arg(call)));
    return leaf(call);
}

static rn_value trunk(rn_call *call) {
    rn_future *branches[4];
    for (int i = 0; i < 4; i++)
        branches[i] = rn_run(rn_runtime_of(call), branch, .arg = rn_keep(rn_arg(call)), .name = "branch");
    for (int i = 0; i < 4; i++) {
        check(!rn_is_error(rn_result(branches[i])), "a wait within a task failed");
        rn_release(branches[i]);
    }
    return leaf(call);
}

#define TREE_PARTS (4 * 4 + 4 + 1)

static rn_value keep_success(rn_call *call, rn_value success) {
    (void)call;
    return rn_keep(success);
}

static void count_callback(rn_future *future, void *context) {
    (void)context;
    check(rn_done(future), "a done callback before the end");
    atomic_fetch_add(&callbacks, 1);
}

/* ------------------------------------------------------------------------------------------------
 * What a producer does with a batch
 */
struct batch {
    rn_runtime *runtime;
    struct dice *dice;
    unsigned lane;
    bool will_stop;  /* its runtime will be closed with RN_STOP: nobody could tell which detached runs that ends */
    bool has_limit;  /* its runtime has a queue limit, for which a run with a delay may be refused */
    int64_t identities[BATCH];
    rn_future *futures[BATCH];
};

static void start_batch(struct batch *batch, const rn_task *pattern) {
    for (int i = 0; i < BATCH; i++) {
        rn_task task = *pattern;
        batch->identities[i] = new_identity(batch->lane);
        task.size = sizeof task;
        task.function = once_or_more;
        task.arg = rn_int(batch->identities[i]);
        batch->futures[i] = rn_submit(batch->runtime, &task);
    }
}

static void end_run(const struct batch *batch, int number) {
    rn_future *future = batch->futures[number];
    rn_value value = rn_result(future);
    bool is_refused = batch->has_limit && rn_is_error(value) && rn_error_code(value) == RN_QUEUE_FULL;
    if (rn_kind(value) == RN_INT)
        expect_ran(batch->identities[number], (uint64_t)rn_as_int(value));
    else
        check(rn_cancelled(future) || is_refused, "a run failed: %s",
              rn_is_error(value) ? rn_error_message(value) : "not an int");
    rn_release(future);
}

static void end_batch(struct batch *batch) {
    for (int i = 0; i < BATCH; i++)
        end_run(batch, i);
}

static void plain_futures(struct batch *batch) {
    start_batch(batch, &(const rn_task){.name = "plain"});
    end_batch(batch);
}

static void named_with_hooks(struct batch *batch) {
    char name[80];
    snprintf(name, sizeof name, "lane %u, number %llu, with a name that is cut somewhere near its end", batch->lane,
             (unsigned long long)accounts[batch->lane].next);
    start_batch(batch, &(const rn_task){.name = name, .on_success = keep_success, .updates_result = RN_ON_SUCCESS});
    end_batch(batch);
}

static void timers(struct batch *batch) {
    start_batch(batch, &(const rn_task){.start_in = (int64_t)roll_below(batch->dice, 300000)});
    end_batch(batch);
}

static void periodic(struct batch *batch) {
    start_batch(batch, &(const rn_task){.every = 1 + (int64_t)roll_below(batch->dice, 30000), .times = 3});
    end_batch(batch);
}

static void cancelled(struct batch *batch) {
    bool later = roll_below(batch->dice, 2) == 0;
    start_batch(batch, &(const rn_task){.start_in = later ? (int64_t)roll_below(batch->dice, 100000) : 0});
    for (int i = BATCH - 1; i >= 0; i--)
        if (rn_cancel(batch->futures[i]))
            check(rn_cancelled(batch->futures[i]), "rn_cancel and rn_cancelled disagree");
    end_batch(batch);
}

static void stopped(struct batch *batch) {
    start_batch(batch, &(const rn_task){.times = 1 + roll_below(batch->dice, 40), .name = "stopped"});
    for (int i = 0; i < BATCH; i++)
        rn_stop(batch->futures[roll_below(batch->dice, BATCH)]);
    end_batch(batch);
}

static void with_callbacks(struct batch *batch) {
    start_batch(batch, &(const rn_task){.times = 1});
    uint64_t accepted = 0;
    for (int i = 0; i < 2 * BATCH; i++)
        accepted += rn_add_done_callback(batch->futures[i / 2], count_callback, NULL) == RN_OK;
    atomic_fetch_add(&callbacks_accepted, accepted);
    end_batch(batch);
}

static void trees(struct batch *batch) {
    struct tree tree = {.identity = new_identity(batch->lane), .ended = COUNTER_ZERO};
    rn_future *future = rn_run(batch->runtime, trunk, .arg = rn_pointer(&tree));
    check(!rn_is_error(rn_result(future)), "a tree failed");
    rn_release(future);
    counter_await(&tree.ended, TREE_PARTS);
    expect_ran(tree.identity, TREE_PARTS);
}

static void detached_in_order(struct batch *batch) {
    if (batch->will_stop)
        return;
    for (int i = 0; i < BATCH; i++) {
        int64_t identity = new_identity(batch->lane);
        if (check(rn_run_detached(batch->runtime, once_or_more, .arg = rn_int(identity)) == RN_OK, "detached"))
            expect_ran(identity, 1);
    }
}

typedef void batch_fn(struct batch *batch);
static batch_fn *const batch_kinds[] = {plain_futures, named_with_hooks, timers,        periodic, cancelled,
                                        stopped,       with_callbacks,   trees, detached_in_order};

static void play_batch(struct batch *batch) {
    batch_kinds[roll_below(batch->dice, sizeof batch_kinds / sizeof *batch_kinds)](batch);
}

/* ------------------------------------------------------------------------------------------------
 * Threads
 */
struct thread {
    unsigned lane;
    rn_runtime *runtime;
};

static void *produce(void *context) {
    struct thread *thread = context;
    struct dice dice = dice_of(thread->lane);
    struct batch batch = {.runtime = thread->runtime, .dice = &dice, .lane = thread->lane};
    while (!atomic_load(&time_is_over))
        play_batch(&batch);
    return NULL;
}

/* Runs that are pending when their runtime closes end as it says: drained, or stopped. */
static void close_with_pending(struct batch *batch, enum rn_close_how how) {
    start_batch(batch, &(const rn_task){.times = 1 + roll_below(batch->dice, 4)});
    check(rn_close(batch->runtime, .how = how) == RN_OK, "a runtime did not close");
    for (int i = 0; i < BATCH; i++) {
        check(rn_done(batch->futures[i]), "a run is not done after the close");
        check(how == RN_STOP || !rn_cancelled(batch->futures[i]), "a drained run was cancelled");
    }
    end_batch(batch);
}

static void *open_and_close(void *context) {
    struct thread *thread = context;
    struct dice dice = dice_of(thread->lane);
    while (!atomic_load(&time_is_over)) {
        uint64_t limit = roll_below(&dice, 3) * 16;
        rn_runtime *own = rn_open(.workers = 1 + (unsigned)roll_below(&dice, 3), .log = rn_log_nothing,
                                  .queue_limit = limit,
                                  .when_full = roll_below(&dice, 2) ? RN_BLOCK : RN_CALLER_RUNS);
        bool stops = roll_below(&dice, 2) == 0;
        struct batch batch = {.runtime = own, .dice = &dice, .lane = thread->lane, .will_stop = stops,
                              .has_limit = limit > 0};
        for (uint64_t batches = roll_below(&dice, 4); batches > 0; batches--)
            play_batch(&batch);
        close_with_pending(&batch, stops ? RN_STOP : RN_DRAIN);
    }
    return NULL;
}

static void *list(void *context) {
    rn_run_info infos[64];
    rn_stats stats = {.size = sizeof stats};
    while (!atomic_load(&time_is_over)) {
        int64_t pending = rn_pending(context, infos, 64);
        check(pending >= 0, "the pending list failed");
        for (int64_t i = 0; i < pending && i < 64; i++) {
            check(memchr(infos[i].name, '\0', sizeof infos[i].name) != NULL, "a pending name without end");
            check(infos[i].state == RN_WAITING || infos[i].state == RN_RUNNING, "pending state %d", infos[i].state);
            check(infos[i].age_ns >= 0 && infos[i].next_start_ns >= 0, "a pending time below zero");
        }
        check(rn_get_stats(context, &stats) == RN_OK, "the statistics failed");
        atomic_fetch_add(&listed, 1);
        struct timespec pause = {0, 200000};
        nanosleep(&pause, NULL); /* so that the lister does not starve what it lists */
    }
    return NULL;
}

/* ------------------------------------------------------------------------------------------------
 * The whole
 */
static void run_for(rn_runtime *runtime, unsigned seconds) {
    struct thread threads[LANES];
    pthread_t handles[LANES + 1];
    for (unsigned i = 0; i < LANES; i++) {
        threads[i] = (struct thread){i, runtime};
        if (pthread_create(&handles[i], NULL, i < PRODUCERS ? produce : open_and_close, &threads[i]) != 0)
            handles[i] = pthread_self();
    }
    pthread_create(&handles[LANES], NULL, list, runtime);
    struct timespec length = {(time_t)seconds, 0};
    nanosleep(&length, NULL);
    atomic_store(&time_is_over, true);
    for (unsigned i = 0; i <= LANES; i++)
        pthread_join(handles[i], NULL);
}

/* The canary forgets one task of one lane, as a queue that loses a task would. */
static uint64_t judge_accounts(void) {
    uint64_t all = 0;
    if (proof_canary)
        atomic_fetch_sub(&accounts[1].sum, scramble(1));
    for (unsigned i = 0; i < LANES; i++) {
        struct account *account = &accounts[i];
        check(account->expected == account->ran, "lane %u: %llu runs expected, %llu ran", i,
              (unsigned long long)account->expected, (unsigned long long)account->ran);
        check(account->expected_sum == account->sum, "lane %u: the checksum of %llu runs differs", i,
              (unsigned long long)account->ran);
        all += account->ran;
    }
    return all;
}

int main(int argc, char **argv) {
    proof_begin(argc, argv, UNDER_TSAN ? "T4" : "T5");
    const char *given = proof_option("--seconds");
    unsigned seconds = given != NULL ? (unsigned)strtoul(given, NULL, 10) : proof_canary ? 1 : proof_torture ? 300 : 9;
    guard_against_hang(seconds + 120);
    rn_runtime *runtime = rn_open(.workers = 3, .log = rn_log_nothing, .name = "stress");
    run_for(runtime, seconds);
    check(rn_close(runtime) == RN_OK, "the runtime did not close");
    uint64_t ran = judge_accounts();
    check(callbacks == callbacks_accepted, "%llu callbacks were accepted, %llu called",
          (unsigned long long)callbacks_accepted, (unsigned long long)callbacks);
    printf("  %llu done callbacks, %llu lists\n", (unsigned long long)callbacks, (unsigned long long)listed);
    if (proof_broken() == 0)
        proof_cases(ran);
    proof_case();
    return proof_end("tasks, each of which ran once");
}
