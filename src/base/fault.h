/*
 * Fault points: each fallible step of the library passes through one, and a test can make the n-th
 * fail (runium/testing.h). Until a test first asks, a point costs one load of a constant word.
 */
#ifndef RNI_BASE_FAULT_H
#define RNI_BASE_FAULT_H

#include <runium/testing.h>

/* Passes the point. True: the step must fail. */
bool rni_fault(enum rn_fault fault);

/* Counts what is held, for rn_testing_held(). */
void rni_fault_hold(enum rn_fault fault, int64_t change);

#endif
