// Which chunk next from these peers: the rarest among the neighbours, ties broken at random.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/base/bitfield.h"
#include "core/base/ids.h"
#include "core/base/rng.h"
#include "core/transfer/peer_set.h"

namespace p2p {

// Keeps who holds each chunk and which chunks may still be picked.
//
// Rarest first keeps the pieces of a swarm diverse, so that everybody always has something to give
// (Legout et al., "Rarest first and choke algorithms are enough", IMC 2006). Ties are broken at
// random, or all nodes would ask the seed for the same chunk at the same moment.
//
// Chunks that are wanted and held by somebody lie in one array, ordered by the number of holders;
// a holder more or less moves a chunk by one swap. Whether a set of peers has anything to give is
// known without looking (`interesting`), so that a pick that finds nothing costs nothing; one that
// finds something reads the array from its rarest end. 16 bytes a chunk, and 8 more for every
// further 64 peers.
class ChunkPicker {
 public:
  ChunkPicker(std::uint32_t chunk_count, Rng rng);

  // Adding a holder twice, or removing what was not added, changes nothing.
  void add_holder(ChunkIndex chunk, PeerSlot peer);
  void remove_holder(ChunkIndex chunk, PeerSlot peer);
  std::uint32_t holders(ChunkIndex chunk) const { return holders_[chunk.value]; }
  std::uint32_t count_holders(ChunkIndex chunk, const PeerSet& peers) const;
  bool held_by(ChunkIndex chunk, const PeerSet& peers) const;
  // A random one of those `peers` that hold the chunk; somebody must.
  PeerSlot any_holder(ChunkIndex chunk, const PeerSet& peers);

  PeerSlot random_one(const PeerSet& peers);

  // A chunk that is being fetched or is here cannot be picked; one that was given up can.
  void set_wanted(ChunkIndex chunk, bool wanted);
  bool is_wanted(ChunkIndex chunk) const { return wanted_.test(chunk.value); }
  std::uint32_t wanted_count() const { return wanted_.count(); }
  // Peers that hold a chunk that is wanted.
  const PeerSet& interesting() const { return interesting_; }

  // The wanted chunk that one of `peers` has and that the fewest neighbours hold.
  std::optional<ChunkIndex> pick(const PeerSet& peers);

 private:
  std::uint64_t* mask_of(ChunkIndex chunk) { return &masks_[chunk.value * mask_words_]; }
  const std::uint64_t* mask_of(ChunkIndex chunk) const {
    return &masks_[chunk.value * mask_words_];
  }
  void make_room_for(PeerSlot peer);
  void swap_places(std::uint32_t a, std::uint32_t b);
  void enter(ChunkIndex chunk);
  void leave(ChunkIndex chunk);
  void gains(PeerSlot peer);
  void loses(PeerSlot peer);

  Bitfield wanted_;
  std::uint32_t mask_words_ = 1;
  std::vector<std::uint64_t> masks_;  // chunk by chunk: which peers hold it
  std::vector<std::uint16_t> holders_;
  std::vector<std::uint32_t> order_;  // wanted chunks with holders, the rarest first
  std::vector<std::uint32_t> place_;  // of each chunk in order_
  std::vector<std::uint32_t> end_;    // end_[h]: where chunks with more than h holders begin
  std::vector<std::uint32_t> wants_;  // by peer: wanted chunks that it holds
  PeerSet interesting_;
  Rng rng_;
};

}  // namespace p2p
