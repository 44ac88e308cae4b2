// The process of a run's command, from fork to exec.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "io/run/run_account.h"
#include "proto/run.pb.h"

namespace p2p {

// Why a command did not begin.
struct NotBegun {
  proto::RunResult::Reason reason = proto::RunResult::NONE;
  std::string text;
};

// What a command is started with. Descriptors stay the caller's.
struct Command {
  std::string id;                        // of its run
  std::vector<std::string> arguments;    // the first names the program
  std::vector<std::string> environment;  // beside what every run has
  std::string folder;   // empty: the account's home, or / where it cannot be entered
  std::string account;  // as find_run_account() takes it
  AccountRule accounts;
  std::optional<NotBegun> fault;  // found before, said when the account is a good one
  mode_t umask = 022;
  proto::RunLimits limits;
  int in = -1, out = -1, err = -1;
  int script = -1;          // becomes descriptor 3, the only one beside the three; -1: none
  int cgroup_procs = -1;    // -1: none
  std::string script_name;  // for texts, where an interpreter is the program
};

// Who ends the waiting for a command that does not come as far as its program.
struct Patience {
  int signals = -1;  // descriptors that can be read then
  int control = -1;
  std::optional<std::chrono::steady_clock::time_point> until;
};

// Forks. The child has a session of its own without a terminal, no signal blocked or ignored, no
// descriptor but those above, and is killed when the calling thread ends. Its program is looked for
// in the PATH of its environment with the account's rights; a file that is no program is never
// handed to a shell. Returns when the program has begun, or why not (the child is gone then), or
// when the patience is over: account, folder and program may lie on a server that does not answer.
std::variant<pid_t, NotBegun> begin_command(const Command& command, const Patience& patience);

// The environment of a run: what every run has, and then `more`, which wins.
std::vector<std::string> run_environment(const RunAccount& account, const std::string& id,
                                         const std::vector<std::string>& more);

}  // namespace p2p
