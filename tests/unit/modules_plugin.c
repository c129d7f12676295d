/* A library that tests of modules load: built with a build id, with another one, and with none. */
#include <stdlib.h>

int plugin_answer(void);
int plugin_count(void);
extern int plugin_data;
extern int (*plugin_hidden)(int *count);

int plugin_data = PLUGIN_ANSWER;

static __attribute__((constructor)) void tell(void) { setenv("UNIT_PLUGIN_LOADED", "yes", 1); }

/* Not exported: only .symtab knows its name. */
static __attribute__((noinline)) int hidden_step(int *count) {
    __asm__ volatile("" ::: "memory");
    return ++*count;
}

int plugin_answer(void) { return PLUGIN_ANSWER; }

int plugin_count(void) {
    static int count;
    return hidden_step(&count) + 0 * PLUGIN_ANSWER;
}

int (*plugin_hidden)(int *count) = hidden_step;
