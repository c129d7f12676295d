/*
 * T3 on the machine itself: an owner and two thieves, as real threads, on a deque with room for four. What each call
 * got and when it ran is recorded, and every such history has to be linearizable.
 *
 *     deque_threads [--seed N] [--histories N]
 */
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dawdle.h"
#include "deque_history.h"
#include "thread/deque.h"

#define THREADS 3u
#define OWNER_CALLS 6u
#define THIEF_CALLS 3u
#define CALLS (OWNER_CALLS + 2 * THIEF_CALLS)
#define ITEMS (OWNER_CALLS * 2)

typedef struct timed_call {
    history_call call;
    int64_t began, returned;
} timed_call;

static rni_deque deque;
static uint8_t items[ITEMS];
static unsigned pushed; /* owner only */
static bool owner_pops; /* else thieves take many at a time */
static bool dawdles;    /* in this history operations give the CPU away now and then */
static _Thread_local uint64_t random_state;
static timed_call recorded[THREADS][OWNER_CALLS];
static unsigned counts[THREADS];
static uint64_t checked, overlapping; /* histories */

/* All threads meet here before and after each history. */
static atomic_uint arrived, round_number;
static atomic_bool stop;

static uint64_t next_random(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

void dawdle(void) {
    if (dawdles && next_random() % 4 == 0) sched_yield();
}

static void meet(void) {
    unsigned round = atomic_load(&round_number);
    if (atomic_fetch_add(&arrived, 1) == THREADS - 1) {
        atomic_store(&arrived, 0);
        atomic_fetch_add(&round_number, 1);
        return;
    }
    for (unsigned i = 0; atomic_load(&round_number) == round; i++) {
        if (i > 200) sched_yield();
    }
}

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void set_items(history_call *call, void *const *got, size_t count) {
    call->count = (uint8_t)count;
    for (size_t i = 0; i < count; i++) call->items[i] = (uint8_t)((uint8_t *)got[i] - items);
}

static void push(history_call *call) {
    void *pointers[2] = {&items[pushed], &items[pushed + 1]};
    if (!rni_deque_push(&deque, pointers, call->wanted)) return;
    set_items(call, pointers, call->wanted);
    pushed += call->wanted;
}

static void get(history_call *call) {
    void *got[2] = {NULL, NULL};
    bool contended = false;
    size_t count;
    if (call->kind == HISTORY_TAKE) {
        count = rni_deque_take(&deque, got, call->wanted, &contended);
    } else {
        got[0] = call->kind == HISTORY_POP ? rni_deque_pop(&deque) : rni_deque_steal(&deque, &contended);
        count = got[0] != NULL;
    }
    set_items(call, got, count);
    call->contended = contended && count == 0;
}

static void make_call(unsigned self, enum history_kind kind, unsigned wanted) {
    timed_call *timed = &recorded[self][counts[self]++];
    timed->call = (history_call){.kind = (uint8_t)kind, .wanted = (uint8_t)wanted};
    timed->began = now();
    if (kind == HISTORY_PUSH) {
        push(&timed->call);
    } else {
        get(&timed->call);
    }
    timed->returned = now();
}

static void make_calls(unsigned self) {
    enum history_kind gets = owner_pops ? HISTORY_STEAL : HISTORY_TAKE;
    for (unsigned i = 0; i < (self == 0 ? OWNER_CALLS : THIEF_CALLS); i++) {
        uint64_t bits = next_random();
        unsigned wanted = 1 + (unsigned)(bits >> 8 & 1);
        if (self) {
            make_call(self, gets, gets == HISTORY_TAKE ? wanted : 1);
        } else if (bits & 1) {
            make_call(self, HISTORY_PUSH, wanted);
        } else {
            make_call(self, owner_pops ? HISTORY_POP : HISTORY_TAKE, 1);
        }
    }
}

/* Both counters begin now and then at the edge of 32 or 64 bits. */
static void begin_history(void) {
    dawdles = false;
    static const uint64_t edges[] = {0, UINT32_MAX - 1, UINT64_MAX - 1, UINT64_MAX / 2};
    rni_deque_init(&deque, edges[next_random() % 4]);
    owner_pops = next_random() % 4 != 0;
    pushed = 0;
    memset(counts, 0, sizeof counts);
    dawdles = next_random() % 4 != 0;
}

/* A call comes before another of its thread, and before those that began after it had returned. */
static unsigned gather(history_call *calls) {
    const timed_call *all[CALLS];
    unsigned thread[CALLS], count = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        for (unsigned j = 0; j < counts[i]; j++) {
            thread[count] = i;
            all[count++] = &recorded[i][j];
        }
    }
    for (unsigned i = 0; i < count; i++) {
        calls[i] = all[i]->call;
        for (unsigned j = 0; j < count; j++) {
            bool is_before = thread[i] == thread[j] ? j < i : all[j]->returned < all[i]->began;
            if (is_before) calls[i].before |= UINT32_C(1) << j;
        }
    }
    return count;
}

static void print_history(const history_call *calls, unsigned count) {
    static const char *const names[] = {"push", "pop", "steal", "take"};
    for (unsigned i = 0; i < count; i++) {
        printf("  call %2u: %s of %u: %u%s:", i, names[calls[i].kind], calls[i].wanted, calls[i].count,
               calls[i].contended ? " (contended)" : "");
        for (unsigned j = 0; j < calls[i].count; j++) printf(" %u", calls[i].items[j]);
        printf("; after calls %#x\n", calls[i].before);
    }
}

/* Did calls of two threads run at the same time? */
static bool has_overlap(const history_call *calls, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        for (unsigned j = 0; j < i; j++) {
            if (!(calls[i].before >> j & 1) && !(calls[j].before >> i & 1)) return true;
        }
    }
    return false;
}

static bool check_history(void) {
    history_call calls[CALLS];
    unsigned count = gather(calls);
    checked++;
    overlapping += has_overlap(calls, count);
    if (history_is_linearizable(calls, count, RNI_DEQUE_SIZE)) return true;
    printf("T3 threads: history %" PRIu64 " is not linearizable\n", checked);
    print_history(calls, count);
    return false;
}

static uint64_t seed = 1;

static void seed_thread(unsigned self) { random_state = seed * 0x9e3779b97f4a7c15u + self + 1; }

static void *thief(void *argument) {
    unsigned self = (unsigned)(uintptr_t)argument;
    seed_thread(self);
    for (;;) {
        meet();
        if (atomic_load(&stop)) return NULL;
        make_calls(self);
        meet();
    }
}

static bool run(uint64_t histories) {
    seed_thread(0);
    for (uint64_t i = 0; i < histories; i++) {
        begin_history();
        meet();
        make_calls(0);
        meet();
        if (!check_history()) return false;
    }
    return true;
}

int main(int argc, char **argv) {
    uint64_t histories = getenv("RUNIUM_TORTURE") ? 10000000 : 100000;
    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t *option = strcmp(argv[i], "--seed") == 0 ? &seed : &histories;
        *option = strtoull(argv[i + 1], NULL, 10);
    }
    pthread_t threads[THREADS];
    for (unsigned i = 1; i < THREADS; i++) {
        if (pthread_create(&threads[i], NULL, thief, (void *)(uintptr_t)i)) return 2;
    }
    bool ok = run(histories);
    atomic_store(&stop, true);
    meet();
    for (unsigned i = 1; i < THREADS; i++) pthread_join(threads[i], NULL);
    printf("T3 threads: %" PRIu64 " histories, %" PRIu64 " of them with calls at the same time, ", checked, overlapping);
    printf("--seed %" PRIu64 ", %d errors\n", seed, !ok);
    return ok ? 0 : 1;
}
