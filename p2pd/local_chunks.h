// Looks for chunks that this node has already, one after the other: in the part itself (written
// before a crash, or before a sync that failed), or in a whole copy elsewhere on this node.
//
// The transfer goes on meanwhile and asks for everything else. Control thread only; reading and
// hashing happen on the disk pool.
#pragma once

#include <boost/asio/io_context.hpp>
#include <deque>
#include <functional>
#include <memory>

#include "io/disk/disk_pool.h"
#include "p2pd/part.h"

namespace p2p {

class LocalChunks {
 public:
  using OnLooked = std::function<void(ChunkIndex, const Status&, bool copied)>;
  // `on_looked` is called once for each chunk that was added, on the control thread. ok: the part
  // holds it now, `copied` when it did not before; corrupt: it is not here; anything else: reading
  // or writing failed.
  LocalChunks(boost::asio::io_context& control, DiskPool& disk, std::shared_ptr<Part> part,
              OnLooked on_looked);
  ~LocalChunks();

  // The part may hold it.
  void look_in_part(ChunkIndex chunk);
  // Chunks that are not in the part are copied from there from now on.
  void set_copy(std::shared_ptr<Fd> copy) { copy_ = std::move(copy); }
  void copy(ChunkIndex chunk);
  bool has_copy() const { return copy_ != nullptr; }
  // While true nothing new is begun.
  void set_paused(bool paused);
  bool idle() const { return !looking_ && queue_.empty(); }

 private:
  struct Wanted {
    ChunkIndex chunk;
    bool in_part = false;
  };
  void next();

  boost::asio::io_context& control_;
  DiskPool& disk_;
  std::shared_ptr<Part> part_;
  OnLooked on_looked_;
  std::shared_ptr<Fd> copy_;
  std::deque<Wanted> queue_;
  bool looking_ = false;
  bool paused_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace p2p
