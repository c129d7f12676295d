#include "support.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

bool proof_canary;
bool proof_torture;

/* Past this many the lines of failed checks only hide the first ones. */
#define LINES_MAX 40

static const char *row;
static int argument_count;
static char **arguments;
static uint64_t seed;
static _Atomic uint64_t broken;
static uint64_t broken_at_case;
static uint64_t good, all;

static uint64_t fresh_seed(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return scramble((uint64_t)now.tv_nsec ^ (uint64_t)now.tv_sec << 30 ^ (uint64_t)getpid()) >> 16;
}

static bool is_set(const char *variable) {
    const char *text = getenv(variable);
    return text != NULL && text[0] != '\0' && strcmp(text, "0") != 0;
}

void proof_begin(int argc, char **argv, const char *figure) {
    const char *given = getenv("RUNIUM_TEST_SEED");
    row = figure;
    argument_count = argc;
    arguments = argv;
    proof_canary = proof_option("--canary") != NULL;
    proof_torture = is_set("RUNIUM_TORTURE");
    seed = given != NULL ? strtoull(given, NULL, 0) : fresh_seed();
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("%s: seed %llu (RUNIUM_TEST_SEED=%llu replays it)\n", row, (unsigned long long)seed,
           (unsigned long long)seed);
}

const char *proof_option(const char *name) {
    size_t length = strlen(name);
    for (int i = 1; i < argument_count; i++) {
        if (strncmp(arguments[i], name, length) != 0)
            continue;
        if (arguments[i][length] == '\0')
            return "";
        if (arguments[i][length] == '=')
            return arguments[i] + length + 1;
    }
    return NULL;
}

uint64_t proof_amount(uint64_t ci, uint64_t torture) {
    uint64_t amount = proof_torture ? torture : ci;
    uint64_t slowness = UNDER_TSAN ? 10 : UNDER_ASAN ? 3 : 1;
    return amount / slowness > 0 ? amount / slowness : 1;
}

bool check(bool holds, const char *format, ...) {
    if (holds)
        return true;
    if (atomic_fetch_add(&broken, 1) < LINES_MAX) {
        char line[512];
        va_list list;
        va_start(list, format);
        vsnprintf(line, sizeof line, format, list);
        va_end(list);
        printf("%s: broken: %s\n", row, line);
    }
    return false;
}

uint64_t proof_good(void) { return good; }

uint64_t proof_broken(void) { return atomic_load(&broken); }

void proof_case(void) {
    uint64_t now = proof_broken();
    all++;
    good += now == broken_at_case;
    broken_at_case = now;
}

void proof_cases(uint64_t more) {
    all += more;
    good += more;
}

int proof_end(const char *unit) {
    bool passed = proof_broken() == 0 && good == all && all > 0;
    if (!passed)
        printf("%s: %llu checks failed\n", row, (unsigned long long)proof_broken());
    printf("%s: %llu of %llu %s\n", row, (unsigned long long)good, (unsigned long long)all, unit);
    return passed ? 0 : 1;
}

uint64_t scramble(uint64_t number) {
    number += UINT64_C(0x9e3779b97f4a7c15);
    number = (number ^ number >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    number = (number ^ number >> 27) * UINT64_C(0x94d049bb133111eb);
    return number ^ number >> 31;
}

struct dice dice_of(uint64_t lane) { return (struct dice){scramble(seed ^ scramble(lane))}; }

uint64_t roll(struct dice *dice) {
    dice->state += UINT64_C(0x9e3779b97f4a7c15);
    return scramble(dice->state);
}

uint64_t roll_below(struct dice *dice, uint64_t end) { return roll(dice) % end; }

struct ending child_await(pid_t child, unsigned limit_s) {
    struct ending ending = {false, 0};
    int descriptor = pidfd_open(child, 0);
    struct pollfd ended = {.fd = descriptor, .events = POLLIN};
    int ready;
    do
        ready = poll(&ended, 1, (int)limit_s * 1000);
    while (ready < 0 && errno == EINTR);
    if (ready == 0) {
        ending.hung = true;
        kill(child, SIGKILL);
    }
    if (descriptor >= 0)
        close(descriptor);
    while (waitpid(child, &ending.status, 0) < 0 && errno == EINTR)
        continue;
    return ending;
}

struct ending child_run(void (*body)(void *context), void *context, unsigned limit_s) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        body(context);
        fflush(NULL);
        _exit(0);
    }
    if (child < 0) {
        perror("fork");
        exit(2);
    }
    return child_await(child, limit_s);
}

struct ending child_again(char *const *list, unsigned limit_s) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        execv("/proc/self/exe", list);
        _exit(126);
    }
    if (child < 0) {
        perror("fork");
        exit(2);
    }
    return child_await(child, limit_s);
}

const char *ending_text(struct ending ending, char *buffer, size_t size) {
    if (ending.hung)
        snprintf(buffer, size, "hung");
    else if (WIFSIGNALED(ending.status))
        snprintf(buffer, size, "signal %d", WTERMSIG(ending.status));
    else
        snprintf(buffer, size, "exit %d", WEXITSTATUS(ending.status));
    return buffer;
}

void guard_against_hang(unsigned limit_s) { alarm(limit_s); }

void *shared_pages(size_t size) {
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) {
        perror("mmap");
        exit(2);
    }
    return pages;
}

void gate_open(struct gate *gate) {
    pthread_mutex_lock(&gate->mutex);
    gate->is_open = true;
    pthread_cond_broadcast(&gate->moved);
    pthread_mutex_unlock(&gate->mutex);
}

void gate_wait(struct gate *gate) {
    pthread_mutex_lock(&gate->mutex);
    while (!gate->is_open)
        pthread_cond_wait(&gate->moved, &gate->mutex);
    pthread_mutex_unlock(&gate->mutex);
}

void counter_add(struct counter *counter, uint64_t more) {
    pthread_mutex_lock(&counter->mutex);
    counter->count += more;
    pthread_cond_broadcast(&counter->moved);
    pthread_mutex_unlock(&counter->mutex);
}

void counter_await(struct counter *counter, uint64_t count) {
    pthread_mutex_lock(&counter->mutex);
    while (counter->count < count)
        pthread_cond_wait(&counter->moved, &counter->mutex);
    pthread_mutex_unlock(&counter->mutex);
}

uint64_t counter_read(struct counter *counter) {
    pthread_mutex_lock(&counter->mutex);
    uint64_t count = counter->count;
    pthread_mutex_unlock(&counter->mutex);
    return count;
}

unsigned proc_entries(const char *folder) {
    DIR *open_folder = opendir(folder);
    unsigned count = 0;
    if (open_folder == NULL)
        return 0;
    while (readdir(open_folder) != NULL)
        count++;
    closedir(open_folder);
    return count;
}

/* Reads with read() into the stack: stdio would add memory of its own to what is looked at. */
unsigned proc_lines(const char *file) {
    char part[4096];
    unsigned count = 0;
    ssize_t size;
    int descriptor = open(file, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return 0;
    while ((size = read(descriptor, part, sizeof part)) > 0)
        for (ssize_t i = 0; i < size; i++)
            count += part[i] == '\n';
    close(descriptor);
    return count;
}
