/*
 * Crash capsules: files from which an iteration or a hook that took its worker process with it can be run again.
 *
 * The host writes one when it has buried the process (capsule.c). `runium replay` executes the program that the capsule
 * names, which is taken over before main() and runs that function or hook once more, in its own process (replay.c).
 *
 * A capsule is text: a first line, then lines `name: value`, each of the names below once and in this order, lines
 * `trace: ...` and `variable: NAME=value`, `values: LENGTH`, an empty line; and then so many bytes, the argument and, where a hook
 * crashed, the outcome that it was given (value/wire.h; but a buffer is its kind, 8 bytes length, and its bytes). In a value each byte below 0x20, 0x7f and the backslash is
 * written as \xHH. Numbers are decimal, without leading zeros; the largest one is `unlimited`. There is one text of
 * each capsule, and the decoder (capsule_text.c) is total: any bytes give a capsule, or an error that says in which
 * line something is wrong and what is accepted.
 */
#ifndef RNI_PROCESS_CAPSULE_H
#define RNI_PROCESS_CAPSULE_H

#include <runium.h>

#include "base/elf.h"
#include "base/os_capsule.h"
#include "core/turn.h"

#define RNI_CAPSULE_FIRST_LINE "runium capsule 1"
#define RNI_CAPSULE_FILE_MAX ((size_t)1 << 30) /* bytes: what would be longer is not written */
#define RNI_REPLAY_VARIABLE "RUNIUM_REPLAY"      /* "same:" or "any:" build, and the file */

/* What crashed. */
enum rni_part { RNI_PART_FUNCTION, RNI_PART_ON_ITER, RNI_PART_ON_SUCCESS, RNI_PART_ON_ERROR, RNI_PART_ON_FINISHED };

typedef struct rni_capsule {
    const char *task;     /* its name */
    uint64_t part;        /* enum rni_part */
    uint64_t iteration, times, every, missed, run_id;
    const char *time;     /* of the crash, for people; as the next two */
    const char *cause;
    const char *argument;
    const char *file;     /* that the function is in; "": the program */
    rni_elf_id file_id;
    uint64_t offset;      /* in it */
    const char *symbol;   /* the function's name; "": unknown */
    const char *program;
    rni_elf_id program_id;
    const char *name;     /* its argv[0]: a worker process has no other arguments */
    const char *library;  /* that Runium is in; "": the program */
    const char *folder;   /* it worked in */
    uint64_t workers;     /* of the runtime */
    uint64_t limits[RNI_OS_LIMITS];
    char **trace;         /* what the error says besides the cause; a line each, for people */
    size_t trace_count;
    char **variables;     /* ends with NULL */
    size_t variable_count;
    rn_value arg, outcome; /* outcome: none if the function crashed */
    void *memory;          /* that it lies in, if it was read */
} rni_capsule;

const char *rni_part_name(uint64_t part);

/* How many bytes it takes; writes them if `bytes` is not NULL. Borrows the values, which must be portable. */
size_t rni_capsule_encode(const rni_capsule *capsule, unsigned char *bytes);

/* None: *capsule is whole, and to be freed. Or the error. */
rn_value rni_capsule_decode(const unsigned char *bytes, size_t length, rni_capsule *capsule);
void rni_capsule_free(rni_capsule *capsule);

/* The host's side. */
typedef struct rni_capsules rni_capsules;
struct rni_processes;

/* .capsules of a runtime, before its first worker process. NULL is not an error: none are written. */
rn_value rni_capsules_open(const char *folder, rni_capsules **capsules);
void rni_capsules_close(rni_capsules *capsules);
void rni_capsules_forget(const rni_capsules *capsules); /* in a forked child: all but the memory */

/* The thread of the turn: its process died, with that error, in the stage that the turn is in. Writes a capsule if this
 * is a crash and the runtime wants any; what goes wrong is logged. Blocks for as long as the file takes. */
void rni_capsule_leave(const struct rni_processes *processes, rni_turn *turn, rn_value error);

/* The library that this code is in, as in the capsule. In replay.c: so that this file of a static library comes into
 * the program, though nobody calls a constructor. False: it is in no file. */
bool rni_replay_library(char *path, size_t size);

#endif
