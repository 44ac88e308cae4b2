// The helper's side of the channel.
#pragma once

#include "core/base/result.h"
#include "io/privileged/privileged.h"

namespace p2p {

// Carries out with `executor` what comes over `socket`, the helper's end of make_helper_channel(),
// until the other side closes it, which is no error. The other side is not trusted: a message that
// cannot be read, is too long or of an unknown kind ends the service as `corrupt`.
//
// Requests run on eight threads, this one among them, so that a slow sync holds up no other; what
// has been begun is finished before this returns.
Status serve_privileged(int socket, Privileged& executor);

}  // namespace p2p
