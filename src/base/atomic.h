/*
 * Atomic words. Every shared word of the library is one of these types, and every operation on it
 * carries its memory order in its name, so that a reader of the call sees it and a checker can put
 * its own operations in their place (RNI_MODEL: tests/model).
 *
 * There are no stand-alone fences: ThreadSanitizer cannot see them. Where two threads each write
 * one word and read the other's (Dekker), both writes are seq_cst read-modify-writes.
 */
#ifndef RNI_BASE_ATOMIC_H
#define RNI_BASE_ATOMIC_H

#include <stdbool.h>
#include <stdint.h>

#ifdef RNI_MODEL
#include "model_atomic.h"
#else

#include <stdatomic.h>

typedef struct rni_a32 { _Atomic uint32_t word; } rni_a32;
typedef struct rni_a64 { _Atomic uint64_t word; } rni_a64;
typedef struct rni_aptr { _Atomic(void *) word; } rni_aptr;

#define rni_load_relaxed(a) atomic_load_explicit(&(a)->word, memory_order_relaxed)
#define rni_load_acquire(a) atomic_load_explicit(&(a)->word, memory_order_acquire)
#define rni_load_seq_cst(a) atomic_load_explicit(&(a)->word, memory_order_seq_cst)
#define rni_store_relaxed(a, v) atomic_store_explicit(&(a)->word, (v), memory_order_relaxed)
#define rni_store_release(a, v) atomic_store_explicit(&(a)->word, (v), memory_order_release)
#define rni_swap_acq_rel(a, v) atomic_exchange_explicit(&(a)->word, (v), memory_order_acq_rel)
#define rni_swap_seq_cst(a, v) atomic_exchange_explicit(&(a)->word, (v), memory_order_seq_cst)
#define rni_add_relaxed(a, v) atomic_fetch_add_explicit(&(a)->word, (v), memory_order_relaxed)
#define rni_add_acq_rel(a, v) atomic_fetch_add_explicit(&(a)->word, (v), memory_order_acq_rel)
#define rni_add_seq_cst(a, v) atomic_fetch_add_explicit(&(a)->word, (v), memory_order_seq_cst)
#define rni_or_acq_rel(a, v) atomic_fetch_or_explicit(&(a)->word, (v), memory_order_acq_rel)
#define rni_and_acq_rel(a, v) atomic_fetch_and_explicit(&(a)->word, (v), memory_order_acq_rel)
#define rni_cas_relaxed(a, expected, v)                                                                    \
    atomic_compare_exchange_strong_explicit(&(a)->word, (expected), (v), memory_order_relaxed, memory_order_relaxed)
#define rni_cas_acq_rel(a, expected, v)                                                                    \
    atomic_compare_exchange_strong_explicit(&(a)->word, (expected), (v), memory_order_acq_rel, memory_order_acquire)
#define rni_cas_seq_cst(a, expected, v)                                                                    \
    atomic_compare_exchange_strong_explicit(&(a)->word, (expected), (v), memory_order_seq_cst, memory_order_seq_cst)

#if defined(__x86_64__) || defined(__i386__)
#define rni_pause() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define rni_pause() __asm__ volatile("yield")
#else
#define rni_pause() ((void)0)
#endif

#endif

#endif
