/*
 * Waits inside tasks. A worker that waits for a run
 *   1. runs it itself, if nobody has begun it;
 *   2. else gives its seat to another thread, a spare if need be, and sleeps;
 *   3. else, if that would leave no thread to run tasks: runs what the awaited run, in turn, waits
 *      for, if nobody has begun that, once it is due; or answers RN_DEADLOCK.
 * It never runs a run that it does not wait for, so every call on its stack needs the one above it,
 * and "who waits for whom" is a graph of threads: a waiting worker waits for one run, and a run that
 * was begun is on the stack of one worker.
 *
 * A wait that closes a cycle in that graph is answered with RN_DEADLOCK. The graph is guarded by one
 * lock for all runtimes, rni_waits_lock (waits may cross them); an edge is added under it after the check, so of two
 * that would close a cycle together the second sees the first.
 */
#include <stdio.h>
#include <string.h>

#include "core/schedule.h"
#include "core/world.h"
#include "thread/pool.h"
#include "value/value.h"

#define INLINE_STACK ((uintptr_t)64 * 1024)   /* stack that runs inlined in a wait may add to a worker's own */
#define STACK_RESERVE ((size_t)128 * 1024)    /* left for one more, where there is no other way */
#define SPINS 300
#define LOOK_AGAIN_NS RN_MILLISECONDS(100) /* of the only thread left, at a run that another waits for */

static bool is_over(rni_run *run) {
    return rni_is_over(rni_load_acquire(&run->done.word)); /* pairs with complete */
}

/* Whoever asked for the wait is not there any more. */
static bool is_abandoned(const rni_worker *self) { return self->gone && rni_load_seq_cst(self->gone); /* pairs with note_death */ } /* LCOV_EXCL_BR_LINE: of worker processes */

static rni_worker *worker_of(rni_run *run) {
    uint32_t place = rni_load_relaxed(&run->place);
    rn_runtime *runtime = rni_world_runtime(place & 0xffff);
    uint32_t index = place >> 16;
    if (!runtime || !runtime->pool || index == 0) return NULL;
    rni_pool *pool = rni_pool_of(runtime);
    return index <= pool->threads_max ? rni_load_acquire(&pool->workers[index - 1]) : NULL; /* pairs with start_thread */
}

/* ---- cycles ---- */

struct chain {
    char text[900];
    size_t length, links;
    rni_run *end; /* what the last one waits for */
};

static void add_name(struct chain *chain, const char *name) {
    const char *between = chain->links == 0 ? "" : chain->links == 1 ? " waits for " : ", which waits for ";
    chain->links++;
    if (chain->length + 120 > sizeof chain->text) return;
    int length = snprintf(chain->text + chain->length, sizeof chain->text - chain->length, "%s'%s'", between, name);
    if (length > 0) chain->length += (size_t)length;
}

static void add_run(struct chain *chain, rni_run *run) {
    char name[RN_NAME_MAX + 1];
    rni_run_name(run, name);
    add_name(chain, name);
}

/* The runs that a worker inlined above `found` on its stack, up to the one whose call is on top. */
static void add_stack(struct chain *chain, const rn_call *top, const rni_run *found) {
    rni_run *above[16]; /* the uppermost, of a higher stack: the text has no room for more */
    size_t count = 0;
    for (const rn_call *call = top; call && call->run != found; call = call->outer)
        if (call->run && count < sizeof above / sizeof *above) above[count++] = call->run;
    while (count > 0) add_run(chain, above[--count]);
}

/* Follows who waits for whom from `run` on. True: it comes back to `self`. */
static bool is_cycle(rni_worker *self, const rn_call *call, rni_run *run, struct chain *chain) {
    for (unsigned steps = 0; steps < 1u << 16; steps++) {
        chain->end = run;
        add_run(chain, run);
        uint64_t word = rni_load_acquire(&run->done.word); /* pairs with begin: the place is set */
        if (rni_state_of(word) != RN_RUNNING) return false;
        if (rni_is_on_stack(call, run)) {
            add_stack(chain, call, run);
            return true;
        }
        rni_worker *other = worker_of(run);
        if (!other || other == self || !other->waits_for) return false;
        add_stack(chain, other->call, run);
        run = other->waits_for;
    }
    return false;
}

static void name_caller(struct chain *chain, rn_call *call) {
    char name[RN_NAME_MAX + 1] = "(done callback)";
    if (call->run) rni_run_name(call->run, name);
    add_name(chain, name);
}

/* ---- giving the seat away ---- */

/* Threads that run tasks, or could: not those that wait, and not the one that is there to keep the time. */
static int64_t able_to_run(rni_pool *pool) {
    int64_t keeper = rni_load_relaxed(&pool->has_extra) ? 1 : 0;
    /* blocked: pairs with the adds in may_block and unblock */
    return (int64_t)rni_pool_threads(pool) - rni_load_seq_cst(&pool->blocked) - keeper;
}

/* Blocks this worker in the count, if somebody is left to run tasks, or the wait ends by itself. */
static bool may_block(rni_pool *pool, int64_t deadline) {
    rni_mutex_lock(&pool->lock);
    int64_t left = able_to_run(pool) - 1;
    bool is_enough = left >= pool->parking.seats || rni_pool_start_thread(pool) == RN_OK || left > 0 || deadline >= 0;
    if (is_enough) rni_add_seq_cst(&pool->blocked, 1); /* pairs with able_to_run */
    rni_mutex_unlock(&pool->lock);
    return is_enough;
}

bool rni_pool_is_starved(rni_pool *pool) { return able_to_run(pool) <= 0; }

static void unblock(rni_pool *pool) {
    rni_mutex_lock(&pool->lock);
    rni_add_seq_cst(&pool->blocked, UINT32_MAX); /* pairs with able_to_run */
    rni_mutex_unlock(&pool->lock);
}

static void set_wait(rni_worker *self, rni_run *run, rn_call *call, int64_t deadline) {
    self->waits_for = run;
    self->call = call;
    self->deadline = deadline;
}

static bool is_due(rni_pool *pool, int64_t deadline) { return deadline >= 0 && rni_now(pool->runtime) >= deadline; }

/* With a virtual clock a deadline wakes nobody: look again now and then. */
static int64_t machine_deadline(rni_pool *pool, int64_t deadline) {
    if (deadline < 0 || !pool->runtime->is_virtual) return deadline;
    return rni_os_now() + RN_MILLISECONDS(2);
}

static void sleep_on(rni_worker *self, rni_run *run, int64_t deadline) {
    rni_pool *pool = self->pool;
    for (unsigned i = 0; i < RNI_CLASSES; i++) rni_slab_flush(&self->thread->slabs[i]);
    rni_parking_leave(&pool->parking);
    if (pool->is_kit) rni_pool_poke(pool);
    if (rni_pool_has_work(pool)) rni_parking_notify(&pool->parking);
    if (rni_load_seq_cst(&pool->runtime->settlers)) rni_outside_wake_due(pool->runtime); /* as a worker that parks */
    while (!is_over(run) && !is_due(pool, deadline) && !is_abandoned(self)) { /* LCOV_EXCL_BR_LINE: of worker processes */
        if (self->gone) rni_completion_sleep_unless(&run->done, machine_deadline(pool, deadline), self->gone); /* LCOV_EXCL_BR_LINE: of worker processes */
        else rni_completion_sleep(&run->done, machine_deadline(pool, deadline));
    }
    rni_mutex_lock(&rni_waits_lock);
    /* A seeded pool has taken the seat back for us, if the run is over: see rni_pool_completing. */
    bool has_seat = !self->waits_for;
    if (!has_seat) rni_parking_come_back(&pool->parking);
    set_wait(self, NULL, NULL, -1);
    rni_mutex_unlock(&rni_waits_lock);
}

void rni_pool_completing(rn_runtime *runtime, rni_run *run) {
    rni_pool *pool = rni_pool_of(runtime);
    rni_mutex_lock(&rni_waits_lock);
    for (uint32_t i = 0; i < pool->threads_max; i++) {
        rni_worker *worker = rni_load_acquire(&pool->workers[i]); /* pairs with start_thread */
        if (!worker || worker->waits_for != run) continue;
        rni_parking_come_back(&pool->parking);
        set_wait(worker, NULL, NULL, -1);
    }
    rni_mutex_unlock(&rni_waits_lock);
}

bool rni_pool_is_resuming(rni_pool *pool) {
    bool is_resuming = false;
    rni_mutex_lock(&rni_waits_lock);
    for (uint32_t i = 0; i < pool->threads_max && !is_resuming; i++) {
        rni_worker *worker = rni_load_acquire(&pool->workers[i]); /* pairs with start_thread */
        if (worker && worker->waits_for) is_resuming = is_over(worker->waits_for) || is_due(pool, worker->deadline);
    }
    rni_mutex_unlock(&rni_waits_lock);
    return is_resuming;
}

int64_t rni_pool_first_deadline(rni_pool *pool) {
    int64_t first = RNI_NEVER;
    rni_mutex_lock(&rni_waits_lock);
    for (uint32_t i = 0; i < pool->threads_max; i++) {
        rni_worker *worker = rni_load_acquire(&pool->workers[i]); /* pairs with start_thread */
        if (worker && worker->deadline >= 0 && worker->deadline < first) first = worker->deadline;
    }
    rni_mutex_unlock(&rni_waits_lock);
    return first;
}

/* ---- running the awaited run here ---- */

static bool has_room_for_one(void) { return rni_os_stack_left() > STACK_RESERVE; }

static bool has_stack(const rni_worker *self, bool is_last_resort) {
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    uintptr_t used = self->frame > here ? self->frame - here : 0;
    return is_last_resort ? has_room_for_one() : used < INLINE_STACK;
}

/* Back where it came from: there is room. One that parked meanwhile did not see it. */
static __attribute__((noinline)) void put_back(rni_worker *self, void *item) {
    (void)rni_deque_push(&self->lane->deque, &item, 1);
    rni_parking_notify(&self->pool->parking);
}

/* The youngest in our own deque is most often what we wait for: then no pointer to it stays behind. */
static inline bool pops(rni_worker *self, rni_run *run) {
    void *item = rni_deque_pop(&self->lane->deque);
    if (item == run) return true;
    if (item) put_back(self, item);
    return false;
}

/* In a process, a crash would take us too. */
static inline bool may_run_here(const rni_worker *self) { return !self->pool->runtime->executor->work; }

static inline __attribute__((always_inline)) bool runs_here(rni_worker *self, rni_run *run, bool is_last_resort) {
    rn_runtime *runtime = self->pool->runtime;
    uint64_t word = rni_load_relaxed(&run->done.word);
    if (rni_state_of(word) != RN_WAITING || !(word & RNI_CLAIMABLE)) return false;
    if (rni_run_runtime(run) != runtime->index || !has_stack(self, is_last_resort)) return false;
    if (!runtime->seed && pops(self, run)) {
        rni_run_execute(runtime, run);
        return true;
    }
    if (rni_phase(runtime) == RNI_STOPPING) return rni_run_cancel(run, rni_error_cancelled());
    if (rni_completion_claim(&run->done) != RNI_YES) return false;
    rni_run_execute_begun(runtime, run);
    return true;
}

bool rni_pool_run_awaited(void *worker, rni_run *run) {
    return may_run_here(worker) && runs_here(worker, run, false) && is_over(run); /* LCOV_EXCL_BR_LINE: of worker processes */
}

/* ---- the wait ---- */

enum step { AGAIN, SLEEP, DEADLOCK };

static bool waits_for_clock(rni_run *run) {
    uint64_t word = rni_load_acquire(&run->done.word); /* pairs with suspend and init */
    return rni_state_of(word) == RN_WAITING && !(word & RNI_CLAIMABLE);
}

bool rni_pool_is_in_timers(rni_pool *pool, rni_run *run) {
    return waits_for_clock(run) && rni_schedule_first_due_with(pool->runtime, run) != RNI_NEVER;
}

/* With a virtual clock the seat is given up, for otherwise that does not move; and it moves although runs are ready,
 * since there is no thread for them. */
static void sleep_by_kit(rni_pool *pool, rni_run *run, bool is_own, int64_t deadline) {
    rni_swap_seq_cst(&pool->starved_for, (void *)run); /* pairs with rni_pool_is_idle */
    rni_parking_leave(&pool->parking);
    /* There may be no timekeeper: every thread waits, the one meant for it too. */
    do {
        if (!rni_keeper_jump(pool)) rni_completion_sleep(&run->done, machine_deadline(pool, 0));
    } while (is_own && rni_pool_is_in_timers(pool, run) && !is_due(pool, deadline));
    rni_parking_come_back(&pool->parking);
    rni_swap_seq_cst(&pool->starved_for, NULL); /* as above */
}

/*
 * Until when the only thread that is left may sleep for a run that waits for the clock; RNI_NEVER: it may not. While the
 * timers have the run that is when they have something to do. When they have let it go nobody tells this thread, and no
 * other would run it: then it may be claimed in a moment; but one with ticks never.
 */
static int64_t clock_of(rni_pool *pool, rni_run *run) {
    if (rni_run_runtime(run) != pool->runtime->index || !waits_for_clock(run)) return RNI_NEVER;
    int64_t due = rni_schedule_first_due_with(pool->runtime, run);
    const rni_plan *plan = rni_run_plan(run);
    return due != RNI_NEVER || (plan && plan->every > 0) ? due : rni_os_now() + RN_MILLISECONDS(1);
}

/* The only thread that is left stays awake for what it waits for. */
static void keep_time(rni_pool *pool, rni_run *run, int64_t until, bool is_own, int64_t deadline) {
    if (!pool->runtime->is_virtual) {
        rni_completion_sleep(&run->done, until);
        rni_keeper_look(pool);
    } else if (rni_pool_is_in_timers(pool, run)) {
        sleep_by_kit(pool, run, is_own, deadline);
    } else {
        rni_completion_sleep(&run->done, machine_deadline(pool, 0));
    }
}

static rn_value deadlock_error(const struct chain *chain, bool is_cycle_found) {
    return rn_error(RN_DEADLOCK, is_cycle_found ? "deadlock: %s" : "no thread is left to run what is waited for: %s",
                    chain->text);
}

/*
 * Whether to look again at a run of this runtime. It runs, and waits for nothing: its worker has just got what it waited for.
 * Or that worker had begun it since, and has given it back, as those of batches do: now it may be claimed, or others are
 * there to run it.
 */
static bool goes_on(rni_pool *pool, rni_run *run) {
    uint64_t word = rni_load_acquire(&run->done.word); /* pairs with begin, and unbegin */
    if (rni_run_runtime(run) != pool->runtime->index) return false;
    if (rni_state_of(word) == RN_WAITING) /* LCOV_EXCL_BR_LINE: of worker processes */
        return able_to_run(pool) > 1 || ((word & RNI_CLAIMABLE) && rni_phase(pool->runtime) != RNI_STOPPING && has_room_for_one()); /* LCOV_EXCL_BR_LINE: of worker processes */
    rni_completion_sleep(&run->done, rni_os_now() + RN_MILLISECONDS(1));
    return true;
}

/* The mail of a worker that begins to wait: for any worker now. */
static void hand_on(rni_pool *pool, rni_timer *mail) {
    for (rni_timer *next; mail; mail = next) {
        next = mail->next;
        if (pool->runtime->seed) rni_ready_push(&pool->ready, mail->run);
        else rni_overflow_push_due(&pool->overflow, mail->run);
        rni_add_seq_cst(&pool->posted, UINT32_MAX); /* pairs with rni_pool_is_idle */
    }
}

/*
 * What the only thread that is left does for the run at the end of a chain. It is found out with rni_waits_lock held, for
 * while it is, whoever waits for that run has not given its future back. Later another may be in its place: so it is claimed
 * at once, and not slept on for long.
 */
struct resort {
    bool is_claimed;
    int64_t until; /* as clock_of() says */
};

static struct resort find_resort(rni_worker *self, rni_run *end, bool is_own) {
    rni_pool *pool = self->pool;
    struct resort resort = {.until = clock_of(pool, end)};
    if (is_own) return resort;
    if (resort.until != RNI_NEVER && resort.until > rni_os_now() + LOOK_AGAIN_NS) resort.until = rni_os_now() + LOOK_AGAIN_NS;
    resort.is_claimed = rni_run_runtime(end) == pool->runtime->index && rni_phase(pool->runtime) != RNI_STOPPING &&
                        has_stack(self, true) && rni_completion_claim(&end->done) == RNI_YES;
    return resort;
}

/* False: there is nothing that it can do. */
static bool resorts(rni_worker *self, rni_run *run, rni_run *end, const struct resort *resort, int64_t deadline) {
    if (resort->is_claimed) {
        rni_run_execute_begun(self->pool->runtime, end);
        return true;
    }
    if (is_over(end) || (end == run && runs_here(self, run, true))) return true;
    if (resort->until == RNI_NEVER) return goes_on(self->pool, end);
    keep_time(self->pool, end, resort->until, end == run, deadline);
    return true;
}

static enum step take_step(rni_worker *self, rni_run *run, int64_t deadline, rn_value *error) {
    rni_pool *pool = self->pool;
    rn_call *call = self->thread->call;
    struct chain chain = {.text = ""};
    struct resort resort = {.until = RNI_NEVER};
    name_caller(&chain, call);
    bool may = may_block(pool, deadline);
    rni_mutex_lock(&rni_waits_lock);
    bool cycle = is_cycle(self, call, run, &chain);
    bool sleeps = may && !cycle;
    rni_timer *mail = NULL;
    if (sleeps) {
        set_wait(self, run, call, deadline);
        mail = rni_post_take_all(self);
    } else if (!cycle) {
        resort = find_resort(self, chain.end, chain.end == run);
    }
    rni_mutex_unlock(&rni_waits_lock);
    hand_on(pool, mail);
    if (sleeps) return SLEEP;
    if (may) unblock(pool);
    if (!cycle && resorts(self, run, chain.end, &resort, deadline)) return AGAIN;
    *error = deadlock_error(&chain, cycle);
    return DEADLOCK;
}

static bool is_over_soon(rni_run *run) {
    for (int i = 0; i < SPINS; i++) {
        if (is_over(run)) return true;
        rni_pause();
    }
    return false;
}

/* LCOV_EXCL_START: likewise for worker processes; tests/process/overtime.c */
void rni_pool_rouse(rn_runtime *runtime, uint32_t index) {
    rni_mutex_lock(&rni_waits_lock);
    rni_pool *pool = runtime->pool; /* NULL: its threads have ended */
    rni_worker *worker = pool && index < pool->threads_max ? rni_load_acquire(&pool->workers[index]) : NULL; /* pairs with start_thread */
    if (worker && worker->waits_for) rni_completion_rouse(&worker->waits_for->done);
    rni_mutex_unlock(&rni_waits_lock);
}
/* LCOV_EXCL_STOP */

int rni_pool_await(rni_run *run, int64_t timeout_ns, rn_value *error) {
    rni_worker *self = rni_self->worker;
    int64_t deadline = rni_deadline(self->pool->runtime, timeout_ns);
    while (!is_over(run)) {
        if (is_due(self->pool, deadline) || is_abandoned(self)) return RN_TIMED_OUT; /* LCOV_EXCL_BR_LINE: of worker processes */
        /* With a time-out it is not run here: nobody knows how long it takes. */
        bool inlines = deadline < 0 && may_run_here(self);
        if ((inlines && runs_here(self, run, false)) || is_over_soon(run)) continue;
        switch (take_step(self, run, deadline, error)) {
        case AGAIN: break;
        case DEADLOCK: return RN_DEADLOCK;
        case SLEEP:
            sleep_on(self, run, deadline);
            unblock(self->pool);
            break;
        }
    }
    return RN_OK;
}
