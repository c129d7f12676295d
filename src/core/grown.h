/*
 * Structs that grow: of whatever size the caller's header gave them, as this build knows them.
 */
#ifndef RNI_CORE_GROWN_H
#define RNI_CORE_GROWN_H

#include <runium.h>

typedef struct rni_grown {
    const char *name;
    size_t least; /* that any version ever had */
    size_t known; /* sizeof in this build */
} rni_grown;

/* Copies a struct that starts with its size into `whole`, which is of the known size; what the caller's header does
 * not have is zero. Returns none; or RN_INVALID: too small, or something set beyond what is known here. */
rn_value rni_grown_read(const rni_grown *grown, const void *given, void *whole);

/* Whether a given struct is of a size that may be, and has the field that ends there. */
bool rni_grown_has(const rni_grown *grown, const void *given, size_t end);

/* Copies out: as much as the caller's struct holds; what it has beyond is zeroed. */
rn_value rni_grown_write(const rni_grown *grown, const void *whole, void *given);

#endif
