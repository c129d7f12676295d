/* The SHA-256 of a file as a Runium value. The hashing itself is OpenSSL's. */
#ifndef EXAMPLES_SHA256_H
#define EXAMPLES_SHA256_H

#include <runium.h>

#include <stdint.h>
#include <stdio.h>

enum { SHA256_SIZE = 32 };

/* A hashed file travels as the bytes of this struct. */
struct sha256_file {
    uint64_t size_bytes;
    unsigned char digest[SHA256_SIZE];
};

/* To be called once, before any file is hashed. Returns none or an error. */
rn_value sha256_open(void);
void sha256_close(void);

/*
 * Hashes one file. Symbolic links are not followed, and a FIFO or a device that took the place of a
 * file is an error, not a wait. Returns bytes (a struct sha256_file), or an error with an errno value
 * as its code. Blocks while it reads. Any thread.
 */
rn_value sha256_of_file(const char *path);

/* Reads such bytes: a copy, since bytes in a value have no alignment. */
struct sha256_file sha256_file_in(rn_value value);

/* Prints the line that sha256sum prints for the file. Any thread: lines never mix. */
void sha256_print(FILE *out, const char *path, const struct sha256_file *file);

#endif
