/*
 * Memory from malloc, through the fault points; and the assertion that is always on.
 */
#ifndef RNI_BASE_MEMORY_H
#define RNI_BASE_MEMORY_H

#include <stddef.h>

/* NULL if refused. */
void *rni_alloc(size_t size);
void *rni_alloc_zeroed(size_t size);
void *rni_alloc_lines(size_t size); /* at a multiple of 64 bytes, zeroed */
void rni_free(void *memory);        /* NULL is allowed */

/* A mistake in the calling program, or a broken invariant: prints "runium: <message>" and aborts. */
_Noreturn void rni_misuse(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define RNI_ASSERT(condition)                                                                             \
    ((condition) ? (void)0 : rni_misuse("broken invariant at %s:%d: %s", __FILE__, __LINE__, #condition))

#endif
