#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "value/value.h"

/* Errors that must be there when memory is not. */
#define STATIC_ERROR(name, number, words)                                                     \
    rn_value rni_error_##name(void) {                                                         \
        static const struct rni_error error = {                                               \
            .code = (number), .message = (words), .file = "", .hook = ""};                    \
        return (rn_value){.kind = RN_ERROR | RNI_STATIC, .aux = 0, .bits = (uintptr_t)&error}; \
    }

STATIC_ERROR(no_memory, RN_NO_MEMORY, "out of memory")
STATIC_ERROR(timed_out, RN_TIMED_OUT, "the time given for the wait is over; the run goes on")
STATIC_ERROR(forked, RN_FORKED, "this belongs to the parent process; open a runtime of your own after fork()")
STATIC_ERROR(cancelled, RN_CANCELLED, "cancelled before its first iteration")
STATIC_ERROR(closed, RN_CLOSED, "the runtime is closing or closed; it accepts no new runs")

const char *rn_code_name(int code) {
    static const char *const names[] = {"RN_OK",         "RN_NO_MEMORY", "RN_INVALID",    "RN_CLOSED",
                                        "RN_CANCELLED",  "RN_TIMED_OUT", "RN_DEADLOCK",   "RN_NO_THREADS",
                                        "RN_QUEUE_FULL", "RN_FORKED",    "RN_TOO_LARGE",  "RN_UNSUPPORTED",
                                        "RN_NO_PROCESSES", "RN_CRASHED", "RN_NOT_PORTABLE", "RN_OVERTIME",
                                        "RN_QUARANTINED"};
    int count = (int)(sizeof names / sizeof *names);
    return code <= 0 && code > -count ? names[-code] : "unknown code";
}

static rn_value value_of(struct rni_error *error) {
    rni_store_relaxed(&error->blob.owners, 1);
    return (rn_value){.kind = RN_ERROR | RNI_COUNTED, .aux = 0, .bits = (uintptr_t)error};
}

rn_value rni_error_blank(size_t message_length, size_t file_length, size_t hook_length) {
    struct rni_error *error = rni_alloc_zeroed(sizeof *error + message_length + file_length + hook_length + 3);
    if (!error) return rni_error_no_memory();
    error->message = error->text;
    error->file = error->text + message_length + 1;
    error->hook = error->file + file_length + 1;
    return value_of(error);
}

static struct rni_error *allocate(const char *file, size_t message_length) {
    size_t file_size = strlen(file) + 1;
    struct rni_error *error = rni_alloc(sizeof *error + message_length + 1 + file_size);
    if (!error) return NULL;
    memset(error, 0, sizeof *error);
    error->message = error->text;
    error->hook = "";
    error->file = memcpy(error->text + message_length + 1, file, file_size);
    return error;
}

rn_value rni_error_make(const char *file, int line, rn_value cause, int code, const char *format, va_list arguments) {
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    struct rni_error *error = allocate(file ? file : "", length < 0 ? 0 : (size_t)length);
    if (error) (void)vsnprintf(error->text, (length < 0 ? 0 : (size_t)length) + 1, format, again);
    va_end(again);
    if (!error) {
        rn_drop(cause);
        return rni_error_no_memory();
    }
    error->code = code ? code : RN_INVALID;
    error->line = line;
    error->cause = cause;
    return value_of(error);
}

rn_value rn_error_at(const char *file, int line, int code, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    rn_value error = rni_error_make(file, line, rn_none(), code, format, arguments);
    va_end(arguments);
    return error;
}

rn_value rn_error_because_at(const char *file, int line, rn_value cause, int code, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    rn_value error = rni_error_make(file, line, cause, code, format, arguments);
    va_end(arguments);
    return error;
}

static const struct rni_error *error_of(const char *function, rn_value value) {
    if (rn_kind(value) != RN_ERROR)
        rni_misuse("%s: the value is of kind %s, not error", function, rn_kind_name(rn_kind(value)));
    return rni_value_pointer(value);
}

/* Drops what an error that is being freed has; an error in it that has no owner any more is added to the list. */
static void let_go(rn_value value, struct rni_error **dead) {
    if (rn_kind(value) != RN_ERROR || rni_value_is_plain(value)) {
        rn_drop(value);
        return;
    }
    struct rni_error *error = rni_value_pointer(value);
    /* Pairs with rn_drop of the other owners, as there. */
    if (rni_add_acq_rel(&error->blob.owners, UINT32_MAX) != 1) return;
    error->next = *dead;
    *dead = error;
}

void rni_error_free(struct rni_error *error) {
    /* A loop, not recursion: a chain of causes, or of details, may be long. */
    struct rni_error *dead = error;
    dead->next = NULL;
    while (dead) {
        error = dead;
        dead = error->next;
        let_go(error->cause, &dead);
        let_go(error->detail, &dead);
        rni_free(error);
    }
}

static bool is_alone(rn_value value) {
    const struct rni_error *error = rni_value_pointer(value);
    /* Pairs with rn_drop: alone means that the others' reads are over. */
    return !rni_value_is_plain(value) && rni_load_acquire(&error->blob.owners) == 1;
}

/* Another one with the same parts, but for the detail. Plain: there is no memory. */
static rn_value copy(const struct rni_error *error) {
    size_t message = strlen(error->message), file = strlen(error->file), hook = strlen(error->hook);
    rn_value value = rni_error_blank(message, file, hook);
    if (rni_value_is_plain(value)) return value;
    struct rni_error *other = rni_value_pointer(value);
    other->code = error->code;
    other->line = error->line;
    other->iteration = error->iteration;
    other->cause = rn_keep(error->cause);
    memcpy(other->text, error->message, message);
    memcpy(other->text + message + 1, error->file, file);
    memcpy(other->text + message + 1 + file + 1, error->hook, hook);
    memcpy(other->task, error->task, sizeof other->task);
    return value;
}

rn_value rn_error_with(rn_value value, rn_value detail) {
    struct rni_error *error = (struct rni_error *)error_of("rn_error_with", value);
    if (!is_alone(value)) {
        rn_value own = copy(error);
        if (rni_value_is_plain(own)) { /* no memory */
            rn_drop(detail);
            return value;
        }
        rn_drop(value);
        value = own;
        error = rni_value_pointer(value);
    }
    rn_drop(error->detail);
    error->detail = detail;
    return value;
}

rn_value rni_error_stamp(rn_value value, const char *task, const char *hook, uint64_t iteration) {
    struct rni_error *error = rni_value_pointer(value);
    bool ours = is_alone(value) && error->task[0] == '\0';
    if (!ours) {
        rn_value outer = rn_error_because_at(error->file, error->line, rn_keep(value), error->code, "%s", error->message);
        if (rni_value_is_plain(outer)) { /* no memory: the bare error says more than that */
            return value;
        }
        struct rni_error *inner = error;
        error = rni_value_pointer(outer);
        error->detail = rn_keep(inner->detail);
        rn_drop(value);
        value = outer;
    }
    size_t length = strnlen(task, RN_NAME_MAX);
    memcpy(error->task, task, length);
    error->task[length] = '\0';
    error->hook = hook;
    error->iteration = iteration;
    return value;
}

int rn_error_code(rn_value error) { return error_of("rn_error_code", error)->code; }

const char *rn_error_message(rn_value error) { return error_of("rn_error_message", error)->message; }

const char *rn_error_task(rn_value error) { return error_of("rn_error_task", error)->task; }

const char *rn_error_hook(rn_value error) { return error_of("rn_error_hook", error)->hook; }

uint64_t rn_error_iteration(rn_value error) { return error_of("rn_error_iteration", error)->iteration; }

const char *rn_error_file(rn_value error) { return error_of("rn_error_file", error)->file; }

int rn_error_line(rn_value error) { return error_of("rn_error_line", error)->line; }

rn_value rn_error_cause(rn_value error) { return error_of("rn_error_cause", error)->cause; }

rn_value rn_error_detail(rn_value error) { return error_of("rn_error_detail", error)->detail; }
