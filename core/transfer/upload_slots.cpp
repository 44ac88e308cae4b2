#include "core/transfer/upload_slots.h"

#include <algorithm>
#include <optional>
#include <tuple>
#include <utility>

namespace p2p {

void UploadSlots::set_far(NodeId id) {
  Peer& peer = peers_[id];
  if (peer.far) return;
  peer.far = true;
  ++far_peers_;
  far_chunks_ += peer.chunks;
}

void UploadSlots::on_have(NodeId id, const SpaceKey& space) {
  peers_[id].has_some_of.insert(space);
}

bool UploadSlots::on_request(NodeId id, const SpaceKey& space, const ChunkRange& range,
                             bool offered, std::vector<ByteRange> pieces) {
  Peer& peer = peers_[id];
  if (peer.queue.size() >= settings_.queued_requests ||
      peer.queued_bytes + range.length > settings_.queued_bytes ||
      peer.queued_pieces + pieces.size() > settings_.queued_pieces) {
    return false;
  }
  if (peer.arrived == 0) peer.arrived = ++arrivals_;
  peer.queued_bytes += range.length;
  peer.queued_pieces += pieces.size();
  peer.queue.push_back({space, range, offered, std::move(pieces)});
  queue_changed(id, peer);
  return true;
}

template <class Which>
void UploadSlots::forget_requests(Peer& peer, Which which) {
  std::erase_if(peer.queue, [&](const Request& request) {
    if (!which(request)) return false;
    peer.queued_bytes -= request.range.length;
    peer.queued_pieces -= request.pieces.size();
    return true;
  });
}

// Counts the peer's chunks anew and enters it where it belongs.
void UploadSlots::queue_changed(NodeId id, Peer& peer) {
  chunks_ -= peer.chunks;
  if (peer.far) far_chunks_ -= peer.chunks;
  peer.chunks = peer.has_slot ? 1 : 0;
  std::optional<Chunk> last;
  if (peer.has_slot) last = peer.current;
  for (const Request& request : peer.queue) {
    if (request.chunk() == last) continue;
    last = request.chunk();
    ++peer.chunks;
  }
  chunks_ += peer.chunks;
  if (peer.far) far_chunks_ += peer.chunks;
  if (peer.queue.empty() || peer.has_slot || peer.stuck) {
    waiting_.erase(id);
  } else {
    waiting_[id] = &peer;
  }
}

bool UploadSlots::busy_for(NodeId id, const SpaceKey& space, ChunkIndex chunk) const {
  const auto found = peers_.find(id);
  if (found != peers_.end()) {
    const Chunk wanted{space, chunk};
    const Peer& peer = found->second;
    if (peer.has_slot && peer.current == wanted) return false;
    const auto asked_for = [&](const Request& request) { return request.chunk() == wanted; };
    if (std::any_of(peer.queue.begin(), peer.queue.end(), asked_for)) return false;
    if (peer.far) return far_chunks_ >= settings_.busy_chunks;
  }
  const bool hungry = found == peers_.end() || !found->second.has_some_of.contains(space);
  return chunks_ - far_chunks_ >=
         settings_.busy_chunks * (hungry ? settings_.times_for_one_with_nothing : 1);
}

bool UploadSlots::all_granted(NodeId id, const SpaceKey& space, ChunkIndex chunk) const {
  const auto found = peers_.find(id);
  if (found == peers_.end()) return true;
  const auto& queue = found->second.queue;
  return std::none_of(queue.begin(), queue.end(), [&](const Request& request) {
    return request.space == space && request.range.chunk == chunk;
  });
}

void UploadSlots::on_cancel(NodeId id, const SpaceKey& space, const ChunkRange& range) {
  const auto found = peers_.find(id);
  if (found == peers_.end()) return;
  Peer& peer = found->second;
  forget_requests(peer, [&](const Request& request) {
    return request.space == space && request.range.chunk == range.chunk &&
           request.range.of_run == range.of_run && request.range.offset >= range.offset &&
           request.range.offset < range.end();
  });
  queue_changed(id, peer);
}

void UploadSlots::on_sent(NodeId id, std::uint32_t bytes, Time now) {
  const auto found = peers_.find(id);
  if (found == peers_.end()) return;
  Peer& peer = found->second;
  peer.granted -= std::min<std::uint64_t>(peer.granted, bytes);
  peer.last_sent = now;
  if (peer.stuck && peer.granted <= settings_.low_bytes) {
    peer.stuck = false;
    queue_changed(id, peer);
  }
}

void UploadSlots::on_peer_left(NodeId id) {
  const auto found = peers_.find(id);
  if (found == peers_.end()) return;
  chunks_ -= found->second.chunks;
  if (found->second.far) {
    --far_peers_;
    far_chunks_ -= found->second.chunks;
  }
  served_.erase(id);
  waiting_.erase(id);
  peers_.erase(found);
}

std::vector<UploadSlots::Grant> UploadSlots::on_peer_denied(NodeId id, const ContentId& content) {
  std::vector<Grant> refused;
  const auto found = peers_.find(id);
  if (found == peers_.end()) return refused;
  Peer& peer = found->second;
  forget_requests(peer, [&](const Request& request) {
    if (request.space.content != content) return false;
    refused.push_back({id, request.space, request.range, {}});
    return true;
  });
  queue_changed(id, peer);
  return refused;
}

std::vector<UploadSlots::Grant> UploadSlots::on_space_closed(const SpaceKey& space) {
  std::vector<Grant> refused;
  for (auto& [id, peer] : peers_) {
    // Captured by another name: clang 14 does not capture structured bindings.
    forget_requests(peer, [&, asker = id](const Request& request) {
      if (request.space != space) return false;
      refused.push_back({asker, request.space, request.range, {}});
      return true;
    });
    peer.has_some_of.erase(space);
    queue_changed(id, peer);
  }
  std::erase_if(times_sent_, [&](const auto& entry) { return entry.first.first == space; });
  return refused;
}

std::size_t UploadSlots::queued() const {
  std::size_t count = 0;
  for (const auto& [id, peer] : peers_) count += peer.queue.size();
  return count;
}

// A free slot goes to the peer whose next chunk this node has sent least often, as far as that
// matters (a chunk that is not out yet comes before a second copy of another), among equals to the
// one served longest ago; before all of them, to one in another rack, until such peers have half of
// the slots.
void UploadSlots::give_slots(Time now) {
  const auto has_nothing = [](const auto& entry) {
    const Peer& peer = *entry.second;
    return peer.current && !peer.has_some_of.contains(peer.current->first);
  };
  while (served_.size() < settings_.slots && !waiting_.empty()) {
    // While peers that have nothing are served, fewer share the uplink: each can give the sooner.
    if (served_.size() >= settings_.slots_at_first &&
        std::any_of(served_.begin(), served_.end(), has_nothing)) {
      return;
    }
    auto best = waiting_.end();
    const auto far_served = std::count_if(served_.begin(), served_.end(),
                                          [](const auto& entry) { return entry.second->far; });
    const bool far_goes_first = 2 * far_served < static_cast<std::ptrdiff_t>(settings_.slots);
    std::optional<std::tuple<bool, bool, bool, std::uint32_t, std::uint64_t, std::uint64_t>>
        best_rank;
    for (auto it = waiting_.begin(); it != waiting_.end(); ++it) {
      const Request& next = it->second->queue.front();
      const auto count = times_sent_.find(next.chunk());
      const bool far_first = far_goes_first && it->second->far && !next.offered;
      const std::tuple rank{
          !next.space.body,
          !far_first,
          it->second->has_some_of.contains(next.space),
          count == times_sent_.end() ? 0u : std::min(count->second, settings_.times_sent_matter),
          it->second->last_turn,
          it->second->arrived};
      if (best_rank && rank >= *best_rank) continue;
      best = it;
      best_rank = rank;
    }
    const auto [id, peer] = *best;
    const Chunk chunk = peer->queue.front().chunk();
    if (peer->current != chunk) ++times_sent_[chunk];
    peer->current = chunk;
    peer->has_slot = true;
    peer->last_turn = ++turn_;
    peer->last_sent = now;
    served_[id] = peer;
    queue_changed(id, *peer);
  }
}

void UploadSlots::free_slot(NodeId id, Peer& peer) {
  peer.has_slot = false;
  served_.erase(id);
  queue_changed(id, peer);
}

void UploadSlots::grant(NodeId id, Peer& peer, std::vector<Grant>& grants) {
  const std::size_t before = peer.queue.size();
  while (!peer.queue.empty() && peer.queue.front().chunk() == peer.current &&
         peer.granted < settings_.granted_bytes) {
    Request& request = peer.queue.front();
    peer.queued_bytes -= request.range.length;
    peer.queued_pieces -= request.pieces.size();
    peer.granted += request.range.length;
    grants.push_back({id, request.space, request.range, std::move(request.pieces)});
    peer.queue.pop_front();
  }
  if (peer.queue.size() != before) queue_changed(id, peer);
}

std::vector<UploadSlots::Grant> UploadSlots::take_grants(Time now) {
  std::vector<Grant> grants;
  for (bool again = true; again;) {
    again = false;
    give_slots(now);
    for (auto it = served_.begin(); it != served_.end();) {
      const auto [id, served] = *it++;
      Peer& peer = *served;
      grant(id, peer, grants);
      const bool chunk_granted = peer.queue.empty() || peer.queue.front().chunk() != peer.current;
      const Duration patience =
          peer.far && !waiting_.empty() ? settings_.far_stuck_after : settings_.stuck_after;
      const bool stuck = peer.granted > 0 && now - peer.last_sent >= patience;
      if (chunk_granted && peer.granted <= settings_.low_bytes) {
        free_slot(id, peer);
        again = true;
      } else if (stuck) {
        peer.stuck = true;
        free_slot(id, peer);
        again = true;
      }
    }
  }
  return grants;
}

Time UploadSlots::next_deadline() const {
  Time next = Time::max();
  for (const auto& [id, peer] : served_) {
    if (peer->granted > 0) next = std::min(next, peer->last_sent + settings_.stuck_after);
  }
  return next;
}

}  // namespace p2p
