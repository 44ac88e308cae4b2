// Files that a command line names.
#pragma once

#include <cstddef>
#include <string>

#include "core/base/result.h"

namespace p2p {

// All of the file; "-": of standard input. `what` begins the error's text. exhausted: it has more
// than `bytes_max`.
Result<std::string> read_input(const std::string& path, const char* what, std::size_t bytes_max);

}  // namespace p2p
