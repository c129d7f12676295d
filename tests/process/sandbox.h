/*
 * P18: what a worker process in a sandbox must not do, and what it must still be able to do. Each act is a function that
 * is performed by a task: 0, or the errno with which it was refused. The host and its workers, which are this program
 * started again, share the scene.
 */
#ifndef SANDBOX_H
#define SANDBOX_H

#include <stdbool.h>
#include <sys/types.h>

enum { SCENE_PATH = 300, PATH_ROOM = 2 * SCENE_PATH };

struct scene {
    pid_t target;  /* whom the acts are against: the host; where they are not refused, a process that nobody needs */
    pid_t zygote;
    int signal;    /* that is sent to it: where signals are not refused, none */
    long word;     /* the target may have it at the same address: it is written to by other processes */
    char readable[SCENE_PATH];  /* folders */
    char writable[SCENE_PATH];
    char outside[SCENE_PATH];
    char program[SCENE_PATH];   /* to execute: where that is not refused, there is none */
    char plugin[SCENE_PATH];    /* a library */
    int port;                   /* somebody listens there, on 127.0.0.1 */
};

extern struct scene *scene;
bool make_scene(void);

struct act {
    const char *name;
    int (*perform)(void);
};

extern const struct act forbidden_acts[], allowed_acts[], network_acts[], process_acts[];
extern const unsigned forbidden_count, allowed_count, network_count, process_count;

/* sandbox_acts.c */
void path_in(char path[PATH_ROOM], const char *folder, const char *name);
int result_of(long result); /* errno if it is negative */
int close_result(int fd);   /* likewise; what was opened is closed */

#endif
