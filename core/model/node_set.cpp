#include "core/model/node_set.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <unordered_map>
#include <unordered_set>

#include "core/base/text.h"

namespace p2p {
namespace {

constexpr std::size_t kMaxDigits = 18;  // 10^18 fits 64 bits

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool consists_of(std::string_view text, std::string_view signs) {
  return std::all_of(text.begin(), text.end(), [&](char c) {
    return is_letter(c) || is_digit(c) || signs.find(c) != std::string_view::npos;
  });
}

Error bad(std::string detail) {
  return Error{Errc::invalid_argument, std::move(detail)};
}

std::size_t digits_end(std::string_view text, std::size_t from) {
  while (from < text.size() && is_digit(text[from])) ++from;
  return from;
}

// Negative, 0 or positive, for two runs of digits of any length.
int compare_numbers(std::string_view a, std::string_view b) {
  a.remove_prefix(std::min(a.find_first_not_of('0'), a.size()));
  b.remove_prefix(std::min(b.find_first_not_of('0'), b.size()));
  if (a.size() != b.size()) return a.size() < b.size() ? -1 : 1;
  return a.compare(b);
}

// At most kMaxDigits digits.
std::uint64_t number_of(std::string_view digits) {
  std::uint64_t number = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), number);
  return number;
}

bool is_padded(std::string_view digits) {
  return digits.size() > 1 && digits.front() == '0';
}

// `number` with zeros before it up to `width` digits; width 0 adds none.
std::string digits_of(std::uint64_t number, std::size_t width) {
  std::string digits = std::to_string(number);
  if (digits.size() < width) digits.insert(0, width - digits.size(), '0');
  return digits;
}

Error too_many(std::string_view pattern) {
  return Error{Errc::exhausted, "range " + quoted(pattern) + ": more than " +
                                    std::to_string(kMaxNodeSetNames) +
                                    " names; use labels for sets that large"};
}

// "01-20" or "25" appended to `numbers`.
Status expand_item(std::string_view item, std::string_view pattern,
                   std::vector<std::string>& numbers) {
  const std::size_t dash = item.find('-');
  const std::string_view first = item.substr(0, dash);
  const std::string_view last = dash == std::string_view::npos ? first : item.substr(dash + 1);
  for (const std::string_view end : {first, last}) {
    if (end.empty() || end.size() > kMaxDigits || digits_end(end, 0) != end.size()) {
      return bad("range " + quoted(pattern) + ": " + quoted(item) +
                 " is no number or range of numbers; write for example web[01-20,25]");
    }
  }
  const bool padded = is_padded(first) || is_padded(last);
  if (padded && first.size() != last.size()) {
    return bad("range " + quoted(pattern) + ": both ends of " + quoted(item) +
               " need the same number of digits when one begins with 0");
  }
  const std::uint64_t low = number_of(first);
  const std::uint64_t high = number_of(last);
  if (low > high) {
    return bad("range " + quoted(pattern) + ": " + quoted(item) + " is reversed; write [" +
               std::string(last) + "-" + std::string(first) + "]");
  }
  if (high - low >= kMaxNodeSetNames - numbers.size()) return too_many(pattern);
  for (std::uint64_t number = low; number <= high; ++number) {
    numbers.push_back(digits_of(number, padded ? first.size() : 0));
  }
  return {};
}

// What stands between '[' and ']'.
Result<std::vector<std::string>> expand_bracket(std::string_view inside, std::string_view pattern) {
  std::vector<std::string> numbers;
  for (;;) {
    const std::size_t comma = inside.find(',');
    if (Status status = expand_item(inside.substr(0, comma), pattern, numbers); !status) {
      return status.error();
    }
    if (comma == std::string_view::npos) return numbers;
    inside.remove_prefix(comma + 1);
  }
}

// Every name with every ending. Stops at the first name that is too long, so that no pattern takes
// more memory than its legal names would.
Status append_each(std::vector<std::string>& names, const std::vector<std::string>& endings,
                   std::string_view pattern) {
  if (endings.size() > kMaxNodeSetNames / names.size()) return too_many(pattern);
  std::vector<std::string> longer;
  longer.reserve(names.size() * endings.size());
  for (const std::string& name : names) {
    for (const std::string& ending : endings) {
      if (name.size() + ending.size() > kMaxNodeNameBytes) {
        return bad("range " + quoted(pattern) + ": names longer than " +
                   std::to_string(kMaxNodeNameBytes) + " characters");
      }
      longer.push_back(name + ending);
    }
  }
  names = std::move(longer);
  return {};
}

// Names that differ in one number only.
struct Group {
  std::string prefix;
  std::string suffix;
  std::vector<std::string> numbers;
};

struct NumberRange {
  std::string first;
  std::string last;
  std::size_t count = 1;

  std::string text() const { return count == 1 ? first : first + "-" + last; }
};

// For each run of digits of `name`: calls with its begin and end. Runs too long to count with are
// left out.
template <class Visit>
void for_each_number(std::string_view name, Visit visit) {
  for (std::size_t i = 0; i < name.size();) {
    if (!is_digit(name[i])) {
      ++i;
      continue;
    }
    const std::size_t end = digits_end(name, i);
    if (end - i <= kMaxDigits) visit(i, end);
    i = end;
  }
}

// What identifies the names that differ from `name` in the number at [begin, end) only. NUL is in
// no valid name.
std::string key_of(std::string_view name, std::size_t begin, std::size_t end) {
  std::string key(name.substr(0, begin));
  key += '\0';
  key += name.substr(end);
  return key;
}

// `names` must be sorted and unique. Groups come in the order of their first names.
std::vector<Group> group(const std::vector<std::string>& names) {
  std::unordered_map<std::string, std::size_t> popularity;
  for (const std::string& name : names) {
    for_each_number(
        name, [&](std::size_t begin, std::size_t end) { ++popularity[key_of(name, begin, end)]; });
  }
  std::vector<Group> groups;
  std::unordered_map<std::string, std::size_t> index_of;
  for (const std::string& name : names) {
    std::size_t most = 0;
    std::size_t at = name.size();
    std::size_t until = name.size();
    for_each_number(name, [&](std::size_t begin, std::size_t end) {
      const std::size_t count = popularity.at(key_of(name, begin, end));
      if (count < most) return;
      most = count;
      at = begin;
      until = end;
    });
    const std::string key = at == until ? name : key_of(name, at, until);
    const auto [place, is_new] = index_of.try_emplace(key, groups.size());
    if (is_new) groups.push_back({name.substr(0, at), name.substr(until), {}});
    groups[place->second].numbers.push_back(name.substr(at, until - at));
  }
  return groups;
}

// A range goes on as long as expanding it would give the next number back, digit for digit.
std::vector<NumberRange> ranges_of(std::vector<std::string> numbers) {
  std::sort(numbers.begin(), numbers.end(), [](const std::string& a, const std::string& b) {
    return a.size() != b.size() ? a.size() < b.size() : a < b;
  });
  std::vector<NumberRange> ranges;
  for (std::string& number : numbers) {
    if (!ranges.empty() && !number.empty()) {
      NumberRange& range = ranges.back();
      const std::size_t width = is_padded(range.first) ? range.first.size() : 0;
      const bool fits = width == 0 || number.size() == width;
      if (fits && number == digits_of(number_of(range.last) + 1, width)) {
        range.last = std::move(number);
        ++range.count;
        continue;
      }
    }
    ranges.push_back({number, number, 1});
  }
  return ranges;
}

// As many leading ranges of the group as fit in `room` characters; what was taken goes to `taken`.
std::string text_of(const Group& group, std::size_t room, std::size_t& taken) {
  std::string inside;
  taken = 0;
  for (const NumberRange& range : ranges_of(group.numbers)) {
    const std::string next = (taken == 0 ? "" : ",") + range.text();
    const std::size_t brackets = taken + range.count == 1 ? 0 : 2;
    if (group.prefix.size() + inside.size() + next.size() + brackets + group.suffix.size() > room) {
      break;
    }
    inside += next;
    taken += range.count;
  }
  if (taken == 0) return "";
  return group.prefix + (taken == 1 ? inside : "[" + inside + "]") + group.suffix;
}

}  // namespace

Status check_node_name(std::string_view name) {
  if (!name.empty() && name.size() <= kMaxNodeNameBytes &&
      (is_letter(name.front()) || is_digit(name.front())) && consists_of(name, "._-")) {
    return {};
  }
  return bad("node name " + quoted(name) +
             ": a name has 1 to 64 letters, digits, '.', '_' and '-', and begins with a letter or "
             "a digit");
}

Status check_label_key(std::string_view key) {
  if (!key.empty() && key.size() <= kMaxLabelBytes && is_letter(key.front()) &&
      consists_of(key, "._/-")) {
    return {};
  }
  return bad(
      "label key " + quoted(key) +
      ": a key has 1 to 63 letters, digits, '.', '_', '/' and '-', and begins with a letter");
}

Status check_label_value(std::string_view value) {
  if (value.size() <= kMaxLabelBytes && consists_of(value, "._:/-")) return {};
  return bad("label value " + quoted(value) +
             ": a value has at most 63 letters, digits, '.', '_', ':', '/' and '-'");
}

bool natural_less(std::string_view a, std::string_view b) {
  std::size_t i = 0;
  std::size_t j = 0;
  while (i < a.size() && j < b.size()) {
    if (is_digit(a[i]) && is_digit(b[j])) {
      const std::size_t a_end = digits_end(a, i);
      const std::size_t b_end = digits_end(b, j);
      const int order = compare_numbers(a.substr(i, a_end - i), b.substr(j, b_end - j));
      if (order != 0) return order < 0;
      i = a_end;
      j = b_end;
    } else {
      if (a[i] != b[j]) {
        return static_cast<unsigned char>(a[i]) < static_cast<unsigned char>(b[j]);
      }
      ++i;
      ++j;
    }
  }
  const bool a_ended = i == a.size();
  const bool b_ended = j == b.size();
  if (a_ended != b_ended) return a_ended;
  return a < b;
}

Result<std::vector<std::string>> expand_node_set(std::string_view pattern) {
  if (pattern.find_first_of("[]") == std::string_view::npos) {
    if (Status status = check_node_name(pattern); !status) return status.error();
    return std::vector<std::string>{std::string(pattern)};
  }
  std::vector<std::string> names{""};
  for (std::string_view rest = pattern; !rest.empty();) {
    std::vector<std::string> endings;
    if (rest.front() == '[') {
      const std::size_t close = rest.find(']');
      if (close == std::string_view::npos) {
        return bad("range " + quoted(pattern) + ": '[' without ']'");
      }
      Result<std::vector<std::string>> numbers = expand_bracket(rest.substr(1, close - 1), pattern);
      if (!numbers) return numbers.error();
      endings = std::move(*numbers);
      rest.remove_prefix(close + 1);
    } else {
      const std::size_t bracket = std::min(rest.find_first_of("[]"), rest.size());
      if (bracket == 0) return bad("range " + quoted(pattern) + ": ']' without '['");
      endings.emplace_back(rest.substr(0, bracket));
      rest.remove_prefix(bracket);
    }
    if (Status status = append_each(names, endings, pattern); !status) return status.error();
  }
  std::unordered_set<std::string_view> seen;
  std::vector<std::string> unique;
  unique.reserve(names.size());
  for (const std::string& name : names) {
    if (Status status = check_node_name(name); !status) return status.error();
    if (seen.insert(name).second) unique.push_back(name);
  }
  return unique;
}

std::string FoldedNames::str() const {
  if (left_out == 0) return text;
  if (text.empty()) return std::to_string(left_out) + " names";
  return text + " and " + std::to_string(left_out) + " more";
}

FoldedNames fold_names(std::vector<std::string> names, std::size_t chars_max) {
  std::sort(names.begin(), names.end(), natural_less);
  names.erase(std::unique(names.begin(), names.end()), names.end());
  FoldedNames folded;
  folded.left_out = names.size();
  for (const Group& each : group(names)) {
    const std::size_t comma = folded.text.empty() ? 0 : 1;
    const std::size_t used = folded.text.size() + comma;
    std::size_t taken = 0;
    const std::string text = text_of(each, chars_max > used ? chars_max - used : 0, taken);
    if (taken == 0) break;
    if (comma != 0) folded.text += ',';
    folded.text += text;
    folded.left_out -= taken;
    if (taken < each.numbers.size()) break;
  }
  return folded;
}

}  // namespace p2p
