// How a label or a fact of a node compares with what an operator wrote.
//
// Sizes by their bytes ("64GB", "1.5 TiB" is not one word), everything that begins with digits by
// its dotted numbers, whatever follows them: "12" < "12.5", "6.1.0-9-amd64" < "6.1.0-28-amd64",
// "12" and "12.0" are as large as each other. Anything else is text, that has no order.
#pragma once

#include <optional>
#include <string_view>

namespace p2p {

enum class CompareSign { equal, unequal, less, at_most, more, at_least };

std::string_view to_string(CompareSign sign);
constexpr bool asks_for_order(CompareSign sign) {
  return sign != CompareSign::equal && sign != CompareSign::unequal;
}

// Whether `text` has an order among some others.
bool is_ordered_value(std::string_view text);
// Below 0: `a` is less; 0: as large; nothing: they cannot be compared.
std::optional<int> compare_values(std::string_view a, std::string_view b);
// The same text, or the same number of bytes ("1GiB", "1073741824"). Versions equal as text only.
bool equal_values(std::string_view a, std::string_view b);

}  // namespace p2p
