// Which chunks may be claimed after a crash: those that a sync covered, and no others.
//
// Pure; one thread. The owner writes chunks, calls begin_sync() when sync_due(), syncs the file on
// a disk thread, and only when that succeeded stores the chunks that on_synced() returns.
#pragma once

#include <cstdint>
#include <vector>

#include "core/base/ids.h"
#include "core/base/time.h"

namespace p2p {

struct CheckpointSettings {
  std::uint64_t sync_after_bytes = 64ull * 1024 * 1024;
  Duration sync_after = std::chrono::seconds(2);
  // More unsynced bytes than this: receiving pauses until the disk has caught up.
  std::uint64_t unsynced_bytes_max = 256ull * 1024 * 1024;
};

class Checkpoint {
 public:
  explicit Checkpoint(const CheckpointSettings& settings) : settings_(settings) {}

  void on_chunk_written(ChunkIndex chunk, std::uint32_t bytes, Time now);
  // True when enough has gathered, or the oldest has waited long enough, and no sync is running.
  bool sync_due(Time now) const;
  // Time::max() when nothing waits or a sync is running.
  Time next_deadline() const;
  // What is written up to now is what the sync that the owner starts next will cover.
  void begin_sync();
  // The sync succeeded: the chunks that may now be recorded.
  std::vector<ChunkIndex> on_synced();
  // The sync failed: what these chunks hold on the device is unknown, those that were written while
  // it ran included, for the error may have been theirs. They must be read back and verified, or
  // fetched again, before they count as written; the sync is not to be repeated and believed.
  std::vector<ChunkIndex> on_sync_failed();

  bool syncing() const { return syncing_; }
  bool has_unsynced() const { return !waiting_.empty() || !covered_.empty(); }
  bool must_pause() const { return waiting_bytes_ + covered_bytes_ > settings_.unsynced_bytes_max; }

 private:
  CheckpointSettings settings_;
  std::vector<ChunkIndex> waiting_;  // written, not covered by a sync yet
  std::vector<ChunkIndex> covered_;  // covered by the running sync
  std::uint64_t waiting_bytes_ = 0;
  std::uint64_t covered_bytes_ = 0;
  Time oldest_waiting_{};
  bool syncing_ = false;
};

}  // namespace p2p
