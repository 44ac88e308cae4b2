#include "core/runs/exec_policy.h"

#include <algorithm>
#include <array>

#include "core/base/text.h"

namespace p2p {
namespace {

// Start-up files, search paths and options of the loader, of shells and of interpreters. HOME is
// where many of them look for code of the user.
constexpr std::array<std::string_view, 18> kSteeringNames{"BASH_ENV",
                                                          "BASHOPTS",
                                                          "ENV",
                                                          "GCONV_PATH",
                                                          "GLIBC_TUNABLES",
                                                          "HOME",
                                                          "IFS",
                                                          "PATH",
                                                          "PHPRC",
                                                          "PHP_INI_SCAN_DIR",
                                                          "PS4",
                                                          "SHELLOPTS",
                                                          "ZDOTDIR",
                                                          "JAVA_TOOL_OPTIONS",
                                                          "JDK_JAVA_OPTIONS",
                                                          "_JAVA_OPTIONS",
                                                          "AWKPATH",
                                                          "TCLLIBPATH"};
constexpr std::array<std::string_view, 7> kSteeringPrefixes{"BASH_FUNC_", "LD_",    "LUA_", "NODE_",
                                                            "PERL",       "PYTHON", "RUBY"};

bool steers(std::string_view name) {
  return std::find(kSteeringNames.begin(), kSteeringNames.end(), name) != kSteeringNames.end() ||
         std::any_of(kSteeringPrefixes.begin(), kSteeringPrefixes.end(),
                     [&](std::string_view prefix) { return name.starts_with(prefix); });
}

}  // namespace

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

Status permit_variable(ExecPolicy policy, std::string_view variable) {
  const std::string_view name = variable.substr(0, variable.find('='));
  if (policy == ExecPolicy::any || !steers(name)) return {};
  return Error{Errc::denied,
               printable(name, 40) +
                   " can make a script run something else: neither a job nor an account may set "
                   "it here (p2pd run --exec scripts-only); the node's owner can allow it with "
                   "--exec any"};
}

}  // namespace p2p
