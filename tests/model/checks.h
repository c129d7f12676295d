/*
 * What the three checks share: the main program, and how a run is written down. A check is a list of
 * exercises, the small ones first; it ends at the first error.
 */
#ifndef RUNIUM_TESTS_CHECKS_H
#define RUNIUM_TESTS_CHECKS_H

#include "checker.h"

typedef struct mc_run {
    mc_exercise exercise;
    const void *shape; /* what the check's own functions want to know of it */
    bool torture;      /* only in the long form */
} mc_run;

/* Runs all; prints a line for each and at last the sum: "<check>: <states> states, 0 errors". Returns main()'s
 * value: 0, or 1 if there was an error. */
int mc_main(const char *check, const mc_run *runs, size_t count, void (*choose)(const void *shape), int argc,
            char **argv);

#endif
