/*
 * A worker that does what it is told over a socket, its first descriptor, and facts about a process.
 */
#ifndef ZYGOTE_WORKER_H
#define ZYGOTE_WORKER_H

#include <stddef.h>
#include <stdint.h>

/* What a worker can be told. It answers each with a text, but for those that end it. */
enum order {
    ORDER_EXIT = 'e',       /* with this status */
    ORDER_RAISE = 'r',      /* this signal */
    ORDER_GRANDCHILD = 'g', /* a child that sleeps; its number */
    ORDER_PID = 'p',        /* "pid parent group" */
    ORDER_FDS = 'f',        /* "0 1 2 3", and which of them are kept at exec: "0 1 2" */
    ORDER_SIGNALS = 's',    /* the lines about signals of /proc/self/status */
    ORDER_LIMITS = 'l',     /* every rlimit */
    ORDER_ENVIRONMENT = 'n',
    ORDER_TOUCH = 't',      /* so many MiB */
    ORDER_CALL = 'c',       /* the function at this offset of the program, const char *(void): what it returns */
    ORDER_TALK = 'w'        /* writes to 1 and 2, reads 0 */
};

struct zygote_order {
    int64_t what, value;
};

#define ANSWER_MAX 32768

unsigned count_fds(void); /* open here */
void print_limits(char *text, size_t size);
void print_signals(char *text, size_t size);
void print_fds(char *text, size_t size);
void print_environment(char *text, size_t size);

/* The address of a function as it holds in another process of this program. */
int64_t offset_in_program(const void *address);

#endif
