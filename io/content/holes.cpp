#include "io/content/holes.h"

#include <optional>
#include <string>
#include <vector>

#include "io/content/merkle.h"

namespace p2p {
namespace {

Digest root_of_hole(const ChunkSpace& space, ChunkIndex chunk) {
  std::vector<Digest> leaves(space.leaves_of(chunk), zero_block_digest(kBlockBytes));
  const std::uint32_t tail = space.size_of(chunk) % kBlockBytes;
  if (tail != 0) leaves.back() = zero_block_digest(tail);
  return merkle_root(leaves, space.padded_leaves_of(chunk));
}

}  // namespace

Status take_holes(const ChunkSpace& space, Bitfield& done) {
  std::optional<Digest> whole_hole;  // of a chunk at full length: there may be a million
  for (std::uint32_t i = 0; i < space.count(); ++i) {
    const ChunkIndex chunk{i};
    if (space.data_bytes_of(chunk) > 0) continue;
    const bool whole = space.size_of(chunk) == space.chunk_bytes();
    const Digest root = whole && whole_hole ? *whole_hole : root_of_hole(space, chunk);
    if (whole) whole_hole = root;
    if (root != space.expected(chunk)) {
      return Error{Errc::corrupt, "manifest: chunk " + std::to_string(i) +
                                      " is a hole that is not zeros; publish the file again"};
    }
    done.set(i);
  }
  return {};
}

}  // namespace p2p
