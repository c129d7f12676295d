/*
 * A process of its own, which takes another to a boundary between two of its instructions and kills it there. What it does
 * is asked for by an order, and told in two reports: that the other process is in its hands, and how it ended.
 *
 * Single steps are sure and slow, 25 us each. So a way to a boundary may begin with a breakpoint: the process runs by itself
 * to an instruction, and takes single steps from there. It may end with repetitions of a `rep movs` or `rep stos`, which the
 * processor makes in one go.
 */
#ifndef RUNIUM_TESTS_TRACER_H
#define RUNIUM_TESTS_TRACER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum traced {
    TRACED_ITSELF,    /* that process, from where it waits for a message */
    TRACED_NEXT_CHILD /* the next that it forks, from its birth */
};

/* The three parts of a way follow one another; each may be empty. */
struct way {
    uint64_t address;  /* it goes to this instruction */
    uint32_t arrival;  /* until it is there for the n-th time; 0: it stays where it begins */
    uint32_t repeats;  /* at last: so many repetitions of the instruction where it is then */
    uint64_t steps;    /* before those: single steps */
};

struct order {
    enum traced who;
    pid_t process;
    bool measures; /* its way is single steps, which are recorded, and ends where it comes to wait for a message again */
    bool runs;     /* else it is taken to the instruction by single steps, and arrivals are counted */
    struct way way;
};

struct report {
    bool is_taken;   /* first report: it is in the tracer's hands */
    uint64_t length; /* second report: of a way that was measured */
    uint64_t address; /* the instruction before which it was killed; 0: it did not come to the end of its way */
};

/* Once, before anything else. `record`: memory shared with the tracer, for the address after each step; [0] is the start. */
bool tracer_start(uint64_t *record);

bool tracer_take(const struct order *order);

/* When the process has ended. `sleeper`: it is killed if it comes to sleep; what comes later was not on its way. */
struct report tracer_report(void);
struct report tracer_report_of(pid_t sleeper);

#endif
