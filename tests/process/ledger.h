/*
 * Memory that the program shares with its worker processes, for what a task can tell no other way because it is killed.
 * A worker is the program started again: it finds the ledger by a variable of the environment.
 */
#ifndef RUNIUM_TESTS_LEDGER_H
#define RUNIUM_TESTS_LEDGER_H

#include <stdbool.h>
#include <stddef.h>

enum { LEDGER_BYTES = 1 << 25 }; /* as it is touched, so it is taken */

extern void *ledger_pages; /* NULL: there is none */

/* The program, first of all: zeroed pages. */
bool ledger_make(void);

/* A forked child that has become another user: its workers could not open its parent's. */
bool ledger_announce(void);

#endif
