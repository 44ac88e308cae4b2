#include "core/transfer/checkpoint.h"

#include <utility>

#include "core/base/check.h"

namespace p2p {

void Checkpoint::on_chunk_written(ChunkIndex chunk, std::uint32_t bytes, Time now) {
  if (waiting_.empty()) oldest_waiting_ = now;
  waiting_.push_back(chunk);
  waiting_bytes_ += bytes;
}

bool Checkpoint::sync_due(Time now) const {
  if (syncing_ || waiting_.empty()) return false;
  return waiting_bytes_ >= settings_.sync_after_bytes ||
         now - oldest_waiting_ >= settings_.sync_after;
}

Time Checkpoint::next_deadline() const {
  if (syncing_ || waiting_.empty()) return Time::max();
  return oldest_waiting_ + settings_.sync_after;
}

void Checkpoint::begin_sync() {
  P2P_CHECK(!syncing_);
  syncing_ = true;
  covered_ = std::exchange(waiting_, {});
  covered_bytes_ = std::exchange(waiting_bytes_, 0);
}

std::vector<ChunkIndex> Checkpoint::on_synced() {
  P2P_CHECK(syncing_);
  syncing_ = false;
  covered_bytes_ = 0;
  return std::exchange(covered_, {});
}

std::vector<ChunkIndex> Checkpoint::on_sync_failed() {
  std::vector<ChunkIndex> unknown = on_synced();
  unknown.insert(unknown.end(), waiting_.begin(), waiting_.end());
  waiting_.clear();
  waiting_bytes_ = 0;
  return unknown;
}

}  // namespace p2p
