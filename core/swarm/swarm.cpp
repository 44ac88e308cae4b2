#include "core/swarm/swarm.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

namespace p2p {

void Swarm::Pool::insert(NodeId node) {
  if (places_.emplace(node, nodes_.size()).second) nodes_.push_back(node);
}

void Swarm::Pool::erase(NodeId node) {
  const auto found = places_.find(node);
  if (found == places_.end()) return;
  const std::size_t place = found->second;
  places_.erase(found);
  if (place + 1 != nodes_.size()) {
    nodes_[place] = nodes_.back();
    places_[nodes_[place]] = place;
  }
  nodes_.pop_back();
}

std::vector<NodeId> Swarm::Pool::draw(std::size_t count, NodeId not_this, Rng& rng) const {
  std::vector<NodeId> drawn;
  if (count * 2 >= nodes_.size()) {
    drawn = nodes_;
    std::erase(drawn, not_this);
    rng.shuffle(drawn);
    drawn.resize(std::min(count, drawn.size()));
    return drawn;
  }
  // Fewer than half of them: a draw hits a new one more often than not.
  std::unordered_set<NodeId> seen{not_this};
  while (drawn.size() < count) {
    const NodeId node = nodes_[static_cast<std::size_t>(rng.below(nodes_.size()))];
    if (seen.insert(node).second) drawn.push_back(node);
  }
  return drawn;
}

void Swarm::on_holder(NodeId node, Holder holder) {
  away_.erase(node);
  holders_[node] = std::move(holder);
  settle(node);
}

void Swarm::on_gone(NodeId node) {
  away_.erase(node);
  if (holders_.erase(node) > 0) settle(node);
}

void Swarm::on_node_offline(NodeId node) {
  const auto held = holders_.find(node);
  if (held == holders_.end()) return;
  if (held->second.complete) away_.insert(node);
  holders_.erase(held);
  settle(node);
}

void Swarm::on_wants(NodeId node) {
  wants_.insert(node);
  settle(node);
}

void Swarm::on_wants_no_more(NodeId node) {
  wants_.erase(node);
  settle(node);
}

void Swarm::on_rack(NodeId node, const std::string& rack) {
  const auto known = rack_of_.find(node);
  if (known != rack_of_.end() && known->second == rack) return;
  if (known != rack_of_.end()) {
    const auto old = racks_.find(known->second);
    if (old != racks_.end()) {
      old->second.erase(node);
      if (old->second.empty()) racks_.erase(old);
    }
  }
  if (rack.empty()) {
    rack_of_.erase(node);
    return;
  }
  rack_of_[node] = rack;
  if (seeds_.contains(node) || others_.contains(node)) racks_[rack].insert(node);
}

std::vector<NodeId> Swarm::sources(std::size_t most) const {
  std::vector<NodeId> sources;
  for (const auto& [node, holder] : holders_) {
    if (sources.size() == most) break;
    if (holder.complete && !wants_.contains(node)) sources.push_back(node);
  }
  return sources;
}

// Enters the node where it belongs now.
void Swarm::settle(NodeId node) {
  const auto held = holders_.find(node);
  const bool holds = held != holders_.end();
  const bool complete = holds && held->second.complete;
  const bool member = holds || wants_.contains(node);
  seeds_.erase(node);
  others_.erase(node);
  if (complete) seeds_.insert(node);
  if (member && !complete) others_.insert(node);
  const auto rack = rack_of_.find(node);
  if (rack == rack_of_.end()) return;
  Pool& mates = racks_[rack->second];
  member ? mates.insert(node) : mates.erase(node);
  if (mates.empty()) racks_.erase(rack->second);
}

std::vector<Swarm::Member> Swarm::handout(NodeId node, const HandoutRules& rules, Rng& rng) const {
  const auto rack = rack_of_.find(node);
  const auto in_rack = [&](NodeId other) {
    if (rack == rack_of_.end()) return false;
    const auto found = rack_of_.find(other);
    return found != rack_of_.end() && found->second == rack->second;
  };
  const auto count_in = [&](const Pool& pool) { return pool.size() - pool.contains(node); };
  std::vector<Member> members;
  std::unordered_set<NodeId> told{node};
  const auto tell = [&](NodeId id, bool seed) {
    if (told.insert(id).second) members.push_back({id, seed, in_rack(id)});
  };
  const std::size_t seeds = std::min(count_in(seeds_), rules.seeds);
  for (const NodeId id : seeds_.draw(seeds, node, rng)) tell(id, true);
  if (seeds + count_in(others_) <= rules.full_mesh) {
    for (const NodeId id : others_.draw(others_.size(), node, rng)) tell(id, false);
    return members;
  }
  if (rack != rack_of_.end()) {
    const auto mates = racks_.find(rack->second);
    if (mates != racks_.end()) {
      for (const NodeId id : mates->second.draw(rules.rack_mates, node, rng)) {
        tell(id, seeds_.contains(id));
      }
    }
  }
  const std::size_t most = std::min(rules.sample, count_in(others_));
  for (const NodeId id : others_.draw(most, node, rng)) tell(id, false);
  return members;
}

}  // namespace p2p
