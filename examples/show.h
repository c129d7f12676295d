/*
 * What the small examples print: the output of a task, what a hook saw and in which thread, and the
 * result. It stands apart so that the examples themselves show nothing but Runium.
 */
#ifndef EXAMPLES_SHOW_H
#define EXAMPLES_SHOW_H

#include <runium.h>

void show_title(const char *title);

/* Prints as the task, and remembers its thread: the hooks are compared with it. One task at a time. */
void show_task(const rn_call *call, const char *output);

/* The parameter that a hook does not have is rn_none(). */
void show_hook(const rn_call *call, const char *hook, rn_value success, rn_value error);

void show_done_callback(int number, rn_future *future);

/* Waits for the future. */
void show_result(rn_future *future);

#endif
