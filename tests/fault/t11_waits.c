/*
 * T11: random graphs of tasks that wait for each other, with cycles and without, on one to four workers.
 *
 * Task i waits for each task that it has an edge to, some of it in a hook. Some tasks start a little
 * later, and some graphs span two runtimes. What must hold:
 *   - every graph ends;
 *   - a wait is answered with RN_DEADLOCK only if it lies on a cycle;
 *   - every cycle has a wait that was answered so: without those waits no cycle is left.
 * Then a chain of a thousand nested waits on one worker, with what each level costs of the stack; and a
 * wait beside a queue of strangers, none of which may run on the stack of the one who waits.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

#define NODES_MAX 9
#define RUNTIMES 4
#define CHAIN 1000
#define STRANGERS 64
/* More than a wait and a small task take, by far; and far less than a thread's stack for each level. */
#define BYTES_PER_LEVEL_MAX (UNDER_ASAN || UNDER_TSAN ? 32 * 1024 : 6 * 1024)

struct graph {
    unsigned nodes;
    bool edge[NODES_MAX][NODES_MAX];
    bool in_hook[NODES_MAX];        /* this task waits in its on_iter instead of its function */
    bool by_wait[NODES_MAX];        /* it uses rn_wait() instead of rn_result() */
    bool deadlock[NODES_MAX][NODES_MAX];
    rn_future *futures[NODES_MAX];
    struct gate all_started;
};

struct node {
    struct graph *graph;
    unsigned number;
};

static uint64_t deadlocks, cyclic_graphs;

static int wait_for(rn_future *future, bool by_wait) {
    if (by_wait)
        return rn_wait(future, -1);
    rn_value value = rn_result(future);
    return rn_is_error(value) ? rn_error_code(value) : RN_OK;
}

static void wait_for_edges(struct node *node) {
    struct graph *graph = node->graph;
    gate_wait(&graph->all_started);
    for (unsigned to = 0; to < graph->nodes; to++) {
        if (!graph->edge[node->number][to])
            continue;
        int code = wait_for(graph->futures[to], graph->by_wait[node->number]);
        check(code == RN_OK || code == RN_DEADLOCK, "a wait gave %s", rn_code_name(code));
        graph->deadlock[node->number][to] = code == RN_DEADLOCK;
    }
}

static rn_value node_function(rn_call *call) {
    struct node *node = rn_as_pointer(rn_arg(call));
    if (!node->graph->in_hook[node->number])
        wait_for_edges(node);
    return rn_int(1);
}

static rn_value node_hook(rn_call *call, rn_value success, rn_value error) {
    struct node *node = rn_as_pointer(rn_arg(call));
    (void)success;
    (void)error;
    if (node->graph->in_hook[node->number])
        wait_for_edges(node);
    return rn_none();
}

/* ------------------------------------------------------------------------------------------------
 * What a graph should give
 */
static void close_over(unsigned nodes, bool reach[NODES_MAX][NODES_MAX]) {
    for (unsigned via = 0; via < nodes; via++)
        for (unsigned from = 0; from < nodes; from++)
            for (unsigned to = 0; to < nodes; to++)
                reach[from][to] = reach[from][to] || (reach[from][via] && reach[via][to]);
}

static bool has_cycle(unsigned nodes, bool reach[NODES_MAX][NODES_MAX]) {
    for (unsigned i = 0; i < nodes; i++)
        if (reach[i][i])
            return true;
    return false;
}

static void describe(const struct graph *graph, char *text, size_t size) {
    size_t length = 0;
    text[0] = '\0';
    for (unsigned from = 0; from < graph->nodes; from++)
        for (unsigned to = 0; to < graph->nodes && length < size; to++)
            if (graph->edge[from][to])
                length += (size_t)snprintf(text + length, size - length, " %u%s%u%s", from,
                                           graph->in_hook[from] ? "~>" : "->", to,
                                           graph->deadlock[from][to] ? "!" : "");
}

/* The canary forgets the answers of one graph in eight, as a library that misses a cycle would. */
static void judge(struct graph *graph, unsigned workers, bool forgets) {
    bool reach[NODES_MAX][NODES_MAX], rest[NODES_MAX][NODES_MAX];
    char text[400];
    memcpy(reach, graph->edge, sizeof reach);
    close_over(graph->nodes, reach);
    describe(graph, text, sizeof text);
    memset(rest, 0, sizeof rest);
    for (unsigned from = 0; from < graph->nodes; from++)
        for (unsigned to = 0; to < graph->nodes; to++) {
            bool refused = graph->deadlock[from][to] && !forgets;
            check(!refused || reach[to][from], "%u workers,%s: %u to %u is on no cycle", workers, text, from, to);
            rest[from][to] = graph->edge[from][to] && !refused;
            deadlocks += refused;
        }
    cyclic_graphs += has_cycle(graph->nodes, reach);
    close_over(graph->nodes, rest);
    check(!has_cycle(graph->nodes, rest), "%u workers,%s: a cycle without RN_DEADLOCK", workers, text);
}

/* ------------------------------------------------------------------------------------------------
 * Graphs
 */
static void draw(struct graph *graph, struct dice *dice) {
    memset(graph, 0, sizeof *graph);
    *graph = (struct graph){.nodes = 1 + (unsigned)roll_below(dice, NODES_MAX), .all_started = GATE_CLOSED};
    bool acyclic = roll_below(dice, 2) == 0;
    uint64_t sparseness = 2 + roll_below(dice, 6);
    for (unsigned from = 0; from < graph->nodes; from++) {
        graph->in_hook[from] = roll_below(dice, 4) == 0;
        graph->by_wait[from] = roll_below(dice, 3) == 0;
        for (unsigned to = 0; to < graph->nodes; to++)
            graph->edge[from][to] = (!acyclic || to > from) && roll_below(dice, sparseness) == 0;
    }
}

static void play(struct graph *graph, rn_runtime *const runtimes[2], struct dice *dice) {
    struct node nodes[NODES_MAX];
    unsigned first = (unsigned)roll_below(dice, graph->nodes);
    for (unsigned i = 0; i < graph->nodes; i++) {
        unsigned number = (first + i) % graph->nodes;
        char name[20];
        nodes[number] = (struct node){graph, number};
        snprintf(name, sizeof name, "node %u", number);
        int64_t delay = roll_below(dice, 4) == 0 ? (int64_t)roll_below(dice, 100000) : 0;
        graph->futures[number] = rn_run(runtimes[roll_below(dice, 2)], node_function, .arg = rn_pointer(&nodes[number]),
                                        .on_iter = node_hook, .name = name, .start_in = delay);
    }
    gate_open(&graph->all_started);
    for (unsigned i = 0; i < graph->nodes; i++)
        check(rn_kind(rn_result(graph->futures[i])) == RN_INT, "node %u failed", i);
    for (unsigned i = 0; i < graph->nodes; i++)
        rn_release(graph->futures[i]);
}

static void prove_graphs(void) {
    rn_runtime *runtimes[RUNTIMES];
    struct dice dice = dice_of(0);
    struct graph graph;
    for (unsigned i = 0; i < RUNTIMES; i++)
        runtimes[i] = rn_open(.workers = i + 1, .log = rn_log_nothing);
    uint64_t graphs = proof_amount(10000, 100000);
    for (uint64_t i = 0; i < graphs && proof_broken() < 20; i++) {
        unsigned workers = (unsigned)roll_below(&dice, RUNTIMES);
        unsigned others = roll_below(&dice, 3) == 0 ? (unsigned)roll_below(&dice, RUNTIMES) : workers;
        draw(&graph, &dice);
        play(&graph, (rn_runtime *const[2]){runtimes[workers], runtimes[others]}, &dice);
        judge(&graph, workers + 1, proof_canary && i % 8 == 0);
        proof_case();
    }
    for (unsigned i = 0; i < RUNTIMES; i++)
        check(rn_close(runtimes[i]) == RN_OK, "close after the graphs");
    printf("  %llu graphs had a cycle, %llu waits were answered with RN_DEADLOCK\n", (unsigned long long)cyclic_graphs,
           (unsigned long long)deadlocks);
}

/* ------------------------------------------------------------------------------------------------
 * Nested waits and the stack
 */
static struct {
    uintptr_t frame[CHAIN + 1];
    pthread_t thread[CHAIN + 1];
} chain;

static rn_value link_of_chain(rn_call *call) {
    int64_t depth = rn_as_int(rn_arg(call));
    chain.frame[depth] = (uintptr_t)__builtin_frame_address(0);
    chain.thread[depth] = pthread_self();
    if (depth == CHAIN)
        return rn_int(0);
    rn_future *next = rn_run(rn_runtime_of(call), link_of_chain, .arg = rn_int(depth + 1));
    rn_value value = rn_keep(rn_result(next));
    rn_release(next);
    return rn_kind(value) == RN_INT ? rn_int(rn_as_int(value) + 1) : value;
}

/* Levels that ran on one thread's stack right below each other tell what a level costs. */
static void prove_chain(unsigned workers) {
    rn_runtime *runtime = rn_open(.workers = workers, .log = rn_log_nothing);
    rn_future *first = rn_run(runtime, link_of_chain, .arg = rn_int(0));
    rn_value value = rn_result(first);
    char text[300];
    rn_format(value, text, sizeof text);
    check(rn_kind(value) == RN_INT && rn_as_int(value) == CHAIN, "%d nested waits: %s", CHAIN, text);
    rn_release(first);
    check(rn_close(runtime) == RN_OK, "close after the chain");
    uintptr_t most = 0, in_place = 0;
    for (int i = 1; i <= CHAIN; i++) {
        if (!pthread_equal(chain.thread[i], chain.thread[i - 1]))
            continue;
        uintptr_t cost = chain.frame[i - 1] - chain.frame[i];
        in_place++;
        if (cost < UINTPTR_MAX / 2 && cost > most)
            most = cost;
    }
    check(most <= BYTES_PER_LEVEL_MAX, "a nested wait takes %llu bytes of stack", (unsigned long long)most);
    printf("  %u workers: %d nested waits, %llu of them in place, at most %llu bytes of stack each\n", workers, CHAIN,
           (unsigned long long)in_place, (unsigned long long)most);
    proof_case();
}

static _Thread_local unsigned waiting_here;
static _Atomic unsigned nested_strangers;

static rn_value stranger(rn_call *call) {
    (void)call;
    if (waiting_here > 0)
        atomic_fetch_add(&nested_strangers, 1);
    return rn_int(1);
}

static rn_value waits_among_strangers(rn_call *call) {
    rn_runtime *runtime = rn_runtime_of(call);
    rn_future *strangers[STRANGERS];
    rn_future *later = rn_run(runtime, link_of_chain, .arg = rn_int(CHAIN), .start_in = RN_MICROSECONDS(500));
    for (int i = 0; i < STRANGERS; i++)
        strangers[i] = rn_run(runtime, stranger);
    waiting_here++;
    rn_value value = rn_keep(rn_result(later));
    waiting_here--;
    rn_release(later);
    for (int i = 0; i < STRANGERS; i++)
        rn_release(strangers[i]);
    return value;
}

static void prove_strangers(void) {
    rn_runtime *runtime = rn_open(.workers = 1, .log = rn_log_nothing);
    for (int i = 0; i < 50; i++) {
        rn_future *future = rn_run(runtime, waits_among_strangers);
        check(rn_kind(rn_result(future)) == RN_INT, "a wait among strangers failed");
        rn_release(future);
    }
    check(rn_close(runtime) == RN_OK, "close after the strangers");
    unsigned nested = atomic_load(&nested_strangers);
    check(nested == 0, "%u strangers ran on the stack of a wait", nested);
    proof_case();
}

int main(int argc, char **argv) {
    proof_begin(argc, argv, "T11");
    guard_against_hang(proof_torture ? 1800 : 240);
    prove_graphs();
    prove_chain(1);
    prove_chain(2);
    prove_strangers();
    return proof_end("graphs");
}
