#include "base/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/os.h"

static void *counted(void *memory) {
    if (memory) rni_fault_hold(RN_FAULT_ALLOCATION, 1);
    return memory;
}

void *rni_alloc(size_t size) {
    if (rni_fault(RN_FAULT_ALLOCATION)) return NULL;
    return counted(malloc(size));
}

void *rni_alloc_zeroed(size_t size) {
    if (rni_fault(RN_FAULT_ALLOCATION)) return NULL;
    return counted(calloc(1, size));
}

void *rni_alloc_lines(size_t size) {
    if (rni_fault(RN_FAULT_ALLOCATION)) return NULL;
    size_t whole = (size + 63) & ~(size_t)63;
    void *memory = aligned_alloc(64, whole);
    return counted(memory ? memset(memory, 0, whole) : NULL);
}

void rni_free(void *memory) {
    if (!memory) return;
    rni_fault_hold(RN_FAULT_ALLOCATION, -1);
    free(memory);
}

void *rni_alloc_large(size_t size) {
    if (rni_fault(RN_FAULT_ALLOCATION)) return NULL;
    return counted(rni_os_take_pages(size));
}

void rni_free_large(void *memory, size_t size) {
    rni_fault_hold(RN_FAULT_ALLOCATION, -1);
    rni_os_give_pages(memory, size);
}

/* The allocator learns it from a block of that size that comes and goes; untouched, it costs nothing. */
void rni_memory_keep(size_t size) {
    void *volatile memory = malloc(size);
    free(memory);
}

_Noreturn void rni_misuse(const char *format, ...) {
    char text[512] = "runium: ";
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text + 8, sizeof text - 9, format, arguments);
    va_end(arguments);
    size_t end = length < 0 ? 8 : (size_t)length + 8;
    if (end > sizeof text - 2) end = sizeof text - 2;
    text[end] = '\n';
    /* Straight to the descriptor: the process is about to die, and stdio may be in any state. */
    rni_os_write_stderr(text, end + 1);
    abort();
}
