// A node on which a file is being received, for the tests of parts: its root, its records, the
// bytes of the file, and the threads between which work goes.
#pragma once

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/base/rng.h"
#include "io/content/merkle.h"
#include "io/disk/disk_pool.h"
#include "io/log/log.h"
#include "p2pd/part.h"
#include "tests/io/privileged/node.h"
#include "tests/support/power_cut.h"

namespace p2p::test {

// Four chunks, the last one short. Chunk 1 is one hole, chunk 2 begins with one.
inline constexpr std::uint32_t kFileChunks = 4;
inline constexpr std::uint64_t kHoleBegin = kMinChunkBytes;
inline constexpr std::uint64_t kHoleEnd = 2 * kMinChunkBytes + 4 * kBlockBytes;
inline constexpr std::uint64_t kFileBytes = 3 * kMinChunkBytes + 100'000;
inline constexpr std::uint64_t kDataBytes = kFileBytes - (kHoleEnd - kHoleBegin);
inline constexpr std::int64_t kFileMtime = 1'700'000'000'123'456'789;

inline std::string bytes_of_file() {
  Rng rng(11);
  std::string bytes(kFileBytes, '\0');
  for (std::uint64_t i = 0; i < kFileBytes; ++i) {
    if (i < kHoleBegin || i >= kHoleEnd) bytes[i] = static_cast<char>(1 + rng.below(255));
  }
  return bytes;
}

// Syncs that fail as often as the test says, counted.
struct FailingSyncs final : FileCalls {
  std::atomic<int> failures{0};
  std::atomic<int> syncs{0};

  Status sync_data(int fd, std::string_view name) override {
    ++syncs;
    if (failures == 0) return FileCalls::sync_data(fd, name);
    --failures;
    return Error{Errc::io_failed, "sync data of " + std::string(name) + ": Input/output error"};
  }
};

// A control thread (the test's) and a pool with one disk thread.
class Threads {
 public:
  boost::asio::io_context control{1};
  DiskPool disk{1, 1000};

  Threads() {
    set_log_sink([](std::string_view) {});
  }
  ~Threads() {
    disk.stop();
    set_log_sink({});
  }

  // Goes there and back until what was under way, and what came of it, has been done.
  void settle() {
    for (int round = 0; round < 6; ++round) {
      bool back = false;
      disk.post(kLane,
                [&] { disk.post([&] { boost::asio::post(control, [&back] { back = true; }); }); });
      REQUIRE(run_until([&] { return back; }));
    }
  }
  bool run_until(const std::function<bool()>& done) {
    // Ends a test that hangs; nothing here takes that long.
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!done()) {
      if (control.run_one_until(end) == 0) return false;
    }
    return true;
  }

  static constexpr DiskPool::Lane kLane = 2;

 private:
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_ =
      boost::asio::make_work_guard(control);
};

struct Receiving : Node {
  PowerCut power;  // of the store alone
  ForgetfulStore store{power};
  PartRecords records{store};
  FailingSyncs files;
  PartTools tools{*privileged, records, files};
  std::string bytes = bytes_of_file();
  ChunkSpace space{tree_of_bytes(bytes), {{0, kHoleBegin}, {kHoleEnd, kFileBytes - kHoleEnd}}};
  ContentId content{space.tree().root};

  std::string folder() const { return root + "/images"; }
  std::string path() const { return folder() + "/a.img"; }

  Part::Order order(std::uint64_t job = 1, const std::string& relative = "images/a.img") const {
    Part::Order order;
    order.content = content;
    order.place = {job, {0, relative}, ".p2pd-x-j" + std::to_string(job) + ".part"};
    order.space = space;
    order.final_path = root + "/" + relative;
    order.mtime_ns = kFileMtime;
    return order;
  }
  Part::Found open(const Part::Order& wanted) {
    auto found = Part::open(tools, wanted);
    INFO((found ? "" : found.error().detail));
    REQUIRE(found);
    return std::move(*found);
  }
  std::shared_ptr<Part> open_part() { return open(order()).part; }

  // Writes the data of a chunk.
  void write(Part& part, std::uint32_t index) const {
    const ChunkIndex chunk{index};
    const auto* first = reinterpret_cast<const std::uint8_t*>(bytes.data());
    for (const ByteRange& range : space.ranges_of(chunk, kMaxChunkBytes)) {
      const std::uint64_t at = space.offset_of(chunk) + range.offset;
      REQUIRE(part.write({first + at, range.length}, at));
    }
  }
  void write_all(Part& part) const {
    for (std::uint32_t i = 0; i < kFileChunks; ++i) write(part, i);
  }
  // Written, synced, on record.
  void make_durable(Part& part, const std::vector<std::uint32_t>& indices) const {
    Bitfield durable(kFileChunks);
    std::vector<ChunkIndex> news;
    for (const std::uint32_t index : indices) {
      write(part, index);
      durable.set(index);
      news.push_back(ChunkIndex{index});
    }
    REQUIRE(part.sync());
    REQUIRE(part.record_durable(durable, news));
  }
  std::string file_of(const Part& part) const { return folder() + "/" + part.place().part; }
  PartRecords::Known known() const {
    const auto found = records.find(content);
    REQUIRE(found);
    REQUIRE(found->has_value());
    return **found;
  }
  bool on_record() const {
    const auto found = records.find(content);
    REQUIRE(found);
    return found->has_value();
  }
};

inline std::vector<std::uint32_t> set_bits(const Bitfield& bits) {
  std::vector<std::uint32_t> set;
  for (std::uint32_t i = bits.find(0, true); i < bits.size(); i = bits.find(i + 1, true)) {
    set.push_back(i);
  }
  return set;
}

inline std::vector<std::uint32_t> values_of(const std::vector<ChunkIndex>& chunks) {
  std::vector<std::uint32_t> values;
  for (const ChunkIndex chunk : chunks) values.push_back(chunk.value);
  return values;
}

using Indices = std::vector<std::uint32_t>;

}  // namespace p2p::test
