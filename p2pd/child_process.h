// A process beside the agent: this program once more, with another subcommand and one channel.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "core/base/result.h"
#include "io/disk/fd.h"

namespace p2p {

// Where it finds its end of the channel: the first one behind stdin, stdout and stderr.
inline constexpr int kChildChannel = 3;

// Starts "p2pd WORDS" with that end. Before any thread exists.
Result<pid_t> start_child(const Fd& channel, std::vector<std::string> words);

// Waits for it: it ends once its channel is closed. The error says how it ended, if not well.
Status await_child(pid_t child);

// In the child: `channel` is an end of make_helper_channel(). Whatever else it was started with is
// closed, but the three of the terminal. invalid_argument: somebody else has started it; `what`
// names it.
Result<Fd> take_channel(int channel, const std::string& what);

}  // namespace p2p
