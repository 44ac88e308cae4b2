// Which recipes are valid, and what becomes of them.
#include "core/delta/recipe.h"

#include "core/model/manifest.h"
#include "tests/support/catch.h"

namespace p2p {
namespace {

Recipe recipe_with(std::vector<CopyRange> copies) {
  Recipe recipe;
  recipe.old_file.size = 1'000'000;
  recipe.new_file.size = 2'000'000;
  recipe.copies = std::move(copies);
  return recipe;
}

}  // namespace

TEST_CASE("a recipe may copy any old bytes, several times and in any order", "[core][delta]") {
  CHECK(validate(recipe_with({})));
  CHECK(validate(recipe_with({{0, 500'000, 10}, {10, 0, 1'000'000}, {1'999'999, 999'999, 1}})));
  CHECK(validate(recipe_with({{0, 7, 100}, {100, 7, 100}})));
}

TEST_CASE("a recipe with an empty, overlapping, misplaced or endless range is refused",
          "[core][delta]") {
  for (const auto& copies : std::vector<std::vector<CopyRange>>{{{0, 0, 0}},
                                                                {{0, 0, 10}, {9, 50, 10}},
                                                                {{100, 0, 10}, {50, 50, 10}},
                                                                {{5, 5, 10}, {5, 5, 10}},
                                                                {{1'999'999, 0, 2}},
                                                                {{2'000'000, 0, 1}},
                                                                {{0, 999'999, 2}},
                                                                {{0, 1'000'001, 1}},
                                                                {{0, 0, ~0ull}},
                                                                {{1, 0, ~0ull}},
                                                                {{~0ull, 0, 1}},
                                                                {{~0ull, 0, 2}},
                                                                {{0, ~0ull, 2}}}) {
    const Status valid = validate(recipe_with(copies));
    REQUIRE(!valid);
    CHECK(valid.error().code == Errc::invalid_argument);
  }
}

TEST_CASE("a recipe has at most one range for 256 bytes, and a million", "[core][delta]") {
  CHECK(recipe_ranges_max(0) == 1);
  CHECK(recipe_ranges_max(2560) == 11);
  CHECK(recipe_ranges_max(kMaxFileBytes) == CopyMap::kRangesMax);
  Recipe recipe;
  recipe.old_file.size = recipe.new_file.size = 2560;
  for (std::uint64_t i = 0; i < 11; ++i) recipe.copies.push_back({i * 2, i, 1});
  CHECK(validate(recipe));
  recipe.copies.push_back({100, 0, 1});
  CHECK(!validate(recipe));
}

TEST_CASE("files above the limit have no recipe", "[core][delta]") {
  Recipe recipe = recipe_with({});
  recipe.old_file.size = kMaxFileBytes + 1;
  CHECK(!validate(recipe));
  recipe = recipe_with({});
  recipe.new_file.size = ~0ull;
  CHECK(!validate(recipe));
}

TEST_CASE("what a recipe copies and what it leaves to be fetched", "[core][delta]") {
  const CopyMap map = copies_of(recipe_with({{100, 0, 50}, {150, 50, 50}, {300, 7, 100}}));
  CHECK(map.ranges() == std::vector<CopyRange>{{100, 0, 100}, {300, 7, 100}});
  const std::vector<ByteRange> data{{0, 250}, {350, 100}};
  CHECK(map.missing(data) == std::vector<ByteRange>{{0, 100}, {200, 50}, {400, 50}});
}

}  // namespace p2p
