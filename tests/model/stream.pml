/*
 * Streams, as src/process/stream.h has them: a message of PIECES goes through a ring of RING pieces while the receiver takes
 * them out. Host and worker speak in turns, MESSAGES times; with UP=1 the worker sends what is large, else the host does.
 * The worker is killed between any two steps.
 *
 *   sender:    reads its word, then `taken`; a piece into the ring, then `put`, then the other's word; or sleeps
 *   receiver:  reads its word, then whether the other is gone, then `put`; a piece out, then `taken`, then the other's word
 *
 * The first FIRST pieces are there before the message is announced. Where all of it fits into the ring the receiver wakes nobody.
 *
 * Safety: each piece comes once, whole, and in its order; a message that is whole is read, whatever became of its sender; and
 * nobody sleeps while there is something to do: the host ends, the worker ends or was killed.
 * Canaries: -DM_X breaks the one thing X each; run_spin.py runs them all.
 */
#ifndef RING
#define RING 2
#endif
#ifndef PIECES
#define PIECES 4
#endif
#ifndef FIRST
#define FIRST 1
#endif
#ifndef MESSAGES
#define MESSAGES 2
#endif
#ifndef UP
#define UP 1
#endif

byte ring[RING]; /* 0: free to be written */
byte put = 0, taken = 0;
byte announced = 0, answered = 0; /* messages; the answers are small */
/* The futexes: whether the word has moved since the one who sleeps on it last read it. */
bool sender_moved = false, receiver_moved = false;
bool alive = true, gone = false; /* the worker; the watcher's word, which only the host reads */

#define piece(message, place) ((message) * 16 + (place) + 1)

#if UP
#define sender_sees_gone false
#define receiver_sees_gone gone
#define sender_lives alive
#define receiver_lives true
#else
#define sender_sees_gone gone
#define receiver_sees_gone false
#define sender_lives true
#define receiver_lives alive
#endif

inline tell_receiver() {
#ifndef M_RECEIVER_NOT_TOLD
    receiver_moved = true
#else
    skip
#endif
}

inline put_piece() {
    assert(ring[done % RING] == 0);
#ifdef M_PUT_FIRST
    put++;
    ring[done % RING] = piece(message, done);
#else
    ring[done % RING] = piece(message, done);
    put++;
#endif
    done++;
    if
    :: is_announced -> tell_receiver()
    :: !is_announced && (done == PIECES || done >= FIRST) ->
       is_announced = true;
       announced++;
       receiver_moved = true
    :: else
    fi
}

proctype sender() {
    byte message = 0, done = 0, room;
    bool is_announced = false, has_mail;
    {
    do
    :: message < MESSAGES ->
        done = 0;
        is_announced = false;
        do
        :: done < PIECES ->
#ifndef M_WORD_READ_LATE
            sender_moved = false;
#endif
            room = RING - (put - taken);
#ifdef M_ONE_TOO_MANY
            room++;
#endif
            if
            :: room > 0 -> put_piece()
            :: else ->
                if
                :: sender_sees_gone -> goto over
                :: else
                fi;
#ifdef M_WORD_READ_LATE
                sender_moved = false;
#endif
                sender_moved
            fi
        :: else -> break
        od;
        do /* for the answer */
        :: sender_moved = false;
           has_mail = (answered > message);
           if
           :: has_mail -> break
           :: !has_mail && sender_sees_gone -> goto over
           :: else -> sender_moved
           fi
        od;
        message++
    :: else -> break
    od;
over:
    skip
    } unless { !sender_lives }
}

inline take_piece() {
#ifdef M_TAKEN_FIRST
    taken++;
#endif
    assert(ring[done % RING] == piece(message, done));
    ring[done % RING] = 0;
#ifndef M_TAKEN_FIRST
    taken++;
#endif
    done++;
#ifndef M_SENDER_NOT_TOLD
#if PIECES > RING
    sender_moved = true
#else
    skip
#endif
#else
    skip
#endif
}

proctype receiver() {
    byte message = 0, done = 0, ready;
    bool is_gone;
    {
    do
    :: message < MESSAGES ->
        done = 0;
        do /* for the message */
        :: receiver_moved = false;
           is_gone = receiver_sees_gone;
           ready = (announced > message);
           if
           :: ready -> break
           :: !ready && is_gone -> goto over
           :: else -> receiver_moved
           fi
        od;
        do
        :: done < PIECES ->
            receiver_moved = false;
#ifndef M_DEATH_READ_LATE
            is_gone = receiver_sees_gone;
#endif
            ready = put - taken;
#ifdef M_DEATH_READ_LATE
            is_gone = receiver_sees_gone;
#endif
            if
            :: ready > 0 -> take_piece()
            :: ready == 0 && is_gone -> assert(put == taken); goto over /* what it left counts */
            :: else -> receiver_moved
            fi
        :: else -> break
        od;
        answered++;
        sender_moved = true;
        message++
    :: else -> break
    od;
over:
    skip
    } unless { !receiver_lives }
}

proctype killer() {
    if
    :: alive = false
    :: skip
    fi
}

proctype watcher() {
end_of_watch:
    if
    :: !alive ->
        gone = true;
#ifndef M_NO_NUDGE
#if UP
        receiver_moved = true
#else
        sender_moved = true
#endif
#endif
    fi
}

init {
    atomic { run sender(); run receiver(); run killer(); run watcher() }
}
