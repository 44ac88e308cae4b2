// Who of a rack fetches which chunk from outside of it.
//
// A rack's uplink is shared by all its nodes and is often oversubscribed: a chunk should cross it
// once. A few members are the rack's entry nodes, chosen by rendezvous hashing over the members
// that the tracker has handed out; they divide the chunks among themselves in the same way. All
// members decide alike because they know the same list and hear the same news.
//
// An entry node that has been away for a while is replaced by the next one in the order. So is one
// whose chunks do not get on: it holds them, and nobody near has fetched them.
//
// Pure; one thread.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "core/base/ids.h"
#include "core/base/time.h"

namespace p2p {

struct RackEntrySettings {
  // Entry nodes of a rack. Four divide the first copies of all chunks, inwards and outwards, so
  // that none spends more than half of its uplink on them.
  std::uint32_t entries = 4;
  // A member that is away for this long is nobody's entry node until it is back.
  Duration absent_after = std::chrono::seconds(3);
  // An entry node that alone has held this many chunks for this long is replaced for a while.
  std::uint32_t lonely_chunks = 12;
  Duration lonely_for = std::chrono::milliseconds(1500);
  Duration replaced_for = std::chrono::seconds(30);
};

// The key of a content: the first bytes of its id.
std::uint64_t rack_key(const ContentId& content);
// The `count` members with the highest weights, in the order of their weights.
std::vector<NodeId> entry_nodes(std::vector<NodeId> members, std::uint64_t key,
                                std::uint32_t count);
// Which of the entry nodes fetches the chunk; there must be one.
const NodeId& entry_for(const std::vector<NodeId>& entries, ChunkIndex chunk);

class RackEntry {
 public:
  // `key` differs from content to content and is the same for all nodes (the content id's first
  // bytes).
  RackEntry(NodeId self, std::uint64_t key, std::uint32_t chunk_count,
            const RackEntrySettings& settings);

  // The members of the rack as handed out, with or without this node. A new one has
  // `absent_after` to be met.
  void set_members(const std::vector<NodeId>& members, Time now);
  void on_member_back(NodeId member, Time now);
  void on_member_gone(NodeId member, Time now);
  // A member of the rack, or this node, has the chunk.
  void on_have(NodeId member, ChunkIndex chunk, Time now);
  void on_tick(Time now);
  Time next_deadline() const { return wake_; }

  // It holds chunks that do not get on, and is replaced for that time.
  bool is_replaced(NodeId member, Time now) const;
  // Does this node fetch the chunk from outside of the rack?
  bool is_ours(ChunkIndex chunk) const;
  // The present entry nodes. `version` changes when they do; it is never 0.
  const std::vector<NodeId>& entries() const { return entries_; }
  std::uint64_t version() const { return version_; }

 private:
  struct Member {
    Time gone_since = Time::max();  // max: it is here
    Time replaced_until{};
    std::map<ChunkIndex, Time> lonely;  // chunks that it alone holds: since when
  };

  void choose(Time now);
  bool stuck(const Member& member, Time now) const;

  NodeId self_;
  std::uint64_t key_;
  RackEntrySettings settings_;
  std::map<NodeId, Member> members_;
  std::vector<NodeId> entries_;
  std::vector<std::uint8_t> holders_;        // in the rack; counts up to two
  std::map<ChunkIndex, NodeId> alone_with_;  // chunks of one holder
  std::uint64_t version_ = 1;
  Time wake_ = Time::max();
};

}  // namespace p2p
