/*
 * .on_idle: a worker that has run tasks calls it once before it looks further, gives up its seat, sleeps or ends.
 */
#include <pthread.h>
#include <semaphore.h>

#include "support.h"

/* What the callbacks are told: how many there were, and for how many tasks in all. */
typedef struct ledger {
    pthread_mutex_t lock;
    sem_t told;
    int calls, tasks, in_vain;
} ledger;

static __thread int tasks_since; /* that this thread has run, and has told nobody of */

static void on_idle(void *context) {
    ledger *book = context;
    pthread_mutex_lock(&book->lock);
    book->calls++;
    book->tasks += tasks_since;
    book->in_vain += tasks_since == 0;
    pthread_mutex_unlock(&book->lock);
    tasks_since = 0;
    sem_post(&book->told);
}

static rn_value count(rn_call *call) {
    tasks_since++;
    return hold(call);
}

static void begin(ledger *book) {
    *book = (ledger){.lock = PTHREAD_MUTEX_INITIALIZER};
    sem_init(&book->told, 0, 0);
    gate_close();
}

static void check_book(ledger *book, int calls, int tasks) {
    if (calls >= 0) assert_int_equal(book->calls, calls);
    if (calls >= 0) assert_int_equal(book->in_vain, 0); /* else it may have found runs that were run elsewhere meanwhile */
    assert_int_equal(book->tasks, tasks);
    sem_destroy(&book->told);
}

static rn_runtime *open_telling(ledger *book, unsigned workers) {
    return rn_open(.workers = workers, .log = rn_log_nothing, .on_idle = on_idle, .idle_context = book);
}

TEST(a_worker_that_ran_nothing_is_not_idle) {
    ledger book;
    begin(&book);
    assert_int_equal(rn_close(open_telling(&book, 4)), RN_OK);
    check_book(&book, 0, 0);
}

TEST(many_tasks_in_a_row_are_one_call) {
    ledger book;
    begin(&book);
    rn_runtime *runtime = open_telling(&book, 1);
    rn_release(rn_run(runtime, count));
    gate_await(1);
    for (int i = 0; i < 50; i++) rn_release(rn_run(runtime, count));
    gate_open();
    sem_wait(&book.told);
    assert_int_equal(rn_close(runtime), RN_OK);
    check_book(&book, 1, 51);
}

TEST(each_batch_is_a_call_of_its_own) {
    ledger book;
    begin(&book);
    gate_open();
    rn_runtime *runtime = open_telling(&book, 1);
    for (int i = 0; i < 20; i++) {
        rn_release(rn_run(runtime, count));
        sem_wait(&book.told); /* while the runtime is open and has nothing else to do */
    }
    assert_int_equal(rn_close(runtime), RN_OK);
    check_book(&book, 20, 20);
}

/* The clock moves when all workers have parked. */
TEST(between_two_ticks_a_worker_is_idle) {
    ledger book;
    begin(&book);
    gate_open();
    rn_testing kit = {.size = sizeof kit, .virtual_clock = true};
    rn_runtime *runtime = rn_open(.workers = 1, .log = rn_log_nothing, .testing = &kit, .on_idle = on_idle, .idle_context = &book);
    rn_future *future = rn_run(runtime, count, .every = RN_SECONDS(1), .times = 5);
    (void)rn_result(future);
    rn_release(future);
    assert_int_equal(rn_close(runtime), RN_OK);
    check_book(&book, 5, 5);
}

/* Its seat was taken by a spare, which runs `held` and has it still: one of the two is too many, and it is this one. */
static rn_value come_back(rn_call *call) {
    tasks_since++;
    rn_future *held = rn_run(rn_runtime_of(call), count);
    while (rn_state(held) != RN_RUNNING) (void)rn_wait(held, RN_MILLISECONDS(1));
    rn_release(held);
    return rn_none();
}

TEST(a_worker_that_gives_up_its_seat_is_idle) {
    ledger book;
    begin(&book);
    rn_runtime *runtime = open_telling(&book, 1);
    rn_release(rn_run(runtime, come_back));
    sem_wait(&book.told); /* the gate is closed still */
    gate_open();
    assert_int_equal(rn_close(runtime), RN_OK);
    check_book(&book, 2, 2);
}

static rn_value branch(rn_call *call) {
    tasks_since++;
    int64_t depth = rn_as_int(rn_arg(call));
    if (depth == 0) return rn_none();
    rn_future *left = rn_run(rn_runtime_of(call), branch, .arg = rn_int(depth - 1));
    rn_future *right = rn_run(rn_runtime_of(call), branch, .arg = rn_int(depth - 1));
    (void)rn_result(left);
    (void)rn_result(right);
    rn_release(left);
    rn_release(right);
    return rn_none();
}

TEST(no_worker_sleeps_or_ends_with_tasks_that_it_did_not_tell_of) {
    for (int round = 0; round < 20; round++) {
        ledger book;
        begin(&book);
        rn_runtime *runtime = open_telling(&book, 4);
        for (int i = 0; i < 4; i++) rn_release(rn_run(runtime, branch, .arg = rn_int(7)));
        assert_int_equal(rn_close(runtime), RN_OK);
        check_book(&book, -1, 4 * 255);
    }
}

TEST(options_of_an_older_header_have_no_idle_call) {
    ledger book;
    begin(&book);
    gate_open();
    rn_options options = {.size = offsetof(rn_options, on_idle), .workers = 1, .log = rn_log_nothing, .on_idle = on_idle,
                          .idle_context = &book};
    rn_runtime *runtime = rn_open_with(&options);
    rn_release(rn_run(runtime, count));
    assert_int_equal(rn_close(runtime), RN_OK);
    check_book(&book, 0, 0);
}
