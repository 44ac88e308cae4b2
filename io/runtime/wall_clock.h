// The clocks, read at the edge and handed to the core as values.
#pragma once

#include <chrono>
#include <string>

#include "core/base/time.h"

namespace p2p {

inline Time monotonic_now() {
  return Time{std::chrono::steady_clock::now().time_since_epoch()};
}
inline WallTime wall_now() {
  return WallTime{std::chrono::system_clock::now().time_since_epoch()};
}

constexpr std::int64_t unix_seconds(WallTime t) {
  return std::chrono::duration_cast<std::chrono::seconds>(t.since_start).count();
}
constexpr std::int64_t unix_millis(WallTime t) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(t.since_start).count();
}
constexpr WallTime from_unix_seconds(std::int64_t s) { return WallTime{std::chrono::seconds(s)}; }
constexpr WallTime from_unix_millis(std::int64_t ms) { return WallTime{std::chrono::milliseconds(ms)}; }

// "2026-05-02T10:11:12Z"; empty for time zero.
std::string rfc3339(WallTime t);

}  // namespace p2p
