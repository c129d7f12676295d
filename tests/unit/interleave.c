#include "interleave.h"

#if defined(__x86_64__) && !UNDER_SANITIZER

#include <signal.h>
#include <ucontext.h>

#define TRAP_FLAG 0x100

/* Less is no operation, more is a loop that does not end. */
#define INSTRUCTIONS_MIN 8u
#define INSTRUCTIONS_MAX 200000u

/* Code that is not optimised has several times the instructions, most of which move something on its stack. */
#ifdef __OPTIMIZE__
#define STRIDE 1u
#else
#define STRIDE 5u
#endif

static struct {
    void (*interruption)(void);
    unsigned steps_left;
    bool has_interrupted;
} playing;

/* The processor clears the flag for the handler; cleared in the context too, the rest runs freely. */
static void on_trap(int number, siginfo_t *info, void *context) {
    (void)number;
    (void)info;
    if (--playing.steps_left > 0) return;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
    playing.has_interrupted = true;
    playing.interruption();
}

/* The red zone below the stack pointer is the compiler's. */
static inline void set_trap_flag(void) {
    __asm__ volatile("lea -128(%%rsp), %%rsp\n\tpushfq\n\torq %0, (%%rsp)\n\tpopfq\n\tlea 128(%%rsp), %%rsp"
                     :
                     : "i"(TRAP_FLAG)
                     : "memory", "cc");
}

static inline void clear_trap_flag(void) {
    __asm__ volatile("lea -128(%%rsp), %%rsp\n\tpushfq\n\tandq %0, (%%rsp)\n\tpopfq\n\tlea 128(%%rsp), %%rsp"
                     :
                     : "i"(~TRAP_FLAG)
                     : "memory", "cc");
}

static bool play(const struct interleaving *parts, unsigned after) {
    playing.interruption = parts->interruption;
    playing.steps_left = after;
    playing.has_interrupted = false;
    parts->prepare();
    void (*volatile operation)(void) = parts->operation;
    set_trap_flag();
    operation();
    clear_trap_flag();
    return playing.has_interrupted;
}

void interleave_each(unsigned instructions, const struct interleaving *parts) {
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO}, former;
    unsigned after = 1;
    sigaction(SIGTRAP, &action, &former);
    for (; play(parts, after); after += instructions * STRIDE) {
        parts->judge();
        assert_true(after < INSTRUCTIONS_MAX);
    }
    sigaction(SIGTRAP, &former, NULL);
    assert_true(after > INSTRUCTIONS_MIN);
}

#else

void interleave_each(unsigned instructions, const struct interleaving *parts) {
    (void)instructions;
    (void)parts;
}

#endif

void interleave(const struct interleaving *parts) { interleave_each(1, parts); }
