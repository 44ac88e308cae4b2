#include "core/delta/recipe.h"

#include <algorithm>
#include <string>

#include "core/model/manifest.h"

namespace p2p {
namespace {

constexpr std::uint64_t kBytesPerRange = 256;

Error wrong(std::string why) {
  return Error{Errc::invalid_argument, "recipe: " + std::move(why)};
}

}  // namespace

std::size_t recipe_ranges_max(std::uint64_t new_bytes) {
  return static_cast<std::size_t>(
      std::min<std::uint64_t>(CopyMap::kRangesMax, new_bytes / kBytesPerRange + 1));
}

Status validate(const Recipe& recipe) {
  if (std::max(recipe.old_file.size, recipe.new_file.size) > kMaxFileBytes) {
    return wrong("a file above the limit of " + std::to_string(kMaxFileBytes) + " bytes");
  }
  if (recipe.copies.size() > recipe_ranges_max(recipe.new_file.size)) {
    return wrong(std::to_string(recipe.copies.size()) + " ranges for a file of " +
                 std::to_string(recipe.new_file.size) + " bytes are above the limit of " +
                 std::to_string(recipe_ranges_max(recipe.new_file.size)));
  }
  std::uint64_t done = 0;
  for (const CopyRange& range : recipe.copies) {
    const std::string which = "the range of " + std::to_string(range.length) + " bytes at " +
                              std::to_string(range.new_offset);
    if (range.length == 0) return wrong(which + " is empty");
    if (range.new_offset < done) {
      return wrong(which + " begins before the last has ended at " + std::to_string(done));
    }
    if (range.new_offset > recipe.new_file.size ||
        range.length > recipe.new_file.size - range.new_offset) {
      return wrong(which + " leaves the new file of " + std::to_string(recipe.new_file.size));
    }
    if (range.old_offset > recipe.old_file.size ||
        range.length > recipe.old_file.size - range.old_offset) {
      return wrong(which + " leaves the old file of " + std::to_string(recipe.old_file.size));
    }
    done = range.new_end();
  }
  return {};
}

CopyMap copies_of(const Recipe& recipe) {
  CopyMap map;
  map.merge(recipe.copies);
  return map;
}

}  // namespace p2p
