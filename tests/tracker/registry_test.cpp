#include "tracker/registry.h"

#include <map>
#include <set>
#include <string>

#include "io/identity/token.h"
#include "io/runtime/wall_clock.h"
#include "io/state/memory_store.h"
#include "tests/support/catch.h"

namespace p2p {
namespace {

using Catch::Contains;

constexpr WallTime kNow = from_unix_seconds(1'800'000'000);
constexpr std::int64_t kExpiry = 1'800'000'100;

struct Fleet {
  MemoryStore store;
  Registry registry = load();

  Registry load() {
    auto loaded = Registry::load(store);
    REQUIRE(loaded);
    return *std::move(loaded);
  }
  void token(const std::string& id, std::uint32_t uses,
             const std::map<std::string, std::string>& labels = {}) {
    proto::TokenRecord token;
    token.set_id(id);
    token.set_secret_hash(secret_hash("secret of " + id));
    token.set_uses_left(uses);
    token.set_expires_unix(kExpiry);
    for (const auto& [key, value] : labels) (*token.mutable_labels())[key] = value;
    StateBatch batch;
    registry.put_token(token, batch);
    REQUIRE(store.apply(batch));
  }
  Result<proto::NodeRecord> join(const Registry::Join& request, WallTime now = kNow) {
    StateBatch batch;
    auto joined = registry.join(request, now, batch);
    if (joined) {
      REQUIRE(store.apply(batch));
    } else {
      CHECK(batch.changes.empty());
    }
    return joined;
  }
  Error refusal(const Registry::Join& request, WallTime now = kNow) {
    const std::size_t before = registry.nodes().size();
    const auto refused = join(request, now);
    REQUIRE_FALSE(refused);
    CHECK(registry.nodes().size() == before);
    return refused.error();
  }
};

Registry::Join with(const std::string& token, const std::string& name,
                    std::map<std::string, std::string> labels = {}) {
  return {token, "secret of " + token, name, std::move(labels)};
}

}  // namespace

TEST_CASE("A node that joined is found by its name and by its id, also after a restart",
          "[tracker]") {
  Fleet fleet;
  fleet.token("t", 1);
  const auto joined = fleet.join(with("t", "web1", {{"rack", "a"}}));
  REQUIRE(joined);
  CHECK(joined->name() == "web1");
  CHECK(joined->token_id() == "t");
  CHECK(joined->enrolled_unix() == unix_seconds(kNow));

  fleet.registry = fleet.load();
  NodeEntry* by_name = fleet.registry.find("web1");
  REQUIRE(by_name != nullptr);
  CHECK(by_name->record.labels().at("rack") == "a");
  CHECK_FALSE(by_name->online);
  CHECK(fleet.registry.find(joined->id()) == by_name);
  CHECK(fleet.registry.find(by_name->id) == by_name);
  CHECK(fleet.registry.find("web2") == nullptr);
  CHECK_THAT(Registry::unknown_node("web2").detail,
             Contains("web2") && Contains("p2pctl node list"));
}

TEST_CASE("Facts that change all the time count at once, and are stored once a minute",
          "[tracker]") {
  Fleet fleet;
  fleet.token("t", 1);
  REQUIRE(fleet.join(with("t", "web1")));
  NodeEntry& node = *fleet.registry.find("web1");
  std::size_t stored = 0;
  for (int second = 0; second < 180; ++second) {
    const WallTime now = kNow + std::chrono::seconds(second);
    proto::Facts facts;
    (*facts.mutable_values())["os.version"] = std::to_string(second);
    CHECK(fleet.registry.set_facts(node, facts, now));
    CHECK_FALSE(fleet.registry.set_facts(node, facts, now));
    CHECK(fleet.registry.resolve("os.version=" + std::to_string(second))->size() == 1);
    for (const StateBatch& batch : fleet.registry.facts_to_store(now)) {
      REQUIRE(fleet.store.apply(batch));
      ++stored;
    }
  }
  CHECK(stored == 3);
  const WallTime later = kNow + std::chrono::seconds(180);
  for (const StateBatch& batch : fleet.registry.facts_to_store(later)) {
    REQUIRE(fleet.store.apply(batch));
  }
  CHECK(fleet.registry.facts_to_store(later + std::chrono::hours(1)).empty());
  CHECK(fleet.load().find("web1")->facts.values().at("os.version") == "179");
}

TEST_CASE("A wrong secret and an unknown token are told in the same words", "[tracker]") {
  Fleet fleet;
  fleet.token("t", 1);
  const Error wrong = fleet.refusal({"t", "guess", "web1", {}});
  const Error unknown = fleet.refusal({"u", "guess", "web1", {}});
  const Error empty = fleet.refusal({"t", "", "web1", {}});
  CHECK(wrong.code == Errc::denied);
  CHECK(wrong.detail == unknown.detail);
  CHECK(wrong.detail == empty.detail);
  CHECK_THAT(wrong.detail, Contains("p2pctl token create"));
  CHECK(fleet.join(with("t", "web1")));
}

TEST_CASE("A wrong secret is not told whether its token has expired or is used up", "[tracker]") {
  Fleet fleet;
  fleet.token("t", 0);
  CHECK(fleet.refusal({"t", "guess", "web1", {}}, from_unix_seconds(kExpiry)).detail ==
        fleet.refusal({"u", "guess", "web1", {}}).detail);
}

TEST_CASE("A token admits as many nodes as it has uses, also across a restart", "[tracker]") {
  Fleet fleet;
  fleet.token("t", 2);
  REQUIRE(fleet.join(with("t", "web1")));
  fleet.registry = fleet.load();
  REQUIRE(fleet.join(with("t", "web2")));
  const Error used_up = fleet.refusal(with("t", "web3"));
  CHECK(used_up.code == Errc::denied);
  CHECK_THAT(used_up.detail, Contains("used up"));
  fleet.registry = fleet.load();
  CHECK_THAT(fleet.refusal(with("t", "web3")).detail, Contains("used up"));
}

TEST_CASE("A join that is refused does not use up its token", "[tracker]") {
  Fleet fleet;
  fleet.token("t", 2);
  REQUIRE(fleet.join(with("t", "web1")));
  CHECK(fleet.refusal(with("t", "web1")).code == Errc::already_exists);
  CHECK(fleet.refusal(with("t", "not a name")).code == Errc::invalid_argument);
  CHECK(fleet.refusal(with("t", "web2", {{"not a key", "a"}})).code == Errc::invalid_argument);
  CHECK(fleet.refusal(with("t", "web2", {{"rack", "not a value"}})).code == Errc::invalid_argument);
  CHECK(fleet.join(with("t", "web2")));
}

TEST_CASE("A token is good until the second in which it expires", "[tracker]") {
  Fleet fleet;
  fleet.token("t", 9);
  CHECK(fleet.join(with("t", "web1"), from_unix_seconds(kExpiry - 1)));
  const Error expired = fleet.refusal(with("t", "web2"), from_unix_seconds(kExpiry));
  CHECK(expired.code == Errc::denied);
  CHECK_THAT(expired.detail, Contains("expired at 2027-01-15T08:01:40Z"));
}

TEST_CASE("Labels of the token win over those that the node brings", "[tracker]") {
  Fleet fleet;
  fleet.token("t", 1, {{"dc", "north"}, {"rack", "a"}});
  const auto joined = fleet.join(with("t", "web1", {{"rack", "z"}, {"role", "web"}}));
  REQUIRE(joined);
  const std::map<std::string, std::string> labels = {joined->labels().begin(),
                                                     joined->labels().end()};
  CHECK(labels ==
        std::map<std::string, std::string>{{"dc", "north"}, {"rack", "a"}, {"role", "web"}});
}

TEST_CASE("A node brings at most 64 labels", "[tracker]") {
  Fleet fleet;
  fleet.token("t", 2);
  std::map<std::string, std::string> labels;
  while (labels.size() < 64) labels["key" + std::to_string(labels.size())] = std::string(63, 'v');
  CHECK(fleet.join(with("t", "web1", labels)));
  labels["one-more"] = "x";
  const Error refused = fleet.refusal(with("t", "web2", labels));
  CHECK(refused.code == Errc::invalid_argument);
  CHECK_THAT(refused.detail, Contains("64 labels"));
}

TEST_CASE("A name is taken as long as its node is in the cluster", "[tracker]") {
  Fleet fleet;
  fleet.token("t", 9);
  const auto first = fleet.join(with("t", "web1"));
  REQUIRE(first);
  const Error taken = fleet.refusal(with("t", "web1"));
  CHECK(taken.code == Errc::already_exists);
  CHECK_THAT(taken.detail, Contains("web1") && Contains("--name"));
  fleet.registry = fleet.load();
  CHECK(fleet.refusal(with("t", "web1")).code == Errc::already_exists);

  proto::NodeRecord removed = *first;
  removed.set_removed(true);
  StateBatch batch;
  batch.put("node/" + removed.id().substr(0, 2) + "/" + removed.id(), removed.SerializeAsString());
  REQUIRE(fleet.store.apply(batch));
  fleet.registry = fleet.load();
  CHECK(fleet.registry.find("web1") == nullptr);
  CHECK(fleet.registry.find(removed.id()) == nullptr);
  CHECK(fleet.registry.candidates().empty());
  const auto second = fleet.join(with("t", "web1"));
  REQUIRE(second);
  CHECK(second->id() != first->id());
}

TEST_CASE("A name that looks like a node's id is refused", "[tracker]") {
  Fleet fleet;
  fleet.token("t", 2);
  const std::string id = (*fleet.join(with("t", "web1"))).id();
  CHECK(fleet.refusal(with("t", id)).code == Errc::invalid_argument);
  CHECK(fleet.registry.find(id)->record.name() == "web1");
  CHECK(fleet.join(with("t", id.substr(1))));
}

TEST_CASE("Every node gets an id of its own", "[tracker]") {
  Fleet fleet;
  fleet.token("t", 100);
  std::set<std::string> ids;
  for (int i = 0; i < 100; ++i) {
    ids.insert(fleet.join(with("t", "web" + std::to_string(i)))->id());
  }
  CHECK(ids.size() == 100);
  CHECK(fleet.registry.candidates().size() == 100);
  fleet.registry = fleet.load();
  CHECK(fleet.registry.nodes().size() == 100);
}

TEST_CASE("Labels are set, replaced and removed, all of a request or nothing", "[tracker]") {
  Fleet fleet;
  fleet.token("t", 1);
  REQUIRE(fleet.join(with("t", "web1", {{"rack", "a"}, {"role", "web"}})));
  NodeEntry& node = *fleet.registry.find("web1");
  StateBatch batch;
  REQUIRE(fleet.registry.set_labels(node, {{"rack", "b"}, {"role", ""}, {"dc", "n"}}, batch));
  REQUIRE(fleet.store.apply(batch));
  const auto check_labels = [](const NodeEntry& entry) {
    CHECK(entry.record.labels_size() == 2);
    CHECK(entry.record.labels().at("rack") == "b");
    CHECK(entry.record.labels().at("dc") == "n");
  };
  check_labels(node);

  StateBatch none;
  CHECK_FALSE(fleet.registry.set_labels(node, {{"dc", "s"}, {"not a key", "x"}}, none));
  CHECK_FALSE(fleet.registry.set_labels(node, {{"dc", "not a value"}}, none));
  std::map<std::string, std::string> many;
  while (many.size() < 63) many["key" + std::to_string(many.size())] = "v";
  CHECK_FALSE(fleet.registry.set_labels(node, many, none));
  CHECK(none.changes.empty());
  check_labels(node);
  fleet.registry = fleet.load();
  check_labels(*fleet.registry.find("web1"));
}

TEST_CASE("A damaged record stops the start, and is named", "[tracker]") {
  MemoryStore store;
  const std::string key = GENERATE(std::string("node/99/99999999"), std::string("token/t"));
  StateBatch batch;
  batch.put(key, "\xff nonsense");
  REQUIRE(store.apply(batch));
  const auto loaded = Registry::load(store);
  REQUIRE_FALSE(loaded);
  CHECK(loaded.error().code == Errc::corrupt);
  CHECK_THAT(loaded.error().detail, Contains(key));
}

}  // namespace p2p
