/*
 * Batches: many plain runs in one message, so that a short task does not cost two wake-ups. Plain is a run of one
 * iteration without hooks, name or limits, whose argument is small.
 *
 *   host                                    worker
 *   writes the runs, sends BATCH     -->    for each run: begun = its place, and is the batch revoked? Then no more.
 *                                           runs it; writes its result; done = its place
 *   reads results up to `done`       <--    sends BATCH_ENDED
 *
 * `begun` and `done` hold the number of the message in their upper half, so that what they said of another message is not
 * taken for this one's.
 *
 * A task that takes long must not keep those behind it: after a tick without progress the host revokes the batch (stores
 * its number in `revoked`), and then reads `begun`. The worker stores `begun`, and then reads `revoked`. Both are
 * sequentially consistent: so a run beyond what the host read never begins there, and goes back to the queue. The one run
 * in doubt is settled by what the worker sends.
 *
 * A task that asks something of the host ends its batch as well: RNI_TALKS says so in `begun`, ahead of the question, and
 * from there on it is a turn like any other. So is a run whose result is large.
 *
 * When the worker dies, what is `done` is done, what has begun beyond that has failed, and the rest goes back to the queue.
 */
#ifndef RNI_PROCESS_BATCH_H
#define RNI_PROCESS_BATCH_H

#include <stdint.h>

#define RNI_BATCH_MOST 256u      /* runs */
#define RNI_BATCH_VALUE 4096u    /* bytes of an argument or result; a larger one is not for batches */
#define RNI_TALKS UINT32_C(0x80000000)

/* Of a record: what is as in the record before it is not sent again. */
#define RNI_SAME_FUNCTION 1u
#define RNI_SAME_NAME 2u

static inline uint64_t rni_batch_mark(uint32_t message, uint32_t place) { return (uint64_t)message << 32 | place; }

#endif
