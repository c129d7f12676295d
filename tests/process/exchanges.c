/*
 * Threads whose processes lie idle exchange them: for a run that goes home, and while the system refuses new ones. So a
 * thread may use its place without the lock only while none of its turns is under way there, also when the process of that
 * turn has died in a run that it waited for, and a new one has come and gone. The host's side is the library's own; the
 * processes are played by this program (fake_worker.h), so ThreadSanitizer sees all of it.
 *
 * A run starts another and waits for it, DEPTH deep: deeper than there are threads, so some of them are run where they are
 * waited for. In the last one the process dies. The hooks need another process, which may be refused. Beside them are runs
 * whose process dies before it has begun them.
 *
 *     exchanges [--runs=N]     the figure comes last; --canary expects that no process dies, and must fail
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/turn.h"
#include "fake_worker.h"
#include "process/batch.h"
#include "process/bound.h"
#include "process/names.h"
#include "support.h"

enum { WORKERS = 3, SPARES = 1, ROUND = 16, DEPTH = WORKERS + SPARES + 4 };

static rn_value noop(rn_call *call) {
    (void)call;
    return rn_none();
}

static rn_value note(rn_call *call, rn_value success, rn_value error) {
    (void)call, (void)success, (void)error;
    return rn_none();
}

/* ---- the processes ---- */

static atomic_ullong deaths;
static atomic_ullong died_below;
static _Thread_local struct dice dice;
static atomic_uint lanes;

static uint64_t roll_of_thread(uint64_t below) {
    if (dice.state == 0) dice = dice_of(1 + atomic_fetch_add(&lanes, 1));
    return roll_below(&dice, below);
}

static bool is_refused(void) { return roll_of_thread(4) == 0; }

static rni_writer *begin(struct fake *fake, enum rni_frame kind) {
    rni_writer_begin(&fake->channel.frame, kind);
    return &fake->channel.frame;
}

static void end_turn(struct fake *fake) {
    rni_writer *frame = begin(fake, RNI_ENDED);
    rni_put_8(frame, 0);
    rni_put_8(frame, 0);
    rni_put_8(frame, RNI_STAGE_END);
    rni_put_64(frame, 1);
    rni_put_64(frame, 0);
    rni_put_value(frame, rn_int(1));
    rni_put_8(frame, 0);
    rni_put_value(frame, rn_none());
    rni_put_8(frame, 0);
    (void)rni_channel_send(&fake->channel);
}

/* A run's name is its depth, as a letter. */
static void start_inner(struct fake *fake, char depth) {
    const char name[] = {depth, '\0'};
    rni_writer *frame = begin(fake, RNI_ASK_START);
    rni_names names = {0};
    rni_put_files(frame, &names);
    rni_put_32(frame, 0);
    rni_put_text(frame, name);
    rni_put_64(frame, 1);
    for (unsigned i = 0; i < 3; i++) rni_put_64(frame, 0);
    rni_put_function(frame, (uintptr_t)noop);
    for (unsigned i = 0; i < 3; i++) rni_put_function(frame, 0);
    rni_put_function(frame, (uintptr_t)note);
    rni_put_bounds(frame, &(rni_bounds){0});
    rni_put_value(frame, rn_none());
    fake->is_starting = true;
    (void)rni_channel_send(&fake->channel);
}

static void wait_for_inner(struct fake *fake, uint64_t number) {
    rni_writer *frame = begin(fake, RNI_ASK_WAIT);
    rni_put_64(frame, number);
    rni_put_64(frame, (uint64_t)-1);
    fake->is_starting = false;
    (void)rni_channel_send(&fake->channel);
}

/* The depth, if the function is to be run, or 0. */
static char take_turn(struct fake *fake, rni_reader *reader) {
    char name[RN_NAME_MAX + 1];
    rni_names names = {0};
    rni_take_files(reader, &names);
    rni_names_free(&names);
    uint8_t stage = rni_take_8(reader);
    (void)rni_take_64(reader);
    (void)rni_take_32(reader);
    for (unsigned i = 0; i < 3; i++) (void)rni_take_64(reader);
    for (unsigned i = 0; i < 3; i++) (void)rni_take_flag(reader);
    for (unsigned i = 0; i < 3; i++) (void)rni_take_64(reader);
    rni_take_text(reader, name, sizeof name);
    rni_store_release(&fake->channel.out->begun, (uint64_t)fake->channel.seen << 32); /* pairs with the host's has_begun */
    return stage == RNI_STAGE_FUNCTION ? name[0] : 0;
}

static void play_turn(struct fake *fake, rni_reader *reader) {
    char depth = take_turn(fake, reader);
    if (depth && depth < 'a' + DEPTH) {
        start_inner(fake, (char)(depth + 1));
    } else if (depth && !proof_canary) {
        atomic_fetch_add(&deaths, 1);
        fake_die(fake, 9);
    } else {
        end_turn(fake);
    }
}

static void play(struct fake *fake, uint8_t kind, rni_reader *reader) {
    if (kind == RNI_BATCH) fake_die(fake, 9); /* before it has begun any of it */
    else if (kind == RNI_TURN) play_turn(fake, reader);
    else if (fake->is_starting) wait_for_inner(fake, rni_take_64(reader));
    else end_turn(fake);
}

/* ---- the host ---- */

static bool is_right(rn_value result) {
    return rn_is_error(result) ? rn_error_code(result) == RN_CRASHED : rn_kind(result) == RN_INT && rn_as_int(result) == 1;
}

/* Of those that died with the run that they waited for the iteration has failed, and the others have not. */
static void count_failures(void *unused, const rn_log_record *record) {
    (void)unused;
    bool is_of_inner = rn_is_error(record->error) && strstr(rn_error_message(record->error), "in a run that this task waited for");
    if (is_of_inner) atomic_fetch_add(&died_below, 1);
}

static void play_round(rn_runtime *host) {
    rn_future *futures[ROUND];
    for (unsigned i = 0; i < ROUND; i++) {
        const char name[] = {(char)('a' + i % DEPTH), '\0'};
        futures[i] = i % 4 == 3 ? rn_run(host, noop) : rn_run(host, noop, .on_finished = note, .name = name);
    }
    for (unsigned i = 0; i < ROUND; i++) {
        rn_value result = rn_result(futures[i]);
        check(is_right(result), "a run ended otherwise: %s", rn_is_error(result) ? rn_error_message(result) : "a value");
        rn_release(futures[i]);
        proof_case();
    }
}

int main(int argc, char **argv) {
    proof_begin(argc, argv, "exchanges");
    guard_against_hang(proof_torture ? 1500 : 100);
    const char *wanted = proof_option("--runs");
    uint64_t runs = wanted ? strtoull(wanted, NULL, 10) : proof_amount(4096, 200000);
    fake_plays = play;
    fake_is_refused = is_refused;
    rn_runtime *host = rn_open(.executor = RN_PROCESSES, .workers = WORKERS, .spare_workers = SPARES, .quarantine = 1000000000, .respawn_rate = 1000000,
                               .log = count_failures);
    check(rn_is_none(rn_open_error(host)), "the host opens");
    while (proof_good() < runs && proof_broken() == 0) play_round(host);
    check(atomic_load(&died_below) > 0, "processes die in runs that they wait for");
    check(atomic_load(&fake_killed) == 0, "%llu are taken for hostile", (unsigned long long)atomic_load(&fake_killed));
    check(rn_close(host) == RN_OK, "the host closes");
    printf("exchanges: %llu processes died, %llu of them in a run that they waited for\n", (unsigned long long)atomic_load(&deaths),
           (unsigned long long)atomic_load(&died_below));
    return proof_end("runs");
}
