#include "core/transfer/seed_offers.h"

#include <algorithm>

namespace p2p {

SeedOffers::SeedOffers(std::uint32_t chunk_count, const OfferSettings& settings, Rng rng)
    : settings_(settings), out_(chunk_count) {
  order_.reserve(chunk_count);
  for (std::uint32_t i = 0; i < chunk_count; ++i) order_.push_back(ChunkIndex{i});
  rng.shuffle(order_);
}

void SeedOffers::on_peer_joined(NodeId id) {
  Peer& peer = peers_[id];
  if (peer.have.size() == 0) peer.have = Bitfield(out_.size());
}

void SeedOffers::on_peer_left(NodeId id) {
  const auto found = peers_.find(id);
  if (found == peers_.end()) return;
  for (const auto& [chunk, open] : found->second.open) again_.push_back(chunk);
  peers_.erase(found);
  if (!peers_.empty()) return;
  // The swarm is over; what the next one has is for it to say.
  out_ = Bitfield(out_.size());
  next_ = 0;
  again_.clear();
  unproven_.clear();
}

void SeedOffers::on_have(NodeId id, const std::vector<ChunkRun>& runs, Time) {
  const auto found = peers_.find(id);
  if (found == peers_.end()) return;
  Peer& peer = found->second;
  for (const ChunkRun& run : runs) {
    if (run.first > out_.size() || run.count > out_.size() - run.first) return;
    for (std::uint32_t i = run.first; i < run.first + run.count; ++i) {
      peer.have.set(i);
      out_.set(i);
      peer.open.erase(ChunkIndex{i});
      unproven_.erase(ChunkIndex{i});
    }
  }
}

Duration SeedOffers::patience() const {
  return std::max(settings_.silence, settings_.silence_chunk_times * gap_);
}

void SeedOffers::on_requested(NodeId id, ChunkIndex chunk, Time now) {
  const auto found = peers_.find(id);
  if (found == peers_.end()) return;
  const auto open = found->second.open.find(chunk);
  // From now on it waits in our own queue.
  if (open != found->second.open.end()) open->second.until = now + patience();
}

void SeedOffers::on_served(NodeId id, ChunkIndex chunk, std::uint32_t bytes, std::uint32_t of,
                           Time now) {
  const auto found = peers_.find(id);
  if (found == peers_.end()) return;
  const auto open = found->second.open.find(chunk);
  if (open == found->second.open.end()) return;
  open->second.served += bytes;
  if (open->second.served < of) return;
  if (last_served_ != Time{}) gap_ = (7 * gap_ + (now - last_served_)) / 8;
  last_served_ = now;
  if (!out_.test(chunk.value)) unproven_[chunk] = now + patience();
  found->second.open.erase(open);
}

void SeedOffers::on_declined(NodeId id, ChunkIndex chunk, Time now) {
  const auto found = peers_.find(id);
  if (found == peers_.end() || found->second.open.erase(chunk) == 0) return;
  found->second.rests_until = now + settings_.rest_after_decline;
  if (!out_.test(chunk.value)) again_.push_back(chunk);
}

// The next chunk in order that is not out and that the peer does not have.
std::optional<ChunkIndex> SeedOffers::next_for(const Peer& peer) {
  std::erase_if(again_, [&](ChunkIndex chunk) { return out_.test(chunk.value); });
  for (std::size_t i = 0; i < again_.size(); ++i) {
    const ChunkIndex chunk = again_[i];
    if (peer.have.test(chunk.value)) continue;
    again_.erase(again_.begin() + static_cast<std::ptrdiff_t>(i));
    return chunk;
  }
  while (next_ < order_.size() && out_.test(order_[next_].value)) ++next_;
  for (std::size_t i = next_; i < order_.size(); ++i) {
    const ChunkIndex chunk = order_[i];
    if (out_.test(chunk.value) || peer.have.test(chunk.value)) continue;
    // Keeps the order dense: what is offered now leaves the front.
    std::swap(order_[i], order_[next_]);
    ++next_;
    return chunk;
  }
  return std::nullopt;
}

void SeedOffers::expire(Time now) {
  for (auto& [id, peer] : peers_) {
    for (auto it = peer.open.begin(); it != peer.open.end();) {
      if (it->second.until > now) {
        ++it;
        continue;
      }
      again_.push_back(it->first);
      it = peer.open.erase(it);
    }
  }
  for (auto it = unproven_.begin(); it != unproven_.end();) {
    if (it->second > now) {
      ++it;
      continue;
    }
    again_.push_back(it->first);
    it = unproven_.erase(it);
  }
}

std::vector<SeedOffers::Offer> SeedOffers::take_offers(Time now) {
  std::vector<Offer> offers;
  expire(now);
  for (auto& [id, peer] : peers_) {
    if (peer.rests_until <= now) peer.rests_until = Time{};
  }
  if (all_out()) {
    for (auto& [id, peer] : peers_) {
      if (peer.told_all_out) continue;
      peer.told_all_out = true;
      offers.push_back({id, std::nullopt});
    }
    return offers;
  }
  if (peers_.empty()) return offers;
  const auto count = static_cast<std::uint32_t>(peers_.size());
  const std::uint32_t each = std::clamp((settings_.open_offers + count - 1) / count, 1u,
                                        settings_.open_offers_of_one_peer_max);
  for (std::uint32_t round = 0; round < each; ++round) {
    for (auto& [id, peer] : peers_) {
      if (peer.open.size() > round || peer.rests_until > now) continue;
      const auto chunk = next_for(peer);
      if (!chunk) continue;
      peer.open[*chunk] = {now + settings_.expires_after, 0};
      offers.push_back({id, chunk});
    }
  }
  return offers;
}

Time SeedOffers::next_deadline() const {
  Time next = Time::max();
  for (const auto& [id, peer] : peers_) {
    for (const auto& [chunk, open] : peer.open) next = std::min(next, open.until);
    if (peer.rests_until != Time{} && !all_out()) next = std::min(next, peer.rests_until);
  }
  for (const auto& [chunk, until] : unproven_) next = std::min(next, until);
  return next;
}

}  // namespace p2p
