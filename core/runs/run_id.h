// Names one run: one exec job on one node. Made by the tracker, never used twice.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/ids.h"
#include "core/base/time.h"

namespace p2p {

// A UUID of version 7: its first 48 bits are the milliseconds since 1970 at which it was made, so a
// node can tell an id that it may have forgotten from a new one.
struct RunId {
  std::array<std::uint8_t, 16> bytes{};

  // 32 lower-case hexadecimal digits: fit for a file name and for a key.
  std::string hex() const { return to_hex(bytes.data(), bytes.size()); }

  WallTime made() const {
    std::uint64_t milliseconds = 0;
    for (std::size_t i = 0; i < 6; ++i) milliseconds = milliseconds << 8 | bytes[i];
    return WallTime{std::chrono::milliseconds(milliseconds)};
  }

  // `random` fills everything but the time and the version.
  static RunId make(WallTime now, const std::array<std::uint8_t, 16>& random) {
    RunId id{random};
    const auto milliseconds = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(now.since_start).count());
    for (std::size_t i = 0; i < 6; ++i) {
      id.bytes[i] = static_cast<std::uint8_t>(milliseconds >> (8 * (5 - i)));
    }
    id.bytes[6] = static_cast<std::uint8_t>(0x70 | (id.bytes[6] & 0x0f));
    id.bytes[8] = static_cast<std::uint8_t>(0x80 | (id.bytes[8] & 0x3f));
    return id;
  }
  // Nothing unless `text` is what hex() gives for a UUID of version 7 that was made before 2200:
  // one spelling for one run.
  static std::optional<RunId> parse(std::string_view text) {
    RunId id;
    if (!from_hex(text, id.bytes.data(), id.bytes.size()) || id.hex() != text) return std::nullopt;
    return id.is_version_7() ? std::optional(id) : std::nullopt;
  }
  static std::optional<RunId> from_raw(std::string_view raw) {
    return raw.size() == 16 ? parse(to_hex(reinterpret_cast<const std::uint8_t*>(raw.data()), 16))
                            : std::nullopt;
  }
  std::string raw() const { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

  friend auto operator<=>(const RunId&, const RunId&) = default;

 private:
  // Nanoseconds since 1970 fit 63 bits until 2262.
  static constexpr std::uint64_t kBefore = 7'258'118'400'000;  // 2200-01-01, in milliseconds

  bool is_version_7() const {
    std::uint64_t milliseconds = 0;
    for (std::size_t i = 0; i < 6; ++i) milliseconds = milliseconds << 8 | bytes[i];
    return bytes[6] >> 4 == 7 && bytes[8] >> 6 == 2 && milliseconds < kBefore;
  }
};

}  // namespace p2p
