#include "core/transfer/chunk_picker.h"

#include <limits>

namespace p2p {

ChunkPicker::ChunkPicker(std::uint32_t chunk_count, Rng rng)
    : wanted_(chunk_count, true), holders_(chunk_count, 0), rng_(rng) {}

void ChunkPicker::set_wanted(ChunkIndex chunk, bool wanted) {
  if (wanted) {
    wanted_.set(chunk.value);
  } else {
    wanted_.reset(chunk.value);
  }
}

std::optional<ChunkIndex> ChunkPicker::pick(const Bitfield& offered) {
  if (wanted_.none() || offered.none()) return std::nullopt;
  const std::uint32_t size = wanted_.size();
  const auto start = static_cast<std::uint32_t>(rng_.below(size));
  std::optional<ChunkIndex> best;
  std::uint32_t fewest = std::numeric_limits<std::uint32_t>::max();
  const auto look = [&](std::uint32_t from, std::uint32_t to) {
    for (std::uint32_t i = wanted_.find(from, true); i < to; i = wanted_.find(i + 1, true)) {
      if (!offered.test(i) || holders_[i] >= fewest) continue;
      best = ChunkIndex{i};
      fewest = holders_[i];
      if (fewest <= 1) return true;
    }
    return false;
  };
  if (!look(start, size)) look(0, start);
  return best;
}

}  // namespace p2p
