#include "process/sandbox.h"

#include <errno.h>
#include <string.h>

#include "base/os_process.h"
#include "base/os_shared.h"
#include "core/grown.h"
#include "value/value.h"

static const rni_grown grown_sandbox = {"rn_sandbox", sizeof(rn_sandbox), sizeof(rn_sandbox)};

/* ---- the host ---- */

static rn_value refuse(int error) {
    return rn_error(RN_NO_MEMORY, ".sandbox: the system refused memory or descriptors: %s", strerror(error));
}

static rn_value refuse_path(const char *field, size_t index, const char *path, int error) {
    if (error == ENOMEM || error == EMFILE || error == ENFILE) return refuse(error);
    return rn_error(RN_INVALID, ".sandbox.%s[%zu] is \"%s\": %s; accepted are folders and files that can be reached", field,
                    index, path, strerror(error));
}

static rn_value allow_all(rni_os_sandbox *sandbox, const char *const *paths, const char *field, bool write) {
    for (size_t i = 0; paths && paths[i]; i++) {
        int error = rni_os_sandbox_allow(sandbox, paths[i], write);
        if (error) return refuse_path(field, i, paths[i], error);
    }
    return rni_none();
}

static rn_value make(rni_os_sandbox *sandbox, const rn_sandbox *wanted) {
    const char *lacks = rni_os_sandbox_lacks();
    if (lacks) return rn_error(RN_UNSUPPORTED, ".sandbox is set, and this machine has not what it needs: %s", lacks);
    int error = rni_os_sandbox_make(sandbox);
    if (error) return refuse(error);
    sandbox->network = wanted->network;
    sandbox->processes = wanted->processes;
    rn_value refusal = allow_all(sandbox, wanted->read, "read", false);
    return rni_is_none(refusal) ? allow_all(sandbox, wanted->write, "write", true) : refusal;
}

rn_value rni_sandbox_open(rni_os_sandbox *sandbox, const rn_sandbox *given) {
    rn_sandbox wanted;
    *sandbox = (rni_os_sandbox){.files = -1};
    if (!given) return rni_none();
    rn_value error = rni_grown_read(&grown_sandbox, given, &wanted);
    if (rni_is_none(error)) error = make(sandbox, &wanted);
    if (!rni_is_none(error)) rni_os_sandbox_close(sandbox);
    return error;
}

/* ---- between the two ---- */

struct letter {
    uint32_t version;
    uint32_t network, processes;
};

bool rni_sandbox_send(const rni_os_sandbox *sandbox, int socket) {
    const struct letter letter = {sandbox->version, sandbox->network, sandbox->processes};
    int ruleset;
    if (sandbox->files < 0) return true;
    if (rni_os_sandbox_copy(sandbox, &ruleset) != 0) return false;
    bool sent = rni_os_send_packet(socket, &letter, sizeof letter, &ruleset, 1, false) == 0;
    rni_os_close(ruleset);
    return sent;
}

bool rni_sandbox_enter(int socket) {
    struct letter letter;
    rni_os_sandbox sandbox = {.files = -1};
    uint32_t count = 1;
    /* It would lie ahead of everything else: what is there instead, of another size, goes with a large message. */
    int error = rni_os_peek_packet(socket, &letter, sizeof letter);
    if (error == EAGAIN || error == EBADMSG) return true;
    if (!error) error = rni_os_receive_packet(socket, &letter, sizeof letter, &sandbox.files, &count);
    if (error || count != 1) return false;
    sandbox.version = letter.version;
    sandbox.network = letter.network != 0;
    sandbox.processes = letter.processes != 0;
    return rni_os_sandbox_enter(&sandbox) == 0;
}
