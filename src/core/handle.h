/*
 * Handles: what the program holds in place of a pointer to a run or a runtime. The address of the
 * object, with a part of its generation in the bits that an address does not use: the low 6
 * (objects lie at multiples of 64) and, where addresses have at most 48 bits, the upper 16. A handle
 * that outlived its object has another generation and is found out; after 2^22 further uses of the
 * same place (2^6 on 32-bit machines) it would not be.
 */
#ifndef RNI_CORE_HANDLE_H
#define RNI_CORE_HANDLE_H

#include <stdint.h>

#if UINTPTR_MAX > 0xffffffffu
#define RNI_TAG_BITS 22
#define RNI_ADDRESS_MASK ((uintptr_t)0x0000ffffffffffc0)
#else
#define RNI_TAG_BITS 6
#define RNI_ADDRESS_MASK (~(uintptr_t)0x3f)
#endif
#define RNI_TAG_MASK ((UINT32_C(1) << RNI_TAG_BITS) - 1)

static inline void *rni_handle_make(const void *object, uint32_t generation) {
    uintptr_t tag = generation & RNI_TAG_MASK;
#if RNI_TAG_BITS == 22
    tag = tag << 48 | tag >> 16; /* turned: its low 16 bits are the upper ones of the handle */
#endif
    return (void *)((uintptr_t)object | tag);
}

static inline void *rni_handle_object(const void *handle) {
    return (void *)((uintptr_t)handle & RNI_ADDRESS_MASK);
}

static inline uint32_t rni_handle_tag(const void *handle) {
    uintptr_t bits = (uintptr_t)handle;
#if RNI_TAG_BITS == 22
    bits = bits << 16 | bits >> 48; /* turned back */
#endif
    return (uint32_t)bits & RNI_TAG_MASK;
}

#endif
