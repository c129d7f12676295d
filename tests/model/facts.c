#include "machine.h"

/*
 * Data races on plain memory and use of freed memory. The shipped files are compiled with
 * -fsanitize=thread and linked without its run-time library: what the compiler then calls for each
 * plain access is defined here.
 */

#define PER_PIECE (m.exercise->threads + 1)

static facts write_of(unsigned which) { return (facts)1 << (which * PER_PIECE); }
static facts read_of(unsigned which, unsigned index) { return (facts)2 << (which * PER_PIECE + index); }
static facts all_of(unsigned which) { return (((facts)1 << PER_PIECE) - 1) << (which * PER_PIECE); }

/* 1 + index, or 0 if it is not watched. */
unsigned facts_piece_of(const void *address) {
    for (unsigned i = 0; i < m.watched; i++) {
        const char *start = m.piece[i].address;
        if ((const char *)address >= start && (const char *)address < start + m.piece[i].size) return i + 1;
    }
    return 0;
}

void mc_watch(const void *address, size_t size) {
    if (m.watched == WATCHED || (m.watched + 1) * PER_PIECE > 64) {
        mc_fail(__FILE__, __LINE__, "more watched memory than facts");
        return;
    }
    m.piece[m.watched++] = (piece){address, size, false};
}

/* These accesses are no longer the last: nobody knows them any more. */
static void forget(facts gone) {
    for (unsigned i = 0; i < m.exercise->threads; i++) {
        thread *t = &m.thread[i];
        t->known &= ~gone;
        for (unsigned j = 0; j < t->buffered; j++) t->buffer[j].known &= ~gone;
    }
    for (unsigned i = 0; i < m.locations; i++) {
        for (unsigned j = 0; j < m.location[i].count; j++) m.location[i].messages[j].known &= ~gone;
    }
    m.alive &= ~gone;
}

static void happened(unsigned index, facts fact) {
    forget(fact);
    m.thread[index].known |= fact;
    m.alive |= fact;
}

static void need(unsigned index, facts needed, const char *otherwise) {
    if (needed & m.alive & ~m.thread[index].known) mc_fail(__FILE__, __LINE__, otherwise);
}

static void check_freed(unsigned which) {
    if (m.piece[which].freed) mc_fail(__FILE__, __LINE__, "plain memory is used after it was freed");
}

/* An access to an atomic word races with nothing but mc_free(). */
void facts_atomic(unsigned index, unsigned word) {
    unsigned watched = m.location[word].watched;
    if (!watched) return;
    happened(index, read_of(watched - 1, index));
}

void mc_read(const void *address) {
    unsigned watched = m.current == NOBODY ? 0 : facts_piece_of(address);
    if (!watched) return;
    check_freed(watched - 1);
    need(m.current, write_of(watched - 1), "data race: a read that does not come after the last write");
    happened(m.current, read_of(watched - 1, m.current));
}

void mc_write(const void *address) {
    unsigned watched = m.current == NOBODY ? 0 : facts_piece_of(address);
    if (!watched) return;
    check_freed(watched - 1);
    need(m.current, all_of(watched - 1), "data race: a write that does not come after all accesses before");
    forget(all_of(watched - 1));
    happened(m.current, write_of(watched - 1));
}

void mc_free(const void *address, size_t size) {
    const char *start = address;
    for (unsigned i = 0; i < m.watched; i++) {
        piece *p = &m.piece[i];
        if (p->address < start || p->address >= start + size) continue;
        if (p->freed) mc_fail(__FILE__, __LINE__, "memory is freed twice");
        need(m.current, all_of(i), "memory is freed, and the free does not come after all accesses");
        forget(all_of(i));
        p->freed = true;
    }
}

/* What gcc and clang call. The names are theirs. */
#define SEEN(call, name)               \
    void name(void *address);          \
    void name(void *address) { call(address); }
#define SEEN_ALL(size)                                \
    SEEN(mc_read, __tsan_read##size)                  \
    SEEN(mc_write, __tsan_write##size)                \
    SEEN(mc_read, __tsan_unaligned_read##size)        \
    SEEN(mc_write, __tsan_unaligned_write##size)
SEEN_ALL(1)
SEEN_ALL(2)
SEEN_ALL(4)
SEEN_ALL(8)
SEEN_ALL(16)

static void each(void (*access)(const void *), char *address, size_t size) {
    for (size_t i = 0; i < size; i += 4) access(address + i);
}

void __tsan_read_range(void *address, size_t size);
void __tsan_read_range(void *address, size_t size) { each(mc_read, address, size); }
void __tsan_write_range(void *address, size_t size);
void __tsan_write_range(void *address, size_t size) { each(mc_write, address, size); }
void __tsan_init(void);
void __tsan_init(void) {}
void __tsan_func_entry(void *caller);
void __tsan_func_entry(void *caller) { (void)caller; }
void __tsan_func_exit(void);
void __tsan_func_exit(void) {}
