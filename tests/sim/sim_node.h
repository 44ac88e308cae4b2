// What one simulated node owns; of the simulator's own files only.
#pragma once

#include <memory>
#include <set>

#include "tests/sim/sim_swarm.h"

namespace p2p::sim {

struct SimSwarm::Node {
  bool seed = false;
  bool started = false;
  bool whole = false;
  bool silent = false;    // never uploads
  bool sound = true;      // neither slow nor late
  bool given_up = false;  // dead for good
  Time whole_at{};
  Duration late{0};
  Time left_at = Time::max();  // dead since then
  Time armed = Time::max();
  std::unique_ptr<Download> download;
  std::unique_ptr<UploadSlots> uploads;
  std::unique_ptr<SeedOffers> offers;  // of a seed
  HaveBatch news{HaveSettings{}};
  std::vector<bool> heard_of;  // nodes that have announced something
  std::uint32_t told = 0;      // how often it had news
  std::set<NodeIndex> neighbours;
  std::set<NodeIndex> complete;  // neighbours that have everything
  Duration received_before{0};
  Duration unexplained{0};  // of the last periods; below zero: more arrived than they could carry
  LostTime lost;
};

// An id whose order means nothing, and the way back.
NodeId id_of(NodeIndex index);
NodeIndex index_of(const NodeId& id);

}  // namespace p2p::sim
