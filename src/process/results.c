#include "process/results.h"

#include <string.h>

#include "process/batch.h"
#include "process/channel.h"
#include "value/value.h"
#include "value/wire.h"

uint32_t rni_results_place(uint64_t mark, uint32_t message) {
    uint32_t place = (uint32_t)mark & ~RNI_TALKS;
    if ((uint32_t)(mark >> 32) != message) return 0;
    return place <= RNI_BATCH_MOST ? place : UINT32_MAX;
}

/* Its bytes are read once, and looked at in the copy: the worker may change them at any time. */
bool rni_results_take(const unsigned char *results, size_t *at, rn_value *value) {
    unsigned char copy[RNI_BATCH_VALUE + 16];
    uint32_t size;
    size_t used;
    if (RNI_RESULTS_BYTES - *at < sizeof size) return false;
    memcpy(&size, results + *at, sizeof size);
    *at += sizeof size;
    if (size > sizeof copy || size > RNI_RESULTS_BYTES - *at) return false;
    memcpy(copy, results + *at, size);
    *at += size;
    if (!rni_wire_read(copy, size, value, &used)) return false;
    if (used == size) return true;
    rni_drop(*value);
    return false;
}
