/*
 * What a worker process leaves behind when a signal of a fault ends it: a record in memory that it shares with the host.
 *
 * Written by a handler in the dying process, on a stack of its own, hence after a stack overflow too. The handler calls
 * nothing that takes a lock or memory, and then lets the signal do what it would have done. It writes each part before
 * the count or the mark that says so: what comes to grief while it looks at a broken stack leaves what it has found.
 * The host reads the record once, when the process is dead, and believes nothing in it.
 */
#ifndef RNI_BASE_OS_CRASH_H
#define RNI_BASE_OS_CRASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/elf.h"

#define RNI_OS_CRASH_FRAMES 64u
#define RNI_OS_CRASH_FILES 11u
#define RNI_OS_CRASH_PATH 511u
#define RNI_OS_CRASH_NO_FILE UINT32_MAX

/* A loaded file that code on the stack is in. */
typedef struct rni_os_crash_file {
    uint64_t base;                    /* what is added to the addresses in it */
    uint32_t id_length;               /* of its build id; 0: none */
    uint8_t id[RNI_ELF_ID_MAX];
    char path[RNI_OS_CRASH_PATH + 1]; /* as the linker has it; "": the program */
} rni_os_crash_file;

/* The instruction at fault; further out, one within the call that has not returned. */
typedef struct rni_os_crash_frame {
    uint64_t address;
    uint32_t file; /* its index, or RNI_OS_CRASH_NO_FILE */
} rni_os_crash_frame;

typedef struct rni_os_crash {
    rni_a32 mark;        /* 1: the numbers are there */
    rni_a32 file_count;
    rni_a32 frame_count;
    int32_t signal;
    int32_t code;        /* si_code */
    int32_t sender;      /* the process that sent it, if one did */
    int32_t call;        /* SIGSYS: the number of the system call */
    uint32_t is_thread;  /* it was not the first thread */
    uint64_t address;    /* of a fault */
    uint64_t stack;      /* the stack pointer */
    rni_os_crash_frame frames[RNI_OS_CRASH_FRAMES];
    rni_os_crash_file files[RNI_OS_CRASH_FILES];
} rni_os_crash;

#define RNI_OS_CRASH_BYTES ((size_t)8192)
_Static_assert(sizeof(rni_os_crash) <= RNI_OS_CRASH_BYTES, "a record has room in its pages");

/* Zygote: does what handlers must not do first, loading libgcc's unwinder above all; workers inherit it. */
void rni_os_crash_prepare(void);

/* Worker: from now on signals of faults that have their default action are recorded. The last frame is that of the
 * outermost function that is_entry() says yes to, by where it begins; without one, that within the function that begins
 * at `outermost`. is_entry() is called by the handler, in the thread that dies. */
void rni_os_crash_watch(rni_os_crash *record, uintptr_t outermost, bool (*is_entry)(uintptr_t function));

/* ---- for people ---- */

/* "nothing is mapped there"; "": it says nothing more. */
const char *rni_os_crash_reason(int signal, int code);
bool rni_os_crash_has_address(int signal, int code); /* `address` means something */
bool rni_os_crash_was_sent(int code);                /* by a process */
bool rni_os_crash_is_filter(int signal, int code);   /* a system call that seccomp does not allow */
bool rni_os_crash_is_overflow(const rni_os_crash *record); /* of the stack */

#endif
