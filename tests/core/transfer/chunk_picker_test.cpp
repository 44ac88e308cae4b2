#include "core/transfer/chunk_picker.h"

#include <algorithm>
#include <set>
#include <string>

#include "tests/support/catch.h"

namespace p2p {
namespace {

// Neighbours drawn as rows of cells; slot by slot.
ChunkPicker picker_with(const std::vector<std::string>& rows, std::uint64_t seed = 1) {
  ChunkPicker picker(static_cast<std::uint32_t>(rows.front().size()), Rng(seed));
  for (PeerSlot slot = 0; slot < rows.size(); ++slot) {
    for (std::uint32_t i = 0; i < rows[slot].size(); ++i) {
      if (rows[slot][i] == 'x') picker.add_holder(ChunkIndex{i}, slot);
    }
  }
  return picker;
}

PeerSet peers(std::initializer_list<PeerSlot> slots) {
  PeerSet set;
  for (const PeerSlot slot : slots) set.insert(slot);
  return set;
}

// Everything that is picked from these peers, over many seeds.
std::set<std::uint32_t> picks(const std::vector<std::string>& rows, const PeerSet& from) {
  std::set<std::uint32_t> seen;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    const auto chunk = picker_with(rows, seed).pick(from);
    REQUIRE(chunk);
    seen.insert(chunk->value);
  }
  return seen;
}

TEST_CASE("The rarest chunk that one of the peers has is picked", "[core][chunk_picker]") {
  const std::vector<std::string> rows = {"xx.x", "xx..", "x.x."};  // holders: 3 2 1 1
  CHECK(picks(rows, peers({0})) == std::set<std::uint32_t>{3});
  CHECK(picks(rows, peers({1})) == std::set<std::uint32_t>{1});  // 2 and 3 are rarer, but not its
  CHECK(picks(rows, peers({1, 2})) == std::set<std::uint32_t>{2});
}

TEST_CASE("Among equally rare chunks luck decides", "[core][chunk_picker]") {
  CHECK(picks({"xxxx", ".x.x"}, peers({0})) == std::set<std::uint32_t>{0, 2});
  CHECK(picks({"xxxx"}, peers({0})) == std::set<std::uint32_t>{0, 1, 2, 3});
}

TEST_CASE("Among the holders of a chunk luck decides", "[core][chunk_picker]") {
  std::set<PeerSlot> seen;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    seen.insert(picker_with({"x", "x", ".", "x", "x"}, seed)
                    .any_holder(ChunkIndex{0}, peers({0, 2, 3, 4})));
  }
  CHECK(seen == std::set<PeerSlot>{0, 3, 4});
}

TEST_CASE("Only wanted chunks are picked", "[core][chunk_picker]") {
  ChunkPicker picker = picker_with({"xxx", ".xx", "..x"});
  CHECK(picker.wanted_count() == 3);
  picker.set_wanted(ChunkIndex{0}, false);
  CHECK_FALSE(picker.is_wanted(ChunkIndex{0}));
  CHECK(picker.pick(peers({0})) == ChunkIndex{1});
  picker.set_wanted(ChunkIndex{1}, false);
  picker.set_wanted(ChunkIndex{2}, false);
  CHECK_FALSE(picker.pick(peers({0, 1, 2})));
  CHECK(picker.wanted_count() == 0);
  CHECK(picker.interesting().empty());
}

TEST_CASE("A chunk that was given up can be picked again", "[core][chunk_picker]") {
  ChunkPicker picker = picker_with({".x"});
  picker.set_wanted(ChunkIndex{1}, false);
  CHECK_FALSE(picker.pick(peers({0})));
  picker.set_wanted(ChunkIndex{1}, true);
  CHECK(picker.pick(peers({0})) == ChunkIndex{1});
}

TEST_CASE("A peer that has nothing is asked for nothing", "[core][chunk_picker]") {
  ChunkPicker picker = picker_with({"..", "xx"});
  CHECK_FALSE(picker.pick(peers({0})));
  CHECK(picker.interesting() == peers({1}));
  ChunkPicker nothing(0, Rng(1));
  CHECK_FALSE(nothing.pick(peers({0})));
}

TEST_CASE("Holders that come and go change what is rare", "[core][chunk_picker]") {
  ChunkPicker picker = picker_with({"xx", "xx", ".x"});
  CHECK(picker.pick(peers({0})) == ChunkIndex{0});
  picker.remove_holder(ChunkIndex{1}, 2);
  picker.remove_holder(ChunkIndex{1}, 1);
  picker.remove_holder(ChunkIndex{1}, 1);  // twice is once
  CHECK(picker.holders(ChunkIndex{1}) == 1);
  CHECK(picker.pick(peers({0})) == ChunkIndex{1});
}

TEST_CASE("A pick is what counting would find, whatever happened before", "[core][chunk_picker]") {
  constexpr std::uint32_t kChunks = 50;
  Rng rng(7);
  ChunkPicker picker(kChunks, Rng(8));
  std::vector<std::set<PeerSlot>> holders(kChunks);
  std::set<std::uint32_t> wanted;
  for (std::uint32_t i = 0; i < kChunks; ++i) wanted.insert(i);
  for (int step = 0; step < 20000; ++step) {
    const auto chunk = static_cast<std::uint32_t>(rng.below(kChunks));
    const auto peer = static_cast<PeerSlot>(rng.below(step < 10000 ? 20 : kPeerSlots));
    const std::uint64_t what = rng.below(6);
    if (what < 3) {
      picker.add_holder(ChunkIndex{chunk}, peer);
      holders[chunk].insert(peer);
    } else if (what < 5) {
      picker.remove_holder(ChunkIndex{chunk}, peer);
      holders[chunk].erase(peer);
    } else if (rng.chance(1, 2)) {
      picker.set_wanted(ChunkIndex{chunk}, false);
      wanted.erase(chunk);
    } else {
      picker.set_wanted(ChunkIndex{chunk}, true);
      wanted.insert(chunk);
    }
    const PeerSet from = peers({static_cast<PeerSlot>(rng.below(20)), peer});
    std::size_t fewest = kPeerSlots + 1;
    for (const std::uint32_t i : wanted) {
      const bool held = std::any_of(holders[i].begin(), holders[i].end(),
                                    [&](PeerSlot slot) { return from.contains(slot); });
      if (held) fewest = std::min(fewest, holders[i].size());
    }
    const auto picked = picker.pick(from);
    REQUIRE(picked.has_value() == (fewest <= kPeerSlots));
    if (!picked) continue;
    REQUIRE(wanted.contains(picked->value));
    REQUIRE(picker.held_by(*picked, from));
    REQUIRE(holders[picked->value].size() == fewest);
  }
}

}  // namespace
}  // namespace p2p
