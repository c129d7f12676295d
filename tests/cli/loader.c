/*
 * Loads a library when it is at work already, and calls it: loader LIBRARY FOLDER
 */
#include <dlfcn.h>
#include <stdio.h>

int main(int count, char **words) {
    void *library = count == 3 ? dlopen(words[1], RTLD_NOW) : NULL;
    int (*crash)(const char *folder) = NULL;
    if (library) *(void **)&crash = dlsym(library, "crash_in_plugin");
    if (crash) return crash(words[2]);
    const char *reason = dlerror();
    printf("%s\n", reason ? reason : "two words are wanted");
    return 1;
}
