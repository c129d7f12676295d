/*
 * T10: twelve ways for a program to end, in eight states of its runtime. Each case is this program
 * again, with a time limit: it must end by itself, with the exit code that was asked for.
 *
 * A program that ends without rn_close() must not hang even though a task of it never returns: the gate
 * that holds that task stays closed, except for the two ways that close the runtime.
 */
#include <runium/testing.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

#define KEPT_CODE 42 /* not one that a sanitizer exits with */
#define LIMIT_S 20
#define BROKEN_CODE 3

/* A program that ends in mid-flight leaves its futures where they are: that is the point of it. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "detect_leaks=0"; }

/* By default it waits a second at every exit, for races that come late. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void) { return "atexit_sleep_ms=50"; }

enum way {
    RETURN_FROM_MAIN,
    EXIT,
    QUICK_EXIT,
    UNDERSCORE_EXIT,
    ABORT,
    MAIN_THREAD_ENDS_FIRST,
    EXIT_IN_A_TASK,
    EXIT_IN_A_HOOK,
    EXIT_IN_A_DONE_CALLBACK,
    EXIT_IN_ANOTHER_THREAD,
    CLOSE_DRAINS,
    CLOSE_STOPS,
    WAY_COUNT
};
static const char *const way_names[WAY_COUNT] = {
    "return from main", "exit",           "quick_exit",     "_exit",
    "abort",            "main thread ends first", "exit in a task", "exit in a hook",
    "exit in a done callback", "exit in another thread", "rn_close drains", "rn_close stops"};

enum state { IDLE, RUNNING, PARKED, IN_CALLBACK, QUEUE_FULL, TIMER_ARMED, WORKER_STARTING, SHUTTING_DOWN, STATE_COUNT };
static const char *const state_names[STATE_COUNT] = {"idle",       "running",     "parked",          "in callback",
                                                     "queue full", "timer armed", "worker starting", "shutting down"};

/* One case. The carrier is a task that ends the program, when its gate says that the state is reached. */
static struct {
    enum way way;
    rn_runtime *runtime, *starting;
    struct gate gate, carrier_gate;
    struct counter begun;
    pthread_t helper;
    bool has_helper;
} now = {.gate = GATE_CLOSED, .carrier_gate = GATE_CLOSED, .begun = COUNTER_ZERO};

static rn_value at_gate(rn_call *call) {
    (void)call;
    counter_add(&now.begun, 1);
    gate_wait(&now.gate);
    return rn_int(1);
}

static rn_value quick(rn_call *call) {
    (void)call;
    return rn_int(1);
}

static rn_value at_own_gate(rn_call *call) {
    gate_wait(rn_as_pointer(rn_arg(call)));
    return rn_int(1);
}

static void done_at_gate(rn_future *future, void *context) {
    (void)future;
    (void)context;
    counter_add(&now.begun, 1);
    gate_wait(&now.gate);
}

/* Starts a run, and returns when the gate holds it. */
static void hold_one(void) {
    uint64_t begun = counter_read(&now.begun);
    rn_run_detached(now.runtime, at_gate);
    counter_await(&now.begun, begun + 1);
}

/* ------------------------------------------------------------------------------------------------
 * States
 */
/* A carrier takes one worker, and a runtime with a task at work does not settle. */
static bool has_carrier(void) { return now.way >= EXIT_IN_A_TASK && now.way <= EXIT_IN_A_DONE_CALLBACK; }

static void reach_parked(void) {
    for (int i = 0; i < 32; i++) {
        rn_future *future = rn_run(now.runtime, quick);
        rn_result(future);
        rn_release(future);
    }
    if (!has_carrier())
        rn_testing_settle(now.runtime);
}

static void reach_in_callback(void) {
    static struct gate own = GATE_CLOSED;
    uint64_t begun = counter_read(&now.begun);
    rn_future *future = rn_run(now.runtime, at_own_gate, .arg = rn_pointer(&own));
    rn_add_done_callback(future, done_at_gate, NULL);
    gate_open(&own);
    counter_await(&now.begun, begun + 1);
    rn_release(future);
}

static void *blocked_producer(void *context) {
    counter_add(&now.begun, 1);
    rn_run_detached(now.runtime, quick);
    return context;
}

/* Two runs wait in the queue, and a third thread for a place in it: it is there, or about to be. */
static void reach_queue_full(void) {
    hold_one();
    if (!has_carrier())
        hold_one();
    uint64_t begun = counter_read(&now.begun);
    rn_run_detached(now.runtime, quick);
    rn_run_detached(now.runtime, quick);
    now.has_helper = pthread_create(&now.helper, NULL, blocked_producer, NULL) == 0;
    counter_await(&now.begun, begun + 1);
}

static void reach_timer_armed(void) {
    rn_future *future = rn_run(now.runtime, quick, .every = RN_HOURS(1));
    rn_run_info infos[4] = {{.next_start_ns = 0}};
    bool is_armed = false;
    while (!is_armed) {
        int64_t pending = rn_pending(now.runtime, infos, 4);
        for (int64_t i = 0; i < pending && i < 4; i++)
            is_armed = is_armed || infos[i].next_start_ns > RN_MINUTES(1);
    }
    rn_release(future);
}

static void *closer(void *context) {
    counter_add(&now.begun, 1);
    rn_close(now.runtime);
    return context;
}

/* New runs are refused as soon as the close has begun: that is what tells that it has. */
static void reach_shutting_down(void) {
    hold_one();
    now.has_helper = pthread_create(&now.helper, NULL, closer, NULL) == 0;
    rn_run_info info;
    while (rn_run_detached(now.runtime, quick) != RN_CLOSED)
        rn_pending(now.runtime, &info, 1);
}

static void reach(enum state state) {
    switch (state) {
    case IDLE:
    case STATE_COUNT:
        break;
    case RUNNING:
        hold_one();
        break;
    case PARKED:
        reach_parked();
        break;
    case IN_CALLBACK:
        reach_in_callback();
        break;
    case QUEUE_FULL:
        reach_queue_full();
        break;
    case TIMER_ARMED:
        reach_timer_armed();
        break;
    case WORKER_STARTING:
        now.starting = rn_open(.workers = 16, .log = rn_log_nothing);
        break;
    case SHUTTING_DOWN:
        reach_shutting_down();
        break;
    }
}

/* ------------------------------------------------------------------------------------------------
 * Ways to end
 */
static rn_value carrier(rn_call *call) {
    (void)call;
    counter_add(&now.begun, 1);
    gate_wait(&now.carrier_gate);
    if (now.way == EXIT_IN_A_TASK)
        exit(KEPT_CODE);
    return rn_int(1);
}

static rn_value carrier_hook(rn_call *call, rn_value success, rn_value error) {
    (void)call;
    (void)success;
    (void)error;
    if (now.way == EXIT_IN_A_HOOK)
        exit(KEPT_CODE);
    return rn_none();
}

static void carrier_done(rn_future *future, void *context) {
    (void)future;
    (void)context;
    exit(KEPT_CODE);
}

/* The carrier takes its worker before the state is made, so that a full queue cannot keep it out. */
static void start_carrier(void) {
    rn_future *future = rn_run(now.runtime, carrier, .on_finished = carrier_hook);
    if (now.way == EXIT_IN_A_DONE_CALLBACK)
        rn_add_done_callback(future, carrier_done, NULL);
    counter_await(&now.begun, 1);
    rn_release(future);
}

/* Called as the main thread ends: it has left main() by then, and never returns to it. */
static void main_thread_ends(void *gate) { gate_open(gate); }

static void *exit_in_thread(void *context) {
    if (now.way == MAIN_THREAD_ENDS_FIRST)
        gate_wait(&now.carrier_gate);
    exit(KEPT_CODE);
    return context;
}

static void end_in_thread(void) {
    pthread_t thread;
    pthread_key_t key;
    if (pthread_key_create(&key, main_thread_ends) != 0 || pthread_setspecific(key, &now.carrier_gate) != 0)
        _exit(BROKEN_CODE);
    if (pthread_create(&thread, NULL, exit_in_thread, NULL) != 0)
        _exit(BROKEN_CODE);
    if (now.way == MAIN_THREAD_ENDS_FIRST)
        pthread_exit(NULL);
    pthread_join(thread, NULL);
}

static int close_all(enum rn_close_how how, bool is_closing) {
    gate_open(&now.gate);
    int code = is_closing ? RN_OK : rn_close(now.runtime, .how = how);
    if (now.starting != NULL && rn_close(now.starting, .how = how) != RN_OK)
        return BROKEN_CODE;
    if (now.has_helper)
        pthread_join(now.helper, NULL);
    return code == RN_OK ? KEPT_CODE : BROKEN_CODE;
}

static int end(enum state state) {
    switch (now.way) {
    case RETURN_FROM_MAIN:
    case WAY_COUNT:
        return KEPT_CODE;
    case EXIT:
        exit(KEPT_CODE);
    case QUICK_EXIT:
        quick_exit(KEPT_CODE);
    case UNDERSCORE_EXIT:
        _exit(KEPT_CODE);
    case ABORT:
        abort();
    case EXIT_IN_A_TASK:
    case EXIT_IN_A_HOOK:
    case EXIT_IN_A_DONE_CALLBACK:
        gate_open(&now.carrier_gate);
        while (true)
            pause();
    case MAIN_THREAD_ENDS_FIRST:
    case EXIT_IN_ANOTHER_THREAD:
        end_in_thread();
        break;
    case CLOSE_DRAINS:
        return close_all(RN_DRAIN, state == SHUTTING_DOWN);
    case CLOSE_STOPS:
        return close_all(RN_STOP, state == SHUTTING_DOWN);
    }
    return BROKEN_CODE;
}

/* With the canary a handler at exit waits for a task that never ends, as a careless library would. */
static void wait_at_exit(void) { gate_wait(&now.gate); }

static int play_case(const char *text) {
    int number = atoi(text);
    enum state state = (enum state)(number % STATE_COUNT);
    now.way = (enum way)(number / STATE_COUNT);
    now.runtime = rn_open(.workers = 2, .queue_limit = 2, .when_full = RN_BLOCK, .log = rn_log_nothing);
    if (proof_canary)
        atexit(wait_at_exit);
    if (has_carrier())
        start_carrier();
    reach(state);
    return end(state);
}

static bool kept_its_code(struct ending ending, enum way way) {
    if (ending.hung)
        return false;
    if (way == ABORT)
        return WIFSIGNALED(ending.status) && WTERMSIG(ending.status) == SIGABRT;
    return WIFEXITED(ending.status) && WEXITSTATUS(ending.status) == KEPT_CODE;
}

static void prove_case(int number, char *program) {
    char option[32], text[40];
    snprintf(option, sizeof option, "--case=%d", number);
    char canary[] = "--canary";
    char *arguments[] = {program, option, proof_canary ? canary : NULL, NULL};
    struct ending ending = child_again(arguments, proof_canary ? 2 : LIMIT_S);
    enum way way = (enum way)(number / STATE_COUNT);
    check(kept_its_code(ending, way), "%s, when %s: %s (--case=%d)", way_names[way], state_names[number % STATE_COUNT],
          ending_text(ending, text, sizeof text), number);
    proof_case();
}

/* The case is a program of its own: it prints nothing, and is found by its option before anything else. */
static const char *case_of(int argc, char **argv) {
    return argc > 1 && strncmp(argv[1], "--case=", 7) == 0 ? argv[1] + 7 : NULL;
}

int main(int argc, char **argv) {
    const char *number = case_of(argc, argv);
    if (number != NULL) {
        proof_canary = argc > 2;
        return play_case(number);
    }
    proof_begin(argc, argv, "T10");
    uint64_t rounds = proof_torture ? 50 : 1;
    int cases = proof_canary ? 2 : WAY_COUNT * STATE_COUNT;
    for (uint64_t round = 0; round < rounds; round++)
        for (int i = 0; i < cases; i++)
            prove_case(i, argv[0]);
    return proof_end("endings");
}
