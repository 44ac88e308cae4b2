#include "core/model/ip_range.h"

#include <algorithm>
#include <charconv>
#include <string>
#include <vector>

#include "core/base/text.h"

namespace p2p {
namespace {

// Digits only, no sign, at most `most`.
std::optional<unsigned> parse_number(std::string_view text, int base, std::size_t digits_max,
                                     unsigned most) {
  if (text.empty() || text.size() > digits_max) return std::nullopt;
  unsigned value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, problem] = std::from_chars(text.data(), end, value, base);
  if (problem != std::errc{} || stop != end || value > most) return std::nullopt;
  return value;
}

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> parts;
  for (std::size_t begin = 0;;) {
    const std::size_t end = std::min(text.find(at, begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    if (end == text.size()) return parts;
    begin = end + 1;
  }
}

std::optional<std::array<std::uint8_t, 4>> parse_v4(std::string_view text) {
  const auto parts = split(text, '.');
  if (parts.size() != 4) return std::nullopt;
  std::array<std::uint8_t, 4> bytes{};
  for (std::size_t i = 0; i < 4; ++i) {
    const auto number = parse_number(parts[i], 10, 3, 255);
    // A leading 0 would be octal elsewhere.
    if (!number || (parts[i].size() > 1 && parts[i].front() == '0')) return std::nullopt;
    bytes[i] = static_cast<std::uint8_t>(*number);
  }
  return bytes;
}

// The groups of one side of "::"; the last one of the whole address may be an IPv4 address.
std::optional<std::vector<std::uint8_t>> parse_groups(std::string_view text, bool is_end) {
  std::vector<std::uint8_t> bytes;
  if (text.empty()) return bytes;
  const auto parts = split(text, ':');
  if (parts.size() > 8) return std::nullopt;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (is_end && i + 1 == parts.size() && parts[i].find('.') != std::string_view::npos) {
      const auto v4 = parse_v4(parts[i]);
      if (!v4) return std::nullopt;
      bytes.insert(bytes.end(), v4->begin(), v4->end());
      continue;
    }
    const auto group = parse_number(parts[i], 16, 4, 0xffff);
    if (!group) return std::nullopt;
    bytes.push_back(static_cast<std::uint8_t>(*group >> 8));
    bytes.push_back(static_cast<std::uint8_t>(*group & 0xff));
  }
  return bytes;
}

std::optional<std::array<std::uint8_t, 16>> parse_v6(std::string_view text) {
  const std::size_t gap = text.find("::");
  const bool has_gap = gap != std::string_view::npos;
  const auto head = parse_groups(text.substr(0, has_gap ? gap : text.size()), !has_gap);
  const auto tail = parse_groups(has_gap ? text.substr(gap + 2) : std::string_view{}, true);
  if (!head || !tail) return std::nullopt;
  const std::size_t given = head->size() + tail->size();
  if (has_gap ? given > 14 : given != 16) return std::nullopt;
  std::array<std::uint8_t, 16> bytes{};
  std::copy(head->begin(), head->end(), bytes.begin());
  std::copy_backward(tail->begin(), tail->end(), bytes.end());
  return bytes;
}

bool bit_of(const IpAddress& address, int bit) {
  return ((address.bytes[static_cast<std::size_t>(bit / 8)] >> (7 - bit % 8)) & 1) != 0;
}

std::string text_of(const IpAddress& address) {
  std::string text;
  if (!address.v6) {
    for (std::size_t i = 0; i < 4; ++i) {
      text += (i == 0 ? "" : ".") + std::to_string(address.bytes[i]);
    }
    return text;
  }
  for (std::size_t i = 0; i < 16; i += 2) {
    std::array<char, 5> group{};
    const unsigned value = address.bytes[i] * 256u + address.bytes[i + 1];
    const auto end = std::to_chars(group.data(), group.data() + group.size(), value, 16).ptr;
    text += (i == 0 ? "" : ":") + std::string(group.data(), end);
  }
  return text;
}

}  // namespace

std::optional<IpAddress> parse_ip(std::string_view text) {
  IpAddress address;
  if (const auto v4 = parse_v4(text)) {
    std::copy(v4->begin(), v4->end(), address.bytes.begin());
    return address;
  }
  const auto v6 = parse_v6(text);
  if (!v6) return std::nullopt;
  constexpr std::array<std::uint8_t, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  address.v6 = !std::equal(kMapped.begin(), kMapped.end(), v6->begin());
  std::copy(v6->begin() + (address.v6 ? 0 : 12), v6->end(), address.bytes.begin());
  return address;
}

bool IpRange::contains(const IpAddress& address) const {
  if (address.v6 != first.v6) return false;
  for (int bit = 0; bit < bits; ++bit) {
    if (bit_of(address, bit) != bit_of(first, bit)) return false;
  }
  return true;
}

Result<IpRange> parse_ip_range(std::string_view text) {
  const auto refused = [&](const std::string& why) {
    return Error{Errc::invalid_argument, "address range " + quoted(text, 60) + ": " + why};
  };
  const std::size_t stroke = text.find('/');
  const auto address = parse_ip(text.substr(0, stroke));
  if (!address) return refused("write 10.2.0.0/16, fd00:12::/32 or one address");
  const int width = address->v6 ? 128 : 32;
  IpRange range{*address, width};
  if (stroke == std::string_view::npos) return range;
  const auto bits = parse_number(text.substr(stroke + 1), 10, 3, static_cast<unsigned>(width));
  if (!bits) return refused("behind '/' stands a number from 0 to " + std::to_string(width));
  range.bits = static_cast<int>(*bits);
  for (int bit = range.bits; bit < width; ++bit) {
    if (bit_of(range.first, bit)) {
      range.first.bytes[static_cast<std::size_t>(bit / 8)] &=
          static_cast<std::uint8_t>(~(1u << (7 - bit % 8)));
    }
  }
  if (range.first != *address) {
    return refused("this address has bits behind the first " + std::to_string(range.bits) +
                   ": write " + text_of(range.first) + "/" + std::to_string(range.bits));
  }
  return range;
}

}  // namespace p2p
