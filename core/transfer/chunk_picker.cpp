#include "core/transfer/chunk_picker.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "core/base/check.h"

namespace p2p {

ChunkPicker::ChunkPicker(std::uint32_t chunk_count, Rng rng)
    : wanted_(chunk_count, true),
      masks_(chunk_count, 0),
      holders_(chunk_count, 0),
      place_(chunk_count, 0),
      end_(kPeerSlots + 1, 0),
      wants_(kPeerSlots, 0),
      rng_(rng) {}

void ChunkPicker::make_room_for(PeerSlot peer) {
  P2P_CHECK(peer < kPeerSlots);
  if (peer < mask_words_ * 64) return;
  const std::uint32_t words = peer / 64 + 1;
  std::vector<std::uint64_t> wider(holders_.size() * words, 0);
  for (std::size_t i = 0; i < holders_.size(); ++i) {
    std::copy_n(&masks_[i * mask_words_], mask_words_, &wider[i * words]);
  }
  masks_ = std::move(wider);
  mask_words_ = words;
}

void ChunkPicker::gains(PeerSlot peer) {
  if (++wants_[peer] == 1) interesting_.insert(peer);
}

void ChunkPicker::loses(PeerSlot peer) {
  if (--wants_[peer] == 0) interesting_.erase(peer);
}

void ChunkPicker::swap_places(std::uint32_t a, std::uint32_t b) {
  std::swap(order_[a], order_[b]);
  place_[order_[a]] = a;
  place_[order_[b]] = b;
}

// Into the array, behind everything that has as few holders.
void ChunkPicker::enter(ChunkIndex chunk) {
  auto place = static_cast<std::uint32_t>(order_.size());
  order_.push_back(chunk.value);
  place_[chunk.value] = place;
  for (std::uint32_t h = kPeerSlots; h > holders_[chunk.value]; --h) {
    const std::uint32_t first = end_[h - 1];
    if (first != end_[h]) swap_places(std::exchange(place, first), first);
    ++end_[h];
  }
  ++end_[holders_[chunk.value]];
}

void ChunkPicker::leave(ChunkIndex chunk) {
  std::uint32_t place = place_[chunk.value];
  for (std::uint32_t h = holders_[chunk.value]; h <= kPeerSlots; ++h) {
    const std::uint32_t last = --end_[h];
    if (place != last) swap_places(std::exchange(place, last), last);
  }
  order_.pop_back();
}

void ChunkPicker::add_holder(ChunkIndex chunk, PeerSlot peer) {
  make_room_for(peer);
  std::uint64_t& word = mask_of(chunk)[peer >> 6];
  const std::uint64_t bit = 1ull << (peer & 63);
  if (word & bit) return;
  word |= bit;
  std::uint16_t& holders = holders_[chunk.value];
  if (!is_wanted(chunk)) {
    ++holders;
    return;
  }
  gains(peer);
  if (holders == 0) {
    ++holders;
    return enter(chunk);
  }
  // To the last place of its equals, which becomes the first of those with one holder more.
  swap_places(place_[chunk.value], --end_[holders]);
  ++holders;
}

void ChunkPicker::remove_holder(ChunkIndex chunk, PeerSlot peer) {
  if (peer >= mask_words_ * 64) return;
  std::uint64_t& word = mask_of(chunk)[peer >> 6];
  const std::uint64_t bit = 1ull << (peer & 63);
  if (!(word & bit)) return;
  word &= ~bit;
  std::uint16_t& holders = holders_[chunk.value];
  if (!is_wanted(chunk)) {
    --holders;
    return;
  }
  loses(peer);
  if (holders == 1) {
    leave(chunk);
    --holders;
    return;
  }
  --holders;
  swap_places(place_[chunk.value], end_[holders]++);
}

bool ChunkPicker::held_by(ChunkIndex chunk, const PeerSet& peers) const {
  const std::uint64_t* mask = mask_of(chunk);
  std::uint64_t hit = 0;
  for (std::uint32_t w = 0; w < mask_words_; ++w) hit |= mask[w] & peers.word(w);
  return hit != 0;
}

std::uint32_t ChunkPicker::count_holders(ChunkIndex chunk, const PeerSet& peers) const {
  const std::uint64_t* mask = mask_of(chunk);
  int count = 0;
  for (std::uint32_t w = 0; w < mask_words_; ++w) count += std::popcount(mask[w] & peers.word(w));
  return static_cast<std::uint32_t>(count);
}

PeerSlot ChunkPicker::any_holder(ChunkIndex chunk, const PeerSet& peers) {
  const std::uint64_t* mask = mask_of(chunk);
  std::uint32_t count = 0;
  for (std::uint32_t w = 0; w < mask_words_; ++w) {
    count += static_cast<std::uint32_t>(std::popcount(mask[w] & peers.word(w)));
  }
  P2P_CHECK(count > 0);
  auto skip = static_cast<std::uint32_t>(rng_.below(count));
  PeerSlot peer = peers.find(0);
  while (!((mask[peer >> 6] >> (peer & 63)) & 1) || skip-- > 0) peer = peers.find(peer + 1);
  return peer;
}

PeerSlot ChunkPicker::random_one(const PeerSet& peers) {
  auto skip = static_cast<std::uint32_t>(rng_.below(peers.size()));
  PeerSlot peer = peers.find(0);
  while (skip-- > 0) peer = peers.find(peer + 1);
  return peer;
}

void ChunkPicker::set_wanted(ChunkIndex chunk, bool wanted) {
  if (!(wanted ? wanted_.set(chunk.value) : wanted_.reset(chunk.value))) return;
  if (holders_[chunk.value] == 0) return;
  for (std::uint32_t w = 0; w < mask_words_; ++w) {
    for (std::uint64_t mask = mask_of(chunk)[w]; mask != 0; mask &= mask - 1) {
      const PeerSlot peer = w * 64 + static_cast<PeerSlot>(std::countr_zero(mask));
      wanted ? gains(peer) : loses(peer);
    }
  }
  wanted ? enter(chunk) : leave(chunk);
}

std::optional<ChunkIndex> ChunkPicker::pick(const PeerSet& peers) {
  const PeerSet able = peers & interesting_;
  if (able.empty()) return std::nullopt;
  for (std::uint32_t begin = 0; begin < order_.size();) {
    const std::uint32_t end = end_[holders_[order_[begin]]];
    const auto start = begin + static_cast<std::uint32_t>(rng_.below(end - begin));
    for (std::uint32_t i = 0; i < end - begin; ++i) {
      const std::uint32_t at = start + i < end ? start + i : start + i - (end - begin);
      if (held_by(ChunkIndex{order_[at]}, able)) return ChunkIndex{order_[at]};
    }
    begin = end;
  }
  P2P_CHECK(false);
  return std::nullopt;
}

}  // namespace p2p
