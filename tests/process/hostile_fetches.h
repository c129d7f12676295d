/*
 * Counts how often the host reads each byte of a worker's mailbox: its mapping is made inaccessible, each access faults,
 * is let through alone (the trap flag), and is noted.
 *
 * The words that both sides use while nothing was sent are exceptions: the futex, the count, and where the worker says
 * how far it is. Each of them is one atomic load, and is not read together with what it stands for.
 */
#ifndef RUNIUM_TESTS_HOSTILE_FETCHES_H
#define RUNIUM_TESTS_HOSTILE_FETCHES_H

#include <stdbool.h>

bool fetches_can_watch(void);                            /* on this machine, in this build */
void fetches_watch(void *mailbox, const void *alias);    /* the host's mapping, and another of the same pages */
void fetches_begin_frame(void);                          /* a frame was sent */
void fetches_end_frame(void);                            /* the host has dealt with it */
void fetches_stop(void);
void fetches_judge(void);                                /* says what it saw, as checks */

#endif
