// Caps a byte rate while allowing short bursts.
#pragma once

#include <cstdint>

#include "core/base/time.h"

namespace p2p {

// What a payload costs on the wire: TLS records and TCP/IP headers at an MTU of 1500 add 5 %.
constexpr std::uint64_t wire_bytes(std::uint64_t payload) {
  return payload * 105 / 100;
}

// Pure: time is an argument and never goes backwards. Not thread-safe.
// A taking larger than the burst succeeds once the bucket is full and leaves a debt, so that the
// average holds for any size.
class TokenBucket {
 public:
  // Both must be positive. Starts full.
  TokenBucket(std::uint64_t bytes_per_second, std::uint64_t burst_bytes);

  // Takes `bytes` if the bucket holds them at `now`; otherwise takes nothing.
  bool try_take(std::uint64_t bytes, Time now);
  // Earliest time at which try_take(bytes) succeeds, if nothing else is taken.
  Time ready_at(std::uint64_t bytes, Time now) const;
  // Applies from `now` on; what has been saved up until then stays, up to the new burst.
  void set_rate(std::uint64_t bytes_per_second, std::uint64_t burst_bytes, Time now);

 private:
  // Bucket content in byte-nanoseconds: exact, so that a slow rate loses nothing to rounding.
  using Amount = __int128_t;
  Amount content_at(Time now) const;

  std::uint64_t rate_;
  std::uint64_t burst_;
  Amount content_;  // at last_; negative: debt
  Time last_{};
  bool started_ = false;
};

}  // namespace p2p
