/* Rule F5: limits, and input that is none. */
#include "support.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LIMIT = 8 };

/* A runtime whose workers are all held, with LIMIT - 1 runs that have not begun. */
static rn_runtime *open_almost_full(enum rn_when_full when_full, rn_future **futures) {
    rn_runtime *rn = OPEN(.queue_limit = LIMIT, .when_full = when_full);
    hold_every_worker(rn);
    for (int i = 0; i < LIMIT - 1; i++) futures[i] = rn_run(rn, note_event, .arg = rn_int(i));
    for (int i = 0; i < LIMIT - 1; i++) assert_false(rn_done(futures[i]));
    return rn;
}

RULE(f5_a_full_queue_fails_the_next_run_where_it_is_asked_to) {
    rn_future *futures[LIMIT + 1];
    rn_runtime *rn = open_almost_full(RN_FAIL, futures);
    futures[LIMIT - 1] = rn_run(rn, note_event, .arg = rn_int(LIMIT - 1));
    assert_false(rn_done(futures[LIMIT - 1]));
    futures[LIMIT] = rn_run(rn, note_event, .arg = rn_int(LIMIT));
    assert_true(rn_done(futures[LIMIT]));
    assert_ends_with_error(futures[LIMIT], RN_QUEUE_FULL);
    assert_int_equal(rn_run_detached(rn, nothing), RN_QUEUE_FULL);
    assert_int_equal(book_count_code(RN_QUEUE_FULL), 1);
    free_every_worker();
    for (int i = 0; i < LIMIT; i++) assert_ends_with_int(futures[i], i);
    assert_ends_with_int(rn_run(rn, give_back, .arg = rn_int(70)), 70);
    close_runtime(rn);
    assert_story(LIMIT, "");
}

RULE(f5_a_cancelled_run_makes_room_in_a_full_queue) {
    rn_future *futures[LIMIT + 1];
    rn_runtime *rn = open_almost_full(RN_FAIL, futures);
    futures[LIMIT - 1] = rn_run(rn, note_event, .arg = rn_int(LIMIT - 1));
    assert_true(rn_cancel(futures[0]));
    futures[LIMIT] = rn_run(rn, note_event, .arg = rn_int(LIMIT));
    assert_false(rn_done(futures[LIMIT]));
    free_every_worker();
    assert_ends_with_error(futures[0], RN_CANCELLED);
    for (int i = 1; i <= LIMIT; i++) assert_ends_with_int(futures[i], i);
    close_runtime(rn);
}

RULE(f5_runs_that_wait_for_their_start_count_in_the_queue) {
    rn_runtime *rn = OPEN_VIRTUAL(.queue_limit = LIMIT, .when_full = RN_FAIL);
    rn_future *futures[LIMIT];
    for (int i = 0; i < LIMIT; i++) futures[i] = rn_run(rn, give_back, .arg = rn_int(i), .start_in = RN_HOURS(1));
    assert_ends_with_error(rn_run(rn, nothing, .start_in = RN_HOURS(1)), RN_QUEUE_FULL);
    for (int i = 0; i < LIMIT; i++) assert_ends_with_int(futures[i], i);
    assert_ends_with_int(rn_run(rn, give_back, .arg = rn_int(1), .start_in = RN_HOURS(1)), 1);
    close_runtime(rn);
}

RULE(f5_a_full_queue_runs_the_next_one_in_the_caller_where_it_is_asked_to) {
    threads_only(); /* a worker process has no thread of the program */
    rn_future *futures[LIMIT + 1];
    rn_runtime *rn = open_almost_full(RN_CALLER_RUNS, futures);
    futures[LIMIT - 1] = rn_run(rn, note_event, .arg = rn_int(LIMIT - 1));
    assert_false(rn_done(futures[LIMIT - 1]));
    rn_task task = scripted_task(LIMIT);
    task.times = 2;
    futures[LIMIT] = rn_submit(rn, &task);
    assert_true(rn_done(futures[LIMIT]));
    assert_story(LIMIT, "f1 i1 f2 i2 s2 z2");
    struct event events[6];
    assert_int_equal(events_of(LIMIT, events, 6), 6);
    for (int i = 0; i < 6; i++) assert_int_equal(events[i].tid, (pid_t)syscall(SYS_gettid));
    free_every_worker();
    for (int i = 0; i < LIMIT; i++) assert_ends_with_int(futures[i], i);
    assert_ends_with_int(futures[LIMIT], iteration_value(LIMIT, 2));
    close_runtime(rn);
}

/* Submits one run more than the queue takes, and tells whether the gate had been opened when rn_run() returned. */
struct blocked {
    rn_runtime *runtime;
    rn_future *future;
    atomic_int thread, gate_open, open_on_return, returned;
};

static void *submit_one_more(void *context) {
    struct blocked *blocked = context;
    atomic_store(&blocked->thread, (int)syscall(SYS_gettid));
    blocked->future = rn_run(blocked->runtime, note_event, .arg = rn_int(LIMIT));
    atomic_store(&blocked->open_on_return, atomic_load(&blocked->gate_open));
    atomic_store(&blocked->returned, 1);
    return NULL;
}

static bool thread_sleeps(int thread) {
    char path[64], line[512] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", thread);
    FILE *file = fopen(path, "r");
    bool read = file && fgets(line, sizeof line, file);
    if (file) fclose(file);
    const char *end = strrchr(line, ')');
    return read && end && end[1] == ' ' && end[2] == 'S';
}

RULE(f5_a_full_queue_blocks_the_caller_by_default) {
    rn_future *futures[LIMIT];
    struct blocked blocked = {.runtime = open_almost_full(RN_BLOCK, futures)};
    futures[LIMIT - 1] = rn_run(blocked.runtime, note_event, .arg = rn_int(LIMIT - 1));
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, submit_one_more, &blocked), 0);
    while (!atomic_load(&blocked.returned) &&
           !(atomic_load(&blocked.thread) && thread_sleeps(atomic_load(&blocked.thread))))
        sched_yield();
    assert_story(LIMIT, "");
    atomic_store(&blocked.gate_open, 1);
    free_every_worker();
    pthread_join(thread, NULL);
    assert_int_equal(atomic_load(&blocked.open_on_return), 1);
    assert_ends_with_int(blocked.future, LIMIT);
    for (int i = 0; i < LIMIT; i++) assert_ends_with_int(futures[i], i);
    close_runtime(blocked.runtime);
}

static rn_value submit_ten(rn_call *call) {
    for (int i = 0; i < 10; i++) rn_run_detached(rn_runtime_of(call), note_event, .arg = rn_int(100 + i));
    return rn_none();
}

RULE(f5_a_task_that_meets_a_full_queue_neither_hangs_nor_loses_a_run) {
    static const enum rn_when_full policies[] = {RN_BLOCK, RN_CALLER_RUNS};
    for (size_t i = 0; i < COUNT_OF(policies); i++) {
        rn_runtime *rn = OPEN(.workers = 1, .queue_limit = 2, .when_full = policies[i]);
        rn_future *future = rn_run(rn, submit_ten);
        assert_int_equal(rn_wait(future, -1), RN_OK);
        close_runtime(rn);
        rn_release(future);
        assert_int_equal(event_count(), 10 * (i + 1));
    }
}

RULE(f5_without_a_limit_the_queue_takes_what_it_gets) {
    rn_runtime *rn = OPEN();
    hold_every_worker(rn);
    for (int i = 0; i < 100000; i++) assert_int_equal(rn_run_detached(rn, nothing), RN_OK);
    assert_true(rn_pending(rn, NULL, 0) >= 100000);
    free_every_worker();
    close_runtime(rn);
}

RULE(f5_a_value_beyond_the_longest_is_refused_before_it_is_read) {
    static const size_t too_long[] = {(size_t)RN_LENGTH_MAX + 1, (size_t)5 << 30, SIZE_MAX / 2, SIZE_MAX};
    rn_runtime *rn = OPEN();
    for (size_t i = 0; i < COUNT_OF(too_long); i++) {
        rn_value bytes = rn_bytes("x", too_long[i]), text = rn_text_n("x", too_long[i]);
        assert_error_code(bytes, RN_TOO_LARGE);
        assert_error_code(text, RN_TOO_LARGE);
        assert_true(strlen(rn_error_message(bytes)) > 0);
        rn_drop(text);
        assert_ends_with_error(rn_run(rn, give_back, .arg = bytes), RN_TOO_LARGE);
    }
    close_runtime(rn);
}

RULE(f5_a_value_of_five_gibibytes_that_is_really_there_is_refused) {
    size_t size = (size_t)5 << 30;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) skip();
    rn_runtime *rn = OPEN();
    assert_ends_with_error(rn_run(rn, give_back, .arg = rn_bytes(memory, size)), RN_TOO_LARGE);
    close_runtime(rn);
    munmap(memory, size);
}

RULE(f5_a_large_value_arrives_whole) {
    enum { SIZE = 16 << 20 };
    unsigned char *data = malloc(SIZE);
    assert_non_null(data);
    for (size_t i = 0; i < SIZE; i++) data[i] = (unsigned char)(i * 31 + i / 4096);
    rn_runtime *rn = OPEN();
    rn_value result = end_of(rn_run(rn, give_back, .arg = rn_bytes(data, SIZE)));
    assert_int_equal(rn_length(result), SIZE);
    assert_int_equal(memcmp(rn_as_bytes(result), data, SIZE), 0);
    rn_drop(result);
    close_runtime(rn);
    free(data);
}

RULE(f5_a_buffer_of_no_bytes_or_too_many_is_refused_with_the_limit) {
    rn_runtime *rn = OPEN();
    rn_value none = rn_buffer(0), most = rn_buffer(RN_BUFFER_MAX + 1), all = rn_buffer(SIZE_MAX);
    assert_error_code(none, RN_INVALID);
    assert_error_code(all, RN_TOO_LARGE);
    assert_contains(rn_error_message(none), "1 to 1099511627776");
    assert_contains(rn_error_message(most), "1099511627777");
    rn_drop(none);
    rn_drop(all);
    assert_ends_with_error(rn_run(rn, give_back, .arg = most), RN_TOO_LARGE);
    close_runtime(rn);
}

RULE(f5_a_text_with_a_nul_inside_and_a_text_that_is_none_are_refused) {
    const char *no_text = NULL;
    rn_value inside = rn_text_n("a\0b", 3), last = rn_text_n("ab\0", 3), none = rn_text(no_text),
             no_bytes = rn_bytes(no_text, 1), empty = rn_text_n("", 0), printed = rn_textf("a%cb", 0);
    assert_error_code(inside, RN_INVALID);
    assert_error_code(last, RN_INVALID);
    assert_error_code(none, RN_INVALID);
    assert_error_code(no_bytes, RN_INVALID);
    assert_error_code(printed, RN_INVALID);
    assert_string_equal(rn_as_text(empty), "");
    rn_drop(inside);
    rn_drop(last);
    rn_drop(none);
    rn_drop(no_bytes);
    rn_drop(printed);
    rn_drop(empty);
}

/* In a child, so that a stack that overflows is told from a hang. Deeper than any stack, unless waits are bounded. */
static void nest_far_too_deep(void) {
    rn_runtime *rn = OPEN(.workers = 1);
    rn_future *future = rn_run(rn, nest, .arg = rn_int(50000));
    rn_value result = rn_result(future);
    CHILD_CHECK(rn_is_error(result) || rn_as_int(result) == 50000);
    rn_release(future);
    CHILD_CHECK(rn_close(rn) == RN_OK);
}

RULE(f5_waits_nested_too_deep_end_in_a_result_or_an_error_and_not_in_a_crash) {
    threads_only();
    assert_child_exits(nest_far_too_deep, 0);
}

static void chain_of_causes(void) {
    rn_value error = rn_error(1, "cause 0");
    for (int i = 1; i < 200000; i++) error = rn_error_because(error, 1, "cause %d", i);
    char text[256];
    CHILD_CHECK(rn_is_error(error));
    CHILD_CHECK(rn_format(error, text, sizeof text) > 0);
    rn_drop(error);
}

RULE(f5_a_chain_of_causes_of_any_length_is_dropped_without_a_crash) { assert_child_exits(chain_of_causes, 0); }

static void assert_does_not_open(const rn_options *options, int code, const char *text) {
    rn_runtime *rn = rn_open_with(options);
    assert_non_null(rn);
    assert_error_code(rn_open_error(rn), code);
    assert_contains(rn_error_message(rn_open_error(rn)), text);
    assert_ends_with_error(rn_run(rn, note_event, .arg = rn_int(1)), code);
    assert_int_equal(rn_run_detached(rn, note_event, .arg = rn_int(1)), code);
    assert_int_equal(rn_close(rn), RN_OK);
    assert_story(1, "");
}

RULE(f5_more_workers_than_the_most_are_refused_with_both_numbers) {
    const rn_options options = {.size = sizeof options, .workers = 100000, .log = log_to_book};
    assert_does_not_open(&options, RN_INVALID, "100000");
    assert_does_not_open(&options, RN_INVALID, "1024");
    const rn_options one_more = {.size = sizeof options, .workers = RN_WORKERS_MAX + 1, .log = log_to_book};
    assert_does_not_open(&one_more, RN_INVALID, "1025");
}

RULE(f5_no_number_of_workers_means_as_many_as_the_process_may_use) {
    rn_options options = options_under_test(&(const rn_options){.size = sizeof options});
    options.workers = 0;
    rn_runtime *rn = rn_open_with(&options);
    assert_true(rn_is_none(rn_open_error(rn)));
    rn_stats stats = {.size = sizeof stats};
    assert_int_equal(rn_get_stats(rn, &stats), RN_OK);
    cpu_set_t allowed;
    assert_int_equal(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    assert_in_range(stats.workers, 1, CPU_COUNT(&allowed));
    assert_int_equal(stats.workers, stats.workers_asked);
    assert_ends_with_int(rn_run(rn, give_back, .arg = rn_int(1)), 1);
    assert_int_equal(rn_close(rn), RN_OK);
}

RULE(f5_the_most_workers_open_and_close) {
    rn_runtime *rn = OPEN(.workers = RN_WORKERS_MAX);
    rn_stats stats = {.size = sizeof stats};
    assert_int_equal(rn_get_stats(rn, &stats), RN_OK);
    assert_int_equal(stats.workers_asked, RN_WORKERS_MAX);
    assert_in_range(stats.workers, 1, RN_WORKERS_MAX);
    assert_ends_with_int(rn_run(rn, give_back, .arg = rn_int(1)), 1);
    close_runtime(rn);
}

RULE(f5_an_executor_that_is_none_is_refused) {
    const rn_options options = {.size = sizeof options, .executor = (enum rn_executor)77};
    rn_runtime *rn = rn_open_with(&options);
    assert_true(rn_is_error(rn_open_error(rn)));
    assert_int_equal(rn_close(rn), RN_OK);
}

static void assert_refused_option(const rn_options *options, const char *field) {
    rn_runtime *rn = rn_open_with(options);
    assert_error_code(rn_open_error(rn), RN_INVALID);
    assert_non_null(strstr(rn_error_message(rn_open_error(rn)), field));
    assert_int_equal(rn_close(rn), RN_OK);
}

RULE(f5_options_for_worker_processes_are_refused_by_name_where_there_are_none) {
    static const rn_sandbox sandbox = {.size = sizeof sandbox};
    static const struct {
        rn_options options;
        const char *field;
    } bad[] = {
        {{.size = sizeof(rn_options), .capsules = "/tmp"}, ".capsules"},
        {{.size = sizeof(rn_options), .grace = 1}, ".grace"},
        {{.size = sizeof(rn_options), .stop_grace = 1}, ".stop_grace"},
        {{.size = sizeof(rn_options), .quarantine = 1}, ".quarantine"},
        {{.size = sizeof(rn_options), .respawn_rate = 1}, ".respawn_rate"},
        {{.size = sizeof(rn_options), .recycle_after = 1}, ".recycle_after"},
        {{.size = sizeof(rn_options), .recycle_memory = 1}, ".recycle_memory"},
        {{.size = sizeof(rn_options), .sandbox = &sandbox}, ".sandbox"},
        {{.size = sizeof(rn_options), .prepare = nothing}, ".prepare"},
        {{.size = sizeof(rn_options), .prepare_arg = {.kind = RN_INT}}, ".prepare_arg"},
        {{.size = sizeof(rn_options), .executor = RN_PROCESSES, .grace = -1}, ".grace"},
        {{.size = sizeof(rn_options), .executor = RN_PROCESSES, .stop_grace = RN_DURATION_MAX + 1}, ".stop_grace"},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) assert_refused_option(&bad[i].options, bad[i].field);
}

RULE(f5_options_of_an_unknown_size_are_refused) {
    static const size_t bad[] = {0, 1, sizeof(size_t), SIZE_MAX};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        const rn_options options = {.size = bad[i]};
        rn_runtime *rn = rn_open_with(&options);
        assert_error_code(rn_open_error(rn), RN_INVALID);
        assert_ends_with_error(rn_run(rn, nothing), RN_INVALID);
        assert_int_equal(rn_close(rn), RN_OK);
    }
}

RULE(f5_options_of_an_older_header_have_none_of_what_came_later) {
    rn_options options = options_under_test(&(const rn_options){.workers = 1, .grace = -1, .capsules = "nowhere"});
    options.size = offsetof(rn_options, capsules);
    rn_runtime *rn = rn_open_with(&options);
    assert_true(rn_is_none(rn_open_error(rn)));
    assert_ends_with_int(rn_run(rn, give_back, .arg = rn_int(1)), 1);
    assert_int_equal(rn_close(rn), RN_OK);
}

RULE(f5_larger_options_are_accepted_if_their_unknown_part_is_zero) {
    struct {
        rn_options options;
        unsigned char tail[48];
    } newer;
    memset(&newer, 0, sizeof newer);
    newer.options = options_under_test(&(const rn_options){.size = 0});
    newer.options.size = sizeof newer;
    rn_runtime *rn = rn_open_with(&newer.options);
    assert_true(rn_is_none(rn_open_error(rn)));
    assert_ends_with_int(rn_run(rn, give_back, .arg = rn_int(1)), 1);
    assert_int_equal(rn_close(rn), RN_OK);
    newer.tail[47] = 1;
    assert_does_not_open(&newer.options, RN_INVALID, "");
}

RULE(f5_a_test_kit_of_an_unknown_size_is_refused) {
    struct {
        rn_testing kit;
        unsigned char tail[32];
    } newer = {.kit = {.virtual_clock = true}};
    const rn_options options = {.size = sizeof options, .testing = &newer.kit, .log = log_to_book};
    static const size_t bad[] = {0, 1, sizeof(rn_testing) - 1};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        newer.kit.size = bad[i];
        assert_does_not_open(&options, RN_INVALID, "");
    }
    newer.kit.size = sizeof newer;
    close_runtime(OPEN(.testing = &newer.kit));
    newer.tail[31] = 1;
    assert_does_not_open(&options, RN_INVALID, "");
}

RULE(f5_statistics_of_an_unknown_size_are_refused_and_those_of_a_larger_one_filled) {
    struct {
        rn_stats stats;
        unsigned char tail[64];
    } newer;
    memset(&newer, 0, sizeof newer);
    rn_runtime *rn = OPEN();
    static const size_t bad[] = {0, 1, SIZE_MAX};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        newer.stats.size = bad[i];
        assert_int_equal(rn_get_stats(rn, &newer.stats), RN_INVALID);
    }
    newer.stats.size = sizeof newer;
    assert_int_equal(rn_get_stats(rn, &newer.stats), RN_OK);
    assert_int_equal(newer.stats.workers, test_workers());
    close_runtime(rn);
}
