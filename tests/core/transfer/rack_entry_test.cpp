#include "core/transfer/rack_entry.h"

#include <algorithm>
#include <set>

#include "core/transfer/rendezvous.h"
#include "tests/support/catch.h"

namespace p2p {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint64_t kKey = 7;
constexpr std::uint32_t kChunks = 2048;
const Time kStart{seconds(100)};

NodeId node(std::uint8_t number) {
  NodeId id;
  id.bytes[3] = number;
  return id;
}

std::vector<NodeId> rack_of(std::uint8_t members) {
  std::vector<NodeId> nodes;
  for (std::uint8_t i = 1; i <= members; ++i) nodes.push_back(node(i));
  return nodes;
}

// What one member of a rack thinks, once it has met the others.
RackEntry view_of(NodeId self, const std::vector<NodeId>& members) {
  RackEntry rack(self, kKey, kChunks, {});
  rack.set_members(members, kStart);
  for (const NodeId& member : members) rack.on_member_back(member, kStart);
  return rack;
}

std::set<std::uint32_t> share_of(const RackEntry& rack) {
  std::set<std::uint32_t> share;
  for (std::uint32_t i = 0; i < kChunks; ++i) {
    if (rack.is_ours(ChunkIndex{i})) share.insert(i);
  }
  return share;
}

TEST_CASE("Each chunk is fetched into a rack by one of four entry nodes, about equally",
          "[core][rack]") {
  const auto members = rack_of(25);
  std::set<std::uint32_t> seen;
  std::size_t entries = 0;
  for (const NodeId& self : members) {
    const auto share = share_of(view_of(self, members));
    if (share.empty()) continue;
    ++entries;
    CHECK(share.size() > kChunks / 4 * 8 / 10);
    CHECK(share.size() < kChunks / 4 * 12 / 10);
    for (const std::uint32_t chunk : share) CHECK(seen.insert(chunk).second);
  }
  CHECK(entries == 4);
  CHECK(seen.size() == kChunks);
}

TEST_CASE("Another content has other entry nodes", "[core][rack]") {
  const auto members = rack_of(25);
  CHECK(entry_nodes(members, 1, 4) != entry_nodes(members, 2, 4));
}

TEST_CASE("A rack of three has three entry nodes, a node alone fetches everything itself",
          "[core][rack]") {
  CHECK(view_of(node(1), rack_of(3)).entries().size() == 3);
  CHECK(share_of(view_of(node(9), {})).size() == kChunks);
}

TEST_CASE("An entry node that is away for three seconds is replaced, and returns to its place",
          "[core][rack]") {
  const auto members = rack_of(25);
  const auto first = entry_nodes(members, kKey, 4);
  const auto next = entry_nodes(members, kKey, 5).back();
  const auto witness = *std::find_if(members.begin(), members.end(), [&](const NodeId& id) {
    return std::find(first.begin(), first.end(), id) == first.end();
  });
  RackEntry rack = view_of(witness, members);
  rack.on_member_gone(first[1], kStart);
  CHECK(rack.next_deadline() == kStart + seconds(3));
  rack.on_tick(kStart + milliseconds(2999));
  CHECK(rack.entries() == first);
  rack.on_tick(kStart + seconds(3));
  CHECK(rack.entries() == std::vector<NodeId>{first[0], first[2], first[3], next});
  rack.on_member_back(first[1], kStart + seconds(9));
  CHECK(rack.entries() == first);
}

TEST_CASE("When an entry node is replaced the others keep their shares", "[core][rack]") {
  const auto members = rack_of(25);
  const auto first = entry_nodes(members, kKey, 4);
  RackEntry rack = view_of(first[0], members);
  const auto before = share_of(rack);
  rack.on_member_gone(first[1], kStart);
  rack.on_tick(kStart + seconds(3));
  const auto after = share_of(rack);
  std::size_t kept = 0;
  for (const std::uint32_t chunk : before) kept += after.count(chunk);
  // The newcomer takes the share of the one that left, and a fifth of nobody's.
  CHECK(kept > before.size() * 7 / 10);
}

TEST_CASE("An entry node whose chunks do not get on is replaced for half a minute",
          "[core][rack]") {
  const auto members = rack_of(25);
  const auto first = entry_nodes(members, kKey, 4);
  RackEntry rack = view_of(first[0], members);
  for (std::uint32_t i = 0; i < 12; ++i) rack.on_have(first[1], ChunkIndex{i}, kStart);
  rack.on_tick(kStart + milliseconds(1499));
  CHECK(rack.entries() == first);
  rack.on_tick(kStart + milliseconds(1500));
  CHECK(rack.is_replaced(first[1], kStart + milliseconds(1500)));
  CHECK(std::find(rack.entries().begin(), rack.entries().end(), first[1]) == rack.entries().end());
  for (std::uint32_t i = 0; i < 12; ++i) {
    rack.on_have(node(20), ChunkIndex{i}, kStart + seconds(5));
  }
  rack.on_tick(kStart + milliseconds(31500));
  CHECK(rack.entries() == first);
}

TEST_CASE("An entry node whose chunks others have fetched stays", "[core][rack]") {
  const auto members = rack_of(25);
  const auto first = entry_nodes(members, kKey, 4);
  RackEntry rack = view_of(first[0], members);
  for (std::uint32_t i = 0; i < 100; ++i) {
    rack.on_have(first[1], ChunkIndex{i}, kStart);
    rack.on_have(first[1], ChunkIndex{i}, kStart);  // the same again is nobody else
    if (i >= 11) rack.on_have(node(20), ChunkIndex{i}, kStart);
  }
  rack.on_tick(kStart + seconds(60));
  CHECK(rack.entries() == first);
}

TEST_CASE("All members of a rack agree", "[core][rack]") {
  const auto members = rack_of(8);
  for (const NodeId& self : members) {
    CHECK(view_of(self, members).entries() == entry_nodes(members, kKey, 4));
  }
}

}  // namespace
}  // namespace p2p
