#include "checks.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *const memory_names[] = {"SC", "TSO", "views"};

static void print_run(const mc_exercise *e, const mc_counts *c, double seconds) {
    char bound[32] = "all interleavings";
    if (e->preemptions != MC_ALL) snprintf(bound, sizeof bound, "up to %u preemptions", e->preemptions);
    printf("  %s, %s, %s: %" PRIu64 " states, %" PRIu64 " steps, %" PRIu64 " ends, %.1f s\n", e->name,
           memory_names[e->memory], bound, c->states, c->steps, c->ends, seconds);
}

int mc_main(const char *check, const mc_run *runs, size_t count, void (*choose)(const void *shape), int argc,
            char **argv) {
    bool torture = getenv("RUNIUM_TORTURE") != NULL;
    uint64_t states = 0, steps = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; i < count; i++) {
        mc_counts counts;
        if (runs[i].torture && !torture) continue;
        if (argc > 1 && !strstr(runs[i].exercise.name, argv[1])) continue;
        clock_t start = clock();
        choose(runs[i].shape);
        bool ok = mc_check(&runs[i].exercise, &counts);
        states += counts.states;
        steps += counts.steps;
        print_run(&runs[i].exercise, &counts, (double)(clock() - start) / CLOCKS_PER_SEC);
        if (!ok) {
            printf("%s: 1 error after %" PRIu64 " states, %" PRIu64 " steps\n", check, states, steps);
            return 1;
        }
    }
    printf("%s: %" PRIu64 " states, %" PRIu64 " steps, 0 errors\n", check, states, steps);
    return 0;
}
