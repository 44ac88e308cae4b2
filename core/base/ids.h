// Distinct types for what would otherwise all be integers and strings.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace p2p {

// Lower-case hexadecimal of any bytes.
std::string to_hex(const std::uint8_t* bytes, std::size_t count);
// Exactly 2 × count hexadecimal digits (either case) into `bytes`; false otherwise.
bool from_hex(std::string_view text, std::uint8_t* bytes, std::size_t count);

// A SHA-256 value: a block, a Merkle node, a root.
struct Digest {
  std::array<std::uint8_t, 32> bytes{};

  std::string hex() const { return to_hex(bytes.data(), bytes.size()); }
  std::string_view view() const {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  // Nothing unless `raw` is exactly 32 bytes.
  static std::optional<Digest> from_raw(std::string_view raw);
  static std::optional<Digest> from_hex(std::string_view text);
  friend auto operator<=>(const Digest&, const Digest&) = default;
};

// SHA-256 of a manifest's root record: names one version of a file, byte-exact.
struct ContentId {
  Digest digest;

  std::string hex() const { return digest.hex(); }
  // The first 12 hexadecimal digits, for people; never for lookup.
  std::string short_hex() const { return digest.hex().substr(0, 12); }
  static std::optional<ContentId> from_raw(std::string_view raw);
  static std::optional<ContentId> from_hex(std::string_view text);
  friend auto operator<=>(const ContentId&, const ContentId&) = default;
};

// A node's identity for its whole life: a UUID that the tracker gives at enrolment and never
// reuses.
struct NodeId {
  std::array<std::uint8_t, 16> bytes{};

  // 8-4-4-4-12 form.
  std::string str() const;
  static std::optional<NodeId> parse(std::string_view text);
  friend bool operator==(const NodeId&, const NodeId&) = default;
  // By bytes, as the default would; as two numbers, because maps of peers compare all the time.
  friend std::strong_ordering operator<=>(const NodeId& a, const NodeId& b) {
    const std::strong_ordering high = a.number_at(0) <=> b.number_at(0);
    return high != 0 ? high : a.number_at(8) <=> b.number_at(8);
  }

 private:
  std::uint64_t number_at(std::size_t offset) const {
    std::uint64_t number = 0;
    for (std::size_t i = 0; i < 8; ++i) number = number << 8 | bytes[offset + i];
    return number;
  }
};

// "j17": short enough to type; counted by the tracker.
struct JobId {
  std::uint64_t number = 0;

  std::string str() const { return "j" + std::to_string(number); }
  static std::optional<JobId> parse(std::string_view text);
  friend auto operator<=>(const JobId&, const JobId&) = default;
};

// Index of a chunk within one content's chunk space.
struct ChunkIndex {
  std::uint32_t value = 0;
  friend auto operator<=>(const ChunkIndex&, const ChunkIndex&) = default;
};

}  // namespace p2p

template <>
struct std::hash<p2p::NodeId> {
  std::size_t operator()(const p2p::NodeId& id) const noexcept {
    std::size_t h;
    std::memcpy(&h, id.bytes.data(), sizeof h);
    return h;
  }
};
template <>
struct std::hash<p2p::ContentId> {
  std::size_t operator()(const p2p::ContentId& id) const noexcept {
    std::size_t h;
    std::memcpy(&h, id.digest.bytes.data(), sizeof h);
    return h;
  }
};
