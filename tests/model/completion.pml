/*
 * T2 as a model: the protocol of src/core/completion.c. Three threads add callbacks, the first of them two, while
 * four others race for the run: a worker that takes it from a queue, a thread that awaits it (it claims it, or
 * sleeps until it is over), one that cancels it, and one that releases the future once the others are through.
 * With -DTICKS=2 the run has a second iteration, a timer waits for that, and who is too late to cancel stops it.
 * A compare-and-swap loop is one step: an attempt that fails changes nothing and looks again.
 *
 * In every order: the run is resolved once; each callback is called once, after the result is there, and of
 * those that settle calls the ones of one adder in their order; nobody is left asleep; the memory is given
 * back once, and nothing touches it after that.
 * Canaries: -DM_X breaks the one thing X each; run_spin.py runs them all.
 */
#ifndef TICKS /* iterations of the run: between two of them it waits in a timer */
#define TICKS 1
#endif
#ifndef SLEEPERS /* besides the one that claims */
#define SLEEPERS 0
#endif
#ifndef ADDERS
#define ADDERS 3
#endif
#define NODES (ADDERS + 1)

/* The word: state, flags, and the number of callbacks in the list from NODE on. */
#define STATE 3
#define WAITING 0
#define RUNNING 1
#define DONE 2
#define CANCELLED 3
#define BEGUN 4
#define STOP 8
#define WAITED 16
#define QUEUED 32
#define RELEASED 64
#define SETTLED 128
#define CLAIMABLE 256
#define NODE 512
#define state_of(w) ((w) & STATE)
#define is_over(w) (state_of(w) >= DONE)
#define with_state(w, s) (((w) & (32767 - STATE)) | (s))
#define without(w, f) ((w) & (32767 - (f)))
#define has_nodes(w) ((w) >= NODE)
#ifdef M_LAST_IGNORES_THE_QUEUE
#define is_last(w) (((w) & (SETTLED | RELEASED)) == (SETTLED | RELEASED))
#else
#define is_last(w) (((w) & (SETTLED | RELEASED | QUEUED)) == (SETTLED | RELEASED))
#endif

#if TICKS > 1
short word = QUEUED;
#else
short word = QUEUED | CLAIMABLE;
#endif
/* Where the pointer lies for which the run is QUEUED: whoever takes it from there puts it back, or it is gone. */
mtype = { taken_out, in_queue, in_timer, gone };
mtype place = in_queue;
byte ticks = 0;
byte list[NODES]; /* 1 + its number, in the order added */
bool has_value = false, is_freed = false;
byte resolved = 0;
byte called[NODES];
byte users = ADDERS + 2 + SLEEPERS;
bool asleep[SLEEPERS + 1];

#define touch assert(!is_freed)

inline give_back() {
    assert(!is_freed);
    is_freed = true
}

inline wake_all() {
    d_step {
        asleep[0] = false;
#if SLEEPERS > 0
        asleep[1] = false
#endif
    }
}

inline call(n) {
    assert(has_value && called[n] == 0);
    called[n] = 1
}

/* Of an adder's callbacks those before have been called. Only the first adder has two: 0 and 1. */
inline call_settled(n) {
    assert(n != 1 || called[0] == 1);
    call(n)
}

/* By who resolved the run, with callbacks; `w` and `i` are the caller's. */
inline settle() {
    i = 0;
    w = word / NODE;
    do
    :: i < w ->
        atomic {
            touch;
#ifdef M_YOUNGEST_FIRST
            call_settled(list[w - 1 - i] - 1);
#else
            call_settled(list[i] - 1);
#endif
            i++
        }
    :: else -> break
    od;
    atomic {
        touch;
        word = word | SETTLED;
        w = 0; i = 0;
        if
        :: is_last(word) -> give_back()
        :: else
        fi
    }
}

inline complete() {
#ifndef M_VALUE_AFTER_THE_WORD
    atomic { touch; has_value = true }
#endif
    atomic {
        touch;
        resolved++;
        assert(resolved == 1);
        w = word;
#ifdef M_SETTLED_WITH_CALLBACKS
        word = without(with_state(word, DONE), WAITED) | SETTLED;
#else
        word = without(with_state(word, DONE), WAITED) | (has_nodes(word) -> 0 : SETTLED);
#endif
        if
        :: !has_nodes(w) && is_last(word) -> give_back()
        :: else
        fi
    }
#ifdef M_VALUE_AFTER_THE_WORD
    has_value = true;
#endif
#ifndef M_COMPLETE_FORGETS_SLEEPERS
    if
    :: w & WAITED -> wake_all()
    :: else
    fi;
#endif
    if
    :: has_nodes(w) -> settle()
    :: else -> w = 0
    fi
}

proctype worker() {
    short w = 0;
    byte i = 0;
    do
    :: atomic { place == in_queue -> place = taken_out };
        atomic {
            touch;
            w = word;
            word = without(word, QUEUED);
            if
#ifdef M_BEGIN_WITHOUT_A_LOOK
            :: true -> word = with_state(word, RUNNING) | BEGUN
#else
            :: state_of(w) == WAITING -> word = with_state(word, RUNNING) | BEGUN
            :: else ->
                if
                :: is_last(word) -> give_back()
                :: else
                fi;
                goto through
#endif
            fi;
            w = 0
        }
#if TICKS > 1
        touch;
        if
        :: word & STOP -> goto completing
        :: else
        fi;
        atomic { touch; ticks++; assert(ticks <= TICKS) }
        if
        :: ticks < TICKS ->
            atomic { /* suspend */
                touch;
                if
#ifndef M_SUSPEND_ALTHOUGH_TOLD_TO_STOP
                :: word & STOP -> goto completing
#endif
                :: else -> assert(!(word & STOP)); word = with_state(word, WAITING) | QUEUED
                fi
            }
            place = in_timer
        :: else -> goto completing
        fi
#else
        goto completing
#endif
    :: place == gone -> goto ended
    od;
completing:
    complete();
through:
#if TICKS > 1
    place = gone;
#endif
ended:
    skip
}

#if TICKS > 1
proctype timer() {
    do
    :: atomic { place == in_timer -> place = taken_out };
        atomic {
            touch;
            if
            :: ticks + 1 == TICKS -> word = word | CLAIMABLE
            :: else
            fi
        }
        place = in_queue
    :: place == gone -> break
    od
}
#endif

inline is_through() {
    atomic { assert(users > 0); users-- }
}

/* Awaits the run; `index` is where it sleeps. */
inline wait_until_over(index) {
    do
    :: true ->
#ifdef M_WAITED_WITHOUT_COMPARE
        atomic {
            touch;
            w = word;
            if
            :: is_over(w) -> break
            :: else
            fi
        }
        atomic { touch; w = w | WAITED; word = w }
#else
        atomic {
            touch;
            if
            :: is_over(word) -> break
            :: else -> word = word | WAITED; w = word
            fi
        }
#endif
        atomic {
            if
#ifndef M_SLEEP_WITHOUT_COMPARE
            :: word != w -> skip
#endif
            :: else -> asleep[index] = true
            fi
        }
end_asleep:
        !asleep[index]
    od;
    w = 0;
    assert(has_value)
}

proctype claimer() {
    short w = 0;
    byte i = 0;
    bool claimed = false;
    atomic {
        touch;
        if
#ifdef M_CLAIM_BEFORE_IT_IS_DUE
        :: state_of(word) == WAITING -> word = with_state(word, RUNNING) | BEGUN; claimed = true
#else
#ifdef M_CLAIM_OF_A_BEGUN_RUN
        :: !is_over(word) -> word = with_state(word, RUNNING) | BEGUN; claimed = true
#else
        :: state_of(word) == WAITING && (word & CLAIMABLE) -> word = with_state(word, RUNNING) | BEGUN; claimed = true
#endif
#endif
        :: else
        fi
    }
    if
    :: claimed -> ticks++; assert(ticks == TICKS); complete()
    :: else -> wait_until_over(0)
    fi;
    is_through()
}

#if SLEEPERS > 0
proctype sleeper() {
    short w = 0;
    wait_until_over(1);
    is_through()
}
#endif

proctype canceller() {
    short w = 0;
    byte i = 0;
    atomic {
        touch;
        if
#ifdef M_CANCEL_OF_A_BEGUN_RUN
        :: !is_over(word) -> word = with_state(word, RUNNING) | STOP
#else
        :: state_of(word) == WAITING && !(word & BEGUN) -> word = with_state(word, RUNNING) | STOP
#endif
        :: else -> goto too_late
        fi
    }
    assert(ticks == 0);
#ifdef M_CANCELLED_BEFORE_THE_VALUE
    word = with_state(word, CANCELLED);
#endif
    atomic { touch; has_value = true }
    atomic {
        touch;
        resolved++;
        assert(resolved == 1);
        w = word;
        word = without(with_state(word, CANCELLED), WAITED)
    }
    if
    :: w & WAITED -> wake_all()
    :: else
    fi;
    settle();
    goto through;
too_late:
#if TICKS > 1
    /* It stops the run instead. Between two ticks nobody would notice before the next. */
    atomic { touch; w = word; word = word | STOP }
    if
    :: state_of(w) == WAITING ->
        atomic {
            if
            :: place == in_timer -> place = taken_out
            :: else -> goto through
            fi
        }
        place = in_queue
    :: else
    fi;
#endif
through:
    is_through()
}

inline add(n) {
    atomic {
        touch;
        if
#ifndef M_ADD_WITHOUT_A_LOOK
        :: is_over(word) -> late = true
#endif
        :: else ->
            list[word / NODE] = n + 1;
            word = word + NODE
        fi
    }
    if
    :: late -> call(n); late = false
    :: else
    fi
}

proctype adder(byte self) {
    bool late = false;
    if
    :: self == 0 -> add(0); add(1)
    :: else -> add(self + 1)
    fi;
    is_through()
}

proctype releaser() {
    users == 0;
    atomic { /* a look: it may be that nobody else has it any more */
        touch;
#ifdef M_RELEASE_LOOKS_PAST_THE_QUEUE
        if
        :: word & SETTLED -> give_back(); goto released
#else
        if
        :: (word & (SETTLED | QUEUED)) == SETTLED -> give_back(); goto released
#endif
        :: else
        fi
    }
    atomic {
        touch;
        word = word | RELEASED;
#ifndef M_RELEASE_IS_NEVER_LAST
        if
        :: is_last(word) -> give_back()
        :: else
        fi
#endif
    }
released:
    skip
}

/* Nobody can go on: then everything is done. */
proctype end_of_all() {
    timeout;
    assert(resolved == 1 && is_freed && users == 0 && !asleep[0]);
    assert(called[0] && called[1]);
#if ADDERS > 1
    assert(called[2] && called[3])
#endif
}

init {
    atomic {
        run worker();
#if TICKS > 1
        run timer();
#endif
        run claimer();
        run canceller();
        run releaser();
        run adder(0);
#if ADDERS > 1
        run adder(1);
        run adder(2);
#endif
#if SLEEPERS > 0
        run sleeper();
#endif
        run end_of_all()
    }
}
