// Old files that change under the match, hints that lie, and callers that stop.

#include "librsyncwrap/block_index.h"
#include "librsyncwrap/matcher.h"
#include "tests/librsyncwrap/match_support.h"

namespace p2p::rsync {
namespace {

constexpr std::uint64_t kMiB = 1ull << 20;

std::vector<ByteRange> all_of(const Bytes& file) {
  return {{0, file.size()}};
}

Result<MatchResult> run(const Pair& pair, const MatchInput& input) {
  return match_file(layout_of(pair.new_file.size(), 1024), all_of(pair.new_file), input);
}

}  // namespace

TEST_CASE("an old file that is truncated during the match is read to its new end", "[librsync]") {
  const Pair pair = delta_data::archive(1, 100, false);
  const Bytes signature = signature_of(pair.new_file, 1024);
  for (const std::size_t kept : {std::size_t{0}, std::size_t{1000}, pair.old_file.size() / 2}) {
    Bytes old_file = pair.old_file;
    MatchInput input = input_of(old_file, signature);
    input.pace = [&](const MatchProgress& progress) {
      if (progress.old_bytes_read > 0) old_file.resize(std::min(old_file.size(), kept));
      return MatchPace::go_on;
    };
    const auto result = run(pair, input);
    REQUIRE(result);
    // It was read while it was longer: the map may speak of bytes that are gone, never of others.
    CHECK(wrong_bytes(result->map, pair.old_file, pair.new_file) == 0);
  }
}

TEST_CASE("an old file that is rewritten during the match costs yield, nothing else",
          "[librsync]") {
  const Pair pair = delta_data::archive(2, 100, false);
  const Bytes signature = signature_of(pair.new_file, 1024);
  Bytes old_file = pair.old_file;
  MatchInput input = input_of(old_file, signature);
  Rng rng(3);
  input.pace = [&](const MatchProgress&) {
    delta_data::overwrite(old_file, rng, rng.below(old_file.size() - 5000), 5000);
    return MatchPace::go_on;
  };
  const auto result = run(pair, input);
  REQUIRE(result);
  for (const CopyRange& range : result->map.ranges()) {
    CHECK(range.new_end() <= pair.new_file.size());
    CHECK(range.old_end() <= old_file.size());
  }
}

TEST_CASE("an old file that is longer or shorter than was said is no trouble", "[librsync]") {
  const Pair pair = delta_data::archive(4, 60, false);
  const Bytes signature = signature_of(pair.new_file, 1024);
  for (const std::uint64_t said : {std::uint64_t{0}, std::uint64_t{1}, pair.old_file.size() - 1,
                                   pair.old_file.size() + 1, pair.old_file.size() * 3}) {
    MatchInput input = input_of(pair.old_file, signature);
    input.old_bytes = said;
    input.old_data = {{0, said}};
    const auto result = run(pair, input);
    REQUIRE(result);
    CHECK(wrong_bytes(result->map, pair.old_file, pair.new_file) == 0);
    if (said == 0) CHECK(result->map.ranges().empty());
  }
}

TEST_CASE("an error of the disk or of the hint ends the match with its own words", "[librsync]") {
  const Pair pair = delta_data::archive(5, 60, false);
  const Bytes signature = signature_of(pair.new_file, 1024);
  MatchInput input = input_of(pair.old_file, signature);
  input.read_old = [](std::uint64_t, std::span<std::uint8_t>) -> Result<std::size_t> {
    return Error{Errc::io_failed, "read: Input/output error"};
  };
  auto result = run(pair, input);
  REQUIRE(!result);
  CHECK(result.error().detail == "read: Input/output error");
  input = input_of(pair.old_file, signature);
  input.read_signature = [](std::uint64_t, std::span<std::uint8_t>) -> Status {
    return Error{Errc::unavailable, "not fetched yet"};
  };
  result = run(pair, input);
  REQUIRE(!result);
  CHECK(result.error().code == Errc::unavailable);
}

TEST_CASE("a match that is told to stop ends at the next step with what it has", "[librsync]") {
  const Bytes same = delta_data::random_bytes(6, 4 * kMiB);
  Bytes shifted = delta_data::random_bytes(7, 100);
  shifted.insert(shifted.end(), same.begin(), same.end());
  const Bytes signature = signature_of(same, 1024);
  for (const std::uint64_t stop_at : {std::uint64_t{0}, std::uint64_t{kMiB}, 3 * kMiB}) {
    for (const MatchTier tier : {MatchTier::in_place, MatchTier::rolling}) {
      MatchInput input = input_of(tier == MatchTier::in_place ? same : shifted, signature);
      std::uint64_t asked_after_stop = 0;
      std::uint64_t read = 0;
      bool told = false;
      input.pace = [&](const MatchProgress& progress) {
        asked_after_stop += told ? 1 : 0;
        if (progress.tier != tier || progress.old_bytes_read < stop_at) return MatchPace::go_on;
        told = true;
        read = progress.old_bytes_read;
        return MatchPace::stop;
      };
      const auto result = match_file(layout_of(same.size(), 1024), all_of(same), input);
      REQUIRE(result);
      CHECK(result->stopped);
      CHECK(told);
      CHECK(asked_after_stop == 0);
      CHECK(read <= stop_at + (tier == MatchTier::in_place ? kMiB : Matcher::kStepBytes));
      CHECK(result->map.copied_bytes() <= read);
      CHECK(result->map.copied_bytes() + kMiB >= stop_at);
    }
  }
}

TEST_CASE("a window that is given up does not end the match", "[librsync]") {
  const Bytes part = delta_data::random_bytes(8, 2 * kMiB);
  // In place nothing; rolling sees one window, and is sent on at once.
  Bytes shifted(7, 1);
  shifted.insert(shifted.end(), part.begin(), part.end());
  const Bytes signature = signature_of(part, 1024);
  MatchInput input = input_of(shifted, signature);
  input.pace = [](const MatchProgress& progress) {
    return progress.tier == MatchTier::rolling && progress.window == 0 ? MatchPace::next_window
                                                                       : MatchPace::go_on;
  };
  const auto result = match_file(layout_of(part.size(), 1024), all_of(part), input);
  REQUIRE(result);
  CHECK(!result->stopped);
  CHECK(result->rolled_bytes == 0);
  CHECK(result->old_bytes_rolled == 0);
}

TEST_CASE("only wanted ranges are looked for", "[librsync]") {
  const Bytes file = delta_data::random_bytes(9, 64 * 1024);
  const Bytes signature = signature_of(file, 1024);
  MatchInput input = input_of(file, signature);
  const std::vector<ByteRange> wanted{{0, 4096}, {16 * 1024 + 100, 10}, {63 * 1024, 1024}};
  const auto result = match_file(layout_of(file.size(), 1024), wanted, input);
  REQUIRE(result);
  CHECK(result->map.ranges() == std::vector<CopyRange>{{0, 0, 4096},
                                                       {16 * 1024, 16 * 1024, 1024},
                                                       {63 * 1024, 63 * 1024, 1024}});
  CHECK(result->old_bytes_summed == 4096 + 1024 + 1024);
  CHECK(result->old_bytes_rolled == 0);
  const auto none = match_file(layout_of(file.size(), 1024), {}, input);
  REQUIRE(none);
  CHECK(none->map.ranges().empty());
}

TEST_CASE("a changed page that equals one elsewhere is copied from there", "[librsync]") {
  Pair pair;
  pair.old_file = delta_data::random_bytes(10, 100 * 1024);
  pair.new_file = pair.old_file;
  // Block 50 becomes what block 7 is; block 7 itself stays and is found in place.
  std::copy_n(pair.old_file.begin() + 7 * 1024, 1024, pair.new_file.begin() + 50 * 1024);
  const MatchResult result = match(pair, 1024);
  CHECK(result.map.copied_bytes() == pair.new_file.size());
  CHECK(result.rolled_bytes == 1024);
  CHECK(result.old_bytes_rolled == 0);  // nothing was left to scan for
}

TEST_CASE("a signature of other bytes gives wrong ranges inside both files, at most",
          "[librsync]") {
  const Bytes old_file = delta_data::random_bytes(11, 200 * 1024);
  Bytes new_file = delta_data::random_bytes(12, 300 * 1024 + 33);
  // Poisoned: every record is that of some block of the old file.
  Bytes poisoned = signature_of(old_file, 1024);
  while (poisoned.size() < signature_of(new_file, 1024).size()) {
    poisoned.insert(poisoned.end(), poisoned.begin() + kHeaderBytes,
                    poisoned.begin() + kHeaderBytes + kRecordBytes);
  }
  const auto parsed = parse_signature(poisoned, new_file.size());
  REQUIRE(parsed);
  const std::vector<ByteRange> all{{0, new_file.size()}};
  const auto result = match_file(parsed->layout, all, input_of(old_file, poisoned));
  REQUIRE(result);
  CHECK(result->map.copied_bytes() > 0);
  for (const CopyRange& range : result->map.ranges()) {
    CHECK(range.new_end() <= new_file.size());
    CHECK(range.old_end() <= old_file.size());
  }
}

TEST_CASE("records that crowd one place neither stall the index nor hide the others",
          "[librsync]") {
  const Bytes file = delta_data::random_bytes(13, 64 * 1024 * 512);
  const SignatureLayout layout = layout_of(file.size(), 512);
  std::vector<Record> records = records_of(file, 512);
  const std::vector<Record> honest(records.begin(), records.begin() + 100);
  // All but the first hundred begin at one slot of the table: 32,768 records of 65,436 low bits.
  for (std::size_t i = 100; i < records.size(); ++i) {
    records[i] = static_cast<Record>((i * 0x20000) & 0xffffffffu) << 32 | i;
  }
  std::vector<std::uint32_t> blocks(records.size());
  for (std::uint32_t i = 0; i < blocks.size(); ++i) blocks[i] = i;
  auto index = BlockIndex::build(layout, blocks, records);
  REQUIRE(index);
  Matcher matcher(*index, 0);
  // The weak sum that everything crowds around is looked up at every byte.
  std::span<const std::uint8_t> bytes = std::span(file).first(100 * 512);
  while (!bytes.empty()) {
    const auto taken = matcher.feed(bytes);
    REQUIRE(taken);
    bytes = bytes.subspan(*taken);
  }
  REQUIRE(matcher.finish());
  CHECK(index->found() == std::vector<CopyRange>{{0, 0, 100 * 512}});
  CHECK(!index->all_found());
}

TEST_CASE("of records that crowd one place, as many as the limit says are looked for",
          "[librsync]") {
  // Blocks whose weak sums share the low nine bits, where a table of 300 begins to look.
  const Bytes pool = delta_data::random_bytes(18, 200'000 * 512);
  const std::vector<Record> sums = records_of(pool, 512);
  Bytes file;
  for (std::size_t i = 0; i < sums.size() && file.size() < 300 * 512; ++i) {
    if ((sums[i] >> 32 & 511) != 77) continue;
    const auto at = pool.begin() + static_cast<std::ptrdiff_t>(i * 512);
    file.insert(file.end(), at, at + 512);
  }
  REQUIRE(file.size() == 300 * 512);
  const MatchResult result = match({file, file}, 512, {.in_place = false});
  CHECK(result.map.copied_bytes() == BlockIndex::kCrowd * 512);
}

TEST_CASE("any bytes as records, and any bytes as old file, end in ranges inside both",
          "[librsync]") {
  Rng rng(14);
  for (int round = 0; round < 200; ++round) {
    const Bytes file = delta_data::random_bytes(rng.next(), rng.below(20'000));
    Bytes signature = signature_of(file, 512);
    for (std::uint64_t flips = rng.below(20); flips > 0 && signature.size() > kHeaderBytes;
         --flips) {
      signature[kHeaderBytes + rng.below(signature.size() - kHeaderBytes)] =
          static_cast<std::uint8_t>(rng.next());
    }
    Bytes old_file = rng.chance(1, 2) ? file : delta_data::random_bytes(rng.next(), 9000);
    if (!old_file.empty()) old_file.resize(rng.below(2 * old_file.size()));
    const auto parsed = parse_signature(signature, file.size());
    REQUIRE(parsed);
    const std::vector<ByteRange> all{{0, file.size()}};
    const auto result = match_file(parsed->layout, all, input_of(old_file, signature));
    REQUIRE(result);
    for (const CopyRange& range : result->map.ranges()) {
      CHECK(range.new_end() <= file.size());
      CHECK(range.old_end() <= old_file.size());
    }
  }
}

TEST_CASE("a sample tells related files from unrelated ones", "[librsync]") {
  const Bytes base = delta_data::random_bytes(15, 24 * kMiB);
  const Bytes signature = signature_of(base, 4096);
  const SignatureLayout layout = layout_of(base.size(), 4096);
  constexpr std::uint64_t kLooked = std::uint64_t{kSamples} * kSampleBytes;

  auto sample = sample_file(layout, input_of(base, signature));
  REQUIRE(sample);
  CHECK(sample->old_bytes == kLooked);
  CHECK(sample->in_place_bytes == kLooked);
  CHECK(sample->rolled_bytes == kLooked);

  Bytes shifted(5000, 1);
  shifted.insert(shifted.end(), base.begin(), base.end());
  sample = sample_file(layout, input_of(shifted, signature));
  REQUIRE(sample);
  CHECK(sample->in_place_bytes == 0);
  CHECK(sample->rolled_bytes > kLooked * 95 / 100);

  const Bytes other = delta_data::random_bytes(16, 24 * kMiB);
  sample = sample_file(layout, input_of(other, signature));
  REQUIRE(sample);
  CHECK(sample->old_bytes == kLooked);
  CHECK(sample->in_place_bytes == 0);
  CHECK(sample->rolled_bytes == 0);

  const Bytes tiny = delta_data::random_bytes(17, 100);
  sample = sample_file(layout, input_of(tiny, signature));
  REQUIRE(sample);
  CHECK(sample->old_bytes == 100);
  CHECK(sample->rolled_bytes == 0);
  sample = sample_file(layout, input_of({}, signature));
  REQUIRE(sample);
  CHECK(sample->old_bytes == 0);

  MatchInput input = input_of(other, signature);
  input.pace = [](const MatchProgress& progress) {
    return progress.old_bytes_read > kMiB ? MatchPace::stop : MatchPace::go_on;
  };
  sample = sample_file(layout, input);
  REQUIRE(sample);
  CHECK(sample->stopped);
}

TEST_CASE("a sample can do with a few windows of the signature", "[librsync]") {
  const Bytes base = delta_data::random_bytes(15, 24 * kMiB);
  const Bytes signature = signature_of(base, 4096);
  const SignatureLayout layout = layout_of(base.size(), 4096);
  // 4 MiB of the file each, as chunks of a signature that arrive one by one.
  const std::vector<SampleWindow> windows{{0, 1024}, {3000, 1024}};
  const auto sample_of = [&](const Bytes& old_file) {
    MatchInput input = input_of(old_file, signature);
    const auto whole = input.read_signature;
    input.read_signature = [&, whole](std::uint64_t offset, std::span<std::uint8_t> out) {
      const std::uint64_t first = (offset - kHeaderBytes) / kRecordBytes;
      const std::uint64_t end = first + out.size() / kRecordBytes;
      CHECK(std::any_of(windows.begin(), windows.end(), [&](const SampleWindow& window) {
        return first >= window.first_block && end <= window.first_block + window.blocks;
      }));
      return whole(offset, out);
    };
    const auto sample = sample_file(layout, windows, input);
    REQUIRE(sample);
    return *sample;
  };
  constexpr std::uint64_t kLooked = std::uint64_t{kSamples} * kSampleBytes / 2;

  const SampleResult same = sample_of(base);
  CHECK(same.old_bytes == kLooked);
  CHECK(same.in_place_bytes == kLooked);
  CHECK(same.rolled_bytes == kLooked);

  Bytes shifted(5000, 1);
  shifted.insert(shifted.end(), base.begin(), base.end());
  const SampleResult moved = sample_of(shifted);
  CHECK(moved.in_place_bytes == 0);
  CHECK(moved.rolled_bytes > kLooked * 9 / 10);

  const SampleResult other = sample_of(delta_data::random_bytes(16, 24 * kMiB));
  CHECK(other.in_place_bytes == 0);
  CHECK(other.rolled_bytes == 0);

  // An old file that ends before the second window.
  CHECK(sample_of(Bytes(base.begin(), base.begin() + 5 * kMiB)).old_bytes == kLooked / 2);
}

TEST_CASE("what a match finds is told on the way", "[librsync]") {
  const Bytes base = delta_data::random_bytes(15, 70 * kMiB);
  Bytes changed = base;
  changed[40 * kMiB] ^= 1;  // in place
  changed.insert(changed.begin() + 65 * kMiB, 10, 7);
  const Bytes signature = signature_of(changed, 4096);
  const SignatureLayout layout = layout_of(changed.size(), 4096);
  MatchInput input = input_of(base, signature);
  CopyMap told;
  std::uint64_t passed_in_place = 0;
  input.on_found = [&](MatchTier tier, ByteRange passed, std::vector<CopyRange> found) {
    if (tier == MatchTier::in_place) {
      CHECK(passed.offset == passed_in_place);
      CHECK(passed.length <= 64 * kMiB);
      passed_in_place = passed.end();
    }
    told.merge(std::move(found));
  };
  const std::vector<ByteRange> all{{0, changed.size()}};
  const auto result = match_file(layout, all, input);
  REQUIRE(result);
  CHECK(passed_in_place == changed.size());
  // Of rolling, which reads less than 64 MiB here, only the end is told.
  CHECK(told.copied_bytes() == result->in_place_bytes);
  CHECK(result->rolled_bytes > 0);
}

}  // namespace p2p::rsync
