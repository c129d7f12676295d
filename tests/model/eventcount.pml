/*
 * T1 as a model: the protocol of src/thread/parking.c, with more threads than the checker of the shipped code can
 * take. A compare-and-swap loop is one step here: an attempt that fails changes nothing and looks again.
 *
 * Safety:   no reachable state in which nobody can go on and a task is not taken; no count below zero; the counts
 *           add up at the end.
 * Liveness: under weak fairness every task is taken (with -DLIVENESS).
 * Canaries: -DM_X breaks the one thing X each; run_spin.py runs them all.
 */
#ifndef PRODUCERS
#define PRODUCERS 3
#endif
#ifndef WORKERS
#define WORKERS 3
#endif
#ifndef SEATS
#define SEATS 2
#endif
#ifndef TASKS /* of each producer */
#define TASKS 1
#endif
#define ALL (PRODUCERS * TASKS)

/* parking.state; `sitting` are the active ones */
byte parked = 0, sitting = SEATS, searching = SEATS;
bool waking = false;
/* parking.epoch, as far as it matters: whether it has moved since a worker last read it. And who sleeps on it. */
bool moved[WORKERS];
bool asleep[WORKERS];

byte queued = 0; /* tasks that are visible */
byte taken = 0;
#ifdef TASK_WAITS
bool second = false; /* the second task has been taken: the first waits for that */
#endif

#define wants_wake (parked > 0 && searching == 0 && !waking && sitting < SEATS)

inline move_epoch() {
    d_step {
        moved[0] = true;
#if WORKERS > 1
        moved[1] = true;
#endif
#if WORKERS > 2
        moved[2] = true
#endif
    }
}

inline wake_one() {
    atomic {
        if
        :: asleep[0] -> asleep[0] = false
#if WORKERS > 1
        :: asleep[1] -> asleep[1] = false
#endif
#if WORKERS > 2
        :: asleep[2] -> asleep[2] = false
#endif
        :: else
        fi
    }
}

/* One that is done pushes again, while there is something left to push: some may push more often than others. */
inline again() {
    if
    :: rounds > 0 -> rounds--; to_push++
    :: else
    fi
}

/* By a worker; `told` is a variable of its own. */
inline notify() {
    if
    :: wants_wake ->
        atomic {
            if
            :: wants_wake -> waking = true; told = true
            :: else -> told = false
            fi
        }
        if
        :: told -> told = false; move_epoch(); wake_one()
        :: else
        fi
    :: else
    fi
}

/*
 * The producers. They are all alike, so it is enough to count how many stand before each of their steps: one
 * process makes them all, and states that differ only in which producer is where are one.
 */
proctype producers() {
    byte to_push = PRODUCERS, to_look = 0, to_claim = 0, to_move = 0, to_wake = 0, rounds = PRODUCERS * (TASKS - 1);
    do
    :: atomic { to_push > 0 -> to_push--; queued++; to_look++ }
    :: atomic {
        to_look > 0 -> to_look--;
        if
        :: wants_wake -> to_claim++
        :: else -> again()
        fi
       }
    :: atomic {
        to_claim > 0 -> to_claim--;
        if
        :: wants_wake -> waking = true; to_move++
        :: else -> again()
        fi
       }
    :: atomic { to_move > 0 -> to_move--; move_epoch(); to_wake++ }
    :: atomic { to_wake > 0 -> to_wake--; wake_one(); again() }
    :: to_push + to_look + to_claim + to_move + to_wake == 0 -> break
    od
}

inline rise() {
    atomic {
#ifndef M_RISE_LEAVES_WAKING
        waking = false;
#endif
        if
        :: sitting < SEATS -> assert(parked > 0); sitting++; searching++; parked--; seated = true
        :: else -> seated = false
        fi
    }
}

proctype worker(byte self; bool starts_parked) {
    bool seated = false, told = false, last = false;

    if
    :: starts_parked ->
        parked++;
        moved[self] = false;
        rise();
        if
        :: seated -> seated = false; goto search
        :: else -> goto sleep
        fi
    :: else
    fi;

search:
    atomic {
        if
        :: queued > 0 ->
            queued--;
#ifndef TASK_WAITS
            taken++
#endif
        :: else -> goto nothing
        fi
    }
    atomic {
        assert(searching > 0);
        last = (searching == 1);
        searching--
    }
    if
#ifdef M_NEVER_LAST
    :: false && last && queued > 0 -> notify()
#else
    :: last && queued > 0 -> notify()
#endif
    :: else
    fi;
    last = false;

    /* The task. */
#ifdef TASK_WAITS
    atomic {
        taken++;
        if
        :: taken == 1 -> skip
        :: taken == 2 -> second = true; goto done
        :: else -> goto done
        fi
    }
#ifdef TASK_BLOCKS
    atomic { assert(sitting > 0); sitting-- }
#ifndef M_BLOCKS_WITHOUT_A_LOOK
    if
    :: queued > 0 -> notify()
    :: else
    fi;
#endif
    second;
    sitting++;
#else
    second;
#endif
done:
#endif

#ifdef TASK_BLOCKS
    /* rni_parking_give_up_surplus(): only where threads come back are there ever too many. */
    if
    :: sitting > SEATS ->
        moved[self] = false;
        atomic {
            if
#ifdef M_SURPLUS_WITHOUT_COMPARE
            :: true -> sitting--; parked++; goto sleep
#else
            :: sitting > SEATS -> sitting--; parked++; goto sleep
#endif
            :: sitting <= SEATS
            fi
        }
    :: else
    fi;
#endif
    searching++;
    goto search;

nothing:
    moved[self] = false;
    atomic {
        assert(sitting > 0 && searching > 0);
        parked++; sitting--; searching--
    }
#ifdef M_EPOCH_READ_TOO_LATE
    moved[self] = false;
#endif
#ifndef M_NO_SECOND_LOOK
    if
    :: queued > 0 ->
        rise();
        if
        :: seated -> seated = false; goto search
        :: else
        fi
    :: else
    fi;
#endif

sleep:
    atomic {
        if
#ifndef M_SLEEP_WITHOUT_COMPARE
        :: moved[self] -> skip
#endif
        :: else -> asleep[self] = true
        fi
    }
end_asleep:
    !asleep[self];
#ifndef M_EPOCH_READ_AFTER_RISE
    atomic {
        if
        :: moved[self] -> moved[self] = false; goto up
        :: else
        fi
    }
    /* The epoch stands. So nobody woke us, unless it moved before we parked, and the wake came after. */
#ifndef M_ASLEEP_AGAIN_IF_THE_EPOCH_STANDS
    if
    :: waking -> goto up
    :: else
    fi;
#endif
    goto sleep;
#endif
up:
    rise();
    if
    :: seated -> seated = false; goto search
    :: else
    fi;
#ifdef M_EPOCH_READ_AFTER_RISE
    moved[self] = false;
#endif
    goto sleep
}

#ifndef LIVENESS
/* Nobody can go on: then everything is done. */
proctype end_of_all() {
    timeout;
    assert(taken == ALL && queued == 0);
    assert(parked == WORKERS && sitting == 0 && searching == 0 && !waking)
}
#endif

init {
    byte i = 0;
    atomic {
        run producers();
        do
        :: i < WORKERS -> run worker(i, i >= SEATS); i++
        :: else -> break
        od;
        i = 0;
#ifndef LIVENESS
        run end_of_all()
#endif
    }
}

#ifdef LIVENESS
ltl every_task_is_taken { <> (taken == ALL) }
#endif
