#include "core/swarm/swarm.h"

#include <cstring>
#include <set>

#include "tests/support/catch.h"

namespace p2p {
namespace {

using Members = std::vector<Swarm::Member>;

NodeId node(std::uint8_t number) {
  NodeId id;
  id.bytes[0] = number;
  return id;
}

// Seeds are 1, 2, ..., partial holders 101, 102, ..., those who only want it 201, 202, ...
Swarm swarm_of(std::uint8_t seeds, std::uint8_t partial, std::uint8_t wanting) {
  Swarm swarm;
  for (std::uint8_t i = 1; i <= seeds; ++i) swarm.on_holder(node(i), {true, 100, "/srv/a"});
  for (std::uint8_t i = 1; i <= partial; ++i) {
    swarm.on_holder(node(static_cast<std::uint8_t>(100 + i)), {false, 5, "/srv/a"});
  }
  for (std::uint8_t i = 1; i <= wanting; ++i)
    swarm.on_wants(node(static_cast<std::uint8_t>(200 + i)));
  return swarm;
}

Members handout(const Swarm& swarm, std::uint8_t to, const HandoutRules& rules = {},
                std::uint64_t seed = 1) {
  Rng rng(seed);
  return swarm.handout(node(to), rules, rng);
}

std::set<NodeId> nodes_of(const Members& members) {
  std::set<NodeId> nodes;
  for (const Swarm::Member& member : members) nodes.insert(member.node);
  return nodes;
}

std::size_t seeds_among(const Members& members) {
  std::size_t count = 0;
  for (const Swarm::Member& member : members) count += member.seed ? 1 : 0;
  return count;
}

TEST_CASE("A node hears of every other member of a small swarm, seeds first", "[core][swarm]") {
  const Members members = handout(swarm_of(2, 1, 2), 201);
  REQUIRE(members.size() == 4);
  CHECK((members[0].seed && members[1].seed));
  CHECK_FALSE((members[2].seed || members[3].seed));
  CHECK(nodes_of(members) == std::set<NodeId>{node(1), node(2), node(101), node(202)});
}

TEST_CASE("A node never hears of itself, whatever it is", "[core][swarm]") {
  const Swarm swarm = swarm_of(1, 1, 1);
  for (const std::uint8_t self : std::vector<std::uint8_t>{1, 101, 201}) {
    const Members members = handout(swarm, self);
    CHECK(members.size() == 2);
    CHECK_FALSE(nodes_of(members).contains(node(self)));
  }
}

TEST_CASE("Who holds a part and wants the rest is handed out once", "[core][swarm]") {
  Swarm swarm = swarm_of(0, 1, 0);
  swarm.on_wants(node(101));
  CHECK(handout(swarm, 9).size() == 1);
}

TEST_CASE("Up to 64 members everybody knows everybody", "[core][swarm]") {
  CHECK(handout(swarm_of(2, 31, 31), 250).size() == 64);
}

TEST_CASE("Above 64 members a node hears of the seeds and 40 random others", "[core][swarm]") {
  const Swarm swarm = swarm_of(2, 32, 31);
  const Members members = handout(swarm, 250);
  CHECK(members.size() == 42);
  CHECK(seeds_among(members) == 2);
  CHECK(nodes_of(members).size() == 42);
}

TEST_CASE("Different nodes hear of different others", "[core][swarm]") {
  const Swarm swarm = swarm_of(1, 50, 50);
  CHECK(nodes_of(handout(swarm, 255, {}, 1)) != nodes_of(handout(swarm, 255, {}, 2)));
  CHECK(nodes_of(handout(swarm, 255, {}, 1)) == nodes_of(handout(swarm, 255, {}, 1)));
  // Over many handouts nobody is forgotten.
  std::set<NodeId> seen;
  for (std::uint64_t seed = 0; seed < 50; ++seed)
    seen.merge(nodes_of(handout(swarm, 255, {}, seed)));
  CHECK(seen.size() == 101);
}

TEST_CASE("Of many seeds a node hears of 16, and of all of them over time", "[core][swarm]") {
  const Swarm swarm = swarm_of(30, 0, 3);
  const Members members = handout(swarm, 250);
  CHECK(seeds_among(members) == 16);
  CHECK(members.size() == 19);
  std::set<NodeId> seen;
  for (std::uint64_t seed = 0; seed < 50; ++seed)
    seen.merge(nodes_of(handout(swarm, 250, {}, seed)));
  CHECK(seen.size() == 33);
}

TEST_CASE("The limits of a handout are rules", "[core][swarm]") {
  const HandoutRules rules{.full_mesh = 5, .sample = 2, .seeds = 1};
  CHECK(handout(swarm_of(3, 4, 0), 250, rules).size() == 5);
  CHECK(handout(swarm_of(3, 5, 0), 250, rules).size() == 3);
}

TEST_CASE("A holder that completes becomes a seed", "[core][swarm]") {
  Swarm swarm = swarm_of(0, 1, 0);
  CHECK_FALSE(swarm.has_seed());
  swarm.on_holder(node(101), {true, 100, "/srv/a"});
  CHECK(swarm.has_seed());
  CHECK(seeds_among(handout(swarm, 9)) == 1);
}

TEST_CASE("A node that is gone is not handed out, one that went offline holds nothing",
          "[core][swarm]") {
  Swarm swarm = swarm_of(2, 0, 0);
  swarm.on_gone(node(1));
  CHECK(nodes_of(handout(swarm, 9)) == std::set<NodeId>{node(2)});
  swarm.on_node_offline(node(2));
  CHECK_FALSE(swarm.has_seed());
  CHECK(swarm.holders().empty());
  CHECK(handout(swarm, 9).empty());
}

TEST_CASE("Who held all of it is away until it says again what it holds", "[core][swarm]") {
  Swarm swarm = swarm_of(2, 1, 0);
  for (const NodeId id : {node(1), node(2), node(101)}) swarm.on_node_offline(id);
  CHECK(swarm.away() == std::set<NodeId>{node(1), node(2)});
  swarm.on_holder(node(1), {true, 100, "/srv/a"});
  CHECK(swarm.away() == std::set<NodeId>{node(2)});
  CHECK(swarm.has_seed());
  CHECK_FALSE(swarm.empty());
  swarm.on_gone(node(2));
  swarm.on_gone(node(1));
  CHECK(swarm.away().empty());
  CHECK(swarm.empty());
}

TEST_CASE("A node that is offline may still want", "[core][swarm]") {
  Swarm swarm = swarm_of(0, 0, 1);
  swarm.on_node_offline(node(201));
  CHECK_FALSE(swarm.empty());
  swarm.on_wants_no_more(node(201));
  CHECK(swarm.empty());
}

NodeId numbered(std::uint32_t number) {
  NodeId id;
  std::memcpy(id.bytes.data(), &number, sizeof number);
  return id;
}

// One seed in rack 0, and `nodes` that want, spread over `racks`.
Swarm racked(std::uint32_t nodes, std::uint32_t racks) {
  Swarm swarm;
  for (std::uint32_t i = 0; i <= nodes; ++i) {
    swarm.on_rack(numbered(i), "dc/r" + std::to_string(i % racks));
    if (i == 0) {
      swarm.on_holder(numbered(i), {true, 100, "/srv/a"});
    } else {
      swarm.on_wants(numbered(i));
    }
  }
  return swarm;
}

TEST_CASE("In a large swarm a node knows its rack beside the random sample", "[core][swarm]") {
  const Swarm swarm = racked(1000, 40);
  Rng rng(3);
  const Members members = swarm.handout(numbered(81), {}, rng);
  std::size_t mates = 0;
  for (const auto& member : members) {
    std::uint32_t number = 0;
    std::memcpy(&number, member.node.bytes.data(), sizeof number);
    CHECK(member.rack_mate == (number % 40 == 1));
    mates += member.rack_mate ? 1 : 0;
  }
  CHECK(mates == 24);
  CHECK(members.size() <= 1 + 24 + 40);
  CHECK(members.size() > 60);  // a random one may be of the rack
  CHECK(nodes_of(members).size() == members.size());
}

TEST_CASE("Of a rack that is too large to know a node knows a sample", "[core][swarm]") {
  const Swarm swarm = racked(1000, 2);
  Rng rng(3);
  std::size_t mates = 0;
  for (const auto& member : swarm.handout(numbered(81), {}, rng)) mates += member.rack_mate ? 1 : 0;
  CHECK(mates >= 64);
  CHECK(mates <= 64 + 40);
}

TEST_CASE("A node that changes its rack or leaves is nobody's rack-mate there any more",
          "[core][swarm]") {
  Swarm swarm = racked(100, 2);
  swarm.on_rack(numbered(3), "dc/r0");
  swarm.on_wants_no_more(numbered(5));
  Rng rng(3);
  for (const auto& member : swarm.handout(numbered(1), {}, rng)) {
    CHECK(member.node != numbered(5));
    if (member.node == numbered(3)) CHECK_FALSE(member.rack_mate);
  }
  HandoutRules rules;
  rules.sample = 0;
  rules.rack_mates = 100;
  CHECK(swarm.handout(numbered(1), rules, rng).size() == 1 + 50 - 1 - 2);
  CHECK(swarm.handout(numbered(2), rules, rng).size() == 51);
}

}  // namespace
}  // namespace p2p
