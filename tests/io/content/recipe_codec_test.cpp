// Recipes as bytes: there and back, and what foreign bytes may not do.
#include "io/content/recipe_codec.h"

#include <limits>

#include "core/base/rng.h"
#include "core/model/manifest.h"
#include "tests/support/catch.h"

namespace p2p {
namespace {

FileVersion version_of(std::uint64_t size, std::uint8_t seed) {
  FileVersion version;
  version.size = size;
  version.root.bytes.fill(seed);
  return version;
}

Recipe small_recipe() {
  return {version_of(1000, 1), version_of(2000, 2), {{0, 500, 10}, {10, 0, 400}, {1999, 999, 1}}};
}

Recipe drawn_recipe(Rng& rng) {
  Recipe recipe{version_of(1 + rng.below(1u << 30), 3), version_of(1 + rng.below(1u << 30), 4), {}};
  std::uint64_t at = 0;
  for (std::uint64_t count = rng.below(50); count > 0; --count) {
    CopyRange range;
    range.new_offset = at + rng.below(1u << 20);
    range.length = 1 + rng.below(1u << 16);
    range.old_offset = rng.below(recipe.old_file.size);
    if (range.new_end() > recipe.new_file.size || range.old_end() > recipe.old_file.size) continue;
    recipe.copies.push_back(range);
    at = range.new_end();
  }
  return recipe;
}

void put_varint(std::string& bytes, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  bytes += static_cast<char>(value);
}

// What the codec writes, with any numbers.
std::string raw(std::uint64_t version, std::uint64_t old_size, std::uint64_t new_size,
                std::uint64_t count, const std::vector<std::uint64_t>& numbers) {
  std::string bytes = "p2pR";
  put_varint(bytes, version);
  put_varint(bytes, old_size);
  bytes.append(32, '\1');
  put_varint(bytes, new_size);
  bytes.append(32, '\2');
  put_varint(bytes, count);
  for (const std::uint64_t number : numbers) put_varint(bytes, number);
  return bytes;
}

Errc code_of(std::string_view bytes) {
  const auto recipe = decode_recipe(bytes);
  REQUIRE(!recipe);
  CHECK(!recipe.error().detail.empty());
  return recipe.error().code;
}

}  // namespace

TEST_CASE("a recipe comes back as it was", "[io][content]") {
  CHECK(*decode_recipe(encode_recipe(small_recipe())) == small_recipe());
  const Recipe empty{version_of(0, 0), version_of(0, 0), {}};
  CHECK(*decode_recipe(encode_recipe(empty)) == empty);
  Rng rng(1);
  for (int i = 0; i < 300; ++i) {
    const Recipe recipe = drawn_recipe(rng);
    const auto decoded = decode_recipe(encode_recipe(recipe));
    REQUIRE(decoded);
    CHECK(*decoded == recipe);
  }
}

TEST_CASE("the format of a recipe is fixed", "[io][content]") {
  // Shifts: +500, then -510 from there (0 - 10 = -10), then -990 from there (999 - 1999 = -1000).
  CHECK(encode_recipe(small_recipe()) ==
        raw(1, 1000, 2000, 3, {0, 10, 1000, 0, 400, 1019, 1589, 1, 1979}));
}

TEST_CASE("edits in place cost seven bytes each", "[io][content]") {
  Recipe recipe{version_of(1u << 28, 1), version_of(1u << 28, 2), {}};
  for (std::uint64_t page = 0; page < 1u << 16; page += 2) {
    recipe.copies.push_back({page * 4096, page * 4096, 4096});
  }
  CHECK(encode_recipe(recipe).size() <= recipe.copies.size() * 7 + 100);
}

TEST_CASE("the largest recipe fits the limit", "[io][content]") {
  Recipe recipe{version_of(kMaxFileBytes, 1), version_of(kMaxFileBytes, 2), {}};
  const std::uint64_t step = kMaxFileBytes / CopyMap::kRangesMax;
  for (std::uint64_t i = 0; i < CopyMap::kRangesMax; ++i) {
    // Far to and fro, so that every number is as long as it can be.
    recipe.copies.push_back({i * step, (i % 2 == 0 ? kMaxFileBytes - step : 0), step - 1});
  }
  const std::string bytes = encode_recipe(recipe);
  CHECK(bytes.size() <= kMaxRecipeBytes);
  const auto decoded = decode_recipe(bytes);
  REQUIRE(decoded);
  CHECK(decoded->copies == recipe.copies);
}

TEST_CASE("a recipe that is cut short, longer, newer or something else is refused",
          "[io][content]") {
  const std::string good = encode_recipe(small_recipe());
  for (std::size_t length = 0; length < good.size(); ++length) {
    CHECK(code_of(good.substr(0, length)) == Errc::corrupt);
  }
  CHECK(code_of(good + '\0') == Errc::corrupt);
  CHECK(code_of("q" + good.substr(1)) == Errc::corrupt);
  CHECK(code_of(raw(0, 10, 10, 0, {})) == Errc::corrupt);
  CHECK(code_of(raw(2, 10, 10, 0, {})) == Errc::invalid_argument);
  CHECK(code_of(std::string(kMaxRecipeBytes + 1, 'p')) == Errc::corrupt);
}

TEST_CASE("a recipe with wrong, overlapping, misplaced or endless ranges is refused",
          "[io][content]") {
  constexpr std::uint64_t kHuge = std::numeric_limits<std::uint64_t>::max();
  const auto one = [](std::uint64_t gap, std::uint64_t length, std::uint64_t change) {
    return raw(1, 1000, 2000, 1, {gap, length, change});
  };
  CHECK(decode_recipe(one(0, 1000, 0)));
  CHECK(code_of(one(0, 0, 0)) == Errc::corrupt);     // empty
  CHECK(code_of(one(0, 1001, 0)) == Errc::corrupt);  // leaves the old file
  CHECK(code_of(one(1999, 2, 1)) == Errc::corrupt);  // leaves the new one
  CHECK(code_of(one(0, 10, 1)) == Errc::corrupt);    // one byte before the old one
  CHECK(code_of(one(kHuge, 1, 0)) == Errc::corrupt);
  CHECK(code_of(one(0, kHuge, 0)) == Errc::corrupt);
  CHECK(code_of(one(0, 1, kHuge)) == Errc::corrupt);
  CHECK(code_of(one(0, 1, kHuge - 1)) == Errc::corrupt);
  CHECK(code_of(one(kMaxFileBytes, kMaxFileBytes, 0)) == Errc::corrupt);
  // A gap cannot be negative, so that ranges overlap only by going round 2^64.
  CHECK(code_of(raw(1, 1000, 2000, 2, {0, 10, 0, kHuge - 4, 10, 0})) == Errc::corrupt);
}

TEST_CASE("a recipe that claims more ranges than it has bytes for takes no memory for them",
          "[io][content]") {
  CHECK(code_of(raw(1, 1000, kMaxFileBytes, CopyMap::kRangesMax, {0, 1, 0})) == Errc::corrupt);
  CHECK(code_of(raw(1, 1000, kMaxFileBytes, ~0ull, {0, 1, 0})) == Errc::corrupt);
  CHECK(code_of(raw(1, 1000, 100, 2, {0, 1, 0, 0, 1, 0})) == Errc::corrupt);  // one for 256 bytes
  CHECK(code_of(raw(1, kMaxFileBytes + 1, 100, 0, {})) == Errc::corrupt);
  CHECK(code_of(raw(1, 100, ~0ull, 0, {})) == Errc::corrupt);
}

TEST_CASE("no damage to a recipe gives an invalid one", "[io][content]") {
  Rng rng(2);
  int refused = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string bytes = encode_recipe(drawn_recipe(rng));
    for (std::uint64_t flips = 1 + rng.below(4); flips > 0; --flips) {
      bytes[rng.below(bytes.size())] ^= static_cast<char>(1u << rng.below(8));
    }
    const auto recipe = decode_recipe(bytes);
    if (recipe) {
      CHECK(validate(*recipe));
    } else {
      ++refused;
    }
  }
  CHECK(refused > 1000);
}

}  // namespace p2p
