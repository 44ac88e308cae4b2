#include "core/transfer/upload_slots.h"

#include <algorithm>
#include <optional>
#include <tuple>

namespace p2p {

bool UploadSlots::on_request(NodeId id, const SpaceKey& space, const ChunkRange& range) {
  Peer& peer = peers_[id];
  if (peer.queue.size() >= settings_.queued_requests ||
      peer.queued_bytes + range.length > settings_.queued_bytes) {
    return false;
  }
  peer.queue.push_back({space, range});
  peer.queued_bytes += range.length;
  return true;
}

bool UploadSlots::busy_for(NodeId id, const SpaceKey& space, ChunkIndex chunk) const {
  const Chunk wanted{space, chunk};
  std::uint32_t chunks = 0;
  for (const auto& [peer_id, peer] : peers_) {
    std::optional<Chunk> last;
    if (peer.has_slot) last = peer.current;
    if (peer_id == id && last == wanted) return false;
    chunks += last ? 1 : 0;
    for (const Request& request : peer.queue) {
      if (request.chunk() == last) continue;
      last = request.chunk();
      if (peer_id == id && last == wanted) return false;
      ++chunks;
    }
  }
  return chunks >= (peers_.size() <= settings_.few_peers ? settings_.busy_chunks_of_few
                                                         : settings_.busy_chunks);
}

void UploadSlots::on_cancel(NodeId id, const SpaceKey& space, const ChunkRange& range) {
  const auto found = peers_.find(id);
  if (found == peers_.end()) return;
  Peer& peer = found->second;
  std::erase_if(peer.queue, [&](const Request& request) {
    const bool hit = request.space == space && request.range.chunk == range.chunk &&
                     request.range.offset >= range.offset && request.range.offset < range.end();
    if (hit) peer.queued_bytes -= request.range.length;
    return hit;
  });
}

void UploadSlots::on_sent(NodeId id, std::uint32_t bytes, Time now) {
  const auto found = peers_.find(id);
  if (found == peers_.end()) return;
  Peer& peer = found->second;
  peer.granted -= std::min<std::uint64_t>(peer.granted, bytes);
  peer.last_sent = now;
  if (peer.granted <= settings_.low_bytes) peer.stuck = false;
}

void UploadSlots::on_peer_left(NodeId id) {
  const auto found = peers_.find(id);
  if (found == peers_.end()) return;
  if (found->second.has_slot) --slots_used_;
  peers_.erase(found);
}

std::vector<UploadSlots::Grant> UploadSlots::on_space_closed(const SpaceKey& space) {
  std::vector<Grant> refused;
  for (auto& [id, peer] : peers_) {
    std::erase_if(peer.queue, [&](const Request& request) {
      if (request.space != space) return false;
      peer.queued_bytes -= request.range.length;
      refused.push_back({id, request.space, request.range});
      return true;
    });
  }
  std::erase_if(times_sent_, [&](const auto& entry) { return entry.first.first == space; });
  return refused;
}

std::size_t UploadSlots::queued() const {
  std::size_t count = 0;
  for (const auto& [id, peer] : peers_) count += peer.queue.size();
  return count;
}

// A free slot goes to the peer whose next chunk this node has sent least often (a chunk that is not
// out yet comes before a second copy of another), among equals to the one served longest ago.
void UploadSlots::give_slots(Time now) {
  while (slots_used_ < settings_.slots) {
    Peer* best = nullptr;
    std::optional<std::tuple<bool, std::uint32_t, std::uint64_t>> best_rank;
    for (auto& [id, peer] : peers_) {
      if (peer.has_slot || peer.stuck || peer.queue.empty()) continue;
      const Request& next = peer.queue.front();
      const auto count = times_sent_.find(next.chunk());
      const std::tuple rank{!next.space.body, count == times_sent_.end() ? 0u : count->second,
                            peer.last_turn};
      if (best_rank && rank >= *best_rank) continue;
      best = &peer;
      best_rank = rank;
    }
    if (best == nullptr) return;
    const Chunk chunk = best->queue.front().chunk();
    if (best->current != chunk) ++times_sent_[chunk];
    best->current = chunk;
    best->has_slot = true;
    best->last_turn = ++turn_;
    best->last_sent = now;
    ++slots_used_;
  }
}

void UploadSlots::free_slot(Peer& peer) {
  peer.has_slot = false;
  --slots_used_;
}

void UploadSlots::grant(NodeId id, Peer& peer, std::vector<Grant>& grants) {
  while (!peer.queue.empty() && peer.queue.front().chunk() == peer.current &&
         peer.granted < settings_.granted_bytes) {
    const Request& request = peer.queue.front();
    peer.queued_bytes -= request.range.length;
    peer.granted += request.range.length;
    grants.push_back({id, request.space, request.range});
    peer.queue.pop_front();
  }
}

std::vector<UploadSlots::Grant> UploadSlots::take_grants(Time now) {
  std::vector<Grant> grants;
  for (bool again = true; again;) {
    again = false;
    give_slots(now);
    for (auto& [id, peer] : peers_) {
      if (!peer.has_slot) continue;
      grant(id, peer, grants);
      const bool chunk_granted = peer.queue.empty() || peer.queue.front().chunk() != peer.current;
      if (chunk_granted && peer.granted <= settings_.low_bytes) {
        free_slot(peer);
        again = true;
      } else if (peer.granted > 0 && now - peer.last_sent >= settings_.stuck_after) {
        peer.stuck = true;
        free_slot(peer);
        again = true;
      }
    }
  }
  return grants;
}

Time UploadSlots::next_deadline() const {
  Time next = Time::max();
  for (const auto& [id, peer] : peers_) {
    if (peer.has_slot && peer.granted > 0) {
      next = std::min(next, peer.last_sent + settings_.stuck_after);
    }
  }
  return next;
}

}  // namespace p2p
