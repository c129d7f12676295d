/*
 * What the unit tests share: a list of tests, a generator of numbers, and child processes for what ends a process.
 *
 * The programs are linked with the static library and see its internals. Where the system must refuse something
 * that no fault point stands for, a program puts its own function in the place of one of libc (meson.build: wrap).
 */
#ifndef UNIT_SUPPORT_H
#define UNIT_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h> /* needs the ones above */

#include <runium.h>
#include <runium/testing.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNDER_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define UNDER_SANITIZER 1
#endif
#endif
#ifndef UNDER_SANITIZER
#define UNDER_SANITIZER 0
#endif

/* ------------------------------------------------------------------------------------------------
 * TEST(a_sentence) { ... } defines a test and enters it in the program's list. A test fails if the library holds
 * more allocations at its end than at its start, but for KEEPS(a_sentence), which leaves some behind by intention.
 */
typedef void test_function(void **state);
void register_test(const char *name, test_function *function, bool keeps);

#define TEST_OF(name, keeps)                                                                              \
    static void name(void **state);                                                                       \
    __attribute__((constructor)) static void register_##name(void) { register_test(#name, name, keeps); } \
    static void name(void **state __attribute__((unused)))
#define TEST(name) TEST_OF(name, false)
#define KEEPS(name) TEST_OF(name, true)

/* A generator whose seed is printed; UNIT_SEED=n in the environment sets it. */
uint64_t random_seed(void);
uint64_t next_random(uint64_t *state);
uint64_t random_below(uint64_t *state, uint64_t limit);

/* ------------------------------------------------------------------------------------------------
 * Children. Statements that stop the program, and what it says then:
 *     assert_misuse("rn_as_int: the value is of kind none", (void)rn_as_int(rn_none()));
 * Statements that change the process, or write to the standard error; an assertion in them is CHILD_CHECK:
 *     in_child(text, setenv("TZ", "UTC", 1); CHILD_CHECK(...));
 */
#define assert_misuse(message, ...)                           \
    do {                                                      \
        if (child_begins()) {                                 \
            __VA_ARGS__;                                      \
            child_ends(0);                                    \
        }                                                     \
        check_child_dies((message), __FILE__, __LINE__);      \
    } while (0)
#define in_child(text, ...)                                   \
    do {                                                      \
        if (child_begins()) {                                 \
            __VA_ARGS__;                                      \
            child_ends(0);                                    \
        }                                                     \
        check_child_ends((text), sizeof(text), __FILE__, __LINE__); \
    } while (0)
#define CHILD_CHECK(condition) child_check((condition), #condition, __FILE__, __LINE__)

bool child_begins(void); /* forks; true in the child, whose standard error goes to the parent */
_Noreturn void child_ends(int status);
void child_check(bool holds, const char *condition, const char *file, int line);
void check_child_dies(const char *message, const char *file, int line);
void check_child_ends(char *text, size_t size, const char *file, int line); /* text: its standard error */

/* ------------------------------------------------------------------------------------------------
 * One gate: a task that holds its worker until the test lets it go. Not a wait on Runium: a virtual clock stands still.
 */
rn_task_fn hold; /* passes the gate, and returns its argument */
void gate_close(void);
void gate_await(uint32_t count); /* until so many are, or were, at the gate */
void gate_open(void);

/* Waits until a thread sleeps in the library: until the futex point was passed so often since the last
 * rn_testing_fail(RN_FAULT_FUTEX, 1, 0). */
void await_sleepers(uint64_t count);

/* ------------------------------------------------------------------------------------------------
 * Assertions
 */
#define assert_contains(text, part) check_contains((text), (part), __FILE__, __LINE__)
#define assert_error_code(value, code) check_error_code((value), (code), __FILE__, __LINE__)
/* Drops the value. */
#define assert_fails(value, code, part) check_fails((value), (code), (part), __FILE__, __LINE__)
void check_contains(const char *text, const char *part, const char *file, int line);
void check_error_code(rn_value value, int code, const char *file, int line);
void check_fails(rn_value value, int code, const char *part, const char *file, int line);

#endif
