// What a Download asks for next: of whom, and whether the budget pays for it.
#include <algorithm>

#include "core/base/check.h"
#include "core/transfer/download.h"

namespace p2p {
bool Download::may_ask(const Peer& peer, Time now) const {
  return peer.passed_over_until <= now && peer.busy_until <= now &&
         peer.chunks < settings_.chunks_from_one_peer;
}

void Download::fill(Time now) {
  looked_at_ = now;
  for (auto& [id, peer] : peers_) {
    if (peer.passed_over_until != Time{} && peer.passed_over_until <= now) {
      peer.passed_over_until = Time{};
    }
    if (peer.busy_until <= now) peer.busy_until = Time{};
  }
  wait_for_tokens_ = Time::max();
  send_unrequested(now);
  while (accepting_ && wait_for_tokens_ == Time::max()) {
    // A free slot takes what only a seed has before what others have: an idle moment of the seed
    // costs the whole swarm, an idle moment of a relay costs one node.
    if (start_from_seed(now)) continue;
    if (start_from_relay(now)) continue;
    if (hedge(now)) continue;
    break;
  }
}

std::uint32_t Download::under_way() const {
  std::uint32_t count = 0;
  for (const auto& [chunk, active] : active_) count += active.all_arrived ? 0 : 1;
  return count;
}

bool Download::start_from_seed(Time now) {
  const std::uint32_t most = peers_.size() >= settings_.neighbours_that_relieve_a_seed
                                 ? 1
                                 : settings_.chunks_from_one_peer;
  const std::uint32_t busy = under_way();
  // One slot beyond the others is kept for a seed.
  if (busy > slots_) return false;
  for (auto& [id, peer] : peers_) {
    if (!peer.origin || peer.chunks >= most || !may_ask(peer, now)) continue;
    if (peer.offers && (busy > 0 || now - peer.last_offer < settings_.offers_overdue)) continue;
    const auto chunk = picker_.pick(peer.have);
    if (!chunk) continue;
    // What relays have too is fetched from them, as long as there are any to ask.
    if (most == 1 && busy > 0 && relay_offers(*chunk, now)) continue;
    return start(id, peer, *chunk, now);
  }
  return false;
}

bool Download::relay_offers(ChunkIndex chunk, Time now) const {
  return std::any_of(peers_.begin(), peers_.end(), [&](const auto& entry) {
    const Peer& peer = entry.second;
    return !peer.origin && peer.passed_over_until <= now && peer.have.test(chunk.value);
  });
}

bool Download::start_from_relay(Time now) {
  if (under_way() >= slots_) return false;
  // The least busy relay first, so that a node's slots spread over its neighbours.
  for (std::uint32_t busy = 0; busy < settings_.chunks_from_one_peer; ++busy) {
    std::optional<ChunkIndex> best;
    NodeId best_peer;
    for (auto& [id, peer] : peers_) {
      if (peer.origin || peer.chunks != busy || !may_ask(peer, now)) continue;
      const auto chunk = picker_.pick(peer.have);
      if (!chunk) continue;
      if (best && picker_.holders(*chunk) >= picker_.holders(*best)) continue;
      best = chunk;
      best_peer = id;
    }
    if (best) return start(best_peer, peers_.at(best_peer), *best, now);
  }
  return false;
}

bool Download::start(NodeId id, Peer& peer, ChunkIndex chunk, Time now) {
  Active active;
  for (const ByteRange& range : space_.ranges_of(chunk, request_bytes_)) {
    active.ranges.push_back({static_cast<std::uint32_t>(range.offset),
                             static_cast<std::uint32_t>(range.length),
                             0,
                             {}});
  }
  P2P_CHECK(!active.ranges.empty());
  active.owners.push_back(id);
  active.started = now;
  picker_.set_wanted(chunk, false);
  ++peer.chunks;
  active_.emplace(chunk, std::move(active));
  send_unrequested(now);
  return true;
}

// Asks for every range that nobody has been asked for, as far as the budget pays.
void Download::send_unrequested(Time now) {
  for (auto& [chunk, active] : active_) {
    if (active.owners.empty()) continue;
    for (Range& range : active.ranges) {
      if (range.done() || !range.requesters.empty()) continue;
      if (!ask(active.owners.front(), chunk, range, now)) return;
    }
  }
}

// Asks the peer for what is missing of the range; false when the budget does not pay for it.
bool Download::ask(NodeId id, ChunkIndex chunk, Range& range, Time now) {
  const ChunkRange rest{chunk, range.offset + range.arrived, range.length - range.arrived};
  if (!paid_for(rest.length, now)) return false;
  Peer& peer = peers_.at(id);
  if (peer.requests++ == 0) peer.last_progress = now;
  range.requesters.push_back({id, rest.offset});
  effects_.push_back(SendRequest{id, rest});
  return true;
}

Time Download::late_from(const Active& active) const {
  return active.started +
         std::max(settings_.hedge_at_least, settings_.hedge_factor * usual_chunk_time_);
}

// Nothing is left to start: ask a second holder for the rest of the slowest chunk when it is late.
bool Download::hedge(Time now) {
  if (picker_.wanted_count() > 0) return false;
  for (auto& [chunk, active] : active_) {
    if (active.all_arrived || active.owners.size() != 1 || alone_.test(chunk.value)) continue;
    if (now < late_from(active)) continue;
    for (auto& [id, peer] : peers_) {
      if (id == active.owners.front() || !peer.have.test(chunk.value) || peer.chunks > 0) continue;
      if (!may_ask(peer, now)) continue;
      for (Range& range : active.ranges) {
        if (!range.done() && !ask(id, chunk, range, now)) break;
      }
      if (peer.requests == 0) return false;  // not even one request was paid for
      ++peer.chunks;
      active.owners.push_back(id);
      return true;
    }
  }
  return false;
}

bool Download::paid_for(std::uint32_t bytes, Time now) {
  if (!bucket_ || bucket_->try_take(wire_bytes(bytes), now)) return true;
  wait_for_tokens_ = std::min(wait_for_tokens_, bucket_->ready_at(wire_bytes(bytes), now));
  return false;
}

}  // namespace p2p
