/*
 * The zygote, its workers and their host, as src/process/zygote.h, takeover.c, zygote.c and the watcher in pool.c have them,
 * with what the system does when one of them is killed. Threads of the host ask the zygote for workers and bury those that
 * died; the watcher sees deaths and takes the zygote's news; somebody kills or stops whatever he likes.
 *
 *   host   SPAWN n -->  zygote  forks n; SPAWNED n or REFUSED n -->
 *          <-- ENDED n, when n is a zombie: its group is killed, it is told, forgotten, reaped, in this order
 *
 * A process that is killed closes its files (its sockets hang up) before its children are sent the signal of its death and
 * before its pidfd is readable. A worker asks for that signal, and then looks whether its parent is still there. The keeper
 * sees the zygote's end, ends what it left, and ends; the host has the keeper's pidfd alone.
 *
 * A thread that waits for the zygote looks now and then whether it is stopped: one that is goes on by that, one that is held
 * does not, and is given up. So is one that is gone: then another is made, and whoever was the former's is an orphan.
 *
 * Safety: a SPAWN is answered once, by its own answer; a death is told once, and how it died is known unless its zygote was
 * killed or held before it said so; nobody is signalled after it was reaped; every worker that lives is known to the host.
 * At the end, in whatever order they went: no thread waits for something that does not come; after close, or when the host is
 * dead, no zygote and no worker is there.
 * Canaries: -DM_X breaks the one thing X each; run_spin.py runs them all.
 */
#ifndef SLOTS /* threads with a worker each */
#define SLOTS 2
#endif
#ifndef USES /* turns of each */
#define USES 1
#endif
#ifndef MISDEEDS
#define MISDEEDS 1
#endif
#ifndef WHICH /* the zygote is killed: 1, the keeper: 2, the zygote is stopped: 4, held: 8, the host is killed: 16 */
#define WHICH 31
#endif
#ifndef CRASHES /* workers that end by themselves */
#define CRASHES 1
#endif
#ifndef LOSSES /* whether the host may have no room for a pidfd */
#define LOSSES 0
#endif
#ifndef NEWS /* packets that the news hold */
#define NEWS 1
#endif
#define NUMBERS 6 /* of workers, one after the other */
#define LIVES 4   /* of zygotes */
#define NOBODY 255

mtype = { SPAWN, SIGNAL, STOP, SPAWNED, REFUSED };

/* A worker: */
#define NOT_BORN 0
#define FORKED 1  /* it has not asked for the signal of its parent's death */
#define ARMED 2   /* it has, and has not looked whether that is there */
#define AT_WORK 3
#define ZOMBIE 4
#define REAPED 5
/* A zygote, a keeper: */
#define RUNS 1
#define CLOSED 2  /* killed: its files are closed, nobody has been told */
#define DEAD 3

/* What the system knows. */
byte worker[NUMBERS], maker[NUMBERS];
bool doomed[NUMBERS], in_table[NUMBERS]; /* SIGKILL is on its way; the zygote knows it */
byte zygote[LIVES], keeper[LIVES];
bool zygote_doomed[LIVES], keeper_doomed[LIVES], sigchld[LIVES];
bool stopped = false, held = false; /* the zygote of now; what held stays so whatever is sent to it */
bool host_dead = false;
chan calls0 = [3] of { mtype, byte };
chan calls1 = [3] of { mtype, byte };
chan calls2 = [3] of { mtype, byte };
chan calls3 = [3] of { mtype, byte };
chan answers0 = [2] of { mtype, byte };
chan answers1 = [2] of { mtype, byte };
chan answers2 = [2] of { mtype, byte };
chan answers3 = [2] of { mtype, byte };
chan news0 = [NEWS] of { byte };
chan news1 = [NEWS] of { byte };
chan news2 = [NEWS] of { byte };
chan news3 = [NEWS] of { byte };
chan calls[LIVES], answers[LIVES], news[LIVES];

/* What the host knows; the lock guards it. */
bool locked = false, event = false, left = false, closing = false;
byte now = 0, next = 0, first = 0; /* the zygote; numbers */
bool up[SLOTS], has_ended[SLOTS], is_dead[SLOTS], news_moved[SLOTS];
byte number[SLOTS], finished = 0;

/* What a ledger would say. */
byte told[NUMBERS], crashes = 0, misdeeds = 0;
bool said[NUMBERS], spoiled[LIVES]; /* ENDED was sent; it was killed with its keeper, held, or given up */

#define lives(n) (worker[n] >= FORKED && worker[n] <= AT_WORK)
#define is_gone (left || zygote[now] != RUNS || keeper[now] == DEAD)
#define is_ended_child(n) (worker[n] == ZOMBIE && maker[n] == life)
#define children_left(l) ((lives(0) && maker[0] == l) || (lives(1) && maker[1] == l) || (lives(2) && maker[2] == l) || \
                          (lives(3) && maker[3] == l) || (lives(4) && maker[4] == l) || (lives(5) && maker[5] == l))

inline unlock() { locked = false }

/* ---- the system ---- */

inline die(n) {
    worker[n] = ZOMBIE;
    doomed[n] = false;
    if
    :: zygote[maker[n]] == RUNS -> sigchld[maker[n]] = true
    :: else
    fi
}

inline kill_worker(n) {
    if
    :: lives(n) -> doomed[n] = true
    :: else
    fi
}

#ifdef M_PARENT_SEEN_FIRST
#define WORKER(n) \
    :: atomic { worker[n] == FORKED && zygote[maker[n]] != DEAD -> worker[n] = ARMED } \
    :: atomic { worker[n] == FORKED && zygote[maker[n]] == DEAD -> die(n) } \
    :: atomic { worker[n] == ARMED -> worker[n] = AT_WORK } \
    ENDS(n)
#define hears_of_death(n) (worker[n] == AT_WORK)
#else
#define WORKER(n) \
    :: atomic { worker[n] == FORKED -> worker[n] = ARMED } \
    :: atomic { worker[n] == ARMED && zygote[maker[n]] != DEAD -> worker[n] = AT_WORK } \
    :: atomic { worker[n] == ARMED && zygote[maker[n]] == DEAD -> die(n) } \
    ENDS(n)
#define hears_of_death(n) (worker[n] == ARMED || worker[n] == AT_WORK)
#endif
#define ENDS(n) \
    :: atomic { doomed[n] && lives(n) -> die(n) } \
    :: atomic { worker[n] == AT_WORK && crashes < CRASHES -> crashes++; die(n) }

#define ZYGOTE(l) \
    :: atomic { zygote_doomed[l] && zygote[l] == RUNS -> closed(l); unstop(l) } \
    :: atomic { zygote[l] == CLOSED -> zygote[l] = DEAD; tell_children(l) } \
    :: atomic { keeper[l] == RUNS && zygote[l] == DEAD && children_left(l) && !all_doomed(l) -> sweep(l) } \
    :: atomic { keeper[l] == RUNS && zygote[l] == DEAD && !children_left(l) -> keeper[l] = DEAD; keeper_doomed[l] = false } \
    :: atomic { keeper[l] == RUNS && keeper_doomed[l] -> keeper[l] = DEAD; keeper_doomed[l] = false; zygote_doomed[l] = (zygote[l] == RUNS) }

/* What it knew is gone with it. */
inline closed(l) {
    zygote[l] = CLOSED;
    zygote_doomed[l] = false; sigchld[l] = false;
    i = 0;
    do
    :: i < NUMBERS -> in_table[i] = in_table[i] && maker[i] != l; i++
    :: i == NUMBERS -> i = 0; break
    od
}

inline unstop(l) {
    if
    :: l == now -> stopped = false; held = false
    :: else
    fi
}

inline tell_children(l) {
    i = 0;
    do
    :: i < NUMBERS && maker[i] == l && hears_of_death(i) -> doomed[i] = true; i++
    :: i < NUMBERS && !(maker[i] == l && hears_of_death(i)) -> i++
    :: i == NUMBERS -> i = 0; break
    od
}

#define is_safe(n, l) (!lives(n) || maker[n] != l || doomed[n])
#define all_doomed(l) (is_safe(0, l) && is_safe(1, l) && is_safe(2, l) && is_safe(3, l) && is_safe(4, l) && is_safe(5, l))

/* The keeper's: whoever is left, by number. */
inline sweep(l) {
    i = 0;
    do
    :: i < NUMBERS && maker[i] == l && lives(i) -> doomed[i] = true; i++
    :: i < NUMBERS && !(maker[i] == l && lives(i)) -> i++
    :: i == NUMBERS -> i = 0; break
    od
}

active proctype system() {
    byte i = 0;
end_of_system:
    do
    ZYGOTE(0)
    ZYGOTE(1)
    ZYGOTE(2)
    ZYGOTE(3)
    WORKER(0)
    WORKER(1)
    WORKER(2)
    WORKER(3)
    WORKER(4)
    WORKER(5)
    od
}

/* ---- the zygote ---- */

inline find_ended() {
    n = 0;
    do
    :: n < NUMBERS && is_ended_child(n) -> break
    :: n < NUMBERS && !is_ended_child(n) -> n++
    :: n == NUMBERS -> n = NOBODY; break
    od
}

inline kill_group(n) { assert(worker[n] != REAPED); kill_worker(n) }

inline bury_all() {
    do
    :: atomic {
        find_ended();
        if
        :: n == NOBODY -> n = 0; break
        :: else
        fi;
#ifdef M_REAPED_FIRST
        worker[n] = REAPED;
#endif
        kill_group(n);
        if
        :: full(news[life]) -> news_wait = true
        :: nfull(news[life]) -> news[life]!n; said[n] = true; news_wait = false
        fi;
#ifdef M_NEWS_ARE_DROPPED
        news_wait = false;
#endif
        if
        :: news_wait -> n = 0; break
        :: else
        fi
       };
       atomic { in_table[n] = false; worker[n] = REAPED; n = 0 }
    od
}

inline serve() {
    atomic {
        calls[life]?word,n;
        if
        :: word == STOP -> word = 0; n = 0; goto ending
        :: word == SPAWN ->
            if
            :: answers[life]!REFUSED,n
            :: assert(worker[n] == NOT_BORN); worker[n] = FORKED; maker[n] = life; in_table[n] = true
            fi
        :: word == SIGNAL && n != NOBODY && in_table[n] -> kill_group(n)
        :: word == SIGNAL && (n == NOBODY || !in_table[n])
        fi
    };
    atomic {
        if
        :: word == SPAWN && worker[n] != NOT_BORN -> answers[life]!SPAWNED,n
        :: word != SPAWN || worker[n] == NOT_BORN
        fi;
        word = 0; n = 0
    }
}

#ifdef M_HOST_IS_NOT_WATCHED
#define HOST_IS_SEEN false
#else
#define HOST_IS_SEEN host_dead
#endif
#ifdef M_ROOM_IS_NOT_WATCHED
#define ROOM false
#else
#define ROOM (news_wait && nfull(news[life]))
#endif

proctype zygote_process(byte life) provided (!stopped) {
    byte n = 0, i = 0;
    bool news_wait = false, has_children, has_room, has_calls;
    mtype word = 0;
    {
        do
        :: atomic {
            !zygote_doomed[life] && (HOST_IS_SEEN || sigchld[life] || ROOM || nempty(calls[life])) ->
            has_children = sigchld[life]; has_room = ROOM; has_calls = nempty(calls[life]);
            if
            :: HOST_IS_SEEN -> has_children = false; has_room = false; has_calls = false; goto ending
            :: else
            fi
           };
           if
           :: atomic { has_children || has_room ->
#ifndef M_LOWERED_LAST
               if
               :: has_children -> sigchld[life] = false
               :: else
               fi
#endif
              }
              bury_all()
           :: atomic { !has_children && !has_room -> skip }
           fi;
#ifdef M_LOWERED_LAST
           if
           :: has_children -> sigchld[life] = false
           :: else
           fi;
#endif
           atomic { has_children = false; has_room = false };
           if
           :: atomic { has_calls -> has_calls = false } serve()
           :: atomic { !has_calls -> skip }
           fi
        od;
ending:
        atomic {
            n = 0;
            do
            :: n < NUMBERS && in_table[n] && maker[n] == life -> kill_worker(n); n++
            :: n < NUMBERS && !(in_table[n] && maker[n] == life) -> n++
            :: n == NUMBERS -> n = 0; break
            od
        };
        atomic { !children_left(life) -> closed(life) }
    } unless { atomic {
        zygote[life] != RUNS ->
        n = 0; word = 0; news_wait = false; has_children = false; has_room = false; has_calls = false
       } }
}

/* ---- the host ---- */

inline send(what, which) {
    if
    :: zygote[now] == RUNS && nfull(calls[now]) ->
        calls[now]!what,which;
        if
        :: !held -> stopped = false /* whatever comes continues it */
        :: held
        fi
    :: zygote[now] != RUNS || full(calls[now])
    fi
}

/* With the lock held, and atomic. */
inline take_news() {
    do
    :: !left && nempty(news[now]) ->
        news[now]?m;
        s = 0;
        do
        :: s < SLOTS && up[s] && number[s] == m -> assert(!has_ended[s]); has_ended[s] = true; s++
        :: s < SLOTS && !(up[s] && number[s] == m) -> s++
        :: s == SLOTS -> s = 0; break
        od;
        m = 0;
        wake_all()
    :: left || empty(news[now]) -> break
    od
}

inline wake_all() {
    s = 0;
    do
    :: s < SLOTS -> news_moved[s] = is_dead[s]; s++ /* nobody else waits for it */
    :: s == SLOTS -> s = 0; break
    od
}

inline start_zygote() {
    assert(now + 1 < LIVES);
    if
    :: zygote[now] == RUNS -> spoiled[now] = true
    :: else ->
        do
        :: nempty(news[now]) -> news[now]?m
        :: nempty(answers[now]) -> answers[now]?code,m
        :: nempty(calls[now]) -> calls[now]?code,m
        :: empty(news[now]) && empty(answers[now]) && empty(calls[now]) -> break
        od
    fi;
    m = 0; code = SPAWN;
    now++;
    zygote[now] = RUNS; keeper[now] = RUNS; left = false; stopped = false; held = false;
    run zygote_process(now)
}

inline stop_zygote() {
    atomic { send(STOP, NOBODY) };
    do
    :: atomic { keeper[now] == DEAD -> break }
    :: atomic { stopped && keeper[now] != DEAD && !keeper_doomed[now] -> keeper_doomed[now] = true } /* its time is over */
    od
}

/* With the lock held, as what follows up to the threads. */
inline rebuild() {
    atomic { take_news(); first = next };
    stop_zygote();
    atomic { start_zygote(); event = true }
}

#ifdef M_GIVEN_UP_ALIVE
#define give_up() code = REFUSED
#else
#define give_up() keeper_doomed[now] = true; spoiled[now] = true; code = STOP
#endif

/* code: SPAWNED, REFUSED, or STOP: the zygote is gone. */
inline ask() {
    atomic {
        asked = next;
        if
        :: zygote[now] != RUNS -> code = STOP
        :: else -> send(SPAWN, asked); next++; code = SPAWN
        fi
    };
    do
    :: atomic { code != SPAWN -> break }
    :: atomic { code == SPAWN && nempty(answers[now]) ->
        answers[now]?code,m;
        assert(m == asked);
        m = 0
       }
    :: atomic { code == SPAWN && empty(answers[now]) && (zygote[now] != RUNS || keeper[now] == DEAD) -> code = STOP }
    :: atomic { code == SPAWN && stopped && !held -> stopped = false } /* it looks now and then */
    :: atomic { code == SPAWN && empty(answers[now]) && stopped && held -> give_up() }
    od
}

inline make() {
    if
    :: is_gone -> rebuild()
    :: else
    fi;
    do
    :: ask();
       if
       :: code == STOP -> rebuild()
       :: else -> break
       fi
    od;
    atomic {
        if
        :: code == SPAWNED -> number[slot] = asked
        :: code == REFUSED
#ifdef M_LOST_WORKER_IS_LEFT
        :: code == SPAWNED && LOSSES > 0 -> code = REFUSED
#else
        :: code == SPAWNED && LOSSES > 0 -> send(SIGNAL, asked); code = REFUSED /* no room for its pidfd */
#endif
        fi
    };
    atomic {
#ifdef M_NEWS_TAKEN_BEFORE_IT_IS_UP
        take_news();
#endif
        if
        :: code == SPAWNED -> has_ended[slot] = false; is_dead[slot] = false; up[slot] = true
#ifndef M_NEW_WORKER_IS_NOT_WATCHED
            ; event = true
#endif
        :: else
        fi;
#ifndef M_NEWS_TAKEN_BEFORE_IT_IS_UP
        take_news()
#endif
    }
}

inline bury() {
    do
    :: news_moved[slot] = false;
#ifdef M_GONE_READ_AFTER_THE_NEWS
       atomic { !locked -> locked = true; take_news(); has = has_ended[slot] };
       has = has || number[slot] < first || is_gone;
#else
       atomic { !locked -> locked = true; has = number[slot] < first || is_gone };
       atomic { take_news(); has = has || has_ended[slot] };
#endif
       atomic {
        if
        :: stopped && held -> has = true; spoiled[now] = true /* it is stuck */
        :: else
        fi;
        locked = false;
        if
        :: has -> break
        :: else
        fi
       };
       atomic { news_moved[slot] || is_gone || stopped ->
        if
        :: stopped && !held -> stopped = false
        :: else
        fi
       }
    od;
    atomic {
        !locked ->
        m = number[slot];
        told[m]++;
        assert(told[m] == 1 && worker[m] >= ZOMBIE);
        assert(has_ended[slot] || spoiled[maker[m]] || (!said[m] && zygote[maker[m]] != RUNS));
        m = 0; has = false;
        up[slot] = false; has_ended[slot] = false; is_dead[slot] = false; number[slot] = 0; news_moved[slot] = false
    }
}

proctype thread(byte slot) {
    byte uses = 0, asked = 0, s = 0, m = 0;
    bool has = false;
    mtype code = SPAWN;
    {
        do
        :: uses < USES ->
           if
           :: atomic { !locked && !up[slot] -> locked = true }
              make();
              unlock()
           :: atomic { !locked && up[slot] -> skip }
           fi;
           if
           :: atomic { !up[slot] -> skip }
           :: atomic { up[slot] && !is_dead[slot] && worker[number[slot]] == AT_WORK -> skip } /* the turn is over */
           :: atomic { up[slot] && is_dead[slot] -> skip } bury()
           :: atomic { up[slot] && !locked -> kill_worker(number[slot]) } /* its time is over */
              is_dead[slot];
              bury()
           fi;
           atomic { uses++; asked = 0; code = SPAWN }
        :: else -> break
        od;
        atomic { finished++; uses = 0 }
    } unless { atomic { host_dead -> uses = 0; asked = 0; s = 0; m = 0; has = false; code = SPAWN } }
}

#define watched_death(i) (seen[i] != NOBODY && worker[seen[i]] >= ZOMBIE)
#if SLOTS > 1
#define SOME_DEATH (watched_death(0) || watched_death(1))
#else
#define SOME_DEATH watched_death(0)
#endif

proctype watcher() {
    byte seen[SLOTS], polled = 0, s = 0, m = 0, i = 0;
    bool has_socket, ready[SLOTS], has_event, has_zygote, gone;
    {
end_of_watch:
        do
        :: atomic {
            !locked && !closing ->
            polled = now; has_socket = !left;
            do
            :: i < SLOTS -> seen[i] = (up[i] && !is_dead[i] -> number[i] : NOBODY); i++
            :: i == SLOTS -> i = 0; break
            od
           };
end_of_poll:
           atomic {
            event || closing || SOME_DEATH || (has_socket && (nempty(news[polled]) || zygote[polled] != RUNS)) ->
            has_event = event;
            has_zygote = has_socket && (nempty(news[polled]) || zygote[polled] != RUNS);
            do
            :: i < SLOTS -> ready[i] = watched_death(i); i++
            :: i == SLOTS -> i = 0; break
            od
           };
           atomic {
            !locked -> locked = true;
            if
            :: has_event -> event = false
            :: else
            fi;
            gone = has_zygote && is_gone
           };
#ifdef M_LEFT_BEFORE_THE_NEWS
           if
           :: gone -> left = true
           :: else
           fi;
#endif
           atomic {
            if
            :: has_zygote -> take_news()
            :: else
            fi
           };
           atomic {
#ifdef M_LEFT_BY_A_LATER_LOOK
            gone = has_zygote && is_gone;
#endif
            if
            :: gone -> left = true
            :: else
            fi;
            has_event = false; has_zygote = false; has_socket = false; gone = false; polled = 0;
            do
            :: i < SLOTS ->
                is_dead[i] = is_dead[i] || (ready[i] && up[i] && number[i] == seen[i]);
                ready[i] = false; seen[i] = 0; i++
            :: i == SLOTS -> i = 0; break
            od;
            locked = false
           }
        od
    } unless { atomic {
        host_dead ->
        polled = 0; s = 0; m = 0; has_socket = false; has_event = false; has_zygote = false; gone = false;
        for (i : 0 .. SLOTS - 1) { seen[i] = 0; ready[i] = false }
        i = 0
       } }
}

/* ---- somebody ---- */

#define MAY(which) (misdeeds < MISDEEDS && (WHICH & which))

proctype somebody() {
    byte s = 0;
    do
    :: atomic { MAY(1) && zygote[now] == RUNS -> zygote_doomed[now] = true; misdeeds++ }
    :: atomic { MAY(2) && keeper[now] == RUNS -> keeper_doomed[now] = true; spoiled[now] = true; misdeeds++ }
    :: atomic { MAY(4) && zygote[now] == RUNS -> stopped = true; misdeeds++ }
    :: atomic { MAY(8) && zygote[now] == RUNS -> stopped = true; held = true; misdeeds++ }
    :: atomic { held -> held = false; stopped = false } /* he lets it go */
    :: atomic { crashes < CRASHES -> crashes = CRASHES } /* none does */
    :: atomic { MAY(16) -> host_dead = true; stopped = false; held = false; misdeeds++;
        event = false; locked = false; left = false; first = 0;
        for (s : 0 .. SLOTS - 1) { up[s] = false; has_ended[s] = false; is_dead[s] = false; news_moved[s] = false; number[s] = 0 }
        s = 0
       }
    :: break
    od
}

inline nobody_is_left() {
    s = 0;
    do
    :: s < NUMBERS -> assert(!lives(s)); s++
    :: s == NUMBERS -> s = 0; break
    od;
    do
    :: s < LIVES -> assert(zygote[s] != RUNS && keeper[s] != RUNS); s++
    :: s == LIVES -> s = 0; break
    od
}

#define is_known(n) (up[0] && number[0] == n) || (up[SLOTS - 1] && number[SLOTS - 1] == n)

active proctype start() {
    byte s = 0;
    atomic {
        calls[0] = calls0; calls[1] = calls1; calls[2] = calls2; calls[3] = calls3;
        answers[0] = answers0; answers[1] = answers1; answers[2] = answers2; answers[3] = answers3;
        news[0] = news0; news[1] = news1; news[2] = news2; news[3] = news3;
        zygote[0] = RUNS; keeper[0] = RUNS;
        run zygote_process(0);
        run watcher();
        do
        :: s < SLOTS -> run thread(s); s++
        :: s == SLOTS -> s = 0; break
        od;
        run somebody()
    };
    /* Nobody can go on. One that is still held then is let go by nobody, and all the same killed in the end. */
    timeout;
    if
    :: !host_dead ->
        atomic {
            assert(finished == SLOTS);
            do
            :: s < NUMBERS -> assert(!lives(s) || is_known(s) || stopped); s++
            :: s == NUMBERS -> s = 0; break
            od;
            closing = true
        };
        stop_zygote()
    :: else
    fi;
    timeout;
    nobody_is_left()
}
