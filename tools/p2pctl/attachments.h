// Files that have to lie on the nodes before a command runs there.
#pragma once

#include <atomic>
#include <optional>

#include "tools/p2pctl/commands.h"

namespace p2p {

// Freezes the targets of `request`, pushes everything to them, and waits for it. Afterwards the
// request is for these nodes, whatever its expression would select then. An exit code when nothing
// must be started: a file did not arrive everywhere, or Ctrl-C; all has been said then.
std::optional<int> bring_attachments(Session& session,
                                     const std::vector<proto::PushSpec>& attachments,
                                     proto::CreateJobRequest& request,
                                     const std::atomic<bool>& stop);

}  // namespace p2p
