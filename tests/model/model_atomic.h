/*
 * The operations of src/base/atomic.h as calls into the checker: included in their place under RNI_MODEL.
 */
#ifndef RUNIUM_TESTS_MODEL_ATOMIC_H
#define RUNIUM_TESTS_MODEL_ATOMIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct rni_a32 { uint32_t word; } rni_a32;
typedef struct rni_a64 { uint64_t word; } rni_a64;
typedef struct rni_aptr { void *word; } rni_aptr;

enum mc_order { MC_RELAXED, MC_ACQUIRE, MC_RELEASE, MC_ACQ_REL, MC_SEQ_CST };
enum mc_kind { MC_LOAD, MC_STORE, MC_SWAP, MC_ADD, MC_OR, MC_AND };

uint64_t mc_operate(enum mc_kind kind, enum mc_order order, void *word, size_t size, uint64_t value, const char *where);
bool mc_cas(enum mc_order order, void *word, size_t size, void *expected, uint64_t value, const char *where);

/* An inline function's result may go unused; that of a cast may not, without a warning. */
static inline uint32_t rni_model_32(uint64_t value) { return (uint32_t)value; }
static inline uint64_t rni_model_64(uint64_t value) { return value; }
static inline void *rni_model_pointer(uint64_t value) { return (void *)(uintptr_t)value; }

#define RNI_MODEL_OPERATE(kind, order, a, v)                                                                \
    _Generic((a)->word, uint32_t: rni_model_32, uint64_t: rni_model_64, void *: rni_model_pointer)(             \
        mc_operate((kind), (order), &(a)->word, sizeof((a)->word), (uint64_t)(uintptr_t)(v), __func__))
#define RNI_MODEL_CAS(order, a, expected, v)                                                                \
    mc_cas((order), &(a)->word, sizeof((a)->word), (1 ? (expected) : &(a)->word), (uint64_t)(uintptr_t)(v), __func__)

#define rni_load_relaxed(a) RNI_MODEL_OPERATE(MC_LOAD, MC_RELAXED, a, 0)
#define rni_load_acquire(a) RNI_MODEL_OPERATE(MC_LOAD, MC_ACQUIRE, a, 0)
#define rni_load_seq_cst(a) RNI_MODEL_OPERATE(MC_LOAD, MC_SEQ_CST, a, 0)
#define rni_store_relaxed(a, v) ((void)RNI_MODEL_OPERATE(MC_STORE, MC_RELAXED, a, v))
#define rni_store_release(a, v) ((void)RNI_MODEL_OPERATE(MC_STORE, MC_RELEASE, a, v))
#define rni_swap_acq_rel(a, v) RNI_MODEL_OPERATE(MC_SWAP, MC_ACQ_REL, a, v)
#define rni_swap_seq_cst(a, v) RNI_MODEL_OPERATE(MC_SWAP, MC_SEQ_CST, a, v)
#define rni_add_relaxed(a, v) RNI_MODEL_OPERATE(MC_ADD, MC_RELAXED, a, v)
#define rni_add_acq_rel(a, v) RNI_MODEL_OPERATE(MC_ADD, MC_ACQ_REL, a, v)
#define rni_add_seq_cst(a, v) RNI_MODEL_OPERATE(MC_ADD, MC_SEQ_CST, a, v)
#define rni_or_relaxed(a, v) RNI_MODEL_OPERATE(MC_OR, MC_RELAXED, a, v)
#define rni_or_acq_rel(a, v) RNI_MODEL_OPERATE(MC_OR, MC_ACQ_REL, a, v)
#define rni_and_relaxed(a, v) RNI_MODEL_OPERATE(MC_AND, MC_RELAXED, a, v)
#define rni_and_acq_rel(a, v) RNI_MODEL_OPERATE(MC_AND, MC_ACQ_REL, a, v)
#define rni_cas_relaxed(a, expected, v) RNI_MODEL_CAS(MC_RELAXED, a, expected, v)
#define rni_cas_acq_rel(a, expected, v) RNI_MODEL_CAS(MC_ACQ_REL, a, expected, v)
#define rni_cas_seq_cst(a, expected, v) RNI_MODEL_CAS(MC_SEQ_CST, a, expected, v)
#define rni_pause() ((void)0)

#endif
