#include "core/runs/exec_policy.h"

#include "core/base/text.h"

namespace p2p {

std::string_view to_string(ExecPolicy policy) {
  switch (policy) {
    case ExecPolicy::off:
      return "off";
    case ExecPolicy::scripts_only:
      return "scripts-only";
    case ExecPolicy::any:
      return "any";
  }
  return "off";
}

Result<ExecPolicy> parse_exec_policy(std::string_view text) {
  for (const ExecPolicy policy : {ExecPolicy::off, ExecPolicy::scripts_only, ExecPolicy::any}) {
    if (text == to_string(policy)) return policy;
  }
  return Error{Errc::invalid_argument,
               "--exec " + printable(text, 40) + ": write off, scripts-only or any"};
}

Status permit_run(ExecPolicy policy, RunKind kind) {
  if (policy == ExecPolicy::off) {
    return Error{Errc::denied,
                 "this node runs nothing (p2pd run --exec off); its owner can allow scripts of the "
                 "library with --exec scripts-only, any command with --exec any"};
  }
  if (policy == ExecPolicy::scripts_only && kind == RunKind::command) {
    return Error{Errc::denied,
                 "this node runs scripts of the library only (p2pd run --exec scripts-only); its "
                 "owner can allow any command with --exec any"};
  }
  return {};
}

}  // namespace p2p
