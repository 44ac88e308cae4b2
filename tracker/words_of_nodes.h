// How often one node may have a line of its own in the tracker's log.
#pragma once

#include <map>

#include "core/base/ids.h"
#include "core/base/time.h"

namespace p2p {

// Pure: time is an argument and never goes backwards.
class WordsOfNodes {
 public:
  static constexpr int kInAMinute = 60;

  // Counts it, too.
  bool allows(NodeId node, Time now) {
    Minute& minute = minutes_[node];
    if (minute.words == 0 || now - minute.begun >= std::chrono::minutes(1)) minute = {now, 0};
    if (minute.words == kInAMinute) return false;
    ++minute.words;
    return true;
  }

 private:
  struct Minute {
    Time begun{};
    int words = 0;
  };
  std::map<NodeId, Minute> minutes_;  // as many as there are nodes
};

}  // namespace p2p
