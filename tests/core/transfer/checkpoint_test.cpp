#include "core/transfer/checkpoint.h"

#include "tests/support/catch.h"

namespace p2p {
namespace {

using Chunks = std::vector<ChunkIndex>;
using std::chrono::seconds;

constexpr std::uint32_t kMiB = 1024 * 1024;
constexpr Time kStart{std::chrono::hours(1)};
constexpr Duration kTick{1};

struct Written {
  Checkpoint checkpoint{CheckpointSettings{}};
  std::uint32_t next = 0;

  // Numbered on from the last one.
  void mebibytes(std::uint32_t count, Time now = kStart) {
    for (std::uint32_t i = 0; i < count; ++i) {
      checkpoint.on_chunk_written(ChunkIndex{next++}, kMiB, now);
    }
  }
};

TEST_CASE("Nothing written, nothing due", "[core][checkpoint]") {
  const Checkpoint checkpoint{CheckpointSettings{}};
  CHECK_FALSE(checkpoint.sync_due(kStart + std::chrono::hours(9)));
  CHECK(checkpoint.next_deadline() == Time::max());
  CHECK_FALSE(checkpoint.has_unsynced());
  CHECK_FALSE(checkpoint.must_pause());
}

TEST_CASE("A sync is due after 64 MiB", "[core][checkpoint]") {
  Written written;
  written.mebibytes(63);
  CHECK_FALSE(written.checkpoint.sync_due(kStart));
  written.mebibytes(1);
  CHECK(written.checkpoint.sync_due(kStart));
}

TEST_CASE("A sync is due two seconds after the oldest unsynced chunk", "[core][checkpoint]") {
  Written written;
  written.mebibytes(1, kStart);
  written.mebibytes(1, kStart + seconds(1));  // a later one does not put it off
  CHECK(written.checkpoint.next_deadline() == kStart + seconds(2));
  CHECK_FALSE(written.checkpoint.sync_due(kStart + seconds(2) - kTick));
  CHECK(written.checkpoint.sync_due(kStart + seconds(2)));
}

TEST_CASE("No second sync is due while one runs", "[core][checkpoint]") {
  Written written;
  written.mebibytes(64);
  written.checkpoint.begin_sync();
  CHECK(written.checkpoint.syncing());
  written.mebibytes(100);
  CHECK_FALSE(written.checkpoint.sync_due(kStart + seconds(9)));
  CHECK(written.checkpoint.next_deadline() == Time::max());
  (void)written.checkpoint.on_synced();
  CHECK_FALSE(written.checkpoint.syncing());
  CHECK(written.checkpoint.sync_due(kStart));
}

TEST_CASE("A sync covers exactly what was written before it began", "[core][checkpoint]") {
  Written written;
  written.mebibytes(2);
  written.checkpoint.begin_sync();
  written.mebibytes(1);
  CHECK(written.checkpoint.on_synced() == Chunks{{0}, {1}});
  CHECK(written.checkpoint.has_unsynced());
  written.checkpoint.begin_sync();
  CHECK(written.checkpoint.on_synced() == Chunks{{2}});
  CHECK_FALSE(written.checkpoint.has_unsynced());
}

TEST_CASE("What is written during a sync waits from its own writing on", "[core][checkpoint]") {
  Written written;
  written.mebibytes(1, kStart);
  written.checkpoint.begin_sync();
  written.mebibytes(1, kStart + seconds(5));
  (void)written.checkpoint.on_synced();
  CHECK(written.checkpoint.next_deadline() == kStart + seconds(7));
  CHECK_FALSE(written.checkpoint.sync_due(kStart + seconds(6)));
}

TEST_CASE("A failed sync gives back all that is unsynced and never claims it",
          "[core][checkpoint]") {
  Written written;
  written.mebibytes(2);
  written.checkpoint.begin_sync();
  written.mebibytes(1);
  CHECK(written.checkpoint.on_sync_failed() == Chunks{{0}, {1}, {2}});
  CHECK_FALSE(written.checkpoint.syncing());
  CHECK_FALSE(written.checkpoint.has_unsynced());
  CHECK_FALSE(written.checkpoint.must_pause());
}

TEST_CASE("Receiving pauses above 256 MiB that are not synced", "[core][checkpoint]") {
  Written written;
  written.mebibytes(256);
  CHECK_FALSE(written.checkpoint.must_pause());
  written.checkpoint.on_chunk_written(ChunkIndex{999}, 1, kStart);
  CHECK(written.checkpoint.must_pause());
}

TEST_CASE("What a running sync covers counts as unsynced until it has succeeded",
          "[core][checkpoint]") {
  Written written;
  written.mebibytes(200);
  written.checkpoint.begin_sync();
  written.mebibytes(57);
  CHECK(written.checkpoint.must_pause());
  (void)written.checkpoint.on_synced();
  CHECK_FALSE(written.checkpoint.must_pause());
}

}  // namespace
}  // namespace p2p
