// Looks for the blocks of an index at every byte of an old file: rsync's rolling search, with the
// roles exchanged.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "core/base/result.h"
#include "librsyncwrap/block_index.h"

namespace p2p::rsync {

// One window of the old file: bytes in, and what is found goes into the index. librsync makes a
// delta, which goes straight into its own patch decoder, whose requests to copy are the matches
// (delta.md §3.5: 1 % of the instructions). No other delta ever gets there.
//
// Windows that overlap by a block - 1 find what one window finds (§3.4), so a file can be scanned
// in pieces, in any order, by several threads with an index each, and dropped between any two.
//
// On one core, with librsync 2.3.2 of Debian 12 (§3.2, §3.3): 0.42 GB/s where the old file matches;
// where it does not 50-60 MB/s with up to 131,072 blocks of 16 KiB, 33 MB/s with 2^20. The index's
// limits keep it from becoming 4 MB/s, which is what 512 GiB at once come to.
//
// Memory: 0.7 MiB and ten blocks. Stopping is destroying.
class Matcher {
 public:
  // What one call takes at most: so that whoever feeds looks at its clock and whether it should
  // stop every 0.1 to 1 ms; with a hint made to be slow (all that is hashed is in vain) within
  // 0.15 s at blocks of 4 KiB and 2.4 s at 64 KiB.
  static constexpr std::size_t kStepBytes = 32 * 1024;

  // The window begins at `old_offset`. `index` must outlive the matcher.
  Matcher(BlockIndex& index, std::uint64_t old_offset);
  ~Matcher();
  Matcher(Matcher&&) noexcept;
  Matcher& operator=(Matcher&&) noexcept;

  // Takes at most kStepBytes from the start of `old_bytes` and returns how many. Errc::corrupt:
  // librsync refused, which no input makes it do.
  Result<std::size_t> feed(std::span<const std::uint8_t> old_bytes);
  // The window ends. A short last block of the new file is found at the end of a window only.
  Status finish();
  // Bytes of the window that are blocks of the index, so far.
  std::uint64_t matched_bytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace p2p::rsync
