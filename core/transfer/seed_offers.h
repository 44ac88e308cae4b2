// Which chunk a seed hands to whom first: each one once, until all are out.
//
// A chunk that a seed sends twice before every chunk is out once costs the whole swarm its time:
// with one seed and equal links the floor is one copy over the seed's uplink (docs/policies.md).
// Receivers cannot know what a seed has sent to others, so the seed chooses and offers; the
// receiver requests what is offered or declines it. A chunk is out when somebody's HAVE of it was
// seen. When all are out, the seed says so and serves requests like any relay.
//
// Who gets the next chunk is whoever passes chunks on soonest: the seed sees from the HAVEs how
// long it takes until a second node has what it gave to the first. A node that sits on its chunks
// gets no more of them, and what it alone holds for long goes to somebody else as well.
//
// Several seeds divide the chunks by rendezvous hashing; each begins with its own share and then
// helps the others from the far end of theirs. To another rack a chunk goes through the entry node
// that is responsible for it there (rack_entry.h), and racks have turns.
//
// Pure state machine, one for each content that a node has whole: facts come in, the owner calls
// take_offers() after every input and no later than next_deadline(). One thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/base/bitfield.h"
#include "core/base/ids.h"
#include "core/base/rng.h"
#include "core/base/time.h"

namespace p2p {

struct OfferSettings {
  // Offers open at a time over all peers: what keeps the uplink busy while answers travel.
  std::uint32_t open_offers = 16;
  std::uint32_t open_offers_of_one_peer_max = 4;
  // Before anything was served: others are about to join, and would wait behind the first one.
  std::uint32_t open_offers_of_one_peer_at_first = 1;
  // An offer that nobody answers is withdrawn after this long.
  Duration expires_after = std::chrono::seconds(1);
  // A chunk that was served and of which nobody says that it has it, or that was requested and is
  // not served yet, is offered to somebody else after this many times the usual gap between two
  // chunks that leave this seed, but not before `silence`.
  int silence_chunk_times = 24;
  Duration silence = std::chrono::seconds(2);
  // A peer that declines is left alone for this long: its HAVE is on the way, or its budget is
  // used.
  Duration rest_after_decline = std::chrono::milliseconds(50);
  // A chunk that one peer alone has had for this many times the usual time that a chunk takes to
  // the second one, but not before `lonely_at_least`, goes to somebody else as well.
  int lonely_times = 6;
  Duration lonely_at_least = std::chrono::seconds(1);
  // A peer is slow at passing chunks on when it takes this many times as long as the others, until
  // it was given nothing for `forgive_after`.
  int slow_times = 2;
  Duration forgive_after = std::chrono::seconds(20);
  // A peer that alone holds more than this many chunks, and twice as many as the best one, gets
  // nothing more for now.
  std::uint32_t alone_allowed = 4;
  // With this many other racks the own one gets its chunks from them: the seed's copies are all
  // that has to leave through its uplink.
  std::uint32_t racks_that_relieve = 3;
  // Entry nodes of a rack, as in RackEntrySettings.
  std::uint32_t entries = 4;
};

class SeedOffers {
 public:
  struct Offer {
    NodeId peer;
    // Nothing: all chunks are out, ask as you like.
    std::optional<ChunkIndex> chunk;
  };

  SeedOffers(std::uint32_t chunk_count, const OfferSettings& settings, Rng rng);

  // The rack of this node (empty: none) and the content's key, as in RackEntry. Before the first
  // peer.
  void stands_in(std::string rack, std::uint64_t key);
  // All seeds of the content that are online, this node among them. Before the first offer, or
  // again when the list changes.
  void set_seeds(NodeId self, const std::vector<NodeId>& seeds);

  void on_peer_joined(NodeId peer, const std::string& rack = {});
  void on_peer_left(NodeId peer);
  void on_have(NodeId peer, const std::vector<ChunkRun>& runs, Time now);
  // The peer asks for a range of the chunk: it takes the offer.
  void on_requested(NodeId peer, ChunkIndex chunk, Time now);
  // `bytes` of the chunk, which has `of` in all, were handed to the peer's connection.
  void on_served(NodeId peer, ChunkIndex chunk, std::uint32_t bytes, std::uint32_t of, Time now);
  // The same for parts of a chunk, when that is all that the peer has asked for: it may have the
  // rest in an old file. Should it ask for more, this is said again.
  void on_part_served(NodeId peer, ChunkIndex chunk, Time now);
  // It has the chunk already, gets it from elsewhere, or cannot take it now.
  void on_declined(NodeId peer, ChunkIndex chunk, Time now);

  std::vector<Offer> take_offers(Time now);
  // Time::max() when nothing is pending.
  Time next_deadline() const { return wake_; }
  bool all_out() const { return out_.all(); }

 private:
  struct Peer {
    Bitfield have;
    std::string rack;
    std::uint32_t open = 0;   // offers
    std::uint32_t alone = 0;  // chunks that were served to it and that nobody else has
    Duration spread{0};       // from served to a second holder, averaged; 0: not known
    Time last_offer{};
    Time rests_until{};
    std::uint64_t turn = 0;
  };
  enum class Phase {
    offered,
    served,  // nobody has said that it has it
    alone,   // the peer has said it, nobody else has
  };
  struct Given {
    Phase phase = Phase::offered;
    std::uint32_t bytes = 0;
    Time since{};  // served
    Time until{};
  };
  using GivenMap = std::map<std::pair<ChunkIndex, NodeId>, Given>;

  GivenMap::iterator forget(GivenMap::iterator it);
  void given_whole(NodeId id, Given& given, Time now);
  void note_spread(Peer& peer, Duration took);
  std::int64_t score(const Peer& peer, Time now) const;
  bool may_take(NodeId id, const Peer& peer, ChunkIndex chunk) const;
  std::optional<NodeId> best_peer(ChunkIndex chunk, std::uint32_t each, Time now) const;
  std::optional<Offer> next_offer(std::uint32_t each, Time now);
  std::optional<Offer> from(std::vector<ChunkIndex>& list, const Bitfield& done, std::uint32_t each,
                            Time now);
  void expire(Time now);
  void rack_changed(const std::string& rack);
  Duration patience() const;
  bool is_open(ChunkIndex chunk) const;

  OfferSettings settings_;
  std::string rack_;
  std::uint64_t key_ = 0;
  std::map<NodeId, Peer> peers_;
  std::map<std::string, std::vector<NodeId>> entries_;  // of the other racks
  std::map<std::string, std::uint64_t> rack_turns_;     // racks have turns, and peers within them
  Bitfield out_;
  Bitfield spread_;                 // two nodes have said that they have it
  std::vector<ChunkIndex> order_;   // a random order, so that two seeds differ
  std::size_t next_ = 0;            // everything before it in order_ was offered once
  std::vector<ChunkIndex> again_;   // taken back: offered anew, before the rest
  std::vector<ChunkIndex> lonely_;  // one peer alone holds them, for long
  GivenMap given_;
  std::vector<NodeId> untold_;  // have not heard yet that all are out
  std::uint32_t open_ = 0;
  std::uint32_t fewest_alone_ = 0;
  std::uint64_t turn_ = 0;
  Time wake_ = Time::max();
  Time last_served_{};
  Duration gap_{0};           // between two chunks that were served, averaged
  Duration usual_spread_{0};  // of all peers
};

}  // namespace p2p
