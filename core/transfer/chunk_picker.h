// Which chunk next from this peer: the rarest among the neighbours, ties broken at random.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/base/bitfield.h"
#include "core/base/ids.h"
#include "core/base/rng.h"

namespace p2p {

// Keeps how many neighbours hold each chunk and which chunks may still be picked.
//
// Rarest first keeps the pieces of a swarm diverse, so that everybody always has something to give
// (Legout et al., "Rarest first and choke algorithms are enough", IMC 2006). Ties are broken by a
// random starting point, or all nodes would ask the seed for the same chunk at the same moment.
// Picking costs O(chunks) at worst and stops at the first chunk that only one neighbour holds.
class ChunkPicker {
 public:
  ChunkPicker(std::uint32_t chunk_count, Rng rng);

  void add_holder(ChunkIndex chunk) { ++holders_[chunk.value]; }
  void remove_holder(ChunkIndex chunk) { --holders_[chunk.value]; }
  std::uint32_t holders(ChunkIndex chunk) const { return holders_[chunk.value]; }

  // A chunk that is being fetched or is here cannot be picked; one that was given up can.
  void set_wanted(ChunkIndex chunk, bool wanted);
  bool is_wanted(ChunkIndex chunk) const { return wanted_.test(chunk.value); }
  std::uint32_t wanted_count() const { return wanted_.count(); }

  // The wanted chunk that `offered` has and that the fewest neighbours hold.
  std::optional<ChunkIndex> pick(const Bitfield& offered);

 private:
  Bitfield wanted_;
  std::vector<std::uint32_t> holders_;
  Rng rng_;
};

}  // namespace p2p
