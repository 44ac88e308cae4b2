// Names of nodes: their syntax, their natural order, and sets of them as ranges.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace p2p {

inline constexpr std::size_t kMaxNodeNameBytes = 64;
inline constexpr std::size_t kMaxLabelBytes = 63;  // a key, and a value
inline constexpr std::size_t kMaxNodeSetNames = 100'000;

// [A-Za-z0-9][A-Za-z0-9._-]{0,63}
Status check_node_name(std::string_view name);
// [A-Za-z][A-Za-z0-9._/-]{0,62}
Status check_label_key(std::string_view key);
// [A-Za-z0-9._:/-]{0,63}
Status check_label_value(std::string_view value);

// Digits compare as numbers: web2 before web10. A total order: names of equal numbers ("web1",
// "web01") fall back to their bytes.
bool natural_less(std::string_view a, std::string_view b);

// "web[01-20,25]-db" → web01-db … web20-db, web25-db, without repetition, in the order written.
// Several brackets combine. Numbers have up to 18 digits; when one end of a range begins with a 0,
// both have the same number of digits, and so has what lies between. A reversed range, a name that
// check_node_name refuses and more than kMaxNodeSetNames names are errors.
Result<std::vector<std::string>> expand_node_set(std::string_view pattern);

// The reverse for people to read.
struct FoldedNames {
  std::string text;          // "db1,web[01-20]"; each part between commas can be expanded again
  std::size_t left_out = 0;  // names that did not fit

  // With " and 7 more" when there was not room for all.
  std::string str() const;
};
// Folds valid node names, repeated ones once, in natural order. Of the numbers in a name the one
// that folds the most names together becomes the range. `chars_max` bounds FoldedNames::text.
FoldedNames fold_names(std::vector<std::string> names, std::size_t chars_max = std::string::npos);

}  // namespace p2p
