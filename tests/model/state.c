#include <string.h>

#include "machine.h"

/*
 * The state of the machine as a row of bytes: equal states give equal rows. So only what is alive goes
 * in: not what a thread had below its stack pointer, nothing of a thread that has ended.
 */

static unsigned char *put(unsigned char *to, const void *from, size_t size) {
    memcpy(to, from, size);
    return to + size;
}

static const unsigned char *get(void *to, const unsigned char *from, size_t size) {
    memcpy(to, from, size);
    return from + size;
}

static bool has_views(void) { return m.exercise->memory == MC_VIEWS; }

static bool is_bounded(void) { return m.exercise->preemptions != MC_ALL; }

static char *stack_low(const thread *t) { return t->context[2]; }

static size_t stack_used(unsigned index) {
    return (size_t)(stacks[index] + STACK_SIZE - stack_low(&m.thread[index]));
}

static unsigned char *put_thread(unsigned char *to, unsigned index) {
    const thread *t = &m.thread[index];
    to = put(to, &t->status, sizeof t->status);
    to = put(to, &t->buffered, sizeof t->buffered);
    to = put(to, t->buffer, t->buffered * sizeof *t->buffer);
    if (t->status == THREAD_ENDED) return to;
    to = put(to, t->context, sizeof t->context);
    to = put(to, &t->next, sizeof t->next);
    to = put(to, &t->known, sizeof t->known);
    to = put(to, t->view, has_views() ? m.locations : 0);
    return put(to, stack_low(t), stack_used(index));
}

static const unsigned char *get_thread(const unsigned char *from, unsigned index) {
    thread *t = &m.thread[index];
    from = get(&t->status, from, sizeof t->status);
    from = get(&t->buffered, from, sizeof t->buffered);
    from = get(t->buffer, from, t->buffered * sizeof *t->buffer);
    if (t->status == THREAD_ENDED) return from;
    from = get(t->context, from, sizeof t->context);
    from = get(&t->next, from, sizeof t->next);
    from = get(&t->known, from, sizeof t->known);
    from = get(t->view, from, has_views() ? m.locations : 0);
    return get(stack_low(t), from, stack_used(index));
}

static unsigned char *put_location(unsigned char *to, const location *l) {
    if (!has_views()) return put(to, &l->messages[0].known, sizeof l->messages[0].known);
    to = put(to, &l->count, sizeof l->count);
    to = put(to, &l->seq_cst, sizeof l->seq_cst);
    return put(to, l->messages, l->count * sizeof *l->messages);
}

static const unsigned char *get_location(const unsigned char *from, location *l) {
    if (!has_views()) return get(&l->messages[0].known, from, sizeof l->messages[0].known);
    from = get(&l->count, from, sizeof l->count);
    from = get(&l->seq_cst, from, sizeof l->seq_cst);
    return get(l->messages, from, l->count * sizeof *l->messages);
}

size_t state_pack(unsigned char *bytes) {
    unsigned char *to = put(bytes, m.exercise->shared, m.exercise->shared_size);
    for (unsigned i = 0; i < m.locations; i++) to = put_location(to, &m.location[i]);
    for (unsigned i = 0; i < m.exercise->threads; i++) to = put_thread(to, i);
    for (unsigned i = 0; i < m.watched; i++) to = put(to, &m.piece[i].freed, sizeof m.piece[i].freed);
    to = put(to, &m.alive, sizeof m.alive);
    to = put(to, &m.early_returns, sizeof m.early_returns);
    if (is_bounded()) to = put(to, &m.last, sizeof m.last);
    if (is_bounded()) to = put(to, &m.preemptions, sizeof m.preemptions);
    while ((size_t)(to - bytes) % 32) *to++ = 0;
    return (size_t)(to - bytes);
}

void state_unpack(const unsigned char *bytes) {
    const unsigned char *from = get(m.exercise->shared, bytes, m.exercise->shared_size);
    for (unsigned i = 0; i < m.locations; i++) from = get_location(from, &m.location[i]);
    for (unsigned i = 0; i < m.exercise->threads; i++) from = get_thread(from, i);
    for (unsigned i = 0; i < m.watched; i++) from = get(&m.piece[i].freed, from, sizeof m.piece[i].freed);
    from = get(&m.alive, from, sizeof m.alive);
    from = get(&m.early_returns, from, sizeof m.early_returns);
    if (is_bounded()) from = get(&m.last, from, sizeof m.last);
    if (is_bounded()) from = get(&m.preemptions, from, sizeof m.preemptions);
}
