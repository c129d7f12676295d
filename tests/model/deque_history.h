/*
 * A history: what some threads did to one deque, and which call had returned before which began. It is
 * linearizable if the calls can be put in one order, in keeping with that, in which a plain
 * sequential deque would have given every one the result that it had.
 */
#ifndef RUNIUM_TESTS_DEQUE_HISTORY_H
#define RUNIUM_TESTS_DEQUE_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HISTORY_CALLS 16u
#define HISTORY_ITEMS 4u /* that one call moves at most */

enum history_kind { HISTORY_PUSH, HISTORY_POP, HISTORY_STEAL, HISTORY_TAKE };

typedef struct history_call {
    uint32_t before; /* the calls that had returned when this one began: a bit for each */
    uint8_t kind;
    uint8_t count;   /* items pushed, or got; 0: no room, or nothing there */
    uint8_t wanted;  /* that it was to push, or at most to get */
    bool contended;  /* it got nothing because another was quicker: says nothing about the deque */
    uint8_t items[HISTORY_ITEMS];
} history_call;

/* `capacity`: a push without room is right only if the deque holds so many. 0: it may always be refused. */
bool history_is_linearizable(const history_call *calls, unsigned count, unsigned capacity);

#endif
