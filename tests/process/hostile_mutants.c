#include "hostile_mutants.h"

#include <stddef.h>
#include <string.h>

uint64_t odd_number(struct dice *dice) {
    static const uint64_t odd[] = {0, 1, 2, 3, 7, 8, 255, 256, 4095, 4096, 65535, 65536, INT32_MAX, UINT32_MAX,
                                   UINT64_C(1) << 32, INT64_MAX, UINT64_C(1) << 63, UINT64_MAX - 1, UINT64_MAX};
    uint64_t number = odd[roll_below(dice, sizeof odd / sizeof odd[0])];
    return roll_below(dice, 4) == 0 ? roll(dice) : number;
}

void mutate_frame(struct dice *dice, rni_writer *frame) {
    for (uint64_t changes = 1 + roll_below(dice, 3); changes > 0 && frame->length > 0; changes--) {
        size_t at = (size_t)roll_below(dice, frame->length);
        uint64_t number = odd_number(dice);
        switch (roll_below(dice, 7)) {
        case 0: frame->bytes[at] ^= (unsigned char)(1u << roll_below(dice, 8)); break;
        case 1: frame->bytes[at] = (unsigned char)number; break;
        case 2: memcpy(frame->bytes + at, &number, frame->length - at < 8 ? frame->length - at : 8); break;
        case 3: memcpy(frame->bytes + at, &number, frame->length - at < 4 ? frame->length - at : 4); break;
        case 4: frame->length = at + 1; break;
        case 5: rni_put_64(frame, number); break;
        default: memmove(frame->bytes, frame->bytes + at / 2, frame->length - at / 2); break;
        }
    }
}

void scribble_mailbox(struct dice *dice, struct fake *fake) {
    rni_mailbox *out = fake->channel.out;
    unsigned char *bytes = (unsigned char *)out;
    for (uint64_t changes = roll_below(dice, 6); changes > 0; changes--) {
        size_t at = (size_t)(roll_below(dice, 3) ? roll_below(dice, offsetof(rni_mailbox, told_in_batch) + 64) : roll_below(dice, sizeof *out));
        if (at / 4 == 0) continue; /* the futex: without it the message is not seen, and the host waits as for any that hangs */
        uint64_t number = odd_number(dice);
        memcpy(bytes + at, &number, sizeof *out - at < 8 ? sizeof *out - at : 1 + (size_t)roll_below(dice, 8));
    }
}
