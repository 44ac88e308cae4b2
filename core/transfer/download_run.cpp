// What a Download does about chunks that an old file has the most of.
#include <utility>

#include "core/base/check.h"
#include "core/transfer/download.h"

namespace p2p {

void Download::shorten(ChunkIndex chunk, std::vector<std::uint32_t> requests) {
  P2P_CHECK(may_be_shortened(chunk));
  if (requests.empty()) {
    shortened_.erase(chunk);
  } else {
    shortened_[chunk] = std::move(requests);
  }
}

std::vector<NodeId> Download::on_run_wrong(ChunkIndex chunk, Time now) {
  const auto found = active_.find(chunk);
  P2P_CHECK(found != active_.end() && found->second.all_arrived && found->second.of_run);
  std::vector<NodeId> contributors = std::move(found->second.contributors);
  active_.erase(found);
  shortened_.erase(chunk);
  again_.insert(chunk);
  --being_verified_;
  held_back_.set(chunk.value);
  fill(now);
  return contributors;
}

bool Download::start_again(Time now) {
  if (again_.empty() || offering_.empty() || under_way() > slots_) return false;
  const PeerSet able = offering_ - busy_ - passed_over_;
  for (const ChunkIndex chunk : again_) {
    if (!picker_.is_wanted(chunk) || relay_offers(chunk)) continue;
    for (PeerSlot slot = able.find(0); slot < kPeerSlots; slot = able.find(slot + 1)) {
      Peer& peer = *peer_in_[slot];
      if (!may_ask(peer) || !peer.have.test(chunk.value) || !may_fetch(peer, chunk)) continue;
      return start(peer_at_[slot], peer, chunk, now);
    }
  }
  return false;
}

std::optional<NodeId> Download::any_holder(ChunkIndex chunk) {
  PeerSet holders;
  for (PeerSlot slot = slots_used_.find(0); slot < kPeerSlots; slot = slots_used_.find(slot + 1)) {
    if (peer_in_[slot]->have.test(chunk.value)) holders.insert(slot);
  }
  if (holders.empty()) return std::nullopt;
  return peer_at_[picker_.random_one(holders)];
}

}  // namespace p2p
