// What agents are told of racks, and seeds of each other.
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/tracker/board_fixture.h"
#include "tracker/job_board.h"

namespace p2p {
namespace {

using test::Disk;
using test::Process;
using test::publish_base;
using test::push_of;
using test::say_holding;

using Names = std::set<std::string>;

struct Racks : Process {
  explicit Racks(Disk& disk_value) : Process(disk_value) {}

  void enrol_in(const std::string& name, const std::string& rack) {
    enrol(name, {{"dc", "d1"}, {"rack", rack}});
    online(name);
  }
  Names mates_of(const std::string& name) {
    Names mates;
    for (const auto& message : sent_to(name)) {
      for (const auto& peer : message.push().peers()) {
        const NodeEntry* node = registry.find(*NodeId::parse(peer.node_id()));
        if (peer.rack_mate()) mates.insert(node->record.name());
      }
    }
    return mates;
  }
  // The lists of seeds that a node was sent since the last call of take().
  std::vector<Names> seeds_told(const std::string& name) {
    std::vector<Names> lists;
    for (const auto& message : sent_to(name)) {
      if (!message.has_seeds()) continue;
      Names list;
      for (const std::string& id : message.seeds().node_ids()) {
        list.insert(registry.find(*NodeId::parse(id))->record.name());
      }
      lists.push_back(list);
    }
    return lists;
  }
};

}  // namespace

TEST_CASE("A receiver is told who of its peers stands in its rack", "[tracker]") {
  Disk disk;
  Racks process(disk);
  const auto manifest = publish_base(process);
  process.enrol_in("seed", "a");
  for (const char* name : {"web1", "web2"}) process.enrol_in(name, "a");
  for (const char* name : {"web3", "web4"}) process.enrol_in(name, "b");
  process.enrol_online("web5");
  say_holding(process, "seed", manifest.content_id);
  process.create(push_of("images/base", "web[1-5]"));
  CHECK(process.mates_of("web1") == Names{"seed", "web2"});
  CHECK(process.mates_of("web3") == Names{"web4"});
  CHECK(process.mates_of("web5").empty());
}

TEST_CASE("An agent hears of its new labels at once", "[tracker]") {
  Disk disk;
  Racks process(disk);
  process.enrol_in("web1", "a");
  process.enrol("away", {{"rack", "a"}});
  for (const char* name : {"web1", "away"}) {
    StateBatch batch;
    REQUIRE(process.registry.set_labels(*process.registry.find(name), {{"rack", "b"}}, batch));
    process.board.on_labels_changed(*process.registry.find(name));
  }
  REQUIRE(process.sent_to("web1").size() == 1);
  const proto::TrackerMessage message = process.sent_to("web1").front();
  CHECK(message.labels().labels().at("rack") == "b");
  CHECK(message.labels().labels().at("dc") == "d1");
  CHECK(process.sent_to("away").empty());
}

TEST_CASE("Several seeds are told of each other before the first receiver is told of them",
          "[tracker]") {
  Disk disk;
  Racks process(disk);
  const auto manifest = publish_base(process);
  for (const char* name : {"seed1", "seed2", "seed3", "web1"}) process.enrol_online(name);
  say_holding(process, "seed1", manifest.content_id);

  SECTION("one alone has nothing to divide") {
    process.create(push_of("images/base", "web1"));
    CHECK(process.seeds_told("seed1").empty());
    // Until there is another one.
    say_holding(process, "seed2", manifest.content_id);
    CHECK(process.seeds_told("seed1") == std::vector{Names{"seed1", "seed2"}});
    CHECK(process.seeds_told("seed2") == std::vector{Names{"seed1", "seed2"}});
  }
  SECTION("two") {
    say_holding(process, "seed2", manifest.content_id);
    CHECK(process.seeds_told("seed1").empty());  // nobody wants it
    process.create(push_of("images/base", "web1"));
    REQUIRE(process.agents.sent.size() == 3);
    CHECK(process.agents.sent.back().message.has_push());
    CHECK(process.seeds_told("seed1") == std::vector{Names{"seed1", "seed2"}});
    CHECK(process.seeds_told("seed2") == std::vector{Names{"seed1", "seed2"}});
    process.agents.take();

    SECTION("a receiver that lands is none of them") {
      say_holding(process, "web1", manifest.content_id);
      CHECK(process.agents.sent.empty());
    }
    SECTION("one that goes away leaves its share to the rest") {
      process.offline("seed2");
      CHECK(process.seeds_told("seed1") == std::vector{Names{"seed1"}});
      process.agents.take();
      SECTION("until it is back") {
        process.online("seed2");
        say_holding(process, "seed2", manifest.content_id);
        CHECK(process.seeds_told("seed1") == std::vector{Names{"seed1", "seed2"}});
        CHECK(process.seeds_told("seed2") == std::vector{Names{"seed1", "seed2"}});
      }
    }
    SECTION("one whose file is gone is none any more") {
      proto::Holdings gone;
      auto& holding = *gone.add_holdings();
      holding.set_content_id(std::string(manifest.content_id.digest.view()));
      holding.set_gone(true);
      process.board.on_holdings(process.id("seed2"), gone);
      CHECK(process.seeds_told("seed1") == std::vector{Names{"seed1"}});
      CHECK(process.seeds_told("seed2").empty());
    }
    SECTION("when the push is over nobody is told any more") {
      process.report("web1", JobId{1}, TaskState::succeeded);
      process.agents.take();
      say_holding(process, "seed3", manifest.content_id);
      CHECK(process.agents.sent.empty());
    }
  }
}

}  // namespace p2p
