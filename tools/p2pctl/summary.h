// How a finished job is told to people. Pure.
#pragma once

#include <string>

#include "proto/api.pb.h"

namespace p2p {

// "j7: 16 of 16 nodes have images/base@2 (256 MiB each) in 23.1s, 177 MB/s together; source sent
// 1.04x the file", then a line for each group of nodes that share state and reason, the largest
// first, with their names folded. Ends with a line break. For a push that is finished.
//
// Where old files were used, the first line also says what a node fetched and copied on average,
// and lines follow about nodes that found none.
std::string push_summary(const proto::Job& job);

// Which old files were used and how, or why none: a line for each text, with the names of its nodes
// folded. Empty when no node has said anything.
enum class BasisOf { every_node, nodes_without_one };
std::string basis_lines(const proto::Job& job, BasisOf which);

// "images/base@2", or the beginning of the content id, or what the operator named.
std::string content_name(const proto::Job& job);

}  // namespace p2p
