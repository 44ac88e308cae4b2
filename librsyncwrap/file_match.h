// Matches a whole old file against the signature of a new one: in place first, then rolling over
// what is left of the old file, for what is left of the new one.
//
// Reads through callbacks, which may block: it runs on a thread that may be kept busy. Nothing is
// kept between calls, and several threads may match different files.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "core/base/byte_range.h"
#include "core/base/copy_map.h"
#include "core/base/result.h"
#include "librsyncwrap/signature.h"

namespace p2p::rsync {

enum class MatchTier { in_place, rolling };

// What was done so far, for whoever holds the budget.
struct MatchProgress {
  MatchTier tier = MatchTier::in_place;
  std::uint64_t old_bytes_read = 0;  // by the tier
  // Bytes of the old file that this tier recognised.
  std::uint64_t matched_bytes = 0;
  std::uint32_t window = 0;  // of the old file, counted by the tier from 0
};

enum class MatchPace {
  go_on,
  next_window,  // give up this stretch of the old file
  stop,         // give up; what was found counts
};

struct MatchInput {
  // As it was when the match began. A file that becomes shorter is read to its new end.
  std::uint64_t old_bytes = 0;
  // What of it is no hole, rising, without overlap: only that is sampled and rolled over. A sparse
  // file that is not told apart from its holes uses up its budget on zeros.
  std::vector<ByteRange> old_data;
  // Returns the bytes read; fewer than asked for only at the end of the file.
  std::function<Result<std::size_t>(std::uint64_t offset, std::span<std::uint8_t> out)> read_old;
  // Fills `out` from the signature, whose header was parsed: whole records. Each is read up to
  // three times.
  std::function<Status(std::uint64_t offset, std::span<std::uint8_t> out)> read_signature;
  // Asked after every step of at most 1 MiB (in place) or Matcher::kStepBytes (rolling), and before
  // the first step of a window.
  std::function<MatchPace(const MatchProgress&)> pace;
  // What was found so far, for who does not want to wait for the end; may be empty. In place: after
  // each 64 MiB of the new file, `passed`, with what was found in them. Rolling: about once for 64
  // MiB that were read of the old file, up to the end of `passed`, with all that the blocks at hand
  // have.
  std::function<void(MatchTier, ByteRange passed, std::vector<CopyRange> found)> on_found;
};

struct MatchOptions {
  bool in_place = true;
  bool rolling = true;
};

struct MatchResult {
  CopyMap map;
  std::uint64_t in_place_bytes = 0;  // of the new file
  std::uint64_t rolled_bytes = 0;
  std::uint64_t old_bytes_summed = 0;  // read by the first tier, at 0.54 GB/s
  std::uint64_t old_bytes_rolled = 0;  // read by the second, at 0.05 to 0.42 GB/s
  bool stopped = false;                // by `pace`
};

// `wanted`: the ranges of the new file that somebody has to fetch or copy (its data extents),
// rising, without overlap, inside the file. Blocks that lie in holes are not looked at.
//
// The old file is rolled over where the first tier copied nothing from it; of files above 4 GiB
// only at the same relative place, 10 % of the file and 64 MiB to either side of the blocks looked
// for (delta.md §8.4): a large file whose bytes all moved far is not found again, and neither is a
// second copy, off the grid of blocks, of something that also stays where it was. Recipes find
// both.
//
// Memory: three bits a block, an index of at most 78 MB (92 while it is built), 16 MiB of records,
// 1 MiB to read into, and 24 bytes a range.
Result<MatchResult> match_file(const SignatureLayout& layout, std::span<const ByteRange> wanted,
                               const MatchInput& input, const MatchOptions& options = {});

// Is the old file worth a look? Reads at most kSamples x kSampleBytes of it, evenly spread, and of
// the signature what stands for kSampleBlocks blocks around the same places; a shift of more than
// kSampleBlocks / kSamples / 2 blocks (32 MiB at 4 KiB) is not seen. `pace` is asked as above.
struct SampleResult {
  std::uint64_t old_bytes = 0;  // that were looked at
  // Of these, bytes that stand at the same place in the new file, and bytes at any place nearby.
  std::uint64_t in_place_bytes = 0;
  std::uint64_t rolled_bytes = 0;
  bool stopped = false;
};
inline constexpr std::uint32_t kSamples = 16;
// 8 MiB in all: 0.15 s where nothing matches, half of the 300 ms that a gate may cost (§8.1).
inline constexpr std::uint32_t kSampleBytes = 512 * 1024;
inline constexpr std::uint32_t kSampleBlocks = 1u << 18;

Result<SampleResult> sample_file(const SignatureLayout& layout, const MatchInput& input);

// A run of blocks whose records are at hand.
struct SampleWindow {
  std::uint32_t first_block = 0;
  std::uint32_t blocks = 0;
};
// The same for who has only these records (the rest of the signature is still on its way): looks at
// kSamples / windows places in the old file around each window's own, of half as many bytes, and
// for no other blocks than the windows'. A shift of more than half a window is not seen.
Result<SampleResult> sample_file(const SignatureLayout& layout,
                                 std::span<const SampleWindow> windows, const MatchInput& input);

}  // namespace p2p::rsync
