// All emulated nodes, on a few threads.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bench/emulator/identities.h"
#include "bench/emulator/node.h"
#include "bench/emulator/shared_ledger.h"
#include "io/runtime/loop_thread.h"

namespace p2p::emulator {

// Room for the sockets of so many nodes. exhausted: the limit is lower, and may not be raised.
Status raise_descriptor_limit(std::size_t nodes);

class Fleet {
 public:
  struct Settings {
    HostPort tracker;
    unsigned threads = 2;
    double connects_per_second = 1000;  // at the start; later each node has its own back-off
    double churn_per_second = 0;        // connections that are ended; each is made again soon
    std::uint64_t seed = 1;
  };

  Fleet(const Settings& settings, StateStore& store, std::vector<Member> members);
  ~Fleet();

  void start();
  // Ends all threads.
  void stop();

  std::size_t nodes() const { return nodes_.size(); }
  const Counters& counters() const { return counters_; }
  // After stop().
  std::uint64_t syncs() const { return ledger_.syncs(); }

 private:
  void churn();

  Settings settings_;
  Rng rng_;
  Counters counters_;
  SharedLedger ledger_;
  // Behind what they use, before the nodes: a node's timers belong to a loop.
  std::vector<std::unique_ptr<LoopThread>> loops_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::unique_ptr<boost::asio::steady_timer> churn_timer_;
};

}  // namespace p2p::emulator
