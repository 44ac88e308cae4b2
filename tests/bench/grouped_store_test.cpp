#include "bench/emulator/grouped_store.h"

#include "io/run/run_order.h"
#include "io/runtime/wall_clock.h"
#include "io/state/memory_store.h"
#include "p2pd/run_ledger.h"
#include "tests/support/catch.h"

namespace p2p::emulator {
namespace {

const WallTime kNow = from_unix_millis(1'790'000'000'000);

// Counts what reaches the disk, and can break.
struct Disk final : StateStore {
  Result<std::optional<Entry>> get(std::string_view key) override { return store.get(key); }
  Status apply(const StateBatch& batch, Durability durability) override {
    if (broken) return Error{Errc::io_failed, "the disk is full"};
    ++writes;
    all_synced = all_synced && durability == Durability::synced;
    return store.apply(batch, durability);
  }
  Status scan(std::string_view prefix, const Visitor& visit) override {
    return store.scan(prefix, visit);
  }

  MemoryStore store;
  int writes = 0;
  bool all_synced = true;
  bool broken = false;
};

StateBatch put(const std::string& key, const std::string& value,
               std::optional<std::uint64_t> version = std::nullopt) {
  StateBatch batch;
  batch.put(key, value, version);
  return batch;
}

RunId id_of(std::uint8_t number) {
  std::array<std::uint8_t, 16> random{};
  random[15] = number;
  return RunId::make(kNow, random);
}

TEST_CASE("a group of writes is one synced write below") {
  Disk disk;
  GroupedStore grouped(disk);
  for (int i = 0; i < 100; ++i) REQUIRE(grouped.apply(put("a/" + std::to_string(i), "x", 0)));
  CHECK(disk.writes == 0);
  REQUIRE(grouped.sync());
  CHECK(disk.writes == 1);
  CHECK(disk.all_synced);
  CHECK((*disk.get("a/99"))->value == "x");
}

TEST_CASE("what waits for its sync is seen, with the version that it will have") {
  Disk disk;
  REQUIRE(disk.store.apply(put("a", "old")));
  GroupedStore grouped(disk);
  REQUIRE(grouped.apply(put("a", "new", 1)));
  CHECK((*grouped.get("a"))->value == "new");
  CHECK((*grouped.get("a"))->version == 2);
  const Status again = grouped.apply(put("a", "other", 1));
  REQUIRE_FALSE(again);
  CHECK(again.error().code == Errc::already_exists);
  REQUIRE(grouped.sync());
  CHECK((*disk.get("a"))->value == "new");
  CHECK((*disk.get("a"))->version == 2);
}

TEST_CASE("two changes of one record keep their order") {
  Disk disk;
  GroupedStore grouped(disk);
  REQUIRE(grouped.apply(put("a", "1", 0)));
  REQUIRE(grouped.apply(put("a", "2", 1)));
  REQUIRE(grouped.sync());
  CHECK((*disk.get("a"))->value == "2");
  CHECK((*disk.get("a"))->version == 2);
}

TEST_CASE("a group never exceeds what a store takes at once") {
  Disk disk;
  GroupedStore grouped(disk);
  const std::string large(kMaxRecordBytes, 'x');
  for (int i = 0; i < 40; ++i) REQUIRE(grouped.apply(put("a/" + std::to_string(i), large)));
  REQUIRE(grouped.sync());
  CHECK(disk.writes > 1);
  CHECK((*disk.get("a/39"))->value == large);
}

TEST_CASE("after a sync that failed nothing is taken any more") {
  Disk disk;
  GroupedStore grouped(disk);
  REQUIRE(grouped.apply(put("a", "1")));
  disk.broken = true;
  REQUIRE_FALSE(grouped.sync());
  disk.broken = false;
  CHECK_FALSE(grouped.apply(put("b", "1")));
  CHECK_FALSE(grouped.sync());
}

TEST_CASE("a ledger on it answers from what it has written and not synced yet") {
  Disk disk;
  GroupedStore grouped(disk);
  const RunLedger ledger(grouped);
  proto::RunOrder order = new_run_order(id_of(1));
  order.add_arguments("true");
  const RunOffer offer{.id = id_of(1), .accepted_before = false};
  CHECK(ledger.take(offer, order, 1, kNow)->answer == OfferAnswer::begin);
  CHECK(ledger.take(offer, order, 1, kNow)->answer == OfferAnswer::say_recorded);
}

}  // namespace
}  // namespace p2p::emulator
