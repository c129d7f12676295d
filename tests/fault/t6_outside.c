/*
 * T6 from outside: plays one scenario, while strace makes system calls fail. t6_strace.py drives it.
 *
 *   --scenario=NAME     which one; --list prints their names
 *   --refused=KIND      what may be refused: nothing, threads, any
 *
 * It calls getppid() when its start-up is over: where strace begins to count.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "scenarios.h"
#include "support.h"

static enum refused refused_named(const char *name) {
    if (name != NULL && strcmp(name, "threads") == 0)
        return REFUSED_THREADS;
    if (name != NULL && strcmp(name, "any") == 0)
        return REFUSED_ANY;
    return REFUSED_NOTHING;
}

/* strace interrupts futex waits by a signal, as a system does: this handler makes it one that is caught. */
static void on_signal(int number) { (void)number; }

int main(int argc, char **argv) {
    proof_begin(argc, argv, "T6 outside");
    if (UNDER_ASAN || UNDER_TSAN) {
        puts("T6 outside: skipped: a sanitizer's own mappings would be refused too");
        return EXIT_SKIPPED;
    }
    if (proof_option("--list") != NULL) {
        for (unsigned i = 0; i < scenario_count; i++)
            puts(scenarios[i].name);
        return 0;
    }
    const struct scenario *scenario = scenario_named(proof_option("--scenario"));
    if (scenario == NULL)
        return 2;
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGUSR1, &action, NULL);
    guard_against_hang(30);
    getppid();
    scenario_play(scenario, refused_named(proof_option("--refused")));
    proof_case();
    return proof_end("scenarios");
}
