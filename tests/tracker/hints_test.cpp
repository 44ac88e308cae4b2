// The soft records: what is kept of hints, for how long, and what blames do.
#include "tracker/hints.h"

#include "tests/tracker/board_fixture.h"
#include "tests/tracker/hint_fixture.h"

namespace p2p {
namespace {

using test::content_of_bytes;
using test::Disk;
using test::hint_made;
using test::must;
using test::Process;

// Contents with roots in the catalogue, the first one the oldest, and hints about the last one.
struct Versions : Process {
  std::vector<proto::ContentRecord> contents;
  NodeId maker, other;

  explicit Versions(Disk& disk_value, int count = 3) : Process(disk_value) {
    for (int i = 0; i < count; ++i) {
      auto record = content_of_bytes(std::string(1000 + static_cast<std::size_t>(i), 'v'));
      record.set_known_unix(1000 + i);
      StateBatch batch;
      catalogue.add_content(record, batch);
      REQUIRE(disk.store.apply(batch));
      contents.push_back(std::move(record));
    }
    enrol("maker");
    enrol("other");
    maker = id("maker");
    other = id("other");
  }
  const proto::ContentRecord& newest() const { return contents.back(); }
  Digest root(std::size_t index) const { return *Digest::from_raw(contents[index].root()); }
  Digest new_root() const { return root(contents.size() - 1); }
  proto::HintRecord recipe_from(std::size_t old, NodeId by, const std::string& bytes = "r") {
    return must(Hints::read(hint_made(newest(), &contents[old], bytes), by, now));
  }
  proto::HintRecord signature(NodeId by, const std::string& bytes = "s") {
    return must(Hints::read(hint_made(newest(), nullptr, bytes), by, now));
  }
  Status add(proto::HintRecord record) {
    StateBatch batch;
    const Status added = hints.add(std::move(record), catalogue, batch);
    if (!batch.changes.empty()) REQUIRE(disk.store.apply(batch));
    return added;
  }
  std::optional<proto::HintRecord> blame(const proto::HintRecord& hint, NodeId by) {
    StateBatch batch;
    auto dropped = hints.blame(content_id_of(hint.root_record()), by, batch);
    if (!batch.changes.empty()) REQUIRE(disk.store.apply(batch));
    return dropped;
  }
};

TEST_CASE("Recipes and the signature of a new file outlive the tracker's process", "[tracker]") {
  Disk disk;
  Versions process(disk);
  REQUIRE(process.add(process.recipe_from(0, process.maker)));
  REQUIRE(process.add(process.recipe_from(1, process.maker, "q")));
  REQUIRE(process.add(process.signature(process.maker)));
  const std::string root = process.new_root().hex();
  CHECK(disk.store.keys("hint/").size() == 3);
  CHECK(disk.store.keys("hint/" + root.substr(0, 2) + "/" + root + "/sig").size() == 1);

  const Hints again = must(Hints::load(disk.store));
  CHECK(again.size() == 3);
  REQUIRE(again.of(process.new_root()).size() == 3);
  CHECK(again.of(process.new_root()).back()->kind() == proto::HINT_SIGNATURE);
  const auto* recipe = again.recipe(process.new_root(), process.root(1));
  REQUIRE(recipe != nullptr);
  CHECK(recipe->maker() == process.maker.str());
  CHECK(again.find(content_id_of(recipe->root_record())) == recipe);
  CHECK(again.of(process.root(0)).empty());
}

TEST_CASE("A record that cannot be read costs nothing but itself", "[tracker]") {
  Disk disk;
  Versions process(disk);
  REQUIRE(process.add(process.signature(process.maker)));
  StateBatch batch;
  batch.put("hint/00/00/sig", "\xff");
  REQUIRE(disk.store.apply(batch));
  CHECK(must(Hints::load(disk.store)).size() == 1);
}

TEST_CASE("The first maker of a pair wins, and may make it again", "[tracker]") {
  Disk disk;
  Versions process(disk);
  REQUIRE(process.add(process.recipe_from(0, process.maker, "first")));
  CHECK(process.add(process.recipe_from(0, process.other)).error().code == Errc::already_exists);
  CHECK(process.add(process.recipe_from(0, process.maker, "longer than before")));
  CHECK(process.hints.recipe(process.new_root(), process.root(0))->bytes() == 18);
}

TEST_CASE("Three nodes that blame a hint have it dropped, and its maker cannot bring it again",
          "[tracker]") {
  Disk disk;
  Versions process(disk);
  const auto record = process.recipe_from(0, process.maker);
  REQUIRE(process.add(record));
  NodeId a, b, c;
  a.bytes[0] = 1;
  b.bytes[0] = 2;
  c.bytes[0] = 3;
  CHECK_FALSE(process.blame(record, a));
  CHECK_FALSE(process.blame(record, a));
  CHECK_FALSE(process.blame(record, b));
  CHECK(process.hints.recipe(process.new_root(), process.root(0)) != nullptr);
  // Making it again makes nothing good.
  REQUIRE(process.add(process.recipe_from(0, process.maker)));
  const auto dropped = process.blame(record, c);
  REQUIRE(dropped);
  CHECK(dropped->maker() == process.maker.str());
  CHECK(process.hints.of(process.new_root()).empty());
  CHECK_FALSE(process.blame(record, c));

  process.hints = must(Hints::load(disk.store));
  CHECK(process.hints.of(process.new_root()).empty());
  CHECK(process.add(process.recipe_from(0, process.maker)).error().code == Errc::denied);
  REQUIRE(process.add(process.recipe_from(0, process.other)));
  CHECK(process.hints.of(process.new_root()).size() == 1);
  // Also when another one's has taken its place.
  for (const NodeId node : {a, b, c}) process.blame(record, node);
  CHECK(process.add(process.recipe_from(0, process.maker)).error().code == Errc::denied);
  CHECK(process.add(process.recipe_from(0, process.other)).error().code == Errc::denied);
}

TEST_CASE("Of more recipes than allowed those from the newest files stay", "[tracker]") {
  Disk disk;
  Versions process(disk, 5);
  process.hints = must(Hints::load(disk.store, {.recipes = 2}));
  REQUIRE(process.add(process.recipe_from(1, process.maker)));
  REQUIRE(process.add(process.recipe_from(3, process.maker)));
  REQUIRE(process.add(process.recipe_from(2, process.maker)));
  CHECK(process.add(process.recipe_from(0, process.maker)).error().code == Errc::exhausted);
  REQUIRE(process.add(process.signature(process.maker)));
  CHECK(process.hints.of(process.new_root()).size() == 3);
  CHECK(process.hints.recipe(process.new_root(), process.root(1)) == nullptr);
  CHECK(must(Hints::load(disk.store)).of(process.new_root()).size() == 3);
}

TEST_CASE("Of more records than allowed the oldest are forgotten", "[tracker]") {
  Disk disk;
  Versions process(disk, 6);
  process.hints = must(Hints::load(disk.store, {.records = 3}));
  for (std::size_t i = 0; i < 5; ++i) {
    process.now = process.now + std::chrono::seconds(10);
    REQUIRE(process.add(process.recipe_from(i, process.maker)));
  }
  CHECK(process.hints.size() == 3);
  CHECK(process.hints.recipe(process.new_root(), process.root(1)) == nullptr);
  CHECK(process.hints.recipe(process.new_root(), process.root(2)) != nullptr);
  CHECK(must(Hints::load(disk.store)).size() == 3);
}

TEST_CASE("What is no hint, or about files that nobody knows, is refused", "[tracker]") {
  Disk disk;
  Versions process(disk);
  const auto good = hint_made(process.newest(), &process.contents[0], "r");
  const auto refused = [&](auto change) {
    auto made = good;
    change(made);
    return !Hints::read(made, process.maker, process.now);
  };
  CHECK(Hints::read(good, process.maker, process.now));
  CHECK(refused([](auto& made) { made.set_new_root("short"); }));
  CHECK(refused([](auto& made) { made.set_new_root(std::string(32, '\0')); }));
  CHECK(refused([](auto& made) { made.set_old_root(made.new_root()); }));
  CHECK(refused([](auto& made) { made.set_old_root(std::string(32, '\0')); }));
  CHECK(refused([](auto& made) { made.clear_old_content(); }));
  CHECK(refused([](auto& made) { made.set_bytes(2); }));
  CHECK(refused([](auto& made) { made.set_bytes(0); }));
  CHECK(refused([](auto& made) { made.set_bytes(kMaxRecipeHintBytes + 1); }));
  CHECK(refused([](auto& made) { made.set_root_record("no record"); }));
  CHECK(refused([](auto& made) { made.set_kind(static_cast<proto::HintKind>(7)); }));
  // A root record of something that has data of its own.
  CHECK(refused([](auto& made) {
    made.set_root_record(test::packed("a.img", std::string(1000, 'x')).root_record_bytes);
  }));
  auto of_unknown = must(Hints::read(good, process.maker, process.now));
  of_unknown.set_old_root(std::string(32, 'u'));
  CHECK(process.add(of_unknown).error().code == Errc::invalid_argument);
  CHECK(process.hints.size() == 0);
}

}  // namespace
}  // namespace p2p
