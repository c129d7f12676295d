/*
 * Fuzz target: rni_capsule_decode. What it takes for a capsule can be relied upon, and encoded again gives the same
 * bytes; what it refuses it says something about. Then once more with an allocation refused.
 */
#include <runium/testing.h>
#include <stdlib.h>
#include <string.h>

#include "process/capsule.h"
#include "value/value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool holds) {
    if (!holds) abort();
}

static void check_values(const rni_capsule *capsule) {
    expect(!rn_is_error(capsule->arg));
    expect(capsule->part != RNI_PART_FUNCTION || rn_is_none(capsule->outcome));
    expect(capsule->part != RNI_PART_ON_SUCCESS || !rn_is_error(capsule->outcome));
    expect(capsule->part != RNI_PART_ON_ERROR || rn_is_error(capsule->outcome));
}

static void check_capsule(const rni_capsule *capsule) {
    expect(capsule->part <= RNI_PART_ON_FINISHED && rni_part_name(capsule->part));
    expect(capsule->iteration >= 1 && capsule->iteration <= capsule->times && capsule->every <= RN_DURATION_MAX);
    expect(strlen(capsule->task) <= RN_NAME_MAX && strlen(capsule->file) < 1024 && strlen(capsule->library) < 1024);
    expect(capsule->program[0] == '/' && strlen(capsule->program) < 1024 && capsule->workers <= RN_WORKERS_MAX);
    expect(capsule->file_id.length >= 1 && capsule->file_id.length <= RNI_ELF_ID_MAX);
    expect(capsule->program_id.length >= 1 && capsule->program_id.length <= RNI_ELF_ID_MAX);
    expect(strlen(capsule->symbol) + strlen(capsule->name) + strlen(capsule->folder) + strlen(capsule->cause) < SIZE_MAX);
    for (size_t i = 0; i < capsule->variable_count; i++) expect(strlen(capsule->variables[i]) < SIZE_MAX);
    for (size_t i = 0; i < capsule->trace_count; i++) expect(strlen(capsule->trace[i]) < SIZE_MAX);
    expect(!capsule->variables[capsule->variable_count]);
    check_values(capsule);
}

static void check_same_bytes(const rni_capsule *capsule, const uint8_t *data, size_t size) {
    uint8_t *bytes = malloc(size);
    expect(rni_capsule_encode(capsule, NULL) == size);
    expect(rni_capsule_encode(capsule, bytes) == size && memcmp(bytes, data, size) == 0);
    free(bytes);
}

static void decode_without_memory(const uint8_t *data, size_t size) {
    rni_capsule capsule;
    rn_testing_fail(RN_FAULT_ALLOCATION, 1 + size % 3, 1);
    rn_value error = rni_capsule_decode(data, size, &capsule);
    rn_testing_fail(RN_FAULT_ALLOCATION, 1, 0);
    if (!rn_is_error(error)) rni_capsule_free(&capsule);
    rn_drop(error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    rni_capsule capsule;
    size_t held = rn_testing_held(RN_FAULT_ALLOCATION);
    rn_value error = rni_capsule_decode(data, size, &capsule);
    if (rn_is_error(error)) {
        expect(rn_error_message(error)[0] && !capsule.memory);
    } else {
        check_capsule(&capsule);
        check_same_bytes(&capsule, data, size);
        rni_capsule_free(&capsule);
    }
    rn_drop(error);
    decode_without_memory(data, size);
    expect(rn_testing_held(RN_FAULT_ALLOCATION) == held);
    return 0;
}
