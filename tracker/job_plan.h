// A job that is being made, and the words for its states.
#pragma once

#include "tracker/job_board.h"

namespace p2p {

inline constexpr const char* kPreparing = "preparing";
inline constexpr const char* kRunning = "running";
inline constexpr const char* kSucceeded = "succeeded";
inline constexpr const char* kFailed = "failed";
inline constexpr const char* kCancelled = "cancelled";

struct JobBoard::Plan {
  BoardJob job;
  bool only_looks = false;  // nothing will be pushed: a destination may be missing
  std::uint64_t seed = 0;   // of a random order of turns
  std::optional<std::vector<NodeId>> targets;  // instead of those that the expression selects
};

// What a push was asked for with.
proto::PushSpec push_spec_of(const proto::JobRecord& record);
// The same nodes in the order of their turns; `order` as of api.proto, Rollout.
std::vector<NodeId> in_order_of_turns(std::vector<NodeId> nodes, const std::string& order,
                                      const Registry& registry, std::uint64_t seed);

}  // namespace p2p
