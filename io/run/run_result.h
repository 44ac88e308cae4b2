// What a result says to people.
#pragma once

#include <cstdint>
#include <string>

#include "proto/run.pb.h"

namespace p2p {

// "exit code 3", "timed out after 30 s; 2 processes needed KILL": one line. Of what was not begun:
// its reason, which stands in the result already.
std::string text_of_result(const proto::RunResult& result, std::uint64_t timeout_ms);

}  // namespace p2p
