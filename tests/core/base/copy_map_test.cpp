// The map of copies against a slow one that knows every byte.
#include "core/base/copy_map.h"

#include <map>
#include <vector>

#include "core/base/rng.h"
#include "tests/support/catch.h"

namespace p2p {
namespace {

using Ranges = std::vector<CopyRange>;
using Bytes = std::vector<ByteRange>;

// New offset -> old offset, byte by byte.
std::map<std::uint64_t, std::uint64_t> bytes_of(const Ranges& ranges) {
  std::map<std::uint64_t, std::uint64_t> bytes;
  for (const CopyRange& range : ranges) {
    for (std::uint64_t i = 0; i < range.length; ++i) {
      REQUIRE(bytes.emplace(range.new_offset + i, range.old_offset + i).second);
    }
  }
  return bytes;
}

}  // namespace

TEST_CASE("neighbours with the same shift become one range", "[core][base]") {
  CopyMap map;
  map.merge({{8, 108, 4}, {0, 100, 8}});
  CHECK(map.ranges() == Ranges{{0, 100, 12}});
  map.merge({{12, 200, 4}});
  CHECK(map.ranges() == Ranges{{0, 100, 12}, {12, 200, 4}});
  CHECK(map.copied_bytes() == 16);
}

TEST_CASE("what the map has stays, later finds fill the gaps", "[core][base]") {
  CopyMap map;
  map.merge({{10, 1010, 10}, {30, 1030, 10}});
  map.merge({{0, 5000, 50}});
  CHECK(map.ranges() ==
        Ranges{{0, 5000, 10}, {10, 1010, 10}, {20, 5020, 10}, {30, 1030, 10}, {40, 5040, 10}});
}

TEST_CASE("ranges that are empty or end beyond 2^64 are passed over", "[core][base]") {
  CopyMap map;
  map.merge({{5, 5, 0}, {~0ull - 2, 0, 10}, {0, ~0ull - 2, 10}, {1, 2, ~0ull}});
  CHECK(map.ranges().empty());
  CHECK(map.copied_bytes() == 0);
}

TEST_CASE("a full map forgets the shortest ranges and says how much", "[core][base]") {
  CopyMap map(3);
  map.merge({{0, 100, 5}, {10, 300, 1}, {20, 200, 7}, {30, 500, 2}, {40, 700, 2}});
  CHECK(map.ranges() == Ranges{{0, 100, 5}, {20, 200, 7}, {40, 700, 2}});
  CHECK(map.forgotten_bytes() == 3);
  CHECK(map.copied_bytes() == 14);
}

TEST_CASE("missing is what is wanted and not copied", "[core][base]") {
  CopyMap map;
  map.merge({{10, 0, 10}, {40, 0, 10}});
  CHECK(map.missing(Bytes{{0, 60}}) == Bytes{{0, 10}, {20, 20}, {50, 10}});
  CHECK(map.missing(Bytes{{12, 4}, {18, 4}, {45, 5}}) == Bytes{{20, 2}});
  CHECK(map.missing(Bytes{}).empty());
  CHECK(CopyMap{}.missing(Bytes{{3, 4}}) == Bytes{{3, 4}});
}

TEST_CASE("unused bytes of the old file come with a margin inside the file", "[core][base]") {
  CopyMap map;
  map.merge({{0, 100, 50}, {60, 20, 10}, {80, 120, 60}});  // old 20..30 and 100..180 are used
  CHECK(map.unused_old(200, 0) == Bytes{{0, 20}, {30, 70}, {180, 20}});
  CHECK(map.unused_old(200, 3) == Bytes{{0, 23}, {27, 76}, {177, 23}});
  CHECK(map.unused_old(200, 6) == Bytes{{0, 106}, {174, 26}});
  CHECK(CopyMap{}.unused_old(7, 3) == Bytes{{0, 7}});
  CHECK(CopyMap{}.unused_old(0, 3).empty());
}

TEST_CASE("any sequence of merges gives what a map of single bytes gives", "[core][base]") {
  Rng rng(5);
  for (int round = 0; round < 300; ++round) {
    CopyMap map;
    std::map<std::uint64_t, std::uint64_t> expected;
    for (int merges = 0; merges < 4; ++merges) {
      Ranges found;
      for (std::uint64_t count = rng.below(6); count > 0; --count) {
        found.push_back({rng.below(60), rng.below(60), rng.below(20)});
      }
      // Of a batch, the range that begins first wins, of two that begin together the longer one.
      Ranges sorted = found;
      std::ranges::stable_sort(sorted, [](const CopyRange& a, const CopyRange& b) {
        return std::pair(a.new_offset, b.length) < std::pair(b.new_offset, a.length);
      });
      std::map<std::uint64_t, std::uint64_t> batch;
      for (const CopyRange& range : sorted) {
        for (std::uint64_t i = 0; i < range.length; ++i) {
          batch.emplace(range.new_offset + i, range.old_offset + i);
        }
      }
      expected.insert(batch.begin(), batch.end());
      map.merge(found);
    }
    CHECK(bytes_of(map.ranges()) == expected);
    CHECK(map.copied_bytes() == expected.size());
    for (std::size_t i = 1; i < map.ranges().size(); ++i) {
      CHECK(map.ranges()[i - 1].new_end() <= map.ranges()[i].new_offset);
    }
    std::uint64_t missing = 0;
    for (const ByteRange& gap : map.missing(Bytes{{0, 90}})) {
      missing += gap.length;
      for (std::uint64_t i = gap.offset; i < gap.end(); ++i) CHECK(!expected.contains(i));
    }
    CHECK(missing == 90 - expected.size());
  }
}

}  // namespace p2p
