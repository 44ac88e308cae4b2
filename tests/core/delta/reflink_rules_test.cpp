// Which stretches of an old file are shared with the new one.
#include "core/delta/reflink_rules.h"

#include "tests/support/catch.h"

namespace p2p {
namespace {

constexpr std::uint64_t kKiB = 1024;
constexpr std::uint64_t kMiB = 1024 * kKiB;

TEST_CASE("whole blocks that moved by whole blocks can be shared", "[core][delta]") {
  CHECK(shared_part({0, 0, kMiB}, 4096) == CopyRange{0, 0, kMiB});
  CHECK(shared_part({8192, 4096, kMiB}, 4096) == CopyRange{8192, 4096, kMiB});
}

TEST_CASE("of a stretch that begins or ends inside of a block the whole blocks are shared",
          "[core][delta]") {
  CHECK(shared_part({100, 100, kMiB}, 4096) == CopyRange{4096, 4096, kMiB - 4096});
  CHECK(shared_part({4095, 8191, kMiB + 1}, 4096) == CopyRange{4096, 8192, kMiB});
}

TEST_CASE("what moved by a part of a block, or is short, is written", "[core][delta]") {
  CHECK_FALSE(shared_part({0, 1, kMiB}, 4096));
  CHECK_FALSE(shared_part({0, 0, 128 * kKiB - 1}, 4096));
  CHECK(shared_part({0, 0, 128 * kKiB}, 4096));
  CHECK_FALSE(shared_part({1, 1, 128 * kKiB}, 4096));
  CHECK_FALSE(shared_part({1, 1, 10}, 4096));
  CHECK_FALSE(shared_part({0, 0, 0}, 4096));
}

TEST_CASE("an image with edits all over is written: it would be in too many pieces",
          "[core][delta]") {
  // 1 % of the pages of 64 MiB: a copy of some 400 KiB between any two edits.
  std::vector<CopyRange> copies;
  for (std::uint64_t at = 0; at < 64 * kMiB; at += 400 * kKiB) {
    copies.push_back({at, at, 396 * kKiB});
  }
  CHECK(too_fragmented(copies, 64 * kMiB));
  // Edits in a few places.
  copies.resize(127);
  CHECK_FALSE(too_fragmented(copies, 64 * kMiB));
  copies.resize(128);
  CHECK(too_fragmented(copies, 64 * kMiB));
}

TEST_CASE("a small file may be shared as a whole", "[core][delta]") {
  const std::vector<CopyRange> all{{0, 0, kMiB}};
  CHECK_FALSE(too_fragmented(all, kMiB));
}

}  // namespace
}  // namespace p2p
