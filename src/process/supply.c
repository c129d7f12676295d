#include "process/supply.h"

#include <stddef.h>
#include <string.h>

#include "process/host.h"
#include "value/value.h"

#define RETRY_LEAST RN_MILLISECONDS(1)
#define RETRY_MOST RN_MILLISECONDS(250)
#define GIVE_UP_AFTER RN_SECONDS(5)
#define BURST RN_SECONDS(1) /* as many replacements at once as in that time */

void rni_supply_init(rni_supply *supply, unsigned respawn_rate) {
    *supply = (rni_supply){.interval = RN_SECONDS(1) / respawn_rate};
    supply->last = &supply->first;
}

int64_t rni_supply_may_replace(rni_supply *supply, int64_t now) {
    int64_t over = (supply->replaced > now ? supply->replaced : now) + supply->interval;
    if (over > now + BURST) return over - BURST;
    supply->replaced = over;
    return 0;
}

/* ---- the row ---- */

static void join_row(rni_supply *supply, rni_stranded *self) {
    self->next = NULL;
    self->is_in_row = true;
    *supply->last = self;
    supply->last = &self->next;
    supply->stranded++;
}

static void leave_row(rni_supply *supply, rni_stranded *self) {
    rni_stranded **link = &supply->first;
    while (*link != self) link = &(*link)->next;
    self->is_in_row = false;
    *link = self->next;
    if (supply->last == &self->next) supply->last = link;
    supply->stranded--;
}

static void wake_row(rni_supply *supply) {
    rni_add_acq_rel(&supply->word, 1); /* pairs with the load in wait_in_row */
    rni_os_wake(&supply->word, INT32_MAX);
}

void rni_supply_exchange(rni_process *one, rni_process *other) {
    enum { OF_THE_PROCESS = offsetof(rni_process, users) };
    char between[OF_THE_PROCESS];
    memcpy(between, one, OF_THE_PROCESS);
    memcpy(one, other, OF_THE_PROCESS);
    memcpy(other, between, OF_THE_PROCESS);
}

void rni_supply_idle(rni_processes *processes, rni_process *process) {
    rni_supply *supply = &processes->supply;
    rni_stranded *first = supply->first;
    if (!first || !process->is_up || process->users > 0) return;
    rni_supply_exchange(process, first->slot);
    leave_row(supply, first);
    wake_row(supply);
}

/* One that lies idle. */
static bool borrow(rni_processes *processes, rni_process *process) {
    for (uint32_t i = 0; i < processes->count; i++) {
        rni_process *other = &processes->all[i];
        if (!other->is_up || other->users > 0 || rni_load_relaxed(&other->is_dead)) continue;
        rni_supply_exchange(process, other);
        return true;
    }
    return false;
}

/* ---- refusals ---- */

unsigned rni_supply_up(const rni_processes *processes) {
    unsigned up = 0;
    for (uint32_t i = 0; i < processes->count; i++) up += processes->all[i].is_up;
    return up;
}

/* Whether there is one that will have done with its turn without another one's help. */
static bool has_able(const rni_processes *processes) {
    for (uint32_t i = 0; i < processes->count; i++) {
        const rni_process *process = &processes->all[i];
        bool lives = process->is_up && !rni_load_relaxed(&process->is_dead); /* one that lies idle is buried by nobody */
        if (lives && rni_load_relaxed(&process->waits) == 0) return true;
    }
    return false;
}

static void note_refusal(rni_processes *processes, int64_t now) {
    rni_supply *supply = &processes->supply;
    unsigned wanted = rni_supply_up(processes) + (supply->stranded ? supply->stranded : 1);
    if (wanted > supply->wanted) supply->wanted = wanted;
    supply->pause = supply->pause ? 2 * supply->pause : RETRY_LEAST;
    if (supply->pause > RETRY_MOST) supply->pause = RETRY_MOST;
    supply->refused = now;
    supply->next_try = now + supply->pause;
}

static void note_success(rni_supply *supply) {
    bool was_refused = supply->pause > 0;
    supply->pause = supply->next_try = supply->none_since = 0;
    if (was_refused) wake_row(supply); /* there may be room for more */
}

void rni_supply_ended(rni_processes *processes) {
    rni_supply *supply = &processes->supply;
    if (supply->pause == 0) return;
    supply->next_try = 0;
    wake_row(supply);
}

/* Without the lock: no lock is held while code of the program runs. */
static void log_refusal(rni_processes *processes, rn_value error) {
    rni_supply *supply = &processes->supply;
    unsigned up = rni_supply_up(processes), wanted = supply->wanted;
    if (supply->is_logged) return;
    supply->is_logged = true;
    rni_mutex_unlock(&processes->lock);
    rni_log(processes->runtime, RN_LOG_WARNING, "%u of %u worker processes: the system refuses more: %s", up, wanted,
            rn_error_message(error));
    rni_mutex_lock(&processes->lock);
}

void rni_supply_log_recovery(rni_processes *processes) {
    rni_supply *supply = &processes->supply;
    unsigned up = rni_supply_up(processes), wanted = supply->wanted;
    if (wanted == 0 || up < wanted) return;
    supply->wanted = 0;
    if (!supply->is_logged) return;
    supply->is_logged = false;
    rni_mutex_unlock(&processes->lock);
    rni_log(processes->runtime, RN_LOG_INFO, "%u of %u worker processes: the system gives them again", up, wanted);
    rni_mutex_lock(&processes->lock);
}

static bool has_waited_long(rni_processes *processes, int64_t now) {
    rni_supply *supply = &processes->supply;
    if (supply->pause == 0 || has_able(processes)) supply->none_since = 0;
    else if (supply->none_since == 0) supply->none_since = now;
    return supply->none_since != 0 && now - supply->none_since >= GIVE_UP_AFTER;
}

/* ---- getting one ---- */

/* 0: one may be made now; else when. */
static int64_t when_to_try(rni_supply *supply, const rni_process *process, int64_t now) {
    if (supply->next_try > now) return supply->next_try;
    return process->is_replaced ? rni_supply_may_replace(supply, now) : 0;
}

static bool try_to_make(rni_processes *processes, rni_process *process, int64_t now, rn_value *error) {
    rni_drop(*error);
    *error = rni_process_make(processes, process);
    if (!rni_is_none(*error)) {
        note_refusal(processes, now);
        return false;
    }
    note_success(&processes->supply);
    return true;
}

/* First come, first served: a thread that comes while others wait does not overtake them. One that was handed a process
 * which another thread has taken since, before this one woke, comes anew. */
static void wait_in_row(rni_processes *processes, rni_stranded *self, int64_t until) {
    rni_supply *supply = &processes->supply;
    if (!self->is_in_row) join_row(supply, self);
    uint32_t word = rni_load_acquire(&supply->word); /* pairs with wake_row */
    rni_mutex_unlock(&processes->lock);
    rni_os_wait(&supply->word, word, until);
    rni_mutex_lock(&processes->lock);
}

static rn_value no_process(rn_value cause) {
    const char *why = "no worker process is left, and the system refuses a new one";
    return rni_is_error(cause) ? rn_error_because(cause, RN_NO_PROCESSES, "%s", why) : rn_error(RN_NO_PROCESSES, "%s", why);
}

bool rni_supply_process(rni_processes *processes, rni_process *process, rn_value *error) {
    rni_supply *supply = &processes->supply;
    rni_stranded self = {.slot = process};
    int64_t came = rni_os_now();
    bool gives_up = false;
    *error = rni_none();
    while (!process->is_up && !gives_up) {
        int64_t now = rni_os_now(), until = when_to_try(supply, process, now);
        if (until == 0 && try_to_make(processes, process, now, error)) break;
        if (until == 0) {
            log_refusal(processes, *error);
            until = supply->next_try;
        }
        if (process->is_up || borrow(processes, process)) break;
        gives_up = has_waited_long(processes, now) && supply->refused >= came; /* whoever tried last */
        if (!gives_up) wait_in_row(processes, &self, until);
    }
    if (self.is_in_row) leave_row(supply, &self);
    if (!process->is_up) {
        *error = no_process(*error);
        return false;
    }
    rni_drop(*error);
    *error = rni_none();
    return true;
}
