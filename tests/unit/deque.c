/*
 * The deque alone, against an array; then with thieves, for what only a race shows.
 */
#include <pthread.h>
#include <stdio.h>

#include "interleave.h"
#include "thread/deque.h"

#define SIZE RNI_DEQUE_SIZE

static rni_deque deque;

static void *item_of(uint64_t number) { return (void *)(uintptr_t)number; }

static uint64_t number_of(const void *item) { return (uint64_t)(uintptr_t)item; }

static bool push_numbers(uint64_t first, size_t count) {
    void *items[SIZE + 1];
    for (size_t i = 0; i < count; i++) items[i] = item_of(first + i);
    return rni_deque_push(&deque, items, count);
}

/* The model: numbers in the order of the deque. */
struct model {
    uint64_t numbers[SIZE];
    size_t count;
    uint64_t next;
};

static void drop_first(struct model *model, size_t count) {
    model->count -= count;
    for (size_t i = 0; i < model->count; i++) model->numbers[i] = model->numbers[i + count];
}

static void step_push(struct model *model, uint64_t *random) {
    size_t batch = random_below(random, 4) ? 1 : (size_t)random_below(random, SIZE);
    bool fits = model->count + batch <= SIZE;
    assert_int_equal(push_numbers(model->next, batch), fits);
    for (size_t i = 0; fits && i < batch; i++) model->numbers[model->count++] = model->next++;
}

static void step_take(struct model *model, uint64_t *random) {
    void *items[SIZE];
    bool contended = false;
    size_t most = 1 + (size_t)random_below(random, SIZE);
    size_t expected = most < model->count ? most : model->count;
    assert_int_equal(rni_deque_take(&deque, items, most, &contended), expected);
    for (size_t i = 0; i < expected; i++) assert_int_equal(number_of(items[i]), model->numbers[i]);
    drop_first(model, expected);
    assert_false(contended);
}

static void step(struct model *model, uint64_t *random) {
    bool contended = false;
    uint64_t expected;
    switch (random_below(random, 5)) {
    case 0:
    case 1: step_push(model, random); break;
    case 2:
        expected = model->count ? model->numbers[model->count - 1] : 0;
        assert_int_equal(number_of(rni_deque_pop(&deque)), expected);
        if (model->count) model->count--;
        break;
    case 3:
        expected = model->count ? model->numbers[0] : 0;
        assert_int_equal(number_of(rni_deque_steal(&deque, &contended)), expected);
        if (model->count) drop_first(model, 1);
        assert_false(contended);
        break;
    default: step_take(model, random); break;
    }
    assert_int_equal(rni_deque_count(&deque), model->count);
}

TEST(a_deque_behaves_as_an_array) {
    uint64_t random = random_seed();
    const uint64_t starts[] = {0, 1, SIZE - 1, UINT32_MAX - 100, (UINT64_C(1) << 63) - 1000};
    for (size_t i = 0; i < COUNT_OF(starts); i++) {
        struct model model = {.next = 1};
        rni_deque_init(&deque, starts[i]);
        for (int steps = 0; steps < 20000; steps++) step(&model, &random);
    }
}

TEST(a_full_deque_takes_nothing_and_loses_nothing) {
    rni_deque_init(&deque, 7);
    assert_true(push_numbers(1, SIZE));
    assert_false(push_numbers(1000, 1));
    bool contended = false;
    assert_int_equal(number_of(rni_deque_steal(&deque, &contended)), 1);
    assert_false(push_numbers(1000, 2));
    assert_true(push_numbers(1000, 1));
    assert_int_equal(number_of(rni_deque_pop(&deque)), 1000);
    for (uint64_t i = SIZE; i >= 2; i--) assert_int_equal(number_of(rni_deque_pop(&deque)), i);
    assert_null(rni_deque_pop(&deque));
}

TEST(an_empty_deque_gives_nothing) {
    bool contended = false;
    void *item;
    rni_deque_init(&deque, 3);
    assert_null(rni_deque_pop(&deque));
    assert_null(rni_deque_steal(&deque, &contended));
    assert_int_equal(rni_deque_take(&deque, &item, 1, &contended), 0);
    assert_int_equal(rni_deque_count(&deque), 0);
    assert_true(push_numbers(1, 0));
    assert_null(rni_deque_pop(&deque));
    assert_false(contended);
}

/* ---- thieves ---- */

#define ROUNDS 400000u
#define THIEVES 2

static struct {
    rni_a32 taken[ROUNDS + 1]; /* how often each number left the deque */
    rni_a32 contended;
    rni_a32 ends;
    bool takes_many;
} race;

static void note(const void *item) { (void)rni_add_relaxed(&race.taken[number_of(item)], 1); }

static void *steal(void *unused) {
    (void)unused;
    while (!rni_load_acquire(&race.ends)) { /* pairs with run_race */
        void *items[4];
        bool contended = false;
        size_t count = 0;
        if (race.takes_many) count = rni_deque_take(&deque, items, COUNT_OF(items), &contended);
        else if ((items[0] = rni_deque_steal(&deque, &contended)) != NULL) count = 1;
        for (size_t i = 0; i < count; i++) note(items[i]);
        if (contended) (void)rni_add_relaxed(&race.contended, 1);
    }
    return NULL;
}

/* The owner's part: one or two at a time, so that it is often about the last one. */
static void own(bool pops) {
    for (uint64_t number = 1; number <= ROUNDS;) {
        size_t batch = number % 3 == 0 && number < ROUNDS ? 2 : 1;
        if (push_numbers(number, batch)) number += batch;
        void *item = pops ? rni_deque_pop(&deque) : NULL;
        if (item) note(item);
    }
}

static void run_race(bool takes_many) {
    pthread_t thieves[THIEVES];
    for (size_t i = 0; i <= ROUNDS; i++) rni_store_relaxed(&race.taken[i], 0);
    rni_store_relaxed(&race.ends, 0);
    race.takes_many = takes_many;
    rni_deque_init(&deque, UINT32_MAX - ROUNDS / 2);
    for (int i = 0; i < THIEVES; i++) assert_int_equal(pthread_create(&thieves[i], NULL, steal, NULL), 0);
    own(!takes_many);
    rni_store_release(&race.ends, 1); /* pairs with steal */
    for (int i = 0; i < THIEVES; i++) pthread_join(thieves[i], NULL);
    for (void *item; (item = rni_deque_pop(&deque)) != NULL;) note(item);
    for (size_t i = 1; i <= ROUNDS; i++) assert_int_equal(rni_load_relaxed(&race.taken[i]), 1);
    printf("# %u times a thief was told that another was quicker\n", (unsigned)rni_load_relaxed(&race.contended));
}

TEST(owner_and_thieves_take_each_item_once) { run_race(false); }

TEST(thieves_that_take_many_take_each_item_once) { run_race(true); }

/* ---- two at once, at every instruction ---- */

static struct {
    size_t start;
    rni_a32 taken, lost; /* how many, and how often one was told that another was quicker */
} pair;

static void prepare(void) {
    rni_deque_init(&deque, SIZE - 1);
    rni_store_relaxed(&pair.taken, 0);
    rni_store_relaxed(&pair.lost, 0);
    assert_true(push_numbers(1, pair.start));
    for (size_t i = 0; i <= pair.start + 1; i++) rni_store_relaxed(&race.taken[i], 0);
}

static void note_pair(void *const *items, size_t count) {
    for (size_t i = 0; i < count; i++) note(items[i]);
    (void)rni_add_relaxed(&pair.taken, (uint32_t)count);
}

static void steal_one(void) {
    bool contended = false;
    void *item = rni_deque_steal(&deque, &contended);
    note_pair(&item, item != NULL);
    (void)rni_add_relaxed(&pair.lost, contended);
}

static void take_two(void) {
    void *items[2];
    bool contended = false;
    note_pair(items, rni_deque_take(&deque, items, COUNT_OF(items), &contended));
    (void)rni_add_relaxed(&pair.lost, contended);
}

static void pop_one(void) {
    void *item = rni_deque_pop(&deque);
    note_pair(&item, item != NULL);
}

/* The last step of a thief that looked before the owner began: the one way in which an owner can lose. */
static void end_steal(void) {
    uint64_t top = SIZE - 1;
    void *item = item_of(1);
    if (rni_cas_seq_cst(&deque.top, &top, top + 1)) note_pair(&item, 1);
}

static void push_one(void) { (void)push_numbers(pair.start + 1, 1); }

/* Each item left once or is still there; one lost only because another won. */
static void judge(void) {
    assert_true(rni_load_relaxed(&pair.taken) > 0);
    assert_true(rni_load_relaxed(&pair.lost) <= 1);
    for (void *item; (item = rni_deque_pop(&deque)) != NULL;) note(item);
    for (size_t i = 1; i <= pair.start; i++) assert_int_equal(rni_load_relaxed(&race.taken[i]), 1);
}

static void judge_with_pushed(void) {
    judge();
    assert_int_equal(rni_load_relaxed(&race.taken[pair.start + 1]), 1);
}

static void play(size_t start, void (*first)(void), void (*second)(void), void (*judged)(void)) {
    const struct interleaving parts = {prepare, first, second, judged};
    pair.start = start;
    interleave(&parts);
}

TEST(an_item_that_two_reach_for_at_once_goes_to_one) {
    for (size_t start = 1; start <= 4; start++) {
        play(start, steal_one, steal_one, judge);
        play(start, steal_one, pop_one, judge);
        play(start, pop_one, steal_one, judge);
        play(start, take_two, take_two, judge);
    }
}

TEST(an_owner_that_comes_too_late_finds_nothing) {
    for (size_t start = 1; start <= 3; start++) play(start, pop_one, end_steal, judge);
}

TEST(what_is_pushed_meanwhile_is_not_lost) {
    for (size_t start = 1; start <= 4; start++) {
        play(start, push_one, steal_one, judge_with_pushed);
        play(start, steal_one, push_one, judge_with_pushed);
        play(start, push_one, take_two, judge_with_pushed);
        play(start, take_two, push_one, judge_with_pushed);
    }
}
