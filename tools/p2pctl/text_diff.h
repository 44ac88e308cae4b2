// Differences of two texts, line by line, as `diff -u` shows them.
//
// Pure. The shortest edit script (Myers 1986), after what both begin and end with; texts that
// differ in very much are shown as replaced as a whole in between.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace p2p {

struct DiffNames {
  std::string_view old_name;
  std::string_view new_name;
};

// Lines that are added and removed before it gives up and replaces the rest.
inline constexpr std::size_t kMaxDiffEdits = 2000;

// "--- old", "+++ new" and hunks with three lines around; empty when the texts are equal. Texts
// with a zero byte are only said to differ. A last line without a line break is marked as diff
// does.
std::string unified_diff(std::string_view old_text, std::string_view new_text, DiffNames names);

}  // namespace p2p
