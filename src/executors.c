/* The one file that knows every executor. */
#include "core/executor.h"
#include "thread/pool.h"

const rni_executor *rni_executor_of(enum rn_executor executor) {
    return executor == RN_THREADS ? &rni_thread_executor : NULL;
}

const char *rni_executor_names(void) { return "RN_THREADS"; }
