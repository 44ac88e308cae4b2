// Who holds and who wants one content, and which of them a node is told about.
//
// Pure; one thread. Soft state: rebuilt from what agents announce.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/base/ids.h"
#include "core/base/rng.h"

namespace p2p {

struct Holder {
  bool complete = false;
  std::uint64_t bytes = 0;
  std::string path;
};

struct HandoutRules {
  // Full mesh up to this many members; above it, this many random ones beside the seeds.
  std::size_t full_mesh = 64;
  std::size_t sample = 40;
  std::size_t seeds = 16;
};

class Swarm {
 public:
  void on_holder(NodeId node, Holder holder);
  void on_gone(NodeId node);
  void on_wants(NodeId node) { wants_.insert(node); }
  void on_wants_no_more(NodeId node) { wants_.erase(node); }
  // The node is unreachable: it holds nothing as far as others are concerned, but may still want.
  void on_node_offline(NodeId node) { on_gone(node); }

  struct Member {
    NodeId node;
    bool seed = false;
  };
  // Whom `node` should know: seeds first, then other members in random order.
  std::vector<Member> handout(NodeId node, const HandoutRules& rules, Rng& rng) const;

  const std::map<NodeId, Holder>& holders() const { return holders_; }
  std::size_t seeds() const { return seeds_; }
  bool has_seed() const { return seeds_ > 0; }
  bool empty() const { return holders_.empty() && wants_.empty(); }

 private:
  std::map<NodeId, Holder> holders_;  // online ones
  std::set<NodeId> wants_;
  std::size_t seeds_ = 0;
};

}  // namespace p2p
