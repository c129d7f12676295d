/* The one file that knows every executor. */
#include "core/executor.h"
#include "process/host.h"
#include "thread/pool.h"

const rni_executor *rni_executor_of(enum rn_executor executor) {
    switch (executor) {
    case RN_THREADS: return &rni_thread_executor;
    case RN_PROCESSES: return rni_process_executor();
    default: return NULL;
    }
}

const char *rni_executor_names(void) { return "RN_THREADS and RN_PROCESSES"; }
