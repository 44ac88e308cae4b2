// The processes of a node that is started as root: the helper, which may touch files, the launcher,
// which starts runs, and this one, which faces the network and may do neither.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "io/privileged/privileged.h"
#include "p2pd/launcher_process.h"
#include "p2pd/privileges.h"

namespace p2p {

// What the helper knows, all of it from its command line: `p2pd helper`.
struct HelperSettings {
  int channel = -1;  // its end, an open descriptor
  std::vector<std::string> roots;
  std::vector<std::string> shares;
  std::string ready_file;  // absolute, or empty
  std::string log_level = "info";
};

// What is left to the network process.
struct Separated {
  std::unique_ptr<Privileged> privileged;
  pid_t helper = -1;
  std::optional<StartedLauncher> launcher;  // nothing: this node starts no runs
  std::string data;  // a name of the data folder that leads there for the account
};

// Starts the helper, which is this program once more, hands over the data folder (absolute path),
// starts the launcher of runs and becomes `account`. For root, before any thread exists. After an
// error the caller must end.
Result<Separated> separate(const std::string& data, const HelperSettings& helper,
                           const LauncherProcessSettings& launcher, const Account& account);

// The helper, until its channel is closed.
Status run_helper(const HelperSettings& settings);

}  // namespace p2p
