/* The board, the tasks that write on it, and the gates at which they are held. */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ------------------------------------------------------------------------------------------------
 * The board
 */
struct board *board;

/* Where a worker process finds the board: it is this program, started again. */
#define BOARD_VARIABLE "RUNIUM_TEST_BOARD"

static struct board *map_board(int fd) {
    void *memory = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

__attribute__((constructor)) static void join_board(void) {
    const char *path = getenv(BOARD_VARIABLE);
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    board = map_board(fd);
    close(fd);
}

void make_board(void) {
    char path[64];
    int fd = memfd_create("board", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, sizeof *board) != 0 || !(board = map_board(fd))) fail_msg("no memory for the board");
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)getpid(), fd);
    setenv(BOARD_VARIABLE, path, 1);
    for (int i = 0; i < GATES; i++) {
        sem_init(&board->gates[i].entered, 1, 0);
        sem_init(&board->gates[i].opened, 1, 0);
    }
}

int64_t cell(int index) { return atomic_load(&board->cells[index]); }
void set_cell(int index, int64_t value) { atomic_store(&board->cells[index], value); }
int64_t add_to_cell(int index, int64_t amount) { return atomic_fetch_add(&board->cells[index], amount); }

static size_t new_event(void) {
    size_t index = atomic_fetch_add(&board->event_count, 1);
    if (index < EVENTS) return index;
    fprintf(stderr, "a test records more than %d events\n", EVENTS);
    abort();
}

static void write_event(struct event event) {
    size_t index = new_event();
    event.pid = getpid();
    event.tid = (pid_t)syscall(SYS_gettid);
    board->events[index] = event;
    atomic_store(&board->written[index], true);
}

void record(enum event_kind kind, rn_call *call, rn_value success, rn_value error) {
    bool is_int = rn_kind(success) == RN_INT;
    write_event((struct event){.kind = kind,
                               .tag = (int)rn_as_int(rn_arg(call)),
                               .iteration = rn_iteration(call),
                               .remaining = rn_remaining(call),
                               .missed = rn_missed(call),
                               .success_kind = rn_kind(success),
                               .success = is_int ? rn_as_int(success) : 0,
                               .error_code = rn_is_none(error) ? 0 : rn_error_code(error),
                               .now = kind == FUNCTION ? rn_testing_now(rn_runtime_of(call)) : 0});
}

size_t event_count(void) { return atomic_load(&board->event_count); }

bool event_is_of(size_t index, int tag) {
    return atomic_load(&board->written[index]) && board->events[index].tag == tag;
}

size_t events_of(int tag, struct event *events, size_t capacity) {
    size_t count = 0;
    for (size_t i = 0; i < event_count(); i++) {
        if (!event_is_of(i, tag)) continue;
        if (count < capacity) events[count] = board->events[i];
        count++;
    }
    return count;
}

const char *story_of(int tag) {
    static char story[4096];
    size_t length = 0;
    story[0] = '\0';
    for (size_t i = 0; i < event_count() && length + 32 < sizeof story; i++) {
        const struct event *event = &board->events[i];
        if (!event_is_of(i, tag)) continue;
        const char *space = length ? " " : "";
        int written = event->kind == DONE_CALLBACK ? snprintf(story + length, sizeof story - length, "%sd", space)
                                                   : snprintf(story + length, sizeof story - length, "%s%c%" PRIu64,
                                                              space, (char)event->kind, event->iteration);
        length += (size_t)written;
    }
    return story;
}

/* ------------------------------------------------------------------------------------------------
 * Tasks
 */
rn_value nothing(rn_call *call) {
    (void)call;
    return rn_none();
}

rn_value give_back(rn_call *call) { return rn_keep(rn_arg(call)); }

rn_value note_event(rn_call *call) {
    record(FUNCTION, call, rn_none(), rn_none());
    return rn_keep(rn_arg(call));
}

rn_value hold(rn_call *call) {
    gate_pass((int)rn_as_int(rn_arg(call)));
    return rn_none();
}

void note_done(rn_future *future, void *context) {
    (void)future;
    write_event((struct event){.kind = DONE_CALLBACK, .tag = *(int *)context});
}

int64_t iteration_value(int tag, uint64_t iteration) { return (int64_t)tag * 100000 + (int64_t)iteration; }
int iteration_code(int tag, uint64_t iteration) { return (int)iteration_value(tag, iteration); }

int64_t hook_value(int tag, unsigned hook, uint64_t iteration) {
    return iteration_value(tag, iteration) + (int64_t)hook * 10000;
}

int hook_code(int tag, unsigned hook, uint64_t iteration) { return (int)hook_value(tag, hook, iteration); }

const char *hook_name(unsigned hook) {
    switch (hook) {
    case RN_ON_ITER: return "on_iter";
    case RN_ON_SUCCESS: return "on_success";
    case RN_ON_ERROR: return "on_error";
    default: return "on_finished";
    }
}

static int tag_of(rn_call *call) { return (int)rn_as_int(rn_arg(call)); }

static rn_value scripted_success(enum rn_kind kind, int tag, uint64_t iteration) {
    switch (kind) {
    case RN_NONE: return rn_none();
    case RN_BOOL: return rn_bool(false);
    case RN_TEXT: return rn_literal("");
    default: return rn_int(iteration_value(tag, iteration));
    }
}

static rn_value scripted(rn_call *call) {
    int tag = tag_of(call);
    uint64_t iteration = rn_iteration(call);
    const struct script *script = &board->scripts[tag];
    record(FUNCTION, call, rn_none(), rn_none());
    if (script->stop_self_at == iteration) rn_stop_self(call);
    if (iteration <= 64 && (script->failing >> (iteration - 1)) & 1)
        return rn_error(iteration_code(tag, iteration), "iteration %" PRIu64 " of run %d fails", iteration, tag);
    return scripted_success(script->success_kind, tag, iteration);
}

static rn_value scripted_hook(rn_call *call, unsigned hook) {
    int tag = tag_of(call);
    uint64_t iteration = rn_iteration(call);
    const struct script *script = &board->scripts[tag];
    bool fails = (script->failing_hooks & hook) != 0;
    if (hook == RN_ON_ITER) fails = fails && iteration <= 64 && (script->failing_iter >> (iteration - 1)) & 1;
    if (fails) return rn_error(hook_code(tag, hook, iteration), "%s of run %d fails", hook_name(hook), tag);
    return rn_int(hook_value(tag, hook, iteration));
}

static rn_value scripted_on_iter(rn_call *call, rn_value success, rn_value error) {
    record(ITER, call, success, error);
    return scripted_hook(call, RN_ON_ITER);
}

static rn_value scripted_on_success(rn_call *call, rn_value success) {
    record(SUCCESS, call, success, rn_none());
    return scripted_hook(call, RN_ON_SUCCESS);
}

static rn_value scripted_on_error(rn_call *call, rn_value error) {
    record(FAILURE, call, rn_none(), error);
    return scripted_hook(call, RN_ON_ERROR);
}

static rn_value scripted_on_finished(rn_call *call, rn_value success, rn_value error) {
    record(FINISHED, call, success, error);
    return scripted_hook(call, RN_ON_FINISHED);
}

rn_task scripted_task(int tag) {
    board->scripts[tag] = (struct script){.success_kind = RN_INT};
    return (rn_task){.size = sizeof(rn_task),
                     .function = scripted,
                     .arg = rn_int(tag),
                     .on_iter = scripted_on_iter,
                     .on_success = scripted_on_success,
                     .on_error = scripted_on_error,
                     .on_finished = scripted_on_finished,
                     .name = "scripted"};
}

rn_value nest(rn_call *call) {
    int64_t depth = rn_as_int(rn_arg(call));
    if (depth == 0) return rn_int(0);
    rn_future *inner = rn_run(rn_runtime_of(call), nest, .arg = rn_int(depth - 1));
    rn_value result = rn_result(inner);
    rn_value mine = rn_is_error(result) ? rn_keep(result) : rn_int(rn_as_int(result) + 1);
    rn_release(inner);
    return mine;
}

rn_value end_of(rn_future *future) {
    rn_value result = rn_keep(rn_result(future));
    rn_release(future);
    return result;
}

void last_for(rn_call *call, int64_t duration_ns) {
    rn_future *later = rn_run(rn_runtime_of(call), nothing, .start_in = duration_ns);
    rn_wait(later, -1);
    rn_release(later);
}

/* ------------------------------------------------------------------------------------------------
 * Gates
 */
static void take(sem_t *semaphore) {
    while (sem_wait(semaphore) != 0 && errno == EINTR) continue;
}

void gate_pass(int gate) {
    sem_post(&board->gates[gate].entered);
    take(&board->gates[gate].opened);
}

void gate_await(int gate, unsigned count) {
    for (unsigned i = 0; i < count; i++) take(&board->gates[gate].entered);
}

void gate_open(int gate, unsigned count) {
    for (unsigned i = 0; i < count; i++) sem_post(&board->gates[gate].opened);
}

static rn_future *held[WORKERS_MAX];
static unsigned held_count;

void hold_every_worker(rn_runtime *runtime) {
    rn_stats stats = {.size = sizeof stats};
    assert_int_equal(rn_get_stats(runtime, &stats), RN_OK);
    assert_in_range(stats.workers, 1, WORKERS_MAX);
    held_count = stats.workers;
    for (unsigned i = 0; i < held_count; i++) {
        held[i] = rn_run(runtime, hold, .arg = rn_int(0));
        gate_await(0, 1);
    }
}

void free_every_worker(void) {
    gate_open(0, held_count);
    for (unsigned i = 0; i < held_count; i++) {
        rn_value result = end_of(held[i]);
        assert_true(rn_is_none(result));
    }
    held_count = 0;
}
