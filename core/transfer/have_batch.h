// When to tell the neighbours about new chunks: several at once, but soon.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "core/base/bitfield.h"
#include "core/base/ids.h"
#include "core/base/time.h"

namespace p2p {

struct HaveSettings {
  // Each frame to each neighbour costs some 50 us of CPU at both ends together, and 60 bytes.
  // Simulated, 64 nodes and 2048 chunks: 29,000 frames a node and 1.0205 of the floor with 4
  // chunk-times for all news, 20,000 and 1.019 with 8 and no delay for what is rare.
  int chunk_times = 8;
  Duration soonest = std::chrono::milliseconds(5);
  Duration latest = std::chrono::milliseconds(200);
  // The first chunks are announced after `soonest`: while few nodes have anything to give, each
  // doubling of the holders waits for news.
  std::uint32_t first_chunks = 16;
  // So is a chunk that fewer neighbours have than this: it is what the others lack most.
  std::uint32_t rare_holders = 4;
};

// Pure; one thread.
class HaveBatch {
 public:
  explicit HaveBatch(const HaveSettings& settings) : settings_(settings) {}

  // `rare`: hardly a neighbour has it; its news waits for `soonest` only.
  void on_chunk_ready(ChunkIndex chunk, Time now, bool rare = false) {
    // Average over about eight gaps between chunks that became ready.
    if (last_ready_ != Time{}) chunk_time_ = (7 * chunk_time_ + (now - last_ready_)) / 8;
    last_ready_ = now;
    const Duration usual =
        std::clamp(settings_.chunk_times * chunk_time_, settings_.soonest, settings_.latest);
    const Time due = now + (rare || ready_ < settings_.first_chunks ? settings_.soonest : usual);
    due_ = chunks_.empty() ? due : std::min(due_, due);
    ++ready_;
    chunks_.push_back(chunk);
  }
  // Time::max() when there is no news.
  Time next_deadline() const { return chunks_.empty() ? Time::max() : due_; }
  // The news as runs in rising order; empties the batch.
  std::vector<ChunkRun> take() {
    std::vector<ChunkIndex> chunks = std::exchange(chunks_, {});
    std::sort(chunks.begin(), chunks.end());
    std::vector<ChunkRun> runs;
    for (const ChunkIndex chunk : chunks) {
      if (!runs.empty() && runs.back().first + runs.back().count == chunk.value) {
        ++runs.back().count;
      } else {
        runs.push_back({chunk.value, 1});
      }
    }
    return runs;
  }

 private:
  HaveSettings settings_;
  std::vector<ChunkIndex> chunks_;
  Duration chunk_time_{std::chrono::milliseconds(20)};
  std::uint32_t ready_ = 0;
  Time last_ready_{};
  Time due_{};
};

}  // namespace p2p
