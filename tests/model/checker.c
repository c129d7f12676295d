#include "checker.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine.h"

/* The search: depth first over all states, each visited once. */

/* What can happen next in a state. */
enum what { STEP, FLUSH, RETURN_EARLY };

typedef struct transition {
    enum what what;
    unsigned thread;
    unsigned outcome;
} transition;

#define TRANSITIONS (THREADS * (MESSAGES + 2))

/* One state on the way from the start to the present one, and what was tried in it. */
typedef struct place {
    size_t offset;  /* of its bytes */
    unsigned tried;
    uint32_t index; /* in the order in which states were first seen */
    uint32_t low;   /* the earliest state on the way that it is known to reach */
    bool is_end;
    bool leaves;    /* its component can be left; see below */
} place;

/* A state that was seen. {0, 0} is free. */
typedef struct seen {
    uint64_t low, high;
} seen;

/*
 * The search is also Tarjan's: it finds the strongly connected components of the graph of states. One
 * that cannot be left, and is not a single end, is a circle in which threads go round for ever.
 */
static struct search {
    place *way;
    size_t depth, way_capacity;
    unsigned char *bytes; /* of the states on the way, one after the other */
    size_t used, capacity;
    seen *seen;           /* open addressing */
    uint32_t *indices;    /* of the entry of `seen` with the same number */
    size_t seen_count, seen_size;
    uint32_t *open;       /* states whose component is not complete yet */
    size_t open_count, open_capacity;
    unsigned char *complete; /* a byte for each state, by index */
    size_t complete_capacity;
    mc_counts counts;
} search;

static void *grown(void *memory, size_t count, size_t size) {
    void *larger = realloc(memory, count * size);
    if (!larger) {
        fputs("checker: out of memory\n", stderr);
        exit(2);
    }
    return larger;
}

__extension__ typedef unsigned __int128 product;

static uint64_t mixed(uint64_t a, uint64_t b) {
    product p = (product)a * b;
    return (uint64_t)p ^ (uint64_t)(p >> 64);
}

static uint64_t word_at(const unsigned char *bytes) {
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

/*
 * 128 bits, of which every word of the state changes both halves: among 1e9 states a false "seen before"
 * has a chance of about 1e-20. The size is a multiple of 32.
 */
static seen print_of(const unsigned char *bytes, size_t size) {
    const uint64_t k = UINT64_C(0x9e3779b97f4a7c15), l = UINT64_C(0xc2b2ae3d27d4eb4f);
    uint64_t a = k ^ size, b = l ^ size, c = k + size, d = l + size;
    for (size_t i = 0; i < size; i += 32) {
        uint64_t w = word_at(bytes + i), x = word_at(bytes + i + 8);
        uint64_t y = word_at(bytes + i + 16), z = word_at(bytes + i + 24);
        a = mixed(w ^ a, x ^ k) + a;
        b = mixed(y ^ b, z ^ l) + b;
        c = mixed(z ^ c, w ^ l) + c;
        d = mixed(x ^ d, y ^ k) + d;
    }
    return (seen){mixed(a ^ l, b ^ k) | 1, mixed(c ^ k, d ^ l)};
}

/* The entry of a state: found, or put there. */
static size_t find_or_put(seen print, uint32_t index, bool *is_new) {
    size_t mask = search.seen_size - 1;
    size_t i = (size_t)(print.high & mask);
    for (; search.seen[i].low; i = (i + 1) & mask) {
        *is_new = false;
        if (search.seen[i].low == print.low && search.seen[i].high == print.high) return i;
    }
    search.seen[i] = print;
    search.indices[i] = index;
    *is_new = true;
    return i;
}

static void make_seen(size_t size) {
    search.seen_size = size;
    search.seen = grown(NULL, size, sizeof *search.seen);
    search.indices = grown(NULL, size, sizeof *search.indices);
    memset(search.seen, 0, size * sizeof *search.seen);
}

static void enlarge_seen(void) {
    seen *old = search.seen;
    uint32_t *old_indices = search.indices;
    size_t old_size = search.seen_size;
    bool is_new;
    make_seen(old_size * 2);
    for (size_t i = 0; i < old_size; i++) {
        if (old[i].low) find_or_put(old[i], old_indices[i], &is_new);
    }
    free(old);
    free(old_indices);
}

/* Room for one more of everything. */
static void make_room(void) {
    if (search.capacity - search.used < STATE_MOST) {
        search.capacity = search.capacity * 2 + STATE_MOST;
        search.bytes = grown(search.bytes, search.capacity, 1);
    }
    if (search.seen_count * 4 > search.seen_size * 3) enlarge_seen();
    if (search.depth == search.way_capacity) {
        search.way_capacity = search.way_capacity * 2 + 1024;
        search.way = grown(search.way, search.way_capacity, sizeof *search.way);
    }
    if (search.open_count == search.open_capacity) {
        search.open_capacity = search.open_capacity * 2 + 1024;
        search.open = grown(search.open, search.open_capacity, sizeof *search.open);
    }
    if (search.seen_count == search.complete_capacity) {
        search.complete_capacity = search.complete_capacity * 2 + 1024;
        search.complete = grown(search.complete, search.complete_capacity, 1);
    }
}

/* `from` has a step to a state that was seen before. */
static void note_edge(place *from, uint32_t to) {
    if (search.complete[to]) {
        from->leaves = true;
    } else if (to < from->low) {
        from->low = to;
    }
}

/* Takes the present state down as the next on the way, unless it was seen before. */
static void enter_state(void) {
    bool is_new;
    make_room();
    size_t size = state_pack(search.bytes + search.used);
    size_t entry = find_or_put(print_of(search.bytes + search.used, size), (uint32_t)search.seen_count, &is_new);
    uint32_t index = search.indices[entry];
    if (!is_new) {
        note_edge(&search.way[search.depth - 1], index);
        return;
    }
    search.seen_count++;
    search.complete[index] = false;
    search.open[search.open_count++] = index;
    search.way[search.depth++] = (place){.offset = search.used, .index = index, .low = index};
    search.used += size;
    if (search.depth > search.counts.depth) search.counts.depth = search.depth;
}

/* Goes back from the last state on the way: all that it leads to is known. */
static void leave_state(void) {
    place left = search.way[search.depth - 1];
    bool is_root = left.low == left.index;
    /* Where preemptions are bounded, the thread that would end the circle may just not be allowed to run. */
    if (is_root && !left.leaves && !left.is_end && m.exercise->preemptions == MC_ALL) {
        mc_fail(__FILE__, __LINE__, "from here on threads go round in circles, whoever runs");
        return;
    }
    while (is_root && search.open_count && search.open[search.open_count - 1] >= left.index) {
        search.complete[search.open[--search.open_count]] = true;
    }
    search.used = left.offset;
    if (--search.depth == 0) return;
    place *before = &search.way[search.depth - 1];
    before->leaves = before->leaves || is_root || left.leaves;
    if (left.low < before->low) before->low = left.low;
}

static bool is_preemption(unsigned index) {
    return m.last != NOBODY && m.last != index && m.thread[m.last].status == THREAD_READY;
}

static unsigned list_transitions(transition *list) {
    unsigned count = 0;
    for (unsigned i = 0; i < m.exercise->threads; i++) {
        const thread *t = &m.thread[i];
        if (t->buffered) list[count++] = (transition){FLUSH, i, 0};
        if (t->status == THREAD_ASLEEP && m.early_returns) list[count++] = (transition){RETURN_EARLY, i, 0};
        if (t->status != THREAD_READY || (m.preemptions == 0 && is_preemption(i))) continue;
        unsigned outcomes = memory_outcomes(t);
        for (unsigned j = 0; j < outcomes; j++) list[count++] = (transition){STEP, i, j};
    }
    return count;
}

static void step(unsigned index, unsigned outcome) {
    if (m.preemptions != MC_ALL && is_preemption(index)) m.preemptions--;
    m.last = index;
    memory_apply(index, outcome);
    if (m.thread[index].status == THREAD_READY && !m.error) machine_resume(index);
}

static void take(transition next) {
    if (next.what == FLUSH) {
        memory_flush(next.thread);
    } else if (next.what == RETURN_EARLY) {
        m.early_returns--;
        m.thread[next.thread].status = THREAD_READY;
    } else {
        step(next.thread, next.outcome);
    }
    memory_forget();
    if (m.exercise->at_state && !m.error) m.exercise->at_state();
}

static const char *const operation_names[] = {"load", "store", "swap", "add", "or", "and"};
static const char *const order_names[] = {"relaxed", "acquire", "release", "acq_rel", "seq_cst"};

static void print_location(const operation *o) {
    const location *l = &m.location[o->location];
    printf(", word at +%td = %#" PRIx64, l->address - (char *)m.exercise->shared, memory_value(o->location));
}

/* The next operation of a thread, and what the word holds before it; under MC_VIEWS it may read an older value. */
static void print_step(const thread *t) {
    const operation *o = &t->next;
    switch (o->request) {
    case REQUEST_NONE: printf("woken"); break;
    case REQUEST_CHOOSE: printf("chooses"); break;
    case REQUEST_WAIT: printf("waits"); break;
    case REQUEST_WAKE: printf("wakes"); break;
    case REQUEST_CAS: printf("cas_%s", order_names[o->order]); break;
    case REQUEST_OPERATE: printf("%s_%s", operation_names[o->kind], order_names[o->order]); break;
    }
    printf(" in %s", o->where);
    if (o->request == REQUEST_NONE || o->request == REQUEST_CHOOSE) return;
    print_location(o);
    if (o->request == REQUEST_CAS || o->request == REQUEST_WAIT) printf(", expected %#" PRIx64, o->expected);
    if (o->request == REQUEST_CAS || (o->request == REQUEST_OPERATE && o->kind != MC_LOAD)) {
        printf(", operand %#" PRIx64, o->value);
    }
}

/* What the step gave the thread: where several results are possible, this one. */
static void print_result(unsigned index, unsigned outcome) {
    const thread *t = &m.thread[index];
    bool has_choice = memory_outcomes(t) > 1;
    operation o = t->next;
    if (!has_choice) return;
    memory_apply(index, outcome);
    if (o.request == REQUEST_WAKE) {
        printf("; the sleeper woken is number %u", outcome);
    } else {
        printf("; reads %#" PRIx64, t->result);
    }
}

static void print_way(void) {
    printf("%s: %s\n", m.exercise->name, m.error);
    for (size_t i = 0; i < search.depth; i++) {
        transition list[TRANSITIONS];
        state_unpack(search.bytes + search.way[i].offset);
        if (search.way[i].tried == 0) break; /* the error lies in this state itself */
        list_transitions(list);
        transition next = list[search.way[i].tried - 1];
        printf("%4zu  thread %u: ", i + 1, next.thread);
        if (next.what == FLUSH) printf("its oldest store is seen by the others");
        if (next.what == RETURN_EARLY) printf("rni_os_wait returns for no reason");
        if (next.what == STEP) {
            print_step(&m.thread[next.thread]);
            print_result(next.thread, next.outcome);
        }
        printf("\n");
    }
}

/* Goes on from the last state on the way, or back from it. */
static void go_on(void) {
    transition list[TRANSITIONS];
    place *here = &search.way[search.depth - 1];
    state_unpack(search.bytes + here->offset);
    unsigned count = list_transitions(list);
    if (count == 0) {
        here->is_end = true;
        search.counts.ends++;
        m.exercise->at_end();
    }
    if (m.error) return;
    if (here->tried == count) {
        leave_state();
        return;
    }
    here->tried++;
    search.counts.steps++;
    take(list[here->tried - 1]);
    if (!m.error) enter_state();
}

bool mc_check(const mc_exercise *exercise, mc_counts *counts) {
    search = (struct search){0};
    make_seen((size_t)1 << 12);
    machine_start(exercise);
    if (!m.error) enter_state();
    while (search.depth && !m.error) go_on();
    const char *error = m.error;
    if (error) print_way();
    search.counts.states = search.seen_count;
    *counts = search.counts;
    free(search.way);
    free(search.bytes);
    free(search.seen);
    free(search.indices);
    free(search.open);
    free(search.complete);
    return !error;
}
