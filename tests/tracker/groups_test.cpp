#include "tracker/groups.h"

#include <string>

#include "io/identity/token.h"
#include "io/runtime/wall_clock.h"
#include "io/state/memory_store.h"
#include "tests/support/catch.h"
#include "tracker/registry.h"

namespace p2p {
namespace {

using Catch::Contains;

constexpr WallTime kNow = from_unix_seconds(1'800'000'000);

// A registry with the nodes web1, web2, db1.
struct Fleet {
  MemoryStore store;
  Registry registry = load();

  Fleet() {
    StateBatch batch;
    proto::TokenRecord token;
    token.set_id("t");
    token.set_secret_hash(secret_hash("s"));
    token.set_uses_left(3);
    token.set_expires_unix(unix_seconds(kNow) + 100);
    registry.put_token(token, batch);
    for (const std::string name : {"web1", "web2", "db1"}) {
      StateBatch joined;
      REQUIRE(registry.join({"t", "s", name, {{"role", name.substr(0, 2)}}}, kNow, joined));
      REQUIRE(store.apply(joined));
    }
  }
  Registry load() {
    auto loaded = Registry::load(store);
    REQUIRE(loaded);
    return *std::move(loaded);
  }
  Status set(const std::string& name, const std::string& expression) {
    proto::GroupRecord group;
    group.set_name(name);
    group.set_expression(expression);
    StateBatch batch;
    Status set = registry.groups().set(group, batch);
    if (set) {
      REQUIRE(store.apply(batch));
    } else {
      CHECK(batch.changes.empty());
    }
    return set;
  }
  std::string refusal(const std::string& name, const std::string& expression) {
    const Status refused = set(name, expression);
    REQUIRE_FALSE(refused);
    return refused.error().detail;
  }
  // Names, or why there are none.
  std::string operator()(const std::string& expression) const {
    const auto nodes = registry.resolve(expression);
    if (!nodes) return nodes.error().detail;
    std::string names;
    for (const NodeId id : *nodes) names += (names.empty() ? "" : " ") + registry.name_of(id);
    return names;
  }
  bool say(const std::string& node, const proto::Facts& facts) {
    const bool is_new = registry.set_facts(*registry.find(node), facts, kNow);
    for (const StateBatch& batch : registry.facts_to_store(kNow)) REQUIRE(store.apply(batch));
    return is_new;
  }
};

proto::Facts debian(const std::string& version) {
  proto::Facts facts;
  (*facts.mutable_values())["os.id"] = "debian";
  (*facts.mutable_values())["os.version"] = version;
  facts.add_addresses("10.2.0." + version);
  return facts;
}

}  // namespace

TEST_CASE("A group stands for its expression, also after a restart", "[tracker]") {
  Fleet fleet;
  REQUIRE(fleet.set("web", "role=we"));
  REQUIRE(fleet.set("all", "@web,db1"));
  CHECK(fleet("@web") == "web1 web2");
  CHECK(fleet("@all - web1") == "db1 web2");
  fleet.registry = fleet.load();
  CHECK(fleet("@all - web1") == "db1 web2");
}

TEST_CASE("A group that would contain itself is refused with the circle", "[tracker]") {
  Fleet fleet;
  CHECK_THAT(fleet.refusal("a", "web1,@a"), Contains("@a > @a"));
  REQUIRE(fleet.set("a", "web1"));
  REQUIRE(fleet.set("b", "@a"));
  REQUIRE(fleet.set("c", "db1,@b"));
  CHECK_THAT(fleet.refusal("a", "web2,@c"),
             Contains("group a would contain itself: @a > @c > @b > @a"));
  // And stays what it was.
  CHECK(fleet("@c") == "db1 web1");
}

TEST_CASE("Groups that share groups are checked without going each way through them", "[tracker]") {
  Fleet fleet;
  REQUIRE(fleet.set("g0", "web1"));
  REQUIRE(fleet.set("h0", "web2"));
  for (int i = 1; i < 16; ++i) {
    const std::string below = "@g" + std::to_string(i - 1) + ",@h" + std::to_string(i - 1);
    REQUIRE(fleet.set("g" + std::to_string(i), below));
    REQUIRE(fleet.set("h" + std::to_string(i), below));
  }
  CHECK(fleet("@h15") == "web1 web2");
}

TEST_CASE("What is wrong with a group is said when it is set", "[tracker]") {
  Fleet fleet;
  CHECK_THAT(fleet.refusal("web", "web["), Contains("group web"));
  CHECK_THAT(fleet.refusal("web", ""), Contains("group web"));
  CHECK_THAT(fleet.refusal("we b", "web1"), Contains("cannot be the name of a group"));
  CHECK_THAT(fleet.refusal("web", "@wbe"), Contains("no group named \"wbe\""));
}

TEST_CASE("A group that is part of another one is not removed", "[tracker]") {
  Fleet fleet;
  REQUIRE(fleet.set("a", "web1"));
  REQUIRE(fleet.set("b", "@a"));
  StateBatch batch;
  const auto refused = fleet.registry.groups().remove("a", batch);
  REQUIRE_FALSE(refused);
  CHECK_THAT(refused.error().detail, Contains("part of group b"));
  REQUIRE(fleet.registry.groups().remove("b", batch));
  REQUIRE(fleet.registry.groups().remove("a", batch));
  REQUIRE(fleet.store.apply(batch));
  fleet.registry = fleet.load();
  CHECK(fleet.registry.groups().list().empty());
}

TEST_CASE("Nodes are selected by what they have said of themselves, also after a restart",
          "[tracker]") {
  Fleet fleet;
  CHECK(fleet.say("web1", debian("12")));
  CHECK(fleet.say("db1", debian("11")));
  CHECK(fleet("os.id=debian & os.version>=12") == "web1");
  fleet.registry = fleet.load();
  CHECK(fleet("os.id=debian") == "db1 web1");
  CHECK(fleet("ip in 10.2.0.0/28") == "db1 web1");
  // The same again is not written.
  CHECK_FALSE(fleet.say("db1", debian("11")));
  CHECK(fleet.say("db1", debian("12")));
  CHECK(fleet("os.version>=12") == "db1 web1");
}

TEST_CASE("What cannot be a fact, and what is too much of it, is passed over", "[tracker]") {
  Fleet fleet;
  proto::Facts facts = debian("12");
  (*facts.mutable_values())["a b"] = "x";
  (*facts.mutable_values())["long"] = std::string(256, 'x');
  (*facts.mutable_values())["escape"] = "\x1b[31m";
  facts.add_addresses("localhost");
  for (int i = 0; i < 100; ++i) {
    (*facts.mutable_values())["z" + std::to_string(i)] = "1";
    facts.add_addresses("fd00::" + std::to_string(i));
  }
  REQUIRE(fleet.say("web1", facts));
  const auto& kept = fleet.registry.find("web1")->facts;
  CHECK(kept.values_size() == 64);
  CHECK(kept.addresses_size() == 64);
  CHECK(kept.values().at("escape") == "?[31m");
  CHECK_FALSE(kept.values().contains("a b"));
  CHECK_FALSE(kept.values().contains("long"));
  CHECK(kept.addresses(0) == "10.2.0.12");
  CHECK(kept.addresses(1) == "fd00::0");
}

TEST_CASE("A removed node's facts are gone with it", "[tracker]") {
  Fleet fleet;
  REQUIRE(fleet.say("web1", debian("12")));
  StateBatch batch;
  fleet.registry.remove(*fleet.registry.find("web1"), kNow, batch);
  REQUIRE(fleet.store.apply(batch));
  int left = 0;
  REQUIRE(fleet.store.scan("facts/", [&](std::string_view, const auto&) { return ++left > 0; }));
  CHECK(left == 0);
}

}  // namespace p2p
