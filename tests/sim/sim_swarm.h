// One push in a simulated fleet: real Downloads, UploadSlots, SeedOffers, HaveBatches and handouts
// on virtual links.
//
// The third owner of the core, beside the daemons: what is measured here is the code that ships. A
// run is its settings and a seed number; the same two give the same trace.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "core/jobs/rollout.h"
#include "core/swarm/swarm.h"
#include "core/transfer/download.h"
#include "core/transfer/have_batch.h"
#include "core/transfer/seed_offers.h"
#include "core/transfer/upload_slots.h"
#include "tests/sim/network.h"
#include "tests/sim/sim_result.h"

namespace p2p::sim {

struct SwarmSettings {
  std::uint32_t receivers = 16;
  std::uint64_t file_bytes = 256ull << 20;
  std::uint32_t seeds = 1;
  LinkRates rates;
  NetworkSettings network;
  // Receivers fill the racks one after the other, racks the datacentres; seeds stand in the first
  // ones. With one rack labels play no part.
  std::uint32_t racks = 1;
  std::uint32_t dcs = 1;
  LinkRates rack_rates{0, 0};
  LinkRates dc_rates{0, 0};
  bool rack_rule = true;  // false: everybody fetches from everywhere
  HandoutRules handout;
  // Until a connection stands after a node was told of the other.
  Duration handshake = std::chrono::milliseconds(5);
  std::uint32_t piece_bytes = 64 * 1024;
  DownloadSettings download;
  UploadSettings upload;
  HaveSettings have;
  OfferSettings offer;
  bool offers = true;  // false: seeds serve what they are asked for
  // Of all connections, in each second; they stand again after up to a second.
  double cut_share = 0;
  // Receivers get their turns in the order of their numbers. Without limits all begin at once.
  RolloutRules rollout;
  std::uint64_t seed = 1;
  Duration give_up = std::chrono::hours(10);
};

class SimSwarm final : private Network::Listener {
 public:
  explicit SimSwarm(const SwarmSettings& settings);
  ~SimSwarm();

  // Things that go wrong; call before run(). Receivers are counted from 0, seeds come after them.
  NodeIndex receiver(std::uint32_t i) const { return i; }
  NodeIndex seed(std::uint32_t i) const { return settings_.receivers + i; }
  // Its uplink has a `factor`-th of the others' rate. It does not count when the others are judged.
  void slow(NodeIndex node, double factor);
  void dies(NodeIndex node, Duration after);
  // Its process ends, and another one begins `away` later: with what it had, or with nothing.
  void restarts(NodeIndex node, Duration after, Duration away, bool keeps);
  void joins_late(NodeIndex node, Duration after);
  // It reads nothing and decides nothing for a time; what it has given to its connections leaves.
  void stalls(NodeIndex node, Duration after, Duration lasting);
  // It takes requests and never answers.
  void never_uploads(NodeIndex node);

  SwarmResult run();

 private:
  struct Node;

  void on_left(NodeIndex from, NodeIndex to, const ChunkRange& piece) override;
  void on_arrived(NodeIndex from, NodeIndex to, const ChunkRange& piece) override;

  void begin(NodeIndex node);
  void start(NodeIndex node);
  void give_turns();
  void connect(NodeIndex a, NodeIndex b);
  void met(NodeIndex node, NodeIndex other);
  void disconnect(NodeIndex a, NodeIndex b);
  void go(NodeIndex node);
  void cut_some();
  void perform(NodeIndex node);
  void requested(NodeIndex node, NodeIndex from, const ChunkRange& range);
  void grant(NodeIndex node);
  void offer(NodeIndex node);
  void arm(NodeIndex node, Time next);
  void tick(NodeIndex node);
  void tell_news(NodeIndex node);
  void heard_of(NodeIndex node, NodeIndex other);
  void look_at_idle_links();
  bool far(NodeIndex a, NodeIndex b) const;
  std::string rack_of(NodeIndex node) const;
  double floor_seconds() const;

  SwarmSettings settings_;
  ChunkSpace space_;
  World world_;
  Network network_;
  Rng rng_;
  Swarm swarm_;
  Rollout rollout_;
  std::vector<std::unique_ptr<Node>> nodes_;
  void note_out(ChunkIndex chunk);
  std::uint64_t seeds_sent() const;

  std::uint32_t whole_ = 0;
  Bitfield out_;  // chunks that a receiver has had
  Time all_out_at_{};
  std::uint64_t sent_when_out_ = 0;
  MessageCounts messages_;
  std::uint32_t expected_ = 0;
  std::uint64_t trace_ = 1469598103934665603ull;
};

}  // namespace p2p::sim
