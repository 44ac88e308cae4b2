// What each tier finds on small data sets, in exact bytes: a matcher that finds less still gives
// right files, so nothing else would notice (OSTree #2066: rollsum was broken for years).
#include <librsync.h>

#include <cstdio>
#include <memory>

#include "tests/librsyncwrap/match_support.h"

namespace p2p::rsync {
namespace {

struct Yield {
  std::uint64_t missing;   // bytes of the new file that nobody found
  std::uint64_t in_place;  // found by the first tier
  std::uint64_t rolled;    // found by the second
  std::size_t ranges;
  friend bool operator==(const Yield&, const Yield&) = default;
};

std::ostream& operator<<(std::ostream& out, const Yield& yield) {
  return out << "{" << yield.missing << ", " << yield.in_place << ", " << yield.rolled << ", "
             << yield.ranges << "}";
}

Yield yield_of(const Pair& pair, std::uint32_t block_bytes, const MatchOptions& options = {}) {
  const MatchResult result = match(pair, block_bytes, options);
  CHECK(result.map.copied_bytes() == result.in_place_bytes + result.rolled_bytes);
  return {pair.new_file.size() - result.map.copied_bytes(), result.in_place_bytes,
          result.rolled_bytes, result.map.ranges().size()};
}

constexpr MatchOptions kInPlaceOnly{.rolling = false};
constexpr MatchOptions kRollingOnly{.in_place = false};

struct Close {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using FilePtr = std::unique_ptr<std::FILE, Close>;

FilePtr file_of(const Bytes& bytes) {
  FilePtr file(std::tmpfile());
  REQUIRE(file);
  REQUIRE(std::fwrite(bytes.data(), 1, bytes.size(), file.get()) == bytes.size());
  std::rewind(file.get());
  return file;
}

// Bytes of the old file that librsync alone finds in the new one: `rdiff delta`, roles exchanged.
std::uint64_t plain_librsync(const Pair& pair, std::uint32_t block_bytes) {
  const FilePtr signature = file_of(signature_of(pair.new_file, block_bytes));
  rs_signature_t* sums = nullptr;
  REQUIRE(rs_loadsig_file(signature.get(), &sums, nullptr) == RS_DONE);
  const std::unique_ptr<rs_signature_t, void (*)(rs_signature_t*)> owner(sums, rs_free_sumset);
  REQUIRE(rs_build_hash_table(sums) == RS_DONE);
  const FilePtr old_file = file_of(pair.old_file);
  const FilePtr delta(std::tmpfile());
  rs_stats_t stats{};
  REQUIRE(rs_delta_file(sums, old_file.get(), delta.get(), &stats) == RS_DONE);
  return static_cast<std::uint64_t>(stats.copy_bytes);
}

}  // namespace

TEST_CASE("yield: an image with changed pages lacks those pages and nothing else", "[librsync]") {
  const Pair pair = delta_data::vm_image(1, 16 << 20);
  std::uint64_t changed = 0;
  for (std::size_t page = 0; page < pair.new_file.size(); page += 4096) {
    const auto at = static_cast<std::ptrdiff_t>(page);
    if (!std::equal(pair.new_file.begin() + at, pair.new_file.begin() + at + 4096,
                    pair.old_file.begin() + at)) {
      changed += 4096;
    }
  }
  CHECK(changed == 163840);
  CHECK(yield_of(pair, 4096) == Yield{163840, 16613376, 0, 41});
  CHECK(yield_of(pair, 4096, kInPlaceOnly) == Yield{163840, 16613376, 0, 41});
  CHECK(yield_of(pair, 4096, kRollingOnly) == Yield{163840, 0, 16613376, 307});
  CHECK(yield_of(pair, 16384) == Yield{655360, 16121856, 0, 40});
  CHECK(yield_of(pair, 16384, kRollingOnly) == Yield{655360, 0, 16121856, 104});
}

TEST_CASE("yield: a shifted archive lacks the blocks around its edits", "[librsync]") {
  const Pair pair = delta_data::archive(2, 400, false);
  CHECK(yield_of(pair, 1024) == Yield{33792, 1514496, 6542848, 20});
  CHECK(yield_of(pair, 4096) == Yield{102400, 1511424, 6477312, 17});
  CHECK(yield_of(pair, 4096, kInPlaceOnly) == Yield{6579712, 1511424, 0, 1});
  CHECK(yield_of(pair, 4096, kRollingOnly) == Yield{102400, 0, 7988736, 17});
}

TEST_CASE("yield: an archive with all headers touched lacks a block or two a file", "[librsync]") {
  const Pair pair = delta_data::archive(3, 400, true);
  CHECK(yield_of(pair, 1024) == Yield{438272, 1705984, 8901120, 396});
  CHECK(yield_of(pair, 4096) == Yield{1593344, 1568768, 7883264, 320});
}

TEST_CASE("yield: dense edits are found between, when blocks are small", "[librsync]") {
  const Pair pair = delta_data::dense_edits(4, 4 << 20);
  CHECK(yield_of(pair, 512) == Yield{533504, 3660800, 0, 1004});
  CHECK(yield_of(pair, 1024) == Yield{1054720, 3139584, 0, 953});
  CHECK(yield_of(pair, 4096) == Yield{4194304, 0, 0, 0});
}

TEST_CASE("yield: an unrelated file gives nothing", "[librsync]") {
  const Pair pair{delta_data::random_bytes(5, 3 << 20), delta_data::random_bytes(6, 3 << 20)};
  CHECK(yield_of(pair, 1024) == Yield{3 << 20, 0, 0, 0});
}

TEST_CASE("yield: of files with random edits, all but 0.5 % of what plain librsync finds",
          "[librsync]") {
  Rng rng(7);
  for (int round = 0; round < 12; ++round) {
    Pair pair;
    pair.old_file = delta_data::random_bytes(rng.next(), 1'000'000 + rng.below(1'000'000));
    pair.new_file = pair.old_file;
    for (std::uint64_t edits = rng.below(60); edits > 0; --edits) {
      const auto at = static_cast<std::ptrdiff_t>(rng.below(pair.new_file.size() - 3000));
      const Bytes fresh = delta_data::random_bytes(rng.next(), 1 + rng.below(2000));
      const auto end = at + static_cast<std::ptrdiff_t>(fresh.size());
      if (rng.chance(1, 2)) {
        std::copy(fresh.begin(), fresh.end(), pair.new_file.begin() + at);
      } else if (rng.chance(1, 2)) {
        pair.new_file.insert(pair.new_file.begin() + at, fresh.begin(), fresh.end());
      } else {
        pair.new_file.erase(pair.new_file.begin() + at, pair.new_file.begin() + end);
      }
    }
    for (const std::uint32_t block : {512u, 1024u, 4096u}) {
      const std::uint64_t plain = plain_librsync(pair, block);
      CHECK(plain > pair.old_file.size() / 2);
      CHECK(match(pair, block).map.copied_bytes() >= plain - plain / 200);
    }
  }
}

}  // namespace p2p::rsync
