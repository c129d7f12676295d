/*
 * What a hostile worker makes of a frame, and of its mailbox.
 */
#ifndef RUNIUM_TESTS_HOSTILE_MUTANTS_H
#define RUNIUM_TESTS_HOSTILE_MUTANTS_H

#include "fake_worker.h"
#include "support.h"

uint64_t odd_number(struct dice *dice);

/* Changes a few bytes of it, or its length. */
void mutate_frame(struct dice *dice, rni_writer *frame);

/* Changes a few words of the worker's mailbox: what a batch's end looks like, or not. */
void scribble_mailbox(struct dice *dice, struct fake *fake);

#endif
