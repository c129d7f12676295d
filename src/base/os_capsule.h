/*
 * Files in a folder, and what of a process a crash capsule keeps: the limits it has, and how a program is executed as
 * it was then. Functions that can be refused return 0 or an errno.
 */
#ifndef RNI_BASE_OS_CAPSULE_H
#define RNI_BASE_OS_CAPSULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Opens a folder, and says where it is from the root on. ENAMETOOLONG: `whole` is too short for that. */
int rni_os_open_folder(const char *path, int *folder, char *whole, size_t size);

/* A new file for this user alone; never one that is there, nor what a link points at. */
int rni_os_make_file(int folder, const char *name, int *file);
int rni_os_write_file(int file, const void *bytes, size_t length);
int rni_os_rename_file(int folder, const char *from, const char *to); /* EEXIST: `to` is there, and stays */
void rni_os_remove_file(int folder, const char *name);

/* A whole regular file into fresh memory: rni_free() it. EFBIG: it is longer than `most`. */
int rni_os_read_file(const char *path, size_t most, unsigned char **bytes, size_t *length);

/* The path from the root on, without links. */
int rni_os_whole_path(const char *path, char *whole, size_t size);
int rni_os_current_folder(char *path, size_t size);

/* Limits of this process, as its user may change them; UINT64_MAX: none. */
#define RNI_OS_LIMITS 6u
uint64_t rni_os_limit(unsigned number); /* address space, data, file size, locked memory, descriptors, stack */

/* Executes another program in the place of this one, with every signal at its default and none blocked. It returns only
 * if it is refused; the folder, the limits and the signals are the new ones then. */
typedef struct rni_os_execution {
    const char *program, *folder;
    char *const *arguments, *const *environment;
    const uint64_t *limits; /* RNI_OS_LIMITS of them; where more is asked for than is allowed it is what is allowed */
    const char *refused;    /* set: which of the two paths it was */
} rni_os_execution;
int rni_os_execute(rni_os_execution *execution);
int rni_os_may_execute(const char *program);

void rni_os_end_input(void); /* the standard input is /dev/null from now on */

#endif
