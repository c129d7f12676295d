#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "hostile_fetches.h"

#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "process/channel.h"
#include "support.h"

#define LIMIT 250

static struct {
    unsigned char *mailbox;     /* NULL: nothing is watched */
    const unsigned char *alias;
    bool in_frame;
    unsigned char fetched[RNI_MAILBOX_BYTES];
    unsigned long long frames, fetches, bytes, twice, unknown;
    unsigned first_twice;
    unsigned char code[4];      /* of the first instruction that was not understood */
} seen;

static bool is_watched(const void *address) {
    const unsigned char *at = address;
    return seen.mailbox && at >= seen.mailbox && at < seen.mailbox + RNI_MAILBOX_BYTES;
}

#define IS_IN(field, at) \
    ((at) - offsetof(rni_mailbox, field) < sizeof(((rni_mailbox *)0)->field)) /* below it: a large number */

/* The words that may be read again. */
static bool is_exception(size_t at) {
    return IS_IN(word, at) || IS_IN(count, at) || IS_IN(begun, at) || IS_IN(done, at) || IS_IN(since, at) ||
           IS_IN(put, at) || IS_IN(taken, at);
}

static void note_fetch(size_t at, size_t size) {
    seen.fetches++;
    seen.bytes += size;
    for (size_t i = at; i < at + size && i < RNI_MAILBOX_BYTES; i++) {
        if (seen.fetched[i] < LIMIT) seen.fetched[i]++;
    }
}

void fetches_begin_frame(void) {
    memset(seen.fetched, 0, sizeof seen.fetched);
    seen.in_frame = true;
}

void fetches_end_frame(void) {
    if (!seen.in_frame) return;
    seen.in_frame = false;
    seen.frames++;
    if (proof_canary && seen.frames == 100) note_fetch(offsetof(rni_mailbox, bytes), 1);
    for (size_t i = 0; i < RNI_MAILBOX_BYTES; i++) {
        if (seen.fetched[i] < 2 || is_exception(i)) continue;
        if (seen.twice++ == 0) seen.first_twice = (unsigned)i;
    }
}

void fetches_judge(void) {
    printf("P11: %llu frames: %llu reads of %llu bytes of the mailbox, %llu bytes read twice\n", seen.frames, seen.fetches,
           seen.bytes, seen.twice);
    check(seen.frames > 100 && seen.bytes > seen.frames, "frames are seen");
    check(seen.twice == 0, "no byte of a frame is read twice; the first is at %u", seen.first_twice);
    check(seen.unknown == 0, "every access is understood: %llu are not; the first is %02x %02x %02x %02x", seen.unknown,
          seen.code[0], seen.code[1], seen.code[2], seen.code[3]);
    proof_cases(seen.frames);
}

#if defined(__x86_64__) && !UNDER_ASAN && !UNDER_TSAN

#define TRAP_FLAG 0x100

/* memcpy() reads as it likes: what it is told to read is what counts. */
void *__real_memcpy(void *to, const void *from, size_t size);
void *__wrap_memcpy(void *to, const void *from, size_t size);
void *__real___memcpy_chk(void *to, const void *from, size_t size, size_t room);
void *__wrap___memcpy_chk(void *to, const void *from, size_t size, size_t room);

void *__wrap_memcpy(void *to, const void *from, size_t size) {
    if (!is_watched(from)) return __real_memcpy(to, from, size);
    size_t at = (size_t)((const unsigned char *)from - seen.mailbox);
    note_fetch(at, size);
    return __real_memcpy(to, seen.alias + at, size);
}

void *__wrap___memcpy_chk(void *to, const void *from, size_t size, size_t room) {
    if (size > room) abort();
    return __wrap_memcpy(to, from, size);
}

/* How many bytes this instruction reads or writes; 0: not understood. */
static size_t size_of_access(const unsigned char *code) {
    bool is_word = false, is_wide = false;
    for (;; code++) {
        if (*code == 0x66) is_word = true;
        else if ((*code & 0xf0) == 0x40) is_wide = *code & 8;
        else if (*code != 0xf0 && *code != 0xf2 && *code != 0xf3 && *code != 0x2e && *code != 0x3e) break;
    }
    size_t size = is_wide ? 8 : is_word ? 2 : 4;
    switch (*code) {
    case 0x8a: case 0x88: case 0x80: case 0xc6: case 0x3a: case 0x38: case 0x86: return 1;
    case 0x8b: case 0x89: case 0x83: case 0x81: case 0xc7: case 0x3b: case 0x39: case 0x87: case 0x01: case 0x03: case 0x63:
    case 0x2b: case 0x33: case 0xff: return size;
    case 0x0f: break;
    default: return 0;
    }
    switch (code[1]) {
    case 0xb6: case 0xbe: return 1;
    case 0xb7: case 0xbf: return 2;
    case 0xc1: case 0xb1: return size;
    case 0x6f: case 0x10: case 0x28: return 16;
    case 0x7e: case 0xd6: case 0x12: case 0x16: return 8;
    case 0x6e: return size;
    default: return 0;
    }
}

static void note_access(const siginfo_t *info, const ucontext_t *context) {
    const unsigned char *code = (const unsigned char *)context->uc_mcontext.gregs[REG_RIP];
    size_t size = size_of_access(code);
    if (size == 0 && seen.unknown++ == 0) __real_memcpy(seen.code, code, sizeof seen.code);
    note_fetch((size_t)((unsigned char *)info->si_addr - seen.mailbox), size);
}

static void on_fault(int number, siginfo_t *info, void *data) {
    ucontext_t *context = data;
    if (!is_watched(info->si_addr)) {
        signal(number, SIG_DFL);
        return;
    }
    note_access(info, context);
    mprotect(seen.mailbox, RNI_MAILBOX_BYTES, PROT_READ | PROT_WRITE);
    context->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
}

static void on_step(int number, siginfo_t *info, void *data) {
    ucontext_t *context = data;
    (void)number, (void)info;
    context->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
    if (seen.mailbox) mprotect(seen.mailbox, RNI_MAILBOX_BYTES, PROT_NONE);
}

bool fetches_can_watch(void) { return true; }

void fetches_watch(void *mailbox, const void *alias) {
    struct sigaction fault = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    struct sigaction step = {.sa_sigaction = on_step, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaction(SIGSEGV, &fault, NULL);
    sigaction(SIGTRAP, &step, NULL);
    seen.alias = alias;
    seen.mailbox = mailbox;
    mprotect(mailbox, RNI_MAILBOX_BYTES, PROT_NONE);
}

void fetches_stop(void) {
    if (seen.mailbox) mprotect(seen.mailbox, RNI_MAILBOX_BYTES, PROT_READ | PROT_WRITE);
    seen.mailbox = NULL;
    signal(SIGSEGV, SIG_DFL);
    signal(SIGTRAP, SIG_DFL);
}

#else

bool fetches_can_watch(void) { return false; }

void fetches_watch(void *mailbox, const void *alias) { (void)mailbox, (void)alias; }

void fetches_stop(void) {}

#endif
