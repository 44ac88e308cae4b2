// Files above 4 GiB that are zeros but for a few islands: several passes, and where they look.
#include <map>

#include "librsyncwrap/matcher.h"
#include "tests/librsyncwrap/match_support.h"

namespace p2p::rsync {
namespace {

constexpr std::uint64_t kMiB = 1ull << 20;
constexpr std::uint64_t kGiB = 1ull << 30;
constexpr std::uint32_t kBlock = 256 * 1024;
constexpr std::uint64_t kSize = 6 * kGiB;  // two segments

struct Islands {
  std::map<std::uint64_t, Bytes> at;  // by offset, apart from each other

  void read(std::uint64_t offset, std::span<std::uint8_t> out) const {
    std::ranges::fill(out, std::uint8_t{0});
    for (const auto& [begin, bytes] : at) {
      const std::uint64_t from = std::max(begin, offset);
      const std::uint64_t to = std::min(begin + bytes.size(), offset + out.size());
      if (from < to) {
        std::memcpy(out.data() + (from - offset), bytes.data() + (from - begin), to - from);
      }
    }
  }
};

Bytes signature_of(const Islands& file) {
  const auto header = encode_signature_header(layout_of(kSize, kBlock));
  Bytes signature(header.begin(), header.end());
  SignatureBuilder builder(kBlock);
  std::uint64_t done = 0;
  for (const auto& [offset, bytes] : file.at) {
    REQUIRE(builder.feed_zeros(offset - done));
    REQUIRE(builder.feed(bytes));
    done = offset + bytes.size();
  }
  REQUIRE(builder.feed_zeros(kSize - done));
  REQUIRE(builder.finish());
  const Bytes records = builder.take();
  signature.insert(signature.end(), records.begin(), records.end());
  return signature;
}

// Reads of the old file by window of the second tier: first offset of each.
struct Seen {
  std::vector<std::uint64_t> windows;
  std::uint64_t last = 0;
};

// Of each window the first `step` bytes are scanned.
MatchInput input_of(const Islands& old_file, const Bytes& signature, std::uint64_t step,
                    Seen& seen) {
  MatchInput input;
  input.old_bytes = kSize;
  input.old_data = {{0, kSize}};
  input.read_old = [&](std::uint64_t offset, std::span<std::uint8_t> out) -> Result<std::size_t> {
    old_file.read(offset, out);
    seen.last = offset;
    return out.size();
  };
  input.read_signature = [&](std::uint64_t offset, std::span<std::uint8_t> out) -> Status {
    std::memcpy(out.data(), signature.data() + offset, out.size());
    return {};
  };
  input.pace = [&seen, step, window = ~0u,
                begin = std::uint64_t{0}](const MatchProgress& progress) mutable {
    if (progress.tier == MatchTier::in_place) return MatchPace::go_on;
    if (progress.window != window) {
      window = progress.window;
      begin = progress.old_bytes_read;
    } else if (progress.old_bytes_read - begin == Matcher::kStepBytes) {
      seen.windows.push_back(seen.last);
    }
    return progress.old_bytes_read - begin >= step ? MatchPace::next_window : MatchPace::go_on;
  };
  return input;
}

}  // namespace

TEST_CASE("of a large file, blocks are looked for near the same relative place", "[librsync]") {
  const Bytes island = delta_data::random_bytes(1, 4 * kBlock);
  const std::uint64_t wanted_at = 5 * kGiB;
  // 10 % of the file and 64 MiB before the blocks that are looked for: where the first window
  // begins.
  const std::uint64_t first = wanted_at - kSize / 100 * 10 - 64 * kMiB;
  Islands new_file;
  new_file.at[wanted_at] = island;
  const Bytes signature = signature_of(new_file);
  const std::vector<ByteRange> wanted{{wanted_at, island.size()}};
  for (const bool near : {true, false}) {
    Islands old_file;
    old_file.at[near ? first + 12'345 : first - 2 * kMiB] = island;
    Seen seen;
    const auto result =
        match_file(layout_of(kSize, kBlock), wanted, input_of(old_file, signature, 2 * kMiB, seen));
    REQUIRE(result);
    REQUIRE(!seen.windows.empty());
    CHECK(seen.windows.front() == first);
    CHECK(seen.windows.back() < wanted_at + island.size() + kSize / 100 * 10 + 64 * kMiB);
    if (near) {
      CHECK(result->map.ranges() ==
            std::vector<CopyRange>{{wanted_at, first + 12'345, island.size()}});
      CHECK(seen.windows.size() == 1);  // then nothing is left to look for
    } else {
      CHECK(result->map.ranges().empty());
      CHECK(seen.windows.size() == 22);  // of 64 MiB, 1.33 GiB in all
    }
  }
}

TEST_CASE("more blocks than one index takes are looked for in several passes", "[librsync]") {
  const Bytes a = delta_data::random_bytes(2, 4 * kBlock);
  const Bytes b = delta_data::random_bytes(3, 4 * kBlock);
  Islands new_file;
  new_file.at[kGiB] = a;
  new_file.at[5 * kGiB] = b;
  Islands old_file;
  old_file.at[1000] = a;
  old_file.at[4 * kGiB - kSize / 100 * 10 - 64 * kMiB + 777] = b;
  const Bytes signature = signature_of(new_file);
  const std::vector<ByteRange> all{{0, kSize}};
  Seen seen;
  const auto result =
      match_file(layout_of(kSize, kBlock), all, input_of(old_file, signature, 4 * kMiB, seen),
                 {.in_place = false});
  REQUIRE(result);
  // Both islands, and by one block of zeros in each pass all the others.
  CHECK(result->map.copied_bytes() == kSize);
  CHECK(result->map.missing(all).empty());
  const auto found = [&](std::uint64_t new_offset, std::uint64_t old_offset) {
    return std::ranges::any_of(result->map.ranges(), [&](const CopyRange& range) {
      return range.new_offset <= new_offset && range.new_end() >= new_offset + a.size() &&
             range.old_offset - range.new_offset == old_offset - new_offset;
    });
  };
  CHECK(found(kGiB, 1000));
  CHECK(found(5 * kGiB, old_file.at.rbegin()->first));
}

TEST_CASE("of a sparse file only the data is read and looked for", "[librsync]") {
  Islands new_file;
  for (std::uint64_t i = 0; i < 8; ++i) {
    new_file.at[i * 700 * kMiB] = delta_data::random_bytes(10 + i, 2 * kBlock);
  }
  Islands old_file = new_file;
  old_file.at.at(2100 * kMiB)[5] ^= 1;
  std::vector<ByteRange> wanted;
  for (const auto& [offset, bytes] : new_file.at) wanted.push_back({offset, bytes.size()});
  const Bytes signature = signature_of(new_file);
  Seen seen;
  const auto result =
      match_file(layout_of(kSize, kBlock), wanted, input_of(old_file, signature, 0, seen));
  REQUIRE(result);
  CHECK(result->old_bytes_summed == 16 * kBlock);
  CHECK(result->map.missing(wanted) == std::vector<ByteRange>{{2100 * kMiB, kBlock}});
}

TEST_CASE("of a sparse old file only the data is sampled and rolled over", "[librsync]") {
  // 24 islands of 1 MiB; in the new file each stands 12,345 bytes further.
  Islands old_file;
  Islands new_file;
  std::vector<ByteRange> wanted;
  std::vector<ByteRange> data;
  for (std::uint64_t i = 0; i < 24; ++i) {
    const Bytes island = delta_data::random_bytes(30 + i, 4 * kBlock);
    old_file.at[(i * 200 + 50) * kMiB] = island;
    new_file.at[(i * 200 + 50) * kMiB + 12'345] = island;
    data.push_back({(i * 200 + 50) * kMiB, island.size()});
    wanted.push_back({(i * 200 + 50) * kMiB, island.size() + 64 * 1024});
  }
  const Bytes signature = signature_of(new_file);
  const SignatureLayout layout = layout_of(kSize, kBlock);
  Seen seen;
  MatchInput input = input_of(old_file, signature, kGiB, seen);
  input.old_data = data;
  std::uint64_t outside = 0;
  const auto read = input.read_old;
  input.read_old = [&](std::uint64_t offset, std::span<std::uint8_t> out) {
    const bool inside = std::ranges::any_of(data, [&](const ByteRange& range) {
      return offset + kBlock > range.offset && offset + out.size() < range.end() + kBlock;
    });
    outside += inside ? 0 : 1;
    return read(offset, out);
  };
  // Three whole blocks of each island stand in the new file's grid, too.
  const auto result = match_file(layout, wanted, input, {.in_place = false});
  REQUIRE(result);
  CHECK(result->rolled_bytes >= 24 * 3 * kBlock);
  CHECK(result->old_bytes_rolled < 24 * 7 * kBlock);
  CHECK(outside == 0);

  const auto sample = sample_file(layout, input);
  REQUIRE(sample);
  CHECK(sample->old_bytes <= std::uint64_t{kSamples} * kSampleBytes);
  CHECK(sample->old_bytes >= 7 * kMiB);
  CHECK(sample->in_place_bytes == 0);
  CHECK(sample->rolled_bytes > sample->old_bytes / 4);
  CHECK(outside == 0);
}

}  // namespace p2p::rsync
