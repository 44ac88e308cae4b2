#include "io/content/cutter.h"

#include <algorithm>
#include <array>
#include <bit>

#include "core/base/check.h"
#include "core/base/rng.h"

namespace p2p {
namespace {

std::array<std::uint64_t, 256> make_gear() {
  Rng rng(0x70327064);
  std::array<std::uint64_t, 256> gear;
  for (std::uint64_t& value : gear) value = rng.next();
  return gear;
}

const std::array<std::uint64_t, 256>& gear() {
  static const std::array<std::uint64_t, 256> table = make_gear();
  return table;
}

// The top bits of the sum know the last 64 bytes, the low ones fewer.
std::uint64_t top_bits(int count) {
  return ~0ull << (64 - count);
}

}  // namespace

Cutter::Cutter(std::uint32_t average) : average_(average) {
  P2P_CHECK(std::has_single_bit(average) && average >= 256 && average <= 1u << 20);
  const int bits = std::countr_zero(average);
  strict_ = top_bits(bits + 1);
  loose_ = top_bits(bits - 1);
}

std::size_t Cutter::next(std::span<const std::uint8_t> bytes) const {
  const std::size_t end = std::min(bytes.size(), longest());
  const std::size_t middle = std::min<std::size_t>(end, average_);
  std::size_t i = average_ / 4;
  if (end <= i) return end;
  const auto& table = gear();
  // The 64 bytes before the shortest piece are in the sum as well: a cut depends on them only.
  std::uint64_t sum = 0;
  for (std::size_t warm = i - std::min<std::size_t>(i, 64); warm < i; ++warm) {
    sum = (sum << 1) + table[bytes[warm]];
  }
  for (; i < middle; ++i) {
    sum = (sum << 1) + table[bytes[i]];
    if ((sum & strict_) == 0) return i + 1;
  }
  for (; i < end; ++i) {
    sum = (sum << 1) + table[bytes[i]];
    if ((sum & loose_) == 0) return i + 1;
  }
  return end;
}

}  // namespace p2p
