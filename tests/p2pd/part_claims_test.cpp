#include "p2pd/part_claims.h"

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "tests/p2pd/part_fixture.h"

namespace p2p {
namespace {

using Catch::Contains;
using test::Indices;
using test::set_bits;
using test::values_of;

// Takes down what it is told.
struct Owner final : PartClaims::Owner {
  int claimed = 0;
  std::vector<Indices> unknown;
  std::vector<Error> failed;

  void on_claimed() override { ++claimed; }
  void on_chunks_unknown(std::vector<ChunkIndex> chunks, const Error&) override {
    unknown.push_back(values_of(chunks));
  }
  void on_claims_failed(const Error& why) override { failed.push_back(why); }
};

struct Claiming : test::Receiving {
  test::Threads threads;
  Owner owner;
  std::shared_ptr<Part> part = open_part();
  PartClaims claims{threads.control,
                    threads.disk,
                    test::Threads::kLane,
                    part,
                    Bitfield(test::kFileChunks),
                    owner};
  Time now = Time{} + std::chrono::seconds(1000);

  void take(std::uint32_t index) {
    write(*part, index);
    claims.on_chunk_written(ChunkIndex{index}, now);
  }
  // So much time that a sync is due.
  void begin_sync() {
    now = now + CheckpointSettings{}.sync_after;
    claims.on_tick(now);
  }
  void sync() {
    begin_sync();
    threads.settle();
  }
  Indices verified_on_record() {
    const auto facts = state_of(part->source()->file.get(), "part");
    REQUIRE(facts);
    return set_bits(records.verified(content, part->place(), *facts, test::kFileChunks));
  }
  // As the next process would find it.
  Indices durable_on_record() { return set_bits(open(order()).durable); }
};

}  // namespace

TEST_CASE("What a sync covered is claimed, and what came later waits for the next one",
          "[p2pd][claims]") {
  Claiming node;
  node.take(0);
  node.take(2);
  node.begin_sync();
  node.take(3);
  node.threads.settle();
  CHECK(node.owner.claimed == 1);
  CHECK(set_bits(node.claims.durable()) == Indices{0, 2});
  CHECK(node.durable_on_record() == Indices{0, 2});
  node.sync();
  CHECK(node.owner.claimed == 2);
  CHECK(node.durable_on_record() == Indices{0, 2, 3});
  CHECK(node.owner.unknown.empty());
  CHECK(node.owner.failed.empty());
}

TEST_CASE("Nothing is claimed before a sync is due", "[p2pd][claims]") {
  Claiming node;
  node.take(0);
  node.claims.on_tick(node.now);
  node.threads.settle();
  CHECK(node.files.syncs == 0);
  CHECK(node.claims.durable().none());
  CHECK(node.durable_on_record().empty());
  CHECK(node.verified_on_record() == Indices{0});
}

TEST_CASE("A sync that fails once makes everything unsynced unknown, what came later too",
          "[p2pd][claims]") {
  Claiming node;
  node.take(0);
  node.sync();
  node.take(2);
  node.files.failures = 1;
  node.begin_sync();
  node.take(3);
  node.threads.settle();
  CHECK(node.owner.unknown == std::vector<Indices>{{2, 3}});
  CHECK(node.owner.failed.empty());
  CHECK(node.durable_on_record() == Indices{0});
  // Nothing is left that a later sync would be believed to cover.
  node.sync();
  CHECK(node.files.syncs == 2);
  CHECK(set_bits(node.claims.durable()) == Indices{0});
}

TEST_CASE("What was unknown and is found right again is claimed by the next sync",
          "[p2pd][claims]") {
  Claiming node;
  node.take(2);
  node.files.failures = 1;
  node.sync();
  node.claims.on_chunk_written(ChunkIndex{2}, node.now);
  node.sync();
  CHECK(node.durable_on_record() == Indices{2});
  CHECK(node.verified_on_record() == Indices{2});
}

TEST_CASE("A second sync that fails after the first is the end", "[p2pd][claims]") {
  Claiming node;
  node.files.failures = 2;
  node.take(2);
  node.sync();
  CHECK(node.owner.failed.empty());
  node.claims.on_chunk_written(ChunkIndex{2}, node.now);
  node.sync();
  REQUIRE(node.owner.failed.size() == 1);
  CHECK(node.owner.failed.front().code == Errc::io_failed);
  CHECK_THAT(node.owner.failed.front().detail, Contains(node.path()));
  CHECK(node.owner.unknown.size() == 1);
  CHECK(node.claims.durable().none());
}

TEST_CASE("A sync that succeeds makes the failure before it the past", "[p2pd][claims]") {
  Claiming node;
  for (const std::uint32_t index : {0, 2, 3}) {
    node.files.failures = 1;
    node.take(index);
    node.sync();
    node.claims.on_chunk_written(ChunkIndex{index}, node.now);
    node.sync();
  }
  CHECK(node.owner.failed.empty());
  CHECK(node.owner.unknown == std::vector<Indices>{{0}, {2}, {3}});
  CHECK(node.durable_on_record() == Indices{0, 2, 3});
}

TEST_CASE("A part that was deleted, or has another size, is the end at once", "[p2pd][claims]") {
  Claiming node;
  node.take(0);
  SECTION("deleted") {
    std::filesystem::remove(node.file_of(*node.part));
  }
  SECTION("cut") {
    std::filesystem::resize_file(node.file_of(*node.part), 1);
  }
  node.sync();
  REQUIRE(node.owner.failed.size() == 1);
  CHECK(node.owner.failed.front().code == Errc::corrupt);
  CHECK(node.owner.unknown.empty());
}

TEST_CASE("A record that cannot be made is the end, and is called one of the checkpoint",
          "[p2pd][claims]") {
  Claiming node;
  node.take(0);
  node.power.cut_at(node.power.calls() + 1);
  node.sync();
  REQUIRE(node.owner.failed.size() == 1);
  CHECK_THAT(node.owner.failed.front().detail, Contains("checkpoint"));
  CHECK(node.owner.claimed == 0);
}

TEST_CASE("Nothing is begun after stop(), and all of it after go_on()", "[p2pd][claims]") {
  Claiming node;
  node.claims.stop();
  node.take(0);
  node.take(2);
  node.sync();
  CHECK_FALSE(node.claims.busy());
  CHECK(node.files.syncs == 0);
  CHECK(node.verified_on_record().empty());
  CHECK(node.owner.claimed == 0);
  node.claims.go_on();
  node.sync();
  CHECK(node.durable_on_record() == Indices{0, 2});
  CHECK(node.verified_on_record() == Indices{0, 2});
}

TEST_CASE("Claims are busy from the begin of a sync until its end was told", "[p2pd][claims]") {
  Claiming node;
  node.take(0);
  CHECK_FALSE(node.claims.busy());
  const int failures = GENERATE(0, 1);
  node.files.failures = failures;
  node.begin_sync();
  CHECK(node.claims.busy());
  node.threads.settle();
  CHECK_FALSE(node.claims.busy());
  CHECK(node.owner.claimed + static_cast<int>(node.owner.unknown.size()) == 1);
}

TEST_CASE("A sync that ends after stop() leaves no record behind the removal of the part's",
          "[p2pd][claims]") {
  Claiming node;
  node.take(0);
  node.files.failures = GENERATE(0, 1);
  node.begin_sync();
  node.claims.stop();
  node.threads.disk.post(test::Threads::kLane, [&] { (void)node.part->remove(); });
  node.threads.settle();
  CHECK_FALSE(node.claims.busy());
  CHECK(node.owner.claimed == 0);
  CHECK(node.owner.unknown.empty());
  CHECK(node.owner.failed.empty());
  std::string left;
  REQUIRE(node.store.scan("part/", [&](std::string_view key, const auto&) {
    left = key;
    return true;
  }));
  CHECK(left.empty());
}

}  // namespace p2p
