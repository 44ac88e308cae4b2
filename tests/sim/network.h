// Links of a simulated fleet: every node has an uplink and a downlink of a stated rate.
//
// Payload goes in pieces. A piece takes its turn on the sender's uplink (the streams of one sender
// share it piece by piece), travels half a round trip plus a fixed queueing delay, and then takes
// its turn on the receiver's downlink, which it may enter while it still leaves the uplink. Control
// messages only take the way's time: they are small, but they wait in the same queues.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <vector>

#include "tests/sim/world.h"

namespace p2p::sim {

using NodeIndex = std::uint32_t;

struct LinkRates {
  double up = 12.5e6;  // bytes per second
  double down = 12.5e6;
};

struct NetworkSettings {
  Duration round_trip = std::chrono::microseconds(500);
  // Time that a message or a piece spends in the queues of full links, each way.
  Duration queueing = std::chrono::milliseconds(10);
};

class Network {
 public:
  struct Piece {
    NodeIndex to = 0;
    std::uint32_t bytes = 0;
    std::function<void()> on_left;     // the sender's uplink has sent it
    std::function<void()> on_arrived;  // all of it is at the receiver
  };

  Network(World& world, const NetworkSettings& settings) : world_(world), settings_(settings) {}

  NodeIndex add(const LinkRates& rates) {
    links_.push_back({rates, {}, {}, false, world_.now(), 0, true});
    return static_cast<NodeIndex>(links_.size() - 1);
  }
  void set_rates(NodeIndex node, const LinkRates& rates) { links_[node].rates = rates; }
  // A dead node's pieces and messages vanish, in both directions.
  void set_alive(NodeIndex node, bool alive);
  bool alive(NodeIndex node) const { return links_[node].alive; }

  void send(NodeIndex from, Piece piece);
  void message(NodeIndex from, NodeIndex to, std::function<void()> deliver);

  std::uint64_t bytes_sent(NodeIndex node) const { return links_[node].bytes_sent; }
  std::uint64_t messages() const { return messages_; }

 private:
  struct Link {
    LinkRates rates;
    std::map<NodeIndex, std::deque<Piece>> streams;  // by receiver
    std::deque<NodeIndex> turns;                     // receivers with something to send, in turn
    bool busy = false;
    Time down_free{};
    std::uint64_t bytes_sent = 0;
    bool alive = true;
  };

  Duration one_way() const { return settings_.round_trip / 2 + settings_.queueing; }
  void send_next(NodeIndex from);

  World& world_;
  NetworkSettings settings_;
  std::vector<Link> links_;
  std::uint64_t messages_ = 0;
};

}  // namespace p2p::sim
