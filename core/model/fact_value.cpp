#include "core/model/fact_value.h"

#include <algorithm>
#include <cstdint>

#include "core/base/units.h"

namespace p2p {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool begins_with_digit(std::string_view text) {
  return !text.empty() && is_digit(text.front());
}

bool is_number(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), is_digit);
}

// Bytes, of a size with a unit or a whole number.
std::optional<std::uint64_t> bytes_of(std::string_view text) {
  if (!begins_with_digit(text)) return std::nullopt;
  const auto size = parse_size(text);
  return size ? std::optional(*size) : std::nullopt;
}

bool has_unit(std::string_view text) {
  return !is_number(text) && bytes_of(text).has_value();
}

// Takes the next dotted number, its leading zeros left out; empty for 0 and behind the last.
std::string_view take_number(std::string_view& text) {
  if (!begins_with_digit(text)) return text = {};
  std::size_t end = 0;
  while (end < text.size() && is_digit(text[end])) ++end;
  std::string_view number = text.substr(0, end);
  text.remove_prefix(end);
  // Only what stands between two numbers joins them: behind "1.2rc1" there is nothing to compare.
  const bool joined = text.size() > 1 && (text[0] == '.' || text[0] == '-') && is_digit(text[1]);
  text = joined ? text.substr(1) : std::string_view{};
  number.remove_prefix(std::min(number.find_first_not_of('0'), number.size()));
  return number;
}

int compare_versions(std::string_view a, std::string_view b) {
  while (!a.empty() || !b.empty()) {
    const std::string_view left = take_number(a);
    const std::string_view right = take_number(b);
    if (left.size() != right.size()) return left.size() < right.size() ? -1 : 1;
    if (const int order = left.compare(right); order != 0) return order;
  }
  return 0;
}

}  // namespace

std::string_view to_string(CompareSign sign) {
  switch (sign) {
    case CompareSign::equal:
      return "=";
    case CompareSign::unequal:
      return "!=";
    case CompareSign::less:
      return "<";
    case CompareSign::at_most:
      return "<=";
    case CompareSign::more:
      return ">";
    case CompareSign::at_least:
      return ">=";
  }
  return "";
}

bool is_ordered_value(std::string_view text) {
  return begins_with_digit(text);
}

std::optional<int> compare_values(std::string_view a, std::string_view b) {
  if (!begins_with_digit(a) || !begins_with_digit(b)) return std::nullopt;
  if (!has_unit(a) && !has_unit(b)) return compare_versions(a, b);
  const auto left = bytes_of(a);
  const auto right = bytes_of(b);
  if (!left || !right) return std::nullopt;
  return *left < *right ? -1 : *left > *right ? 1 : 0;
}

bool equal_values(std::string_view a, std::string_view b) {
  if (a == b) return true;
  const auto left = bytes_of(a);
  return left && left == bytes_of(b);
}

}  // namespace p2p
