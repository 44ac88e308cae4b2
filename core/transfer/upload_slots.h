// Whom to serve now: turns peers' requests into an order of ranges to send.
//
// Pure; one thread. The owner calls take_grants() after every input and hands the granted ranges to
// the connections; it reports each as sent when the bytes have left the process's own buffers.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "core/base/ids.h"
#include "core/base/time.h"
#include "core/transfer/chunk_range.h"

namespace p2p {

// A chunk space of a content: the manifest body or the data.
struct SpaceKey {
  ContentId content;
  bool body = false;
  friend auto operator<=>(const SpaceKey&, const SpaceKey&) = default;
};

struct UploadSettings {
  // Peers that are served at a time. Few fat streams finish chunks early, and a whole chunk is what
  // a relay can pass on; more than one hides the time between two chunks.
  std::uint32_t slots = 4;
  // Granted but unsent bytes of one peer: enough to keep its connection busy for a round trip here.
  std::uint64_t granted_bytes = 512 * 1024;
  // A slot is free again when its chunk is granted and no more than this of it is unsent.
  std::uint64_t low_bytes = 128 * 1024;
  // A peer that takes nothing for this long loses its slot until it reads again.
  Duration stuck_after = std::chrono::milliseconds(500);
  // Chunks in all queues together, above which a node is busy: a fresh chunk's first holder would
  // otherwise collect the requests of the whole swarm, while other links are idle (simulated with
  // 63 receivers: 1.85 x the floor without this limit).
  std::uint32_t busy_chunks = 8;
  // With few peers nobody is swamped, and a longer queue hides more of the way (16 receivers: 1.026
  // of the floor instead of 1.038).
  std::uint32_t busy_chunks_of_few = 16;
  std::uint32_t few_peers = 24;
  // What one peer may have queued; beyond it, requests are refused.
  std::uint64_t queued_bytes = 64ull * 1024 * 1024;
  std::uint32_t queued_requests = 512;
};

class UploadSlots {
 public:
  struct Grant {
    NodeId peer;
    SpaceKey space;
    ChunkRange range;
  };

  explicit UploadSlots(const UploadSettings& settings) : settings_(settings) {}

  // False: over the peer's limits; the request must be refused.
  bool on_request(NodeId peer, const SpaceKey& space, const ChunkRange& range);
  // True when a request for a chunk that this peer has not begun to ask for should be sent away for
  // now. What a seed has offered is never sent away.
  bool busy_for(NodeId peer, const SpaceKey& space, ChunkIndex chunk) const;
  // Requests that begin inside the range and are not granted yet are forgotten.
  void on_cancel(NodeId peer, const SpaceKey& space, const ChunkRange& range);
  void on_sent(NodeId peer, std::uint32_t bytes, Time now);
  void on_peer_left(NodeId peer);
  // The content is no longer served: its requests are forgotten, and returned to be refused.
  std::vector<Grant> on_space_closed(const SpaceKey& space);

  std::vector<Grant> take_grants(Time now);
  // When to call take_grants() again at the latest; Time::max() when nothing is pending.
  Time next_deadline() const;
  std::size_t queued() const;

 private:
  using Chunk = std::pair<SpaceKey, ChunkIndex>;
  struct Request {
    SpaceKey space;
    ChunkRange range;
    Chunk chunk() const { return {space, range.chunk}; }
  };
  struct Peer {
    std::deque<Request> queue;
    std::uint64_t queued_bytes = 0;
    std::uint64_t granted = 0;  // bytes on their way to the connection
    std::uint64_t last_turn = 0;
    bool has_slot = false;
    bool stuck = false;
    Time last_sent{};
    std::optional<Chunk>
        current;  // what the slot is for; stays to tell a chunk begun from a new one
  };

  void give_slots(Time now);
  void free_slot(Peer& peer);
  void grant(NodeId id, Peer& peer, std::vector<Grant>& grants);

  UploadSettings settings_;
  std::map<NodeId, Peer> peers_;
  std::map<Chunk, std::uint32_t> times_sent_;
  std::uint64_t turn_ = 0;
  std::uint32_t slots_used_ = 0;
};

}  // namespace p2p
