#include <string.h>

#include "machine.h"

/* What an operation does to shared memory, under each of the three memory models. */

static bool acquires(enum mc_order order) { return order == MC_ACQUIRE || order >= MC_ACQ_REL; }
static bool releases(enum mc_order order) { return order == MC_RELEASE || order >= MC_ACQ_REL; }

unsigned memory_find(const void *address) {
    for (unsigned i = 0; i < m.locations; i++) {
        if (m.location[i].address == (const char *)address) return i;
    }
    return LOCATIONS;
}

static unsigned add_location(void *address, size_t size) {
    if (m.locations == LOCATIONS) {
        mc_fail(__FILE__, __LINE__, "more atomic words than LOCATIONS");
        return 0;
    }
    location *l = &m.location[m.locations];
    *l = (location){.address = address, .size = (unsigned)size, .count = 1, .watched = facts_piece_of(address)};
    return m.locations++;
}

uint64_t memory_value(unsigned index) {
    uint64_t value = 0;
    memcpy(&value, m.location[index].address, m.location[index].size);
    return value;
}

static void set_value(unsigned index, uint64_t value) {
    memcpy(m.location[index].address, &value, m.location[index].size);
}

static uint64_t fitted(unsigned index, uint64_t value) {
    return m.location[index].size == 4 ? (uint32_t)value : value;
}

static uint64_t combined(const operation *o, uint64_t old) {
    switch (o->kind) {
    case MC_ADD: return fitted(o->location, old + o->value);
    case MC_OR: return old | o->value;
    case MC_AND: return fitted(o->location, old & o->value);
    default: return fitted(o->location, o->value);
    }
}

static message *newest(location *l) { return &l->messages[l->count - 1]; }

/* The oldest message of a location that a load of this order may read. */
static unsigned oldest_readable(const thread *t, unsigned index, enum mc_order order) {
    unsigned oldest = t->view[index];
    if (order == MC_SEQ_CST && m.location[index].seq_cst > oldest) oldest = m.location[index].seq_cst;
    return oldest;
}

static void join(uint8_t *view, const uint8_t *other) {
    for (unsigned i = 0; i < m.locations; i++) {
        if (other[i] > view[i]) view[i] = other[i];
    }
}

static void read_message(thread *t, unsigned index, unsigned which, enum mc_order order) {
    const message *read = &m.location[index].messages[which];
    if (which > t->view[index]) t->view[index] = (uint8_t)which;
    if (!acquires(order)) return;
    t->known |= read->known;
    if (m.exercise->memory == MC_VIEWS) join(t->view, read->view);
}

static const stored *own_store(const thread *t, unsigned index) {
    for (unsigned i = t->buffered; i > 0; i--) {
        if (t->buffer[i - 1].location == index) return &t->buffer[i - 1];
    }
    return NULL;
}

/* Writes a new value. `after` is the message that a read-modify-write read: it carries that release on. */
static void write_message(thread *t, unsigned index, uint64_t value, enum mc_order order, const message *after) {
    location *l = &m.location[index];
    message written = {.value = value, .known = (after ? after->known : 0) | (releases(order) ? t->known : 0)};
    if (m.exercise->memory == MC_VIEWS) {
        if (l->count == MESSAGES) {
            mc_fail(__FILE__, __LINE__, "more values that may be read than MESSAGES");
            return;
        }
        t->view[index] = (uint8_t)l->count;
        if (after) join(written.view, after->view);
        if (releases(order)) join(written.view, t->view);
        written.view[index] = (uint8_t)l->count;
        if (order == MC_SEQ_CST) l->seq_cst = l->count;
        l->count++;
    }
    *newest(l) = written;
    set_value(index, value);
}

static void check_freed(unsigned index) {
    unsigned watched = m.location[index].watched;
    if (watched && m.piece[watched - 1].freed) mc_fail(__FILE__, __LINE__, "an atomic word is used after it was freed");
}

void memory_flush(unsigned index) {
    thread *t = &m.thread[index];
    stored first = t->buffer[0];
    memmove(t->buffer, t->buffer + 1, --t->buffered * sizeof *t->buffer);
    check_freed((unsigned)first.location);
    newest(&m.location[first.location])->known = first.known;
    set_value((unsigned)first.location, first.value);
}

static void flush_all(unsigned index) {
    while (m.thread[index].buffered) memory_flush(index);
}

static void load(thread *t, const operation *o, unsigned outcome) {
    location *l = &m.location[o->location];
    if (m.exercise->memory == MC_VIEWS) {
        unsigned which = oldest_readable(t, o->location, o->order) + outcome;
        t->result = l->messages[which].value;
        read_message(t, o->location, which, o->order);
        return;
    }
    const stored *own = own_store(t, o->location);
    t->result = own ? own->value : memory_value(o->location);
    if (!own) read_message(t, o->location, 0, o->order);
}

static void store(unsigned index, const operation *o) {
    thread *t = &m.thread[index];
    uint64_t value = fitted(o->location, o->value);
    if (m.exercise->memory == MC_TSO && o->order != MC_SEQ_CST) {
        if (t->buffered == BUFFERED) memory_flush(index);
        t->buffer[t->buffered++] = (stored){value, releases(o->order) ? t->known : 0, o->location};
        return;
    }
    flush_all(index);
    write_message(t, o->location, value, o->order, NULL);
}

static void read_modify_write(unsigned index, const operation *o) {
    thread *t = &m.thread[index];
    flush_all(index);
    location *l = &m.location[o->location];
    message old = *newest(l);
    t->result = memory_value(o->location);
    read_message(t, o->location, l->count - 1, o->order);
    write_message(t, o->location, combined(o, t->result), o->order, &old);
}

/* Which message a compare-and-swap reads at this outcome: first the newest if it is the expected one (it
 * succeeds), then each readable one that is not. */
static unsigned compared(const thread *t, const operation *o, unsigned outcome) {
    const location *l = &m.location[o->location];
    if (m.exercise->memory != MC_VIEWS) return 0;
    if (l->messages[l->count - 1].value == o->expected && outcome-- == 0) return l->count - 1;
    for (unsigned i = oldest_readable(t, o->location, o->order); i < l->count; i++) {
        if (l->messages[i].value != o->expected && outcome-- == 0) return i;
    }
    return LOCATIONS * MESSAGES;
}

static void compare_and_swap(unsigned index, const operation *o, unsigned outcome) {
    thread *t = &m.thread[index];
    flush_all(index);
    location *l = &m.location[o->location];
    unsigned which = compared(t, o, outcome);
    message old = l->messages[which];
    t->result = m.exercise->memory == MC_VIEWS ? old.value : memory_value(o->location);
    t->succeeded = t->result == o->expected;
    read_message(t, o->location, which, o->order);
    if (t->succeeded) write_message(t, o->location, fitted(o->location, o->value), o->order, &old);
}

/* The system call comes after the stores before it, and compares with what is newest. */
static void wait(unsigned index, const operation *o) {
    thread *t = &m.thread[index];
    flush_all(index);
    t->view[o->location] = (uint8_t)(m.location[o->location].count - 1); /* coherence: never an older one again */
    if ((uint32_t)memory_value(o->location) != (uint32_t)o->expected) return;
    t->status = THREAD_ASLEEP;
    t->next.request = REQUEST_NONE; /* once woken, it just goes on */
}

static bool sleeps_on(unsigned index, unsigned word) {
    return m.thread[index].status == THREAD_ASLEEP && m.thread[index].next.location == word;
}

static unsigned count_sleepers(unsigned word) {
    unsigned count = 0;
    for (unsigned i = 0; i < m.exercise->threads; i++) count += sleeps_on(i, word);
    return count;
}

/* Wakes all, or, where only one is to be woken, the sleeper whose turn is `outcome`: any may be it. */
static void wake(unsigned index, const operation *o, unsigned outcome) {
    flush_all(index);
    for (unsigned i = 0; i < m.exercise->threads; i++) {
        if (!sleeps_on(i, o->location)) continue;
        if (o->value > 1 || outcome-- == 0) m.thread[i].status = THREAD_READY;
    }
}

static unsigned count_compared(const thread *t, const operation *o) {
    unsigned count = 0;
    while (compared(t, o, count) < LOCATIONS * MESSAGES) count++;
    return count;
}

unsigned memory_outcomes(const thread *t) {
    const operation *o = &t->next;
    bool views = m.exercise->memory == MC_VIEWS;
    if (o->request == REQUEST_CHOOSE) return (unsigned)o->value;
    if (o->request == REQUEST_CAS) return views ? count_compared(t, o) : 1;
    if (o->request == REQUEST_OPERATE && o->kind == MC_LOAD && views) {
        return m.location[o->location].count - oldest_readable(t, o->location, o->order);
    }
    unsigned sleepers = o->request == REQUEST_WAKE && o->value == 1 ? count_sleepers(o->location) : 1;
    return sleepers ? sleepers : 1;
}

static void access_by(unsigned index, const operation *o) {
    check_freed(o->location);
    facts_atomic(index, o->location);
}

static void operate(unsigned index, const operation *o, unsigned outcome) {
    if (o->kind == MC_LOAD) {
        load(&m.thread[index], o, outcome);
    } else if (o->kind == MC_STORE) {
        store(index, o);
    } else {
        read_modify_write(index, o);
    }
}

void memory_apply(unsigned index, unsigned outcome) {
    thread *t = &m.thread[index];
    operation o = t->next;
    switch (o.request) {
    case REQUEST_NONE: break;
    case REQUEST_CHOOSE: t->result = outcome; break;
    case REQUEST_WAIT: wait(index, &o); break;
    case REQUEST_WAKE: wake(index, &o, outcome); break;
    case REQUEST_CAS: access_by(index, &o), compare_and_swap(index, &o, outcome); break;
    case REQUEST_OPERATE: access_by(index, &o), operate(index, &o, outcome); break;
    }
}

/* Moves a view down by the messages that were dropped. */
static void lower(uint8_t *view, unsigned index, unsigned dropped) {
    view[index] = (uint8_t)(view[index] > dropped ? view[index] - dropped : 0);
}

static void drop_messages(unsigned index, unsigned dropped) {
    location *l = &m.location[index];
    l->count -= dropped;
    memmove(l->messages, l->messages + dropped, l->count * sizeof *l->messages);
    l->seq_cst = l->seq_cst > dropped ? l->seq_cst - dropped : 0;
    for (unsigned i = 0; i < m.exercise->threads; i++) lower(m.thread[i].view, index, dropped);
    for (unsigned i = 0; i < m.locations; i++) {
        for (unsigned j = 0; j < m.location[i].count; j++) lower(m.location[i].messages[j].view, index, dropped);
    }
}

void memory_forget(void) {
    if (m.exercise->memory != MC_VIEWS) return;
    for (unsigned i = 0; i < m.locations; i++) {
        unsigned oldest = m.location[i].count - 1;
        for (unsigned j = 0; j < m.exercise->threads; j++) {
            if (m.thread[j].status != THREAD_ENDED && m.thread[j].view[i] < oldest) oldest = m.thread[j].view[i];
        }
        if (oldest) drop_messages(i, oldest);
    }
}

/* Before the threads run: operations happen at once, and the first store to a word makes it known. */
static uint64_t operate_at_once(enum mc_kind kind, void *word, size_t size, uint64_t value) {
    unsigned index = memory_find(word);
    if (index == LOCATIONS) index = add_location(word, size);
    uint64_t old = memory_value(index);
    if (kind == MC_LOAD) return old;
    set_value(index, combined(&(operation){.kind = kind, .location = index, .value = value}, old));
    m.location[index].messages[0].value = memory_value(index);
    return old;
}

/* Stops the thread before an operation, whose particulars are in t->next but for the two given here. Little
 * may lie on the stack meanwhile: it is part of every state. */
static uint64_t request(enum request what, const void *word) {
    thread *t = &m.thread[m.current];
    t->next.request = what;
    t->next.location = word ? memory_find(word) : 0;
    if (t->next.location == LOCATIONS) mc_fail(__FILE__, __LINE__, "an atomic word that `start` did not store to");
    machine_stop();
    return m.thread[m.current].result;
}

static void set_next(uint64_t value, uint64_t expected, const char *where) {
    operation *o = &m.thread[m.current].next;
    *o = (operation){.value = value, .expected = expected, .where = where};
}

uint64_t mc_operate(enum mc_kind kind, enum mc_order order, void *word, size_t size, uint64_t value,
                    const char *where) {
    if (m.current == NOBODY) return operate_at_once(kind, word, size, value);
    set_next(value, 0, where);
    m.thread[m.current].next.kind = kind;
    m.thread[m.current].next.order = order;
    return request(REQUEST_OPERATE, word);
}

bool mc_cas(enum mc_order order, void *word, size_t size, void *expected, uint64_t value, const char *where) {
    uint64_t wanted = 0;
    memcpy(&wanted, expected, size);
    if (m.current == NOBODY) {
        mc_fail(__FILE__, __LINE__, "no compare-and-swap before the threads run");
        return false;
    }
    set_next(value, wanted, where);
    m.thread[m.current].next.order = order;
    uint64_t found = request(REQUEST_CAS, word);
    if (m.thread[m.current].succeeded) return true;
    memcpy(expected, &found, size);
    return false;
}

unsigned mc_choose(unsigned bound) {
    set_next(bound, 0, __func__);
    return (unsigned)request(REQUEST_CHOOSE, NULL);
}

void rni_os_wait(const void *word, uint32_t expected, int64_t deadline_ns);
void rni_os_wait(const void *word, uint32_t expected, int64_t deadline_ns) {
    (void)deadline_ns; /* one that is over is a return for no reason */
    set_next(0, expected, __func__);
    request(REQUEST_WAIT, word);
}

void rni_os_wake(const void *word, int count);
void rni_os_wake(const void *word, int count) {
    if (m.current == NOBODY) return;
    set_next((uint64_t)count, 0, __func__);
    request(REQUEST_WAKE, word);
}

bool mc_sleeps(unsigned index) { return m.thread[index].status == THREAD_ASLEEP; }
