/*
 * T10, the last part: a plugin that is linked to the shared library is loaded, used and unloaded a
 * thousand times, and a few times more without closing its runtime. This program itself is not linked
 * to the library, so that unloading the plugin drops the last reference to it.
 *
 * usage: t10_dlopen PLUGIN [--canary]
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

#define WARM_UP 50

/* A part of it leaves runtimes open on purpose; what the library holds is T6's to count. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "detect_leaks=0"; }

static const char *plugin;

static bool load_and_use(bool closes, bool unloads) {
    void *handle = dlopen(plugin, RTLD_NOW | RTLD_LOCAL);
    if (!check(handle != NULL, "dlopen: %s", handle == NULL ? dlerror() : ""))
        return false;
    bool (*use)(bool closes);
    *(void **)&use = dlsym(handle, "plugin_use");
    bool good = check(use != NULL && use(closes), "the plugin did not work");
    return unloads ? check(dlclose(handle) == 0, "dlclose: %s", dlerror()) && good : good;
}

/* In a child, because the runtimes that it leaves open stay for the rest of its life. */
static void leave_open(void *context) {
    (void)context;
    uint64_t broken = proof_broken();
    for (int i = 0; i < 8; i++)
        load_and_use(false, true);
    fflush(NULL);
    exit(proof_broken() == broken ? 0 : 1);
}

/* A canary that leaves each runtime open shows that threads which stay are noticed. */
static void load_many(void) {
    uint64_t rounds = proof_canary ? WARM_UP + 20 : proof_amount(1000, 20000) + WARM_UP;
    unsigned threads = 0, maps = 0;
    for (uint64_t i = 0; i < rounds; i++) {
        load_and_use(!(proof_canary && i > WARM_UP), true);
        if (i == WARM_UP) {
            threads = proc_entries("/proc/self/task");
            maps = proc_lines("/proc/self/maps");
        }
        proof_case();
    }
    unsigned threads_now = proc_entries("/proc/self/task"), maps_now = proc_lines("/proc/self/maps");
    check(threads_now == threads, "%u threads after the warm-up, %u at the end", threads, threads_now);
    check(UNDER_TSAN || UNDER_ASAN || maps_now <= maps + 2, "%u maps after the warm-up, %u at the end", maps, maps_now);
    proof_case();
}

int main(int argc, char **argv) {
    char text[40];
    proof_begin(argc, argv, "T10 dlopen");
    guard_against_hang(proof_torture ? 1800 : 240);
    if (argc < 2) {
        puts("usage: t10_dlopen PLUGIN [--canary]");
        return 2;
    }
    plugin = argv[1];
    struct ending ending = child_run(leave_open, NULL, 30);
    check(!ending.hung && WIFEXITED(ending.status) && WEXITSTATUS(ending.status) == 0, "a runtime left open: %s",
          ending_text(ending, text, sizeof text));
    proof_case();
    load_many();
    return proof_end("loads");
}
