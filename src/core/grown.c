#include "core/grown.h"

#include <string.h>

#include "value/value.h"

#define MORE 65536u /* beyond the known size: more is no struct of a later version, but no size at all */

static rn_value check_size(const rni_grown *grown, size_t size) {
    if (size >= grown->least && size <= grown->known + MORE) return rni_none();
    return rn_error(RN_INVALID, "%s.size is %zu; accepted is sizeof(%s), %zu here, and from %zu to %zu", grown->name,
                    size, grown->name, grown->known, grown->least, grown->known + MORE);
}

rn_value rni_grown_read(const rni_grown *grown, const void *given, void *whole) {
    size_t size;
    memcpy(&size, given, sizeof size);
    rn_value error = check_size(grown, size);
    if (!rni_is_none(error)) return error;
    const char *bytes = given;
    for (size_t i = grown->known; i < size; i++)
        if (bytes[i])
            return rn_error(RN_INVALID, "%s.size is %zu and something is set beyond the %zu bytes that this version knows",
                            grown->name, size, grown->known);
    memset(whole, 0, grown->known);
    memcpy(whole, given, size < grown->known ? size : grown->known);
    return rni_none();
}

bool rni_grown_has(const rni_grown *grown, const void *given, size_t end) {
    size_t size;
    memcpy(&size, given, sizeof size);
    return size >= end && size <= grown->known + MORE;
}

rn_value rni_grown_write(const rni_grown *grown, const void *whole, void *given) {
    size_t size;
    memcpy(&size, given, sizeof size);
    rn_value error = check_size(grown, size);
    if (!rni_is_none(error)) return error;
    memset(given, 0, size);
    memcpy(given, whole, size < grown->known ? size : grown->known);
    memcpy(given, &size, sizeof size);
    return error;
}
