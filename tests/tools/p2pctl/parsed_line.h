// Command lines for tests.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "tests/support/catch.h"
#include "tools/p2pctl/command_line.h"

namespace p2p {

using Words = std::vector<std::string>;

template <class T>
T command_of(const Words& words) {
  const ParsedLine line = parse_command_line(words);
  if (const auto* wrong = std::get_if<UsageError>(&line)) FAIL(wrong->failure.error.detail);
  const auto* invocation = std::get_if<Invocation>(&line);
  REQUIRE(invocation != nullptr);
  const T* command = std::get_if<T>(&invocation->command);
  REQUIRE(command != nullptr);
  return *command;
}

// The error's text; every usage error exits with 1.
inline std::string error_of(const Words& words) {
  const ParsedLine line = parse_command_line(words);
  const auto* wrong = std::get_if<UsageError>(&line);
  REQUIRE(wrong != nullptr);
  CHECK(wrong->failure.exit_code == ExitCode::usage_or_internal);
  return wrong->failure.error.detail;
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace p2p
