// What a recipe finds on small data sets, in exact bytes, and files that change or end under it.
#include "io/content/recipe_maker.h"

#include <algorithm>
#include <cstring>

#include "core/delta/recipe.h"
#include "io/content/cutter.h"
#include "io/content/recipe_codec.h"
#include "tests/support/catch.h"
#include "tests/support/delta_data.h"

namespace p2p {
namespace {

using delta_data::Bytes;
using delta_data::Pair;

RecipeInput input_of(const Bytes& file) {
  RecipeInput input;
  input.size = file.size();
  if (!file.empty()) input.data = {{0, file.size()}};
  input.read = [&file](std::uint64_t offset, std::span<std::uint8_t> out) -> Result<std::size_t> {
    if (offset >= file.size()) return std::size_t{0};
    const std::size_t count = std::min<std::size_t>(out.size(), file.size() - offset);
    std::memcpy(out.data(), file.data() + offset, count);
    return count;
  };
  return input;
}

Recipe recipe_of(const Pair& pair) {
  auto map = find_copies(input_of(pair.old_file), input_of(pair.new_file), {});
  REQUIRE(map);
  Recipe recipe{{pair.old_file.size(), {}}, {pair.new_file.size(), {}}, map->ranges()};
  const Status valid = validate(recipe);
  if (!valid) FAIL(valid.error().detail);
  for (const CopyRange& range : recipe.copies) {
    CHECK(std::equal(pair.new_file.begin() + static_cast<std::ptrdiff_t>(range.new_offset),
                     pair.new_file.begin() + static_cast<std::ptrdiff_t>(range.new_end()),
                     pair.old_file.begin() + static_cast<std::ptrdiff_t>(range.old_offset)));
  }
  return recipe;
}

struct Yield {
  std::uint64_t missing;
  std::size_t ranges;
  std::size_t bytes;  // of the recipe
  friend bool operator==(const Yield&, const Yield&) = default;
};

std::ostream& operator<<(std::ostream& out, const Yield& yield) {
  return out << "{" << yield.missing << ", " << yield.ranges << ", " << yield.bytes << "}";
}

Yield yield_of(const Pair& pair) {
  const Recipe recipe = recipe_of(pair);
  return {pair.new_file.size() - copies_of(recipe).copied_bytes(), recipe.copies.size(),
          encode_recipe(recipe).size()};
}

}  // namespace

TEST_CASE("recipe: an image with changed pages lacks those pages", "[io][content]") {
  const Pair pair = delta_data::vm_image(1, 16 << 20);
  std::uint64_t changed = 0;
  for (std::size_t i = 0; i < pair.new_file.size(); ++i) {
    changed += pair.new_file[i] != pair.old_file[i] ? 1 : 0;
  }
  CHECK(yield_of(pair) == Yield{163839, 41, 322});
  CHECK(changed == 163214);  // of 40 pages; random bytes may stay what they were
}

TEST_CASE("recipe: an archive lacks what was inserted and what is new", "[io][content]") {
  CHECK(yield_of(delta_data::archive(2, 400, false)) == Yield{22704, 27, 235});
}

TEST_CASE("recipe: an archive with all headers touched lacks 24 bytes a file more",
          "[io][content]") {
  CHECK(yield_of(delta_data::archive(3, 400, true)) == Yield{36557, 424, 1937});
}

TEST_CASE("recipe: dense edits lack the edited bytes", "[io][content]") {
  CHECK(yield_of(delta_data::dense_edits(4, 4 << 20)) == Yield{16375, 1025, 4177});
}

TEST_CASE("recipe: unrelated files have nothing in common", "[io][content]") {
  CHECK(yield_of({delta_data::random_bytes(5, 3 << 20), delta_data::random_bytes(6, 3 << 20)}) ==
        Yield{3 << 20, 0, 78});
}

TEST_CASE("recipe: equal files are one range", "[io][content]") {
  const Bytes file = delta_data::random_bytes(7, 1'234'567);
  CHECK(recipe_of({file, file}).copies == std::vector<CopyRange>{{0, 0, 1'234'567}});
  const Bytes tiny = delta_data::random_bytes(8, 40);
  CHECK(recipe_of({tiny, tiny}).copies == std::vector<CopyRange>{{0, 0, 40}});
  CHECK(recipe_of({{}, {}}).copies.empty());
  CHECK(recipe_of({file, {}}).copies.empty());
  CHECK(recipe_of({{}, file}).copies.empty());
  CHECK(recipe_of({Bytes(5, 1), Bytes(1000, 1)}).copies.empty());
}

TEST_CASE("recipe: an insertion at the start, a cut at the start, at the end", "[io][content]") {
  const Bytes file = delta_data::random_bytes(9, 500'000);
  Bytes longer = delta_data::random_bytes(10, 77);
  longer.insert(longer.end(), file.begin(), file.end());
  CHECK(recipe_of({file, longer}).copies == std::vector<CopyRange>{{77, 0, 500'000}});
  CHECK(recipe_of({longer, file}).copies == std::vector<CopyRange>{{0, 77, 500'000}});
  const Bytes shorter(file.begin(), file.end() - 12'345);
  CHECK(recipe_of({file, shorter}).copies == std::vector<CopyRange>{{0, 0, 487'655}});
  CHECK(recipe_of({shorter, file}).copies == std::vector<CopyRange>{{0, 0, 487'655}});
}

TEST_CASE("recipe: blocks that changed places are found where they are", "[io][content]") {
  const Bytes a = delta_data::random_bytes(11, 300'000);
  const Bytes b = delta_data::random_bytes(12, 200'000);
  Bytes ab = a;
  ab.insert(ab.end(), b.begin(), b.end());
  Bytes ba = b;
  ba.insert(ba.end(), a.begin(), a.end());
  CHECK(recipe_of({ab, ba}).copies ==
        std::vector<CopyRange>{{0, 300'000, 200'000}, {200'000, 0, 300'000}});
}

TEST_CASE(
    "recipe: of edits that lie apart, what was edited and at most 64 bytes around are missing",
    "[io][content]") {
  Rng rng(13);
  for (int round = 0; round < 20; ++round) {
    Pair pair;
    std::uint64_t edited = 0;
    for (std::uint64_t edits = 1 + rng.below(8); edits > 0; --edits) {
      const Bytes same = delta_data::random_bytes(rng.next(), 70'000 + rng.below(10'000));
      for (Bytes* file : {&pair.old_file, &pair.new_file}) {
        file->insert(file->end(), same.begin(), same.end());
      }
      // Overwritten, inserted or removed.
      const Bytes a = delta_data::random_bytes(rng.next(), 1 + rng.below(300));
      const Bytes b = delta_data::random_bytes(rng.next(), a.size());
      const std::uint64_t kind = rng.below(3);
      if (kind != 1) pair.old_file.insert(pair.old_file.end(), a.begin(), a.end());
      if (kind != 2) pair.new_file.insert(pair.new_file.end(), b.begin(), b.end());
      edited += (kind != 2 ? b.size() : 0) + 64;
    }
    CHECK(yield_of(pair).missing <= edited);
  }
}

TEST_CASE("recipe: of edits close together, two small pieces around each are missing at most",
          "[io][content]") {
  Rng rng(20);
  for (int round = 0; round < 20; ++round) {
    Pair pair;
    pair.old_file = delta_data::random_bytes(rng.next(), 200'000);
    pair.new_file = pair.old_file;
    const std::size_t around = 40'000 + rng.below(100'000);
    std::uint64_t edited = 0;
    for (std::uint64_t edits = 2 + rng.below(6); edits > 0; --edits) {
      const Bytes fresh = delta_data::random_bytes(rng.next(), 1 + rng.below(300));
      const auto at =
          pair.new_file.begin() + static_cast<std::ptrdiff_t>(around + rng.below(20'000));
      if (rng.chance(1, 2)) {
        pair.new_file.insert(at, fresh.begin(), fresh.end());
      } else {
        pair.new_file.erase(at, at + static_cast<std::ptrdiff_t>(fresh.size()));
      }
      edited += fresh.size() + 2 * 1024;
    }
    CHECK(yield_of(pair).missing <= edited);
  }
}

TEST_CASE("recipe: holes of the new file are not looked at", "[io][content]") {
  Bytes file = delta_data::random_bytes(14, 1 << 20);
  std::fill(file.begin() + (256 << 10), file.begin() + (768 << 10), std::uint8_t{0});
  RecipeInput input = input_of(file);
  input.data = {{0, 256 << 10}, {768 << 10, 256 << 10}};
  std::uint64_t in_hole = 0;
  const auto read = input.read;
  input.read = [&](std::uint64_t offset, std::span<std::uint8_t> out) {
    in_hole += offset >= 300u << 10 && offset < 512u << 10 ? 1 : 0;
    return read(offset, out);
  };
  const auto map = find_copies(input, input, {});
  REQUIRE(map);
  CHECK(map->ranges() ==
        std::vector<CopyRange>{{0, 0, 256 << 10}, {768 << 10, 768 << 10, 256 << 10}});
  CHECK(in_hole == 0);
}

TEST_CASE("recipe: it can be told to stop, and says when a file ends or cannot be read",
          "[io][content]") {
  const Pair pair{delta_data::random_bytes(15, 4 << 20), delta_data::random_bytes(16, 4 << 20)};
  int asked = 0;
  auto map =
      find_copies(input_of(pair.old_file), input_of(pair.new_file), [&] { return ++asked < 3; });
  REQUIRE(!map);
  CHECK(map.error().code == Errc::cancelled);
  CHECK(asked == 3);

  RecipeInput longer = input_of(pair.new_file);
  longer.size += 100;
  longer.data = {{0, longer.size}};
  map = find_copies(input_of(pair.old_file), longer, {});
  REQUIRE(!map);
  CHECK(map.error().code == Errc::unavailable);

  RecipeInput broken = input_of(pair.old_file);
  broken.read = [](std::uint64_t, std::span<std::uint8_t>) -> Result<std::size_t> {
    return Error{Errc::io_failed, "read: Input/output error"};
  };
  map = find_copies(broken, input_of(pair.new_file), {});
  REQUIRE(!map);
  CHECK(map.error().detail == "read: Input/output error");
}

TEST_CASE("recipe: files that are rewritten meanwhile give ranges inside both", "[io][content]") {
  Pair pair = delta_data::archive(17, 60, true);
  Rng rng(18);
  RecipeInput old_file = input_of(pair.old_file);
  const auto read = old_file.read;
  old_file.read = [&](std::uint64_t offset, std::span<std::uint8_t> out) {
    delta_data::overwrite(pair.old_file, rng, rng.below(pair.old_file.size() - 5000), 5000);
    return read(offset, out);
  };
  const auto map = find_copies(old_file, input_of(pair.new_file), {});
  REQUIRE(map);
  CHECK(validate(Recipe{{pair.old_file.size(), {}}, {pair.new_file.size(), {}}, map->ranges()}));
}

TEST_CASE("cuts depend on the bytes before them, and pieces keep their limits", "[io][content]") {
  const Cutter cutter(1024);
  const Bytes bytes = delta_data::random_bytes(19, 1 << 20);
  std::vector<std::size_t> cuts;
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t length = cutter.next(std::span(bytes).subspan(at));
    CHECK((length >= 256 || at + length == bytes.size()));
    CHECK(length <= 4096);
    at += length;
    cuts.push_back(at);
  }
  // 1.15 x the average (delta.md §4.1).
  CHECK(cuts.size() > 800);
  CHECK(cuts.size() < 1024);
  // From anywhere, the same cuts are found again soon.
  const std::size_t start = 100'001;
  std::size_t at = start;
  while (at < start + 20'000 && std::ranges::find(cuts, at) == cuts.end()) {
    at += cutter.next(std::span(bytes).subspan(at));
  }
  CHECK(at < start + 20'000);
  CHECK(cutter.next({}) == 0);
}

}  // namespace p2p
