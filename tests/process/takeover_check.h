/*
 * Whether a program can be taken over, whatever it is linked from. For C and C++, and exported by the shared library.
 */
#ifndef TAKEOVER_CHECK_H
#define TAKEOVER_CHECK_H

#ifdef __cplusplus
extern "C" {
#endif

/* Calls the program's function in a worker. 0: it returned this text there. */
__attribute__((visibility("default"))) int takeover_check(const char *(*task)(void), const char *expected);

/* 0: the zygote does not start, and the error says this. */
__attribute__((visibility("default"))) int takeover_fails(const char *part);

#ifdef __cplusplus
}
#endif

#endif
