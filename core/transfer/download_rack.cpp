// What a Download fetches from outside of its rack.
#include <algorithm>

#include "core/transfer/download.h"

namespace p2p {

void Download::stands_in_rack(NodeId self, std::uint64_t key, const std::vector<NodeId>& members,
                              Time now) {
  self_ = self;
  if (!rack_) {
    rack_.emplace(self, key, space_.count(), RackEntrySettings{});
    ours_ = Bitfield(space_.count());
  }
  rack_->set_members(members, now);
  for (const auto& [id, peer] : peers_) {
    if (!peer.far) rack_->on_member_back(id, now);
  }
  rack_version_ = 0;
}

// Whether the peer counts as a holder: one in another rack only for chunks that this node fetches
// for its rack, and only while nobody near has them to give (a seed near by gives what it likes).
bool Download::may_fetch(const Peer& peer, ChunkIndex chunk) const {
  if (!peer.far) return true;
  return ours_.test(chunk.value) &&
         !picker_.held_by(chunk, slots_used_ - far_ - replaced_ - origins_);
}

bool Download::near_seed_offers() const {
  if (!rack_) return false;
  return std::any_of(peers_.begin(), peers_.end(),
                     [](const auto& entry) { return entry.second.offers && !entry.second.far; });
}

void Download::note_holder(NodeId id, const Peer& peer, ChunkIndex chunk, Time now) {
  if (!rack_) return picker_.add_holder(chunk, peer.slot);
  if (may_fetch(peer, chunk)) picker_.add_holder(chunk, peer.slot);
  if (peer.far) return;
  rack_->on_have(id, chunk, now);
  if (ours_.test(chunk.value)) enter_far_holders(chunk);
}

void Download::enter_far_holders(ChunkIndex chunk) {
  for (PeerSlot slot = far_.find(0); slot < kPeerSlots; slot = far_.find(slot + 1)) {
    const Peer& peer = *peer_in_[slot];
    if (peer.have.test(chunk.value) && may_fetch(peer, chunk)) {
      picker_.add_holder(chunk, slot);
    } else {
      picker_.remove_holder(chunk, slot);
    }
  }
}

// Are there other entry nodes than before? Then other chunks are ours. Costs a walk over all
// chunks, and happens when members come and go.
void Download::look_at_rack(Time now) {
  if (rack_->next_deadline() <= now) rack_->on_tick(now);
  if (rack_version_ == rack_->version()) return;
  rack_version_ = rack_->version();
  replaced_ = PeerSet{};
  for (const auto& [id, peer] : peers_) {
    if (!peer.far) replaced_.put(peer.slot, rack_->is_replaced(id, now));
  }
  for (std::uint32_t i = 0; i < space_.count(); ++i) {
    const ChunkIndex chunk{i};
    const bool was_ours = ours_.test(i);
    const bool is_ours = !have_.test(i) && rack_->is_ours(chunk);
    if (is_ours) {
      ours_.set(i);
    } else {
      ours_.reset(i);
    }
    if (was_ours || is_ours) enter_far_holders(chunk);
  }
}

}  // namespace p2p
