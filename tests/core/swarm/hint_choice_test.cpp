#include "core/swarm/hint_choice.h"

#include "tests/support/catch.h"
#include "tests/support/drawn_swarm.h"

namespace p2p {
namespace {

using test::node;
using Contents = std::vector<ContentId>;

ContentId content(std::uint8_t number) {
  ContentId id;
  id.digest.bytes[0] = number;
  return id;
}

HintFacts::Maker maker(char name, std::initializer_list<std::uint8_t> holds = {}) {
  HintFacts::Maker maker{node(name), {}};
  for (const std::uint8_t number : holds) maker.holds.insert(content(number));
  return maker;
}

TEST_CASE("Nothing is made when nobody has an old file, or nobody can be asked", "[core][swarm]") {
  HintFacts facts;
  facts.makers = {maker('a')};
  CHECK_FALSE(wish_for(facts));
  facts.candidates = {{content(1)}};
  facts.makers.clear();
  CHECK_FALSE(wish_for(facts));
}

TEST_CASE("A holder of both versions is asked for the recipe, and for nothing else",
          "[core][swarm]") {
  HintFacts facts;
  facts.candidates = {{content(1)}, {content(1), content(2)}};
  facts.makers = {maker('a'), maker('b', {1}), maker('c', {1})};
  const auto wish = wish_for(facts);
  REQUIRE(wish);
  CHECK(wish->maker == node('b'));
  CHECK(wish->bases == Contents{content(1)});
  CHECK_FALSE(wish->signature);
}

TEST_CASE("Whoever is left without a recipe makes a signature worth it", "[core][swarm]") {
  HintFacts facts;
  facts.candidates = {{content(1)}, {content(2)}};
  facts.makers = {maker('a', {1})};
  auto wish = wish_for(facts);
  REQUIRE(wish);
  CHECK(wish->bases == Contents{content(1)});
  CHECK(wish->signature);

  facts.signature = true;
  wish = wish_for(facts);
  REQUIRE(wish);
  CHECK_FALSE(wish->signature);

  // A file of which nobody knows what it is.
  facts.candidates = {{}};
  CHECK_FALSE(wish_for(facts));
  facts.signature = false;
  wish = wish_for(facts);
  REQUIRE(wish);
  CHECK(wish->bases.empty());
  CHECK(wish->signature);
}

TEST_CASE("What is there already, or was asked for in vain, is not asked for", "[core][swarm]") {
  HintFacts facts;
  facts.candidates = {{content(1)}, {content(2)}};
  facts.makers = {maker('a', {1, 2})};
  facts.recipes = {content(1), content(2)};
  CHECK_FALSE(wish_for(facts));
  facts.recipes = {content(1)};
  facts.in_vain = {content(2)};
  const auto wish = wish_for(facts);
  REQUIRE(wish);
  CHECK(wish->bases.empty());
  CHECK(wish->signature);
  facts.signature = true;
  CHECK_FALSE(wish_for(facts));
}

TEST_CASE("The contents that most nodes hold come first, and four are enough", "[core][swarm]") {
  HintFacts facts;
  for (std::uint8_t held = 1; held <= 6; ++held) {
    for (int nodes = 0; nodes < held; ++nodes) facts.candidates.push_back({content(held)});
  }
  facts.makers = {maker('a', {1, 2, 3, 4, 5, 6})};
  const auto wish = wish_for(facts);
  REQUIRE(wish);
  CHECK(wish->bases == Contents{content(6), content(5), content(4), content(3)});
  CHECK(wish->signature);  // for those who hold 1 or 2

  // Of contents that as many hold the likelier one: here the newer version.
  facts.candidates = {{content(9), content(2)}, {content(9), content(2)}};
  facts.makers = {maker('a', {2, 9})};
  const auto likelier = wish_for(facts);
  REQUIRE(likelier);
  CHECK(likelier->bases == Contents{content(9), content(2)});
}

}  // namespace
}  // namespace p2p
