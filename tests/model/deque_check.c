/*
 * T3: deque.c, as shipped, with room for two. Every history that one owner and up to two thieves can have is
 * linearizable, every item is got once, and what its pusher wrote is there for whoever gets it.
 */
#include "checks.h"
#include "deque_history.h"
#include "thread/deque.h"

#define ITEMS 6u

enum plan { OWNER_ANY, OWNER_PUSHES, OWNER_TAKES, THIEF_STEALS, THIEF_TAKES };

static const struct shape {
    enum plan plans[3];
    unsigned calls[3]; /* how many each of them makes */
    uint64_t first;    /* both counters begin with it */
    bool lax;          /* a push may be refused because the owner reads an old top */
} *shape;

static struct shared {
    rni_deque deque;
    uint8_t payload[ITEMS]; /* what the pusher of an item writes */
    uint8_t pushed;
    uint8_t got[ITEMS];
    uint8_t calls;
    uint16_t returned; /* a bit for each call */
    history_call history[HISTORY_CALLS];
} shared;

static void start(void) {
    shared = (struct shared){0};
    rni_deque_init(&shared.deque, shape->first);
    for (unsigned i = 0; i < RNI_DEQUE_SIZE; i++) rni_store_relaxed(&shared.deque.items[i], NULL);
    mc_watch(&shared.deque.top_seen, sizeof shared.deque.top_seen);
    for (unsigned i = 0; i < ITEMS; i++) mc_watch(&shared.payload[i], 1);
}

static history_call *begin(enum history_kind kind, unsigned wanted) {
    history_call *call = &shared.history[shared.calls++];
    *call = (history_call){.before = shared.returned, .kind = (uint8_t)kind, .wanted = (uint8_t)wanted};
    return call;
}

static void end(const history_call *call) { shared.returned |= (uint16_t)(1u << (call - shared.history)); }

static void got(history_call *call, void *const *items, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint8_t *payload = items[i];
        unsigned item = (unsigned)(payload - shared.payload);
        mc_assert(item < ITEMS);
        mc_read(payload);
        mc_assert(*payload == item + 1);
        mc_assert(++shared.got[item] == 1);
        call->items[i] = (uint8_t)item;
    }
    call->count = (uint8_t)count;
    end(call);
}

static void push(unsigned wanted) {
    void *items[2];
    if (shared.pushed + wanted > ITEMS) return;
    history_call *call = begin(HISTORY_PUSH, wanted);
    for (unsigned i = 0; i < wanted; i++) {
        unsigned item = shared.pushed + i;
        items[i] = &shared.payload[item];
        mc_write(&shared.payload[item]);
        shared.payload[item] = (uint8_t)(item + 1);
        call->items[i] = (uint8_t)item;
    }
    if (rni_deque_push(&shared.deque, items, wanted)) {
        call->count = (uint8_t)wanted;
        shared.pushed = (uint8_t)(shared.pushed + wanted);
    }
    end(call);
}

static bool pop(void) {
    history_call *call = begin(HISTORY_POP, 1);
    void *item = rni_deque_pop(&shared.deque);
    got(call, &item, item != NULL);
    return item != NULL;
}

static bool steal(void) {
    history_call *call = begin(HISTORY_STEAL, 1);
    void *item = rni_deque_steal(&shared.deque, &call->contended);
    got(call, &item, item != NULL);
    return item != NULL;
}

static bool take(void) {
    void *items[2];
    history_call *call = begin(HISTORY_TAKE, 2);
    size_t count = rni_deque_take(&shared.deque, items, 2, &call->contended);
    got(call, items, count);
    return count != 0;
}

static void owner_call(enum plan plan) {
    if (plan == OWNER_PUSHES) {
        push(1 + mc_choose(2));
        return;
    }
    unsigned what = mc_choose(plan == OWNER_ANY ? 3 : 2);
    if (what == 0) push(1);
    if (what == 1 && plan == OWNER_ANY) pop();
    if (what == 1 && plan == OWNER_TAKES) take();
    if (what == 2) push(2);
}

static void thread(unsigned self) {
    enum plan plan = shape->plans[self];
    for (unsigned i = 0; i < shape->calls[self]; i++) {
        if (plan == THIEF_STEALS) {
            steal();
        } else if (plan == THIEF_TAKES) {
            take();
        } else {
            owner_call(plan);
        }
    }
}

/* What is left in the deque was not got; all else was got once. */
static void at_end(void) {
    mc_assert(history_is_linearizable(shared.history, shared.calls, shape->lax ? 0 : RNI_DEQUE_SIZE));
    unsigned left = 0;
    for (unsigned i = 0; i < shared.pushed; i++) left += shared.got[i] == 0;
    mc_assert(shared.deque.bottom.word - shared.deque.top.word == left);
}

static void choose(const void *chosen) { shape = chosen; }

#define RUN(is_long, text, model, count, ...)                                                             \
    {.exercise = {.name = text, .threads = count, .start = start, .thread = thread, .at_end = at_end,        \
                  .shared = &shared, .shared_size = sizeof shared, .memory = model, .preemptions = MC_ALL},  \
     .shape = &(const struct shape){.lax = (model) == MC_VIEWS, __VA_ARGS__}, .torture = is_long}
#define EACH_OF(is_long, text, count, ...)                \
    RUN(is_long, text, MC_SC, count, __VA_ARGS__),        \
    RUN(is_long, text, MC_TSO, count, __VA_ARGS__),       \
    RUN(is_long, text, MC_VIEWS, count, __VA_ARGS__)
#define EACH(text, count, ...) EACH_OF(false, text, count, __VA_ARGS__)
#define LONG(text, count, ...) EACH_OF(true, text, count, __VA_ARGS__)
#define PLANS(...) .plans = {__VA_ARGS__}
#define CALLS(...) .calls = {__VA_ARGS__}

static const mc_run runs[] = {
    EACH("owner and thief", 2, PLANS(OWNER_ANY, THIEF_STEALS), CALLS(3, 2)),
    EACH("owner and two thieves", 3, PLANS(OWNER_ANY, THIEF_STEALS, THIEF_STEALS), CALLS(3, 1, 1)),
    EACH("two thieves that take", 3, PLANS(OWNER_PUSHES, THIEF_TAKES, THIEF_TAKES), CALLS(3, 2, 1)),
    EACH("owner that takes, and a thief", 2, PLANS(OWNER_TAKES, THIEF_STEALS), CALLS(3, 2)),
    EACH("at 2^32", 2, PLANS(OWNER_ANY, THIEF_STEALS), CALLS(3, 2), .first = UINT32_MAX),
    EACH("at 2^64", 2, PLANS(OWNER_ANY, THIEF_STEALS), CALLS(3, 2), .first = UINT64_MAX),
    EACH("slots used again", 2, PLANS(OWNER_ANY, THIEF_STEALS), CALLS(6, 1)),
    EACH("slots used again, takes", 3, PLANS(OWNER_PUSHES, THIEF_TAKES, THIEF_TAKES), CALLS(4, 1, 2)),
    EACH("owner and two thieves, longer", 3, PLANS(OWNER_ANY, THIEF_STEALS, THIEF_STEALS), CALLS(4, 2, 1)),
    LONG("owner and two thieves, longest", 3, PLANS(OWNER_ANY, THIEF_STEALS, THIEF_STEALS), CALLS(4, 2, 2)),
    LONG("slots used twice again", 2, PLANS(OWNER_ANY, THIEF_STEALS), CALLS(7, 2)),
};

int main(int argc, char **argv) { return mc_main("T3", runs, sizeof runs / sizeof *runs, choose, argc, argv); }
