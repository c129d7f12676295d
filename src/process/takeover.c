/*
 * The program, started again by rni_zygote_start(), becomes the zygote: a constructor of ours sees the variable that the
 * host set, removes its traces, and has the zygote's loop run after the last constructor in place of main().
 *
 * The zygote has one thread and waits for four things: calls of the host; the host's end (its pidfd, as another process
 * may hold copies of its sockets); the end of a child; and, when the host does not read its news, room for the next.
 * A worker is reaped after its end was told, so its number is its own for as long as it is in the table.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/os_crash.h"
#include "base/os_shared.h"
#include "process/zygote.h"
#include "value/value.h"

struct worker {
    int pid;
    uint32_t number;
};

static struct zygote {
    int calls, news, host, children; /* descriptors */
    uint64_t cookie;
    bool news_wait; /* for room */
    struct worker *workers;
    uint32_t count, room;
} zygote;

/* ------------------------------------------------------------------------------------------------
 * Workers
 */
static struct worker *worker_of(int pid) {
    for (uint32_t i = 0; i < zygote.count; i++)
        if (zygote.workers[i].pid == pid) return &zygote.workers[i];
    return NULL;
}

static bool make_room(void) {
    if (zygote.count < zygote.room) return true;
    uint32_t room = zygote.room ? 2 * zygote.room : 16;
    struct worker *workers = rni_alloc(room * sizeof *workers);
    if (!workers) return false;
    if (zygote.count > 0) memcpy(workers, zygote.workers, zygote.count * sizeof *workers);
    rni_free(zygote.workers);
    zygote.workers = workers;
    zygote.room = room;
    return true;
}

_Noreturn static void become_worker(int *fds, uint32_t count) {
    rni_os_close(zygote.calls);
    rni_os_close(zygote.news);
    rni_os_close(zygote.host);
    rni_os_close(zygote.children);
    rni_os_settle_fds(fds, count);
    rni_free(zygote.workers);
    zygote = (struct zygote){-1, -1, -1, -1, 0, false, NULL, 0, 0};
    rni_worker_process(fds, count);
}

static int spawn(uint32_t number, int *fds, uint32_t count, int *pidfd) {
    if (rni_os_thread_count() != 1) return EDEADLK; /* another thread's locks would stay locked in the worker */
    if (!make_room()) return ENOMEM;
    int pid = rni_os_fork(pidfd);
    if (pid == 0) become_worker(fds, count);
    if (pid < 0) return -pid;
    zygote.workers[zygote.count++] = (struct worker){pid, number};
    return 0;
}

static void answer(uint32_t number, int error, int pidfd) {
    rni_zygote_packet packet = {.word = error ? RNI_ZYGOTE_REFUSED : RNI_ZYGOTE_SPAWNED, .number = number, .value = error};
    if (!error) packet.value = zygote.workers[zygote.count - 1].pid;
    (void)rni_os_send_packet(zygote.calls, &packet, sizeof packet, &pidfd, error ? 0 : 1, true);
}

/* Its number is its own: it is not reaped yet. */
static void enter(uint32_t number, int error, const int *files, uint32_t count) {
    rni_zygote_packet packet = {.word = RNI_ZYGOTE_ENTERED, .number = number, .value = error ? error : ESRCH};
    for (uint32_t i = 0; i < zygote.count && !error && count == 1; i++)
        if (zygote.workers[i].number == number) packet.value = rni_os_write_number(files[0], zygote.workers[i].pid);
    (void)rni_os_send_packet(zygote.calls, &packet, sizeof packet, NULL, 0, true);
}

static void signal_worker(uint32_t number, int signal) {
    for (uint32_t i = 0; i < zygote.count; i++)
        if (zygote.workers[i].number == number) rni_os_signal_group(zygote.workers[i].pid, signal);
}

/* ------------------------------------------------------------------------------------------------
 * Ends
 */
static bool tell(const struct worker *worker, const rni_os_ended *ended) {
    rni_zygote_packet packet = {.word = RNI_ZYGOTE_ENDED, .number = worker->number, .value = ended->status,
                                .peak_bytes = ended->peak_bytes, .cpu_ns = ended->cpu_ns,
                                .cpu_limit_s = ended->cpu_limit_s};
    zygote.news_wait = rni_os_send_packet(zygote.news, &packet, sizeof packet, NULL, 0, false) == EAGAIN;
    return !zygote.news_wait;
}

/* False: it stays unreaped until there is room for its news. Children that are no workers are constructors'. */
static bool bury(const rni_os_ended *ended) {
    struct worker *worker = worker_of(ended->pid);
    if (worker) {
        rni_os_kill_group(ended->pid);
        if (!tell(worker, ended)) return false;
        *worker = zygote.workers[--zygote.count];
    }
    rni_os_reap(ended->pid);
    return true;
}

static void bury_all(void) {
    rni_os_ended ended;
    while (rni_os_next_ended(&ended, false) && bury(&ended)) {}
}

_Noreturn static void end_zygote(void) {
    for (uint32_t i = 0; i < zygote.count; i++) rni_os_kill_group(zygote.workers[i].pid);
    rni_os_ended ended;
    while (zygote.count > 0 && rni_os_next_ended(&ended, true)) {
        struct worker *worker = worker_of(ended.pid);
        if (worker) *worker = zygote.workers[--zygote.count];
        rni_os_reap(ended.pid);
    }
    rni_os_end_process(0);
}

/* ------------------------------------------------------------------------------------------------
 * The loop
 */
static void serve_spawn(const rni_zygote_packet *packet, int error, int *fds, uint32_t count) {
    int pidfd = -1;
    if (!error) error = spawn(packet->number, fds, count, &pidfd);
    answer(packet->number, error, pidfd);
    rni_os_close(pidfd);
}

static void serve(void) {
    rni_zygote_packet packet;
    int fds[RNI_WORKER_FDS_MAX];
    uint32_t count = RNI_WORKER_FDS_MAX;
    int error = rni_os_receive_packet(zygote.calls, &packet, sizeof packet, fds, &count);
    if (error == EAGAIN) return;
    if ((error && error != EMFILE) || packet.word == RNI_ZYGOTE_STOP) end_zygote();
    if (packet.word == RNI_ZYGOTE_SPAWN) serve_spawn(&packet, error, fds, count);
    if (packet.word == RNI_ZYGOTE_ENTER) enter(packet.number, error, fds, count);
    if (packet.word == RNI_ZYGOTE_SIGNAL) signal_worker(packet.number, packet.value);
    for (uint32_t i = 0; i < count; i++) rni_os_close(fds[i]);
}

_Noreturn static void loop(void) {
    enum { CALLS = 1, HOST = 2, CHILDREN = 4, NEWS = 8 };
    for (;;) {
        const int polled[] = {zygote.calls, zygote.host, zygote.children, zygote.news_wait ? zygote.news : -1};
        uint32_t ready = rni_os_poll_some(polled, 4, NEWS, -1);
        if (ready & HOST) end_zygote();
        if (ready & CHILDREN) rni_os_lower_children(zygote.children);
        if (ready & (CHILDREN | NEWS)) bury_all();
        if (ready & CALLS) serve();
    }
}

/* ------------------------------------------------------------------------------------------------
 * Becoming the zygote
 */
bool rni_zygote_build(rni_zygote_packet *packet, rni_os_object *object) {
    bool code;
    uintptr_t here = (uintptr_t)&rni_zygote_build;
    if (!rni_os_object_of((const void *)here, object, &code)) return false;
    packet->offset = here - object->base;
    packet->id_length = object->id.length;
    memcpy(packet->id, object->id.bytes, sizeof packet->id);
    return true;
}

_Noreturn static void fail(enum rni_zygote_step step, int value) {
    rni_zygote_packet packet = {
        .word = RNI_ZYGOTE_FAILED, .number = (uint32_t)step, .value = value, .cookie = zygote.cookie};
    (void)rni_os_send_packet(zygote.calls, &packet, sizeof packet, NULL, 0, true);
    rni_os_end_process(1);
}

static void take_begin(void) {
    rni_zygote_packet packet;
    int fds[2] = {-1, -1};
    uint32_t count = 2;
    int error = rni_os_receive_packet(zygote.calls, &packet, sizeof packet, fds, &count);
    if (error || count != 2) fail(RNI_ZYGOTE_SYSTEM, error ? error : EPROTO);
    zygote.news = fds[0];
    zygote.host = fds[1];
}

static void say_up(void) {
    rni_zygote_packet packet = {
        .word = RNI_ZYGOTE_UP, .number = (uint32_t)rni_os_process(), .cookie = zygote.cookie};
    rni_os_object object;
    (void)rni_zygote_build(&packet, &object); /* what is not filled in is not the host's build */
    (void)rni_os_send_packet(zygote.calls, &packet, sizeof packet, NULL, 0, true);
}

static void begin(void) {
    int parent = rni_os_parent();
    if (!rni_os_die_with(parent, "runium-zygote")) fail(RNI_ZYGOTE_SYSTEM, ESRCH);
    take_begin();
    int error = rni_os_watch_children(&zygote.children);
    if (error) fail(RNI_ZYGOTE_SYSTEM, error);
    unsigned threads = rni_os_thread_count();
    if (threads != 1) fail(RNI_ZYGOTE_THREADS, (int)threads);
    rni_os_continue_on(zygote.calls);
    rni_os_crash_prepare();
    say_up();
    rni_memory_keep(RNI_VALUE_LARGE);
    bury_all(); /* a constructor's child may have ended before anybody watched */
    loop();
}

/* ------------------------------------------------------------------------------------------------
 * The constructor
 */
static const char *value_of(const char *entry, const char *name) {
    size_t length = strlen(name);
    return strncmp(entry, name, length) == 0 && entry[length] == '=' ? entry + length + 1 : NULL;
}

static const char *variable(const char *name) {
    const char *value = NULL;
    for (char **entry = rni_os_environment(); entry && *entry && !value; entry++) value = value_of(*entry, name);
    return value;
}

static void remove_variable(const char *name) {
    char **to = rni_os_environment();
    for (char **entry = to; *entry; entry++)
        if (!value_of(*entry, name)) *to++ = *entry;
    *to = NULL;
}

/* The variables are where they were in the host, and as they were. */
static void restore_environment(void) {
    const char *former = variable(RNI_ZYGOTE_PRELOAD);
    remove_variable(RNI_ZYGOTE_VARIABLE);
    remove_variable(RNI_ZYGOTE_PRELOAD);
    if (!former) return; /* nothing was preloaded */
    if (!former[0]) remove_variable("LD_PRELOAD");
    for (char **entry = rni_os_environment(); *entry; entry++)
        if (value_of(*entry, "LD_PRELOAD")) *entry = (char *)(uintptr_t)former;
}

/* What the variable says must be true: the socket is there, and the host's first packet lies in it. */
static bool is_meant(const char *text) {
    char *end;
    long socket = strtol(text, &end, 10);
    if (*end != ':' || socket <= 2 || socket > INT32_MAX) return false;
    zygote.calls = (int)socket;
    zygote.cookie = strtoull(end + 1, &end, 16);
    rni_zygote_packet packet;
    return *end == '\0' && rni_os_is_packet_socket(zygote.calls) &&
           rni_os_peek_packet(zygote.calls, &packet, sizeof packet) == 0 && packet.word == RNI_ZYGOTE_BEGIN &&
           packet.cookie == zygote.cookie;
}

static rni_os_constructor take_over;

/*
 * Listed by hand, ahead of the program's own constructors: the optimiser may merge functions with the attribute
 * `constructor`, and then nobody knows in which entry of the list this one is called.
 */
static rni_os_constructor *entry __attribute__((section(".init_array.00101"), used)) = take_over;

static void take_over(int argc, char **argv, char **environment) {
    (void)argc, (void)argv, (void)environment;
    const char *text = variable(RNI_ZYGOTE_VARIABLE);
    if (!text || rni_os_has_more_rights() || !is_meant(text)) return;
    rni_os_close_on_exec(zygote.calls);
    restore_environment();
    if (rni_os_is_hung_up(zygote.calls)) rni_os_end_process(1); /* the host is gone */
    int error = rni_os_instead_of_main(begin, &entry);
    if (error) fail(error == ENOENT ? RNI_ZYGOTE_LIST : RNI_ZYGOTE_SYSTEM, error);
}
