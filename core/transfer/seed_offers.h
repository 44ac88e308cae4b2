// Which chunk a seed hands to whom first: each one once, until all are out.
//
// A chunk that a seed sends twice before every chunk is out once costs the whole swarm its time:
// with one seed and equal links the floor is one copy over the seed's uplink (docs/policies.md).
// Receivers cannot know what a seed has sent to others, so the seed chooses and offers; the
// receiver requests what is offered or declines it. A chunk is out when somebody's HAVE of it was
// seen. When all are out, the seed says so and serves requests like any relay.
//
// Pure state machine, one for each content that a node has whole: facts come in, the owner calls
// take_offers() after every input and no later than next_deadline(). One thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "core/base/bitfield.h"
#include "core/base/ids.h"
#include "core/base/rng.h"
#include "core/base/time.h"

namespace p2p {

struct OfferSettings {
  // Offers open at a time over all peers, at least: what keeps the uplink busy while answers
  // travel.
  std::uint32_t open_offers = 8;
  std::uint32_t open_offers_of_one_peer_max = 4;
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
};

class SeedOffers {
 public:
  struct Offer {
    NodeId peer;
    // Nothing: all chunks are out, ask as you like.
    std::optional<ChunkIndex> chunk;
  };

  SeedOffers(std::uint32_t chunk_count, const OfferSettings& settings, Rng rng);

  void on_peer_joined(NodeId peer);
  void on_peer_left(NodeId peer);
  void on_have(NodeId peer, const std::vector<ChunkRun>& runs, Time now);
  // The peer asks for a range of the chunk: it takes the offer.
  void on_requested(NodeId peer, ChunkIndex chunk, Time now);
  // `bytes` of the chunk, which has `of` in all, were handed to the peer's connection.
  void on_served(NodeId peer, ChunkIndex chunk, std::uint32_t bytes, std::uint32_t of, Time now);
  // It has the chunk already, gets it from elsewhere, or cannot take it now.
  void on_declined(NodeId peer, ChunkIndex chunk, Time now);

  std::vector<Offer> take_offers(Time now);
  Time next_deadline() const;
  bool all_out() const { return out_.all(); }

 private:
  struct Open {
    Time until{};
    std::uint32_t served = 0;  // bytes
  };
  struct Peer {
    Bitfield have;
    std::map<ChunkIndex, Open> open;  // offered, and not served yet
    bool told_all_out = false;
    Time rests_until{};
  };

  std::optional<ChunkIndex> next_for(const Peer& peer);
  void expire(Time now);
  Duration patience() const;

  OfferSettings settings_;
  std::map<NodeId, Peer> peers_;
  Bitfield out_;
  std::vector<ChunkIndex> order_;        // a random order, so that two seeds differ
  std::size_t next_ = 0;                 // everything before it in order_ was offered once
  std::vector<ChunkIndex> again_;        // taken back: offered anew, before the rest
  std::map<ChunkIndex, Time> unproven_;  // served, waiting for somebody's HAVE: until when
  Time last_served_{};
  Duration gap_{0};  // between two chunks that were served, averaged
};

}  // namespace p2p
