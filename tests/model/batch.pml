/*
 * Batches, as src/process/batch.h has them: a host thread sends many plain runs in one message, the worker runs them one
 * after the other, and the host may take back what is not begun. The worker is killed between any two steps.
 *
 * `begun` and `done` are words of the worker's page, each with the number of the message and a place in it; `revoked`, in the
 * host's, is the number of the message of which no further run is to begin.
 *
 *   host:    revoked = m; b = begun;     what is beyond b goes back to the queue, at once
 *   worker:  begun = n; r = revoked;     if r == m that run is not begun, and the batch ends
 *
 * With one order of these four steps (seq_cst on both sides) either the host sees that n has begun, or the worker sees that
 * it must not, or both: then the run is in doubt, and the worker's last message settles it.
 *
 * After a death (the watcher's word, read before the last look for messages): what is done is done, what has begun
 * beyond that has crashed, the rest goes back to the queue.
 *
 * Safety: a run is executed at most once and told once, with its own result; one that is done, or was not begun, does not
 * crash; nobody sleeps while there is something to do, and at the end all are told.
 * Canaries: -DM_X breaks the one thing X each; run_spin.py runs them all.
 */
#ifndef RUNS
#define RUNS 3
#endif
#ifndef MOST /* runs in a batch */
#define MOST 3
#endif
#ifndef KILLS
#define KILLS 1
#endif
#ifndef REVOKES
#define REVOKES 1
#endif
#ifndef ASKS /* whether the task of run 0 asks its host something */
#define ASKS 0
#endif
#ifndef HANGS /* whether the task of run 0 does not end before run 1 has, and tells nobody */
#define HANGS 0
#endif

#define ENDED 1      /* of the batch */
#define QUESTION 2
#define TURN_ENDED 3

/* The host's page. */
byte sent = 0, revoked = 0, runs_of[MOST], count_of;
/* The worker's page. A mark is one word. */
byte begun_of, begun, done_of, done, result[MOST], frames = 0, frame;
bool talks;
/* The futexes: whether the word has moved since the one who sleeps on it last read it. */
bool host_moved = false, worker_moved = false;

byte life = 0;
bool alive = false, up = false, dead = false; /* the process; whether the host has one; the watcher's word */
bool queued[RUNS];

/* What a ledger would say. */
byte executions[RUNS], told[RUNS], all = 0;
bool named[RUNS], published[RUNS];

inline execute(which) {
    executions[which]++;
    assert(executions[which] == 1)
}

inline tell(which) {
    told[which]++;
    all++;
    assert(told[which] == 1)
}

#if RUNS > 2
#define something_queued (queued[0] || queued[1] || queued[2])
#else
#define something_queued (queued[0] || queued[1])
#endif

inline take_queued(which) {
    which = 0;
    do
    :: queued[which] -> queued[which] = false; break
    :: else -> which++
    od
}

/* ---- the worker ---- */

inline put_frame(kind) {
#if defined(M_COUNT_BEFORE_FRAME)
    frames++;
    frame = kind;
    host_moved = true
#elif defined(M_WORD_BEFORE_COUNT)
    frame = kind;
    host_moved = true;
    frames++
#else
    frame = kind;
    frames++;
    host_moved = true
#endif
}

inline mark_begun() {
    atomic { begun_of = message; begun = place; talks = false; named[which] = true }
}

proctype worker(byte mine) {
    byte message, place, which;
    bool stops;
    {
        message = 0;
look:
        worker_moved = false;
        atomic {
            place = 0;
            if
            :: sent == message -> goto sleep
            :: else -> message = sent
            fi
        }
next:
        atomic {
            which = 0;
            if
            :: place == count_of -> goto over
            :: else -> which = runs_of[place]; place++
            fi
        }
#if defined(M_REVOKED_READ_FIRST)
        stops = (revoked == message);
        mark_begun();
#elif defined(M_BEGUN_AFTER_RUN)
        stops = (revoked == message);
#else
        mark_begun();
        stops = (revoked == message);
#endif
        atomic {
            if
            :: stops -> stops = false; goto over
            :: else -> execute(which)
            fi
        }
#ifdef M_BEGUN_AFTER_RUN
        mark_begun();
#endif
        if
        :: ASKS && which == 0 -> goto ask
        :: HANGS && which == 0 ->
end_of_hang:
            told[1] > 0
        :: else
        fi;
#ifdef M_DONE_BEFORE_RESULT
        atomic { done_of = message; done = place; published[which] = true }
        result[place - 1] = which + 1;
#else
        result[place - 1] = which + 1;
        atomic { done_of = message; done = place; published[which] = true }
#endif
        goto next;
over:   put_frame(ENDED);
        goto look;
ask:
#ifndef M_TALKS_NOT_FIRST
        talks = true;
#endif
        put_frame(QUESTION);
#ifdef M_TALKS_NOT_FIRST
        talks = true;
#endif
        atomic { sent != message -> message = sent }
        put_frame(TURN_ENDED);
        published[which] = true;
        goto look;
sleep:
end_of_mail:
        atomic { worker_moved -> goto look }
    } unless { atomic { !alive || life != mine -> message = 0; place = 0; which = 0; stops = false } }
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
        tell(which);
        which = 0
       }
    od
}

/* ---- the host's thread ---- */

inline spawn() {
    atomic {
        sent = 0; revoked = 0; begun_of = 0; begun = 0; done_of = 0; done = 0; frames = 0; frame = 0; talks = false;
        host_moved = false; worker_moved = false;
        seen = 0;
        life++;
        dead = false; alive = true; up = true;
        run worker(life)
    }
}

inline read_begun() {
    b = begun;
#ifndef M_MARK_WITHOUT_NUMBER
    if
    :: begun_of != message -> b = 0
    :: else
    fi;
#endif
    is_talking = (b > 0 && talks)
}

/* Those from that place on. */
inline give_back_from(first) {
    do
    :: count > first -> count--; queued[batch[count]] = true; named[batch[count]] = false; batch[count] = 0
    :: else -> break
    od
}

inline take_results(upto) {
    do
    :: over < upto ->
        assert(over < count && result[over] == batch[over] + 1);
        result[over] = 0;
        tell(batch[over]);
        over++
    :: else -> break
    od
}

inline read_done() {
    d = (done_of == message -> done : 0);
    if
    :: d > count -> d = count
    :: else
    fi
}

inline revoke() {
#ifdef M_BEGUN_READ_FIRST
    atomic { read_begun() }
    revoked = message;
#else
    revoked = message;
    atomic { read_begun() }
#endif
#ifdef M_BEGUN_NOT_READ
    b = over + 1;
#endif
    atomic {
        if
        :: b > 0 && b <= count -> give_back_from(b)
        :: else
        fi;
        b = 0; is_talking = false; is_revoked = true; revokes++
    }
    atomic { read_done(); take_results(d); d = 0 }
}

inline crash(which) {
    assert(named[which] && !published[which]);
    tell(which)
}

/* What has begun beyond what is done has crashed. */
inline end_dead() {
    atomic {
        read_begun();
        if
        :: b > count -> b = count
        :: else
        fi;
        read_done();
#ifdef M_DONE_NOT_READ
        d = over;
#endif
        take_results(d);
#ifdef M_ALL_CRASH
        b = count;
#endif
#ifdef M_RETRY_ALL
        b = over;
#endif
        give_back_from(b);
        do
        :: over < count -> crash(batch[over]); over++
        :: else -> break
        od;
        up = false
    }
}

inline end_ended() {
    atomic {
        read_done();
        assert(frame == ENDED && d >= over && d + is_revoked >= count);
        take_results(d);
#ifndef M_DOUBT_IS_FORGOTTEN
        give_back_from(d);
#endif
        assert(over == d)
    }
}

#define NEWS (frames != seen)
#define MAY_REVOKE \
    (!is_turn && !is_revoked && count > 1 && begun_of == message && begun > 0 && revokes < REVOKES && (!HANGS || executions[0] > 0))

/* Sleeps until there is a message, or the process is dead. */
inline await_mail() {
    do
    :: host_moved = false;
#ifndef M_DEATH_READ_LATE
       was_dead = dead;
#endif
       if
       :: atomic { NEWS -> has_mail = true; was_dead = false; break }
       :: else
       fi;
#ifdef M_DEATH_READ_LATE
       was_dead = dead;
#endif
       if
       :: atomic { was_dead -> has_mail = false; was_dead = false; break }
       :: else
       fi;
       if
       :: host_moved
#ifndef M_NEVER_REVOKES
       :: atomic { MAY_REVOKE -> skip } /* its time is over */
          revoke()
#endif
       fi
    od
}

/* The run that asks is a turn of its own from here on. */
inline end_asking() {
    atomic {
        take_results(b - 1);
        give_back_from(b);
        assert(over == b - 1 && count == b && frame == QUESTION);
        seen++;
        is_turn = true
    }
    sent++;
    worker_moved = true;
    await_mail();
    atomic {
        if
        :: has_mail -> assert(frame == TURN_ENDED); tell(batch[over])
        :: !has_mail -> crash(batch[over]); up = false
        fi;
        over++;
        is_turn = false
    }
}

active proctype host() {
    byte batch[MOST], seen = 0, message = 0, count = 0, over = 0, b = 0, d = 0, i = 0, revokes = 0;
    bool was_dead = false, has_mail = false, is_revoked = false, is_talking = false, is_turn = false;
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
    :: atomic { all == RUNS -> break }
    :: atomic {
        something_queued ->
        do
        :: count < MOST && something_queued -> take_queued(i); batch[count] = i; count++
        :: count > 0 -> break
        od;
        i = 0
       }
       if
       :: !up -> spawn()
       :: else
       fi;
       atomic {
        do
        :: i < count -> runs_of[i] = batch[i]; i++
        :: i == count -> i = 0; break
        od;
        count_of = count;
        message = sent + 1
       }
       sent++;
       worker_moved = true;
       await_mail();
       atomic { read_begun() }
       if
       :: atomic { !has_mail -> skip } end_dead()
       :: atomic { has_mail && is_talking -> skip } end_asking()
       :: atomic { has_mail && !is_talking -> skip } end_ended()
       fi;
       atomic {
        if
        :: has_mail && up -> seen = frames
        :: else
        fi;
        i = 0;
        do
        :: i < MOST -> batch[i] = 0; i++
        :: else -> break
        od;
        i = 0; count = 0; over = 0; b = 0; d = 0; message = 0;
        has_mail = false; is_revoked = false; is_talking = false
       }
    od
}

/* Nobody can go on: then everything is done. */
active proctype end_of_all() {
    timeout;
    assert(all == RUNS)
}
