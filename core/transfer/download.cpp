#include "core/transfer/download.h"

#include <algorithm>

#include "core/base/check.h"

namespace p2p {
namespace {

constexpr std::size_t kCancelledKept = 64;
// TLS records and TCP/IP headers around a payload at an MTU of 1500: 1.05 of it.
constexpr std::uint64_t kWireNumerator = 105;
constexpr std::uint64_t kWireDenominator = 100;

std::uint64_t wire_bytes(std::uint32_t payload) {
  return payload * kWireNumerator / kWireDenominator;
}

template <class T>
bool contains(const std::vector<T>& items, const T& item) {
  return std::find(items.begin(), items.end(), item) != items.end();
}

}  // namespace

std::uint32_t request_bytes_for(std::uint32_t chunk_bytes) {
  return std::clamp<std::uint32_t>(chunk_bytes / 4, 64 * 1024, 1024 * 1024);
}

Download::Download(const ChunkSpace& space, const DownloadSettings& settings, Rng rng)
    : space_(space),
      settings_(settings),
      slots_(std::clamp(settings.bytes_in_flight / space.chunk_bytes(),
                        settings.chunks_in_flight_min, settings.chunks_in_flight_max)),
      request_bytes_(request_bytes_for(space.chunk_bytes())),
      picker_(space.count(), rng),
      have_(space.count()),
      alone_(space.count()) {}

void Download::on_restored(ChunkIndex chunk) {
  P2P_CHECK(!active_.contains(chunk));
  if (!have_.set(chunk.value)) return;
  picker_.set_wanted(chunk, false);
  bytes_have_ += space_.data_bytes_of(chunk);
}

void Download::on_peer_joined(NodeId id, Time now) {
  Peer& peer = peers_[id];
  if (peer.have.size() == 0) peer.have = Bitfield(space_.count());
  peer.last_progress = now;
}

void Download::on_peer_left(NodeId id, Time now) {
  const auto found = peers_.find(id);
  if (found == peers_.end()) return;
  for (std::uint32_t i = found->second.have.find(0, true); i < space_.count();
       i = found->second.have.find(i + 1, true)) {
    picker_.remove_holder(ChunkIndex{i});
  }
  std::vector<ChunkIndex> owned;
  for (auto& [chunk, active] : active_) {
    if (!contains(active.owners, id)) continue;
    release(id, active, chunk, /*tell_peer=*/false);
    owned.push_back(chunk);
  }
  peers_.erase(found);
  for (const ChunkIndex chunk : owned) give_up_if_orphaned(chunk);
  fill(now);
}

void Download::on_have(NodeId id, const std::vector<ChunkRun>& runs, Time now) {
  const auto found = peers_.find(id);
  if (found == peers_.end()) return;
  const bool news = found->second.have.none();
  for (const ChunkRun& run : runs) {
    if (run.first > space_.count() || run.count > space_.count() - run.first) {
      drop(id, ChunkIndex{run.first}, "announced chunks that the file does not have", now);
      return;
    }
    for (std::uint32_t i = run.first; i < run.first + run.count; ++i) {
      if (found->second.have.set(i)) picker_.add_holder(ChunkIndex{i});
    }
  }
  if (news && found->second.have.all()) found->second.origin = true;
  fill(now);
}

void Download::on_refused(NodeId id, const ChunkRange& range, Time now) {
  const auto found = peers_.find(id);
  const auto active = active_.find(range.chunk);
  if (found == peers_.end() || active == active_.end()) return;
  if (!contains(active->second.owners, id)) return;
  if (found->second.have.reset(range.chunk.value)) picker_.remove_holder(range.chunk);
  release(id, active->second, range.chunk, /*tell_peer=*/true);
  give_up_if_orphaned(range.chunk);
  fill(now);
}

Download::Arrival Download::on_data(NodeId id, const ChunkRange& data, Time now) {
  const auto found = peers_.find(id);
  if (found == peers_.end()) return Arrival::unsolicited;
  Peer& peer = found->second;
  bytes_received_ += data.length;
  peer.last_progress = now;
  peer.passed_over_until = Time{};

  const auto entry = active_.find(data.chunk);
  if (entry != active_.end()) {
    for (Range& range : entry->second.ranges) {
      if (data.offset < range.offset || data.end() > range.offset + range.length) continue;
      for (Requester& requester : range.requesters) {
        if (requester.peer != id || requester.next != data.offset) continue;
        requester.next = data.end();
        const std::uint32_t arrived_to = range.offset + range.arrived;
        if (data.offset != arrived_to) {
          bytes_duplicate_ += data.length;
          return Arrival::duplicate;
        }
        range.arrived += data.length;
        Active& active = entry->second;
        if (!contains(active.contributors, id)) active.contributors.push_back(id);
        if (!range.done()) return Arrival::store;
        // The slower ones of a hedged range need not go on.
        for (const Requester& other : range.requesters) {
          if (other.next >= range.offset + range.length) continue;
          const ChunkRange rest{data.chunk, other.next, range.offset + range.length - other.next};
          effects_.push_back(SendCancel{other.peer, rest});
          auto& kept = peers_.at(other.peer).cancelled;
          kept.push_back(rest);
          if (kept.size() > kCancelledKept) kept.erase(kept.begin());
        }
        range.requesters.clear();
        const bool whole = std::all_of(active.ranges.begin(), active.ranges.end(),
                                       [](const Range& r) { return r.done(); });
        if (!whole) {
          fill(now);
          return Arrival::store;
        }
        active.all_arrived = true;
        finish_chunk_clock(active, now);
        for (const NodeId owner : active.owners) --peers_.at(owner).chunks;
        active.owners.clear();
        fill(now);
        return Arrival::store_and_last;
      }
    }
  }
  for (const ChunkRange& range : peer.cancelled) {
    if (range.chunk == data.chunk && data.offset >= range.offset && data.end() <= range.end()) {
      bytes_duplicate_ += data.length;
      return Arrival::duplicate;
    }
  }
  drop(id, data.chunk, "sent bytes that nobody asked for", now);
  return Arrival::unsolicited;
}

void Download::on_chunk_verified(ChunkIndex chunk, Time now) {
  const auto found = active_.find(chunk);
  P2P_CHECK(found != active_.end() && found->second.all_arrived);
  active_.erase(found);
  have_.set(chunk.value);
  bytes_have_ += space_.data_bytes_of(chunk);
  fill(now);
}

void Download::on_chunk_corrupt(ChunkIndex chunk, Time now) {
  const auto found = active_.find(chunk);
  P2P_CHECK(found != active_.end() && found->second.all_arrived);
  const std::vector<NodeId> contributors = found->second.contributors;
  active_.erase(found);
  picker_.set_wanted(chunk, true);
  alone_.set(chunk.value);
  if (contributors.size() == 1) drop(contributors.front(), chunk, "sent a wrong chunk", now);
  fill(now);
}

void Download::on_tick(Time now) {
  std::vector<NodeId> stalled;
  for (const auto& [id, peer] : peers_) {
    if (peer.chunks > 0 && now - peer.last_progress >= settings_.stall_after) stalled.push_back(id);
  }
  for (const NodeId id : stalled) pass_over(id, peers_.at(id), now);
  fill(now);
}

void Download::set_rate(std::optional<std::uint64_t> rate, Time now) {
  if (!rate) {
    bucket_.reset();
  } else {
    // 50 ms of the rate, but never less than one request: or none would ever be paid for.
    const std::uint64_t burst = std::max<std::uint64_t>(*rate / 20, wire_bytes(request_bytes_));
    if (bucket_) {
      bucket_->set_rate(std::max<std::uint64_t>(*rate, 1), burst, now);
    } else {
      bucket_.emplace(std::max<std::uint64_t>(*rate, 1), burst);
    }
  }
  fill(now);
}

void Download::set_accepting(bool accepting, Time now) {
  accepting_ = accepting;
  if (accepting) fill(now);
}

std::vector<Download::Effect> Download::take_effects() {
  return std::exchange(effects_, {});
}

Time Download::next_deadline() const {
  Time next = wait_for_tokens_;
  for (const auto& [id, peer] : peers_) {
    if (peer.chunks > 0) next = std::min(next, peer.last_progress + settings_.stall_after);
    if (peer.passed_over_until != Time{}) next = std::min(next, peer.passed_over_until);
  }
  if (picker_.wanted_count() == 0) {
    for (const auto& [chunk, active] : active_) {
      if (active.all_arrived || active.owners.size() > 1) continue;
      next = std::min(next, active.started + std::max(settings_.hedge_at_least,
                                                      settings_.hedge_factor * usual_chunk_time_));
    }
  }
  return next;
}

bool Download::may_ask(const Peer& peer, Time now) const {
  return peer.passed_over_until <= now && peer.chunks < settings_.chunks_from_one_peer;
}

void Download::fill(Time now) {
  for (auto& [id, peer] : peers_) {
    if (peer.passed_over_until != Time{} && peer.passed_over_until <= now) {
      peer.passed_over_until = Time{};
    }
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
    const auto chunk = picker_.pick(peer.have);
    if (!chunk) continue;
    // What relays have too is fetched from them, as long as there are any to ask.
    if (picker_.holders(*chunk) > 1 && most == 1 && busy > 0) continue;
    return start(id, peer, *chunk, now);
  }
  return false;
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
  if (peer.chunks++ == 0) peer.last_progress = now;
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
      const ChunkRange rest{chunk, range.offset + range.arrived, range.length - range.arrived};
      if (!paid_for(rest.length, now)) return;
      range.requesters.push_back({active.owners.front(), rest.offset});
      effects_.push_back(SendRequest{active.owners.front(), rest});
    }
  }
}

// Nothing is left to start: ask a second holder for the rest of the slowest chunk when it is late.
bool Download::hedge(Time now) {
  if (picker_.wanted_count() > 0) return false;
  const Duration late =
      std::max(settings_.hedge_at_least, settings_.hedge_factor * usual_chunk_time_);
  for (auto& [chunk, active] : active_) {
    if (active.all_arrived || active.owners.size() != 1 || alone_.test(chunk.value)) continue;
    if (now - active.started < late) continue;
    for (auto& [id, peer] : peers_) {
      if (id == active.owners.front() || !peer.have.test(chunk.value) || peer.chunks > 0) continue;
      if (!may_ask(peer, now)) continue;
      peer.chunks++;
      peer.last_progress = now;
      active.owners.push_back(id);
      for (Range& range : active.ranges) {
        if (range.done()) continue;
        const ChunkRange rest{chunk, range.offset + range.arrived, range.length - range.arrived};
        if (!paid_for(rest.length, now)) continue;
        range.requesters.push_back({id, rest.offset});
        effects_.push_back(SendRequest{id, rest});
      }
      return true;
    }
  }
  return false;
}

// The peer no longer fetches this chunk for us; what it has sent of it stays.
void Download::release(NodeId id, Active& active, ChunkIndex chunk, bool tell_peer) {
  Peer& peer = peers_.at(id);
  for (Range& range : active.ranges) {
    for (auto it = range.requesters.begin(); it != range.requesters.end();) {
      if (it->peer != id) {
        ++it;
        continue;
      }
      const ChunkRange rest{chunk, it->next, range.offset + range.length - it->next};
      if (tell_peer && rest.length > 0) {
        effects_.push_back(SendCancel{id, rest});
        peer.cancelled.push_back(rest);
        if (peer.cancelled.size() > kCancelledKept) peer.cancelled.erase(peer.cancelled.begin());
      }
      it = range.requesters.erase(it);
    }
  }
  std::erase(active.owners, id);
  --peer.chunks;
}

// A chunk that nobody fetches any more is free again; ranges that arrived of it are fetched anew,
// from one peer, which keeps the blame for a wrong chunk simple.
void Download::give_up_if_orphaned(ChunkIndex chunk) {
  const auto found = active_.find(chunk);
  if (found == active_.end() || found->second.all_arrived || !found->second.owners.empty()) return;
  active_.erase(found);
  picker_.set_wanted(chunk, true);
}

void Download::pass_over(NodeId id, Peer& peer, Time now) {
  peer.passed_over_until = now + settings_.forgive_after;
  std::vector<ChunkIndex> owned;
  for (auto& [chunk, active] : active_) {
    if (!contains(active.owners, id)) continue;
    release(id, active, chunk, /*tell_peer=*/true);
    owned.push_back(chunk);
  }
  for (const ChunkIndex chunk : owned) give_up_if_orphaned(chunk);
}

void Download::drop(NodeId id, ChunkIndex chunk, std::string reason, Time now) {
  if (!peers_.contains(id)) return;
  effects_.push_back(DropPeer{id, chunk, std::move(reason)});
  on_peer_left(id, now);
}

bool Download::paid_for(std::uint32_t bytes, Time now) {
  if (!bucket_ || bucket_->try_take(wire_bytes(bytes), now)) return true;
  wait_for_tokens_ = std::min(wait_for_tokens_, bucket_->ready_at(wire_bytes(bytes), now));
  return false;
}

// Exponential average over about eight chunks.
void Download::finish_chunk_clock(const Active& active, Time now) {
  const Duration took = now - active.started;
  usual_chunk_time_ = usual_chunk_time_ == Duration{0} ? took : (7 * usual_chunk_time_ + took) / 8;
}

void Download::check_invariants() const {
  std::map<NodeId, std::uint32_t> owned;
  for (const auto& [chunk, active] : active_) {
    P2P_CHECK(!have_.test(chunk.value));
    P2P_CHECK(!picker_.is_wanted(chunk));
    P2P_CHECK(active.all_arrived || !active.owners.empty());
    for (const NodeId owner : active.owners) ++owned[owner];
    for (const Range& range : active.ranges) {
      P2P_CHECK(range.arrived <= range.length);
      for (const Requester& requester : range.requesters)
        P2P_CHECK(peers_.contains(requester.peer));
    }
  }
  for (const auto& [id, peer] : peers_) P2P_CHECK(peer.chunks == owned[id]);
  for (std::uint32_t i = 0; i < space_.count(); ++i) {
    P2P_CHECK(have_.test(i) + picker_.is_wanted(ChunkIndex{i}) + active_.contains(ChunkIndex{i}) ==
              1);
  }
}

}  // namespace p2p
