/*
 * Runs in states that last but a moment, made by hand: what others see of them.
 */
#include <pthread.h>
#include <string.h>

#include "core/handle.h"
#include "core/pending.h"
#include "core/run.h"
#include "core/runtime.h"
#include "core/world.h"
#include "interleave.h"
#include "value/value.h"

#define BEING_CANCELLED (RN_RUNNING | RNI_STOP | RNI_QUEUED)

static rn_runtime *opened;
static rni_run *run;
static rn_future *future;

static void make(uint64_t word) {
    run = rni_run_make(rni_handle_object(opened));
    assert_non_null(run);
    run->done.value = rn_none();
    run->flags = 0;
    rni_store_relaxed(&run->origin, (void *)(uintptr_t)"made\0here:1");
    rni_completion_init(&run->done, word);
    future = rni_run_future(run);
}

static void set_up(uint64_t word) {
    opened = rn_open(.workers = 1);
    make(word);
}

static void tear_down(void) {
    rni_run_free(run);
    assert_int_equal(rn_close(opened), RN_OK);
}

TEST(a_run_that_is_being_cancelled_shows_as_waiting) {
    rn_run_info info;
    set_up(BEING_CANCELLED);
    assert_int_equal(rn_state(future), RN_WAITING);
    assert_false(rn_done(future) || rn_running(future) || rn_cancelled(future));
    assert_int_equal(rn_pending(opened, &info, 1), 1);
    assert_int_equal(info.state, RN_WAITING);
    assert_string_equal(info.name, "made");
    assert_true(rn_progress(future) < 0.001);
    tear_down();
}

static rni_a32 begun;

static void *cancel(void *unused) {
    (void)unused;
    rni_store_release(&begun, 1); /* pairs with the test below */
    return (void *)(intptr_t)rn_cancel(future);
}

/* Its answer holds: so it waits for the other's last step. */
static void check_second_cancel(uint64_t end, bool answer) {
    pthread_t thread;
    void *cancelled;
    set_up(BEING_CANCELLED);
    rni_store_relaxed(&begun, 0);
    assert_int_equal(pthread_create(&thread, NULL, cancel, NULL), 0);
    while (!rni_load_acquire(&begun)) rni_os_yield(); /* pairs with cancel */
    for (int i = 0; i < 100; i++) rni_os_yield();
    rni_store_release(&run->done.word, end);
    pthread_join(thread, &cancelled);
    assert_int_equal((intptr_t)cancelled, answer);
    tear_down();
}

TEST(a_cancel_that_meets_another_waits_for_its_end) {
    check_second_cancel(RN_STATE_CANCELLED | RNI_SETTLED | RNI_STOP, true);
    check_second_cancel(RN_DONE | RNI_SETTLED | RNI_STOP, false);
}

TEST(a_run_of_a_runtime_that_is_gone_is_over_soon) {
    set_up(RN_WAITING | RNI_QUEUED);
    rni_store_relaxed(&run->place, RNI_RUNTIMES_MAX - 1); /* no runtime has that place */
    assert_int_equal(rn_wait(future, -1), RN_OK);
    tear_down();
}

/* ---- the list, while a run ends and its place is used again: at every instruction of the one who reads ---- */

static rn_run_info infos[8];
static int64_t listed;
static uint64_t first_id, second_id;

static void prepare(void) {
    make(RN_WAITING | RNI_QUEUED);
    first_id = rni_run_id(run);
    second_id = 0;
}

static void list(void) { listed = rn_pending(opened, infos, COUNT_OF(infos)); }

static void end_run(void) {
    rni_run_free(run);
    run = NULL;
}

static void replace_run(void) {
    rni_run_free(run);
    run = rni_run_make(rni_handle_object(opened));
    rni_store_relaxed(&run->origin, (void *)(uintptr_t)"another\0here:2");
    rni_completion_init(&run->done, RN_RUNNING | RNI_BEGUN);
    second_id = rni_run_id(run);
}

static void judge(void) {
    assert_in_range(listed, 0, 2);
    for (int64_t i = 0; i < listed; i++) {
        bool is_first = infos[i].id == first_id;
        assert_true(is_first || infos[i].id == second_id);
        assert_string_equal(infos[i].name, is_first ? "made" : "another");
        assert_int_equal(infos[i].state, is_first ? RN_WAITING : RN_RUNNING);
    }
    if (run) rni_run_free(run);
    run = NULL;
}

TEST(an_entry_of_the_list_is_one_run_even_if_it_ends_meanwhile) {
    opened = rn_open(.workers = 1);
    const struct interleaving ends = {prepare, list, end_run, judge}, replaced = {prepare, list, replace_run, judge};
    interleave_each(29, &ends);
    if (run) rni_run_free(run); /* of the last round, in which nothing interrupted */
    interleave_each(29, &replaced);
    if (run) rni_run_free(run);
    assert_int_equal(rn_close(opened), RN_OK);
}

/* ---- values of no kind ---- */

TEST(a_value_of_no_kind_has_no_text) {
    char text[10] = "before";
    assert_int_equal(rn_format((rn_value){.kind = 9}, text, sizeof text), 0);
    assert_string_equal(text, "");
}
