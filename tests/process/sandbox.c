/*
 * P18: the sandbox. Every forbidden act is performed twice, by a task of a runtime without a sandbox, which shows that the
 * machine would allow it, and by one in a sandbox, which is refused. Then what is allowed still works, also with .network
 * and .processes; and what .sandbox may be is checked when the runtime opens.
 *
 *     sandbox PLUGIN [--canary] [--as-nobody]     the last line is the figure
 *
 * --as-nobody: as a user without rights. --canary: the sandbox is not entered, and the test must fail.
 */
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <runium.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

struct scene *scene;
static bool is_canary;
static char base[SCENE_PATH - 20];

#define SCENE_VARIABLE "RUNIUM_TEST_SCENE"
#define NOBODY 65534

/* ------------------------------------------------------------------------------------------------
 * The scene
 */
static struct scene *map_scene(int fd) {
    void *memory = mmap(NULL, sizeof *scene, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

/* A worker process is this program, started again: it finds the scene by name. */
__attribute__((constructor)) static void join_scene(void) {
    const char *path = getenv(SCENE_VARIABLE);
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd >= 0) scene = map_scene(fd);
    if (fd >= 0) close(fd);
}

bool make_scene(void) {
    char path[64];
    int fd = memfd_create("scene", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, sizeof *scene) != 0) return false;
    (void)snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)getpid(), fd);
    setenv(SCENE_VARIABLE, path, 1);
    scene = map_scene(fd);
    return scene != NULL;
}

static bool make_file(const char *folder, const char *name) {
    char path[PATH_ROOM];
    path_in(path, folder, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    bool good = fd >= 0 && write(fd, "text", 4) == 4;
    if (fd >= 0) close(fd);
    return good;
}

static bool make_folder(char *path, const char *name) {
    (void)snprintf(path, SCENE_PATH, "%s/%s", base, name);
    return mkdir(path, 0755) == 0;
}

/* Of this program, which belongs to another user than the one that the tests run as, and says so. */
static bool make_set_uid(const char *program) {
    char path[PATH_ROOM], bytes[65536];
    path_in(path, scene->readable, "set-uid");
    int from = open(program, O_RDONLY | O_CLOEXEC), to = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
    ssize_t got = 1;
    while (from >= 0 && to >= 0 && (got = read(from, bytes, sizeof bytes)) > 0)
        if (write(to, bytes, (size_t)got) != got) return false;
    bool good = from >= 0 && to >= 0 && got == 0;
    if (geteuid() == 0) good = good && fchown(to, NOBODY, NOBODY) == 0;
    good = good && fchmod(to, 04755) == 0;
    close(from);
    close(to);
    return good;
}

static bool furnish(void) {
    char link[PATH_ROOM], program[SCENE_PATH] = "";
    const char *const files[] = {"secret", "spare", "to remove", "to move"};
    bool good = readlink("/proc/self/exe", program, sizeof program - 1) > 0;
    (void)snprintf(base, sizeof base, "/tmp/runium-sandbox-XXXXXX");
    good = good && mkdtemp(base) && make_folder(scene->readable, "readable") && make_folder(scene->writable, "writable") &&
           make_folder(scene->outside, "outside");
    for (unsigned i = 0; good && i < sizeof files / sizeof *files; i++) good = make_file(scene->outside, files[i]);
    path_in(link, scene->readable, "link");
    return good && make_file(scene->readable, "file") && make_file(scene->readable, "spare") &&
           symlink("../outside/secret", link) == 0 && make_set_uid(program);
}

static void clear(void) {
    char command[SCENE_PATH + 20];
    (void)snprintf(command, sizeof command, "rm -rf %s", base);
    if (base[0]) check(system(command) == 0, "the folder %s could not be removed", base);
}

/* ------------------------------------------------------------------------------------------------
 * Acts as tasks
 */
static const struct {
    const struct act *acts;
    const unsigned *count;
} lists[] = {{forbidden_acts, &forbidden_count}, {allowed_acts, &allowed_count}, {network_acts, &network_count},
             {process_acts, &process_count}};

enum list { FORBIDDEN, ALLOWED, NETWORK, PROCESSES };

static rn_value perform(rn_call *call) {
    int64_t number = rn_as_int(rn_arg(call));
    return rn_int(lists[number >> 16].acts[number & 0xffff].perform());
}

static rn_value parent_of(rn_call *call) {
    (void)call;
    return rn_int(getppid());
}

/* The errno that it gave; -1: it failed. */
static int ask(rn_runtime *runtime, rn_task_fn *function, int64_t number) {
    rn_future *future = rn_run(runtime, function, .arg = rn_int(number));
    rn_value result = rn_result(future);
    char text[300] = "";
    int answer = rn_kind(result) == RN_INT ? (int)rn_as_int(result) : -1;
    if (answer < 0) rn_format(result, text, sizeof text);
    check(answer >= 0, "act %lld: %s", (long long)number, text);
    rn_release(future);
    return answer;
}

static int act(rn_runtime *runtime, enum list list, unsigned number) {
    return ask(runtime, perform, (int64_t)list << 16 | number);
}

static bool is_refusal(int error) {
    return error == EPERM || error == EACCES || error == ENOSYS || error == EXDEV;
}

static rn_runtime *open_runtime(const rn_sandbox *sandbox) {
    rn_runtime *runtime = rn_open(.executor = RN_PROCESSES, .workers = 1, .sandbox = is_canary ? NULL : sandbox);
    rn_value error = rn_open_error(runtime);
    check(rn_is_none(error), "%s", rn_is_error(error) ? rn_error_message(error) : "");
    return runtime;
}

static void close_runtime(rn_runtime *runtime) { check(rn_close(runtime) == RN_OK, "a runtime did not close"); }

/* ------------------------------------------------------------------------------------------------
 * What is forbidden
 */
static pid_t start_victim(void) {
    pid_t victim = fork();
    if (victim == 0)
        for (;;) pause();
    return victim;
}

static void try_without(pid_t victim, int *answers) {
    rn_runtime *runtime = open_runtime(NULL);
    scene->target = victim;
    scene->zygote = ask(runtime, parent_of, 0);
    scene->signal = 0;
    (void)snprintf(scene->program, sizeof scene->program, "/nowhere/at all");
    for (unsigned i = 0; i < forbidden_count; i++) answers[i] = act(runtime, FORBIDDEN, i);
    if (act(runtime, PROCESSES, 0) == 0) printf("# %s: here no program gains anything\n", process_acts[0].name);
    close_runtime(runtime);
}

/* What was changed is as before. */
static void repair(void) {
    clear();
    check(furnish(), "the folders could not be made: %s", strerror(errno));
}

static void try_within(const rn_sandbox *sandbox, const int *without) {
    rn_runtime *runtime = open_runtime(sandbox);
    pid_t zygote = ask(runtime, parent_of, 0);
    scene->zygote = zygote;
    if (!is_canary) {
        scene->target = getpid();
        scene->signal = SIGKILL;
        (void)snprintf(scene->program, sizeof scene->program, "/bin/true");
    }
    unsigned elsewhere = 0;
    for (unsigned i = 0; i < forbidden_count; i++) {
        int error = act(runtime, FORBIDDEN, i);
        check(is_refusal(error), "%s: %s", forbidden_acts[i].name, error ? strerror(error) : "was done");
        if (is_refusal(without[i])) printf("# %s: refused without a sandbox too (%s)\n", forbidden_acts[i].name, strerror(without[i]));
        elsewhere += is_refusal(without[i]);
        if (!is_refusal(without[i])) proof_case();
    }
    check(forbidden_count - elsewhere >= 30, "only %u acts could be tried", forbidden_count - elsewhere);
    check(ask(runtime, parent_of, 0) == zygote, "the worker has another parent");
    check(kill(zygote, 0) == 0, "the zygote is gone");
    close_runtime(runtime);
}

/* ------------------------------------------------------------------------------------------------
 * What is allowed
 */
static void try_all(rn_runtime *runtime, enum list list) {
    for (unsigned i = 0; i < *lists[list].count; i++) {
        int error = act(runtime, list, i);
        check(error == 0, "%s: %d (%s)", lists[list].acts[i].name, error, strerror(error > 0 && error < 200 ? error : 0));
    }
}

static rn_value make_text(rn_call *call) {
    size_t length = (size_t)rn_as_int(rn_arg(call));
    char *text = calloc(1, length + 1);
    memset(text, 'x', length);
    rn_value value = rn_text(text);
    free(text);
    return value;
}

static rn_value make_inner(rn_call *call) {
    rn_future *inner = rn_run(rn_runtime_of(call), make_text, .arg = rn_int(3 << 20));
    rn_value value = rn_keep(rn_result(inner));
    rn_release(inner);
    return value;
}

static rn_value crash(rn_call *call) {
    (void)call;
    abort();
}

static void try_runtime(rn_runtime *runtime) {
    rn_future *future = rn_run(runtime, make_inner);
    rn_value result = rn_result(future);
    check(rn_kind(result) == RN_TEXT && rn_length(result) == 3 << 20, "a large result of an inner run did not come");
    rn_release(future);
    future = rn_run(runtime, crash, .name = "crash");
    result = rn_result(future);
    check(rn_is_error(result) && rn_error_code(result) == RN_CRASHED && strstr(rn_error_message(result), "SIGABRT"),
          "a crash in a sandbox is not told");
    rn_release(future);
}

static int listener(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool good = fd >= 0 && bind(fd, (struct sockaddr *)&address, size) == 0 && listen(fd, 4) == 0 &&
                getsockname(fd, (struct sockaddr *)&address, &size) == 0;
    check(good, "no listener");
    scene->port = ntohs(address.sin_port);
    return fd;
}

static void try_allowed(const char *const *readable, const char *const *writable) {
    const rn_sandbox plain = {.size = sizeof plain, .read = readable, .write = writable};
    const rn_sandbox network = {.size = sizeof network, .read = readable, .write = writable, .network = true};
    const rn_sandbox processes = {.size = sizeof processes, .read = readable, .write = writable, .processes = true};
    int fd = listener();
    (void)snprintf(scene->program, sizeof scene->program, "/proc/self/exe");
    rn_runtime *runtime = open_runtime(&plain);
    try_all(runtime, ALLOWED);
    try_runtime(runtime);
    close_runtime(runtime);
    runtime = open_runtime(&network);
    try_all(runtime, ALLOWED);
    try_all(runtime, NETWORK);
    close_runtime(runtime);
    runtime = open_runtime(&processes);
    try_all(runtime, ALLOWED);
    try_all(runtime, PROCESSES);
    close_runtime(runtime);
    close(fd);
    proof_case();
}

/* ------------------------------------------------------------------------------------------------
 * What is refused when the runtime opens
 */
static void expect_open(const rn_options *options, int code, const char *part) {
    rn_runtime *runtime = rn_open_with(options);
    rn_value error = rn_open_error(runtime);
    bool good = rn_is_error(error) && rn_error_code(error) == code && strstr(rn_error_message(error), part);
    check(good, "expected %s with \"%s\", got: %s", rn_code_name(code), part, rn_is_error(error) ? rn_error_message(error) : "none");
    rn_close(runtime);
}

static void try_bad_options(void) {
    const char *const missing[] = {"/tmp", "/nowhere/at all", NULL}, *const empty[] = {"", NULL};
    const rn_sandbox no_such_read = {.size = sizeof no_such_read, .read = missing};
    const rn_sandbox no_such_write = {.size = sizeof no_such_write, .write = empty};
    const rn_sandbox small = {.size = 8}, good = {.size = sizeof good};
    rn_options options = {.size = sizeof options, .executor = RN_PROCESSES, .workers = 1, .log = rn_log_nothing};
    options.sandbox = &no_such_read;
    expect_open(&options, RN_INVALID, ".sandbox.read[1] is \"/nowhere/at all\": No such file");
    options.sandbox = &no_such_write;
    expect_open(&options, RN_INVALID, ".sandbox.write[0] is \"\"");
    options.sandbox = &small;
    expect_open(&options, RN_INVALID, "rn_sandbox.size is 8");
    options.sandbox = &good;
    options.executor = RN_THREADS;
    expect_open(&options, RN_INVALID, ".sandbox");
    proof_case();
}

/* A filter that makes the kernel one that has not got this call. In a child. */
static void without_call(void *context) {
    uint32_t number = *(const uint32_t *)context;
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {4, code};
    const rn_sandbox sandbox = {.size = sizeof sandbox};
    const rn_options options = {.size = sizeof options, .executor = RN_PROCESSES, .workers = 1, .sandbox = &sandbox};
    check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0, "no filter");
    expect_open(&options, RN_UNSUPPORTED, number == SYS_seccomp ? "seccomp" : "Landlock");
    if (proof_broken()) _exit(1);
}

static void try_old_kernels(void) {
    uint32_t numbers[] = {SYS_seccomp, 444};
    for (unsigned i = 0; i < 2; i++) {
        struct ending ending = child_run(without_call, &numbers[i], 60);
        check(!ending.hung && ending.status == 0, "a kernel without call %u", numbers[i]);
    }
    proof_case();
}

/* ------------------------------------------------------------------------------------------------ */
static int play(const char *plugin) {
    const char *readable[] = {NULL, NULL, "/proc/self/exe", NULL}, *writable[] = {NULL, NULL};
    int *answers = calloc(forbidden_count, sizeof *answers);
    if (!answers || !make_scene() || !furnish()) return 2;
    (void)snprintf(scene->plugin, sizeof scene->plugin, "%s", plugin);
    try_old_kernels();
    pid_t victim = start_victim();
    try_without(victim, answers);
    repair();
    readable[0] = scene->readable;
    readable[1] = scene->plugin;
    writable[0] = scene->writable;
    const rn_sandbox sandbox = {.size = sizeof sandbox, .read = readable, .write = writable};
    try_within(&sandbox, answers);
    if (!is_canary) try_bad_options();
    if (!is_canary) try_allowed(readable, writable);
    clear();
    kill(victim, SIGKILL);
    waitpid(victim, NULL, 0);
    free(answers);
    return proof_end("forbidden acts refused, and what is allowed works");
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "--nothing") == 0) return 0;
    if (argc > 1 && strcmp(argv[1], "--is-another-user") == 0) return geteuid() != getuid() ? 0 : 1;
    proof_begin(argc, argv, "P18");
    is_canary = proof_canary;
    guard_against_hang(120);
    if (proof_option("--as-nobody") && geteuid() == 0) {
        if (setresgid(NOBODY, NOBODY, NOBODY) != 0 || setresuid(NOBODY, NOBODY, NOBODY) != 0) return 2;
        prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); /* its own /proc is its own again */
    }
    if (argc < 2) return 2;
    if (access(argv[1], R_OK) != 0) {
        printf("P18: skipped: this user cannot read %s\n", argv[1]);
        return EXIT_SKIPPED;
    }
    return play(argv[1]);
}
