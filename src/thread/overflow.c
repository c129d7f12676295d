#include "thread/overflow.h"

#include <string.h>

#include "base/memory.h"

#define SPARES 64u /* 64 KiB */

void rni_overflow_init(rni_overflow *overflow) {
    memset(overflow, 0, sizeof *overflow);
    overflow->last = &overflow->first;
    overflow->due_last = &overflow->due;
}

static void free_blocks(rni_block *block) {
    while (block) {
        rni_block *next = block->next;
        rni_free(block);
        block = next;
    }
}

void rni_overflow_destroy(rni_overflow *overflow) {
    free_blocks(overflow->first);
    free_blocks(overflow->spare);
}

static rni_block *take_spare(rni_overflow *overflow) {
    rni_mutex_lock(&overflow->lock);
    rni_block *block = overflow->spare;
    if (block) {
        overflow->spare = block->next;
        overflow->spares--;
    }
    rni_mutex_unlock(&overflow->lock);
    return block;
}

bool rni_overflow_push(rni_overflow *overflow, void *const *runs, size_t count) {
    rni_block *block = take_spare(overflow);
    if (!block) block = rni_alloc(sizeof *block);
    if (!block) return false;
    block->next = NULL;
    block->count = count;
    memcpy(block->runs, runs, count * sizeof *runs);
    rni_mutex_lock(&overflow->lock);
    *overflow->last = block;
    overflow->last = &block->next;
    rni_add_seq_cst(&overflow->count, 1); /* pairs with rni_overflow_has_some */
    rni_mutex_unlock(&overflow->lock);
    return true;
}

void rni_overflow_push_due(rni_overflow *overflow, rni_run *run) {
    rni_timer *timer = rni_run_timer(run);
    timer->next = NULL;
    rni_mutex_lock(&overflow->lock);
    *overflow->due_last = timer;
    overflow->due_last = &timer->next;
    rni_add_seq_cst(&overflow->count, 1); /* pairs with rni_overflow_has_some */
    rni_mutex_unlock(&overflow->lock);
}

static rni_run *take_due(rni_overflow *overflow) {
    rni_timer *timer = overflow->due;
    if (!timer) return NULL;
    overflow->due = timer->next;
    if (!overflow->due) overflow->due_last = &overflow->due;
    rni_add_seq_cst(&overflow->count, UINT64_MAX); /* pairs with rni_overflow_has_some */
    return timer->run;
}

static rni_block *take_block(rni_overflow *overflow) {
    rni_block *block = overflow->first;
    if (!block) return NULL;
    overflow->first = block->next;
    if (!overflow->first) overflow->last = &overflow->first;
    rni_add_seq_cst(&overflow->count, UINT64_MAX); /* pairs with rni_overflow_has_some */
    return block;
}

static void give_back(rni_overflow *overflow, rni_block *block) {
    rni_mutex_lock(&overflow->lock);
    bool keep = overflow->spares < SPARES;
    if (keep) {
        block->next = overflow->spare;
        overflow->spare = block;
        overflow->spares++;
    }
    rni_mutex_unlock(&overflow->lock);
    if (!keep) rni_free(block);
}

size_t rni_overflow_take(rni_overflow *overflow, void **runs) {
    if (!rni_overflow_has_some(overflow)) return 0;
    rni_mutex_lock(&overflow->lock);
    runs[0] = take_due(overflow);
    rni_block *block = runs[0] ? NULL : take_block(overflow);
    rni_mutex_unlock(&overflow->lock);
    if (!block) return runs[0] ? 1 : 0;
    size_t count = block->count;
    memcpy(runs, block->runs, count * sizeof *runs);
    give_back(overflow, block);
    return count;
}
