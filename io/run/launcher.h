// The process that starts runs: `p2pd launcher`, a child of `p2pd run` that keeps all of root,
// where the agent has no right at all. It listens to the agent alone, on a socketpair, and knows
// three requests: start, cancel and remove a run.
//
// It trusts the agent with what the node's owner has allowed, and with nothing else: orders are
// checked again, the owner's veto (--exec, --exec-accounts) stands on its command line, and the
// folder of runs is its own.
#pragma once

#include <string>

#include "core/base/result.h"
#include "core/runs/exec_policy.h"
#include "io/run/run_account.h"

namespace p2p {

struct LauncherSettings {
  std::string runs;  // the folder of runs, absolute; made when it is missing
  ExecPolicy policy = ExecPolicy::off;
  AccountRule accounts;
  // A shim is this program, started as "PROGRAM shim --agent-user=UID [--account=NAME...]".
  std::string program = "/proc/self/exe";
};

// Opens or makes the folder of runs, so that the group `readers` may read it (-1: as it is).
// denied: it belongs to somebody else, or others may write to it.
Status prepare_runs_folder(const std::string& path, int readers);

// Whether it holds anything, or a launcher still works there.
bool is_runs_folder_in_use(const std::string& path);

// Serves requests on `socket`, an end of make_helper_channel(), until the other side closes it,
// which is no error and ends no run.
Status run_launcher(int socket, const LauncherSettings& settings);

}  // namespace p2p
