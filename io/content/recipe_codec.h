// Recipes as bytes.
//
// "p2pR", then variable-length integers (those of protobuf): 1 (the version); size of the old file,
// its root (32 bytes); size and root of the new one; the number of ranges; and for each of them the
// bytes of the new file since the end of the last one, its length, and by how much old - new offset
// differs from the last one's (zigzag). Ranges with the same shift, as edits in place leave them,
// are 5 to 7 bytes each.
//
// Serialised once: what is stored and sent are the bytes that the maker wrote.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "core/base/result.h"
#include "core/delta/recipe.h"

namespace p2p {

// 2^20 ranges of at most 21 bytes, and the head. Recipes of the files measured have 9 to 262 KB
// (delta.md §4.3).
inline constexpr std::size_t kMaxRecipeBytes = 24u << 20;

// The recipe must be valid (see validate).
std::string encode_recipe(const Recipe& recipe);

// The result is valid. Errc::corrupt: not a recipe; Errc::invalid_argument: made by a newer
// release. Every byte must be used. Memory: 24 bytes a range, whatever the bytes say.
Result<Recipe> decode_recipe(std::string_view bytes);

}  // namespace p2p
