/*
 * What a worker says of its batch (process/batch.h), read by the host: which run it has come to, and the results. Any bytes
 * give a value or are refused.
 */
#ifndef RNI_PROCESS_RESULTS_H
#define RNI_PROCESS_RESULTS_H

#include <runium.h>
#include <stddef.h>
#include <stdint.h>

/* How many runs of that message the mark counts: 0 if it is of another message. UINT32_MAX: none of ours says that. */
uint32_t rni_results_place(uint64_t mark, uint32_t message);

/* The result at that place of a mailbox's results; *at moves behind it. False: it is none. */
bool rni_results_take(const unsigned char *results, size_t *at, rn_value *value);

#endif
