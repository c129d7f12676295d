#include "fake_worker.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/os.h"
#include "base/os_shared.h"
#include "process/zygote.h"
#include "support.h"

enum { FAKES_MAX = 256, MAPPINGS_MAX = 64, ENDS_MAX = 1024 };

fake_player *fake_plays;
bool (*fake_is_refused)(void);
void (*fake_appears)(struct fake *fake);
atomic_ullong fake_spawned, fake_killed;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct fake fakes[FAKES_MAX]; /* guarded; a living one is played by the thread that it belongs to */
static unsigned fake_count;
static struct { void *address; ino_t file; } mappings[MAPPINGS_MAX]; /* guarded: the last ones */
static unsigned mapping_count;
static rni_ended ends[ENDS_MAX]; /* guarded */
static unsigned end_count;
static int news_event = -1;

/* ---- where the host maps things ---- */

void *__real_rni_os_map_shared(int fd, size_t size, size_t there, bool writable);
void *__wrap_rni_os_map_shared(int fd, size_t size, size_t there, bool writable);

static ino_t file_of(int fd) {
    struct stat facts;
    return fstat(fd, &facts) == 0 ? facts.st_ino : 0;
}

void *__wrap_rni_os_map_shared(int fd, size_t size, size_t there, bool writable) {
    void *pages = __real_rni_os_map_shared(fd, size, there, writable);
    pthread_mutex_lock(&mutex);
    mappings[mapping_count % MAPPINGS_MAX].address = pages;
    mappings[mapping_count++ % MAPPINGS_MAX].file = file_of(fd);
    pthread_mutex_unlock(&mutex);
    return pages;
}

/* The latest of that file. */
static void *mapped(int fd) {
    ino_t file = file_of(fd);
    for (unsigned i = mapping_count; i > 0 && mapping_count - i < MAPPINGS_MAX; i--)
        if (mappings[(i - 1) % MAPPINGS_MAX].file == file) return mappings[(i - 1) % MAPPINGS_MAX].address;
    return NULL;
}

/* ---- the zygote ---- */

rn_value __wrap_rni_zygote_start(rni_zygote *zygote);
int __wrap_rni_zygote_spawn(rni_zygote *zygote, const int *fds, uint32_t count, int *pidfd, uint32_t *number);
int __wrap_rni_zygote_signal(rni_zygote *zygote, uint32_t number, int signal);
bool __wrap_rni_zygote_news(rni_zygote *zygote, rni_ended *ended);
bool __wrap_rni_zygote_is_gone(rni_zygote *zygote);
bool __wrap_rni_zygote_is_stuck(rni_zygote *zygote);
void __wrap_rni_zygote_leave(rni_zygote *zygote);
void __wrap_rni_zygote_stop(rni_zygote *zygote);
void __wrap_rni_os_kill(int pidfd);

rn_value __wrap_rni_zygote_start(rni_zygote *zygote) {
    *zygote = (rni_zygote){.socket = rni_os_event(), .calls = -1, .program = {NULL, -1}, .next = 1};
    pthread_mutex_lock(&mutex);
    news_event = zygote->socket;
    end_count = 0;
    pthread_mutex_unlock(&mutex);
    return rn_none();
}

/* With the mutex held. */
static struct fake *free_fake(void) {
    for (unsigned i = 0; i < fake_count; i++)
        if (fakes[i].is_dead && !fakes[i].is_playing) return &fakes[i];
    return fake_count < FAKES_MAX ? &fakes[fake_count++] : NULL;
}

int __wrap_rni_zygote_spawn(rni_zygote *zygote, const int *fds, uint32_t count, int *pidfd, uint32_t *number) {
    int own[3];
    if (fake_is_refused && fake_is_refused()) {
        zygote->refusal = EAGAIN;
        return RN_NO_PROCESSES;
    }
    pthread_mutex_lock(&mutex);
    struct fake *fake = free_fake();
    *fake = (struct fake){.host_in = mapped(fds[1]), .host_out = mapped(fds[0]), .is_dead = true, .number = zygote->next++};
    pthread_mutex_unlock(&mutex);
    for (unsigned i = 0; i < count && i < 3; i++) own[i] = dup(fds[i]);
    check(rni_channel_join(&fake->channel, own), "the mailboxes can be mapped");
    close(own[0]);
    close(own[1]);
    fake->pidfd = *pidfd = rni_os_event();
    *number = fake->number;
    atomic_fetch_add(&fake_spawned, 1);
    if (fake_appears) fake_appears(fake);
    pthread_mutex_lock(&mutex);
    fake->is_dead = false;
    pthread_mutex_unlock(&mutex);
    return RN_OK;
}

int __wrap_rni_zygote_signal(rni_zygote *zygote, uint32_t number, int signal) {
    (void)zygote, (void)number, (void)signal;
    return RN_OK;
}

bool __wrap_rni_zygote_news(rni_zygote *zygote, rni_ended *ended) {
    pthread_mutex_lock(&mutex);
    bool is_some = zygote->socket >= 0 && end_count > 0;
    if (is_some) *ended = ends[--end_count];
    else if (zygote->socket >= 0) rni_os_event_lower(zygote->socket);
    pthread_mutex_unlock(&mutex);
    return is_some;
}

bool __wrap_rni_zygote_is_gone(rni_zygote *zygote) { return zygote->socket < 0; }

bool __wrap_rni_zygote_is_stuck(rni_zygote *zygote) { return (void)zygote, false; }

void __wrap_rni_zygote_leave(rni_zygote *zygote) { (void)zygote; }

/* With the mutex held. */
static void end(struct fake *fake, int status) {
    if (fake->is_dead) return;
    fake->is_dead = true;
    if (end_count < ENDS_MAX) ends[end_count++] = (rni_ended){.number = fake->number, .status = status};
    rni_os_event_raise(fake->pidfd);
    rni_os_event_raise(news_event);
    if (!fake->is_playing) rni_channel_close(&fake->channel);
}

void fake_die(struct fake *fake, int status) {
    pthread_mutex_lock(&mutex);
    end(fake, status);
    pthread_mutex_unlock(&mutex);
}

void __wrap_rni_zygote_stop(rni_zygote *zygote) {
    pthread_mutex_lock(&mutex);
    for (unsigned i = 0; i < fake_count; i++) end(&fakes[i], 9);
    pthread_mutex_unlock(&mutex);
    rni_os_close(zygote->socket);
    zygote->socket = -1;
}

void __wrap_rni_os_kill(int pidfd) {
    pthread_mutex_lock(&mutex);
    for (unsigned i = 0; i < fake_count; i++) {
        if (fakes[i].is_dead || fakes[i].pidfd != pidfd) continue;
        atomic_fetch_add(&fake_killed, 1);
        end(&fakes[i], 9);
    }
    pthread_mutex_unlock(&mutex);
}

/* ---- playing ---- */

void __real_rni_os_wake_shared(const void *word);
void __wrap_rni_os_wake_shared(const void *word);
void __real_rni_os_wait_shared(const void *word, uint32_t expected, int64_t deadline_ns);
void __wrap_rni_os_wait_shared(const void *word, uint32_t expected, int64_t deadline_ns);

static bool is_in(const void *mailbox, const void *word) {
    return mailbox && (const char *)word >= (const char *)mailbox && (const char *)word < (const char *)mailbox + RNI_MAILBOX_BYTES;
}

/* The living one whose host uses that word, if it is not at it already. */
static struct fake *begin_play(const void *word) {
    struct fake *found = NULL;
    pthread_mutex_lock(&mutex);
    for (unsigned i = 0; i < fake_count; i++)
        if (!fakes[i].is_dead && !fakes[i].is_playing && (is_in(fakes[i].host_out, word) || is_in(fakes[i].host_in, word)))
            found = &fakes[i];
    if (found) found->is_playing = true;
    pthread_mutex_unlock(&mutex);
    return found;
}

static void end_play(struct fake *fake) {
    pthread_mutex_lock(&mutex);
    fake->is_playing = false;
    if (fake->is_dead) rni_channel_close(&fake->channel);
    pthread_mutex_unlock(&mutex);
}

static void play(const void *word) {
    uint32_t ignored;
    rni_reader reader;
    struct fake *fake = begin_play(word);
    if (!fake) return;
    while (!fake->is_dead && rni_channel_has_mail(&fake->channel, &ignored) && rni_channel_read(&fake->channel, &reader)) {
        uint8_t kind = rni_take_8(&reader);
        fake->steps++;
        if (kind == RNI_QUIT) fake_die(fake, 0);
        else fake_plays(fake, kind, &reader);
    }
    end_play(fake);
}

void __wrap_rni_os_wake_shared(const void *word) {
    __real_rni_os_wake_shared(word);
    play(word);
}

enum { PATIENCE = 40 }; /* waits of a millisecond */

/* One that says nothing any more, say in the middle of a message, is as one whose task never ends: somebody ends it. */
static void end_silent(const void *word) {
    struct fake *fake = begin_play(word);
    if (!fake) return;
    fake->waited = fake->waited_at == fake->steps ? fake->waited + 1 : 0;
    fake->waited_at = fake->steps;
    if (fake->waited > PATIENCE) fake_die(fake, 9);
    end_play(fake);
}

/* Nobody sleeps for long: a page that is watched is none that the kernel could read the word in. */
void __wrap_rni_os_wait_shared(const void *word, uint32_t expected, int64_t deadline_ns) {
    play(word);
    end_silent(word);
    int64_t soon = rni_os_now() + RN_MILLISECONDS(1);
    __real_rni_os_wait_shared(word, expected, deadline_ns < 0 || deadline_ns > soon ? soon : deadline_ns);
}
