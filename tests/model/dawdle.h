/*
 * Included before deque.c for deque_threads.c: the real operations of base/atomic.h, each of which may give the CPU
 * away first, so that calls overlap on a busy machine and on a single CPU too.
 */
#ifndef RUNIUM_TESTS_DAWDLE_H
#define RUNIUM_TESTS_DAWDLE_H

#include "base/atomic.h"

void dawdle(void);

#undef rni_load_relaxed
#undef rni_load_acquire
#undef rni_load_seq_cst
#undef rni_store_relaxed
#undef rni_store_release
#undef rni_swap_seq_cst
#undef rni_cas_seq_cst
#define rni_load_relaxed(a) (dawdle(), atomic_load_explicit(&(a)->word, memory_order_relaxed))
#define rni_load_acquire(a) (dawdle(), atomic_load_explicit(&(a)->word, memory_order_acquire))
#define rni_load_seq_cst(a) (dawdle(), atomic_load_explicit(&(a)->word, memory_order_seq_cst))
#define rni_store_relaxed(a, v) (dawdle(), atomic_store_explicit(&(a)->word, (v), memory_order_relaxed))
#define rni_store_release(a, v) (dawdle(), atomic_store_explicit(&(a)->word, (v), memory_order_release))
#define rni_swap_seq_cst(a, v) (dawdle(), atomic_exchange_explicit(&(a)->word, (v), memory_order_seq_cst))
#define rni_cas_seq_cst(a, expected, v) \
    (dawdle(), atomic_compare_exchange_strong_explicit(&(a)->word, (expected), (v), memory_order_seq_cst, \
                                                       memory_order_seq_cst))

#endif
