// The rolling search, the index below it and the comparison in place.
#include "librsyncwrap/matcher.h"

#include <numeric>

#include "librsyncwrap/block_index.h"
#include "librsyncwrap/in_place.h"
#include "tests/librsyncwrap/match_support.h"

namespace p2p::rsync {
namespace {

using Ranges = std::vector<CopyRange>;

constexpr std::uint32_t kBlock = 512;

BlockIndex index_of(const Bytes& new_file, std::uint32_t block_bytes = kBlock) {
  const SignatureLayout layout = layout_of(new_file.size(), block_bytes);
  std::vector<std::uint32_t> blocks(layout.blocks());
  std::iota(blocks.begin(), blocks.end(), 0u);
  auto index = BlockIndex::build(layout, std::move(blocks), records_of(new_file, block_bytes));
  REQUIRE(index);
  return *std::move(index);
}

void scan(BlockIndex& index, std::span<const std::uint8_t> old_bytes, std::uint64_t old_offset,
          std::uint64_t seed = 0) {
  Rng rng(seed);
  Matcher matcher(index, old_offset);
  while (!old_bytes.empty()) {
    const std::size_t step =
        seed == 0 ? old_bytes.size() : std::min<std::size_t>(rng.below(9000), old_bytes.size());
    const auto taken = matcher.feed(old_bytes.first(step));
    REQUIRE(taken);
    CHECK(*taken == std::min(step, Matcher::kStepBytes));
    old_bytes = old_bytes.subspan(*taken);
  }
  REQUIRE(matcher.finish());
}

Bytes joined(std::initializer_list<Bytes> parts) {
  Bytes all;
  for (const Bytes& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

Bytes random_blocks(std::uint64_t seed, std::size_t count) {
  return delta_data::random_bytes(seed, count * kBlock);
}

}  // namespace

TEST_CASE("blocks are found at any byte of the old file", "[librsync]") {
  const Bytes new_file = random_blocks(1, 8);
  for (const std::size_t shift : {0, 1, 511, 512, 513, 70'000}) {
    BlockIndex index = index_of(new_file);
    scan(index, joined({delta_data::random_bytes(2, shift), new_file}), 0);
    CHECK(index.found() == Ranges{{0, shift, 8 * kBlock}});
    CHECK(index.all_found());
    CHECK(index.found_bytes() == 8 * kBlock);
  }
}

TEST_CASE("offsets are those of the file, not of the window", "[librsync]") {
  const Bytes new_file = random_blocks(3, 4);
  BlockIndex index = index_of(new_file);
  scan(index, new_file, 5'000'000'000'123);
  CHECK(index.found() == Ranges{{0, 5'000'000'000'123, 4 * kBlock}});
}

TEST_CASE("what was found does not depend on how the window was fed", "[librsync]") {
  const Pair pair = delta_data::archive(4, 60, true);
  BlockIndex whole = index_of(pair.new_file);
  scan(whole, pair.old_file, 0);
  CHECK(whole.found().size() > 50);
  for (const std::uint64_t seed : {1, 2}) {
    BlockIndex pieces = index_of(pair.new_file);
    scan(pieces, pair.old_file, 0, seed);
    CHECK(pieces.found() == whole.found());
  }
}

TEST_CASE("windows that overlap by a block less a byte find what one window finds", "[librsync]") {
  const Pair pair = delta_data::archive(5, 60, false);
  BlockIndex whole = index_of(pair.new_file);
  scan(whole, pair.old_file, 0);
  BlockIndex windows = index_of(pair.new_file);
  constexpr std::size_t kWindow = 50'001;
  for (std::size_t at = 0; at < pair.old_file.size(); at += kWindow) {
    const std::size_t length = std::min(kWindow + kBlock - 1, pair.old_file.size() - at);
    scan(windows, std::span(pair.old_file).subspan(at, length), at);
  }
  CHECK(windows.found_bytes() == whole.found_bytes());
}

TEST_CASE("equal blocks are found all at once, and none is reported twice", "[librsync]") {
  const Bytes a = random_blocks(6, 1);
  const Bytes b = random_blocks(7, 1);
  BlockIndex index = index_of(joined({a, b, a, a, b}));
  scan(index, joined({b, a}), 100);
  CHECK(index.found() == Ranges{{0, 612, kBlock},
                                {kBlock, 100, 2 * kBlock},  // b, a stand so in the old file, too
                                {3 * kBlock, 612, kBlock},
                                {4 * kBlock, 100, kBlock}});
  CHECK(index.found_bytes() == 2 * kBlock);
}

TEST_CASE("a run of equal blocks is one range where the old file has such a run", "[librsync]") {
  const Bytes zeros(40 * kBlock, 0);
  const Bytes a = random_blocks(8, 1);
  const Bytes c = random_blocks(9, 1);
  const Bytes file = joined({a, zeros, c});
  BlockIndex index = index_of(file);
  scan(index, joined({Bytes(10, 1), file}), 0);
  CHECK(index.found() == Ranges{{0, 10, 42 * kBlock}});
}

TEST_CASE("a short last block is found at the end of the old file", "[librsync]") {
  const Bytes new_file = delta_data::random_bytes(10, 3 * kBlock + 100);
  BlockIndex index = index_of(new_file);
  scan(index, joined({Bytes(7, 1), new_file}), 0);
  CHECK(index.found() == Ranges{{0, 7, 3 * kBlock + 100}});
  BlockIndex elsewhere = index_of(new_file);
  scan(elsewhere, joined({Bytes(7, 1), new_file, Bytes(600, 2)}), 0);
  CHECK(elsewhere.found() == Ranges{{0, 7, 3 * kBlock}});
}

TEST_CASE("an index of some blocks finds those", "[librsync]") {
  const Bytes new_file = random_blocks(11, 10);
  const std::vector<Record> all = records_of(new_file, kBlock);
  auto index = BlockIndex::build(layout_of(new_file.size(), kBlock), {2, 3, 4, 8},
                                 {all[2], all[3], all[4], all[8]});
  REQUIRE(index);
  scan(*index, new_file, 0);
  CHECK(index->found() ==
        Ranges{{2 * kBlock, 2 * kBlock, 3 * kBlock}, {8 * kBlock, 8 * kBlock, kBlock}});
}

TEST_CASE("an empty index and an empty window are no trouble", "[librsync]") {
  auto index = BlockIndex::build(layout_of(0, kBlock), {}, {});
  REQUIRE(index);
  CHECK(index->all_found());
  scan(*index, random_blocks(12, 3), 0);
  CHECK(index->found().empty());
  BlockIndex some = index_of(random_blocks(13, 3));
  scan(some, {}, 0);
  CHECK(some.found().empty());
}

TEST_CASE("a matcher that is dropped leaves what it found, and the index goes on", "[librsync]") {
  const Bytes new_file = random_blocks(14, 400);
  BlockIndex index = index_of(new_file);
  {
    Matcher matcher(index, 0);
    std::size_t fed = 0;
    while (fed < 100 * kBlock) {
      const auto taken = matcher.feed(std::span(new_file).subspan(fed, 100 * kBlock - fed));
      REQUIRE(taken);
      fed += *taken;
    }
  }
  CHECK(index.found_bytes() < 100 * kBlock);
  scan(index, new_file, 0);
  CHECK(index.all_found());
  CHECK(index.found() == Ranges{{0, 0, 400 * kBlock}});
}

TEST_CASE("what another tier knows completes equal blocks", "[librsync]") {
  const Bytes a = random_blocks(15, 1);
  const Bytes b = random_blocks(16, 1);
  const Bytes file = joined({a, b, a, Bytes(100, 3)});
  const std::vector<Record> records = records_of(file, kBlock);
  BlockIndex index = index_of(file);
  CHECK(!index.offer(records[0] ^ 1, 900, kBlock));
  CHECK(!index.offer(records[0], 900, 100));
  CHECK(!index.offer(records[3], 900, kBlock));
  CHECK(index.offer(records[0], 900, kBlock));
  CHECK(!index.offer(records[0], 1900, kBlock));
  CHECK(index.offer(records[3], 7, 100));
  CHECK(index.found() == Ranges{{0, 900, kBlock}, {2 * kBlock, 900, kBlock}, {3 * kBlock, 7, 100}});
  CHECK(!index.all_found());
  CHECK(index.offer(records[1], 0, kBlock));
  CHECK(index.all_found());
}

TEST_CASE("in place: equal blocks at equal offsets, at any shift", "[librsync]") {
  Bytes old_file = delta_data::random_bytes(17, 20 * kBlock + 100);
  const Bytes new_file = old_file;
  old_file[3 * kBlock] ^= 1;
  old_file[9 * kBlock + 511] ^= 1;
  const std::vector<Record> records = records_of(new_file, kBlock);
  const SignatureLayout layout = layout_of(new_file.size(), kBlock);
  const auto equal_of = [&](std::span<const std::uint8_t> bytes, std::size_t step) {
    InPlaceMatcher matcher(layout, 2, std::span(records).subspan(2));
    for (std::size_t at = 0; at < bytes.size(); at += step) {
      REQUIRE(matcher.feed(bytes.subspan(at, std::min(step, bytes.size() - at))));
    }
    REQUIRE(matcher.finish());
    return matcher.equal();
  };
  const auto from = std::span<const std::uint8_t>(old_file).subspan(2 * kBlock);
  Bitfield expected(19, true);
  expected.reset(1);
  expected.reset(7);
  CHECK(equal_of(from, 700) == expected);
  CHECK(equal_of(from, 1 << 20) == expected);
  // The new file was cut out of a longer one: its last block counts at its own length.
  CHECK(equal_of(joined({Bytes(from.begin(), from.end()), Bytes(5000, 1)}), 700) == expected);
  // The old file ends within a block.
  expected.reset(18);
  CHECK(equal_of(from.first(from.size() - 1), 700) == expected);
  for (std::uint32_t i = 10; i < 18; ++i) expected.reset(i);
  CHECK(equal_of(from.first(10 * kBlock + 17), 700) == expected);
}

}  // namespace p2p::rsync
