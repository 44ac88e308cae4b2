// The process of a node that starts runs: `p2pd launcher`, which keeps all of root where the agent
// keeps nothing (docs/decisions/0008).
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/runs/exec_policy.h"
#include "io/disk/fd.h"
#include "p2pd/privileges.h"

namespace p2p {

// What the launcher knows, all of it from its command line.
struct LauncherProcessSettings {
  int channel = -1;  // its end, an open descriptor
  std::string runs;  // the folder of runs, absolute
  std::string policy{to_string(ExecPolicy::scripts_only)};
  std::vector<std::string> accounts;  // that runs may have; none: all but root and the agent's
  unsigned agent_user = 0;            // the account of the agent
  std::string log_level = "info";
};

// The agent's side.
struct StartedLauncher {
  Fd channel;
  pid_t process = -1;
};

// Makes the folder of runs, so that `reader` may read it, and starts the launcher, which is this
// program once more. Nothing when the policy is off and no run is left from before: then no process
// here can start anything.
// Before any thread exists. After an error the caller must end.
Result<std::optional<StartedLauncher>> start_launcher(const LauncherProcessSettings& settings,
                                                      const std::optional<Account>& reader);

// The launcher, until its channel is closed.
Status run_launcher_process(const LauncherProcessSettings& settings);

}  // namespace p2p
