#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "core/run.h"
#include "core/runtime.h"
#include "value/value.h"

#define TRACE_MAX ((size_t)64 * 1024) /* what is longer is cut */

/* The log of a runtime that has none: nothing is swallowed. */
static void log_to_stderr(const rn_log_record *record) {
    char line[640];
    static const char *const levels[] = {"error", "warning", "info"};
    int length = snprintf(line, sizeof line - 1, "runium: %s: %s", levels[record->level], record->message);
    size_t end = length < 0 ? 0 : (size_t)length < sizeof line - 1 ? (size_t)length : sizeof line - 2;
    line[end] = '\n';
    rni_os_write_stderr(line, end + 1);
}

void rn_log_nothing(void *context, const rn_log_record *record) {
    (void)context;
    (void)record;
}

void rni_log_record(rn_runtime *runtime, const rn_log_record *record) {
    if (runtime->log) runtime->log(runtime->log_context, record);
    else if (record->level != RN_LOG_INFO) log_to_stderr(record);
}

void rni_log(rn_runtime *runtime, enum rn_level level, const char *format, ...) {
    char message[512];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    rn_log_record record = {
        .size = sizeof record, .level = level, .message = message, .error = rn_none(), .task = ""};
    rni_log_record(runtime, &record);
}

static void print_trace_into(char *text, size_t size, const rn_call *call, rn_value error) {
    int head = snprintf(text, size - 1, "runium: task '%s' failed: ", rn_name(call));
    size_t start = head < 0 ? 0 : (size_t)head;
    size_t length = start + rn_format(error, text + start, size - 1 - start);
    if (length > size - 2) length = size - 2;
    text[length] = '\n';
    rni_os_write_stderr(text, length + 1);
}

/* In one piece, backtrace and all. */
static void print_trace(const rn_call *call, rn_value error) {
    char fixed[2048];
    size_t length = rn_format(error, NULL, 0);
    size_t size = sizeof fixed + (length < TRACE_MAX ? length : TRACE_MAX);
    char *text = length > sizeof fixed / 2 ? rni_alloc(size) : NULL;
    if (text) print_trace_into(text, size, call, error);
    else print_trace_into(fixed, sizeof fixed, call, error);
    rni_free(text);
}

void rni_log_failure(const rn_call *call, rn_value error) {
    if (call->runtime->debug) {
        print_trace(call, error);
        return;
    }
    char message[512];
    const char *hook = rn_error_hook(error);
    snprintf(message, sizeof message, "task '%s', iteration %" PRIu64 "%s%s failed: %s", rn_name(call), call->iteration,
             hook[0] ? ", " : "", hook, rn_error_message(error));
    rn_log_record record = {.size = sizeof record,
                            .level = RN_LOG_ERROR,
                            .message = message,
                            .error = error,
                            .task = rn_name(call),
                            .run_id = rn_run_id(call),
                            .iteration = call->iteration};
    rni_log_record(call->runtime, &record);
}

void rni_log_refusal(rn_runtime *runtime, const char *task, rn_value error) {
    char message[512], name[RN_NAME_MAX + 1];
    snprintf(name, sizeof name, "%s", task);
    snprintf(message, sizeof message, "a run of '%s' could not start: %s", name, rn_error_message(error));
    rn_log_record record = {
        .size = sizeof record, .level = RN_LOG_ERROR, .message = message, .error = error, .task = name};
    rni_log_record(runtime, &record);
}
