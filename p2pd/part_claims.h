// Drives what may be claimed of a part after a crash: when it is synced, and which chunks go on
// record.
//
// Owns a core Checkpoint. Control thread only; syncs and records are made on the disk pool.
#pragma once

#include <boost/asio/io_context.hpp>
#include <memory>
#include <vector>

#include "core/transfer/checkpoint.h"
#include "io/disk/disk_pool.h"
#include "p2pd/part.h"

namespace p2p {

class PartClaims {
 public:
  struct Owner {
    // A record was made: must_pause() may be false now.
    virtual void on_claimed() = 0;
    // A sync failed: what the disk holds of these chunks is unknown. Whoever finds one right calls
    // on_chunk_written() for it again. The cache is forgotten, so that reading asks the disk.
    virtual void on_chunks_unknown(std::vector<ChunkIndex> chunks, const Error& why) = 0;
    // Nothing can be claimed any more: a second sync has failed after the first, or the store.
    virtual void on_claims_failed(const Error& why) = 0;

   protected:
    ~Owner() = default;
  };

  // `durable` is on record already. Jobs of the pool go to `lane`.
  PartClaims(boost::asio::io_context& control, DiskPool& disk, DiskPool::Lane lane,
             std::shared_ptr<Part> part, Bitfield durable, Owner& owner);
  ~PartClaims();

  // Verified, and handed to the operating system.
  void on_chunk_written(ChunkIndex chunk, Time now);
  // Every 100 ms or so.
  void on_tick(Time now);
  // A sync or its record is under way. Its end is told to the owner, one way or another.
  bool busy() const { return recording_; }
  // From now on nothing is begun, and the owner is told nothing. A part lands only when nothing is
  // busy: the kernel tells an error of the disk to one sync, so the one that landing makes would
  // succeed although another, under way, had failed.
  void stop() { stopped_ = true; }
  void go_on() { stopped_ = false; }

  // Too much would be lost in a crash: receive nothing until on_claimed().
  bool must_pause() const { return checkpoint_.must_pause(); }
  const Bitfield& durable() const { return durable_; }

 private:
  template <class Work, class Then>
  void on_disk(Work work, Then then);
  void sync_if_due(Time now);
  void synced(const Status& synced);
  void note_verified();

  boost::asio::io_context& control_;
  DiskPool& disk_;
  DiskPool::Lane lane_;
  std::shared_ptr<Part> part_;
  Owner& owner_;
  Checkpoint checkpoint_{CheckpointSettings{}};
  Bitfield durable_;
  Bitfield verified_;
  std::vector<ChunkIndex> verified_news_;
  bool recording_ = false;
  bool stopped_ = false;
  bool last_sync_failed_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace p2p
