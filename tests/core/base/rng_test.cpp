#include "core/base/rng.h"

#include <algorithm>
#include <array>
#include <vector>

#include "tests/support/catch.h"

namespace p2p {
namespace {

TEST_CASE("The generator is SplitMix64, the same on every platform", "[core][rng]") {
  // The first outputs for this seed are given by several independent implementations.
  Rng rng(1234567);
  CHECK(rng.next() == 6457827717110365317u);
  CHECK(rng.next() == 3203168211198807973u);
  CHECK(rng.next() == 9817491932198370423u);
  CHECK(rng.next() == 4593380528125082431u);
  CHECK(rng.next() == 16408922859458223821u);
}

TEST_CASE("A seed gives the same numbers again, another seed others", "[core][rng]") {
  Rng a(5);
  Rng b(5);
  Rng c(6);
  const std::uint64_t first = a.next();
  CHECK(first == b.next());
  CHECK(first != c.next());
}

TEST_CASE("Numbers below a bound stay below it and reach all of it evenly", "[core][rng]") {
  Rng rng(1);
  std::array<int, 7> seen{};
  for (int i = 0; i < 70'000; ++i) ++seen.at(rng.below(7));
  // Six standard deviations around 10,000 are 556.
  for (const int count : seen) {
    CHECK(count > 9'400);
    CHECK(count < 10'600);
  }
  for (int i = 0; i < 10; ++i) CHECK(rng.below(1) == 0);
}

TEST_CASE("A chance of nothing never comes true and a certain one always", "[core][rng]") {
  Rng rng(1);
  int one_in_four = 0;
  for (int i = 0; i < 10'000; ++i) {
    REQUIRE_FALSE(rng.chance(0, 3));
    REQUIRE(rng.chance(3, 3));
    one_in_four += rng.chance(1, 4) ? 1 : 0;
  }
  CHECK(one_in_four > 2'200);
  CHECK(one_in_four < 2'800);
}

TEST_CASE("A generator that was split off draws on its own", "[core][rng]") {
  Rng a(9);
  Rng b(9);
  Rng from_a = a.split();
  Rng from_b = b.split();
  from_a.next();
  from_a.next();
  CHECK(a.next() == b.next());
  from_b.next();
  from_b.next();
  CHECK(from_a.next() == from_b.next());
}

TEST_CASE("Shuffling keeps every item and every order is as likely", "[core][rng]") {
  Rng rng(3);
  std::array<int, 4> first{};
  for (int i = 0; i < 8'000; ++i) {
    std::vector<int> items{0, 1, 2, 3};
    rng.shuffle(items);
    ++first.at(static_cast<std::size_t>(items.front()));
    std::sort(items.begin(), items.end());
    REQUIRE(items == std::vector<int>{0, 1, 2, 3});
  }
  for (const int count : first) {
    CHECK(count > 1'700);
    CHECK(count < 2'300);
  }
  std::vector<int> none;
  rng.shuffle(none);
  CHECK(none.empty());
}

}  // namespace
}  // namespace p2p
