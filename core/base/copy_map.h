// Which bytes of a new file an old one has, and where.
//
// What every matcher returns and what assembly follows. Nothing in it is known to be true: a chunk
// that was put together from it is hashed like any other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/base/byte_range.h"

namespace p2p {

// new[new_offset, + length) is thought to equal old[old_offset, + length).
struct CopyRange {
  std::uint64_t new_offset = 0;
  std::uint64_t old_offset = 0;
  std::uint64_t length = 0;

  std::uint64_t new_end() const { return new_offset + length; }
  std::uint64_t old_end() const { return old_offset + length; }
  friend bool operator==(const CopyRange&, const CopyRange&) = default;
};

// Not thread-safe. 24 bytes a range.
class CopyMap {
 public:
  // 24 MiB. delta.md §8.9: the largest map measured has 157,304 ranges (a VM image of 2 GiB).
  static constexpr std::size_t kRangesMax = 1u << 20;

  CopyMap() = default;
  // With more ranges than `ranges_max` the shortest are forgotten: their bytes are fetched.
  explicit CopyMap(std::size_t ranges_max) : ranges_max_(ranges_max) {}

  // Adds what a matcher found, in any order. What the map has already stays; of ranges that overlap
  // each other the one that begins first wins, and the rest is cut. Empty ranges and such that end
  // beyond 2^64 are passed over. Linear in the size of the map, plus sorting `found`.
  void merge(std::vector<CopyRange> found);

  // Rising in new_offset, without overlap in the new file; neighbours with the same shift are one.
  const std::vector<CopyRange>& ranges() const { return ranges_; }
  // Bytes of the new file that need not be fetched.
  std::uint64_t copied_bytes() const { return copied_bytes_; }
  // Bytes that were found and forgotten because the map was full.
  std::uint64_t forgotten_bytes() const { return forgotten_bytes_; }

  // What of `wanted` (rising, without overlap) the map does not have.
  std::vector<ByteRange> missing(std::span<const ByteRange> wanted) const;
  // The ranges of the old file, rising, that nothing was copied from, each `margin` bytes longer on
  // both sides: a block that begins or ends in them may reach that far into what is used.
  std::vector<ByteRange> unused_old(std::uint64_t old_bytes, std::uint64_t margin) const;

 private:
  void shrink();

  std::size_t ranges_max_ = kRangesMax;
  std::vector<CopyRange> ranges_;
  std::uint64_t copied_bytes_ = 0;
  std::uint64_t forgotten_bytes_ = 0;
};

}  // namespace p2p
