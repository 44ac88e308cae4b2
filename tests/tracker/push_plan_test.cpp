// What a push would cost each node, before anything is sent.
#include <map>

#include "tests/tracker/board_fixture.h"
#include "tests/tracker/hint_fixture.h"

namespace p2p {
namespace {

using test::connect_with;
using test::Disk;
using test::hint_made;
using test::must;
using test::Process;
using test::publish_version;

// images/base@1 of 1000 bytes and @2 of 2000; old has @1, new has @2, bare has nothing.
struct Fleet : Process {
  proto::ContentRecord v1 = publish_version(*this, std::string(1000, 'a'));
  proto::ContentRecord v2 = publish_version(*this, std::string(2000, 'b'));

  explicit Fleet(Disk& disk_value) : Process(disk_value) {
    for (const char* name : {"old", "new", "bare"}) enrol(name);
    connect_with(*this, "old", {{v1, "/srv/base.img"}});
    connect_with(*this, "new", {{v2, "/srv/base.img"}});
    connect_with(*this, "bare", {});
    agents.take();
  }
  proto::PushSpec spec(const std::string& path = "") {
    proto::PushSpec spec;
    spec.set_source("images/base");
    spec.set_targets("*");
    spec.set_path(path);
    return spec;
  }
  proto::PushPlan plan(const proto::PushSpec& spec) { return must(board.push_plan(spec, now)); }
  static proto::NodePlan of(const proto::PushPlan& plan, const std::string& name) {
    for (const auto& node : plan.nodes()) {
      if (node.node() == name) return node;
    }
    FAIL("no plan for " + name);
    return {};
  }
  void add(const proto::HintMade& made) {
    StateBatch batch;
    REQUIRE(hints.add(must(Hints::read(made, id("new"), now)), catalogue, batch));
  }
};

TEST_CASE("A plan says what each node fetches at most, and why", "[tracker]") {
  Disk disk;
  Fleet fleet(disk);
  const auto plan = fleet.plan(fleet.spec());
  CHECK(plan.file_name() == "images/base@2");
  CHECK(plan.data_bytes() == 2000);
  CHECK(plan.fetch_bytes() == 4000);
  const auto has = fleet.of(plan, "new");
  CHECK(has.fetch_bytes() == 0);
  CHECK(has.exact());
  CHECK(has.online());
  const auto bare = fleet.of(plan, "bare");
  CHECK(bare.fetch_bytes() == 2000);
  CHECK(bare.basis() == "no older version");
  const auto old = fleet.of(plan, "old");
  CHECK(old.fetch_bytes() == 2000);
  CHECK_FALSE(old.exact());
  CHECK(old.basis().find("holds images/base@1, no recipe yet") == 0);
  // Nothing was made, nobody was told.
  CHECK(fleet.agents.sent.empty());
  CHECK(fleet.board.newest_first().empty());
}

TEST_CASE("With a recipe for what a node holds the plan is exact", "[tracker]") {
  Disk disk;
  Fleet fleet(disk);
  fleet.add(hint_made(fleet.v2, nullptr, "signature"));
  CHECK(fleet.of(fleet.plan(fleet.spec()), "old").basis() ==
        "holds images/base@1: at most, a signature will tell");
  fleet.add(hint_made(fleet.v2, &fleet.v1, "recipe", 1900));
  const auto plan = fleet.plan(fleet.spec());
  CHECK(fleet.of(plan, "old").fetch_bytes() == 100);
  CHECK(fleet.of(plan, "old").exact());
  CHECK(fleet.of(plan, "old").basis() == "images/base@1, by recipe");
  CHECK(fleet.of(plan, "bare").fetch_bytes() == 2000);

  auto without = fleet.spec();
  without.set_no_delta(true);
  CHECK(fleet.of(fleet.plan(without), "old").fetch_bytes() == 2000);
}

TEST_CASE("A node that is away is planned with what it held", "[tracker]") {
  Disk disk;
  Fleet fleet(disk);
  fleet.add(hint_made(fleet.v2, &fleet.v1, "recipe", 1900));
  fleet.offline("old");
  const auto old = fleet.of(fleet.plan(fleet.spec()), "old");
  CHECK_FALSE(old.online());
  CHECK(old.fetch_bytes() == 100);
}

TEST_CASE("With a path the plan counts what lies there, and refuses what a push would refuse",
          "[tracker]") {
  Disk disk;
  Fleet fleet(disk);
  const auto other = test::content_of_bytes(std::string(700, 'o'));
  StateBatch batch;
  fleet.catalogue.add_content(other, batch);
  connect_with(fleet, "bare", {{other, "/srv/x/base.img"}});
  CHECK(fleet.of(fleet.plan(fleet.spec("x/")), "bare").basis().find("holds content ") == 0);
  CHECK(fleet.of(fleet.plan(fleet.spec("y/")), "bare").basis() == "no older version");
  CHECK(fleet.board.push_plan(fleet.spec("/etc/x"), fleet.now).error().code == Errc::denied);
  auto named = fleet.spec();
  named.set_basis("old.img");
  CHECK(fleet.of(fleet.plan(named), "bare").basis().find("old.img: at most") == 0);
}

TEST_CASE("What cannot be planned is refused", "[tracker]") {
  Disk disk;
  Fleet fleet(disk);
  auto spec = fleet.spec();
  spec.set_source("new:/srv/base.img");
  CHECK(fleet.board.push_plan(spec, fleet.now).error().code == Errc::invalid_argument);
  spec.set_source("images/nothing");
  CHECK(fleet.board.push_plan(spec, fleet.now).error().code == Errc::not_found);
  spec = fleet.spec();
  spec.set_targets("nobody");
  CHECK_FALSE(fleet.board.push_plan(spec, fleet.now));
}

}  // namespace
}  // namespace p2p
