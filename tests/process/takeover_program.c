/*
 * A C program to be taken over: its constructors run in the zygote, the last too, and its main() never does. With an
 * argument its constructor does in the zygote what a zygote cannot live with, and the error must say what.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "takeover_check.h"

static int first, last, mains;

_Noreturn static void *sleep_for_ever(void *nothing) {
    (void)nothing;
    for (;;) pause();
}

static void misbehave(const char *how) {
    pthread_t thread;
    if (strcmp(how, "hangs") == 0) sleep_for_ever(NULL);
    if (strcmp(how, "exits") == 0) _exit(3);
    if (strcmp(how, "aborts") == 0) abort();
    if (strcmp(how, "threads") == 0) pthread_create(&thread, NULL, sleep_for_ever, NULL);
}

__attribute__((constructor(102))) static void construct_first(void) {
    const char *how = getenv("TAKEOVER_CONSTRUCTOR");
    first++;
    if (how) misbehave(how);
}

__attribute__((constructor)) static void construct_last(void) {
    last++;
    (void)printf("constructed in %d\n", (int)getpid());
    (void)fflush(stdout);
}

static const char *count(void) {
    static char text[64];
    const char *preload = getenv("LD_PRELOAD");
    (void)snprintf(text, sizeof text, "first %d last %d main %d preload %s", first, last, mains, preload ? preload : "-");
    return text;
}

int main(int argc, char **argv) {
    mains++;
    if (getenv("TAKEOVER_CONSTRUCTOR")) return 99; /* started again, and not taken over */
    if (argc > 2) {
        setenv("TAKEOVER_CONSTRUCTOR", argv[1], 1);
        return takeover_fails(argv[2]);
    }
    return takeover_check(count, "first 1 last 1 main 0 preload -");
}
