// Links of a simulated fleet: every node has an uplink and a downlink of a stated rate, every rack
// and every datacentre a pair that its nodes share.
//
// Payload goes in pieces. A piece takes its turn on the sender's uplink (the streams of one sender
// share it piece by piece), then on the shared links of its way, and then on the receiver's
// downlink; it may enter a link while it still leaves the one before. Each way takes half a round
// trip plus a fixed queueing delay. A shared link whose queue is full takes no more: the streams
// that need it wait in turn, and their senders serve others meanwhile, as they would with TCP.
//
// Control messages take the way's time (they wait in the same queues) and a stated number of bytes
// of both nodes' links, while these are busy.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/transfer/chunk_range.h"
#include "tests/sim/world.h"

namespace p2p::sim {

using NodeIndex = std::uint32_t;

struct LinkRates {
  double up = 12.5e6;  // bytes per second; 0: no limit
  double down = 12.5e6;
};

struct Place {
  std::uint32_t rack = 0;  // of the fleet, not of the datacentre
  std::uint32_t dc = 0;
};

struct NetworkSettings {
  Duration round_trip = std::chrono::microseconds(500);
  // Time that a message or a piece spends in the queues of full links, each way.
  Duration queueing = std::chrono::milliseconds(10);
  // What a shared link keeps waiting before it takes no more.
  Duration shared_queue = std::chrono::milliseconds(20);
  // Of a control message, with its share of TLS, TCP and IP.
  std::uint32_t message_bytes = 60;
};

class Network {
 public:
  // Who is told what became of pieces.
  class Listener {
   public:
    // The sender's uplink has sent it.
    virtual void on_left(NodeIndex from, NodeIndex to, const ChunkRange& piece) = 0;
    // All of it is at the receiver.
    virtual void on_arrived(NodeIndex from, NodeIndex to, const ChunkRange& piece) = 0;

   protected:
    ~Listener() = default;
  };

  Network(World& world, const NetworkSettings& settings, Listener& listener)
      : world_(world), settings_(settings), listener_(listener) {}

  NodeIndex add(const LinkRates& rates, const Place& place);
  void set_rates(NodeIndex node, const LinkRates& rates) { nodes_[node].rates = rates; }
  void set_rack_rates(std::uint32_t rack, const LinkRates& rates);
  void set_dc_rates(std::uint32_t dc, const LinkRates& rates);
  const Place& place(NodeIndex node) const { return nodes_[node].place; }

  // A dead node's pieces and messages vanish, in both directions, also when it lives again.
  void set_alive(NodeIndex node, bool alive);
  bool alive(NodeIndex node) const { return nodes_[node].alive; }
  // What is under way between the two vanishes.
  void cut(NodeIndex a, NodeIndex b);
  // The node reads nothing until then: what is sent to it waits.
  void stall(NodeIndex node, Time until);
  bool stalled(NodeIndex node) const { return nodes_[node].reads_again > world_.now(); }

  void send(NodeIndex from, NodeIndex to, const ChunkRange& piece);
  template <class Deliver>
  void message(NodeIndex from, NodeIndex to, Deliver deliver) {
    if (!nodes_[from].alive || !nodes_[to].alive) return;
    charge(from, to);
    const Time arrives = std::max(world_.now() + one_way(), nodes_[to].reads_again);
    world_.at(arrives, [this, from, to, life = life(from, to), deliver = std::move(deliver)] {
      if (life == this->life(from, to)) deliver();
    });
  }

  std::uint64_t bytes_sent(NodeIndex node) const { return nodes_[node].bytes_sent; }
  // Payload into and out of a rack.
  std::uint64_t rack_in(std::uint32_t rack) const { return racks_[rack].down.bytes; }
  std::uint64_t rack_out(std::uint32_t rack) const { return racks_[rack].up.bytes; }
  std::uint32_t racks() const { return static_cast<std::uint32_t>(racks_.size()); }
  std::uint64_t messages() const { return messages_; }
  // Time that arriving pieces have kept the node's downlink busy.
  Duration received_for(NodeIndex node) const { return nodes_[node].received_for; }

 private:
  using Stream = std::pair<NodeIndex, NodeIndex>;  // from, to
  struct Node {
    LinkRates rates;
    Place place;
    std::map<NodeIndex, std::deque<ChunkRange>> streams;  // by receiver
    std::deque<NodeIndex> turns;                          // receivers that may be sent to, in turn
    bool busy = false;
    Time down_free{};
    Duration received_for{0};
    double up_debt = 0;  // bytes of messages that the next piece has to wait for
    double down_debt = 0;
    std::uint64_t bytes_sent = 0;
    std::uint32_t lives = 0;
    bool alive = true;
    Time reads_again{};
    std::vector<Stream> waiting;  // streams to it while it reads nothing
  };
  struct SharedLink {
    double rate = 0;  // 0: no limit
    Time free{};      // when a piece that leaves its sender one way's time before can enter
    std::uint64_t bytes = 0;
    std::deque<Stream> waiting;
    bool woken = false;  // a look at the waiting ones is due
  };
  struct SharedPair {
    SharedLink up;
    SharedLink down;
  };

  Duration one_way() const { return settings_.round_trip / 2 + settings_.queueing; }
  Time has_room_at(const SharedLink& link) const {
    return link.free - one_way() - settings_.shared_queue;
  }
  void charge(NodeIndex from, NodeIndex to);
  // Differs before and after a death or a cut.
  std::uint64_t life(NodeIndex a, NodeIndex b) const;
  std::vector<SharedLink*> way(NodeIndex from, NodeIndex to);
  SharedLink* full_link(const std::vector<SharedLink*>& links) const;
  void wait_for(SharedLink& link, Stream stream);
  void wake(SharedLink& link);
  void resume(Stream stream);
  void send_next(NodeIndex from);
  void transmit(NodeIndex from, NodeIndex to, const ChunkRange& piece,
                const std::vector<SharedLink*>& links);

  World& world_;
  NetworkSettings settings_;
  Listener& listener_;
  std::vector<Node> nodes_;
  std::deque<SharedPair> racks_;  // a deque: links keep their place
  std::deque<SharedPair> dcs_;
  std::unordered_map<std::uint64_t, std::uint32_t> cuts_;
  std::uint64_t messages_ = 0;
};

}  // namespace p2p::sim
