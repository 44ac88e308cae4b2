// The bodies of the fuzz targets over their seeds, and over mutations that are the same every time.
#include <algorithm>
#include <cstdio>
#include <string>

#include "core/base/rng.h"
#include "tests/fuzz/target.h"
#include "tests/support/catch.h"

namespace p2p::fuzz {
namespace {

constexpr int kMutations = 150;  // of each seed

Bytes bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

std::string mutated(std::string text, Rng& rng) {
  for (std::uint64_t i = rng.below(3) + 1; i > 0; --i) {
    const auto at = static_cast<std::size_t>(rng.below(text.size() + 1));
    switch (rng.below(4)) {
      case 0:
        text.resize(at);
        break;
      case 1:
        if (at < text.size()) text[at] = static_cast<char>(rng.below(256));
        break;
      case 2:
        text.insert(at, 1, static_cast<char>(rng.below(256)));
        break;
      case 3:
        text.insert(at, text.substr(static_cast<std::size_t>(rng.below(text.size() + 1)), 64));
        break;
    }
  }
  return text;
}

}  // namespace

TEST_CASE("Fuzz targets take their seeds, what is cut off them, and changed ones", "[fuzz]") {
  const Target& target = targets()[GENERATE(range<std::size_t>(0, 16))];
  REQUIRE(targets().size() == 16);
  const std::string name(target.name);
  INFO(name);
  // A body ends the process when it finds something: this is the line that says where.
  std::fprintf(stderr, "fuzz target %s\n", name.c_str());
  Rng rng(1);
  target.run({});
  const auto seeds = target.seeds();
  REQUIRE_FALSE(seeds.empty());
  for (const std::string& seed : seeds) {
    target.run(bytes_of(seed));
    for (int i = 0; i < kMutations; ++i) target.run(bytes_of(mutated(seed, rng)));
  }
}

TEST_CASE("Names of fuzz targets are distinct", "[fuzz]") {
  std::vector<std::string_view> names;
  for (const Target& target : targets()) names.push_back(target.name);
  std::sort(names.begin(), names.end());
  CHECK(std::adjacent_find(names.begin(), names.end()) == names.end());
}

}  // namespace p2p::fuzz
