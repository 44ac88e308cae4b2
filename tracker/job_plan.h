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
};

JobRules rules_of(const proto::JobRecord& record);

}  // namespace p2p
