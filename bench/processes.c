#include "processes.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE_BYTES 4096
#define WORD_MASK UINT64_C(0x5DEECE66D)

/* ------------------------------------------------------------------------------------------------
 * Tasks
 */
static struct bench_message argument_of(uint64_t number) { return (struct bench_message){number, number ^ WORD_MASK}; }

struct bench_message bench_answer(struct bench_message argument) {
    return (struct bench_message){argument.number, argument.word + 1};
}

void bench_touch(unsigned char *bytes, size_t size) {
    for (size_t at = 0; at < size; at += PAGE_BYTES) {
        bytes[at]++;
    }
}

struct bench_message bench_die(struct bench_message place) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)place.number, (int)place.word);
    int file = open(path, O_WRONLY | O_CLOEXEC);
    int64_t now = bench_now_ns();
    if (file >= 0 && pwrite(file, &now, sizeof now, 0) == sizeof now) {
        raise(SIGKILL);
    }
    _exit(1);
}

/* ------------------------------------------------------------------------------------------------
 * Worker processes
 */
pid_t bench_fork(void) {
    pid_t parent = getpid();
    pid_t child = fork();
    if (child < 0) {
        bench_fail("fork: %s", strerror(errno));
    }
    if (child == 0 && (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)) {
        _exit(1);
    }
    return child;
}

void bench_reap(pid_t child) {
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR) {
    }
}

void bench_send(int file, const void *bytes, size_t size) {
    for (const char *at = bytes; size > 0;) {
        ssize_t sent = write(file, at, size);
        if (sent < 0 && errno != EINTR) {
            bench_fail("write: %s", strerror(errno));
        }
        at += sent > 0 ? sent : 0;
        size -= sent > 0 ? (size_t)sent : 0;
    }
}

bool bench_receive(int file, void *bytes, size_t size) {
    for (char *at = bytes; size > 0;) {
        ssize_t got = read(file, at, size);
        if (got == 0) {
            return false;
        }
        if (got < 0 && errno != EINTR) {
            bench_fail("read: %s", strerror(errno));
        }
        at += got > 0 ? got : 0;
        size -= got > 0 ? (size_t)got : 0;
    }
    return true;
}

/* ------------------------------------------------------------------------------------------------
 * Many tasks
 */

/* Of this process, and of those that it has reaped. */
static int64_t all_cpu_ns(void) {
    int64_t sum = 0;
    for (int who = RUSAGE_CHILDREN; who <= RUSAGE_SELF; who++) {
        struct rusage usage;
        getrusage(who, &usage);
        sum += (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * INT64_C(1000000000) +
               (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * INT64_C(1000);
    }
    return sum;
}

_Static_assert(RUSAGE_CHILDREN + 1 == RUSAGE_SELF, "two kinds of usage, one after the other");

static void check_result(struct bench_message result, unsigned char *seen, size_t count) {
    if (result.number >= count || seen[result.number] != 0) {
        bench_fail("a result came twice, or of no task: number %llu", (unsigned long long)result.number);
    }
    if (result.word != argument_of(result.number).word + 1) {
        bench_fail("a wrong result of task %llu", (unsigned long long)result.number);
    }
    seen[result.number] = 1;
}

/* `seen` has a zero for each task. */
static void stream_tasks(const struct bench_stream *stream, unsigned char *seen, size_t count) {
    size_t window = stream->window > 0 && stream->window < count ? stream->window : count;
    size_t sent = 0;
    for (size_t read = 0; read < count;) {
        for (; sent < count && sent < read + window; sent++) {
            stream->submit(stream->context, argument_of(sent));
        }
        size_t left = sent < count ? window / 2 : 0;
        for (; sent - read > left; read++) {
            check_result(stream->next(stream->context), seen, count);
        }
    }
}

void bench_pipeline(const struct bench_job *job, const struct bench_stream *stream) {
    size_t warm = job->tasks / 10;
    unsigned char *seen = bench_allocate(warm + job->tasks, 1);
    int64_t cpu_start = all_cpu_ns();
    stream_tasks(stream, seen, warm);
    int64_t start = bench_now_ns();
    stream_tasks(stream, seen + warm, job->tasks);
    bench_report("ns", (double)(bench_now_ns() - start) / (double)job->tasks);
    if (stream->close != NULL) {
        stream->close(stream->context);
    }
    bench_report("cpu_ns", (double)(all_cpu_ns() - cpu_start) / (double)(warm + job->tasks));
    free(seen);
}

/* ------------------------------------------------------------------------------------------------
 * One task at a time
 */
static int64_t one_trip(const struct bench_stream *stream, uint64_t number) {
    int64_t start = bench_now_ns();
    stream->submit(stream->context, argument_of(number));
    struct bench_message result = stream->next(stream->context);
    int64_t took = bench_now_ns() - start;
    if (result.number != number || result.word != argument_of(number).word + 1) {
        bench_fail("a wrong result of task %llu", (unsigned long long)number);
    }
    return took;
}

void bench_process_trips(const struct bench_job *job, const struct bench_stream *stream) {
    int64_t *samples = bench_allocate(job->samples, sizeof *samples);
    unsigned warm = job->samples / 10;
    for (unsigned i = 0; i < warm; i++) {
        one_trip(stream, i);
    }
    for (unsigned i = 0; i < job->samples; i++) {
        samples[i] = one_trip(stream, warm + i);
    }
    bench_report_percentiles(samples, job->samples);
    free(samples);
    if (stream->close != NULL) {
        stream->close(stream->context);
    }
}

/* ------------------------------------------------------------------------------------------------
 * Payloads
 */
static void write_mark(unsigned char *payload, size_t size, unsigned char mark) {
    for (size_t at = 0; at < size; at += PAGE_BYTES) {
        payload[at] = mark;
    }
}

static void check_mark(const unsigned char *payload, size_t size, unsigned char mark) {
    for (size_t at = 0; at < size; at += PAGE_BYTES) {
        if (payload[at] != mark) {
            bench_fail("byte %zu of the payload came back as %u instead of %u", at, payload[at], mark);
        }
    }
}

static int64_t carry_once(bench_carry_fn *carry, void *context, unsigned char *payload, size_t size, unsigned round) {
    write_mark(payload, size, (unsigned char)round);
    int64_t start = bench_now_ns();
    check_mark(carry(context, payload, size), size, (unsigned char)(round + 1));
    return bench_now_ns() - start;
}

void bench_payload_trips(const struct bench_job *job, bench_carry_fn *carry, void *context, unsigned char *payload) {
    int64_t *samples = bench_allocate(job->samples, sizeof *samples);
    unsigned char *own = payload == NULL ? bench_allocate(1, job->bytes) : NULL;
    unsigned char *used = payload == NULL ? own : payload;
    unsigned warm = 1 + job->samples / 10;
    for (unsigned i = 0; i < warm; i++) {
        carry_once(carry, context, used, job->bytes, i);
    }
    for (unsigned i = 0; i < job->samples; i++) {
        samples[i] = carry_once(carry, context, used, job->bytes, i);
    }
    bench_report_percentiles(samples, job->samples);
    free(samples);
    free(own);
}

/* ------------------------------------------------------------------------------------------------
 * Deaths
 */
void bench_hold(const struct bench_job *job) {
    unsigned char *held = mmap(NULL, job->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (held == MAP_FAILED) {
        bench_fail("no memory for %zu bytes", job->bytes);
    }
    madvise(held, job->bytes, MADV_NOHUGEPAGE); /* as most memory of most programs */
    write_mark(held, job->bytes, 1);
}

static int64_t time_of_death(int file) {
    int64_t died = 0;
    if (pread(file, &died, sizeof died, 0) != sizeof died || died == 0) {
        bench_fail("the worker has not died as it should");
    }
    return died;
}

void bench_deaths(const struct bench_job *job, const struct bench_mortal *mortal) {
    int64_t *seen = bench_allocate(job->samples, sizeof *seen);
    int64_t *replaced = bench_allocate(job->samples, sizeof *replaced);
    int file = memfd_create("bench", MFD_CLOEXEC);
    struct bench_message place = {(uint64_t)getpid(), (uint64_t)file};
    if (mortal->replaces) {
        mortal->run(mortal->context);
    }
    for (unsigned i = 0; i < job->samples; i++) {
        bench_sleep_ns(job->gap_ns);
        mortal->kill(mortal->context, place);
        seen[i] = bench_now_ns();
        mortal->run(mortal->context);
        replaced[i] = bench_now_ns() - time_of_death(file);
        seen[i] -= time_of_death(file);
    }
    bench_report_median("seen", seen, job->samples);
    if (mortal->replaces) {
        bench_report_median("replaced", replaced, job->samples);
    }
    close(file);
    free(seen);
    free(replaced);
}
