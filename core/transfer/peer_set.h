// A set of one download's neighbours, by slot: cheap to combine, walked in rising order.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "core/base/check.h"

namespace p2p {

// A small number that a download gives each of its neighbours; free again when one leaves.
using PeerSlot = std::uint32_t;

// Neighbours of one download, at most. A mesh has 64 members; above that a node knows 40 random
// ones, as many know it, and its rack.
constexpr std::uint32_t kPeerSlots = 256;

class PeerSet {
 public:
  static constexpr std::uint32_t kWords = kPeerSlots / 64;

  void insert(PeerSlot slot) {
    P2P_CHECK(slot < kPeerSlots);
    words_[slot >> 6] |= 1ull << (slot & 63);
  }
  void erase(PeerSlot slot) {
    P2P_CHECK(slot < kPeerSlots);
    words_[slot >> 6] &= ~(1ull << (slot & 63));
  }
  void put(PeerSlot slot, bool in) { in ? insert(slot) : erase(slot); }
  bool contains(PeerSlot slot) const { return (words_[slot >> 6] >> (slot & 63)) & 1; }
  bool empty() const {
    std::uint64_t any = 0;
    for (const std::uint64_t word : words_) any |= word;
    return any == 0;
  }
  std::uint32_t size() const {
    int count = 0;
    for (const std::uint64_t word : words_) count += std::popcount(word);
    return static_cast<std::uint32_t>(count);
  }
  std::uint64_t word(std::uint32_t i) const { return words_[i]; }

  // The first slot >= from that is in the set; kPeerSlots when there is none.
  PeerSlot find(PeerSlot from) const {
    for (std::uint32_t w = from >> 6; w < kWords; ++w) {
      const std::uint64_t word = w == from >> 6 ? words_[w] & (~0ull << (from & 63)) : words_[w];
      if (word != 0) return w * 64 + static_cast<std::uint32_t>(std::countr_zero(word));
    }
    return kPeerSlots;
  }
  // The first slot that is not in the set; kPeerSlots when all are.
  PeerSlot first_free() const {
    for (std::uint32_t w = 0; w < kWords; ++w) {
      if (~words_[w] != 0) return w * 64 + static_cast<std::uint32_t>(std::countr_one(words_[w]));
    }
    return kPeerSlots;
  }

  PeerSet& operator&=(const PeerSet& other) {
    for (std::uint32_t w = 0; w < kWords; ++w) words_[w] &= other.words_[w];
    return *this;
  }
  PeerSet& operator|=(const PeerSet& other) {
    for (std::uint32_t w = 0; w < kWords; ++w) words_[w] |= other.words_[w];
    return *this;
  }
  PeerSet& operator-=(const PeerSet& other) {
    for (std::uint32_t w = 0; w < kWords; ++w) words_[w] &= ~other.words_[w];
    return *this;
  }
  friend PeerSet operator&(PeerSet a, const PeerSet& b) { return a &= b; }
  friend PeerSet operator|(PeerSet a, const PeerSet& b) { return a |= b; }
  friend PeerSet operator-(PeerSet a, const PeerSet& b) { return a -= b; }
  friend bool operator==(const PeerSet&, const PeerSet&) = default;

 private:
  std::array<std::uint64_t, kWords> words_{};
};

}  // namespace p2p
