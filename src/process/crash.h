/*
 * Of what a worker process died, as an error for people: the cause, where in the code, and what it last wrote.
 *
 * The first message is one line. Its cause, if a fault was recorded, is the backtrace; the cause of that, or of the
 * first one, are the last lines on stderr, if there are any.
 */
#ifndef RNI_PROCESS_CRASH_H
#define RNI_PROCESS_CRASH_H

#include <runium.h>

#include "base/os_crash.h"
#include "process/zygote.h"

/* What a process leaves behind. What it wrote itself may be anything. */
typedef struct rni_remains {
    rni_ended ended;
    const rni_os_crash *record; /* a copy */
    const char *last_words;     /* the end of what it wrote to stderr */
    size_t last_length;
    bool is_cut;                /* it wrote more */
    bool is_out_of_memory;      /* the system killed it for want of memory */
} rni_remains;

rn_value rni_crash_error(const rni_remains *remains);

#endif
