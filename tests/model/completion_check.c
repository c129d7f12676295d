/*
 * T2: completion.c, as shipped. Up to five threads meet on one run, each in a role; whatever their order, the
 * run is resolved once, each callback is called once, after the result and in order, no sleeper is left asleep,
 * and the memory is given back once and not touched after that.
 */
#include "base/os.h"
#include "checks.h"
#include "core/completion.h"

#define NODES 4u

/* The last three are the library's own; the others use the future. */
enum role { CLAIMER, CANCELLER, ADDER, SLEEPER, STOPPER, WORKER, TIMER, CLOSER };

/* Where the pointer lies for which the run is QUEUED. */
enum place {
    WITH_SOMEBODY, /* a thread has taken it */
    IN_QUEUE,
    IN_TIMER,
    GONE           /* there will be none any more */
};

static const struct shape {
    unsigned threads;
    enum role roles[5];
    unsigned adds;       /* callbacks that each adder adds */
    unsigned iterations; /* of the run; with more than one it suspends between them */
    uint64_t flags;      /* the run begins with */
    bool detached;       /* no user: the worker begins it without a read-modify-write */
} *shape;

static struct shared {
    rni_completion run;
    rni_node nodes[NODES];
    rni_a32 users; /* that still use the future; the last one releases it */
    rni_a32 place;
    uint64_t result;   /* as whoever read it first has seen it */
    unsigned resolved; /* how often */
    unsigned iterations; /* plain, as what a run keeps for its next iteration */
    unsigned called[NODES];
    unsigned freed;
    bool stopped; /* rni_completion_stop() met it between two iterations */
    bool told;    /* or in one */
} shared;

static bool is_user(enum role role) { return role < WORKER; }

static unsigned count_users(void) {
    unsigned count = 0;
    for (unsigned i = 0; i < shape->threads; i++) count += is_user(shape->roles[i]);
    return count;
}

static void start(void) {
    shared = (struct shared){0};
    mc_watch(&shared.run.word, sizeof shared.run.word);
    mc_watch(&shared.run.value, sizeof shared.run.value);
    mc_watch(&shared.iterations, sizeof shared.iterations);
    for (unsigned i = 0; i < NODES; i++) mc_watch(&shared.nodes[i], sizeof shared.nodes[i]);
    rni_completion_init(&shared.run, shape->flags);
    rni_store_relaxed(&shared.users, count_users());
    bool in_timer = !(shape->flags & RNI_CLAIMABLE) && shape->iterations == 1;
    rni_store_relaxed(&shared.place, in_timer ? IN_TIMER : IN_QUEUE);
}

static void give_back(enum rni_verdict verdict) {
    if (verdict != RNI_LAST) return;
    shared.freed++;
    mc_free(&shared.run, sizeof shared.run);
}

static void free_node(rni_node *node) { mc_free(node, sizeof *node); }

static void check_result(void) {
    mc_read(&shared.run.value);
    if (!shared.result) shared.result = shared.run.value.bits;
    mc_assert(shared.result != 0 && shared.run.value.bits == shared.result);
}

static void call(unsigned node) {
    check_result();
    mc_assert(shared.called[node] == 0);
    shared.called[node] = 1;
}

/* A done callback that settle calls: those of the same adder before it have been called. */
static void settled(rn_future *future, void *context) {
    (void)future;
    unsigned node = (unsigned)(uintptr_t)context;
    for (unsigned i = node - node % shape->adds; i < node; i++) mc_assert(shared.called[i] == 1);
    call(node);
}

static void settle(void) { give_back(rni_completion_settle(&shared.run, (rn_future *)&shared.run, free_node)); }

static void complete(unsigned value) {
    mc_assert(++shared.resolved == 1);
    enum rni_verdict verdict = rni_completion_complete(&shared.run, (rn_value){.bits = value});
    if (verdict == RNI_YES) {
        settle();
    } else {
        give_back(verdict);
    }
}

static bool may_stop(void) {
    for (unsigned i = 0; i < shape->threads; i++) {
        if (shape->roles[i] == STOPPER) return true;
    }
    return false;
}

static bool takes(enum place from) {
    uint32_t place = from;
    return rni_cas_acq_rel(&shared.place, &place, WITH_SOMEBODY);
}

static void put(enum place place) {
    rni_store_release(&shared.place, place);
    rni_os_wake(&shared.place, INT32_MAX);
}

/* Waits for the pointer to lie there; false: it never will. */
static bool waits_and_takes(enum place from) {
    while (!takes(from)) {
        uint32_t place = rni_load_acquire(&shared.place);
        if (place == GONE) return false;
        if (place != from) rni_os_wait(&shared.place, place, -1);
    }
    return true;
}

static unsigned iterate(void) {
    mc_write(&shared.iterations);
    return ++shared.iterations;
}

/* What the thread that began the run does with it. */
static void run(unsigned value) {
    mc_read(&shared.run.value); /* the argument */
    bool stop = may_stop() && rni_load_acquire(&shared.run.word) & RNI_STOP;
    mc_assert(stop || !shared.stopped);
    if (stop || iterate() == shape->iterations || rni_completion_suspend(&shared.run) == RNI_NO) {
        complete(value);
        put(GONE);
    } else {
        mc_assert(!shared.told); /* then it is to end at once, not at its next tick */
        put(IN_TIMER);
    }
}

static void work(unsigned value) {
    while (waits_and_takes(IN_QUEUE)) {
        enum rni_verdict verdict = RNI_YES;
        if (shape->detached) {
            rni_completion_begin_detached(&shared.run);
        } else {
            verdict = rni_completion_begin(&shared.run);
        }
        if (verdict == RNI_YES) {
            run(value);
        } else {
            give_back(verdict);
            put(GONE);
        }
    }
}

static void tick(void) {
    while (waits_and_takes(IN_TIMER)) {
        mc_read(&shared.iterations);
        if (shared.iterations + 1 == shape->iterations) rni_completion_make_claimable(&shared.run);
        put(IN_QUEUE);
    }
}

static void wait_until_over(void) {
    while (!rni_is_over(rni_load_acquire(&shared.run.word))) rni_completion_sleep(&shared.run, -1);
    check_result();
}

/* As an awaiting thread: runs it itself if nobody has begun it. */
static void claim(unsigned value) {
    if (rni_completion_claim(&shared.run) == RNI_YES) {
        mc_assert(iterate() == shape->iterations);
        complete(value);
    } else {
        wait_until_over();
    }
}

static bool cancels(unsigned value) {
    rn_value former;
    if (rni_completion_cancel(&shared.run, (rn_value){.bits = value}, &former) == RNI_NO) return false;
    mc_assert(++shared.resolved == 1 && shared.iterations == 0 && former.bits == 0);
    if (takes(IN_TIMER)) {
        mc_assert(rni_completion_unqueue(&shared.run) == RNI_YES);
        put(GONE);
    }
    settle();
    return true;
}

/* As a runtime that closes: takes the run out of the timer and cancels it, if nobody was quicker. */
static void drop(unsigned value) {
    rn_value former;
    if (!takes(IN_TIMER)) return;
    if (rni_completion_cancel(&shared.run, (rn_value){.bits = value}, &former) == RNI_YES) {
        mc_assert(++shared.resolved == 1);
        settle();
    }
    give_back(rni_completion_unqueue(&shared.run));
    put(GONE);
}

/* One that loses has lost to a thread that began the run, or to another that cancels it: it can tell. */
static void cancel(unsigned value) {
    if (cancels(value)) return;
    uint64_t word = rni_load_acquire(&shared.run.word);
    if (word & RNI_BEGUN) return;
    mc_assert(rni_is_being_cancelled(word) || rni_state_of(word) == RN_STATE_CANCELLED);
    wait_until_over();
    mc_assert(rni_state_of(rni_load_acquire(&shared.run.word)) == RN_STATE_CANCELLED);
}

static void stop(unsigned value) {
    if (cancels(value)) return;
    uint64_t word = rni_completion_stop(&shared.run);
    shared.stopped = rni_state_of(word) == RN_WAITING;
    shared.told = rni_state_of(word) == RN_RUNNING;
    if (!shared.stopped) return;
    if (takes(IN_TIMER)) put(IN_QUEUE);
}

static void add(unsigned adder) {
    for (unsigned i = 0; i < shape->adds; i++) {
        unsigned index = adder * shape->adds + i;
        rni_node *node = &shared.nodes[index];
        mc_write(node);
        *node = (rni_node){.function = settled, .context = (void *)(uintptr_t)index};
        if (rni_completion_add(&shared.run, node)) continue;
        call(index);
        free_node(node);
    }
}

/* How many of this thread's role come before it. */
static unsigned rank(unsigned self) {
    unsigned count = 0;
    for (unsigned i = 0; i < self; i++) count += shape->roles[i] == shape->roles[self];
    return count;
}

static void thread(unsigned self) {
    switch (shape->roles[self]) {
    case WORKER: work(self + 1); return;
    case TIMER: tick(); return;
    case CLOSER: drop(self + 1); return;
    case CLAIMER: claim(self + 1); break;
    case CANCELLER: cancel(self + 1); break;
    case STOPPER: stop(self + 1); break;
    case ADDER: add(rank(self)); break;
    case SLEEPER: wait_until_over(); break;
    }
    if (rni_add_acq_rel(&shared.users, (uint32_t)-1) == 1) give_back(rni_completion_release(&shared.run));
}

static void at_end(void) {
    unsigned adders = 0;
    for (unsigned i = 0; i < shape->threads; i++) {
        mc_assert(!mc_sleeps(i));
        adders += shape->roles[i] == ADDER;
    }
    mc_assert(shared.resolved == 1);
    mc_assert(shared.freed == 1);
    for (unsigned i = 0; i < adders * shape->adds; i++) mc_assert(shared.called[i] == 1);
}

static void choose(const void *chosen) { shape = chosen; }

/* The roles, how many callbacks each adder adds, how many iterations the run has, and its flags. */
#define DUE (RNI_QUEUED | RNI_CLAIMABLE)
#define LATER RNI_QUEUED
#define SHAPE(a, i, f, ...) .adds = a, .iterations = i, .flags = f, .roles = {__VA_ARGS__}
#define RUN(is_long, text, model, most, count, ...)                                                      \
    {.exercise = {.name = text, .threads = count, .start = start, .thread = thread, .at_end = at_end,       \
                  .shared = &shared, .shared_size = sizeof shared, .memory = model, .preemptions = most},  \
     .shape = &(const struct shape){.threads = count, __VA_ARGS__}, .torture = is_long}
#define EACH(text, count, ...)                               \
    RUN(false, text, MC_SC, MC_ALL, count, __VA_ARGS__),     \
    RUN(false, text, MC_TSO, MC_ALL, count, __VA_ARGS__),    \
    RUN(false, text, MC_VIEWS, MC_ALL, count, __VA_ARGS__)
#define LONG(text, count, ...)                              \
    RUN(true, text, MC_SC, MC_ALL, count, __VA_ARGS__),     \
    RUN(true, text, MC_TSO, MC_ALL, count, __VA_ARGS__),    \
    RUN(true, text, MC_VIEWS, 3, count, __VA_ARGS__)

static const mc_run runs[] = {
    EACH("worker and sleeper", 2, SHAPE(0, 1, DUE, WORKER, SLEEPER)),
    EACH("worker, adder and sleeper", 3, SHAPE(2, 1, DUE, WORKER, ADDER, SLEEPER)),
    EACH("worker, claimer and canceller", 3, SHAPE(0, 1, DUE, WORKER, CLAIMER, CANCELLER)),
    EACH("worker, canceller and adder", 3, SHAPE(2, 1, DUE, WORKER, CANCELLER, ADDER)),
    EACH("worker and two cancellers", 3, SHAPE(0, 1, DUE, WORKER, CANCELLER, CANCELLER)),
    EACH("timer, worker, canceller", 3, SHAPE(0, 1, LATER, TIMER, WORKER, CANCELLER)),
    EACH("timer, worker, closer, sleeper", 4, SHAPE(0, 1, LATER, TIMER, WORKER, CLOSER, SLEEPER)),
    EACH("closer, canceller, adder", 3, SHAPE(1, 1, LATER, CLOSER, CANCELLER, ADDER)),
    EACH("timer, worker, stopper, two ticks", 3, SHAPE(0, 2, LATER, TIMER, WORKER, STOPPER)),
    EACH("timer, worker, claimer, two ticks", 3, SHAPE(0, 2, LATER, TIMER, WORKER, CLAIMER)),
    EACH("detached", 1, SHAPE(0, 1, DUE | RNI_RELEASED, WORKER), .detached = true),
    EACH("detached, two ticks", 2, SHAPE(0, 2, LATER | RNI_RELEASED, TIMER, WORKER)),
    EACH("worker, claimer, canceller, adder", 4, SHAPE(1, 1, DUE, WORKER, CLAIMER, CANCELLER, ADDER)),
    EACH("worker, two adders, sleeper", 4, SHAPE(1, 1, DUE, WORKER, ADDER, ADDER, SLEEPER)),
    LONG("worker, claimer, canceller, adder, sleeper", 5, SHAPE(1, 1, DUE, WORKER, CLAIMER, CANCELLER, ADDER, SLEEPER)),
    LONG("worker, claimer, canceller, two adders", 5, SHAPE(1, 1, DUE, WORKER, CLAIMER, CANCELLER, ADDER, ADDER)),
    LONG("timer, worker, stopper, claimer, two ticks", 4, SHAPE(0, 2, LATER, TIMER, WORKER, STOPPER, CLAIMER)),
    LONG("timer, worker, stopper, adder, sleeper, two ticks", 5,
         SHAPE(1, 2, LATER, TIMER, WORKER, STOPPER, ADDER, SLEEPER)),
};

int main(int argc, char **argv) { return mc_main("T2", runs, sizeof runs / sizeof *runs, choose, argc, argv); }
