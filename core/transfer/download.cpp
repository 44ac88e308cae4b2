#include "core/transfer/download.h"

#include <algorithm>
#include <utility>

#include "core/base/check.h"

namespace p2p {
namespace {

constexpr std::size_t kCancelledKept = 64;
// Smaller requests are paid for more evenly.
constexpr std::uint32_t kRequestsWithCap = 4;
template <class T>
bool contains(const std::vector<T>& items, const T& item) {
  return std::find(items.begin(), items.end(), item) != items.end();
}

}  // namespace

std::uint32_t request_bytes_for(std::uint32_t chunk_bytes, std::uint32_t parts) {
  return std::clamp<std::uint32_t>(chunk_bytes / parts, 64 * 1024, 1024 * 1024);
}

Download::Download(const ChunkSpace& space, const DownloadSettings& settings, Rng rng)
    : space_(space),
      settings_(settings),
      slots_(std::clamp(settings.bytes_in_flight / space.chunk_bytes(),
                        settings.chunks_in_flight_min, settings.chunks_in_flight_max)),
      request_bytes_(request_bytes_for(space.chunk_bytes(), settings.requests_for_a_chunk)),
      picker_(space.count(), rng),
      have_(space.count()),
      held_back_(space.count()),
      alone_(space.count()),
      peer_at_(kPeerSlots),
      peer_in_(kPeerSlots),
      by_load_(settings.chunks_from_one_peer + 1) {}

void Download::on_restored(ChunkIndex chunk) {
  P2P_CHECK(!active_.contains(chunk));
  if (!have_.set(chunk.value)) return;
  held_back_.reset(chunk.value);
  shortened_.erase(chunk);
  again_.erase(chunk);
  picker_.set_wanted(chunk, false);
  bytes_have_ += space_.data_bytes_of(chunk);
}

void Download::hold_back(ChunkIndex chunk) {
  P2P_CHECK(picker_.is_wanted(chunk));
  held_back_.set(chunk.value);
  picker_.set_wanted(chunk, false);
}

void Download::release(ChunkIndex chunk, Time now) {
  if (!held_back_.reset(chunk.value)) return;
  picker_.set_wanted(chunk, true);
  fill(now);
}

void Download::on_lost(ChunkIndex chunk, Time now) {
  if (!have_.reset(chunk.value)) return;
  bytes_have_ -= space_.data_bytes_of(chunk);
  picker_.set_wanted(chunk, true);
  rack_version_ = 0;
  fill(now);
}

std::uint32_t Download::chunks_without_holder() const {
  std::uint32_t count = 0;
  for (std::uint32_t i = have_.find(0, false); i < space_.count(); i = have_.find(i + 1, false)) {
    const ChunkIndex chunk{i};
    if (!picker_.is_wanted(chunk) || picker_.holders(chunk) > 0) continue;
    // In another rack it can be fetched from, by us or by others of ours.
    const bool far = std::any_of(peers_.begin(), peers_.end(), [&](const auto& entry) {
      return entry.second.far && entry.second.have.test(chunk.value);
    });
    count += far ? 0 : 1;
  }
  return count;
}

void Download::on_peer_joined(NodeId id, Time now, bool offers, bool far) {
  if (!peers_.contains(id)) {
    const PeerSlot slot = slots_used_.first_free();
    if (slot == kPeerSlots) return;
    Peer& newcomer = peers_[id];
    newcomer.slot = slot;
    newcomer.have = Bitfield(space_.count());
    peer_at_[slot] = id;
    peer_in_[slot] = &newcomer;
    slots_used_.insert(slot);
    by_load_.front().insert(slot);
    newcomer.far = far && rack_.has_value();
    far_.put(slot, newcomer.far);
    if (rack_ && !far) rack_->on_member_back(id, now);
  }
  Peer& peer = peers_.at(id);
  peer.offers = offers;
  offering_.put(peer.slot, offers);
  peer.last_offer = now;
  if (offers) wake_at(now + settings_.offers_overdue);
}

void Download::on_peer_left(NodeId id, Time now) {
  const auto found = peers_.find(id);
  if (found == peers_.end()) return;
  for (std::uint32_t i = found->second.have.find(0, true); i < space_.count();
       i = found->second.have.find(i + 1, true)) {
    picker_.remove_holder(ChunkIndex{i}, found->second.slot);
  }
  std::vector<ChunkIndex> owned;
  for (auto& [chunk, active] : active_) {
    if (!contains(active.owners, id)) continue;
    release(id, active, chunk, /*tell_peer=*/false);
    owned.push_back(chunk);
  }
  for (PeerSet* set :
       {&slots_used_, &origins_, &offering_, &busy_, &passed_over_, &slow_, &far_, &replaced_}) {
    set->erase(found->second.slot);
  }
  for (PeerSet& load : by_load_) load.erase(found->second.slot);
  peers_.erase(found);
  if (rack_) {
    rack_->on_member_gone(id, now);
    rack_version_ = 0;
  }
  for (const ChunkIndex chunk : owned) give_up_if_orphaned(chunk);
  fill(now);
}

void Download::on_have(NodeId id, const std::vector<ChunkRun>& runs, Time now) {
  const auto found = peers_.find(id);
  if (found == peers_.end()) return;
  found->second.unheard = false;
  const bool news = found->second.have.none();
  std::uint64_t told = 0;
  for (const ChunkRun& run : runs) {
    told += run.count;
    // Nobody says the same twice in one HAVE: a few bytes could cost us hours.
    if (told > space_.count() || run.first > space_.count() ||
        run.count > space_.count() - run.first) {
      drop(id, ChunkIndex{run.first}, "announced chunks that the file does not have", now);
      return;
    }
    for (std::uint32_t i = run.first; i < run.first + run.count; ++i) {
      if (found->second.have.set(i)) note_holder(id, found->second, ChunkIndex{i}, now);
    }
  }
  if (news && found->second.have.all()) origins_.insert(found->second.slot);
  fill(now);
}

void Download::on_offer(NodeId id, std::optional<ChunkIndex> chunk, Time now) {
  const auto found = peers_.find(id);
  if (found == peers_.end()) return;
  Peer& peer = found->second;
  peer.unheard = false;
  peer.last_offer = now;
  wake_at(now + settings_.offers_overdue);
  if (!chunk) {
    peer.offers = false;
    offering_.erase(peer.slot);
    origins_.erase(peer.slot);
    return fill(now);
  }
  if (chunk->value >= space_.count()) {
    return drop(id, *chunk, "offered a chunk that the file does not have", now);
  }
  if (peer.have.set(chunk->value)) note_holder(id, peer, *chunk, now);
  // What was offered has a slot of its own: an idle moment of the seed costs the whole swarm.
  const bool affordable = wait_for_tokens_ == Time::max();
  if (accepting_ && affordable && picker_.is_wanted(*chunk) && may_fetch(peer, *chunk)) {
    start(id, peer, *chunk, now);
    fill(now);
  } else {
    effects_.push_back(SendDecline{id, *chunk});
  }
}

void Download::on_refused(NodeId id, const ChunkRange& range, Time now) {
  const auto found = peers_.find(id);
  const auto active = active_.find(range.chunk);
  if (found == peers_.end()) return;
  found->second.unheard = false;
  if (active == active_.end() || !contains(active->second.owners, id)) return;
  if (found->second.have.reset(range.chunk.value)) {
    picker_.remove_holder(range.chunk, found->second.slot);
  }
  release(id, active->second, range.chunk, /*tell_peer=*/true);
  give_up_if_orphaned(range.chunk);
  fill(now);
}

void Download::on_busy(NodeId id, const ChunkRange& range, Time now) {
  const auto found = peers_.find(id);
  const auto active = active_.find(range.chunk);
  if (found == peers_.end()) return;
  found->second.unheard = false;
  if (active == active_.end() || !contains(active->second.owners, id)) return;
  Peer& peer = found->second;
  peer.busy_until = now + settings_.busy_pause * (1 << std::min(peer.busy_times, 1));
  ++peer.busy_times;
  busy_.insert(peer.slot);
  wake_at(peer.busy_until);
  // What it has sent away need not be cancelled. Its other ranges may have been accepted meanwhile:
  // they are cancelled, and tolerated.
  for (Range& asked : active->second.ranges) {
    if (asked.offset != range.offset && asked.offset + asked.arrived != range.offset) continue;
    if (std::erase_if(asked.requesters, [&](const Requester& r) { return r.peer == id; }) > 0) {
      --peer.requests;
    }
  }
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
  peer.unheard = false;
  const bool was_passed_over = std::exchange(peer.passed_over_until, Time{}) != Time{};
  if (was_passed_over) passed_over_.erase(peer.slot);

  const auto entry = active_.find(data.chunk);
  if (entry != active_.end() && entry->second.of_run == data.of_run) {
    for (Range& range : entry->second.ranges) {
      if (data.offset < range.offset || data.end() > range.offset + range.length) continue;
      for (Requester& requester : range.requesters) {
        if (requester.peer != id || requester.next != data.offset) continue;
        // The rest of a block could be asked of nobody else.
        if (!data.of_run && data.end() % kBlockBytes != 0 &&
            data.end() != range.offset + range.length) {
          drop(id, data.chunk, "sent a part of a block", now);
          return Arrival::unsolicited;
        }
        requester.next = data.end();
        const bool answered = requester.next == range.offset + range.length;
        if (answered) --peer.requests;
        if (data.offset != range.offset + range.arrived) {
          bytes_duplicate_ += data.length;
          if (answered) {
            // It was ahead of or behind what is here: the rest has to be asked for again.
            std::erase_if(range.requesters, [&](const Requester& r) { return r.peer == id; });
            unrequested_ = true;
            fill(now);
          }
          return Arrival::duplicate;
        }
        range.arrived += data.length;
        Active& active = entry->second;
        if (!contains(active.contributors, id)) active.contributors.push_back(id);
        if (!range.done()) return Arrival::store;
        // The slower ones of a hedged range need not go on.
        for (const Requester& other : range.requesters) {
          if (other.next >= range.offset + range.length) continue;
          cancel(other.peer,
                 {data.chunk, other.next, range.offset + range.length - other.next, active.of_run});
        }
        range.requesters.clear();
        const bool whole = std::all_of(active.ranges.begin(), active.ranges.end(),
                                       [](const Range& r) { return r.done(); });
        if (!whole) {
          fill(now);
          return Arrival::store;
        }
        active.all_arrived = true;
        ++being_verified_;
        // How long a few bytes take says nothing about chunks.
        if (!active.of_run) finish_chunk_clock(active, now);
        for (const NodeId owner : active.owners) {
          if (!active.of_run) note_chunk_time(owner, now - active.started);
          if (peers_.at(owner).busy_times > 0) --peers_.at(owner).busy_times;
          change_load(peers_.at(owner), -1);
        }
        active.owners.clear();
        fill(now);
        return Arrival::store_and_last;
      }
    }
  }
  for (const ChunkRange& range : peer.cancelled) {
    if (range.chunk == data.chunk && range.of_run == data.of_run && data.offset >= range.offset &&
        data.end() <= range.end()) {
      bytes_duplicate_ += data.length;
      if (was_passed_over) fill(now);  // it is back
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
  shortened_.erase(chunk);
  again_.erase(chunk);
  --being_verified_;
  have_.set(chunk.value);
  bytes_have_ += space_.data_bytes_of(chunk);
  if (rack_) rack_->on_have(self_, chunk, now);
  fill(now);
}

void Download::on_chunk_corrupt(ChunkIndex chunk, Time now) {
  const auto found = active_.find(chunk);
  P2P_CHECK(found != active_.end() && found->second.all_arrived);
  const std::vector<NodeId> contributors = found->second.contributors;
  active_.erase(found);
  --being_verified_;
  picker_.set_wanted(chunk, true);
  alone_.set(chunk.value);
  if (contributors.size() == 1) drop(contributors.front(), chunk, "sent a wrong chunk", now);
  fill(now);
}

void Download::on_tick(Time now) {
  std::vector<NodeId> stalled;
  const PeerSet owing = wake_ <= now ? slots_used_ - by_load_.front() : PeerSet{};
  for (PeerSlot slot = owing.find(0); slot < kPeerSlots; slot = owing.find(slot + 1)) {
    const Peer& peer = *peer_in_[slot];
    if (peer.requests > 0 && now - peer.last_progress >= settings_.stall_after) {
      stalled.push_back(peer_at_[slot]);
    }
  }
  for (const NodeId id : stalled) pass_over(id, peers_.at(id), now);
  fill(now);
}

void Download::set_rate(std::optional<std::uint64_t> rate, Time now) {
  request_bytes_ = request_bytes_for(space_.chunk_bytes(),
                                     rate ? kRequestsWithCap : settings_.requests_for_a_chunk);
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
  if (complete()) return Time::max();
  Time next = std::min(wait_for_tokens_, wake_);
  if (rack_) next = std::min(next, rack_->next_deadline());
  if (picker_.wanted_count() == 0) {
    for (const auto& [chunk, active] : active_) {
      if (active.all_arrived || active.owners.size() != 1 || alone_.test(chunk.value)) continue;
      // What was late already waits for news, not for time: there was nobody else to ask.
      if (late_from(active) > looked_at_) next = std::min(next, late_from(active));
    }
  }
  return next;
}

// What the peer has sent before it hears of it is tolerated: the range joins those of the same
// chunk that were cancelled before, so that a sparse chunk of a hundred requests takes one entry.
void Download::cancel(NodeId id, const ChunkRange& rest) {
  effects_.push_back(SendCancel{id, rest});
  Peer& peer = peers_.at(id);
  --peer.requests;
  ChunkRange all = rest;
  std::erase_if(peer.cancelled, [&](const ChunkRange& kept) {
    if (kept.chunk != rest.chunk || kept.of_run != rest.of_run) return false;
    const std::uint32_t end = std::max(all.end(), kept.end());
    all.offset = std::min(all.offset, kept.offset);
    all.length = end - all.offset;
    return true;
  });
  if (peer.cancelled.size() == kCancelledKept) peer.cancelled.erase(peer.cancelled.begin());
  peer.cancelled.push_back(all);
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
      const ChunkRange rest{chunk, it->next, range.offset + range.length - it->next, active.of_run};
      if (rest.length > 0) {
        if (tell_peer) {
          cancel(id, rest);
        } else {
          --peer.requests;
        }
      }
      it = range.requesters.erase(it);
    }
  }
  std::erase(active.owners, id);
  unrequested_ = true;
  change_load(peer, -1);
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
  if (peer.unheard) {
    const auto owed = std::find_if(active_.begin(), active_.end(), [id](const auto& item) {
      return contains(item.second.owners, id);
    });
    const ChunkIndex chunk = owed == active_.end() ? ChunkIndex{} : owed->first;
    return drop(id, chunk, "sent nothing of what it was asked for, and nothing else", now);
  }
  peer.unheard = true;
  peer.passed_over_until = now + settings_.forgive_after;
  passed_over_.insert(peer.slot);
  wake_at(peer.passed_over_until);
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

// Exponential average over about eight chunks.
void Download::finish_chunk_clock(const Active& active, Time now) {
  const Duration took = now - active.started;
  usual_chunk_time_ = usual_chunk_time_ == Duration{0} ? took : (7 * usual_chunk_time_ + took) / 8;
}

void Download::check_invariants() const {
  std::map<NodeId, std::uint32_t> owned;
  std::map<NodeId, std::uint32_t> owing;
  for (const auto& [chunk, active] : active_) {
    P2P_CHECK(!have_.test(chunk.value));
    P2P_CHECK(!picker_.is_wanted(chunk));
    P2P_CHECK(active.all_arrived || !active.owners.empty());
    for (const NodeId owner : active.owners) ++owned[owner];
    for (const Range& range : active.ranges) {
      P2P_CHECK(range.arrived <= range.length);
      for (const Requester& requester : range.requesters) {
        P2P_CHECK(contains(active.owners, requester.peer));
        if (requester.next < range.offset + range.length) ++owing[requester.peer];
      }
    }
  }
  for (const auto& [id, peer] : peers_) {
    P2P_CHECK(peer.chunks == owned[id] && peer.requests == owing[id]);
  }
  for (std::uint32_t i = 0; i < space_.count(); ++i) {
    P2P_CHECK(have_.test(i) + picker_.is_wanted(ChunkIndex{i}) + active_.contains(ChunkIndex{i}) +
                  held_back_.test(i) ==
              1);
  }
}

}  // namespace p2p
