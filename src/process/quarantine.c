#include "process/quarantine.h"

#include <stdio.h>
#include <string.h>

#include "core/runtime.h"
#include "value/value.h"

static const char *hook_at(const rni_turn *turn) {
    bool has_failed = rni_is_error(turn->outcome);
    switch (turn->stage) {
    case RNI_STAGE_ON_ITER: return "on_iter";
    case RNI_STAGE_OUTCOME: return has_failed ? "on_error" : "on_success";
    case RNI_STAGE_FINISHED: return "on_finished";
    default: return "";
    }
}

/* The code of the program that the stage runs; 0: none. */
static uintptr_t code_at(const rni_turn *turn) {
    const rni_run *run = turn->call.run;
    const rni_hooks *hooks = rni_run_hooks(run);
    if (!(rni_run_flags(run) & RNI_HOOKS) || turn->stage == RNI_STAGE_FUNCTION) return (uintptr_t)run->function;
    if (turn->stage == RNI_STAGE_ON_ITER) return (uintptr_t)hooks->on_iter;
    if (turn->stage == RNI_STAGE_FINISHED) return (uintptr_t)hooks->on_finished;
    return rni_is_error(turn->outcome) ? (uintptr_t)hooks->on_error : (uintptr_t)hooks->on_success;
}

/* Where the stage has no code the function is to blame: it left something behind. */
static uintptr_t blamed_at(const rni_turn *turn) {
    uintptr_t code = code_at(turn);
    return code ? code : (uintptr_t)turn->call.run->function;
}

/* ---- the table; with the lock held ---- */

static rni_suspect *find(rni_quarantine *quarantine, uintptr_t code) {
    for (uint32_t i = 0; i < RNI_SUSPECTS; i++)
        if (quarantine->suspects[i].code == code) return &quarantine->suspects[i];
    return NULL;
}

static rni_suspect *least(rni_quarantine *quarantine) {
    rni_suspect *found = &quarantine->suspects[0];
    for (uint32_t i = 1; i < RNI_SUSPECTS; i++)
        if (quarantine->suspects[i].deaths < found->deaths) found = &quarantine->suspects[i];
    return found->deaths < quarantine->limit ? found : NULL;
}

static rni_suspect *find_or_add(rni_quarantine *quarantine, uintptr_t code) {
    rni_suspect *suspect = find(quarantine, code);
    if (suspect) return suspect;
    suspect = least(quarantine);
    if (!suspect) return NULL;
    if (suspect->code == 0) rni_store_relaxed(&quarantine->suspected, rni_load_relaxed(&quarantine->suspected) + 1);
    *suspect = (rni_suspect){.code = code};
    return suspect;
}

static void forget(rni_quarantine *quarantine, uintptr_t code) {
    rni_suspect *suspect = code ? find(quarantine, code) : NULL;
    if (!suspect || suspect->deaths >= quarantine->limit) return; /* in quarantine for good */
    *suspect = (rni_suspect){0};
    rni_store_relaxed(&quarantine->suspected, rni_load_relaxed(&quarantine->suspected) - 1);
}

/* ---- what the turns ask ---- */

bool rni_quarantine_refuses(rni_quarantine *quarantine, const rni_turn *turn, rn_value *error) {
    if (rni_load_relaxed(&quarantine->refused) == 0) return false; /* one that is too early begins once more */
    rni_mutex_lock(&quarantine->lock);
    uintptr_t code = code_at(turn);
    const rni_suspect *suspect = code ? find(quarantine, code) : NULL;
    bool refuses = suspect && suspect->deaths >= quarantine->limit;
    if (refuses)
        *error = rn_error(RN_QUARANTINED, "%s is in quarantine: %u worker processes in a row died of it, the last one so: %s",
                          suspect->who, suspect->deaths, suspect->cause);
    rni_mutex_unlock(&quarantine->lock);
    return refuses;
}

void rni_quarantine_count(rni_quarantine *quarantine, rni_turn *turn, rn_value error) {
    const char *hook = code_at(turn) ? hook_at(turn) : "";
    char who[sizeof quarantine->suspects->who];
    snprintf(who, sizeof who, "%s%s%s", hook, hook[0] ? " of " : "", rn_name(&turn->call));
    rni_mutex_lock(&quarantine->lock);
    rni_suspect *suspect = find_or_add(quarantine, blamed_at(turn));
    unsigned deaths = suspect ? ++suspect->deaths : 0;
    if (suspect) memcpy(suspect->who, who, sizeof who);
    if (suspect) snprintf(suspect->cause, sizeof suspect->cause, "%s", rn_error_message(error));
    bool is_new = suspect && deaths == quarantine->limit;
    if (is_new) rni_store_relaxed(&quarantine->refused, rni_load_relaxed(&quarantine->refused) + 1);
    rni_mutex_unlock(&quarantine->lock);
    if (is_new)
        rni_log(turn->call.runtime, RN_LOG_WARNING, "%s is in quarantine: %u worker processes in a row died of it", who, deaths);
}

bool rni_quarantine_holds(rni_quarantine *quarantine, rn_task_fn *function) {
    if (rni_load_relaxed(&quarantine->refused) == 0) return false; /* as above */
    rni_mutex_lock(&quarantine->lock);
    const rni_suspect *suspect = find(quarantine, (uintptr_t)function);
    bool holds = suspect && suspect->deaths >= quarantine->limit;
    rni_mutex_unlock(&quarantine->lock);
    return holds;
}

/* Whether there is anything to set back. */
static bool has_counts(rni_quarantine *quarantine) {
    return rni_load_relaxed(&quarantine->suspected) != rni_load_relaxed(&quarantine->refused);
}

void rni_quarantine_clear_function(rni_quarantine *quarantine, rn_task_fn *function) {
    if (!has_counts(quarantine)) return;
    rni_mutex_lock(&quarantine->lock);
    forget(quarantine, (uintptr_t)function);
    rni_mutex_unlock(&quarantine->lock);
}

static void forget_hooks(rni_quarantine *quarantine, const rni_turn *turn, enum rni_stage since) {
    const rni_hooks *hooks = rni_run_hooks(turn->call.run);
    if (since <= RNI_STAGE_ON_ITER) forget(quarantine, (uintptr_t)hooks->on_iter);
    if (turn->stage != RNI_STAGE_END) return; /* the others' turn has not come */
    if (since <= RNI_STAGE_OUTCOME) forget(quarantine, (uintptr_t)hooks->on_success);
    if (since <= RNI_STAGE_OUTCOME) forget(quarantine, (uintptr_t)hooks->on_error);
    forget(quarantine, (uintptr_t)hooks->on_finished);
}

void rni_quarantine_clear(rni_quarantine *quarantine, const rni_turn *turn, rni_since since) {
    if (!has_counts(quarantine)) return;
    rni_mutex_lock(&quarantine->lock);
    bool has_iterated = turn->call.iteration > since.iteration;
    if (has_iterated) forget(quarantine, (uintptr_t)turn->call.run->function);
    if (rni_run_flags(turn->call.run) & RNI_HOOKS) forget_hooks(quarantine, turn, has_iterated ? RNI_STAGE_ON_ITER : since.stage);
    rni_mutex_unlock(&quarantine->lock);
}
