// Finds what two versions of a file have in common, byte by byte, for whoever holds both.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "core/base/byte_range.h"
#include "core/base/copy_map.h"
#include "core/base/result.h"

namespace p2p {

// One of the two files. Reading may block.
struct RecipeInput {
  std::uint64_t size = 0;
  std::vector<ByteRange> data;  // what is no hole: rising, without overlap, inside the file
  // Returns the bytes read; fewer than asked for means that the file has become shorter.
  std::function<Result<std::size_t>(std::uint64_t offset, std::span<std::uint8_t> out)> read;
};

// Copies for a recipe from the old file to the new one, of at least 32 bytes each.
//
// Both are cut by content, equal pieces are compared and extended byte by byte, and what is left
// between them is compared at the shifts of its neighbours, and in place; then gaps of up to 4 MiB
// are cut again, into small pieces, and compared with the gap between the same neighbours (delta.md
// §4.3: 7.8 MB missing of an archive where 15.6 are after librsync, 1.05 of dense edits where it is
// all). Holes of the new file are not looked at.
//
// 0.5 to 0.7 CPU-seconds per GB of both files (0.8 to 1.1 on a busy machine: bench/delta_wrap).
// Memory: at most 64 MiB of table, 6 MiB to read into, and up to 100 MiB of ranges where a million
// of them are found; pieces grow with the file to keep it so.
//
// `go_on` is asked about once a MiB; false ends it with Errc::cancelled. A file that becomes
// shorter ends it with Errc::unavailable; one that is rewritten gives a wrong recipe, so whoever
// publishes it checks that both are what their roots say.
Result<CopyMap> find_copies(const RecipeInput& old_file, const RecipeInput& new_file,
                            const std::function<bool()>& go_on);

}  // namespace p2p
