#define _GNU_SOURCE 1 /* strerror_r that returns the text */
#include "sha256.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK_SIZE = 64 * 1024 };

/* Fetched once: a fetch takes locks in OpenSSL that all threads would meet at. */
static EVP_MD *algorithm;

rn_value sha256_open(void) {
    algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
    return algorithm != NULL ? rn_none() : rn_error(ENOTSUP, "OpenSSL has no SHA-256 here");
}

void sha256_close(void) { EVP_MD_free(algorithm); }

static rn_value failed(const char *path, int code) {
    char reason[128];
    return rn_error(code, "%s: %s", path, strerror_r(code, reason, sizeof reason));
}

/* Feeds the rest of the file into the hash. Returns its length, or a negative errno value. */
static int64_t digest_all(EVP_MD_CTX *hash, int fd) {
    unsigned char chunk[CHUNK_SIZE];
    int64_t size = 0;
    for (;;) {
        ssize_t got = read(fd, chunk, sizeof chunk);
        if (got == 0) return size;
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return -errno;
        if (EVP_DigestUpdate(hash, chunk, (size_t)got) != 1) return -ENOMEM;
        size += got;
    }
}

static rn_value hash_open_file(const char *path, int fd, EVP_MD_CTX *hash) {
    struct sha256_file file;
    struct stat status;
    if (fstat(fd, &status) != 0) return failed(path, errno);
    if (!S_ISREG(status.st_mode)) return rn_error(EINVAL, "%s: No longer a regular file", path);
    if (hash == NULL || EVP_DigestInit_ex2(hash, algorithm, NULL) != 1) return failed(path, ENOMEM);
    int64_t size = digest_all(hash, fd);
    if (size < 0) return failed(path, (int)-size);
    if (EVP_DigestFinal_ex(hash, file.digest, NULL) != 1) return failed(path, ENOMEM);
    file.size_bytes = (uint64_t)size;
    return rn_bytes(&file, sizeof file);
}

rn_value sha256_of_file(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) return failed(path, errno);
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    rn_value result = hash_open_file(path, fd, hash);
    EVP_MD_CTX_free(hash);
    close(fd);
    return result;
}

struct sha256_file sha256_file_in(rn_value value) {
    struct sha256_file file;
    memcpy(&file, rn_as_bytes(value), sizeof file);
    return file;
}

/* A backslash, a newline and a carriage return are written as two characters each. */
static void print_escaped(FILE *out, const char *path) {
    for (; *path != '\0'; path++) {
        if (*path == '\\') fputs("\\\\", out);
        else if (*path == '\n') fputs("\\n", out);
        else if (*path == '\r') fputs("\\r", out);
        else putc(*path, out);
    }
}

void sha256_print(FILE *out, const char *path, const struct sha256_file *file) {
    flockfile(out);
    if (strpbrk(path, "\\\n\r") != NULL) putc('\\', out);
    for (int i = 0; i < SHA256_SIZE; i++) fprintf(out, "%02x", file->digest[i]);
    fputs("  ", out);
    print_escaped(out, path);
    putc('\n', out);
    funlockfile(out);
}
