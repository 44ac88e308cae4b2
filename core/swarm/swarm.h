// Who holds and who wants one content, and which of them a node is told about.
//
// Pure; one thread. Soft state: rebuilt from what agents announce. A handout costs what it hands
// out, whatever the size of the swarm.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
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
  // Above the full mesh: members of the node's own rack, random ones if there are more.
  std::size_t rack_mates = 64;
};

class Swarm {
 public:
  void on_holder(NodeId node, Holder holder);
  // It holds nothing (any more).
  void on_gone(NodeId node);
  void on_wants(NodeId node);
  void on_wants_no_more(NodeId node);
  // The node is unreachable: it holds nothing as far as others are concerned, but may still want.
  // One that held all of it is remembered as away until it says again what it holds.
  void on_node_offline(NodeId node);
  // The labels dc and rack as one text, such as "dc1/r07"; empty: none. Before or after the node
  // becomes a member.
  void on_rack(NodeId node, const std::string& rack);

  struct Member {
    NodeId node;
    bool seed = false;
    bool rack_mate = false;  // of whom the handout is for
  };
  // Whom `node` should know: seeds first, then rack-mates and other members in random order.
  std::vector<Member> handout(NodeId node, const HandoutRules& rules, Rng& rng) const;

  const std::map<NodeId, Holder>& holders() const { return holders_; }
  // Held all of it when they were last heard of.
  const std::set<NodeId>& away() const { return away_; }
  std::size_t seeds() const { return seeds_.size(); }
  // Holders of everything that nothing is pushed to, by id, at most `most`.
  std::vector<NodeId> sources(std::size_t most) const;
  bool has_seed() const { return !seeds_.empty(); }
  bool empty() const { return holders_.empty() && wants_.empty() && away_.empty(); }

 private:
  // Members in no order, so that one can be drawn, found and removed at once.
  class Pool {
   public:
    void insert(NodeId node);
    void erase(NodeId node);
    bool contains(NodeId node) const { return places_.contains(node); }
    std::size_t size() const { return nodes_.size(); }
    bool empty() const { return nodes_.empty(); }
    // Up to `count` different ones in random order, none of them `not_this`.
    std::vector<NodeId> draw(std::size_t count, NodeId not_this, Rng& rng) const;

   private:
    std::vector<NodeId> nodes_;
    std::unordered_map<NodeId, std::size_t> places_;
  };

  void settle(NodeId node);

  std::map<NodeId, Holder> holders_;  // online ones
  std::set<NodeId> away_;
  Pool wants_;
  Pool seeds_;
  Pool others_;  // members that are not seeds
  std::unordered_map<NodeId, std::string> rack_of_;
  std::map<std::string, Pool> racks_;  // seeds and others
};

}  // namespace p2p
