/*
 * The handler that writes the record (os_crash.h), and the words for it.
 *
 * The stack is walked by libgcc's unwinder, by the tables that every file of code brings, so that frames without a
 * frame pointer and the frame that was interrupted are found. It is looked up ahead of time, for the library itself
 * needs libc alone. Which file an address is in is said by _dl_find_object(), which takes no lock.
 *
 * Whatever goes wrong in here ends the process by the signal that it was dying of: a fault in the handler comes back to
 * the handler, which then gives up; and so does a timer, in case that the unwinder waits for what the dead hold.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "base/os_crash.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <signal.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>
#include <unwind.h>

#define STACK_BYTES ((size_t)64 * 1024)
#define GUARD_BYTES ((size_t)64 * 1024) /* a multiple of every machine's page */
#define PATIENCE_S 1
#define NEAR_BYTES ((uint64_t)64 * 1024) /* of the stack pointer: no frame steps further without touching it */

static const int watched[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS, SIGTRAP, SIGXCPU, SIGXFSZ};

#define COUNT(array) (sizeof(array) / sizeof *(array))

typedef _Unwind_Reason_Code walk_function(_Unwind_Trace_Fn, void *);
typedef _Unwind_Ptr ip_function(struct _Unwind_Context *, int *);
typedef _Unwind_Ptr start_function(struct _Unwind_Context *);

/* Set once, before there is a second thread. */
static struct {
    walk_function *walk;
    ip_function *ip;
    start_function *start;
    rni_os_crash *record;
    uintptr_t outermost;
    bool (*is_entry)(uintptr_t function);
    long process;
} crash;

static rni_a32 owner; /* the thread that writes the record; 0: none yet */
static siginfo_t first; /* what it died of; the owner's, and of those who see that there is one */

/* ------------------------------------------------------------------------------------------------
 * Ahead of time
 */
static _Unwind_Reason_Code count_frame(struct _Unwind_Context *context, void *count) {
    int before;
    (void)crash.ip(context, &before);
    (void)crash.start(context);
    return ++*(int *)count < 4 ? _URC_NO_REASON : _URC_END_OF_STACK;
}

/* A static program has no linker that could load it, and no need of one if the unwinder is linked to it. */
extern walk_function _Unwind_Backtrace __attribute__((weak));
extern ip_function _Unwind_GetIPInfo __attribute__((weak));
extern start_function _Unwind_GetRegionStart __attribute__((weak));

static void find_unwinder(void) {
    void *library = getauxval(AT_BASE) ? dlopen("libgcc_s.so.1", RTLD_NOW | RTLD_LOCAL) : NULL;
    crash.walk = library ? (walk_function *)(uintptr_t)dlsym(library, "_Unwind_Backtrace") : _Unwind_Backtrace;
    crash.ip = library ? (ip_function *)(uintptr_t)dlsym(library, "_Unwind_GetIPInfo") : _Unwind_GetIPInfo;
    crash.start = library ? (start_function *)(uintptr_t)dlsym(library, "_Unwind_GetRegionStart") : _Unwind_GetRegionStart;
}

void rni_os_crash_prepare(void) {
    int count = 0;
    if (!crash.walk) find_unwinder();
    if (!crash.ip || !crash.start) crash.walk = NULL;
    if (crash.walk) crash.walk(count_frame, &count);
}

/* ------------------------------------------------------------------------------------------------
 * Files
 */
struct object {
    uintptr_t start, end; /* where it is mapped */
    uintptr_t base;
    const char *path;
};

#if defined(__GLIBC__) && defined(__GLIBC_PREREQ)
#if __GLIBC_PREREQ(2, 35)
#define HAS_FIND_OBJECT 1
#endif
#endif

#ifdef HAS_FIND_OBJECT
static bool find_object(uintptr_t address, struct object *object) {
    struct dl_find_object found;
    if (_dl_find_object((void *)address, &found) != 0) return false;
    *object = (struct object){(uintptr_t)found.dlfo_map_start, (uintptr_t)found.dlfo_map_end,
                              found.dlfo_link_map->l_addr, found.dlfo_link_map->l_name};
    return true;
}
#else
/* Without it addresses are all there is to tell. */
static bool find_object(uintptr_t address, struct object *object) {
    (void)address, (void)object;
    return false;
}
#endif

/* Its headers lie where it begins, but for odd files. */
static rni_elf_id id_of(const struct object *object) {
    const ElfW(Ehdr) *header = (const void *)object->start;
    rni_elf_id id = {.length = 0};
    if (memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_phentsize != sizeof(ElfW(Phdr))) return id;
    const ElfW(Phdr) *segments = (const void *)(object->start + header->e_phoff);
    for (unsigned i = 0; i < header->e_phnum && id.length == 0; i++) {
        uintptr_t start = object->base + segments[i].p_vaddr;
        bool is_mapped = start >= object->start && start < object->end && segments[i].p_memsz <= object->end - start;
        if (segments[i].p_type == PT_NOTE && is_mapped)
            id = rni_elf_note_id((const void *)start, segments[i].p_memsz);
    }
    return id;
}

static uint32_t add_file(const struct object *object) {
    uint32_t count = rni_load_relaxed(&crash.record->file_count);
    if (count == RNI_OS_CRASH_FILES) return RNI_OS_CRASH_NO_FILE;
    rni_os_crash_file *file = &crash.record->files[count];
    rni_elf_id id = id_of(object);
    file->base = object->base;
    file->id_length = id.length;
    memcpy(file->id, id.bytes, sizeof file->id);
    size_t length = strnlen(object->path, RNI_OS_CRASH_PATH);
    memcpy(file->path, object->path, length);
    file->path[length] = '\0';
    rni_store_release(&crash.record->file_count, count + 1); /* pairs with the host's load, as all of them */
    return count;
}

static uint32_t file_of(uintptr_t address) {
    struct object object;
    if (!find_object(address, &object)) return RNI_OS_CRASH_NO_FILE;
    for (uint32_t i = 0; i < rni_load_relaxed(&crash.record->file_count); i++)
        if (crash.record->files[i].base == object.base) return i;
    return add_file(&object);
}

/* ------------------------------------------------------------------------------------------------
 * The stack
 */
static bool add_frame(uintptr_t address) {
    uint32_t count = rni_load_relaxed(&crash.record->frame_count);
    if (count == RNI_OS_CRASH_FRAMES) return false;
    crash.record->frames[count] = (rni_os_crash_frame){address, file_of(address)};
    rni_store_release(&crash.record->frame_count, count + 1);
    return true;
}

struct walk {
    uintptr_t from; /* the frame to begin with */
    bool has_begun;
    uint32_t end;   /* frames up to the entry; 0: it was not seen */
};

static _Unwind_Reason_Code visit(struct _Unwind_Context *context, void *argument) {
    struct walk *walk = argument;
    int is_exact = 0;
    uintptr_t address = (uintptr_t)crash.ip(context, &is_exact);
    if (address == 0) return _URC_END_OF_STACK;
    uintptr_t function = (uintptr_t)crash.start(context);
    if (!walk->has_begun && address != walk->from) return _URC_NO_REASON;
    if (function == crash.outermost) return _URC_END_OF_STACK;
    /* The first is there already. A return address may be the first of the next function. */
    if (walk->has_begun && !add_frame(is_exact ? address : address - 1)) return _URC_END_OF_STACK;
    walk->has_begun = true;
    if (crash.is_entry(function)) walk->end = rni_load_relaxed(&crash.record->frame_count);
    return _URC_NO_REASON;
}

#if defined(__x86_64__) && defined(__LP64__)
#define PC(context) ((context)->uc_mcontext.gregs[REG_RIP])
#define SP(context) ((context)->uc_mcontext.gregs[REG_RSP])
/* Of a call to where no code is nothing has been done but the push of the return address. */
static uintptr_t return_address(const ucontext_t *context) { return *(const uintptr_t *)SP(context); }
#define PUSHED 8
#elif defined(__aarch64__)
#define PC(context) ((context)->uc_mcontext.pc)
#define SP(context) ((context)->uc_mcontext.sp)
static uintptr_t return_address(const ucontext_t *context) { return (uintptr_t)context->uc_mcontext.regs[30]; }
#define PUSHED 0
#endif

#ifdef PC
/* A jump to where no code is: the walk begins with the caller. */
static void step_out(ucontext_t *context) {
    struct object object;
    if (find_object((uintptr_t)PC(context), &object)) return;
    uintptr_t address = return_address(context);
    if (!find_object(address, &object)) return;
    (void)add_frame(address - 1);
    PC(context) = (__typeof__(PC(context)))(address - 1);
    SP(context) += PUSHED;
}

static void record_stack(ucontext_t *context) {
    __typeof__(PC(context)) pc = PC(context), sp = SP(context);
    (void)add_frame((uintptr_t)pc);
    step_out(context);
    struct walk walk = {.from = (uintptr_t)PC(context)};
    if (crash.walk) crash.walk(visit, &walk);
    if (walk.end > 0) rni_store_release(&crash.record->frame_count, walk.end);
    PC(context) = pc;
    SP(context) = sp;
}

static uint64_t stack_pointer(const ucontext_t *context) { return (uint64_t)SP(context); }
#else
static void record_stack(const ucontext_t *context) { (void)context; }
static uint64_t stack_pointer(const ucontext_t *context) { return (void)context, 0; }
#endif

/* ------------------------------------------------------------------------------------------------
 * The handler
 */
/* Lets the signal do what it does without a handler. */
static void die(siginfo_t *info) {
    int signal = info->si_signo;
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t set;
    sigaction(signal, &action, NULL);
    sigemptyset(&set);
    sigaddset(&set, signal);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    syscall(SYS_rt_tgsigqueueinfo, syscall(SYS_getpid), syscall(SYS_gettid), signal, info);
    syscall(SYS_tgkill, syscall(SYS_getpid), syscall(SYS_gettid), signal); /* a filter of calls may know only this */
    _exit(128 + signal);
}

static void limit_time(void) {
    struct sigaction action;
    sigaction(first.si_signo, NULL, &action); /* this handler, as it is */
    sigset_t set;
    struct itimerval timer = {.it_value = {.tv_sec = PATIENCE_S}};
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    sigaction(SIGALRM, &action, NULL);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
}

static void record_numbers(const siginfo_t *info, const ucontext_t *context, uint32_t thread) {
    rni_os_crash *record = crash.record;
    record->signal = info->si_signo;
    record->code = info->si_code;
    if (rni_os_crash_is_filter(info->si_signo, info->si_code)) record->call = info->si_syscall;
    else if (rni_os_crash_was_sent(info->si_code)) record->sender = info->si_pid;
    else record->address = (uintptr_t)info->si_addr;
    record->stack = stack_pointer(context);
    record->is_thread = thread != (uint32_t)crash.process;
    rni_store_release(&record->mark, 1);
}

static void note_crash(int signal, siginfo_t *info, void *context) {
    uint32_t thread = (uint32_t)syscall(SYS_gettid), nobody = 0;
    if (syscall(SYS_getpid) != crash.process) die(info); /* a child that a task forked */
    if (!rni_cas_acq_rel(&owner, &nobody, thread)) {
        /* A fault in here, or the time is over. Else two threads crash at once: the first one's end is everybody's. */
        if (nobody == thread || signal == SIGALRM) die(&first);
        for (;;) pause();
    }
    first = *info;
    limit_time();
    record_numbers(info, context, thread);
    record_stack(context);
    die(info);
}

/* ------------------------------------------------------------------------------------------------
 * The worker
 */
/* With room below it that belongs to nobody: an overflow of this stack writes to no memory of the program's. */
static void make_stack(void) {
    stack_t former;
    if (sigaltstack(NULL, &former) != 0 || !(former.ss_flags & SS_DISABLE)) return; /* the program has one */
    size_t size = GUARD_BYTES + STACK_BYTES;
    char *pages = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED) return;
    stack_t stack = {.ss_sp = pages + GUARD_BYTES, .ss_size = STACK_BYTES};
    if (mprotect(stack.ss_sp, STACK_BYTES, PROT_READ | PROT_WRITE) == 0) sigaltstack(&stack, NULL);
}

void rni_os_crash_watch(rni_os_crash *record, uintptr_t outermost, bool (*is_entry)(uintptr_t function)) {
    crash.record = record;
    crash.outermost = outermost;
    crash.is_entry = is_entry;
    crash.process = getpid();
    make_stack();
    struct sigaction former, action = {.sa_sigaction = note_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    sigfillset(&action.sa_mask);
    for (size_t i = 0; i < COUNT(watched); i++) sigdelset(&action.sa_mask, watched[i]);
    for (size_t i = 0; i < COUNT(watched); i++) {
        bool is_default = sigaction(watched[i], NULL, &former) == 0 && !(former.sa_flags & SA_SIGINFO) &&
                          former.sa_handler == SIG_DFL;
        if (is_default) sigaction(watched[i], &action, NULL);
    }
}

/* ------------------------------------------------------------------------------------------------
 * For people
 */
bool rni_os_crash_was_sent(int code) { return code <= 0; }

bool rni_os_crash_has_address(int signal, int code) {
    return (signal == SIGSEGV || signal == SIGBUS) && code > 0 && code != SI_KERNEL;
}

bool rni_os_crash_is_filter(int signal, int code) { return signal == SIGSYS && code == 1; /* SYS_SECCOMP */ }

bool rni_os_crash_is_overflow(const rni_os_crash *record) {
    if (record->signal != SIGSEGV || !rni_os_crash_has_address(record->signal, record->code)) return false;
    bool is_null = record->address < NEAR_BYTES; /* no stack lies there, whatever the pointer says */
    return !is_null && record->address - (record->stack - NEAR_BYTES) < 2 * NEAR_BYTES;
}

static const struct {
    int signal, code;
    const char *says;
} reasons[] = {
    {SIGSEGV, SEGV_MAPERR, "nothing is mapped there"},
    {SIGSEGV, SEGV_ACCERR, "the access is not allowed there"},
    {SIGSEGV, SI_KERNEL, "the address is none that the machine has"},
    {SIGBUS, BUS_ADRALN, "the access is not aligned"},
    {SIGBUS, BUS_ADRERR, "beyond the end of a mapped file"},
    {SIGFPE, FPE_INTDIV, "integer division by zero"},
    {SIGFPE, FPE_INTOVF, "integer overflow"},
    {SIGFPE, FPE_FLTDIV, "floating-point division by zero"},
    {SIGFPE, FPE_FLTOVF, "floating-point overflow"},
    {SIGFPE, FPE_FLTINV, "invalid floating-point operation"},
    {SIGILL, ILL_ILLOPC, "illegal instruction"},
    {SIGILL, ILL_ILLOPN, "illegal operand"},
    {SIGILL, ILL_PRVOPC, "privileged instruction"},
    {SIGTRAP, TRAP_BRKPT, "a breakpoint, and no debugger"},
    {SIGTRAP, SI_KERNEL, "a breakpoint, and no debugger"},
};

const char *rni_os_crash_reason(int signal, int code) {
    for (size_t i = 0; i < COUNT(reasons); i++)
        if (reasons[i].signal == signal && reasons[i].code == code) return reasons[i].says;
    return "";
}
