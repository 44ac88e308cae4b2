// How a finished job is told to people. Pure.
#pragma once

#include <string>

#include "proto/api.pb.h"

namespace p2p {

// "j7: 16 of 16 nodes have images/base@2 (256 MiB each) in 23.1s, 177 MB/s together; source sent
// 1.04x the file", then a line for each group of nodes that share state and reason, the largest
// first, with their names folded. Ends with a line break. For a push that is finished.
std::string push_summary(const proto::Job& job);

// "images/base@2", or the beginning of the content id, or what the operator named.
std::string content_name(const proto::Job& job);

}  // namespace p2p
