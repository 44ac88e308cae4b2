#include "core/runs/output_segments.h"

#include <map>

#include "core/base/rng.h"
#include "tests/support/catch.h"

namespace p2p {
namespace {

constexpr std::uint64_t kLimit = 64 * 1024;

// What a disk would hold: segments by name, with their sizes.
struct Kept {
  OutputSegments segments{kLimit};
  std::map<std::uint64_t, std::uint64_t> sizes;
  std::uint64_t most = 0;

  void take(std::uint64_t count) {
    while (count > 0) {
      const auto piece = segments.place(static_cast<std::size_t>(count));
      REQUIRE(piece.count > 0);
      REQUIRE(piece.count <= count);
      if (piece.dropped) REQUIRE(sizes.erase(*piece.dropped) == 1);
      REQUIRE(sizes[piece.segment] == piece.at);  // segments only grow, without holes
      sizes[piece.segment] += piece.count;
      count -= piece.count;
      most = std::max(most, bytes());
    }
  }
  std::uint64_t bytes() const {
    std::uint64_t sum = 0;
    for (const auto& [begin, size] : sizes) sum += size;
    return sum;
  }
};

TEST_CASE("Output up to the limit is kept whole", "[core][runs]") {
  for (const std::uint64_t count : {1ull, 32 * 1024ull, 32 * 1024ull + 1, 0ull + kLimit}) {
    Kept kept;
    kept.take(count);
    CHECK(kept.bytes() == count);
    CHECK_FALSE(kept.segments.truncated());
    CHECK(kept.segments.total() == count);
  }
}

TEST_CASE("Of longer output the head and the end are kept", "[core][runs]") {
  Kept kept;
  kept.take(kLimit + 1);
  CHECK(kept.segments.truncated());
  CHECK(kept.sizes.begin()->second == kLimit / 2);
  CHECK(kept.segments.head() == kLimit / 2);
  CHECK(kept.segments.tail_begin() == kLimit / 2 + kLimit / 8);
  CHECK(std::next(kept.sizes.begin())->first == kept.segments.tail_begin());
}

TEST_CASE("However much is written, what is kept has a limit and no hole but one", "[core][runs]") {
  Rng rng(7);
  for (int round = 0; round < 50; ++round) {
    Kept kept;
    for (int i = 0; i < 60; ++i) kept.take(1 + rng.below(30'000));
    const OutputSegments& segments = kept.segments;
    CHECK(kept.most <= kLimit);
    // The tail: from tail_begin() to the end, piece behind piece.
    std::uint64_t next = segments.tail_begin();
    for (const auto& [begin, size] : kept.sizes) {
      if (begin == 0) continue;
      CHECK(begin == next);
      next = begin + size;
    }
    CHECK(next == segments.total());
    if (segments.truncated()) CHECK(segments.total() - segments.tail_begin() >= kLimit / 8 * 3);
  }
}

TEST_CASE("Output of nothing is nothing", "[core][runs]") {
  const OutputSegments segments(kLimit);
  CHECK(segments.total() == 0);
  CHECK(segments.head() == 0);
  CHECK(segments.tail_begin() == 0);
  CHECK_FALSE(segments.truncated());
}

}  // namespace
}  // namespace p2p
