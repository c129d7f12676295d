#include "scenarios.h"

#include <string.h>

#include "steps.h"
#include "support.h"

#define LIST_SCENARIO(name) {#name, name},

const struct scenario scenarios[] = {SCENARIOS(LIST_SCENARIO)};
const unsigned scenario_count = sizeof scenarios / sizeof *scenarios;

void scenario_play(const struct scenario *scenario, enum refused refused) {
    refused_now = refused;
    scenario->play();
    check(atomic_load(&tally.made) == atomic_load(&tally.destroyed), "%s: %d pointers were made, %d destroyed",
          scenario->name, (int)atomic_load(&tally.made), (int)atomic_load(&tally.destroyed));
}

const struct scenario *scenario_named(const char *name) {
    for (unsigned i = 0; name != NULL && i < scenario_count; i++)
        if (strcmp(scenarios[i].name, name) == 0)
            return &scenarios[i];
    return NULL;
}
