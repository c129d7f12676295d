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

/* Pages that are nobody else's, and go back to the system at once: for a few megabytes and more. */
void *rni_alloc_large(size_t size);
void rni_free_large(void *memory, size_t size);

/* In a process of ours: what is freed, up to twice that size, stays for whoever asks next. Else a process that carries large
 * values, one after the other, would get new pages for each of them. */
void rni_memory_keep(size_t size);

/* A mistake in the calling program, or a broken invariant: prints "runium: <message>" and aborts. */
_Noreturn void rni_misuse(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define RNI_ASSERT(condition)                                                                             \
    ((condition) ? (void)0 : rni_misuse("broken invariant at %s:%d: %s", __FILE__, __LINE__, #condition))

#endif
