/*
 * The replay of a crash capsule: the program that it names, executed with the environment that its workers had, is taken
 * over before main() like the zygote (takeover.c), and runs the function or hook that crashed once more. No process is
 * made, so a debugger has before it what it was started on.
 *
 * What the task asks of its runtime is answered by a runtime of threads that is opened for it: runs that it starts run
 * there, it can wait for them, reports of progress are kept, nobody asks it to stop, and the log goes to stderr.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/os_elf.h"
#include "base/os_process.h"
#include "core/lane.h"
#include "core/run.h"
#include "core/runtime.h"
#include "core/world.h"
#include "process/capsule.h"
#include "process/module.h"
#include "value/value.h"

#define SAME_BUILD "same:"
#define ANY_BUILD "any:"
#define PRELOAD "LD_PRELOAD="
#define END_WAIT RN_SECONDS(5) /* for runs that the task started and left */

bool rni_replay_library(char *path, size_t size) {
    rni_os_object object;
    bool code;
    uintptr_t here = (uintptr_t)&rni_replay_library;
    if (!rni_os_object_of((const void *)here, &object, &code) || strlen(object.path) >= size) return false;
    memcpy(path, object.path, strlen(object.path) + 1);
    return true;
}

/* ------------------------------------------------------------------------------------------------
 * Capsules from files
 */
static rn_value load(const char *file, rni_capsule *capsule) {
    unsigned char *bytes;
    size_t length;
    *capsule = (rni_capsule){.arg = rni_none(), .outcome = rni_none()};
    int error = rni_os_read_file(file, RNI_CAPSULE_FILE_MAX, &bytes, &length);
    if (error) return rn_error(error, "%s cannot be read: %s", file, strerror(error));
    rn_value refusal = rni_capsule_decode(bytes, length, capsule);
    rni_free(bytes);
    if (!rni_is_error(refusal)) return refusal;
    rn_value told = rn_error(rn_error_code(refusal), "%s is no crash capsule: %s", file, rn_error_message(refusal));
    rn_drop(refusal);
    return told;
}

/* Of a file that can be loaded; of length 0: it is none. "": the program. */
static rni_elf_id id_of(const char *path) {
    rni_os_elf_file file;
    if (!rni_os_elf_open(&file, path)) return (rni_elf_id){.length = 0};
    rni_elf_id id = rni_elf_id_of(&file.file);
    rni_os_elf_close(&file);
    return id;
}

static bool is_same(const rni_elf_id *a, const rni_elf_id *b) {
    return a->length == b->length && memcmp(a->bytes, b->bytes, a->length) == 0;
}

/* ------------------------------------------------------------------------------------------------
 * Executing the program
 */
static rn_value check_program(const char *file, const rni_capsule *capsule, bool any_build) {
    int error = rni_os_may_execute(capsule->program);
    if (error) return rn_error(error, "%s cannot be started: %s", capsule->program, strerror(error));
    rni_elf_id id = id_of(capsule->program);
    if (any_build || is_same(&id, &capsule->program_id)) return rni_none();
    return rn_error(RN_INVALID, "%s: %s is another build than the program that crashed", file, capsule->program);
}

static char *join(const char *first, const char *second, const char *third) {
    size_t size = strlen(first) + strlen(second) + strlen(third) + 1;
    char *joined = rni_alloc(size);
    if (joined) (void)snprintf(joined, size, "%s%s%s", first, second, third);
    return joined;
}

static bool is_preload(const char *entry) { return strncmp(entry, PRELOAD, strlen(PRELOAD)) == 0; }

/* As the zygote's: a library that the program loads when it is at work already must be there at its start. */
static char *preload_of(const rni_capsule *capsule) {
    const char *former = "";
    if (!capsule->library[0]) return NULL;
    for (size_t i = 0; i < capsule->variable_count && !former[0]; i++)
        if (is_preload(capsule->variables[i])) former = capsule->variables[i] + strlen(PRELOAD);
    char *libraries = join(capsule->library, former[0] ? ":" : "", former);
    char *entry = libraries ? join(PRELOAD, libraries, "") : NULL;
    rni_free(libraries);
    return entry;
}

struct start {
    char whole[RNI_OS_PATH_MAX + 1]; /* the path of the capsule */
    char *variable, *preload, **environment;
};

static bool prepare(struct start *start, const rni_capsule *capsule, bool any_build) {
    size_t count = 0;
    start->variable = join(RNI_REPLAY_VARIABLE "=", any_build ? ANY_BUILD : SAME_BUILD, start->whole);
    start->preload = preload_of(capsule);
    start->environment = rni_alloc_zeroed((capsule->variable_count + 3) * sizeof(char *));
    if (!start->variable || !start->environment || (capsule->library[0] && !start->preload)) return false;
    for (size_t i = 0; i < capsule->variable_count; i++)
        if (!start->preload || !is_preload(capsule->variables[i])) start->environment[count++] = capsule->variables[i];
    if (start->preload) start->environment[count++] = start->preload;
    start->environment[count] = start->variable;
    return true;
}

static rn_value execute(struct start *start, const rni_capsule *capsule, bool any_build) {
    char *arguments[] = {(char *)(uintptr_t)capsule->name, NULL};
    if (!prepare(start, capsule, any_build)) return rni_error_no_memory();
    rni_os_execution execution = {.program = capsule->program, .folder = capsule->folder, .arguments = arguments,
                                  .environment = start->environment, .limits = capsule->limits};
    int error = rni_os_execute(&execution);
    return rn_error(error, "%s cannot be started: %s: %s", capsule->program, execution.refused, strerror(error));
}

rn_value rn_capsule_replay(const char *file, bool any_build) {
    rni_capsule capsule;
    struct start start = {.whole = ""};
    if (!file) return rn_error(RN_INVALID, "rn_capsule_replay: the file is NULL");
    rn_value error = load(file, &capsule);
    if (rni_is_error(error)) return error;
    int code = rni_os_whole_path(file, start.whole, sizeof start.whole);
    error = code ? rn_error(code, "%s: %s", file, strerror(code)) : check_program(file, &capsule, any_build);
    if (!rni_is_error(error)) error = execute(&start, &capsule, any_build);
    rni_free(start.variable);
    rni_free(start.preload);
    rni_free(start.environment);
    rni_capsule_free(&capsule);
    return error;
}

rn_value rn_capsule_program(const char *file) {
    rni_capsule capsule;
    if (!file) return rn_error(RN_INVALID, "rn_capsule_program: the file is NULL");
    rn_value error = load(file, &capsule);
    if (rni_is_error(error)) return error;
    rn_value program = rn_text(capsule.program);
    rni_capsule_free(&capsule);
    return program;
}

/* ------------------------------------------------------------------------------------------------
 * In the program, before main()
 */
static struct {
    rni_capsule capsule;
    bool any_build;
} replay;

_Noreturn static void give_up(rn_value error) {
    fprintf(stderr, "runium: no replay: %s\n", rn_error_message(error));
    exit(EXIT_FAILURE);
}

/* In another build the function is found by its name. */
static rn_value find_by_name(rni_module *module, uint64_t *offset) {
    const rni_capsule *capsule = &replay.capsule;
    rni_os_elf_file file;
    unsigned found = 0;
    rni_elf_id id = id_of(module->path);
    memcpy(module->id, id.bytes, sizeof module->id);
    module->id_length = id.length;
    if (capsule->symbol[0] && rni_os_elf_open(&file, module->path)) {
        found = rni_elf_function(&file.file, capsule->symbol, offset);
        rni_os_elf_close(&file);
    }
    if (found == 1) return rni_none();
    return rn_error(RN_INVALID, "another build of %s, and it has %s of the name '%s'",
                    module->path[0] ? module->path : "the program", found ? "several functions" : "no function",
                    capsule->symbol);
}

static rn_value find_function(void **function) {
    const rni_capsule *capsule = &replay.capsule;
    rni_module module = {.id_length = capsule->file_id.length};
    uint64_t offset = capsule->offset;
    rn_value error = rni_none();
    (void)snprintf(module.path, sizeof module.path, "%s", capsule->file);
    memcpy(module.id, capsule->file_id.bytes, sizeof module.id);
    rni_elf_id id = id_of(module.path);
    if (replay.any_build && !is_same(&id, &capsule->file_id)) error = find_by_name(&module, &offset);
    return rni_is_error(error) ? error : rni_module_resolve(&module, offset, true, function);
}

static rn_runtime *open_runtime(void) {
    int code;
    rn_runtime *handle = rn_open(.workers = (unsigned)replay.capsule.workers, .name = "replay");
    if (rn_is_error(rn_open_error(handle))) give_up(rn_open_error(handle));
    return rni_runtime_of(handle, "replay", &code);
}

/* As in a worker process: a run that nothing waits for, with what the task may ask about it. */
static rni_run *make_run(rn_runtime *runtime) {
    const rni_capsule *capsule = &replay.capsule;
    rni_run *run = rni_run_make(runtime);
    rni_plan *plan = run ? rni_run_add_plan(run, rni_now(runtime)) : NULL;
    if (!plan) give_up(rni_error_no_memory());
    run->function = NULL;
    rni_store_relaxed(&run->origin, NULL);
    rni_store_relaxed(&run->flags, 0);
    plan->times = capsule->times;
    plan->every = (int64_t)capsule->every;
    plan->missed = capsule->missed;
    rni_store_relaxed(&plan->iteration, capsule->iteration);
    rni_plan_set_name(plan, capsule->task);
    rni_completion_init(&run->done, RN_RUNNING | RNI_BEGUN);
    return run;
}

static rn_value call_part(rn_call *call, void *function) {
    rn_value outcome = replay.capsule.outcome;
    bool failed = rni_is_error(outcome);
    rn_value success = failed ? rni_none() : outcome, error = failed ? outcome : rni_none();
    uintptr_t place = (uintptr_t)function;
    switch (replay.capsule.part) {
    case RNI_PART_FUNCTION: return ((rn_task_fn *)place)(call);
    case RNI_PART_ON_SUCCESS: return ((rn_success_fn *)place)(call, outcome);
    case RNI_PART_ON_ERROR: return ((rn_error_fn *)place)(call, outcome);
    default: return ((rn_outcome_fn *)place)(call, success, error);
    }
}

static rn_value run_part(rn_runtime *runtime, void *function) {
    const rni_capsule *capsule = &replay.capsule;
    rni_thread *self = rni_thread_get();
    if (!self) give_up(rni_error_no_memory());
    rn_call call = {.runtime = runtime, .run = make_run(runtime), .iteration = capsule->iteration,
                    .run_id = capsule->run_id, .arg = capsule->arg, .wait_error = rni_none()};
    call.hook = capsule->part == RNI_PART_FUNCTION ? "" : rni_part_name(capsule->part);
    self->call = &call;
    rn_value value = call_part(&call, function);
    self->call = NULL;
    if (rni_is_error(value)) value = rni_error_stamp(value, capsule->task, call.hook, capsule->iteration);
    rni_drop(call.wait_error);
    rni_run_free(call.run);
    return value;
}

static void print(rn_value value) {
    const rni_capsule *capsule = &replay.capsule;
    size_t size = rn_format(value, NULL, 0) + 1;
    char *text = rni_alloc(size);
    if (!text) give_up(rni_error_no_memory());
    (void)rn_format(value, text, size);
    fflush(stdout);
    printf("%s, iteration %llu: %s returned %s\n", capsule->task, (unsigned long long)capsule->iteration,
           rni_part_name(capsule->part), text);
    rni_free(text);
}

/* In the place of main(). */
static void run(void) {
    void *function = NULL;
    rn_value error = find_function(&function);
    if (rni_is_error(error)) give_up(error);
    rni_os_end_input();
    rn_runtime *runtime = open_runtime();
    rn_value value = run_part(runtime, function);
    (void)rn_close(rni_runtime_handle(runtime), .how = RN_STOP, .within = END_WAIT);
    print(value);
    bool failed = rni_is_error(value);
    rni_drop(value);
    rni_capsule_free(&replay.capsule);
    exit(failed ? EXIT_FAILURE : EXIT_SUCCESS);
}

/* ------------------------------------------------------------------------------------------------
 * The constructor
 */
static const char *variable(void) {
    static const char name[] = RNI_REPLAY_VARIABLE "=";
    for (char **entry = rni_os_environment(); entry && *entry; entry++)
        if (strncmp(*entry, name, sizeof name - 1) == 0) return *entry + sizeof name - 1;
    return NULL;
}

/* The variables are those that the workers had. */
static void restore_environment(const rni_capsule *capsule) {
    char **to = rni_os_environment(), *former = NULL;
    for (size_t i = 0; i < capsule->variable_count && !former; i++)
        if (is_preload(capsule->variables[i])) former = capsule->variables[i];
    for (char **entry = to; *entry; entry++) {
        bool is_ours = strncmp(*entry, RNI_REPLAY_VARIABLE "=", sizeof RNI_REPLAY_VARIABLE) == 0;
        if (is_preload(*entry) && capsule->library[0]) is_ours = !former, *entry = former;
        if (!is_ours) *to++ = *entry;
    }
    *to = NULL;
}

/* A shell or a debugger on the way to the program may have the variable too. */
static bool is_meant(const rni_capsule *capsule) {
    char path[RNI_OS_PATH_MAX + 1];
    rni_os_program_path(path, sizeof path);
    return strcmp(path, capsule->program) == 0;
}

static rni_os_constructor take_over;

/* Listed by hand, ahead of the program's own, see takeover.c. */
static rni_os_constructor *entry __attribute__((section(".init_array.00101"), used)) = take_over;

static void take_over(int argc, char **argv, char **environment) {
    (void)argc, (void)argv, (void)environment;
    const char *text = variable();
    if (!text || rni_os_has_more_rights()) return;
    replay.any_build = strncmp(text, ANY_BUILD, strlen(ANY_BUILD)) == 0;
    const char *colon = strchr(text, ':');
    rn_value error = load(colon ? colon + 1 : text, &replay.capsule);
    if (rni_is_error(error)) give_up(error);
    if (!is_meant(&replay.capsule)) {
        rni_capsule_free(&replay.capsule);
        return;
    }
    restore_environment(&replay.capsule);
    int code = rni_os_instead_of_main(run, &entry);
    if (code) give_up(rn_error(RN_UNSUPPORTED, "the program cannot be taken over: %s", strerror(code)));
}
