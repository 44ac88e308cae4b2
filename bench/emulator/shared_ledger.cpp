#include "bench/emulator/shared_ledger.h"

#include <utility>

namespace p2p::emulator {

SharedLedger::SharedLedger(StateStore& store)
    : grouped_(store), ledger_(grouped_), thread_([this] { work(); }) {}

void SharedLedger::post(Act act) {
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) return;
    queue_.push_back(std::move(act));
  }
  wakes_.notify_one();
}

void SharedLedger::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  wakes_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void SharedLedger::work() {
  while (true) {
    std::vector<Act> group;
    {
      std::unique_lock lock(mutex_);
      wakes_.wait(lock, [this] { return stopped_ || !queue_.empty(); });
      if (queue_.empty()) return;
      group.swap(queue_);
    }
    std::vector<Say> says;
    says.reserve(group.size());
    for (const Act& act : group) says.push_back(act(ledger_));
    const Status synced = grouped_.sync();
    for (const Say& say : says) {
      if (say) say(synced);
    }
  }
}

}  // namespace p2p::emulator
