// Puts chunks together from an old file and fetched ranges, a few at a time.
//
// Control thread only; reading, hashing and writing happen on the disk pool.
#pragma once

#include <boost/asio/io_context.hpp>
#include <deque>
#include <functional>
#include <memory>

#include "io/disk/disk_pool.h"
#include "p2pd/part.h"

namespace p2p {

class Assembler {
 public:
  using Done = std::function<void(Part::PutTogether)>;

  // The old file is only read, and stays open until the last job is over.
  Assembler(boost::asio::io_context& control, DiskPool& disk, std::shared_ptr<Part> part,
            std::shared_ptr<const Fd> old_file);
  ~Assembler();

  // `done` is called once, on the control thread, unless the assembler is gone. Chunks whose ranges
  // were fetched go before those that need no neighbour: others wait for them.
  void add(ChunkIndex chunk, ChunkPlan plan, Done done);
  // Share blocks with the old file from now on (Part::put_together), or not.
  void set_sharing(bool share) { share_ = share; }
  // While true nothing new is begun.
  void set_paused(bool paused);
  bool idle() const { return working_ == 0 && queue_.empty(); }

 private:
  struct Wanted {
    ChunkIndex chunk;
    ChunkPlan plan;
    Done done;
  };
  void next();

  boost::asio::io_context& control_;
  DiskPool& disk_;
  std::shared_ptr<Part> part_;
  std::shared_ptr<const Fd> old_file_;
  std::deque<Wanted> queue_;
  int working_ = 0;
  bool paused_ = false;
  bool share_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace p2p
