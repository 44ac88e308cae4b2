// The core is told the time: these types have no now().
#pragma once

#include <chrono>
#include <cstdint>

namespace p2p {

using Duration = std::chrono::nanoseconds;

// Tag of the two time lines below; deliberately without now().
struct MonotonicLine {};
struct WallLine {};

template <class Line>
struct Instant {
  Duration since_start{0};

  static constexpr Instant max() { return Instant{Duration::max()}; }
  friend constexpr auto operator<=>(const Instant&, const Instant&) = default;
  friend constexpr Instant operator+(Instant t, Duration d) { return Instant{t.since_start + d}; }
  friend constexpr Instant operator-(Instant t, Duration d) { return Instant{t.since_start - d}; }
  friend constexpr Duration operator-(Instant a, Instant b) {
    return a.since_start - b.since_start;
  }
};

// For deadlines and rates: never goes back, means nothing outside the process.
using Time = Instant<MonotonicLine>;
// For records and certificates: nanoseconds since 1970-01-01 UTC, may jump.
using WallTime = Instant<WallLine>;

constexpr double seconds(Duration d) {
  return std::chrono::duration<double>(d).count();
}
constexpr Duration from_seconds(double s) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(s));
}

}  // namespace p2p
