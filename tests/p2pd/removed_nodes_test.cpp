#include "p2pd/removed_nodes.h"

#include <deque>
#include <functional>

#include "io/disk/file_io.h"
#include "tests/io/identity/test_cluster.h"
#include "tests/support/temp_folder.h"

namespace p2p {
namespace {

using test::kDay;
using test::must;
using test::TempFolder;
using test::TestCluster;

NodeId node(std::uint8_t n) {
  NodeId id;
  id.bytes.fill(n);
  return id;
}

struct Tracker {
  TestCluster cluster;
  WallTime now = test::wall_now();

  std::string list(std::uint64_t version, std::set<NodeId> nodes, const Credentials& signer) const {
    return must(
        sign_deny_list(must(StatementSigner::make(signer)), cluster.id, {version, now, nodes}));
  }
  std::string list(std::uint64_t version, std::set<NodeId> nodes) const {
    return list(version, std::move(nodes), cluster.member(Role::tracker));
  }
  StatementVerifier verifier() const {
    return must(StatementVerifier::make(cluster.root.certificate_pem, cluster.id));
  }
};

struct Agent {
  StatementVerifier verifier;
  RemovedNodes removed{verifier};

  explicit Agent(const Tracker& tracker) : verifier(tracker.verifier()) {}
};

TEST_CASE("A newer deny-list replaces the older one, and never the other way round", "[p2pd]") {
  Tracker tracker;
  Agent agent(tracker);
  const std::string first = tracker.list(10, {node(1)});
  const std::string second = tracker.list(11, {node(1), node(2)});
  CHECK(agent.removed.version() == 0);
  CHECK(must(agent.removed.take(second, tracker.now)));
  CHECK_FALSE(must(agent.removed.take(first, tracker.now)));
  CHECK_FALSE(must(agent.removed.take(second, tracker.now)));
  CHECK(agent.removed.version() == 11);
  CHECK(agent.removed.contains(node(2)));
  CHECK_FALSE(agent.removed.contains(node(3)));
  CHECK(agent.removed.statement() == second);
  // A node whose certificate has run out leaves the list.
  CHECK(must(agent.removed.take(tracker.list(12, {node(2)}), tracker.now)));
  CHECK_FALSE(agent.removed.contains(node(1)));
}

TEST_CASE("Only the tracker makes a deny-list, and nobody changes one", "[p2pd]") {
  Tracker tracker;
  Agent agent(tracker);
  const auto refused = [&](const std::string& statement) {
    const auto taken = agent.removed.take(statement, tracker.now);
    CHECK(agent.removed.version() == 0);
    return !taken.has_value();
  };
  CHECK(refused(tracker.list(10, {node(1)}, tracker.cluster.member(Role::agent))));
  CHECK(refused(tracker.list(10, {node(1)}, TestCluster().member(Role::tracker))));
  std::string changed = tracker.list(10, {node(1)});
  changed[changed.find(std::string(16, '\x01'))] = 2;
  CHECK(refused(changed));
  CHECK(refused(""));
  CHECK(refused("no list"));
  // Version 0 stands for none.
  CHECK(refused(tracker.list(0, {node(1)})));
  CHECK(must(agent.removed.take(tracker.list(10, {node(1)}), tracker.now)));
}

TEST_CASE("A deny-list survives a restart", "[p2pd]") {
  Tracker tracker;
  TempFolder folder;
  const std::string file = folder / "deny-list";
  const std::string list = tracker.list(7, {node(1)});
  REQUIRE(RemovedNodes::store(file, list));
  Agent agent(tracker);
  CHECK(agent.removed.load(file, tracker.now));
  CHECK(agent.removed.contains(node(1)));
  CHECK(agent.removed.statement() == list);
  Agent fresh(tracker);
  CHECK(fresh.removed.load(folder / "nothing", tracker.now));
  CHECK(fresh.removed.version() == 0);
}

TEST_CASE("A stored deny-list that is damaged or older than its signer counts as none", "[p2pd]") {
  Tracker tracker;
  TempFolder folder;
  const std::string file = folder / "deny-list";
  REQUIRE(RemovedNodes::store(
      file, tracker.list(7, {node(1)},
                         tracker.cluster.member(Role::tracker, {tracker.now - kClockSkewAllowance,
                                                                tracker.now + kDay}))));
  Agent agent(tracker);
  const Status old = agent.removed.load(file, tracker.now + 2 * kDay);
  REQUIRE_FALSE(old);
  CHECK(old.error().code == Errc::denied);
  CHECK(agent.removed.version() == 0);
  REQUIRE(write_file_atomically(file, "half a li", 0600));
  CHECK(agent.removed.load(file, tracker.now).error().code == Errc::corrupt);
  CHECK(agent.removed.version() == 0);
}

// Agents in a row, each connected with the next one, and messages between them.
struct Row {
  Tracker tracker;
  std::deque<Agent> agents;
  int lists_sent = 0;
  std::deque<std::function<void()>> wire;

  explicit Row(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) agents.emplace_back(tracker);
    for (std::size_t i = 0; i + 1 < count; ++i) connect(i, i + 1);
  }
  static NodeId id(std::size_t index) { return node(static_cast<std::uint8_t>(100 + index)); }
  void connect(std::size_t a, std::size_t b) {
    agents[a].removed.on_peer_up(id(b));
    agents[b].removed.on_peer_up(id(a));
    say_version(a, b);
    say_version(b, a);
  }
  // As the agent does it: version 0 is not worth a message.
  void say_version(std::size_t from, std::size_t to, bool also_zero = false) {
    const std::uint64_t version = agents[from].removed.version();
    if (version == 0 && !also_zero) return;
    wire.push_back([this, from, to, version] {
      using Answer = RemovedNodes::Answer;
      const Answer answer = agents[to].removed.on_peer_version(id(from), version);
      if (answer == Answer::version) say_version(to, from, true);
      if (answer == Answer::list) say_list(to, from);
    });
  }
  void say_list(std::size_t from, std::size_t to) {
    ++lists_sent;
    wire.push_back([this, from, to, list = agents[from].removed.statement()] {
      const auto taken = agents[to].removed.on_peer_list(id(from), list, tracker.now);
      if (taken && *taken) tell_all(to);
    });
  }
  void tell_all(std::size_t from) {
    if (from > 0) say_version(from, from - 1);
    if (from + 1 < agents.size()) say_version(from, from + 1);
  }
  void run() {
    while (!wire.empty()) {
      const auto next = std::move(wire.front());
      wire.pop_front();
      next();
    }
  }
};

TEST_CASE("A deny-list spreads from agent to agent without the tracker, once over each link",
          "[p2pd]") {
  Row row(5);
  row.run();
  REQUIRE(must(row.agents[2].removed.take(row.tracker.list(3, {node(1)}), row.tracker.now)));
  row.tell_all(2);
  row.run();
  for (const Agent& agent : row.agents) CHECK(agent.removed.contains(node(1)));
  CHECK(row.lists_sent == 4);
}

TEST_CASE("Agents that meet come to the newer of their lists, whoever has it", "[p2pd]") {
  for (const std::size_t newer : {0u, 1u}) {
    Row row(2);
    row.run();
    for (const std::size_t i : {0u, 1u}) {
      REQUIRE(must(row.agents[i].removed.take(row.tracker.list(i == newer ? 8 : 5, {node(1)}),
                                              row.tracker.now)));
      row.agents[i].removed.on_peer_down(Row::id(1 - i));
    }
    row.connect(0, 1);
    row.run();
    CHECK(row.agents[0].removed.version() == 8);
    CHECK(row.agents[1].removed.version() == 8);
    CHECK(row.lists_sent == 1);
  }
}

TEST_CASE("A peer that sends a list that is none is not listened to any more", "[p2pd]") {
  Row row(2);
  RemovedNodes& removed = row.agents[0].removed;
  CHECK(removed.on_peer_version(Row::id(1), 9) == RemovedNodes::Answer::version);
  CHECK_FALSE(removed.on_peer_list(Row::id(1), "forged", row.tracker.now));
  CHECK_FALSE(
      must(removed.on_peer_list(Row::id(1), row.tracker.list(9, {node(1)}), row.tracker.now)));
  CHECK(removed.on_peer_version(Row::id(1), 9) == RemovedNodes::Answer::nothing);
  CHECK(removed.version() == 0);
  // On its next connection it is.
  removed.on_peer_up(Row::id(1));
  CHECK(must(removed.on_peer_list(Row::id(1), row.tracker.list(9, {node(1)}), row.tracker.now)));
  CHECK_FALSE(must(removed.on_peer_list(node(77), row.tracker.list(10, {}), row.tracker.now)));
}

TEST_CASE("A peer that sends the same list over and over is not listened to any more", "[p2pd]") {
  Row row(2);
  RemovedNodes& removed = row.agents[0].removed;
  const std::string list = row.tracker.list(5, {node(1)});
  REQUIRE(must(removed.take(list, row.tracker.now)));
  for (std::size_t i = 0; i < kListsWithoutNews; ++i) {
    CHECK_FALSE(must(removed.on_peer_list(Row::id(1), list, row.tracker.now)));
  }
  const std::string newer = row.tracker.list(6, {node(1)});
  CHECK_FALSE(must(removed.on_peer_list(Row::id(1), newer, row.tracker.now)));
  CHECK(must(removed.take(newer, row.tracker.now)));
}

TEST_CASE("The longest deny-list fits a statement, and no longer one is signed", "[p2pd]") {
  Tracker tracker;
  std::set<NodeId> many;
  for (std::uint32_t i = 0; i < kMaxDenied; ++i) {
    NodeId id = node(200);
    std::memcpy(id.bytes.data(), &i, sizeof i);
    many.insert(id);
  }
  Agent agent(tracker);
  CHECK(must(agent.removed.take(tracker.list(1, many), tracker.now)));
  CHECK(agent.removed.list().nodes.size() == kMaxDenied);
  many.insert(node(1));
  const StatementSigner signer = must(StatementSigner::make(tracker.cluster.member(Role::tracker)));
  CHECK_FALSE(sign_deny_list(signer, tracker.cluster.id, {2, tracker.now, many}));
}

}  // namespace
}  // namespace p2p
