// What lies on the disk, and what is claimed of it, when the power goes at any moment of a
// transfer.
#include <cerrno>
#include <filesystem>
#include <set>

#include "io/content/merkle.h"
#include "io/runtime/wall_clock.h"
#include "p2pd/local_chunks.h"
#include "p2pd/part_claims.h"
#include "tests/io/privileged/node.h"
#include "tests/support/power_cut.h"

namespace p2p {
namespace {

using test::ForgetfulStore;
using test::PowerCut;

constexpr std::uint32_t kChunks = 12;
// A sync is due after this many chunks: the test lets time pass.
constexpr std::uint32_t kChunksBetweenSyncs = 3;
const std::string kOld = "the version that was here before";

std::string random_bytes(std::size_t count) {
  Rng rng(7);
  std::string bytes;
  while (bytes.size() < count) {
    const std::uint64_t word = rng.next();
    bytes.append(reinterpret_cast<const char*>(&word), sizeof word);
  }
  bytes.resize(count);
  return bytes;
}

// The file that is pushed; its last chunk is short.
const std::string kNew = random_bytes(kChunks * kMinChunkBytes - 100'000);

// One machine: a root with an older file at the destination, and the agent's records.
struct Machine {
  test::TempFolder folder;
  std::string root = folder / "root";
  std::string path = root + "/images/a.img";
  std::unique_ptr<PowerCut> power;
  ForgetfulStore store;

  explicit Machine(std::uint64_t seed = 1)
      : power(std::make_unique<PowerCut>(seed)), store(*power) {
    std::filesystem::create_directories(root + "/images");
    test::put_file(path, kOld);
  }
  // The power goes, and comes back.
  void restart(PowerCut::Loss loss, std::uint64_t seed = 1) {
    power->take_back(loss);
    store.take_back(loss);
    power = std::make_unique<PowerCut>(seed);
    store.use(*power);
  }
  // Names in the destination's folder beside the file itself.
  std::size_t others() const {
    return static_cast<std::size_t>(
               std::distance(std::filesystem::directory_iterator(root + "/images"), {})) -
           1;
  }
};

// One run of an agent that receives the file: as p2pd/transfer_part.cpp, step by step, with the
// chunks of kNew in place of peers.
class Receiver final : private PartClaims::Owner {
 public:
  explicit Receiver(Machine& machine)
      : records_(machine.store), space_(tree_of_bytes(kNew)), disk_(1, 1000) {
    auto made = LocalPrivileged::create({machine.root}, {}, "", *machine.power);
    REQUIRE(made);
    privileged_ = std::move(*made);
    tools_ = std::make_unique<PartTools>(PartTools{*privileged_, records_, *machine.power});
  }
  ~Receiver() { disk_.stop(); }

  Status run() {
    Part::Order order;
    order.content = ContentId{space_.tree().root};
    order.place = {1, {0, "images/a.img"}, ".p2pd-a.part"};
    order.space = space_;
    order.final_path = "images/a.img";
    order.mtime_ns = kMetadata.mtime_ns;
    auto found = Part::open(*tools_, order);
    if (!found) return found.error();
    if (!found->landed) {
      if (Status done = receive(*found); !done) return done;
    }
    return records_.erase(order.content);
  }

  // Chunks that were fetched, that were on record when the run began, that were looked at.
  std::set<std::uint32_t> fetched, recorded, looked_at;

 private:
  Status receive(const Part::Found& found) {
    part_ = found.part;
    for (std::uint32_t i = 0; i < kChunks; ++i) {
      if (found.durable.test(i)) recorded.insert(i);
      if (found.doubtful.test(i)) looked_at.insert(i);
    }
    have_ = found.durable;
    PartClaims::Owner& owner = *this;
    claims_ = std::make_unique<PartClaims>(control_, disk_, 2, part_, found.durable, owner);
    local_ = std::make_unique<LocalChunks>(control_, disk_, part_,
                                           [this](ChunkIndex chunk, const Status& right, bool) {
                                             if (right) on_have(chunk);
                                             if (!right) have_.reset(chunk.value);
                                           });
    for (const std::uint32_t i : looked_at) local_->look_in_part(ChunkIndex{i});
    settle();
    while (!failed_ && !have_.all()) {
      for (std::uint32_t i = have_.find(0, false); i < kChunks && !failed_;
           i = have_.find(i + 1, false)) {
        fetch(ChunkIndex{i});
      }
      settle();
    }
    claims_->stop();
    settle();
    if (failed_) return *failed_;
    auto landed = part_->land(kMetadata);
    return landed ? Status() : Status(landed.error());
  }

  void fetch(ChunkIndex chunk) {
    fetched.insert(chunk.value);
    const std::uint64_t offset = space_.offset_of(chunk);
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(kNew.data()) + offset;
    if (Status written = part_->write({bytes, space_.size_of(chunk)}, offset); !written) {
      failed_ = written.error();
      return;
    }
    on_have(chunk);
    if (chunk.value % kChunksBetweenSyncs == 0) {
      now_ = now_ + std::chrono::seconds(3);
      claims_->on_tick(now_);
      settle();
    }
  }
  void on_have(ChunkIndex chunk) {
    have_.set(chunk.value);
    claims_->on_chunk_written(chunk, now_);
  }
  // Until nothing is under way on the disk thread any more.
  void settle() {
    for (int quiet = 0; quiet < 3;) {
      control_.restart();
      const std::size_t ran = control_.poll();
      quiet = ran == 0 && disk_.queued() == 0 && lane_is_idle() ? quiet + 1 : 0;
    }
  }
  bool lane_is_idle() {
    bool reached = false;
    std::mutex mutex;
    std::condition_variable wake;
    disk_.post(2, [&] {
      const std::lock_guard lock(mutex);
      reached = true;
      wake.notify_one();
    });
    std::unique_lock lock(mutex);
    wake.wait(lock, [&] { return reached; });
    return local_->idle();
  }

  void on_claimed() override {}
  void on_chunks_unknown(std::vector<ChunkIndex> chunks, const Error&) override {
    for (const ChunkIndex chunk : chunks) local_->look_in_part(chunk);
  }
  void on_claims_failed(const Error& why) override { failed_ = why; }

  static inline const FileMetadata kMetadata{0640, 1'000'000'000'000'000'000, "", ""};

  PartRecords records_;
  ChunkSpace space_;
  DiskPool disk_;
  std::unique_ptr<LocalPrivileged> privileged_;
  std::unique_ptr<PartTools> tools_;
  boost::asio::io_context control_;
  std::shared_ptr<Part> part_;
  std::unique_ptr<PartClaims> claims_;
  std::unique_ptr<LocalChunks> local_;
  Bitfield have_;
  std::optional<Error> failed_;
  Time now_ = monotonic_now();
};

std::uint64_t calls_of_a_whole_run() {
  Machine machine;
  Receiver receiver(machine);
  REQUIRE(receiver.run());
  return machine.power->calls();
}

void cut_everywhere(PowerCut::Loss loss, std::uint64_t seed) {
  const std::uint64_t calls = calls_of_a_whole_run();
  REQUIRE(calls > 20);
  for (std::uint64_t call = 1; call <= calls; ++call) {
    CAPTURE(call, seed);
    Machine machine(seed + call);
    machine.power->cut_at(call);
    {
      Receiver receiver(machine);
      REQUIRE_FALSE(receiver.run());
    }
    machine.restart(loss);
    const std::string after = test::text_of(machine.path);
    REQUIRE((after == kOld || after == kNew));

    Receiver again(machine);
    const Status done = again.run();
    CAPTURE(done ? "" : done.error().detail);
    REQUIRE(done);
    REQUIRE(test::text_of(machine.path) == kNew);
    REQUIRE((test::facts_at(machine.path).st_mode & 0777) == 0640);
    REQUIRE(machine.others() == 0);
    for (const std::uint32_t chunk : again.recorded) {
      REQUIRE_FALSE(again.fetched.contains(chunk));
      REQUIRE_FALSE(again.looked_at.contains(chunk));
    }
  }
}

TEST_CASE("A transfer leaves one file, with its metadata, and no record", "[p2pd][landing]") {
  Machine machine;
  Receiver receiver(machine);
  REQUIRE(receiver.run());
  CHECK(test::text_of(machine.path) == kNew);
  CHECK(machine.others() == 0);
  CHECK(receiver.fetched.size() == kChunks);
  REQUIRE(machine.store.scan("part/", [](std::string_view key, const auto&) {
    FAIL("a record is left: " << key);
    return true;
  }));
}

TEST_CASE(
    "A power cut at any call that loses all that was not synced leaves the old file or the new",
    "[p2pd][landing]") {
  cut_everywhere(PowerCut::Loss::all, 0);
}

TEST_CASE("A power cut at any call that tears what was not synced leaves the old file or the new",
          "[p2pd][landing]") {
  for (const std::uint64_t seed : {100, 200, 300}) cut_everywhere(PowerCut::Loss::some, seed);
}

TEST_CASE("What a sync had covered before a power cut is neither fetched nor looked at again",
          "[p2pd][landing]") {
  Machine machine;
  machine.power->cut_at(calls_of_a_whole_run() - 6);
  {
    Receiver receiver(machine);
    REQUIRE_FALSE(receiver.run());
  }
  machine.restart(PowerCut::Loss::all);
  Receiver again(machine);
  REQUIRE(again.run());
  CHECK(again.recorded.size() >= kChunks - 2 * kChunksBetweenSyncs);
  for (const std::uint32_t chunk : again.recorded) {
    CHECK_FALSE(again.fetched.contains(chunk));
    CHECK_FALSE(again.looked_at.contains(chunk));
  }
}

TEST_CASE("What was written when a process was killed is looked at and not fetched",
          "[p2pd][landing]") {
  // The last calls are the sync, the rename, the sync of the folder and the end of the record.
  Machine machine;
  machine.power->cut_at(calls_of_a_whole_run() - 3);
  {
    Receiver receiver(machine);
    REQUIRE_FALSE(receiver.run());
  }
  // The machine stays on: nothing is taken back.
  machine.power = std::make_unique<PowerCut>();
  machine.store.use(*machine.power);
  Receiver again(machine);
  REQUIRE(again.run());
  CHECK(again.recorded.size() + again.looked_at.size() == kChunks);
  CHECK(again.fetched.empty());
}

TEST_CASE("A call that fails once ends in the new file, or in the old one and a reason",
          "[p2pd][landing]") {
  const std::uint64_t calls = calls_of_a_whole_run();
  std::uint64_t survived = 0;
  for (const int error : {EIO, ENOSPC, EROFS}) {
    for (std::uint64_t call = 1; call <= calls; ++call) {
      CAPTURE(call, error);
      Machine machine;
      machine.power->fail_at(call, error);
      {
        Receiver receiver(machine);
        const Status done = receiver.run();
        CAPTURE(machine.power->failed());
        const std::string after = test::text_of(machine.path);
        if (done) {
          ++survived;
          REQUIRE(after == kNew);
        } else {
          REQUIRE((after == kOld || after == kNew));
          REQUIRE_FALSE(done.error().detail.empty());
        }
      }
      Receiver again(machine);
      REQUIRE(again.run());
      REQUIRE(test::text_of(machine.path) == kNew);
      REQUIRE(machine.others() == 0);
    }
  }
  // A failed sync of data is one of those: what it covered was read back.
  CHECK(survived > 0);
}

TEST_CASE("A part whose records are lost is rebuilt by hashing it", "[p2pd][landing]") {
  Machine machine;
  machine.power->cut_at(calls_of_a_whole_run() - 6);
  {
    Receiver receiver(machine);
    REQUIRE_FALSE(receiver.run());
  }
  machine.power = std::make_unique<PowerCut>();
  machine.store.use(*machine.power);
  const PartRecords records(machine.store);
  REQUIRE(records.erase(ContentId{tree_of_bytes(kNew).root}));
  Receiver again(machine);
  REQUIRE(again.run());
  CHECK(again.recorded.empty());
  CHECK(again.fetched.size() < kChunks / 2);
  CHECK(test::text_of(machine.path) == kNew);
}

TEST_CASE("A part that was deleted, and whose inode number another file has now, claims nothing",
          "[p2pd][landing]") {
  Machine machine;
  machine.power->cut_at(calls_of_a_whole_run() - 6);
  {
    Receiver receiver(machine);
    REQUIRE_FALSE(receiver.run());
  }
  machine.power = std::make_unique<PowerCut>();
  machine.store.use(*machine.power);
  const std::string part = machine.root + "/images/.p2pd-a.part";
  REQUIRE(std::filesystem::remove(part));
  SECTION("nothing is there") {}
  SECTION("an empty file is there") {
    test::put_file(part, "");
  }
  SECTION("a file of the same size is there") {
    test::put_file(part, std::string(kNew.size(), '\0'));
  }
  SECTION("other bytes are there") {
    test::put_file(part, std::string(kNew.size(), 'x'));
  }
  Receiver again(machine);
  REQUIRE(again.run());
  CHECK(again.recorded.empty());
  CHECK(test::text_of(machine.path) == kNew);
}

}  // namespace
}  // namespace p2p
