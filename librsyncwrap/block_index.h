// The blocks of a new file that are looked for, indexed by their sums, and where they were found.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/base/copy_map.h"
#include "core/base/result.h"
#include "librsyncwrap/signature.h"

namespace p2p::rsync {

// Any subset of the blocks of a signature: those that are still missing after the tier before, so
// that the index of a file of which 1 % is missing has 1 % of the blocks, whatever its size.
//
// Blocks with equal records are one block that stands in several places: librsync would report the
// first only. Found once, all are found; without that a VM image with 29 % of zero pages looks 34 %
// missing instead of 1.00 % (delta.md §3.2).
//
// Memory: 24 bytes a block here, 8 to 16 for librsync's records, and its table of 12.125 bytes a
// slot, slots being the power of two above 1.43 x blocks: 50 to 75 bytes a block, at most 78 MB,
// and 14 bytes a block more while it is built (delta.md §2.2; bench/delta_wrap: 56.4 for powers of
// two). Building takes 0.23 s for 2^20 blocks.
//
// Not thread-safe, and no two matchers at the same time: librsync counts its look-ups in the index
// without locks, and two threads over one index are no quicker than one (§2.2). A second thread
// needs an index of its own; CopyMap::merge takes the results of both.
class BlockIndex {
 public:
  // `blocks`: rising numbers of blocks of `layout`; `records`: theirs. At most kSegmentBlocks and
  // kSegmentBytes of them: the caller's duty.
  //
  // Records that crowd one place of the table are left out of it when they are more than kCrowd: no
  // file has that, but a hint may be made to stand still on.
  static Result<BlockIndex> build(const SignatureLayout& layout, std::vector<std::uint32_t> blocks,
                                  std::vector<Record> records);
  ~BlockIndex();
  BlockIndex(BlockIndex&&) noexcept;
  BlockIndex& operator=(BlockIndex&&) noexcept;

  static constexpr std::uint32_t kCrowd = 256;

  std::uint32_t blocks() const;
  // Nothing is left to look for.
  bool all_found() const;
  // Bytes of the new file that are found so far, equal blocks counted once.
  std::uint64_t found_bytes() const;

  // The old file has a block with this record at this place, `length` bytes long: what the tier
  // before knows. True when that was news.
  bool offer(Record record, std::uint64_t old_offset, std::uint32_t length);

  // Where every block was found, equal ones completed; rising, merged where neighbours have the
  // same shift.
  std::vector<CopyRange> found() const;

 private:
  friend class Matcher;
  struct State;
  explicit BlockIndex(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace p2p::rsync
