/*
 * The boundaries between the instructions of a path, as the tracer has recorded them, and the cheapest way to each: from
 * the start, or from an instruction on which a breakpoint lies, by single steps. See tracer.h.
 */
#ifndef RUNIUM_TESTS_BOUNDARIES_H
#define RUNIUM_TESTS_BOUNDARIES_H

#include "tracer.h"

enum { PATH_LONGEST = 400000 };

/* Of the first `length` instructions of a record. */
void boundaries_make(const uint64_t *record, uint64_t length);

/* The way to the boundary after so many instructions, at least 1. */
const struct way *boundaries_way(uint64_t boundary);

/* How many instructions the path has at different addresses; and at how many of them somebody was killed. */
uint64_t boundaries_addresses(void);
uint64_t boundaries_killed(void);
void boundaries_kill(uint64_t address);

#endif
