// Whom this node wants to be connected with, when to dial whom, and who is banned for now.
//
// Pure: time is an argument; one thread.
#pragma once

#include <functional>
#include <map>
#include <vector>

#include "core/base/ids.h"
#include "core/base/rng.h"
#include "core/base/time.h"
#include "io/config/config.h"

namespace p2p {

struct PeerBookSettings {
  // Of two receivers the one with the smaller id dials first, the other this much later.
  Duration yield_to_smaller_id = std::chrono::seconds(1);
  // Between two dials of one peer: doubling, jittered, from the first to the longest.
  Duration first_retry = std::chrono::milliseconds(500);
  Duration longest_retry = std::chrono::seconds(15);
  // How long a peer that broke the rules is neither dialled nor let in.
  Duration ban = std::chrono::minutes(1);
};

class PeerBook {
 public:
  struct Dial {
    NodeId peer;
    HostPort address;
  };
  using IsUp = std::function<bool(NodeId)>;

  PeerBook(NodeId self, const PeerBookSettings& settings, Rng rng)
      : self_(self), settings_(settings), rng_(rng) {}

  // The peer is wanted at this address from now on; seeds are dialled at once.
  void know(NodeId peer, const HostPort& address, bool seed, Time now);
  void forget_all_but(const std::function<bool(NodeId)>& wanted);

  // Whoever is wanted, not connected and due, seeds first. Each one is being dialled from then on,
  // until on_connected() or on_not_connected() says what came of it.
  std::vector<Dial> take_due(Time now, const IsUp& is_up);
  void on_connected(NodeId peer, Time now);
  void on_not_connected(NodeId peer, Time now);
  // Time::max() when nobody is to be dialled.
  Time next_deadline(const IsUp& is_up) const;

  void ban(NodeId peer, Time now);
  bool is_banned(NodeId peer, Time now);

 private:
  struct Known {
    HostPort address;
    bool seed = false;
    bool wanted = true;
    bool dialling = false;
    int failures = 0;
    Time not_before{};
  };

  void end_dial(Known& known, Time now);

  NodeId self_;
  PeerBookSettings settings_;
  Rng rng_;
  std::map<NodeId, Known> known_;
  std::map<NodeId, Time> banned_until_;
};

}  // namespace p2p
