// Things that go wrong in a simulated fleet, and what it costs.
#include <algorithm>

#include "tests/sim/sim_node.h"

namespace p2p::sim {

void SimSwarm::slow(NodeIndex node, double factor) {
  network_.set_rates(node, {settings_.rates.up / factor, settings_.rates.down});
  nodes_[node]->sound = false;
}

void SimSwarm::dies(NodeIndex node, Duration after) {
  world_.after(after, [this, node] {
    nodes_[node]->given_up = true;
    if (!nodes_[node]->seed && !nodes_[node]->whole) --expected_;
    if (!nodes_[node]->seed && nodes_[node]->whole) {
      --expected_;
      --whole_;
    }
    go(node);
    if (nodes_[node]->seed) return;
    rollout_.set(node, Rollout::Phase::bad, WallTime{world_.now().since_start});
    give_turns();
  });
}

void SimSwarm::restarts(NodeIndex node, Duration after, Duration away, bool keeps) {
  nodes_[node]->sound = false;
  world_.after(after, [this, node, away, keeps] {
    if (nodes_[node]->whole) return;
    const Bitfield had = nodes_[node]->download->have();
    go(node);
    begin(node);
    if (keeps) {
      for (std::uint32_t i = had.find(0, true); i < had.size(); i = had.find(i + 1, true)) {
        nodes_[node]->download->on_restored(ChunkIndex{i});
      }
    }
    world_.after(away, [this, node] {
      network_.set_alive(node, true);
      start(node);
    });
  });
}

void SimSwarm::joins_late(NodeIndex node, Duration after) {
  nodes_[node]->late = after;
  nodes_[node]->sound = false;
}

void SimSwarm::stalls(NodeIndex node, Duration after, Duration lasting) {
  nodes_[node]->sound = false;
  world_.after(after, [this, node, lasting] { network_.stall(node, world_.now() + lasting); });
}

void SimSwarm::never_uploads(NodeIndex node) {
  nodes_[node]->silent = true;
}

// The process ends; its neighbours hear of it by a reset.
void SimSwarm::go(NodeIndex node) {
  network_.set_alive(node, false);
  nodes_[node]->started = false;
  nodes_[node]->left_at = world_.now();
  for (const NodeIndex other : std::set<NodeIndex>(nodes_[node]->neighbours)) {
    disconnect(node, other);
  }
}

void SimSwarm::disconnect(NodeIndex a, NodeIndex b) {
  network_.cut(a, b);
  for (const auto& [x, y] : {std::pair(a, b), std::pair(b, a)}) {
    nodes_[x]->neighbours.erase(y);
    nodes_[x]->complete.erase(y);
    if (!network_.alive(x)) continue;
    // A reset reaches the neighbour after a round trip, as a rule.
    world_.after(settings_.network.round_trip, [this, x = x, y = y] {
      Node& node = *nodes_[x];
      if (!network_.alive(x) || node.neighbours.contains(y)) return;
      node.uploads->on_peer_left(id_of(y));
      if (y < node.heard_of.size()) node.heard_of[y] = false;
      if (node.offers) node.offers->on_peer_left(id_of(y));
      if (node.download) node.download->on_peer_left(id_of(y), world_.now());
      perform(x);
      grant(x);
    });
  }
}

void SimSwarm::cut_some() {
  for (NodeIndex a = 0; a < nodes_.size(); ++a) {
    for (const NodeIndex b : std::set<NodeIndex>(nodes_[a]->neighbours)) {
      if (b < a || !rng_.chance(static_cast<std::uint64_t>(settings_.cut_share * 1e6), 1000000)) {
        continue;
      }
      disconnect(a, b);
      world_.after(std::chrono::milliseconds(200 + rng_.below(800)), [this, a, b] {
        if (nodes_[a]->started && nodes_[b]->started) connect(a, b);
      });
    }
  }
  world_.after(std::chrono::seconds(1), [this] { cut_some(); });
}

// Twenty times a second: how long has each downlink carried nothing, and why?
void SimSwarm::look_at_idle_links() {
  constexpr Duration kPeriod = std::chrono::milliseconds(50);
  for (NodeIndex i = 0; i < settings_.receivers; ++i) {
    Node& node = *nodes_[i];
    if (node.whole || node.given_up) continue;
    // What arrived beyond this period counts for the next ones.
    node.unexplained += kPeriod - (network_.received_for(i) - node.received_before);
    node.received_before = network_.received_for(i);
    const double idle = seconds(std::max(node.unexplained, Duration{0}));
    node.unexplained = std::min(node.unexplained, Duration{0});
    if (!node.started || network_.stalled(i)) {
      node.lost.away += idle;
      continue;
    }
    switch (node.download->waiting_for()) {
      case Download::Waiting::nothing:
        break;
      case Download::Waiting::start:
        node.lost.start += idle;
        break;
      case Download::Waiting::answers:
        node.lost.answers += idle;
        break;
      case Download::Waiting::holders:
        node.lost.holders += idle;
        break;
      case Download::Waiting::news:
        node.lost.news += idle;
        break;
      case Download::Waiting::the_tail:
        node.lost.tail += idle;
        break;
    }
  }
  world_.after(kPeriod, [this] { look_at_idle_links(); });
}

}  // namespace p2p::sim
