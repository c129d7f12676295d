/*
 * The window between a host thread and its worker process: several turns are on their way at a time, the worker takes
 * them one after the other, and the host may take back what is not begun. The worker is killed between any two steps.
 *
 * Numbers. Each message of the host has a number, counted from 1 in each process anew. `told`, in the worker's page, is
 * the number of the turn begun last; `revoked`, in the host's page, the first number that is not to be begun any more.
 *
 *   host:    revoked = r; t = told;     what is >= r and > t is the host's again, at once
 *   worker:  told = n; r = revoked;     if n >= r the turn is not run, and the answer is SKIPPED
 *
 * With one order of these four steps (seq_cst on both sides) either the host sees that n was begun, or the worker sees
 * that it was revoked, or both; never neither. The answer SKIPPED is a receipt: when all that was sent is answered, and not
 * before, `revoked` is lifted, and the places of the messages are used again. A worker whose task has asked the host
 * something gives back the turns that lie before the answer, with SKIPPED, and does not touch `told` for them.
 *
 * After a death (the watcher's word, read before the last look for frames) the host reads what frames there are. What has
 * no answer then: the turns up to `told` are taken for run and have crashed, but those that were revoked before they were
 * told; the others go back to the queue.
 *
 * To take back nothing before its SKIPPED has come would be as safe, and need no order of the four steps; but what lies
 * behind a task that does not end would be stuck there (the mutant ONLY_BY_ANSWER).
 *
 * Safety: a run is executed at most once, resolved once, with its own value; one that has published its result, or was not
 * begun, does not crash; nobody sleeps while there is something to do, and at the end all are resolved.
 * Canaries: -DM_X breaks the one thing X each; run_spin.py runs them all.
 */
#ifndef RUNS
#define RUNS 3
#endif
#ifndef WINDOW
#define WINDOW 2
#endif
#ifndef KILLS
#define KILLS 1
#endif
#ifndef REVOKES
#define REVOKES 1
#endif
#ifndef ASKS /* whether the task of run 0 waits for run 1 */
#define ASKS 0
#endif
#ifndef HANGS /* whether the task of run 0 does not end before run 1 has, and tells nobody */
#define HANGS 0
#endif
#define RING (WINDOW + 1) /* beside the turns an answer; beside their ends a question */
#define NEVER 255

/* Messages, and frames. */
#define TURN 0
#define ANSWER 1
#define DONE 2
#define SKIPPED 3
#define ASK 4

/* The host's page. */
byte sent = 0, revoked = NEVER;
byte message_kind[RING], message_run[RING];
/* The worker's page. */
byte told = 0, frames = 0;
byte frame_kind[RING], frame_number[RING], frame_run[RING];
/* The futexes: whether the word has moved since the one who sleeps on it last read it. */
bool host_moved = false, worker_moved = false;

byte life = 0;
bool alive = false, up = false, dead = false; /* the process; whether the host has one; the watcher's word */
bool queued[RUNS];

/* What a ledger would say. */
byte executions[RUNS], resolved[RUNS], all = 0;
bool named[RUNS], published[RUNS];

inline execute(which) {
    atomic {
        executions[which]++;
        assert(executions[which] == 1)
    }
}

inline resolve(which) {
    resolved[which]++;
    all++;
    assert(resolved[which] == 1)
}

/* The first: they are all alike but for the order. */
inline take_queued(which) {
    which = 0;
    do
    :: queued[which] -> queued[which] = false; break
    :: else -> which++
    od
}

#if RUNS > 3
#define something_queued (queued[0] || queued[1] || queued[2] || queued[3])
#elif RUNS > 2
#define something_queued (queued[0] || queued[1] || queued[2])
#else
#define something_queued (queued[0] || queued[1])
#endif

/* ---- the worker ---- */

inline tell(number, which) {
    atomic { told = number; named[which] = true }
}

inline put_payload(kind, number, which) {
    atomic {
        at = frames % RING;
        frame_kind[at] = kind;
        frame_number[at] = number;
        frame_run[at] = which;
        at = 0
    }
}

inline put_count(kind, which) {
    atomic {
        frames++;
        published[which] = (kind == DONE)
    }
}

inline put_frame(kind, number, which) {
#ifdef M_COUNT_BEFORE_PAYLOAD
    put_count(kind, which);
    atomic { frames--; put_payload(kind, number, which); frames++ }
    host_moved = true
#elif defined(M_WORD_BEFORE_COUNT)
    put_payload(kind, number, which);
    host_moved = true;
    put_count(kind, which)
#else
    put_payload(kind, number, which);
    put_count(kind, which);
    host_moved = true
#endif
}

proctype worker(byte mine) {
    byte seen, which, at, limit, asked_by;
    bool asking, skips;
    {
        asked_by = 0;
look:
        atomic { worker_moved = false; which = 0; limit = 0; skips = false }
        atomic {
            if
            :: sent == seen -> goto sleep
            :: else
            fi;
            at = seen % RING;
            seen++;
            which = message_run[at];
            if
            :: message_kind[at] == ANSWER ->
                assert(asking);
                at = 0; asking = false; limit = asked_by; asked_by = 0;
                goto done
            :: message_kind[at] == TURN && asking ->
                at = 0;
#ifdef M_ASKING_LEAVES_OTHERS
                seen--;
                goto sleep
#else
                limit = seen;
                goto skip_it
#endif
            :: message_kind[at] == TURN && !asking -> at = 0
            fi
        }
#if defined(M_REVOKED_READ_FIRST)
        skips = (seen >= revoked);
        tell(seen, which);
#elif defined(M_TOLD_AFTER_RUN)
        skips = (seen >= revoked);
#else
        tell(seen, which);
        skips = (seen >= revoked);
#endif
        atomic {
            limit = seen;
#ifndef M_REVOKED_NOT_READ
            if
            :: skips -> goto skip_it
            :: else
            fi;
#endif
            execute(which)
        }
#ifdef M_TOLD_AFTER_RUN
        tell(seen, which);
#endif
        if
        :: ASKS && which == 0 -> atomic { asking = true; asked_by = limit; goto ask }
        :: HANGS && which == 0 ->
end_of_hang:
            resolved[1] > 0;
            goto done
        :: else -> goto done
        fi;
ask:    put_frame(ASK, limit, which);
        goto look;
done:   put_frame(DONE, limit, which);
        goto look;
skip_it:
        put_frame(SKIPPED, limit, which);
        goto look;
sleep:
end_of_mail:
        atomic { worker_moved -> goto look }
    } unless { atomic { !alive || life != mine -> seen = 0; which = 0; at = 0; limit = 0; asked_by = 0; asking = false; skips = false } }
}

proctype killer() {
    byte kills = 0;
end_of_kills:
    do
    :: atomic { alive && kills < KILLS -> alive = false; kills++ }
    od
}

proctype watcher() {
end_of_watch:
    do
    :: up && !alive && !dead ->
       dead = true;
#ifndef M_NO_NUDGE
       host_moved = true
#endif
    od
}

/* Another thread of the host, and its process: a run that it gets is run. */
proctype elsewhere() {
    byte which;
end_of_queue:
    do
    :: atomic {
        something_queued -> take_queued(which);
        execute(which);
        resolve(which);
        which = 0
       }
    od
}

/* ---- the host's thread ---- */

/* A place in the ring: nothing; a turn; a turn that will not be run, and was queued again; an answer. */
#define FREE 0
#define OUT 1
#define GIVEN 2
#define REPLY 3

inline free_place(i) {
    place[i] = FREE;
    number_at[i] = 0;
    run_at[i] = 0
}

inline send(kind, which) {
    atomic {
        at = sent % RING;
        message_kind[at] = kind;
        message_run[at] = which;
        place[at] = (kind == TURN -> OUT : REPLY);
        number_at[at] = sent + 1;
        run_at[at] = which;
        at = 0
    }
    sent++;
    worker_moved = true
}

/* What will not be run, for certain. */
inline take_back(first, t) {
#ifdef M_ONLY_BY_ANSWER
    skip
#else
    atomic {
        i = 0;
        do
        :: i < RING && place[i] == OUT && number_at[i] >= first && number_at[i] > t ->
            place[i] = GIVEN;
            queued[run_at[i]] = true;
            i++
        :: i < RING && !(place[i] == OUT && number_at[i] >= first && number_at[i] > t) -> i++
        :: i == RING -> break
        od;
        i = 0
    }
#endif
}

inline revoke(first) {
#ifdef M_TOLD_READ_FIRST
    t = told;
    revoked = first;
    atomic { take_back(first, t); t = 0 }
#else
    revoked = first;
    atomic {
        t = told;
#ifdef M_TOLD_NOT_READ
        t = 0;
#endif
        take_back(first, t);
        t = 0
    }
#endif
#ifdef M_LIFTED_EARLY
    revoked = NEVER
#endif
}

inline take_frame() {
    at = got % RING;
    kind = frame_kind[at];
    number = frame_number[at];
    which = frame_run[at];
    got++;
    at = (number - 1) % RING;
    assert(number > 0 && number_at[at] == number && run_at[at] == which);
    assert(place[at] == OUT || place[at] == GIVEN);
    if
    :: kind == ASK ->
        assert(place[at] == OUT);
        owes = true
    :: kind == DONE ->
        assert(place[at] == OUT);
        resolve(which);
        i = 0;
        do
        :: i < RING && place[i] == REPLY -> free_place(i); i++
        :: i < RING && place[i] != REPLY -> i++
        :: i == RING -> i = 0; break
        od
    :: kind == SKIPPED ->
        if
        :: place[at] != GIVEN -> queued[which] = true
        :: else
        fi
    fi;
    if
    :: kind == ASK -> first = number + 1
    :: else ->
        free_place(at);
        unanswered--;
        if
        :: unanswered == 0 -> revoked = NEVER
        :: else
        fi
    fi;
    at = 0; kind = 0; number = 0; which = 0
}

inline bury() {
    atomic {
        i = 0;
        do
        :: i < RING ->
            if
#ifdef M_ALL_CRASH
            :: place[i] == OUT ->
#elif defined(M_RETRY_ALL)
            :: false ->
#else
            :: place[i] == OUT && number_at[i] <= told ->
#endif
                assert(named[run_at[i]] && !published[run_at[i]]);
                resolve(run_at[i])
#ifdef M_RETRY_ALL
            :: place[i] == OUT ->
#elif defined(M_ALL_CRASH)
            :: false ->
#else
            :: place[i] == OUT && number_at[i] > told ->
#endif
                queued[run_at[i]] = true
            :: place[i] == GIVEN || place[i] == REPLY || place[i] == FREE
            fi;
            free_place(i);
            i++
        :: i == RING -> i = 0; break
        od;
        unanswered = 0; got = 0; owes = false;
        up = false
    }
}

inline spawn() {
    atomic {
        sent = 0; revoked = NEVER; told = 0; frames = 0;
        host_moved = false; worker_moved = false;
        i = 0;
        do
        :: i < RING ->
            message_kind[i] = 0; message_run[i] = 0;
            frame_kind[i] = 0; frame_number[i] = 0; frame_run[i] = 0;
            i++
        :: i == RING -> i = 0; break
        od;
        i = 0;
        do
        :: i < RUNS -> named[i] = false; i++
        :: i == RUNS -> i = 0; break
        od;
        life++;
        dead = false; alive = true; up = true;
        run worker(life)
    }
}

#define AWAITS owes /* the thread sleeps in the wait, and reads no frames meanwhile */
#ifdef M_NO_ROOM_NEEDED
#define HAS_ROOM (unanswered <= RING)
#else
#define HAS_ROOM (unanswered < WINDOW && place[sent % RING] == FREE)
#endif

#define may_revoke (revoked == NEVER && revokes < REVOKES && (!HANGS || executions[0] > 0))

active proctype host() {
    byte place[RING], number_at[RING], run_at[RING];
    byte got = 0, unanswered = 0, revokes = 0, i = 0, at = 0, which = 0, kind = 0, number = 0, t = 0, first = 0;
    bool owes = false, was_dead = false;
    atomic {
        do
        :: i < RUNS -> queued[i] = true; i++
        :: i == RUNS -> i = 0; break
        od;
        run elsewhere();
        run killer();
        run watcher()
    }
    do
    :: all == RUNS -> break
    :: !up && something_queued -> spawn()
    :: atomic {
        up && !AWAITS && HAS_ROOM && revoked == NEVER && something_queued ->
        take_queued(which);
        unanswered++
       }
       send(TURN, which);
       which = 0
    :: up && !AWAITS && unanswered > 0 && may_revoke ->
        atomic {
            revokes++;
            select(first : 1 .. (HANGS -> 1 : sent))
        }
        revoke(first);
        first = 0
    :: up && owes && resolved[1] > 0 ->
        assert(place[sent % RING] == FREE);
        owes = false;
        send(ANSWER, 0)
    :: up && !AWAITS && unanswered > 0 ->
        host_moved = false;
#ifndef M_DEATH_READ_LATE
        was_dead = dead;
#endif
        atomic {
            if
            :: frames != got -> take_frame()
            :: frames == got -> goto no_mail
            fi
        }
        if
        :: atomic { first > 0 && revoked > first -> was_dead = false }
            revoke(first)
        :: atomic { first == 0 || revoked <= first -> was_dead = false }
        fi;
        first = 0;
        goto next;
no_mail:
#ifdef M_DEATH_READ_LATE
        was_dead = dead;
#endif
        if
        :: atomic { was_dead -> was_dead = false; bury() }
        :: !was_dead ->
            if
            :: host_moved
            :: owes && resolved[1] > 0
            :: HANGS && may_revoke /* it takes long */
            fi
        fi;
next:   skip
    od
}

/* Nobody can go on: then everything is done. */
active proctype end_of_all() {
    timeout;
    assert(all == RUNS)
}
