// Whom to serve now: turns peers' requests into an order of ranges to send.
//
// Pure; one thread. The owner calls take_grants() after every input and hands the granted ranges to
// the connections; it reports each as sent when the bytes have left the process's own buffers.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "core/base/byte_range.h"
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
  // While one that is served has nothing yet: fewer share the uplink, and it can give the sooner.
  std::uint32_t slots_at_first = 2;
  // Granted but unsent bytes of one peer: enough to keep its connection busy for a round trip here.
  std::uint64_t granted_bytes = 512 * 1024;
  // A slot is free again when its chunk is granted and no more than this of it is unsent.
  std::uint64_t low_bytes = 128 * 1024;
  // A peer that takes nothing for this long loses its slot until it reads again.
  Duration stuck_after = std::chrono::milliseconds(500);
  // One in another rack loses it sooner while others wait: its way is narrow, theirs is free.
  Duration far_stuck_after = std::chrono::milliseconds(100);
  // A chunk that this node has sent less often goes first; from this many times on all are alike.
  // Otherwise a receiver that is behind, and wants what everybody has, would wait for all others.
  std::uint32_t times_sent_matter = 2;
  // Chunks in all queues together, from which on a node is busy: a fresh chunk's first holder would
  // otherwise collect the requests of the whole swarm, while other links are idle. Simulated: 64
  // receivers and 2048 chunks, 1.087 of the floor with 8 instead of 1.038; 8 racks of 20 and 512
  // chunks, 1.35 with 16 instead of 1.27.
  std::uint32_t busy_chunks = 3;
  // For a peer that has nothing yet, this many times as many.
  std::uint32_t times_for_one_with_nothing = 4;
  // What one peer may have queued; beyond it, requests are refused.
  std::uint64_t queued_bytes = 64ull * 1024 * 1024;
  std::uint32_t queued_requests = 512;
  std::uint32_t queued_pieces = 128 * 1024;  // of runs: 2 MiB
};

class UploadSlots {
 public:
  struct Grant {
    NodeId peer;
    SpaceKey space;
    ChunkRange range;
    std::vector<ByteRange> pieces;  // of the chunk that the range is made of, when it is of a run
  };

  explicit UploadSlots(const UploadSettings& settings) : settings_(settings) {}
  UploadSlots(const UploadSlots&) = delete;  // the peers are in several lists
  UploadSlots& operator=(const UploadSlots&) = delete;

  // The peer stands in another rack: it asks for its whole rack, so that its requests go before
  // those of neighbours, and only others like it can make this node too busy for it.
  void set_far(NodeId peer);
  // The peer has announced chunks of this space. Until then its requests go first, and are sent
  // away later than those of others: it cannot give anything.
  void on_have(NodeId peer, const SpaceKey& space);
  // False: over the peer's limits; the request must be refused.
  // `offered`: this node has chosen the peer for the chunk; it waits like a neighbour.
  bool on_request(NodeId peer, const SpaceKey& space, const ChunkRange& range, bool offered = false,
                  std::vector<ByteRange> pieces = {});
  // True when a request for a chunk that this peer has not begun to ask for should be sent away for
  // now. What a seed has offered is never sent away.
  bool busy_for(NodeId peer, const SpaceKey& space, ChunkIndex chunk) const;
  // Nothing that the peer has asked of the chunk waits for a grant.
  bool all_granted(NodeId peer, const SpaceKey& space, ChunkIndex chunk) const;
  // Requests that begin inside the range and are not granted yet are forgotten.
  void on_cancel(NodeId peer, const SpaceKey& space, const ChunkRange& range);
  void on_sent(NodeId peer, std::uint32_t bytes, Time now);
  void on_peer_left(NodeId peer);
  // The peer may not have the content any more: its requests for it are forgotten, and returned to
  // be refused.
  std::vector<Grant> on_peer_denied(NodeId peer, const ContentId& content);
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
    bool offered = false;
    std::vector<ByteRange> pieces;
    Chunk chunk() const { return {space, range.chunk}; }
  };
  struct Peer {
    std::deque<Request> queue;
    std::uint64_t queued_bytes = 0;
    std::size_t queued_pieces = 0;
    std::uint64_t granted = 0;  // bytes on their way to the connection
    std::uint64_t last_turn = 0;
    std::uint64_t arrived = 0;  // its first request, among all
    bool far = false;
    std::set<SpaceKey> has_some_of;
    bool has_slot = false;
    bool stuck = false;
    Time last_sent{};
    // What the slot is for; stays to tell a chunk begun from a new one.
    std::optional<Chunk> current;
    std::uint32_t chunks = 0;  // that it has asked for and was not granted in full
  };

  void give_slots(Time now);
  void free_slot(NodeId id, Peer& peer);
  void grant(NodeId id, Peer& peer, std::vector<Grant>& grants);
  template <class Which>
  static void forget_requests(Peer& peer, Which which);
  void queue_changed(NodeId id, Peer& peer);

  UploadSettings settings_;
  std::map<NodeId, Peer> peers_;
  std::map<NodeId, Peer*> served_;   // those with a slot
  std::map<NodeId, Peer*> waiting_;  // those with a request and without a slot
  std::uint32_t chunks_ = 0;         // of all peers together
  std::uint32_t far_chunks_ = 0;     // of those in other racks
  std::uint32_t far_peers_ = 0;
  std::map<Chunk, std::uint32_t> times_sent_;
  std::uint64_t turn_ = 0;
  std::uint64_t arrivals_ = 0;
};

}  // namespace p2p
