/*
 * Two operations on shared words, one in the middle of the other: at every machine instruction of the first, once.
 * What a race between two threads shows by luck, this shows each time, and for the code that the compiler made.
 *
 * The processor's trap flag steps through the first operation; the handler of the trap calls the second. Where there
 * is no such flag, or a sanitizer would look on, nothing is played.
 */
#ifndef UNIT_INTERLEAVE_H
#define UNIT_INTERLEAVE_H

#include "support.h"

struct interleaving {
    void (*prepare)(void);      /* sets the words up */
    void (*operation)(void);    /* is interrupted */
    void (*interruption)(void); /* runs to its end, in one go, as on another processor */
    void (*judge)(void);        /* asserts what holds after both, whatever their order */
};

/* Plays every interleaving; or, of a long operation, one for each so many instructions. */
void interleave(const struct interleaving *parts);
void interleave_each(unsigned instructions, const struct interleaving *parts);

#endif
