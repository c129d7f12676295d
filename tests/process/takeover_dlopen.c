/*
 * A program that loads the library later, and is not linked to it. In the zygote the library is preloaded, and the
 * environment does not show it.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int mains, constructed;

__attribute__((constructor)) static void construct(void) { constructed++; }

static const char *count(void) {
    static char text[300];
    const char *preload = getenv("LD_PRELOAD");
    (void)snprintf(text, sizeof text, "constructed %d main %d preload %s", constructed, mains, preload ? preload : "-");
    return text;
}

typedef int check_function(const char *(*task)(void), const char *expected);

static check_function *load(const char *path) {
    check_function *check = NULL;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    void *found = library ? dlsym(library, "takeover_check") : NULL;
    if (!found) (void)fprintf(stderr, "%s\n", dlerror());
    memcpy(&check, &found, sizeof check);
    return check;
}

/* Relative to another folder than the one that the program is in by then. */
static check_function *load_relative(char *path) {
    char *name = strrchr(path, '/');
    *name++ = '\0';
    if (chdir(path) != 0) return NULL;
    char relative[300];
    (void)snprintf(relative, sizeof relative, "./%s", name);
    check_function *check = load(relative);
    return chdir("/") == 0 ? check : NULL;
}

int main(int argc, char **argv) {
    mains++;
    if (argc < 2) return 99;
    check_function *check = argc > 2 ? load_relative(argv[1]) : load(argv[1]);
    if (!check || check(count, "constructed 1 main 0 preload -")) return 1;
    setenv("LD_PRELOAD", "/nowhere/none.so", 1); /* the loader complains and goes on */
    return check(count, "constructed 1 main 0 preload /nowhere/none.so");
}
