#include "core/base/bitfield.h"

#include <algorithm>
#include <vector>

#include "core/base/rng.h"
#include "tests/support/catch.h"

namespace p2p {
namespace {

// Around the borders of 64-bit words.
const std::vector<std::uint32_t> kSizes{0, 1, 2, 63, 64, 65, 127, 128, 129, 1000};

TEST_CASE("A new bitfield has every bit as asked", "[core][bitfield]") {
  for (const std::uint32_t size : kSizes) {
    INFO(size);
    const Bitfield empty(size);
    CHECK(empty.none());
    CHECK(empty.count() == 0);
    CHECK(empty.find(0, true) == size);
    const Bitfield full(size, true);
    CHECK(full.all());
    CHECK(full.count() == size);
    CHECK(full.find(0, false) == size);
  }
}

TEST_CASE("A bitfield without bits has all and none", "[core][bitfield]") {
  CHECK(Bitfield().all());
  CHECK(Bitfield().none());
  CHECK(Bitfield().find(0, false) == 0);
  CHECK(runs_of(Bitfield()).empty());
}

TEST_CASE("Setting and resetting say whether anything changed", "[core][bitfield]") {
  Bitfield bits(70);
  CHECK(bits.set(69));
  CHECK_FALSE(bits.set(69));
  CHECK(bits.test(69));
  CHECK(bits.count() == 1);
  CHECK(bits.reset(69));
  CHECK_FALSE(bits.reset(69));
  CHECK_FALSE(bits.test(69));
  CHECK(bits.none());
}

TEST_CASE("Finding looks from the given index on, the index included", "[core][bitfield]") {
  Bitfield bits(200);
  bits.set(5);
  bits.set(130);
  CHECK(bits.find(0, true) == 5);
  CHECK(bits.find(5, true) == 5);
  CHECK(bits.find(6, true) == 130);
  CHECK(bits.find(131, true) == 200);
  CHECK(bits.find(5, false) == 6);
  CHECK(bits.find(200, false) == 200);
  CHECK(bits.find(4'000'000'000, true) == 200);
}

TEST_CASE("Filled bit by bit a bitfield equals one that was born full", "[core][bitfield]") {
  for (const std::uint32_t size : kSizes) {
    INFO(size);
    Bitfield bits(size);
    for (std::uint32_t i = 0; i < size; ++i) bits.set(i);
    CHECK(bits == Bitfield(size, true));
  }
  CHECK_FALSE(Bitfield(3) == Bitfield(4));
}

TEST_CASE("Runs are maximal, rising and together the set bits", "[core][bitfield]") {
  Bitfield bits(130);
  for (const std::uint32_t i : {0u, 1u, 2u, 63u, 64u, 100u, 129u}) bits.set(i);
  CHECK(runs_of(bits) == std::vector<ChunkRun>{{0, 3}, {63, 2}, {100, 1}, {129, 1}});
  CHECK(runs_of(Bitfield(130, true)) == std::vector<ChunkRun>{{0, 130}});
  CHECK(runs_of(Bitfield(130)).empty());
}

TEST_CASE("A bitfield does what a plain list of truths does", "[core][bitfield]") {
  Rng rng(7);
  for (const std::uint32_t size : {1u, 64u, 65u, 190u}) {
    Bitfield bits(size);
    std::vector<bool> model(size);
    for (int step = 0; step < 2000; ++step) {
      const auto i = static_cast<std::uint32_t>(rng.below(size));
      const bool value = rng.chance(1, 2);
      REQUIRE((value ? bits.set(i) : bits.reset(i)) == (model[i] != value));
      model[i] = value;
      const auto from = static_cast<std::uint32_t>(rng.below(size));
      std::uint32_t next = from;
      while (next < size && model[next] != value) ++next;
      REQUIRE(bits.find(from, value) == next);
      REQUIRE(bits.count() ==
              static_cast<std::uint32_t>(std::count(model.begin(), model.end(), true)));
    }
  }
}

}  // namespace
}  // namespace p2p
