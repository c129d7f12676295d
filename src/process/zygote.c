/*
 * The host's side of the zygote: starting it, asking it for workers, hearing of their ends (zygote.h).
 */
#include "process/zygote.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/os.h"
#include "base/os_shared.h"

#define STOP_MS 5000
#define LOOK_NS RN_MILLISECONDS(50) /* between two looks whether it is stopped */
#define NOBODY UINT32_MAX           /* a worker's number that none has */
#define PRELOAD "LD_PRELOAD="

static const rni_zygote no_zygote = {.socket = -1, .calls = -1, .program = {NULL, -1}};

/* ------------------------------------------------------------------------------------------------
 * What it is started with
 */
struct start {
    rni_zygote *zygote;
    rni_zygote_packet build; /* this code's, with the cookie */
    char library[RNI_OS_PATH_MAX + 1]; /* that this code is in; "": the program */
    char **environment;
    int calls, news;         /* the zygote's ends */
};

static bool has_name(const char *entry, const char *name) {
    size_t length = strlen(name);
    return strncmp(entry, name, length) == 0 && entry[length] == '=';
}

static size_t count_entries(char **entries) {
    size_t count = 0;
    while (entries && entries[count]) count++;
    return count;
}

static const char *former_preload(char **entries, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (has_name(entries[i], "LD_PRELOAD")) return entries[i];
    return "";
}

/* The host's entries. `preload`, if there is one, takes the place of LD_PRELOAD. */
static size_t copy_entries(char **to, char **entries, size_t count, char *preload) {
    size_t copied = 0;
    bool placed = !preload;
    for (size_t i = 0; i < count; i++) {
        if (preload && has_name(entries[i], "LD_PRELOAD")) {
            if (!placed) to[copied++] = preload;
            placed = true;
        } else {
            to[copied++] = entries[i];
        }
    }
    if (!placed) to[copied++] = preload;
    return copied;
}

static char *print_entry(char **text, const char *end, const char *name, const char *value, const char *more) {
    char *entry = *text;
    int length = snprintf(entry, (size_t)(end - entry), "%s=%s%s%s", name, value, more[0] ? ":" : "", more);
    *text += length + 1;
    return entry;
}

/* One block: the array, then the entries that are not the host's. */
static bool make_environment(struct start *start) {
    char **entries = rni_os_environment(), cookie[32];
    size_t count = count_entries(entries), array_size = (count + 4) * sizeof *entries;
    const char *former = former_preload(entries, count);
    size_t text_size = sizeof RNI_ZYGOTE_VARIABLE RNI_ZYGOTE_PRELOAD PRELOAD + sizeof cookie + strlen(start->library) +
                       2 * strlen(former) + 8;
    char **made = rni_alloc(array_size + text_size);
    if (!made) return false;
    char *text = (char *)made + array_size, *end = text + text_size, *preload = NULL;
    if (start->library[0])
        preload = print_entry(&text, end, "LD_PRELOAD", start->library, former[0] ? former + strlen(PRELOAD) : "");
    size_t next = copy_entries(made, entries, count, preload);
    (void)snprintf(cookie, sizeof cookie, "%d:%016" PRIx64, RNI_OS_PROGRAM_SOCKET, start->build.cookie);
    made[next++] = print_entry(&text, end, RNI_ZYGOTE_VARIABLE, cookie, "");
    if (preload) made[next++] = print_entry(&text, end, RNI_ZYGOTE_PRELOAD, former, "");
    made[next] = NULL;
    start->environment = made;
    return true;
}

/* Such a program, which was not stopped, must not start the next in turn. */
static bool is_astray(void) {
    char **entries = rni_os_environment();
    size_t count = count_entries(entries);
    for (size_t i = 0; i < count; i++)
        if (has_name(entries[i], RNI_ZYGOTE_VARIABLE)) return true;
    return false;
}

/* Whether a program started from this one's file would come into our hands, and not go on to its main(). */
static rn_value check_program(struct start *start) {
    rni_os_object object;
    if (!rni_zygote_build(&start->build, &object))
        return rn_error(RN_UNSUPPORTED, "no worker processes: the library's code is in no file that can be loaded");
    memcpy(start->library, object.path, sizeof start->library);
    if (is_astray())
        return rn_error(RN_UNSUPPORTED, "no worker processes: this is the program that was started again to make them, "
                                        "and it was not taken over");
    if (rni_os_gains_rights())
        return rn_error(RN_UNSUPPORTED, "no worker processes: the program's file gives it rights (set-uid, set-gid or "
                                        "capabilities), so it cannot be started again as it is");
    if (!start->library[0]) return rn_none();
    if (strpbrk(start->library, " :"))
        return rn_error(RN_UNSUPPORTED, "no worker processes: LD_PRELOAD cannot name %s, with a space or a colon in it",
                        start->library);
    if (!rni_os_is_readable(start->library))
        return rn_error(RN_UNSUPPORTED, "no worker processes: the library's file %s is gone", start->library);
    return rn_none();
}

/* ------------------------------------------------------------------------------------------------
 * Starting it
 */
static rn_value refused(const char *what, int error) {
    return rn_error(error == ENOMEM ? RN_NO_MEMORY : RN_NO_PROCESSES, "no worker processes: %s: %s", what,
                    strerror(error));
}

/* The zygote's end of the news and the host's pidfd lie in the socket before the zygote is there. */
static rn_value say_begin(struct start *start) {
    rni_zygote_packet packet = {.word = RNI_ZYGOTE_BEGIN, .cookie = start->build.cookie};
    int fds[2] = {start->news, -1};
    int error = rni_os_open_self(&fds[1]);
    if (error) return refused("no pidfd", error);
    error = rni_os_send_packet(start->zygote->calls, &packet, sizeof packet, fds, 2, false);
    rni_os_close(fds[1]);
    return error ? refused("no packet could be sent", error) : rn_none();
}

static rn_value open_sockets(struct start *start) {
    int calls[2], news[2];
    if (!rni_os_socket_pair(calls)) return refused("no socket", errno);
    start->zygote->calls = calls[0];
    start->calls = calls[1];
    if (!rni_os_socket_pair(news)) return refused("no socket", errno);
    start->zygote->socket = news[0];
    start->news = news[1];
    return say_begin(start);
}

static rn_value start_program(struct start *start) {
    char *arguments[] = {(char *)(uintptr_t)rni_os_program_name(), NULL};
    if (!make_environment(start)) return rn_error(RN_NO_MEMORY, "no memory for an environment");
    int error = rni_os_program_start(&start->zygote->program, arguments, start->environment, start->calls);
    rni_free(start->environment);
    return error ? refused("the program cannot be started again", error) : rn_none();
}

static rn_value ended_early(rni_zygote *zygote) {
    int status = rni_os_program_reap(&zygote->program);
    char how[64] = "ended";
    if (status >= 0 && (status & 0x7f)) (void)snprintf(how, sizeof how, "was ended by signal %d", status & 0x7f);
    else if (status >= 0) (void)snprintf(how, sizeof how, "ended with exit status %d", status >> 8 & 0xff);
    return rn_error(RN_NO_PROCESSES, "no worker processes: the program, started again to make them, %s before it could "
                                     "be taken over: in the loader or a constructor, or because it is not this program "
                                     "that /proc/self/exe names", how);
}

static rn_value too_late(rni_zygote *zygote) {
    rni_os_program_kill(&zygote->program);
    return rn_error(RN_NO_PROCESSES, "no worker processes: the program, started again to make them, was not up after %d "
                                     "seconds: a constructor takes too long, or the library is not loaded at its start",
                    (int)(RNI_ZYGOTE_START_NS / RN_SECONDS(1)));
}

static rn_value failed(const rni_zygote_packet *packet) {
    if (packet->number == RNI_ZYGOTE_LIST)
        return rn_error(RN_UNSUPPORTED, "no worker processes: the program has no list of constructors (DT_INIT_ARRAY)");
    if (packet->number == RNI_ZYGOTE_THREADS)
        return rn_error(RN_UNSUPPORTED, "no worker processes: %d threads run after the program's constructors, where "
                                        "there must be one to fork safely", packet->value);
    return refused("the zygote could not begin", packet->value);
}

static bool is_same_build(const rni_zygote_packet *a, const rni_zygote_packet *b) {
    return a->offset == b->offset && a->id_length == b->id_length && memcmp(a->id, b->id, sizeof a->id) == 0;
}

static rn_value judge(const struct start *start, const rni_zygote_packet *packet) {
    if (packet->cookie != start->build.cookie) return rn_error(RN_NO_PROCESSES, "no worker processes: a strange answer");
    if (packet->word == RNI_ZYGOTE_FAILED) return failed(packet);
    if (packet->word != RNI_ZYGOTE_UP || !is_same_build(packet, &start->build))
        return rn_error(RN_NO_PROCESSES, "no worker processes: the library's file is another build than the one loaded");
    start->zygote->pid = (int)packet->number;
    return rn_none();
}

/* Waits for a packet on `calls`. 0; EPIPE: the zygote is gone; ETIMEDOUT; or what rni_os_receive_packet() gives. */
static int await_packet(rni_zygote *zygote, rni_zygote_packet *packet, int *fds, uint32_t *count, int64_t deadline_ns) {
    const int polled[] = {zygote->calls, zygote->program.pidfd};
    uint32_t room = *count;
    for (;;) {
        int64_t left_ns = deadline_ns - rni_os_now();
        if (left_ns <= 0) return ETIMEDOUT;
        uint32_t ready = rni_os_poll_some(polled, 2, 0, (int)(left_ns / 1000000) + 1);
        *count = room;
        int error = rni_os_receive_packet(zygote->calls, packet, sizeof *packet, fds, count);
        if (error != EAGAIN) return error;
        if (ready & 2) return EPIPE; /* another process may still have its end */
    }
}

static rn_value await_up(struct start *start) {
    rni_zygote_packet packet;
    uint32_t count = 0;
    int error = await_packet(start->zygote, &packet, NULL, &count, rni_os_now() + RNI_ZYGOTE_START_NS);
    if (error == 0) return judge(start, &packet);
    return error == EPIPE ? ended_early(start->zygote) : too_late(start->zygote);
}

/* What was begun is undone by rni_zygote_stop(), which takes a zygote in any state. */
rn_value rni_zygote_start(rni_zygote *zygote) {
    *zygote = no_zygote;
    struct start start = {.zygote = zygote, .calls = -1, .news = -1};
    rn_value error = check_program(&start);
    start.build.cookie = rni_os_random();
    if (!rn_is_error(error)) error = open_sockets(&start);
    if (!rn_is_error(error)) error = start_program(&start);
    rni_os_close(start.calls);
    rni_os_close(start.news);
    if (!rn_is_error(error)) error = await_up(&start);
    if (rn_is_error(error)) rni_zygote_stop(zygote);
    return error;
}

/* ------------------------------------------------------------------------------------------------
 * Workers
 */
static int refuse(rni_zygote *zygote, int error) {
    zygote->refusal = error;
    return RN_NO_PROCESSES;
}

/* A zygote that does not answer is of no more use, and its answer would be taken for another's. One that is gone is
 * left alone: its keeper ends what it has left behind. */
static int give_up(rni_zygote *zygote, int error) {
    if (error != EPIPE) rni_os_program_kill(&zygote->program);
    return RN_CLOSED;
}

/* It may be stopped after the call came, which made it go on. */
static int await_answer(rni_zygote *zygote, rni_zygote_packet *packet, int *fd, uint32_t *count) {
    int64_t began = rni_os_now(), now = began;
    for (;;) {
        *count = 1;
        int error = await_packet(zygote, packet, fd, count, now + LOOK_NS);
        now = rni_os_now();
        if (error != ETIMEDOUT || now - began >= RNI_ZYGOTE_START_NS) return error;
        if (rni_zygote_is_stuck(zygote)) return error;
    }
}

static int take_worker(rni_zygote *zygote, uint32_t asked, int *pidfd) {
    rni_zygote_packet packet = {.word = 0};
    uint32_t count;
    int fd = -1, error = await_answer(zygote, &packet, &fd, &count);
    if (error == EMFILE) {
        (void)rni_zygote_signal(zygote, asked, RNI_OS_KILL); /* nobody could watch it */
        return refuse(zygote, EMFILE);
    }
    if (error || packet.number != asked) return rni_os_close(fd), give_up(zygote, error);
    zygote->stopped_ns = 0;
    if (packet.word == RNI_ZYGOTE_REFUSED) return refuse(zygote, packet.value);
    *pidfd = fd;
    zygote->worker_pid = packet.value;
    return RN_OK;
}

int rni_zygote_spawn(rni_zygote *zygote, const int *fds, uint32_t count, int *pidfd, uint32_t *number) {
    rni_zygote_packet packet = {.word = RNI_ZYGOTE_SPAWN, .number = zygote->next};
    RNI_ASSERT(count <= RNI_WORKER_FDS_MAX);
    if (zygote->calls < 0) return RN_CLOSED;
    int error = rni_os_send_packet(zygote->calls, &packet, sizeof packet, fds, count, false);
    if (error) return error == EPIPE ? RN_CLOSED : refuse(zygote, error);
    zygote->next++;
    error = take_worker(zygote, packet.number, pidfd);
    if (error == RN_OK) *number = packet.number;
    return error;
}

int rni_zygote_enter(rni_zygote *zygote, uint32_t number, int file) {
    rni_zygote_packet packet = {.word = RNI_ZYGOTE_ENTER, .number = number};
    uint32_t count;
    int none = -1;
    if (zygote->calls < 0) return RN_CLOSED;
    int error = rni_os_send_packet(zygote->calls, &packet, sizeof packet, &file, 1, false);
    if (error) return error == EPIPE ? RN_CLOSED : error;
    error = await_answer(zygote, &packet, &none, &count);
    if (error || packet.word != RNI_ZYGOTE_ENTERED || packet.number != number)
        return rni_os_close(none), give_up(zygote, error);
    zygote->stopped_ns = 0;
    return packet.value;
}

int rni_zygote_signal(rni_zygote *zygote, uint32_t number, int signal) {
    rni_zygote_packet packet = {.word = RNI_ZYGOTE_SIGNAL, .number = number, .value = signal};
    return rni_os_send_packet(zygote->calls, &packet, sizeof packet, NULL, 0, true) == 0 ? RN_OK : RN_CLOSED;
}

/* Whatever comes over that socket continues it. */
static void continue_zygote(rni_zygote *zygote) {
    const rni_zygote_packet packet = {.word = RNI_ZYGOTE_SIGNAL, .number = NOBODY, .value = RNI_OS_TERMINATE};
    (void)rni_os_send_packet(zygote->calls, &packet, sizeof packet, NULL, 0, false);
}

bool rni_zygote_is_stuck(rni_zygote *zygote) {
    int64_t now = rni_os_now();
    bool is_stopped = zygote->calls >= 0 && rni_os_is_stopped(zygote->pid);
    if (!is_stopped) zygote->stopped_ns = 0;
    if (!is_stopped) return false;
    if (zygote->stopped_ns == 0) zygote->stopped_ns = now;
    continue_zygote(zygote);
    return now - zygote->stopped_ns >= RNI_ZYGOTE_STOPPED_NS;
}

bool rni_zygote_news(rni_zygote *zygote, rni_ended *ended) {
    rni_zygote_packet packet;
    uint32_t count = 0;
    if (zygote->socket < 0 || rni_os_receive_packet(zygote->socket, &packet, sizeof packet, NULL, &count) != 0)
        return false;
    *ended = (rni_ended){packet.number, packet.value, packet.peak_bytes, packet.cpu_ns, packet.cpu_limit_s};
    return true;
}

bool rni_zygote_is_gone(rni_zygote *zygote) {
    return zygote->socket < 0 || rni_os_is_hung_up(zygote->socket) ||
           rni_os_poll_some(&zygote->program.pidfd, 1, 0, 0) != 0;
}

/* ------------------------------------------------------------------------------------------------
 * Its end
 */
void rni_zygote_leave(rni_zygote *zygote) {
    int socket = zygote->socket;
    zygote->socket = -1;
    rni_os_close(socket);
}

void rni_zygote_stop(rni_zygote *zygote) {
    rni_zygote_packet packet = {.word = RNI_ZYGOTE_STOP};
    if (zygote->program.keeper) {
        (void)rni_os_send_packet(zygote->calls, &packet, sizeof packet, NULL, 0, false);
        int64_t deadline_ns = rni_os_now() + RN_MILLISECONDS(STOP_MS);
        while (rni_os_now() < deadline_ns && !rni_os_poll_some(&zygote->program.pidfd, 1, 0, 100)) {}
        rni_os_program_kill(&zygote->program);
        (void)rni_os_program_reap(&zygote->program);
    }
    rni_zygote former = *zygote;
    *zygote = no_zygote; /* first: a forked child must not close what has these numbers by then */
    rni_os_close(former.calls);
    rni_os_close(former.socket);
}

void rni_zygote_forget(rni_zygote *zygote) {
    rni_os_close(zygote->program.pidfd);
    rni_os_close(zygote->calls);
    rni_os_close(zygote->socket);
    *zygote = no_zygote;
}
