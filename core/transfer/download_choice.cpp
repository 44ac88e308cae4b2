// What a Download asks for next: of whom, and whether the budget pays for it.
#include <algorithm>

#include "core/base/check.h"
#include "core/transfer/download.h"

namespace p2p {
bool Download::may_ask(const Peer& peer) const {
  return !passed_over_.contains(peer.slot) && !busy_.contains(peer.slot) &&
         peer.chunks < settings_.chunks_from_one_peer;
}

void Download::change_load(Peer& peer, int chunks) {
  const std::uint32_t most = settings_.chunks_from_one_peer;
  by_load_[std::min(peer.chunks, most)].erase(peer.slot);
  peer.chunks += static_cast<std::uint32_t>(chunks);
  if (peer.far) far_chunks_ += static_cast<std::uint32_t>(chunks);
  by_load_[std::min(peer.chunks, most)].insert(peer.slot);
}

void Download::fill(Time now) {
  looked_at_ = now;
  if (wake_ <= now) look_at_clocks(now);
  if (rack_) look_at_rack(now);
  wait_for_tokens_ = Time::max();
  send_unrequested(now);
  while (accepting_ && wait_for_tokens_ == Time::max()) {
    if (start_again(now)) continue;
    // A free slot takes what only a seed has before what others have: an idle moment of the seed
    // costs the whole swarm, an idle moment of a relay costs one node.
    if (start_from_seed(now)) continue;
    if (start_from_far(now)) continue;
    if (start_from_relay(now)) continue;
    if (hedge(now)) continue;
    break;
  }
}

// Peers whose rest is over may be asked again; when does the next peer's clock run out?
void Download::look_at_clocks(Time now) {
  wake_ = Time::max();
  // The clocks of all others stand still.
  const PeerSet running = busy_ | passed_over_ | offering_ | (slots_used_ - by_load_.front());
  for (PeerSlot slot = running.find(0); slot < kPeerSlots; slot = running.find(slot + 1)) {
    Peer& peer = *peer_in_[slot];
    if (peer.passed_over_until <= now) {
      peer.passed_over_until = Time{};
      passed_over_.erase(slot);
    } else {
      wake_at(peer.passed_over_until);
    }
    if (peer.busy_until <= now) {
      busy_.erase(slot);
    } else {
      wake_at(peer.busy_until);
    }
    if (peer.requests > 0) wake_at(peer.last_progress + settings_.stall_after);
    const Time overdue = peer.last_offer + settings_.offers_overdue;
    if (peer.offers && !complete() && overdue > now) wake_at(overdue);
  }
}

bool Download::start_from_seed(Time now) {
  const std::uint32_t most = peers_.size() >= settings_.neighbours_that_relieve_a_seed
                                 ? 1
                                 : settings_.chunks_from_one_peer;
  const std::uint32_t busy = under_way();
  // One slot beyond the others is kept for a seed.
  if (busy > slots_) return false;
  const PeerSet able = (origins_ & picker_.interesting()) - busy_ - passed_over_;
  for (PeerSlot slot = able.find(0); slot < kPeerSlots; slot = able.find(slot + 1)) {
    Peer& peer = *peer_in_[slot];
    if (peer.chunks >= most) continue;
    if (peer.offers && (busy > 0 || now - peer.last_offer < settings_.offers_overdue)) continue;
    PeerSet one;
    one.insert(slot);
    const auto chunk = picker_.pick(one);
    if (!chunk) continue;
    // What relays have too is fetched from them, as long as there are any to ask.
    if (most == 1 && busy > 0 && relay_offers(*chunk)) continue;
    return start(peer_at_[slot], peer, *chunk, now);
  }
  return false;
}

bool Download::relay_offers(ChunkIndex chunk) const {
  return picker_.held_by(chunk, slots_used_ - origins_ - passed_over_);
}

// What the rack waits for comes before what a neighbour has, but leaves room for it.
bool Download::start_from_far(Time now) {
  if (!rack_ || under_way() >= slots_ || far_chunks_ >= std::max(slots_ / 2, 1u)) return false;
  return start_from_one_of(far_, now);
}

bool Download::start_from_relay(Time now) {
  return under_way() < slots_now() && start_from_one_of(slots_used_ - far_, now);
}

bool Download::start_from_one_of(const PeerSet& peers, Time now) {
  const PeerSet able = peers - origins_ - busy_ - passed_over_;
  // The least busy ones first, so that a node's slots spread over its neighbours; slow ones last.
  for (std::uint32_t load = 0; load <= settings_.chunks_from_one_peer; ++load) {
    const bool last = load == settings_.chunks_from_one_peer;
    const PeerSet these = last ? by_load_.front() & able & slow_ : (by_load_[load] & able) - slow_;
    const PeerSet useful = these & picker_.interesting();
    if (useful.empty()) continue;
    PeerSet one;
    one.insert(picker_.random_one(useful));
    const auto chunk = picker_.pick(one);
    const NodeId id = peer_at_[one.find(0)];
    return start(id, peers_.at(id), *chunk, now);
  }
  return false;
}

// Averaged over about four chunks; one chunk proves nothing.
void Download::note_chunk_time(NodeId id, Duration took) {
  Peer& peer = peers_.at(id);
  peer.chunk_time = peer.chunk_time == Duration{0} ? std::min(took, usual_chunk_time_)
                                                   : (3 * peer.chunk_time + took) / 4;
  slow_.put(peer.slot, peer.chunk_time > settings_.slow_times * usual_chunk_time_);
}

bool Download::start(NodeId id, Peer& peer, ChunkIndex chunk, Time now) {
  Active active;
  if (const auto run = shortened_.find(chunk); run != shortened_.end()) {
    active.of_run = true;
    std::uint32_t offset = 0;
    for (const std::uint32_t length : run->second) {
      active.ranges.push_back({offset, length, 0, {}});
      offset += length;
    }
  } else {
    for (const ByteRange& range : space_.ranges_of(chunk, request_bytes_)) {
      active.ranges.push_back({static_cast<std::uint32_t>(range.offset),
                               static_cast<std::uint32_t>(range.length),
                               0,
                               {}});
    }
  }
  P2P_CHECK(!active.ranges.empty());
  active.owners.push_back(id);
  active.started = now;
  picker_.set_wanted(chunk, false);
  change_load(peer, 1);
  active_.emplace(chunk, std::move(active));
  unrequested_ = true;
  send_unrequested(now);
  return true;
}

// Asks for every range that nobody has been asked for, as far as the budget pays.
void Download::send_unrequested(Time now) {
  if (!unrequested_) return;
  for (auto& [chunk, active] : active_) {
    if (active.owners.empty()) continue;
    for (Range& range : active.ranges) {
      if (range.done() || !range.requesters.empty()) continue;
      if (!ask(active.owners.front(), chunk, range, now)) return;
    }
  }
  unrequested_ = false;
}

// Asks the peer for what is missing of the range; false when the budget does not pay for it.
bool Download::ask(NodeId id, ChunkIndex chunk, Range& range, Time now) {
  const ChunkRange rest{chunk, range.offset + range.arrived, range.length - range.arrived,
                        active_.at(chunk).of_run};
  if (!paid_for(rest.length, now)) return false;
  Peer& peer = peers_.at(id);
  if (peer.requests++ == 0) {
    peer.last_progress = now;
    wake_at(now + settings_.stall_after);
  }
  range.requesters.push_back({id, rest.offset});
  effects_.push_back(SendRequest{id, rest});
  return true;
}

Time Download::late_from(const Active& active) const {
  if (slow_.contains(peers_.at(active.owners.front()).slot)) {
    return active.started + settings_.hedge_at_least;
  }
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
      if (id == active.owners.front() || !may_fetch(peer, chunk) || peer.chunks > 0) continue;
      if (!peer.have.test(chunk.value) || !may_ask(peer)) continue;
      for (Range& range : active.ranges) {
        if (!range.done() && !ask(id, chunk, range, now)) break;
      }
      if (peer.requests == 0) return false;  // not even one request was paid for
      change_load(peer, 1);
      active.owners.push_back(id);
      return true;
    }
  }
  return false;
}

Download::Waiting Download::waiting_for() const {
  if (complete()) return Waiting::nothing;
  if (have_.none()) return Waiting::start;
  if (picker_.wanted_count() == 0) return Waiting::the_tail;
  if (under_way() >= slots_now()) return Waiting::answers;
  return (picker_.interesting() - origins_).empty() ? Waiting::news : Waiting::holders;
}

bool Download::paid_for(std::uint32_t bytes, Time now) {
  if (!bucket_ || bucket_->try_take(wire_bytes(bytes), now)) return true;
  wait_for_tokens_ = std::min(wait_for_tokens_, bucket_->ready_at(wire_bytes(bytes), now));
  return false;
}

}  // namespace p2p
