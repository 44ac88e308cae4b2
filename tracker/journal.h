// The way from the control thread to the state store: in order, off the thread, answered on it.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>

#include "io/disk/disk_pool.h"
#include "io/state/state_store.h"

namespace p2p {

// Batches are applied one after the other in the order of commit(); `done` is called on the loop's
// thread once the batch is on stable storage, or could not be brought there.
//
// Each batch has to fit the store's limits. A failed one that nobody handles is fatal: memory and
// disk would go apart, so the tracker stops and says why, and starts again from what is stored.
class Journal {
 public:
  using Done = std::function<void(Status)>;

  Journal(boost::asio::io_context& loop, StateStore& store) : loop_(loop), store_(store) {}

  void commit(StateBatch batch, Done done = nullptr);
  // A failure is fatal; otherwise `stored` is called as above.
  void commit_or_stop(StateBatch batch, std::function<void()> stored);
  // Waits for everything that was committed. Before the loop and the store go away.
  void stop() { pool_.stop(); }

 private:
  boost::asio::io_context& loop_;
  StateStore& store_;
  DiskPool pool_{1, 10'000, "journal"};
};

}  // namespace p2p
