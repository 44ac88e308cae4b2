// The veto of a node's owner over what may run there. It stands on the node alone: nothing that
// comes over the network changes it.
#pragma once

#include <optional>
#include <string_view>

#include "core/base/result.h"

namespace p2p {

enum class ExecPolicy { off, scripts_only, any };
enum class RunKind { script, command };

// As --exec says it: off, scripts-only, any.
std::string_view to_string(ExecPolicy policy);
Result<ExecPolicy> parse_exec_policy(std::string_view text);

// denied: with the switch that would allow it.
Status permit_run(ExecPolicy policy, RunKind kind);

// A variable of a run's environment, NAME=VALUE. Under scripts-only none may decide what a shell,
// the loader or an interpreter runs besides the script. denied: with its name and the switch.
Status permit_variable(ExecPolicy policy, std::string_view variable);

}  // namespace p2p
