/*
 * Short programs that between them use every function of runium.h, each of which stays correct
 * when the system refuses what it asks for: every outcome is checked to be the right one, or an
 * error whose code names what was refused. What a scenario makes it gives back.
 */
#ifndef RUNIUM_TESTS_SCENARIOS_H
#define RUNIUM_TESTS_SCENARIOS_H

#include <runium.h>
#include <stdbool.h>

/* What the system refuses while a scenario plays. */
enum refused {
    REFUSED_NOTHING,
    REFUSED_MEMORY, /* allocations and mappings: RN_NO_MEMORY is excused */
    REFUSED_THREADS, /* RN_NO_THREADS is */
    REFUSED_FUTEX,   /* waits that end early excuse nothing */
    REFUSED_ANY      /* several of them at once */
};

/* Every scenario, by the file that it is in: scenarios_runs.c, scenarios_values.c, scenarios_waits.c. */
#define SCENARIOS(X) \
    X(open_and_close) X(open_eight_workers) X(caller_runs_without_threads) X(bad_options) X(two_runtimes) \
    X(many_futures) X(detached) X(released_at_once) X(run_after_close_began) X(close_stops_pending) \
    X(every_kind_travels) X(values_without_a_runtime) X(causes) X(failing_task) X(refused_runs) \
    X(durations_and_times) X(hooks_of_a_success) X(hooks_of_a_failure) X(a_hook_fails) X(done_callbacks) \
    X(done_callback_afterwards) X(back_to_back) X(periodic) X(many_timers) X(endless_until_stopped) X(virtual_day) \
    X(nested_waits) X(spare_workers) X(deadlock) X(nested_submissions) X(cancel_in_queue) X(waits_that_time_out) \
    X(queue_limit_fails) X(queue_limit_blocks) X(queue_limit_caller_runs) X(two_producers) X(names_and_pending) \
    X(texts_in_bulk) X(errors_in_bulk) X(drained_with_schedules) X(debug_traces) X(close_in_a_task) \
    X(progress_and_stop)

#define DECLARE_SCENARIO(name) void name(void);
SCENARIOS(DECLARE_SCENARIO)

struct scenario {
    const char *name;
    void (*play)(void);
};

extern const struct scenario scenarios[];
extern const unsigned scenario_count;

/* Plays one with these refusals excused; checks that each destructor ran exactly once. */
void scenario_play(const struct scenario *scenario, enum refused refused);

/* The scenario with this name, or NULL. */
const struct scenario *scenario_named(const char *name);

#endif
