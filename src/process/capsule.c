/*
 * The host's side of crash capsules: what is the same in all of them is gathered when the runtime opens, before the
 * first worker process, which has the same environment; the rest is known when one has died. Several threads may write
 * at a time. A file is written under another name first, so that whoever looks into the folder sees whole ones only.
 */
#include "process/capsule.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "base/os.h"
#include "base/os_process.h"
#include "base/os_shared.h"
#include "process/host.h"
#include "process/module.h"
#include "value/value.h"
#include "value/wire.h"

struct rni_capsules {
    rni_capsule common;
    int folder;
    rni_a32 count; /* capsules that were begun */
    char path[RNI_MODULE_PATH_MAX + 1]; /* of the folder; as the next two */
    char library[RNI_MODULE_PATH_MAX + 1];
    char program[RNI_MODULE_PATH_MAX + 1];
    char works_in[RNI_MODULE_PATH_MAX + 1];
    char *environment; /* the texts of common.variables */
};

/* Tells the files of this process apart. */
static uint32_t number(void) {
    static rni_a32 last;
    return rni_add_acq_rel(&last, 1) + 1;
}

/* ------------------------------------------------------------------------------------------------
 * What all capsules of a runtime share
 */
static bool copy_environment(rni_capsules *capsules) {
    char **entries = rni_os_environment();
    size_t count = 0, size = 0;
    for (; entries && entries[count]; count++) size += strlen(entries[count]) + 1;
    capsules->common.variables = rni_alloc_zeroed((count + 1) * sizeof *entries);
    char *text = capsules->environment = rni_alloc(size + 1);
    if (!capsules->common.variables || !text) return false;
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(entries[i]) + 1;
        capsules->common.variables[i] = memcpy(text, entries[i], length);
        text += length;
    }
    capsules->common.variable_count = count;
    return true;
}

static rni_elf_id id_of_program(void) {
    rni_os_elf_file file;
    if (!rni_os_elf_open(&file, "")) return (rni_elf_id){.length = 0};
    rni_elf_id id = rni_elf_id_of(&file.file);
    rni_os_elf_close(&file);
    return id;
}

static rn_value gather(rni_capsules *capsules) {
    rni_capsule *common = &capsules->common;
    rni_os_program_path(capsules->program, sizeof capsules->program);
    common->program_id = id_of_program();
    int error = rni_os_current_folder(capsules->works_in, sizeof capsules->works_in);
    if (error) return rn_error(RN_UNSUPPORTED, "no crash capsules: the current folder is unknown: %s", strerror(error));
    bool known = capsules->program[0] == '/' && common->program_id.length > 0;
    if (!known || !rni_replay_library(capsules->library, sizeof capsules->library))
        return rn_error(RN_UNSUPPORTED, "no crash capsules: the program's file cannot be read");
    common->program = capsules->program;
    common->name = rni_os_program_name();
    common->library = capsules->library;
    common->folder = capsules->works_in;
    for (unsigned i = 0; i < RNI_OS_LIMITS; i++) common->limits[i] = rni_os_limit(i);
    return copy_environment(capsules) ? rni_none() : rni_error_no_memory();
}

/* ------------------------------------------------------------------------------------------------
 * Files
 */
#define NAME_BYTES (RN_NAME_MAX + 64)

/* A file of that name; or, if it is only tried out, of none. */
static int make_file(const rni_capsules *capsules, const void *bytes, size_t length, const char *name, bool is_trial) {
    char other[NAME_BYTES + 16];
    int file = -1;
    (void)snprintf(other, sizeof other, ".%s.unfinished", name);
    int error = rni_os_make_file(capsules->folder, other, &file);
    if (error) return error;
    error = rni_os_write_file(file, bytes, length);
    rni_os_close(file);
    if (!error && !is_trial) error = rni_os_rename_file(capsules->folder, other, name);
    if (error || is_trial) rni_os_remove_file(capsules->folder, other);
    return error;
}

/* That files can be made there is found out by making one: rights are not all that may be missing. */
static rn_value open_folder(rni_capsules *capsules, const char *path) {
    char name[NAME_BYTES];
    (void)snprintf(name, sizeof name, "trial-%d-%u", rni_os_process(), number());
    int error = rni_os_open_folder(path, &capsules->folder, capsules->path, sizeof capsules->path);
    if (!error) error = make_file(capsules, "", 0, name, true);
    if (!error) return rni_none();
    return rn_error(RN_INVALID, ".capsules is \"%s\": %s; accepted is a folder in which this process may make files, or NULL",
                    path, strerror(error));
}

rn_value rni_capsules_open(const char *folder, rni_capsules **capsules) {
    *capsules = NULL;
    if (!folder) return rni_none();
    rni_capsules *made = rni_alloc_zeroed(sizeof *made);
    if (!made) return rni_error_no_memory();
    made->folder = -1;
    rn_value error = open_folder(made, folder);
    if (rni_is_none(error)) error = gather(made);
    if (rni_is_none(error)) *capsules = made;
    else rni_capsules_close(made);
    return error;
}

void rni_capsules_forget(const rni_capsules *capsules) {
    if (capsules) rni_os_close(capsules->folder);
}

void rni_capsules_close(rni_capsules *capsules) {
    if (!capsules) return;
    rni_os_close(capsules->folder);
    rni_free(capsules->common.variables);
    rni_free(capsules->environment);
    rni_free(capsules);
}

/* ------------------------------------------------------------------------------------------------
 * One crash
 */
#define TRACE_LINES 200
#define TRACE_BYTES 20000

struct crash {
    rni_capsule capsule;
    char *trace[TRACE_LINES];
    char trace_text[TRACE_BYTES];
    rni_module module;
    char time[32], argument[200], symbol[256], name[NAME_BYTES];
};

/* Between two stages no code of the program is at work but what it left running: then it was the function. */
static uintptr_t at_work(rni_turn *turn, uint64_t *part) {
    const rni_run *run = turn->call.run;
    static const rni_hooks none;
    const rni_hooks *hooks = rni_run_flags(run) & RNI_HOOKS ? rni_run_hooks(run) : &none;
    bool failed = rni_is_error(turn->outcome);
    uintptr_t function = 0;
    *part = RNI_PART_FUNCTION;
    if (turn->stage == RNI_STAGE_ON_ITER) *part = RNI_PART_ON_ITER, function = (uintptr_t)hooks->on_iter;
    if (turn->stage == RNI_STAGE_FINISHED) *part = RNI_PART_ON_FINISHED, function = (uintptr_t)hooks->on_finished;
    if (turn->stage == RNI_STAGE_OUTCOME) *part = failed ? RNI_PART_ON_ERROR : RNI_PART_ON_SUCCESS;
    if (*part == RNI_PART_ON_ERROR) function = (uintptr_t)hooks->on_error;
    if (*part == RNI_PART_ON_SUCCESS) function = (uintptr_t)hooks->on_success;
    if (function) return function;
    *part = RNI_PART_FUNCTION;
    return (uintptr_t)run->function;
}

/* The name of a function that begins there, or "". */
static void name_function(const rni_module *module, uint64_t offset, char *name, size_t size) {
    rni_os_elf_file file;
    uint64_t distance = 1;
    name[0] = '\0';
    if (!rni_os_elf_open(&file, module->path)) return;
    bool found = rni_elf_symbol(&file.file, offset, name, size, &distance);
    rni_os_elf_close(&file);
    if (!found || distance != 0) name[0] = '\0';
}

static bool describe_function(struct crash *crash, rni_turn *turn) {
    rni_capsule *capsule = &crash->capsule;
    uintptr_t function = at_work(turn, &capsule->part);
    if (!rni_module_of((const void *)function, &crash->module, &capsule->offset)) return false;
    capsule->file = crash->module.path;
    capsule->file_id.length = crash->module.id_length;
    memcpy(capsule->file_id.bytes, crash->module.id, sizeof capsule->file_id.bytes);
    name_function(&crash->module, capsule->offset, crash->symbol, sizeof crash->symbol);
    capsule->symbol = crash->symbol;
    return true;
}

static void describe_run(struct crash *crash, rni_turn *turn) {
    rni_capsule *capsule = &crash->capsule;
    bool in_function = turn->stage == RNI_STAGE_FUNCTION; /* then the iteration is not counted yet */
    capsule->task = rn_name(&turn->call);
    capsule->iteration = turn->call.iteration + in_function;
    capsule->times = turn->plan ? turn->plan->times : 1;
    capsule->every = turn->plan ? (uint64_t)turn->plan->every : 0;
    capsule->missed = turn->plan ? turn->plan->missed : 0;
    capsule->run_id = rni_run_id(turn->call.run);
    capsule->workers = turn->call.runtime->workers_asked;
    capsule->arg = turn->call.arg;
    capsule->outcome = capsule->part == RNI_PART_FUNCTION ? rni_none() : turn->outcome;
    (void)rn_format(capsule->arg, crash->argument, sizeof crash->argument);
    capsule->argument = crash->argument;
}

/* The lines of the whole error, but for the first one, which is the cause. */
static void describe_error(struct crash *crash, rn_value error) {
    rni_capsule *capsule = &crash->capsule;
    (void)rn_format(rn_error_cause(error), crash->trace_text, sizeof crash->trace_text);
    capsule->cause = rn_error_message(error);
    capsule->trace = crash->trace;
    char *rest = rn_is_error(rn_error_cause(error)) ? crash->trace_text : NULL;
    while (rest && capsule->trace_count < TRACE_LINES) {
        crash->trace[capsule->trace_count++] = rest;
        rest = strchr(rest, '\n');
        if (rest) *rest++ = '\0';
    }
}

/* The time as it is in the capsule, and in the file's name. */
static void describe_time(struct crash *crash, char *short_form, size_t size) {
    struct tm date = {0};
    time_t now = (time_t)(rni_os_wall_now() / RN_SECONDS(1));
    (void)gmtime_r(&now, &date);
    (void)strftime(crash->time, sizeof crash->time, "%Y-%m-%dT%H:%M:%SZ", &date);
    (void)strftime(short_form, size, "%Y%m%dT%H%M%SZ", &date);
    crash->capsule.time = crash->time;
}

static void name_file(struct crash *crash, const char *date) {
    char task[RN_NAME_MAX + 1];
    (void)snprintf(task, sizeof task, "%s", crash->capsule.task);
    for (char *c = task; *c; c++) {
        bool is_plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || *c == '_';
        if (!is_plain && (*c != '.' || c == task)) *c = '_';
    }
    (void)snprintf(crash->name, sizeof crash->name, "%s-%s-%d-%u.capsule", task, date, rni_os_process(),
                   number());
}

static int write_file(const rni_capsules *capsules, const struct crash *crash) {
    size_t length = rni_capsule_encode(&crash->capsule, NULL);
    unsigned char *bytes = length <= RNI_CAPSULE_FILE_MAX ? rni_alloc(length) : NULL;
    if (!bytes) return length <= RNI_CAPSULE_FILE_MAX ? ENOMEM : EFBIG;
    (void)rni_capsule_encode(&crash->capsule, bytes);
    int error = make_file(capsules, bytes, length, crash->name, false);
    rni_free(bytes);
    return error;
}

static void tell(rni_turn *turn, const char *name, const char *folder, int code, rn_value error) {
    char message[RNI_MODULE_PATH_MAX + 512];
    if (code)
        (void)snprintf(message, sizeof message, "task '%s' crashed, and no capsule could be left in %s: %s",
                       rn_name(&turn->call), folder, strerror(code));
    else
        (void)snprintf(message, sizeof message, "task '%s' crashed: 'runium replay %s/%s' runs that again",
                       rn_name(&turn->call), folder, name);
    rn_log_record record = {.size = sizeof record, .level = RN_LOG_WARNING, .message = message, .error = error,
                            .task = rn_name(&turn->call), .run_id = rni_run_id(turn->call.run),
                            .iteration = turn->call.iteration + (turn->stage == RNI_STAGE_FUNCTION)};
    rni_log_record(turn->call.runtime, &record);
}

/* Whether one more is written; says once that there are no more. */
static bool may_leave(rni_capsules *capsules, rn_runtime *runtime) {
    uint32_t before = rni_load_relaxed(&capsules->count);
    if (before <= RN_CAPSULES_MAX) before = rni_add_acq_rel(&capsules->count, 1);
    if (before == RN_CAPSULES_MAX)
        rni_log(runtime, RN_LOG_WARNING, "%u crash capsules are in %s: this runtime writes no more", RN_CAPSULES_MAX,
                capsules->path);
    return before < RN_CAPSULES_MAX;
}

static int leave(const rni_capsules *capsules, struct crash *crash, rni_turn *turn, rn_value error) {
    char date[32];
    crash->capsule = capsules->common;
    if (!describe_function(crash, turn)) return ENOENT; /* its library was unloaded meanwhile */
    describe_run(crash, turn);
    describe_time(crash, date, sizeof date);
    describe_error(crash, error);
    name_file(crash, date);
    return write_file(capsules, crash);
}

void rni_capsule_leave(const struct rni_processes *processes, rni_turn *turn, rn_value error) {
    rni_capsules *capsules = processes->capsules;
    if (!capsules || rn_error_code(error) != RN_CRASHED || !may_leave(capsules, turn->call.runtime)) return;
    struct crash *crash = rni_alloc_zeroed(sizeof *crash); /* large for a stack */
    int code = crash ? leave(capsules, crash, turn, error) : ENOMEM;
    tell(turn, crash ? crash->name : "", capsules->path, code, error);
    rni_free(crash);
}
