/*
 * T1: parking.c, as shipped. Workers do what parking.h asks of them, in the order of thread/worker.c and
 * thread/keeper.c; queues are single words, read and written as deque.h says of its own.
 * The error that matters: nobody can go on, and a task lies in a queue.
 */
#include "base/os.h"
#include "checks.h"
#include "thread/parking.h"

#define QUEUES 4u

/* What the first task does: it waits for the second, its seat given up or not, or starts a task itself. */
enum first { NOTHING_MORE, BLOCKS, IS_BUSY, STARTS_ANOTHER };

static const struct shape {
    unsigned producers; /* threads 0 .. producers - 1 */
    unsigned workers;   /* the threads after them */
    unsigned tasks;     /* that each producer pushes */
    unsigned seats;
    unsigned spares;    /* of the workers: begin parked, by rni_parking_join() */
    enum first first;
    bool closes;        /* producer 0 closes after its pushes: then workers end */
    bool has_timer;     /* producer 0 sets a timer, due at once, that pushes one more task */
    bool has_mail;      /* producer 0 posts a task that only the first worker may run */
} *shape;

static struct shared {
    rni_parking parking;
    rni_a64 queue[QUEUES]; /* how many tasks lie in it */
    rni_a32 second;        /* 1: the second task has been taken */
    rni_a32 closing;
    rni_a32 timer;         /* 1: set, and due */
    rni_a32 keeper, keeper_word;
    rni_a32 mail;          /* of the first worker */
    unsigned taken;
} shared;

static unsigned queues(void) {
    return shape->producers + (shape->first == STARTS_ANOTHER ? shape->workers : 0) + shape->has_timer;
}

static unsigned all_tasks(void) {
    return shape->producers * shape->tasks + (shape->first == STARTS_ANOTHER) + shape->has_timer + shape->has_mail;
}

static bool first_waits(void) { return shape->first == BLOCKS || shape->first == IS_BUSY; }

static void start(void) {
    shared = (struct shared){0};
    rni_parking_init(&shared.parking, shape->seats, shape->workers - shape->spares);
    for (unsigned i = 0; i < queues(); i++) rni_store_relaxed(&shared.queue[i], 0);
    if (first_waits()) rni_store_relaxed(&shared.second, 0);
    if (shape->closes) rni_store_relaxed(&shared.closing, 0);
    if (shape->has_mail) rni_store_relaxed(&shared.mail, 0);
    if (!shape->has_timer) return;
    rni_store_relaxed(&shared.timer, 0);
    rni_store_relaxed(&shared.keeper, 0);
    rni_store_relaxed(&shared.keeper_word, 0);
}

/* As rni_deque_push(): a seq_cst read-modify-write makes it visible. */
static void push(unsigned queue) {
    rni_add_seq_cst(&shared.queue[queue], 1);
    rni_parking_notify(&shared.parking);
}

static void poke_keeper(void) {
    rni_add_seq_cst(&shared.keeper_word, 1);
    rni_os_wake(&shared.keeper_word, 1);
}

static void set_timer(void) {
    rni_swap_acq_rel(&shared.timer, 1);
    poke_keeper();
    if (!rni_load_seq_cst(&shared.keeper)) rni_parking_nudge(&shared.parking);
}

static void post(void) {
    rni_swap_seq_cst(&shared.mail, 1);
    rni_parking_wake_all(&shared.parking);
    if (shape->has_timer) poke_keeper();
}

static void produce(unsigned self) {
    for (unsigned i = 0; i < shape->tasks; i++) push(self);
    if (self == 0 && shape->has_timer) set_timer();
    if (self == 0 && shape->has_mail) post();
    if (self || !shape->closes) return;
    rni_store_release(&shared.closing, 1);
    rni_parking_wake_all(&shared.parking);
}

/* As rni_deque_count(): seq_cst loads. */
static bool work_is_visible(void) {
    for (unsigned i = 0; i < queues(); i++) {
        if (rni_load_seq_cst(&shared.queue[i])) return true;
    }
    return false;
}

/* As rni_deque_steal(): one attempt at each. */
static bool finds_task(void) {
    for (unsigned i = 0; i < queues(); i++) {
        uint64_t count = rni_load_seq_cst(&shared.queue[i]);
        if (count && rni_cas_seq_cst(&shared.queue[i], &count, count - 1)) return true;
    }
    return false;
}

static void wait_for_second(void) {
    while (!rni_load_acquire(&shared.second)) rni_os_wait(&shared.second, 0, -1);
}

static void block(void) {
    rni_parking_leave(&shared.parking);
    if (work_is_visible()) rni_parking_notify(&shared.parking);
    wait_for_second();
    rni_parking_come_back(&shared.parking);
}

static void run_task(unsigned self) {
    unsigned before = shared.taken++;
    if (before == 1 && first_waits()) {
        rni_swap_acq_rel(&shared.second, 1);
        rni_os_wake(&shared.second, 1);
    } else if (before == 0 && shape->first == STARTS_ANOTHER) {
        push(self);
    } else if (before == 0 && shape->first == BLOCKS) {
        block();
    } else if (before == 0 && shape->first == IS_BUSY) {
        wait_for_second();
    }
}

static bool must_end(void) { return shape->closes && rni_load_acquire(&shared.closing); }

static bool has_mail(unsigned self) {
    return shape->has_mail && self == shape->producers && rni_load_seq_cst(&shared.mail);
}

static bool takes_mail(unsigned self) {
    if (!has_mail(self)) return false;
    rni_swap_seq_cst(&shared.mail, 0);
    return true;
}

/* ---- the timekeeper ---- */

static bool fires(void) {
    uint32_t due = 1;
    if (!rni_cas_acq_rel(&shared.timer, &due, 0)) return false;
    rni_add_seq_cst(&shared.queue[queues() - 1], 1);
    return true;
}

static void leave_place(void) {
    rni_swap_seq_cst(&shared.keeper, 0);
    rni_parking_nudge(&shared.parking);
}

static bool takes_a_seat(void) {
    if (!rni_parking_sit(&shared.parking)) {
        rni_parking_notify(&shared.parking);
        return false;
    }
    leave_place();
    return true;
}

static void keep(unsigned self) {
    for (;;) {
        uint32_t word = rni_load_acquire(&shared.keeper_word);
        if (fires() && takes_a_seat()) return;
        if (has_mail(self)) {
            rni_parking_rise_anyway(&shared.parking, false);
            leave_place();
            return;
        }
        rni_os_wait(&shared.keeper_word, word, -1);
    }
}

/* A parked worker; it has a seat after this, if true. */
static bool becomes_keeper(unsigned self) {
    uint32_t expected = 0;
    if (!shape->has_timer || rni_load_relaxed(&shared.keeper) || !rni_load_acquire(&shared.timer)) return false;
    if (!rni_cas_acq_rel(&shared.keeper, &expected, 1)) return false;
    rni_parking_quit(&shared.parking);
    if (work_is_visible()) rni_parking_notify(&shared.parking);
    keep(self);
    return true;
}

static void look_at_timer(void) {
    if (!shape->has_timer || rni_load_relaxed(&shared.keeper)) return;
    if (fires()) rni_parking_notify(&shared.parking);
}

/* ---- the worker ---- */

static bool sleeps_until_up(unsigned self, uint32_t epoch) {
    while (!must_end()) {
        if (has_mail(self)) {
            rni_parking_rise_anyway(&shared.parking, true);
            return true;
        }
        if (becomes_keeper(self)) return true;
        rni_parking_sleep(&shared.parking, epoch, -1);
        uint32_t former = epoch;
        epoch = rni_parking_epoch(&shared.parking);
        if (epoch == former && !rni_parking_is_waking(&shared.parking)) continue;
        if (becomes_keeper(self)) return true;
        if (rni_parking_rise(&shared.parking)) return true;
    }
    return false;
}

/* A searching worker that found nothing. False: it is to end. */
static bool rises_again(unsigned self) {
    uint32_t epoch = rni_parking_announce(&shared.parking);
    if (work_is_visible() && rni_parking_rise(&shared.parking)) return true;
    return sleeps_until_up(self, epoch);
}

static bool joins(unsigned self) {
    rni_parking_join(&shared.parking);
    uint32_t epoch = rni_parking_epoch(&shared.parking);
    return rni_parking_rise(&shared.parking) || sleeps_until_up(self, epoch);
}

/* A searching worker, until it searches again. False: it is to end. */
static bool works(unsigned self) {
    uint32_t epoch = 0;
    look_at_timer();
    if (!takes_mail(self) && !finds_task()) return rises_again(self);
    if (rni_parking_stop_search(&shared.parking) && work_is_visible()) rni_parking_notify(&shared.parking);
    run_task(self);
    if (rni_parking_give_up_surplus(&shared.parking, &epoch)) return sleeps_until_up(self, epoch);
    rni_parking_start_search(&shared.parking);
    return true;
}

static void work(unsigned self) {
    if (self >= shape->producers + shape->workers - shape->spares && !joins(self)) return;
    while (works(self)) {
    }
}

static void thread(unsigned self) {
    if (self < shape->producers) {
        produce(self);
    } else {
        work(self);
    }
}

static unsigned field(unsigned shift) { return (unsigned)(shared.parking.state.word >> shift & 0xffff); }

static void at_state(void) {
    mc_assert(field(0) <= shape->workers);
    mc_assert(field(16) <= shape->workers);
    mc_assert(field(32) <= field(16));
    mc_assert(field(48) <= 1);
    mc_assert(shared.taken <= all_tasks());
}

static void at_end(void) {
    mc_assert(shape->closes || shared.taken == all_tasks());
    bool kept = shape->has_timer && shared.keeper.word;
    mc_assert(shape->closes || field(0) + kept == shape->workers);
    mc_assert(field(16) == 0);
    mc_assert(field(32) == 0);
    mc_assert(shape->closes || field(48) == 0);
    unsigned threads = shape->producers + shape->workers;
    for (unsigned i = shape->producers; i < threads; i++) mc_assert(mc_sleeps(i) != shape->closes);
}

static void choose(const void *chosen) { shape = chosen; }

/* Producers, workers, seats; and the rest of the shape. */
#define SHAPE(p, w, s, ...) (&(const struct shape){.producers = p, .workers = w, .seats = s, __VA_ARGS__})
#define RUN(is_long, text, model, most, early, count, chosen)                                                \
    {.exercise = {.name = text, .threads = count, .start = start, .thread = thread, .at_state = at_state,       \
                  .at_end = at_end, .shared = &shared, .shared_size = sizeof shared, .memory = model,           \
                  .preemptions = most, .early_returns = early},                                              \
     .shape = chosen, .torture = is_long}
#define BOUND(most, text, model, count, chosen) RUN(false, text, model, most, 0, count, chosen)
#define ALL(text, model, count, chosen) RUN(false, text, model, MC_ALL, 0, count, chosen)
#define LONG(most, text, model, count, chosen) RUN(true, text, model, most, 0, count, chosen)
#define EACH(text, early, count, chosen)                         \
    RUN(false, text, MC_SC, MC_ALL, early, count, chosen),       \
    RUN(false, text, MC_TSO, MC_ALL, early, count, chosen),      \
    RUN(false, text, MC_VIEWS, MC_ALL, early, count, chosen)

static const mc_run runs[] = {
    EACH("1 producer, 1 worker, 2 tasks", 0, 2, SHAPE(1, 1, 1, .tasks = 2)),
    EACH("1 producer, 1 worker, waits that end early", 2, 2, SHAPE(1, 1, 1, .tasks = 1)),
    EACH("1 producer, 2 workers, 1 task", 0, 3, SHAPE(1, 2, 2, .tasks = 1)),
    EACH("1 producer that closes, 2 workers", 0, 3, SHAPE(1, 2, 2, .tasks = 1, .closes = true)),
    EACH("2 producers, 1 worker", 0, 3, SHAPE(2, 1, 1, .tasks = 1)),
    ALL("a task blocks until the next has run", MC_SC, 3, SHAPE(1, 2, 1, .tasks = 2, .spares = 1, .first = BLOCKS)),
    ALL("a task blocks until the next has run, 3 tasks", MC_SC, 3,
        SHAPE(1, 2, 1, .tasks = 3, .spares = 1, .first = BLOCKS)),
    ALL("a task is busy until the next has run", MC_SC, 3, SHAPE(1, 2, 2, .tasks = 2, .first = IS_BUSY)),
    ALL("a task starts another", MC_SC, 3, SHAPE(1, 2, 2, .tasks = 1, .first = STARTS_ANOTHER)),
    ALL("a timer, 2 workers, 1 seat", MC_SC, 3, SHAPE(1, 2, 1, .tasks = 1, .spares = 1, .has_timer = true)),
    ALL("a timer, 2 workers, 1 seat", MC_TSO, 3, SHAPE(1, 2, 1, .tasks = 1, .spares = 1, .has_timer = true)),
    ALL("mail for one of 2 workers, 1 seat", MC_SC, 3, SHAPE(1, 2, 1, .tasks = 1, .spares = 1, .has_mail = true)),
    ALL("mail for one of 2 workers, 1 seat", MC_TSO, 3, SHAPE(1, 2, 1, .tasks = 1, .spares = 1, .has_mail = true)),
    BOUND(3, "mail and a timer, 2 workers, 1 seat", MC_SC, 3,
          SHAPE(1, 2, 1, .tasks = 1, .spares = 1, .has_mail = true, .has_timer = true)),
    ALL("1 producer, 2 workers, 2 tasks", MC_SC, 3, SHAPE(1, 2, 2, .tasks = 2)),
    ALL("1 producer, 2 workers, 1 seat", MC_SC, 3, SHAPE(1, 2, 1, .tasks = 2, .spares = 1)),
    BOUND(3, "1 producer, 2 workers, 1 seat", MC_VIEWS, 3, SHAPE(1, 2, 1, .tasks = 2, .spares = 1)),
    RUN(false, "1 producer, 2 workers, waits that end early", MC_SC, MC_ALL, 1, 3, SHAPE(1, 2, 2, .tasks = 1)),
    ALL("2 producers, 2 workers", MC_SC, 4, SHAPE(2, 2, 2, .tasks = 1)),
    ALL("2 producers, 2 workers", MC_TSO, 4, SHAPE(2, 2, 2, .tasks = 1)),
    BOUND(3, "2 producers, 2 workers", MC_VIEWS, 4, SHAPE(2, 2, 2, .tasks = 1)),
    LONG(MC_ALL, "1 producer, 2 workers, 2 tasks", MC_VIEWS, 3, SHAPE(1, 2, 2, .tasks = 2)),
    LONG(4, "a task blocks until the next has run", MC_VIEWS, 3,
         SHAPE(1, 2, 1, .tasks = 2, .spares = 1, .first = BLOCKS)),
    LONG(MC_ALL, "mail and a timer, 2 workers, 1 seat", MC_TSO, 3,
         SHAPE(1, 2, 1, .tasks = 1, .spares = 1, .has_mail = true, .has_timer = true)),
    LONG(5, "3 producers, 2 workers", MC_SC, 5, SHAPE(3, 2, 2, .tasks = 1)),
    LONG(3, "1 producer, 3 workers, 2 seats, a task blocks", MC_SC, 4,
         SHAPE(1, 3, 2, .tasks = 3, .spares = 1, .first = BLOCKS)),
    LONG(4, "2 producers, 3 workers", MC_SC, 5, SHAPE(2, 3, 3, .tasks = 1)),
    LONG(4, "2 producers, 2 workers", MC_VIEWS, 4, SHAPE(2, 2, 2, .tasks = 1)),
};

int main(int argc, char **argv) { return mc_main("T1", runs, sizeof runs / sizeof *runs, choose, argc, argv); }
