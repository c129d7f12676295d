/*
 * .sandbox of a runtime. The host resolves its paths once, when the runtime opens, and keeps what they stand for. Each
 * worker process finds a ruleset of the kernel's in its channel's socket, ahead of everything else, together with what
 * else it may, and enters before its first task. So no path is looked up after rn_open(), and nobody can put another
 * file in its place. The ruleset is one worker's own: it adds what /proc says of that worker.
 */
#ifndef RNI_PROCESS_SANDBOX_H
#define RNI_PROCESS_SANDBOX_H

#include <runium.h>

#include "base/os_sandbox.h"

/* Host. given: NULL: none is made, and nothing is sent. RN_INVALID with the field and the path, RN_UNSUPPORTED with what
 * this machine has not, RN_NO_MEMORY; then nothing is left of it. */
rn_value rni_sandbox_open(rni_os_sandbox *sandbox, const rn_sandbox *given);

/* Host: puts it into the socket of a worker process that is not there yet. False: refused. */
bool rni_sandbox_send(const rni_os_sandbox *sandbox, int socket);

/* Worker: enters the one that was sent, if one was. False: it could not; nothing may run here. */
bool rni_sandbox_enter(int socket);

#endif
