/*
 * Functions in frames: a number for the loaded file, and the offset in it (module.h). Each process numbers the files that
 * it names, and tells the other end of a channel each of them once, ahead of the first frame that needs it.
 */
#ifndef RNI_PROCESS_NAMES_H
#define RNI_PROCESS_NAMES_H

#include "process/frame.h"
#include "process/module.h"

/* A function that was found: it is there as long as nothing is loaded or unloaded. */
typedef struct rni_found {
    uint64_t offset, address;
    uint64_t objects; /* rni_os_objects_now(), 0: nothing was found here */
    uint32_t number;
} rni_found;

/* One end of a channel. */
typedef struct rni_names {
    uint32_t told;      /* how many of this process's files the other end knows */
    uint32_t known;     /* how many of its files we know */
    rni_module *theirs; /* those */
    rni_found found[8]; /* of theirs, by the offset: a function, its hooks, and those of other tasks */
} rni_names;

void rni_names_free(rni_names *names);

/* Looks the function up, so that it can be put. False: it is in no loaded file. 0 is a function too. */
bool rni_names_find(uintptr_t function);

/* The files that the other end does not know yet: after the functions of a frame were found, before they are put. */
void rni_put_files(rni_writer *writer, rni_names *names);
void rni_put_function(rni_writer *writer, uintptr_t function);

void rni_take_files(rni_reader *reader, rni_names *names);

/* Takes a function. None, and *function; or the error that says why it is not here. */
rn_value rni_take_function(rni_reader *reader, rni_names *names, bool may_load, uintptr_t *function);

#endif
