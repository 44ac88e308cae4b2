// The first line of a script: "#!INTERPRETER [ARGUMENT]".
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/result.h"

namespace p2p {

// As in Linux, where a longer line is cut.
inline constexpr std::size_t kMaxShebangBytes = 255;

struct Shebang {
  std::string interpreter;              // absolute
  std::optional<std::string> argument;  // all of the rest of the line, as Linux gives it
  friend bool operator==(const Shebang&, const Shebang&) = default;
};

// Reads it as the kernel does. invalid_argument, with what to do about it: there is none, it is too
// long, its interpreter is no absolute path, or the script has Windows line ends (CRLF), with which
// the kernel would look for an interpreter whose name ends in a carriage return.
Result<Shebang> parse_shebang(std::string_view script);

}  // namespace p2p
