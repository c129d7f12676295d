#include <stdio.h>
#include <string.h>
#include <ucontext.h>

#include "machine.h"

/* The threads of the machine, as coroutines on stacks of their own. */

machine m = {.current = NOBODY};
_Alignas(64) char stacks[THREADS][STACK_SIZE];

#define CLEARED ((size_t)1024)

static void *checker_context[5];

__attribute__((noinline, noreturn)) static void jump(void **context) { __builtin_longjmp(context, 1); }

__attribute__((noinline)) void machine_stop(void) {
    if (__builtin_setjmp(m.thread[m.current].context) == 0) jump(checker_context);
}

static void enter(void) {
    m.exercise->thread(m.current);
    m.thread[m.current].status = THREAD_ENDED;
    machine_stop();
}

/* What returned functions left below the stack pointer must not tell states apart: the next ones to be called
 * would have it in those slots of their frames that they have not yet written. */
static void clear_below(char *stack_low) { memset(stack_low - CLEARED, 0, CLEARED); }

__attribute__((noinline)) void machine_resume(unsigned index) {
    clear_below(m.thread[index].context[2]);
    m.current = index;
    if (__builtin_setjmp(checker_context) == 0) jump(m.thread[index].context);
    m.current = NOBODY;
}

__attribute__((noinline)) static void start_thread(unsigned index) {
    ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = stacks[index];
    context.uc_stack.ss_size = STACK_SIZE;
    context.uc_link = NULL;
    makecontext(&context, enter, 0);
    m.current = index;
    if (__builtin_setjmp(checker_context) == 0) setcontext(&context);
    m.current = NOBODY;
    const char *low = m.thread[index].context[2];
    if (low < stacks[index] || low >= stacks[index] + STACK_SIZE) {
        mc_fail(__FILE__, __LINE__, "__builtin_setjmp does not keep the stack pointer in the third word here");
    }
}

void machine_start(const mc_exercise *exercise) {
    m = (machine){.exercise = exercise,
                  .current = NOBODY,
                  .early_returns = exercise->early_returns,
                  .last = NOBODY,
                  .preemptions = exercise->preemptions};
    memset(stacks, 0, sizeof stacks); /* what another exercise left must not tell states apart */
    exercise->start();
    for (unsigned i = 0; i < exercise->threads && !m.error; i++) start_thread(i);
}

void mc_fail(const char *file, int line, const char *text) {
    static char error[512];
    if (!m.error) {
        snprintf(error, sizeof error, "%s:%d: %s", file, line, text);
        m.error = error;
    }
    if (m.current != NOBODY) machine_stop();
}
