/*
 * Frames: what host and worker process say to each other, as bytes.
 *
 * They take turns, like two people on a telephone: a frame from the host, one from the worker, and so on.
 *
 *   host to worker                        worker to host
 *   TURN    take a run through a turn     STAGE   a stage begins: what there is so far        -> ANSWER: it may, or it
                                                                                            is called off
 *   ANSWER  to what the worker asked      ENDED   the turn is over: it ended, or it waits
 *   BATCH   run these, one by one         BATCH_ENDED  no more of them: see batch.h
 *   QUIT    end                           ASK ... a function of runium.h, called in a task    -> ANSWER, or a TURN
 *
 * A worker that waits for a run may be given that run to take through a turn itself: a TURN inside an ASK, whose own
 * frames come and go until it is ENDED; then the ANSWER follows.
 *
 * Numbers are little endian and unpadded. A reader that meets the end or a wrong byte fails once and for all and gives
 * zeros from then on; whoever reads asks once, at the end. Nothing read is used before that.
 *
 * A text or byte string of RNI_LARGE_BYTES or more is not among the bytes of a frame: it comes beside them (channel.h), is
 * copied once, from the value of the sender's side to the ring and from there to the receiver's value. In the frame are
 * RNI_BESIDE with its kind, 4 bytes number, and 8 length. They are numbered from 0, in the order in which they are read.
 */
#ifndef RNI_PROCESS_FRAME_H
#define RNI_PROCESS_FRAME_H

#include <runium.h>
#include <stddef.h>

#include "value/wire.h"

enum rni_frame {
    RNI_TURN = 1,
    RNI_ANSWER,
    RNI_QUIT,
    RNI_BATCH,

    RNI_STAGE = 16,
    RNI_ENDED,
    RNI_BATCH_ENDED,
    RNI_ASK_START,
    RNI_ASK_WAIT,
    RNI_ASK_STATE,
    RNI_ASK_CANCEL,
    RNI_ASK_STOP,
    RNI_ASK_RELEASE,
    RNI_ASK_PENDING,
    RNI_ASK_STATS,
    RNI_ASK_REPORT,
    RNI_ASK_STOP_SELF,
    RNI_ASK_LOG
};

#define RNI_LARGE_BYTES ((size_t)16 * 1024)
#define RNI_BESIDE 0x40u /* as the first byte of a value: no kind has that bit, nor has an error with a detail */

/* A frame that is being written. Grows; is used again for the next. */
typedef struct rni_writer {
    unsigned char *bytes;
    size_t length, room;
    bool failed; /* no memory */
    bool is_overfull; /* more buffers than a frame may have */
    rni_wire_buffers buffers; /* of its values: it keeps them until it is sent */
    rni_wire_buffers larges;  /* as well */
} rni_writer;

void rni_writer_begin(rni_writer *writer, enum rni_frame frame);
void rni_writer_free(rni_writer *writer);
void rni_writer_sent(rni_writer *writer); /* lets go of its values, and of memory that is not worth keeping */
uint64_t rni_writer_size(const rni_writer *writer); /* with what goes beside it */
void rni_put_8(rni_writer *writer, uint8_t number);
void rni_put_32(rni_writer *writer, uint32_t number);
void rni_put_64(rni_writer *writer, uint64_t number);
void rni_put_bytes(rni_writer *writer, const void *bytes, size_t length); /* with their length */
void rni_put_text(rni_writer *writer, const char *text);
bool rni_put_value(rni_writer *writer, rn_value value); /* borrows; false: it cannot travel */
bool rni_wire_is_portable(rn_value value);

typedef struct rni_reader {
    const unsigned char *at, *end;
    bool failed;
    rni_wire_buffers *buffers; /* that came with the frame; NULL: it can have none */
    rni_wire_buffers *larges;  /* likewise, as bytes: whether one is a text is not known yet */
} rni_reader;

uint8_t rni_take_8(rni_reader *reader);
uint32_t rni_take_32(rni_reader *reader);
uint64_t rni_take_64(rni_reader *reader);
bool rni_take_flag(rni_reader *reader);                               /* 0 or 1 */
const void *rni_take_bytes(rni_reader *reader, size_t *length);       /* in place; NULL if failed */
void rni_take_text(rni_reader *reader, char *text, size_t size);      /* fails if it does not fit */
rn_value rni_take_value(rni_reader *reader);                          /* yours; none if failed */
bool rni_reader_is_done(const rni_reader *reader);                    /* nothing failed, nothing is left, also beside it */

#endif
