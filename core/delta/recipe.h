// Which ranges of one version of a file stand where in another, byte-exact: made once by somebody
// who holds both, and enough for everybody who holds the old one.
//
// A hint: found by the two roots, trusted for nothing. A wrong one costs a refetch and a blame.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/base/copy_map.h"
#include "core/base/ids.h"
#include "core/base/result.h"

namespace p2p {

// One version of one file by its hash tree; the root of an empty file is all zeros.
struct FileVersion {
  std::uint64_t size = 0;
  Digest root;
  friend bool operator==(const FileVersion&, const FileVersion&) = default;
};

struct Recipe {
  FileVersion old_file;
  FileVersion new_file;
  std::vector<CopyRange> copies;  // rising in new_offset, without overlap in the new file
  friend bool operator==(const Recipe&, const Recipe&) = default;
};

// At most as many as a CopyMap has, and one for each 256 bytes of the new file (delta.md §8.2;
// dense edits, the worst set measured, have one for 4 KiB).
std::size_t recipe_ranges_max(std::uint64_t new_bytes);

// Errc::invalid_argument, naming the first range that is wrong: sizes above kMaxFileBytes, too many
// ranges, an empty one, one that begins before the last has ended, one that leaves either file.
Status validate(const Recipe& recipe);

// The copies of a valid recipe, for assembly; what is missing of the new file is then
// CopyMap::missing of its data extents.
CopyMap copies_of(const Recipe& recipe);

}  // namespace p2p
