// Which parts of an old file are shared with the new one instead of written again, where the file
// system can do that (XFS, btrfs).
//
// Sharing spares writes and space, and costs extents: users of XFS and btrfs report images that
// became very slow after tens of thousands of shared pieces (delta.md §8.7).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/base/byte_range.h"
#include "core/base/copy_map.h"

namespace p2p {

struct ReflinkRules {
  // A shorter stretch is written.
  std::uint64_t shortest = 128 * 1024;
  // More extents than one for so many bytes of the new file, and nothing is shared.
  std::uint64_t bytes_for_an_extent = 256 * 1024;
};

// The part of a copy that can be shared: aligned to blocks in both files, which needs a shift of
// whole blocks. Nothing when it is too short. `block_bytes`: of the file system, a power of two.
std::optional<CopyRange> shared_part(const CopyRange& copy, std::uint32_t block_bytes,
                                     const ReflinkRules& rules = {});

// Would sharing leave the new file in too many pieces? Each copy counts as an extent, and so does
// what lies between two of them: the short ones, which are not shared, cut the others.
bool too_fragmented(std::span<const CopyRange> copies, std::uint64_t new_bytes,
                    const ReflinkRules& rules = {});

}  // namespace p2p
