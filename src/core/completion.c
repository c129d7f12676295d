#include "core/completion.h"

#include "base/os.h"

#define FLAGS UINT64_C(0xffff)

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the futex of a word is its low half, at its address");

static rni_node *nodes_of(uint64_t word) {
    return (rni_node *)(uintptr_t)(word >> RNI_NODE_SHIFT);
}

static uint64_t word_of(const rni_node *node) {
    return (uint64_t)(uintptr_t)node << RNI_NODE_SHIFT;
}

static bool is_last(uint64_t word) {
    return (word & (RNI_SETTLED | RNI_RELEASED | RNI_QUEUED)) == (RNI_SETTLED | RNI_RELEASED);
}

static uint64_t with_state(uint64_t word, enum rn_state state) {
    return (word & ~RNI_STATE) | (uint64_t)state;
}

void rni_completion_init(rni_completion *completion, uint64_t flags) {
    /* Release: a reader of the pending list that sees it waiting sees what was filled in before. */
    rni_store_release(&completion->word, flags);
}

enum rni_verdict rni_completion_begin(rni_completion *completion) {
    uint64_t word = rni_load_acquire(&completion->word); /* pairs with init and suspend, by way of the queue */
    uint64_t next;
    do {
        next = word & ~RNI_QUEUED;
        if (rni_state_of(word) == RN_WAITING) next = with_state(next, RN_RUNNING) | RNI_BEGUN;
        /* Pairs with cancel, claim, release and stop: the CASes on one word have one order. */
    } while (!rni_cas_acq_rel(&completion->word, &word, next));
    __builtin_prefetch(nodes_of(word), 1); /* another core's, and needed when it ends */
    if (rni_state_of(word) == RN_WAITING) return RNI_YES;
    return is_last(next) ? RNI_LAST : RNI_NO;
}

void rni_completion_begin_detached(rni_completion *completion) {
    uint64_t word = rni_load_relaxed(&completion->word);
    rni_store_relaxed(&completion->word, with_state(word & ~RNI_QUEUED, RN_RUNNING) | RNI_BEGUN);
}

enum rni_verdict rni_completion_unbegin(rni_completion *completion) {
    uint64_t word = rni_load_relaxed(&completion->word);
    do {
        if (word & RNI_STOP) return RNI_NO;
        /* Pairs with cancel, claim and stop, as begin. */
    } while (!rni_cas_acq_rel(&completion->word, &word, with_state(word & ~RNI_BEGUN, RN_WAITING) | RNI_QUEUED));
    return RNI_YES;
}

enum rni_verdict rni_completion_claim(rni_completion *completion) {
    uint64_t word = rni_load_acquire(&completion->word); /* pairs with suspend: what the last iteration left */
    do {
        if (rni_state_of(word) != RN_WAITING || !(word & RNI_CLAIMABLE)) return RNI_NO;
    } while (!rni_cas_acq_rel(&completion->word, &word, with_state(word, RN_RUNNING) | RNI_BEGUN)); /* as in begin */
    return RNI_YES;
}

enum rni_verdict rni_completion_suspend(rni_completion *completion) {
    uint64_t word = rni_load_relaxed(&completion->word);
    do {
        if (word & RNI_STOP) return RNI_NO;
        /* Releases what the iteration left to whoever begins the next one. */
    } while (!rni_cas_acq_rel(&completion->word, &word, with_state(word, RN_WAITING) | RNI_QUEUED));
    return RNI_YES;
}

enum rni_verdict rni_completion_cancel(rni_completion *completion, rn_value value, rn_value *former) {
    uint64_t word = rni_load_acquire(&completion->word);
    /* Two steps, so that the value is in place before anybody may read it: RUNNING with STOP is the claim. */
    do {
        if (rni_state_of(word) != RN_WAITING || (word & RNI_BEGUN)) return RNI_NO;
    } while (!rni_cas_acq_rel(&completion->word, &word, with_state(word, RN_RUNNING) | RNI_STOP)); /* as in begin */
    *former = completion->value;
    completion->value = value;
    word = rni_load_relaxed(&completion->word);
    uint64_t next;
    do {
        next = with_state(word, RN_STATE_CANCELLED) & ~RNI_WAITED;
        /* Releases the value to the acquire loads of rni_is_over()'s callers. */
    } while (!rni_cas_acq_rel(&completion->word, &word, next));
    if (word & RNI_WAITED) rni_os_wake(&completion->word, INT32_MAX);
    return RNI_YES;
}

void rni_completion_make_claimable(rni_completion *completion) {
    rni_or_acq_rel(&completion->word, RNI_CLAIMABLE); /* pairs with claim, as the CASes */
}

uint64_t rni_completion_stop(rni_completion *completion) {
    return rni_or_acq_rel(&completion->word, RNI_STOP); /* pairs with suspend and begin, as the CASes */
}

enum rni_verdict rni_completion_complete(rni_completion *completion, rn_value value) {
    completion->value = value;
    uint64_t word = rni_load_relaxed(&completion->word);
    uint64_t next;
    do {
        next = with_state(word, RN_DONE) & ~RNI_WAITED;
        if (!nodes_of(word)) next |= RNI_SETTLED;
        /* Releases the value to the acquire loads of rni_is_over()'s callers; acquires nodes from add. */
    } while (!rni_cas_acq_rel(&completion->word, &word, next));
    /* From here on the run may be gone, unless it has nodes. A wake on reused memory is a spurious
     * one, which every sleeper allows for. */
    if (word & RNI_WAITED) rni_os_wake(&completion->word, INT32_MAX);
    if (nodes_of(word)) return RNI_YES;
    return is_last(next) ? RNI_LAST : RNI_NO;
}

static rni_node *reversed(rni_node *list) {
    rni_node *first = NULL;
    while (list) {
        rni_node *next = list->next;
        list->next = first;
        first = list;
        list = next;
    }
    return first;
}

enum rni_verdict rni_completion_settle(rni_completion *completion, rn_future *future, void (*free_node)(rni_node *)) {
    uint64_t word = rni_load_acquire(&completion->word); /* pairs with add: over, so the list does not change */
    rni_node *node = reversed(nodes_of(word)); /* one added from now on is called by its adder */
    while (node) {
        rni_node *next = node->next;
        node->function(future, node->context);
        free_node(node);
        node = next;
    }
    /* Pairs with release and unqueue: the last of the three flags is seen by its setter. */
    word = rni_or_acq_rel(&completion->word, RNI_SETTLED);
    return is_last(word | RNI_SETTLED) ? RNI_LAST : RNI_YES;
}

bool rni_completion_add(rni_completion *completion, rni_node *node) {
    uint64_t word = rni_load_acquire(&completion->word); /* pairs with complete: the value, if it is over */
    do {
        if (rni_is_over(word)) return false;
        node->next = nodes_of(word);
        /* Releases the node to settle. */
    } while (!rni_cas_acq_rel(&completion->word, &word, (word & FLAGS) | word_of(node)));
    return true;
}

enum rni_verdict rni_completion_release(rni_completion *completion) {
    /* Settled and in no queue: nobody else has it, and the word need not tell anybody. Pairs with complete, settle, unqueue. */
    if ((rni_load_acquire(&completion->word) & (RNI_SETTLED | RNI_RELEASED | RNI_QUEUED)) == RNI_SETTLED) return RNI_LAST;
    uint64_t word = rni_or_acq_rel(&completion->word, RNI_RELEASED); /* pairs with settle, complete, unqueue */
    if (word & RNI_RELEASED) return RNI_NO;
    return is_last(word | RNI_RELEASED) ? RNI_LAST : RNI_YES;
}

enum rni_verdict rni_completion_unqueue(rni_completion *completion) {
    uint64_t word = rni_and_acq_rel(&completion->word, ~RNI_QUEUED); /* pairs with settle, complete, release */
    return is_last(word & ~RNI_QUEUED) ? RNI_LAST : RNI_YES;
}

void rni_completion_sleep(rni_completion *completion, int64_t deadline_ns) {
    uint64_t word = rni_load_acquire(&completion->word); /* pairs with complete */
    do {
        if (rni_is_over(word)) return;
        /* From here on complete's CAS sees WAITED, or ours fails and sees it over. */
    } while (!rni_cas_acq_rel(&completion->word, &word, word | RNI_WAITED));
    rni_os_wait(&completion->word, (uint32_t)(word | RNI_WAITED), deadline_ns);
}

/* LCOV_EXCL_START: for waits of worker processes, which leave no counts; tests/process/overtime.c */
void rni_completion_sleep_unless(rni_completion *completion, int64_t deadline_ns, rni_a32 *gone) {
    uint64_t word = rni_load_acquire(&completion->word); /* pairs with complete */
    do {
        if (rni_is_over(word)) return;
        /* As above; and Dekker with rouse, after *gone was set: it sees WAITED, or we see that. */
    } while (!rni_cas_seq_cst(&completion->word, &word, word | RNI_WAITED));
    if (rni_load_seq_cst(gone)) return; /* pairs with who sets it */
    rni_os_wait(&completion->word, (uint32_t)(word | RNI_WAITED), deadline_ns);
}

void rni_completion_rouse(rni_completion *completion) {
    uint64_t word = rni_load_seq_cst(&completion->word); /* Dekker with sleep_unless */
    do {
        if (rni_is_over(word) || !(word & RNI_WAITED)) return;
        /* The word moves: one who is about to sleep on it does not. Others sleep again. */
    } while (!rni_cas_seq_cst(&completion->word, &word, word & ~RNI_WAITED)); /* pairs with sleep, which looks again */
    rni_os_wake(&completion->word, INT32_MAX);
}
/* LCOV_EXCL_STOP */
