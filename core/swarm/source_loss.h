// When a version can be had from nobody any more, because its source's file has changed.
//
// The tracker knows holders and not chunks, so it asks those who know: each receiver says how many
// of its missing chunks no node holds that it is connected with. A source that is lost after
// everything is out once costs nothing. Pure; one thread; one content.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "core/base/ids.h"
#include "core/base/time.h"

namespace p2p {

struct SourceLossRules {
  // Receivers must have lacked something for this long: news of chunks travels meanwhile.
  Duration settle = std::chrono::seconds(5);
  // Nothing is lost before the tracker has run for this long: agents wait up to 15 s before they
  // try to connect again, and holders may be among them.
  Duration after_start = std::chrono::seconds(20);
};

class SourceLoss {
 public:
  struct Receiver {
    NodeId node;
    bool begun = false;  // was told of its task once, so that it may hold chunks
    bool online = false;
  };

  explicit SourceLoss(const SourceLossRules& rules) : rules_(rules) {}

  // A node that held the content whole does not any more.
  void on_source_lost(Time now) {
    lost_at_ = now;
    lacking_since_.clear();
  }
  // Only of a receiver whose transfer runs: one that waits cannot say what it lacks.
  void on_report(NodeId receiver, std::uint32_t chunks_without_holder, Time now) {
    if (chunks_without_holder == 0) {
      lacking_since_.erase(receiver);
    } else {
      lacking_since_.try_emplace(receiver, now);
    }
  }
  // What it said counts no more: when it is back it has to speak first.
  void on_receiver_away(NodeId receiver) { lacking_since_.erase(receiver); }

  // `may_be_had`: somebody holds all of it, or is away and may. `receivers`: those who are not
  // done. One who was told of its task and is away, or has said nothing since it is back, may hold
  // what the others lack: then it is too early to say.
  bool is_lost(Time now, bool may_be_had, const std::vector<Receiver>& receivers) const {
    if (!lost_at_ || may_be_had || receivers.empty()) return false;
    if (now - *lost_at_ < rules_.settle) return false;
    for (const Receiver& receiver : receivers) {
      if (!receiver.begun) continue;
      if (!receiver.online) return false;
      const auto lacking = lacking_since_.find(receiver.node);
      if (lacking == lacking_since_.end()) return false;
      if (now - lacking->second < rules_.settle) return false;
    }
    return true;
  }

 private:
  SourceLossRules rules_;
  std::optional<Time> lost_at_;
  std::map<NodeId, Time> lacking_since_;
};

}  // namespace p2p
