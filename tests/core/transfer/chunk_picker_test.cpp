#include "core/transfer/chunk_picker.h"

#include <set>

#include "tests/support/drawn_swarm.h"

namespace p2p {
namespace {

using test::bits_of;

// One digit for each chunk: how many neighbours hold it.
ChunkPicker picker_with(const std::string& holders, std::uint64_t seed = 1) {
  ChunkPicker picker(static_cast<std::uint32_t>(holders.size()), Rng(seed));
  for (std::uint32_t i = 0; i < holders.size(); ++i) {
    for (char copy = '0'; copy < holders[i]; ++copy) picker.add_holder(ChunkIndex{i});
  }
  return picker;
}

// Everything that is picked for one who offers `cells`, over many seeds.
std::set<std::uint32_t> picks(const std::string& holders, const std::string& cells) {
  std::set<std::uint32_t> seen;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    const auto chunk = picker_with(holders, seed).pick(bits_of(cells));
    REQUIRE(chunk);
    seen.insert(chunk->value);
  }
  return seen;
}

TEST_CASE("The rarest chunk that the peer has is picked", "[core][chunk_picker]") {
  CHECK(picks("9412", "x..x") == std::set<std::uint32_t>{3});  // 2 is rarer, but the peer lacks it
  CHECK(picks("9412", "xxxx") == std::set<std::uint32_t>{2});
  CHECK(picks("5555", ".x..") == std::set<std::uint32_t>{1});
}

TEST_CASE("Among equally rare chunks luck decides", "[core][chunk_picker]") {
  CHECK(picks("2323", "xxxx") == std::set<std::uint32_t>{0, 2});
  CHECK(picks("1111", "xxxx") == std::set<std::uint32_t>{0, 1, 2, 3});
}

TEST_CASE("Only wanted chunks are picked", "[core][chunk_picker]") {
  ChunkPicker picker = picker_with("123");
  CHECK(picker.wanted_count() == 3);
  picker.set_wanted(ChunkIndex{0}, false);
  CHECK_FALSE(picker.is_wanted(ChunkIndex{0}));
  CHECK(picker.pick(bits_of("xxx")) == ChunkIndex{1});
  picker.set_wanted(ChunkIndex{1}, false);
  picker.set_wanted(ChunkIndex{2}, false);
  CHECK_FALSE(picker.pick(bits_of("xxx")));
  CHECK(picker.wanted_count() == 0);
}

TEST_CASE("A chunk that was given up can be picked again", "[core][chunk_picker]") {
  ChunkPicker picker = picker_with("11");
  picker.set_wanted(ChunkIndex{1}, false);
  picker.set_wanted(ChunkIndex{1}, true);
  CHECK(picker.pick(bits_of(".x")) == ChunkIndex{1});
}

TEST_CASE("A peer that offers nothing is asked for nothing", "[core][chunk_picker]") {
  ChunkPicker picker = picker_with("11");
  CHECK_FALSE(picker.pick(bits_of("..")));
  ChunkPicker nothing(0, Rng(1));
  CHECK_FALSE(nothing.pick(Bitfield(0)));
}

TEST_CASE("Holders that come and go change what is rare", "[core][chunk_picker]") {
  ChunkPicker picker = picker_with("23");
  CHECK(picker.pick(bits_of("xx")) == ChunkIndex{0});
  picker.remove_holder(ChunkIndex{1});
  picker.remove_holder(ChunkIndex{1});
  CHECK(picker.holders(ChunkIndex{1}) == 1);
  CHECK(picker.pick(bits_of("xx")) == ChunkIndex{1});
}

}  // namespace
}  // namespace p2p
