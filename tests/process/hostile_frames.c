/*
 * P11: what a hostile worker process may say. The host's side is the library's own; the process is played by this program
 * (fake_worker.h).
 *
 *   refusals   frames that no worker sends, one by one: each is refused, its sender killed, and said so in the error
 *   mutations  frames that a worker may send, with anything changed, and mailboxes scribbled over: nothing crashes, nothing
 *              hangs, every run ends
 *   fetches    how often the host reads each byte of a worker's mailbox: hostile_fetches.c
 *
 * To be run in a build with AddressSanitizer and UndefinedBehaviorSanitizer too.
 *
 *     hostile_frames [--canary] [--frames=N]     the figure comes last; the canary takes one refusal for another
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "core/turn.h"
#include "fake_worker.h"
#include "hostile_fetches.h"
#include "hostile_mutants.h"
#include "process/batch.h"
#include "process/bound.h"
#include "process/names.h"
#include "support.h"
#include "value/wire.h"

enum { OWN_ERROR = 7 };

static rn_value noop(rn_call *call) {
    (void)call;
    return rn_none();
}

static rn_value note(rn_call *call, rn_value success, rn_value error) {
    (void)call, (void)success, (void)error;
    return rn_none();
}

static rn_runtime *open_host(unsigned workers) {
    return rn_open(.executor = RN_PROCESSES, .workers = workers, .quarantine = 1000000000, .respawn_rate = 1000000, .log = rn_log_nothing);
}

/* ---- frames as a worker sends them ---- */

struct state {
    uint8_t waits, stage;
    uint64_t iteration, failed;
    rn_value outcome;
    uint8_t has_updated;
    rn_value updated;
    uint8_t is_hook_failed;
};

static void put_state(rni_writer *frame, const struct state *state) {
    rni_put_8(frame, state->waits);
    rni_put_8(frame, state->stage);
    rni_put_64(frame, state->iteration);
    rni_put_64(frame, state->failed);
    rni_put_value(frame, state->outcome);
    rni_put_8(frame, state->has_updated);
    rni_put_value(frame, state->updated);
    rni_put_8(frame, state->is_hook_failed);
}

static rni_writer *begin(struct fake *fake, enum rni_frame kind) {
    rni_writer_begin(&fake->channel.frame, kind);
    return &fake->channel.frame;
}

static void send(struct fake *fake) {
    if (fake->channel.frame.length == 0) rni_put_8(&fake->channel.frame, 0);
    (void)rni_channel_send(&fake->channel);
    fetches_begin_frame();
}

static void put_ended(struct fake *fake, const struct state *state) {
    rni_writer *frame = begin(fake, RNI_ENDED);
    rni_put_8(frame, 0);
    put_state(frame, state);
}

static void put_start(struct fake *fake, uint64_t times, uint64_t every, uint64_t start_in, uint32_t flags) {
    static const uintptr_t none = 0;
    rni_writer *frame = begin(fake, RNI_ASK_START);
    rni_names names = {0};
    rni_put_files(frame, &names);
    rni_put_32(frame, flags);
    rni_put_text(frame, "started");
    rni_put_64(frame, times);
    rni_put_64(frame, every);
    rni_put_64(frame, start_in);
    rni_put_64(frame, 0);
    rni_put_function(frame, (uintptr_t)noop);
    for (unsigned i = 0; i < 4; i++) rni_put_function(frame, none);
    rni_put_bounds(frame, &(rni_bounds){0});
    rni_put_value(frame, rn_int(7));
}

static void put_about(struct fake *fake, enum rni_frame kind, uint64_t future, uint64_t timeout) {
    rni_writer *frame = begin(fake, kind);
    rni_put_64(frame, future);
    if (kind == RNI_ASK_WAIT) rni_put_64(frame, timeout);
}

static void put_log(struct fake *fake, uint8_t level) {
    rni_writer *frame = begin(fake, RNI_ASK_LOG);
    rni_put_8(frame, level);
    rni_put_text(frame, "a message");
    rni_put_value(frame, rn_none());
    rni_put_text(frame, "a task");
    rni_put_64(frame, 1);
    rni_put_64(frame, 1);
}

/* The run is over, as it ought to be. */
static void end_well(struct fake *fake) {
    struct state state = {.stage = RNI_STAGE_END, .iteration = 1, .outcome = rn_int(1), .updated = rn_none()};
    put_ended(fake, &state);
    send(fake);
}

/* ---- refusals ---- */

static struct refusal {
    const char *what;
    bool hooks;
    uint64_t times;
    void (*play)(struct fake *fake);
} *refusal_at_work;

static unsigned refusal_number, refusal_cut;

static struct state good_end(void) {
    return (struct state){.stage = RNI_STAGE_END, .iteration = 1, .outcome = rn_int(1), .updated = rn_none()};
}

static void say(struct fake *fake, struct state state) {
    put_ended(fake, &state);
    send(fake);
}

static void say_stage(struct fake *fake, struct state state) {
    put_state(begin(fake, RNI_STAGE), &state);
    send(fake);
}

static void unknown_kind(struct fake *fake) {
    begin(fake, (enum rni_frame)refusal_number);
    send(fake);
}

static void cut_frame(struct fake *fake) {
    struct state state = good_end();
    state.outcome = rn_text("a text of some length");
    put_ended(fake, &state);
    rn_drop(state.outcome);
    refusal_cut = (unsigned)fake->channel.frame.length;
    fake->channel.frame.length = refusal_number;
    send(fake);
}

static void longer_frame(struct fake *fake) {
    struct state state = good_end();
    put_ended(fake, &state);
    rni_put_8(&fake->channel.frame, 0);
    send(fake);
}

#define WITH(name, change) \
    static void name(struct fake *fake) { \
        struct state state = good_end(); \
        change; \
        say(fake, state); \
    }
#define AT_STAGE(name, change) \
    static void name(struct fake *fake) { \
        struct state state = good_end(); \
        change; \
        say_stage(fake, state); \
    }

WITH(a_flag_of_two, state.has_updated = 2)
WITH(a_waits_of_two, state.waits = 2)
WITH(no_such_stage, state.stage = RNI_STAGE_END + 1)
WITH(beyond_the_times, state.iteration = 2)
WITH(far_beyond_the_times, state.iteration = UINT64_MAX)
WITH(more_failed_than_run, state.failed = 2)
WITH(ended_and_not_run, state.iteration = 0)
WITH(ended_in_the_middle, state.stage = RNI_STAGE_ON_ITER)
WITH(ended_before_the_function, state.stage = RNI_STAGE_FUNCTION; state.outcome = rn_none())
WITH(waits_without_a_schedule, state.waits = 1; state.stage = RNI_STAGE_ON_ITER)
WITH(waits_and_is_over, state.waits = 1)
WITH(outcome_before_the_function, state.stage = RNI_STAGE_FUNCTION; state.iteration = 0)
WITH(hook_failed_and_says_nothing, state.is_hook_failed = 1)
WITH(updated_but_has_not, state.updated = rn_int(4))
AT_STAGE(stage_that_is_the_end, state.stage = RNI_STAGE_END)
AT_STAGE(stage_that_waits, state.stage = RNI_STAGE_ON_ITER; state.waits = 1)
AT_STAGE(stage_without_progress, state.stage = RNI_STAGE_FUNCTION; state.iteration = 0; state.outcome = rn_none())

static void backwards(struct fake *fake) {
    struct state state = good_end();
    state.stage = fake->steps == 1 ? RNI_STAGE_FINISHED : RNI_STAGE_ON_ITER;
    say_stage(fake, state);
}

static void run_once_more(struct fake *fake) {
    struct state state = good_end();
    state.stage = fake->steps == 1 ? RNI_STAGE_FINISHED : RNI_STAGE_FUNCTION;
    if (fake->steps > 1) state.outcome = rn_none();
    say_stage(fake, state);
}

static void wait_for_nobody(struct fake *fake) {
    put_about(fake, RNI_ASK_WAIT, refusal_number, 0);
    send(fake);
}

static void forged(struct fake *fake) {
    static const uint64_t numbers[] = {0, 1, 2, UINT32_MAX, UINT64_C(1) << 32, UINT64_MAX, UINT64_C(1) << 63, 17};
    put_about(fake, (enum rni_frame)(RNI_ASK_STATE + refusal_number % 4), numbers[refusal_number / 4 % 8], 0);
    send(fake);
}

/* Of a run that it has given back. */
static void replayed(struct fake *fake) {
    if (fake->steps == 1) put_start(fake, 1, 0, (uint64_t)RN_SECONDS(3600), 0);
    else put_about(fake, RNI_ASK_RELEASE, 1, 0);
    send(fake);
}

static void log_of_no_level(struct fake *fake) {
    put_log(fake, 200);
    send(fake);
}

static void long_name(struct fake *fake) {
    rni_writer *frame = begin(fake, RNI_ASK_START);
    char name[300];
    memset(name, 'x', sizeof name);
    rni_put_32(frame, 0);
    rni_put_32(frame, 0);
    rni_put_bytes(frame, name, sizeof name);
    send(fake);
}

static void flags_of_no_task(struct fake *fake) {
    put_start(fake, 1, 0, 0, 0xffff0000u);
    send(fake);
}

static void files_beyond_number(struct fake *fake) {
    rni_put_32(begin(fake, RNI_ASK_START), UINT32_MAX);
    send(fake);
}

static void of_length(struct fake *fake, uint64_t length) {
    struct state state = good_end();
    put_ended(fake, &state);
    send(fake);
    rni_store_relaxed(&fake->channel.out->length, length);
}

static void of_no_length(struct fake *fake) { of_length(fake, 0); }
static void of_negative_length(struct fake *fake) { of_length(fake, UINT64_MAX - 7); }
static void of_too_great_length(struct fake *fake) { of_length(fake, (uint64_t)RNI_FRAME_MAX + 1); }

/* A good end, and so many byte strings beside it that no value names, all but the first of one byte. */
static void with_beside(struct fake *fake, uint32_t count, uint64_t length, uint64_t put) {
    rni_mailbox *out = fake->channel.out;
    struct state state = good_end();
    put_ended(fake, &state);
    send(fake);
    rni_store_relaxed(&out->larges, count);
    for (uint32_t i = 0; i < count && i < RNI_WIRE_BUFFERS; i++) rni_store_relaxed(&out->large_lengths[i], i == 0 ? length : 1);
    rni_store_relaxed(&out->put, rni_load_relaxed(&out->put) + put);
}

static void unnamed_beside(struct fake *fake) { with_beside(fake, 1, 100, 100); }
static void too_many_beside(struct fake *fake) { with_beside(fake, RNI_WIRE_BUFFERS + 1, 100, 107); }
static void too_long_beside(struct fake *fake) { with_beside(fake, 1, (uint64_t)RNI_FRAME_MAX + 1, 100); }
static void too_long_in_sum(struct fake *fake) { with_beside(fake, 2, RNI_FRAME_MAX, 100); }
static void longer_than_any(struct fake *fake) { with_beside(fake, 1, UINT64_MAX - 3, 100); }
static void more_than_the_ring(struct fake *fake) { with_beside(fake, 1, 100, RNI_RING_BYTES + 1); }
static void counts_backwards(struct fake *fake) { with_beside(fake, 1, 100, UINT64_MAX); }

static struct refusal refusals[] = {
    {"an unknown kind", false, 1, unknown_kind},
    {"a frame that is cut", false, 1, cut_frame},
    {"a frame that is too long", false, 1, longer_frame},
    {"a flag of two", false, 1, a_flag_of_two},
    {"a `waits` of two", false, 1, a_waits_of_two},
    {"no such stage", false, 1, no_such_stage},
    {"an iteration beyond the times", false, 1, beyond_the_times},
    {"an iteration far beyond the times", false, 1, far_beyond_the_times},
    {"more failed than were run", false, 1, more_failed_than_run},
    {"an end without an iteration", false, 1, ended_and_not_run},
    {"an end in the middle", true, 1, ended_in_the_middle},
    {"an end before the function", true, 1, ended_before_the_function},
    {"waits without a schedule", true, 1, waits_without_a_schedule},
    {"waits without a schedule, many times", true, 3, waits_without_a_schedule},
    {"waits and is over", true, 1, waits_and_is_over},
    {"an outcome before the function", true, 3, outcome_before_the_function},
    {"a hook failed and says nothing", true, 1, hook_failed_and_says_nothing},
    {"updated, but has not", true, 1, updated_but_has_not},
    {"a stage that is the end", true, 1, stage_that_is_the_end},
    {"a stage that waits", true, 1, stage_that_waits},
    {"a stage without progress", true, 3, stage_without_progress},
    {"a stage backwards", true, 1, backwards},
    {"the function once more", true, 3, run_once_more},
    {"a wait for a run that it has not started", true, 1, wait_for_nobody},
    {"a forged number", true, 1, forged},
    {"the number of a run that it has given back", true, 1, replayed},
    {"a level that is none", true, 1, log_of_no_level},
    {"a name that is too long", true, 1, long_name},
    {"flags of no task", true, 1, flags_of_no_task},
    {"files beyond number", true, 1, files_beyond_number},
    {"a message of no length", false, 1, of_no_length},
    {"a message of negative length", false, 1, of_negative_length},
    {"bytes beside it that no value names", false, 1, unnamed_beside},
    {"more beside it than there may be", false, 1, too_many_beside},
    {"too many bytes beside it", false, 1, too_long_beside},
    {"too many bytes in sum", false, 1, too_long_in_sum},
    {"a length beyond all numbers", false, 1, longer_than_any},
    {"more in the ring than fits", false, 1, more_than_the_ring},
    {"a ring that runs backwards", false, 1, counts_backwards},
    {"a message of too great a length", false, 1, of_too_great_length},
};

static void play_refusal(struct fake *fake, uint8_t kind, rni_reader *reader) {
    (void)kind, (void)reader;
    if (fake->steps > 8) end_well(fake); /* it was taken for good: the check below says so */
    else refusal_at_work->play(fake);
}

static rn_future *start_run(rn_runtime *host, bool hooks, uint64_t times) {
    if (!hooks && times == 1) return rn_run(host, noop);
    return rn_run(host, noop, .times = times, .on_iter = hooks ? note : NULL, .on_finished = hooks ? note : NULL);
}

/* The first refusal of a turn is that run's; what comes after it, in other processes, is refused as well. */
static void check_refused(rn_runtime *host, struct refusal *refusal, unsigned number) {
    unsigned long long before = atomic_load(&fake_killed);
    refusal_at_work = refusal;
    refusal_number = number;
    rn_future *future = start_run(host, refusal->hooks, refusal->times);
    rn_value result = rn_result(future);
    const char *said = rn_is_error(result) ? rn_error_message(result) : "no error";
    bool is_told = rn_is_error(result) && rn_error_code(result) == RN_CRASHED && strstr(said, "broke the protocol");
    if (proof_canary && number == 9) is_told = false;
    check(is_told, "%s (%u) is refused, and its sender killed: %s", refusal->what, number, said);
    check(atomic_load(&fake_killed) > before, "%s (%u): its sender is killed", refusal->what, number);
    rn_release(future);
    proof_case();
}

static bool is_known(unsigned kind) {
    return kind >= RNI_STAGE && kind <= RNI_ASK_LOG;
}

static void check_refusals(void) {
    rn_runtime *host = open_host(1);
    fake_plays = play_refusal;
    for (unsigned kind = 0; kind < 256; kind++)
        if (!is_known(kind)) check_refused(host, &refusals[0], kind);
    refusal_cut = 2;
    for (unsigned length = 1; length < refusal_cut; length++) check_refused(host, &refusals[1], length);
    for (unsigned i = 2; i < sizeof refusals / sizeof refusals[0]; i++) {
        unsigned numbers = refusals[i].play == forged ? 32 : 1;
        for (unsigned number = 0; number < numbers; number++) check_refused(host, &refusals[i], number);
    }
    check(rn_close(host, .how = RN_STOP) == RN_OK, "the host closes");
}

/* ---- mutations ---- */

static _Thread_local struct dice dice;
static atomic_ullong frames_sent, runs_started;
static atomic_uint lanes;

static rn_value some_value(void) {
    static const char bytes[9000], large[400000]; /* two of them fit into the ring: nobody takes them out meanwhile */
    if (roll_below(&dice, 512) == 0) return rn_bytes(large, RNI_LARGE_BYTES + (size_t)roll_below(&dice, sizeof large / 2));
    switch (roll_below(&dice, 8)) {
    case 0: return rn_none();
    case 1: return rn_int((int64_t)odd_number(&dice));
    case 2: return rn_text("a text");
    case 3: return rn_error(OWN_ERROR, "an error");
    case 4: return rn_bytes(bytes, (size_t)roll_below(&dice, sizeof bytes));
    case 5: return rn_float(0.5);
    case 6: return rn_bool(true);
    default: return rn_int(1);
    }
}

/* Where the turn stands, as the host says. */
static void take_turn(struct fake *fake, rni_reader *reader) {
    rni_names names = {0};
    rni_take_files(reader, &names);
    rni_names_free(&names);
    fake->stage = rni_take_8(reader);
    fake->iteration = rni_take_64(reader);
    fake->has_hooks = rni_take_32(reader) & RNI_HOOKS;
    for (unsigned i = 0; i < 3; i++) (void)rni_take_64(reader);
    for (unsigned i = 0; i < 3; i++) (void)rni_take_flag(reader);
    fake->times = rni_take_64(reader);
    fake->every = rni_take_64(reader);
}

/* The next stage of an honest turn. True: it is over, or waits. */
static bool advance(struct fake *fake, struct state *state) {
    if (fake->stage == RNI_STAGE_FUNCTION) fake->iteration++;
    bool goes_on = fake->stage <= RNI_STAGE_ON_ITER && fake->iteration < fake->times;
    if (fake->stage == RNI_STAGE_FUNCTION && fake->has_hooks) fake->stage = RNI_STAGE_ON_ITER;
    else if (goes_on) fake->stage = fake->every ? RNI_STAGE_ON_ITER : RNI_STAGE_FUNCTION;
    else fake->stage = fake->has_hooks && fake->stage < RNI_STAGE_FINISHED ? RNI_STAGE_FINISHED : RNI_STAGE_END;
    state->waits = goes_on && fake->every > 0 && roll_below(&dice, 2);
    state->stage = fake->stage;
    state->iteration = fake->iteration;
    return state->waits || state->stage == RNI_STAGE_END;
}

static void put_some_state(struct fake *fake) {
    struct state state = good_end();
    bool is_end = advance(fake, &state);
    state.outcome = state.stage == RNI_STAGE_FUNCTION ? rn_none() : some_value();
    state.has_updated = roll_below(&dice, 4) == 0;
    state.updated = state.has_updated ? some_value() : rn_none();
    if (roll_below(&dice, 24) == 0) state.stage = (uint8_t)roll_below(&dice, 6);
    if (roll_below(&dice, 24) == 0) state.iteration = odd_number(&dice);
    if (roll_below(&dice, 24) == 0) is_end = !is_end;
    if (is_end) put_ended(fake, &state);
    else put_state(begin(fake, RNI_STAGE), &state);
    rn_drop(state.outcome);
    rn_drop(state.updated);
}

static uint64_t some_future(void) { return roll_below(&dice, 4) ? roll_below(&dice, 5) : odd_number(&dice); }

static void put_some_frame(struct fake *fake) {
    switch (roll_below(&dice, 15)) {
    case 0:
        if (atomic_fetch_add(&runs_started, 1) % 512 < 128) {
            put_start(fake, 1 + roll_below(&dice, 3), roll_below(&dice, 2) ? 0 : 1000, 0, (uint32_t)roll_below(&dice, 4));
            return;
        }
        put_some_state(fake);
        return;
    case 1: put_about(fake, RNI_ASK_WAIT, some_future(), roll_below(&dice, 2000)); return;
    case 2: put_about(fake, (enum rni_frame)(RNI_ASK_STATE + roll_below(&dice, 4)), some_future(), 0); return;
    case 3: rni_put_64(begin(fake, RNI_ASK_PENDING), roll_below(&dice, 20)); return;
    case 4: (void)begin(fake, RNI_ASK_STATS); return;
    case 5: rni_put_64(begin(fake, RNI_ASK_REPORT), roll(&dice)); return;
    case 6: put_log(fake, (uint8_t)roll_below(&dice, 4)); return;
    case 7: (void)begin(fake, RNI_ASK_STOP_SELF); return;
    default: put_some_state(fake); return;
    }
}

/* The end of a batch, mostly as it would be: marks, results, and the message. */
static void put_batch_end(struct fake *fake) {
    rni_mailbox *out = fake->channel.out;
    uint32_t message = fake->channel.seen, done = (uint32_t)(roll_below(&dice, 4) ? 1 + roll_below(&dice, 3) : odd_number(&dice));
    size_t at = 0;
    for (uint32_t i = 0; i < done && i < RNI_BATCH_MOST; i++) {
        rn_value value = some_value();
        size_t size = rni_wire_size(value);
        uint32_t length = (uint32_t)(roll_below(&dice, 32) ? size : odd_number(&dice));
        if (size + sizeof length <= RNI_BATCH_VALUE && at + size + sizeof length <= RNI_RESULTS_BYTES) {
            memcpy(out->results + at, &length, sizeof length);
            rni_wire_write(value, out->results + at + sizeof length);
            at += size + sizeof length;
        }
        rn_drop(value);
    }
    rni_store_relaxed(&out->begun, rni_batch_mark(message, done | (roll_below(&dice, 8) ? 0 : RNI_TALKS)));
    rni_store_relaxed(&out->done, rni_batch_mark(message + (roll_below(&dice, 16) == 0), done));
    rni_put_64(begin(fake, RNI_BATCH_ENDED), odd_number(&dice));
}

static void play_mutations(struct fake *fake, uint8_t kind, rni_reader *reader) {
    if (kind == RNI_TURN) take_turn(fake, reader);
    fake->channel.patience = 1; /* one that has scribbled over its own end of the ring finds no room there, and gives up */
    if (dice.state == 0) dice = dice_of(1 + atomic_fetch_add(&lanes, 1));
    atomic_fetch_add(&frames_sent, 1);
    if (roll_below(&dice, 64) == 0) {
        fake_die(fake, (int)roll_below(&dice, 0x10000));
        return;
    }
    if (kind == RNI_BATCH && roll_below(&dice, 8)) put_batch_end(fake);
    else put_some_frame(fake);
    if (roll_below(&dice, 8) == 0) mutate_frame(&dice, &fake->channel.frame);
    uint32_t count = rni_load_relaxed(&fake->channel.out->count);
    send(fake);
    if (roll_below(&dice, 64)) return;
    scribble_mailbox(&dice, fake);
    if (rni_load_relaxed(&fake->channel.out->count) == count) rni_store_relaxed(&fake->channel.out->count, count + 1);
}

enum { ROUND = 2000 };

static void play_round(void) {
    static rn_future *futures[ROUND];
    rn_runtime *host = open_host(1);
    check(rn_is_none(rn_open_error(host)), "the host opens");
    for (unsigned i = 0; i < ROUND; i++)
        futures[i] = i % 4 == 3 ? rn_run(host, noop, .times = 3, .every = i % 8 == 3 ? 1000 : 0, .on_iter = note)
                                : start_run(host, i % 4 == 1, i % 4 == 2 ? 3 : 1);
    (void)rn_wait(futures[ROUND - 1], RN_SECONDS(1)); /* what the fakes start may never end by itself */
    check(rn_close(host, .how = RN_STOP) == RN_OK, "the host closes");
    for (unsigned i = 0; i < ROUND; i++) {
        check(rn_state(futures[i]) >= RN_DONE, "every run ends");
        rn_release(futures[i]);
    }
}

static void check_mutations(uint64_t wanted) {
    unsigned descriptors = proc_entries("/proc/self/fd");
    fake_plays = play_mutations;
    while (atomic_load(&frames_sent) < wanted) play_round();
    check(proc_entries("/proc/self/fd") <= descriptors + 1, "no descriptor is left");
    proof_cases(atomic_load(&frames_sent));
    printf("P11: %llu mutated frames, %llu senders killed, of %llu\n", (unsigned long long)atomic_load(&frames_sent),
           (unsigned long long)atomic_load(&fake_killed), (unsigned long long)atomic_load(&fake_spawned));
}

/* ---- fetches ---- */

/* That comes beside its frame. */
static rn_value large_text(void) {
    static char text[50000];
    memset(text, 't', sizeof text - 1);
    return rn_text(text);
}

/* A frame of each kind in turn, none of them wrong. */
static void play_honestly(struct fake *fake, uint8_t kind, rni_reader *reader) {
    struct state state = good_end();
    (void)kind, (void)reader;
    fetches_end_frame();
    switch (fake->steps % 8) {
    case 0: rni_put_64(begin(fake, RNI_ASK_PENDING), 3); break;
    case 1: (void)begin(fake, RNI_ASK_STATS); break;
    case 2: rni_put_64(begin(fake, RNI_ASK_REPORT), 0); break;
    case 3: put_log(fake, RN_LOG_INFO); break;
    case 4: put_start(fake, 1, 0, (uint64_t)RN_SECONDS(3600), RNI_DETACHED); break;
    case 5: rni_put_64(begin(fake, RNI_ASK_PENDING), 0); break;
    case 6:
        state.stage = RNI_STAGE_FINISHED;
        put_state(begin(fake, RNI_STAGE), &state);
        break;
    default:
        state.outcome = fake->steps % 16 != 7 ? rn_error(OWN_ERROR, "an error") :
                        fake->steps % 32 == 7 ? rn_text("a text") : large_text();
        put_ended(fake, &state);
        rn_drop(state.outcome);
    }
    send(fake);
}

static void watch(struct fake *fake) { fetches_watch(fake->host_in, fake->channel.out); }

static void check_fetches(unsigned runs) {
    if (!fetches_can_watch()) {
        printf("P11: fetches are not counted in this build\n");
        return;
    }
    rn_runtime *host = open_host(1);
    fake_plays = play_honestly;
    fake_appears = watch;
    for (unsigned i = 0; i < runs; i++) {
        rn_future *future = start_run(host, true, 1);
        rn_value result = rn_result(future);
        check(!rn_is_error(result) || rn_error_code(result) == OWN_ERROR, "nothing is refused: %s",
              rn_is_error(result) ? rn_error_message(result) : "");
        rn_release(future);
    }
    fetches_end_frame();
    fetches_stop();
    fake_appears = NULL;
    check(rn_close(host, .how = RN_STOP) == RN_OK, "the host closes");
    fetches_judge();
}

int main(int argc, char **argv) {
    proof_begin(argc, argv, "P11");
    guard_against_hang(proof_torture ? 14000 : 280);
    check_refusals();
    check_fetches((unsigned)proof_amount(200, 2000));
    const char *wanted = proof_option("--frames");
    if (!proof_canary) check_mutations(wanted ? strtoull(wanted, NULL, 10) : proof_torture ? 10000000 : proof_amount(60000, 0)); /* so many in a sanitizer too */
    return proof_end("refusals, mutations and fetches");
}
