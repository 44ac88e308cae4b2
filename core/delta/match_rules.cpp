#include "core/delta/match_rules.h"

#include <algorithm>

namespace p2p {
namespace {

// `each` per 10^9 bytes, exact up to 2^64 bytes and 290 years.
Duration for_bytes(Duration each, std::uint64_t bytes) {
  const __int128_t nanoseconds = static_cast<__int128_t>(each.count()) * bytes / 1'000'000'000;
  return Duration(
      static_cast<Duration::rep>(std::min<__int128_t>(nanoseconds, Duration::max().count() / 4)));
}

}  // namespace

Relation relation_of(std::uint64_t looked, std::uint64_t in_place, std::uint64_t anywhere) {
  const std::uint64_t known = std::max(in_place, anywhere);
  if (looked == 0 || known < looked / 100 + (looked % 100 == 0 ? 0 : 1)) return Relation::unrelated;
  return in_place >= looked - looked / 2 ? Relation::in_place : Relation::shifted;
}

ScanBudget::ScanBudget(const ScanBudgetSettings& settings, std::uint64_t old_bytes)
    : settings_(settings),
      free_(std::min(settings.free_most, for_bytes(settings.free_per_gb, old_bytes))) {}

void ScanBudget::begin_window() {
  window_spent_ = Duration(0);
  window_matched_ = 0;
}

Duration ScanBudget::earned(std::uint64_t matched_bytes) const {
  return for_bytes(settings_.earned_per_gb, matched_bytes);
}

ScanBudget::Verdict ScanBudget::charge(Duration cpu, std::uint64_t matched_bytes) {
  spent_ += cpu;
  window_spent_ += cpu;
  matched_ += matched_bytes;
  window_matched_ += matched_bytes;
  if (spent_ > free_ + earned(matched_)) return Verdict::stop;
  if (window_spent_ > settings_.window + earned(window_matched_)) return Verdict::next_window;
  return Verdict::go_on;
}

}  // namespace p2p
