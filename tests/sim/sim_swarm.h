// One push in a simulated fleet: real Downloads, UploadSlots and HaveBatches, virtual links.
//
// The third owner of the core, beside the daemons: what is measured here is the code that ships. A
// run is its settings and a seed number; the same two give the same trace.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/transfer/download.h"
#include "core/transfer/have_batch.h"
#include "core/transfer/seed_offers.h"
#include "core/transfer/upload_slots.h"
#include "tests/sim/network.h"

namespace p2p::sim {

struct SwarmSettings {
  std::uint32_t receivers = 16;
  std::uint64_t file_bytes = 256ull << 20;
  std::uint32_t seeds = 1;
  LinkRates rates;
  NetworkSettings network;
  std::uint32_t full_mesh = 64;   // members up to which everybody knows everybody
  std::uint32_t neighbours = 40;  // beyond
  std::uint32_t piece_bytes = 64 * 1024;
  DownloadSettings download;
  UploadSettings upload;
  HaveSettings have;
  OfferSettings offer;
  bool offers = true;  // false: seeds serve what they are asked for
  std::uint64_t seed = 1;
  Duration give_up = std::chrono::hours(10);
};

struct SwarmResult {
  bool everybody = false;   // every receiver that lives has all of it
  double last_seconds = 0;  // until the last receiver was whole
  double median_seconds = 0;
  double floor_seconds = 0;  // max(F / seeds' up, F / down, N F / all uplinks)
  double ratio = 0;          // last over floor
  double seed_copies = 0;    // bytes that the seeds sent, in files
  double duplicates = 0;     // share of the received bytes that were thrown away
  double messages_per_node = 0;
  std::uint64_t events = 0;
  std::uint64_t trace = 0;  // hash over (time, receiver, chunk) of every chunk that became whole
};

class SimSwarm {
 public:
  explicit SimSwarm(const SwarmSettings& settings);
  ~SimSwarm();

  // Things that go wrong; call before run(). Receivers are counted from 0, seeds come after them.
  NodeIndex receiver(std::uint32_t i) const { return i; }
  NodeIndex seed(std::uint32_t i) const { return settings_.receivers + i; }
  void slow(NodeIndex node, double factor);
  void dies(NodeIndex node, Duration after);
  void joins_late(NodeIndex node, Duration after);

  SwarmResult run();

 private:
  struct Node;

  void connect(NodeIndex a, NodeIndex b);
  void start(NodeIndex node);
  void perform(NodeIndex node);
  void grant(NodeIndex node);
  void offer(NodeIndex node);
  void tick(NodeIndex node);
  void arrived(NodeIndex node, NodeIndex from, const ChunkRange& range);
  void tell_news(NodeIndex node);
  void disconnect(NodeIndex dead);
  double floor_seconds() const;

  SwarmSettings settings_;
  ChunkSpace space_;
  World world_;
  Network network_;
  Rng rng_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::uint32_t whole_ = 0;
  std::uint64_t trace_ = 1469598103934665603ull;
};

// One line for people: "N=16 M=1024: 1.034 x floor (22.2 s), median 1.02, seed 1.05x, ...".
std::string summary(const SwarmSettings& settings, const SwarmResult& result);

}  // namespace p2p::sim
