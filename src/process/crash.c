#include "process/crash.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/os_elf.h"
#include "base/os_shared.h"
#include "process/module.h"

#define LINES_SHOWN 8
#define BYTES_SHOWN ((size_t)2048)
#define NAME_MAX_SHOWN 200 /* characters of a function's name; those of C++ have no end */
#define HALF_SECOND 500000000 /* ns; the clock of that limit counts ticks, and is a good deal off */

/* ------------------------------------------------------------------------------------------------
 * Text
 */
struct text {
    char *bytes;
    size_t size, length;
};

static void put(struct text *text, const char *format, ...) RN_PRINTF(2, 3);

static void put(struct text *text, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text->bytes + text->length, text->size - text->length, format, arguments);
    va_end(arguments);
    if (length < 0) return; /* LCOV_EXCL_BR_LINE: no format that is used here fails */
    size_t room = text->size - text->length - 1;
    text->length += (size_t)length < room ? (size_t)length : room;
}

/* How many bytes from here are one character of UTF-8 beyond ASCII; 0: none. Not those that control a terminal. */
static size_t wide_length(const unsigned char *bytes, size_t left) {
    unsigned char head = bytes[0];
    size_t length = head >= 0xc2 && head < 0xe0 ? 2 : head >= 0xe0 && head < 0xf0 ? 3 : head >= 0xf0 && head < 0xf5 ? 4 : 0;
    if (length == 0 || length > left) return 0;
    for (size_t i = 1; i < length; i++)
        if ((bytes[i] & 0xc0) != 0x80) return 0;
    bool is_control = head == 0xc2 && bytes[1] < 0xa0;
    bool is_overlong = (head == 0xe0 && bytes[1] < 0xa0) || (head == 0xf0 && bytes[1] < 0x90);
    bool is_outside = (head == 0xed && bytes[1] > 0x9f) || (head == 0xf4 && bytes[1] > 0x8f);
    return is_control || is_overlong || is_outside ? 0 : length;
}

/* Foreign bytes: what is no text is shown as \xNN. */
static void put_foreign(struct text *text, const char *bytes, size_t length) {
    const unsigned char *next = (const unsigned char *)bytes, *end = next + length;
    while (next < end) {
        size_t wide = wide_length(next, (size_t)(end - next));
        if (wide > 0) put(text, "%.*s", (int)wide, (const char *)next);
        else if (*next == '\t' || (*next >= ' ' && *next <= '~')) put(text, "%c", *next);
        else put(text, "\\x%02x", *next);
        next += wide > 0 ? wide : 1;
    }
}

/* ------------------------------------------------------------------------------------------------
 * Frames
 */
struct frame {
    uint64_t address; /* in memory */
    uint64_t offset;  /* as addr2line takes it: the address in the file */
    const rni_os_crash_file *file; /* NULL: it is in none */
    char function[256]; /* "": unknown */
};

/* The worker may have written any number. */
static uint32_t frames_of(const rni_os_crash *record) {
    uint32_t count = rni_load_relaxed(&record->frame_count);
    return count < RNI_OS_CRASH_FRAMES ? count : RNI_OS_CRASH_FRAMES;
}

static const rni_os_crash_file *file_of(const rni_os_crash *record, uint32_t index) {
    uint32_t count = rni_load_relaxed(&record->file_count);
    if (index >= count || index >= RNI_OS_CRASH_FILES) return NULL;
    const rni_os_crash_file *file = &record->files[index];
    bool is_good = memchr(file->path, '\0', sizeof file->path) && file->id_length <= RNI_ELF_ID_MAX;
    return is_good ? file : NULL;
}

static void find_function(struct frame *frame) {
    uint64_t distance;
    rni_module module = {.id_length = frame->file->id_length};
    memcpy(module.path, frame->file->path, sizeof frame->file->path);
    memcpy(module.id, frame->file->id, sizeof frame->file->id);
    if (!rni_module_function(&module, frame->offset, frame->function, sizeof frame->function, &distance))
        frame->function[0] = '\0';
    char *part = strchr(frame->function, '.'); /* "f.cold", "f.part.0": the compiler's pieces of f */
    if (part && part > frame->function) *part = '\0';
}

static struct frame frame_of(const rni_os_crash *record, uint32_t index) {
    struct frame frame = {.address = record->frames[index].address, .file = file_of(record, record->frames[index].file)};
    if (!frame.file) return frame;
    frame.offset = frame.address - frame.file->base;
    find_function(&frame);
    return frame;
}

static const char *name_of(const rni_os_crash_file *file, char *program, size_t size) {
    const char *path = file->path;
    if (!path[0]) {
        rni_os_program_path(program, size);
        path = program;
    }
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void put_place(struct text *text, const struct frame *frame) {
    char program[RNI_OS_PATH_MAX + 1];
    if (!frame->file) {
        put(text, "0x%" PRIx64, frame->address);
        return;
    }
    const char *name = name_of(frame->file, program, sizeof program);
    put_foreign(text, name, strlen(name));
    put(text, "+0x%" PRIx64, frame->offset);
}

static void put_frame(struct text *text, const struct frame *frame) {
    if (frame->function[0]) put(text, "%.*s (", NAME_MAX_SHOWN, frame->function);
    put_place(text, frame);
    if (frame->function[0]) put(text, ")");
}

/* A function that calls itself has a line for all its calls. */
static uint32_t end_of_same(const rni_os_crash *record, uint32_t first, uint32_t count) {
    uint32_t next = first + 1;
    while (next < count && record->frames[next].address == record->frames[first].address) next++;
    return next;
}

static void put_frames(struct text *text, const rni_os_crash *record, const struct frame *frames, uint32_t count) {
    put(text, "backtrace%s:", record->is_thread ? ", of a thread that the task started" : "");
    for (uint32_t i = 0, next; i < count; i = next) {
        next = end_of_same(record, i, count);
        if (next > i + 1) put(text, "\n    #%u to #%u ", i, next - 1);
        else put(text, "\n    #%u ", i);
        put_frame(text, &frames[i]);
    }
    if (count == RNI_OS_CRASH_FRAMES) put(text, "\n    and so on");
}

/* ------------------------------------------------------------------------------------------------
 * The first line
 */
static bool is_libc(const rni_os_crash_file *file) {
    char program[RNI_OS_PATH_MAX + 1];
    return strncmp(name_of(file, program, sizeof program), "libc.", 5) == 0;
}

static void put_where(struct text *text, const struct frame *frame) {
    if (frame->function[0]) put(text, "%.*s", NAME_MAX_SHOWN, frame->function);
    else put_place(text, frame);
}

static bool is_foreign(const struct frame *frame) { return !frame->file || is_libc(frame->file); }

/* What libc does when a program ends itself is of no interest; where it stumbles is, and who called it; or called what
 * is no code. */
static void put_function(struct text *text, const rni_os_crash *record, const struct frame *frames, uint32_t count) {
    uint32_t own = 0;
    while (own < count && is_foreign(&frames[own])) own++;
    if (count == 0) return;
    bool was_sent = rni_os_crash_was_sent(record->code);
    put(text, ", in ");
    if (own == 0 || own == count || was_sent) put_where(text, &frames[own < count ? own : 0]);
    else {
        put_where(text, &frames[0]);
        put(text, ", called by ");
        put_where(text, &frames[own]);
    }
}

static void put_fault(struct text *text, const rni_os_crash *record) {
    const char *reason = rni_os_crash_reason(record->signal, record->code);
    if (rni_os_crash_is_overflow(record)) put(text, ": stack overflow");
    else if (rni_os_crash_is_filter(record->signal, record->code))
        put(text, ": system call %d is not allowed (seccomp)", record->call);
    else {
        if (rni_os_crash_has_address(record->signal, record->code)) put(text, " at address 0x%" PRIx64, record->address);
        if (reason[0]) put(text, ": %s", reason);
    }
}

static bool is_over_cpu_limit(const rni_ended *ended) {
    return ended->cpu_limit_s > 0 && ended->cpu_ns / HALF_SECOND >= ended->cpu_limit_s;
}

static bool has_record(const rni_remains *remains, int signal) {
    return remains->record && rni_load_relaxed(&remains->record->mark) && remains->record->signal == signal;
}

/* What is known of a signal without a record. */
static const char *cause_of(const rni_remains *remains, int signal) {
    const char *name = rni_os_signal_name(signal);
    if (strcmp(name, "SIGXCPU") == 0) return ": CPU time limit";
    if (strcmp(name, "SIGXFSZ") == 0) return ": file size limit";
    /* A filter that kills at once leaves its victim no time for a record. */
    if (strcmp(name, "SIGSYS") == 0 && !has_record(remains, signal)) return ": a system call that is not allowed (seccomp)";
    if (signal != RNI_OS_KILL) return "";
    if (remains->is_out_of_memory) return ": out of memory";
    return is_over_cpu_limit(&remains->ended) ? ": CPU time limit" : ", not by Runium";
}

static void put_cause(struct text *text, const rni_remains *remains, const struct frame *frames, uint32_t count) {
    int status = remains->ended.status, signal = status & 0x7f;
    if (status < 0) put(text, "died; the zygote, which would know of what, has ended or does not answer");
    else if (signal == 0) put(text, "ended with exit(%d)", status >> 8 & 0xff);
    else {
        put(text, "was killed by %s (%d)", rni_os_signal_name(signal), signal);
        if (has_record(remains, signal)) put_fault(text, remains->record);
        put(text, "%s", cause_of(remains, signal));
        if (has_record(remains, signal)) put_function(text, remains->record, frames, count);
        if (status & 0x80) put(text, ", core dumped");
    }
}

/* ------------------------------------------------------------------------------------------------
 * The last words
 */
/* No newline is at the end. */
static const char *start_of_last_lines(const rni_remains *remains, const char *end) {
    bool is_cut = remains->is_cut || remains->last_length > BYTES_SHOWN;
    const char *start = remains->last_words, *line = end;
    if (remains->last_length > BYTES_SHOWN) start += remains->last_length - BYTES_SHOWN;
    for (unsigned lines = 0; line > start; line--)
        if (line[-1] == '\n' && ++lines == LINES_SHOWN) return line;
    if (start > end) return end;
    if (!is_cut) return start;
    const char *newline = memchr(start, '\n', (size_t)(end - start)); /* the first line may lack its beginning */
    return newline ? newline + 1 : start;
}

static const char *start_of_line(const char *first, const char *end) {
    const char *newline = memrchr(first, '\n', (size_t)(end - first));
    return newline ? newline + 1 : first;
}

static bool is_title(const char *line, const char *end) {
    static const char mark[] = "(most recent call last):";
    size_t length = sizeof mark - 1;
    return (size_t)(end - line) >= length && memcmp(end - length, mark, length) == 0;
}

/* A stack at the end, as languages that are interpreted write it: a title, and behind that indented lines alone. NULL: none. */
static const char *start_of_stack(const rni_remains *remains, const char *end) {
    const char *first = remains->last_words, *line = start_of_line(first, end);
    while (line > first && *line == ' ') {
        end = line - 1;
        line = start_of_line(first, end);
    }
    return is_title(line, end) ? line : NULL;
}

static bool has_last_words(const rni_remains *remains) {
    size_t i = 0;
    while (i < remains->last_length && remains->last_words[i] == '\n') i++;
    return i < remains->last_length;
}

static void put_last_words(struct text *text, const rni_remains *remains) {
    const char *end = remains->last_words + remains->last_length;
    while (end[-1] == '\n') end--; /* there is something else */
    const char *line = start_of_last_lines(remains, end), *stack = start_of_stack(remains, end);
    if (stack && stack < line) line = stack;
    put(text, "stderr:");
    while (line < end) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        const char *stop = newline ? newline : end;
        put(text, "\n    ");
        put_foreign(text, line, (size_t)(stop - line));
        line = stop + 1;
    }
}

/* ------------------------------------------------------------------------------------------------
 * The error
 */
/* Room for a tail of which each byte is escaped, or 64 frames in files with names of up to 300 such bytes; more is left out. */
#define TEXT_BYTES ((size_t)96 * 1024)

struct work {
    struct frame frames[RNI_OS_CRASH_FRAMES];
    char bytes[TEXT_BYTES];
};

static rn_value because(rn_value cause, const struct text *text) {
    return rn_error_because_at("", 0, cause, RN_CRASHED, "%s", text->bytes);
}

static rn_value make_error(const rni_remains *remains, struct work *work) {
    struct text text = {.bytes = work->bytes, .size = sizeof work->bytes};
    rn_value error = rn_none();
    bool has = remains->ended.status > 0 && has_record(remains, remains->ended.status & 0x7f);
    uint32_t count = has ? frames_of(remains->record) : 0;
    for (uint32_t i = 0; i < count; i++) {
        bool is_same = i > 0 && remains->record->frames[i].address == work->frames[i - 1].address;
        work->frames[i] = is_same ? work->frames[i - 1] : frame_of(remains->record, i);
    }
    if (has_last_words(remains)) {
        put_last_words(&text, remains);
        error = because(error, &text);
    }
    if (count > 0) {
        text.length = 0;
        put_frames(&text, remains->record, work->frames, count);
        error = because(error, &text);
    }
    text.length = 0;
    put(&text, "the worker process ");
    put_cause(&text, remains, work->frames, count);
    put(&text, "; peak memory %" PRId64 " KiB, CPU time %" PRId64 " ms", remains->ended.peak_bytes / 1024,
        remains->ended.cpu_ns / 1000000);
    return because(error, &text);
}

rn_value rni_crash_error(const rni_remains *remains) {
    struct work *work = rni_alloc(sizeof *work);
    if (!work) return rn_error_at("", 0, RN_CRASHED, "the worker process died; no memory to say of what");
    rn_value error = make_error(remains, work);
    rni_free(work);
    return error;
}
