// One ledger of runs for all emulated nodes, written by a thread of its own: what came in while it
// synced is written together.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "bench/emulator/grouped_store.h"
#include "p2pd/run_ledger.h"

namespace p2p::emulator {

class SharedLedger {
 public:
  // Called on the ledger's thread when what the act has written is on stable storage, or with why
  // it is not.
  using Say = std::function<void(const Status& synced)>;
  // Called on the ledger's thread, one at a time.
  using Act = std::function<Say(const RunLedger& ledger)>;

  explicit SharedLedger(StateStore& store);
  ~SharedLedger() { stop(); }

  // Thread-safe.
  void post(Act act);
  // Ends when everything that was posted is done. What is posted later is dropped.
  void stop();

  // After stop().
  std::uint64_t syncs() const { return grouped_.syncs(); }

 private:
  void work();

  GroupedStore grouped_;
  RunLedger ledger_;
  std::mutex mutex_;
  std::condition_variable wakes_;
  std::vector<Act> queue_;
  bool stopped_ = false;
  std::thread thread_;
};

}  // namespace p2p::emulator
