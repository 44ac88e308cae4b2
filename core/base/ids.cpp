#include "core/base/ids.h"

#include <charconv>

namespace p2p {
namespace {

int nibble(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

constexpr std::array<std::size_t, 4> kUuidDashes{8, 13, 18, 23};

}  // namespace

std::string to_hex(const std::uint8_t* bytes, std::size_t count) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(2 * count);
  for (std::size_t i = 0; i < count; ++i) {
    text += kDigits[bytes[i] >> 4];
    text += kDigits[bytes[i] & 15];
  }
  return text;
}

bool from_hex(std::string_view text, std::uint8_t* bytes, std::size_t count) {
  if (text.size() != 2 * count) return false;
  for (std::size_t i = 0; i < count; ++i) {
    const int high = nibble(text[2 * i]);
    const int low = nibble(text[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    bytes[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  return true;
}

std::optional<Digest> Digest::from_raw(std::string_view raw) {
  Digest digest;
  if (raw.size() != digest.bytes.size()) return std::nullopt;
  std::memcpy(digest.bytes.data(), raw.data(), raw.size());
  return digest;
}

std::optional<Digest> Digest::from_hex(std::string_view text) {
  Digest digest;
  if (!p2p::from_hex(text, digest.bytes.data(), digest.bytes.size())) return std::nullopt;
  return digest;
}

std::optional<ContentId> ContentId::from_raw(std::string_view raw) {
  if (const auto digest = Digest::from_raw(raw)) return ContentId{*digest};
  return std::nullopt;
}

std::optional<ContentId> ContentId::from_hex(std::string_view text) {
  if (const auto digest = Digest::from_hex(text)) return ContentId{*digest};
  return std::nullopt;
}

std::string NodeId::str() const {
  std::string text = to_hex(bytes.data(), bytes.size());
  for (const std::size_t at : kUuidDashes) text.insert(at, 1, '-');
  return text;
}

std::optional<NodeId> NodeId::parse(std::string_view text) {
  if (text.size() != 36) return std::nullopt;
  std::string digits;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool dash_here = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash_here != (text[i] == '-')) return std::nullopt;
    if (!dash_here) digits += text[i];
  }
  NodeId id;
  if (!p2p::from_hex(digits, id.bytes.data(), id.bytes.size())) return std::nullopt;
  return id;
}

std::optional<JobId> JobId::parse(std::string_view text) {
  if (text.size() < 2 || text.front() != 'j') return std::nullopt;
  JobId id;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data() + 1, end, id.number);
  if (error != std::errc{} || stop != end) return std::nullopt;
  return id;
}

}  // namespace p2p
