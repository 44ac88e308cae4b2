// A set of chunk indices, fast to count and to walk.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

#include "core/base/check.h"

namespace p2p {

class Bitfield {
 public:
  Bitfield() = default;
  explicit Bitfield(std::uint32_t size, bool value = false)
      : size_(size), count_(value ? size : 0), words_((size + 63) / 64, value ? ~0ull : 0) {
    if (value) clear_tail();
  }

  std::uint32_t size() const { return size_; }
  std::uint32_t count() const { return count_; }
  bool all() const { return count_ == size_; }
  bool none() const { return count_ == 0; }
  bool test(std::uint32_t i) const {
    P2P_CHECK(i < size_);
    return (words_[i >> 6] >> (i & 63)) & 1;
  }
  // True when the bit was not set before.
  bool set(std::uint32_t i) {
    P2P_CHECK(i < size_);
    std::uint64_t& word = words_[i >> 6];
    const std::uint64_t bit = 1ull << (i & 63);
    if (word & bit) return false;
    word |= bit;
    ++count_;
    return true;
  }
  // True when the bit was set before.
  bool reset(std::uint32_t i) {
    P2P_CHECK(i < size_);
    std::uint64_t& word = words_[i >> 6];
    const std::uint64_t bit = 1ull << (i & 63);
    if (!(word & bit)) return false;
    word &= ~bit;
    --count_;
    return true;
  }
  // The first index >= from whose bit equals `value`; size() when there is none.
  std::uint32_t find(std::uint32_t from, bool value) const {
    if (from >= size_) return size_;
    std::uint32_t w = from >> 6;
    std::uint64_t word = (value ? words_[w] : ~words_[w]) & (~0ull << (from & 63));
    while (word == 0) {
      if (++w == words_.size()) return size_;
      word = value ? words_[w] : ~words_[w];
    }
    const auto i =
        static_cast<std::uint32_t>(w * 64 + static_cast<unsigned>(std::countr_zero(word)));
    return i < size_ ? i : size_;
  }
  friend bool operator==(const Bitfield&, const Bitfield&) = default;

 private:
  void clear_tail() {
    if (size_ % 64 != 0) words_.back() &= (1ull << (size_ % 64)) - 1;
  }

  std::uint32_t size_ = 0;
  std::uint32_t count_ = 0;
  std::vector<std::uint64_t> words_;
};

// A run of consecutive indices [first, first + count).
struct ChunkRun {
  std::uint32_t first = 0;
  std::uint32_t count = 0;
  friend bool operator==(const ChunkRun&, const ChunkRun&) = default;
};

// The set bits as maximal runs in rising order.
inline std::vector<ChunkRun> runs_of(const Bitfield& bits) {
  std::vector<ChunkRun> runs;
  for (std::uint32_t i = bits.find(0, true); i < bits.size();) {
    const std::uint32_t end = bits.find(i, false);
    runs.push_back({i, end - i});
    i = bits.find(end, true);
  }
  return runs;
}

}  // namespace p2p
