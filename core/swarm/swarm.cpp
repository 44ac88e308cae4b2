#include "core/swarm/swarm.h"

#include <algorithm>

namespace p2p {

void Swarm::on_holder(NodeId node, Holder holder) {
  on_gone(node);
  seeds_ += holder.complete ? 1 : 0;
  holders_[node] = std::move(holder);
}

void Swarm::on_gone(NodeId node) {
  const auto found = holders_.find(node);
  if (found == holders_.end()) return;
  seeds_ -= found->second.complete ? 1 : 0;
  holders_.erase(found);
}

std::vector<Swarm::Member> Swarm::handout(NodeId node, const HandoutRules& rules, Rng& rng) const {
  std::vector<Member> seeds;
  std::vector<Member> others;
  for (const auto& [id, holder] : holders_) {
    if (id == node) continue;
    (holder.complete ? seeds : others).push_back({id, holder.complete});
  }
  for (const NodeId id : wants_) {
    if (id != node && !holders_.contains(id)) others.push_back({id, false});
  }
  if (seeds.size() > rules.seeds) {
    rng.shuffle(seeds);
    seeds.resize(rules.seeds);
  }
  rng.shuffle(others);
  if (seeds.size() + others.size() > rules.full_mesh) {
    others.resize(std::min(others.size(), rules.sample));
  }
  seeds.insert(seeds.end(), others.begin(), others.end());
  return seeds;
}

}  // namespace p2p
