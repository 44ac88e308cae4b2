#include "core/transfer/token_bucket.h"

#include <algorithm>

#include "core/base/check.h"

namespace p2p {
namespace {
constexpr std::int64_t kNanos = 1'000'000'000;
}

TokenBucket::TokenBucket(std::uint64_t bytes_per_second, std::uint64_t burst_bytes)
    : rate_(bytes_per_second),
      burst_(burst_bytes),
      content_(static_cast<Amount>(burst_bytes) * kNanos) {
  P2P_CHECK(bytes_per_second > 0 && burst_bytes > 0);
}

TokenBucket::Amount TokenBucket::content_at(Time now) const {
  const Amount full = static_cast<Amount>(burst_) * kNanos;
  if (!started_) return content_;
  const Amount refill =
      static_cast<Amount>(rate_) * std::max<std::int64_t>(0, (now - last_).count());
  return std::min(full, content_ + refill);
}

bool TokenBucket::try_take(std::uint64_t bytes, Time now) {
  const Amount content = content_at(now);
  const Amount need = static_cast<Amount>(std::min(bytes, burst_)) * kNanos;
  if (content < need) return false;
  content_ = content - static_cast<Amount>(bytes) * kNanos;
  last_ = now;
  started_ = true;
  return true;
}

Time TokenBucket::ready_at(std::uint64_t bytes, Time now) const {
  const Amount missing = static_cast<Amount>(std::min(bytes, burst_)) * kNanos - content_at(now);
  if (missing <= 0) return now;
  const Amount wait = (missing + rate_ - 1) / rate_;
  if (wait >= (Time::max() - now).count()) return Time::max();
  return now + Duration(static_cast<std::int64_t>(wait));
}

void TokenBucket::set_rate(std::uint64_t bytes_per_second, std::uint64_t burst_bytes, Time now) {
  P2P_CHECK(bytes_per_second > 0 && burst_bytes > 0);
  content_ = std::min(content_at(now), static_cast<Amount>(burst_bytes) * kNanos);
  last_ = now;
  started_ = true;
  rate_ = bytes_per_second;
  burst_ = burst_bytes;
}

}  // namespace p2p
