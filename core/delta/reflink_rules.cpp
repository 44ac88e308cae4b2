#include "core/delta/reflink_rules.h"

#include <algorithm>

namespace p2p {

std::optional<CopyRange> shared_part(const CopyRange& copy, std::uint32_t block_bytes,
                                     const ReflinkRules& rules) {
  if (block_bytes == 0 || copy.new_offset % block_bytes != copy.old_offset % block_bytes) {
    return std::nullopt;
  }
  const std::uint64_t skip = (block_bytes - copy.new_offset % block_bytes) % block_bytes;
  if (copy.length <= skip) return std::nullopt;
  const std::uint64_t length = (copy.length - skip) / block_bytes * block_bytes;
  if (length < std::max<std::uint64_t>(rules.shortest, 1)) return std::nullopt;
  return CopyRange{copy.new_offset + skip, copy.old_offset + skip, length};
}

bool too_fragmented(std::span<const CopyRange> copies, std::uint64_t new_bytes,
                    const ReflinkRules& rules) {
  const std::uint64_t extents = 2 * copies.size() + 1;
  return extents > std::max<std::uint64_t>(1, new_bytes / rules.bytes_for_an_extent);
}

}  // namespace p2p
