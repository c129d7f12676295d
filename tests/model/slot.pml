/*
 * What a run goes through at a worker process: its thread gets a process (src/process/supply.c), takes the turn through it
 * (proxy.c), stage by stage, and leaves it to whoever needs it. The process may be killed between any two steps, the watcher
 * ends what is over its time (overtime.c), and the system gives only so many processes.
 *
 *   thread:  TURN -->         worker:  begun = number of that message; function; STAGE -->
 *            <-- the function has ended; the hook may begin:  ANSWER -->   hook; ENDED -->
 *
 * A death before `begun` is nobody's: the turn is begun in another process. A death after it is the failure of the stage that
 * was named last. What the process left in the mailbox counts: whether it is dead is read before the mailbox is.
 * A process that was sent a signal gets no further stage; it is put away, so a signal that comes late meets nobody.
 *
 * Threads without a process wait in a row; who has done with a turn hands its process to the first. A refused thread tries
 * again when time has passed, or when a process has ended; if for long no process is up that could be waited for, it gives up.
 *
 * Safety: a function and a hook are executed at most once, and a run is told once; what has ended does not crash; no signal
 * meets another run than the one whose time is over; no thread sleeps in the row while a process lies idle; whoever gives up
 * was alone. At the end all runs are told.
 * Canaries: -DM_X breaks the one thing X each; run_spin.py runs them all.
 */
#ifndef RUNS
#define RUNS 2
#endif
#ifndef KILLS
#define KILLS 1
#endif
#ifndef TIMEOUTS
#define TIMEOUTS 0
#endif
#ifndef RECYCLES
#define RECYCLES 0
#endif
#ifndef ROOM /* processes that the system gives; and later on */
#define ROOM 1
#endif
#ifndef ROOM_LATER
#define ROOM_LATER ROOM
#endif
#define THREADS 2
#define PROCESSES 7 /* one after the other */
#define NONE 255
#define TRIES 3

#define FUNCTION 1
#define HOOK 2
#define STAGE 3
#define ENDED 4

/* Processes, and their mailboxes. */
bool alive[PROCESSES], is_dead[PROCESSES], quits[PROCESSES], signalled[PROCESSES];
byte order[PROCESSES], stage_of[PROCESSES], sent[PROCESSES], begun[PROCESSES], mail[PROCESSES], late[PROCESSES], condemned_run[PROCESSES];
bool answered[PROCESSES];
byte made = 0, living = 0, room = ROOM;

/* The host's; the lock guards it. */
bool locked = false, deadline[PROCESSES], terminated[PROCESSES];
bool up[THREADS], moved[THREADS], asleep[THREADS], tried[THREADS], timed[THREADS];
byte process[THREADS], users[THREADS], row[THREADS], in_row = 0;
bool refused = false, later = false, is_logged = false; /* pause > 0; next_try > now */
byte alone = 0;                                       /* none_since: 1: it is set; 2: for long */

bool queued[RUNS];
byte functions[RUNS], hooks[RUNS], told[RUNS], all = 0, kills = 0, timeouts = 0, recycles = 0, ticks = 0, before = 0;
bool changed = false;

inline lock() { atomic { !locked -> locked = true } }

inline tell(which) {
    told[which]++;
    all++;
    assert(told[which] == 1)
}

inline die(p) {
    if
    :: alive[p] -> alive[p] = false; living--
    :: else
    fi
}

/* ---- the worker ---- */

proctype worker(byte p) {
    {
end_of_worker:
        do
        :: atomic { sent[p] != begun[p] && order[p] != NONE ->
            late[p] = order[p];
#ifndef M_BEGUN_AFTER_THE_FUNCTION
            begun[p] = sent[p]
#endif
           };
           if
           :: atomic { stage_of[p] == FUNCTION -> functions[order[p]]++; assert(functions[order[p]] == 1) }
#ifdef M_BEGUN_AFTER_THE_FUNCTION
              begun[p] = sent[p];
#endif
              answered[p] = false;
              mail[p] = STAGE;
#ifndef M_ANSWER_IS_NOT_AWAITED
              answered[p];
#endif
           :: atomic { stage_of[p] == HOOK -> skip }
#ifdef M_BEGUN_AFTER_THE_FUNCTION
              begun[p] = sent[p];
#endif
           fi;
           atomic { hooks[late[p]]++; assert(hooks[late[p]] == 1) };
           atomic { mail[p] == 0 -> mail[p] = ENDED }
        od
    } unless { !alive[p] }
}

/* ---- the system, the watcher, the clock ---- */

inline wake_all() { moved[0] = true; moved[1] = true }

/* With the lock held. */
inline supply_ended() {
    if
    :: refused -> later = false; wake_all()
    :: else
    fi
}

#define HAPPENS(p) \
    :: atomic { alive[p] && kills < KILLS -> kills++; die(p) } \
    :: atomic { alive[p] && signalled[p] -> \
        assert(order[p] == NONE || order[p] == condemned_run[p]); die(p) } \
    :: atomic { p < made && !alive[p] && !is_dead[p] && !locked && !quits[p] -> is_dead[p] = true } \
    :: atomic { alive[p] && quits[p] -> die(p) } \
    :: atomic { quits[p] && !alive[p] && !is_dead[p] && !locked -> is_dead[p] = true; supply_ended() } \
    :: atomic { !locked && deadline[p] && order[p] != NONE && !is_dead[p] && !terminated[p] && timeouts < TIMEOUTS -> \
        timeouts++; terminated[p] = true; signalled[p] = true; condemned_run[p] = order[p] }

active proctype system() {
end_of_system:
    do
    HAPPENS(0)
    HAPPENS(1)
    HAPPENS(2)
    HAPPENS(3)
    HAPPENS(4)
    HAPPENS(5)
    HAPPENS(6)
    :: atomic { !changed && ROOM_LATER != ROOM -> changed = true; room = ROOM_LATER }
    :: atomic { kills < KILLS -> kills = KILLS } /* nobody kills one */
    :: atomic { timeouts < TIMEOUTS -> timeouts = TIMEOUTS }
    od
}

/* Nobody sleeps while he could work. */
#define idle(s) (up[s] && users[s] == 0 && alive[process[s]])
active proctype monitor() {
end_of_monitor:
    atomic {
        !locked && ((asleep[0] && !moved[0] && (up[0] || idle(1))) || (asleep[1] && !moved[1] && (up[1] || idle(0)))) ->
        assert(false)
    }
}

/* ---- supply ---- */

inline exchange(other) {
    users[slot] = users[other]; users[other] = 0;
    process[slot] = process[other]; process[other] = 0;
    up[slot] = true; up[other] = false
}

inline leave_row(which) {
    if
    :: in_row > 0 && row[0] == which -> row[0] = row[1]; in_row--
    :: in_row > 1 && row[1] == which && row[0] != which -> in_row--
    :: (in_row == 0 || row[0] != which) && (in_row < 2 || row[1] != which)
    fi
}

/* With the lock held, and atomic: the thread of that slot does not need it now. */
inline supply_idle() {
    if
    :: in_row > 0 && up[slot] && users[slot] == 0 ->
        o = row[0];
        users[o] = 0; process[o] = process[slot]; process[slot] = 0; up[o] = true; up[slot] = false;
        leave_row(o);
        o = 0;
#ifndef M_HANDED_OVER_IN_SILENCE
        wake_all()
#endif
    :: else
    fi
}

#ifdef M_DEAD_ONES_ARE_ABLE
#define able(s) up[s]
#else
#define able(s) (up[s] && !is_dead[process[s]])
#endif
#ifdef M_BUSY_ONES_ARE_BORROWED
#define borrowable(s) (up[s] && !is_dead[process[s]])
#else
#define borrowable(s) (up[s] && users[s] == 0 && !is_dead[process[s]])
#endif

/* With the lock held. */
inline supply() {
    tried[slot] = false;
    do
    :: atomic { up[slot] -> break }
    :: atomic { !up[slot] && !later && living < room ->
        process[slot] = made; up[slot] = true; users[slot] = 0;
        alive[made] = true; living++; order[made] = NONE;
        run worker(made); made++;
        alone = 0;
        if
        :: refused -> refused = false; wake_all()
        :: else
        fi;
        break
       }
    :: atomic { !up[slot] && (later || living >= room) ->
        if
        :: !later -> refused = true; later = true; tried[0] = true; tried[1] = true
        :: else
        fi
       }
       if
       :: atomic { !is_logged && refused && !later -> skip }
       :: atomic { !is_logged && later -> is_logged = true; locked = false } lock() /* the log is written without the lock */
       :: atomic { is_logged -> skip }
       fi;
       atomic {
        if
        :: up[slot] -> break
#ifndef M_NONE_IS_BORROWED
        :: !up[slot] && borrowable(1 - slot) -> o = 1 - slot; exchange(o); o = 0; break
        :: !up[slot] && !borrowable(1 - slot)
#else
        :: !up[slot]
#endif
        fi;
        if
        :: !refused || able(0) || able(1) -> alone = 0
        :: refused && !able(0) && !able(1) && alone == 0 -> alone = 1
        :: refused && !able(0) && !able(1) && alone == 1
        :: refused && !able(0) && !able(1) && alone == 2 && tried[slot] ->
            assert(!(up[0] && alive[process[0]]) && !(up[1] && alive[process[1]]));
            break
        :: refused && !able(0) && !able(1) && alone == 2 && !tried[slot]
        fi;
        if
        :: is_stranded
        :: !is_stranded -> row[in_row] = slot; in_row++; is_stranded = true
        fi;
        moved[slot] = false; asleep[slot] = true; locked = false
       };
       atomic { moved[slot] && !locked -> asleep[slot] = false; moved[slot] = false; locked = true }
    od;
    atomic {
        if
        :: is_stranded -> leave_row(slot); is_stranded = false
        :: else
        fi
    }
}

/* ---- the thread ---- */

inline bury() {
    atomic {
        !locked ->
        assert(is_dead[p] && process[slot] == p && up[slot]);
        up[slot] = false; users[slot] = 0; process[slot] = 0; deadline[p] = false;
        supply_ended()
    }
}

inline put_away() {
    atomic { die(p) };
    is_dead[p];
    bury()
}

inline send_turn() {
    atomic {
        order[p] = run_id; stage_of[p] = stage; sent[p]++;
        message = sent[p]
    }
}

#ifdef M_CONDEMNED_ONE_IS_KEPT
#define condemned false
#else
#define condemned terminated[p]
#endif

proctype thread(byte slot) {
    byte run_id = 0, stage = 0, p = 0, message = 0, tries = 0, o = 0;
    bool was_dead = false, is_stranded = false;
end_of_thread:
    do
    :: atomic {
        queued[0] || queued[RUNS - 1] || queued[RUNS / 2] ->
        if
        :: queued[0] -> run_id = 0
        :: queued[RUNS - 1] -> run_id = RUNS - 1
        :: queued[RUNS / 2] -> run_id = RUNS / 2
        fi;
        queued[run_id] = false;
        stage = FUNCTION; tries = 1
       };
again:
       lock();
       supply();
       atomic {
        if
        :: !up[slot] -> tell(run_id); locked = false; goto over
        :: else
        fi;
        p = process[slot]; users[slot]++; deadline[p] = TIMEOUTS > 0; locked = false
       };
       send_turn();
wait:
#ifndef M_DEATH_READ_LATE
       was_dead = is_dead[p];
#endif
       if
       :: atomic { mail[p] == STAGE ->
            assert(stage == FUNCTION);
            stage = HOOK; mail[p] = 0; was_dead = false
          }
          atomic { !locked ->
            if
            :: !condemned -> answered[p] = true; goto wait
            :: else
            fi
          };
          put_away();
          atomic { tries = 1; goto again } /* the rest of the turn is begun in another */
       :: atomic { mail[p] == ENDED -> mail[p] = 0; was_dead = false }
       :: atomic { mail[p] == 0 -> skip }
#ifdef M_DEATH_READ_LATE
          was_dead = is_dead[p];
#endif
          if
          :: atomic { was_dead -> was_dead = false }
             bury();
             atomic {
                if
#ifdef M_ALL_DEATHS_ARE_THE_RUNS
                :: false
#elif defined(M_DEATHS_ARE_NEVER_THE_RUNS)
                :: tries < TRIES -> tries++; goto again
#else
                :: begun[p] != message && tries < TRIES -> tries++; goto again
#endif
                :: else
                fi;
                assert(begun[p] == message || tries == TRIES);
                tries = 1;
                if
                :: stage == FUNCTION -> assert(hooks[run_id] == 0 && mail[p] == 0); stage = HOOK; goto again
                :: stage == HOOK -> assert(mail[p] == 0); tell(run_id); goto over
                fi
             }
          :: atomic { !was_dead && (mail[p] != 0 || is_dead[p]) -> goto wait }
          fi
       fi;
       atomic { !locked -> deadline[p] = false; order[p] = NONE; tell(run_id) };
       if
       :: atomic { condemned -> skip } put_away()
       :: atomic { !condemned && !locked && recycles < RECYCLES ->
            recycles++; quits[p] = true; up[slot] = false; users[slot] = 0; process[slot] = 0
          }
       :: atomic { !condemned && !locked -> users[slot]--; supply_idle() }
       fi;
over:
       atomic { run_id = 0; stage = 0; p = 0; message = 0; tries = 0 }
    od
}

/* Time passes when nobody can go on: first that of the next try, then that of giving up. */
active proctype clock() {
    byte i = 0;
    atomic {
        for (i : 0 .. RUNS - 1) { queued[i] = true }
        i = 0;
        run thread(0);
        run thread(1)
    };
end_of_time:
    do
    :: atomic { timeout ->
        if
        :: all == RUNS -> break
        :: else
        fi;
        if
        :: all != before -> before = all; ticks = 0
        :: else
        fi;
        assert(asleep[0] || asleep[1]);
        assert(ticks < 4);
        ticks++;
        if
        :: alone == 1 -> alone = 2
        :: else
        fi;
        later = false; wake_all()
       }
    od;
    assert(in_row == 0 && !asleep[0] && !asleep[1])
}
